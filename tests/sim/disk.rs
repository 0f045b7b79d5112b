//! A disk that fails, in memory: what was written is not what is durable, and a crash keeps what it likes of the rest.

mod content;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use onrecord::model::Timestamp;
use onrecord::recorder::{File, Folder, IoDone, IoError, IoOp, IoOutcome, IoRequest, Lane, Span, VolumeId};

use super::packets::packet_numbers;
use super::rng::Rng;
use content::{Content, put};

/// What is wrong with the disk for a while. Reads go on: it is the writes that the law is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// ENOSPC on everything that needs space.
    Full,
    /// The write arrives in the page cache, the flush fails, the dirty bytes are dropped; a second flush would say yes.
    FlushFails,
    ReadOnly,
    /// Half of the bytes are taken.
    ShortWrite,
    /// Nothing is answered until it is over.
    Hangs,
    /// Each request takes this many milliseconds longer.
    Slow(u64),
}

impl Trouble {
    /// None: it only takes longer.
    const fn error(self) -> Option<IoError> {
        match self {
            Self::Full => Some(IoError::NoSpace),
            Self::FlushFails => Some(IoError::Io),
            Self::ReadOnly => Some(IoError::ReadOnly),
            Self::ShortWrite => Some(IoError::ShortWrite),
            Self::Hangs | Self::Slow(_) => None,
        }
    }
}

pub struct Disk {
    rng: Rng,
    files: BTreeMap<File, Content>,
    /// Removed, but their directory was not flushed since: a crash may bring them back.
    removed: BTreeMap<File, Content>,
    lanes: BTreeMap<Lane, VecDeque<(Timestamp, IoRequest)>>,
    /// What is wrong, and with which volume; None is all of it, the archive too.
    trouble: Option<(Trouble, Option<VolumeId>)>,
    /// Requests seen so far, over crashes.
    pub requests: u64,
    /// The machine stops while this request is under way.
    pub crash_at: Option<u64>,
    pub capacity: u64,
    /// Numbers of the phones' packets in appends that were acknowledged.
    pub acknowledged: BTreeSet<u64>,
    /// Of acknowledged appends, those that hold more than packets: opening records, signalling.
    texts: Vec<Bytes>,
    /// When a request last failed.
    pub failed_at: Option<Timestamp>,
}

