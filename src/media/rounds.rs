//! Rounds: each session is judged once a second, some in each turn, so that no packet waits for all of them.

use std::ops::Range;
use std::time::Duration;

use crate::model::Timestamp;

/// From the beginning of a round to that of the next.
const ROUND: Duration = Duration::from_secs(1);

/// Places looked at in one turn.
const PLACES_A_TURN: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Rounds {
    next: usize,
    begun: Timestamp,
    due: Timestamp,
}

impl Rounds {
    pub(super) const fn due(&self) -> Timestamp {
        self.due
    }

    /// The places to look at now, of those below `end`.
    pub(super) fn take(&mut self, now: Timestamp, end: usize) -> Range<usize> {
        if now < self.due {
            return 0..0;
        }
        if self.next == 0 {
            self.begun = now;
        }
        let places = self.next..end.min(self.next + PLACES_A_TURN);
        if places.end >= end {
            (self.next, self.due) = (0, self.begun + ROUND);
        } else {
            self.next = places.end;
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_looked_at_once_a_second_and_few_in_one_turn() {
        let mut rounds = Rounds::default();
        let mut looked_at = Vec::new();
        for turn in 0..2_000_u64 {
            let places = rounds.take(Timestamp::from_millis(5_000 + turn), 1_000);
            assert!(places.len() <= PLACES_A_TURN);
            looked_at.extend(places.map(|place| (turn, place)));
        }
        assert_eq!(looked_at.len(), 2_000, "two rounds");
        assert_eq!(looked_at.first(), Some(&(0, 0)));
        assert_eq!(looked_at.get(1_000), Some(&(1_000, 0)));
    }

    #[test]
    fn places_may_become_fewer_within_a_round() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.take(Timestamp::ZERO, 300), 0..256);
        assert!(rounds.take(Timestamp::ZERO, 10).is_empty());
        assert_eq!(rounds.take(Timestamp::from_millis(1_000), 10), 0..10);
    }
}
