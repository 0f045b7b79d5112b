//! A session that is negotiated anew: re-INVITE and UPDATE, either way; hold, codec change, new lines, glare.

use bytes::Bytes;

use super::body::Content;
use super::call::Call;
use super::carry;
use super::continuation::Kept;
use super::farewell::Farewell;
use super::leg::LegState;
use super::negotiation::NegotiationError;
use super::reject::Refusal;
use super::state::{MediaState, Phase};
use super::turn::Turn;
use super::wire::Owner;
use crate::model::Leg;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Message, Method, Request, Response};

/// A re-INVITE or UPDATE in flight. One at a time: the second is glare (RFC 3261 §14.2, RFC 3311 §5.2).
#[derive(Debug)]
pub struct Exchange {
    pub(super) from: Leg,
    pub(super) server: ServerId,
    pub(super) client: Option<ClientId>,
    request: Request,
    /// The offer that is pending is this exchange's: of the request, or of the 2xx to a request without one.
    offered: bool,
    stage: Stage,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Stage {
    /// Ports of new lines are being bound; the body waits to go on.
    Preparing(Bytes),
    /// The far end is asked. A CANCEL that is wanted goes out with its first provisional (RFC 3261 §9.1).
    Waiting {
        provisional: bool,
        cancel: Option<Vec<String>>,
    },
    /// The far end's 2xx (its CSeq) was passed on; the ACK will be too.
    AckAwaited { cseq: u32 },
}

impl Call {
    pub(super) fn on_offer_again(&mut self, turn: &mut Turn<'_>, side: Leg, server: ServerId, request: Request) {
        let lines = self.negotiation.lines();
        let (body, offered) = match self.take_offer(turn, side, &request) {
            Ok(taken) => taken,
            Err(refusal) => {
                self.refuse_request(turn, side, server, &request, &refusal);
                return;
            }
        };
        turn.wire.own_server(server, Owner::Call(self.id, side));
        if request.method == Method::Invite {
            turn.respond(self.line(side), server, Response::to(&request, 100, None, None));
        }
        let stage = Stage::Preparing(body);
        let client = None;
        self.exchange = Some(Exchange {
            from: side,
            server,
            client,
            request,
            offered,
            stage,
        });
        if self.negotiation.lines() > lines {
            self.renew_media(turn);
        } else {
            self.ask_far_end(turn);
        }
    }

    /// Whether the request may be carried now, and its body as the other leg shall see it.
    fn take_offer(&mut self, turn: &mut Turn<'_>, side: Leg, request: &Request) -> Result<(Bytes, bool), Refusal> {
        if let Some(exchange) = &self.exchange {
            return Err(if exchange.from == side {
                Refusal::Busy
            } else {
                Refusal::Glare
            });
        }
        let may_offer = match request.method {
            Method::Invite => self.phase == Phase::Confirmed,
            _ => matches!(self.phase, Phase::Inviting | Phase::Answered | Phase::Confirmed),
        };
        if self.phase == Phase::Ending {
            return Err(Refusal::NoSuchDialog);
        }
        if !may_offer || self.leg(side.other()).dialog.is_none() {
            return Err(Refusal::Glare);
        }
        let options = carry::unsupported(&request.headers);
        if !options.is_empty() {
            return Err(Refusal::BadExtension { options });
        }
        let content = Content::of(&request.headers, &request.body);
        if content == Content::Unreadable {
            return Err(Refusal::UnsupportedBody);
        }
        let Some(sdp) = content.sdp(&request.body) else {
            return Ok((request.body.clone(), false));
        };
        if self.negotiation.is_pending() {
            return Err(Refusal::Glare);
        }
        let anchored = self
            .negotiation
            .offer(turn.now, side, sdp, turn.ports, self.decision.emergency)?;
        Ok((content.with_sdp(&request.body, anchored), true))
    }

    /// The ports are there: the request goes on.
    pub(super) fn ask_far_end(&mut self, turn: &mut Turn<'_>) {
        let Some(exchange) = &mut self.exchange else { return };
        let Stage::Preparing(body) = &mut exchange.stage else {
            return;
        };
        let body = std::mem::take(body);
        let (method, to) = (exchange.request.method.clone(), exchange.from.other());
        exchange.stage = Stage::Waiting {
            provisional: false,
            cancel: None,
        };
        let leg = match to {
            Leg::A => &mut self.a,
            Leg::B => &mut self.b,
        };
        let Some(mut onward) = leg.dialog_request(method) else {
            return;
        };
        carry::carry(&exchange.request.headers, &mut onward.headers);
        onward.body = body;
        let client = turn.request(self.id, leg.line(&self.chronicle), onward);
        exchange.client = Some(client);
        self.watch_exchange(turn);
    }

