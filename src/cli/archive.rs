//! Sealed calls as the verbs read them: by the name of the file, which must be the call's own.

use std::io;
use std::path::PathBuf;

use crate::disk::{Layout, StoredFile};
use crate::model::SessionId;
use crate::recorder::{File, SealError, SealedCall};

/// Why a sealed call cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{path}: there is no such file")]
    Absent { path: PathBuf },
    /// The file is there and this user, or anybody, cannot read it.
    #[error("cannot read {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
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
            Self::Absent { .. } | Self::Unreadable { .. } | Self::OtherCall { .. } => None,
        }
    }

    /// What is wrong, without the path.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Absent { .. } => "there is no such file".to_owned(),
            Self::Unreadable { error, .. } => format!("cannot be read: {error}"),
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
        Err(error) => Err(CallError::Unreadable { path, error }),
    }
}
