//! Requests outside any dialog: OPTIONS to us, and what is passed on as it is.

use bytes::Bytes;

use super::signaling::Signaling;
use crate::b2bua::{self, ALLOW, Owner, Refusal};
use crate::model::Timestamp;
use crate::policy::RecorderState;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Request, Response};

/// Requests outside any dialog that may wait for an answer at a time.
const PASSAGES_MAX: usize = 1_024;

impl Signaling {
    /// Our own answer: 200 only while a strict call could be recorded, so that dispatchers take this node out.
    pub(super) fn on_options(&mut self, now: Timestamp, id: ServerId, request: &Request) -> Result<(), Refusal> {
        self.may_go_on(request)?;
        let fit = self.recorder == RecorderState::Up && !self.reserve_crossed && !self.draining;
        let tag = self.wire.mint().tag();
        let mut response = Response::to(request, if fit { 200 } else { 503 }, None, Some(&tag));
        response.headers.push("Allow", ALLOW);
        response.headers.push("Accept", "application/sdp");
        response.headers.push("Accept-Encoding", "identity");
        self.wire.respond(now, id, response);
        self.depart();
        Ok(())
    }

    /// A MESSAGE outside any dialog is passed on as it is (RFC 3428 §6).
    pub(super) fn on_message(
        &mut self,
        now: Timestamp,
        id: ServerId,
        request: &Request,
        flow: Flow,
    ) -> Result<(), Refusal> {
        let from = self
            .topology
            .trunk_of(flow.remote, flow.transport)
            .cloned()
            .ok_or(Refusal::NoRoute)?;
        self.may_go_on(request)?;
        if self.passages.len() >= PASSAGES_MAX {
            return Err(Refusal::TooManyCalls);
        }
        let (_, flow, target) = self.next_hop(&request.uri, &from)?;
        let (call_id, tag) = (self.wire.mint().call_id(), self.wire.mint().tag());
        let onward = b2bua::onward(request, target, &call_id, &tag, flow, request.body.clone());
        let client = self.wire.request(now, Owner::Passage, onward, flow);
        self.passages.insert(client, (id, request.clone()));
        self.depart();
        Ok(())
    }

    pub(super) fn on_response(
        &mut self,
        now: Timestamp,
        id: ClientId,
        response: Response,
        received: Option<(Flow, &Bytes)>,
    ) {
        match self.wire.client_owner(id) {
            Some(Owner::Call(session, _)) if !self.calls.contains_key(&session) => {
                if response.is_final() {
                    self.wire.disown_client(id);
                }
            }
            Some(Owner::Call(session, side)) => {
                self.conversations.learn(session, &response.headers);
                self.with_call(now, session, |call, turn| {
                    if let Some((flow, bytes)) = received {
                        call.received(turn, side, flow, bytes);
                    }
                    call.on_response(turn, side, id, response);
                });
            }
            Some(Owner::Passage) if response.is_final() => {
                self.wire.disown_client(id);
                if let Some((server, request)) = self.passages.remove(&id) {
                    self.wire.respond(now, server, b2bua::back(&request, &response));
                }
            }
            Some(Owner::Passage) | None => {}
        }
    }

    pub(super) fn on_failed(&mut self, now: Timestamp, id: ClientId, unreachable: bool) {
        match self.wire.client_owner(id) {
            Some(Owner::Call(session, side)) => {
                self.wire.disown_client(id);
                self.with_call(now, session, |call, turn| call.on_failed(turn, side, id, unreachable));
            }
            Some(Owner::Passage) => {
                self.wire.disown_client(id);
                if let Some((server, request)) = self.passages.remove(&id) {
                    let refusal = if unreachable {
                        Refusal::Unreachable
                    } else {
                        Refusal::NoAnswer
                    };
                    self.refuse(now, server, &request, &refusal);
                }
            }
            None => {}
        }
    }
}
