//! Virtual time: the capture's, made to run forward only.

use std::time::Duration;

use crate::model::Timestamp;

/// A jump ahead that has to be confirmed by the next packet: one packet with a mad time must not end every call.
const JUMP_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How close the next packet has to be to the jump.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct CaptureClock {
    now: Timestamp,
    /// Where a jump would lead that no second packet has confirmed.
    suspect: Option<Timestamp>,
}

impl CaptureClock {
    pub(crate) const fn new(started: Timestamp) -> Self {
        Self {
            now: started,
            suspect: None,
        }
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Never back.
    pub(crate) fn set(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
    }

    /// The virtual time at which a packet of time `captured` happens.
    pub(crate) fn reach(&mut self, captured: Timestamp) -> Timestamp {
        if captured.since(self.now) <= JUMP_MAX {
            self.suspect = None;
            return self.now.max(captured);
        }
        let distance = |suspect: Timestamp| captured.since(suspect) + suspect.since(captured);
        if self
            .suspect
            .is_some_and(|suspect| distance(suspect) <= CONFIRMED_WITHIN)
        {
            self.suspect = None;
            // Whatever was up a day ago is not any more: its timers fire at once.
            self.now = captured - JUMP_MAX;
            return captured;
        }
        self.suspect = Some(captured);
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn time_never_goes_back() {
        let mut clock = CaptureClock::new(at(100));
        assert_eq!(clock.reach(at(50)), at(100));
        assert_eq!(clock.reach(at(130)), at(130));
    }

    #[test]
    fn one_packet_of_another_age_does_not_carry_the_clock_away() {
        let mut clock = CaptureClock::new(at(100));
        assert_eq!(clock.reach(at(4_000_000_000)), at(100));
        assert_eq!(clock.reach(at(101)), at(101));
    }

    #[test]
    fn two_packets_of_another_day_do() {
        let mut clock = CaptureClock::new(at(100));
        clock.reach(at(900_000));
        assert_eq!(clock.reach(at(900_001)), at(900_001));
        assert!(clock.now() > at(800_000));
    }
}
