//! Executes the recorder's [`IoRequest`]s: the only place where segments meet `std::fs`.
//!
//! A [`Disk`] serves requests one after another and blocks while it does; the driver runs one per
//! [`Lane`](crate::recorder::Lane), or one for all. What each call to the kernel promises, and what we assume of the
//! medium, is told in docs/JOURNAL.md §7.

mod layout;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::model::SessionId;
use crate::recorder::{
    File, IoDone, IoError, IoOp, IoOutcome, IoRequest, SegmentId, Span, Store, StoreError, VolumeId,
};

use layout::list;

pub use layout::{Layout, Sealed, Stray, Unreadable};

/// Recordings are nobody else's business.
const FILE_MODE: u32 = 0o600;
/// Directories that are remembered; then all are made sure of again.
const DIRECTORIES_MAX: usize = 1_000;
/// No request reads more at once.
const READ_BYTES_MAX: usize = 8 << 20;

/// Executes requests on real files.
#[derive(Debug)]
pub struct Disk {
    layout: Layout,
    /// The segment being written on each volume.
    segments: BTreeMap<VolumeId, (SegmentId, fs::File)>,
    /// Calls being sealed: as many as the sealer works on.
    partials: BTreeMap<File, fs::File>,
    /// Directories whose names were made durable since the start.
    directories: BTreeSet<PathBuf>,
}

impl Disk {
    /// Makes the directories that are missing, and makes durable the names of those that are there: who made them may
    /// have been stopped before he could.
    pub fn open(layout: Layout) -> io::Result<Self> {
        let mut disk = Self::on(layout);
        disk.make_directories(&disk.layout.partials())?;
        for volume in disk.layout.volumes.clone() {
            disk.make_directories(&volume)?;
        }
        Ok(disk)
    }

