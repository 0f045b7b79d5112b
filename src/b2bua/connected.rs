//! Connected identity (RFC 4916): a party that is another one from now on says so in the From of an UPDATE or re-INVITE.
//! Where both peers know `from-change` it crosses, later requests bear it, and the recording tells who was connected.
//!
//! Another party, another decision: who must be recorded and cannot be is not connected, and the call stays as it was.

use std::sync::Arc;

use super::call::Call;
use super::continuation::Kept;
use super::deadlines::Wait;
use super::exchange::Stage;
use super::facts::{self, ChangeFacts};
use super::output::StepKind;
use super::reject::{self, Refusal, SET_UP_MAX};
use super::reliable::names;
use super::state::{Phase, Recording};
use super::turn::Turn;
use crate::model::{Fault, Gate, Leg, Mark, MediaCommand};
use crate::policy::{Decision, RecorderState, Verdict};
use crate::sip::{Headers, Method, NameAddr, Request};

const OPTION: &str = "from-change";

impl Call {
    /// Whether a peer knows `from-change`, and what it says of itself: what any of its messages says, stands.
    pub(super) fn note_from_change(&mut self, side: Leg, headers: &Headers) {
        self.claims[side.index()].note(headers);
        if names(headers, "Supported", OPTION) {
            self.from_change[side.index()] = true;
        }
    }

    /// Who the sender of a request is now, if it says that it has become another.
    pub(super) fn new_identity(&self, from: Leg, request: &Request) -> Option<NameAddr> {
        let may_change = matches!(request.method, Method::Invite | Method::Update) && self.from_change == [true; 2];
        let now = request.headers.from();
        let before = self.leg(from).dialog.as_ref()?.remote();
        (may_change && now.uri() != before.uri()).then(|| now.clone())
    }

    /// Asks the policies about who a party has become. What is recorded stays recorded, as strictly as before: a party's word
    /// about itself only adds to that, whether the far end accepts it or not. Nor does it make an emergency.
    pub(super) fn admit_identity(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        request: &Request,
        identity: &NameAddr,
    ) -> Result<(), Refusal> {
        let lines = self.negotiation.plan(self.id, self.mode()).lines;
        let change = ChangeFacts {
            request,
            side,
            before: self.party(side),
            other: self.party(side.other()),
            trunks: [&self.a.trunk, &self.b.trunk],
            media: lines.iter().map(|line| line.kind).collect(),
            meeting: self.meeting,
        };
        let mut decision = turn.policies.decide(&change.facts(turn.now));
        if self.decision.emergency || decision.emergency {
            return Ok(());
        }
        if let Verdict::Block(_) = decision.verdict {
            let policy = reject::first_policy(&decision);
            return Err(Refusal::PolicyForbids { policy });
        }
        if self.wants_recording() && !decision.is_stricter_than(&self.decision) {
            return Ok(());
        }
        decision.bind_as(&self.decision);
        if let Some(fault) = self.missing_for(turn, &decision) {
            return Err(reject::of_recorder(&decision, turn.terms, fault));
        }
        self.adopt(turn, side, decision, identity);
        Ok(())
    }

    /// Why a recording that this decision insists on is not to be had.
    fn missing_for(&self, turn: &Turn<'_>, decision: &Decision) -> Option<Fault> {
        if !decision.is_strict_before(self.meeting) && !decision.is_strict_during(self.meeting) {
            return None;
        }
        match (self.recording, turn.recorder) {
            (Recording::Broken(fault), _) => Some(fault),
            (Recording::NotWanted | Recording::Unavailable(_), RecorderState::Down(fault)) => Some(fault),
            _ => None,
        }
    }

    fn adopt(&mut self, turn: &mut Turn<'_>, side: Leg, decision: Decision, identity: &NameAddr) {
        facts::change_header(&mut self.header, &decision, self.meeting, side, identity);
        self.decision = Arc::new(decision);
        let decided = self.decided();
        self.chronicle.step(turn.now, StepKind::Decided(decided), turn.out);
        if self.phase == Phase::Confirmed {
            self.kept = Kept::Stale;
        }
        if !self.wants_recording() {
            return;
        }
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

    /// The far end does not hear who a party has become before the recording that this asks for is open.
    pub(super) fn holds_identity(&self) -> bool {
        let is_changing = self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.identity.is_some() && matches!(exchange.stage, Stage::Preparing(_)));
        is_changing && self.recording == Recording::Opening && self.decision.is_strict_before(self.meeting)
    }

    /// The recording that a change was held for is open.
    pub(super) fn release_identity(&mut self, turn: &mut Turn<'_>) {
        self.deadlines.clear(Wait::SetUp);
        self.open_gate(turn);
        if !self.negotiation.has_media() {
            // Else the relay says when its new plan holds.
            self.ask_far_end(turn);
        }
    }

    /// The recording that a change is held for does not come, and the call lives on without: as it was.
    pub(super) fn refuse_identity(&mut self, turn: &mut Turn<'_>, fault: Fault) {
        self.open_gate(turn);
        if !self.decision.is_strict_before(self.meeting) {
            return;
        }
        let changing = |exchange: &mut super::exchange::Exchange| {
            exchange.identity.is_some() && matches!(exchange.stage, Stage::Preparing(_))
        };
        if let Some(exchange) = self.exchange.take_if(changing) {
            self.withdraw(&exchange);
            let refusal = self.recorder_down(turn, fault);
            self.refuse_request(turn, exchange.from, exchange.server, &exchange.request, &refusal);
        }
    }

    fn open_gate(&mut self, turn: &mut Turn<'_>) {
        if std::mem::take(&mut self.gated) {
            let (session, gate) = (self.id, Gate::Open);
            turn.media(MediaCommand::Gate { session, gate });
        }
    }

    /// The far end accepted it: both dialogs bear the new URI (RFC 4916 §4.4).
    pub(super) fn connect_identity(&mut self, turn: &mut Turn<'_>, from: Leg, identity: NameAddr) {
        if let Some(dialog) = &mut self.leg_mut(from.other()).dialog {
            dialog.rename_local(identity.clone());
        }
        let party = identity.clone().without_tag().to_string();
        if let Some(dialog) = &mut self.leg_mut(from).dialog {
            dialog.rename_remote(identity);
        }
        self.chronicle
            .mark(turn.now, Mark::Connected { leg: from, party }, turn.out);
    }
}
