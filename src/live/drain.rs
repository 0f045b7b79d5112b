//! A node on its way out: no new calls, the running ones go on, and it ends when the last of them has.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// What `drain` asks for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainOrder {
    /// End when the last call has ended; when `within_ms` is over, end those that still run.
    UntilEmpty { within_ms: Option<u64> },
    /// End at once and leave the running calls to the next start, which takes them over.
    HandOver,
    /// Take calls again.
    Cancel,
}

/// A drain under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Drain {
    /// When the calls that still run are ended.
    latest: Option<Timestamp>,
}

impl Drain {
    pub(super) fn begin(now: Timestamp, within_ms: Option<u64>) -> Self {
        Self {
            latest: within_ms.map(|within| now + Duration::from_millis(within)),
        }
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_over(self, now: Timestamp, calls: usize) -> bool {
        calls == 0 || self.latest.is_some_and(|latest| latest <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_over_with_the_last_call_or_at_its_latest_time() {
        let now = Timestamp::from_millis(1_000);
        let patient = Drain::begin(now, None);
        assert!(!patient.is_over(now + Duration::from_secs(86_400), 1));
        assert!(patient.is_over(now, 0));
        let bounded = Drain::begin(now, Some(5_000));
        assert!(!bounded.is_over(now + Duration::from_millis(4_999), 1));
        assert!(bounded.is_over(now + Duration::from_millis(5_000), 1));
    }
}
