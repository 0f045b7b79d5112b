//! Wakes one thread that parks when it has nothing to do.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use super::clock::Clock;
use crate::model::Timestamp;

/// Cheap to clone. Who puts something in a queue of the sleeper wakes it afterwards; the sleeper announces its sleep
/// before its last look into the queues. So no news waits longer than was meant, and no wake is lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Waker(Arc<Sleeper>);

#[derive(Debug, Default)]
struct Sleeper {
    thread: OnceLock<Thread>,
    /// Nanoseconds; zero while awake.
    sleeps_until: AtomicU64,
}

impl Waker {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Makes the calling thread the one that is woken. Once.
    pub(super) fn adopt(&self) {
        let first = self.0.thread.set(thread::current()).is_ok();
        debug_assert!(first, "a waker has one sleeper");
    }

    /// Wakes now. Costs one atomic swap while the sleeper is awake.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.0.thread.get() {
            thread.unpark();
        }
    }

    /// Wakes only if the sleeper would otherwise sleep beyond `at`: for news that can wait for its next turn.
    pub(super) fn wake_by(&self, at: Timestamp) {
        if self.0.sleeps_until.load(SeqCst) > at.as_nanos() {
            self.wake();
        }
    }

    /// The sleeper is about to sleep until then: from here on `wake_by` counts with it.
    pub(super) fn announce(&self, until: Timestamp) {
        self.0.sleeps_until.store(until.as_nanos(), SeqCst);
    }

    /// Sleeps as announced, or until woken; returns at once if it was woken since it slept last.
    pub(super) fn sleep(&self, clock: Clock) {
        let until = Timestamp::from_nanos(self.0.sleeps_until.load(SeqCst));
        thread::park_timeout(clock.until(until));
        self.0.sleeps_until.store(0, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn news_that_can_wait_does_not_cut_a_short_sleep_and_news_that_cannot_does() {
        let clock = Clock::start();
        let waker = Waker::new();
        waker.adopt();
        let started = clock.now();
        let short = started + Duration::from_millis(30);

        waker.announce(short);
        waker.wake_by(short);
        waker.sleep(clock);
        assert!(clock.now() >= short, "woken by what could wait");

        waker.announce(started + Duration::from_secs(60));
        waker.wake_by(started + Duration::from_secs(1));
        waker.sleep(clock);

        waker.wake();
        waker.announce(started + Duration::from_secs(60));
        waker.sleep(clock);
        assert!(clock.now() < started + Duration::from_secs(50), "a wake was lost");
    }
}
