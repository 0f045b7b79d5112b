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
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::model::{
        Closing, Header, Leg, Outcome, Party, RecordingCommand, RecordingEvent, SessionId, Tally, Timestamp,
    };
    use crate::recorder::{
        Folder, FrameSink, Intake, IntakeConfig, IoId, Lane, Offer, Output, Packet, PacketKind, Recovery, SealedCall,
        Writer, WriterConfig, survey,
    };

    pub(crate) const SESSION: SessionId = SessionId::from_u128(1_763_800_000_123 << 80 | 5);

    pub(crate) fn disk(folder: &Path) -> Disk {
        let data = folder.to_owned();
        let volumes = vec![data.join("spool")];
        Disk::open(Layout { data, volumes }).unwrap()
    }

    fn config() -> WriterConfig {
        WriterConfig {
            segment_bytes: 1 << 20,
            ..WriterConfig::default()
        }
    }

    fn header() -> Box<Header> {
        Box::new(Header {
            session: SESSION,
            conversation: None,
            node: "lab".into(),
            started: SESSION.minted_at(),
            caller: Party::default(),
            callee: Party::default(),
            from_trunk: "pbx".into(),
            to_trunk: None,
            call_ids: Vec::new(),
            policies: Vec::new(),
            generation: crate::model::Generation(1),
            policy_hash: String::new(),
            trace: Vec::new(),
            strict_before: true,
            strict_during: true,
            emergency: false,
        })
    }

    /// A call of 40 packets, closed or not, on real files.
    pub(crate) fn record(disk: &mut Disk, close: bool) -> Vec<RecordingEvent> {
        let mut now = SESSION.minted_at();
        let mut writer = Writer::new(config(), 1, now);
        let mut intake = Intake::new(IntakeConfig::default());
        let mut events = Vec::new();
        let mut step = |writer: &mut Writer, intake: &mut Intake, now| {
            while let Some(output) = writer.poll_output() {
                match output {
                    Output::Io(request) => writer.handle_io(now, disk.execute(request)),
                    Output::Event(event) => events.push(event),
                    Output::Recycle(extent) => intake.recycle(extent),
                }
            }
        };
        writer.handle_timeout(now);
        writer.handle_command(now, RecordingCommand::Open(header()));
        let slot = intake.open(SESSION);
        for n in 0..40_u8 {
            let packet = Packet {
                at: now,
                leg: Leg::A,
                line: 0,
                kind: PacketKind::Rtp,
                bytes: &[n; 172],
            };
            assert_eq!(intake.offer(now, slot, packet), Offer::Accepted);
            now = now + std::time::Duration::from_millis(20);
            intake.flush(now);
            while let Some(extent) = intake.poll_full() {
                writer.handle_extent(now, extent);
            }
            writer.handle_timeout(now);
            step(&mut writer, &mut intake, now);
        }
        if close {
            intake.close(now, slot);
            while let Some(extent) = intake.poll_full() {
                writer.handle_extent(now, extent);
            }
            let closing = Box::new(closing(now));
            let session = SESSION;
            writer.handle_command(
                now,
                RecordingCommand::Close {
                    session,
                    at: now,
                    closing,
                },
            );
            now = now + std::time::Duration::from_millis(200);
            writer.handle_timeout(now);
            step(&mut writer, &mut intake, now);
        }
        events
    }

    fn closing(ended: Timestamp) -> Closing {
        Closing {
            outcome: Outcome::Recorded,
            answered: None,
            ended,
            ended_by: "BYE from B".into(),
            status: Some(200),
            tally: Some(Tally {
                accepted: 40,
                forwarded: 40,
                ..Tally::default()
            }),
            fault: None,
            conversation: None,
        }
    }

    fn recover(disk: &mut Disk) -> crate::recorder::RecoveryReport {
        let now = SESSION.minted_at() + std::time::Duration::from_secs(60);
        let mut recovery = Recovery::new(&config(), now);
        while let Some(request) = recovery.poll_output() {
            recovery.handle_io(now, disk.execute(request));
        }
        recovery.report().expect("recovery ended").clone()
    }

    #[test]
    fn a_call_goes_to_real_files_and_is_verified_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path());
        let events = record(&mut disk, true);
        assert!(events.contains(&RecordingEvent::Ready { session: SESSION }));
        let path = folder.path().join("calls/2025/11/22").join(SESSION.to_string());
        let mut call = SealedCall::open(StoredFile::open(&path).unwrap()).unwrap();
        assert_eq!(call.verify().unwrap().packets, 40);
        let sealed = disk.layout().sealed().unwrap();
        assert_eq!(
            (sealed.calls, sealed.strays),
            (BTreeMap::from([(SESSION, path)]), vec![])
        );
        let catalog = fs::read(folder.path().join("catalog.jsonl")).unwrap();
        assert_eq!(crate::recorder::parse_catalog(&catalog)[&SESSION].stored, 40);
        let [segment] = &disk.layout().segments().unwrap()[..] else {
            panic!("one segment is in use");
        };
        assert_eq!(fs::metadata(segment).unwrap().len(), 1 << 20, "preallocated");
        assert!(disk.layout().partial_files().unwrap().is_empty());
    }

    #[test]
    fn a_call_that_was_cut_off_is_recovered_from_real_files_once() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), false);
        let mut disk = disk(folder.path());
        let segments = disk.layout().segments().unwrap();
        let survey = survey(StoredFile::open(&segments[0]).unwrap()).unwrap();
        assert!(survey.calls[&SESSION].header.is_some());
        let report = recover(&mut disk);
        assert_eq!(report.calls.len(), 1);
        assert!(report.calls[0].packets > 30, "{report:?}");
        assert_eq!((report.first_segment, disk.layout().segments().unwrap().len()), (2, 0));
        let path = disk.layout().path(File::Sealed(SESSION));
        let mut call = SealedCall::open(StoredFile::open(&path).unwrap()).unwrap();
        assert_eq!(call.verify().unwrap().packets, report.calls[0].packets);
        assert_eq!(recover(&mut disk).calls, []);
    }

    fn ask(disk: &mut Disk, op: IoOp) -> Result<IoOutcome, IoError> {
        let id = IoId(1);
        let lane = Lane::Archive;
        disk.execute(IoRequest { id, lane, op }).result
    }

    #[test]
    fn a_segment_that_cannot_be_made_leaves_no_file_and_takes_none_away() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path());
        let [there, huge] = [7, 9].map(|number| SegmentId {
            volume: VolumeId(0),
            number,
        });
        assert!(
            ask(
                &mut disk,
                IoOp::Create {
                    segment: there,
                    bytes: 8192
                }
            )
            .is_ok()
        );
        assert!(
            ask(
                &mut disk,
                IoOp::Create {
                    segment: there,
                    bytes: 4096
                }
            )
            .is_err()
        );
        assert!(
            ask(
                &mut disk,
                IoOp::Create {
                    segment: huge,
                    bytes: 1 << 60
                }
            )
            .is_err()
        );
        let [there, huge] = [there, huge].map(|segment| disk.layout().path(File::Segment(segment)));
        assert_eq!(fs::metadata(there).unwrap().len(), 8192, "not touched");
        assert!(!huge.exists(), "half made");
    }

    #[test]
    fn a_directory_that_was_there_is_made_durable_too_and_one_that_went_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("new/spool")).unwrap();
        let data = folder.path().join("new");
        let volumes = vec![data.join("spool")];
        let mut disk = Disk::open(Layout {
            data: data.clone(),
            volumes,
        })
        .unwrap();
        for path in ["new/spool", "new", "new/calls/partial"] {
            assert!(disk.directories.contains(&folder.path().join(path)), "{path}");
        }
        let file = File::Report(1);
        let bytes = Bytes::from_static(b"x");
        for _ in 0..2 {
            let write = IoOp::Write {
                file,
                offset: 0,
                bytes: bytes.clone(),
            };
            assert_eq!(ask(&mut disk, write), Ok(IoOutcome::Done));
            fs::remove_dir_all(data.join("log")).unwrap();
        }
    }

    #[test]
    fn what_the_kernel_refuses_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path());
        let volume = VolumeId(0);
        let segment = SegmentId { volume, number: 7 };
        assert_eq!(
            ask(&mut disk, IoOp::Create { segment, bytes: 8192 }),
            Ok(IoOutcome::Done)
        );
        assert_eq!(
            ask(&mut disk, IoOp::Create { segment, bytes: 8192 }),
            Err(IoError::Exists),
            "never twice"
        );
        let other = SegmentId { volume, number: 8 };
        let bytes = Bytes::from_static(b"x");
        let append = IoOp::Append {
            segment: other,
            offset: 0,
            bytes,
        };
        assert_eq!(ask(&mut disk, append), Err(IoError::Missing));
        let file = File::Segment(other);
        let parts = vec![Span {
            file,
            offset: 0,
            bytes: 1,
        }];
        assert_eq!(ask(&mut disk, IoOp::Read { parts }), Err(IoError::Missing));
        let missing = File::Partial {
            session: SESSION,
            attempt: 0,
        };
        let each = IoOutcome::Each(vec![Err(IoError::Missing)]);
        assert_eq!(ask(&mut disk, IoOp::Sync { files: vec![missing] }), Ok(each.clone()));
        assert_eq!(
            ask(
                &mut disk,
                IoOp::Publish {
                    partials: vec![(SESSION, 0)]
                }
            ),
            Ok(each)
        );
        assert_eq!(
            ask(&mut disk, IoOp::Remove { file }),
            Ok(IoOutcome::Done),
            "gone is gone"
        );
        let parts = vec![Span {
            file: File::Segment(segment),
            offset: 8000,
            bytes: 1000,
        }];
        let zeros = IoOutcome::Read(vec![Bytes::from(vec![0; 192])]);
        assert_eq!(ask(&mut disk, IoOp::Read { parts }), Ok(zeros));
        assert!(matches!(ask(&mut disk, IoOp::Free { volume }), Ok(IoOutcome::Free(free)) if free > 0));
        fs::remove_dir_all(folder.path().join("spool")).unwrap();
        assert_eq!(
            ask(
                &mut disk,
                IoOp::List {
                    folder: Folder::Volume(volume)
                }
            ),
            Err(IoError::Missing)
        );
    }

    #[test]
    fn a_segment_that_cannot_be_made_leaves_nothing_and_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path());
        let volume = VolumeId(0);
        let segment = SegmentId { volume, number: 7 };
        ask(&mut disk, IoOp::Create { segment, bytes: 8192 }).unwrap();
        let huge = SegmentId { volume, number: 9 };
        let bytes = 1 << 60;
        assert!(ask(&mut disk, IoOp::Create { segment: huge, bytes }).is_err());
        assert!(!disk.layout().path(File::Segment(huge)).exists(), "half made");
        assert!(disk.layout().path(File::Segment(segment)).exists(), "not touched");
    }
}
