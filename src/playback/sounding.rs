//! What rendering found beside the samples: silence and why, keys pressed, packets lost.

use std::time::Duration;

use crate::model::Leg;

/// Gaps and digits told one by one, each; the rest is only counted.
const FACTS_MAX: usize = 4_096;

/// Why a leg is silent for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GapCause {
    /// Sequence numbers are missing.
    Lost,
    /// The same, and what is heard is not silence but the decoder's guess (Opus, 120 ms at most).
    Guessed,
    /// The sender said that it was silent, and what its silence sounds like (RFC 3389); it is silence here.
    ComfortNoise,
    /// Nothing was sent: discontinuous transmission, hold, before the first and after the last packet; or nothing that is
    /// decoded here.
    Silent,
    /// The recorder was down (lenient calls only).
    Unrecorded,
    /// The recording was paused: nothing was to be kept.
    Paused,
}

/// What nobody sent: silence, or a guess.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gap {
    pub leg: Leg,
    /// From the start of the time axis.
    pub at: Duration,
    pub length: Duration,
    pub cause: GapCause,
}

/// A telephone event (RFC 4733).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digit {
    pub leg: Leg,
    /// From the start of the time axis.
    pub at: Duration,
    pub event: u8,
    /// For the events that are a key.
    pub key: Option<char>,
    /// As far as its packets tell.
    pub duration: Duration,
}

/// What was found while rendering.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sounding {
    /// The first 4096.
    pub gaps: Vec<Gap>,
    pub gaps_untold: u64,
    /// The first 4096.
    pub digits: Vec<Digit>,
    /// Packets that never came, by their sequence numbers.
    pub lost: u64,
    /// Lost packets that are heard, by what a later one repeats of them (RFC 2198); and holes, or their ends, from the copy in
    /// the packet after them (Opus).
    pub recovered: u64,
    /// Duplicates, and packets that came after their turn.
    pub dropped: u64,
}

impl Sounding {
    pub(super) fn note_gap(&mut self, leg: Leg, at: Duration, length: Duration, cause: GapCause) {
        if self.gaps.len() < FACTS_MAX {
            self.gaps.push(Gap { leg, at, length, cause });
        } else {
            self.gaps_untold += 1;
        }
    }

    pub(super) fn note_digit(&mut self, digit: Digit) {
        if self.digits.len() < FACTS_MAX {
            self.digits.push(digit);
        }
    }

    pub(super) fn prolong_digit(&mut self, leg: Leg, duration: Duration) {
        if let Some(digit) = self.digits.iter_mut().rev().find(|digit| digit.leg == leg) {
            digit.duration = digit.duration.max(duration);
        }
    }
}
