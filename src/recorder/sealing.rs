//! Sealing: a closed call's extents are read back from the segments, checked, and written to its own file.
//!
//! Everything here runs on the archive lane and may fail and start over: until a call is published, its extents stay
//! in the segments. A partial that failed is never synced again; the next attempt writes another.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::model::{Closing, Header, Outcome, Reconciliation, SessionId, Timestamp};

use super::catalog::Entry;
use super::chain::{Chain, Step};
use super::extent::{EXTENT_BYTES_MAX, ExtentError, ExtentView};
use super::io::{File, IoDone, IoError, IoId, IoOp, IoOutcome, Lane, Span};
use super::manifest::{Manifest, Recovered};
use super::output::Outbox;
use super::seal::{FILE_HEADER_BYTES, SealKind, closing_bytes, file_header};
use super::stored::hex;

/// Calls that are read and written at the same time; the others wait. Each holds at most about 1 MiB.
const ACTIVE_MAX: usize = 32;
/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;
/// Files of one sync or publication.
const GROUP_MAX: usize = 64;
/// Reads of one call that may fail before what cannot be read is given up.
const READ_FAILURES_MAX: u32 = 3;
/// Pause after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is in a call's partial.
#[derive(Clone, Debug)]
pub(super) struct Transcript {
    pub(super) attempt: u32,
    /// Bytes in the partial, file header included; 0: there is none yet.
    pub(super) written: u64,
    pub(super) chain: Chain,
}

impl Transcript {
    pub(super) fn new(attempt: u32) -> Self {
        Self {
            attempt,
            written: 0,
            chain: Chain::new(),
        }
    }
}

/// How a call ends when its extents do not say so themselves.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// Of a non-recording record, which has no extents.
    pub(super) header: Option<Box<Header>>,
    pub(super) closing: Option<Box<Closing>>,
    pub(super) recovered: bool,
}

/// A call to be sealed or, without an ending, to be moved out of its segments.
#[derive(Debug)]
pub(super) struct SealJob {
    session: SessionId,
    /// In order. A span of a segment is one extent; a span of a partial is any part of its extents.
    sources: Vec<Span>,
    transcript: Transcript,
    /// The attempt that the next partial is numbered with.
    attempts: u32,
    /// How often it failed, and failed by reading.
    tries: u32,
    failures: u32,
    ending: Option<Ending>,
}

/// What became of a job.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) session: SessionId,
    pub(super) result: Done,
}

#[derive(Debug)]
pub(super) enum Done {
    /// Published, its directory synced.
    Sealed(Box<Manifest>),
    /// The sources are durable in the partial.
    Moved(Box<Transcript>),
    /// There was not one sound extent; there is no file.
    Empty,
    /// Failed as often as is allowed.
    GivenUp(IoError),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Reading,
    Writing,
    /// All written; waits for a group to be synced.
    Written,
    Syncing,
    Synced,
    Publishing,
}

#[derive(Debug)]
struct Active {
    job: SealJob,
    phase: Phase,
    attempt: u32,
    /// The next source to read.
    source: usize,
    /// What the read in flight is for.
    parts: Vec<Span>,
    /// The start of an extent whose end is in the next part.
    carry: Vec<u8>,
    transcript: Transcript,
    manifest: Option<Box<Manifest>>,
    ended: bool,
}

/// Seals calls, many at a time.
#[derive(Debug)]
pub(super) struct Sealer {
    software: String,
    waiting: VecDeque<SealJob>,
    failed: VecDeque<(Timestamp, SealJob)>,
    active: BTreeMap<SessionId, Active>,
    single: BTreeMap<IoId, SessionId>,
    group: BTreeMap<IoId, Vec<SessionId>>,
    finished: VecDeque<Finished>,
    /// The newest failure, until a call is sealed.
    trouble: Option<IoError>,
    /// None: a call is tried for ever.
    attempts_max: Option<u32>,
}

