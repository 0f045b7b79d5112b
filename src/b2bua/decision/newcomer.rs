//! Who turns out to be at an end of the call (RFC 3325 §9.1, RFC 4916): the From of an UPDATE or re-INVITE, or the
//! P-Asserted-Identity, else the Remote-Party-ID, of these and of a 2xx, names another party than the one that was decided
//! for. That is how exchanges tell of transfer, pickup and forwarding.
//!
//! Another party, another decision. A request of somebody who must be recorded and cannot be is refused, and the call stays as
//! it was; a 2xx of theirs ends it. What is recorded stays recorded, as strictly as before: a party's word about itself only
//! adds to that, whether the far end accepts it or not. Nor does it make an emergency.

use std::sync::Arc;

use bytes::Bytes;

use super::facts::{self, ChangeFacts};
use super::widened::widened;
use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::crossing::numbering;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::ending::Farewell;
use crate::b2bua::reject::{self, Refusal, SET_UP_MAX};
use crate::b2bua::state::{Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Fault, Leg, Mark, MediaKind};
use crate::policy::{Decision, OnRefusal, RecorderState};
use crate::sip::{Headers, NameAddr};

/// A party that nobody has decided for yet.
#[derive(Debug)]
pub struct Newcomer {
    named: NameAddr,
    /// The header that says so.
    by: &'static str,
    /// The network says so alone: nobody else will tell the recording.
    is_asserted: bool,
    /// Who it is said to be (URIs), the first counts as who it is.
    told: Vec<String>,
    /// It is no other than before under a form that grants may know apart.
    is_namesake: bool,
}

impl Newcomer {
    /// Nobody who was there under another name.
    pub(in crate::b2bua) const fn is_another(&self) -> bool {
        !self.is_namesake
    }
}

/// What the policies say of a newcomer.
pub(super) struct Judgement {
    pub(super) decision: Decision,
    pub(in crate::b2bua) refusal: Option<Refusal>,
    pub(super) is_stricter: bool,
    /// It tells or asks somebody whom the decision of now does not.
    pub(super) tells_more: bool,
    /// What it means beside it that A, that B did not agree.
    pub(super) refused: [Option<OnRefusal>; 2],
}

impl Call {
    /// Who is at this end by a message of theirs, if that is not who was decided for. `from`: who they say to have become.
    pub(in crate::b2bua) fn newcomer(
        &self,
        turn: &Turn<'_>,
        side: Leg,
        headers: &Headers,
        from: Option<&NameAddr>,
    ) -> Option<Newcomer> {
        let trunk = &self.leg(side).trunk;
        let known = match side {
            Leg::A => &self.decision.caller,
            Leg::B => &self.decision.callee,
        };
        let identify = |named: &NameAddr| {
            let uri = named.uri().to_string();
            (turn.policies.identify(&trunk.name, &uri), uri)
        };
        let mut asserted = numbering::asserted(headers, trunk, turn.policies);
        asserted.retain(|named| identify(named).0.is_readable());
        // Of several names for one party the one that is known counts.
        asserted.sort_by_key(|named| !identify(named).0.is_same(known));
        let by = match asserted.is_empty() {
            true => "From",
            false if headers.contains("P-Asserted-Identity") => "P-Asserted-Identity",
            false => "Remote-Party-ID",
        };
        let named = asserted.first().or(from)?.clone();
        let all = asserted.iter().chain(from);
        let all: Vec<_> = all.map(identify).collect();
        if self.decision.emergency || all.iter().all(|(party, _)| party.is_same(known)) {
            return None;
        }
        let is_namesake = all.first().is_some_and(|(party, _)| party.is_namesake(known));
        // The decision reads numbers by the dial plan of A's trunk.
        let caller = &self.a.trunk.name;
        let told = all.into_iter().map(|(party, uri)| {
            let is_alike = turn.policies.identify(caller, &uri).is_same(&party);
            if is_alike { uri } else { party.to_string() }
        });
        Some(Newcomer {
            named,
            by,
            is_asserted: from.is_none(),
            told: told.collect(),
            is_namesake,
        })
    }

