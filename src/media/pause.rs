//! A paused recording: media passes, and of all of it only a pulse is kept.
//!
//! What arrived before the pause and is read later is kept; what arrived in the pause and is read after it is not, nor is what
//! repeats it. The pulse
//! goes the way of every packet (fork, intake, disk), so a recorder that fails is noticed in a pause as it is at any time.

use std::time::Duration;

use crate::model::Timestamp;

/// How often a pulse is kept while media passes: what tells that somebody sent something tells no more than that.
pub(super) const PULSE_EVERY: Duration = Duration::from_millis(100);
/// How long after a pause packets are not kept that may repeat what was said in it: text and keys (RFC 4103 §4.2, RFC 4733 §2.5.1.4).
const ECHO: Duration = Duration::from_secs(2);
/// A pause that begins so soon after the last counts as one with it: packets of the last may not have been read yet.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Pause {
    /// The newest, and where it ends, if it has.
    span: Option<(Timestamp, Option<Timestamp>)>,
    pulse_at: Timestamp,
}

impl Pause {
    /// Whether that changes anything.
    pub(super) fn set(&mut self, now: Timestamp, is_paused: bool) -> bool {
        match (self.span, is_paused) {
            (None | Some((_, Some(_))), false) | (Some((_, None)), true) => return false,
            (Some((since, Some(until))), true) if now < until + SETTLE => self.span = Some((since, None)),
            (_, true) => self.span = Some((now, None)),
            (Some((since, None)), false) => self.span = Some((since, Some(now))),
        }
        self.pulse_at = now;
        true
    }

    /// Whether a packet that arrived then is not kept. `repeats`: what it brings may have been sent before.
    #[inline]
    pub(super) fn withholds(&self, at: Timestamp, repeats: impl FnOnce() -> bool) -> bool {
        let Some((_, until)) = self.span.filter(|(since, _)| *since <= at) else {
            return false;
        };
        until.is_none_or(|until| at < until || (at < until + ECHO && repeats()))
    }

    /// A pulse is to be kept now.
    pub(super) fn take_pulse(&mut self, now: Timestamp) -> bool {
        let is_due = self.pulse_at <= now;
        if is_due {
            self.pulse_at = now + PULSE_EVERY;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrived_in_the_pause_is_withheld_whenever_it_is_read() {
        let at = Timestamp::from_millis;
        let mut pause = Pause::default();
        assert!(!pause.set(at(5), false), "it was not paused");
        assert!(pause.set(at(10), true) && !pause.set(at(11), true));
        let is_withheld = |pause: &Pause, ms| pause.withholds(at(ms), || false);
        assert!(!is_withheld(&pause, 9) && is_withheld(&pause, 10) && is_withheld(&pause, 5_000));
        assert!(pause.set(at(20), false));
        assert!(is_withheld(&pause, 19) && !is_withheld(&pause, 20) && !is_withheld(&pause, 9));
        assert!(pause.withholds(at(2_019), || true), "text of the pause, said again");
        assert!(!pause.withholds(at(2_020), || true));

        assert!(pause.set(at(25), true), "too soon to be another");
        assert!(is_withheld(&pause, 19), "it may still be on its way");
        assert!(pause.set(at(30), false) && pause.set(at(2_000), true));
        assert!(!is_withheld(&pause, 1_999) && is_withheld(&pause, 2_000));
    }

    #[test]
    fn a_pulse_is_due_at_once_and_then_ten_times_a_second() {
        let mut pause = Pause::default();
        pause.set(Timestamp::from_millis(1_000), true);
        let pulses = (1_000..2_000).filter(|ms| pause.take_pulse(Timestamp::from_millis(*ms)));
        assert_eq!(pulses.count(), 10);
    }
}
