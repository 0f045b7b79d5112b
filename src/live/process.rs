//! What `serve` asks of the process it runs in.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

const LOCK_NAME: &str = "lock";

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

/// The data directory is this process's, until it is dropped or the process ends in any way.
#[derive(Debug)]
pub(super) struct DataLock {
    _file: File,
}

/// Why the data directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Two writers would destroy each other's recordings.
    #[error("another `onrecord` uses the data directory {path}")]
    InUse { path: PathBuf },
    #[error("data directory {path}: {source}")]
    Unusable { path: PathBuf, source: io::Error },
}

impl DataLock {
    /// Makes the directory if it is not there, and locks it.
    pub(super) fn take(data: &Path) -> Result<Self, DataError> {
        let unusable = |source| DataError::Unusable {
            path: data.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(unusable)?;
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(data.join(LOCK_NAME))
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse { path: data.to_owned() }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
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
    fn a_data_directory_has_one_owner_at_a_time() {
        let parent = tempfile::tempdir().expect("a directory");
        let data = parent.path().join("new/data");
        let lock = DataLock::take(&data).expect("is free");
        assert!(matches!(DataLock::take(&data), Err(DataError::InUse { .. })));
        drop(lock);
        assert!(DataLock::take(&data).is_ok(), "free again");
        assert!(std::fs::metadata(data).expect("is there").is_dir());
    }

    #[test]
    fn a_call_needs_four_handles() {
        assert_eq!(calls_for(20_000), 4_936);
        assert_eq!(calls_for(64), 0);
    }
}
