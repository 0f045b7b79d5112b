//! MESSAGE outside calls, the pager model of RFC 3428, and whatever else brings what is written: decided like a call. Where chat
//! is recorded, it goes on once its opening record is durable, and is a short session of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::passage::Passage;
use super::signaling::Signaling;
use crate::b2bua::{self, Chronicle, Opening, Output, Refusal, Writing};
use crate::model::{
    Closing, Direction, Encryption, Fault, Header, Leg, MediaKind, Outcome, RecordingCommand, RecordingEvent,
    SessionId, Timestamp,
};
use crate::policy::{CallFacts, Decision, RecorderState, Verdict};
use crate::sip::{Flow, Method, Request, Response};
use crate::trunk::{Destination, Trunk};

/// How long the opening record may take: as long as a call's.
const OPENING_MAX: Duration = Duration::from_secs(2);

/// The record of one MESSAGE.
#[derive(Debug)]
pub(super) struct Page {
    method: Method,
    /// Only its ends can read it.
    is_sealed: bool,
    header: Arc<Header>,
    decision: Decision,
    /// Why nothing is open.
    fault: Option<Fault>,
}

/// Those whose opening record is awaited: with what was passed on, no more than that may be. All wait equally long.
#[derive(Debug, Default)]
pub(super) struct Pages {
    waiting: BTreeMap<SessionId, (Passage, Request)>,
    due: VecDeque<(Timestamp, SessionId)>,
}

impl Pages {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.front().map(|(due, _)| *due)
    }
}

impl Signaling {
    /// What the policies say of a request outside calls; none: nothing has to be kept of it. `others`: where it goes if not
    /// `to`, which is decided for by the same.
    pub(super) fn decide_page(
        &mut self,
        now: Timestamp,
        (request, flow): (&Request, Flow),
        (from, to, others): (&Arc<Trunk>, &Destination, &VecDeque<Destination>),
        b_call_id: &str,
    ) -> Result<Option<Page>, Refusal> {
        let writing = Writing::of(request);
        if writing == Writing::Nothing {
            return Ok(None);
        }
        let media = vec![MediaKind::Other];
        let facts = CallFacts {
            media,
            ..b2bua::of_invite(now, request, from, &to.trunk, &self.policies)
        };
        let targets = std::iter::once(to).chain(others).map(|destination| &destination.target);
        let facts = b2bua::at_our_address(facts, &self.topology, targets);
        let decision = self.turn(now).decide_by(facts);
        let opening = Opening {
            session: SessionId::mint(now, self.wire.mint().entropy()),
            node: &self.terms.node,
            now,
            b_call_id,
            from,
            to: &to.trunk,
            meeting: false,
            conversation: None,
        };
        let mut page = Page {
            method: request.method.clone(),
            is_sealed: writing == Writing::Sealed,
            header: Arc::new(b2bua::header(&opening, request, &decision)),
            decision,
            fault: None,
        };
        let refusal = match (b2bua::of_verdict(&page.decision), self.openness()) {
            (Err(refusal), _) => refusal,
            (Ok(()), _) if page.decision.verdict != Verdict::Record || !keeps_chat(&page.decision) => return Ok(None),
            (Ok(()), _) if page.is_sealed && page.decision.is_strict_before(false) => Refusal::MediaSealed,
            (Ok(()), RecorderState::Up) => {
                self.open_page(now, &page, flow, request);
                return Ok(Some(page));
            }
            (Ok(()), RecorderState::Down(fault)) => {
                page.fault = Some(fault);
                if !page.decision.is_strict_before(false) {
                    return Ok(Some(page));
                }
                b2bua::of_recorder(&page.decision, &self.terms, fault)
            }
        };
        self.keep_page(now, page, Outcome::Blocked, refusal.rejection("").status);
        Err(refusal)
    }

    fn open_page(&mut self, now: Timestamp, page: &Page, flow: Flow, request: &Request) {
        let open = RecordingCommand::Open(Arc::clone(&page.header));
        self.out.push_back(Output::Recording(open));
        let (chronicle, bytes) = (page.chronicle(), request.encode());
        chronicle.signal(now, Leg::A, Direction::Received, flow, &bytes, &mut self.out);
    }

