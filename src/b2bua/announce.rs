//! The parties hear that they are recorded.

use super::call::Call;
use super::turn::Turn;
use crate::model::{Mark, Notice};

impl Call {
    pub(super) fn on_noticed(&mut self, turn: &mut Turn<'_>, notice: Notice) {
        self.chronicle.mark(turn.now, Mark::Noticed(notice), turn.out);
    }
}
