//! How overloaded we are, from how long messages wait for us.
//!
//! As CoDel does (RFC 8289 §3.2) the least wait of each interval is looked at: a queue that never runs empty is standing, one
//! that does is a burst. As PIE does (RFC 8033 §4.2) the share that is shed follows how far the wait is from its target and
//! how it moves, so that it settles where the wait stays near the target and nothing is refused that could be served.

use std::time::Duration;

use crate::model::Timestamp;

/// The least wait that is tolerated for an interval.
pub const TARGET: Duration = Duration::from_millis(20);
/// How often the share is thought over.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// Shares are told in thousandths.
const WHOLE: i64 = 1_000;
/// New calls are never all refused: what gets through is how the end of the overload is seen.
const CALLS_SHED_MAX: i64 = 980;
/// Thousandths for a wait of twice the target, and for one that grows by the target.
const BY_DISTANCE: i64 = 12;
const BY_MOVEMENT: i64 = 60;
/// Waits beyond this many targets count as this many: one long pause refuses no second's calls.
const TARGETS_MAX: i64 = 8;
/// Intervals without a message after which nothing is shed any more.
const IDLE_INTERVALS: u128 = 10;

#[derive(Clone, Copy, Debug, Default)]
pub struct Congestion {
    /// 0–1,000: the share of chatter that is shed. Beyond: all of it, and the rest is the share of new calls.
    pressure: i64,
    /// Of the interval before, in thousandths of the target.
    before: i64,
    least: Option<Duration>,
    /// The recorder's lag, as the wait that weighs as much.
    strain: Duration,
    until: Option<Timestamp>,
    thought: Timestamp,
}

impl Congestion {
    /// A message waited this long until its turn came.
    pub fn note(&mut self, now: Timestamp, waited: Duration) {
        let until = *self.until.get_or_insert(now + INTERVAL);
        if now >= until {
            self.think(now, until);
        }
        self.least = Some(self.least.map_or(waited, |least| least.min(waited)));
    }

    /// The recorder trails by so much of what it may. Half of it weighs as a wait of the target: strict calls that are up end
    /// when it trails by all, so new ones are held back before.
    pub fn note_lag(&mut self, lag: Duration, lag_max: Duration) {
        let share = 2.0 * lag.as_secs_f64() / lag_max.as_secs_f64().max(f64::EPSILON);
        self.strain = TARGET.mul_f64(share.min(TARGETS_MAX as f64));
    }

    /// An interval is over.
    fn think(&mut self, now: Timestamp, until: Timestamp) {
        let idle = now.since(until).as_nanos() / INTERVAL.as_nanos();
        let least = self.least.take().filter(|_| idle == 0).unwrap_or_default();
        let wait = in_targets(least.max(self.strain));
        let distance = (wait - WHOLE) * BY_DISTANCE / WHOLE;
        let movement = (wait - self.before) * BY_MOVEMENT / WHOLE;
        let moved = self.pressure + distance + movement;
        self.pressure = if idle >= IDLE_INTERVALS {
            0
        } else {
            moved.clamp(0, WHOLE + CALLS_SHED_MAX)
        };
        self.before = wait;
        self.until = Some(now + INTERVAL);
        self.thought = now;
    }

    /// Of OPTIONS, REGISTER and their like, in thousandths.
    pub fn chatter_shed(&self) -> u32 {
        thousandths(self.pressure)
    }

    /// Of new calls, in thousandths: none before all chatter is shed.
    pub fn calls_shed(&self) -> u32 {
        thousandths(self.pressure - WHOLE)
    }

    /// When the shares were last thought over.
    pub const fn thought(&self) -> Timestamp {
        self.thought
    }
}

fn thousandths(share: i64) -> u32 {
    u32::try_from(share.clamp(0, WHOLE)).unwrap_or_default()
}

