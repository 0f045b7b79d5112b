//! Live transactions by id, and the order in which they want to be woken.

use std::collections::BTreeSet;

use slab::Slab;

use crate::model::Timestamp;

/// What a transaction says of itself after each of its steps.
pub(super) trait Timed {
    fn deadline(&self) -> Option<Timestamp>;
    fn is_terminated(&self) -> bool;
}

/// Entries by an id that is never given twice: its lower half finds the place, its upper half says who it was.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Slab<Place<T>>,
    serial: u32,
    deadlines: Deadlines,
}

#[derive(Debug)]
struct Place<T> {
    serial: u32,
    /// The one that stands in the table's deadlines.
    deadline: Option<Timestamp>,
    entry: T,
}

impl<T: Timed> Table<T> {
    pub(super) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            serial: 0,
            deadlines: Deadlines(BTreeSet::new()),
        }
    }

    /// The entry waits for nothing until it is settled.
    pub(super) fn insert(&mut self, entry: T) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        let place = self.entries.insert(Place {
            serial: self.serial,
            deadline: None,
            entry,
        });
        u64::from(self.serial) << 32 | (place as u64 & u64::from(u32::MAX))
    }

    pub(super) fn find(&self, id: u64) -> Option<&T> {
        let place = self.entries.get(place(id));
        place
            .filter(|place| place.serial == serial_of(id))
            .map(|place| &place.entry)
    }

    pub(super) fn find_mut(&mut self, id: u64) -> Option<&mut T> {
        self.place_mut(id).map(|place| &mut place.entry)
    }

    fn place_mut(&mut self, id: u64) -> Option<&mut Place<T>> {
        let place = self.entries.get_mut(place(id));
        place.filter(|place| place.serial == serial_of(id))
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        self.find(id)?;
        let Place { deadline, entry, .. } = self.entries.remove(place(id));
        self.deadlines.shift(id, deadline, None);
        Some(entry)
    }

    /// After each step of an entry: its new deadline, or its end, and then it is given out.
    pub(super) fn settle(&mut self, id: u64) -> Option<T> {
        let place = self.place_mut(id)?;
        if place.entry.is_terminated() {
            return self.remove(id);
        }
        let before = std::mem::replace(&mut place.deadline, place.entry.deadline());
        let after = place.deadline;
        self.deadlines.shift(id, before, after);
        None
    }

    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.deadlines.earliest()
    }

    /// One whose deadline has come.
    pub(super) fn due(&self, now: Timestamp) -> Option<u64> {
        self.deadlines.due(now)
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
struct Deadlines(BTreeSet<(Timestamp, u64)>);

impl Deadlines {
    /// Moves `who` from one deadline to another.
    fn shift(&mut self, who: u64, from: Option<Timestamp>, to: Option<Timestamp>) {
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

    fn earliest(&self) -> Option<Timestamp> {
        self.0.first().map(|(due, _)| *due)
    }

    fn due(&self, now: Timestamp) -> Option<u64> {
        self.0.first().filter(|(due, _)| *due <= now).map(|(_, who)| *who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Eq, PartialEq)]
    struct Waits(&'static str, Option<Timestamp>, bool);

    impl Timed for Waits {
        fn deadline(&self) -> Option<Timestamp> {
            self.1
        }

        fn is_terminated(&self) -> bool {
            self.2
        }
    }

    const fn idle(name: &'static str) -> Waits {
        Waits(name, None, false)
    }

    #[test]
    fn an_entry_is_woken_at_its_newest_deadline_and_given_out_at_its_end() {
        let [early, late] = [1, 2].map(Timestamp::from_millis);
        let mut table = Table::new();
        let id = table.insert(Waits("waits", Some(early), false));
        assert_eq!(table.earliest(), None, "it is not settled yet");
        assert_eq!(table.settle(id), None);
        assert_eq!(table.due(early), Some(id));

        table.find_mut(id).expect("it lives").1 = Some(late);
        assert_eq!(table.settle(id), None);
        assert_eq!((table.due(early), table.due(late)), (None, Some(id)));

        table.find_mut(id).expect("it lives").2 = true;
        assert_eq!(table.settle(id), Some(Waits("waits", Some(late), true)));
        assert_eq!((table.earliest(), table.len()), (None, 0));
    }

    #[test]
    fn an_id_of_what_is_gone_finds_nothing_even_when_its_place_is_taken_again() {
        let mut table = Table::new();
        let first = table.insert(idle("first"));
        assert_eq!(table.remove(first), Some(idle("first")));
        let second = table.insert(idle("second"));
        assert_eq!(place(first), place(second));
        assert_eq!(table.find(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.find(second), Some(&idle("second")));
    }
}
