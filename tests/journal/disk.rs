//! A disk of memory that can fail, stall and lose power, by seed.
//!
//! What a power cut leaves: synced bytes whole; of every 512-byte sector written since, either the old or the new; of
//! every name made or removed since its directory was synced, either state.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "shared by several tests"
)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use onrecord::recorder::{File, Folder, IoDone, IoError, IoId, IoOp, IoOutcome, IoRequest, Span};

const SECTOR: usize = 512;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn coin(&mut self) -> bool {
        self.roll() & 1 == 1
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if self.live.len() < offset + bytes.len() {
            self.live.resize(offset + bytes.len(), 0);
        }
        self.live[offset..offset + bytes.len()].copy_from_slice(bytes);
        if !bytes.is_empty() {
            self.dirty.extend(offset / SECTOR..=(offset + bytes.len() - 1) / SECTOR);
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let from = (sector * SECTOR).min(self.live.len());
            let to = (from + SECTOR).min(self.live.len());
            self.durable[from..to].copy_from_slice(&self.live[from..to]);
        }
    }

    fn cut(&mut self, dice: &mut Dice) {
        let mut after = self.durable.clone();
        if dice.coin() {
            after.resize(self.live.len().max(after.len()), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let from = (sector * SECTOR).min(after.len());
            let to = (from + SECTOR).min(after.len()).min(self.live.len());
            if from < to && dice.coin() {
                after[from..to].copy_from_slice(&self.live[from..to]);
            }
        }
        self.live.clone_from(&after);
        self.durable = after;
    }
}

/// What happens to a request instead of its execution.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Injected {
    Fail(IoError),
    /// Half of it is written, then it fails.
    Half(IoError),
    /// All of it is written, the flush fails.
    FlushFails,
    /// It is never answered, or by `release`.
    Hang,
}

