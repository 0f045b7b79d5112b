//! The archive as the verbs read it. What is not where it should be, or cannot be read, is told and never left out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Layout, StoredFile, Unreadable};
use crate::model::SessionId;
use crate::recorder::{Entry, File, SealError, SealedCall, parse_catalog};

/// Why there is no archive to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoArchive {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Some other directory: an empty list of calls would be a lie.
    #[error("{path} is no data directory: it has neither `calls` nor `spool` nor `catalog.jsonl`")]
    Foreign { path: PathBuf },
}

/// What is wrong with a call that was sealed, and whose file is gone.
pub(super) const MISSING: &str = "missing: the catalog has this call, and its file is not here";

pub(super) const NO_ARCHIVE_HINT: &str = "name the data directory of the node with `--data DIR`";

/// Where a node's files are, by its data directory and perhaps its volumes. Without a volume: the data directory's own
/// spool if it has one; an archive that was copied elsewhere has none.
pub(super) fn find(data: &Path, spool: &[PathBuf]) -> Result<Layout, NoArchive> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| Unreadable { path, error }
    };
    fs::read_dir(data).map_err(unreadable(data))?;
    let is_there = |path: &Path| path.try_exists().map_err(unreadable(path));
    let own = data.join("spool");
    let has_own = is_there(&own)?;
    let volumes = match spool {
        [] => has_own.then_some(own).into_iter().collect(),
        volumes => volumes.to_vec(),
    };
    let layout = Layout {
        data: data.to_owned(),
        volumes,
    };
    if has_own || is_there(&layout.calls())? || is_there(&layout.path(File::Catalog))? {
        Ok(layout)
    } else {
        Err(NoArchive::Foreign { path: data.to_owned() })
    }
}

/// What the catalog says. It is a view and may be gone: then it says nothing.
pub(super) fn catalog(layout: &Layout) -> Result<BTreeMap<SessionId, Entry>, Unreadable> {
    let path = layout.path(File::Catalog);
    match fs::read(&path) {
        Ok(text) => Ok(parse_catalog(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(Unreadable { path, error }),
    }
}

/// Opens a file that a running node may remove while we look: then none.
pub(super) fn open_fleeting(path: &Path) -> Result<Option<StoredFile>, Unreadable> {
    match StoredFile::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Unreadable {
            path: path.to_owned(),
            error,
        }),
    }
}

/// Why a sealed call cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{path}: there is no such file")]
    Absent { path: PathBuf },
    /// The file is there and this user, or anybody, cannot read it.
    #[error(transparent)]
    Unreadable(Unreadable),
    /// The recording was altered or damaged.
    #[error("{path}: {error}")]
    Damaged { path: PathBuf, error: SealError },
    /// Somebody put another call's file in its place.
    #[error("{path}: this is call {found}")]
    OtherCall { path: PathBuf, found: SessionId },
}

impl CallError {
    /// The first byte that is wrong, if it is in the file and not its name.
    pub(super) const fn offset(&self) -> Option<u64> {
        match self {
            Self::Damaged { error, .. } => Some(error.offset()),
            Self::Absent { .. } | Self::Unreadable(_) | Self::OtherCall { .. } => None,
        }
    }

    /// What is wrong, without the path.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Absent { .. } => "there is no such file".to_owned(),
            Self::Unreadable(why) => format!("cannot be read: {}", why.error),
            Self::Damaged { error, .. } => error.to_string(),
            Self::OtherCall { found, .. } => format!("this is call {found}"),
        }
    }
}

/// Opens the call's file. What is in it must say that it is this call: a name proves nothing.
pub(super) fn open(layout: &Layout, session: SessionId) -> Result<SealedCall<StoredFile>, CallError> {
    let (store, path) = store(layout, session)?;
    let call = SealedCall::open(store).map_err(|error| CallError::Damaged {
        path: path.clone(),
        error,
    })?;
    same(session, call.session(), path).map(|()| call)
}

/// Opens the call's file only as far as to see that it is this call's and not cut off: some 128 bytes.
pub(super) fn peek(layout: &Layout, session: SessionId) -> Result<(), CallError> {
    let (mut store, path) = store(layout, session)?;
    let found = SealedCall::peek(&mut store).map_err(|error| CallError::Damaged {
        path: path.clone(),
        error,
    })?;
    same(session, found, path)
}

fn same(session: SessionId, found: SessionId, path: PathBuf) -> Result<(), CallError> {
    if found == session {
        Ok(())
    } else {
        Err(CallError::OtherCall { path, found })
    }
}

fn store(layout: &Layout, session: SessionId) -> Result<(StoredFile, PathBuf), CallError> {
    let path = layout.path(File::Sealed(session));
    match StoredFile::open(&path) {
        Ok(store) => Ok((store, path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CallError::Absent { path }),
        Err(error) => Err(CallError::Unreadable(Unreadable { path, error })),
    }
}
