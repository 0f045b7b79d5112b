//! The far end's answer to a re-INVITE, an UPDATE, or a PRACK that offers, on its way back; and the ACK that closes it.

use bytes::Bytes;

use super::withheld::Barred;
use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::ending::Farewell;
use crate::b2bua::invite::{Reliable, Standing};
use crate::b2bua::reject::Refusal;
use crate::b2bua::session::{Agreement, Content, NegotiationError, leave_out_descriptions};
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Message, Method, NameAddr, Request, Response};

/// A re-INVITE, an UPDATE, or a PRACK that offers, in flight. One at a time: the second is glare (RFC 3261 §14.2, RFC 3311
/// §5.2).
#[derive(Debug)]
pub struct Exchange {
    pub(in crate::b2bua) from: Leg,
    /// Our tag towards A in the early dialog that it is part of.
    pub(in crate::b2bua) fork: String,
    pub(in crate::b2bua) server: ServerId,
    pub(in crate::b2bua) client: Option<ClientId>,
    pub(in crate::b2bua) request: Request,
    /// The offer that is pending is this exchange's: of the request, or of the 2xx to a request without one.
    pub(in crate::b2bua) offered: bool,
    /// What was agreed when it came.
    pub(in crate::b2bua) before: Agreement,
    /// As it goes on.
    pub(in crate::b2bua) body: Bytes,
    /// Who its sender has become (RFC 4916).
    pub(in crate::b2bua) identity: Option<NameAddr>,
    /// Its sender turned out to be somebody who is decided for by it.
    pub(in crate::b2bua) is_news: bool,
    pub(in crate::b2bua) stage: Stage,
    /// Of the provisional responses to a re-INVITE.
    pub(in crate::b2bua) reliable: Reliable,
    /// Its 422 was answered.
    pub(in crate::b2bua) lengthened: bool,
    /// Its connection broke, and it went by another.
    pub(in crate::b2bua) rerouted: bool,
    /// What a provisional response brings may not be: it is cancelled, and who asked hears why.
    pub(in crate::b2bua) refused: Option<Refusal>,
    /// A reliable provisional response that waits for the recording of what it brings.
    pub(in crate::b2bua) progress: Option<(Standing, Box<Response>)>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Ports of new lines are being bound; the body waits to go on.
    Preparing(Bytes),
    /// The far end is asked. A CANCEL that is wanted goes out with its first provisional (RFC 3261 §9.1).
    Waiting {
        provisional: bool,
        cancel: Option<Vec<String>>,
    },
    /// The far end's 2xx waits for the recording of what it brings.
    Accepted(Box<Response>),
    /// The far end's 2xx (its CSeq) was passed on, as `success`; the ACK will be too.
    AckAwaited { cseq: u32, success: Box<Response> },
}

impl Exchange {
    /// Its 2xx was passed on to who asked, and has no ACK yet.
    pub(in crate::b2bua) fn is_unacknowledged_by(&self, side: Leg) -> bool {
        self.from == side && matches!(self.stage, Stage::AckAwaited { .. })
    }
}

impl Call {
    pub(in crate::b2bua) fn on_exchange_response(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        client: ClientId,
        response: &Response,
    ) {
        if response.status < 200 {
            self.on_exchange_progress(turn, side, response);
            return;
        }
        self.focus_on_exchange();
        let Some(mut exchange) = self
            .exchange
            .take_if(|exchange| matches!(exchange.stage, Stage::Waiting { .. }))
        else {
            return;
        };
        self.unwatch_exchange();
        self.note_update_refused(side, response);
        match response.status {
            200..300 => self.on_exchange_accepted(turn, side, exchange, response),
            _ if !exchange.lengthened && self.on_interval_refused(side, response) => {
                turn.wire.disown_client(client);
                exchange.lengthened = true;
                self.ask_again(turn, exchange);
            }
            405 | 501 if exchange.identity.is_none() && self.is_refresh_for_us(exchange.from, &exchange.request) => {
                turn.wire.disown_client(client);
                self.answer_refresh(turn, exchange.from, exchange.server, &exchange.request);
                turn.wire.disown_server(exchange.server);
            }
            _ => self.on_exchange_declined(turn, side, client, &exchange, response),
        }
    }

