//! `onrecord verify`: is every sealed call, and what is still in the spool, as it was written?

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::disk::{Layout, StoredFile};
use crate::model::SessionId;
use crate::recorder::{Counts, File, SpoolError, survey};

use super::archive::{self, CallError};

/// Check every byte of every recording; stop at the first thing wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Data directory.
    #[arg(long, value_name = "DIR", default_value = "onrecord-data")]
    data: PathBuf,
    /// Spool directory of a volume; repeat for each. Default: `spool` in the data directory.
    #[arg(long, value_name = "DIR")]
    spool: Vec<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub ok: bool,
    /// Sealed calls that were checked.
    pub calls: u64,
    pub extents: u64,
    pub packets: u64,
    /// Segments of the spool that were checked.
    pub segments: u64,
    /// Calls in the spool that are not sealed: they are being recorded, or wait for the next start.
    pub unsealed: u64,
    /// Calls that were sealed after a crash.
    pub recovered: u64,
    pub finding: Option<Finding>,
}

/// The first thing wrong.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub file: PathBuf,
    /// None: it is not one byte that is wrong.
    byte: Option<u64>,
    pub error: String,
}

/// The data directory or a file in it cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {error}")]
pub(super) struct Unreadable {
    path: PathBuf,
    error: std::io::Error,
}

/// 0: all is right. 1: the first thing wrong is named. 2: something cannot be read.
pub(crate) fn run(args: &Args) -> ExitCode {
    let summary = match check(&layout(&args.data, &args.spool)) {
        Ok(summary) => summary,
        Err(unreadable) => {
            eprintln!("error: {unreadable}");
            eprintln!("\nhint: name the data directory of the node: `onrecord verify --data DIR`");
            return ExitCode::from(2);
        }
    };
    if args.json {
        emit(&serde_json::to_string(&summary).unwrap_or_default());
    } else {
        emit(&text(&summary));
    }
    if summary.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

/// Where a node's files are, by the data directory and perhaps its volumes.
pub(super) fn layout(data: &Path, spool: &[PathBuf]) -> Layout {
    let default = || vec![data.join("spool")];
    Layout {
        data: data.to_owned(),
        volumes: if spool.is_empty() { default() } else { spool.to_vec() },
    }
}

/// Every sealed call and every segment, up to the first thing wrong.
pub(super) fn check(layout: &Layout) -> Result<Summary, Unreadable> {
    let mut summary = Summary::default();
    check_all(layout, &mut summary)?;
    summary.ok = summary.finding.is_none();
    Ok(summary)
}

fn check_all(layout: &Layout, summary: &mut Summary) -> Result<(), Unreadable> {
    std::fs::read_dir(&layout.data).map_err(|error| Unreadable {
        path: layout.data.clone(),
        error,
    })?;
    let sealed = layout.sealed();
    for (session, path) in &sealed {
        match check_call(layout, *session, summary) {
            Ok(counts) => {
                summary.calls += 1;
                summary.extents += counts.extents;
                summary.packets += counts.packets;
            }
            Err(CallError::Unreadable { path, error }) => return Err(Unreadable { path, error }),
            Err(error) => {
                summary.finding = Some(Finding {
                    file: path.clone(),
                    byte: error.offset(),
                    error: error.what(),
                });
                return Ok(());
            }
        }
    }
    let mut unsealed = BTreeSet::new();
    for path in layout.segments() {
        let Some(file) = open(&path)? else { continue };
        match check_segment(file, &path) {
            Ok(calls) => unsealed.extend(calls.into_iter().filter(|session| !sealed.contains_key(session))),
            Err(finding) => {
                summary.finding = Some(finding);
                return Ok(());
            }
        }
        summary.segments += 1;
    }
    summary.unsealed = unsealed.len() as u64;
    Ok(())
}

/// None: the file went while we were looking; a running node seals and removes.
fn open(path: &Path) -> Result<Option<StoredFile>, Unreadable> {
    match StoredFile::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Unreadable {
            path: path.to_owned(),
            error,
        }),
    }
}

fn check_call(layout: &Layout, session: SessionId, summary: &mut Summary) -> Result<Counts, CallError> {
    let mut call = archive::open(layout, session)?;
    let counts = call.verify().map_err(|error| CallError::Damaged {
        path: layout.path(File::Sealed(session)),
        error,
    })?;
    summary.recovered += u64::from(call.manifest().recovered.is_some());
    Ok(counts)
}

/// The calls in it.
fn check_segment(file: StoredFile, path: &Path) -> Result<Vec<SessionId>, Finding> {
    let finding = |byte, error: String| Finding {
        file: path.to_owned(),
        byte: Some(byte),
        error,
    };
    match survey(file) {
        Ok(survey) => match survey.damaged {
            Some(byte) => Err(finding(byte, format!("damaged extent at byte {byte}"))),
            None => Ok(survey.calls.into_keys().collect()),
        },
        // Made, and not yet written to.
        Err(SpoolError::NotASegment) => Ok(Vec::new()),
        Err(SpoolError::Store(error)) => Err(finding(error.offset, error.to_string())),
    }
}

/// Whoever reads may stop reading.
fn emit(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn text(summary: &Summary) -> String {
    if let Some(finding) = &summary.finding {
        return format!("WRONG {}: {}", finding.file.display(), finding.error);
    }
    format!(
        "ok: {} calls ({} recovered after a crash), {} extents, {} packets; spool: {} segments, {} calls not sealed",
        summary.calls, summary.recovered, summary.extents, summary.packets, summary.segments, summary.unsealed
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::disk::tests::{SESSION, disk, record};

    fn summary(data: &Path) -> Summary {
        check(&layout(data, &[])).unwrap()
    }

    #[test]
    fn a_changed_byte_of_a_sealed_call_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let right = summary(folder.path());
        assert_eq!(
            (right.calls, right.packets, right.segments, right.unsealed),
            (1, 40, 1, 0)
        );
        assert!(right.finding.is_none());
        let path = folder.path().join("calls/2025/11/22").join(SESSION.to_string());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let finding = summary(folder.path()).finding.unwrap();
        assert_eq!(finding.file, path);
        assert!(finding.byte.unwrap() <= 1000, "{finding:?}");
    }

    #[test]
    fn a_call_in_the_place_of_another_is_named() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let layout = layout(folder.path(), &[]);
        let other = SessionId::from_u128(SESSION.as_u128() + 1);
        let (from, to) = (layout.path(File::Sealed(SESSION)), layout.path(File::Sealed(other)));
        std::fs::rename(from, &to).unwrap();
        let summary = summary(folder.path());
        let finding = summary.finding.unwrap();
        assert_eq!((summary.ok, &finding.file), (false, &to));
        assert_eq!(finding.error, format!("this is call {SESSION}"));
    }

    #[test]
    fn damage_in_the_spool_is_found_and_a_torn_tail_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path());
        record(&mut disk, false);
        let path = disk.layout().segments().remove(0);
        let whole = std::fs::read(&path).unwrap();
        let last = survey(whole.as_slice()).unwrap().sound_bytes as usize;
        for (at, damaged) in [(last - 1, false), (3 * 4096 + 200, true)] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(summary(folder.path()).finding.is_some(), damaged, "{at}");
        }
    }
}
