//! The timers of RFC 3261 table 4, and the one that doubles.

use std::time::Duration;

use crate::model::Timestamp;

/// Round-trip time estimate.
pub const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions of a non-INVITE request and of responses to INVITE.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// Timers B, F, H, J, L and M: 64 × T1.
pub const TIMEOUT: Duration = Duration::from_secs(32);
/// Timer D over unreliable transports: at least 32 s.
pub const TIMER_D: Duration = Duration::from_secs(32);
/// A 100 goes out when the user said nothing for so long (RFC 3261 §17.2.1).
pub const TRYING_AFTER: Duration = Duration::from_millis(200);

/// Timers that only forget something fire on this grid: those of a second's calls then cost four wake-ups, not hundreds.
const FORGET_EVERY_NANOS: u64 = 250_000_000;

/// The end of `wait`, or a little later: for Timers D, I, J, K, L and M, which are lower bounds.
pub(super) fn forgotten_after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp::from_nanos((now + wait).as_nanos().next_multiple_of(FORGET_EVERY_NANOS))
}

/// When to send again: at first after T1, then after twice as long each time, up to a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Backoff {
    due: Timestamp,
    interval: Duration,
    interval_max: Duration,
}

impl Backoff {
    pub(super) fn start(now: Timestamp, interval_max: Duration) -> Self {
        Self {
            due: now + T1,
            interval: T1,
            interval_max,
        }
    }

    pub(super) const fn due(&self) -> Timestamp {
        self.due
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due <= now
    }

    pub(super) fn restart(&mut self, now: Timestamp) {
        self.interval = (self.interval * 2).min(self.interval_max);
        self.due = now + self.interval;
    }

    /// From the next time on with the longest interval (Timer E in Proceeding, §17.1.2.2).
    pub(super) const fn slow_down(&mut self) {
        self.interval = self.interval_max;
    }
}
