//! A request arrives: which call it belongs to, or what it opens.

use std::sync::Arc;

use bytes::Bytes;

use super::consultation::REPLACES;
use super::signaling::Signaling;
use crate::b2bua::{self, Arrival, Asked, Call, CallLeg, LegState, Refusal, SubscriptionId, of_method};
use crate::model::{Leg, SessionId, Timestamp};
use crate::policy::Decision;
use crate::sip::transaction::ServerId;
use crate::sip::{Flow, Method, Request, Response, Scheme};
use crate::trunk::{Destination, Trunk};

/// Retry-After of a node that drains and has no other beside it is 1 to so many seconds, by chance: a restart takes no longer,
/// and peers that hold back all they have must not do so for long (RFC 3261 §21.5.4).
const DRAIN_RETRY_MAX: u32 = 10;

/// Whom a node lets in, emergencies apart.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Door {
    Open,
    /// Only what calls that are up have led to.
    Draining,
    /// Nobody: those end too.
    Closed,
}

impl Signaling {
    pub(super) fn on_request(&mut self, now: Timestamp, id: ServerId, mut request: Request, flow: Flow, bytes: Bytes) {
        if self.is_left_to_next(now, &request, flow) {
            if !self.ends_what_was_let_go(now, id, &request, (flow, &bytes)) {
                // Without this, 200 ms later a 100 would tell the peer to wait.
                self.wire.forget(id);
            }
            return;
        }
        let may_ask = self.may_use(now, flow, &request);
        if let Err(refusal) = may_ask.and_then(|()| self.came_securely(now, flow, &request)) {
            self.refuse(now, id, &request, &refusal);
            return;
        }
        if request.headers.to().tag().is_some() {
            let Some((session, side)) = self.leg_of(&request, flow) else {
                match self.subscribed_side(&request, flow) {
                    Some(of) => self.on_subscribed(now, of, (id, request), flow),
                    None => self.refuse(now, id, &request, &Refusal::NoSuchDialog),
                }
                return;
            };
            if request.method == Method::Refer {
                self.on_refer(now, (session, side), (id, request), (flow, &bytes));
                return;
            }
            self.with_call(now, session, |call, turn| {
                call.received(turn, side, flow, &bytes);
                call.on_request(turn, side, flow, id, request);
            });
            return;
        }
        let opened = match request.method {
            Method::Invite => match self.arrive(now, id, &mut request, flow, bytes) {
                Ok(arrival) => {
                    self.begin(now, flow, arrival, request);
                    return;
                }
                Err(refusal) => Err(refusal),
            },
            Method::Subscribe => self.on_subscribe(now, id, request.clone(), flow),
            Method::Message | Method::Register | Method::Publish | Method::Notify | Method::Options => {
                self.on_passage(now, id, &request, flow)
            }
            Method::Bye | Method::Info | Method::Update | Method::Prack => Err(Refusal::NoSuchDialog),
            Method::Refer => Err(Refusal::ReferOutside),
            _ => Err(of_method(&request.method, self.allow_of(flow, &request))),
        };
        if let Err(refusal) = opened {
            self.refuse(now, id, &request, &refusal);
        }
    }

    /// The leg whose dialog a request names: our tag, and the Call-ID that goes with it (RFC 3261 §12.2.2). None unless it
    /// comes from the leg's trunk.
    pub(super) fn leg_of(&self, request: &Request, flow: Flow) -> Option<(SessionId, Leg)> {
        let (session, side) = self.leg_named(request)?;
        self.speaks_for(session, side, flow).then_some((session, side))
    }

