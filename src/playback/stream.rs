//! One RTP stream: packets back into their order, and each one's place on the time axis.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::formats::Payload;
use crate::model::{Ssrc, Timestamp};
use crate::rtp::codecs::{Codec, Decoder};
use crate::rtp::{Arrival, ExtendedSequence};

/// How long a packet waits for those before it.
pub(super) const HOLD: Duration = Duration::from_millis(300);
/// Packets that wait at once; the first of more goes on at once.
const HELD_MAX: usize = 256;
/// A packet later than this behind its timestamp begins a new run: the timestamps stood still or jumped.
pub(super) const LATE_MAX: Duration = Duration::from_secs(2);
/// A packet earlier than this before its timestamp begins a new run: the timestamps jumped ahead.
const EARLY_MAX: Duration = Duration::from_millis(300);
/// Clocks may drift apart up to here; then the run is moved at the next pause or quiet packet.
const DRIFT_MAX: Duration = Duration::from_millis(20);
/// Beyond this it is moved at once.
const DRIFT_FORCED: Duration = Duration::from_millis(100);
/// How long the least lateness is watched before it counts as drift.
const DRIFT_WINDOW: Duration = Duration::from_secs(1);
/// Louder than this is not quiet (about -36 dB of full scale).
const QUIET_PEAK: u16 = 500;
/// RFC 3550 §A.1: beyond this a source has restarted.
const DROPOUT_MAX: u64 = 3_000;

/// The recording's time axis in samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) start: Timestamp,
    pub(super) sample_rate: u32,
}

impl Axis {
    /// Before the start: negative.
    pub(super) fn position(&self, at: Timestamp) -> i64 {
        if at < self.start {
            -self.samples(self.start.since(at))
        } else {
            self.samples(at.since(self.start))
        }
    }

    pub(super) fn samples(&self, time: Duration) -> i64 {
        i64::try_from(time.as_nanos() * u128::from(self.sample_rate) / 1_000_000_000).unwrap_or(i64::MAX)
    }

    pub(super) fn time(&self, samples: i64) -> Duration {
        let samples = u128::from(samples.max(0).unsigned_abs());
        let nanos = samples * 1_000_000_000 / u128::from(self.sample_rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A packet that waits for its turn.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) at: Timestamp,
    pub(super) timestamp: u32,
    pub(super) payload: Payload,
    pub(super) bytes: Bytes,
}

/// A packet in its turn.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) packet: Held,
    /// Packets that never came before this one.
    pub(super) lost: u64,
}

/// Puts the packets of one SSRC in order and tells duplicates.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) line: u16,
    pub(super) ssrc: Ssrc,
    pub(super) last_at: Timestamp,
    sequence: Option<ExtendedSequence>,
    held: BTreeMap<u64, Held>,
    released: Option<u64>,
    stray: Option<(u16, Held)>,
    run: Option<Run>,
}

impl Stream {
    pub(super) const fn new(line: u16, ssrc: Ssrc) -> Self {
        Self {
            line,
            ssrc,
            last_at: Timestamp::ZERO,
            sequence: None,
            held: BTreeMap::new(),
            released: None,
            stray: None,
            run: None,
        }
    }

    /// Takes a packet as it arrived. Returns false for a duplicate and for one whose turn has passed.
    pub(super) fn hold(&mut self, number: u16, packet: Held) -> bool {
        self.last_at = packet.at;
        let Some(sequence) = &mut self.sequence else {
            let sequence = self.sequence.insert(ExtendedSequence::new(number));
            self.held.insert(sequence.highest(), packet);
            return true;
        };
        let place = match sequence.update(number) {
            Arrival::Next { sequence, .. } | Arrival::Late { sequence } => sequence,
            Arrival::Stray => {
                self.stray = Some((number, packet));
                return true;
            }
            Arrival::Restarted { sequence } => {
                if let Some((before, packet)) = self.stray.take()
                    && before.wrapping_add(1) == number
                {
                    self.held.insert(sequence - 1, packet);
                }
                sequence
            }
        };
        if self.released.is_some_and(|released| place <= released) || self.held.contains_key(&place) {
            return false;
        }
        self.held.insert(place, packet);
        true
    }

    /// The next packet that has waited long enough at `now`, or that has to make room.
    pub(super) fn release(&mut self, now: Timestamp) -> Option<Released> {
        let is_due = self.held.len() > HELD_MAX || self.held.values().any(|packet| packet.at + HOLD <= now);
        if !is_due {
            return None;
        }
        let (number, packet) = self.held.pop_first()?;
        let ahead = self
            .released
            .replace(number)
            .map_or(1, |before| number.saturating_sub(before));
        if ahead >= DROPOUT_MAX {
            self.run = None;
        }
        Some(Released {
            packet,
            lost: if ahead < DROPOUT_MAX {
                ahead.saturating_sub(1)
            } else {
                0
            },
        })
    }

