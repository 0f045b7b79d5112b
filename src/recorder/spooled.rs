//! One open recording, as the writer knows it: its chain, its signals and marks on the way, and where its extents are.

use bytes::{Bytes, BytesMut};

use crate::model::{Closing, Leg, SessionId, Timestamp};

use super::commit::closing_extent;
use super::extent::{CHAIN_START, Extent, FRAME_HEADER_BYTES, Link, Tag};
use super::io::{File, SegmentId, Span};
use super::seal_job::Transcript;

/// Signals and marks of one call that wait for a commit; more is a fault of that recording.
const CHRONICLE_BYTES_MAX: usize = 1 << 20;
/// An extent of signals and marks is closed when it is longer.
const CHRONICLE_EXTENT_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) enum Phase {
    /// Its opening record is not durable yet.
    Opening,
    Open,
    /// Closed by signalling; packets that the relay counted are still on their way.
    Closing {
        closing: Box<Closing>,
        /// When it waits no longer.
        due: Timestamp,
    },
    /// A record of a call of which nothing was recorded: opening and closing in one, on their way to the disk.
    Kept,
    /// The closing record is on its way to the disk.
    Closed,
    /// All of it is durable.
    Sealing,
}

/// Neighbouring extents of a call in one segment: (offset, length) each.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) segment: SegmentId,
    extents: Vec<(u32, u32)>,
}

#[derive(Debug)]
pub(super) struct Spooled {
    pub(super) phase: Phase,
    /// Tells it from another recording of the same session that was given up.
    pub(super) life: u64,
    ordinal: u32,
    head: Link,
    chronicle: Vec<Extent>,
    chronicle_bytes: usize,
    /// A signal or mark found no room: said once.
    pub(super) overflowed: bool,
    /// Packets that arrived from the intake.
    pub(super) packets: u64,
    pub(super) runs: Vec<Run>,
    /// What was moved out of the spool already.
    pub(super) moved: Option<Box<Transcript>>,
    /// How many runs are being moved.
    pub(super) moving: usize,
    /// Its last extents, when the journal does not take them.
    pub(super) tail: Bytes,
    /// Blocks whose frames are in the tail: given back once it is durable.
    #[allow(clippy::vec_box, reason = "they came boxed and go back boxed")]
    pub(super) blocks: Vec<Box<Extent>>,
}

/// The chronicle is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Overflow;

impl Spooled {
    pub(super) fn new(life: u64) -> Self {
        Self {
            phase: Phase::Opening,
            life,
            ordinal: 0,
            head: CHAIN_START,
            chronicle: Vec::new(),
            chronicle_bytes: 0,
            overflowed: false,
            packets: 0,
            runs: Vec::new(),
            moved: None,
            moving: 0,
            tail: Bytes::new(),
            blocks: Vec::new(),
        }
    }

    pub(super) fn takes_frames(&self) -> bool {
        matches!(
            self.phase,
            Phase::Opening | Phase::Open | Phase::Closing { .. } | Phase::Kept
        )
    }

    /// Puts a signal, mark or record among what the next commit writes.
    pub(super) fn note(
        &mut self,
        now: Timestamp,
        session: SessionId,
        at: Timestamp,
        tag: Tag,
        leg: Leg,
        payload: &[&[u8]],
    ) -> Result<(), Overflow> {
        let bytes = FRAME_HEADER_BYTES + payload.iter().map(|part| part.len()).sum::<usize>();
        if self.chronicle_bytes + bytes > CHRONICLE_BYTES_MAX {
            return Err(Overflow);
        }
        let full = |extent: &Extent| extent.bytes.len() + bytes > CHRONICLE_EXTENT_BYTES;
        if self.chronicle.last().is_none_or(full) {
            let mut extent = Extent::with_capacity(bytes);
            extent.reset(0, session, now);
            self.chronicle.push(extent);
        }
        if let Some(extent) = self.chronicle.last_mut() {
            extent.push(at, tag, leg, 0, payload);
        }
        self.chronicle_bytes += bytes;
        Ok(())
    }

    pub(super) fn take_chronicle(&mut self) -> Vec<Extent> {
        self.chronicle_bytes = 0;
        std::mem::take(&mut self.chronicle)
    }

    /// Links an extent to the call's chain and appends it to a batch.
    pub(super) fn seal_into(&mut self, extent: &Extent, batch: &mut BytesMut, lsn: u64) {
        self.head = extent.seal_into(batch, lsn, self.ordinal, self.head);
        self.ordinal += 1;
    }

    /// Everything of the ended call that no segment has: `tail` is what a batch holds, in front of what waits for one.
    /// Returns the next log sequence number.
    #[allow(clippy::vec_box, reason = "they came boxed and go back boxed")]
    pub(super) fn keep_tail(
        &mut self,
        now: Timestamp,
        session: SessionId,
        mut tail: BytesMut,
        blocks: Vec<Box<Extent>>,
        lsn: u64,
    ) -> u64 {
        let closing = match &self.phase {
            Phase::Closing { closing, .. } => Some(closing_extent(now, session, closing)),
            _ => None,
        };
        let chronicle = self.take_chronicle();
        let mut next = lsn;
        for extent in chronicle.iter().chain(blocks.iter().map(AsRef::as_ref)).chain(&closing) {
            self.seal_into(extent, &mut tail, next);
            next += 1;
        }
        self.tail = tail.freeze();
        self.blocks = blocks;
        next
    }

    /// An extent of the call is durable at this place. True: the call has nothing else in this segment yet.
    pub(super) fn landed(&mut self, segment: SegmentId, offset: u32, bytes: u32) -> bool {
        if let Some(run) = self.runs.last_mut()
            && run.segment == segment
        {
            run.extents.push((offset, bytes));
            return false;
        }
        let extents = vec![(offset, bytes)];
        self.runs.push(Run { segment, extents });
        true
    }

    /// Where the first `runs` runs of extents are.
    pub(super) fn sources(&self, runs: usize) -> Vec<Span> {
        let runs = self.runs.iter().take(runs);
        let spans = runs.flat_map(|run| {
            let file = File::Segment(run.segment);
            run.extents.iter().map(move |(offset, bytes)| Span {
                file,
                offset: u64::from(*offset),
                bytes: *bytes,
            })
        });
        spans.collect()
    }
}
