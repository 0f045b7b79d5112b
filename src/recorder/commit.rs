//! Group commit: what waits for the next batch, and making the batch of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::model::{Closing, Leg, SessionId, Timestamp, earliest};

use super::extent::{Extent, FRAME_HEADER_BYTES, Tag};
use super::segment::BLOCK_BYTES;
use super::spooled::{Phase, Spooled};
use super::stored::json;

/// A batch is closed when it is longer; what is left goes with the next, at once.
const BATCH_BYTES: usize = 4 << 20;
/// Room for signals, marks and padding beside the media.
const SLACK_BYTES: usize = 64 << 10;

/// An extent of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) session: SessionId,
    pub(super) life: u64,
    pub(super) offset: u32,
    pub(super) bytes: u32,
}

/// What is written at once, and what has to be told when it is durable.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) placed: Vec<Placed>,
    /// Blocks to give back.
    #[allow(clippy::vec_box, reason = "they came boxed and go back boxed")]
    pub(super) blocks: Vec<Box<Extent>>,
    pub(super) openings: Vec<SessionId>,
    pub(super) closings: Vec<SessionId>,
    /// When its oldest frame was taken.
    pub(super) oldest: Timestamp,
}

/// What the next batch is made of. The intakes' pools bound `media`, the calls' chronicles the rest.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    media: VecDeque<Box<Extent>>,
    /// Calls with signals or marks, in order.
    noted: Vec<SessionId>,
    known: BTreeSet<SessionId>,
    /// Calls whose closing record is due.
    ending: VecDeque<SessionId>,
    /// Batch after batch is written into the same memory, once the last is durable.
    buffer: BytesMut,
    oldest: Option<Timestamp>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.media.is_empty() && self.noted.is_empty() && self.ending.is_empty()
    }

    /// When the oldest of it was taken.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest
    }

    pub(super) fn media(&mut self, extent: Box<Extent>) {
        self.oldest = earliest(self.oldest, Some(extent.opened));
        self.media.push_back(extent);
    }

    pub(super) fn noted(&mut self, now: Timestamp, session: SessionId) {
        self.oldest = earliest(self.oldest, Some(now));
        if self.known.insert(session) {
            self.noted.push(session);
        }
    }

    pub(super) fn ending(&mut self, now: Timestamp, session: SessionId) {
        self.oldest = earliest(self.oldest, Some(now));
        self.ending.push_back(session);
    }

    /// Calls whose end waits, and calls with signals or marks.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.ending.iter().chain(&self.noted).copied()
    }

    /// Takes the media and the ends of these calls out.
    #[allow(clippy::vec_box, reason = "they came boxed and go back boxed")]
    pub(super) fn take(&mut self, sessions: &BTreeSet<SessionId>) -> Vec<Box<Extent>> {
        self.ending.retain(|session| !sessions.contains(session));
        self.noted.retain(|session| !sessions.contains(session));
        self.known.retain(|session| !sessions.contains(session));
        let (taken, left) = std::mem::take(&mut self.media)
            .into_iter()
            .partition(|extent| sessions.contains(&extent.session));
        self.media = left;
        if self.is_empty() {
            self.oldest = None;
        }
        taken.into()
    }

    /// The next batch and its bytes: signals and marks first, then media, then the ends of calls.
    pub(super) fn gather(
        &mut self,
        now: Timestamp,
        calls: &mut BTreeMap<SessionId, Spooled>,
        lsn: &mut u64,
    ) -> (Batch, Bytes) {
        let expected: usize = self.media.iter().map(|extent| extent.bytes.len()).sum();
        self.buffer.reserve(expected.min(BATCH_BYTES) + SLACK_BYTES);
        let mut draft = Draft {
            bytes: std::mem::take(&mut self.buffer),
            lsn,
            batch: Batch {
                placed: Vec::new(),
                blocks: Vec::new(),
                openings: Vec::new(),
                closings: Vec::new(),
                oldest: self.oldest.unwrap_or(now),
            },
        };
        let mut noted = std::mem::take(&mut self.noted).into_iter();
        for session in noted.by_ref() {
            self.known.remove(&session);
            draft.chronicle(session, calls);
            if draft.is_full() {
                break;
            }
        }
        self.noted.extend(noted);
        while !draft.is_full()
            && let Some(extent) = self.media.pop_front()
        {
            draft.media(extent, calls);
        }
        // A call's end comes after all of its media.
        if self.media.is_empty() && self.noted.is_empty() {
            while !draft.is_full()
                && let Some(session) = self.ending.pop_front()
            {
                draft.end(now, session, calls);
            }
        }
        self.oldest = self.media.iter().map(|extent| extent.opened).min();
        if !self.noted.is_empty() || !self.ending.is_empty() {
            self.oldest = earliest(self.oldest, Some(draft.batch.oldest));
        }
        let (batch, bytes) = draft.finish();
        self.buffer = bytes;
        let bytes = self.buffer.split().freeze();
        (batch, bytes)
    }
}

struct Draft<'a> {
    bytes: BytesMut,
    lsn: &'a mut u64,
    batch: Batch,
}

impl Draft<'_> {
    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }

    fn place(&mut self, session: SessionId, call: &mut Spooled, extent: &Extent) {
        let offset = self.bytes.len();
        call.seal_into(extent, &mut self.bytes, *self.lsn);
        *self.lsn += 1;
        self.batch.placed.push(Placed {
            session,
            life: call.life,
            offset: offset as u32,
            bytes: (self.bytes.len() - offset) as u32,
        });
    }

    fn chronicle(&mut self, session: SessionId, calls: &mut BTreeMap<SessionId, Spooled>) {
        let Some(call) = calls.get_mut(&session) else {
            return;
        };
        match call.phase {
            Phase::Opening => self.batch.openings.push(session),
            Phase::Kept => {
                call.phase = Phase::Closed;
                self.batch.closings.push(session);
            }
            Phase::Open | Phase::Closing { .. } | Phase::Closed | Phase::Sealing => {}
        }
        for extent in call.take_chronicle() {
            self.place(session, call, &extent);
        }
    }

    fn media(&mut self, extent: Box<Extent>, calls: &mut BTreeMap<SessionId, Spooled>) {
        if let Some(call) = calls.get_mut(&extent.session) {
            self.place(extent.session, call, &extent);
        }
        self.batch.blocks.push(extent);
    }

    fn end(&mut self, now: Timestamp, session: SessionId, calls: &mut BTreeMap<SessionId, Spooled>) {
        let Some(call) = calls.get_mut(&session) else {
            return;
        };
        let Phase::Closing { closing, .. } = &call.phase else {
            return;
        };
        let extent = closing_extent(now, session, closing);
        call.phase = Phase::Closed;
        self.place(session, call, &extent);
        self.batch.closings.push(session);
    }

    fn finish(mut self) -> (Batch, BytesMut) {
        let padded = self.bytes.len().next_multiple_of(BLOCK_BYTES);
        self.bytes.resize(padded, 0);
        (self.batch, self.bytes)
    }
}

pub(super) fn closing_extent(now: Timestamp, session: SessionId, closing: &Closing) -> Extent {
    let record = json(closing);
    let mut extent = Extent::with_capacity(record.len() + FRAME_HEADER_BYTES);
    extent.reset(0, session, now);
    extent.push(closing.ended, Tag::Closing, Leg::A, 0, &[&record]);
    extent
}