impl Disk {
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            files: BTreeMap::new(),
            removed: BTreeMap::new(),
            lanes: BTreeMap::new(),
            trouble: None,
            requests: 0,
            crash_at: None,
            capacity: 1 << 40,
            acknowledged: BTreeSet::new(),
            texts: Vec::new(),
            failed_at: None,
        }
    }

    pub fn break_with(&mut self, trouble: Trouble, volume: Option<VolumeId>) {
        self.trouble = Some((trouble, volume));
    }

    fn trouble_of(&self, lane: Lane) -> Option<Trouble> {
        let (trouble, volume) = self.trouble?;
        let is_hit = volume.is_none_or(|volume| lane == Lane::Journal(volume));
        is_hit.then_some(trouble)
    }

    /// Works again; what hung is answered from `now` on.
    pub fn mend(&mut self, now: Timestamp) {
        self.trouble = None;
        for queue in self.lanes.values_mut() {
            queue
                .iter_mut()
                .for_each(|(due, _)| *due = (*due).min(now + Duration::from_millis(20)));
        }
    }

    pub fn submit(&mut self, now: Timestamp, request: IoRequest) {
        self.requests += 1;
        let slow = match self.trouble_of(request.lane) {
            Some(Trouble::Slow(millis)) => millis,
            _ => 0,
        };
        let took = Duration::from_millis(slow) + self.rng.millis(0..=4);
        let queue = self.lanes.entry(request.lane).or_default();
        let start = queue.back().map_or(now, |(due, _)| (*due).max(now));
        queue.push_back((start + took, request));
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.next().map(|(due, _)| due)
    }

    /// The lane whose first request is due first; lanes that hang have none.
    fn next(&self) -> Option<(Timestamp, Lane)> {
        let alive = self
            .lanes
            .iter()
            .filter(|(lane, _)| self.trouble_of(**lane) != Some(Trouble::Hangs));
        alive.filter_map(|(lane, queue)| Some((queue.front()?.0, *lane))).min()
    }

    /// The next answer due by `now`.
    pub fn poll_done(&mut self, now: Timestamp) -> Option<IoDone> {
        let (_, lane) = self.next().filter(|(due, _)| *due <= now)?;
        let (_, request) = self.lanes.get_mut(&lane)?.pop_front()?;
        let result = self.execute(lane, &request.op);
        if result.is_err() {
            self.failed_at = Some(now);
        } else if let IoOp::Append { bytes, .. } = &request.op {
            self.acknowledged.extend(packet_numbers(bytes));
            self.texts.push(bytes.clone());
        }
        Some(IoDone { id: request.id, result })
    }

    /// Is this text in anything that was acknowledged?
    pub fn has_acknowledged(&self, text: &str) -> bool {
        self.texts
            .iter()
            .any(|bytes| memmem::find(bytes, text.as_bytes()).is_some())
    }

    /// Should the machine stop now?
    pub fn is_crash_due(&self) -> bool {
        self.crash_at.is_some_and(|at| self.requests >= at)
    }

    /// Power cut: what was under way is half done, what was not flushed is kept or not.
    pub fn crash(&mut self) {
        let under_way: Vec<IoRequest> = std::mem::take(&mut self.lanes)
            .into_values()
            .flatten()
            .map(|(_, request)| request)
            .collect();
        for request in under_way {
            if self.rng.one_in(2) {
                self.start_only(&request.op);
            }
        }
        self.crash_at = None;
        self.trouble = None;
        for (file, content) in std::mem::take(&mut self.removed) {
            if self.rng.one_in(2) {
                self.files.entry(file).or_insert(content);
            }
        }
        let rng = &mut self.rng;
        self.files.retain(|_, content| content.name_is_durable || rng.one_in(2));
        self.files.values_mut().for_each(|content| content.crash(rng));
    }

    /// Everything readable of a file now; None if there is no such file.
    pub fn contents(&self, file: File) -> Option<Bytes> {
        let content = self.files.get(&file)?;
        Some(content.cached.clone().into())
    }

    pub fn names(&self) -> impl Iterator<Item = File> {
        self.files.keys().copied()
    }

    /// Flips one bit of a file that has any.
    pub fn flip_bit(&mut self, file: File, at: usize) {
        if let Some(content) = self.files.get_mut(&file)
            && let Some(byte) = content.cached.get_mut(at)
        {
            *byte ^= 1;
            content.durable = content.cached.clone();
        }
    }

    /// The writes of `op` without its flush.
    fn start_only(&mut self, op: &IoOp) {
        match op {
            IoOp::Create { segment, bytes } => {
                let content = Content {
                    size: *bytes as usize,
                    ..Content::default()
                };
                self.files.entry(File::Segment(*segment)).or_insert(content);
            }
            IoOp::Append { segment, offset, bytes } => {
                if let Some(content) = self.files.get_mut(&File::Segment(*segment)) {
                    content.write(*offset as usize, bytes);
                }
            }
            IoOp::Publish { partials } => {
                for (session, attempt) in partials {
                    if self.rng.one_in(2) {
                        let _ = self.publish(
                            File::Partial {
                                session: *session,
                                attempt: *attempt,
                            },
                            File::Sealed(*session),
                        );
                    }
                }
            }
            IoOp::Write { .. } | IoOp::Extend { .. } | IoOp::Remove { .. } => {
                let _ = self.execute(Lane::Archive, op);
            }
            IoOp::Sync { .. } | IoOp::Read { .. } | IoOp::Free { .. } | IoOp::List { .. } | IoOp::Published { .. } => {}
        }
    }

    fn publish(&mut self, from: File, to: File) -> Result<(), IoError> {
        let mut content = self.files.remove(&from).ok_or(IoError::Missing)?;
        content.name_is_durable = true;
        self.files.insert(to, content);
        Ok(())
    }

    fn execute(&mut self, lane: Lane, op: &IoOp) -> Result<IoOutcome, IoError> {
        match op {
            IoOp::Read { parts } => self.read(parts),
            IoOp::Free { volume } => Ok(IoOutcome::Free(self.free(*volume))),
            IoOp::List { folder } => Ok(IoOutcome::Listed(self.list(*folder))),
            IoOp::Published { sessions } => {
                let is_there = |session| self.files.contains_key(&File::Sealed(session));
                Ok(IoOutcome::Published(sessions.iter().copied().map(is_there).collect()))
            }
            IoOp::Remove { file } => {
                if let Some(content) = self.files.remove(file) {
                    self.removed.insert(*file, content);
                }
                Ok(IoOutcome::Done)
            }
            _ => match self.trouble_of(lane).and_then(Trouble::error) {
                Some(error) => self.fail(op, error),
                None => self.change(op),
            },
        }
    }

    fn change(&mut self, op: &IoOp) -> Result<IoOutcome, IoError> {
        match op {
            IoOp::Create { segment, bytes } => {
                let file = File::Segment(*segment);
                if self.files.contains_key(&file) {
                    return Err(IoError::Exists);
                }
                let content = Content {
                    size: *bytes as usize,
                    name_is_durable: true,
                    ..Content::default()
                };
                self.files.insert(file, content);
                self.forget_removed(|file| matches!(file, File::Segment(other) if other.volume == segment.volume));
                Ok(IoOutcome::Done)
            }
            IoOp::Append { segment, offset, bytes } => {
                let content = self.files.get_mut(&File::Segment(*segment)).ok_or(IoError::Missing)?;
                content.write(*offset as usize, bytes);
                content.flush();
                Ok(IoOutcome::Done)
            }
            IoOp::Write { file, offset, bytes } => {
                let content = match offset {
                    0 => self.files.entry(*file).insert_entry(Content::default()).into_mut(),
                    _ => self.files.get_mut(file).ok_or(IoError::Missing)?,
                };
                content.write(*offset as usize, bytes);
                Ok(IoOutcome::Done)
            }
            IoOp::Extend { file, bytes } => {
                let content = self.files.entry(*file).or_default();
                let end = content.cached.len();
                content.write(end, bytes);
                Ok(IoOutcome::Done)
            }
            IoOp::Sync { files } => {
                let each = files
                    .iter()
                    .map(|file| self.files.get_mut(file).map(Content::flush).ok_or(IoError::Missing));
                Ok(IoOutcome::Each(each.collect()))
            }
            IoOp::Publish { partials } => {
                let each = partials.iter().map(|(session, attempt)| {
                    let from = File::Partial {
                        session: *session,
                        attempt: *attempt,
                    };
                    self.publish(from, File::Sealed(*session))
                });
                let each = each.collect();
                self.forget_removed(|file| matches!(file, File::Partial { .. }));
                Ok(IoOutcome::Each(each))
            }
            IoOp::Read { .. }
            | IoOp::Free { .. }
            | IoOp::List { .. }
            | IoOp::Published { .. }
            | IoOp::Remove { .. } => self.execute(Lane::Archive, op),
        }
    }

    /// A failed write leaves half of itself in the page cache; a failed flush drops what was dirty.
    fn fail(&mut self, op: &IoOp, error: IoError) -> Result<IoOutcome, IoError> {
        if let IoOp::Append { segment, offset, bytes } = op
            && let Some(content) = self.files.get_mut(&File::Segment(*segment))
        {
            match error {
                IoError::Io => {
                    put(&mut content.cached, *offset as usize, bytes);
                    content.dirty.clear();
                }
                IoError::ShortWrite => content.write(*offset as usize, &bytes.slice(..bytes.len() / 2)),
                _ => {}
            }
        }
        if let IoOp::Sync { files } = op {
            for file in files {
                if let Some(content) = self.files.get_mut(file) {
                    content.dirty.clear();
                }
            }
        }
        Err(error)
    }

    fn forget_removed(&mut self, which: impl Fn(&File) -> bool) {
        self.removed.retain(|file, _| !which(file));
    }

    fn read(&self, parts: &[Span]) -> Result<IoOutcome, IoError> {
        let part = |span: &Span| {
            self.files
                .get(&span.file)
                .map(|content| content.read(span))
                .ok_or(IoError::Missing)
        };
        parts.iter().map(part).collect::<Result<_, _>>().map(IoOutcome::Read)
    }

    fn free(&self, volume: VolumeId) -> u64 {
        if self.trouble_of(Lane::Journal(volume)) == Some(Trouble::Full) {
            return 0;
        }
        let on_volume = |file: &File| matches!(file, File::Segment(segment) if segment.volume == volume);
        let used: usize = self
            .files
            .iter()
            .filter(|(file, _)| on_volume(file))
            .map(|(_, c)| c.size)
            .sum();
        self.capacity.saturating_sub(used as u64)
    }

    fn list(&self, folder: Folder) -> Vec<(File, u64)> {
        let is_in = |file: &File| match (folder, file) {
            (Folder::Volume(volume), File::Segment(segment)) => segment.volume == volume,
            (Folder::Partials, File::Partial { .. }) => true,
            _ => false,
        };
        self.files
            .iter()
            .filter(|(file, _)| is_in(file))
            .map(|(file, c)| (*file, c.size as u64))
            .collect()
    }
}
