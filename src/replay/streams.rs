//! The RTP streams of one call as the capture shows them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::model::{Leg, Ssrc};
use crate::rtp::ExtendedSequence;
use crate::rtp::RtpHeader;

/// Streams that are told apart per call; packets of further ones are counted together.
const STREAMS_MAX: usize = 64;
/// Payload types that are counted per stream.
const PAYLOAD_TYPES_MAX: usize = 16;

#[derive(Default)]
pub(crate) struct Streams {
    streams: BTreeMap<(Leg, Ssrc), Stream>,
    /// Packets of streams beyond the cap.
    pub surplus: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// Captured, on all hops.
    pub packets: u64,
    /// Of these, captured only in part: never played.
    pub cut: u64,
    /// Of these, taken by the proxy's recorder.
    pub recorded: u64,
    payload_types: Vec<(u8, u64)>,
    /// Of the hop that is played; of all when none is.
    sequence: ExtendedSequence,
    is_played: bool,
}

impl Streams {
    /// One packet that `leg` sent.
    pub(crate) fn count(&mut self, leg: Leg, header: &RtpHeader<'_>, is_played: bool, is_cut: bool) {
        let key = (leg, header.ssrc);
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&key) {
            self.surplus += 1;
            return;
        }
        let stream = match self.streams.entry(key) {
            Entry::Vacant(entry) => entry.insert(Stream::new(header, is_played)),
            Entry::Occupied(entry) => {
                let stream = entry.into_mut();
                stream.count(header, is_played);
                stream
            }
        };
        stream.cut += u64::from(is_cut);
    }

    /// The proxy's recorder took one packet that `leg` sent.
    pub(crate) fn count_recorded(&mut self, leg: Leg, ssrc: Ssrc) {
        if let Some(stream) = self.streams.get_mut(&(leg, ssrc)) {
            stream.recorded += 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Leg, Ssrc, &Stream)> {
        self.streams.iter().map(|((leg, ssrc), stream)| (*leg, *ssrc, stream))
    }
}

impl Stream {
    fn new(header: &RtpHeader<'_>, is_played: bool) -> Self {
        Self {
            packets: 1,
            cut: 0,
            recorded: 0,
            payload_types: vec![(header.payload_type, 1)],
            sequence: ExtendedSequence::new(header.sequence),
            is_played,
        }
    }

    fn count(&mut self, header: &RtpHeader<'_>, is_played: bool) {
        self.packets += 1;
        let known = self.payload_types.iter().position(|(pt, _)| *pt == header.payload_type);
        if let Some((_, count)) = known.and_then(|at| self.payload_types.get_mut(at)) {
            *count += 1;
        } else if self.payload_types.len() < PAYLOAD_TYPES_MAX {
            self.payload_types.push((header.payload_type, 1));
        }
        if is_played && !self.is_played {
            self.is_played = true;
            self.sequence = ExtendedSequence::new(header.sequence);
        } else if is_played == self.is_played {
            self.sequence.update(header.sequence);
        }
    }

    /// The most frequent one.
    pub(crate) fn payload_type(&self) -> u8 {
        self.payload_types
            .iter()
            .max_by_key(|(_, count)| *count)
            .map_or(0, |(pt, _)| *pt)
    }

    /// All of them with their packets, as they came first.
    pub(crate) fn payload_types(&self) -> &[(u8, u64)] {
        &self.payload_types
    }

    /// Expected less received (RFC 3550 §A.3).
    pub(crate) const fn lost(&self) -> u64 {
        self.sequence.lost()
    }
}
