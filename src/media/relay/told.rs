//! What a session's parties are told by us: how it meets the relay.

use std::net::SocketAddr;

use super::super::notice::{Notices, Passage};
use super::super::plane::{Dropped, Verdict};
use super::super::port::{Channel, Port};
use super::super::secrecy::{Bench, Secrecy};
use super::Relay;
use crate::model::{Leg, Notice, NoticePlan, Tally, Timestamp};
use crate::recorder::PacketKind;

impl Bench<'_> {
    /// What the far leg is sent of a recorded packet: as it arrived or was opened, or so many bytes of the scratch. Err: it is not
    /// sent any.
    #[inline]
    pub(super) fn hush(
        &mut self,
        (notices, asks): (&mut Option<Box<Notices>>, bool),
        (now, kind, index): (Timestamp, PacketKind, u16),
        from: Leg,
        (bytes, opened): (&[u8], Option<usize>),
    ) -> Result<Option<usize>, Hushed> {
        match notices {
            // Reports keep a line alive and say nothing.
            notices if asks && is_talk(kind, notices.as_ref().is_some_and(|notices| notices.line() == index)) => {
                Err(Hushed)
            }
            Some(notices) if kind == PacketKind::Rtp && notices.line() == index => {
                match notices.pass(now, (from.other(), asks), (bytes, opened), self.scratch) {
                    Passage::AsIs => Ok(opened),
                    Passage::Changed(length) => Ok(Some(length)),
                    Passage::Hushed => Err(Hushed),
                }
            }
            _ => Ok(opened),
        }
    }
}

/// What does not cross while somebody is asked, beside the sound that the question takes the place of.
const fn is_talk(kind: PacketKind, is_spoken: bool) -> bool {
    match kind {
        PacketKind::Rtp => !is_spoken,
        PacketKind::Other => true,
        PacketKind::Rtcp | PacketKind::Withheld => false,
    }
}

/// The leg is told something else meanwhile.
pub(super) struct Hushed;

pub(super) const fn hushed(tally: &mut Tally) -> Verdict {
    tally.hushed += 1;
    Verdict::Drop(Dropped::Hushed)
}

impl Relay {
    pub(in super::super) fn notice(&mut self, now: Timestamp, plan: Box<NoticePlan>) {
        match &mut self.notices {
            Some(notices) => notices.renew(now, plan),
            None => self.notices = Some(Box::new(Notices::new(now, plan))),
        }
    }

    /// The next packet of a notice, sealed if its leg is: from which port, and to whom.
    pub(in super::super) fn speak(
        &mut self,
        now: Timestamp,
        (place, halted): (usize, bool),
        mut bench: Bench<'_>,
    ) -> Option<(Port, SocketAddr)> {
        let notices = self.notices.as_mut()?;
        let Some(at) = self.lines.iter().position(|line| line.index == notices.line()) else {
            notices.wait(now);
            return None;
        };
        let is_open = self.gate.is_open() && !(halted && self.fork.is_strict());
        for leg in Leg::BOTH {
            let side = &mut self.lines.get_mut(at)?.sides[leg.index()];
            let has_keys = side.secrecy.as_deref().is_none_or(Secrecy::can_seal) && !side.has_lost_keys();
            let to = side.destination(Channel::Rtp).filter(|_| is_open && has_keys);
            let Some(length) = notices.speak(now, leg, to.is_some(), bench.scratch) else {
                continue;
            };
            let sealed = bench.finish(side.secrecy.as_deref_mut(), PacketKind::Rtp, &[], Some(length));
            if let (Ok(_), Some(to)) = (sealed, to) {
                self.tally.told += 1;
                return Some((Port::new(place, self.generation, at, leg, Channel::Rtp), to));
            }
        }
        None
    }

    pub(in super::super) fn notice_due(&self) -> Option<Timestamp> {
        self.notices.as_ref()?.due()
    }

    pub(in super::super) fn poll_noticed(&mut self) -> Option<Notice> {
        self.notices.as_mut()?.poll_ended()
    }

    /// The session ends.
    pub(in super::super) fn cut_notices(&mut self, now: Timestamp) {
        if let Some(notices) = &mut self.notices {
            notices.cut(now);
        }
    }
}
