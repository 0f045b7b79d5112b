//! Frames to samples: every packet at its place on the recording's time axis, silence where there is none.
//!
//! - Within a stream the RTP timestamp decides: without loss the output is the decoder's, sample for sample.
//! - A stream is tied to the arrival clock by the least delayed of its first packets. It is tied anew when its SSRC or
//!   codec changes, its sequence restarts, or its timestamps jump or stand still (see `stream`); when the two clocks have
//!   drifted 20 ms apart it is moved at the next quiet packet, at 100 ms at once.
//! - Reordering up to 300 ms is repaired, duplicates are dropped.
//! - Loss, discontinuous transmission, hold, comfort noise, telephone events and codecs that are not decoded are silence
//!   of the right length.

use std::time::Duration;

use super::Survey;
use super::formats::Formats;
use super::lane::{Lane, SETTLE};
use super::stream::{Axis, Held};
use crate::model::{Leg, Timestamp};
use crate::recorder::{Frame, PacketKind};
use crate::rtp::RtpHeader;

/// Gaps and digits told one by one, each; the rest is only counted.
const FACTS_MAX: usize = 4_096;

/// Why a leg is silent for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GapCause {
    /// Sequence numbers are missing.
    Lost,
    /// Nothing was sent: discontinuous transmission, hold, before the first and after the last packet; or nothing that is
    /// decoded here.
    Silent,
}

/// Silence that nobody sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gap {
    pub leg: Leg,
    /// From the start of the time axis.
    pub at: Duration,
    pub length: Duration,
    pub cause: GapCause,
}

/// A telephone event (RFC 4733).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digit {
    pub leg: Leg,
    /// From the start of the time axis.
    pub at: Duration,
    pub event: u8,
    /// For the events that are a key.
    pub key: Option<char>,
    /// As far as its packets tell.
    pub duration: Duration,
}

/// What was found while rendering.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sounding {
    /// The first 4096.
    pub gaps: Vec<Gap>,
    pub gaps_untold: u64,
    /// The first 4096.
    pub digits: Vec<Digit>,
    /// Packets that never came, by their sequence numbers.
    pub lost: u64,
    /// Duplicates, and packets that came after their turn.
    pub dropped: u64,
}

impl Sounding {
    pub(super) fn note_gap(&mut self, leg: Leg, at: Duration, length: Duration, cause: GapCause) {
        if self.gaps.len() < FACTS_MAX {
            self.gaps.push(Gap { leg, at, length, cause });
        } else {
            self.gaps_untold += 1;
        }
    }

    pub(super) fn note_digit(&mut self, digit: Digit) {
        if self.digits.len() < FACTS_MAX {
            self.digits.push(digit);
        }
    }

    pub(super) fn prolong_digit(&mut self, leg: Leg, duration: Duration) {
        if let Some(digit) = self.digits.iter_mut().rev().find(|digit| digit.leg == leg) {
            digit.duration = digit.duration.max(duration);
        }
    }
}

/// Takes a recording's frames in order and gives its sound, a sample of each leg at a time.
#[derive(Debug)]
pub struct Timeline {
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
    sounding: Sounding,
}

impl Timeline {
    pub fn new(survey: &Survey) -> Self {
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
            sounding: Sounding::default(),
        }
    }

    /// Takes the next frame. Take samples until there are none before the next one.
    pub fn handle_frame(&mut self, frame: &Frame) {
        self.now = self.now.max(frame.at());
        match frame {
            Frame::Mark { mark, .. } => self.formats.on_mark(mark),
            Frame::Packet {
                at,
                leg,
                line,
                kind: PacketKind::Rtp,
                bytes,
            } if self.formats.is_audio(*line) => {
                if let Ok(header) = RtpHeader::parse(bytes) {
                    let packet = Held {
                        at: *at,
                        timestamp: header.timestamp,
                        payload: self.formats.payload(*leg, *line, header.payload_type),
                        bytes: bytes.slice_ref(header.payload),
                    };
                    let lane = match leg {
                        Leg::A => &mut self.a,
                        Leg::B => &mut self.b,
                    };
                    lane.handle_packet(*line, header.ssrc, header.sequence, packet, &mut self.sounding);
                }
            }
            Frame::Packet { .. } | Frame::Signal { .. } => {}
        }
        self.a.advance(self.now, &mut self.sounding);
        self.b.advance(self.now, &mut self.sounding);
    }

    /// All frames have been handed in.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.is_finished, true) {
            let end = i64::try_from(self.length).unwrap_or(i64::MAX);
            self.a.finish(end, &mut self.sounding);
            self.b.finish(end, &mut self.sounding);
        }
    }

    /// How many samples are final.
    pub fn ready(&self) -> u64 {
        if self.is_finished {
            return self.length - self.given;
        }
        let settled = self.axis.position(self.now) - self.axis.samples(SETTLE);
        u64::try_from(settled)
            .unwrap_or(0)
            .min(self.length)
            .saturating_sub(self.given)
    }

    /// The next sample of leg A and of leg B; `None` while no more are final, and at the end.
    pub fn poll_sample(&mut self) -> Option<[i16; 2]> {
        if self.ready() == 0 {
            return None;
        }
        self.given += 1;
        Some([self.a.take_sample(), self.b.take_sample()])
    }

    pub const fn is_at_end(&self) -> bool {
        self.given == self.length
    }

    /// Complete once [`Timeline::finish`] was called.
    pub const fn sounding(&self) -> &Sounding {
        &self.sounding
    }
}
