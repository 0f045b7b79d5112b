//! The decision on a call that took place, as its recording keeps it: what was in force then, not what would be now.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::archive::{self, CallError, NoArchive};
use super::{calls, logging, rows};
use crate::disk::Unreadable;
use crate::model::{Closing, Decided, Header, Outcome, SessionId, Timestamp};

/// The width of the column that says where something is written, and how many digits of a hash tell loads apart: as in
/// the explanation of a call that did not take place.
const SUBJECT_CHARS: usize = 18;
const HASH_CHARS: usize = 12;

/// What is kept of a call that concerns its decision.
struct Kept {
    header: Header,
    /// What was decided before what the header tells, and when that was decided.
    superseded: Vec<Decided>,
    decided: Timestamp,
    /// None: it is being recorded, or waits for the next start.
    end: Option<(Outcome, Closing)>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NoArchive(#[from] NoArchive),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{0}")]
    Absent(String),
}

/// 0: explained. 1: the recording was altered or damaged. 2: cannot be read, or there is no such call.
pub(super) fn explain(id: SessionId, data: &Path, json: bool) -> ExitCode {
    match find(id, data) {
        Ok(kept) if json => super::print(&format!("{:#}\n", to_json(&kept))),
        Ok(kept) => super::print(&logging::visible_lines(&text(&kept))),
        Err(failure @ Failure::Call(_)) => {
            super::fail(failure, &format!("`onrecord verify --data {}`", data.display()));
            return ExitCode::from(super::FINDINGS);
        }
        Err(failure @ Failure::Absent(_)) => {
            return super::fail(failure, &format!("`onrecord calls list --data {}`", data.display()));
        }
        Err(failure) => return super::fail(failure, archive::NO_ARCHIVE_HINT),
    }
    ExitCode::SUCCESS
}

fn find(id: SessionId, data: &Path) -> Result<Kept, Failure> {
    let layout = archive::find(data, &[])?;
    match archive::open(&layout, id) {
        Ok(call) => {
            let manifest = call.manifest();
            let mut superseded = manifest.decisions();
            let last = superseded.pop();
            Ok(Kept {
                header: manifest.last_header().clone(),
                superseded,
                decided: last.map_or(manifest.header.started, |last| last.at),
                end: Some((manifest.outcome, manifest.closing.clone())),
            })
        }
        Err(CallError::Absent { .. }) => {
            let open = rows::open_calls(&layout)?.remove(&id).flatten();
            match open {
                Some(header) if !archive::catalog(&layout)?.contains_key(&id) => Ok(Kept {
                    superseded: Vec::new(),
                    decided: header.started,
                    header: *header,
                    end: None,
                }),
                _ => Err(Failure::Absent(calls::absence(&layout, id)?)),
            }
        }
        Err(CallError::Unreadable(why)) => Err(why.into()),
        Err(error) => Err(error.into()),
    }
}

fn headline(kept: &Kept) -> String {
    let Some((outcome, closing)) = &kept.end else {
        return "BEING RECORDED".to_owned();
    };
    match (outcome, closing.status) {
        (Outcome::Recorded, _) => match closing.encryption {
            None => "RECORDED".to_owned(),
            Some(encryption) => format!("RECORDED, MEDIA {}", encryption.as_str().to_uppercase()),
        },
        (Outcome::Faulted, _) => "RECORDING BROKE OFF".to_owned(),
        (Outcome::Blocked, Some(status)) => format!("REJECTED {status}"),
        (Outcome::Blocked, None) => "REJECTED".to_owned(),
        (Outcome::Exempt, _) => "NOT RECORDED".to_owned(),
        (Outcome::Unrecorded, _) => "CONNECTED UNRECORDED".to_owned(),
        (Outcome::NoMedia, _) => "NO MEDIA".to_owned(),
    }
}

fn reason(header: &Header) -> String {
    let names: Vec<&str> = header.policies.iter().map(|id| id.as_str()).collect();
    let mut reason = match names.as_slice() {
        [] => "no policy asked for it".to_owned(),
        [name] => format!("policy {name}"),
        names => format!("policies {}", names.join(", ")),
    };
    let facts = [
        (header.strict_before, ", strict before establishment"),
        (header.strict_during, ", strict during the call"),
        (header.emergency, ", emergency"),
    ];
    for (_, fact) in facts.into_iter().filter(|(holds, _)| *holds) {
        reason += fact;
    }
    reason
}

/// The head of one decision of several.
fn between(at: Timestamp, [caller, callee]: [&String; 2]) -> String {
    format!("decided  {at}: {caller} → {callee}")
}

fn text(kept: &Kept) -> String {
    let header = &kept.header;
    let mut out = format!("{} at {}  ({})\n", headline(kept), header.started, reason(header));
    let mut lines = Vec::new();
    for decided in &kept.superseded {
        lines.push(between(decided.at, [&decided.caller, &decided.callee]));
        lines.extend(decided.trace.iter().cloned());
    }
    if !kept.superseded.is_empty() {
        lines.push(between(
            kept.decided,
            [&header.caller.identity, &header.callee.identity],
        ));
    }
    lines.extend(header.trace.iter().cloned());
    if let Some((_, closing)) = &kept.end {
        if let Some(fault) = closing.fault {
            lines.push(format!("recorder embedded  DOWN ({fault})"));
        }
        let status = closing
            .status
            .map_or_else(String::new, |status| format!(", INVITE got {status}"));
        lines.push(format!("ended  {} by {}{status}", closing.ended, closing.ended_by));
    }
    for (index, line) in lines.iter().enumerate() {
        // What a stranger wrote must not look like another line of the trail.
        let line = logging::visible(line);
        let (subject, text) = line.split_once("  ").unwrap_or(("", &line));
        let _ = writeln!(out, "{:2} {subject:SUBJECT_CHARS$} {text}", index + 1);
    }
    let hash = header.policy_hash.get(..HASH_CHARS).unwrap_or(&header.policy_hash);
    let _ = writeln!(out, "generation {} (sha256 {hash}…)", header.generation);
    out
}

fn to_json(kept: &Kept) -> serde_json::Value {
    let header = &kept.header;
    let end = kept.end.as_ref();
    json!({
        "id": header.session,
        "outcome": end.map_or("recording", |(outcome, _)| outcome.as_str()),
        "started": header.started,
        "caller": header.caller.identity,
        "callee": header.callee.identity,
        "policies": header.policies,
        "strict_before": header.strict_before,
        "strict_during": header.strict_during,
        "emergency": header.emergency,
        "trace": header.trace,
        "decided": kept.decided,
        "superseded": kept.superseded,
        "generation": header.generation,
        "hash": header.policy_hash,
        "status": end.and_then(|(_, closing)| closing.status),
        "fault": end.and_then(|(_, closing)| closing.fault),
        "ended": end.map(|(_, closing)| closing.ended),
        "ended_by": end.map(|(_, closing)| &closing.ended_by),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::disk::tests::{SESSION, disk, record};
    use crate::model::Fault;
    use crate::recorder::File;

    #[test]
    fn a_rejected_call_reads_like_one_that_did_not_take_place_yet() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let mut kept = find(SESSION, folder.path()).unwrap_or_else(|error| unreachable!("{error}"));
        kept.header.trace = vec![
            "grants.toml:2  user:alice@example.com → trading-desk".into(),
            "emergency  no match".into(),
        ];
        kept.header.policies = vec!["trading-desk".into()];
        kept.header.policy_hash = "9f2c".repeat(16);
        let (outcome, closing) = kept.end.as_mut().unwrap();
        (*outcome, closing.status, closing.fault) = (Outcome::Blocked, Some(603), Some(Fault::Io));
        closing.ended_by = "recorder\n 9 forged".into();
        assert_eq!(
            text(&kept),
            "REJECTED 603 at 2025-11-22T08:26:40.123Z  (policy trading-desk, strict before establishment, strict during the call)\n\
             \x201 grants.toml:2      user:alice@example.com → trading-desk\n\
             \x202 emergency          no match\n\
             \x203 recorder embedded  DOWN (input/output error (EIO))\n\
             \x204 ended              2025-11-22T08:26:40.923Z by recorder\\u{a} 9 forged, INVITE got 603\n\
             generation 1 (sha256 9f2c9f2c9f2c…)\n"
        );
        let mut before = Decided::of(kept.header.started, &kept.header);
        before.callee = "sip:bob@example.com".into();
        kept.superseded = vec![before];
        kept.header.callee.identity = "sip:carol@example.com".into();
        let told = text(&kept);
        let decided: Vec<&str> = told.lines().filter(|line| line.contains(" decided ")).collect();
        assert_eq!(decided.len(), 2, "{told}");
        assert!(decided[0].ends_with("→ sip:bob@example.com") && decided[1].ends_with("→ sip:carol@example.com"));
        assert_eq!(told.matches("trading-desk").count(), 3, "each with its trail: {told}");
        let json = to_json(&kept);
        assert_eq!((&json["outcome"], &json["fault"]), (&"blocked".into(), &"io".into()));
    }

    #[test]
    fn a_call_is_explained_while_it_runs_and_a_damaged_one_is_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path());
        assert_eq!(
            explain(SESSION, folder.path(), false),
            ExitCode::from(super::super::COULD_NOT)
        );
        record(&mut disk, false);
        let kept = find(SESSION, folder.path()).unwrap_or_else(|error| unreachable!("{error}"));
        assert!(text(&kept).starts_with("BEING RECORDED at "));
        assert_eq!(to_json(&kept)["outcome"], "recording");
        let path = disk.layout().path(File::Sealed(SESSION));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "short").unwrap();
        assert_eq!(
            explain(SESSION, folder.path(), true),
            ExitCode::from(super::super::FINDINGS)
        );
    }
}
