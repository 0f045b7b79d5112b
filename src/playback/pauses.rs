//! Where a recording was paused, by its marks.

use crate::model::{Mark, Timestamp};

/// Pauses that are told apart; of more the last one never ends.
const PAUSES_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Pauses {
    over: Vec<(Timestamp, Timestamp)>,
    since: Option<Timestamp>,
}

impl Pauses {
    pub(super) fn on_mark(&mut self, at: Timestamp, mark: &Mark) {
        match mark {
            Mark::RecordingPaused { .. } => {
                self.since.get_or_insert(at);
            }
            Mark::RecordingResumed { .. } if self.over.len() < PAUSES_MAX => {
                self.over.extend(self.since.take().map(|since| (since, at)));
            }
            _ => {}
        }
    }

    /// All of them; one that is still on ends with the call.
    pub(super) fn ended(mut self, end: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        self.over.extend(self.since.map(|since| (since, end.max(since))));
        self.over
    }
}
