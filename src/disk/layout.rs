//! Which file is where, and which files there are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

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

    /// The segments of all volumes, with the volumes that cannot be read left out.
    pub fn segments(&self) -> Vec<PathBuf> {
        let volumes = (0..self.volumes.len() as u16).map(VolumeId);
        let files = volumes
            .filter_map(|volume| list(self, Folder::Volume(volume)).ok())
            .flatten();
        files.map(|(file, _)| self.path(file)).collect()
    }

    /// Partials of calls that are not sealed.
    pub fn partial_files(&self) -> Vec<(SessionId, PathBuf)> {
        let files = list(self, Folder::Partials).unwrap_or_default().into_iter();
        let named = files.filter_map(|(file, _)| match file {
            File::Partial { session, .. } => Some((session, self.path(file))),
            _ => None,
        });
        named.collect()
    }

    /// Every sealed call, by name.
    pub fn sealed(&self) -> BTreeMap<SessionId, PathBuf> {
        let mut found = BTreeMap::new();
        let mut folders = vec![(self.calls(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_str().unwrap_or_default();
                if depth < 3 && name.bytes().all(|c| c.is_ascii_digit()) {
                    folders.push((entry.path(), depth + 1));
                } else if depth == 3
                    && let Ok(session) = name.parse()
                {
                    found.insert(session, entry.path());
                }
            }
        }
        found
    }
}

pub(super) fn list(layout: &Layout, folder: Folder) -> io::Result<Vec<(File, u64)>> {
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
        let Some(file) = file else { continue };
        match entry.metadata() {
            Ok(facts) => found.push((file, facts.len())),
            // It went while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    Ok(found)
}