    /// The leg whose 2xx an ACK is for, and the ACK with our tag. Some phones give their ACK a To tag of their own: a tag that
    /// nobody has stands for ours where one INVITE alone of that Call-ID, From tag and CSeq number, from the leg's trunk, waits
    /// for its ACK (RFC 3261 §13.2.2.4).
    pub(super) fn acknowledged(
        &mut self,
        now: Timestamp,
        mut ack: Request,
        flow: Flow,
    ) -> Option<(SessionId, Leg, Request)> {
        if let Some((session, side)) = self.leg_of(&ack, flow) {
            return Some((session, side, ack));
        }
        let to = ack.headers.to().clone();
        if to.tag().is_some_and(|tag| self.tags.contains_key(tag)) {
            return None;
        }
        let number = ack.headers.cseq().number;
        let began = self.conversations.branches(&ack).into_iter();
        let mut waiting = began.filter_map(|session| {
            let (server, tag) = self.calls.get(&session)?.unacknowledged(number)?;
            let speaks = self.speaks_for(session, Leg::A, flow);
            speaks.then(|| (session, server, tag.to_owned()))
        });
        let (session, server, tag) = waiting.next()?;
        if waiting.next().is_some() {
            return None;
        }
        self.wire.settle_server(now, server);
        ack.headers.set_to(to.with_tag(&tag));
        Some((session, Leg::A, ack))
    }

    fn leg_named(&self, request: &Request) -> Option<(SessionId, Leg)> {
        let (session, side) = *self.tags.get(request.headers.to().tag()?)?;
        let call = self.calls.get(&session)?;
        (call.call_id(side) == request.headers.call_id()).then_some((session, side))
    }

    /// Whether a request that names a dialog of a call comes from elsewhere than that leg's trunk.
    pub(super) fn is_of_stranger(&self, request: &Request, flow: Flow) -> bool {
        let named = self.leg_named(request);
        named.is_some_and(|(session, side)| !self.speaks_for(session, side, flow))
    }

    /// Whether what comes by this path may speak of that leg.
    pub(super) fn speaks_for(&self, session: SessionId, side: Leg, flow: Flow) -> bool {
        let trunk = self.calls.get(&session).map(|call| call.reach(side).0);
        trunk.is_some_and(|trunk| self.topology.speaks_for(trunk, flow.remote, flow.transport))
    }

    /// The same of subscriptions.
    pub(super) fn subscribed_side(&self, request: &Request, flow: Flow) -> Option<(SubscriptionId, Leg)> {
        let (id, side, trunk) = self.subscriptions.side_of(request)?;
        let speaks = self.topology.speaks_for(trunk, flow.remote, flow.transport);
        speaks.then_some((id, side))
    }

    /// What the call of an INVITE begins with, or why there is none.
    fn arrive(
        &mut self,
        now: Timestamp,
        id: ServerId,
        invite: &mut Request,
        flow: Flow,
        bytes: Bytes,
    ) -> Result<Arrival, Refusal> {
        let from = self.topology.trunk_of(flow.remote, flow.transport);
        let from = from.cloned().ok_or(Refusal::NoRoute)?;
        self.may_go_on(now, flow, invite)?;
        if self.is_merged(invite) && !self.is_urgent(now, flow, invite) {
            return Err(Refusal::Loop);
        }
        self.smooth_way(now, flow, invite);
        let named = self.dialog_named(invite)?;
        let named = named.map(|named| self.picked_up(now, invite, &from, named));
        let (rings, destinations) = self.called_by(now, invite, &from, named.as_ref())?;
        self.is_no_loop(invite, &destinations)?;
        let Destination {
            trunk: to,
            flow: to_flow,
            target,
        } = destinations.first().cloned().ok_or(Refusal::NoRoute)?;
        let mut kin = self.kin_of(now, invite, &from, named.as_ref());
        match rings {
            Some(rings) => self.call_in_place(&mut kin, invite, rings),
            None => self.rename_dialog(invite, named.as_ref(), &to),
        }
        let session = SessionId::mint(now, self.wire.mint().entropy());
        let b_call_id = self.wire.mint().call_id();
        let meeting = b2bua::is_focus(&invite.headers);
        let facts = kin.complete(b2bua::of_invite(now, invite, &from, &to, &self.policies));
        let facts = b2bua::at_our_address(facts, &self.topology, destinations.iter().map(|d| &d.target));
        let decision = Arc::new(self.turn(now).decide_by(facts));
        let replaced = named.filter(|named| kin.continues && named.header == REPLACES);
        let replaced = replaced.map(|named| named.session);
        self.may_carry(now, &decision, (kin.continues, replaced), [&from, &to])?;
        if let Some(replaced) = replaced {
            self.loads.succeed(session, replaced);
        }
        let opening = b2bua::Opening {
            session,
            node: &self.terms.node,
            now,
            b_call_id: &b_call_id,
            from: &from,
            to: &to,
            meeting,
            conversation: kin.conversation,
        };
        let header = Arc::new(b2bua::header(&opening, invite, &decision));
        let a_call_id = invite.headers.call_id().to_owned();
        let a = self.new_leg(Leg::A, (from, flow), a_call_id, LegState::Invited { server: id });
        let b = self.new_leg(Leg::B, (to, to_flow), b_call_id, LegState::Idle);
        let conversation = kin.conversation.unwrap_or(session);
        self.conversations.begin(session, conversation, invite, &target);
        Ok(Arrival {
            session,
            asked: Asked::ByInvite(id),
            bytes,
            a,
            b,
            target,
            destinations,
            kin,
            decision,
            meeting,
            header,
        })
    }

