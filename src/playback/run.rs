//! A stretch of a stream whose timestamps follow on, and how they are tied to the arrival clock.

use std::time::Duration;

use super::formats::Payload;
use super::step::{Usual, is_step};
use super::stream::{Axis, Copied, Held, scale};
use crate::model::Timestamp;
use crate::rtp::codecs::{Codec, Decoder, Filled};

/// A packet later than this behind its timestamp begins a new run: the timestamps stood still or jumped.
pub(super) const LATE_MAX: Duration = Duration::from_secs(2);
/// A packet earlier than this before its timestamp begins a new run: the timestamps jumped ahead.
const EARLY_MAX: Duration = Duration::from_millis(300);
/// Earlier than this after a pause, and the run is moved: no network brings a packet before it was sent.
const EARLY_PAUSE_MAX: Duration = Duration::from_millis(10);
/// A new codec goes on with the old one's timestamps if it is no later or earlier than this.
const CHANGE_MAX: Duration = Duration::from_millis(100);
/// Clocks may drift apart up to here; then the run is moved at the next pause or quiet packet.
const DRIFT_MAX: Duration = Duration::from_millis(8);
/// Beyond this it is moved at once.
const DRIFT_FORCED: Duration = Duration::from_millis(15);
/// Beyond this two windows are enough.
const JUMP_MIN: Duration = Duration::from_millis(100);
/// What rounding makes of packets that touch.
const OVERLAP_MIN: Duration = Duration::from_millis(1);
/// Louder than this is not quiet (about -36 dB of full scale).
const QUIET_PEAK: u16 = 500;

/// Packets of one source and codec whose timestamps follow on.
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
    /// Timestamp units from the first sample to the end of the last packet; before the first packet none.
    heard: Option<i64>,
    /// Position after the last sound.
    ends: i64,
    drift: Drift,
    usual: Usual,
    /// Of the packet at hand and those after it, the least, in samples of the axis.
    least_late: i64,
    /// Of its first packet.
    first_length: i64,
    lengths: Lengths,
}

/// What the newest packets' length makes of their lateness, in samples of the axis.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    newest: i64,
    /// So much later than the run's first such packets come: who speaks now sends a longer one later, who reads from a file does not.
    later: i64,
}

/// Where a packet's sound belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// Of sample 0 of the run.
    pub(super) anchor: i64,
    /// The packet's first sample, counted in those of its codec from sample 0 of the run.
    pub(super) first: i64,
    /// At the recording's rate: from where on, up to where.
    pub(super) begins: i64,
    pub(super) ends: i64,
    /// Of the packet's samples, those that lie before the end of the packet before it: they are not heard.
    pub(super) overlap: usize,
}