/// Thousandths of the target.
fn in_targets(wait: Duration) -> i64 {
    let thousandths = wait.as_micros() * 1_000 / TARGET.as_micros();
    i64::try_from(thousandths).unwrap_or(i64::MAX).min(TARGETS_MAX * WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that takes calls from a queue, one at a time, and what it gets done.
    struct Server {
        congestion: Congestion,
        now: u64,
        /// When the server has worked off what it has taken in, in nanoseconds.
        free_at: u64,
        served: u32,
        refused: u32,
        longest: Duration,
        state: u64,
    }

    const CALL: u64 = 1_000_000;
    const REFUSAL: u64 = 10_000;

    impl Server {
        fn new() -> Self {
            Self {
                congestion: Congestion::default(),
                now: 0,
                free_at: 0,
                served: 0,
                refused: 0,
                longest: Duration::ZERO,
                state: 1,
            }
        }

        fn draw(&mut self) -> u32 {
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.state >> 33) as u32 % 1_000
        }

        /// `per_second` calls for so many seconds, a millisecond's worth at a time.
        fn run(&mut self, per_second: u64, seconds: u64) {
            let gap = 1_000_000_000 / per_second;
            let end = self.now + seconds * 1_000_000_000;
            while self.now < end {
                let waited = Duration::from_nanos(self.free_at.saturating_sub(self.now));
                self.longest = self.longest.max(waited);
                let turn = Timestamp::from_nanos(self.free_at.max(self.now));
                self.congestion.note(turn, waited);
                let cost = if self.draw() < self.congestion.calls_shed() {
                    self.refused += 1;
                    REFUSAL
                } else {
                    self.served += 1;
                    CALL
                };
                self.free_at = self.free_at.max(self.now) + cost;
                self.now += gap;
            }
        }

        fn afresh(&mut self) {
            (self.served, self.refused, self.longest) = (0, 0, Duration::ZERO);
        }
    }

    #[test]
    fn a_server_that_keeps_up_refuses_nothing() {
        let mut server = Server::new();
        server.run(950, 30);
        assert_eq!((server.refused, server.congestion.chatter_shed()), (0, 0));
    }

    #[test]
    fn at_five_times_its_capacity_a_server_still_serves_it() {
        let mut server = Server::new();
        server.run(5_000, 5);
        server.afresh();
        server.run(5_000, 20);
        // Refusing 4,000 a second is work too: 4 %.
        let capacity = 20.0 * 1_000.0 * 0.96;
        let served = f64::from(server.served) / capacity;
        assert!(
            served > 0.95,
            "{served}: {} served, {} refused",
            server.served,
            server.refused
        );
        assert!(server.longest < Duration::from_millis(400), "{:?}", server.longest);
    }

    #[test]
    fn a_little_too_much_is_refused_a_little() {
        let mut server = Server::new();
        server.run(1_200, 10);
        server.afresh();
        server.run(1_200, 20);
        let served = f64::from(server.served) / 20_000.0;
        assert!(
            served > 0.95 && server.longest < Duration::from_millis(200),
            "{served} {:?}",
            server.longest
        );
    }

    #[test]
    fn when_the_overload_is_over_nothing_is_refused_soon_after() {
        let mut server = Server::new();
        server.run(5_000, 10);
        server.run(500, 15);
        server.afresh();
        server.run(500, 5);
        assert_eq!(server.refused, 0, "{:?}", server.congestion);
        let mut rested = Server::new();
        rested.run(5_000, 10);
        rested.now += 5_000_000_000;
        rested.run(100, 1);
        rested.afresh();
        rested.run(100, 1);
        assert_eq!(rested.refused, 0, "after a rest");
    }

    #[test]
    fn one_pause_refuses_no_call() {
        let mut server = Server::new();
        server.run(500, 5);
        server.free_at = server.now + 150_000_000;
        server.run(500, 5);
        assert_eq!(server.refused, 0);
    }

    #[test]
    fn a_recorder_that_trails_holds_new_calls_back_before_it_ends_those_that_are_up() {
        let mut congestion = Congestion::default();
        let mut now = Timestamp::from_millis(1_000);
        let mut after = |congestion: &mut Congestion, lag: u64, intervals: u32| {
            congestion.note_lag(Duration::from_millis(lag), Duration::from_secs(1));
            for _ in 0..intervals {
                now = now + INTERVAL;
                congestion.note(now, Duration::ZERO);
            }
            (congestion.chatter_shed(), congestion.calls_shed())
        };
        assert_eq!(
            after(&mut congestion, 400, 100),
            (0, 0),
            "less than half of what it may"
        );
        assert!(after(&mut congestion, 800, 300).1 > 500);
        assert_eq!(after(&mut congestion, 100, 300), (0, 0));
    }

    #[test]
    fn chatter_goes_before_any_call_does() {
        let mut congestion = Congestion::default();
        let mut now = Timestamp::from_millis(1_000);
        let mut seen = Vec::new();
        for _ in 0..200 {
            now = now + INTERVAL;
            congestion.note(now, Duration::from_millis(60));
            seen.push((congestion.chatter_shed(), congestion.calls_shed()));
        }
        assert!(
            seen.iter().all(|(chatter, calls)| *calls == 0 || *chatter == 1_000),
            "{seen:?}"
        );
        assert!(
            seen.last().is_some_and(|(_, calls)| *calls > 500 && *calls <= 980),
            "{seen:?}"
        );
    }
}
