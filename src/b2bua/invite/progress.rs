//! What is said before the final answer to an INVITE or a re-INVITE: ringing, early media, offers and answers that are
//! acknowledged on their own (RFC 3262 §5).
//!
//! Early media is media: who rings is decided for as soon as it may be heard, and so is what it offers. Who may not be heard
//! only rings, and keeps nobody else from answering.

use std::time::Duration;

use bytes::Bytes;

use super::reliable::Standing;
use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::decision::facts;
use crate::b2bua::dialog::LegState;
use crate::b2bua::ending::Farewell;
use crate::b2bua::modification::{Exchange, Stage};
use crate::b2bua::reject::{Refusal, recording_lost};
use crate::b2bua::session::Content;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::{Method, Response};

/// How long the final answer after a CANCEL may take (RFC 3261 §9.1).
const STOP_MAX: Duration = Duration::from_secs(32);

impl Call {
    /// 1xx from B: 100 stays on its hop, the rest goes to A.
    pub(super) fn on_progress(&mut self, turn: &mut Turn<'_>, response: &Response) {
        self.b.on_provisional(turn, &self.chronicle);
        if self.phase != Phase::Inviting {
            return;
        }
        self.note_from_change(Leg::B, &response.headers);
        if response.status == 100 {
            return;
        }
        self.watch_answer(turn, true);
        if !self.focus_on_progress(turn, response) {
            return;
        }
        self.note_focus(Leg::B, &response.headers);
        self.rings.note(&response.headers);
        let LegState::Invited { server } = self.a.state else {
            return;
        };
        let Some(invite) = &self.a.invite else { return };
        let standing = self.reliable.take(invite, response);
        let body = match self.admit_progress(turn, standing, response) {
            Ok(()) => self.carry_progress(turn, standing, response),
            // It is not heard, and is judged once more if it answers: another may.
            Err(_) if standing == Standing::Unreliable && !self.negotiation.is_agreed() => Some(Bytes::new()),
            Err(refusal) => {
                self.part_with_ringing(turn, response, &refusal);
                None
            }
        };
        if let Some(body) = body {
            self.tell_a(turn, server, response, body, standing);
        }
    }

    /// What it has said is heard already, or counts as agreed: its early dialog ends, and with the last one the call.
    fn part_with_ringing(&mut self, turn: &mut Turn<'_>, response: &Response, refusal: &Refusal) {
        if !self.end_early(turn, Leg::A, &Farewell::of_reasons(reasons_of(refusal))) {
            let headers = self.rings.complete(&response.headers);
            let newcomer = self.newcomer(turn, Leg::B, &headers, None);
            let described = facts::media(&response.headers, &response.body);
            self.name_barred(turn, Leg::B, newcomer.as_ref(), &described);
            self.part_with_answerer(turn, Leg::B, refusal);
        }
    }

    /// Who rings waits with its policies until it may be heard; most ring without a word, and another may answer.
    fn admit_progress(&mut self, turn: &mut Turn<'_>, standing: Standing, response: &Response) -> Result<(), Refusal> {
        let content = self.content_of(&response.headers, &response.body);
        let describes = content.sdp(&response.body).is_some() && self.takes_progress(standing);
        if !describes && !self.negotiation.is_agreed() {
            return Ok(());
        }
        self.forks.note_called(&self.header, &self.decision);
        let headers = self.rings.complete(&response.headers);
        let newcomer = self.newcomer(turn, Leg::B, &headers, None);
        let described = facts::media(&response.headers, &response.body);
        let came = self.admit_change(turn, Leg::B, newcomer.as_ref(), &described)?;
        self.insist(came);
        Ok(())
    }

    /// Whether the SDP of a provisional response is an offer or an answer: without reliability it is no offer (RFC 3262 §5).
    fn takes_progress(&self, standing: Standing) -> bool {
        match standing {
            Standing::OutOfTurn => false,
            Standing::Unreliable => {
                let has_media = self.negotiation.has_media() || self.negotiation.passes_by();
                has_media && self.negotiation.pending_by() != Some(Leg::B)
            }
            Standing::Copy(_) | Standing::Next(_) => true,
        }
    }

    /// The body of a provisional response as A shall see it. None when the response is not passed on.
    fn carry_progress(&mut self, turn: &mut Turn<'_>, standing: Standing, response: &Response) -> Option<Bytes> {
        let content = self.content_of(&response.headers, &response.body);
        let Some(sdp) = content.sdp(&response.body) else {
            let passes = standing != Standing::OutOfTurn && content != Content::Unreadable;
            return passes.then(|| response.body.clone());
        };
        match standing {
            Standing::OutOfTurn => None,
            Standing::Copy(_) => {
                let repeated = self.negotiation.repeat(Leg::B, sdp);
                Some(
                    repeated
                        .map(|sdp| content.with_sdp(&response.body, sdp))
                        .unwrap_or_default(),
                )
            }
            Standing::Unreliable if !self.takes_progress(standing) => Some(Bytes::new()),
            Standing::Unreliable | Standing::Next(_) => {
                let body = self.carry_answer(turn, response).unwrap_or_default();
                if !body.is_empty() {
                    self.renew_media(turn);
                }
                Some(body)
            }
        }
    }

