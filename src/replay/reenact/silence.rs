//! How time passes from packet to packet: timers fire when they are due. Silence in which nothing can happen is leapt over,
//! and so is what a file has of it beyond all patience.

use super::{HAND_OVER, Reenactment};
use crate::model::Timestamp;
use crate::replay::capture::Captured;
use crate::replay::flaw::FlawKind;
use crate::replay::spool::Disk;
use crate::replay::story::Story;

/// Timers that may fire at one instant.
const TIMERS_AT_ONCE_MAX: usize = 100_000;
/// Rounds of timers that a file may cost however few packets it has: more than a week of silence with a call up, whose
/// recorder alone has six a second.
const ROUNDS_AT_FIRST: u64 = 5_000_000;
/// And so many with each packet: media has one every 20 ms.
const ROUNDS_A_PACKET: u64 = 50;

/// For silence with calls up, in rounds of timers.
pub(super) struct Patience {
    rounds: u64,
    /// Time was leapt over since the packet before, for want of it.
    has_leapt: bool,
    is_told: bool,
}

impl Patience {
    pub(super) const fn new() -> Self {
        Self {
            rounds: ROUNDS_AT_FIRST,
            has_leapt: false,
            is_told: false,
        }
    }
}

impl<D: Disk> Reenactment<D> {
    /// Fires every timer up to the time of a packet.
    pub(super) fn advance(&mut self, until: Timestamp, captured: &Captured<'_>) {
        self.patience.rounds += ROUNDS_A_PACKET;
        self.run_until(until);
        if std::mem::take(&mut self.patience.has_leapt) && !self.patience.is_told {
            self.patience.is_told = true;
            self.note(captured.flaw(FlawKind::TooSilent));
        }
        while let Some((due, index)) = self.leaving.front().copied() {
            if due > until {
                return;
            }
            self.leaving.pop_front();
            let is_over = self.stories.get(&index).is_none_or(Story::is_over);
            if let Some(call) = self.calls.call_mut(index).filter(|_| is_over) {
                call.script = None;
                call.relay = [Vec::new(), Vec::new()];
                call.sources = Default::default();
                self.made_up.remove(&index);
            }
        }
    }

    pub(super) fn run_until(&mut self, until: Timestamp) {
        let since = self.clock.now();
        let mut at_once = 0;
        loop {
            self.leap(since, until);
            let Some(due) = self.engine.poll_timeout().filter(|due| *due <= until) else {
                break;
            };
            at_once = if due > self.clock.now() { 0 } else { at_once + 1 };
            if at_once > TIMERS_AT_ONCE_MAX {
                break;
            }
            self.patience.rounds = self.patience.rounds.saturating_sub(1);
            self.clock.set(due);
            self.engine.handle_timeout(self.clock.now());
            self.settle();
        }
        self.clock.set(until);
    }

