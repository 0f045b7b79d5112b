//! What the recorder asks of a disk and what it hears back. Values only: `disk.rs` executes them, tests fake them.

use bytes::Bytes;

use crate::model::{Fault, SessionId};

/// A configured spool directory, by its place in the configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VolumeId(pub u16);

/// A preallocated file of extents on a volume. Numbers only grow, and are never used twice on a volume.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SegmentId {
    pub volume: VolumeId,
    pub number: u64,
}

/// Every file that the recorder owns, by meaning; docs/JOURNAL.md gives their paths.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum File {
    /// `<volume>/seg-<number>`
    Segment(SegmentId),
    /// `<data>/calls/partial/<session>.<attempt>`: a sealed call in the making.
    Partial { session: SessionId, attempt: u32 },
    /// `<data>/calls/YYYY/MM/DD/<session>`, the date being that of the id in UTC.
    Sealed(SessionId),
    /// `<data>/catalog.jsonl`: a view, never synced.
    Catalog,
    /// `<data>/log/recovered-<number>.json`: what a recovery found; the number is its time in nanoseconds.
    Report(u64),
}

/// Names a request until its answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IoId(pub u64);

/// Requests of one lane are executed in order. Lanes are independent: a driver may give each its own thread, so that
/// sealing never delays a commit, and a volume that hangs never delays another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Lane {
    Journal(VolumeId),
    Archive,
}

/// A request to the disk. Each is answered once, by an [`IoDone`] with the same id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IoRequest {
    pub id: IoId,
    pub lane: Lane,
    pub op: IoOp,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IoOp {
    /// A new segment of `bytes` preallocated bytes; its name made durable (fsync of the directory). A file of that name
    /// is left as it is ([`IoError::Exists`]); after any other failure there is none.
    Create { segment: SegmentId, bytes: u64 },
    /// Write all of it at `offset`, then fdatasync. `Done` means that both returned: this is the acknowledgement.
    Append {
        segment: SegmentId,
        offset: u64,
        bytes: Bytes,
    },
    /// The parts, in order, each exactly of its length or cut by the end of the file.
    Read { parts: Vec<Span> },
    /// Write at `offset` without syncing; offset 0 creates the file, or empties it.
    Write { file: File, offset: u64, bytes: Bytes },
    /// Append without syncing, for views and only for them.
    Extend { file: File, bytes: Bytes },
    /// Flush each file (fdatasync). Answered file by file.
    Sync { files: Vec<File> },
    /// Give each partial its final name, then fsync the directories. Answered partial by partial; nothing is said to
    /// be published before its directory is durable.
    Publish { partials: Vec<(SessionId, u32)> },
    /// Remove if it is there. Not waited for by anything.
    Remove { file: File },
    /// Free space for an unprivileged writer.
    Free { volume: VolumeId },
    /// Names of what is in the spool and among the partials, with sizes.
    List { folder: Folder },
    /// Which of these calls are published?
    Published { sessions: Vec<SessionId> },
}

/// A part of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    pub file: File,
    pub offset: u64,
    pub bytes: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Folder {
    Volume(VolumeId),
    Partials,
}

/// The disk's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IoDone {
    pub id: IoId,
    pub result: Result<IoOutcome, IoError>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IoOutcome {
    Done,
    Read(Vec<Bytes>),
    /// File by file, in the order of the request.
    Each(Vec<Result<(), IoError>>),
    Free(u64),
    Listed(Vec<(File, u64)>),
    Published(Vec<bool>),
}

/// Why a request failed: always the medium's fault, never the caller's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IoError {
    /// ENOSPC.
    #[error("disk full (ENOSPC)")]
    NoSpace,
    /// EDQUOT.
    #[error("disk quota exceeded (EDQUOT)")]
    QuotaExceeded,
    /// EROFS.
    #[error("read-only file system (EROFS)")]
    ReadOnly,
    /// The kernel took fewer bytes than it was given.
    #[error("short write")]
    ShortWrite,
    /// A file that should be there is not (ENOENT).
    #[error("no such file")]
    Missing,
    /// A file that is to be made is there already (EEXIST).
    #[error("the file exists")]
    Exists,
    /// EIO, and everything that has no better name.
    #[error("input/output error")]
    Io,
}

impl IoError {
    /// The same would come of trying again at once.
    pub(super) const fn is_lasting(self) -> bool {
        matches!(self, Self::NoSpace | Self::QuotaExceeded | Self::ReadOnly)
    }

    pub const fn fault(self) -> Fault {
        match self {
            Self::NoSpace => Fault::DiskFull,
            Self::QuotaExceeded => Fault::QuotaExceeded,
            Self::ReadOnly => Fault::ReadOnly,
            Self::ShortWrite => Fault::ShortWrite,
            Self::Missing | Self::Exists => Fault::OpenFailed,
            Self::Io => Fault::Io,
        }
    }
}

/// Hands out request ids.
#[derive(Clone, Debug, Default)]
pub(super) struct IoIds(u64);

impl IoIds {
    pub(super) fn mint(&mut self) -> IoId {
        self.0 += 1;
        IoId(self.0)
    }
}
