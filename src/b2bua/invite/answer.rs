//! What B answers to its INVITE, and how A hears of it; the ACK that closes the three-way handshake.

use bytes::Bytes;

use super::reliable::Standing;
use crate::b2bua::call::Call;
use crate::b2bua::dialog::LegState;
use crate::b2bua::ending::Farewell;
use crate::b2bua::modification::Withheld;
use crate::b2bua::reject::{self, Refusal};
use crate::b2bua::session::{Content, NegotiationError, leave_out_descriptions};
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Leg, Mark};
use crate::sip::dialog::Dialog;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Method, Request, Response};

impl Call {
    pub(in crate::b2bua) fn on_answer(&mut self, turn: &mut Turn<'_>, client: ClientId, response: Response) {
        if (101..300).contains(&response.status) {
            self.note_emergency(turn);
        }
        match response.status {
            100..200 => self.on_progress(turn, &response),
            200..300 => self.on_accepted(turn, client, &response),
            _ => self.on_declined(turn, client, &response),
        }
    }

    /// 2xx from B. The dialog with B stands from here on, whatever becomes of A.
    fn on_accepted(&mut self, turn: &mut Turn<'_>, client: ClientId, response: &Response) {
        if matches!(self.b.state, LegState::AckOwed { .. }) {
            self.on_fork(turn, response);
            return;
        }
        if self.acknowledge_parted(turn, response) {
            // Who was to be called has answered, and the caller had hung up on it: nobody else is waited for.
            self.b.state = LegState::Gone;
            self.refuse(turn, &Refusal::Cancelled);
            self.silence_forks();
            return;
        }
        let cseq = response.headers.cseq().number;
        self.focus_on_winner(turn, response);
        self.note_focus(Leg::B, &response.headers);
        self.note_answerer_aware(&response.headers);
        self.meeting |= self.a.fronts_focus;
        let before = std::mem::replace(&mut self.b.state, LegState::AckOwed { client, cseq });
        if !matches!(self.a.state, LegState::Invited { .. } | LegState::Expected) {
            // It crossed our CANCEL, or A is gone: acknowledged, then ended (RFC 3261 §13.2.2.4, §15.1.1).
            let farewell = match before {
                LegState::Cancelling { farewell, .. }
                | LegState::Inviting {
                    cancel: Some(farewell), ..
                } => farewell,
                _ => Farewell::default(),
            };
            self.b.hang_up(
                turn,
                self.id,
                &self.chronicle,
                &farewell,
                &Refusal::Cancelled.rejection(""),
            );
            return;
        }
        let headers = self.rings.complete(&response.headers);
        self.name_called(turn, &headers);
        match self.admit_answerer(turn, Leg::B, &headers, &response.body) {
            Ok(_) if self.withhold(turn, || Withheld::Answer(Box::new(response.clone()))) => {}
            Ok(_) => self.pass_accepted(turn, response),
            Err(refusal) => self.refuse(turn, &refusal),
        }
    }

    /// A hears of B's 2xx, if nobody is missing who has to record the call.
    pub(in crate::b2bua) fn pass_accepted(&mut self, turn: &mut Turn<'_>, response: &Response) {
        if self.a.state == LegState::Expected {
            self.on_referred_accepted(turn, response);
            return;
        }
        let LegState::Invited { server } = self.a.state else {
            return;
        };
        if let Some(refusal) = self.unarmed(turn) {
            self.refuse(turn, &refusal);
            return;
        }
        let carried = self.carry_answer(turn, response).map_err(Refusal::from);
        let told = carried.and_then(|body| self.untold(turn).map_or(Ok(body), Err));
        match told {
            Ok(body) => {
                self.story.answered = Some(turn.now);
                self.story.status = Some(response.status);
                self.renew_media(turn);
                self.chronicle.mark(turn.now, Mark::Answered, turn.out);
                self.tell_a(turn, server, response, body, Standing::Unreliable);
                self.a.state = LegState::AckAwaited { server, hang_up: None };
                self.enter(turn, Phase::Answered);
            }
            Err(refusal) => self.refuse(turn, &refusal),
        }
    }

    /// A 2xx that comes again after our ACK means that the ACK was lost; from another tag it is a fork's.
    pub(in crate::b2bua) fn on_late_response(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        client: ClientId,
        response: &Response,
    ) {
        if response.headers.cseq().method != Method::Invite {
            turn.wire.disown_client(client);
            return;
        }
        if response.is_final() {
            self.forget_given_up(side, client);
        }
        if !response.is_success() {
            if response.is_final() {
                turn.wire.disown_client(client);
            }
            return;
        }
        if self.invited == Some(client) {
            self.on_fork(turn, response);
        }
        let leg = self.leg(side);
        let acknowledged = leg.ack.as_ref().filter(|ack| {
            ack.headers.cseq().number == response.headers.cseq().number
                && ack.headers.to().tag() == response.headers.to().tag()
        });
        if let Some(ack) = acknowledged.cloned() {
            turn.resend(leg.line(&self.chronicle), *ack);
        } else if self.last_exchange[side.index()] == Some(client) {
            // It crossed the end of the call.
            let (chronicle, cseq) = (self.chronicle, response.headers.cseq().number);
            self.leg_mut(side).acknowledge(turn, &chronicle, cseq, None);
        }
    }

