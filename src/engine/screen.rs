//! A message arrives: whether it is looked at, and taken on.

use bytes::Bytes;

use super::overload::{Entrant, Overload, answer_via, fingerprint};
use super::signaling::Signaling;
use crate::b2bua::{self, Refusal};
use crate::model::Timestamp;
use crate::sip::{Flow, Message, Method, Request, Response};

impl Signaling {
    /// The first thing done costs the least: a source that is no peer is dropped unread.
    pub(super) fn on_sip(&mut self, now: Timestamp, flow: Flow, bytes: &Bytes) {
        if !self.topology.is_known(flow.remote, flow.transport) {
            return;
        }
        match Message::parse(bytes) {
            Ok(mut message) => {
                if let Message::Request(request) = &mut message
                    && let Err(refusal) = self.screen(now, flow, request)
                {
                    self.turn_away(flow, request, &refusal);
                    return;
                }
                self.wire.handle_message(now, flow, message);
                self.on_events(now, Some((flow, bytes)));
            }
            Err(error) => {
                tracing::debug!(peer = %flow.remote, %error, "message not understood");
                if let Some(reply) = error.reply {
                    self.wire.refuse(flow, *reply);
                    self.depart();
                }
            }
        }
    }

    fn screen(&mut self, now: Timestamp, flow: Flow, request: &mut Request) -> Result<(), Refusal> {
        let mut is_throttled = false;
        if let Some(mut via) = request.headers.via().cloned()
            && answer_via(&mut via, &self.admission.congestion)
        {
            is_throttled = true;
            request.headers.set_via(via);
        }
        let answers_or_ends = matches!(request.method, Method::Ack | Method::Cancel);
        if answers_or_ends || self.wire.knows(request) {
            return Ok(());
        }
        if request.headers.to().tag().is_some() {
            return self.screen_in_dialog(now, request);
        }
        let entrant = Entrant {
            source: flow.remote.ip(),
            request,
            is_throttled,
        };
        let (topology, policies, emergencies) = (&self.topology, &self.policies, &self.emergencies);
        let is_emergency = || {
            let Some(from) = topology.trunk_of(flow.remote, flow.transport) else {
                return false;
            };
            let seen = b2bua::arriving(entrant.request, from, policies);
            let facts = b2bua::of_invite(now, &seen, from, from);
            let (callee, is_emergency) = policies.screen(&facts);
            is_emergency || emergencies.expects(now, &callee.to_string(), &from.name)
        };
        let mint = self.wire.mint();
        let mut draw = || mint.entropy() as u32;
        let decided = self.admission.decide(now, entrant, &mut draw, is_emergency);
        decided.map_err(|Overload { retry_after }| Refusal::Overloaded { retry_after })
    }

    /// A request that names a dialog: whether there is one, and has room for it.
    fn screen_in_dialog(&mut self, now: Timestamp, request: &Request) -> Result<(), Refusal> {
        if self.is_left_to_next(request) {
            return Ok(());
        }
        match self.leg_of(request) {
            Some((session, _)) if self.admission.takes_in_dialog(now, session, request) => Ok(()),
            Some(_) => Err(Refusal::Busy),
            None if self.subscriptions.side_of(request).is_some() => Ok(()),
            None => Err(Refusal::NoSuchDialog),
        }
    }

    /// Without state: what is refused must not fill the tables that calls need. Every copy gets the same (RFC 3261 §8.2.7).
    fn turn_away(&mut self, flow: Flow, request: &Request, refusal: &Refusal) {
        let tag = format!("{:016x}", fingerprint(request));
        let rejection = refusal.rejection(&self.terms.node);
        let mut response = Response::to(request, rejection.status, None, Some(&tag));
        for (name, value) in rejection.headers {
            response.headers.push(name, value);
        }
        self.wire.refuse(flow, response);
        self.depart();
    }
}
