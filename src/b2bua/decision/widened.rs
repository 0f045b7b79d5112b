//! A session that comes to have kinds of media that it was not decided with: audio becomes video, by a re-INVITE, an UPDATE or
//! a late offer. Policies may ask for those alone, so the call is decided anew, by the parties that it has now. As with
//! [`super::newcomer`], what is recorded stays so.

use bytes::Bytes;

use super::facts::{self, ChangeFacts};
use super::newcomer::Newcomer;
use crate::b2bua::call::Call;
use crate::b2bua::reject::Refusal;
use crate::b2bua::turn::Turn;
use crate::model::{Leg, MediaKind};
use crate::policy::CallFacts;
use crate::sip::Headers;

/// `kinds` with those of `more` that are not among them.
pub(in crate::b2bua) fn widened(mut kinds: Vec<MediaKind>, more: &[MediaKind]) -> Vec<MediaKind> {
    for kind in more {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    kinds
}

impl Call {
    /// Whether a party that may be another one, with what it describes, may be in this call. Gives whether something was decided
    /// anew.
    pub(in crate::b2bua) fn admit_change(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        newcomer: Option<&Newcomer>,
        described: &[MediaKind],
    ) -> Result<bool, Refusal> {
        let former = self.as_it_is();
        let is_news = match newcomer {
            Some(newcomer) => self.admit_newcomer(turn, side, newcomer, described)?,
            None => false,
        };
        let is_news = is_news || self.admit_media(turn, described)?;
        if is_news {
            self.keep_former(former);
        }
        Ok(is_news)
    }

    /// Whether the answer to an offer that was let in may say what it says: it should bring no other kinds.
    pub(in crate::b2bua) fn admit_late_answer(
        &mut self,
        turn: &mut Turn<'_>,
        headers: &Headers,
        body: &Bytes,
    ) -> Result<(), Refusal> {
        let came = self.admit_change(turn, Leg::A, None, &facts::media(headers, body))?;
        self.insist(came);
        Ok(())
    }

    /// Whether the session may grow by what is `offered`. Gives whether something was decided anew.
    fn admit_media(&mut self, turn: &mut Turn<'_>, offered: &[MediaKind]) -> Result<bool, Refusal> {
        let mut known = self.kinds.clone();
        if known.is_empty() {
            // While nothing is known it counts as audio.
            known.push(MediaKind::Audio);
        }
        let count = known.len();
        let kinds = widened(known, offered);
        if self.decision.emergency || kinds.len() == count {
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
        let is_news = judgement.is_stricter || judgement.tells_more;
        if is_news {
            self.supersede_decision(turn.now);
            self.announced.refused = judgement.refused;
            self.announced.review();
            self.stand_by(turn, judgement.decision);
        }
        if judgement.is_stricter {
            self.record_newcomer(turn);
        }
        Ok(is_news)
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