    fn on_declined(&mut self, turn: &mut Turn<'_>, client: ClientId, response: &Response) {
        if !self.attempts.lengthened && self.on_interval_refused(Leg::B, response) && self.invite_again(turn) {
            self.attempts.lengthened = true;
            turn.wire.disown_client(client);
            return;
        }
        if self.ask_elsewhere(turn, Some(response)) {
            return;
        }
        turn.wire.disown_client(client);
        self.b.state = LegState::Gone;
        self.b.invite = None;
        if self.a.state == LegState::Expected {
            self.a.state = LegState::Gone;
            self.story.status = Some(response.status);
        }
        if let LegState::Invited { server } = self.a.state {
            self.story.status = Some(response.status);
            if matches!(response.status, 300..=399 | 401 | 407) {
                for trunk in [&self.a.trunk, &self.b.trunk] {
                    turn.loads.expect_return(turn.now, self.id, &trunk.name, trunk.caps);
                }
            }
            if let Some(invite) = self.a.invite.take() {
                let mut answer = Response::to(
                    &invite,
                    response.status,
                    Some(&response.reason),
                    Some(&self.a.local_tag),
                );
                for name in ["Contact", "Retry-After", "Unsupported", "Min-SE"] {
                    let is_redirect = name != "Contact" || (300..400).contains(&response.status);
                    // Retry-After on a 503 would stop all of the peer's traffic to us, for one far end's sake.
                    let is_ours = name == "Retry-After" && response.status == 503;
                    for value in response.headers.get_all(name).filter(|_| is_redirect && !is_ours) {
                        answer.headers.push(name, value);
                    }
                }
                self.carry_back(turn, Leg::B, response, &mut answer);
                answer.body = response.body.clone();
                turn.respond(self.line(Leg::A), server, answer);
            }
            turn.wire.disown_server(server);
            self.a.state = LegState::Gone;
        }
        self.end(turn, format!("{} from B", response.status));
    }

    /// The same INVITE once more, with the session interval that B wants (RFC 4028 §7.3). False when it was cancelled.
    fn invite_again(&mut self, turn: &mut Turn<'_>) -> bool {
        let is_awaited = matches!(self.b.state, LegState::Inviting { cancel: None, .. });
        let Some(mut invite) = self.b.invite.take().filter(|_| is_awaited) else {
            return false;
        };
        let number = invite.headers.cseq().number.saturating_add(1);
        invite.headers.set("CSeq", format!("{number} INVITE"));
        self.ask_upkeep(Leg::B, &mut invite);
        let client = turn.request(self.id, self.line(Leg::B), (*invite).clone());
        self.invited = Some(client);
        self.on_invite_renewed(turn, client, *invite);
        true
    }

    /// B's INVITE ran out of time unanswered, or its next hop cannot be reached.
    pub(in crate::b2bua) fn on_invite_failed(&mut self, turn: &mut Turn<'_>, unreachable: bool) {
        if self.ask_elsewhere(turn, None) {
            return;
        }
        self.b.state = LegState::Gone;
        self.refuse(
            turn,
            if unreachable {
                &Refusal::Unreachable
            } else {
                &Refusal::NoAnswer
            },
        );
    }

    /// Whether an ACK of A is for the 2xx that we sent: its dialog, its CSeq number (RFC 3261 §13.2.2.4).
    pub(in crate::b2bua) fn is_of_answer(&self, ack: &Request) -> bool {
        let number = self.a.invite.as_ref().map(|invite| invite.headers.cseq().number);
        matches!(self.a.state, LegState::AckAwaited { .. })
            && number == Some(ack.headers.cseq().number)
            && ack.headers.to().tag() == Some(self.a.local_tag.as_str())
    }

    /// The INVITE of A with this CSeq number whose 2xx waits for its ACK, and our tag in that.
    pub fn unacknowledged(&self, number: u32) -> Option<(ServerId, &str)> {
        let asked = |invite: &Request| invite.headers.cseq().number == number;
        let server = match (&self.a.state, &self.exchange) {
            (LegState::AckAwaited { server, .. }, _) if self.a.invite.as_deref().is_some_and(asked) => *server,
            (_, Some(exchange)) if exchange.is_unacknowledged_by(Leg::A) && asked(&exchange.request) => exchange.server,
            _ => return None,
        };
        Some((server, self.a.local_tag.as_str()))
    }

