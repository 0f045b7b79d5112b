//! Token buckets, each a single point in time.

use std::time::Duration;

use crate::model::Timestamp;

/// So many a second on average, so many at once after a rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Rate {
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// The generic cell rate algorithm (ITU-T I.371): `full_at` is when the bucket would be full again if nothing more came.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bucket {
    full_at: Timestamp,
}

impl Bucket {
    /// Takes one token, if there is one.
    pub fn offer(&mut self, now: Timestamp, rate: Rate) -> bool {
        let after = self.full_at.max(now) + rate.interval();
        let fits = after.since(now) <= rate.interval() * rate.burst.max(1);
        if fits {
            self.full_at = after;
        }
        fits
    }

    /// Nothing would be lost by forgetting it.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 5,
    };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn after_a_rest_a_burst_fits_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, millis| (0..20).filter(|_| bucket.offer(at(millis), RATE)).count();
        assert_eq!(taken(&mut bucket, 0), 5);
        assert_eq!(taken(&mut bucket, 99), 0);
        assert_eq!(taken(&mut bucket, 100), 1);
        assert_eq!(taken(&mut bucket, 400), 3);
        assert!(!bucket.is_full(at(800)));
        assert!(bucket.is_full(at(900)));
        assert_eq!(taken(&mut bucket, 60_000), 5, "no more than the burst is saved up");
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let mut bucket = Bucket::default();
        let taken = (0..10_000).filter(|millis| bucket.offer(at(*millis), RATE)).count();
        assert_eq!(taken, 5 + 99);
    }
}
