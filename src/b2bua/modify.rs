//! A session that is negotiated anew: re-INVITE and UPDATE, either way; hold, codec change, new lines, glare.

use bytes::Bytes;

use super::body::Content;
use super::call::Call;
use super::carry;
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
    /// It carried an offer; otherwise the answer to it will be the offer.
    offered: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Waiting,
    /// The far end's 2xx (its CSeq) was passed on; the ACK will be too.
    AckAwaited {
        cseq: u32,
    },
}

impl Call {
    pub(super) fn on_offer_again(&mut self, turn: &mut Turn<'_>, side: Leg, server: ServerId, request: Request) {
        match self.forward_offer(turn, side, server, &request) {
            Ok((client, offered)) => {
                turn.wire.own_server(server, Owner::Call(self.id, side));
                let stage = Stage::Waiting;
                self.exchange = Some(Exchange {
                    from: side,
                    server,
                    client: Some(client),
                    request,
                    offered,
                    stage,
                });
            }
            Err(refusal) => self.refuse_request(turn, side, server, &request, &refusal),
        }
    }

    fn forward_offer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        server: ServerId,
        request: &Request,
    ) -> Result<(ClientId, bool), Refusal> {
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
        if !may_offer {
            return Err(Refusal::Glare);
        }
        let demands = carry::unsupported(&request.headers);
        if !demands.is_empty() {
            return Err(Refusal::BadExtension { options: demands });
        }
        let (body, offered) = self.carry_offer(turn, side, request)?;
        let other = side.other();
        let Some(mut onward) = self.leg_mut(other).dialog_request(request.method.clone()) else {
            self.negotiation.withdraw();
            return Err(Refusal::Glare);
        };
        carry::carry(&request.headers, &mut onward.headers);
        onward.body = body;
        if request.method == Method::Invite {
            turn.respond(self.line(side), server, Response::to(request, 100, None, None));
        }
        let client = turn.request(self.id, self.line(other), onward);
        Ok((client, offered))
    }

    /// The body as the other leg shall see it, and whether it is an offer. Lines that are new get ports at once, so that
    /// the far end can send as soon as it answers.
    fn carry_offer(&mut self, turn: &mut Turn<'_>, side: Leg, request: &Request) -> Result<(Bytes, bool), Refusal> {
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
        let lines = self.negotiation.lines();
        let anchored = self
            .negotiation
            .offer(turn.now, side, sdp, turn.ports, self.decision.emergency)?;
        if self.negotiation.lines() > lines {
            self.renew_media(turn);
        }
        Ok((content.with_sdp(&request.body, anchored), true))
    }

    pub(super) fn on_exchange_response(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        client: ClientId,
        response: &Response,
    ) {
        let waiting = self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.stage == Stage::Waiting);
        if response.status < 200 || !waiting {
            return;
        }
        let Some(mut exchange) = self.exchange.take() else {
            return;
        };
        if response.status >= 300 {
            self.negotiation.withdraw();
            turn.wire.disown_client(client);
            self.answer_exchange(turn, &exchange, response, response.body.clone());
            turn.wire.disown_server(exchange.server);
            // The far end does not know the dialog any more (RFC 3261 §12.2.1.2).
            if matches!(response.status, 408 | 481) {
                self.finish(turn, &format!("{} from {side} inside the dialog", response.status), &[]);
            }
            return;
        }
        let body = match self.carry_exchange_answer(turn, side, &exchange, response) {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "answer to a re-INVITE or UPDATE cannot be carried");
                self.negotiation.withdraw();
                Bytes::new()
            }
        };
        self.refresh_targets(side, &exchange, response);
        self.renew_media(turn);
        self.answer_exchange(turn, &exchange, response, body);
        if exchange.request.method == Method::Invite {
            if let Some(client) = self.last_exchange.replace(client) {
                turn.wire.disown_client(client);
            }
            exchange.stage = Stage::AckAwaited {
                cseq: response.headers.cseq().number,
            };
            self.exchange = Some(exchange);
        } else {
            turn.wire.disown_client(client);
            turn.wire.disown_server(exchange.server);
        }
    }

    fn carry_exchange_answer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        exchange: &Exchange,
        response: &Response,
    ) -> Result<Bytes, NegotiationError> {
        let content = Content::of(&response.headers, &response.body);
        let Some(sdp) = content.sdp(&response.body) else {
            self.negotiation.withdraw();
            return Ok(response.body.clone());
        };
        let anchored = if exchange.offered {
            self.negotiation.answer(side, sdp)?
        } else {
            self.negotiation
                .offer(turn.now, side, sdp, turn.ports, self.decision.emergency)?
        };
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
        if let Some(dialog) = &mut self.leg_mut(side).dialog {
            dialog.target_refresh(&Message::Response(response.clone()));
        }
        if let Some(dialog) = &mut self.leg_mut(exchange.from).dialog {
            dialog.target_refresh(&Message::Request(exchange.request.clone()));
        }
    }

    pub(super) fn on_exchange_acknowledged(&mut self, turn: &mut Turn<'_>, side: Leg, ack: &Request) {
        let matches = |exchange: &Exchange| {
            exchange.from == side && exchange.request.headers.cseq().number == ack.headers.cseq().number
        };
        let Some(exchange) = self.exchange.take_if(|exchange| matches(exchange)) else {
            return;
        };
        let Stage::AckAwaited { cseq } = exchange.stage else {
            self.exchange = Some(exchange);
            return;
        };
        turn.wire.disown_server(exchange.server);
        let content = Content::of(&ack.headers, &ack.body);
        let mut body = None;
        if let (true, Some(sdp)) = (self.negotiation.is_pending(), content.sdp(&ack.body)) {
            match self.negotiation.answer(side, sdp) {
                Ok(anchored) => {
                    let content_type = ack.headers.get("Content-Type").unwrap_or("application/sdp");
                    body = Some((content_type, content.with_sdp(&ack.body, anchored)));
                    self.renew_media(turn);
                }
                Err(error) => tracing::warn!(session = %self.id, %error, "answer in ACK cannot be carried"),
            }
        }
        self.negotiation.withdraw();
        let chronicle = self.chronicle;
        self.leg_mut(side.other()).acknowledge(turn, &chronicle, cseq, body);
    }

    /// The far end did not answer inside the dialog: it is gone (RFC 3261 §12.2.1.2).
    pub(super) fn on_exchange_failed(&mut self, turn: &mut Turn<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        self.negotiation.withdraw();
        self.refuse_request(
            turn,
            exchange.from,
            exchange.server,
            &exchange.request,
            &Refusal::NoAnswer,
        );
        let by = format!("no answer from {} inside the dialog", exchange.from.other());
        self.finish(turn, &by, &[]);
    }

    /// A CANCEL for a re-INVITE: passed on; the far end's final answer decides (RFC 3261 §9.2).
    pub(super) fn on_exchange_cancelled(&mut self, turn: &mut Turn<'_>, reasons: &[String]) {
        let Some(exchange) = &self.exchange else { return };
        if let (Stage::Waiting, Some(client)) = (exchange.stage, exchange.client) {
            turn.cancel(self.line(exchange.from.other()), client, reasons);
        }
    }

    /// The call ends: what is in flight is answered, what was accepted is acknowledged.
    pub(super) fn close_exchange(&mut self, turn: &mut Turn<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        self.negotiation.withdraw();
        if let Some(client) = exchange.client {
            turn.wire.disown_client(client);
        }
        match exchange.stage {
            Stage::Waiting => {
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

    /// A port could not be bound: of the first lines, then the session is gone from the relay; or of a new one.
    pub(super) fn on_media_not_opened(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.media, MediaState::Opening | MediaState::Closing) {
            self.negotiation.give_back(turn.now, turn.ports);
            self.media = MediaState::Closed(None);
        }
        match self.phase {
            Phase::Preparing => self.refuse(turn, &Refusal::NoPorts),
            Phase::Inviting | Phase::Answered | Phase::Confirmed => self.finish(turn, "media port not to be had", &[]),
            Phase::Ending => {}
        }
    }
}
