//! Frames to samples: every packet at its place on the recording's time axis, silence where there is none.
//!
//! - Within a stream the RTP timestamp decides: without loss the output is the decoder's, sample for sample.
//! - A stream is tied to the arrival clock by the least delayed of its first packets. It is tied anew when its SSRC or
//!   codec changes, its sequence restarts, or its timestamps jump or stand still (see `stream`); when the two clocks have
//!   drifted 8 ms apart it is moved at the next pause or quiet packet, at 15 ms at once (see `run`).
//! - Timestamps that count another clock than the codec's, or none, are put right first (see `clock`).
//! - Reordering up to 300 ms is repaired, duplicates are dropped.
//! - Of a lost packet what a later one repeats of it (RFC 2198) is heard in its place.
//! - Other loss, discontinuous transmission, hold, comfort noise, telephone events and codecs that are not decoded are silence
//!   of the right length; but of Opus, whose next packet may bring a lost one's sound, and whose decoder guesses.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::Survey;
use super::clock::{Clocks, Tick};
use super::formats::{Formats, Payload, Unpacked};
use super::lane::{Lane, SETTLE};
use super::pauses::Unkept;
use super::sounding::{GapCause, Sounding};
use super::stream::{Axis, Copied, Held};
use crate::model::{Leg, Mark, Timestamp};
use crate::recorder::{Frame, PacketKind};
use crate::rtp::RtpHeader;

/// Takes a recording's frames in order and gives the samples of both legs.
#[derive(Debug)]
pub(super) struct Timeline {
    axis: Axis,
    formats: Formats,
    a: Lane,
    b: Lane,
    now: Timestamp,
    /// Samples given out.
    given: u64,
    /// Samples in all.
    length: u64,
    is_finished: bool,
    /// Since when the recorder is down.
    unrecorded: Option<Timestamp>,
    /// Those that were not reached yet.
    pauses: VecDeque<Unkept>,
    clocks: Clocks,
    sounding: Sounding,
}

impl Timeline {
    pub(super) fn new(survey: &Survey) -> Self {
        let axis = Axis {
            start: survey.start,
            sample_rate: survey.sample_rate,
        };
        Self {
            axis,
            formats: Formats::default(),
            a: Lane::new(Leg::A, axis),
            b: Lane::new(Leg::B, axis),
            now: Timestamp::ZERO,
            given: 0,
            length: survey.samples(),
            is_finished: false,
            unrecorded: None,
            pauses: survey.pauses.iter().copied().collect(),
            clocks: survey.clocks.clone(),
            sounding: Sounding::default(),
        }
    }

    /// Takes the next frame. Before it, all samples that are ready must have been taken, but for a block.
    pub(super) fn handle_frame(&mut self, frame: &Frame) {
        self.now = self.now.max(frame.at());
        if matches!(frame, Frame::Packet { .. }) {
            self.pass_pauses(frame.at());
        }
        match frame {
            Frame::Mark { at, mark } => self.on_mark(*at, mark),
            Frame::Packet {
                at,
                leg,
                line,
                kind: PacketKind::Rtp,
                bytes,
            } if self.formats.is_audio(*line) => {
                if let Ok(header) = RtpHeader::parse(bytes) {
                    self.on_audio(*at, (*leg, *line), &header, bytes);
                }
            }
            Frame::Packet { .. } | Frame::Signal { .. } => {}
        }
        self.a.advance(self.now, &mut self.sounding);
        self.b.advance(self.now, &mut self.sounding);
    }

    fn on_audio(&mut self, at: Timestamp, (leg, line): (Leg, u16), header: &RtpHeader<'_>, bytes: &Bytes) {
        let unpacked = self.formats.unpacked(leg, line, header);
        let (number, timestamp) = self.amended(at, (leg, line), header, &unpacked);
        let repeated = self.formats.repeated(leg, line, &unpacked);
        // How old copies are is told by the same clock: one that had to be put right says nothing.
        let repeated = repeated.filter(|_| timestamp == header.timestamp);
        let copies = repeated.map(|(codec, copy)| Copied {
            age: copy.age,
            codec,
            bytes: bytes.slice_ref(copy.payload),
        });
        let packet = Held {
            at,
            timestamp,
            copies: copies.collect(),
            bytes: bytes.slice_ref(unpacked.bytes),
            payload: unpacked.payload,
        };
        let lane = match leg {
            Leg::A => &mut self.a,
            Leg::B => &mut self.b,
        };
        lane.handle_packet(line, header.ssrc, number, packet, &mut self.sounding);
    }

