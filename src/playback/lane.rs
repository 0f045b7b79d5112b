//! One leg's sound: all its streams summed into one channel, seconds of it at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::formats::Payload;
use super::resample::Resampler;
use super::run::{LATE_MAX, Place, Run};
use super::sounding::{Digit, GapCause, Sounding};
use super::stream::{Axis, HOLD, Held, Released, Stream};

use crate::model::{Leg, Ssrc, Timestamp};
use crate::rtp::TelephoneEvent;
use crate::rtp::codecs::{Codec, Filled};

/// Sources of one leg that are kept apart; the longest silent one makes room for a new one.
const STREAMS_MAX: usize = 8;
/// Sound older than this against the arrival clock is final.
pub(super) const SETTLE: Duration = HOLD.saturating_add(LATE_MAX).saturating_add(Duration::from_millis(200));
/// How far ahead of `SETTLE` samples may be written: early packets, and a packet's own length.
const AHEAD: Duration = Duration::from_secs(2);

/// A shorter hole is rounding, and not told.
const GAP_MIN: Duration = Duration::from_millis(1);

/// The samples of one leg that are not final yet, and where they come from.
#[derive(Debug)]
pub(super) struct Lane {
    leg: Leg,
    axis: Axis,
    /// Sums, so that two sources at once are both heard.
    samples: VecDeque<i32>,
    /// Position of the first of `samples`.
    origin: i64,
    streams: Vec<Stream>,
    /// Where the last packet's sound ended.
    covered: i64,
    decoded: Vec<i16>,
    resampled: Vec<i32>,
    /// By the codec's rate, of which there are only some.
    resamplers: BTreeMap<u32, Arc<Resampler>>,
    /// The sender said that what follows is no speech.
    is_comfort: bool,
    /// Timestamp and SSRC of the event that goes on.
    event: Option<(u32, Ssrc)>,
}

impl Lane {
    pub(super) fn new(leg: Leg, axis: Axis) -> Self {
        let length = axis.samples(SETTLE + AHEAD);
        Self {
            leg,
            axis,
            samples: VecDeque::from(vec![0; usize::try_from(length).unwrap_or(0)]),
            origin: 0,
            streams: Vec::new(),
            covered: 0,
            decoded: Vec::new(),
            resampled: Vec::new(),
            resamplers: BTreeMap::new(),
            is_comfort: false,
            event: None,
        }
    }

    pub(super) fn handle_packet(&mut self, line: u16, ssrc: Ssrc, number: u16, packet: Held, facts: &mut Sounding) {
        self.make_room(line, ssrc, facts);
        if !self.stream(line, ssrc).hold(number, packet) {
            facts.dropped += 1;
        }
    }

    /// What the longest silent stream still holds is heard, if another needs its place.
    fn make_room(&mut self, line: u16, ssrc: Ssrc, facts: &mut Sounding) {
        let is_known = |stream: &Stream| stream.line == line && stream.ssrc == ssrc;
        if self.streams.len() < STREAMS_MAX || self.streams.iter().any(is_known) {
            return;
        }
        let idle = (0..self.streams.len()).min_by_key(|index| self.streams[*index].last_at);
        let mut stream = self.streams.swap_remove(idle.unwrap_or(0));
        while let Some(released) = stream.release(stream.last_at + HOLD) {
            self.on_released(&mut stream, &released, facts);
        }
    }

    fn stream(&mut self, line: u16, ssrc: Ssrc) -> &mut Stream {
        let known = self
            .streams
            .iter()
            .position(|stream| stream.line == line && stream.ssrc == ssrc);
        let index = known.unwrap_or_else(|| {
            self.streams.push(Stream::new(line, ssrc));
            self.streams.len() - 1
        });
        &mut self.streams[index]
    }

    /// Writes every packet whose turn has come.
    pub(super) fn advance(&mut self, now: Timestamp, facts: &mut Sounding) {
        let mut streams = std::mem::take(&mut self.streams);
        for stream in &mut streams {
            while let Some(released) = stream.release(now) {
                self.on_released(stream, &released, facts);
            }
        }
        self.streams = streams;
    }

    fn on_released(&mut self, stream: &mut Stream, released: &Released, facts: &mut Sounding) {
        facts.lost += released.lost;
        match released.packet.payload {
            Payload::Sound(codec) => self.on_sound(stream, released, codec, facts),
            Payload::TelephoneEvent { clock_rate } => self.on_event(stream, &released.packet, clock_rate, facts),
            Payload::ComfortNoise => self.is_comfort = true,
            Payload::Undecoded(_) => {}
        }
    }

    fn on_sound(&mut self, stream: &mut Stream, released: &Released, codec: Codec, facts: &mut Sounding) {
        if released.packet.bytes.is_empty() {
            return; // keeps a path open, says nothing about time
        }
        let (run, waiting) = stream.run_for(self.axis, &released.packet, codec);
        let missing = match released.lost {
            0 => Vec::new(),
            _ => run.missing(&released.packet, waiting),
        };
        let found = u64::try_from(missing.len()).unwrap_or(0);
        facts.recovered += found;
        let lost = released.lost.saturating_sub(found);
        for packet in missing.iter().chain([&released.packet]) {
            self.sound(run, packet, codec, lost, facts);
        }
    }