    /// Leaps over what of the silence `since` then is not to be heard; what is due there fires late, but before its end.
    fn leap(&mut self, since: Timestamp, until: Timestamp) {
        let now = self.clock.now();
        let is_idle = self.engine.is_idle(now);
        let end = if is_idle {
            self.engine
                .signaling()
                .poll_timeout()
                .map_or(until, |due| due.min(until))
        } else if self.patience.rounds == 0 && now.since(since) >= HAND_OVER {
            until
        } else {
            return;
        };
        let to = end - HAND_OVER;
        if to > now {
            self.clock.set(to);
            self.patience.has_leapt |= !is_idle;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::Arc;

    use super::super::super::forge::{self, ETHERNET, Order, Pcap, millis, rtp};
    use super::super::super::talk::{A, A_MEDIA, B, B_MEDIA, Said, Talk};
    use super::super::super::{Early, Event, ReplayOptions, Report, Shown};
    use super::*;
    use crate::config::embedded_policies;
    use crate::model::{Generation, Outcome};
    use crate::replay::calls::CALLEE;
    use crate::replay::capture::Capture;
    use crate::replay::spool::MemoryDisk;

    const HOUR: u64 = 3_600_000;

    /// A replay that has this patience, and what it has left of it.
    fn replay_in(file: &[u8], rounds: u64) -> (Report, u64) {
        let options = ReplayOptions {
            policies: Arc::new(embedded_policies(Generation(1))),
            faults: Vec::new(),
            trunks: ["caller".into(), "callee".into()],
            config: None,
            shown: Shown::default(),
        };
        let mut capture = Capture::open(file).unwrap();
        let mut reenactment = None;
        while capture.read_packet(|event| match (event, &mut reenactment) {
            (Event::Started(started), slot) => {
                let mut begun =
                    Reenactment::new(&options, MemoryDisk::default(), (started, CALLEE), Default::default());
                begun.patience.rounds = rounds;
                *slot = Some(begun);
            }
            (event, Some(reenactment)) => reenactment.handle(event),
            (_, None) => {}
        }) {}
        let mut reenactment = reenactment.unwrap();
        reenactment.finish();
        let report = Report::of(Some(&reenactment), &Early::default(), (0, 0), None);
        (report, reenactment.patience.rounds)
    }

    fn is_told(report: &Report) -> usize {
        let told = FlawKind::TooSilent.to_string();
        let errors = report.capture.errors.iter();
        errors.filter(|error| error.error.ends_with(&told)).count()
    }

    #[test]
    fn days_without_a_call_cost_next_to_nothing_forwards_and_back() {
        let mut file = Pcap::new(ETHERNET);
        for n in 0..200_u64 {
            file.udp(millis(n * (24 * HOUR - 60_000)), A_MEDIA, B_MEDIA, b"x");
        }
        for n in 0..200_u64 {
            for twice in [0, 1] {
                file.udp(
                    millis(n % 2 * 12 * HOUR + twice),
                    A_MEDIA,
                    B_MEDIA,
                    &[n as u8, twice as u8],
                );
            }
        }
        let (report, left) = replay_in(&file.bytes, ROUNDS_AT_FIRST);
        assert!(left >= ROUNDS_AT_FIRST, "each packet earns what it costs: {left}");
        assert_eq!((report.capture.ignored, is_told(&report)), (600, 0));
    }

    #[test]
    fn a_call_after_days_without_one_is_recorded() {
        let mut talk = Talk::new("monday@test");
        talk.file.udp(millis(0), A_MEDIA, B_MEDIA, b"x");
        talk.now = 23 * HOUR;
        let (report, left) = replay_in(&talk.connected().talk(50).hang_up().file.bytes, 1_000);
        assert!(left > 1_000, "{left}");
        assert_eq!((report.calls[0].outcome, report.is_fine()), (Outcome::Recorded, true));
        assert_eq!((report.calls[0].accepted, report.calls[0].stored), (100, 100));
    }

    /// A call that is silent again and again, for so long.
    fn silent_call(silence: u64) -> Talk {
        let mut talk = Talk::new("silent@test");
        talk.connected();
        for n in 0..30 {
            talk.file.udp(millis(talk.now), A_MEDIA, B_MEDIA, &rtp(0xA, 0, n));
            talk.file.udp(millis(talk.now + 1), B_MEDIA, A_MEDIA, &rtp(0xB, 0, n));
            talk.now += silence;
        }
        talk.hang_up();
        talk
    }

    #[test]
    fn a_call_may_be_silent_for_hours() {
        let (report, _) = replay_in(&silent_call(HOUR).file.bytes, ROUNDS_AT_FIRST);
        assert_eq!((report.is_fine(), is_told(&report)), (true, 0));
        assert_eq!((report.calls[0].accepted, report.calls[0].stored), (60, 60));
    }

    #[test]
    fn silence_beyond_all_patience_is_leapt_over_and_told_and_nothing_is_lost() {
        let (report, left) = replay_in(&silent_call(23 * HOUR).file.bytes, 10_000);
        assert!(left < 10_000, "{left}");
        assert_eq!((report.is_fine(), is_told(&report)), (true, 1), "{}", report.to_text());
        let call = &report.calls[0];
        assert_eq!((call.accepted, call.stored, call.gaps), (60, 60, 0));
        assert_eq!((call.outcome, call.duration_ms / HOUR), (Outcome::Recorded, 30 * 23));
    }

    #[test]
    fn a_call_that_nobody_ends_does_not_make_every_later_packet_dear() {
        let mut talk = Talk::new("endless@test");
        talk.connected();
        let mut bytes = talk.file;
        for n in 1..300 {
            bytes.udp(millis(n * 23 * HOUR), "192.0.2.9:9", "192.0.2.8:8", b"x");
        }
        let (report, _) = replay_in(&bytes.bytes, 10_000);
        assert_eq!((report.capture.ignored, is_told(&report)), (299, 1));
        assert_eq!(report.calls[0].gaps, 0);
    }

    #[test]
    fn a_capture_at_the_end_of_time_is_replayed_to_its_end() {
        let order = Order::Little;
        for ticks in [u64::MAX, u64::MAX - 1_000_000_000, u64::MAX / 1_000] {
            let mut file = forge::section(order);
            file.extend(forge::interface(
                order,
                101,
                Some(if ticks < u64::MAX / 2 { 6 } else { 9 }),
            ));
            let invite = Said {
                start: "INVITE sip:b@example.net SIP/2.0",
                cseq: "1 INVITE",
                by_a: true,
                b_tag: None,
                media: Some(A_MEDIA),
            };
            let frame = forge::ip_udp(A, B, &invite.bytes("last@test"));
            file.extend(forge::enhanced(order, 0, ticks, &frame));
            for n in 0..100 {
                file.extend(forge::enhanced(order, 0, ticks, &forge::ip_udp(A_MEDIA, B_MEDIA, &[n])));
            }
            let (report, left) = replay_in(&file, ROUNDS_AT_FIRST);
            assert_eq!(report.calls.len(), 1);
            assert!(left + 10_000 > ROUNDS_AT_FIRST, "{left}");
        }
    }
}