    /// Number and timestamp as they should be.
    fn amended(
        &mut self,
        at: Timestamp,
        (leg, line): (Leg, u16),
        header: &RtpHeader<'_>,
        unpacked: &Unpacked<'_>,
    ) -> (u16, u32) {
        let source = (leg, line, header.ssrc, header.payload_type);
        let tick = match unpacked.payload {
            Payload::Sound(codec) => Tick::of(at, header, unpacked.bytes, codec),
            _ => None,
        };
        tick.map_or((header.sequence, header.timestamp), |tick| {
            self.clocks.amend(source, tick)
        })
    }

    fn on_mark(&mut self, at: Timestamp, mark: &Mark) {
        self.formats.on_mark(mark);
        match mark {
            Mark::GapOpened { .. } => {
                self.unrecorded.get_or_insert(at);
            }
            Mark::GapClosed { .. } => self.note_unrecorded(at),
            _ => {}
        }
    }

    /// What comes behind a pause follows from nothing before it.
    fn pass_pauses(&mut self, at: Timestamp) {
        while let Some(Unkept { legs, from, until }) = self.pauses.pop_front_if(|unkept| unkept.until <= at) {
            for (lane, is_unkept) in [&mut self.a, &mut self.b].into_iter().zip(legs) {
                if is_unkept {
                    lane.pass_pause(from, until, &mut self.sounding);
                }
            }
        }
    }

    fn note_unrecorded(&mut self, until: Timestamp) {
        let Some(since) = self.unrecorded.take() else { return };
        let (at, length) = (since.since(self.axis.start), until.since(since.max(self.axis.start)));
        for leg in [Leg::A, Leg::B] {
            self.sounding.note_gap(leg, at, length, GapCause::Unrecorded);
        }
    }

    /// All frames have been handed in.
    pub(super) fn finish(&mut self) {
        if !std::mem::replace(&mut self.is_finished, true) {
            let end = i64::try_from(self.length).unwrap_or(i64::MAX);
            self.pass_pauses(Timestamp::ZERO + Duration::MAX);
            self.note_unrecorded(self.axis.start + self.axis.time(end));
            self.a.finish(end, &mut self.sounding);
            self.b.finish(end, &mut self.sounding);
        }
    }

    /// How many samples are final.
    pub(super) fn ready(&self) -> u64 {
        if self.is_finished {
            return self.length - self.given;
        }
        let settled = self.axis.position(self.now) - self.axis.samples(SETTLE);
        u64::try_from(settled)
            .unwrap_or(0)
            .min(self.length)
            .saturating_sub(self.given)
    }

    /// The next samples of leg A and of leg B, at most `count` of those that are final.
    pub(super) fn take_samples(&mut self, count: usize) -> Vec<[i16; 2]> {
        let count = usize::try_from(self.ready()).unwrap_or(usize::MAX).min(count);
        self.given += count as u64;
        let mut samples = Vec::with_capacity(count);
        self.a.take_samples(count, |left| samples.push([left, 0]));
        let mut rest = samples.iter_mut();
        self.b.take_samples(count, |right| {
            if let Some(sample) = rest.next() {
                sample[1] = right;
            }
        });
        samples
    }

    /// Complete once [`Timeline::finish`] was called.
    pub(super) const fn sounding(&self) -> &Sounding {
        &self.sounding
    }
}

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod codecs;
#[cfg(test)]
mod halting;
#[cfg(test)]
mod redundant;
#[cfg(test)]
mod strange;
#[cfg(test)]
mod tests;