    /// `lost`: packets that may be missing before it.
    fn sound(&mut self, run: &mut Run, packet: &Held, codec: Codec, lost: u64, facts: &mut Sounding) {
        let mut samples = std::mem::take(&mut self.decoded);
        samples.clear();
        let filled = run.decode(packet, lost, &mut samples);
        let place = run.place(self.axis, packet, filled, &samples);
        self.note_gaps(&place, filled, codec, lost, facts);
        self.render(&place, codec, &samples);
        self.covered = self.covered.max(place.ends);
        self.decoded = samples;
    }

    fn render(&mut self, place: &Place, codec: Codec, samples: &[i16]) {
        let samples = samples.get(place.overlap..).unwrap_or_default();
        let first = place.first.saturating_add(i64::try_from(place.overlap).unwrap_or(0));
        let (from, to) = (codec.sample_rate(), self.axis.sample_rate);
        if from == to {
            self.write(
                place.anchor.saturating_add(first),
                samples.iter().copied().map(i32::from),
            );
            return;
        }
        let known = self.resamplers.entry(from);
        let resampler = Arc::clone(known.or_insert_with(|| Arc::new(Resampler::new(from, to))));
        let mut resampled = std::mem::take(&mut self.resampled);
        let begin = resampler.resample(samples, first, &mut resampled);
        self.write(place.anchor.saturating_add(begin), resampled.iter().copied());
        self.resampled = resampled;
    }

    /// Of what lies before a packet's own samples.
    fn note_gaps(&mut self, place: &Place, filled: Filled, codec: Codec, lost: u64, facts: &mut Sounding) {
        facts.recovered += u64::from(filled.recovered > 0);
        let is_comfort = std::mem::take(&mut self.is_comfort);
        let cause = match lost {
            0 if is_comfort => GapCause::ComfortNoise,
            0 => GapCause::Silent,
            _ => GapCause::Lost,
        };
        self.note_gap(place.begins, cause, facts);
        if filled.guessed > 0 {
            let length =
                Duration::from_secs(1) * u32::try_from(filled.guessed).unwrap_or(0) / codec.sample_rate().max(1);
            facts.note_gap(self.leg, self.axis.time(place.begins), length, GapCause::Guessed);
        }
    }

    /// Nothing of that span was kept: what waits is written, and what comes begins anew.
    pub(super) fn pass_pause(&mut self, since: Timestamp, until: Timestamp, facts: &mut Sounding) {
        self.advance(until + HOLD, facts);
        self.streams.clear();
        self.event = None;
        let [since, until] = [since, until].map(|at| self.axis.position(at).max(0));
        self.note_gap(since, GapCause::Silent, facts);
        let from = since.max(self.covered);
        if until > from {
            facts.note_gap(
                self.leg,
                self.axis.time(from),
                self.axis.time(until - from),
                GapCause::Paused,
            );
            self.covered = until;
        }
    }

    fn note_gap(&self, position: i64, cause: GapCause, facts: &mut Sounding) {
        if position - self.covered >= self.axis.samples(GAP_MIN) {
            facts.note_gap(
                self.leg,
                self.axis.time(self.covered),
                self.axis.time(position - self.covered),
                cause,
            );
        }
    }

    fn on_event(&mut self, stream: &Stream, packet: &Held, clock_rate: u32, facts: &mut Sounding) {
        let Some(event) = TelephoneEvent::parse(&packet.bytes) else {
            return;
        };
        let duration = Duration::from_secs(1) * u32::from(event.duration) / clock_rate.max(1);
        let name = (packet.timestamp, stream.ssrc);
        if self.event.replace(name) == Some(name) {
            facts.prolong_digit(self.leg, duration);
            return;
        }
        facts.note_digit(Digit {
            leg: self.leg,
            at: self.axis.time(stream.began(self.axis, packet, clock_rate, duration)),
            event: event.event,
            key: event.digit(),
            duration,
        });
    }

    /// What lies outside of the window is cut off.
    fn write(&mut self, position: i64, samples: impl Iterator<Item = i32>) {
        let offset = position.saturating_sub(self.origin);
        let skipped = usize::try_from(-offset.min(0)).unwrap_or(usize::MAX);
        let first = usize::try_from(offset.max(0)).unwrap_or(usize::MAX);
        let places = self.samples.iter_mut().skip(first);
        for (place, sample) in places.zip(samples.skip(skipped)) {
            *place = place.saturating_add(sample);
        }
    }

    /// Hands the next `count` samples to `take`; they are final.
    pub(super) fn take_samples(&mut self, count: usize, take: impl FnMut(i16)) {
        let count = count.min(self.samples.len());
        let clamp = |sum: i32| sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16; // fits by then
        self.samples.drain(..count).map(clamp).for_each(take);
        self.samples.extend(std::iter::repeat_n(0, count));
        self.origin += i64::try_from(count).unwrap_or(0);
    }

    /// Everything that still waits is written, and the rest up to `end` is a gap.
    pub(super) fn finish(&mut self, end: i64, facts: &mut Sounding) {
        let last = self
            .streams
            .iter()
            .map(|stream| stream.last_at)
            .max()
            .unwrap_or(Timestamp::ZERO);
        self.advance(last + HOLD, facts);
        self.note_gap(end, GapCause::Silent, facts);
    }
}