    pub(super) fn on_exchange_response(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        client: ClientId,
        response: &Response,
    ) {
        if response.status < 200 {
            self.on_exchange_progress(turn, side);
            return;
        }
        let Some(exchange) = self
            .exchange
            .take_if(|exchange| matches!(exchange.stage, Stage::Waiting { .. }))
        else {
            return;
        };
        self.unwatch_exchange(turn);
        match response.status {
            200..300 => self.on_exchange_accepted(turn, side, exchange, response),
            _ => self.on_exchange_declined(turn, side, client, &exchange, response),
        }
    }

    fn on_exchange_progress(&mut self, turn: &mut Turn<'_>, side: Leg) {
        let line = self.leg(side).line(&self.chronicle);
        let Some(exchange) = &mut self.exchange else { return };
        if let (Stage::Waiting { provisional, cancel }, Some(client)) = (&mut exchange.stage, exchange.client) {
            *provisional = true;
            if let Some(reasons) = cancel.take() {
                turn.cancel(line, client, &reasons);
            }
        }
    }

    fn on_exchange_declined(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        client: ClientId,
        exchange: &Exchange,
        response: &Response,
    ) {
        self.withdraw(exchange);
        turn.wire.disown_client(client);
        self.answer_exchange(turn, exchange, response, response.body.clone());
        turn.wire.disown_server(exchange.server);
        // The far end does not know the dialog any more (RFC 3261 §12.2.1.2).
        if matches!(response.status, 408 | 481) {
            self.finish(
                turn,
                &format!("{} from {side} inside the dialog", response.status),
                &Farewell::default(),
            );
        }
    }

    fn on_exchange_accepted(&mut self, turn: &mut Turn<'_>, side: Leg, mut exchange: Exchange, response: &Response) {
        let is_invite = exchange.request.method == Method::Invite;
        if let Some(client) = exchange.client {
            match is_invite.then(|| self.last_exchange.replace((side, client))) {
                Some(before) => before
                    .into_iter()
                    .for_each(|(_, client)| turn.wire.disown_client(client)),
                None => turn.wire.disown_client(client),
            }
        }
        let cseq = response.headers.cseq().number;
        let body = match self.carry_exchange_answer(turn, side, &mut exchange, response) {
            Ok(body) => body,
            Err(error) => {
                // The far end has switched and the near end cannot follow: nothing is left to talk about.
                tracing::warn!(session = %self.id, %error, "answer to a re-INVITE or UPDATE cannot be carried");
                self.withdraw(&exchange);
                let refusal = Refusal::MediaNotAcceptable;
                self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, &refusal);
                if is_invite {
                    let chronicle = self.chronicle;
                    self.leg_mut(side).acknowledge(turn, &chronicle, cseq, None);
                }
                self.finish(
                    turn,
                    &format!("answer of {side} that cannot be carried"),
                    &Farewell::default(),
                );
                return;
            }
        };
        self.refresh_targets(side, &exchange, response);
        self.renew_media(turn);
        self.answer_exchange(turn, &exchange, response, body);
        if is_invite {
            exchange.stage = Stage::AckAwaited { cseq };
            self.exchange = Some(exchange);
        } else {
            turn.wire.disown_server(exchange.server);
        }
    }