    /// 1xx: what is held back for it goes now; that of a re-INVITE goes on to who asked.
    pub(in crate::b2bua) fn on_exchange_progress(&mut self, turn: &mut Turn<'_>, side: Leg, response: &Response) {
        let line = self.leg(side).line(&self.chronicle);
        let Some(exchange) = &mut self.exchange else { return };
        let Stage::Waiting { provisional, cancel } = &mut exchange.stage else {
            return;
        };
        *provisional = true;
        if let (Some(reasons), Some(client)) = (cancel.take(), exchange.client) {
            turn.cancel(line, client, &reasons);
        }
        if exchange.request.method != Method::Invite || response.status == 100 || exchange.refused.is_some() {
            return;
        }
        let standing = exchange.reliable.take(&exchange.request, response);
        self.watch_exchange(turn);
        if let Err(refusal) = self.admit_exchange_progress(turn, side, standing, response) {
            self.refuse_progress(turn, refusal);
            return;
        }
        if self.withhold_progress(standing, response) {
            return;
        }
        if let Some(exchange) = self.exchange.take() {
            self.exchange = Some(self.pass_progress(turn, side, exchange, (standing, response)));
        }
    }

    /// What is offered or answered before the final answer is decided for, as that is. SDP that is not reliable is left out.
    fn admit_exchange_progress(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        standing: Standing,
        response: &Response,
    ) -> Result<(), Refusal> {
        let content = self.content_of(&response.headers, &response.body);
        if !matches!(standing, Standing::Next(_)) || content.sdp(&response.body).is_none() {
            return Ok(());
        }
        let newcomer = self.newcomer(turn, side, &response.headers, None);
        let described = facts::media(&response.headers, &response.body);
        self.admit_change(turn, side, newcomer.as_ref(), &described).map(|_| ())
    }

    /// What it brings waits for its recording, and what comes again of it is the same.
    fn withhold_progress(&mut self, standing: Standing, response: &Response) -> bool {
        let content = self.content_of(&response.headers, &response.body);
        let waits = self.awaits_change() && content.sdp(&response.body).is_some();
        let Some(exchange) = &mut self.exchange else {
            return false;
        };
        match standing {
            Standing::Next(_) if waits && exchange.progress.is_none() => {
                exchange.progress = Some((standing, Box::new(response.clone())));
                true
            }
            // What comes behind it waits for its copy, so that they arrive in their order (RFC 3262 §3).
            Standing::Next(_) | Standing::Copy(_) => exchange.progress.is_some(),
            Standing::OutOfTurn | Standing::Unreliable => false,
        }
    }

    pub(in crate::b2bua) fn pass_progress(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        mut exchange: Box<Exchange>,
        (standing, response): (Standing, &Response),
    ) -> Box<Exchange> {
        let content = self.content_of(&response.headers, &response.body);
        let body = match (standing, content.sdp(&response.body)) {
            (Standing::OutOfTurn, _) => return exchange,
            (Standing::Unreliable, Some(_)) => Bytes::new(),
            (Standing::Next(_), Some(_)) => {
                let body = self.carry_exchange_answer(turn, side, &mut exchange, response);
                self.renew_media(turn);
                body.unwrap_or_default()
            }
            (Standing::Copy(_), Some(sdp)) => {
                let repeated = self.negotiation.repeat(side, sdp);
                repeated
                    .map(|sdp| content.with_sdp(&response.body, sdp))
                    .unwrap_or_default()
            }
            // What cannot be read could name an address that is not ours.
            (_, None) if content == Content::Unreadable => Bytes::new(),
            (_, None) => response.body.clone(),
        };
        let mut answer = self.exchange_answer(turn, &exchange, response, body);
        standing.write(&mut answer);
        turn.respond(self.line(exchange.from), exchange.server, answer);
        exchange
    }

    /// The far end has accepted nothing yet: the session stays as it was.
    pub(in crate::b2bua) fn refuse_progress(&mut self, turn: &mut Turn<'_>, refusal: Refusal) {
        let reasons = reasons_of(&refusal);
        if let Some(exchange) = &mut self.exchange {
            exchange.refused = Some(refusal);
            exchange.progress = None;
        }
        self.gate(turn);
        // Nothing is heard meanwhile: who does not even say that it stopped is not waited for as long as a phone may ring.
        self.deadlines.set(Wait::Exchange, turn.now + STOP_MAX);
        self.on_exchange_cancelled(turn, &reasons);
    }
}

fn reasons_of(refusal: &Refusal) -> Vec<String> {
    match refusal {
        Refusal::RecorderDown { .. } | Refusal::Unrecordable { .. } => recording_lost(),
        _ => Vec::new(),
    }
}
