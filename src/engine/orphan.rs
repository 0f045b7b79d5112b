//! 2xx to INVITEs that the process before sent, or that were given up long ago: each is acknowledged; whose dialog nobody has is ended
//! (RFC 3261 §13.2.2.4).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::signaling::Signaling;
use crate::b2bua::{Call, Owner, invite_of};
use crate::model::Timestamp;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::TIMEOUT;
use crate::sip::{Flow, Method, Request, Response};

/// Dialogs of nobody that are known to be ended. Of more the 2xx is left unanswered, and comes again.
const UNWANTED_MAX: usize = 1_024;
/// How long a 2xx is sent again (RFC 3261 §13.3.1.4).
const REPEATED_MAX: Duration = TIMEOUT;

/// The dialogs that were ended because nobody has them.
#[derive(Debug, Default)]
pub(super) struct Unwanted(VecDeque<Ended>);

#[derive(Debug)]
struct Ended {
    until: Timestamp,
    ack: Request,
}

impl Unwanted {
    /// The ACK that a 2xx has had.
    fn known(&mut self, now: Timestamp, success: &Response) -> Option<&Request> {
        while self.0.pop_front_if(|ended| ended.until <= now).is_some() {}
        let headers = &success.headers;
        let ended = self.0.iter().find(|ended| {
            let ack = &ended.ack.headers;
            ack.call_id() == headers.call_id()
                && ack.to().tag() == headers.to().tag()
                && ack.cseq().number == headers.cseq().number
        });
        ended.map(|ended| &ended.ack)
    }

    fn is_full(&self) -> bool {
        self.0.len() >= UNWANTED_MAX
    }
}

impl Signaling {
    pub(super) fn on_orphan(
        &mut self,
        now: Timestamp,
        flow: Flow,
        success: &Response,
        received: Option<(Flow, &Bytes)>,
    ) {
        let tag = success.headers.from().tag();
        let Some((session, side)) = tag.and_then(|tag| self.tags.get(tag).copied()) else {
            self.end_unwanted(now, flow, success);
            return;
        };
        let call_id = success.headers.call_id();
        let call = self.calls.get(&session);
        if call.is_some_and(|call| call.has_given_up(side, call_id)) {
            self.end_unwanted(now, flow, success);
            return;
        }
        let is_of_before = |call: &Call| call.call_id(side) == call_id && call.is_of_before(side, success);
        if !call.is_some_and(|call| is_of_before(call)) || !self.speaks_for(session, side, flow) {
            return;
        }
        self.with_call(now, session, |call, turn| {
            if let Some((flow, bytes)) = received {
                call.received(turn, side, flow, bytes);
            }
            call.on_success_of_before(turn, side, success);
        });
    }

    /// Who called is gone with the process that knew it, or was asked for by another INVITE.
    fn end_unwanted(&mut self, now: Timestamp, flow: Flow, success: &Response) {
        let is_ours = self.wire.is_answer_to_us(flow, success);
        // What was handed over is another's.
        if self.handed_over || !is_ours || self.topology.trunk_of(flow.remote, flow.transport).is_none() {
            return;
        }
        if let Some(ack) = self.unwanted.known(now, success).cloned() {
            self.wire.resend(ack, flow);
            self.depart();
            return;
        }
        let dialog = Dialog::uac(&invite_of(success), success).map(Dialog::resumed);
        let Some(mut dialog) = dialog.ok().filter(|_| !self.unwanted.is_full()) else {
            return;
        };
        tracing::info!(peer = %flow.remote, "an INVITE of before the restart, or that was given up, is answered: the dialog is ended");
        let ack = self.wire.send(dialog.ack(success.headers.cseq().number), flow);
        let bye = self.wire.request(now, Owner::Probe, dialog.request(Method::Bye), flow);
        self.wire.disown_client(bye);
        self.unwanted.0.push_back(Ended {
            until: now + REPEATED_MAX,
            ack,
        });
        self.depart();
    }
}
