//! The disk below the replayed recorder: the real one, or one in memory that forgets what nobody will read.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::fault::FaultSpec;
use crate::model::{SessionId, Timestamp};
use crate::recorder::{File, Folder, IoDone, IoError, IoOp, IoOutcome, IoRequest, SegmentId, Span, VolumeId};

/// Carries out what the recorder asks of a disk.
pub(crate) trait Disk {
    fn execute(&mut self, request: &IoRequest) -> Result<IoOutcome, IoError>;
}

/// A disk with its faults.
pub(crate) struct Spool<D> {
    disk: D,
    faults: Vec<Lasting>,
    answers: VecDeque<IoDone>,
    /// Calls whose sealed file has its name.
    published: Vec<SessionId>,
}

/// A fault with its time.
struct Lasting {
    since: Timestamp,
    until: Option<Timestamp>,
    fault: FaultSpec,
}

impl<D: Disk> Spool<D> {
    pub(crate) fn new(disk: D) -> Self {
        Self {
            disk,
            faults: Vec::new(),
            answers: VecDeque::new(),
            published: Vec::new(),
        }
    }

    /// Times of the faults count from `started`.
    pub(crate) fn break_at(&mut self, started: Timestamp, faults: &[FaultSpec]) {
        let lasting = |fault: &FaultSpec| Lasting {
            since: started + fault.at,
            until: fault.until.map(|until| started + until),
            fault: *fault,
        };
        self.faults = faults.iter().map(lasting).collect();
    }

    /// Carries out a request at once; a stalled disk never answers.
    pub(crate) fn handle_request(&mut self, now: Timestamp, request: &IoRequest) {
        let active = |lasting: &&Lasting| {
            let is_over = lasting.until.is_some_and(|until| until <= now);
            lasting.since <= now && !is_over && lasting.fault.kind.concerns(&request.op)
        };
        let result = match self.faults.iter().filter(active).max_by_key(|lasting| lasting.since) {
            None => self.disk.execute(request),
            Some(Lasting { fault, .. }) => match (fault.kind.error(), &request.op) {
                (None, _) => return,
                (Some(error), IoOp::Sync { files }) => Ok(IoOutcome::Each(vec![Err(error); files.len()])),
                (Some(error), IoOp::Publish { partials }) => Ok(IoOutcome::Each(vec![Err(error); partials.len()])),
                (Some(error), _) => Err(error),
            },
        };
        if let (IoOp::Publish { partials }, Ok(IoOutcome::Each(results))) = (&request.op, &result) {
            let named = partials.iter().zip(results).filter(|(_, result)| result.is_ok());
            self.published.extend(named.map(|((session, _), _)| *session));
        }
        self.answers.push_back(IoDone { id: request.id, result });
    }

    pub(crate) fn poll_answer(&mut self) -> Option<IoDone> {
        self.answers.pop_front()
    }

    pub(crate) fn poll_published(&mut self) -> Option<SessionId> {
        self.published.pop()
    }
}

impl Disk for crate::disk::Disk {
    fn execute(&mut self, request: &IoRequest) -> Result<IoOutcome, IoError> {
        Self::execute(self, request.clone()).result
    }
}

/// Segments in memory, as the very bytes that the recorder handed over. Sealed calls and views are forgotten at once:
/// only a seal that failed is read again, and a broken disk stays broken.
#[derive(Default)]
pub(crate) struct MemoryDisk {
    segments: BTreeMap<SegmentId, Segment>,
}

/// What was appended, by offset. The recorder never writes a place twice; where it did, the later wins.
struct Segment {
    chunks: BTreeMap<u64, Bytes>,
    len: u64,
}

