//! CRLF keep-alives on connections that we opened (RFC 5626 §3.5.1, §4.4.1): a NAT or firewall on the way keeps them, and one
//! that died in silence is noticed before a call needs it.

use std::time::Duration;

use crate::model::Timestamp;

pub(super) const PING: &[u8] = b"\r\n\r\n";
pub(super) const PONG: &[u8] = b"\r\n";

/// A connection is pinged when nothing came for between these (RFC 5626 §4.4.1), each after a time of its own.
const QUIET_MIN: Duration = Duration::from_secs(95);
const QUIET_MAX: Duration = Duration::from_secs(120);
/// Within this a pong comes (RFC 5626 §4.4.1).
const PONG_MAX: Duration = Duration::from_secs(10);

/// What is to be done when [`KeepAlive::due`] has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Look {
    Ping,
    /// A peer that has answered pings before did not answer this one.
    Dead,
}

#[derive(Debug)]
pub(super) struct KeepAlive {
    quiet: Duration,
    /// When something came last, or a ping was sent.
    since: Timestamp,
    is_pinged: bool,
    /// The peer has answered a ping: not all do.
    ponged: bool,
}

impl KeepAlive {
    /// `number` tells the connection from others: they are not all pinged at once.
    pub(super) fn new(now: Timestamp, number: u64) -> Self {
        let spread = (QUIET_MAX - QUIET_MIN).as_secs() + 1;
        Self {
            quiet: QUIET_MIN + Duration::from_secs(number.wrapping_mul(7) % spread),
            since: now,
            is_pinged: false,
            ponged: false,
        }
    }

    /// The peer keeps its end of the connection: for a registration that is renewed by it, or a call.
    pub(super) const fn is_answered(&self) -> bool {
        self.ponged
    }

    pub(super) fn due(&self) -> Timestamp {
        let wait = if self.is_pinged && self.ponged {
            PONG_MAX
        } else {
            self.quiet
        };
        self.since + wait
    }

    /// These bytes came. `between`: no message had begun before them. Returns whether they are the answer to a ping, and no more.
    pub(super) fn on_read(&mut self, now: Timestamp, bytes: &[u8], between: bool) -> bool {
        let is_pong = self.is_pinged && between && bytes == PONG;
        self.ponged |= is_pong;
        self.is_pinged = false;
        self.since = now;
        is_pong
    }

    pub(super) fn look(&mut self, now: Timestamp) -> Look {
        if self.is_pinged && self.ponged {
            return Look::Dead;
        }
        self.is_pinged = true;
        self.since = now;
        Look::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_peer_that_answers_pings_is_dead_when_one_is_not_answered() {
        let mut life = KeepAlive::new(at(0), 0);
        assert_eq!(life.due(), at(95));
        assert_eq!(life.look(at(95)), Look::Ping);
        assert_eq!(life.due(), at(190), "it may know none");
        assert!(life.on_read(at(96), PONG, true));
        assert_eq!(life.due(), at(191));
        assert_eq!(life.look(at(191)), Look::Ping);
        assert_eq!(life.due(), at(201));
        assert_eq!(life.look(at(201)), Look::Dead);
    }

    #[test]
    fn whatever_comes_shows_that_a_connection_lives_and_a_line_end_of_a_message_is_no_pong() {
        let mut life = KeepAlive::new(at(0), 0);
        life.look(at(95));
        assert!(!life.on_read(at(96), PONG, false));
        life.look(at(191));
        assert_eq!(life.due(), at(286), "nothing was answered yet");
        assert!(life.on_read(at(192), PONG, true));
        life.look(at(287));
        assert!(!life.on_read(at(290), b"OPTIONS", true));
        assert_eq!((life.due(), life.look(at(385))), (at(385), Look::Ping));
    }

    #[test]
    fn connections_are_pinged_at_times_of_their_own_within_the_two_minutes() {
        let mut quiet: Vec<u64> = (0..26)
            .map(|number| KeepAlive::new(at(0), number).quiet.as_secs())
            .collect();
        quiet.sort_unstable();
        assert_eq!(quiet, (95..=120).collect::<Vec<u64>>());
        assert!(KeepAlive::new(at(0), u64::MAX).quiet <= QUIET_MAX);
    }
}