    /// Another one for the same files, for another lane.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::on(self.layout.clone())
    }

    fn on(layout: Layout) -> Self {
        Self {
            layout,
            segments: BTreeMap::new(),
            partials: BTreeMap::new(),
            directories: BTreeSet::new(),
        }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Does it, however long it takes.
    pub fn execute(&mut self, request: IoRequest) -> IoDone {
        let result = self.run(request.op).map_err(|error| reason(&error));
        IoDone { id: request.id, result }
    }

    fn run(&mut self, op: IoOp) -> io::Result<IoOutcome> {
        match op {
            IoOp::Create { segment, bytes } => self.create(segment, bytes),
            IoOp::Append { segment, offset, bytes } => self.append(segment, offset, &bytes),
            IoOp::Read { parts } => self.read(&parts),
            IoOp::Write { file, offset, bytes } => self.write(file, offset, &bytes),
            IoOp::Extend { file, bytes } => self.extend(file, &bytes),
            IoOp::Sync { files } => Ok(self.sync(&files)),
            IoOp::Publish { partials } => Ok(self.publish(&partials)),
            IoOp::Remove { file } => self.remove(file),
            IoOp::Free { volume } => {
                let space = rustix::fs::statvfs(self.layout.volume(volume))?;
                Ok(IoOutcome::Free(space.f_bavail.saturating_mul(space.f_frsize)))
            }
            IoOp::List { folder } => list(&self.layout, folder).map(IoOutcome::Listed),
            IoOp::Published { sessions } => {
                let there = |session: &SessionId| self.layout.path(File::Sealed(*session)).is_file();
                Ok(IoOutcome::Published(sessions.iter().map(there).collect()))
            }
        }
    }

    fn create(&mut self, segment: SegmentId, bytes: u64) -> io::Result<IoOutcome> {
        let path = self.layout.path(File::Segment(segment));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)?;
        let made = preallocate(&file, bytes).and_then(|()| sync_directory(&self.layout.volume(segment.volume)));
        if let Err(error) = made {
            // We made it, so we may remove it: nobody else knows of it.
            fs::remove_file(&path)?;
            return Err(error);
        }
        self.segments.insert(segment.volume, (segment, file));
        Ok(IoOutcome::Done)
    }

    fn append(&mut self, segment: SegmentId, offset: u64, bytes: &[u8]) -> io::Result<IoOutcome> {
        let (_, file) = self
            .segments
            .get(&segment.volume)
            .filter(|(open, _)| *open == segment)
            .ok_or(io::ErrorKind::NotFound)?;
        write_whole(file, offset, bytes)?;
        file.sync_data()?;
        Ok(IoOutcome::Done)
    }

    fn read(&self, parts: &[Span]) -> io::Result<IoOutcome> {
        let mut open: Option<(File, fs::File)> = None;
        let mut found = Vec::with_capacity(parts.len());
        for part in parts {
            if open.as_ref().is_none_or(|(file, _)| *file != part.file) {
                // Not kept open: a removed segment must give its space back.
                open = Some((part.file, fs::File::open(self.layout.path(part.file))?));
            }
            let Some((_, file)) = &open else { continue };
            let mut buffer = vec![0; (part.bytes as usize).min(READ_BYTES_MAX)];
            let got = read_whole(file, part.offset, &mut buffer)?;
            buffer.truncate(got);
            found.push(Bytes::from(buffer));
        }
        Ok(IoOutcome::Read(found))
    }

    fn write(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<IoOutcome> {
        if offset == 0 {
            let path = self.layout.path(file);
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(FILE_MODE);
            let opened = self.in_directory(&path, || options.open(&path))?;
            self.partials.insert(file, opened);
        }
        write_whole(self.opened(file)?, offset, bytes)?;
        Ok(IoOutcome::Done)
    }

    /// Does what makes the name `path`, in a directory that is there to stay.
    fn in_directory<T>(&mut self, path: &Path, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let directory = path.parent().unwrap_or(Path::new("."));
        self.make_directories(directory)?;
        make().or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            // Somebody has removed it.
            self.directories.clear();
            self.make_directories(directory)?;
            make()
        })
    }

    /// Makes what is missing of `path`, each name durable in its parent, also of what is there already: once for each.
    fn make_directories(&mut self, path: &Path) -> io::Result<()> {
        let path = std::path::absolute(path)?;
        let known = |path: &&Path| self.directories.contains(*path);
        let chain: Vec<&Path> = path.ancestors().take_while(|path| !known(path)).collect();
        if self.directories.len() + chain.len() > DIRECTORIES_MAX {
            self.directories.clear();
        }
        for directory in chain.into_iter().rev() {
            let made = match fs::create_dir(directory) {
                Ok(()) => true,
                Err(_) if directory.is_dir() => false,
                Err(error) => return Err(error),
            };
            if let Some(parent) = directory.parent() {
                if made {
                    sync_directory(parent)?
                } else {
                    sync_ancestor(parent)?
                }
            }
            self.directories.insert(directory.to_owned());
        }
        Ok(())
    }

    fn opened(&mut self, file: File) -> io::Result<&fs::File> {
        if !self.partials.contains_key(&file) {
            let opened = OpenOptions::new().write(true).open(self.layout.path(file))?;
            self.partials.insert(file, opened);
        }
        self.partials.get(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn extend(&self, file: File, bytes: &[u8]) -> io::Result<IoOutcome> {
        let mut options = OpenOptions::new();
        let opened = options
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(self.layout.path(file))?;
        io::Write::write_all(&mut &opened, bytes)?;
        Ok(IoOutcome::Done)
    }

    /// Contents first, then the names: a partial may be all that is left of the beginning of a call.
    fn sync(&mut self, files: &[File]) -> IoOutcome {
        // The data of all are on the medium before the first is synced: one journal commit then serves the group.
        for file in files {
            let _ = self
                .opened(*file)
                .and_then(|file| write_back(file, libc::SYNC_FILE_RANGE_WRITE));
        }
        let wait = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        let written: Vec<io::Result<()>> = files
            .iter()
            .map(|file| self.opened(*file).and_then(|file| write_back(file, wait)))
            .collect();
        let mut each: Vec<Result<(), IoError>> = Vec::with_capacity(files.len());
        for (file, written) in files.iter().zip(written) {
            // An error that the wait has heard of is not told again by fdatasync.
            let result = written.and_then(|()| self.opened(*file).and_then(fs::File::sync_data));
            each.push(result.map_err(|error| reason(&error)));
            if matches!(file, File::Report(_)) {
                self.partials.remove(file);
            }
        }
        let paths = files.iter().map(|file| self.layout.path(*file));
        let names = sync_parents(paths);
        finish_each(each, &names)
    }

    fn publish(&mut self, partials: &[(SessionId, u32)]) -> IoOutcome {
        let mut each = Vec::with_capacity(partials.len());
        let mut targets = Vec::with_capacity(partials.len());
        for (session, attempt) in partials {
            let partial = File::Partial {
                session: *session,
                attempt: *attempt,
            };
            self.partials.remove(&partial);
            let target = self.layout.path(File::Sealed(*session));
            let source = self.layout.path(partial);
            let result = self.in_directory(&target, || fs::rename(&source, &target));
            each.push(result.map_err(|error| reason(&error)));
            targets.push(target);
        }
        let names = sync_parents(targets.into_iter());
        finish_each(each, &names)
    }

    fn remove(&mut self, file: File) -> io::Result<IoOutcome> {
        self.partials.remove(&file);
        if let File::Segment(segment) = file
            && self
                .segments
                .get(&segment.volume)
                .is_some_and(|(open, _)| *open == segment)
        {
            self.segments.remove(&segment.volume);
        }
        match fs::remove_file(self.layout.path(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(IoOutcome::Done),
            done => done.map(|()| IoOutcome::Done),
        }
    }
}

/// One that was there and may not be opened was not made by us; and some file systems cannot sync a directory.
fn sync_ancestor(path: &Path) -> io::Result<()> {
    match sync_directory(path) {
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::ACCESS | Errno::INVAL | Errno::ROFS)
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// A file system without preallocation meets a full disk later, at a write.
fn preallocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP) => file.set_len(bytes),
        done => Ok(done?),
    }
}

