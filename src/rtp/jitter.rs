//! Interarrival jitter (RFC 3550 §6.4.1, §A.8).

use crate::model::Timestamp;

/// In ns.
const SECOND: u64 = 1_000_000_000;

/// One source's jitter, in integers as RFC 3550 §A.8 has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Jitter {
    clock_rate: u32,
    transit: Option<u32>,
    /// Scaled by 16.
    scaled: u64,
}

impl Jitter {
    pub const fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// `clock_rate` in Hz.
    pub const fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            transit: None,
            scaled: 0,
        }
    }

    /// Takes a packet's arrival time and its RTP timestamp.
    pub fn update(&mut self, at: Timestamp, rtp_timestamp: u32) {
        let (nanos, rate) = (at.as_nanos(), u64::from(self.clock_rate));
        let arrival = (nanos / SECOND)
            .wrapping_mul(rate)
            .wrapping_add(nanos % SECOND * rate / SECOND);
        let transit = (arrival as u32).wrapping_sub(rtp_timestamp); // modulo 2^32, as the clock itself
        if let Some(before) = self.transit.replace(transit) {
            let distance = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            self.scaled = self.scaled + u64::from(distance) - ((self.scaled + 8) >> 4);
        }
    }

    /// The next packet is compared with none: its source's clock was set anew.
    pub const fn forget(&mut self) {
        self.transit = None;
    }

    /// In timestamp units, as a receiver report has it.
    pub const fn units(&self) -> u32 {
        (self.scaled >> 4) as u32 // distances are below 2^31, and so is their mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_no_jitter_even_over_a_wrap_of_its_clock() {
        let mut jitter = Jitter::new(8_000);
        for packet in 0..500_u32 {
            jitter.update(
                Timestamp::from_millis(1_000_000 + u64::from(packet) * 20),
                (u32::MAX - 8_000).wrapping_add(packet * 160),
            );
        }
        assert_eq!(jitter.units(), 0);
    }

    #[test]
    fn packets_that_come_ten_milliseconds_early_and_late_settle_at_that_distance() {
        let mut jitter = Jitter::new(8_000);
        for packet in 0..500_u32 {
            let early = u64::from(packet % 2) * 10;
            jitter.update(
                Timestamp::from_millis(1_000_000 + u64::from(packet) * 20 - early),
                packet * 160,
            );
        }
        assert!((70..=80).contains(&jitter.units()), "{}", jitter.units());
    }

    #[test]
    fn wild_times_neither_panic_nor_overflow() {
        let mut jitter = Jitter::new(u32::MAX);
        for step in 0..1_000_u32 {
            jitter.update(
                Timestamp::from_nanos(u64::from(step).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                step << 31,
            );
        }
    }
}