impl Run {
    /// Ties timestamps to the arrival clock by the least delayed of the packets at hand.
    pub(super) fn begin<'a>(
        axis: Axis,
        first: &Held,
        waiting: impl Iterator<Item = &'a Held> + Clone,
        codec: Codec,
        decoder: Option<Decoder>,
    ) -> Self {
        let arrival = axis.position(first.at);
        let early = axis.samples(EARLY_MAX);
        let length = length_on(axis, first);
        let alike = waiting.clone().filter(|packet| length_on(axis, packet) == length);
        let anchors = alike.map(|packet| {
            let distance = packet.timestamp.wrapping_sub(first.timestamp).cast_signed();
            axis.position(packet.at) - scale(i64::from(distance), axis.sample_rate, codec.clock_rate())
        });
        let anchor = anchors
            .filter(|anchor| (arrival - anchor).abs() <= early)
            .fold(arrival, i64::min);
        let mut run = Self {
            codec,
            decoder: decoder.unwrap_or_else(|| codec.decoder()),
            anchor: if arrival >= 0 { anchor.max(0) } else { anchor },
            elapsed: 0,
            timestamp: first.timestamp,
            heard: None,
            ends: i64::MIN,
            drift: Drift::default(),
            usual: Usual::default(),
            least_late: 0,
            first_length: length,
            lengths: Lengths {
                newest: length,
                later: 0,
            },
        };
        run.usual = Usual::of(axis, waiting.map(|held| run.lateness(axis, held)));
        run
    }

    pub(super) fn is_of(&self, codec: Codec) -> bool {
        self.codec == codec
    }

    pub(super) fn into_decoder(self) -> Decoder {
        self.decoder
    }

    /// The same timestamps, in another codec of the same clock rate.
    pub(super) fn into_codec(self, codec: Codec) -> Self {
        Self {
            codec,
            decoder: codec.decoder(),
            ..self
        }
    }

    /// Whether `packet` follows on; `waiting` are those after it.
    pub(super) fn fits<'a>(&self, axis: Axis, packet: &Held, waiting: impl Iterator<Item = &'a Held> + Clone) -> bool {
        let late = self.lateness(axis, packet);
        let is_near = late <= axis.samples(LATE_MAX) && late >= -axis.samples(EARLY_MAX);
        is_near && !self.is_step(axis, packet, waiting)
    }

    /// Before all else, where packets have another length from `packet` on: whether they come later by that, or earlier.
    pub(super) fn follow_length<'a>(&mut self, axis: Axis, packet: &Held, waiting: impl Iterator<Item = &'a Held>) {
        let length = length_on(axis, packet);
        if length == self.lengths.newest {
            return;
        }
        let near = axis.samples(EARLY_MAX);
        let alike = waiting.filter(|held| length_on(axis, held) == length);
        let lates = alike.map(|held| self.late_by_first(axis, held));
        let own = self.late_by_first(axis, packet);
        let least = lates.filter(|late| late.abs() <= near).fold(own, i64::min);
        let later = length - self.first_length;
        self.lengths = Lengths {
            newest: length,
            later: if (least - later).abs() < least.abs() { later } else { 0 },
        };
    }

    /// Whether the sender's clock stood still before `packet`: then it is no network that catches up.
    fn is_step<'a>(&self, axis: Axis, packet: &Held, waiting: impl Iterator<Item = &'a Held> + Clone) -> bool {
        let own = (packet.at, self.lateness(axis, packet));
        let others = waiting.map(|held| (held.at, self.lateness(axis, held)));
        is_step(axis, self.usual, std::iter::once(own).chain(others))
    }

    /// Before [`Run::place`]: `waiting` are the packets after this one.
    pub(super) fn look_ahead<'a>(&mut self, axis: Axis, packet: &Held, waiting: impl Iterator<Item = &'a Held>) {
        self.least_late = self.lateness(axis, packet);
        let mut before = packet;
        for held in waiting {
            let late = self.lateness(axis, held);
            if self.skips(before, held) || late < -axis.samples(EARLY_MAX) {
                break; // its clock says another time than theirs
            }
            self.least_late = self.least_late.min(late);
            before = held;
        }
    }

    /// Whether the timestamps go on by more than the first packet's samples.
    fn skips(&self, first: &Held, second: &Held) -> bool {
        i64::from(second.timestamp.wrapping_sub(first.timestamp).cast_signed()) > self.length_of(&first.bytes) + 1
    }

    /// Whether a packet of another codec has the same clock and comes when it should; `waiting` are those after it.
    pub(super) fn continues_with<'a>(
        &self,
        axis: Axis,
        packet: &Held,
        waiting: impl Iterator<Item = &'a Held> + Clone,
        codec: Codec,
    ) -> bool {
        codec.clock_rate() == self.codec.clock_rate()
            && self.lateness(axis, packet).abs() <= axis.samples(CHANGE_MAX)
            && !self.is_step(axis, packet, waiting)
    }

    fn elapsed_at(&self, timestamp: u32) -> i64 {
        self.elapsed + i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed())
    }

    fn position(&self, axis: Axis, elapsed: i64) -> i64 {
        self.anchor + scale(elapsed, axis.sample_rate, self.codec.clock_rate())
    }

    /// Of a packet that is not of this codec, if its clock is.
    pub(super) fn position_of(&self, axis: Axis, packet: &Held, clock_rate: u32) -> Option<i64> {
        let is_same = clock_rate == self.codec.clock_rate();
        is_same.then(|| self.position(axis, self.elapsed_at(packet.timestamp)))
    }

    /// In samples of the axis.
    fn lateness(&self, axis: Axis, packet: &Held) -> i64 {
        let length = length_on(axis, packet);
        let later = match self.lengths {
            Lengths { newest, later } if newest == length => later,
            _ => length - self.first_length,
        };
        self.late_by_first(axis, packet) - later
    }

    /// By when its first sample is due.
    fn late_by_first(&self, axis: Axis, packet: &Held) -> i64 {
        axis.position(packet.at) - self.position(axis, self.elapsed_at(packet.timestamp))
    }

    /// Of what a packet and those after it repeat, what lies in the hole before it: each as the packet that it was, in order.
    pub(super) fn missing<'a>(&self, packet: &'a Held, waiting: impl Iterator<Item = &'a Held>) -> Vec<Held> {
        let Some(mut heard) = self.heard else { return Vec::new() };
        let own = self.elapsed_at(packet.timestamp);
        let hole = heard..own;
        let copies = std::iter::once(packet).chain(waiting).flat_map(|held| {
            let sent = self.elapsed_at(held.timestamp);
            let copies = held.copies.iter();
            copies.map(move |copy| (sent - i64::from(copy.age), held, copy))
        });
        let mut copies: Vec<_> = copies.filter(|(begins, ..)| hole.contains(begins)).collect();
        copies.sort_by_key(|(begins, ..)| *begins);
        let as_packet = |(begins, held, copy): (i64, &Held, &Copied)| {
            let ends = begins + units_of(copy.codec, &copy.bytes);
            if begins < heard || ends > own || begins == ends {
                return None;
            }
            heard = ends;
            let age = u32::from(copy.age);
            Some(Held {
                at: held.at - Duration::from_secs(1) * age / self.codec.clock_rate().max(1),
                timestamp: held.timestamp.wrapping_sub(age),
                payload: Payload::Sound(copy.codec),
                bytes: copy.bytes.clone(),
                copies: Vec::new(),
            })
        };
        copies.into_iter().filter_map(as_packet).collect()
    }

    /// In timestamp units.
    fn length_of(&self, payload: &[u8]) -> i64 {
        units_of(self.codec, payload)
    }

    /// Appends what stands for the `lost` packets before this one, then its own samples, at the codec's own rate.
    pub(super) fn decode(&mut self, packet: &Held, lost: u64, samples: &mut Vec<i16>) -> Filled {
        if let Payload::Sound(other) = packet.payload
            && other != self.codec
        {
            // A copy. What its own decoder would remember of the one before it is not there.
            other.decoder().decode(&packet.bytes, samples);
            return Filled::default();
        }
        let hole = self.heard.map_or(0, |heard| self.elapsed_at(packet.timestamp) - heard);
        let hole = scale(hole, self.codec.sample_rate(), self.codec.clock_rate());
        let filled = match usize::try_from(hole) {
            Ok(hole) if hole > 0 && lost > 0 => self.decoder.fill(&packet.bytes, hole, lost, samples),
            _ => Filled::default(),
        };
        self.decoder.decode(&packet.bytes, samples);
        filled
    }

    /// Where the samples of [`Run::decode`] belong.
    pub(super) fn place(&mut self, axis: Axis, packet: &Held, filled: Filled, samples: &[i16]) -> Place {
        let (rate, clock) = (self.codec.sample_rate(), self.codec.clock_rate());
        self.elapsed = self.elapsed_at(packet.timestamp);
        self.timestamp = packet.timestamp;
        let late = self.lateness(axis, packet);
        self.drift.update(packet.at, late);
        self.usual.update(axis, late);
        let before = i64::try_from(filled.guessed + filled.recovered).unwrap_or(0);
        let begins = self.anchor + scale(scale(self.elapsed, rate, clock) - before, axis.sample_rate, rate);
        let moved = match self.halted(axis) {
            0 => self.correction(axis, begins, samples),
            halted => halted,
        };
        if moved != 0 {
            self.anchor += moved;
            self.drift = Drift::default();
        }
        let own = i64::try_from(samples.len()).unwrap_or(0) - before;
        let first = scale(self.elapsed, rate, clock) - before;
        let begins = self.anchor + scale(first, axis.sample_rate, rate);
        let ends = self.position(axis, self.elapsed) + scale(own, axis.sample_rate, rate);
        let overlap = self.ends.saturating_sub(begins);
        let overlap = if overlap > axis.samples(OVERLAP_MIN) {
            usize::try_from(scale(overlap, rate, axis.sample_rate))
                .unwrap_or(0)
                .min(samples.len())
        } else {
            0
        };
        self.heard = Some(self.elapsed + scale(own, clock, rate));
        self.ends = self.ends.max(ends);
        Place {
            anchor: self.anchor,
            first,
            begins,
            ends,
            overlap,
        }
    }

    /// By how much the timestamps fell behind the samples, if this packet and those after it are as late as that: they stand
    /// still, or count too slowly. A repeated packet is followed by others in time.
    fn halted(&self, axis: Axis) -> i64 {
        let behind = self.heard.map_or(0, |heard| heard - self.elapsed);
        let behind = scale(behind, axis.sample_rate, self.codec.clock_rate());
        let is_as_late = self.least_late >= behind - axis.samples(DRIFT_MAX);
        let halted = if is_as_late { behind } else { self.least_late };
        let is_seen = behind > axis.samples(OVERLAP_MIN) && self.least_late >= behind / 2;
        if is_seen { halted } else { 0 }
    }

    /// By how much the run is moved, because the clocks have drifted apart, or a jump of the timestamps is seen by now.
    fn correction(&self, axis: Axis, begins: i64, samples: &[i16]) -> i64 {
        let is_pause = |moved: i64| begins > self.ends && begins + moved >= self.ends;
        let beyond = |drift: &i64, limit: Duration| drift.abs() > axis.samples(limit);
        let jumped = self.drift.lately().filter(|drift| beyond(drift, JUMP_MIN));
        let forced = self.drift.settled().filter(|drift| beyond(drift, DRIFT_FORCED));
        let wished = self.drift.settled().filter(|drift| beyond(drift, DRIFT_MAX));
        let wished = wished.filter(|drift| is_pause(*drift) || is_quiet(samples));
        let hole = begins.saturating_sub(self.ends).max(0);
        let early = Some(self.least_late.max(-hole)).filter(|early| *early < -axis.samples(EARLY_PAUSE_MAX));
        jumped.or(forced).or(wished).or(early).unwrap_or(0)
    }
}

