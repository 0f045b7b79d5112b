//! SIP and HEP over TCP: segments put in order, then cut into messages by Content-Length (RFC 3261 §18.3).
//!
//! Which connections are SIP is seen by their first bytes, whatever the port; the others cost next to nothing. A hole that
//! the capture left is stepped over and the next start line is looked for. Every buffer has a cap.

mod beginning;
mod early;
mod framing;
mod sealed;
mod websocket;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::flaw::{Flaw, FlawKind};
use super::fragments::Place;
use super::link::Segment;
use crate::model::Timestamp;
use crate::sip::Transport;
use crate::sip::start_line::{StartLine, skip_crlf, start_line};
use early::Early;
use framing::{Frame, copy_length, first_start_line, frame, resync};
use sealed::Sealed;
use websocket::Frames;

/// Directions of connections that are followed. Full: the quarter that was silent longest is forgotten.
const STREAMS_MAX: usize = 4_096;
/// Bytes in all buffers. Full: as above.
const BYTES_MAX: usize = 32 << 20;
/// Segments that wait for an earlier one, per direction. Full: the earlier one is taken for lost.
const WAITING_BYTES_MAX: usize = 256 << 10;
const WAITING_SEGMENTS_MAX: usize = 1_024;
/// How long they wait, in capture time.
const WAITING_AGE_MAX: Duration = Duration::from_secs(10);
/// A sequence number further ahead starts the stream anew.
const WINDOW_MAX: i32 = 16 << 20;
/// A stream that has no start line for so long is no SIP.
const SKIPPED_BYTES_MAX: usize = 1 << 20;

/// What the streams gave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// One message, brought to its end by the packet at `place`.
    Message {
        place: Place,
        transport: Transport,
        src: SocketAddr,
        dst: SocketAddr,
        bytes: Vec<u8>,
    },
    /// One copy by HEP, brought to its end by the packet at `place`.
    Copy {
        place: Place,
        bytes: Vec<u8>,
    },
    Flaw(Flaw),
}

type Key = (SocketAddr, SocketAddr);

#[derive(Default)]
pub(crate) struct Streams {
    streams: BTreeMap<Key, Stream>,
    /// Grows with every segment: what was used last has the highest.
    tick: u64,
    bytes: usize,
    early: Early,
    sealed: Sealed,
    /// Bounded by one segment's worth of messages: the caller drains it after every segment.
    outputs: VecDeque<Output>,
}

struct Stream {
    /// Sequence number of the byte after `buffer`.
    next: u32,
    is_sip: bool,
    /// Of a WebSocket connection.
    frames: Option<Frames>,
    buffer: Vec<u8>,
    /// How much of the buffer holds no end of a header section.
    searched: usize,
    skipped: usize,
    /// By distance from the stream's first byte.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
    waiting_since: Timestamp,
    /// The distance that `next` stands for.
    position: u64,
    used: u64,
    opened: Timestamp,
    /// Of moments ago, from before the start line that it was opened by.
    before: Vec<(u32, Vec<u8>)>,
}

impl Streams {
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn push(&mut self, place: Place, src: SocketAddr, dst: SocketAddr, segment: &Segment<'_>) {
        self.tick += 1;
        if let Some(acknowledged) = segment.acknowledged {
            self.on_acknowledged(place, (dst, src), acknowledged);
        }
        let key = (src, dst);
        if segment.rst {
            self.remove(place, key);
            self.early.take(place.at, key);
            return;
        }
        let mut sequence = segment.sequence;
        if segment.syn {
            sequence = sequence.wrapping_add(1);
            self.on_syn(place, key, sequence);
        }
        if !segment.payload.is_empty() {
            self.on_payload(place, key, sequence, segment.payload);
        }
        if segment.fin && self.streams.get(&key).is_some_and(|stream| stream.waiting.is_empty()) {
            self.remove(place, key);
        }
    }

    /// Connections that are encrypted.
    pub(crate) fn sealed(&self) -> u64 {
        self.sealed.count()
    }

    /// At the end of the capture: what waits is used, what is left is named.
    pub(crate) fn finish(&mut self, place: Place) {
        while let Some(key) = self.streams.keys().next().copied() {
            self.remove(place, key);
        }
    }

    fn open(&mut self, place: Place, key: Key, next: u32, is_sip: bool) {
        if self.streams.len() >= STREAMS_MAX {
            self.forget_quarter(place);
        }
        self.streams.insert(key, Stream::new(next, is_sip, self.tick, place.at));
    }

