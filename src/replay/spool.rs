//! The disk below the replayed recorder: the real one, or one in memory that forgets what nobody will read.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::fault::FaultSpec;
use crate::model::{SessionId, Timestamp};
use crate::recorder::{File, Folder, IoDone, IoError, IoOp, IoOutcome, IoRequest, Span, VolumeId};

/// Sealed calls in the making that are kept in memory, all together. Full: their bytes are forgotten (their lengths are
/// not); only a recorder that has to begin a seal again misses them.
const PARTIAL_BYTES_MAX: usize = 64 << 20;

/// Carries out what the recorder asks of a disk.
pub(crate) trait Disk {
    fn execute(&mut self, request: &IoRequest) -> Result<IoOutcome, IoError>;
}

/// A disk with its faults.
pub(crate) struct Spool<D> {
    disk: D,
    /// With the time from which on they last.
    faults: Vec<(Timestamp, FaultSpec)>,
    answers: VecDeque<IoDone>,
    /// Calls whose sealed file has its name.
    published: Vec<SessionId>,
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
        self.faults = faults.iter().map(|fault| (started + fault.at, *fault)).collect();
    }

    /// Carries out a request at once; a stalled disk never answers.
    pub(crate) fn handle_request(&mut self, now: Timestamp, request: &IoRequest) {
        let active = |(since, fault): &&(Timestamp, FaultSpec)| *since <= now && fault.kind.concerns(&request.op);
        let result = match self.faults.iter().filter(active).max_by_key(|(since, _)| *since) {
            None => self.disk.execute(request),
            Some((_, fault)) => match (fault.kind.error(), &request.op) {
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

/// Files in memory. Sealed calls and views are only counted.
#[derive(Default)]
pub(crate) struct MemoryDisk {
    segments: BTreeMap<File, Segment>,
    partials: BTreeMap<File, Vec<u8>>,
    partial_bytes: usize,
}

struct Segment {
    bytes: Vec<u8>,
    len: u64,
}

impl Disk for MemoryDisk {
    fn execute(&mut self, request: &IoRequest) -> Result<IoOutcome, IoError> {
        match &request.op {
            IoOp::Create { segment, bytes } => {
                self.segments.insert(
                    File::Segment(*segment),
                    Segment {
                        bytes: Vec::new(),
                        len: *bytes,
                    },
                );
                Ok(IoOutcome::Done)
            }
            IoOp::Append { segment, offset, bytes } => {
                let segment = self
                    .segments
                    .get_mut(&File::Segment(*segment))
                    .ok_or(IoError::Missing)?;
                put(&mut segment.bytes, *offset, bytes)?;
                segment.len = segment.len.max(segment.bytes.len() as u64);
                Ok(IoOutcome::Done)
            }
            IoOp::Read { parts } => parts
                .iter()
                .map(|span| self.read(span))
                .collect::<Result<_, _>>()
                .map(IoOutcome::Read),
            IoOp::Write { file, offset, bytes } => self.write(*file, *offset, bytes).map(|()| IoOutcome::Done),
            IoOp::Extend { .. } => Ok(IoOutcome::Done),
            IoOp::Sync { files } => Ok(IoOutcome::Each(vec![Ok(()); files.len()])),
            IoOp::Publish { partials } => {
                for (session, attempt) in partials {
                    self.remove(&File::Partial {
                        session: *session,
                        attempt: *attempt,
                    });
                }
                Ok(IoOutcome::Each(vec![Ok(()); partials.len()]))
            }
            IoOp::Remove { file } => {
                self.remove(file);
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
        let (bytes, len) = match (self.segments.get(&span.file), self.partials.get(&span.file)) {
            (Some(segment), _) => (segment.bytes.as_slice(), segment.len),
            (None, Some(partial)) => (partial.as_slice(), partial.len() as u64),
            (None, None) => return Err(IoError::Missing),
        };
        let end = span.offset.saturating_add(u64::from(span.bytes)).min(len);
        let wanted = usize::try_from(end.saturating_sub(span.offset)).map_err(|_| IoError::Io)?;
        let from = usize::try_from(span.offset).map_err(|_| IoError::Io)?.min(bytes.len());
        let held = bytes
            .get(from..from.saturating_add(wanted).min(bytes.len()))
            .unwrap_or_default();
        let mut read = held.to_vec();
        // Preallocated and never written.
        read.resize(wanted, 0);
        Ok(read.into())
    }

    fn write(&mut self, file: File, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        if !matches!(file, File::Partial { .. }) {
            return Ok(());
        }
        if offset == 0 {
            self.remove(&file);
        }
        if self.partial_bytes + bytes.len() > PARTIAL_BYTES_MAX {
            self.remove(&file);
            return Ok(());
        }
        if offset == 0 || self.partials.contains_key(&file) {
            let partial = self.partials.entry(file).or_default();
            let before = partial.len();
            put(partial, offset, bytes)?;
            self.partial_bytes += partial.len() - before;
        }
        Ok(())
    }

    fn remove(&mut self, file: &File) {
        self.segments.remove(file);
        if let Some(partial) = self.partials.remove(file) {
            self.partial_bytes -= partial.len();
        }
    }

    fn list(&self, folder: Folder) -> Vec<(File, u64)> {
        let in_volume = |file: &File, volume: VolumeId| matches!(file, File::Segment(s) if s.volume == volume);
        match folder {
            Folder::Volume(volume) => {
                let held = self.segments.iter().filter(|(file, _)| in_volume(file, volume));
                held.map(|(file, segment)| (*file, segment.len)).collect()
            }
            Folder::Partials => self
                .partials
                .iter()
                .map(|(file, bytes)| (*file, bytes.len() as u64))
                .collect(),
        }
    }
}

/// Writes beyond the end fill the hole with zeros. The recorder's segments bound the size.
fn put(into: &mut Vec<u8>, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
    let start = usize::try_from(offset).map_err(|_| IoError::NoSpace)?;
    let end = start.checked_add(bytes.len()).ok_or(IoError::NoSpace)?;
    if into.len() < end {
        into.resize(end, 0);
    }
    into.get_mut(start..end).ok_or(IoError::Io)?.copy_from_slice(bytes);
    Ok(())
}
