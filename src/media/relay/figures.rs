//! What a relay has counted, and what it hears of it.

use super::Relay;
use crate::model::{Ailing, Tally, Timestamp};

impl Relay {
    /// The network did not take the packet that was last forwarded.
    pub(in super::super) const fn on_unsent(&mut self) {
        self.tally.forwarded = self.tally.forwarded.saturating_sub(1);
        self.tally.unsent += 1;
    }

    /// Once a second: hands on what ails the sound from now on, and what does no more.
    pub(in super::super) fn judge(&mut self, now: Timestamp, tell: impl FnMut(Ailing)) {
        if !self.gate.is_open() {
            self.meter.health.pause(now);
        }
        self.meter.health.judge(now, tell);
    }

    pub(in super::super) fn tally(&self) -> Tally {
        let streams = self
            .meter
            .tally(|place| self.lines.get(place).map_or(0, |line| line.index));
        Tally {
            streams,
            ailments: self.meter.health.told(),
            ..self.tally.clone()
        }
    }
}
