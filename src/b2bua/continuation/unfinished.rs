//! What is under way inside a dialog when a call is written down, and how the next process finishes it: it sends a 2xx again
//! until its ACK comes, acknowledges a 2xx that comes late, and tells who may have accepted what does not hold that it does
//! not (RFC 3261 §13.2.2.4, §13.3.1.4, RFC 3264 §8).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::b2bua::call::Call;
use crate::b2bua::dialog::{LegState, Owner};
use crate::b2bua::invite::Reliable;
use crate::b2bua::modification::{Exchange, Stage, Upkeep};
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sdp::{SessionDescription, keyless};
use crate::sip::{Message, Method, Request, Response};

/// What a leg was told beyond what holds, and has not refused.
#[derive(Clone, Debug, Default)]
pub(super) struct Beyond {
    /// A description.
    pub(super) sdp: Option<Bytes>,
    /// Nothing: it shall offer, in its answer to the re-INVITE with this CSeq number.
    asked: Option<u32>,
}

impl Beyond {
    pub(super) const fn is_any(&self) -> bool {
        self.sdp.is_some() || self.asked.is_some()
    }
}

/// The 2xx to a re-INVITE that was passed on to who asked, and is not acknowledged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Unacknowledged {
    /// Who asked.
    from: Leg,
    success: String,
    /// The CSeq number of the far end's own 2xx, which gets its ACK then.
    cseq: u32,
}

impl Call {
    /// Of A, of B.
    pub(super) fn told_beyond(&self) -> [Beyond; 2] {
        let mut beyond = <[Beyond; 2]>::default();
        let exchange = self.exchange.as_deref();
        if let Some(exchange) = exchange.filter(|exchange| is_open(&exchange.stage)) {
            let content = self.content_of(&exchange.request.headers, &exchange.body);
            let sdp = content.sdp(&exchange.body).map(Bytes::copy_from_slice);
            let asks = sdp.is_none() && exchange.request.method == Method::Invite;
            let asked = asks.then(|| exchange.reliable.far());
            beyond[exchange.from.other().index()] = Beyond { sdp, asked };
        }
        if let Some((stays, told)) = self.told_to_seat() {
            beyond[stays.index()].sdp = Some(told.clone());
        }
        beyond
    }

    pub(super) fn is_told_beyond(&self) -> bool {
        self.told_beyond().iter().any(Beyond::is_any)
    }

    /// With what the next process has to tell the parties.
    pub(super) fn upkeep_beyond(&self, beyond: &[Beyond; 2]) -> [Upkeep; 2] {
        let mut upkeep = self.upkeep.clone();
        for (upkeep, beyond) in upkeep.iter_mut().zip(beyond) {
            if beyond.is_any() {
                upkeep.untold.get_or_insert_default().asked = beyond.asked;
            }
        }
        upkeep
    }

    /// None of what cannot be written down: no text, or not without its keys.
    pub(super) fn kept_unacknowledged(&self) -> Option<Unacknowledged> {
        let exchange = self.exchange.as_deref()?;
        let Stage::AckAwaited { cseq, success } = &exchange.stage else {
            return None;
        };
        let content = self.content_of(&success.headers, &success.body);
        let described = content.sdp(&success.body).map(SessionDescription::parse);
        let has_keys = described.is_some_and(|described| described.is_ok_and(|sdp| keyless(&sdp).is_some()));
        let text = String::from_utf8(success.encode().to_vec()).ok();
        let success = text.filter(|_| !has_keys)?;
        Some(Unacknowledged {
            from: exchange.from,
            success,
            cseq: *cseq,
        })
    }

    pub(super) fn awaits_ack(&self) -> bool {
        let stage = self.exchange.as_ref().map(|exchange| &exchange.stage);
        matches!(stage, Some(Stage::AckAwaited { .. }))
    }

    /// The ACK to a 2xx of the process before is awaited here.
    pub(super) fn await_ack_of_before(&mut self, turn: &mut Turn<'_>, kept: &Unacknowledged) {
        let Ok(Message::Response(success)) = Message::parse(kept.success.as_bytes()) else {
            return;
        };
        let request = invite_of(&success);
        let flow = self.leg(kept.from).flow;
        let server = turn.wire.resume_success(turn.now, &request, &success, flow);
        turn.wire.own_server(server, Owner::Call(self.id, kept.from));
        turn.depart(self.line(kept.from));
        let (cseq, success) = (kept.cseq, Box::new(success));
        self.exchange = Some(Box::new(Exchange {
            from: kept.from,
            fork: self.a.local_tag.clone(),
            server,
            client: None,
            request,
            offered: self.negotiation.is_pending(),
            before: self.negotiation.agreement().clone(),
            body: Bytes::new(),
            identity: None,
            is_news: false,
            stage: Stage::AckAwaited { cseq, success },
            reliable: Reliable::default(),
            lengthened: false,
            rerouted: false,
            refused: None,
            progress: None,
        }));
    }

