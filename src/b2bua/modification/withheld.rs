//! What waits for a recording that is being opened: the answer to an INVITE, and what a re-INVITE or UPDATE brings. If the
//! recording does not come, a change is refused with 488 and the session stays as it was; who has accepted it already is told
//! the old one again, and nothing is heard until it takes that.

use bytes::Bytes;

use super::exchange::{Exchange, Stage};
use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::decision::{Newcomer, facts};
use crate::b2bua::reject::{self, Refusal, SET_UP_MAX};
use crate::b2bua::state::{Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Leg, MediaKind};
use crate::sdp::SessionDescription;
use crate::sip::{Message, Method, Response};

/// What waits of an INVITE that is answered.
#[derive(Debug)]
pub(in crate::b2bua) enum Withheld {
    /// B's 2xx.
    Answer(Box<Response>),
    /// The answer of a callee who comes over from another call.
    Callee(Option<Bytes>),
}

/// Why what the far end has accepted is not so.
#[derive(Debug)]
pub(super) enum Barred {
    /// It may not be in this call.
    Party(Refusal),
    /// It may not have this: it can go back.
    Session(Refusal),
}

impl Call {
    /// The callee's answer waits for a recording that is being opened, if the call may not be connected without. False: it
    /// may go on.
    pub(in crate::b2bua) fn withhold(&mut self, turn: &Turn<'_>, answer: impl FnOnce() -> Withheld) -> bool {
        let waits = self.recording == Recording::Opening && self.unarmed(turn).is_some();
        if waits {
            self.withheld = Some(answer());
            self.deadlines.set(Wait::SetUp, turn.now + SET_UP_MAX);
        }
        waits
    }

    /// What waited for the recording goes on.
    pub(in crate::b2bua) fn release_answer(&mut self, turn: &mut Turn<'_>) {
        match self.withheld.take() {
            Some(Withheld::Answer(response)) => self.pass_accepted(turn, &response),
            Some(Withheld::Callee(answer)) => self.take_callee(turn, answer.as_ref()),
            None => {}
        }
    }

    /// The recording is there that an exchange waited for.
    pub(in crate::b2bua) fn release_change(&mut self, turn: &mut Turn<'_>) {
        self.focus_on_exchange();
        let Some(mut exchange) = self.exchange.take() else {
            return;
        };
        let side = exchange.from.other();
        if let Some((standing, response)) = exchange.progress.take() {
            exchange = self.pass_progress(turn, side, exchange, (standing, &response));
        }
        match std::mem::replace(&mut exchange.stage, Stage::Preparing(Bytes::new())) {
            Stage::Accepted(response) => self.accept_exchange(turn, side, exchange, &response),
            stage => {
                exchange.stage = stage;
                self.exchange = Some(exchange);
            }
        }
    }

    /// The recording does not come that an exchange waits for.
    pub(super) fn refuse_change(&mut self, turn: &mut Turn<'_>, refusal: Refusal) {
        self.focus_on_exchange();
        let Some(exchange) = &self.exchange else { return };
        let side = exchange.from.other();
        match &exchange.stage {
            Stage::Preparing(_) if exchange.is_news => self.refuse_prepared(turn, &refusal),
            Stage::Waiting { .. } if exchange.progress.is_some() => self.refuse_progress(turn, refusal),
            Stage::Accepted(response) => {
                let response = response.clone();
                if let Some(exchange) = self.exchange.take() {
                    self.put_back(turn, side, &exchange, &response, &refusal);
                }
            }
            Stage::Preparing(_) | Stage::Waiting { .. } | Stage::AckAwaited { .. } => {}
        }
    }