    /// What holds while a reliable provisional response has answered what is asked for: no final answer but a 2xx leaves that (RFC
    /// 6141 §3.4).
    pub(in crate::b2bua) fn agreed_before(&self) -> Option<&Agreement> {
        let exchange = self.exchange.as_deref()?;
        let is_open = matches!(exchange.stage, Stage::Waiting { .. } | Stage::Accepted(_));
        (is_open && exchange.offered && !self.negotiation.is_pending()).then_some(&exchange.before)
    }

    /// The early dialog that the exchange is part of comes into focus. False when there is none.
    pub(super) fn focus_on_exchange(&mut self) -> bool {
        let fork = self.exchange.as_ref().map(|exchange| exchange.fork.clone());
        fork.is_some_and(|fork| self.focus_on(&fork))
    }

    /// The same once more: with the session interval that the far end wants, or by another connection.
    fn ask_again(&mut self, turn: &mut Turn<'_>, mut exchange: Box<Exchange>) {
        exchange.client = None;
        exchange.stage = Stage::Preparing(exchange.body.clone());
        self.exchange = Some(exchange);
        self.ask_far_end(turn);
    }

    fn on_exchange_declined(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        client: ClientId,
        exchange: &Exchange,
        response: &Response,
    ) {
        self.take_back(turn, exchange);
        turn.wire.disown_client(client);
        match &exchange.refused {
            Some(refusal) => {
                self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, refusal);
                self.reopen(turn);
            }
            None => {
                self.answer_exchange(turn, exchange, response, response.body.clone());
                turn.wire.disown_server(exchange.server);
            }
        }
        // The far end does not know the dialog any more (RFC 3261 §12.2.1.2); an early one's end is its INVITE's business.
        if matches!(response.status, 408 | 481) && self.phase != Phase::Inviting {
            self.finish(
                turn,
                &format!("{} from {side} inside the dialog", response.status),
                &Farewell::default(),
            );
        }
    }

    fn on_exchange_accepted(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        mut exchange: Box<Exchange>,
        response: &Response,
    ) {
        let is_invite = exchange.request.method == Method::Invite;
        if let Some(client) = exchange.client {
            match is_invite.then(|| self.last_exchange[side.index()].replace(client)) {
                Some(before) => before.into_iter().for_each(|client| turn.wire.disown_client(client)),
                None => turn.wire.disown_client(client),
            }
        }
        let cseq = response.headers.cseq().number;
        match self.admit_accepting(turn, side, &exchange, response) {
            Ok(()) if self.awaits_change() && self.phase != Phase::Inviting => {
                exchange.stage = Stage::Accepted(Box::new(response.clone()));
                self.exchange = Some(exchange);
            }
            Ok(()) => self.accept_exchange(turn, side, exchange, response),
            Err(Barred::Session(refusal)) => self.put_back(turn, side, &exchange, response, &refusal),
            Err(Barred::Party(refusal)) => {
                self.break_off(turn, &exchange, cseq, &refusal);
                self.part_with_answerer(turn, side, &refusal);
            }
        }
    }

    /// The asker hears of the far end's 2xx.
    pub(super) fn accept_exchange(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        mut exchange: Box<Exchange>,
        response: &Response,
    ) {
        let is_invite = exchange.request.method == Method::Invite;
        let cseq = response.headers.cseq().number;
        let body = match self.carry_exchange_answer(turn, side, &mut exchange, response) {
            Ok(body) => body,
            Err(NegotiationError::Sealed | NegotiationError::Keys) if self.phase == Phase::Confirmed => {
                self.put_back(turn, side, &exchange, response, &Refusal::MediaSealed);
                return;
            }
            Err(error) => {
                // The far end has switched and the near end cannot follow: nothing is left to talk about.
                tracing::warn!(session = %self.id, %error, "answer to a re-INVITE or UPDATE cannot be carried");
                self.break_off(turn, &exchange, cseq, &Refusal::MediaNotAcceptable);
                self.finish(
                    turn,
                    &format!("answer of {side} that cannot be carried"),
                    &Farewell::default(),
                );
                return;
            }
        };
        self.refresh_targets(side, &exchange, response);
        let claims = &mut self.claims[exchange.from.index()];
        if exchange.identity.is_some() {
            claims.forget_identity();
        }
        claims.note(&exchange.request.headers);
        if let Some(identity) = exchange.identity.take() {
            self.connect_identity(turn, exchange.from, identity);
        }
        if exchange.offered {
            self.renew_media(turn);
        }
        let mut answer = self.exchange_answer(turn, &exchange, response, body);
        self.grant_upkeep(turn, (exchange.from, &exchange.request), response, &mut answer.headers);
        let success = is_invite.then(|| Box::new(answer.clone()));
        turn.respond(self.line(exchange.from), exchange.server, answer);
        if let Some(success) = success {
            exchange.stage = Stage::AckAwaited { cseq, success };
            self.exchange = Some(exchange);
        } else {
            turn.wire.disown_server(exchange.server);
        }
    }

    /// The far end has accepted what its asker is refused: the call ends next.
    pub(super) fn break_off(&mut self, turn: &mut Turn<'_>, exchange: &Exchange, cseq: u32, refusal: &Refusal) {
        self.withdraw(exchange);
        self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, refusal);
        if exchange.request.method == Method::Invite {
            let chronicle = self.chronicle;
            self.leg_mut(exchange.from.other())
                .acknowledge(turn, &chronicle, cseq, None);
        }
    }

    pub(in crate::b2bua) fn carry_exchange_answer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        exchange: &mut Exchange,
        response: &Response,
    ) -> Result<Bytes, NegotiationError> {
        let content = self.content_of(&response.headers, &response.body);
        if content == Content::Unreadable {
            return Err(NegotiationError::Lines);
        }
        let Some(sdp) = content.sdp(&response.body) else {
            self.withdraw(exchange);
            return Ok(response.body.clone());
        };
        if exchange.offered {
            let anchored = self.negotiation.answer(side, sdp)?;
            return Ok(content.with_sdp(&response.body, anchored));
        }
        // Only an INVITE's 2xx may offer (RFC 3261 §14.1); what an UPDATE's brings without being asked is left out.
        if exchange.request.method != Method::Invite || self.negotiation.is_pending() {
            return Ok(Bytes::new());
        }
        // Who asks for an offer may hand the call over to another phone.
        self.negotiation.renew_keys(side.other());
        let anchored = self
            .negotiation
            .offer(turn.now, side, sdp, turn.ports, self.decision.emergency)?;
        exchange.offered = true;
        Ok(content.with_sdp(&response.body, anchored))
    }

    fn answer_exchange(&self, turn: &mut Turn<'_>, exchange: &Exchange, response: &Response, body: Bytes) {
        let answer = self.exchange_answer(turn, exchange, response, body);
        turn.respond(self.line(exchange.from), exchange.server, answer);
    }

    pub(in crate::b2bua) fn exchange_answer(
        &self,
        turn: &Turn<'_>,
        exchange: &Exchange,
        response: &Response,
        body: Bytes,
    ) -> Response {
        let (request, reason) = (&exchange.request, Some(response.reason.as_str()));
        let mut answer = if request.method == Method::Prack {
            Response::to(request, response.status, reason, None)
        } else {
            self.leg(exchange.from)
                .dialog_response(request, response.status, reason)
        };
        self.carry_back(turn, exchange.from.other(), response, &mut answer);
        for value in response
            .headers
            .get_all("Retry-After")
            .filter(|_| response.status != 503)
        {
            answer.headers.push("Retry-After", value);
        }
        if body.is_empty() {
            leave_out_descriptions(&mut answer.headers);
        }
        answer.body = body;
        answer
    }

    fn refresh_targets(&mut self, side: Leg, exchange: &Exchange, response: &Response) {
        if exchange.request.method == Method::Prack {
            return;
        }
        if self.phase == Phase::Confirmed {
            self.kept = Kept::Stale;
        }
        if let Some(dialog) = &mut self.leg_mut(side).dialog {
            dialog.target_refresh(&Message::Response(response.clone()));
        }
        if let Some(dialog) = &mut self.leg_mut(exchange.from).dialog {
            dialog.target_refresh(&Message::Request(exchange.request.clone()));
        }
    }

    pub(in crate::b2bua) fn on_exchange_acknowledged(&mut self, turn: &mut Turn<'_>, side: Leg, ack: &Request) {
        let number = ack.headers.cseq().number;
        let matches = |exchange: &mut Box<Exchange>| {
            exchange.is_unacknowledged_by(side) && exchange.request.headers.cseq().number == number
        };
        let Some(exchange) = self.exchange.take_if(matches) else {
            return;
        };
        let Stage::AckAwaited { cseq, .. } = exchange.stage else {
            return;
        };
        if self.phase == Phase::Confirmed {
            // Also if there was no room for it beside the 2xx.
            self.kept = Kept::Stale;
        }
        turn.wire.disown_server(exchange.server);
        let body = if exchange.offered && self.negotiation.is_pending() {
            self.carry_ack_answer(turn, side, ack)
        } else {
            None
        };
        let unanswered = exchange.offered && self.negotiation.is_pending();
        let chronicle = self.chronicle;
        let body = body
            .as_ref()
            .map(|(content_type, body)| (content_type.as_str(), body.clone()));
        self.leg_mut(side.other()).acknowledge(turn, &chronicle, cseq, body);
        if unanswered {
            self.withdraw(&exchange);
            self.finish(
                turn,
                "offer in a 2xx without an answer in its ACK",
                &Farewell::default(),
            );
        }
    }

    /// The answer that an ACK brings, with its Content-Type, as the other leg shall see it.
    pub(in crate::b2bua) fn carry_ack_answer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        ack: &Request,
    ) -> Option<(String, Bytes)> {
        if let Err(refusal) = self.admit_late_answer(turn, &ack.headers, &ack.body) {
            tracing::warn!(session = %self.id, ?refusal, "answer in ACK brings what may not be");
            return None;
        }
        let content = self.content_of(&ack.headers, &ack.body);
        match self.negotiation.answer(side, content.sdp(&ack.body)?) {
            Ok(anchored) => {
                let content_type = ack.headers.get("Content-Type").unwrap_or("application/sdp").to_owned();
                self.renew_media(turn);
                Some((content_type, content.with_sdp(&ack.body, anchored)))
            }
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "answer in ACK cannot be carried");
                None
            }
        }
    }

    /// The far end did not answer inside the dialog: it is gone (RFC 3261 §12.2.1.2). A connection that broke may only be
    /// the wrong one: it is asked once where it listens.
    pub(in crate::b2bua) fn on_exchange_failed(&mut self, turn: &mut Turn<'_>, broken: Option<Flow>) {
        self.focus_on_exchange();
        let Some(mut exchange) = self.exchange.take() else {
            return;
        };
        self.unwatch_exchange();
        let broken = broken.filter(|_| !exchange.rerouted && !self.is_parting());
        if broken.is_some_and(|broken| self.leg_mut(exchange.from.other()).reroute(broken)) {
            exchange.rerouted = true;
            self.ask_again(turn, exchange);
            return;
        }
        self.withdraw(&exchange);
        if let Some(client) = exchange.client {
            // What rings for ever is given up by a CANCEL (RFC 3261 §16.8).
            turn.cancel(self.line(exchange.from.other()), client, &[]);
        }
        self.expect_late_answer(turn, exchange.from.other(), exchange.client);
        self.refuse_request(
            turn,
            exchange.from,
            exchange.server,
            &exchange.request,
            &Refusal::NoAnswer,
        );
        if self.phase != Phase::Inviting {
            let by = format!("no answer from {} inside the dialog", exchange.from.other());
            self.finish(turn, &by, &Farewell::default());
        }
    }
}
