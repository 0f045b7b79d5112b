//! What was decided for a call, one after the other: who was in it, and why it was recorded then.

use crate::b2bua::call::Call;
use crate::model::{Decided, Timestamp};

/// Decisions of one call that are kept beside the last; of more, those in between are lost to its closing record, and stand in
/// its timeline alone.
const SUPERSEDED_MAX: usize = 16;

impl Call {
    /// The header is about to tell of others.
    pub(in crate::b2bua) fn supersede_decision(&mut self, now: Timestamp) {
        if self.story.superseded.len() < SUPERSEDED_MAX {
            let at = self.story.decided.unwrap_or(self.header.started);
            self.story.superseded.push(Decided::of(at, &self.header));
        }
        self.story.decided = Some(now);
    }

    /// For the closing record: none where it was decided once.
    pub(in crate::b2bua) fn all_decisions(&mut self) -> Vec<Decided> {
        let mut all = std::mem::take(&mut self.story.superseded);
        if let Some(at) = self.story.decided {
            all.push(Decided::of(at, &self.header));
        }
        all
    }
}
