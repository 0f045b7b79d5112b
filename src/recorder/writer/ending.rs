//! How calls end: closed, kept as a record only, moved out of the spool, sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BytesMut;

use crate::model::{Closing, Fault, Header, Leg, RecordingEvent, SessionId, Timestamp};

use super::super::extent::{Extent, Tag};
use super::super::io::SegmentId;
use super::super::seal_job::{Ending, SealJob};
use super::super::sealing::{Done, Finished};
use super::super::spooled::{Phase, Spooled};
use super::super::stored::json;
use super::{CALLS_MAX, Writer};

/// Calls that wait to be sealed, non-recording records among them; when there are more, such a record is refused.
const SEALS_MAX: usize = 10_000;
/// How long a closed call waits for packets that the relay counted and that have not arrived.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

impl Writer {
    pub(super) fn close(&mut self, now: Timestamp, session: SessionId, closing: Box<Closing>) {
        let open = |call: &&mut Spooled| matches!(call.phase, Phase::Opening | Phase::Open);
        let Some(call) = self.calls.get_mut(&session).filter(open) else {
            return;
        };
        self.opening.remove(&session);
        let due = now + CLOSE_GRACE;
        call.phase = Phase::Closing { closing, due };
        self.late.insert((due, session));
        self.end_if_complete(now, session);
    }

    /// A closed call ends as soon as every packet is here that the relay counted.
    pub(super) fn end_if_complete(&mut self, now: Timestamp, session: SessionId) {
        let Some(call) = self.calls.get(&session) else {
            return;
        };
        let Phase::Closing { closing, due } = &call.phase else {
            return;
        };
        let counted = closing.tally.as_ref().map_or(0, |tally| tally.accepted);
        if call.packets >= counted && self.late.remove(&(*due, session)) {
            self.waiting.ending(now, session);
        }
    }

    /// Through the journal like a call; while that is down, straight to the archive, again and again until it takes it.
    pub(super) fn keep(&mut self, now: Timestamp, header: &Header, closing: Box<Closing>) {
        let session = header.session;
        if self.opening.remove(&session) {
            // Its opening record may be on the disk by now; the published record wins over it.
            self.calls.remove(&session);
        } else if self.calls.contains_key(&session) {
            self.close(now, session, closing);
            return;
        }
        if self.sealer.len() >= SEALS_MAX || self.calls.len() >= CALLS_MAX {
            let fault = Fault::QueueFull;
            self.outbox.event(RecordingEvent::Faulted { session, fault });
            return;
        }
        if self.journal.fault().is_some() {
            let ending = Ending {
                header: Some(Box::new(header.clone())),
                closing: Some(closing),
                recovered: false,
            };
            let job = SealJob::new(session, Vec::new(), Some(ending));
            self.sealer.start(now, job, &mut self.outbox);
            return;
        }
        let mut call = Spooled::new(self.next_life());
        let _ = call.note(now, session, header.started, Tag::Opening, Leg::A, &[&json(header)]);
        let _ = call.note(now, session, closing.ended, Tag::Closing, Leg::A, &[&json(&closing)]);
        call.phase = Phase::Kept;
        self.calls.insert(session, call);
        self.waiting.noted(now, session);
    }

    pub(super) fn seal(&mut self, now: Timestamp, session: SessionId) {
        let Some(call) = self.calls.get_mut(&session) else {
            return;
        };
        call.phase = Phase::Sealing;
        if call.moving > 0 {
            return;
        }
        let ending = Ending {
            header: None,
            closing: None,
            recovered: false,
        };
        let sources = call.sources(call.runs.len());
        let mut job = SealJob::new(session, sources, Some(ending)).with_tail(std::mem::take(&mut call.tail));
        if let Some(moved) = call.moved.take() {
            job = job.resume(*moved);
        }
        self.sealer.start(now, job, &mut self.outbox);
    }

    /// While the journal is down, calls that end are sealed all the same: what it did not take goes from memory to the
    /// archive. It stays in the journal's batch, too; what is written twice is taken once.
    pub(super) fn seal_past_journal(&mut self, now: Timestamp) {
        let closing = self.batch.iter().flat_map(|batch| batch.closings.iter().copied());
        let ended: BTreeSet<SessionId> = self
            .waiting
            .sessions()
            .chain(closing)
            .filter(|s| self.has_ended(*s))
            .collect();
        if ended.is_empty() {
            return;
        }
        let mut tails: BTreeMap<SessionId, BytesMut> =
            ended.iter().map(|session| (*session, BytesMut::new())).collect();
        if let (Some(batch), Some(bytes)) = (&self.batch, self.journal.batch()) {
            for placed in &batch.placed {
                let from = placed.offset as usize;
                let extent = bytes.get(from..from + placed.bytes as usize);
                if let (Some(tail), Some(extent)) = (tails.get_mut(&placed.session), extent)
                    && self
                        .calls
                        .get(&placed.session)
                        .is_some_and(|call| call.life == placed.life)
                {
                    tail.extend_from_slice(extent);
                }
            }
        }
        let mut blocks: BTreeMap<SessionId, Vec<Box<Extent>>> = BTreeMap::new();
        for block in self.waiting.take(&ended) {
            blocks.entry(block.session).or_default().push(block);
        }
        for (session, tail) in tails {
            if let Some(call) = self.calls.get_mut(&session) {
                let blocks = blocks.remove(&session).unwrap_or_default();
                self.lsn = call.keep_tail(now, session, tail, blocks, self.lsn);
            }
            self.seal(now, session);
        }
    }

    /// Nothing more comes of it, and its end is not durable.
    fn has_ended(&self, session: SessionId) -> bool {
        self.calls.get(&session).is_some_and(|call| match call.phase {
            Phase::Closing { due, .. } => !self.late.contains(&(due, session)),
            Phase::Kept | Phase::Closed => true,
            Phase::Opening | Phase::Open | Phase::Sealing => false,
        })
    }

    pub(super) fn on_finished(&mut self, now: Timestamp, finished: Finished) {
        let session = finished.session;
        match finished.result {
            Done::Sealed(manifest) => {
                if let Some(call) = self.calls.remove(&session) {
                    self.release(call.runs.iter().map(|run| run.segment));
                    call.blocks.into_iter().for_each(|block| self.outbox.recycle(block));
                }
                let reconciliation = Box::new(manifest.reconciliation);
                self.outbox.event(RecordingEvent::Sealed {
                    session,
                    reconciliation,
                });
            }
            Done::Moved(transcript) => {
                let Some(call) = self.calls.get_mut(&session) else {
                    return;
                };
                call.moved = Some(transcript);
                let moved: Vec<SegmentId> = call.runs.drain(..call.moving).map(|run| run.segment).collect();
                call.moving = 0;
                let closed = matches!(call.phase, Phase::Sealing);
                self.release(moved.into_iter());
                if closed {
                    self.seal(now, session);
                }
            }
            Done::Empty | Done::GivenUp(_) => {}
        }
        self.drop_segments();
    }
}
