//! Live transactions by id, and the order in which they want to be woken.

use std::collections::BTreeSet;

use slab::Slab;

use crate::model::Timestamp;

/// Entries by an id that is never given twice: its lower half finds the place, its upper half says who it was.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Slab<(u32, T)>,
    serial: u32,
}

impl<T> Table<T> {
    pub(super) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            serial: 0,
        }
    }

    pub(super) fn insert(&mut self, entry: T) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        let place = self.entries.insert((self.serial, entry));
        u64::from(self.serial) << 32 | (place as u64 & u64::from(u32::MAX))
    }

    pub(super) fn find(&self, id: u64) -> Option<&T> {
        self.entries
            .get(place(id))
            .filter(|(serial, _)| *serial == serial_of(id))
            .map(|(_, entry)| entry)
    }

    pub(super) fn find_mut(&mut self, id: u64) -> Option<&mut T> {
        self.entries
            .get_mut(place(id))
            .filter(|(serial, _)| *serial == serial_of(id))
            .map(|(_, entry)| entry)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        self.find(id)?;
        Some(self.entries.remove(place(id)).1)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

const fn place(id: u64) -> usize {
    (id & u32::MAX as u64) as usize
}

const fn serial_of(id: u64) -> u32 {
    (id >> 32) as u32
}

/// One deadline for each who waits, earliest first.
#[derive(Debug)]
pub(super) struct Deadlines<K>(BTreeSet<(Timestamp, K)>);

impl<K: Copy + Ord> Deadlines<K> {
    pub(super) const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Moves `who` from one deadline to another.
    pub(super) fn shift(&mut self, who: K, from: Option<Timestamp>, to: Option<Timestamp>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.0.remove(&(from, who));
        }
        if let Some(to) = to {
            self.0.insert((to, who));
        }
    }

    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.0.first().map(|(due, _)| *due)
    }

    pub(super) fn due(&self, now: Timestamp) -> Option<K> {
        self.0.first().filter(|(due, _)| *due <= now).map(|(_, who)| *who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_what_is_gone_finds_nothing_even_when_its_place_is_taken_again() {
        let mut table = Table::new();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(place(first), place(second));
        assert_eq!(table.find(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.find(second), Some(&"second"));
    }
}