    /// The process ends while a 2xx of the far end waits here for the recording of what it brings.
    pub(super) fn give_back_accepted(&mut self, turn: &mut Turn<'_>, refusal: &Refusal) {
        let Some(exchange) = self.exchange.take() else { return };
        let Stage::Accepted(response) = &exchange.stage else {
            return;
        };
        let side = exchange.from.other();
        let told = self.told_by(side, &exchange, response);
        self.take_back(turn, &exchange);
        self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, refusal);
        if exchange.request.method == Method::Invite {
            let (chronicle, cseq) = (self.chronicle, response.headers.cseq().number);
            let answer = told.filter(|_| !exchange.offered);
            let answer = answer.map(|answer| ("application/sdp", answer));
            self.leg_mut(side).acknowledge(turn, &chronicle, cseq, answer);
        }
    }

    /// Whether a 2xx answers an INVITE that the process before sent in this dialog.
    pub fn is_of_before(&self, side: Leg, response: &Response) -> bool {
        let (tag, number) = (response.headers.to().tag(), response.headers.cseq().number);
        let dialog = self.leg(side).dialog.as_ref();
        dialog.is_some_and(|dialog| dialog.remote_tag() == tag.unwrap_or_default() && dialog.is_of_before(number))
    }

    /// A 2xx to a re-INVITE of the process before: it is acknowledged. Who accepts by it what does not hold is told what does.
    pub fn on_success_of_before(&mut self, turn: &mut Turn<'_>, side: Leg, response: &Response) {
        let number = response.headers.cseq().number;
        let awaits_ack = |exchange: &Exchange| {
            let is_its = matches!(&exchange.stage, Stage::AckAwaited { cseq, .. } if *cseq == number);
            is_its && exchange.from == side.other()
        };
        if self.exchange.as_deref().is_some_and(awaits_ack) {
            return;
        }
        let leg = self.leg(side);
        let acknowledged = leg.ack.as_ref().filter(|ack| ack.headers.cseq().number == number);
        if let Some(ack) = acknowledged.cloned() {
            turn.resend(self.line(side), *ack);
            return;
        }
        let content = self.content_of(&response.headers, &response.body);
        let sdp = content.sdp(&response.body);
        let untold = self.upkeep[side.index()].untold;
        let is_offer = untold.is_some_and(|untold| untold.asked == Some(number));
        let answer = sdp
            .filter(|_| is_offer)
            .and_then(|sdp| self.negotiation.decline(side, sdp));
        let holds = sdp.is_none_or(|sdp| self.negotiation.is_known(side, sdp));
        let answer = answer.map(|answer| ("application/sdp", answer));
        let is_newest = self.leg(side).ack.is_none();
        let chronicle = self.chronicle;
        self.leg_mut(side).acknowledge(turn, &chronicle, number, answer);
        if let Some(dialog) = self.leg_mut(side).dialog.as_mut().filter(|_| is_newest) {
            dialog.target_refresh(&Message::Response(response.clone()));
        }
        let talks = self.phase == Phase::Confirmed && self.leg(side).state == LegState::Up;
        if talks && (untold.is_some() || !holds) {
            if untold.is_none() {
                self.go_on_beyond(turn, side, sdp.unwrap_or_default());
            }
            self.retell(turn, side);
        }
        self.settle(turn);
    }

    /// What the process before offered is not known, but for its lines: the next description is newer than it can have been.
    fn go_on_beyond(&mut self, turn: &mut Turn<'_>, side: Leg, answered: &[u8]) {
        let lines = SessionDescription::parse(answered).map_or(0, |answered| answered.lines().len());
        self.negotiation.welcome(turn.now, side, lines, turn.ports);
        for _ in 0..2 {
            if let Some(told) = self.negotiation.last_to(side) {
                self.negotiation.stay(side, &told);
            }
        }
        self.renew_media(turn);
    }
}

const fn is_open(stage: &Stage) -> bool {
    matches!(stage, Stage::Waiting { .. } | Stage::Accepted(_))
}

/// As much of the INVITE that this answers as its transaction and its dialog are known by.
pub fn invite_of(success: &Response) -> Request {
    let headers = &success.headers;
    let uri = headers.from().uri().clone();
    let (from, to) = (headers.from().clone(), headers.to().clone());
    let number = headers.cseq().number;
    let mut request = Request::new(Method::Invite, uri, from, to, headers.call_id(), number);
    if let Some(via) = headers.via() {
        request.headers.push_via(via.clone());
    }
    request
}