impl Sealer {
    pub(super) fn new(software: String, attempts_max: Option<u32>) -> Self {
        Self {
            software,
            waiting: VecDeque::new(),
            failed: VecDeque::new(),
            active: BTreeMap::new(),
            single: BTreeMap::new(),
            group: BTreeMap::new(),
            finished: VecDeque::new(),
            trouble: None,
            attempts_max,
        }
    }

    /// Calls that are not finished.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.failed.len() + self.active.len()
    }

    pub(super) fn trouble(&self) -> Option<IoError> {
        self.trouble
    }

    pub(super) fn start(&mut self, now: Timestamp, job: SealJob, out: &mut Outbox) {
        self.waiting.push_back(job);
        self.advance(now, out);
    }

    pub(super) fn poll_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.failed.front().map(|(due, _)| *due)
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, out: &mut Outbox) {
        while self.failed.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, job)) = self.failed.pop_front() {
                self.waiting.push_back(job);
            }
        }
        self.advance(now, out);
    }

    /// False: not a request of the sealer's.
    pub(super) fn handle_io(&mut self, now: Timestamp, done: &IoDone, out: &mut Outbox) -> bool {
        if let Some(session) = self.single.remove(&done.id) {
            self.on_single(now, session, &done.result, out);
        } else if let Some(sessions) = self.group.remove(&done.id) {
            self.on_group(now, &sessions, &done.result, out);
        } else {
            return false;
        }
        self.advance(now, out);
        true
    }

    fn on_single(&mut self, now: Timestamp, session: SessionId, result: &Result<IoOutcome, IoError>, out: &mut Outbox) {
        let Some(active) = self.active.get_mut(&session) else {
            return;
        };
        match (active.phase, result) {
            (Phase::Reading, Ok(IoOutcome::Read(parts))) => {
                let bytes = active.take(parts);
                self.on_read(now, session, bytes, out);
            }
            (Phase::Reading, Err(_)) if active.job.failures >= READ_FAILURES_MAX => {
                // What cannot be read is lost, and the rest must not wait for it: it shows as a break.
                active.carry.clear();
                active.parts.clear();
                self.on_read(now, session, Vec::new(), out);
            }
            (Phase::Reading, Err(error)) => {
                active.job.failures += 1;
                self.fail(now, session, *error, out);
            }
            (Phase::Writing, Ok(IoOutcome::Done)) if active.ended => active.phase = Phase::Written,
            (Phase::Writing, Ok(IoOutcome::Done)) => {
                let id = active.proceed(now, &self.software, out);
                self.single.insert(id, session);
            }
            (_, Err(error)) => self.fail(now, session, *error, out),
            (_, Ok(_)) => self.fail(now, session, IoError::Io, out),
        }
    }

    /// Writes what was read, or ends here if recovery found nothing at all.
    fn on_read(&mut self, now: Timestamp, session: SessionId, bytes: Vec<u8>, out: &mut Outbox) {
        let Some(active) = self.active.get_mut(&session) else {
            return;
        };
        let recovering = active.job.ending.as_ref().is_some_and(|ending| ending.recovered);
        if recovering && active.is_last() && active.transcript.chain.counts.extents == 0 {
            self.active.remove(&session);
            let result = Done::Empty;
            self.finished.push_back(Finished { session, result });
            return;
        }
        let id = active.write(now, &self.software, bytes, out);
        self.single.insert(id, session);
    }

    fn on_group(
        &mut self,
        now: Timestamp,
        sessions: &[SessionId],
        result: &Result<IoOutcome, IoError>,
        out: &mut Outbox,
    ) {
        for (place, session) in sessions.iter().enumerate() {
            let result = match result {
                Ok(IoOutcome::Each(each)) => each.get(place).copied().unwrap_or(Err(IoError::Io)),
                Ok(_) => Err(IoError::Io),
                Err(error) => Err(*error),
            };
            match result {
                Ok(()) => self.on_flushed(*session, out),
                Err(error) => self.fail(now, *session, error, out),
            }
        }
    }

    fn on_flushed(&mut self, session: SessionId, out: &mut Outbox) {
        let Some(active) = self.active.get_mut(&session) else {
            return;
        };
        if active.phase == Phase::Syncing && active.manifest.is_some() {
            active.phase = Phase::Synced;
            return;
        }
        let Some(active) = self.active.remove(&session) else {
            return;
        };
        self.trouble = None;
        let result = match active.manifest {
            Some(manifest) => {
                let bytes = Bytes::from(Entry::from(&*manifest).to_line());
                let file = File::Catalog;
                out.io(Lane::Archive, IoOp::Extend { file, bytes });
                Done::Sealed(manifest)
            }
            None => Done::Moved(Box::new(active.transcript)),
        };
        if active.job.transcript.attempt != active.attempt {
            remove_partial(session, active.job.transcript.attempt, out);
        }
        self.finished.push_back(Finished { session, result });
    }

    /// The call starts over in a while, with another partial; what was moved into the old one is read from there.
    fn fail(&mut self, now: Timestamp, session: SessionId, error: IoError, out: &mut Outbox) {
        let Some(active) = self.active.remove(&session) else {
            return;
        };
        self.trouble = Some(error);
        let mut job = active.job;
        if active.attempt == job.transcript.attempt && job.transcript.written > 0 {
            job.restart_from_partial();
        } else {
            remove_partial(session, active.attempt, out);
        }
        job.attempts = active.attempt + 1;
        job.tries += 1;
        if self.attempts_max.is_some_and(|max| job.tries >= max) {
            let result = Done::GivenUp(error);
            self.finished.push_back(Finished { session, result });
            return;
        }
        self.failed.push_back((now + RETRY_AFTER, job));
    }

    fn advance(&mut self, now: Timestamp, out: &mut Outbox) {
        while self.active.len() < ACTIVE_MAX {
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            let session = job.session;
            let mut active = Active::new(job);
            let id = active.proceed(now, &self.software, out);
            self.single.insert(id, session);
            self.active.insert(session, active);
        }
        self.flush_group(Phase::Written, Phase::Syncing, out);
        self.flush_group(Phase::Synced, Phase::Publishing, out);
    }

    /// One request for all that wait in phase `from`, unless one is under way.
    fn flush_group(&mut self, from: Phase, to: Phase, out: &mut Outbox) {
        if self.active.values().any(|active| active.phase == to) {
            return;
        }
        let ready = self
            .active
            .iter_mut()
            .filter(|(_, active)| active.phase == from)
            .take(GROUP_MAX);
        let mut sessions = Vec::new();
        let mut partials = Vec::new();
        for (session, active) in ready {
            active.phase = to;
            sessions.push(*session);
            partials.push((*session, active.attempt));
        }
        if sessions.is_empty() {
            return;
        }
        let op = if to == Phase::Publishing {
            IoOp::Publish { partials }
        } else {
            let files = partials.iter().map(|(session, attempt)| File::Partial {
                session: *session,
                attempt: *attempt,
            });
            IoOp::Sync { files: files.collect() }
        };
        self.group.insert(out.io(Lane::Archive, op), sessions);
    }
}

