//! Where a stream begins: at its SYN, or at the first start line that was seen; what of its first segments comes out of order.

use std::collections::VecDeque;

use super::super::fragments::Place;
use super::early::LATE_MAX;
use super::framing::first_start_line;
use super::{Key, Output, Stream, Streams, WAITING_BYTES_MAX};
use crate::model::Timestamp;

/// Segments of one direction that are kept from before its beginning.
const BEFORE_MAX: usize = 9;

impl Streams {
    /// The stream's first byte is number `first`.
    pub(super) fn on_syn(&mut self, place: Place, key: Key, first: u32) {
        let known = self.streams.get(&key);
        if known.is_some_and(|stream| stream.may_be_of(place.at, first)) {
            self.with_stream(key, |stream, outputs| stream.begin_at(place, key, first, outputs));
        } else {
            self.remove(place, key);
            self.open(place, key, first, false);
        }
        self.accept_early(place, key);
    }

    /// What came before the stream's beginning was known.
    pub(super) fn accept_early(&mut self, place: Place, key: Key) {
        for (sequence, payload) in self.early.take(place.at, key) {
            self.with_stream(key, |stream, outputs| {
                if stream.is_before(sequence) {
                    stream.reach_back(place, key, (sequence, payload), outputs);
                } else if sequence.wrapping_sub(stream.next).cast_signed() <= WAITING_BYTES_MAX as i32 {
                    stream.accept(place, key, sequence, &payload, outputs);
                }
            });
        }
        self.remove_hopeless(place, key);
    }
}

impl Stream {
    /// Number of its first byte.
    const fn first(&self) -> u32 {
        self.next.wrapping_sub(self.position as u32)
    }

    const fn is_before(&self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.first()).cast_signed() < 0
    }

    /// Whether it began a moment ago, and at the byte with number `first` or a little behind it.
    fn may_be_of(&self, now: Timestamp, first: u32) -> bool {
        let missing = self.first().wrapping_sub(first) as usize;
        now.since(self.opened) <= LATE_MAX && self.frames.is_none() && missing <= WAITING_BYTES_MAX
    }

    /// Waits for the bytes between `first` and the first that is known, if none was used yet.
    fn begin_at(&mut self, place: Place, key: Key, first: u32, outputs: &mut VecDeque<Output>) {
        let missing = u64::from(self.first().wrapping_sub(first));
        if missing == 0 || self.buffer.len() as u64 != self.position {
            return;
        }
        self.waiting = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|(at, bytes)| (at + missing, bytes))
            .collect();
        let begun = std::mem::take(&mut self.buffer);
        if !begun.is_empty() {
            self.waiting_bytes += begun.len();
            self.waiting.insert(missing, begun);
            self.waiting_since = self.opened;
        }
        (self.next, self.position, self.searched) = (first, 0, 0);
        for (sequence, payload) in std::mem::take(&mut self.before) {
            if !self.is_before(sequence) {
                self.accept(place, key, sequence, &payload, outputs);
            }
        }
    }

    /// As [`Self::accept`]; also what comes a little late from before a beginning that was only the first start line seen.
    pub(super) fn accept_first(
        &mut self,
        place: Place,
        key: Key,
        sequence: u32,
        payload: &[u8],
        outputs: &mut VecDeque<Output>,
    ) {
        if place.at.since(self.opened) > LATE_MAX {
            self.before = Vec::new();
        } else if self.is_before(sequence) {
            self.reach_back(place, key, (sequence, payload.to_vec()), outputs);
        }
        self.accept(place, key, sequence, payload, outputs);
    }

    fn reach_back(
        &mut self,
        place: Place,
        key: Key,
        (sequence, payload): (u32, Vec<u8>),
        outputs: &mut VecDeque<Output>,
    ) {
        if !self.is_sip || !self.may_be_of(place.at, sequence) || self.before.len() >= BEFORE_MAX {
            return;
        }
        self.before.push((sequence, payload));
        if let Some((from, head)) = self.head() {
            self.go_back(place, key, (from, &head), outputs);
        }
    }

    /// The messages that are known before the beginning, up to it.
    fn head(&self) -> Option<(u32, Vec<u8>)> {
        let (mut start, mut joined) = (self.first(), Vec::new());
        let reaching = |start: u32| {
            self.before.iter().find_map(|(sequence, bytes)| {
                let missing = start.wrapping_sub(*sequence) as usize;
                (missing > 0).then_some(*sequence).zip(bytes.get(..missing))
            })
        };
        while let Some((sequence, bytes)) = reaching(start) {
            joined.splice(..0, bytes.iter().copied());
            start = sequence;
        }
        let at = first_start_line(&joined)?;
        let head = joined.get(at..)?.to_vec();
        Some((start.wrapping_add(at as u32), head))
    }

    fn go_back(&mut self, place: Place, key: Key, (from, head): (u32, &[u8]), outputs: &mut VecDeque<Output>) {
        self.begin_at(place, key, from, outputs);
        if self.first() == from {
            return self.accept(place, key, from, head, outputs);
        }
        // What follows was used already, from a start line on: whole messages end there.
        self.before = Vec::new();
        self.opened = Timestamp::ZERO;
        Self::new(from, true, self.used, place.at).accept(place, key, from, head, outputs);
    }
}
