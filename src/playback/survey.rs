//! The first reading of a recording: how long it is, what is heard in it, and which of that cannot be decoded.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::{Clocks, Learning, Tick};
use super::formats::{Formats, Payload, Unpacked};
use super::lip_sync::{Behind, LipSync};
use super::pauses::{Pauses, Unkept};
use crate::model::{Closing, Leg, Mark, Ssrc, Timestamp};
use crate::recorder::{Frame, PacketKind};
use crate::rtp::RtpHeader;

/// Longest recording that is turned into sound.
pub const LENGTH_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Streams told apart, like in a [`crate::model::Tally`].
const STREAMS_MAX: usize = 64;
/// Of rendered sound, in Hz, the lowest first: what players know and codecs have.
pub const SAMPLE_RATES: [u32; 6] = [8_000, 16_000, 24_000, 32_000, 44_100, 48_000];

/// What a recording holds, before it is rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Where the time axis begins: the answer, or the first audio packet if earlier; never before the recording.
    pub start: Timestamp,
    /// The end of the call; of a recording without its closing, the last frame.
    pub end: Timestamp,
    /// Of the rendered sound in Hz: the lowest of [`SAMPLE_RATES`] that holds all that is decoded, if nobody asked for another.
    pub sample_rate: u32,
    /// By leg, line, SSRC and payload type; at most 64.
    pub heard: Vec<Heard>,
    /// Where nothing was kept because the recording was paused, or a leg left out of it; in the order of their ends.
    pub pauses: Vec<Unkept>,
    /// Lines of video against the sound of their legs, where sender reports tell.
    pub behind: Vec<Behind>,
    /// Streams whose timestamps do not count what they should.
    pub(super) clocks: Clocks,
}

/// One stream of one payload type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heard {
    pub leg: Leg,
    pub line: u16,
    pub ssrc: Ssrc,
    pub payload_type: u8,
    /// Encoding name, empty when no description told it; ` (red)` behind that of the first packet in a redundant payload.
    pub encoding: String,
    pub packets: u64,
    /// False: silence in all that is rendered; the raw packets are kept.
    pub is_decoded: bool,
}

/// Why a recording cannot be rendered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SurveyError<E> {
    /// The frames could not be read.
    #[error("reading the recording: {0}")]
    Source(E),
    /// Its times are beyond belief: the record is damaged.
    #[error("recording of {} hours", .0.as_secs() / 3600)]
    TooLong(Duration),
}

impl Survey {
    /// Reads all frames once. `started`: of its opening record; the call may be older, if it went on after a restart and what
    /// was before is another recording. `closing` is none for a call that still runs or that broke off.
    pub fn of<E>(
        started: Timestamp,
        closing: Option<&Closing>,
        frames: impl IntoIterator<Item = Result<Frame, E>>,
    ) -> Result<Self, SurveyError<E>> {
        let mut survey = Surveying::default();
        for frame in frames {
            survey.on_frame(&frame.map_err(SurveyError::Source)?);
        }
        let answered = closing.and_then(|closing| closing.answered).or(survey.answered);
        let answered = answered.map(|answered| answered.max(started));
        let start = crate::model::earliest(answered, survey.first_packet);
        let end = closing.map_or(survey.last_frame, |closing| closing.ended);
        let start = start.unwrap_or(end);
        let length = end.since(start);
        if length > LENGTH_MAX {
            return Err(SurveyError::TooLong(length));
        }
        Ok(Self {
            start,
            end: end.max(start),
            sample_rate: sufficient_rate(survey.highest_rate),
            heard: survey.heard.into_values().collect(),
            pauses: survey.pauses.ended(end),
            behind: survey.lip_sync.finish(),
            clocks: survey.clocks.finish(),
        })
    }

    /// The same, to be rendered at another of [`SAMPLE_RATES`].
    #[must_use]
    pub const fn at_rate(mut self, sample_rate: u32) -> Self {
        self.sample_rate = sample_rate;
        self
    }

    /// Of the time axis.
    pub fn length(&self) -> Duration {
        self.end.since(self.start)
    }

    /// The same in samples of a channel, rounded to the nearest.
    pub fn samples(&self) -> u64 {
        let samples = (self.length().as_nanos() * u128::from(self.sample_rate) + 500_000_000) / 1_000_000_000;
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    /// What is heard as silence only because it is not decoded here.
    pub fn undecoded(&self) -> impl Iterator<Item = &Heard> {
        self.heard.iter().filter(|heard| !heard.is_decoded)
    }
}

#[derive(Default)]
struct Surveying {
    formats: Formats,
    answered: Option<Timestamp>,
    first_packet: Option<Timestamp>,
    last_frame: Timestamp,
    /// Of what is decoded, in Hz.
    highest_rate: u32,
    heard: BTreeMap<(Leg, u16, u32, u8), Heard>,
    pauses: Pauses,
    lip_sync: LipSync,
    clocks: Learning,
}

impl Surveying {
    fn on_frame(&mut self, frame: &Frame) {
        self.last_frame = self.last_frame.max(frame.at());
        self.lip_sync.on_frame(frame, &self.formats);
        match frame {
            Frame::Mark { at, mark } => {
                if *mark == Mark::Answered {
                    self.answered.get_or_insert(*at);
                }
                self.formats.on_mark(mark);
                self.pauses.on_mark(*at, mark, |line| self.formats.is_audio(line));
            }
            Frame::Packet {
                at,
                leg,
                line,
                kind: PacketKind::Rtp,
                bytes,
            } if self.formats.is_audio(*line) => self.on_audio(*at, *leg, *line, bytes),
            Frame::Packet { .. } | Frame::Signal { .. } => {}
        }
    }

    fn on_audio(&mut self, at: Timestamp, leg: Leg, line: u16, bytes: &[u8]) {
        let Ok(header) = RtpHeader::parse(bytes) else { return };
        self.first_packet = crate::model::earliest(self.first_packet, Some(at));
        let payload_type = header.payload_type;
        let unpacked = self.formats.unpacked(leg, line, &header);
        if let Payload::Sound(codec) = &unpacked.payload {
            self.highest_rate = self.highest_rate.max(codec.sample_rate());
            if let Some(tick) = Tick::of(at, &header, unpacked.bytes, *codec) {
                self.clocks.update((leg, line, header.ssrc, payload_type), tick);
            }
        }
        let is_full = self.heard.len() >= STREAMS_MAX;
        match self.heard.entry((leg, line, header.ssrc.0, payload_type)) {
            std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().packets += 1,
            std::collections::btree_map::Entry::Vacant(_) if is_full => {}
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Heard {
                    leg,
                    line,
                    ssrc: header.ssrc,
                    payload_type,
                    encoding: encoding_name(&unpacked),
                    packets: 1,
                    is_decoded: !matches!(unpacked.payload, Payload::Undecoded(_)),
                });
            }
        }
    }
}

fn sufficient_rate(highest: u32) -> u32 {
    let [.., fullband] = SAMPLE_RATES;
    SAMPLE_RATES
        .into_iter()
        .find(|rate| *rate >= highest)
        .unwrap_or(fullband)
}

fn encoding_name(unpacked: &Unpacked<'_>) -> String {
    let name = match &unpacked.payload {
        Payload::Sound(codec) => codec.name(),
        Payload::TelephoneEvent { .. } => "telephone-event",
        Payload::ComfortNoise => "CN",
        Payload::Undecoded(name) => name,
    };
    match unpacked.red {
        Some(_) if name.is_empty() => "red".to_owned(),
        Some(_) => format!("{name} (red)"),
        None => name.to_owned(),
    }
}
