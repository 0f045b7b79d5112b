//! Requests outside any call: OPTIONS to us, what is passed on as it is, and subscriptions. Chatter: bounded, and no call
//! depends on it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::edge::{Origin, supports_path};
use super::invite::Door;
use super::overload::{fingerprint, tag_of};
use super::page::Page;
use super::signaling::Signaling;
use crate::b2bua::{self, Crossing, LegState, Onward, Owner, Refusal, SubscriptionId, Wire};
use crate::model::{Leg, Timestamp};
use crate::policy::RecorderState;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Method, Request, Response};
use crate::trunk::{Destination, Trunk};

/// Requests outside any call that may wait for an answer at a time; fewer on a node of few calls, so that calls keep most
/// of its transactions. More are refused with 503.
const PASSAGES_MAX: usize = 1_024;

/// Addresses that one of them is sent to, one after the other, before its sender hears of it (RFC 3263 §4.3).
const DESTINATIONS_MAX: usize = 4;

/// A request that was passed on and is not answered yet.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) server: ServerId,
    pub(super) request: Request,
    /// From whom to whom, by which path it came and by which it goes on.
    pub(super) trunks: [Arc<Trunk>; 2],
    pub(super) origin: Origin,
    pub(super) flow: Flow,
    /// The Call-ID and the tag that it goes on by.
    pub(super) names: [String; 2],
    /// Where else it may go, best first.
    pub(super) others: VecDeque<Destination>,
    /// The subscription that it belongs to, and the side that it came from.
    pub(super) of: Option<(SubscriptionId, Leg)>,
    /// What is kept of it.
    pub(super) page: Option<Page>,
}

impl Passage {
    /// Whether a challenge of the trunk is ours to answer. Whoever registers has to prove itself: the binding is its own.
    fn proves(&self) -> bool {
        let [_, to] = &self.trunks;
        let is_there = to.admits(self.flow.remote, self.flow.transport);
        to.conduct.credentials.is_some() && is_there && self.request.method != Method::Register
    }
}

impl Signaling {
    /// Our own answer to an OPTIONS, by no transaction: however many ask, calls find their room, and every copy gets the same
    /// (RFC 3261 §11.2, §8.2.7). False: it is none, or a user of another host is asked for their own.
    pub(super) fn answers_ping(&mut self, now: Timestamp, flow: Flow, request: &Request) -> bool {
        let is_ours = request.uri.user().is_none() || self.is_ours(&request.uri);
        let is_outside = request.headers.to().tag().is_none();
        if request.method != Method::Options || !is_ours || !is_outside || self.is_left_to_next(now, request, flow) {
            return false;
        }
        let may_ask = self.may_use(now, flow, request);
        let may_ask = may_ask.and_then(|()| self.came_securely(now, flow, request));
        match may_ask.and_then(|()| self.may_go_on(now, flow, request)) {
            Ok(()) => self.tell_state(request, flow),
            Err(refusal) => self.turn_away(flow, request, &refusal),
        }
        true
    }

    /// 200 only while a strict call could be recorded, so that dispatchers take this node out.
    fn tell_state(&mut self, request: &Request, flow: Flow) {
        let fit = self.openness() == RecorderState::Up && self.door == Door::Open;
        let tag = tag_of(fingerprint(request));
        let mut response = Response::to(request, if fit { 200 } else { 503 }, None, Some(&tag));
        response.headers.push("Contact", format!("<{}>", Wire::contact(flow)));
        response.headers.push("Allow", self.allow_of(flow, request));
        response.headers.push("Accept", "application/sdp");
        response.headers.push("Accept-Encoding", "identity");
        self.wire.refuse(flow, response);
        self.depart();
    }

