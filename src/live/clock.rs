//! The only clock of the house.

#![allow(clippy::disallowed_methods)] // this is the one place that may ask the machine for the time

use std::time::{Duration, Instant as Monotonic, SystemTime};

use tokio::time::Instant;

use crate::model::Timestamp;

/// Anchored to UTC once, then monotonic: it never steps, whatever NTP or an administrator does to the wall clock. Where a
/// test pauses tokio's time, this clock stands with it.
///
/// Architecture Invariant: nothing else in the house reads a clock. The cores are handed a [`Timestamp`].
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Instant,
    utc: Timestamp,
}

impl Clock {
    /// Reads both clocks once. A wall clock before 1970 counts as 1970.
    pub fn start() -> Self {
        let utc = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            anchor: Instant::now(),
            utc: Timestamp::ZERO + utc,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.utc + self.anchor.elapsed()
    }

    /// What the wall clock reads now: only to bring times that the kernel stamped by it onto this clock.
    pub fn wall(&self) -> Timestamp {
        let utc = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::ZERO + utc
    }

    /// How far the wall clock has moved away from this clock since the start: a step by NTP or by hand.
    pub fn drift(&self) -> Duration {
        let (wall, ours) = (self.wall(), self.now());
        wall.since(ours).max(ours.since(wall))
    }

    /// The monotonic instant of `at`, for the waits of tokio and the park of a thread.
    pub fn instant(&self, at: Timestamp) -> Monotonic {
        (self.anchor + at.since(self.utc)).into_std()
    }

    /// How long it is until `at`: zero when it has passed.
    pub fn until(&self, at: Timestamp) -> Duration {
        at.since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_utc_and_back_to_the_monotonic_clock() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(now.date().0 >= 2024, "the anchor is UTC: {now}");
        assert!(clock.now() >= now);

        let later = now + Duration::from_secs(60);
        let gap = clock.instant(later) - clock.instant(now);
        assert_eq!(gap, Duration::from_secs(60));
        assert!(clock.until(later) <= Duration::from_secs(60));
        assert_eq!(clock.until(now - Duration::from_secs(1)), Duration::ZERO);
        assert!(clock.drift() < Duration::from_secs(5));
    }
}
