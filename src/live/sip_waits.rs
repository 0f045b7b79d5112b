//! How long messages wait before signalling looks at them: what its admission of new calls goes by.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::model::Timestamp;

/// How long a reading says something of now.
const FRESH: Duration = Duration::from_millis(200);

/// Of the datagram that was read last: its wait in the kernel, and when it was read. One word: the wait in microseconds
/// above, the time in milliseconds below, both wrapped to 32 bits.
#[derive(Debug, Default)]
pub(super) struct Waits(AtomicU64);

impl Waits {
    pub(super) fn note(&self, now: Timestamp, waited: Duration) {
        let micros = u32::try_from(waited.as_micros()).unwrap_or(u32::MAX);
        let word = u64::from(micros) << 32 | u64::from(now.as_millis() as u32);
        self.0.store(word, Relaxed);
    }

    /// None: nothing was read lately.
    pub(super) fn latest(&self, now: Timestamp) -> Option<Duration> {
        let word = self.0.load(Relaxed);
        let age = (now.as_millis() as u32).wrapping_sub(word as u32);
        let fresh = word != 0 && Duration::from_millis(u64::from(age)) <= FRESH;
        fresh.then(|| Duration::from_micros(word >> 32))
    }
}

/// How long signalling takes over a message, on average of the last ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    nanos: u64,
}

impl Pace {
    /// `handled` messages took so long.
    pub(super) fn note(&mut self, took: Duration, handled: usize) {
        let handled = u64::try_from(handled).unwrap_or(u64::MAX).max(1);
        let each = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / handled;
        // An eighth of what is new.
        self.nanos = self.nanos - self.nanos / 8 + each / 8;
    }

    /// How long so many will take.
    pub(super) fn of(self, messages: usize) -> Duration {
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        Duration::from_nanos(self.nanos.saturating_mul(messages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_told_while_it_is_fresh() {
        let waits = Waits::default();
        let start = Timestamp::from_millis(1_763_800_000_000);
        assert_eq!(waits.latest(start), None);
        waits.note(start, Duration::from_millis(35));
        assert_eq!(waits.latest(start + FRESH), Some(Duration::from_millis(35)));
        assert_eq!(waits.latest(start + FRESH + Duration::from_millis(1)), None);
        waits.note(start, Duration::from_secs(7_200));
        assert_eq!(waits.latest(start), Some(Duration::from_micros(u64::from(u32::MAX))));
    }

    #[test]
    fn the_pace_follows_what_messages_take() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.note(Duration::from_millis(64), 64);
        }
        let ten = pace.of(10);
        assert!(
            ten > Duration::from_micros(9_900) && ten <= Duration::from_millis(10),
            "{ten:?}"
        );
    }
}