    /// The run that a packet belongs to: the one so far, or a new one when the packet does not follow on.
    pub(super) fn run_for(&mut self, axis: Axis, packet: &Held, codec: Codec) -> &mut Run {
        let (run, decoder) = match self.run.take() {
            Some(run) if run.codec == codec && run.fits(axis, packet) => (Some(run), None),
            Some(run) if run.codec == codec => (None, Some(run.decoder)),
            _ => (None, None),
        };
        let run = run.unwrap_or_else(|| self.begin(axis, packet, codec, decoder));
        self.run.insert(run)
    }

    /// Ties timestamps to the arrival clock by the least delayed of the packets at hand.
    fn begin(&self, axis: Axis, first: &Held, codec: Codec, decoder: Option<Decoder>) -> Run {
        let arrival = axis.position(first.at);
        let early = axis.samples(EARLY_MAX);
        let clock_rate = codec.clock_rate();
        let others = self
            .held
            .values()
            .filter(|packet| packet.payload == Payload::Sound(codec))
            .map(|packet| {
                let distance = packet.timestamp.wrapping_sub(first.timestamp).cast_signed();
                axis.position(packet.at) - scale(i64::from(distance), axis.sample_rate, clock_rate)
            });
        let anchor = others
            .filter(|anchor| (arrival - anchor).abs() <= early)
            .fold(arrival, i64::min);
        Run {
            codec,
            decoder: decoder.unwrap_or_else(|| codec.decoder()),
            anchor: if arrival >= 0 { anchor.max(0) } else { anchor },
            elapsed: 0,
            timestamp: first.timestamp,
            ends: i64::MIN,
            drift: Drift::default(),
        }
    }
}

/// Units of one clock in those of another, towards minus infinity.
fn scale(units: i64, to: u32, from: u32) -> i64 {
    let scaled = (i128::from(units) * i128::from(to)).div_euclid(i128::from(from.max(1)));
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

/// A stretch of a stream whose timestamps follow on.
#[derive(Debug)]
pub(super) struct Run {
    codec: Codec,
    decoder: Decoder,
    /// Position of the run's first sample.
    anchor: i64,
    /// Timestamp units from the first sample to `timestamp`.
    elapsed: i64,
    /// Of the last packet placed.
    timestamp: u32,
    /// Position after the last sample of all.
    ends: i64,
    drift: Drift,
}

impl Run {
    fn elapsed_at(&self, timestamp: u32) -> i64 {
        self.elapsed + i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed())
    }

    fn position(&self, axis: Axis, timestamp: u32) -> i64 {
        self.anchor + scale(self.elapsed_at(timestamp), axis.sample_rate, self.codec.clock_rate())
    }

    fn fits(&self, axis: Axis, packet: &Held) -> bool {
        let late = axis.position(packet.at) - self.position(axis, packet.timestamp);
        late <= axis.samples(LATE_MAX) && late >= -axis.samples(EARLY_MAX)
    }

    /// Appends the packet's samples at the codec's own rate.
    pub(super) fn decode(&mut self, packet: &Held, samples: &mut Vec<i16>) {
        self.decoder.decode(&packet.bytes, samples);
    }

    /// Where the packet's first sample belongs. `samples` are its own, at the recording's rate.
    pub(super) fn place(&mut self, axis: Axis, packet: &Held, samples: &[i16]) -> i64 {
        self.elapsed = self.elapsed_at(packet.timestamp);
        self.timestamp = packet.timestamp;
        let position = self.position(axis, packet.timestamp);
        let late = axis.position(packet.at) - position;
        let drift = self.drift.update(packet.at, late).filter(|drift| {
            let is_pause = position > self.ends && position + drift >= self.ends;
            let is_due = drift.abs() > axis.samples(DRIFT_MAX) && (is_pause || is_quiet(samples));
            is_due || drift.abs() > axis.samples(DRIFT_FORCED)
        });
        if let Some(drift) = drift {
            self.anchor += drift;
            self.drift = Drift::default();
        }
        let position = position + drift.unwrap_or(0);
        self.ends = position.saturating_add(i64::try_from(samples.len()).unwrap_or(i64::MAX));
        position
    }
}

fn is_quiet(samples: &[i16]) -> bool {
    samples.iter().all(|sample| sample.unsigned_abs() <= QUIET_PEAK)
}

/// The least lateness of the last one to two windows: what the network adds comes and goes, what the clocks do stays.
#[derive(Debug, Default)]
struct Drift {
    window: Option<(Timestamp, i64)>,
    before: Option<i64>,
}

impl Drift {
    /// In samples, once it has been watched long enough.
    fn update(&mut self, at: Timestamp, late: i64) -> Option<i64> {
        match &mut self.window {
            Some((since, least)) if at.since(*since) < DRIFT_WINDOW => *least = (*least).min(late),
            window => self.before = window.replace((at, late)).map(|(_, least)| least),
        }
        let least = self.window.map(|(_, least)| least)?;
        self.before.map(|before| before.min(least))
    }
}
