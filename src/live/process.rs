//! What `serve` asks of the process it runs in.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

use crate::config::{MediaListen, MediaSockets};

const LOCK_NAME: &str = "lock";

/// Of sealed calls: docs/JOURNAL.md §1.
const CALLS_NAME: &str = "calls";

const DIRECTORY_MODE: u32 = 0o700;

/// File handles that are not a call's: logs, segments, listeners, connections.
const HANDLES_RESERVED: u64 = 256;

/// RTP and RTCP, on both legs.
const HANDLES_PER_CALL: u64 = 4;

/// Files made from here on are their owner's alone: recordings are.
pub(super) fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Raises the limit of open files as far as it goes without root, and says what it is then.
pub(super) fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many calls with one audio line a limit of open files allows: any number, where they share sockets.
pub(super) const fn calls_for(file_limit: u64, media: &MediaListen) -> u64 {
    match (media.sockets, media.address, media.address6) {
        (MediaSockets::Shared, IpAddr::V4(_), None) => u64::MAX,
        _ => file_limit.saturating_sub(HANDLES_RESERVED) / HANDLES_PER_CALL,
    }
}

/// The data directory and the volumes are this process's, until it is dropped or the process ends in any way.
#[derive(Debug)]
pub(super) struct DataLocks {
    _files: Vec<File>,
}

/// Why a directory of the recorder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Two writers would destroy each other's recordings.
    #[error("another `onrecord` uses the directory {path}")]
    InUse { path: PathBuf },
    /// Of two volumes that are one, each would take the other's segments for its own.
    #[error("volume {path} is the same directory as {other}")]
    Twice { path: PathBuf, other: PathBuf },
    /// What is no sealed call has no place among them.
    #[error("volume {path} lies among the sealed calls")]
    AmongCalls { path: PathBuf },
    #[error("directory {path}: {source}")]
    Unusable { path: PathBuf, source: io::Error },
}

impl DataLocks {
    /// Makes the directories that are not there, and locks each. `data` itself may be a volume.
    pub(super) fn take<'a>(data: &Path, volumes: impl IntoIterator<Item = &'a Path>) -> Result<Self, DataError> {
        let home = make(data)?;
        let mut files = vec![lock(data)?];
        let calls = make(&data.join(CALLS_NAME))?;
        let mut known: BTreeMap<PathBuf, &Path> = BTreeMap::new();
        for path in volumes {
            // One directory may go by several names.
            let volume = make(path)?;
            if volume.starts_with(&calls) {
                return Err(DataError::AmongCalls { path: path.to_owned() });
            }
            // A lock that we hold is held against ourselves, too.
            if volume != home && !known.contains_key(&volume) {
                files.push(lock(path)?);
            }
            if let Some(other) = known.insert(volume, path) {
                return Err(DataError::Twice {
                    path: path.to_owned(),
                    other: other.to_owned(),
                });
            }
        }
        Ok(Self { _files: files })
    }
}

/// Where it really is.
fn make(directory: &Path) -> Result<PathBuf, DataError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)
        .and_then(|()| directory.canonicalize())
        .map_err(|source| DataError::Unusable {
            path: directory.to_owned(),
            source,
        })
}

fn lock(directory: &Path) -> Result<File, DataError> {
    let path = directory.to_owned();
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true);
    match options.open(directory.join(LOCK_NAME)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(DataError::Unusable { path, source }),
        },
        Err(source) => Err(DataError::Unusable { path, source }),
    }
}

/// A panic is logged with its thread before anything is unwound; the [`supervisor`](super::supervisor) does the rest.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?").to_owned();
        tracing::error!(thread = name, %panic, "a thread panicked: this is a bug");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time_by_whatever_name() {
        let parent = tempfile::tempdir().expect("a directory");
        let data = parent.path().join("new/data");
        let spool = data.join("spool");
        let same = data.join("spool/../spool");
        let locks = DataLocks::take(&data, [spool.as_path()]).expect("are free");
        let other = parent.path().join("other");
        let refused = DataLocks::take(&other, [same.as_path()]);
        assert!(matches!(refused, Err(DataError::InUse { .. })), "a volume of another's");
        drop(locks);
        assert!(DataLocks::take(&data, [data.as_path()]).is_ok(), "free again");
    }

    #[test]
    fn two_volumes_are_two_directories_and_neither_lies_among_the_calls() {
        let parent = tempfile::tempdir().expect("a directory");
        let (data, spool) = (parent.path().join("data"), parent.path().join("spool"));
        std::fs::create_dir(&spool).expect("made");
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&spool, &link).expect("linked");
        let twice = DataLocks::take(&data, [spool.as_path(), link.as_path()]);
        assert!(matches!(twice, Err(DataError::Twice { .. })), "{twice:?}");
        let home = DataLocks::take(&data, [data.as_path(), &data]);
        assert!(matches!(home, Err(DataError::Twice { .. })), "{home:?}");
        for inside in ["calls", "calls/partial", "spool/../calls/2025"] {
            let among = DataLocks::take(&data, [spool.as_path(), &data.join(inside)]);
            assert!(
                matches!(among, Err(DataError::AmongCalls { .. })),
                "{inside}: {among:?}"
            );
        }
    }

    #[test]
    fn a_call_needs_four_handles_or_none() {
        let mut media = MediaListen {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            advertised: None,
            address6: None,
            ports: 40_000..=40_001,
            sockets: MediaSockets::Own,
        };
        assert_eq!(calls_for(20_000, &media), 4_936);
        assert_eq!(calls_for(64, &media), 0);
        media.sockets = MediaSockets::Shared;
        assert_eq!(calls_for(64, &media), u64::MAX);
        media.address6 = Some(std::net::Ipv6Addr::LOCALHOST);
        assert_eq!(calls_for(20_000, &media), 4_936, "those of IPv6 do not share");
    }
}
