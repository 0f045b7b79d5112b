//! How a source's timestamps go with time: sound per packet, pauses (DTX) and jumps of its clock.

use std::time::Duration;

use crate::model::Timestamp;

/// No codec of telephony puts more sound into one packet (RFC 3551 §4.2); the shortest pause, too. In parts of a second.
const PACKETS_A_SECOND_MIN: u32 = 5;

/// In ns.
const SECOND: u64 = 1_000_000_000;

/// One source's cadence. Takes only packets whose timestamps run with time: no telephone events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cadence {
    /// In Hz, not zero.
    clock_rate: u32,
    at: Timestamp,
    timestamp: u32,
    /// Ticks from packet to packet; zero before they are known.
    step: u32,
    /// As the last two packets had it.
    candidate: u32,
    pub step_changes: u32,
    is_paused: bool,
    pub pauses: u32,
    /// In µs: its ticks are those of more than one clock where its source changes that.
    paused: u64,
    pub jumps: u32,
}

impl Cadence {
    /// Begins with a packet. None: no clock rate, no cadence.
    pub const fn new(clock_rate: u32, at: Timestamp, timestamp: u32) -> Option<Self> {
        if clock_rate == 0 {
            return None;
        }
        Some(Self {
            clock_rate,
            at,
            timestamp,
            step: 0,
            candidate: 0,
            step_changes: 0,
            is_paused: false,
            pauses: 0,
            paused: 0,
            jumps: 0,
        })
    }

    /// Goes on from this packet, with this clock: its source began anew.
    pub const fn begin_anew(&mut self, clock_rate: u32, at: Timestamp, timestamp: u32) {
        if clock_rate != 0 {
            // As long as before, by the new clock: at most a fifth of its second.
            let step = self.step as u64 * clock_rate as u64 / self.clock_rate as u64;
            self.step = step as u32;
            (self.clock_rate, self.at, self.timestamp) = (clock_rate, at, timestamp);
            (self.candidate, self.is_paused) = (0, false);
        }
    }

    /// The next packet in order, `skipped` numbers after the last. True if its clock jumped.
    pub fn update(&mut self, at: Timestamp, timestamp: u32, skipped: u16) -> bool {
        let ticks = timestamp.wrapping_sub(self.timestamp).cast_signed();
        let is_in_time = self.is_in_time(at, timestamp);
        (self.at, self.timestamp) = (at, timestamp);
        if !is_in_time {
            self.jumps = self.jumps.saturating_add(1);
            (self.candidate, self.is_paused) = (0, false);
            return true;
        }
        // Of the packets of a video frame, and behind loss, nothing is learned.
        if let (Ok(ticks @ 1..), 0) = (u32::try_from(ticks), skipped) {
            self.learn(ticks);
        }
        false
    }

    /// Whether the timestamp of a packet that comes late is of the clock as it goes now.
    pub fn is_in_time(&self, at: Timestamp, timestamp: u32) -> bool {
        let ticks = timestamp.wrapping_sub(self.timestamp).cast_signed();
        let elapsed = self.ticks_of(at.since(self.at));
        elapsed.abs_diff(i64::from(ticks)) <= u64::from(self.clock_rate)
    }

    fn learn(&mut self, ticks: u32) {
        let longest = self.clock_rate / PACKETS_A_SECOND_MIN;
        let silent = ticks.saturating_sub(self.step);
        if ticks > longest && silent >= longest {
            self.paused = self.paused.saturating_add(self.micros_of(silent));
            self.pauses = self.pauses.saturating_add(!self.is_paused as u32);
            self.is_paused = true;
            return;
        }
        self.is_paused = false;
        if ticks == self.candidate && ticks != self.step && ticks <= longest {
            self.step_changes = self.step_changes.saturating_add((self.step != 0) as u32);
            self.step = ticks;
        }
        self.candidate = ticks;
    }

    fn ticks_of(&self, span: Duration) -> i64 {
        let rate = u64::from(self.clock_rate);
        let whole = span.as_secs().saturating_mul(rate);
        let ticks = whole.saturating_add(u64::from(span.subsec_nanos()) * rate / SECOND);
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }

    /// Sound in a packet; zero while that is not known.
    pub fn packet(&self) -> Duration {
        Duration::from_micros(self.micros_of(self.step))
    }

    /// In which the source sent nothing while its clock went on.
    pub fn paused(&self) -> Duration {
        Duration::from_micros(self.paused)
    }

