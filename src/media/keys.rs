//! Keys that a party presses (RFC 4733), for who asked to be told them.
//!
//! A key is many packets with one RTP timestamp: the first that arrives tells it. Tones within the sound are not looked for.

use std::time::Duration;

use crate::model::{ENCRYPTED, Leg, LinePlan, Ssrc, Timestamp};
use crate::recorder::{Packet, PacketKind};
use crate::rtp::{RtpHeader, TelephoneEvent};

/// Payload types of telephone events of a line and direction that are known; more are not heard.
const TYPES_MAX: usize = 4;
const EVENTS: &str = "telephone-event";
/// What brings earlier packets once more: telephone events, redundant audio and text (RFC 2198), text, whose errors are typed over,
/// retransmissions (RFC 4588), and what lost packets are made of anew (RFC 5109, RFC 8627, RFC 6015, RFC 3009, RFC 6682).
const REPEATING: [&str; 10] = [
    EVENTS,
    "red",
    "t140",
    "rtx",
    "ulpfec",
    "flexfec",
    "flexfec-03",
    "parityfec",
    "1d-interleaved-parityfec",
    "raptorfec",
];
/// Keys of a leg follow each other no faster than this (RFC 4733 §2.5.1.3 and ITU-T Q.24 ask for 40 ms); what comes faster is no
/// finger, and is not told.
const APART_MIN: Duration = Duration::from_millis(30);

#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Of leg A, of leg B.
    wanted: [bool; 2],
    lines: Vec<Line>,
    /// Of each leg: what was told last, and when.
    last: [Option<(Ssrc, u32, Timestamp)>; 2],
    pressed: Option<(Leg, char)>,
}

#[derive(Debug, Default)]
struct Line {
    index: u16,
    /// Telephone events of what leg A, of what leg B sends.
    types: [[Option<u8>; TYPES_MAX]; 2],
    /// What repeats earlier packets, those among it: bit n for payload type n.
    repeating: [u128; 2],
}

impl Keys {
    pub(super) const fn want(&mut self, wanted: [bool; 2]) {
        self.wanted = wanted;
    }

    /// What is agreed from here on.
    pub(super) fn follow(&mut self, lines: &[LinePlan]) {
        self.lines.clear();
        self.lines.extend(lines.iter().filter_map(|line| {
            // The payload type of what is sealed beyond us is in clear.
            let name_of = |name: &'_ str| name.strip_suffix(ENCRYPTED).unwrap_or(name).to_ascii_lowercase();
            let is_repeating = |name: &str| REPEATING.contains(&name_of(name).as_str());
            let is_event = |name: &str| name.eq_ignore_ascii_case(EVENTS);
            let bits = |found: u128, payload_type: u8| found | 1_u128.checked_shl(payload_type.into()).unwrap_or(0);
            let repeating = Leg::BOTH.map(|leg| sent_by(line, leg, is_repeating).fold(0, bits));
            let is_any = repeating.iter().any(|types| *types != 0);
            is_any.then(|| Line {
                index: line.index,
                types: Leg::BOTH.map(|leg| {
                    let mut found = sent_by(line, leg, is_event);
                    std::array::from_fn(|_| found.next())
                }),
                repeating,
            })
        }));
    }

    /// A packet in clear.
    #[inline]
    pub(super) fn take(&mut self, packet: &Packet<'_>) {
        if packet.kind == PacketKind::Rtp {
            self.hear(packet.at, packet.leg, packet.line, packet.bytes);
        }
    }

    /// An RTP packet in clear that this leg sent.
    #[inline]
    fn hear(&mut self, at: Timestamp, leg: Leg, index: u16, packet: &[u8]) {
        if self.wanted[leg.index()] {
            self.look(at, leg, index, packet);
        }
    }

    /// Whether a packet of this leg may bring once more what an earlier one brought.
    pub(super) fn repeats(&self, leg: Leg, index: u16, packet: &[u8]) -> bool {
        let Some(payload_type) = packet.get(1).map(|byte| byte & 0x7f) else {
            return false;
        };
        let is_one = |line: &Line| line.index == index && line.repeating[leg.index()] >> payload_type & 1 == 1;
        self.lines.iter().any(is_one)
    }

    fn look(&mut self, at: Timestamp, leg: Leg, index: u16, packet: &[u8]) {
        let payload_type = packet.get(1).map(|byte| byte & 0x7f);
        let is_event = |line: &Line| line.index == index && line.types[leg.index()].contains(&payload_type);
        if payload_type.is_none() || !self.lines.iter().any(is_event) {
            return;
        }
        let Ok(header) = RtpHeader::parse(packet) else { return };
        let Some(key) = TelephoneEvent::parse(header.payload).and_then(|event| event.digit()) else {
            return;
        };
        let last = &mut self.last[leg.index()];
        if let Some((ssrc, timestamp, told)) = *last {
            // Late packets of the key before it have an older timestamp.
            let is_newer = header.timestamp.wrapping_sub(timestamp).wrapping_sub(1) < u32::MAX / 2;
            if (ssrc == header.ssrc && !is_newer) || at < told + APART_MIN {
                return;
            }
        }
        *last = Some((header.ssrc, header.timestamp, at));
        self.pressed = Some((leg, key));
    }

    /// What was pressed, once.
    pub(super) const fn take_pressed(&mut self) -> Option<(Leg, char)> {
        self.pressed.take()
    }
}

/// Payload types by these names that this leg sends: who receives chooses them (RFC 3264 §5.1), and where it said nothing of a
/// type, its sender's own description counts.
fn sent_by(line: &LinePlan, leg: Leg, is_named: impl Fn(&str) -> bool) -> impl Iterator<Item = u8> {
    let (near, far) = (&line.leg(leg).formats, &line.leg(leg.other()).formats);
    let is_told = |payload_type: u8| far.iter().any(|format| format.0 == payload_type);
    let own = near.iter().filter(move |format| !is_told(format.0));
    let found = far.iter().chain(own).filter(move |format| is_named(&format.1));
    found.map(|format| format.0)
}
