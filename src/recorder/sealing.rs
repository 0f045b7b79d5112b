//! Sealing: a closed call's extents are read back from the segments, checked, and written to its own file.
//!
//! Everything here runs on the archive lane and may fail and start over: until a call is published, its extents stay
//! in the segments. A partial that failed is never synced again; the next attempt writes another.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::model::{SessionId, Timestamp, earliest};

use super::catalog::Entry;
use super::io::{File, IoDone, IoError, IoId, IoOp, IoOutcome, Lane};
use super::manifest::Manifest;
use super::output::Outbox;
use super::seal_job::{Active, Phase, SealJob, Transcript};

/// Calls that are read and written at the same time; the others wait. Each holds at most about 1 MiB.
const ACTIVE_MAX: usize = 64;
/// Files of one sync or publication.
const GROUP_MAX: usize = 64;
/// Reads of one call that may fail before what cannot be read is given up.
const READ_FAILURES_MAX: u32 = 3;
/// Pause after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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

/// Seals calls, many at a time.
#[derive(Debug)]
pub(super) struct Sealer {
    software: String,
    /// How long calls wait for others to be sealed with.
    gather: Duration,
    waiting: VecDeque<SealJob>,
    /// When what waits is begun, unless there are enough before.
    due: Timestamp,
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
    pub(super) fn new(software: String, gather: Duration, attempts_max: Option<u32>) -> Self {
        Self {
            software,
            gather,
            waiting: VecDeque::new(),
            due: Timestamp::ZERO,
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
        if self.waiting.is_empty() {
            self.due = now + self.gather;
        }
        self.waiting.push_back(job);
        self.advance(now, out);
    }

    pub(super) fn poll_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let gathered = (!self.waiting.is_empty() && self.active.len() < ACTIVE_MAX).then_some(self.due);
        earliest(gathered, self.failed.front().map(|(due, _)| *due))
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
            (Phase::Reading, Err(_)) if active.job.failures >= READ_FAILURES_MAX && active.job.tail.is_empty() => {
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
        let enough = self.waiting.len() >= GROUP_MAX || self.due <= now;
        while enough && self.active.len() < ACTIVE_MAX {
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
