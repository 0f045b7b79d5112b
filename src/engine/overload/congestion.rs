//! How overloaded we are: what the line before us refuses, and how far the recorder trails.

use std::time::Duration;

use crate::model::Timestamp;

/// Shares are told in thousandths.
const WHOLE: u32 = 1_000;
/// New calls are never all refused: what gets through is how the end of the overload is seen.
pub const CALLS_SHED_MAX: u32 = 980;

/// The recorder may trail by so many thousandths of what it may at most without a call being refused for it. Strict calls
/// that are up end when it trails by all of it, so new ones are held back before: all but the last at [`TRAILS_FAR`].
const TRAILS: u32 = 600;
const TRAILS_FAR: u32 = 850;
/// From here on chatter is shed, all of it at [`TRAILS`].
const TRAILS_A_LITTLE: u32 = 500;
/// What counts is how far it trailed over so long: one that stands still is down before it is overloaded, and its strict calls
/// are refused for that, in the way that their policies say.
const TRAILED_FOR: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, Default)]
pub struct Congestion {
    /// Of new calls, in thousandths: what the line refuses.
    refused: u32,
    /// The recorder's lag of late in thousandths of what it may be.
    lag: f64,
    heard: Option<Timestamp>,
    thought: Timestamp,
}

impl Congestion {
    /// The line refuses this share of new calls now, in thousandths.
    pub fn note_refused(&mut self, now: Timestamp, share: u32) {
        self.refused = share.min(CALLS_SHED_MAX);
        self.thought = now;
    }

    /// The recorder trails by so much of what it may.
    pub fn note_lag(&mut self, now: Timestamp, lag: Duration, lag_max: Duration) {
        let share = f64::from(WHOLE) * (lag.as_secs_f64() / lag_max.as_secs_f64().max(f64::EPSILON)).min(1.0);
        let since = self.heard.map_or(Duration::ZERO, |heard| now.since(heard));
        self.lag += (share - self.lag) * (since.as_secs_f64() / TRAILED_FOR.as_secs_f64()).min(1.0);
        self.heard = Some(now);
        self.thought = now;
    }

    /// Of OPTIONS, REGISTER and their like, in thousandths, on behalf of the recorder.
    pub fn chatter_shed(&self) -> u32 {
        between(self.lag as u32, TRAILS_A_LITTLE, TRAILS)
    }

    /// Of new calls, in thousandths, on behalf of the recorder.
    pub fn calls_shed(&self) -> u32 {
        between(self.lag as u32, TRAILS, TRAILS_FAR).min(CALLS_SHED_MAX)
    }

    /// Of new calls, in thousandths, that a peer should hold back by itself.
    pub fn calls_unwelcome(&self) -> u32 {
        self.calls_shed().max(self.refused)
    }

    /// When the shares were last thought over.
    pub const fn thought(&self) -> Timestamp {
        self.thought
    }
}

/// How far `value` is on its way from `low` to `high`.
fn between(value: u32, low: u32, high: u32) -> u32 {
    value.clamp(low, high).saturating_sub(low) * WHOLE / (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    /// Heartbeats of so many seconds.
    fn trailing(millis: u64, seconds: u64) -> Congestion {
        let mut congestion = Congestion::default();
        for quarter in 0..seconds * 4 {
            let now = NOW + Duration::from_millis(250 * quarter);
            congestion.note_lag(now, Duration::from_millis(millis), Duration::from_secs(1));
        }
        congestion
    }

    #[test]
    fn a_recorder_that_trails_holds_new_calls_back_before_it_ends_those_that_are_up() {
        let shed = |millis| (trailing(millis, 60).chatter_shed(), trailing(millis, 60).calls_shed());
        assert_eq!(shed(500), (0, 0), "half of what it may");
        assert_eq!(shed(601), (1_000, 0), "chatter goes before any call does");
        assert!(shed(800).1 > 500);
        assert_eq!([860, 1_000, 60_000].map(|millis| shed(millis).1), [980; 3]);
    }

    #[test]
    fn a_recorder_that_stands_still_is_no_overload() {
        assert_eq!(trailing(60_000, 2).calls_shed(), 0);
    }

    #[test]
    fn peers_are_told_of_what_is_refused_for_either_reason() {
        let mut congestion = trailing(701, 120);
        assert_eq!(congestion.calls_unwelcome(), 400);
        congestion.note_refused(NOW, 750);
        assert_eq!((congestion.calls_unwelcome(), congestion.calls_shed()), (750, 400));
        congestion.note_refused(NOW, 1_000);
        assert_eq!(congestion.calls_unwelcome(), 980);
    }
}
