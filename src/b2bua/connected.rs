//! Connected identity (RFC 4916): a party that is another one from now on says so in the From of an UPDATE or re-INVITE.
//! Where both peers know `from-change` it crosses, later requests bear it, and the recording tells who was connected.

use super::call::Call;
use super::reliable::names;
use super::turn::Turn;
use crate::model::{Leg, Mark};
use crate::sip::{Headers, Method, NameAddr, Request};

const OPTION: &str = "from-change";

impl Call {
    /// Whether a peer knows `from-change`: what any of its messages says, stands.
    pub(super) fn note_from_change(&mut self, side: Leg, headers: &Headers) {
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
