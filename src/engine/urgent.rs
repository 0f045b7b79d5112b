//! What stands in the way of an emergency call and need not.

use super::signaling::Signaling;
use crate::b2bua;
use crate::model::Timestamp;
use crate::sip::{Flow, Message, Request, Uri};

/// What names dialogs of others: of an emergency call that cannot be read, nothing is lost without it.
const REFERENCES: [&str; 3] = ["Replaces", "Join", "Target-Dialog"];

impl Signaling {
    /// A message that is broken where nobody needs it whole, if it begins an emergency call or is part of one.
    pub(super) fn salvage(&self, now: Timestamp, flow: Flow, bytes: &[u8]) -> Option<Message> {
        let salvaged = Message::salvage(bytes).ok()?;
        let is_urgent = matches!(&salvaged, Message::Request(request) if self.is_urgent(now, flow, request));
        is_urgent.then_some(salvaged)
    }

    /// Before it goes on: no proxy behind us shall refuse it for what it does not know, and neither do we.
    pub(super) fn smooth_way(&self, now: Timestamp, flow: Flow, invite: &mut Request) {
        let is_bare = invite.headers.contact().is_none();
        let is_misread = b2bua::dialog_named(invite).is_err();
        let is_odd = is_bare || is_misread || invite.headers.contains("Proxy-Require");
        if !is_odd || !self.is_urgent(now, flow, invite) {
            return;
        }
        invite.headers.remove("Proxy-Require");
        if is_misread {
            REFERENCES.iter().for_each(|name| invite.headers.remove(name));
        }
        if is_bare {
            // Where it came from is where it can be reached.
            invite.headers.remove("Contact");
            invite
                .headers
                .push("Contact", format!("<{}>", Uri::sip(None, flow.remote)));
        }
    }
}
