//! After a crash: every call that has an extent in the spool and no sealed file is sealed, then the spool is emptied.
//!
//! Idempotent: nothing is removed before what replaces it is published, so a crash during recovery is met by the next
//! one. Bounded: each segment is read once, each call is tried a few times; what cannot be sealed stays in the spool.
//! While a segment cannot be read, a call that may have a part in it is not sealed either: the next recovery may read it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::model::{Fault, Outcome, SessionId, Timestamp};

use super::config::WriterConfig;
use super::extent::Tag;
use super::io::{File, Folder, IoDone, IoError, IoId, IoOp, IoOutcome, IoRequest, Lane, SegmentId, Span, VolumeId};
use super::manifest::Manifest;
use super::output::{Outbox, Output};
use super::remains::{Piece, Remains};
use super::seal::FILE_HEADER_BYTES;
use super::seal_job::{Ending, SealJob};
use super::sealing::{Done, Sealer};
use super::segment::Walk;
use super::stored::json;

/// Bytes of one read of a segment: any extent fits.
const WINDOW_BYTES: u32 = 4 << 20;
/// How often a call is tried.
const TRIES_MAX: u32 = 3;
/// Calls that are asked for at once.
const PUBLISHED_MAX: usize = 1000;

/// What recovery found and did. Kept as `log/recovered-<time>.json` when there was anything to do.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct RecoveryReport {
    pub at: Timestamp,
    /// The number of the next segment on any volume.
    pub first_segment: u64,
    pub segments: u64,
    pub extents: u64,
    /// Segments with something at their end that is no sound extent: bytes that were never acknowledged, or damage.
    pub torn: Vec<Torn>,
    /// Calls that had not been sealed.
    pub calls: Vec<RecoveredCall>,
    /// Calls that could not be sealed now; their segments are kept for the next recovery.
    pub unsealed: Vec<SessionId>,
    /// Segments that could not be read; they are kept, and so are the calls that may have a part in them.
    pub unreadable: u64,
    /// Folders that could not be listed. If there is one, nothing was done: who goes on would write beside what he does
    /// not see.
    pub unlisted: u64,
    /// The last failure of the disk.
    pub fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Torn {
    pub volume: u16,
    pub segment: u64,
    pub offset: u64,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RecoveredCall {
    pub session: SessionId,
    pub outcome: Outcome,
    pub packets: u64,
    pub kept_until: Timestamp,
    /// Its own end was in the journal.
    pub closed: bool,
}

#[derive(Debug)]
enum Stage {
    Listing(BTreeMap<IoId, Folder>),
    Scanning(Scan),
    Asking { io: IoId, asked: Vec<SessionId> },
    Sealing,
    Reporting(IoId),
    Finished,
}

/// Reading through one segment.
#[derive(Debug)]
struct Scan {
    io: IoId,
    segment: SegmentId,
    bytes: u64,
    walk: Walk,
}

/// Drives itself through [`IoRequest`]s to its end; then [`Recovery::report`] has the report.
#[derive(Debug)]
pub struct Recovery {
    stage: Stage,
    segments: VecDeque<(SegmentId, u64)>,
    scanned: Vec<SegmentId>,
    calls: BTreeMap<SessionId, Remains>,
    asking: VecDeque<SessionId>,
    /// Where calls are that could not be sealed.
    kept: BTreeSet<SegmentId>,
    sealer: Sealer,
    report: RecoveryReport,
    outbox: Outbox,
}

impl Recovery {
    /// Starts at once: requests are waiting.
    pub fn new(config: &WriterConfig, now: Timestamp) -> Self {
        let mut outbox = Outbox::default();
        let volumes = (0..config.volumes.len() as u16).map(|volume| Folder::Volume(VolumeId(volume)));
        let mut listing = BTreeMap::new();
        for folder in volumes.chain([Folder::Partials]) {
            listing.insert(outbox.io(Lane::Archive, IoOp::List { folder }), folder);
        }
        Self {
            stage: Stage::Listing(listing),
            segments: VecDeque::new(),
            scanned: Vec::new(),
            calls: BTreeMap::new(),
            asking: VecDeque::new(),
            kept: BTreeSet::new(),
            sealer: Sealer::new(config.software.clone(), Duration::ZERO, Some(TRIES_MAX)),
            report: RecoveryReport {
                at: now,
                first_segment: 1,
                ..RecoveryReport::default()
            },
            outbox,
        }
    }

    /// None until everything is done.
    pub fn report(&self) -> Option<&RecoveryReport> {
        matches!(self.stage, Stage::Finished).then_some(&self.report)
    }

    pub fn poll_output(&mut self) -> Option<IoRequest> {
        match self.outbox.poll()? {
            Output::Io(request) => Some(request),
            Output::Event(_) | Output::Recycle(_) => None,
        }
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.sealer.poll_timeout()
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.sealer.handle_timeout(now, &mut self.outbox);
        self.collect(now);
    }

    pub fn handle_io(&mut self, now: Timestamp, done: IoDone) {
        if self.sealer.handle_io(now, &done, &mut self.outbox) {
            self.collect(now);
            return;
        }
        if let Err(error) = done.result {
            self.report.fault = Some(error.fault());
        }
        match std::mem::replace(&mut self.stage, Stage::Sealing) {
            Stage::Listing(mut listing) => {
                if let Some(folder) = listing.remove(&done.id) {
                    self.on_listed(folder, done.result);
                }
                self.stage = Stage::Listing(listing);
                self.scan_next(now);
            }
            Stage::Scanning(scan) if scan.io == done.id => self.on_window(now, scan, done.result),
            Stage::Asking { io, asked } if io == done.id => self.on_published(now, &asked, done.result),
            Stage::Reporting(io) if io == done.id => self.finish(),
            other => self.stage = other,
        }
    }

    fn on_listed(&mut self, folder: Folder, result: Result<IoOutcome, IoError>) {
        let Ok(IoOutcome::Listed(files)) = result else {
            // A folder that is not there yet is empty.
            if result != Err(IoError::Missing) {
                self.report.unlisted += 1;
            }
            return;
        };
        for (file, bytes) in files {
            match (file, folder) {
                (File::Segment(segment), Folder::Volume(_)) => {
                    self.report.first_segment = self.report.first_segment.max(segment.number.saturating_add(1));
                    self.segments.push_back((segment, bytes));
                }
                (File::Partial { session, attempt }, Folder::Partials) => {
                    self.calls.entry(session).or_default().partials.push((attempt, bytes));
                }
                _ => {}
            }
        }
    }

    /// The next segment; behind the last: which of the calls are sealed already?
    fn scan_next(&mut self, now: Timestamp) {
        if matches!(&self.stage, Stage::Listing(listing) if !listing.is_empty()) {
            return;
        }
        if self.report.unlisted > 0 {
            self.stage = Stage::Finished;
            return;
        }
        if let Some((segment, bytes)) = self.segments.pop_front() {
            self.report.segments += 1;
            self.scanned.push(segment);
            self.read_window(Scan {
                io: IoId(0),
                segment,
                bytes,
                walk: Walk::new(),
            });
        } else {
            self.asking = self.calls.keys().copied().collect();
            self.ask_next(now);
        }
    }

    fn read_window(&mut self, mut scan: Scan) {
        let span = Span {
            file: File::Segment(scan.segment),
            offset: scan.walk.at,
            bytes: WINDOW_BYTES,
        };
        scan.io = self.outbox.io(Lane::Archive, IoOp::Read { parts: vec![span] });
        self.stage = Stage::Scanning(scan);
    }

    fn on_window(&mut self, now: Timestamp, mut scan: Scan, result: Result<IoOutcome, IoError>) {
        let window = match result {
            Ok(IoOutcome::Read(parts)) => parts.into_iter().next().unwrap_or_default(),
            Ok(_) | Err(_) => {
                // What cannot be read is not removed either.
                self.report.unreadable += 1;
                self.kept.insert(scan.segment);
                scan.walk.at = scan.bytes;
                Bytes::new()
            }
        };
        let last = scan.walk.at + window.len() as u64 >= scan.bytes || window.is_empty();
        let (calls, file) = (&mut self.calls, File::Segment(scan.segment));
        let extents = &mut self.report.extents;
        let used = scan.walk.over(&window, last, |offset, extent| {
            let header = &extent.header;
            let remains = calls.entry(header.session).or_default();
            remains.extents.push(Piece {
                ordinal: header.ordinal,
                lsn: header.lsn,
                span: Span {
                    file,
                    offset,
                    bytes: header.bytes,
                },
                closes: extent.frames().flatten().any(|frame| frame.tag == Tag::Closing),
            });
            *extents += 1;
        });
        if last || used == 0 {
            if let Some(offset) = scan.walk.damaged.or(scan.walk.torn) {
                let (volume, segment) = (scan.segment.volume.0, scan.segment.number);
                self.report.torn.push(Torn {
                    volume,
                    segment,
                    offset,
                });
            }
            self.stage = Stage::Sealing;
            self.scan_next(now);
        } else {
            self.read_window(scan);
        }
    }

    fn ask_next(&mut self, now: Timestamp) {
        let asked: Vec<SessionId> = self.asking.iter().take(PUBLISHED_MAX).copied().collect();
        if asked.is_empty() {
            self.stage = Stage::Sealing;
            self.seal_all(now);
            return;
        }
        let sessions = asked.clone();
        let io = self.outbox.io(Lane::Archive, IoOp::Published { sessions });
        self.stage = Stage::Asking { io, asked };
    }

    fn on_published(&mut self, now: Timestamp, asked: &[SessionId], result: Result<IoOutcome, IoError>) {
        self.asking.drain(..asked.len());
        let published = match result {
            Ok(IoOutcome::Published(published)) => published,
            // Sealing again what is sealed already does no harm; not sealing what is not would.
            Ok(_) | Err(_) => Vec::new(),
        };
        for (session, _) in asked.iter().zip(published).filter(|(_, published)| *published) {
            if let Some(remains) = self.calls.remove(session) {
                self.remove_partials(*session, &remains);
            }
        }
        self.ask_next(now);
    }

    fn remove_partials(&mut self, session: SessionId, remains: &Remains) {
        for (attempt, _) in &remains.partials {
            let file = File::Partial {
                session,
                attempt: *attempt,
            };
            self.outbox.io(Lane::Archive, IoOp::Remove { file });
        }
    }

    fn seal_all(&mut self, now: Timestamp) {
        let (unreadable, kept, unsealed) = (self.report.unreadable > 0, &mut self.kept, &mut self.report.unsealed);
        self.calls.retain(|session, remains| {
            remains.sort();
            let sealed_now = !unreadable || remains.is_whole();
            if !sealed_now {
                unsealed.push(*session);
                kept.extend(remains.segments());
            }
            sealed_now
        });
        for (session, remains) in &mut self.calls {
            let mut sources = Vec::new();
            for (attempt, bytes) in &remains.partials {
                let file = File::Partial {
                    session: *session,
                    attempt: *attempt,
                };
                push_spans(&mut sources, file, *bytes);
            }
            sources.extend(remains.extents.iter().map(|piece| piece.span));
            let ending = Ending {
                header: None,
                closing: None,
                recovered: true,
            };
            let spooled_from = remains.extents.first().map_or(u32::MAX, |piece| piece.ordinal);
            let mut job = SealJob::new(*session, sources, Some(ending)).spooled_from(spooled_from);
            if let Some((attempt, _)) = remains.partials.last() {
                job = job.after_attempt(*attempt);
            }
            self.sealer.start(now, job, &mut self.outbox);
        }
        self.collect(now);
    }

    /// Takes what the sealer has done; with the last call the spool is emptied.
    fn collect(&mut self, now: Timestamp) {
        while let Some(finished) = self.sealer.poll_finished() {
            let Some(remains) = self.calls.remove(&finished.session) else {
                continue;
            };
            match finished.result {
                Done::Sealed(manifest) => {
                    self.report.calls.push(recovered(&manifest));
                    self.remove_partials(finished.session, &remains);
                }
                Done::Empty => self.remove_partials(finished.session, &remains),
                Done::GivenUp(error) => {
                    self.report.fault = Some(error.fault());
                    self.report.unsealed.push(finished.session);
                    self.kept.extend(remains.segments());
                }
                Done::Moved(_) => {}
            }
        }
        if matches!(self.stage, Stage::Sealing) && self.calls.is_empty() {
            self.empty_spool(now);
        }
    }

    fn empty_spool(&mut self, now: Timestamp) {
        let report = &self.report;
        if !report.calls.is_empty() || !report.unsealed.is_empty() || report.unreadable > 0 {
            // The record is made before its evidence goes.
            let file = File::Report(now.as_nanos());
            let bytes = Bytes::from(json(&self.report));
            let offset = 0;
            self.outbox.io(Lane::Archive, IoOp::Write { file, offset, bytes });
            let io = self.outbox.io(Lane::Archive, IoOp::Sync { files: vec![file] });
            self.stage = Stage::Reporting(io);
        } else {
            self.finish();
        }
    }

    fn finish(&mut self) {
        for segment in self.scanned.iter().filter(|segment| !self.kept.contains(segment)) {
            let file = File::Segment(*segment);
            self.outbox.io(Lane::Archive, IoOp::Remove { file });
        }
        self.stage = Stage::Finished;
    }
}

fn push_spans(sources: &mut Vec<Span>, file: File, bytes: u64) {
    let mut offset = FILE_HEADER_BYTES as u64;
    while offset < bytes {
        let length = u32::try_from(bytes - offset).unwrap_or(u32::MAX).min(256 << 10);
        let span = Span {
            file,
            offset,
            bytes: length,
        };
        sources.push(span);
        offset += u64::from(length);
    }
}

fn recovered(manifest: &Manifest) -> RecoveredCall {
    RecoveredCall {
        session: manifest.session,
        outcome: manifest.outcome,
        packets: manifest.counts.packets,
        kept_until: manifest
            .recovered
            .map_or(manifest.closing.ended, |recovered| recovered.kept_until),
        closed: manifest.recovered.is_some_and(|recovered| recovered.closed),
    }
}
