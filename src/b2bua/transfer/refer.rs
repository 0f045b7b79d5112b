//! A transfer: REFER inside a call (RFC 3515, RFC 5589). The policies are asked before a party is brought in: who must be
//! recorded and cannot be is not, and the call stays as it was.

use std::sync::Arc;

use crate::b2bua::call::Call;
use crate::b2bua::decision::{TransferFacts, facts};
use crate::b2bua::reject::{self, Refusal};
use crate::b2bua::turn::Turn;
use crate::model::{Leg, SessionId};
use crate::policy::{Admission, RecorderState, Verdict};
use crate::sip::transaction::ServerId;
use crate::sip::{Flow, Request};
use crate::trunk::Trunk;

/// Whom a REFER brings in.
#[derive(Clone, Debug)]
pub struct Referral {
    /// Their URI.
    pub party: String,
    /// Where they are reached, if a route leads there from who stays.
    pub trunk: Option<Arc<Trunk>>,
}

impl Call {
    /// A REFER of one party. Gives whether it was carried to the other.
    pub fn on_refer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        flow: Flow,
        (server, request): (ServerId, &Request),
        referral: Result<Referral, Refusal>,
    ) -> bool {
        let admitted = self.take_request(side, flow, request).and(referral);
        let admitted = admitted.and_then(|referral| self.admit_transfer(turn, side, &referral));
        let carried = match admitted {
            Ok(()) => self.on_passing(turn, side, server, request),
            Err(refusal) => {
                self.refuse_request(turn, side, server, request, &refusal);
                false
            }
        };
        self.settle(turn);
        carried
    }

    /// Whether the call that the transfer makes may take place.
    pub(super) fn admit_transfer(&self, turn: &mut Turn<'_>, side: Leg, referral: &Referral) -> Result<(), Refusal> {
        if self.decision.emergency {
            return Ok(());
        }
        let lines = self.negotiation.plan(self.id, self.mode()).lines;
        let transfer = TransferFacts {
            stays: (self.party(side.other()), &self.leg(side.other()).trunk),
            brought_in: (
                referral.party.clone(),
                referral.trunk.as_ref().map(|trunk| trunk.name.clone()),
            ),
            referrer: self.party(side),
            media: lines.iter().map(|line| line.kind).collect(),
        };
        let decision = turn.decide_by(facts::at_our_address(transfer.facts(turn.now), turn.topology, None));
        match (decision.admission(turn.recorder, false), turn.recorder) {
            (Admission::Proceed | Admission::ProceedUnrecorded, _) => Ok(()),
            (Admission::Refuse, RecorderState::Down(fault)) if decision.verdict == Verdict::Record => {
                Err(reject::of_recorder(&decision, turn.terms, fault))
            }
            (Admission::Refuse, _) => reject::of_verdict(&decision),
        }
    }

    /// Who is at this end, as the policies know them.
    pub fn party(&self, side: Leg) -> String {
        match side {
            Leg::A => self.decision.caller.to_string(),
            Leg::B => self.decision.callee.to_string(),
        }
    }

    /// The trunk of the party at this end, and the path to it.
    pub const fn reach(&self, side: Leg) -> (&Arc<Trunk>, Flow) {
        let leg = self.leg(side);
        (&leg.trunk, leg.flow)
    }

    /// Nobody has answered yet.
    pub const fn is_ringing(&self) -> bool {
        matches!(
            self.phase,
            crate::b2bua::state::Phase::Preparing | crate::b2bua::state::Phase::Inviting
        )
    }

    /// The conversation that its opening record names.
    pub fn conversation(&self) -> SessionId {
        self.header.conversation.unwrap_or(self.id)
    }

    /// The conversation that the call joined since its opening record was written.
    pub(in crate::b2bua) fn joined(&self, turn: &Turn<'_>) -> Option<SessionId> {
        let joined = turn.conversations.of(self.id);
        joined.filter(|conversation| *conversation != self.conversation())
    }
}