    /// A's ACK to our 2xx: B gets its own, with A's answer if B made the offer.
    pub(in crate::b2bua) fn on_answer_acknowledged(&mut self, turn: &mut Turn<'_>, ack: &Request) {
        let owes_answer = self.owes_answer();
        let body = if owes_answer {
            self.carry_ack_answer(turn, Leg::A, ack)
        } else {
            None
        };
        if let LegState::AckOwed { cseq, .. } = self.b.state {
            let body = body
                .as_ref()
                .map(|(content_type, body)| (content_type.as_str(), body.clone()));
            self.b.acknowledge(turn, &self.chronicle, cseq, body);
        }
        self.a.on_ack(turn, self.id, &self.chronicle);
        if self.phase == Phase::Answered {
            self.enter(turn, Phase::Confirmed);
            if owes_answer && self.negotiation.is_pending() {
                self.finish(turn, "no answer to B's offer", &Farewell::default());
            } else {
                self.note_answered();
            }
        }
    }

    /// Whether A's ACK has to bring the answer to B's offer: not where the offer is that of an UPDATE in flight.
    fn owes_answer(&self) -> bool {
        self.negotiation.pending_by() == Some(Leg::B) && !self.is_offer_crossed()
    }

    /// Whether the offer that is pending is of a request in flight. What is offered in another early dialog is no matter of
    /// this one.
    fn is_offer_crossed(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.offered && exchange.fork == self.a.local_tag)
    }

    /// The ACK to our 2xx never came (RFC 3261 §13.3.1.4): the session is ended, BYE and all.
    pub(in crate::b2bua) fn on_never_acknowledged(&mut self, turn: &mut Turn<'_>) {
        self.a.on_ack(turn, self.id, &self.chronicle);
        self.finish(turn, "no ACK from A", &Farewell::of_reasons(reject::no_ack()));
    }

    pub(super) fn tell_a(
        &mut self,
        turn: &mut Turn<'_>,
        server: crate::sip::transaction::ServerId,
        response: &Response,
        body: Bytes,
        standing: Standing,
    ) {
        let Some(invite) = &self.a.invite else { return };
        let mut answer = self.a.dialog_response(invite, response.status, Some(&response.reason));
        self.carry_back(turn, Leg::B, response, &mut answer);
        standing.write(&mut answer);
        let Some(invite) = self.a.invite.take() else { return };
        if response.is_success() {
            self.grant_upkeep(turn, (Leg::A, &invite), response, &mut answer.headers);
        }
        if body.is_empty() {
            leave_out_descriptions(&mut answer.headers);
        }
        answer.body = body;
        if self.a.dialog.is_none() {
            // An INVITE without a Contact was refused at the door.
            self.a.dialog = Dialog::uas(&invite, &answer).ok();
        }
        self.a.invite = Some(invite);
        turn.respond(self.line(Leg::A), server, answer);
    }

    /// The body of B's response as A shall see it: an answer to A's offer, or B's own offer.
    pub(super) fn carry_answer(&mut self, turn: &mut Turn<'_>, response: &Response) -> Result<Bytes, NegotiationError> {
        match self.anchor_answer(turn, response) {
            Err(error) if self.is_emergency() => {
                // Help has answered: A may make something of it.
                tracing::error!(session = %self.id, %error, "the answer to an emergency call crosses as it is");
                Ok(response.body.clone())
            }
            anchored => anchored,
        }
    }

    fn anchor_answer(&mut self, turn: &mut Turn<'_>, response: &Response) -> Result<Bytes, NegotiationError> {
        let content = self.content_of(&response.headers, &response.body);
        let Some(sdp) = content.sdp(&response.body) else {
            let is_readable = content != Content::Unreadable;
            return if is_readable {
                Ok(response.body.clone())
            } else {
                Err(NegotiationError::Lines)
            };
        };
        let anchored = match self.negotiation.pending_by() {
            // Another offer is in flight, or B repeats the one that A has not answered yet.
            Some(Leg::A) if self.is_offer_crossed() => self.negotiation.repeat(Leg::B, sdp)?,
            Some(Leg::B) => self.negotiation.repeat(Leg::B, sdp)?,
            None if !self.negotiation.is_agreed() => {
                let emergency = self.decision.emergency;
                self.negotiation.offer(turn.now, Leg::B, sdp, turn.ports, emergency)?
            }
            Some(Leg::A) | None => self.negotiation.answer(Leg::B, sdp)?,
        };
        Ok(content.with_sdp(&response.body, anchored))
    }
}
