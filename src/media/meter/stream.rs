//! One RTP stream as one leg sends it, counted packet by packet without allocating.

use std::time::Duration;

use super::formats::{Content, Format, Formats};
use super::reports::Reports;
use crate::model::{Quality, Ssrc, Timestamp};
use crate::rtp::e_model::{Coding, Loss};
use crate::rtp::{Arrival, Cadence, ExtendedSequence, Jitter, Recent, RtpHeader};

/// No payload type.
const UNKNOWN: u8 = u8::MAX;

/// Jitter buffers hold about twice the jitter: the E-model wants the delay that they add.
const BUFFERED: u32 = 2;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) ssrc: Ssrc,
    pub(super) side: u8,
    /// The most frequent payload types and how often each was seen: the least frequent gives way to a new one.
    payload_types: [(u8, u32); 4],
    /// That of the packet before, and what it means.
    current: (u8, Format),
    sequence: ExtendedSequence,
    recent: Recent,
    pub(super) packets: u64,
    duplicates: u64,
    reordered: u64,
    holes: u64,
    restarts: u64,
    /// None before the first packet with a clock that runs.
    cadence: Option<Cadence>,
    jitter: Jitter,
    jitter_sum: u64,
    jitter_max: u32,
    jitter_packets: u64,
    /// From the first RTCP about it on.
    reports: Option<Box<Reports>>,
}

const NO_FORMAT: (u8, Format) = (
    UNKNOWN,
    Format {
        content: Content::Other,
        clock_rate: 0,
        coding: None,
    },
);

impl Stream {
    pub(super) fn new(side: u8, rtp: &RtpHeader<'_>) -> Self {
        Self {
            ssrc: rtp.ssrc,
            side,
            payload_types: [(rtp.payload_type, 1), (0, 0), (0, 0), (0, 0)],
            current: NO_FORMAT,
            sequence: ExtendedSequence::new(rtp.sequence),
            recent: Recent::default(),
            packets: 1,
            duplicates: 0,
            reordered: 0,
            holes: 0,
            restarts: 0,
            cadence: None,
            jitter: Jitter::new(0),
            jitter_sum: 0,
            jitter_max: 0,
            jitter_packets: 0,
            reports: None,
        }
    }

    pub(super) const fn forget_format(&mut self) {
        self.current.0 = UNKNOWN;
    }

    /// What this packet's payload type means, unless it is that of the packet before.
    pub(super) fn look_up(&mut self, rtp: &RtpHeader<'_>, formats: &Formats) {
        if self.current.0 != rtp.payload_type {
            self.current = (rtp.payload_type, formats.of(self.side, rtp.payload_type));
        }
    }

    /// As it was looked up last.
    pub(super) const fn format(&self) -> &Format {
        &self.current.1
    }

    /// The first packet, which is counted already.
    pub(super) fn begin(&mut self, at: Timestamp, rtp: &RtpHeader<'_>) {
        if runs(self.format()) {
            self.time(at, rtp, 0);
        }
    }

    pub(super) fn count(&mut self, at: Timestamp, rtp: &RtpHeader<'_>) {
        self.packets += 1;
        self.count_type(rtp.payload_type);
        let highest = self.sequence.highest();
        match self.sequence.update(rtp.sequence) {
            Arrival::Next { skipped, .. } => {
                self.recent.on_next(u32::from(skipped) + 1);
                self.holes += u64::from(skipped > 0);
                if runs(self.format()) {
                    self.time(at, rtp, skipped);
                }
            }
            Arrival::Late { sequence } if self.recent.on_late(highest - sequence) => self.duplicates += 1,
            Arrival::Late { .. } => {
                self.reordered += 1;
                self.time_late(at, rtp);
            }
            Arrival::Restarted { .. } => {
                self.restarts += 1;
                self.recent = Recent::default();
                self.jitter.forget();
                let format = &self.current.1;
                if let Some(cadence) = &mut self.cadence
                    && runs(format)
                {
                    cadence.begin_anew(format.clock_rate, at, rtp.timestamp);
                }
            }
            Arrival::Stray => {}
        }
    }

    fn time(&mut self, at: Timestamp, rtp: &RtpHeader<'_>, skipped: u16) {
        let clock_rate = self.format().clock_rate;
        let is_same_clock = self.jitter.clock_rate() == clock_rate;
        if !is_same_clock {
            self.rescale_jitter(clock_rate);
        }
        match &mut self.cadence {
            Some(cadence) if is_same_clock => {
                if cadence.update(at, rtp.timestamp, skipped) {
                    self.jitter.forget();
                }
            }
            Some(cadence) => cadence.begin_anew(clock_rate, at, rtp.timestamp),
            None => self.cadence = Cadence::new(clock_rate, at, rtp.timestamp),
        }
        self.shake(at, rtp.timestamp);
    }

