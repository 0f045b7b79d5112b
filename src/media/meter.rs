//! The meter: which RTP streams crossed a session, and how much of each was lost on the way to us.

use crate::model::{Leg, Ssrc, StreamTally};
use crate::rtp::{ExtendedSequence, RtpHeader};

use super::port::LINES_MAX;

/// Streams of one session that are told apart; what one side sends beyond counts as its last. The first stream of a
/// side always has a place, however many the others have.
const STREAMS_MAX: usize = 64;

/// Places made when the session is opened. Only the 5th, 9th, 17th and 33rd stream make more.
const STREAMS_AT_OPEN: usize = 4;

/// Two for each m-line.
const SIDES_MAX: usize = 2 * LINES_MAX;

const NONE: u8 = u8::MAX;

/// A side of an m-line, as a small number.
const fn side(line: usize, leg: Leg) -> usize {
    2 * line + leg.index()
}

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
            streams: Vec::with_capacity(STREAMS_AT_OPEN),
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
        let (Ok(rtp), Some(&latest)) = (RtpHeader::parse(bytes), self.latest.get(side)) else {
            return;
        };
        let side = side as u8;
        let is_it = |stream: &Stream| stream.side == side && stream.ssrc == rtp.ssrc;
        let known = match self.streams.get(usize::from(latest)) {
            Some(stream) if is_it(stream) => Some(usize::from(latest)),
            _ => self.streams.iter().position(is_it),
        };
        let index = match known {
            Some(index) => index,
            None if latest == NONE || self.streams.len() + self.silent < STREAMS_MAX => {
                self.silent = self.silent.saturating_sub(usize::from(latest == NONE));
                self.latest[usize::from(side)] = self.streams.len() as u8;
                self.streams.push(Stream::new(side, &rtp));
                return;
            }
            None => {
                if let Some(stream) = self.streams.get_mut(usize::from(latest)) {
                    stream.packets += 1;
                }
                return;
            }
        };
        self.latest[usize::from(side)] = index as u8;
        self.streams[index].count(&rtp);
    }

    /// In the order in which the streams were first heard. `index_of` gives the m-line's index of a line's place.
    pub(super) fn tally(&self, index_of: impl Fn(usize) -> u16) -> Vec<StreamTally> {
        self.streams
            .iter()
            .map(|stream| StreamTally {
                leg: if stream.side % 2 == 0 { Leg::A } else { Leg::B },
                line: index_of(usize::from(stream.side / 2)),
                ssrc: stream.ssrc,
                payload_type: stream.payload_type(),
                packets: stream.packets,
                lost: stream.sequence.lost(),
            })
            .collect()
    }
}

#[derive(Debug)]
struct Stream {
    ssrc: Ssrc,
    side: u8,
    /// The most frequent payload types and how often each was seen: the least frequent gives way to a new one.
    payload_types: [(u8, u32); 4],
    sequence: ExtendedSequence,
    packets: u64,
}

impl Stream {
    fn new(side: u8, rtp: &RtpHeader<'_>) -> Self {
        Self {
            ssrc: rtp.ssrc,
            side,
            payload_types: [(rtp.payload_type, 1), (0, 0), (0, 0), (0, 0)],
            sequence: ExtendedSequence::new(rtp.sequence),
            packets: 1,
        }
    }

    fn count(&mut self, rtp: &RtpHeader<'_>) {
        self.packets += 1;
        self.sequence.update(rtp.sequence);
        let types = &mut self.payload_types;
        if types[0].0 == rtp.payload_type {
            types[0].1 = types[0].1.saturating_add(1);
            return;
        }
        let known = types.iter().position(|(known, _)| *known == rtp.payload_type);
        let mut slot = known.unwrap_or(types.len() - 1);
        types[slot] = (rtp.payload_type, types[slot].1.saturating_add(1));
        while slot > 0 && types[slot].1 > types[slot - 1].1 {
            types.swap(slot, slot - 1);
            slot -= 1;
        }
    }

    const fn payload_type(&self) -> u8 {
        self.payload_types[0].0
    }
}
