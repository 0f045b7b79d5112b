//! One RTP stream: packets back into their order, and each one's place on the time axis.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::formats::Payload;
use super::run::Run;
use crate::model::{Ssrc, Timestamp};
use crate::rtp::codecs::Codec;
use crate::rtp::{Arrival, ExtendedSequence};

/// How long a packet waits for those before it.
pub(super) const HOLD: Duration = Duration::from_millis(300);
/// Packets that wait at once; the first of more goes on at once.
const HELD_MAX: usize = 256;
/// An event's packet comes this much after what it tells of, at most: one length of a packet, and the network.
const EVENT_LATE_MAX: Duration = Duration::from_millis(300);
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
    /// What it repeats of those before it; the oldest first.
    pub(super) copies: Vec<Copied>,
}

/// The sound of an earlier packet (RFC 2198).
#[derive(Debug)]
pub(super) struct Copied {
    /// In timestamp units.
    pub(super) age: u16,
    /// Of the same rates as the packet's.
    pub(super) codec: Codec,
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

    /// The run that a packet belongs to: the one so far, or a new one when the packet does not follow on. And those of its codec
    /// after it.
    pub(super) fn run_for(
        &mut self,
        axis: Axis,
        packet: &Held,
        codec: Codec,
    ) -> (&mut Run, impl Iterator<Item = &Held> + Clone) {
        let waiting = self
            .held
            .values()
            .filter(move |held| held.payload == Payload::Sound(codec) && !held.bytes.is_empty());
        if let Some(run) = &mut self.run {
            run.follow_length(axis, packet, waiting.clone());
        }
        let mut run = match self.run.take() {
            Some(run) if run.is_of(codec) && run.fits(axis, packet, waiting.clone()) => run,
            Some(run) if run.is_of(codec) => Run::begin(axis, packet, waiting.clone(), codec, Some(run.into_decoder())),
            Some(run) if run.continues_with(axis, packet, waiting.clone(), codec) => run.into_codec(codec),
            _ => Run::begin(axis, packet, waiting.clone(), codec, None),
        };
        run.look_ahead(axis, packet, waiting.clone());
        (self.run.insert(run), waiting)
    }

    /// Where an event began that lasted for `duration` when this packet of it was sent: by its timestamp, if that goes with
    /// the sound's.
    pub(super) fn began(&self, axis: Axis, packet: &Held, clock_rate: u32, duration: Duration) -> i64 {
        let came = axis.position(packet.at);
        let latest = axis.samples(duration.saturating_add(EVENT_LATE_MAX));
        let told = self
            .run
            .as_ref()
            .and_then(|run| run.position_of(axis, packet, clock_rate));
        told.filter(|told| (0..=latest).contains(&(came - told)))
            .unwrap_or(came)
    }
}

/// Units of one clock in those of another, towards minus infinity.
pub(super) fn scale(units: i64, to: u32, from: u32) -> i64 {
    let scaled = (i128::from(units) * i128::from(to)).div_euclid(i128::from(from.max(1)));
    i64::try_from(scaled).unwrap_or(i64::MAX)
}