    fn on_payload(&mut self, place: Place, key: Key, sequence: u32, payload: &[u8]) {
        if self.streams.get(&key).is_some_and(|stream| stream.is_beyond(sequence)) {
            // Another connection on the same ports, which begins where a frame or a message does.
            self.remove(place, key);
        }
        if self.streams.get(&key).is_none_or(|stream| !stream.is_sip) {
            self.sealed.look_at(key, payload);
        }
        let is_new = !self.streams.contains_key(&key);
        if is_new {
            // The connection was there before the capture, or upgraded: SIP from the first start line on.
            let frame = websocket::first_frame(payload);
            let frames = frame.map(|_| Frames::default());
            let Some(start) = frame.or_else(|| first_start_line(payload)) else {
                self.early.hold(place.at, key, sequence, payload);
                return;
            };
            self.open(place, key, sequence.wrapping_add(start as u32), true);
            self.with_stream(key, |stream, _| {
                stream.frames = frames;
                if let Some(before @ [_, ..]) = payload.get(..start) {
                    stream.before.push((sequence, before.to_vec()));
                }
            });
            self.accept_early(place, key);
        }
        let tick = self.tick;
        self.with_stream(key, |stream, outputs| {
            stream.used = tick;
            if is_new {
                stream.accept(place, key, sequence, payload, outputs);
            } else {
                stream.accept_first(place, key, sequence, payload, outputs);
            }
        });
        self.remove_hopeless(place, key);
        if self.bytes > BYTES_MAX {
            self.forget_quarter(place);
        }
    }

    /// The far end has bytes that are still missing here: the capture lost them.
    fn on_acknowledged(&mut self, place: Place, key: Key, acknowledged: u32) {
        let Some(stream) = self.streams.get(&key) else {
            return;
        };
        if !stream.waiting.is_empty() && acknowledged.wrapping_sub(stream.next).cast_signed() > 0 {
            self.with_stream(key, |stream, outputs| {
                let ahead = u64::from(acknowledged.wrapping_sub(stream.next));
                let until = stream.position + ahead;
                while stream
                    .waiting
                    .first_key_value()
                    .is_some_and(|(at, _)| *at < until && *at > stream.position)
                {
                    stream.step_over_gap(place, key, outputs);
                }
            });
            self.remove_hopeless(place, key);
        }
    }

    /// What comes next in this direction is looked at anew.
    fn remove_hopeless(&mut self, place: Place, key: Key) {
        if self.streams.get(&key).is_some_and(Stream::is_hopeless) {
            self.remove(place, key);
        }
    }

    fn remove(&mut self, place: Place, key: Key) {
        self.with_stream(key, |stream, outputs| {
            while !stream.waiting.is_empty() {
                stream.step_over_gap(place, key, outputs);
            }
            stream.skipped += stream.buffer.len();
            stream.name_skipped(place, key, outputs);
        });
        if let Some(stream) = self.streams.remove(&key) {
            self.bytes -= stream.bytes();
        }
    }

    fn forget_quarter(&mut self, place: Place) {
        let mut by_use: Vec<(u64, Key)> = self.streams.iter().map(|(key, stream)| (stream.used, *key)).collect();
        by_use.sort_unstable();
        for (_, key) in by_use.iter().take(by_use.len().div_ceil(4)) {
            self.remove(place, *key);
        }
    }

    fn with_stream(&mut self, key: Key, change: impl FnOnce(&mut Stream, &mut VecDeque<Output>)) {
        if let Some(stream) = self.streams.get_mut(&key) {
            let before = stream.bytes();
            change(stream, &mut self.outputs);
            self.bytes = self.bytes + stream.bytes() - before;
        }
    }
}

impl Stream {
    fn new(next: u32, is_sip: bool, used: u64, opened: Timestamp) -> Self {
        Self {
            next,
            is_sip,
            frames: None,
            buffer: Vec::new(),
            searched: 0,
            skipped: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            waiting_since: Timestamp::ZERO,
            position: 0,
            used,
            opened,
            before: Vec::new(),
        }
    }

    fn bytes(&self) -> usize {
        let frames = self.frames.as_ref().map_or(0, Frames::bytes);
        let before: usize = self.before.iter().map(|(_, bytes)| bytes.len()).sum();
        self.buffer.len() + self.waiting_bytes + frames + before
    }

