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

/// The earliest first. A session whose time has moved is here twice: it knows which counts.
#[derive(Debug, Default)]
pub(super) struct Rota(BinaryHeap<Reverse<(Timestamp, Place)>>);

impl Rota {
    pub(super) fn put(&mut self, due: Option<Timestamp>, place: Place) {
        self.0.extend(due.map(|due| Reverse((due, place))));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// Who is due, and since when; until it is done.
    pub(super) fn due(&self, now: Timestamp) -> Option<(Timestamp, Place)> {
        let Reverse((due, place)) = *self.0.peek()?;
        (due <= now).then_some((due, place))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn done(&mut self) {
        self.0.pop();
    }
}