    /// The far end has heard nothing of it.
    pub(in crate::b2bua) fn refuse_prepared(&mut self, turn: &mut Turn<'_>, refusal: &Refusal) {
        let waits = |exchange: &mut Box<Exchange>| exchange.is_news && matches!(exchange.stage, Stage::Preparing(_));
        if let Some(exchange) = self.exchange.take_if(waits) {
            self.withdraw(&exchange);
            self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, refusal);
        }
    }

    /// Who has accepted it is there, and the call ends next.
    pub(in crate::b2bua) fn refuse_accepted(&mut self, turn: &mut Turn<'_>) {
        let accepted = |exchange: &mut Box<Exchange>| matches!(exchange.stage, Stage::Accepted(_));
        if let Some(exchange) = self.exchange.take_if(accepted)
            && let Stage::Accepted(response) = &exchange.stage
        {
            let refusal = self.unrecordable();
            self.break_off(turn, &exchange, response.headers.cseq().number, &refusal);
        }
    }

    pub(in crate::b2bua) fn unrecordable(&self) -> Refusal {
        Refusal::Unrecordable {
            policy: reject::first_policy(&self.decision),
        }
    }

    /// Whether who has accepted an exchange may be here, and what it says may be. Of one that is refused already only the
    /// first counts.
    pub(super) fn admit_accepting(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        exchange: &Exchange,
        response: &Response,
    ) -> Result<(), Barred> {
        let newcomer = self.newcomer(turn, side, &response.headers, None);
        let met = self.meeting;
        let described = match exchange.refused {
            None => facts::media(&response.headers, &response.body),
            Some(_) => Vec::new(),
        };
        self.admit_described(turn, side, newcomer.as_ref(), &described)?;
        let joined = self.admit_focus(turn, side, &response.headers);
        joined.map_err(Barred::Party)?;
        self.insist(self.meeting != met);
        match &exchange.refused {
            Some(refusal) => Err(Barred::Session(refusal.clone())),
            None => self.admit_offered(exchange, response).map_err(Barred::Session),
        }
    }

    fn admit_described(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        newcomer: Option<&Newcomer>,
        described: &[MediaKind],
    ) -> Result<(), Barred> {
        if self.phase != Phase::Confirmed {
            let admitted = self.admit_who_is_there(turn, side, newcomer, described);
            return admitted.map(|_| ()).map_err(Barred::Party);
        }
        let binds = newcomer.is_some_and(|newcomer| self.is_stricter_for(turn, side, newcomer));
        match self.admit_change(turn, side, newcomer, described) {
            Ok(came) => {
                self.insist(came && binds);
                Ok(())
            }
            Err(refusal) if described.is_empty() => {
                self.name_barred(turn, side, newcomer, described);
                Err(Barred::Party(refusal))
            }
            // Not with that, perhaps without.
            Err(refusal) => {
                self.admit_described(turn, side, newcomer, &[])?;
                Err(Barred::Session(refusal))
            }
        }
    }

    /// A 2xx that offers adds nothing to a call that lacks its recording.
    fn admit_offered(&self, exchange: &Exchange, response: &Response) -> Result<(), Refusal> {
        let content = self.content_of(&response.headers, &response.body);
        let offer = content.sdp(&response.body).filter(|_| !exchange.offered);
        match offer {
            Some(sdp) if self.lacks_recording() && self.negotiation.adds_media(sdp) => Err(self.unrecordable()),
            _ => Ok(()),
        }
    }

    /// The far end has accepted what its asker is refused, and is told the session again as it was.
    pub(super) fn put_back(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        exchange: &Exchange,
        response: &Response,
        refusal: &Refusal,
    ) {
        let told = self.told_by(side, exchange, response);
        self.take_back(turn, exchange);
        self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, refusal);
        if exchange.request.method == Method::Invite {
            let (chronicle, cseq) = (self.chronicle, response.headers.cseq().number);
            let answer = told.clone().filter(|_| !exchange.offered);
            let answer = answer.map(|answer| ("application/sdp", answer));
            self.leg_mut(side).acknowledge(turn, &chronicle, cseq, answer);
        }
        if let Some(dialog) = &mut self.leg_mut(side).dialog {
            dialog.target_refresh(&Message::Response(response.clone()));
        }
        self.accept_upkeep(turn, side, response);
        self.gate(turn);
        if let Some(told) = told {
            self.go_on_with(turn, side, &told);
        }
        self.lead_back(turn, side);
    }

    /// What the far end was told last: our offer, or our answer to its own, which leaves all as it was.
    fn told_by(&self, side: Leg, exchange: &Exchange, response: &Response) -> Option<Bytes> {
        let (headers, body) = match exchange.offered {
            true => (&exchange.request.headers, &exchange.body),
            false => (&response.headers, &response.body),
        };
        let content = self.content_of(headers, body);
        let sdp = content.sdp(body)?;
        match exchange.offered {
            true => Some(Bytes::copy_from_slice(sdp)),
            false if exchange.request.method == Method::Invite => self.negotiation.decline(side, sdp),
            false => None,
        }
    }

    /// Its session goes on with this description, and with as many lines as that has.
    pub(in crate::b2bua) fn go_on_with(&mut self, turn: &mut Turn<'_>, side: Leg, told: &[u8]) {
        let lines = SessionDescription::parse(told).map_or(0, |told| told.lines().len());
        let is_more = lines > self.negotiation.lines();
        self.negotiation.welcome(turn.now, side, lines, turn.ports);
        self.negotiation.stay(side, told);
        if is_more {
            self.renew_media(turn);
        }
    }
}
