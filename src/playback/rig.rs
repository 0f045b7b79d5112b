//! Phones for the tests of this room: they speak into frames, and networks spoil the frames.

use bytes::Bytes;

use super::{Rendering, Sounding, Survey};
use crate::model::{Closing, Leg, LegPlan, LinePlan, Mark, MediaKind, Outcome, Remote, Ssrc, Timestamp};
use crate::recorder::{Frame, PacketKind};
use crate::rtp::codecs;
use crate::rtp::packet::RtpPacket;

/// When the calls of these tests are answered.
/// When the recording was opened.
pub(super) const STARTED: Timestamp = Timestamp::from_millis(1_789_999_995_000);
pub(super) const ANSWERED: Timestamp = Timestamp::from_millis(1_790_000_000_000);
pub(super) const PACKET_MS: u64 = 20;
pub(super) const PACKET_SAMPLES: usize = 160;

pub(super) fn at_ms(millis: u64) -> Timestamp {
    ANSWERED + std::time::Duration::from_millis(millis)
}

/// Dice that always fall the same way.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Something like speech: a buzzing voice in syllables of 200 ms, with pauses of 100 ms. As µ-law codes.
pub(super) fn speech(seed: u64, packets: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let samples = (0..packets * PACKET_SAMPLES).map(|n| {
        let is_pause = n % 2_400 >= 1_600;
        let buzz = (n % (60 + seed as usize % 20)) as i32 * 120 - 4_000;
        let noise = dice.roll(400) as i32 - 200;
        codecs::to_pcmu(if is_pause { noise / 4 } else { buzz + noise } as i16)
    });
    samples.collect()
}

pub(super) fn decoded(codes: &[u8]) -> Vec<i16> {
    codes.iter().map(|code| codecs::pcmu(*code)).collect()
}

/// One sender of PCMU.
#[derive(Clone, Copy)]
pub(super) struct Phone {
    pub(super) leg: Leg,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) payload_type: u8,
}

impl Phone {
    pub(super) const fn new(leg: Leg) -> Self {
        Self {
            leg,
            ssrc: 0x1111 * (leg as u32 + 1),
            sequence: 700,
            timestamp: 90_000,
            payload_type: 0,
        }
    }

    /// The next packet; the timestamp moves on by `units`.
    pub(super) fn send(&mut self, at: Timestamp, payload: &[u8], units: u32) -> Frame {
        let payload = Bytes::copy_from_slice(payload);
        let (ssrc, kind) = (Ssrc(self.ssrc), self.payload_type);
        let packet = RtpPacket::new(ssrc, kind, self.sequence, self.timestamp, false, payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(units);
        packet_frame(at, self.leg, &packet)
    }

    /// Speaks from `from_ms` on, a packet every 20 ms.
    pub(super) fn speak(&mut self, from_ms: u64, codes: &[u8]) -> Vec<Frame> {
        let packets = codes.chunks(PACKET_SAMPLES).zip(0..);
        packets
            .map(|(payload, n)| self.send(at_ms(from_ms + n * PACKET_MS), payload, payload.len() as u32))
            .collect()
    }
}

pub(super) fn packet_frame(at: Timestamp, leg: Leg, packet: &RtpPacket) -> Frame {
    Frame::Packet {
        at,
        leg,
        line: 0,
        kind: PacketKind::Rtp,
        bytes: packet.encode().expect("a plain packet"),
    }
}

/// The same frame at another time.
pub(super) fn moved(frame: Frame, to: Timestamp) -> Frame {
    match frame {
        Frame::Packet {
            leg, line, kind, bytes, ..
        } => Frame::Packet {
            at: to,
            leg,
            line,
            kind,
            bytes,
        },
        other => other,
    }
}

pub(super) fn line_plan(formats: &[(u8, &str, u32, u8)]) -> LinePlan {
    let leg = |host: u8, port: u16| LegPlan {
        local: ([198, 51, 100, 7], port).into(),
        remote: Some(Remote {
            rtp: ([192, 0, 2, host], 4_000).into(),
            rtcp: ([192, 0, 2, host], 4_001).into(),
        }),
        deaf: false,
        mute: false,
        holds: false,
        origin: crate::model::Origin::Signalled,
        formats: formats
            .iter()
            .map(|(pt, name, rate, channels)| (*pt, (*name).to_owned(), *rate, *channels))
            .collect(),
    };
    LinePlan {
        index: 0,
        kind: MediaKind::Audio,
        a: leg(1, 40_000),
        b: leg(2, 40_002),
    }
}

pub(super) fn closing(length_ms: u64) -> Closing {
    Closing {
        outcome: Outcome::Recorded,
        answered: Some(ANSWERED),
        ended: at_ms(length_ms),
        ended_by: "BYE from A".to_owned(),
        status: Some(200),
        tally: None,
        fault: None,
        encryption: None,
        conversation: None,
        became: None,
        decisions: Vec::new(),
        formerly: Vec::new(),
        consents: Vec::new(),
    }
}

/// Frames in order of arrival, after the marks that every call begins with.
pub(super) fn call(frames: impl IntoIterator<Item = Frame>) -> Vec<Frame> {
    let formats = [
        (0, "PCMU", 8_000, 1),
        (8, "PCMA", 8_000, 1),
        (101, "telephone-event", 8_000, 1),
    ];
    let mark = |mark| Frame::Mark { at: ANSWERED, mark };
    let mut frames: Vec<Frame> = frames.into_iter().collect();
    frames.sort_by_key(Frame::at);
    let marks = [mark(Mark::Media(vec![line_plan(&formats)])), mark(Mark::Answered)];
    marks.into_iter().chain(frames).collect()
}

pub(super) fn readable(frames: &[Frame]) -> impl Iterator<Item = Result<Frame, std::convert::Infallible>> {
    frames.iter().cloned().map(Ok)
}

/// A call rendered: left, right, and what was found.
pub(super) fn render(frames: &[Frame], length_ms: u64) -> (Vec<i16>, Vec<i16>, Sounding) {
    let survey = Survey::of(STARTED, Some(&closing(length_ms)), readable(frames)).expect("a short call");
    let mut rendering = Rendering::new(&survey, readable(frames));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for block in rendering.by_ref() {
        for sample in block.expect("readable").samples {
            left.push(sample[0]);
            right.push(sample[1]);
        }
    }
    assert_eq!(left.len() as u64, survey.samples(), "as long as the call");
    (left, right, rendering.sounding().clone())
}
