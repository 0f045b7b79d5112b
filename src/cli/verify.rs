//! `onrecord verify`: is every sealed call, and what is still in the spool, as it was written?

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::disk::{Layout, Unreadable};
use crate::model::SessionId;
use crate::recorder::{Counts, Entry, File, SpoolError, Survey, survey, survey_partial};

use super::archive::{self, CallError};

/// Check every byte of every recording, and that none is missing; name everything that is wrong.
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

/// More findings are counted, not listed.
const FINDINGS_MAX: usize = 1_000;

#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub ok: bool,
    /// Sealed calls that are as they were written.
    pub calls: u64,
    pub extents: u64,
    pub packets: u64,
    /// Segments of the spool that were checked.
    pub segments: u64,
    /// Partials of calls being sealed that were checked.
    pub partials: u64,
    /// Calls in the spool that are not sealed: they are being recorded, or wait for the next start.
    pub unsealed: u64,
    /// Calls that were sealed after a crash.
    pub recovered: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings that are not listed.
    findings_untold: u64,
    /// What could not be read, and so was not checked.
    pub unreadable: Vec<String>,
}

/// One file that is not as it should be.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub file: PathBuf,
    /// The first byte that is wrong. None: the file as a whole is.
    byte: Option<u64>,
    pub error: String,
}

/// 0: all is right. 1: what is wrong is named. 2: something cannot be read.
pub(crate) fn run(args: &Args) -> ExitCode {
    let layout = match archive::find(&args.data, &args.spool) {
        Ok(layout) => layout,
        Err(error) => return super::fail(error, archive::NO_ARCHIVE_HINT),
    };
    let summary = check(&layout);
    if args.json {
        emit(&serde_json::to_string(&summary).unwrap_or_default());
    } else {
        emit(&super::logging::visible_lines(&text(&summary)));
    }
    if let Some(first) = summary.unreadable.first() {
        let more = summary.unreadable.len() - 1;
        let more = if more > 0 {
            format!(", and {more} more")
        } else {
            String::new()
        };
        return super::fail(
            format_args!("not all was checked: {first}{more}"),
            "is this user the one that runs `serve`?",
        );
    }
    if layout.volumes.is_empty() {
        eprintln!(
            "no spool in {}: name the node's volumes with --spool, if it has any",
            args.data.display()
        );
    }
    if summary.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(super::FINDINGS)
    }
}

/// Every sealed call, every partial and every segment.
pub(super) fn check(layout: &Layout) -> Summary {
    let mut check = Check {
        layout,
        summary: Summary::default(),
    };
    // Read first: a call that is sealed meanwhile is not missing.
    let known = archive::catalog(layout);
    let sealed = check.sealed_calls(known);
    check.spool(&sealed);
    let mut summary = check.summary;
    summary.ok = summary.findings.is_empty() && summary.unreadable.is_empty();
    summary
}

struct Check<'a> {
    layout: &'a Layout,
    summary: Summary,
}