fn remove_partial(session: SessionId, attempt: u32, out: &mut Outbox) {
    let file = File::Partial { session, attempt };
    out.io(Lane::Archive, IoOp::Remove { file });
}

impl SealJob {
    pub(super) fn new(session: SessionId, sources: Vec<Span>, ending: Option<Ending>) -> Self {
        Self {
            session,
            sources,
            transcript: Transcript::new(0),
            attempts: 0,
            tries: 0,
            failures: 0,
            ending,
        }
    }

    /// Goes on in a partial that holds the call's beginning.
    pub(super) fn resume(mut self, transcript: Transcript) -> Self {
        self.attempts = transcript.attempt;
        self.transcript = transcript;
        self
    }

    /// Partials up to this attempt exist already.
    pub(super) fn after_attempt(mut self, attempt: u32) -> Self {
        self.attempts = attempt + 1;
        self.transcript.attempt = attempt + 1;
        self
    }

    /// The beginning is read back from the partial, which is not written to again.
    fn restart_from_partial(&mut self) {
        let (session, attempt) = (self.session, self.transcript.attempt);
        let mut offset = FILE_HEADER_BYTES as u64;
        let mut sources = Vec::new();
        while offset < self.transcript.written {
            let left = self.transcript.written - offset;
            let bytes = u32::try_from(left).unwrap_or(u32::MAX).min(READ_BYTES as u32);
            let file = File::Partial { session, attempt };
            sources.push(Span { file, offset, bytes });
            offset += u64::from(bytes);
        }
        sources.append(&mut self.sources);
        self.sources = sources;
        self.transcript = Transcript {
            attempt,
            ..Transcript::new(attempt)
        };
    }
}