#[derive(Clone, Debug)]
pub struct SimDisk {
    inodes: Vec<Inode>,
    live: BTreeMap<File, usize>,
    durable: BTreeMap<File, usize>,
    dice: Dice,
    /// While set, met by every request that writes.
    pub broken: Option<Injected>,
    /// How many requests more are met by it; none: all.
    pub broken_times: Option<u64>,
    /// Only these volumes are broken; empty: all of the spool, and not the archive.
    pub broken_volumes: Vec<u16>,
    pub archive_broken: bool,
    pub free: u64,
    /// There is room for so many segments.
    pub segments_max: usize,
    /// Reads of it fail.
    pub unreadable: Option<File>,
    hung: Vec<IoRequest>,
    poisoned: BTreeSet<File>,
    /// Files that were written or synced after a flush of theirs had failed.
    pub retried: Vec<File>,
    pub requests: u64,
    pub flushes: u64,
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self {
            inodes: Vec::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            dice: Dice(seed),
            broken: None,
            broken_times: None,
            broken_volumes: Vec::new(),
            archive_broken: false,
            free: u64::MAX,
            segments_max: usize::MAX,
            unreadable: None,
            hung: Vec::new(),
            poisoned: BTreeSet::new(),
            retried: Vec::new(),
            requests: 0,
            flushes: 0,
        }
    }

    /// None: it hangs.
    pub fn execute(&mut self, request: IoRequest) -> Option<IoDone> {
        self.requests += 1;
        let id = request.id;
        let injected = self.broken.filter(|_| self.concerns(&request.op));
        if injected.is_some()
            && let Some(times) = &mut self.broken_times
        {
            *times -= 1;
            if *times == 0 {
                (self.broken, self.broken_times) = (None, None);
            }
        }
        let result = match injected {
            None => self.run(request.op),
            Some(Injected::Hang) => {
                self.hung.push(request);
                return None;
            }
            Some(injected) => self.fail(request.op, injected),
        };
        Some(IoDone { id, result })
    }

    /// Answers what hung.
    pub fn release(&mut self) -> Vec<IoDone> {
        let hung = std::mem::take(&mut self.hung);
        let answer = |request: IoRequest| IoDone {
            id: request.id,
            result: self.run(request.op),
        };
        hung.into_iter().map(answer).collect()
    }

    pub fn hung(&self) -> Vec<IoId> {
        self.hung.iter().map(|request| request.id).collect()
    }

    fn concerns(&self, op: &IoOp) -> bool {
        match op {
            IoOp::Create { segment, .. } | IoOp::Append { segment, .. } => {
                self.broken_volumes.is_empty() || self.broken_volumes.contains(&segment.volume.0)
            }
            IoOp::Write { .. } | IoOp::Sync { .. } | IoOp::Publish { .. } => self.archive_broken,
            _ => false,
        }
    }

    fn fail(&mut self, op: IoOp, injected: Injected) -> Result<IoOutcome, IoError> {
        let error = match injected {
            Injected::Fail(error) | Injected::Half(error) => error,
            Injected::FlushFails | Injected::Hang => IoError::Io,
        };
        if let IoOp::Append { segment, offset, bytes } = op {
            let file = File::Segment(segment);
            self.note_retry(file);
            let kept = match injected {
                Injected::Half(_) => bytes.len() / 2,
                Injected::FlushFails => bytes.len(),
                Injected::Fail(_) | Injected::Hang => 0,
            };
            self.inode(file)?.write(offset as usize, &bytes[..kept]);
            // The kernel drops the dirty pages: what was written is gone without a further error.
            self.poisoned.insert(file);
        }
        Err(error)
    }

    fn note_retry(&mut self, file: File) {
        if self.poisoned.contains(&file) {
            self.retried.push(file);
        }
    }

    fn inode(&mut self, file: File) -> Result<&mut Inode, IoError> {
        let inode = *self.live.get(&file).ok_or(IoError::Missing)?;
        Ok(&mut self.inodes[inode])
    }

    fn make(&mut self, file: File) -> usize {
        self.inodes.push(Inode::default());
        self.live.insert(file, self.inodes.len() - 1);
        self.inodes.len() - 1
    }

    fn run(&mut self, op: IoOp) -> Result<IoOutcome, IoError> {
        match op {
            IoOp::Create { segment, bytes } => {
                let file = File::Segment(segment);
                if self.live.contains_key(&file) {
                    return Err(IoError::Exists);
                }
                let there = self.live.keys().filter(|file| matches!(file, File::Segment(_)));
                if there.count() >= self.segments_max {
                    return Err(IoError::NoSpace);
                }
                let inode = self.make(file);
                self.inodes[inode].live = vec![0; bytes as usize];
                self.inodes[inode].durable = vec![0; bytes as usize];
                self.durable.insert(file, inode);
                Ok(IoOutcome::Done)
            }
            IoOp::Append { segment, offset, bytes } => {
                let file = File::Segment(segment);
                self.note_retry(file);
                let inode = self.inode(file)?;
                inode.write(offset as usize, &bytes);
                inode.sync();
                self.flushes += 1;
                Ok(IoOutcome::Done)
            }
            IoOp::Read { parts } => parts
                .iter()
                .map(|part| self.read(part))
                .collect::<Result<_, _>>()
                .map(IoOutcome::Read),
            IoOp::Write { file, offset, bytes } => {
                if offset == 0 {
                    self.make(file);
                }
                self.inode(file)?.write(offset as usize, &bytes);
                Ok(IoOutcome::Done)
            }
            IoOp::Extend { file, bytes } => {
                if !self.live.contains_key(&file) {
                    self.make(file);
                }
                let inode = self.inode(file)?;
                inode.write(inode.live.len(), &bytes);
                Ok(IoOutcome::Done)
            }
            IoOp::Sync { files } => {
                let each = files.iter().map(|file| self.sync(*file)).collect();
                Ok(IoOutcome::Each(each))
            }
            IoOp::Publish { partials } => {
                let each = partials
                    .iter()
                    .map(|(session, attempt)| self.publish(*session, *attempt));
                Ok(IoOutcome::Each(each.collect()))
            }
            IoOp::Remove { file } => {
                self.live.remove(&file);
                Ok(IoOutcome::Done)
            }
            IoOp::Free { .. } => Ok(IoOutcome::Free(self.free)),
            IoOp::List { folder } => Ok(IoOutcome::Listed(self.list(folder))),
            IoOp::Published { sessions } => {
                let there = sessions.iter().map(|s| self.live.contains_key(&File::Sealed(*s)));
                Ok(IoOutcome::Published(there.collect()))
            }
        }
    }

    fn sync(&mut self, file: File) -> Result<(), IoError> {
        self.note_retry(file);
        let inode = *self.live.get(&file).ok_or(IoError::Missing)?;
        self.inodes[inode].sync();
        self.durable.insert(file, inode);
        self.flushes += 1;
        Ok(())
    }

    fn publish(&mut self, session: onrecord::model::SessionId, attempt: u32) -> Result<(), IoError> {
        let partial = File::Partial { session, attempt };
        let inode = self.live.remove(&partial).ok_or(IoError::Missing)?;
        self.live.insert(File::Sealed(session), inode);
        self.durable.remove(&partial);
        self.durable.insert(File::Sealed(session), inode);
        Ok(())
    }

    fn read(&mut self, part: &Span) -> Result<Bytes, IoError> {
        if self.unreadable == Some(part.file) {
            return Err(IoError::Io);
        }
        let inode = self.inode(part.file)?;
        let from = (part.offset as usize).min(inode.live.len());
        let to = (from + part.bytes as usize).min(inode.live.len());
        Ok(Bytes::copy_from_slice(&inode.live[from..to]))
    }

    fn list(&self, folder: Folder) -> Vec<(File, u64)> {
        let wanted = |file: &File| match (folder, file) {
            (Folder::Volume(volume), File::Segment(segment)) => segment.volume == volume,
            (Folder::Partials, File::Partial { .. }) => true,
            _ => false,
        };
        let files = self.live.iter().filter(|(file, _)| wanted(file));
        files
            .map(|(file, inode)| (*file, self.inodes[*inode].live.len() as u64))
            .collect()
    }

    /// The request was under way when the power went: some of its parts were done, perhaps, and nothing is known.
    pub fn interrupt(&mut self, request: IoRequest) {
        match request.op {
            IoOp::Append { segment, offset, bytes } => {
                if let Ok(inode) = self.inode(File::Segment(segment)) {
                    inode.write(offset as usize, &bytes);
                }
            }
            IoOp::Publish { partials } => {
                for (session, attempt) in partials {
                    if self.dice.coin() {
                        let _ = self.publish(session, attempt);
                    }
                }
            }
            IoOp::Sync { files } => {
                for file in files {
                    if self.dice.coin() {
                        let _ = self.sync(file);
                    }
                }
            }
            op => {
                let _ = self.run(op);
            }
        }
    }

    /// The power goes, and comes back.
    pub fn cut_power(&mut self) {
        let mut names = self.durable.clone();
        let unsure: BTreeSet<File> = self.live.keys().chain(self.durable.keys()).copied().collect();
        for file in unsure {
            if self.live.get(&file) != self.durable.get(&file) && self.dice.coin() {
                match self.live.get(&file) {
                    Some(inode) => names.insert(file, *inode),
                    None => names.remove(&file),
                };
            }
        }
        for inode in &mut self.inodes {
            inode.cut(&mut self.dice);
        }
        self.live.clone_from(&names);
        self.durable = names;
        self.hung.clear();
        self.poisoned.clear();
        self.broken = None;
    }

    /// The process is killed: the page cache stays.
    pub fn kill(&mut self) {
        self.hung.clear();
        self.broken = None;
    }

    pub fn contents(&self, file: File) -> Option<&[u8]> {
        self.live.get(&file).map(|inode| self.inodes[*inode].live.as_slice())
    }

    pub fn contents_mut(&mut self, file: File) -> Option<&mut Vec<u8>> {
        let inode = *self.live.get(&file)?;
        Some(&mut self.inodes[inode].live)
    }

    pub fn files(&self) -> impl Iterator<Item = File> + '_ {
        self.live.keys().copied()
    }
}
