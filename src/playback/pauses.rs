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

    /// All of them, in the order of their ends, and of each leg none reaches into another; one that is still on ends with the
    /// call.
    pub(super) fn ended(mut self, end: Timestamp) -> Vec<Unkept> {
        (0..self.since.len()).for_each(|of| self.end(of, end));
        let mut over = Vec::with_capacity(self.over.len());
        for leg in Leg::BOTH {
            let mut of_leg: Vec<Unkept> = self
                .over
                .iter()
                .copied()
                .filter(|unkept| unkept.legs[leg.index()])
                .collect();
            of_leg.sort_by_key(|unkept| unkept.from);
            of_leg.dedup_by(|next, before| {
                let is_one = next.from <= before.until;
                if is_one {
                    before.until = before.until.max(next.until);
                }
                is_one
            });
            let legs = Leg::BOTH.map(|of| of == leg);
            over.extend(of_leg.into_iter().map(|unkept| Unkept { legs, ..unkept }));
        }
        over.sort_by_key(|unkept| (unkept.until, unkept.from));
        // What both legs have alike is told once.
        over.dedup_by(|next, before| {
            let is_alike = (next.from, next.until) == (before.from, before.until);
            if is_alike {
                before.legs = [true; 2];
            }
            is_alike
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PausedBy, Withholding};

    #[test]
    fn a_leg_that_is_left_out_around_a_pause_of_all_is_silent_on_purpose_from_its_beginning_to_its_end() {
        let at = Timestamp::from_millis;
        let left_out = |what| Mark::LeftOut {
            leg: Leg::A,
            what,
            why: Withholding::Preference,
        };
        let (by, why) = (PausedBy::Operator, None);
        let mut pauses = Pauses::default();
        for (ms, mark) in [
            (10, left_out(LeftOut::Lines(vec![0]))),
            (20, Mark::RecordingPaused { by, why }),
            (50, Mark::RecordingResumed { by }),
            (90, left_out(LeftOut::Nothing)),
        ] {
            pauses.on_mark(at(ms), &mark, |_| true);
        }
        let unkept = |legs, from, until| Unkept {
            legs,
            from: at(from),
            until: at(until),
        };
        assert_eq!(
            pauses.ended(at(100)),
            [unkept([false, true], 20, 50), unkept([true, false], 10, 90)]
        );
    }
}