    fn carry_exchange_answer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        exchange: &mut Exchange,
        response: &Response,
    ) -> Result<Bytes, NegotiationError> {
        let content = Content::of(&response.headers, &response.body);
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
        let anchored = self
            .negotiation
            .offer(turn.now, side, sdp, turn.ports, self.decision.emergency)?;
        exchange.offered = true;
        Ok(content.with_sdp(&response.body, anchored))
    }

    fn answer_exchange(&self, turn: &mut Turn<'_>, exchange: &Exchange, response: &Response, body: Bytes) {
        let leg = self.leg(exchange.from);
        let mut answer = leg.dialog_response(&exchange.request, response.status, Some(&response.reason));
        carry::carry(&response.headers, &mut answer.headers);
        for value in response
            .headers
            .get_all("Retry-After")
            .filter(|_| response.status != 503)
        {
            answer.headers.push("Retry-After", value);
        }
        if body.is_empty() {
            answer.headers.remove("Content-Type");
        }
        answer.body = body;
        turn.respond(leg.line(&self.chronicle), exchange.server, answer);
    }

    fn refresh_targets(&mut self, side: Leg, exchange: &Exchange, response: &Response) {
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

    pub(super) fn on_exchange_acknowledged(&mut self, turn: &mut Turn<'_>, side: Leg, ack: &Request) {
        let number = ack.headers.cseq().number;
        let matches = |exchange: &mut Exchange| {
            exchange.from == side
                && exchange.request.headers.cseq().number == number
                && matches!(exchange.stage, Stage::AckAwaited { .. })
        };
        let Some(exchange) = self.exchange.take_if(matches) else {
            return;
        };
        let Stage::AckAwaited { cseq } = exchange.stage else {
            return;
        };
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
    pub(super) fn carry_ack_answer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        ack: &Request,
    ) -> Option<(String, Bytes)> {
        let content = Content::of(&ack.headers, &ack.body);
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

    /// The far end did not answer inside the dialog: it is gone (RFC 3261 §12.2.1.2).
    pub(super) fn on_exchange_failed(&mut self, turn: &mut Turn<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        self.unwatch_exchange(turn);
        self.withdraw(&exchange);
        self.expect_late_answer(turn, exchange.from.other(), exchange.client);
        self.refuse_request(
            turn,
            exchange.from,
            exchange.server,
            &exchange.request,
            &Refusal::NoAnswer,
        );
        let by = format!("no answer from {} inside the dialog", exchange.from.other());
        self.finish(turn, &by, &Farewell::default());
    }

    /// A CANCEL for a re-INVITE: passed on; the far end's final answer decides (RFC 3261 §9.2).
    pub(super) fn on_exchange_cancelled(&mut self, turn: &mut Turn<'_>, reasons: &[String]) {
        let Some(exchange) = &mut self.exchange else { return };
        let leg = match exchange.from {
            Leg::A => &self.b,
            Leg::B => &self.a,
        };
        if let (Stage::Waiting { provisional, cancel }, Some(client)) = (&mut exchange.stage, exchange.client) {
            if *provisional {
                turn.cancel(leg.line(&self.chronicle), client, reasons);
            } else {
                cancel.get_or_insert_with(|| reasons.to_vec());
            }
        }
    }

    /// The call ends: what is in flight is answered, what was accepted is acknowledged.
    pub(super) fn close_exchange(&mut self, turn: &mut Turn<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        self.withdraw(&exchange);
        match exchange.stage {
            Stage::Preparing(_) | Stage::Waiting { .. } => {
                self.expect_late_answer(turn, exchange.from.other(), exchange.client);
                let refusal = Refusal::Cancelled;
                self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, &refusal);
            }
            Stage::AckAwaited { cseq } => {
                turn.wire.disown_server(exchange.server);
                let chronicle = self.chronicle;
                let other = self.leg_mut(exchange.from.other());
                if !matches!(other.state, LegState::Gone | LegState::Leaving { .. }) {
                    other.acknowledge(turn, &chronicle, cseq, None);
                }
            }
        }
    }

    /// A port could not be bound: of the first lines, then the session is gone from the relay; or of a new one, then
    /// the offer that wanted it is refused and the session stays as it was.
    pub(super) fn on_media_not_opened(&mut self, turn: &mut Turn<'_>) {
        let preparing = |exchange: &mut Exchange| matches!(exchange.stage, Stage::Preparing(_));
        if self.media == MediaState::Open
            && let Some(exchange) = self.exchange.take_if(preparing)
        {
            self.withdraw(&exchange);
            let refusal = Refusal::MediaNotAcceptable;
            self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, &refusal);
            return;
        }
        if matches!(self.media, MediaState::Opening | MediaState::Closing) {
            self.negotiation.give_back(turn.now, turn.ports);
            self.media = MediaState::Closed(None);
        }
        match self.phase {
            Phase::Preparing => self.refuse(turn, &Refusal::NoPorts),
            Phase::Inviting | Phase::Answered | Phase::Confirmed => {
                self.finish(turn, "media port not to be had", &Farewell::default())
            }
            Phase::Ending => {}
        }
    }

    /// The pending offer is given up, if it is this exchange's: an offer of the call's beginning is not.
    fn withdraw(&mut self, exchange: &Exchange) {
        if exchange.offered {
            self.negotiation.withdraw();
        }
    }
}
