//! The recorder's one owner: commands and extents in, requests and events out.

mod ending;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    Fault, Header, Leg, Mark, RecordingCommand, RecordingEvent, SessionId, SignalPath, Timestamp, earliest,
};

use super::commit::{Batch, Waiting};
use super::config::WriterConfig;
use super::extent::{Extent, Refusals, Tag};
use super::io::{IoDone, SegmentId};
use super::journal::{Journal, Landed, remove_segment};
use super::output::{Outbox, Output};
use super::seal_job::SealJob;
use super::sealing::Sealer;
use super::segment::BLOCK_BYTES;
use super::spooled::{Phase, Spooled};
use super::stored::{json, signal_head};

/// Recordings that may be open at once; more are refused with [`Fault::QueueFull`].
const CALLS_MAX: usize = 65_536;
/// An opening record is never longer.
const OPENING_BYTES_MAX: usize = 256 << 10;
/// A SIP message is kept up to this length.
const SIGNAL_BYTES_MAX: usize = 256 << 10;
/// Events promise 250 ms.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(200);

/// Writes the calls' extents to the journal by group commit, and seals each call at its end.
///
/// Queues and what happens when they are full: extents on the way are bounded by the intakes' pools (a full pool
/// refuses packets); signals and marks by 1 MiB a call (`Faulted`), calls by 65,536 (`OpenFailed`), records of calls
/// that were not recorded by 10,000 (`Faulted`).
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    journal: Journal,
    sealer: Sealer,
    calls: BTreeMap<SessionId, Spooled>,
    opening: BTreeSet<SessionId>,
    /// Closed calls that wait for packets, with the time when they wait no longer.
    late: BTreeSet<(Timestamp, SessionId)>,
    waiting: Waiting,
    batch: Option<Batch>,
    /// How many calls have something in a segment.
    segments: BTreeMap<SegmentId, u32>,
    lsn: u64,
    lives: u64,
    last_commit: Option<Timestamp>,
    urgent: bool,
    started: bool,
    heartbeat_due: Timestamp,
    outbox: Outbox,
}

/// What the recorder is doing: for status, metrics and leak tests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WriterStatus {
    /// Why nothing can be recorded; none while all is well.
    pub fault: Option<Fault>,
    /// Every frame taken before this time is durable.
    pub durable_until: Timestamp,
    pub calls: usize,
    /// Calls that are closed and not sealed yet.
    pub sealing: usize,
    pub segments: usize,
    /// Why the last attempt to seal a call failed; it is tried again every second.
    pub sealing_fault: Option<Fault>,
}

impl Writer {
    /// A recorder whose next segment is numbered `first_segment` on every volume: [`Recovery`](super::Recovery) knows it.
    pub fn new(config: WriterConfig, first_segment: u64, now: Timestamp) -> Self {
        Self {
            journal: Journal::new(&config, first_segment, now),
            sealer: Sealer::new(config.software.clone(), config.seal_every, None),
            calls: BTreeMap::new(),
            opening: BTreeSet::new(),
            late: BTreeSet::new(),
            waiting: Waiting::default(),
            batch: None,
            segments: BTreeMap::new(),
            lsn: 1,
            lives: 0,
            last_commit: None,
            urgent: false,
            started: false,
            heartbeat_due: now,
            outbox: Outbox::default(),
            config,
        }
    }

    pub fn handle_command(&mut self, now: Timestamp, command: RecordingCommand) {
        match command {
            RecordingCommand::Open(header) => self.open(now, &header),
            RecordingCommand::Signal {
                session,
                at,
                path,
                bytes,
            } => self.signal(now, session, at, &path, &bytes),
            RecordingCommand::Mark { session, at, mark } => self.mark(now, session, at, &mark),
            RecordingCommand::Close { session, closing, .. } => self.close(now, session, closing),
            RecordingCommand::Keep { header, closing, .. } => self.keep(now, &header, closing),
        }
        self.advance(now);
    }

    /// Takes an extent of an intake; it comes back by [`Output::Recycle`].
    pub fn handle_extent(&mut self, now: Timestamp, extent: Box<Extent>) {
        let session = extent.session;
        let Some(call) = self.calls.get_mut(&session).filter(|call| call.takes_frames()) else {
            self.outbox.recycle(extent);
            return;
        };
        call.packets += u64::from(extent.packets);
        let until = (extent.frames > 0).then_some(extent.first_at);
        if let Some(refused) = extent.refused {
            self.note_gap(now, session, refused, until);
        }
        if extent.is_empty() {
            self.outbox.recycle(extent);
        } else {
            self.waiting.media(extent);
        }
        self.end_if_complete(now, session);
        self.advance(now);
    }

    pub fn handle_io(&mut self, now: Timestamp, done: IoDone) {
        if !self.sealer.handle_io(now, &done, &mut self.outbox)
            && let Some(landed) = self.journal.handle_io(now, &done, &mut self.outbox)
        {
            self.on_landed(now, landed);
        }
        self.advance(now);
    }