    /// Whether the policies want more because of it, whatever media it comes with.
    pub(in crate::b2bua) fn is_stricter_for(&self, turn: &Turn<'_>, side: Leg, newcomer: &Newcomer) -> bool {
        let judgement = self.judge(turn, side, newcomer, self.negotiation.kinds());
        !judgement.decision.emergency && judgement.is_stricter
    }

    /// By the `media` that it has come to have.
    fn judge(&self, turn: &Turn<'_>, side: Leg, newcomer: &Newcomer, media: Vec<MediaKind>) -> Judgement {
        let change = ChangeFacts {
            side,
            told: newcomer.told.clone(),
            before: self.party(side),
            other: self.party(side.other()),
            trunks: [&self.a.trunk, &self.b.trunk],
            media,
            meeting: self.meeting,
        };
        let facts = facts::at_our_address(change.facts(turn.now), turn.topology, None);
        self.weigh(turn, turn.policies.decide(&facts), !newcomer.is_namesake)
    }

    /// What another decision means for a call that is there already: it only adds. `comes`: for somebody else than who is
    /// there already, and not under another name only.
    pub(super) fn weigh(&self, turn: &Turn<'_>, mut decision: Decision, comes: bool) -> Judgement {
        let refused = self.announced.refused;
        let refused = refused.map(|refused| refused.map(|refused| decision.held_to(refused)));
        if let Err(refusal) = reject::of_verdict(&decision) {
            let refusal = Some(refusal);
            return Judgement {
                decision,
                refusal,
                is_stricter: true,
                tells_more: false,
                refused,
            };
        }
        let is_stricter = decision.is_stricter_than(&self.decision);
        let tells_more = decision.tells_more_than(&self.decision);
        let missing = self.missing_for(turn, &decision);
        decision.bind_as(&self.decision);
        let missing = match is_stricter {
            true => self.missing_for(turn, &decision),
            false => missing.filter(|_| comes),
        };
        let refusal = missing.map(|fault| reject::of_recorder(&decision, turn.terms, fault));
        let refusal = refusal.or_else(|| self.unheard_for(&decision));
        Judgement {
            decision,
            refusal,
            is_stricter,
            tells_more,
            refused,
        }
    }

