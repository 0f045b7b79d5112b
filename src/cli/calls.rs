//! `onrecord calls`: what has been recorded, and one call in full.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::disk::{Layout, Unreadable};
use crate::model::{Decided, Direction, Mark, SessionId, SignalPath, Timestamp};
use crate::recorder::{Entry, File, Frame, Joins, Manifest, Query};

use super::FINDINGS;
use super::archive::{self, CallError};
use super::consents;
use super::logging::visible;
use super::quality;
use super::rows::{OUTCOMES, Row, Rows, open_calls, rows};

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
    /// Only calls of the conversation that began with this call: transferred, forwarded, picked up.
    #[arg(long, value_name = "ID")]
    conversation: Option<SessionId>,
    /// Only calls of this outcome.
    #[arg(long, value_name = "OUTCOME", value_parser = clap::builder::PossibleValuesParser::new(OUTCOMES))]
    outcome: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The call's id, as `calls list` prints it.
    id: SessionId,
    #[command(flatten)]
    place: Place,
}

/// 0: printed. 1: printed, and a call of it is damaged or missing. 2: cannot be read, or there is no such call.
pub(crate) fn run(args: &Args) -> ExitCode {
    let done = match &args.verb {
        Verb::List(args) => list(args),
        Verb::Show(args) => show(args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FINDINGS),
        Err(Failure { what, hint }) => super::fail(what, &hint),
    }
}

struct Failure {
    what: String,
    hint: String,
}

impl Failure {
    fn unreadable(error: impl std::fmt::Display) -> Self {
        Self {
            what: error.to_string(),
            hint: archive::NO_ARCHIVE_HINT.to_owned(),
        }
    }
}

/// What `calls list` prints.
pub(super) fn listed(layout: &Layout) -> Result<String, Unreadable> {
    Ok(rows(layout)?.rows.iter().map(row_text).collect())
}

/// How the calls ended, oldest first.
pub(super) fn outcomes(layout: &Layout) -> Result<Vec<&'static str>, Unreadable> {
    Ok(rows(layout)?.rows.iter().map(Row::outcome).collect())
}

