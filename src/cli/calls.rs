//! `onrecord calls`: what has been recorded, and one call in full.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::disk::{Layout, StoredFile};
use crate::model::{Direction, Header, Mark, Outcome, SessionId, SignalPath, Timestamp};
use crate::recorder::{Entry, File, Frame, Manifest, Query, SealError, parse_catalog, partial_opening, survey};

use super::archive::{self, CallError};
use super::verify::layout;

/// List recorded calls, or show one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// One line a call, oldest first.
    List(ListArgs),
    /// Facts, decision, streams, marks, gaps and signalling of one call.
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Data directory.
    #[arg(long, value_name = "DIR", default_value = "onrecord-data")]
    data: PathBuf,
    /// Spool directory of a volume; repeat for each. Default: `spool` in the data directory.
    #[arg(long, value_name = "DIR")]
    spool: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Started at or after this time (RFC 3339, UTC).
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Started before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Part of a party's identity or of a Call-ID.
    #[arg(long, value_name = "TEXT")]
    party: Option<String>,
    /// recorded, faulted, blocked, exempt, unrecorded, no_media.
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    outcome: Option<Outcome>,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The call's id, as `calls list` prints it.
    id: SessionId,
    #[command(flatten)]
    place: Place,
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|_| "recorded, faulted, blocked, exempt, unrecorded or no_media".to_owned())
}

/// 0: printed. 2: cannot be read, or there is no such call.
pub(crate) fn run(args: &Args) -> ExitCode {
    let done = match &args.verb {
        Verb::List(args) => list(args),
        Verb::Show(args) => show(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { what, hint }) => {
            eprintln!("error: {what}\n\nhint: {hint}");
            ExitCode::from(2)
        }
    }
}

struct Failure {
    what: String,
    hint: String,
}

/// A call of the list: an entry of the catalog or, without a path, a call that is not sealed: it is being recorded, or a
/// crash left it and the next start will seal it.
#[derive(Debug)]
struct Row {
    entry: Entry,
    path: Option<PathBuf>,
}

impl Row {
    fn outcome(&self) -> &'static str {
        if self.path.is_some() {
            self.entry.outcome.as_str()
        } else {
            "recording"
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::json!(self.entry);
        value["outcome"] = self.outcome().into();
        value["path"] = serde_json::json!(self.path);
        value
    }
}

/// What `calls list` prints of a node with one volume.
pub(super) fn listed(data: &Path) -> String {
    let (mut rows, _) = rows(&layout(data, &[]));
    rows.sort_by_key(|row| (row.entry.started, row.entry.id));
    rows.iter().map(row_text).collect()
}

/// How the calls of a node with one volume ended, oldest first.
pub(super) fn outcomes(data: &Path) -> Vec<Outcome> {
    let (mut rows, _) = rows(&layout(data, &[]));
    rows.sort_by_key(|row| (row.entry.started, row.entry.id));
    rows.iter().map(|row| row.entry.outcome).collect()
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let layout = readable(&args.place)?;
    let query = Query {
        from: args.from,
        until: args.until,
        party: args.party.clone(),
        outcome: args.outcome,
    };
    let (mut rows, damaged) = rows(&layout);
    rows.retain(|row| query.matches(&row.entry) && (row.path.is_some() || args.outcome.is_none()));
    rows.sort_by_key(|row| (row.entry.started, row.entry.id));
    if args.place.json {
        emit(&json(&rows.iter().map(Row::to_json).collect::<Vec<_>>()));
    } else {
        emit(&rows.iter().map(row_text).collect::<String>());
    }
    for (path, error) in damaged {
        eprintln!("warning: {}: {}", path.display(), error.what());
    }
    Ok(())
}

fn readable(place: &Place) -> Result<Layout, Failure> {
    match std::fs::read_dir(&place.data) {
        Ok(_) => Ok(layout(&place.data, &place.spool)),
        Err(error) => Err(Failure {
            what: format!("cannot read {}: {error}", place.data.display()),
            hint: "name the data directory of the node: `--data DIR`".to_owned(),
        }),
    }
}

/// Every call there is, and sealed calls that cannot be read. The files decide; the catalog only saves reading them.
fn rows(layout: &Layout) -> (Vec<Row>, Vec<(PathBuf, CallError)>) {
    let catalog = std::fs::read(layout.path(File::Catalog));
    let mut catalog = parse_catalog(&catalog.unwrap_or_default());
    let (mut rows, mut damaged) = (Vec::new(), Vec::new());
    let open = open_calls(layout);
    let sealed = layout.sealed();
    for (id, header) in open.into_iter().filter(|(id, _)| !sealed.contains_key(id)) {
        rows.push(Row {
            entry: open_entry(id, header),
            path: None,
        });
    }
    for (id, path) in sealed {
        let entry = match catalog.remove(&id) {
            Some(entry) => archive::peek(layout, id).map(|()| entry),
            None => archive::open(layout, id).map(|call| Entry::from(call.manifest())),
        };
        match entry {
            Ok(entry) => rows.push(Row {
                entry,
                path: Some(path),
            }),
            Err(error) => damaged.push((path, error)),
        }
    }
    (rows, damaged)
}

