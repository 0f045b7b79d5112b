//! A session that is negotiated anew: re-INVITE, UPDATE and PRACK, either way; hold, codec change, new lines, glare.

use std::sync::Arc;

use bytes::Bytes;

use super::exchange::{Exchange, Stage};
use super::refresh::check_interval;
use crate::b2bua::call::Call;
use crate::b2bua::crossing::{carry, numbering};
use crate::b2bua::dialog::{LegState, Owner};
use crate::b2bua::ending::Farewell;
use crate::b2bua::invite::{Reliable, reliable};
use crate::b2bua::reject::Refusal;
use crate::b2bua::session::Content;
use crate::b2bua::state::{MediaState, Phase};
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::transaction::ServerId;
use crate::sip::{Method, Request, Response};

impl Call {
    pub(in crate::b2bua) fn on_offer_again(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        server: ServerId,
        request: Request,
    ) {
        self.note_from_change(side, &request.headers);
        let lines = self.negotiation.lines();
        let before = self.negotiation.agreement().clone();
        let (body, offered) = match self.take_offer(turn, side, &request) {
            Ok(taken) => taken,
            Err(refusal) => {
                self.refuse_request(turn, side, server, &request, &refusal);
                return;
            }
        };
        let identity = self.new_identity(side, &request);
        let newcomer = self.newcomer(turn, side, &request.headers, identity.as_ref());
        let described = if offered {
            self.negotiation.offered()
        } else {
            Vec::new()
        };
        let admitted = self.admit_change(turn, side, newcomer.as_ref(), &described);
        let (fronted, met) = (self.leg(side.other()).fronts_focus, self.meeting);
        let admitted = admitted.and_then(|is_news| self.admit_focus(turn, side, &request.headers).map(|()| is_news));
        let is_news = match admitted {
            Ok(is_news) => is_news || self.meeting != met,
            Err(refusal) => {
                if offered {
                    self.negotiation.withdraw();
                }
                self.refuse_request(turn, side, server, &request, &refusal);
                return;
            }
        };
        let is_same = identity.is_none() && !is_news && self.leg(side.other()).fronts_focus == fronted;
        if is_same && self.is_refresh_for_us(side, &request) {
            self.answer_refresh(turn, side, server, &request);
            return;
        }
        turn.wire.own_server(server, Owner::Call(self.id, side));
        if request.method == Method::Invite {
            turn.respond(self.line(side), server, Response::to(&request, 100, None, None));
        }
        let stage = Stage::Preparing(body.clone());
        let client = None;
        self.exchange = Some(Box::new(Exchange {
            from: side,
            fork: self.a.local_tag.clone(),
            server,
            client,
            request,
            offered,
            before,
            body,
            identity,
            is_news,
            stage,
            reliable: Reliable::default(),
            lengthened: false,
            rerouted: false,
            refused: None,
            progress: None,
        }));
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
        if request.method == Method::Invite && self.is_reinviting() {
            return Err(Refusal::Glare);
        }
        if !may_offer || self.leg(side.other()).dialog.is_none() {
            return Err(Refusal::Glare);
        }
        check_interval(request)?;
        let options = carry::unsupported(&request.headers);
        if !options.is_empty() && !self.is_emergency() {
            return Err(Refusal::BadExtension { options });
        }
        let content = self.content_of(&request.headers, &request.body);
        if content == Content::Unreadable {
            return Err(Refusal::UnsupportedBody);
        }
        let Some(sdp) = content.sdp(&request.body) else {
            return Ok((request.body.clone(), false));
        };
        // What our re-INVITE offers is open still (RFC 3311 §5.2).
        if self.is_reinviting() {
            return Err(Refusal::Glare);
        }
        match self.negotiation.pending_by() {
            Some(by) if by == side => return Err(Refusal::Busy),
            Some(_) => return Err(Refusal::Glare),
            None => {}
        }
        if self.lacks_recording() && self.negotiation.adds_media(sdp) {
            return Err(Refusal::MediaNotAcceptable);
        }
        let anchored = self
            .negotiation
            .offer(turn.now, side, sdp, turn.ports, self.decision.emergency)?;
        Ok((content.with_sdp(&request.body, anchored), true))
    }

