//! Which destinations are avoided for now: those that failed (RFC 3263 §4.3), and those that probes found dead.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::Timestamp;
use crate::sip::Transport;

/// For how long a destination is avoided after its first failure; doubled with each that follows.
pub const AVOIDED_MIN: Duration = Duration::from_secs(30);
pub const AVOIDED_MAX: Duration = Duration::from_secs(600);
/// Destinations that are remembered. Full: the one that is free again soonest is forgotten.
const REMEMBERED_MAX: usize = 4_096;

/// Where a request goes: the path without our end.
pub type Place = (Transport, SocketAddr);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Condition {
    failures: u32,
    avoided_until: Timestamp,
    /// So long it has asked to be left alone.
    told_until: Timestamp,
    /// By probes: only an answer ends it.
    down: bool,
}

/// How destinations fared. Nothing is known of one that is not in it: it is as good as any.
#[derive(Clone, Debug, Default)]
pub struct Health {
    known: BTreeMap<Place, Condition>,
}

impl Health {
    /// It timed out, could not be reached, or answered 503; `retry_after` is what the 503 said (RFC 3261 §21.5.4). What fails
    /// while it is avoided is of the same outage.
    pub fn on_failure(&mut self, now: Timestamp, place: Place, retry_after: Option<Duration>) {
        let condition = self.entry(place);
        if condition.avoided_until > now && retry_after.is_none() {
            return;
        }
        let doubled = AVOIDED_MIN.saturating_mul(1_u32.checked_shl(condition.failures).unwrap_or(u32::MAX));
        let pause = retry_after.unwrap_or(doubled).min(AVOIDED_MAX);
        condition.failures = condition.failures.saturating_add(1);
        condition.avoided_until = condition.avoided_until.max(now + pause);
        if retry_after.is_some() {
            condition.told_until = condition.told_until.max(now + pause);
        }
    }

    /// It answered something else than a call, which says nothing of the calls that it has asked to hold back.
    pub fn on_alive(&mut self, now: Timestamp, place: Place) {
        match self.known.get_mut(&place) {
            Some(condition) if condition.told_until > now => {
                condition.down = false;
                condition.avoided_until = condition.told_until;
            }
            _ => self.on_success(place),
        }
    }

    /// It answered: all is forgotten.
    pub fn on_success(&mut self, place: Place) {
        self.known.remove(&place);
    }

    /// Probes had no answer.
    pub fn on_down(&mut self, place: Place) {
        self.entry(place).down = true;
    }

    /// Only a destination that nothing else can be sent to is used while this holds.
    pub fn is_avoided(&self, now: Timestamp, place: Place) -> bool {
        self.known
            .get(&place)
            .is_some_and(|condition| condition.down || condition.avoided_until > now)
    }

    pub fn is_down(&self, place: Place) -> bool {
        self.known.get(&place).is_some_and(|condition| condition.down)
    }

    /// Forgets what is no destination any more.
    pub fn retain(&mut self, is_destination: impl Fn(Place) -> bool) {
        self.known.retain(|place, _| is_destination(*place));
    }

    fn entry(&mut self, place: Place) -> &mut Condition {
        if self.known.len() >= REMEMBERED_MAX
            && !self.known.contains_key(&place)
            && let Some(oldest) = self.known.iter().min_by_key(|(_, c)| c.avoided_until).map(|(p, _)| *p)
        {
            self.known.remove(&oldest);
        }
        self.known.entry(place).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16) -> Place {
        (Transport::Udp, SocketAddr::from(([192, 0, 2, 1], port)))
    }

    #[test]
    fn each_failure_doubles_the_pause_up_to_its_limit() {
        let mut health = Health::default();
        let mut now = Timestamp::ZERO;
        for seconds in [30, 60, 120, 240, 480, 600, 600] {
            health.on_failure(now, place(1), None);
            let free = now + Duration::from_secs(seconds);
            assert!(health.is_avoided(free - Duration::from_nanos(1), place(1)), "{seconds}");
            assert!(!health.is_avoided(free, place(1)), "{seconds}");
            now = free;
        }
        for _ in 0..100 {
            health.on_failure(now, place(1), None);
        }
        assert!(!health.is_avoided(now + AVOIDED_MAX, place(1)));
    }

    #[test]
    fn requests_that_fail_of_one_outage_count_once() {
        let mut health = Health::default();
        for _ in 0..20 {
            health.on_failure(Timestamp::ZERO, place(1), None);
        }
        let over = Timestamp::ZERO + AVOIDED_MIN;
        assert!(!health.is_avoided(over, place(1)));
        health.on_failure(over, place(1), None);
        assert!(
            health.is_avoided(over + AVOIDED_MIN, place(1)),
            "the next one doubles it"
        );
    }

    #[test]
    fn an_answer_clears_everything_and_time_does_not_bring_up_what_probes_found_down() {
        let mut health = Health::default();
        health.on_down(place(1));
        let late = Timestamp::ZERO + Duration::from_secs(86_400);
        assert!(health.is_avoided(late, place(1)) && health.is_down(place(1)));
        health.on_success(place(1));
        assert!(!health.is_avoided(Timestamp::ZERO, place(1)));
        health.on_failure(late, place(1), None);
        assert!(
            !health.is_avoided(late + AVOIDED_MIN, place(1)),
            "the count begins anew"
        );
    }

    #[test]
    fn a_503_may_say_how_long_within_the_limit() {
        let mut health = Health::default();
        health.on_failure(Timestamp::ZERO, place(1), Some(Duration::from_secs(5)));
        assert!(!health.is_avoided(Timestamp::ZERO + Duration::from_secs(5), place(1)));
        health.on_failure(Timestamp::ZERO, place(1), Some(Duration::from_secs(1 << 40)));
        assert!(!health.is_avoided(Timestamp::ZERO + AVOIDED_MAX, place(1)));
    }

    #[test]
    fn a_probe_that_is_answered_ends_no_pause_that_was_asked_for() {
        let mut health = Health::default();
        let until = Timestamp::ZERO + Duration::from_secs(90);
        health.on_failure(Timestamp::ZERO, place(1), Some(Duration::from_secs(90)));
        health.on_down(place(1));
        health.on_alive(Timestamp::ZERO, place(1));
        assert!(!health.is_down(place(1)) && health.is_avoided(until - Duration::from_nanos(1), place(1)));
        health.on_alive(until, place(1));
        assert!(health.known.is_empty());

        health.on_failure(until, place(1), None);
        health.on_alive(until, place(1));
        assert!(!health.is_avoided(until, place(1)), "it was only not there");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut health = Health::default();
        for port in 0..=u16::MAX {
            health.on_failure(Timestamp::from_millis(u64::from(port)), place(port), None);
        }
        assert_eq!(health.known.len(), REMEMBERED_MAX);
        assert!(health.is_avoided(Timestamp::from_millis(65_536), place(u16::MAX)));
    }
}
