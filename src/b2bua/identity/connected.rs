//! Connected identity (RFC 4916): a party that is another one from now on says so in the From of an UPDATE or re-INVITE.
//! Where both peers know `from-change` it crosses, later requests bear it, and the recording tells who was connected.
//!
//! Another party, another decision ([`crate::b2bua::decision::newcomer`]): who must be recorded and cannot be is not connected, and the call
//! stays as it was.

use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::invite::names;
use crate::b2bua::modification::Stage;
use crate::b2bua::turn::Turn;
use crate::model::{Fault, Leg, Mark};
use crate::sip::{Headers, Method, NameAddr, Request};

const OPTION: &str = "from-change";

impl Call {
    /// Whether a peer knows `from-change`, and `record-aware`, and what it says of itself: what any of its messages says, stands.
    pub(in crate::b2bua) fn note_from_change(&mut self, side: Leg, headers: &Headers) {
        self.claims[side.index()].note(headers);
        self.note_aware(side, headers);
        if names(headers, "Supported", OPTION) {
            self.from_change[side.index()] = true;
        }
    }

    /// Who the sender of a request is now, if it says that it has become another.
    pub(in crate::b2bua) fn new_identity(&self, from: Leg, request: &Request) -> Option<NameAddr> {
        let may_change = matches!(request.method, Method::Invite | Method::Update) && self.from_change == [true; 2];
        let now = request.headers.from();
        let before = self.leg(from).dialog.as_ref()?.remote();
        (may_change && now.uri() != before.uri()).then(|| now.clone())
    }

    /// The far end does not hear who a party has become before the recording that this asks for is open.
    pub(in crate::b2bua) fn holds_identity(&self) -> bool {
        let is_changing = self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.is_news && matches!(exchange.stage, Stage::Preparing(_)));
        is_changing && (self.awaits_recording() || self.awaits_change())
    }

    /// The recording that a change was held for is open.
    pub(in crate::b2bua) fn release_identity(&mut self, turn: &mut Turn<'_>) {
        self.deadlines.clear(Wait::SetUp);
        self.former = None;
        self.reopen(turn);
        if !self.negotiation.has_media() {
            // Else the relay says when its new plan holds.
            self.ask_far_end(turn);
        }
        self.release_change(turn);
        self.release_answer(turn);
    }

    /// The recording that a change is held for does not come, and the call lives on without: as it was.
    pub(in crate::b2bua) fn refuse_identity(&mut self, turn: &mut Turn<'_>, fault: Fault) {
        if self.is_barred() {
            self.end_without_recorder(turn, fault);
            return;
        }
        self.reopen(turn);
        if !self.decision.is_strict_before(self.meeting) {
            self.release_answer(turn);
            return;
        }
        let refusal = self.unrecordable();
        self.refuse_prepared(turn, &refusal);
    }

    /// The far end accepted it: both dialogs bear the new URI (RFC 4916 §4.4).
    pub(in crate::b2bua) fn connect_identity(&mut self, turn: &mut Turn<'_>, from: Leg, identity: NameAddr) {
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