    /// The ports are there: the request goes on.
    pub(in crate::b2bua) fn ask_far_end(&mut self, turn: &mut Turn<'_>) {
        self.focus_on_exchange();
        if self.holds_identity() {
            return;
        }
        let Some(from) = self.exchange.as_ref().map(|exchange| exchange.from) else {
            return;
        };
        let crossing = self.crossing(from);
        let trunk = Arc::clone(&self.leg(from).trunk);
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
        if let Some(identity) = &exchange.identity {
            let tag = onward.headers.from().tag().unwrap_or_default().to_owned();
            onward.headers.set_from(identity.clone().with_tag(&tag));
        }
        carry::carry(&crossing, &exchange.request.headers, &mut onward.headers);
        numbering::cross_identities(&mut onward.headers, &trunk, &leg.trunk, turn.policies);
        reliable::carry_rack(&exchange.request, &mut onward);
        onward.body = body;
        self.upkeep[to.index()].ask(self.phase, &mut onward);
        exchange.reliable.number(onward.headers.cseq().number);
        let client = turn.request(self.id, leg.line(&self.chronicle), onward);
        exchange.client = Some(client);
        self.watch_exchange(turn);
    }

    /// A CANCEL for a re-INVITE: passed on; the far end's final answer decides (RFC 3261 §9.2).
    pub(in crate::b2bua) fn on_exchange_cancelled(&mut self, turn: &mut Turn<'_>, reasons: &[String]) {
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
    pub(in crate::b2bua) fn close_exchange(&mut self, turn: &mut Turn<'_>) {
        self.give_up_exchange(turn, &Refusal::Cancelled);
    }

    /// The far end was asked for it, and has not answered; or is not asked yet.
    pub(in crate::b2bua) fn awaits_far_end(&self) -> bool {
        let waits = |stage: &Stage| matches!(stage, Stage::Preparing(_) | Stage::Waiting { .. });
        self.exchange.as_ref().is_some_and(|exchange| waits(&exchange.stage))
    }

    /// `refusal`: for who asked.
    pub(in crate::b2bua) fn give_up_exchange(&mut self, turn: &mut Turn<'_>, refusal: &Refusal) {
        let is_here = self.focus_on_exchange();
        let Some(exchange) = self.exchange.take() else { return };
        // Where its early dialog is over, the offer that is pending is another's.
        if is_here {
            self.withdraw(&exchange);
        }
        match &exchange.stage {
            Stage::Preparing(_) | Stage::Waiting { .. } => {
                if let Some(client) = exchange.client {
                    // Who answers the BYE may still owe the INVITE its answer.
                    turn.cancel(self.line(exchange.from.other()), client, &[]);
                }
                self.expect_late_answer(turn, exchange.from.other(), exchange.client);
                self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, refusal);
            }
            Stage::Accepted(response) => {
                let cseq = response.headers.cseq().number;
                self.break_off(turn, &exchange, cseq, refusal);
            }
            Stage::AckAwaited { cseq } => {
                turn.wire.disown_server(exchange.server);
                let chronicle = self.chronicle;
                let other = self.leg_mut(exchange.from.other());
                if !matches!(other.state, LegState::Gone | LegState::Leaving { .. }) {
                    other.acknowledge(turn, &chronicle, *cseq, None);
                }
            }
        }
    }

    /// A port could not be bound: of the first lines, then the session is gone from the relay; or of a new one, then
    /// the offer that wanted it is refused and the session stays as it was.
    pub(in crate::b2bua) fn on_media_not_opened(&mut self, turn: &mut Turn<'_>) {
        self.focus_on_exchange();
        let preparing = |exchange: &mut Box<Exchange>| matches!(exchange.stage, Stage::Preparing(_));
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
        if self.negotiation.passes_by() {
            return;
        }
        match self.phase {
            Phase::Preparing => {
                if !self.lets_media_pass_by(turn) {
                    self.refuse(turn, &Refusal::NoPorts);
                }
            }
            Phase::Inviting | Phase::Answered | Phase::Confirmed => {
                self.finish(turn, "media port not to be had", &Farewell::default())
            }
            Phase::Ending => {}
        }
    }

    /// What it has changed is undone: a reliable provisional response may have answered its offer already, and no final answer but a 2xx
    /// leaves that (RFC 3261 §14.1, RFC 6141 §3.4).
    pub(super) fn take_back(&mut self, turn: &mut Turn<'_>, exchange: &Exchange) {
        if exchange.offered && !self.negotiation.is_pending() {
            self.negotiation.return_to(&exchange.before);
            self.renew_media(turn);
        } else {
            self.withdraw(exchange);
        }
    }

    /// The pending offer is given up, if it is this exchange's: an offer of the call's beginning is not.
    pub(super) fn withdraw(&mut self, exchange: &Exchange) {
        if exchange.offered {
            self.negotiation.withdraw();
        }
    }
}