/// Whether all that is listed is sound.
fn list(args: &ListArgs) -> Result<bool, Failure> {
    let layout = archive::find(&args.place.data, &args.place.spool).map_err(Failure::unreadable)?;
    let Rows {
        mut rows,
        strays,
        joins,
    } = rows(&layout).map_err(Failure::unreadable)?;
    let query = Query {
        from: args.from,
        until: args.until,
        party: args.party.clone(),
        outcome: None,
        conversation: args.conversation.map(|name| joins.first(name)),
    };
    rows.retain(|row| row.matches(&query) && args.outcome.as_ref().is_none_or(|outcome| row.outcome() == outcome));
    if args.place.json {
        emit(&json(&rows.iter().map(Row::to_json).collect::<Vec<_>>()));
    } else {
        emit(&rows.iter().map(row_text).collect::<String>());
    }
    for row in &rows {
        if let Some(error) = row.error() {
            eprintln!("{}: {}: {error}", row.outcome(), row.entry.id);
        }
    }
    for (path, stray) in &strays {
        eprintln!("warning: {}: {stray}", visible(&path.to_string_lossy()));
    }
    let is_sound = strays.is_empty() && rows.iter().all(Row::is_sound);
    if !is_sound {
        eprintln!("\nhint: `onrecord verify --data {}`", args.place.data.display());
    }
    Ok(is_sound)
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Whoever reads may stop reading (`| head`).
fn emit(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn row_text(row: &Row) -> String {
    let Entry {
        id,
        started,
        duration_ms,
        stored,
        ..
    } = &row.entry;
    let (from, to, outcome) = (visible(&row.entry.from), visible(&row.entry.to), row.outcome());
    let seconds = *duration_ms as f64 / 1000.0;
    let goes_on = row.entry.conversation.map(|first| format!("  (goes on {first})"));
    let goes_on = goes_on.unwrap_or_default();
    let media = row
        .entry
        .encryption
        .map(|media| format!("  (media {})", media.as_str()));
    let paused = Some(row.entry.paused_ms).filter(|paused| *paused > 0);
    let paused = paused.map(|paused| format!("  (paused {:.1} s)", paused as f64 / 1000.0));
    let goes_on = paused.unwrap_or_default()
        + &consents::beside(&row.entry)
        + &media.unwrap_or_default()
        + &quality::poor(&row.entry.streams)
        + &goes_on;
    format!("{id}  {started:<24}  {seconds:>8.1} s  {outcome:<10}  {stored:>8}  {from} → {to}{goes_on}\n")
}

#[derive(Debug, Serialize)]
struct Full<'a> {
    path: &'a Path,
    #[serde(flatten)]
    manifest: &'a Manifest,
    /// As it is called now.
    conversation: SessionId,
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

/// Why the call has no file.
pub(super) fn absence(layout: &Layout, id: SessionId) -> Result<String, Unreadable> {
    let what = if archive::catalog(layout)?.contains_key(&id) {
        archive::MISSING
    } else if open_calls(layout)?.contains_key(&id) {
        "is not sealed yet"
    } else {
        "is not here"
    };
    Ok(format!("call {id} {what}"))
}

/// Whether the call could be read to its end.
fn show(args: &ShowArgs) -> Result<bool, Failure> {
    let layout = archive::find(&args.place.data, &args.place.spool).map_err(Failure::unreadable)?;
    let path = layout.path(File::Sealed(args.id));
    let mut call = match archive::open(&layout, args.id) {
        Ok(call) => call,
        Err(CallError::Absent { .. }) => {
            return Err(Failure {
                what: absence(&layout, args.id).map_err(Failure::unreadable)?,
                hint: format!("`onrecord calls list --data {}`", args.place.data.display()),
            });
        }
        Err(CallError::Unreadable(why)) => return Err(Failure::unreadable(why)),
        Err(error) => return Ok(damaged(args, &error)),
    };
    let (mut signals, mut marks) = (Vec::new(), Vec::new());
    for frame in call.frames() {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Ok(damaged(args, &CallError::Damaged { path, error })),
        };
        match frame {
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
    let joins = Joins::of(archive::catalog(&layout).map_err(Failure::unreadable)?.values());
    let full = Full {
        path: &path,
        conversation: joins.first(call.manifest().conversation()),
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
    Ok(true)
}

fn damaged(args: &ShowArgs, error: &CallError) -> bool {
    super::fail(
        error,
        &format!("`onrecord verify --data {}`", args.place.data.display()),
    );
    false
}

fn start_line(message: &[u8]) -> String {
    let line = message
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let line: String = String::from_utf8_lossy(line).chars().take(200).collect();
    visible(&line)
}

fn facts_text(full: &Full<'_>) -> String {
    let manifest = full.manifest;
    let (header, closing) = (manifest.last_header(), &manifest.closing);
    let (counts, reconciliation) = (&manifest.counts, &manifest.reconciliation);
    let to_trunk = header.to_trunk.as_ref().map_or("-", |trunk| trunk.as_str());
    let mut lines = vec![
        match closing.encryption {
            None => format!("{}  {}", manifest.session, manifest.outcome.as_str()),
            Some(encryption) => format!(
                "{}  {}  (media {})",
                manifest.session,
                manifest.outcome.as_str(),
                encryption.as_str()
            ),
        },
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
    if full.conversation != manifest.session {
        lines.push(format!("goes on   {}", full.conversation));
    }
    if let Some(recovered) = &manifest.recovered {
        lines.push(format!(
            "recovered {} after a crash; kept until {}",
            recovered.at, recovered.kept_until
        ));
    }
    lines.extend(consents::facts(manifest));
    for decided in manifest.decisions() {
        let Decided { at, caller, callee, .. } = &decided;
        lines.push(format!(
            "decision  {at}  {caller} → {callee}, generation {}",
            decided.generation
        ));
        lines.extend(decided.trace.iter().map(|line| format!("          {line}")));
    }
    lines.push(format!("policies  {}", header.policy_hash));
    lines.iter().map(|line| visible(line) + "\n").collect()
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
    let beside = consents::left_out(manifest);
    for told in quality::lines(&manifest.closing).into_iter().chain(beside) {
        writeln!(out, "{told}")?;
    }
    for (since, length) in &manifest.reconciliation.gaps {
        writeln!(out, "gap       {since}  {:.3} s", length.as_secs_f64())?;
    }
    for (since, length) in &manifest.reconciliation.pauses {
        writeln!(out, "paused    {since}  {:.3} s", length.as_secs_f64())?;
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

    #[test]
    fn a_list_or_a_call_that_is_not_sound_exits_with_1_and_what_is_no_archive_with_2() {
        let folder = tempfile::tempdir().unwrap();
        let place = || Place {
            data: folder.path().to_owned(),
            spool: Vec::new(),
            json: true,
        };
        let list = |outcome: Option<&str>| {
            let verb = Verb::List(ListArgs {
                place: place(),
                from: None,
                until: None,
                party: None,
                conversation: None,
                outcome: outcome.map(str::to_owned),
            });
            run(&Args { verb })
        };
        let show = || {
            let verb = Verb::Show(ShowArgs {
                id: SESSION,
                place: place(),
            });
            run(&Args { verb })
        };
        let (findings, could_not) = (ExitCode::from(FINDINGS), ExitCode::from(super::super::COULD_NOT));
        assert_eq!(list(None), could_not);
        let mut disk = disk(folder.path());
        assert_eq!((list(None), show()), (ExitCode::SUCCESS, could_not), "empty, and valid");
        record(&mut disk, true);
        assert_eq!((list(None), show()), (ExitCode::SUCCESS, ExitCode::SUCCESS));
        let path = disk.layout().path(File::Sealed(SESSION));
        std::fs::write(&path, "short").unwrap();
        assert_eq!(
            (list(None), list(Some("recorded")), show()),
            (findings, ExitCode::SUCCESS, findings)
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            (list(None), list(Some("missing")), show()),
            (findings, findings, could_not)
        );
    }

    #[test]
    fn what_a_stranger_wrote_cannot_steer_the_terminal() {
        assert_eq!(
            start_line(b"INVITE \x1b[2Jsip:a SIP/2.0\r\nVia: x"),
            r"INVITE \u{1b}[2Jsip:a SIP/2.0"
        );
        assert_eq!(
            start_line("SIP/2.0 486 Bu\u{202e}ys".as_bytes()),
            r"SIP/2.0 486 Bu\u{202e}ys"
        );
    }
}
