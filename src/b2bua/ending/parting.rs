//! The BYE of a party that proves itself to the far end with credentials of its own: the far end may challenge it, and it can be
//! said again with proof. So its answer is the far end's; any other BYE is answered at once.

use std::time::Duration;

use super::farewell::Farewell;
use crate::b2bua::call::Call;
use crate::b2bua::crossing::back;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::dialog::LegState;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::transfer::Notices;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Headers, Method, Request, Response};

/// Challenges of one party's BYE that it hears of.
const CHALLENGES_MAX: u8 = 2;
/// How long it may take to say its BYE again: as long as one may take on its way (64·T1, RFC 3261 §17.1.2.2).
const AGAIN_MAX: Duration = Duration::from_secs(32);

/// Who proves itself, and the BYE that is on its way.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Partings {
    /// A, B: its requests brought credentials.
    proves: [bool; 2],
    challenges: u8,
    asked: Option<Box<Asked>>,
    /// Who was asked for proof, and has not said its BYE again.
    challenged: Option<Leg>,
    /// Whose BYE was on its way when the call ended.
    held: Option<Leg>,
}

#[derive(Debug)]
struct Asked {
    from: Leg,
    server: ServerId,
    client: ClientId,
    request: Request,
}

impl Call {
    pub(in crate::b2bua) fn note_proof(&mut self, side: Leg, headers: &Headers) {
        let brings = |name| headers.contains(name);
        self.partings.proves[side.index()] |= brings("Authorization") || brings("Proxy-Authorization");
    }

    /// A BYE goes on before it is answered. False: it is one like any other.
    pub(super) fn ask_to_part(&mut self, turn: &mut Turn<'_>, side: Leg, server: ServerId, request: &Request) -> bool {
        let other = side.other();
        let is_up = [side, other].iter().all(|leg| self.leg(*leg).state == LegState::Up);
        let is_telling = self.transfers.notices.as_ref().is_some_and(Notices::is_telling);
        let transfers = self.transfers.referring.is_some() || is_telling;
        let is_alone = self.partings.asked.is_none() && self.exchange.is_none() && !transfers;
        let proves = self.partings.proves[side.index()] && self.leg(other).trunk.conduct.credentials.is_none();
        let may_ask = proves && self.partings.challenges < CHALLENGES_MAX;
        if self.phase != Phase::Confirmed || !is_up || !is_alone || !may_ask {
            return false;
        }
        let farewell = Farewell::of(&self.crossing(side), request);
        let Some(mut bye) = self.leg_mut(other).dialog_request(Method::Bye) else {
            return false;
        };
        farewell.write(&mut bye);
        let client = turn.request(self.id, self.line(other), bye);
        self.deadlines.clear(Wait::ByeAgain);
        self.partings.challenged = None;
        self.partings.asked = Some(Box::new(Asked {
            from: side,
            server,
            client,
            request: request.clone(),
        }));
        true
    }

    /// Who has said BYE is asked nothing more while the far end has not answered it.
    pub(in crate::b2bua) fn take_parting(&self, side: Leg, method: &Method) -> Result<(), Refusal> {
        let is_left = self.partings.asked.as_ref().is_some_and(|asked| asked.from != side);
        if is_left && *method != Method::Bye {
            return Err(Refusal::Glare);
        }
        Ok(())
    }

    pub(in crate::b2bua) fn is_parting_by(&self, client: ClientId) -> bool {
        self.partings.asked.as_ref().is_some_and(|asked| asked.client == client)
    }

    /// A BYE has been said, and the call goes on until its far end has accepted it.
    pub(in crate::b2bua) const fn is_parting(&self) -> bool {
        self.partings.asked.is_some() || self.partings.challenged.is_some()
    }

    /// The far end of a BYE that was on its way when the call ended.
    pub(super) fn is_far_end_of_held(&self, side: Leg) -> bool {
        self.partings.held == Some(side.other())
    }

    /// The far end says nothing to the BYE, or cannot be reached by the `broken` path: who said it is gone, and the far end is
    /// told once more where that leads anywhere.
    pub(in crate::b2bua) fn on_parting_failed(&mut self, turn: &mut Turn<'_>, broken: Option<Flow>) {
        let Some(from) = self.partings.asked.as_ref().map(|asked| asked.from) else {
            return;
        };
        self.close_exchange(turn);
        self.close_parting(turn);
        self.on_bye_failed(turn, from.other(), broken);
        self.end(turn, format!("BYE from {from}"));
    }

    /// What the far end says to the BYE.
    pub(in crate::b2bua) fn on_parting_answered(&mut self, turn: &mut Turn<'_>, response: &Response) {
        if !response.is_final() {
            return;
        }
        let Some(asked) = self.partings.asked.take() else {
            return;
        };
        turn.wire.disown_client(asked.client);
        let from = asked.from;
        if matches!(response.status, 401 | 407) {
            self.partings.challenges += 1;
            self.partings.challenged = Some(from);
            let answer = back(&self.crossing(from.other()), &asked.request, response);
            turn.respond(self.line(from), asked.server, answer);
            self.deadlines.set(Wait::ByeAgain, turn.now + AGAIN_MAX);
            return;
        }
        turn.respond(
            self.line(from),
            asked.server,
            Response::to(&asked.request, 200, None, None),
        );
        for leg in Leg::BOTH {
            self.leg_mut(leg).state = LegState::Gone;
        }
        self.end(turn, format!("BYE from {from}"));
    }

    /// Who was challenged does not say its BYE again: it is gone all the same (RFC 3261 §15.1.1).
    pub(in crate::b2bua) fn on_bye_not_said_again(&mut self, turn: &mut Turn<'_>) {
        let Some(from) = self.partings.challenged.take() else {
            return;
        };
        self.close_exchange(turn);
        self.leg_mut(from).state = LegState::Gone;
        self.hang_up(turn, from.other(), &Farewell::default(), &Refusal::Cancelled);
        self.end(turn, format!("BYE from {from}"));
    }

    /// The call ends otherwise: who has said BYE needs no more of the far end's answer, and no BYE of ours; the far end has
    /// ours already.
    pub(super) fn close_parting(&mut self, turn: &mut Turn<'_>) {
        let Some(asked) = self.partings.asked.take() else {
            return;
        };
        turn.respond(
            self.line(asked.from),
            asked.server,
            Response::to(&asked.request, 200, None, None),
        );
        self.leg_mut(asked.from).state = LegState::Gone;
        self.partings.held = Some(asked.from);
        let farewell = Farewell::of(&self.crossing(asked.from), &asked.request);
        let far_end = self.leg_mut(asked.from.other());
        if far_end.state == LegState::Up {
            let (bye, again) = (asked.client, Some(farewell));
            far_end.state = LegState::Leaving { bye, again };
        }
    }
}
