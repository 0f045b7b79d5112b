//! The fork: every packet goes to the recorder before it goes anywhere else.

use std::time::Duration;

use super::pause::Pause;
use crate::model::{Fault, Recorded, SessionId, Tally, Timestamp};
use crate::recorder::{FrameSink, Offer, Packet, PacketKind, Slot};

/// How often a session that may go on unrecorded asks for a place in the recorder.
pub(super) const REATTACH_EVERY: Duration = Duration::from_secs(1);

/// What became of a packet at the fork.
#[must_use = "only this says whether the packet may be forwarded"]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Forked {
    /// Nobody asked for a recording.
    Unwanted,
    Accepted,
    /// The recording is paused: nothing of it is kept.
    Withheld,
    /// Refused, and the session goes on without.
    Missed(Fault),
    /// Refused, and the session must not go on.
    Refused(Fault),
}

impl Forked {
    /// Counts it. The fault, if the recorder did not take a packet that goes on all the same.
    pub(super) const fn note(self, tally: &mut Tally) -> Option<Fault> {
        match self {
            Self::Accepted => tally.accepted += 1,
            Self::Withheld => tally.withheld += 1,
            Self::Unwanted => {}
            Self::Missed(fault) | Self::Refused(fault) => {
                tally.unrecorded += 1;
                return Some(fault);
            }
        }
        None
    }
}

#[derive(Debug)]
pub(super) struct Fork {
    pub(super) pause: Pause,
    recorded: Recorded,
    slot: Option<Slot>,
    reattach_at: Timestamp,
    /// The refusal was said upwards, and nothing was accepted since.
    told: bool,
}

impl Fork {
    pub(super) fn new() -> Self {
        Self {
            pause: Pause::default(),
            recorded: Recorded::No,
            slot: None,
            reattach_at: Timestamp::ZERO,
            told: false,
        }
    }

    /// Records like this from here on. The fault if that needs a place in the recorder and there is none.
    pub(super) fn set(
        &mut self,
        now: Timestamp,
        session: SessionId,
        recorded: Recorded,
        sink: &mut impl FrameSink,
    ) -> Result<(), Fault> {
        self.recorded = recorded;
        if recorded == Recorded::No {
            self.close(now, sink);
            return Ok(());
        }
        if self.slot.is_none() {
            self.attach(now, session, sink);
        }
        self.slot.map(|_| ()).ok_or(Fault::PoolEmpty)
    }

    pub(super) fn close(&mut self, now: Timestamp, sink: &mut impl FrameSink) {
        if let Some(slot) = self.slot.take() {
            sink.close(now, slot);
        }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.recorded == Recorded::Strict
    }

    /// `own`: what is left out of what its leg sends on its line.
    pub(super) fn offer(
        &mut self,
        now: Timestamp,
        session: SessionId,
        mut packet: Packet<'_>,
        (own, repeats): (Option<&mut Pause>, impl Fn() -> bool),
        sink: &mut impl FrameSink,
    ) -> Forked {
        if self.recorded == Recorded::No {
            return Forked::Unwanted;
        }
        let own = own.filter(|own| own.withholds(packet.at, &repeats));
        let pause = match self.pause.withholds(packet.at, &repeats) {
            true => Some(&mut self.pause),
            false => own,
        };
        let is_withheld = pause.is_some();
        if let Some(pause) = pause {
            if !pause.take_pulse(now) {
                return Forked::Withheld;
            }
            (packet.kind, packet.bytes) = (PacketKind::Withheld, &[]);
        }
        if self.slot.is_none() && self.reattach_at <= now {
            self.attach(now, session, sink);
        }
        let offer = self
            .slot
            .map_or(Offer::Refused(Fault::PoolEmpty), |slot| sink.offer(now, slot, packet));
        match (offer, self.recorded) {
            (Offer::Accepted, _) => {
                self.told = false;
                if is_withheld {
                    Forked::Withheld
                } else {
                    Forked::Accepted
                }
            }
            (Offer::Refused(fault), Recorded::Strict) => Forked::Refused(fault),
            (Offer::Refused(fault), _) => Forked::Missed(fault),
        }
    }

    /// True the first time, and again after a packet was accepted.
    pub(super) const fn is_news(&self) -> bool {
        !self.told
    }

    pub(super) const fn mark_told(&mut self) {
        self.told = true;
    }

    fn attach(&mut self, now: Timestamp, session: SessionId, sink: &mut impl FrameSink) {
        self.reattach_at = now + REATTACH_EVERY;
        self.slot = sink.open(session);
    }
}