impl Check<'_> {
    /// Gives the calls that are sealed, or were.
    fn sealed_calls(&mut self, known: Result<BTreeMap<SessionId, Entry>, Unreadable>) -> BTreeSet<SessionId> {
        let Some(sealed) = self.readable(self.layout.sealed()) else {
            return BTreeSet::new();
        };
        for (path, stray) in sealed.strays {
            self.find(path, None, stray.to_string());
        }
        for (session, path) in &sealed.calls {
            match self.call(*session) {
                Ok(counts) => {
                    self.summary.calls += 1;
                    self.summary.extents += counts.extents;
                    self.summary.packets += counts.packets;
                }
                Err(CallError::Unreadable(why)) => self.summary.unreadable.push(why.to_string()),
                Err(error) => self.find(path.clone(), error.offset(), error.what()),
            }
        }
        let mut ever: BTreeSet<SessionId> = sealed.calls.keys().copied().collect();
        for session in self.readable(known).unwrap_or_default().into_keys() {
            if ever.insert(session) {
                let path = self.layout.path(File::Sealed(session));
                self.find(path, None, archive::MISSING.to_owned());
            }
        }
        ever
    }

    fn call(&mut self, session: SessionId) -> Result<Counts, CallError> {
        let mut call = archive::open(self.layout, session)?;
        let counts = call.verify().map_err(|error| CallError::Damaged {
            path: self.layout.path(File::Sealed(session)),
            error,
        })?;
        self.summary.recovered += u64::from(call.manifest().recovered.is_some());
        Ok(counts)
    }

    fn spool(&mut self, sealed: &BTreeSet<SessionId>) {
        let mut unsealed = BTreeSet::new();
        for (session, path) in self.readable(self.layout.partial_files()).unwrap_or_default() {
            let Some(Some(file)) = self.readable(archive::open_fleeting(&path)) else {
                continue;
            };
            self.summary.partials += 1;
            unsealed.insert(session);
            self.survey(&path, survey_partial(file, session));
        }
        for path in self.readable(self.layout.segments()).unwrap_or_default() {
            let Some(Some(file)) = self.readable(archive::open_fleeting(&path)) else {
                continue;
            };
            self.summary.segments += 1;
            unsealed.extend(self.survey(&path, survey(file)));
        }
        self.summary.unsealed = unsealed.difference(sealed).count() as u64;
    }

    /// The calls in it.
    fn survey(&mut self, path: &Path, survey: Result<Survey, SpoolError>) -> Vec<SessionId> {
        match survey {
            Ok(survey) => {
                if let Some(byte) = survey.damaged {
                    self.find(path.to_owned(), Some(byte), format!("damaged extent at byte {byte}"));
                }
                survey.calls.into_keys().collect()
            }
            // Made, and not yet written to.
            Err(SpoolError::NotASegment) => Vec::new(),
            Err(SpoolError::Store(error)) => {
                let path = path.display();
                self.summary.unreadable.push(format!("cannot read {path}: {error}"));
                Vec::new()
            }
        }
    }

    fn readable<T>(&mut self, read: Result<T, Unreadable>) -> Option<T> {
        read.map_err(|why| self.summary.unreadable.push(why.to_string())).ok()
    }

    fn find(&mut self, file: PathBuf, byte: Option<u64>, error: String) {
        if self.summary.findings.len() < FINDINGS_MAX {
            self.summary.findings.push(Finding { file, byte, error });
        } else {
            self.summary.findings_untold += 1;
        }
    }
}

