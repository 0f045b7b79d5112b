//! What stands in the way of a call and need not: broken lines that nobody needs, and more where it is an emergency.

use std::time::Duration;

use super::signaling::Signaling;
use crate::b2bua;
use crate::model::Timestamp;
use crate::sip::{Flow, Message, Method, ParseError, Request, Uri};

/// What names dialogs of others: of an emergency call that cannot be read, nothing is lost without it.
const REFERENCES: [&str; 3] = ["Replaces", "Join", "Target-Dialog"];

/// How often at most responses that cannot be read are logged.
const UNREAD_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Responses that could not be read, told once an interval: a flood fills no log.
#[derive(Debug, Default)]
pub(super) struct Unread {
    untold: u64,
    told: Option<Timestamp>,
}

impl Unread {
    /// How many are to be told of now, this one among them.
    fn note(&mut self, now: Timestamp) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + UNREAD_LOG_INTERVAL) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl Signaling {
    /// A message that is broken where nobody needs it whole. Who sent a response, an ACK or a CANCEL learns of no refusal, and who
    /// is refused a BYE is gone all the same; what begins a call is refused, if that is no emergency, and so is what asks for
    /// something that a second line could contradict (REFER).
    pub(super) fn salvage(&self, now: Timestamp, flow: Flow, bytes: &[u8]) -> Option<Message> {
        let Ok(salvaged) = Message::salvage(bytes) else {
            return self.salvage_answer(bytes);
        };
        let is_needed = match &salvaged {
            Message::Response(_) => true,
            Message::Request(request) => self.is_under_way(flow, request) || self.is_urgent(now, flow, request),
        };
        is_needed.then_some(salvaged)
    }

    /// An answer in an emergency whose Content-Length is too large: no datagram is cut on its way, so its copy would say the same,
    /// and nobody would be heard.
    fn salvage_answer(&self, bytes: &[u8]) -> Option<Message> {
        let Ok(Message::Response(answer)) = Message::salvage_cut(bytes) else {
            return None;
        };
        let (session, side) = *self.tags.get(answer.headers.from().tag()?)?;
        let call = self.calls.get(&session)?;
        let is_ours = call.is_emergency() && call.call_id(side) == answer.headers.call_id();
        is_ours.then(|| answer.into())
    }

    /// Whether it belongs to something that has begun.
    fn is_under_way(&self, flow: Flow, request: &Request) -> bool {
        match request.method {
            Method::Ack | Method::Cancel => true,
            Method::Bye | Method::Info | Method::Invite | Method::Prack | Method::Update => {
                self.leg_of(request, flow).is_some()
            }
            _ => false,
        }
    }

    /// Nobody can be told of a response that cannot be read: its sender repeats it, and the call waits.
    pub(super) fn note_unread(&mut self, now: Timestamp, flow: Flow, error: &ParseError, bytes: &[u8]) {
        if !bytes.starts_with(b"SIP/") {
            tracing::debug!(peer = %flow.remote, %error, "message not understood");
        } else if let Some(dropped) = self.unread.note(now) {
            tracing::warn!(peer = %flow.remote, %error, dropped, "responses that cannot be read");
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_once_an_interval_and_none_is_left_out() {
        let mut unread = Unread::default();
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        assert_eq!(unread.note(at(0)), Some(1));
        assert_eq!(unread.note(at(1)), None);
        assert_eq!(unread.note(at(4)), None);
        assert_eq!(unread.note(at(5)), Some(3));
    }
}