    /// Whether who a party turns out to be may be in this call, with what it describes. Gives whether something was decided
    /// anew.
    pub(super) fn admit_newcomer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        newcomer: &Newcomer,
        described: &[MediaKind],
    ) -> Result<bool, Refusal> {
        let kinds = widened(self.negotiation.kinds(), described);
        let judgement = self.judge(turn, side, newcomer, kinds.clone());
        if judgement.decision.emergency {
            return Ok(false);
        }
        if let Some(refusal) = judgement.refusal {
            return Err(refusal);
        }
        if newcomer.is_namesake && !judgement.is_stricter && !judgement.tells_more {
            return Ok(false);
        }
        self.kinds = kinds;
        self.adopt(turn, side, judgement, newcomer);
        Ok(true)
    }

    /// The same of who answers something: there already, and not to be refused a request. The record names them also where
    /// they may not be.
    pub(in crate::b2bua) fn admit_answerer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        headers: &Headers,
        body: &Bytes,
    ) -> Result<bool, Refusal> {
        let newcomer = self.newcomer(turn, side, headers, None);
        let described = facts::media(headers, body);
        self.admit_who_is_there(turn, side, newcomer.as_ref(), &described)
    }

    pub(in crate::b2bua) fn admit_who_is_there(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        newcomer: Option<&Newcomer>,
        described: &[MediaKind],
    ) -> Result<bool, Refusal> {
        let admitted = self.admit_change(turn, side, newcomer, described);
        if admitted.is_err() {
            self.name_barred(turn, side, newcomer, described);
        }
        self.insist(admitted == Ok(true));
        admitted
    }

    pub(in crate::b2bua) fn name_barred(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        newcomer: Option<&Newcomer>,
        described: &[MediaKind],
    ) {
        if let Some(newcomer) = newcomer {
            let kinds = widened(self.negotiation.kinds(), described);
            let decision = self.judge(turn, side, newcomer, kinds).decision;
            self.write_down(turn, side, decision, newcomer);
        }
    }

    /// Why a recording that this decision insists on is not to be had.
    pub(super) fn missing_for(&self, turn: &Turn<'_>, decision: &Decision) -> Option<Fault> {
        if !decision.is_strict_before(self.meeting) && !decision.is_strict_during(self.meeting) {
            return None;
        }
        match (self.recording, turn.recorder) {
            (Recording::Broken(fault), _) => Some(fault),
            (Recording::NotWanted | Recording::Unavailable(_), RecorderState::Down(fault)) => Some(fault),
            _ => None,
        }
    }

    fn write_down(&mut self, turn: &mut Turn<'_>, side: Leg, decision: Decision, newcomer: &Newcomer) {
        let named = (&newcomer.named, newcomer.by);
        self.supersede_decision(turn.now);
        facts::change_party(Arc::make_mut(&mut self.header), &decision, side, named);
        self.stand_by(turn, decision);
    }

    /// The decision holds from here on.
    pub(in crate::b2bua) fn stand_by(&mut self, turn: &mut Turn<'_>, decision: Decision) {
        facts::change_header(Arc::make_mut(&mut self.header), &decision, self.meeting);
        self.decision = Arc::new(decision);
        self.demand_hearing();
        let decided = self.decided();
        self.is_amended |= self.chronicle.is_kept();
        self.chronicle.decided(turn.now, decided, turn.out);
        if self.phase == Phase::Confirmed {
            self.kept = Kept::Stale;
        }
    }

    fn adopt(&mut self, turn: &mut Turn<'_>, side: Leg, judgement: Judgement, newcomer: &Newcomer) {
        self.write_down(turn, side, judgement.decision, newcomer);
        self.announced.refused = judgement.refused;
        if newcomer.is_namesake {
            self.announced.review();
        } else {
            self.announced.forget(side);
        }
        if judgement.is_stricter {
            self.record_newcomer(turn);
        }
        if newcomer.is_asserted {
            let party = newcomer.named.clone().without_tag().to_string();
            self.chronicle
                .mark(turn.now, Mark::Connected { leg: side, party }, turn.out);
        }
    }

    /// Recorded as the decision of now wants it.
    pub(super) fn record_newcomer(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.recording, Recording::NotWanted | Recording::Unavailable(_)) {
            self.record_from_here(turn);
        }
        // They talk: `during` binds at once.
        self.armed = true;
        if self.recording == Recording::Opening {
            self.deadlines.set(Wait::SetUp, turn.now + SET_UP_MAX);
            if self.decision.is_strict_before(self.meeting) {
                self.gate(turn);
            }
        } else {
            self.renew_media(turn);
        }
    }

    /// Who has accepted something inside the call may not be in it.
    pub(in crate::b2bua) fn part_with_answerer(&mut self, turn: &mut Turn<'_>, side: Leg, refusal: &Refusal) {
        self.gate(turn);
        if self.phase == Phase::Inviting {
            self.refuse(turn, refusal);
            return;
        }
        let mut reasons = Vec::new();
        if let Refusal::RecorderDown { fault, .. } = refusal {
            self.story.fault.get_or_insert(*fault);
            reasons = reject::recording_lost();
        }
        let by = format!("policy {}: who answered as {side} may not be connected", self.policy());
        self.finish(turn, &by, &Farewell::of_reasons(reasons));
    }
}