    /// What was summed up in units of the old clock is as long in those of the new.
    fn rescale_jitter(&mut self, clock_rate: u32) {
        let (new, old) = (u128::from(clock_rate), u128::from(self.clock_rate().max(1)));
        let rescaled = |units: u128| units * new / old;
        self.jitter_sum = u64::try_from(rescaled(self.jitter_sum.into())).unwrap_or(u64::MAX);
        self.jitter_max = u32::try_from(rescaled(self.jitter_max.into())).unwrap_or(u32::MAX);
        self.jitter = Jitter::new(clock_rate);
    }

    /// Jitter is of packets as they arrive, not as they were sent (RFC 3550 §6.4.1).
    fn time_late(&mut self, at: Timestamp, rtp: &RtpHeader<'_>) {
        let is_of_clock = runs(self.format()) && self.jitter.clock_rate() == self.format().clock_rate;
        let cadence = self.cadence.as_ref().filter(|_| is_of_clock);
        if cadence.is_some_and(|cadence| cadence.is_in_time(at, rtp.timestamp)) {
            self.shake(at, rtp.timestamp);
        }
    }

    fn shake(&mut self, at: Timestamp, timestamp: u32) {
        self.jitter.update(at, timestamp);
        let units = self.jitter.units();
        self.jitter_sum = self.jitter_sum.saturating_add(units.into());
        self.jitter_packets += 1;
        self.jitter_max = self.jitter_max.max(units);
    }

    fn count_type(&mut self, payload_type: u8) {
        let types = &mut self.payload_types;
        if types[0].0 == payload_type {
            types[0].1 = types[0].1.saturating_add(1);
            return;
        }
        let known = types.iter().position(|(known, _)| *known == payload_type);
        let mut slot = known.unwrap_or(types.len() - 1);
        types[slot] = (payload_type, types[slot].1.saturating_add(1));
        while slot > 0 && types[slot].1 > types[slot - 1].1 {
            types.swap(slot, slot - 1);
            slot -= 1;
        }
    }

    /// The most frequent.
    pub(super) const fn payload_type(&self) -> u8 {
        self.payload_types[0].0
    }

    pub(super) const fn lost(&self) -> u64 {
        self.sequence.lost()
    }

    /// In Hz; zero: not known.
    pub(super) const fn clock_rate(&self) -> u32 {
        self.jitter.clock_rate()
    }

    pub(super) fn reports(&mut self) -> &mut Reports {
        self.reports.get_or_insert_default()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.reports.as_ref()?.round_trip()
    }

    /// `transit`: how long packets are under way, as far as anybody knows.
    pub(super) fn quality(&self, coding: Option<Coding>, transit: Duration) -> Quality {
        let expected = self.sequence.expected();
        let missing = expected.saturating_sub(self.sequence.received().saturating_sub(self.duplicates));
        let (jitter, jitter_max) = (
            self.units_of(self.jitter_sum / self.jitter_packets.max(1)),
            self.units_of(self.jitter_max.into()),
        );
        let cadence = self.cadence.as_ref();
        let packet = cadence.map_or(Duration::ZERO, Cadence::packet);
        let holes = self.holes.min(missing);
        let loss = Loss {
            expected,
            missing,
            holes,
        };
        let delay = transit + packet + jitter * BUFFERED;
        Quality {
            expected,
            missing,
            holes,
            reordered: self.reordered,
            duplicates: self.duplicates,
            restarts: self.restarts,
            timestamp_jumps: cadence.map_or(0, |cadence| cadence.jumps.into()),
            pauses: cadence.map_or(0, |cadence| cadence.pauses.into()),
            paused_ms: micros(cadence.map_or(Duration::ZERO, Cadence::paused)) / 1_000,
            packet_us: micros(packet),
            packet_changes: cadence.map_or(0, |cadence| cadence.step_changes.into()),
            jitter_us: micros(jitter),
            jitter_us_max: micros(jitter_max),
            mos: coding.map(|coding| coding.rate(loss, delay)),
            reported: self.reports.as_ref().map(|reports| reports.told()),
        }
    }

    fn units_of(&self, units: u64) -> Duration {
        Duration::from_micros(units.saturating_mul(1_000_000) / u64::from(self.clock_rate().max(1)))
    }
}

/// Whether its timestamps go with time: those of an event stand still (RFC 4733 §2.2).
fn runs(format: &Format) -> bool {
    format.clock_rate != 0 && format.content != Content::Event
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
