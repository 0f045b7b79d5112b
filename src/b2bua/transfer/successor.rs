//! The call that an executed transfer makes (RFC 3725 §4, RFC 5589 §6, §7): its caller is the party that stays, which talks in
//! another call still; its callee is called by its INVITE, or talks in another call of ours and gets a re-INVITE there.
//!
//! The callee gets what the staying party described last, without its holds, and the staying party gets the callee's answer
//! as an offer. So the staying party is not disturbed before somebody is there to talk to, a callee may ring as long as it
//! likes with no offer open in an old call (the drawback of RFC 3725's flow I), and trunks that cannot answer an INVITE
//! without an offer can be transferred to (that of flows II to IV).

use bytes::Bytes;

use super::referral::{Errand, Mover};
use crate::b2bua::awareness::Telling;
use crate::b2bua::call::Call;
use crate::b2bua::decision::Newcomer;
use crate::b2bua::dialog::{CallLeg, LegState, Owner};
use crate::b2bua::ending::Farewell;
use crate::b2bua::modification::Withheld;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Leg, Mark};
use crate::sip::Response;

impl Call {
    /// A REFER asked for this call: parties that come over are not here yet.
    pub(in crate::b2bua) fn succeed(&mut self, told: [Option<Bytes>; 2], transfers: u8) {
        self.transfers.is_successor = true;
        self.transfers.before = transfers;
        for (side, told) in Leg::BOTH.into_iter().zip(told) {
            if self.leg(side).state == LegState::Expected {
                self.negotiation.expect(side, told);
            }
        }
    }

    /// Its callee is there, and its caller is asked to come.
    pub fn awaits_caller(&self) -> bool {
        self.transfers.is_successor && self.phase == Phase::Answered
    }

    /// The callee of the new call is in another one: it is asked there.
    pub(in crate::b2bua) fn offer_callee(&mut self, turn: &mut Turn<'_>) {
        let offer = self.body.clone();
        self.transfers.errands.push_back(Errand::OfferCallee { offer });
        self.enter(turn, Phase::Inviting);
    }

    /// The INVITE for a transfer was accepted.
    pub(in crate::b2bua) fn on_referred_accepted(&mut self, turn: &mut Turn<'_>, response: &Response) {
        if let LegState::AckOwed { cseq, .. } = self.b.state {
            // Nothing more comes with it: the offer was ours.
            let chronicle = self.chronicle;
            self.b.acknowledge(turn, &chronicle, cseq, None);
        }
        self.accept_upkeep(turn, Leg::B, response);
        let answer = crate::b2bua::session::sdp_of(&response.headers, &response.body).map(Bytes::copy_from_slice);
        self.take_callee(turn, answer.as_ref());
    }

    /// The callee has accepted: the party that stays shall hear of it.
    pub fn on_callee_seated(&mut self, turn: &mut Turn<'_>, answer: Option<&Bytes>) {
        let waits = || Withheld::Callee(answer.cloned());
        if self.phase == Phase::Inviting && !self.withhold(turn, waits) {
            self.take_callee(turn, answer);
        }
        self.settle(turn);
    }

    pub(in crate::b2bua) fn take_callee(&mut self, turn: &mut Turn<'_>, answer: Option<&Bytes>) {
        if self.phase != Phase::Inviting {
            return;
        }
        if let Some(refusal) = self.unarmed(turn) {
            self.refuse(turn, &refusal);
        } else {
            match answer.and_then(|answer| self.negotiation.answer(Leg::B, answer).ok()) {
                Some(offer) => {
                    self.renew_media(turn);
                    self.transfers.errands.push_back(Errand::OfferCaller { offer });
                    self.enter(turn, Phase::Answered);
                }
                None => self.refuse(turn, &Refusal::MediaNotAcceptable),
            }
        }
    }

    /// Whether its caller and its callee may come over, by who they turned out to be. If not, the transfer is given up: they
    /// stay in their old calls.
    pub fn admit_movers(&mut self, turn: &mut Turn<'_>, newcomers: [Option<Newcomer>; 2]) -> bool {
        for (side, newcomer) in Leg::BOTH.into_iter().zip(newcomers) {
            if let Err(refusal) = self.admit_who_is_there(turn, side, newcomer.as_ref(), &[]) {
                if let Refusal::RecorderDown { fault, .. } = refusal {
                    self.story.fault.get_or_insert(fault);
                }
                self.abandon(turn, refusal.status());
                return false;
            }
        }
        true
    }

    /// Both parties are there: the call talks. `answer`: of the party that stays.
    pub fn take_over(&mut self, turn: &mut Turn<'_>, caller: Mover, callee: Option<Mover>, answer: &Bytes) {
        self.transfers.is_successor = false;
        for (side, mover) in Leg::BOTH.into_iter().zip([Some(caller), callee]) {
            if let Some(mover) = mover {
                self.sit(turn, side, mover);
            }
        }
        // Before anything that they send can arrive.
        self.renew_pausing(turn);
        let differs = self.negotiation.changes(Leg::A, answer);
        let moved = self.negotiation.moves(Leg::A, answer);
        self.story.answered = Some(turn.now);
        self.story.status = Some(200);
        self.renew_media(turn);
        self.chronicle.mark(turn.now, Mark::Answered, turn.out);
        self.enter(turn, Phase::Confirmed);
        // A refresh that was due before waited for the caller.
        self.watch_sessions();
        if let Err(error) = moved {
            tracing::warn!(session = %self.id, %error, "answer of a party that came over cannot be carried");
            self.finish(turn, "answer of A that cannot be carried", &Farewell::default());
        } else if differs {
            // It was told what that party described in the call before.
            self.retell(turn, Leg::B);
        }
        self.settle(turn);
    }

    fn sit(&mut self, turn: &mut Turn<'_>, side: Leg, mover: Mover) {
        self.negotiation.welcome(turn.now, side, mover.lines, turn.ports);
        let leg = self.leg_mut(side);
        let fronts_focus = leg.fronts_focus;
        *leg = CallLeg {
            side,
            fronts_focus,
            ..mover.leg
        };
        self.tags.push((self.leg(side).local_tag.clone(), side));
        self.from_change[side.index()] = mover.from_change;
        self.negotiation.set_aware(side, mover.aware);
        self.telling[side.index()] = Telling::default();
        self.take_carried(turn, side, mover.carried);
        self.claims[side.index()] = mover.claims;
        self.last_exchange[side.index()] = mover.exchange;
        if let Some(client) = mover.exchange {
            turn.wire.pass_client(client, Owner::Call(self.id, side));
        }
        self.take_upkeep(side, mover.upkeep);
    }

    /// The transfer is given up: whoever was called is let go.
    pub fn abandon(&mut self, turn: &mut Turn<'_>, status: u16) {
        if self.phase != Phase::Ending {
            self.story.status = Some(status);
            let reason = format!("SIP;cause={status};text=\"Transfer given up\"");
            self.finish(turn, "transfer given up", &Farewell::of_reasons(vec![reason]));
        }
        self.settle(turn);
    }

    /// The new call ends before it talks: the old one hears why.
    pub(in crate::b2bua) fn close_succession(&mut self) {
        if std::mem::take(&mut self.transfers.is_successor) {
            let silent = if self.story.fault.is_some() { 503 } else { 480 };
            let status = self.story.status.filter(|status| *status >= 300).unwrap_or(silent);
            self.transfers.errands.push_back(Errand::Declined { status });
        }
    }
}