impl Active {
    fn new(job: SealJob) -> Self {
        let mut transcript = job.transcript.clone();
        transcript.attempt = job.attempts;
        Self {
            phase: Phase::Reading,
            attempt: job.attempts,
            source: 0,
            parts: Vec::new(),
            carry: Vec::new(),
            transcript,
            manifest: None,
            ended: false,
            job,
        }
    }

    /// Reads on, or writes the end when there is nothing left to read.
    fn proceed(&mut self, now: Timestamp, software: &str, out: &mut Outbox) -> IoId {
        self.parts.clear();
        let mut bytes = 0;
        // After failures one by one, so that no more is given up than must be.
        let at_once = if self.job.failures == 0 { READ_BYTES } else { 0 };
        while let Some(span) = self.job.sources.get(self.source) {
            bytes += span.bytes as usize;
            if !self.parts.is_empty() && bytes > at_once {
                break;
            }
            self.parts.push(*span);
            self.source += 1;
        }
        if self.parts.is_empty() {
            return self.write(now, software, Vec::new(), out);
        }
        self.phase = Phase::Reading;
        let parts = self.parts.clone();
        out.io(Lane::Archive, IoOp::Read { parts })
    }

    /// Everything has been read.
    fn is_last(&self) -> bool {
        self.source >= self.job.sources.len()
    }

    /// The extents among `parts` that are sound and continue the call, end to end.
    fn take(&mut self, parts: &[Bytes]) -> Vec<u8> {
        let mut kept = Vec::new();
        let spans = std::mem::take(&mut self.parts);
        for (span, part) in spans.iter().zip(parts) {
            match span.file {
                File::Partial { .. } => {
                    self.carry.extend_from_slice(part);
                    self.take_carried(&mut kept);
                }
                File::Segment(_) | File::Sealed(_) | File::Catalog | File::Report(_) => {
                    if let Ok(extent) = ExtentView::parse(part) {
                        keep(&mut self.transcript.chain, self.job.session, &extent, &mut kept);
                    }
                }
            }
        }
        kept
    }

    fn take_carried(&mut self, kept: &mut Vec<u8>) {
        let carry = std::mem::take(&mut self.carry);
        let mut rest = carry.as_slice();
        loop {
            match ExtentView::parse(rest) {
                Ok(extent) => {
                    keep(&mut self.transcript.chain, self.job.session, &extent, kept);
                    rest = &rest[extent.bytes.len()..];
                }
                Err(ExtentError::Truncated) if rest.len() < EXTENT_BYTES_MAX => break,
                Err(_) => {
                    // Damage in a partial: what follows in it cannot be told apart, and shows as a break.
                    rest = &[];
                    break;
                }
            }
        }
        self.carry = rest.to_vec();
    }

