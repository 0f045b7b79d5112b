//! The meter: which RTP streams crossed a session, and how much of each was lost on the way to us.

use crate::model::{Leg, Ssrc, StreamTally};

use super::port::LINES_MAX;

/// Streams of one session that are told apart.
pub(super) const STREAMS_MAX: usize = 64;

/// Sides of m-lines: each keeps a place for its first stream, however many the others have.
const SIDES_MAX: usize = 2 * LINES_MAX;

const NONE: u8 = u8::MAX;

/// A side of an m-line, as a small number.
const fn side(line: usize, leg: Leg) -> usize {
    2 * line + leg.index()
}

/// Allocates once, when the session is opened.
#[derive(Debug)]
pub(super) struct Meter {
    streams: Vec<Stream>,
    /// Per side, the stream that was counted last.
    latest: [u8; SIDES_MAX],
    /// Sides that have no stream yet.
    silent: usize,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            streams: Vec::with_capacity(STREAMS_MAX),
            latest: [NONE; SIDES_MAX],
            silent: 0,
        }
    }

    /// The session has one more m-line: a place for each of its sides is kept.
    pub(super) const fn add_line(&mut self) {
        self.silent += 2;
    }

    pub(super) fn count(&mut self, line: usize, leg: Leg, bytes: &[u8]) {
        let side = side(line, leg);
        let (Some(rtp), Some(&latest)) = (RtpView::of(bytes), self.latest.get(side)) else {
            return;
        };
        let side = side as u8;
        let known = match self.streams.get(usize::from(latest)) {
            Some(stream) if stream.ssrc == rtp.ssrc => Some(usize::from(latest)),
            _ => self
                .streams
                .iter()
                .position(|stream| stream.side == side && stream.ssrc == rtp.ssrc),
        };
        let index = match known {
            Some(index) => index,
            None if latest == NONE || self.streams.len() + self.silent < STREAMS_MAX => {
                self.silent = self.silent.saturating_sub(usize::from(latest == NONE));
                self.streams.push(Stream::new(side, rtp));
                self.streams.len() - 1
            }
            None => {
                if let Some(stream) = self.streams.get_mut(usize::from(latest)) {
                    stream.packets += 1;
                }
                return;
            }
        };
        self.latest[usize::from(side)] = index as u8;
        self.streams[index].count(rtp);
    }

    /// In the order in which the streams were first heard. `index_of` gives the m-line's index of a line's place.
    pub(super) fn tally(&self, index_of: impl Fn(usize) -> u16) -> Vec<StreamTally> {
        self.streams
            .iter()
            .map(|stream| StreamTally {
                leg: if stream.side % 2 == 0 { Leg::A } else { Leg::B },
                line: index_of(usize::from(stream.side / 2)),
                ssrc: Ssrc(stream.ssrc),
                payload_type: stream.payload_type(),
                packets: stream.packets,
                lost: stream.lost(),
            })
            .collect()
    }
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    side: u8,
    /// The most frequent payload types and how often each was seen: the least frequent gives way to a new one.
    payload_types: [(u8, u32); 4],
    sequence: Sequence,
    packets: u64,
}

impl Stream {
    fn new(side: u8, rtp: RtpView) -> Self {
        Self {
            ssrc: rtp.ssrc,
            side,
            payload_types: [(rtp.payload_type, 0); 4],
            sequence: Sequence::new(rtp.sequence),
            packets: 0,
        }
    }

    fn count(&mut self, rtp: RtpView) {
        self.packets += 1;
        self.sequence.receive(rtp.sequence);
        let types = &mut self.payload_types;
        if types[0].0 == rtp.payload_type {
            types[0].1 = types[0].1.saturating_add(1);
            return;
        }
        let slot = match types
            .iter()
            .position(|(payload_type, _)| *payload_type == rtp.payload_type)
        {
            Some(slot) => slot,
            None => types.len() - 1,
        };
        types[slot] = (rtp.payload_type, types[slot].1.saturating_add(1));
        if slot > 0 && types[slot].1 > types[slot - 1].1 {
            types.swap(slot, slot - 1);
        }
    }

    const fn payload_type(&self) -> u8 {
        self.payload_types[0].0
    }

    fn lost(&self) -> u64 {
        self.sequence.expected().saturating_sub(self.packets)
    }
}

/// The fixed header (RFC 3550 §5.1), of packets that have all of it.
#[derive(Clone, Copy, Debug)]
struct RtpView {
    payload_type: u8,
    sequence: u16,
    ssrc: u32,
}

impl RtpView {
    fn of(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; 12] = bytes.first_chunk()?;
        Some(Self {
            payload_type: header[1] & 0x7f,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        })
    }
}

/// Extended sequence numbers (RFC 3550 §A.1, without probation: every packet is kept, so every packet counts).
#[derive(Debug)]
struct Sequence {
    base: u64,
    highest: u64,
    /// Expected before the sender started anew.
    past: u64,
    /// What would follow a jump.
    after_jump: Option<u16>,
}

impl Sequence {
    /// Largest gap that is loss (RFC 3550 §A.1).
    const DROPOUT_MAX: u16 = 3_000;
    /// Largest step back that is reordering (RFC 3550 §A.1).
    const MISORDER_MAX: u16 = 100;

    fn new(first: u16) -> Self {
        Self {
            base: u64::from(first),
            highest: u64::from(first),
            past: 0,
            after_jump: None,
        }
    }

    fn receive(&mut self, sequence: u16) {
        let step = sequence.wrapping_sub(self.highest as u16);
        if step < Self::DROPOUT_MAX {
            self.highest += u64::from(step);
            self.after_jump = None;
        } else if step > u16::MAX - Self::MISORDER_MAX {
            // Late or doubled.
        } else if self.after_jump == Some(sequence) {
            self.past = self.expected() + 1;
            *self = Self {
                past: self.past,
                ..Self::new(sequence)
            };
        } else {
            self.after_jump = Some(sequence.wrapping_add(1));
        }
    }

    const fn expected(&self) -> u64 {
        self.past + self.highest - self.base + 1
    }
}
