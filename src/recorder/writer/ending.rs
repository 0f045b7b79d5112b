//! How calls end: closed, kept as a record only, moved out of the spool, sealed.

use std::time::Duration;

use crate::model::{Closing, Fault, Header, Leg, RecordingEvent, SessionId, Timestamp};

use super::super::extent::Tag;
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
        let mut job = SealJob::new(session, call.sources(call.runs.len()), Some(ending));
        if let Some(moved) = call.moved.take() {
            job = job.resume(*moved);
        }
        self.sealer.start(now, job, &mut self.outbox);
    }

    pub(super) fn on_finished(&mut self, now: Timestamp, finished: Finished) {
        let session = finished.session;
        match finished.result {
            Done::Sealed(manifest) => {
                if let Some(call) = self.calls.remove(&session) {
                    self.release(call.runs.iter().map(|run| run.segment));
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