    /// Writes `bytes`, behind the file header if they are the first, and before the manifest if they are the last.
    fn write(&mut self, now: Timestamp, software: &str, bytes: Vec<u8>, out: &mut Outbox) -> IoId {
        let mut all = bytes;
        if self.transcript.written == 0 {
            let head = file_header(self.job.session, SealKind::Plain);
            all.splice(0..0, head);
        }
        let offset = self.transcript.written;
        self.transcript.written += all.len() as u64;
        self.ended = self.is_last();
        if self.ended
            && let Some(ending) = &self.job.ending
        {
            let manifest = manifest(now, software, self.job.session, &mut self.transcript.chain, ending);
            all.extend_from_slice(&closing_bytes(&manifest, &self.transcript.chain.head()));
            self.manifest = Some(Box::new(manifest));
        }
        self.phase = Phase::Writing;
        let file = File::Partial {
            session: self.job.session,
            attempt: self.attempt,
        };
        let bytes = all.into();
        out.io(Lane::Archive, IoOp::Write { file, offset, bytes })
    }
}

fn keep(chain: &mut Chain, session: SessionId, extent: &ExtentView<'_>, kept: &mut Vec<u8>) {
    if extent.header.session == session && matches!(chain.push(extent), Ok(Step::Follows | Step::Breaks)) {
        kept.extend_from_slice(extent.bytes);
    }
}

/// The facts of a call whose extents have all been read.
fn manifest(now: Timestamp, software: &str, session: SessionId, chain: &mut Chain, ending: &Ending) -> Manifest {
    let closed = chain.closing.clone().or_else(|| ending.closing.clone());
    let kept_until = chain.last_at.unwrap_or_else(|| session.minted_at());
    let recovered = ending.recovered.then_some(Recovered {
        at: now,
        kept_until,
        closed: closed.is_some(),
    });
    let closing = closed.unwrap_or_else(|| Box::new(unclosed(chain.answered, kept_until)));
    chain.end_gap(closing.ended);
    let stored = chain.counts.packets;
    let reconciliation = Reconciliation {
        accepted: closing.tally.as_ref().map_or(stored, |tally| tally.accepted),
        forwarded: closing.tally.as_ref().map_or(stored, |tally| tally.forwarded),
        stored,
        gaps: chain.gaps.clone(),
    };
    let whole = reconciliation.is_exact() && chain.breaks.is_empty();
    let outcome = match closing.outcome {
        Outcome::Recorded if !whole => Outcome::Faulted,
        outcome => outcome,
    };
    let header = chain.opening.clone().or_else(|| ending.header.clone());
    Manifest {
        session,
        software: software.to_owned(),
        sealed: now,
        outcome,
        header: *header.unwrap_or_else(|| Box::new(lost_header(session))),
        closing: *closing,
        reconciliation,
        counts: chain.counts.clone(),
        streams: chain.streams.clone(),
        breaks: chain.breaks.clone(),
        chain: hex(&chain.head()),
        recovered,
    }
}

/// The end of a call whose end nobody wrote.
fn unclosed(answered: Option<Timestamp>, ended: Timestamp) -> Closing {
    Closing {
        outcome: Outcome::Faulted,
        answered,
        ended,
        ended_by: "recorder: the node stopped".to_owned(),
        status: None,
        tally: None,
        fault: None,
    }
}

/// A call whose opening record was damaged after it was durable: what is left of it is kept all the same.
fn lost_header(session: SessionId) -> Header {
    Header {
        session,
        node: String::new(),
        started: session.minted_at(),
        caller: crate::model::Party::default(),
        callee: crate::model::Party::default(),
        from_trunk: "".into(),
        to_trunk: None,
        call_ids: Vec::new(),
        policies: Vec::new(),
        generation: crate::model::Generation::default(),
        policy_hash: String::new(),
        trace: vec!["the opening record is lost".to_owned()],
        strict_before: false,
        strict_during: false,
        emergency: false,
    }
}