/// Calls in the spool, by their opening records: of those there are no more than of segments being written.
fn open_calls(layout: &Layout) -> BTreeMap<SessionId, Option<Box<Header>>> {
    let mut calls: BTreeMap<SessionId, Option<Box<Header>>> = BTreeMap::new();
    for path in layout.segments() {
        let Ok(survey) = StoredFile::open(&path)
            .map_err(|_| ())
            .and_then(|file| survey(file).map_err(|_| ()))
        else {
            continue;
        };
        for (id, call) in survey.calls {
            let header = calls.entry(id).or_default();
            *header = header.take().or(call.header);
        }
    }
    for (id, path) in layout.partial_files() {
        if let (Some(header @ None), Ok(file)) = (calls.get_mut(&id), StoredFile::open(&path)) {
            *header = partial_opening(file);
        }
    }
    calls
}

fn open_entry(id: SessionId, header: Option<Box<Header>>) -> Entry {
    let header = header.as_deref();
    Entry {
        id,
        call_ids: header.map(|h| h.call_ids.clone()).unwrap_or_default(),
        from: header.map(|h| h.caller.identity.clone()).unwrap_or_default(),
        to: header.map(|h| h.callee.identity.clone()).unwrap_or_default(),
        started: header.map_or_else(|| id.minted_at(), |h| h.started),
        duration_ms: 0,
        outcome: Outcome::Recorded,
        policies: header.map(|h| h.policies.clone()).unwrap_or_default(),
        streams: Vec::new(),
        accepted: 0,
        stored: 0,
        recovered: false,
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Whoever reads may stop reading (`| head`).
fn emit(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What a terminal must not see is replaced: it came from a stranger.
fn clean(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn row_text(row: &Row) -> String {
    let Entry {
        id,
        started,
        duration_ms,
        stored,
        ..
    } = &row.entry;
    let (from, to, outcome) = (clean(&row.entry.from), clean(&row.entry.to), row.outcome());
    let seconds = *duration_ms as f64 / 1000.0;
    format!("{id}  {started:<24}  {seconds:>8.1} s  {outcome:<10}  {stored:>8}  {from} → {to}\n")
}

#[derive(Debug, Serialize)]
struct Full<'a> {
    path: &'a Path,
    #[serde(flatten)]
    manifest: &'a Manifest,
    signals: Vec<Signal>,
    marks: Vec<Noted>,
}

/// A line of the ladder.
#[derive(Debug, Serialize)]
struct Signal {
    at: Timestamp,
    #[serde(flatten)]
    path: SignalPath,
    start_line: String,
}

#[derive(Debug, Serialize)]
struct Noted {
    at: Timestamp,
    mark: Mark,
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let layout = readable(&args.place)?;
    let path = layout.path(File::Sealed(args.id));
    if !path.is_file() {
        let known = open_calls(&layout).contains_key(&args.id);
        let what = if known { "is not sealed yet" } else { "is not here" };
        return Err(Failure {
            what: format!("call {} {what}", args.id),
            hint: format!("`onrecord calls list --data {}`", args.place.data.display()),
        });
    }
    let hint = || format!("`onrecord verify --data {}`", args.place.data.display());
    let mut call = archive::open(&layout, args.id).map_err(|error| Failure {
        what: error.to_string(),
        hint: hint(),
    })?;
    let damaged = |error: SealError| Failure {
        what: format!("{}: {error}", path.display()),
        hint: hint(),
    };
    let (mut signals, mut marks) = (Vec::new(), Vec::new());
    for frame in call.frames() {
        match frame.map_err(damaged)? {
            Frame::Signal { at, path, bytes } => signals.push(Signal {
                at,
                path,
                start_line: start_line(&bytes),
            }),
            Frame::Mark { at, mark } => marks.push(Noted { at, mark }),
            Frame::Packet { .. } => {}
        }
    }
    signals.sort_by_key(|signal| signal.at);
    let full = Full {
        path: &path,
        manifest: call.manifest(),
        signals,
        marks,
    };
    if args.place.json {
        emit(&json(&full));
    } else {
        let mut text = facts_text(&full);
        let _ = timeline_text(&mut text, &full);
        emit(&text);
    }
    Ok(())
}

fn start_line(message: &[u8]) -> String {
    let line = message
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let line: String = String::from_utf8_lossy(line).chars().take(200).collect();
    clean(&line)
}

fn facts_text(full: &Full<'_>) -> String {
    let manifest = full.manifest;
    let (header, closing) = (&manifest.header, &manifest.closing);
    let (counts, reconciliation) = (&manifest.counts, &manifest.reconciliation);
    let to_trunk = header.to_trunk.as_ref().map_or("-", |trunk| trunk.as_str());
    let mut lines = vec![
        format!("{}  {}", manifest.session, manifest.outcome.as_str()),
        format!("file      {}", full.path.display()),
        format!("from      {}  ({})", header.caller.identity, header.from_trunk),
        format!("to        {}  ({to_trunk})", header.callee.identity),
        format!("started   {}", header.started),
        format!(
            "ended     {}  {:.3} s  {}",
            closing.ended,
            manifest.duration().as_secs_f64(),
            closing.ended_by
        ),
        format!(
            "packets   {} accepted, {} stored",
            reconciliation.accepted, reconciliation.stored
        ),
        format!(
            "kept      {} extents, {} bytes, chain {}",
            counts.extents, counts.bytes, manifest.chain
        ),
    ];
    if let Some(recovered) = &manifest.recovered {
        lines.push(format!(
            "recovered {} after a crash; kept until {}",
            recovered.at, recovered.kept_until
        ));
    }
    lines.push(format!(
        "decision  generation {} ({})",
        header.generation, header.policy_hash
    ));
    lines.extend(header.trace.iter().map(|line| format!("          {line}")));
    lines.iter().map(|line| clean(line) + "\n").collect()
}

fn timeline_text(out: &mut String, full: &Full<'_>) -> std::fmt::Result {
    let manifest = full.manifest;
    let started = manifest.header.started;
    for stream in &manifest.streams {
        let (leg, line) = (stream.leg, stream.line);
        let (ssrc, payload_type, packets) = (stream.ssrc, stream.payload_type, stream.packets);
        writeln!(
            out,
            "stream    {leg} line {line} ssrc {ssrc} payload type {payload_type}: {packets} packets"
        )?;
    }
    for (since, length) in &manifest.reconciliation.gaps {
        writeln!(out, "gap       {since}  {:.3} s", length.as_secs_f64())?;
    }
    for broken in &manifest.breaks {
        writeln!(out, "lost      extents before {}", broken.next)?;
    }
    for noted in &full.marks {
        let at = noted.at.since(started).as_millis();
        writeln!(out, "mark      {at:>8} ms  {:?}", noted.mark)?;
    }
    for signal in &full.signals {
        let (at, leg) = (signal.at.since(started).as_millis(), signal.path.leg);
        let arrow = match signal.path.direction {
            Direction::Received => format!("{leg} → proxy"),
            Direction::Sent => format!("proxy → {leg}"),
        };
        writeln!(out, "sip       {at:>8} ms  {arrow}  {}", signal.start_line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::disk::tests::{SESSION, disk, record};

    fn values(data: &Path) -> Vec<serde_json::Value> {
        let (rows, damaged) = rows(&layout(data, &[]));
        assert!(damaged.is_empty());
        rows.iter().map(Row::to_json).collect()
    }

    #[test]
    fn a_sealed_call_is_listed_with_or_without_the_catalog() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let with = values(folder.path());
        assert_eq!(with[0]["id"], SESSION.to_string());
        assert_eq!(
            (&with[0]["outcome"], &with[0]["stored"]),
            (&"recorded".into(), &40.into())
        );
        std::fs::write(folder.path().join("catalog.jsonl"), "nonsense").unwrap();
        assert_eq!(values(folder.path()), with);
        std::fs::remove_file(folder.path().join("catalog.jsonl")).unwrap();
        assert_eq!(values(folder.path()), with);
    }

    #[test]
    fn a_call_that_is_not_sealed_is_listed_as_recording() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), false);
        let listed = values(folder.path());
        assert_eq!(
            (&listed[0]["outcome"], &listed[0]["path"]),
            (&"recording".into(), &serde_json::Value::Null)
        );
    }

    #[test]
    fn the_file_of_another_call_is_not_shown_as_this_one_whatever_the_catalog_says() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let layout = layout(folder.path(), &[]);
        let other = SessionId::from_u128(SESSION.as_u128() + 1);
        let to = layout.path(File::Sealed(other));
        std::fs::rename(layout.path(File::Sealed(SESSION)), &to).unwrap();
        let catalog = layout.path(File::Catalog);
        let text = std::fs::read_to_string(&catalog).unwrap();
        for text in [text.replace(&SESSION.to_string(), &other.to_string()), String::new()] {
            std::fs::write(&catalog, text).unwrap();
            let (rows, damaged) = rows(&layout);
            assert!(rows.iter().all(|row| row.path.is_none()), "{rows:?}");
            assert_eq!(
                (&damaged[0].0, damaged[0].1.what()),
                (&to, format!("this is call {SESSION}"))
            );
        }
    }

    #[test]
    fn what_a_stranger_wrote_cannot_steer_the_terminal() {
        assert_eq!(
            start_line(b"INVITE \x1b[2Jsip:a SIP/2.0\r\nVia: x"),
            "INVITE \u{fffd}[2Jsip:a SIP/2.0"
        );
    }
}
