//! Where nothing was kept of a recording, or of one leg's sound, on purpose: by its marks.

use crate::model::{LeftOut, Leg, Mark, Timestamp};

/// Pauses that are told apart; of more the last one never ends.
const PAUSES_MAX: usize = 1_024;

/// Where nothing of these legs' sound was kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unkept {
    /// A, B.
    pub legs: [bool; 2],
    pub from: Timestamp,
    pub until: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Pauses {
    over: Vec<Unkept>,
    /// Of the whole, of leg A, of leg B.
    since: [Option<Timestamp>; 3],
}

impl Pauses {
    /// `is_sound`: whether a line is one of sound.
    pub(super) fn on_mark(&mut self, at: Timestamp, mark: &Mark, is_sound: impl Fn(u16) -> bool) {
        let (of, is_unkept) = match mark {
            Mark::RecordingPaused { .. } => (0, true),
            Mark::RecordingResumed { .. } => (0, false),
            Mark::LeftOut { leg, what, .. } => {
                let is_unkept = match what {
                    LeftOut::Nothing => false,
                    LeftOut::Lines(lines) => lines.iter().any(|line| is_sound(*line)),
                    LeftOut::All => true,
                };
                (1 + leg.index(), is_unkept)
            }
            _ => return,
        };
        if is_unkept {
            self.since[of].get_or_insert(at);
        } else if self.over.len() < PAUSES_MAX {
            self.end(of, at);
        }
    }

    fn end(&mut self, of: usize, at: Timestamp) {
        let legs = Leg::BOTH.map(|leg| of == 0 || of == 1 + leg.index());
        let ended = self.since[of].take().map(|from| Unkept {
            legs,
            from,
            until: at.max(from),
        });
        self.over.extend(ended);
    }

    /// All of them, in the order of their ends; one that is still on ends with the call.
    pub(super) fn ended(mut self, end: Timestamp) -> Vec<Unkept> {
        (0..self.since.len()).for_each(|of| self.end(of, end));
        self.over.sort_by_key(|unkept| unkept.until);
        self.over
    }
}