    /// Commits what waits as soon as the journal takes it, and not when `commit_every` is over: its blocks are needed.
    pub fn hasten(&mut self, now: Timestamp) {
        self.urgent |= !self.waiting.is_empty();
        self.advance(now);
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.journal.handle_timeout(now, &mut self.outbox);
        self.sealer.handle_timeout(now, &mut self.outbox);
        while let Some((_, session)) = self.late.first().copied().filter(|(due, _)| *due <= now) {
            self.late.pop_first();
            self.waiting.ending(now, session);
        }
        if self.heartbeat_due <= now {
            self.heartbeat_due = now + HEARTBEAT_EVERY;
            if self.journal.fault().is_none() {
                let durable_until = self.durable_until(now);
                self.outbox.event(RecordingEvent::Heartbeat { durable_until });
            } else {
                self.seal_past_journal(now);
                self.relieve_spool(now);
            }
        }
        self.advance(now);
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let commit = self.commit_due().filter(|_| self.journal.is_idle());
        let late = self.late.first().map(|(due, _)| *due);
        let parts = [commit, late, self.journal.poll_timeout(), self.sealer.poll_timeout()];
        parts.into_iter().fold(Some(self.heartbeat_due), earliest)
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    /// Nothing waits for the disk any more: all that was recorded and closed is sealed. Calls that nobody closed do not count.
    pub fn is_idle(&self) -> bool {
        let committed = self.waiting.is_empty() && self.batch.is_none();
        self.outbox.is_empty() && self.late.is_empty() && self.sealer.len() == 0 && (committed || self.calls.is_empty())
    }

    pub fn status(&self, now: Timestamp) -> WriterStatus {
        WriterStatus {
            fault: self.journal.fault(),
            durable_until: self.durable_until(now),
            calls: self.calls.len(),
            sealing: self.sealer.len(),
            segments: self.segments.len(),
            sealing_fault: self.sealer.trouble().map(super::io::IoError::fault),
        }
    }

    /// Frames are up to `extent_age` old when they come here; an intake that lags further refuses by itself.
    fn durable_until(&self, now: Timestamp) -> Timestamp {
        let flying = self.batch.as_ref().map(|batch| batch.oldest);
        let waiting = earliest(flying, self.waiting.oldest());
        let reached = now - self.config.extent_age;
        waiting.map_or(reached, |oldest| oldest.min(reached))
    }

    fn open(&mut self, now: Timestamp, header: &Header) {
        let session = header.session;
        if let Some(known) = self.calls.get(&session) {
            // Who asks again gave it up meanwhile, and never heard that it is open.
            if matches!(known.phase, Phase::Open) {
                self.outbox.event(match self.journal.fault() {
                    Some(fault) => RecordingEvent::OpenFailed { session, fault },
                    None => RecordingEvent::Ready { session },
                });
            }
            return;
        }
        let record = json(header);
        let refusal = match self.journal.fault() {
            Some(fault) => Some(fault),
            None if self.journal.is_below_reserve() => Some(Fault::Reserve),
            None if self.calls.len() >= CALLS_MAX => Some(Fault::QueueFull),
            None if record.len() > OPENING_BYTES_MAX => Some(Fault::OpenFailed),
            None => None,
        };
        if let Some(fault) = refusal {
            self.outbox.event(RecordingEvent::OpenFailed { session, fault });
            return;
        }
        let mut call = Spooled::new(self.next_life());
        let _ = call.note(now, session, header.started, Tag::Opening, Leg::A, &[&record]);
        self.calls.insert(session, call);
        self.opening.insert(session);
        self.waiting.noted(now, session);
    }

    fn next_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    fn signal(&mut self, now: Timestamp, session: SessionId, at: Timestamp, path: &SignalPath, bytes: &Bytes) {
        let head = signal_head(path);
        let kept = &bytes[..bytes.len().min(SIGNAL_BYTES_MAX)];
        self.note(now, session, at, Tag::Signal, path.leg, &[&head, kept]);
    }

    fn mark(&mut self, now: Timestamp, session: SessionId, at: Timestamp, mark: &Mark) {
        self.note(now, session, at, Tag::Mark, Leg::A, &[&json(mark)]);
    }

    fn note(&mut self, now: Timestamp, session: SessionId, at: Timestamp, tag: Tag, leg: Leg, payload: &[&[u8]]) {
        let Some(call) = self.calls.get_mut(&session).filter(|call| call.takes_frames()) else {
            return;
        };
        if call.note(now, session, at, tag, leg, payload).is_ok() {
            self.waiting.noted(now, session);
        } else if !call.overflowed {
            call.overflowed = true;
            let fault = Fault::QueueFull;
            self.outbox.event(RecordingEvent::Faulted { session, fault });
        }
    }

    fn note_gap(&mut self, now: Timestamp, session: SessionId, refused: Refusals, until: Option<Timestamp>) {
        let fault = refused.fault;
        self.mark(now, session, refused.since, &Mark::GapOpened { fault });
        if let Some(until) = until {
            let packets = refused.packets;
            self.mark(now, session, until, &Mark::GapClosed { packets });
        }
    }

    /// None: nothing waits for a commit.
    fn commit_due(&self) -> Option<Timestamp> {
        if self.waiting.is_empty() {
            return None;
        }
        match self.last_commit {
            Some(last) if !self.urgent && self.opening.is_empty() => Some(last + self.config.commit_every),
            Some(last) if !self.urgent => Some(last + self.config.opening_every),
            Some(_) | None => Some(Timestamp::ZERO),
        }
    }

    /// Does what is due now, after any input.
    fn advance(&mut self, now: Timestamp) {
        while let Some(finished) = self.sealer.poll_finished() {
            self.on_finished(now, finished);
        }
        if !self.started {
            // The first segment is made before the first call needs it, and a broken volume is known at once.
            self.started = true;
            self.journal
                .write(now, now, vec![0; BLOCK_BYTES].into(), &mut self.outbox);
        }
        if self.journal.is_idle() && self.commit_due().is_some_and(|due| due <= now) {
            let (batch, bytes) = self.waiting.gather(now, &mut self.calls, &mut self.lsn);
            self.last_commit = Some(now);
            self.urgent = !self.waiting.is_empty();
            if bytes.is_empty() {
                // All of it belonged to calls that are gone.
                batch.blocks.into_iter().for_each(|block| self.outbox.recycle(block));
            } else {
                self.journal.write(now, batch.oldest, bytes, &mut self.outbox);
                self.batch = Some(batch);
            }
        }
        if let Some(fault) = self.journal.fault() {
            while let Some(session) = self.opening.pop_first() {
                self.calls.remove(&session);
                self.outbox.event(RecordingEvent::OpenFailed { session, fault });
            }
        }
    }

    fn on_landed(&mut self, now: Timestamp, landed: Landed) {
        let Some(batch) = self.batch.take() else {
            return;
        };
        let Landed { segment, base } = landed;
        let base = u32::try_from(base).expect("invariant: a segment is shorter than 4 GiB");
        self.segments.entry(segment).or_insert(0);
        for placed in &batch.placed {
            let call = self
                .calls
                .get_mut(&placed.session)
                .filter(|call| call.life == placed.life);
            if let Some(call) = call
                && call.landed(segment, base + placed.offset, placed.bytes)
            {
                *self.segments.entry(segment).or_insert(0) += 1;
            }
        }
        batch.blocks.into_iter().for_each(|block| self.outbox.recycle(block));
        for session in batch.openings {
            if self.opening.remove(&session)
                && let Some(call) = self.calls.get_mut(&session)
            {
                call.phase = Phase::Open;
                self.outbox.event(RecordingEvent::Ready { session });
            }
        }
        for session in batch.closings {
            // Else it is being sealed already.
            if self
                .calls
                .get(&session)
                .is_some_and(|call| matches!(call.phase, Phase::Closed))
            {
                self.seal(now, session);
            }
        }
        self.relieve_spool(now);
        self.drop_segments();
    }

    fn release(&mut self, segments: impl Iterator<Item = SegmentId>) {
        for segment in segments {
            if let Some(calls) = self.segments.get_mut(&segment) {
                *calls = calls.saturating_sub(1);
            }
        }
    }

    /// When the spool is long, or has filled its volume, calls are moved out of its oldest segment into their own files,
    /// though they go on: their segments would be free only at their end, and the recorder down till then.
    fn relieve_spool(&mut self, now: Timestamp) {
        let is_full = matches!(self.journal.fault(), Some(Fault::DiskFull | Fault::QuotaExceeded));
        if !is_full && self.segments.len() <= self.config.spool_segments {
            return;
        }
        let current = self.journal.current();
        let Some(oldest) = self.segments.keys().find(|segment| Some(**segment) != current).copied() else {
            return;
        };
        for (session, call) in &mut self.calls {
            let first = call.runs.first().map(|run| run.segment);
            if first != Some(oldest) || call.moving > 0 || matches!(call.phase, Phase::Sealing) {
                continue;
            }
            call.moving = call.runs.iter().take_while(|run| Some(run.segment) != current).count();
            let mut job = SealJob::new(*session, call.sources(call.moving), None);
            if let Some(moved) = call.moved.take() {
                job = job.resume(*moved);
            }
            self.sealer.start(now, job, &mut self.outbox);
        }
    }

    /// A segment that no call needs any more is removed, unless it is being written.
    fn drop_segments(&mut self) {
        let current = self.journal.current();
        let outbox = &mut self.outbox;
        self.segments.retain(|segment, calls| {
            let keep = *calls > 0 || Some(*segment) == current;
            if !keep {
                remove_segment(*segment, outbox);
            }
            keep
        });
    }
}