    /// A leg under a tag of its own, without a dialog yet.
    pub(super) fn new_leg(&mut self, side: Leg, at: (Arc<Trunk>, Flow), call_id: String, state: LegState) -> CallLeg {
        CallLeg {
            side,
            trunk: at.0,
            flow: at.1,
            call_id,
            local_tag: self.wire.mint().tag(),
            dialog: None,
            state,
            invite: None,
            ack: None,
            fronts_focus: false,
            tells_src: false,
        }
    }

    fn begin(&mut self, now: Timestamp, flow: Flow, arrival: Arrival, invite: Request) {
        let session = arrival.session;
        let call = Call::receive(&mut self.turn(now), arrival, invite);
        self.adopt(call);
        self.admission.on_opened(now, session, flow.remote.ip());
        // A refused call may have nothing left to wait for.
        self.with_call(now, session, Call::settle);
    }

    /// A call is one of ours from here on.
    pub(super) fn adopt(&mut self, call: Call) {
        self.loads.begin(call.id(), call.trunks());
        self.deadlines.extend(call.deadline().map(|due| (due, call.id())));
        self.preparing += usize::from(call.is_preparing());
        self.sealing += usize::from(call.awaits_seal());
        self.calls.insert(call.id(), Box::new(call));
    }

    /// An emergency is refused neither by a full house nor by one that is closing, unless the calls are let go of: it would end
    /// unheard, and its device may call elsewhere. Nor is by a closing one what a call that is up has led to (`continues`): it was
    /// to go on to its end.
    pub(super) fn may_begin(&mut self, decision: &Decision, continues: bool) -> Result<(), Refusal> {
        let is_let_go = self.handed_over && self.door == Door::Closed;
        if decision.emergency && !is_let_go {
            return Ok(());
        }
        let is_refused = match self.door {
            Door::Open => false,
            Door::Draining => !continues,
            Door::Closed => true,
        };
        if is_refused {
            // Who is told nothing looks for another node at once.
            let waits = !self.terms.peer_node && self.door == Door::Draining;
            let retry_after = waits.then(|| 1 + self.wire.mint().up_to(DRAIN_RETRY_MAX - 1));
            return Err(Refusal::Draining { retry_after });
        }
        if self.has_all_calls() {
            return Err(Refusal::TooManyCalls);
        }
        Ok(())
    }

    /// What RFC 3261 §8.2 and §16.3 ask of any request before it is looked at. Neither hops nor option tags stop an
    /// emergency, nor that it does not say where to reach it: what we do not know does not cross, and without hops left only
    /// the next one takes it.
    pub(super) fn may_go_on(&self, now: Timestamp, flow: Flow, request: &Request) -> Result<(), Refusal> {
        if matches!(request.uri.scheme(), Scheme::Other) {
            return Err(Refusal::UnsupportedScheme);
        }
        let is_urgent = || self.is_urgent(now, flow, request);
        if request.headers.max_forwards() == Some(0) && !is_urgent() {
            return Err(Refusal::TooManyHops);
        }
        if request.method == Method::Invite && request.headers.contact().is_none() && !is_urgent() {
            return Err(Refusal::NoContact);
        }
        let options = b2bua::unsupported(&request.headers);
        if options.is_empty() || is_urgent() {
            Ok(())
        } else {
            Err(Refusal::BadExtension { options })
        }
    }

    pub(super) fn refuse(&mut self, now: Timestamp, id: ServerId, request: &Request, refusal: &Refusal) {
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
