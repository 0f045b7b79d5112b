//! What `serve` asks of the process it runs in.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

const LOCK_NAME: &str = "lock";

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

/// How many calls with one audio line a limit of open files allows.
pub(super) const fn calls_for(file_limit: u64) -> u64 {
    file_limit.saturating_sub(HANDLES_RESERVED) / HANDLES_PER_CALL
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
    #[error("directory {path}: {source}")]
    Unusable { path: PathBuf, source: io::Error },
}

impl DataLocks {
    /// Makes the directories that are not there, and locks each.
    pub(super) fn take<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Result<Self, DataError> {
        let mut files = BTreeMap::new();
        for path in directories {
            let unusable = |source| DataError::Unusable {
                path: path.to_owned(),
                source,
            };
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(path)
                .map_err(unusable)?;
            // One directory may go by two names, and a lock that we hold is held against ourselves, too.
            if let Entry::Vacant(place) = files.entry(path.canonicalize().map_err(unusable)?) {
                place.insert(lock(path)?);
            }
        }
        let _files = files.into_values().collect();
        Ok(Self { _files })
    }
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
        let locks = DataLocks::take([data.as_path(), &spool, &same]).expect("are free");
        let other = parent.path().join("other");
        let refused = DataLocks::take([other.as_path(), &same]);
        assert!(matches!(refused, Err(DataError::InUse { .. })), "a volume of another's");
        drop(locks);
        assert!(DataLocks::take([data.as_path()]).is_ok(), "free again");
    }

    #[test]
    fn a_call_needs_four_handles() {
        assert_eq!(calls_for(20_000), 4_936);
        assert_eq!(calls_for(64), 0);
    }
}