    fn is_beyond(&self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.next).cast_signed() > WINDOW_MAX
    }

    fn is_hopeless(&self) -> bool {
        self.skipped > SKIPPED_BYTES_MAX || !self.is_sip && start_line(skip_crlf(&self.buffer)) == StartLine::NotSip
    }

    fn accept(&mut self, place: Place, key: Key, sequence: u32, payload: &[u8], outputs: &mut VecDeque<Output>) {
        let ahead = sequence.wrapping_sub(self.next).cast_signed();
        if ahead > 0 {
            self.wait(place.at, self.position + u64::from(ahead.unsigned_abs()), payload);
            let is_over = place.at.since(self.waiting_since) > WAITING_AGE_MAX
                || self.waiting_bytes > WAITING_BYTES_MAX
                || self.waiting.len() > WAITING_SEGMENTS_MAX;
            if is_over {
                self.step_over_gap(place, key, outputs);
            }
            return;
        } else {
            // The first copy of every byte is kept.
            let Some(fresh) = payload
                .get(ahead.unsigned_abs() as usize..)
                .filter(|fresh| !fresh.is_empty())
            else {
                return;
            };
            self.append(fresh);
        }
        self.take_waiting();
        self.cut(place, key, outputs);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.next = self.next.wrapping_add(bytes.len() as u32);
        self.position += bytes.len() as u64;
    }

    fn wait(&mut self, now: Timestamp, at: u64, payload: &[u8]) {
        if self.waiting.is_empty() {
            self.waiting_since = now;
        }
        let held = self.waiting.get(&at).map_or(0, Vec::len);
        if held < payload.len() {
            self.waiting_bytes += payload.len() - held;
            self.waiting.insert(at, payload.to_vec());
        }
    }

    /// Moves what waits and has become due into the buffer.
    fn take_waiting(&mut self) {
        while let Some(entry) = self.waiting.first_entry() {
            let Some(overlap) = self.position.checked_sub(*entry.key()) else {
                return;
            };
            let bytes = entry.remove();
            self.waiting_bytes -= bytes.len();
            if let Some(fresh) = usize::try_from(overlap).ok().and_then(|overlap| bytes.get(overlap..)) {
                self.append(fresh);
            }
        }
    }

    /// Gives the missing bytes up, with the message that they belong to, and goes on at the first segment that waits.
    fn step_over_gap(&mut self, place: Place, key: Key, outputs: &mut VecDeque<Output>) {
        let Some(at) = self.waiting.first_key_value().map(|(at, _)| *at) else {
            return;
        };
        let missing = at.saturating_sub(self.position) as u32;
        if self.is_sip {
            let (src, dst) = key;
            outputs.push_back(Output::Flaw(place.flaw(FlawKind::TcpGap {
                src,
                dst,
                bytes: missing,
            })));
        }
        self.skipped += self.buffer.len();
        self.buffer = Vec::new();
        self.searched = 0;
        self.next = self.next.wrapping_add(missing);
        self.position = at;
        self.waiting_since = place.at;
        self.take_waiting();
        if self.frames.is_some() {
            self.frames = Some(Frames::after_gap());
        }
        self.cut(place, key, outputs);
    }

    fn name_skipped(&mut self, place: Place, (src, dst): Key, outputs: &mut VecDeque<Output>) {
        let bytes = std::mem::take(&mut self.skipped) as u32;
        if self.is_sip && bytes > 0 {
            outputs.push_back(Output::Flaw(place.flaw(FlawKind::TcpResync { src, dst, bytes })));
        }
    }

    /// Cuts the buffer into messages.
    fn cut(&mut self, place: Place, key: Key, outputs: &mut VecDeque<Output>) {
        if let Some(mut frames) = self.frames.take() {
            self.cut_frames(&mut frames, place, key, outputs);
            self.frames = Some(frames);
            return;
        }
        let mut from = 0;
        let mut searched = 0;
        loop {
            let rest = self.buffer.get(from..).unwrap_or_default();
            let trimmed = skip_crlf(rest);
            from += rest.len() - trimmed.len();
            if let Some(len) = copy_length(trimmed) {
                self.is_sip = true;
                let Some(bytes) = trimmed.get(..len).filter(|bytes| !bytes.is_empty()) else {
                    break;
                };
                let bytes = bytes.to_vec();
                from += len;
                self.name_skipped(place, key, outputs);
                outputs.push_back(Output::Copy { place, bytes });
                continue;
            }
            let skip = match start_line(trimmed) {
                StartLine::Undecided => break,
                StartLine::NotSip if !self.is_sip => return,
                StartLine::NotSip => resync(trimmed),
                StartLine::Sip => {
                    self.is_sip = true;
                    match frame(trimmed, self.searched.saturating_sub(from)) {
                        Frame::Whole(len) => {
                            let bytes = trimmed.get(..len).unwrap_or_default().to_vec();
                            from += len;
                            self.name_skipped(place, key, outputs);
                            outputs.push_back(Output::Message {
                                place,
                                transport: Transport::Tcp,
                                src: key.0,
                                dst: key.1,
                                bytes,
                            });
                            continue;
                        }
                        Frame::Headless => {
                            searched = trimmed.len();
                            break;
                        }
                        Frame::Partial => break,
                        Frame::Oversized => resync(trimmed),
                    }
                }
            };
            self.skipped += skip;
            from += skip;
        }
        self.pass(from);
        self.searched = searched;
    }

    /// Drops what was read, and the room it took: that would be in no budget.
    fn pass(&mut self, len: usize) {
        if len > 0 {
            self.buffer.drain(..len);
            self.buffer.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests;
