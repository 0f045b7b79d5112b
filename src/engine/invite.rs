//! A request arrives: which call it belongs to, or what it opens.

use std::sync::Arc;

use bytes::Bytes;

use super::signaling::Signaling;
use crate::b2bua::{self, ALLOW, Arrival, Call, CallLeg, Crossing, LegState, Owner, Refusal, Wire, of_method};
use crate::model::{Leg, SessionId, Timestamp};
use crate::policy::{Decision, RecorderState};
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Method, Request, Response, Scheme};
use crate::trunk::Destination;

/// Requests outside any dialog that may wait for an answer at a time.
const PASSAGES_MAX: usize = 1_024;

impl Signaling {
    pub(super) fn on_request(&mut self, now: Timestamp, id: ServerId, request: Request, flow: Flow, bytes: Bytes) {
        if self.is_left_to_next(&request) {
            // Without this, 200 ms later a 100 would tell the peer to wait.
            self.wire.forget(id);
            return;
        }
        if let Err(refusal) = self.may_use(flow, &request) {
            self.refuse(now, id, &request, &refusal);
            return;
        }
        if request.headers.to().tag().is_some() {
            let Some((session, side)) = self.leg_of(&request) else {
                self.refuse(now, id, &request, &Refusal::NoSuchDialog);
                return;
            };
            if !self.admission.takes_in_dialog(now, session, &request.method) {
                self.refuse(now, id, &request, &Refusal::Busy);
                return;
            }
            self.with_call(now, session, |call, turn| {
                call.received(turn, side, flow, &bytes);
                call.on_request(turn, side, flow, id, request);
            });
            return;
        }
        let opened = match request.method {
            Method::Invite => self.on_invite(now, id, &request, flow, bytes),
            Method::Options => self.on_options(now, id, &request, flow),
            Method::Message => self.on_message(now, id, &request, flow),
            Method::Bye | Method::Info | Method::Update | Method::Prack => Err(Refusal::NoSuchDialog),
            _ => Err(of_method(&request.method)),
        };
        if let Err(refusal) = opened {
            self.refuse(now, id, &request, &refusal);
        }
    }

    /// The leg whose dialog a request names: our tag, and the Call-ID that goes with it (RFC 3261 §12.2.2).
    pub(super) fn leg_of(&self, request: &Request) -> Option<(SessionId, Leg)> {
        let (session, side) = *self.tags.get(request.headers.to().tag()?)?;
        let call = self.calls.get(&session)?;
        (call.call_id(side) == request.headers.call_id()).then_some((session, side))
    }

    fn on_invite(
        &mut self,
        now: Timestamp,
        id: ServerId,
        invite: &Request,
        flow: Flow,
        bytes: Bytes,
    ) -> Result<(), Refusal> {
        let from = self
            .topology
            .trunk_of(flow.remote, flow.transport)
            .cloned()
            .ok_or(Refusal::NoRoute)?;
        self.may_go_on(invite)?;
        if self.minted.contains(invite.headers.call_id()) {
            return Err(Refusal::Loop);
        }
        let seen = b2bua::arriving(invite, &from, &self.policies);
        let destinations = self.next_hops(now, &seen.uri, &from)?;
        let Destination {
            trunk: to,
            flow: to_flow,
            target,
        } = destinations.first().cloned().ok_or(Refusal::NoRoute)?;
        let session = SessionId::mint(now, self.wire.mint().entropy());
        let b_call_id = self.wire.mint().call_id();
        let meeting = b2bua::is_focus(&invite.headers);
        let decision = Arc::new(self.turn(now).decide(invite, &from, &to));
        self.may_begin(&decision)?;
        self.may_carry(now, &decision, [&from, &to])?;
        let opening = b2bua::Opening {
            session,
            node: &self.terms.node,
            now,
            b_call_id: &b_call_id,
            from: &from,
            to: &to,
            meeting,
        };
        let header = b2bua::header(&opening, invite, &decision);
        let mut leg = |side, trunk, flow, call_id, state| CallLeg {
            side,
            trunk,
            flow,
            call_id,
            local_tag: self.wire.mint().tag(),
            dialog: None,
            state,
            invite: None,
            ack: None,
        };
        let a_call_id = invite.headers.call_id().to_owned();
        let a = leg(Leg::A, from, flow, a_call_id, LegState::Invited { server: id });
        let b = leg(Leg::B, to, to_flow, b_call_id, LegState::Idle);
        let invite = invite.clone();
        let arrival = Arrival {
            session,
            server: id,
            invite,
            bytes,
            a,
            b,
            target,
            destinations,
            decision,
            meeting,
            header,
        };
        let call = Call::receive(&mut self.turn(now), arrival);
        self.adopt(call);
        self.admission.on_opened(now, session, flow.remote.ip());
        // A refused call may have nothing left to wait for.
        self.with_call(now, session, Call::settle);
        Ok(())
    }

    /// An emergency is refused neither by a full house nor by one that is closing.
    fn may_begin(&self, decision: &Decision) -> Result<(), Refusal> {
        if decision.emergency {
            return Ok(());
        }
        if self.draining {
            return Err(Refusal::Draining);
        }
        if self.calls.len() >= self.calls_max {
            return Err(Refusal::TooManyCalls);
        }
        Ok(())
    }

