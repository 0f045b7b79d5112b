//! Virtual time: the capture's, made to run forward only.

use std::time::Duration;

use crate::model::Timestamp;

/// A jump ahead that has to be confirmed by the next packet: one packet with a mad time must not end every call.
const JUMP_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How close the next packet has to be to the jump.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(60);
/// How far packets of one clock come out of order; what is further back may be of another clock.
pub(super) const DISORDER_MAX: Duration = Duration::from_secs(1);

/// Packets of later times are as late as this: behind it, timers need room before time ends (2554).
const END: Timestamp = Timestamp::from_nanos(u64::MAX - 365 * 24 * 3_600 * 1_000_000_000);

/// Whether packets with these times may follow each other by one clock.
pub(crate) fn is_sequel(before: Timestamp, after: Timestamp) -> bool {
    before.since(after) <= DISORDER_MAX && after.since(before) <= JUMP_MAX
}

/// Captures that were put one after the other, or a clock that was set: times step back, and stay there. From then on
/// they are shifted, so that time does not stand still; recordings have the shifted times.
pub(crate) struct CaptureClock {
    now: Timestamp,
    /// What is added to captured times, since they last stepped back.
    shift: Duration,
    /// The time of a packet far off that no second packet has confirmed.
    suspect: Option<Timestamp>,
}

/// When a packet happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reached {
    Time(Timestamp),
    /// Its time is far off: the next packet tells whether it is to be believed.
    Unsure,
    /// It is: the unsure packet happens at `to`, and then ask again. After so long a silence whatever was up is not any
    /// more: its timers all fire from `rise` on.
    Confirmed {
        rise: Timestamp,
        to: Timestamp,
    },
}

impl CaptureClock {
    pub(crate) const fn new(started: Timestamp) -> Self {
        Self {
            now: if started.as_nanos() < END.as_nanos() {
                started
            } else {
                END
            },
            shift: Duration::ZERO,
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
    pub(crate) fn reach(&mut self, captured: Timestamp) -> Reached {
        let shifts = [Duration::ZERO, self.shift];
        let shifted = |shift: Duration| (captured + shift).min(END);
        let fitting = shifts.into_iter().find(|shift| is_sequel(self.now, shifted(*shift)));
        if let Some(shift) = fitting {
            self.suspect = None;
            self.shift = shift;
            return Reached::Time(self.now.max(shifted(shift)));
        }
        let distance = |suspect: Timestamp| captured.since(suspect) + suspect.since(captured);
        let suspect = self.suspect.take().filter(|at| distance(*at) <= CONFIRMED_WITHIN);
        let Some(suspect) = suspect else {
            self.suspect = Some(captured);
            return Reached::Unsure;
        };
        self.shift = self.now.since(suspect);
        let to = (suspect + self.shift).min(END);
        Reached::Confirmed {
            rise: self.now.max(to - JUMP_MAX),
            to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    /// None: not sure yet.
    fn reach(clock: &mut CaptureClock, seconds: u64) -> Option<Timestamp> {
        let time = match clock.reach(at(seconds)) {
            Reached::Time(time) => time,
            Reached::Unsure => return None,
            Reached::Confirmed { to, .. } => {
                clock.set(to);
                return reach(clock, seconds);
            }
        };
        clock.set(time);
        Some(time)
    }

    #[test]
    fn time_never_goes_back() {
        let mut clock = CaptureClock::new(at(100));
        assert_eq!(reach(&mut clock, 130), Some(at(130)));
        assert_eq!(reach(&mut clock, 129), Some(at(130)));
    }

    #[test]
    fn one_packet_of_another_age_does_not_carry_the_clock_away() {
        for age in [4_000_000_000, 50, 0] {
            let mut clock = CaptureClock::new(at(100));
            assert_eq!(reach(&mut clock, age), None);
            assert_eq!(reach(&mut clock, 101), Some(at(101)));
        }
    }

    #[test]
    fn two_packets_of_another_day_do() {
        let mut clock = CaptureClock::new(at(100));
        assert_eq!(clock.reach(at(900_000)), Reached::Unsure);
        let (rise, to) = (at(900_000) - JUMP_MAX, at(900_000));
        assert_eq!(clock.reach(at(900_001)), Reached::Confirmed { rise, to });
    }

    #[test]
    fn two_packets_an_hour_back_shift_all_that_follow_until_time_is_reached_again() {
        let mut clock = CaptureClock::new(at(10_000));
        for (captured, virtually) in [
            (6_400, None),
            (6_401, Some(10_001)),
            (6_410, Some(10_010)),
            // Another step back, and then one that leads ahead of all.
            (1_000, None),
            (1_002, Some(10_012)),
            (20_000, Some(20_000)),
            (20_003, Some(20_003)),
        ] {
            assert_eq!(reach(&mut clock, captured), virtually.map(at), "{captured}");
        }
    }

    #[test]
    fn two_interfaces_whose_clocks_differ_by_seconds_share_one_time() {
        let mut clock = CaptureClock::new(at(100));
        for second in 100..200 {
            assert_eq!(reach(&mut clock, second), Some(at(second)));
            assert_eq!(reach(&mut clock, second - 5), None);
        }
    }
}