    fn micros_of(&self, ticks: u32) -> u64 {
        u64::from(ticks) * 1_000_000 / u64::from(self.clock_rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLOCK: u32 = 8_000;
    const SPAN: Duration = Duration::from_secs(1);

    /// Packets of (ms since the last, ticks since the last).
    fn feed(cadence: &mut Cadence, packets: impl IntoIterator<Item = (u64, u32)>) {
        for (ms, ticks) in packets {
            let (at, timestamp) = (cadence.at + Duration::from_millis(ms), cadence.timestamp);
            cadence.update(at, timestamp.wrapping_add(ticks), 0);
        }
    }

    fn fed(packets: impl IntoIterator<Item = (u64, u32)>) -> Cadence {
        let mut cadence = Cadence::new(CLOCK, Timestamp::from_millis(1_000), u32::MAX - 500).expect("a clock");
        feed(&mut cadence, packets);
        cadence
    }

    #[test]
    fn twenty_milliseconds_are_learned_and_a_change_to_forty_is_one_change() {
        let mut cadence = fed([(20, 160); 10]);
        assert_eq!((cadence.packet(), cadence.step_changes), (Duration::from_millis(20), 0));
        feed(&mut cadence, [(40, 320); 10]);
        assert_eq!((cadence.packet(), cadence.step_changes), (Duration::from_millis(40), 1));
        assert_eq!((cadence.pauses, cadence.jumps), (0, 0));
    }

    #[test]
    fn a_pause_is_what_the_clock_went_on_by_without_a_packet() {
        let mut cadence = fed([(20, 160); 10]);
        feed(&mut cadence, [(1_020, 8_160), (20, 160), (20, 160)]);
        assert_eq!((cadence.pauses, cadence.paused()), (1, Duration::from_secs(1)));
        feed(&mut cadence, [(400, 3_200); 5]);
        let paused = Duration::from_millis(1_000 + 5 * 380);
        assert_eq!((cadence.pauses, cadence.paused()), (2, paused), "one of five parts");
        assert_eq!((cadence.packet(), cadence.jumps), (Duration::from_millis(20), 0));
    }

    #[test]
    fn a_clock_that_jumps_ahead_or_back_or_stands_still_is_a_jump_and_no_pause() {
        let mut cadence = fed([(20, 160); 10]);
        feed(
            &mut cadence,
            [(20, 80_000), (20, 160), (20, 80_000_u32.wrapping_neg()), (20, 160)],
        );
        assert_eq!(cadence.jumps, 2);
        feed(&mut cadence, [(5_000, 160), (20, 160)]);
        assert_eq!((cadence.jumps, cadence.pauses), (3, 0));
    }

    /// Opus in 60 ms, then PCMU by the same source.
    #[test]
    fn the_length_of_packets_and_pauses_outlive_a_change_of_clock() {
        let (at, ms) = (Timestamp::from_millis(1_000), Duration::from_millis);
        let mut cadence = Cadence::new(48_000, at, 0).expect("a clock");
        feed(&mut cadence, [(60, 2_880); 5]);
        feed(&mut cadence, [(1_060, 50_880), (60, 2_880), (60, 2_880)]);
        assert_eq!((cadence.packet(), cadence.paused()), (ms(60), ms(1_000)));

        cadence.begin_anew(CLOCK, cadence.at + ms(60), 77);
        assert_eq!(
            (cadence.packet(), cadence.paused()),
            (ms(60), ms(1_000)),
            "by the new clock"
        );
        feed(&mut cadence, [(250, 2_000)]);
        assert_eq!(
            (cadence.pauses, cadence.paused()),
            (1, ms(1_000)),
            "190 ms are no pause"
        );
        feed(&mut cadence, [(20, 160), (20, 160), (20, 160)]);
        assert_eq!((cadence.packet(), cadence.step_changes), (ms(20), 1));
        feed(&mut cadence, [(520, 4_160)]);
        assert_eq!((cadence.pauses, cadence.paused()), (2, ms(1_500)));
    }

    #[test]
    fn without_a_clock_rate_there_is_no_cadence() {
        assert_eq!(Cadence::new(0, Timestamp::ZERO, 0), None);
    }

    proptest! {
        #[test]
        fn wild_clocks_neither_panic_nor_overflow(
            clock in 1_u32..,
            packets in proptest::collection::vec((any::<u64>(), any::<u32>(), any::<u16>()), 0..50),
        ) {
            let mut cadence = Cadence::new(clock, Timestamp::ZERO, 0).expect("a clock");
            for (at, timestamp, skipped) in packets {
                cadence.update(Timestamp::from_nanos(at), timestamp, skipped);
            }
            let _ = (cadence.packet(), cadence.paused());
        }

        #[test]
        fn a_source_that_changes_its_clock_again_and_again_neither_panics_nor_overflows(
            packets in proptest::collection::vec(
                (0..2_000_u64, any::<bool>(), 1..30_000_u32, prop::option::weighted(0.2, 1_u32..)), 0..200),
        ) {
            let mut cadence = Cadence::new(48_000, Timestamp::ZERO, 0).expect("a clock");
            let mut elapsed = Duration::ZERO;
            for (ms, repeats, ticks, clock) in packets {
                let (at, ticks) = (cadence.at + Duration::from_millis(ms), if repeats { cadence.candidate } else { ticks });
                elapsed += Duration::from_millis(ms) + SPAN;
                let timestamp = cadence.timestamp.wrapping_add(ticks);
                if let Some(clock) = clock {
                    let packet = cadence.packet();
                    cadence.begin_anew(clock, at, timestamp);
                    prop_assert!(cadence.packet() <= packet && packet <= SPAN / 5);
                } else {
                    cadence.update(at, timestamp, 0);
                }
                // A clock that is not in time is a jump, so no pause is longer than what passed, and a second.
                prop_assert!(cadence.paused() <= elapsed);
            }
        }
    }
}