/// Of a payload, in timestamp units.
fn units_of(codec: Codec, payload: &[u8]) -> i64 {
    let samples = codec.samples_in(payload).unwrap_or(0);
    let samples = i64::try_from(samples).unwrap_or(i64::MAX);
    scale(samples, codec.clock_rate(), codec.sample_rate())
}

/// Of a packet's sound, in samples of the axis.
fn length_on(axis: Axis, packet: &Held) -> i64 {
    let Payload::Sound(codec) = packet.payload else {
        return 0;
    };
    let samples = codec.samples_in(&packet.bytes).unwrap_or(0);
    scale(
        i64::try_from(samples).unwrap_or(i64::MAX),
        axis.sample_rate,
        codec.sample_rate(),
    )
}

fn is_quiet(samples: &[i16]) -> bool {
    samples.iter().all(|sample| sample.unsigned_abs() <= QUIET_PEAK)
}

/// Length of a window in which the least lateness is watched: what the network adds comes and goes, what the clocks do stays.
const WINDOW: Duration = Duration::from_secs(1);
/// As many windows must agree on a small drift.
const WINDOWS: usize = 8;

/// The least lateness of the last windows, in samples.
#[derive(Debug, Default)]
struct Drift {
    since: Option<Timestamp>,
    now: i64,
    /// Of the full windows; the newest first.
    before: [i64; WINDOWS],
    count: usize,
}

impl Drift {
    fn update(&mut self, at: Timestamp, late: i64) {
        match self.since {
            Some(since) if at.since(since) < WINDOW => self.now = self.now.min(late),
            since => {
                if since.is_some() {
                    self.before.rotate_right(1);
                    self.before[0] = self.now;
                    self.count = (self.count + 1).min(WINDOWS);
                }
                (self.since, self.now) = (Some(at), late);
            }
        }
    }

    /// Over the last one to two windows.
    fn lately(&self) -> Option<i64> {
        (self.count > 0).then(|| self.now.min(self.before[0]))
    }

    /// Over all windows, once they are full.
    fn settled(&self) -> Option<i64> {
        (self.count == WINDOWS).then(|| self.before.into_iter().fold(self.now, i64::min))
    }
}
