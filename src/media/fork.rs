//! The fork: every packet goes to the recorder before it goes anywhere else.

use std::time::Duration;

use crate::model::{Fault, Recorded, SessionId, Tally, Timestamp};
use crate::recorder::{FrameSink, Offer, Packet, Slot};

/// How often a session that may go on unrecorded asks for a place in the recorder.
pub(super) const REATTACH_EVERY: Duration = Duration::from_secs(1);

/// What became of a packet at the fork.
#[must_use = "only this says whether the packet may be forwarded"]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Forked {
    /// Nobody asked for a recording.
    Unwanted,
    Accepted,
    /// Refused, and the session goes on without.
    Missed(Fault),
    /// Refused, and the session must not go on.
    Refused(Fault),
}

impl Forked {
    /// The fault, if the recorder did not take a packet that goes on all the same.
    pub(super) const fn count(self, tally: &mut Tally) -> Option<Fault> {
        match self {
            Self::Accepted => {
                tally.accepted += 1;
                None
            }
            Self::Unwanted => None,
            Self::Missed(fault) | Self::Refused(fault) => {
                tally.unrecorded += 1;
                Some(fault)
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Fork {
    recorded: Recorded,
    slot: Option<Slot>,
    reattach_at: Timestamp,
    /// The refusal was said upwards, and nothing was accepted since.
    told: bool,
}

impl Fork {
    pub(super) const fn new() -> Self {
        Self {
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

    pub(super) fn offer(
        &mut self,
        now: Timestamp,
        session: SessionId,
        packet: Packet<'_>,
        sink: &mut impl FrameSink,
    ) -> Forked {
        if self.recorded == Recorded::No {
            return Forked::Unwanted;
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
                Forked::Accepted
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
