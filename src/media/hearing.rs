//! Keys that the ends of a line agree on by themselves, where their descriptions call it clear (ZRTP, DTLS): not while it is
//! recorded; and where they have done so before, that is told.

use crate::model::{LinePlan, Recorded};
use crate::recorder::PacketKind;
use crate::rtp;

/// What a plan wants of one line.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// By its descriptions.
    is_clear: bool,
    is_recorded: bool,
    /// Its ends have agreed: said once for each plan.
    is_sealed: bool,
    is_news: bool,
}

impl Hearing {
    /// None: the line was refused.
    pub(super) fn of(recorded: Recorded, line: Option<&LinePlan>) -> Self {
        Self {
            is_clear: line.is_some_and(LinePlan::is_heard),
            is_recorded: recorded != Recorded::No,
            ..Self::default()
        }
    }

    /// Whether a packet would make what is recorded inaudible.
    #[inline]
    pub(super) fn bars(&self, kind: PacketKind, bytes: &[u8]) -> bool {
        kind == PacketKind::Other && self.is_clear && self.is_recorded && rtp::is_handshake(bytes)
    }

    /// A packet has crossed.
    #[inline]
    pub(super) fn note(&mut self, kind: PacketKind, bytes: &[u8]) {
        if kind == PacketKind::Other && self.is_clear && !self.is_sealed && rtp::agrees_on_keys(bytes) {
            (self.is_sealed, self.is_news) = (true, true);
        }
    }

    /// Whether its ends have agreed since this was asked last.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }
}