    /// MESSAGE, PUBLISH, a NOTIFY that nobody subscribed to, REGISTER: passed on as they are (RFC 3428 §6, RFC 3903,
    /// RFC 3327).
    pub(super) fn on_passage(
        &mut self,
        now: Timestamp,
        id: ServerId,
        request: &Request,
        flow: Flow,
    ) -> Result<(), Refusal> {
        let (from, destination, others) = self.passage(now, request, flow)?;
        let origin = self.origin(request, flow);
        let names = [self.wire.mint().call_id(), self.wire.mint().tag()];
        let page = self.decide_page(now, (request, flow), (&from, &destination, &others), &names[0])?;
        let onward = self.write_onward(request, (&from, origin), &destination, &names);
        let Destination { trunk: to, flow, .. } = destination;
        let passage = Passage {
            server: id,
            request: request.clone(),
            trunks: [from, to],
            origin,
            flow,
            names,
            others,
            of: None,
            page,
        };
        self.pass_page(now, passage, onward);
        Ok(())
    }

    /// A request outside any dialog as it leaves.
    pub(super) fn write_onward(
        &self,
        request: &Request,
        (from, origin): (&Trunk, Origin),
        to: &Destination,
        names: &[String; 2],
    ) -> Request {
        let ([call_id, tag], body) = (names, request.body.clone());
        let crossing = Crossing::between(from, &to.trunk);
        let mut onward = b2bua::onward(&crossing, request, to.target.clone(), call_id, tag, to.flow, body);
        if request.method == Method::Register {
            self.write_registration((request, origin), &mut onward, to);
        } else {
            b2bua::cross(&mut onward.headers, from, &to.trunk, &self.policies);
        }
        onward
    }

    /// A SUBSCRIBE makes a dialog on either side (RFC 6665).
    pub(super) fn on_subscribe(
        &mut self,
        now: Timestamp,
        id: ServerId,
        mut request: Request,
        flow: Flow,
    ) -> Result<(), Refusal> {
        self.subscriptions.may_begin()?;
        let named = self.dialog_named(&request)?;
        let far_end = self.far_end_of(&request.uri, named.as_ref());
        let (from, by_route, others) = self.passage(now, &request, flow)?;
        let (destination, others) = far_end.map_or((by_route, others), |far_end| (far_end, VecDeque::new()));
        let (to, to_flow) = (Arc::clone(&destination.trunk), destination.flow);
        self.rename_dialog(&mut request, named.as_ref(), &to);
        let a_call_id = request.headers.call_id().to_owned();
        let a = self.new_leg(Leg::A, (from, flow), a_call_id, LegState::Up);
        let mut b = self.new_leg(Leg::B, (to, to_flow), String::new(), LegState::Up);
        b.call_id = self.wire.mint().call_id();
        let trunks = [Arc::clone(&a.trunk), Arc::clone(&b.trunk)];
        let names = [b.call_id.clone(), b.local_tag.clone()];
        let onward = self.write_onward(&request, (&a.trunk, Origin::of(flow)), &destination, &names);
        let subscription = self.subscriptions.begin(now, &request, a, b, &onward)?;
        let page = self.decide_page(now, (&request, flow), (&trunks[0], &destination, &others), &names[0]);
        let page = page.inspect_err(|_| self.subscriptions.on_failed(subscription, &request))?;
        let passage = Passage {
            server: id,
            request,
            trunks,
            origin: Origin::of(flow),
            flow: to_flow,
            names,
            others,
            of: Some((subscription, Leg::A)),
            page,
        };
        self.pass_page(now, passage, onward);
        Ok(())
    }

    /// A request inside a subscription.
    pub(super) fn on_subscribed(
        &mut self,
        now: Timestamp,
        (subscription, side): (SubscriptionId, Leg),
        (id, request): (ServerId, Request),
        flow: Flow,
    ) {
        let onward = if self.passages.len() + self.pages.len() < self.passages_max() {
            self.subscriptions.onward((subscription, side), flow, &request)
        } else {
            Err(Refusal::TooManyCalls)
        };
        let decided = onward.and_then(|onward| {
            let page = self.decide_subscribed(now, (&request, flow), &onward);
            let page = page.inspect_err(|_| self.subscriptions.on_failed(subscription, &request))?;
            Ok((onward, page))
        });
        match decided {
            Ok((onward, page)) => {
                let passage = Passage {
                    server: id,
                    request,
                    trunks: onward.trunks,
                    origin: Origin::of(flow),
                    flow: onward.flow,
                    // It belongs to who has the dialog, and to nobody else.
                    names: Default::default(),
                    others: VecDeque::new(),
                    of: Some((subscription, side)),
                    page,
                };
                self.pass_page(now, passage, onward.request);
            }
            Err(refusal) => self.refuse(now, id, &request, &refusal),
        }
    }