    /// What RFC 3261 §8.2 and §16.3 ask of any request before it is looked at.
    fn may_go_on(&self, request: &Request) -> Result<(), Refusal> {
        if matches!(request.uri.scheme(), Scheme::Other) {
            return Err(Refusal::UnsupportedScheme);
        }
        if request.headers.max_forwards() == Some(0) {
            return Err(Refusal::TooManyHops);
        }
        if request.method == Method::Invite && request.headers.contact().is_none() {
            return Err(Refusal::NoContact);
        }
        let options = b2bua::unsupported(&request.headers);
        if options.is_empty() {
            Ok(())
        } else {
            Err(Refusal::BadExtension { options })
        }
    }

    /// Our own answer: 200 only while a strict call could be recorded, so that dispatchers take this node out.
    fn on_options(&mut self, now: Timestamp, id: ServerId, request: &Request, flow: Flow) -> Result<(), Refusal> {
        self.may_go_on(request)?;
        let fit = self.recorder == RecorderState::Up && !self.reserve_crossed && !self.draining;
        let tag = self.wire.mint().tag();
        let mut response = Response::to(request, if fit { 200 } else { 503 }, None, Some(&tag));
        response.headers.push("Contact", format!("<{}>", Wire::contact(flow)));
        response.headers.push("Allow", ALLOW);
        response.headers.push("Accept", "application/sdp");
        response.headers.push("Accept-Encoding", "identity");
        self.wire.respond(now, id, response);
        self.depart();
        Ok(())
    }

    /// A MESSAGE outside any dialog is passed on as it is (RFC 3428 §6).
    fn on_message(&mut self, now: Timestamp, id: ServerId, request: &Request, flow: Flow) -> Result<(), Refusal> {
        let from = self
            .topology
            .trunk_of(flow.remote, flow.transport)
            .cloned()
            .ok_or(Refusal::NoRoute)?;
        self.may_go_on(request)?;
        if self.passages.len() >= PASSAGES_MAX {
            return Err(Refusal::TooManyCalls);
        }
        let seen = b2bua::arriving(request, &from, &self.policies);
        let Destination {
            trunk: to,
            flow,
            target,
        } = self.next_hops(now, &seen.uri, &from)?.remove(0);
        let crossing = Crossing::between(&from, &to);
        let (call_id, tag) = (self.wire.mint().call_id(), self.wire.mint().tag());
        let mut onward = b2bua::onward(crossing, request, target, &call_id, &tag, flow, request.body.clone());
        b2bua::cross(&mut onward.headers, &from, &to, &self.policies);
        let client = self.wire.request(now, Owner::Passage, onward, flow);
        self.passages.insert(client, (id, request.clone(), crossing.back()));
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
        self.note_answer(now, id, &response);
        match self.wire.client_owner(id) {
            Some(Owner::Call(session, _)) if !self.calls.contains_key(&session) => {
                if response.is_final() {
                    self.wire.disown_client(id);
                }
            }
            Some(Owner::Call(session, side)) => self.with_call(now, session, |call, turn| {
                if let Some((flow, bytes)) = received {
                    call.received(turn, side, flow, bytes);
                }
                call.on_response(turn, side, id, response);
            }),
            Some(Owner::Passage) if response.is_final() => {
                self.wire.disown_client(id);
                if let Some((server, request, crossing)) = self.passages.remove(&id) {
                    self.wire
                        .respond(now, server, b2bua::back(crossing, &request, &response));
                }
            }
            Some(Owner::Registration(place)) => self.on_registered(now, place, id, &response),
            None => {
                if let Some(aftermath) = self.aftermaths.get_mut(&id) {
                    aftermath.handle_response(now, &mut self.wire, &response);
                    self.depart();
                }
            }
            Some(Owner::Passage | Owner::Probe) => {}
        }
    }

    pub(super) fn on_failed(&mut self, now: Timestamp, id: ClientId, unreachable: bool) {
        self.note_silence(now, id);
        match self.wire.client_owner(id) {
            Some(Owner::Call(session, side)) => {
                self.wire.disown_client(id);
                self.with_call(now, session, |call, turn| call.on_failed(turn, side, id, unreachable));
            }
            Some(Owner::Passage) => {
                self.wire.disown_client(id);
                if let Some((server, request, _)) = self.passages.remove(&id) {
                    let refusal = if unreachable {
                        Refusal::Unreachable
                    } else {
                        Refusal::NoAnswer
                    };
                    self.refuse(now, server, &request, &refusal);
                }
            }
            Some(Owner::Registration(place)) => self.on_register_failed(now, place, id),
            Some(Owner::Probe) | None => {}
        }
    }

    fn refuse(&mut self, now: Timestamp, id: ServerId, request: &Request, refusal: &Refusal) {
        let rejection = refusal.rejection(&self.terms.node);
        let tag = self.wire.mint().tag();
        let mut response = Response::to(request, rejection.status, None, Some(&tag));
        for (name, value) in rejection.headers {
            response.headers.push(name, value);
        }
        self.wire.respond(now, id, response);
        self.depart();
    }
}