/// Starts writing the file's dirty pages to the medium, and may wait for them; no metadata, no flush of caches.
#[allow(unsafe_code, reason = "rustix has no sync_file_range")]
fn write_back(file: &fs::File, how: libc::c_uint) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the call reads and writes no memory of ours.
    let failed = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, how) } != 0;
    let error = io::Error::last_os_error();
    // File systems that cannot do it leave it all to fdatasync.
    let cannot = [libc::ENOSYS, libc::EINVAL, libc::ESPIPE].map(Some);
    if failed && !cannot.contains(&error.raw_os_error()) {
        Err(error)
    } else {
        Ok(())
    }
}

fn finish_each(each: Vec<Result<(), IoError>>, names: &io::Result<()>) -> IoOutcome {
    match names {
        Ok(()) => IoOutcome::Each(each),
        Err(error) => IoOutcome::Each(each.into_iter().map(|result| result.and(Err(reason(error)))).collect()),
    }
}

fn sync_parents(paths: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    let parents: BTreeSet<PathBuf> = paths.filter_map(|path| path.parent().map(Path::to_owned)).collect();
    parents.iter().try_for_each(|parent| sync_directory(parent))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// One write: the kernel takes all of it or it is a fault.
fn write_whole(file: &fs::File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    loop {
        match file.write_at(bytes, offset) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_whole(file: &fs::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn reason(error: &io::Error) -> IoError {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => IoError::NoSpace,
        Some(Errno::DQUOT) => IoError::QuotaExceeded,
        Some(Errno::ROFS) => IoError::ReadOnly,
        Some(Errno::EXIST) => IoError::Exists,
        Some(Errno::NOENT) => IoError::Missing,
        _ => match error.kind() {
            io::ErrorKind::WriteZero => IoError::ShortWrite,
            io::ErrorKind::NotFound => IoError::Missing,
            _ => IoError::Io,
        },
    }
}

/// A sealed call or a segment, opened for reading only.
#[derive(Debug)]
pub struct StoredFile(fs::File);

impl StoredFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::File::open(path).map(Self)
    }
}

impl Store for StoredFile {
    fn size(&mut self) -> Result<u64, StoreError> {
        self.0
            .metadata()
            .map(|facts| facts.len())
            .map_err(|_| StoreError { offset: 0 })
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        read_whole(&self.0, offset, buffer).map_err(|_| StoreError { offset })
    }
}

#[cfg(test)]
pub(crate) mod tests;