    fn decide_subscribed(
        &mut self,
        now: Timestamp,
        of: (&Request, Flow),
        onward: &Onward,
    ) -> Result<Option<Page>, Refusal> {
        let [from, to] = &onward.trunks;
        let to = Destination {
            trunk: Arc::clone(to),
            flow: onward.flow,
            target: onward.request.uri.clone(),
        };
        self.decide_page(now, of, (from, &to, &VecDeque::new()), onward.request.headers.call_id())
    }

    /// From whom it comes, where it goes on, and where else it could.
    fn passage(
        &mut self,
        now: Timestamp,
        request: &Request,
        flow: Flow,
    ) -> Result<(Arc<Trunk>, Destination, VecDeque<Destination>), Refusal> {
        let from = self.topology.trunk_of(flow.remote, flow.transport);
        let from = from.cloned().ok_or(Refusal::NoRoute)?;
        self.may_go_on(now, flow, request)?;
        if self.passages.len() + self.pages.len() >= self.passages_max() {
            return Err(Refusal::TooManyCalls);
        }
        let mut others = VecDeque::from(self.destinations(now, request, &from)?);
        others.truncate(DESTINATIONS_MAX);
        let first = others.pop_front().ok_or(Refusal::NoRoute)?;
        Ok((from, first, others))
    }

    fn passages_max(&self) -> usize {
        self.calls_max.min(PASSAGES_MAX)
    }

    pub(super) fn pass(&mut self, now: Timestamp, passage: Passage, onward: Request) {
        let (owner, flow) = (Owner::Passage(passage.server), passage.flow);
        let client = if passage.proves() {
            self.wire.request_with_proof(now, owner, onward, flow)
        } else {
            self.wire.request(now, owner, onward, flow)
        };
        self.passages.insert(client, passage);
        self.depart();
    }

    /// Sends a challenged request again with our credentials. False: the challenge is its sender's to answer.
    fn prove_passage(&mut self, now: Timestamp, id: ClientId, response: &Response) -> bool {
        let Some(passage) = self.passages.get(&id).filter(|_| matches!(response.status, 401 | 407)) else {
            return false;
        };
        let (owner, [_, to]) = (Owner::Passage(passage.server), &passage.trunks);
        let waiting = self.wire.take_waiting(id);
        let Some(mut waiting) = waiting.and_then(|waiting| self.wire.answer(waiting, owner, to, response)) else {
            return false;
        };
        let number = waiting.request.headers.cseq().number.saturating_add(1);
        let renumbered = match passage.of {
            Some((of, side)) => self.subscriptions.renumber((of, side.other()), &mut waiting.request),
            None => b2bua::set_number(&mut waiting.request, number),
        };
        if renumbered.is_none() {
            return false;
        }
        self.wire.renew(now, id, waiting, passage.flow);
        self.depart();
        true
    }

    /// Nothing more is heard of it.
    pub(super) fn take_passage(&mut self, id: ClientId) -> Option<Passage> {
        self.wire.disown_client(id);
        let passage = self.passages.remove(&id)?;
        self.wire.forget_proofs(Owner::Passage(passage.server));
        Some(passage)
    }

