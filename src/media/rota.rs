//! Which sessions have something to say of our own, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::Timestamp;

/// A session's place in the plane, and the number of its use.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) generation: u32,
}

/// The earliest first. A session whose time has moved may be here twice, and is looked at once in vain.
#[derive(Debug, Default)]
pub(super) struct Rota(BinaryHeap<Reverse<(Timestamp, Place)>>);

impl Rota {
    pub(super) fn put(&mut self, due: Option<Timestamp>, place: Place) {
        self.0.extend(due.map(|due| Reverse((due, place))));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// Who is due; until it is done.
    pub(super) fn due(&self, now: Timestamp) -> Option<Place> {
        let Reverse((due, place)) = self.0.peek()?;
        (*due <= now).then_some(*place)
    }

    pub(super) fn done(&mut self) {
        self.0.pop();
    }
}