impl Disk for MemoryDisk {
    fn execute(&mut self, request: &IoRequest) -> Result<IoOutcome, IoError> {
        match &request.op {
            IoOp::Create { segment, bytes } => {
                self.segments.insert(
                    *segment,
                    Segment {
                        chunks: BTreeMap::new(),
                        len: *bytes,
                    },
                );
                Ok(IoOutcome::Done)
            }
            IoOp::Append { segment, offset, bytes } => {
                let segment = self.segments.get_mut(segment).ok_or(IoError::Missing)?;
                segment.len = segment.len.max(offset.saturating_add(bytes.len() as u64));
                segment.chunks.insert(*offset, bytes.clone());
                Ok(IoOutcome::Done)
            }
            IoOp::Read { parts } => parts
                .iter()
                .map(|span| self.read(span))
                .collect::<Result<_, _>>()
                .map(IoOutcome::Read),
            IoOp::Write { .. } | IoOp::Extend { .. } => Ok(IoOutcome::Done),
            IoOp::Sync { files } => Ok(IoOutcome::Each(vec![Ok(()); files.len()])),
            IoOp::Publish { partials } => Ok(IoOutcome::Each(vec![Ok(()); partials.len()])),
            IoOp::Remove { file } => {
                if let File::Segment(segment) = file {
                    self.segments.remove(segment);
                }
                Ok(IoOutcome::Done)
            }
            IoOp::Free { .. } => Ok(IoOutcome::Free(1 << 40)),
            IoOp::List { folder } => Ok(IoOutcome::Listed(self.list(*folder))),
            IoOp::Published { sessions } => Ok(IoOutcome::Published(vec![false; sessions.len()])),
        }
    }
}

impl MemoryDisk {
    fn read(&self, span: &Span) -> Result<Bytes, IoError> {
        let File::Segment(id) = span.file else {
            return Err(IoError::Missing);
        };
        let segment = self.segments.get(&id).ok_or(IoError::Missing)?;
        let end = span
            .offset
            .saturating_add(u64::from(span.bytes))
            .min(segment.len)
            .max(span.offset);
        if let Some((at, chunk)) = segment.chunks.range(..=span.offset).next_back()
            && let Some(part) = part_of(chunk, span.offset - at, end - at)
        {
            return Ok(part);
        }
        // Across appends, or where nothing was written: zeros, as preallocated.
        let mut bytes = vec![0; usize::try_from(end - span.offset).map_err(|_| IoError::Io)?];
        let before = segment.chunks.range(..span.offset).next_back();
        for (at, chunk) in before.into_iter().chain(segment.chunks.range(span.offset..end)) {
            let skip = span.offset.saturating_sub(*at) as usize;
            let to = at.saturating_sub(span.offset) as usize;
            let from = chunk.get(skip..).unwrap_or_default();
            for (place, byte) in bytes.iter_mut().skip(to).zip(from) {
                *place = *byte;
            }
        }
        Ok(bytes.into())
    }

    fn list(&self, folder: Folder) -> Vec<(File, u64)> {
        let held = |volume: VolumeId| self.segments.iter().filter(move |(id, _)| id.volume == volume);
        match folder {
            Folder::Volume(volume) => held(volume)
                .map(|(id, segment)| (File::Segment(*id), segment.len))
                .collect(),
            Folder::Partials => Vec::new(),
        }
    }
}

fn part_of(chunk: &Bytes, from: u64, to: u64) -> Option<Bytes> {
    let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
    (from <= to && to <= chunk.len()).then(|| chunk.slice(from..to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;
    use crate::recorder::{IoId, Lane};

    fn run(disk: &mut MemoryDisk, op: IoOp) -> Result<IoOutcome, IoError> {
        disk.execute(&IoRequest {
            id: IoId(1),
            lane: Lane::Archive,
            op,
        })
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_appended_and_zeros_elsewhere(
            lengths in prop::collection::vec(1_usize..40, 0..8),
            gap in 0_u64..20,
            offset in 0_u64..300,
            bytes in 0_u32..300,
        ) {
            let segment = SegmentId { volume: VolumeId(0), number: 1 };
            let mut disk = MemoryDisk::default();
            let mut model = vec![0_u8; 256];
            run(&mut disk, IoOp::Create { segment, bytes: 256 }).unwrap();
            let mut at = gap;
            for (n, len) in lengths.into_iter().enumerate() {
                let chunk = vec![n as u8 + 1; len];
                if model.len() < at as usize + len {
                    model.resize(at as usize + len, 0);
                }
                model[at as usize..at as usize + len].copy_from_slice(&chunk);
                run(&mut disk, IoOp::Append { segment, offset: at, bytes: chunk.into() }).unwrap();
                at += len as u64 + if n == 2 { gap } else { 0 };
            }
            let span = Span { file: File::Segment(segment), offset, bytes };
            let from = (offset as usize).min(model.len());
            let to = (offset as usize + bytes as usize).min(model.len());
            let read = run(&mut disk, IoOp::Read { parts: vec![span] });
            prop_assert_eq!(read, Ok(IoOutcome::Read(vec![model[from..to].to_vec().into()])));
        }
    }
}