    /// Where a request outside any dialog goes on: by the Path that we gave a registrar, else by the routes. Never empty.
    pub(super) fn destinations(
        &mut self,
        now: Timestamp,
        request: &Request,
        from: &Trunk,
    ) -> Result<Vec<Destination>, Refusal> {
        let seen = b2bua::arriving(request, from, &self.policies).uri.clone();
        match self.by_path(now, request, from)? {
            Some(registered) => Ok(vec![registered]),
            None => self
                .secure_hops(now, request, &seen, from)
                .map_err(|refusal| match refusal {
                    // It was for us, and no dialog of ours is meant (RFC 3891 §3).
                    Refusal::NoRoute if request.headers.contains("Replaces") => Refusal::NoSuchDialog,
                    other => other,
                }),
        }
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
            Some(Owner::Call(session, side)) => {
                self.conversations.learn(session, &response.headers);
                self.with_call(now, session, |call, turn| {
                    if let Some((flow, bytes)) = received {
                        call.received(turn, side, flow, bytes);
                    }
                    call.on_response(turn, side, id, response);
                });
            }
            Some(Owner::Passage(_)) if response.is_final() => {
                if self.prove_passage(now, id, &response) || response.status == 503 && self.pass_elsewhere(now, id) {
                    return;
                }
                if let Some(mut passage) = self.take_passage(id) {
                    self.close_page(now, &mut passage, response.status, Some(&response));
                    self.on_granted(now, &passage, &response);
                    let answer = self.passed(now, &passage, &response);
                    self.wire.respond(now, passage.server, answer);
                }
            }
            Some(Owner::Registration(place)) => self.on_registered(now, place, id, &response),
            None => {
                if let Some(aftermath) = self.aftermaths.get_mut(&id) {
                    aftermath.handle_response(now, &mut self.wire, &response);
                    self.depart();
                }
            }
            Some(Owner::Passage(_) | Owner::Probe) => {}
        }
    }

    /// The answer as the sender of the request gets it.
    fn passed(&mut self, now: Timestamp, passage: &Passage, response: &Response) -> Response {
        let request = &passage.request;
        let [from, to] = &passage.trunks;
        let mut answer = b2bua::back(&Crossing::between(to, from), request, response);
        b2bua::cross_identities(&mut answer.headers, to, from, &self.policies);
        if let Some(of) = passage.of {
            self.subscriptions.on_answered(now, of, request, response, &mut answer);
            return answer;
        }
        if answer.headers.to().tag().is_none() {
            let tag = self.wire.mint().tag();
            answer.headers.set_to(answer.headers.to().clone().with_tag(&tag));
        }
        let told: &[&str] = match request.method {
            Method::Register if supports_path(request) => &["Contact", "Path", "Service-Route"],
            Method::Register => &["Contact", "Service-Route"],
            _ if (300..400).contains(&response.status) => &["Contact"],
            _ => &[],
        };
        for name in told {
            let values: Vec<&str> = response.headers.get_all(name).collect();
            if !values.is_empty() {
                answer.headers.push(name, values.join(", "));
            }
        }
        answer
    }

    pub(super) fn on_failed(&mut self, now: Timestamp, id: ClientId, unreachable: bool) {
        self.note_silence(now, id);
        let broken = self.wire.client_flow(id).filter(|_| unreachable);
        match self.wire.client_owner(id) {
            Some(Owner::Call(session, side)) => {
                self.wire.disown_client(id);
                self.with_call(now, session, |call, turn| call.on_failed(turn, side, id, broken));
            }
            Some(Owner::Passage(_)) => {
                if self.pass_elsewhere(now, id) {
                    return;
                }
                if let Some(mut passage) = self.take_passage(id) {
                    let refusal = if unreachable {
                        Refusal::Unreachable
                    } else {
                        Refusal::NoAnswer
                    };
                    self.close_page(now, &mut passage, refusal.rejection("").status, None);
                    if let Some((subscription, _)) = passage.of {
                        self.subscriptions.on_failed(subscription, &passage.request);
                    }
                    self.refuse(now, passage.server, &passage.request, &refusal);
                }
            }
            Some(Owner::Registration(place)) => self.on_register_failed(now, place, id),
            Some(Owner::Probe) | None => {}
        }
    }
}
