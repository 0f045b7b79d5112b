//! A session that comes to have kinds of media that it was not decided with: audio becomes video, by a re-INVITE, an UPDATE or
//! a late offer. Policies may ask for those alone, so the call is decided anew, by the parties that it has now. As with
//! [`super::newcomer`], what is recorded stays so.

use super::call::Call;
use super::facts::{self, ChangeFacts};
use super::reject::Refusal;
use super::turn::Turn;
use crate::model::{Leg, MediaKind};
use crate::policy::CallFacts;

impl Call {
    /// Whether the session may grow by what is `offered`. Gives whether something was decided anew.
    pub(super) fn admit_media(&mut self, turn: &mut Turn<'_>, offered: &[MediaKind]) -> Result<bool, Refusal> {
        let mut kinds = self.kinds.clone();
        if kinds.is_empty() {
            // While nothing is known it counts as audio.
            kinds.push(MediaKind::Audio);
        }
        let known = kinds.len();
        for kind in offered {
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        if self.decision.emergency || kinds.len() == known {
            return Ok(false);
        }
        let mut decision = turn.policies.decide(&self.facts_with(turn, kinds.clone()));
        // An emergency call begins as one.
        if decision.emergency {
            return Ok(false);
        }
        decision.caller.clone_from(&self.decision.caller);
        decision.callee.clone_from(&self.decision.callee);
        let judgement = self.weigh(turn, decision, false);
        if let Some(refusal) = judgement.refusal {
            return Err(refusal);
        }
        self.kinds = kinds;
        if judgement.is_stricter {
            self.supersede_decision(turn.now);
            self.stand_by(turn, judgement.decision);
            self.record_newcomer(turn);
        }
        Ok(judgement.is_stricter)
    }

    /// As the INVITE tells them, while the parties are those of the INVITE; else who they are now.
    fn facts_with(&self, turn: &Turn<'_>, media: Vec<MediaKind>) -> CallFacts {
        let asked = self.facts_of_invite(turn);
        let is_theirs = |facts: &CallFacts| {
            let decision = turn.policies.decide(facts);
            decision.caller.is_same(&self.decision.caller) && decision.callee.is_same(&self.decision.callee)
        };
        let facts = asked.filter(is_theirs).unwrap_or_else(|| {
            let change = ChangeFacts {
                side: Leg::A,
                told: vec![self.party(Leg::A)],
                before: self.party(Leg::A),
                other: self.party(Leg::B),
                trunks: [&self.a.trunk, &self.b.trunk],
                media: Vec::new(),
                meeting: self.meeting,
            };
            facts::at_our_address(change.facts(turn.now), turn.topology, None)
        });
        CallFacts { media, ..facts }
    }
}