/// Whoever reads may stop reading.
fn emit(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn text(summary: &Summary) -> String {
    let wrong = summary.findings.iter();
    let mut text: String = wrong
        .map(|finding| format!("WRONG {}: {}\n", finding.file.display(), finding.error))
        .collect();
    if summary.findings_untold > 0 {
        text += &format!("WRONG and {} more\n", summary.findings_untold);
    }
    let verdict = if summary.ok { "ok" } else { "NOT ok; right are" };
    text + &format!(
        "{verdict}: {} calls ({} recovered after a crash), {} extents, {} packets; spool: {} segments, {} partials, {} calls not sealed",
        summary.calls,
        summary.recovered,
        summary.extents,
        summary.packets,
        summary.segments,
        summary.partials,
        summary.unsealed
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::disk::tests::{SESSION, disk, record};

    fn summary(data: &Path) -> Summary {
        check(&archive::find(data, &[]).unwrap())
    }

    /// The one finding.
    fn finding(data: &Path) -> (PathBuf, Option<u64>, String) {
        let summary = summary(data);
        assert!(!summary.ok && summary.findings.len() == 1, "{summary:?}");
        let Finding { file, byte, error } = summary.findings.into_iter().next().unwrap();
        (file, byte, error)
    }

    /// A data directory with one sealed call, and the call's file.
    fn sealed() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let path = folder.path().join("calls/2025/11/22").join(SESSION.to_string());
        (folder, path)
    }

    #[test]
    fn a_changed_byte_of_a_sealed_call_is_named_with_its_file() {
        let (folder, path) = sealed();
        let right = summary(folder.path());
        assert_eq!(
            (right.calls, right.packets, right.segments, right.unsealed),
            (1, 40, 1, 0)
        );
        assert!(right.ok && right.findings.is_empty());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (file, byte, error) = finding(folder.path());
        assert_eq!(file, path);
        assert!(byte.unwrap() <= 1000, "{error}");
    }

    #[test]
    fn a_call_in_the_place_of_another_is_named() {
        let (folder, path) = sealed();
        let other = SessionId::from_u128(SESSION.as_u128() + 1);
        let to = path.with_file_name(other.to_string());
        std::fs::copy(&path, &to).unwrap();
        assert_eq!(finding(folder.path()), (to, None, format!("this is call {SESSION}")));
    }

    #[test]
    fn a_good_copy_elsewhere_does_not_hide_a_changed_call() {
        let (folder, path) = sealed();
        let copy = folder.path().join("calls/2030/01/01").join(SESSION.to_string());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(&path, &copy).unwrap();
        let stray = format!("misplaced: call {SESSION} does not belong here");
        assert_eq!(finding(folder.path()), (copy.clone(), None, stray));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let files: Vec<PathBuf> = summary(folder.path()).findings.into_iter().map(|f| f.file).collect();
        assert_eq!(files, [copy, path]);
    }

    #[test]
    fn what_is_not_ours_among_the_calls_is_named() {
        let (folder, path) = sealed();
        let note = path.with_file_name("note.txt");
        std::fs::write(&note, "x").unwrap();
        assert_eq!(finding(folder.path()).0, note);
        std::fs::remove_file(note).unwrap();
        std::fs::create_dir(folder.path().join("calls/lost+found")).unwrap();
        assert!(summary(folder.path()).ok);
    }

    #[test]
    fn a_call_that_was_deleted_is_missing_even_while_the_spool_has_it() {
        let (folder, path) = sealed();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(finding(folder.path()), (path, None, archive::MISSING.to_owned()));
        std::fs::remove_dir_all(folder.path().join("calls")).unwrap();
        assert!(!summary(folder.path()).ok);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_no_empty_archive() {
        let folder = tempfile::tempdir().unwrap();
        let args = |data: &Path, spool: &[PathBuf]| Args {
            data: data.to_owned(),
            spool: spool.to_vec(),
            json: false,
        };
        let could_not = ExitCode::from(super::super::COULD_NOT);
        assert_eq!(run(&args(folder.path(), &[])), could_not, "some other directory");
        assert_eq!(run(&args(&folder.path().join("none"), &[])), could_not);
        record(&mut disk(folder.path()), true);
        assert_eq!(run(&args(folder.path(), &[])), ExitCode::SUCCESS);
        let gone = folder.path().join("gone");
        let layout = archive::find(folder.path(), std::slice::from_ref(&gone)).unwrap();
        let unreadable = check(&layout).unreadable;
        assert!(unreadable[0].contains(gone.to_str().unwrap()), "{unreadable:?}");
        assert_eq!(run(&args(folder.path(), &[gone])), could_not);
    }

    #[test]
    fn damage_in_a_partial_is_found_and_a_torn_tail_is_none() {
        let (folder, path) = sealed();
        let whole = std::fs::read(&path).unwrap();
        let partial = folder.path().join(format!("calls/partial/{SESSION}.0"));
        std::fs::rename(&path, &partial).unwrap();
        std::fs::remove_file(folder.path().join("catalog.jsonl")).unwrap();
        let right = summary(folder.path());
        assert_eq!((right.ok, right.partials, right.unsealed), (true, 1, 1), "{right:?}");
        std::fs::write(&partial, &whole[..whole.len() / 2]).unwrap();
        assert!(summary(folder.path()).ok);
        let mut bytes = whole;
        bytes[1000] ^= 1;
        std::fs::write(&partial, &bytes).unwrap();
        assert_eq!(finding(folder.path()).0, partial);
        let other = partial.with_file_name(format!("{}.0", SessionId::from_u128(1)));
        std::fs::rename(&partial, &other).unwrap();
        assert_eq!(
            finding(folder.path()),
            (other, Some(0), "damaged extent at byte 0".to_owned())
        );
    }

    #[test]
    fn damage_in_the_spool_is_found_and_a_torn_tail_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path());
        record(&mut disk, false);
        let path = disk.layout().segments().unwrap().remove(0);
        let whole = std::fs::read(&path).unwrap();
        let last = survey(whole.as_slice()).unwrap().sound_bytes as usize;
        for (at, damaged) in [(last - 1, false), (3 * 4096 + 200, true)] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(summary(folder.path()).ok, !damaged, "{at}");
        }
    }
}
