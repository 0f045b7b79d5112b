//! Which file is where, and which files there are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::SessionId;
use crate::recorder::{File, Folder, SegmentId, VolumeId};

/// Where everything is: docs/JOURNAL.md §1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    pub data: PathBuf,
    /// In the order of the configuration.
    pub volumes: Vec<PathBuf>,
}

impl Layout {
    pub fn path(&self, file: File) -> PathBuf {
        match file {
            File::Segment(SegmentId { volume, number }) => self.volume(volume).join(format!("seg-{number:010}")),
            File::Partial { session, attempt } => self.partials().join(format!("{session}.{attempt}")),
            File::Sealed(session) => {
                let (year, month, day) = session.minted_at().date();
                let day = format!("{year:04}/{month:02}/{day:02}/{session}");
                self.calls().join(day)
            }
            File::Catalog => self.data.join("catalog.jsonl"),
            File::Report(number) => self.data.join("log").join(format!("recovered-{number}.json")),
        }
    }

    /// Sealed calls by year, month, day.
    pub fn calls(&self) -> PathBuf {
        self.data.join("calls")
    }

    pub(super) fn partials(&self) -> PathBuf {
        self.calls().join("partial")
    }

    pub(super) fn volume(&self, volume: VolumeId) -> PathBuf {
        self.volumes.get(usize::from(volume.0)).cloned().unwrap_or_default()
    }

    fn folder(&self, folder: Folder) -> PathBuf {
        match folder {
            Folder::Volume(volume) => self.volume(volume),
            Folder::Partials => self.partials(),
        }
    }

    /// The segments of all volumes. A volume that cannot be listed is an error: what is not seen is not checked.
    pub fn segments(&self) -> Result<Vec<PathBuf>, Unreadable> {
        let mut found = Vec::new();
        for volume in (0..self.volumes.len() as u16).map(VolumeId) {
            let files = named(self, Folder::Volume(volume)).map_err(|error| Unreadable {
                path: self.volume(volume),
                error,
            })?;
            found.extend(files.into_iter().map(|(_, path)| path));
        }
        Ok(found)
    }

    /// Partials of calls that are not sealed; none if their folder is not there yet.
    pub fn partial_files(&self) -> Result<Vec<(SessionId, PathBuf)>, Unreadable> {
        let files = match named(self, Folder::Partials) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            files => files.map_err(|error| Unreadable {
                path: self.partials(),
                error,
            })?,
        };
        let sessions = files.into_iter().filter_map(|(file, path)| match file {
            File::Partial { session, .. } => Some((session, path)),
            _ => None,
        });
        Ok(sessions.collect())
    }

    /// Every sealed call, by name, and what else lies among them. A folder that cannot be listed is an error.
    pub fn sealed(&self) -> Result<Sealed, Unreadable> {
        let mut found = Sealed::default();
        let mut folders = vec![(self.calls(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let unreadable = |error| Unreadable {
                path: folder.clone(),
                error,
            };
            let entries = match fs::read_dir(&folder) {
                // Nothing was ever sealed here.
                Err(error) if depth == 0 && error.kind() == io::ErrorKind::NotFound => break,
                entries => entries.map_err(unreadable)?,
            };
            for entry in entries {
                let path = entry.map_err(unreadable)?.path();
                match self.place(&path, depth) {
                    Place::Folder => folders.push((path, depth + 1)),
                    Place::Call(session) => {
                        found.calls.insert(session, path);
                    }
                    Place::Known => {}
                    Place::Stray(stray) => found.strays.push((path, stray)),
                }
            }
        }
        found.strays.sort();
        Ok(found)
    }

    fn place(&self, path: &Path, depth: u8) -> Place {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Place::Stray(Stray::Foreign);
        };
        if depth == 0 && BESIDE_YEARS.contains(&name) {
            return Place::Known;
        }
        if depth < DATE_DEPTH && name.bytes().all(|c| c.is_ascii_digit()) && path.is_dir() {
            return Place::Folder;
        }
        match name.parse() {
            Ok(session) if self.path(File::Sealed(session)) == path => Place::Call(session),
            Ok(session) => Place::Stray(Stray::Misplaced(session)),
            Err(_) => Place::Stray(Stray::Foreign),
        }
    }
}

/// Year, month, day.
const DATE_DEPTH: u8 = 3;
/// What may lie beside the years: ours, and what file systems make at their top.
const BESIDE_YEARS: [&str; 2] = ["partial", "lost+found"];

enum Place {
    Folder,
    Call(SessionId),
    Known,
    Stray(Stray),
}

/// The archive as its names tell it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sealed {
    /// Each at [`Layout::path`], and nowhere else.
    pub calls: BTreeMap<SessionId, PathBuf>,
    /// What this program never puts there.
    pub strays: Vec<(PathBuf, Stray)>,
}

/// Why a file does not belong where it lies.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Stray {
    /// A call's name in the folder of another date, or in another spelling.
    #[error("misplaced: call {0} does not belong here")]
    Misplaced(SessionId),
    #[error("no recording has this name")]
    Foreign,
}

/// A file or directory that must be read and cannot be.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {error}")]
pub struct Unreadable {
    pub path: PathBuf,
    pub error: io::Error,
}

/// What recovery works on: name and size.
pub(super) fn list(layout: &Layout, folder: Folder) -> io::Result<Vec<(File, u64)>> {
    let mut sized = Vec::new();
    for (file, path) in named(layout, folder)? {
        match fs::symlink_metadata(path) {
            Ok(facts) => sized.push((file, facts.len())),
            // It went while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sized)
}

/// The files of a folder that have a name of ours, in their order.
fn named(layout: &Layout, folder: Folder) -> io::Result<Vec<(File, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(layout.folder(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let file = name.to_str().and_then(|name| match folder {
            Folder::Volume(volume) => {
                let number = name.strip_prefix("seg-")?.parse().ok()?;
                Some(File::Segment(SegmentId { volume, number }))
            }
            Folder::Partials => {
                let (session, attempt) = name.split_once('.')?;
                let (session, attempt) = (session.parse().ok()?, attempt.parse().ok()?);
                Some(File::Partial { session, attempt })
            }
        });
        found.extend(file.map(|file| (file, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}