    /// Passes it on, once what is to be kept of it is open.
    pub(super) fn pass_page(&mut self, now: Timestamp, passage: Passage, onward: Request) {
        match passage.page.as_ref().filter(|page| page.fault.is_none()) {
            None => self.pass(now, passage, onward),
            Some(page) => {
                let session = page.header.session;
                self.pages.due.push_back((now + OPENING_MAX, session));
                self.pages.waiting.insert(session, (passage, onward));
            }
        }
    }

    /// What the recorder says of one that waits.
    pub(super) fn on_page_recording(&mut self, now: Timestamp, event: &RecordingEvent) {
        match event {
            RecordingEvent::Ready { session } => {
                if let Some((passage, onward)) = self.take_page(*session) {
                    self.pass(now, passage, onward);
                }
            }
            RecordingEvent::OpenFailed { session, fault } | RecordingEvent::Faulted { session, fault } => {
                self.on_page_not_opened(now, *session, *fault);
            }
            _ => {}
        }
    }

    pub(super) fn give_up_pages(&mut self, now: Timestamp) {
        while let Some((_, session)) = self.pages.due.pop_front_if(|(due, _)| *due <= now) {
            self.on_page_not_opened(now, session, Fault::Stalled);
        }
    }

    fn take_page(&mut self, session: SessionId) -> Option<(Passage, Request)> {
        let taken = self.pages.waiting.remove(&session)?;
        self.pages.due.retain(|(_, waiting)| *waiting != session);
        Some(taken)
    }

    fn on_page_not_opened(&mut self, now: Timestamp, session: SessionId, fault: Fault) {
        let Some((mut passage, onward)) = self.take_page(session) else {
            return;
        };
        let Some(page) = &mut passage.page else { return };
        page.fault = Some(fault);
        if !page.decision.is_strict_before(false) {
            self.pass(now, passage, onward);
            return;
        }
        let refusal = b2bua::of_recorder(&page.decision, &self.terms, fault);
        if let Some((subscription, _)) = passage.of {
            self.subscriptions.on_failed(subscription, &passage.request);
        }
        if let Some(page) = passage.page.take() {
            self.keep_page(now, page, Outcome::Blocked, refusal.rejection("").status);
        }
        self.refuse(now, passage.server, &passage.request, &refusal);
    }

    /// It was answered, or will not be.
    pub(super) fn close_page(&mut self, now: Timestamp, passage: &mut Passage, status: u16, answer: Option<&Response>) {
        let Some(page) = passage.page.take() else { return };
        if page.fault.is_some() {
            self.keep_page(now, page, Outcome::Unrecorded, status);
            return;
        }
        if let Some(answer) = answer {
            let (chronicle, bytes) = (page.chronicle(), answer.encode());
            chronicle.signal(now, Leg::B, Direction::Received, passage.flow, &bytes, &mut self.out);
        }
        let closing = page.closing(now, Outcome::Recorded, status);
        let session = page.header.session;
        let close = RecordingCommand::Close {
            session,
            at: now,
            closing,
        };
        self.out.push_back(Output::Recording(close));
    }

    fn keep_page(&mut self, now: Timestamp, page: Page, outcome: Outcome, status: u16) {
        let closing = page.closing(now, outcome, status);
        let keep = RecordingCommand::Keep {
            header: page.header,
            at: now,
            closing,
        };
        self.out.push_back(Output::Recording(keep));
    }
}

impl Page {
    fn chronicle(&self) -> Chronicle {
        let mut chronicle = Chronicle::new(self.header.session, false);
        chronicle.keep(true);
        chronicle
    }

    fn closing(&self, now: Timestamp, outcome: Outcome, status: u16) -> Box<Closing> {
        Box::new(Closing {
            outcome,
            answered: (200..300).contains(&status).then_some(now),
            ended: now,
            ended_by: format!("{} outside a call, {status}", self.method.as_str()),
            status: Some(status),
            tally: None,
            fault: self.fault,
            encryption: self.is_sealed.then_some(Encryption::Sealed),
            conversation: None,
            became: None,
            decisions: Vec::new(),
            formerly: Vec::new(),
            consents: Vec::new(),
        })
    }
}

fn keeps_chat(decision: &Decision) -> bool {
    decision.requirements.as_ref().is_some_and(|wanted| wanted.media.chat)
}
