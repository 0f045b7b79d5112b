//! REFERs that we execute: the call that one makes is planned like that of an INVITE, and the calls that a transfer has to do
//! with hear of each other here.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::consultation::Course;
use super::kinship::refer_to;
use super::signaling::Signaling;
use crate::b2bua::{self, Arrival, Asked, Call, CallLeg, Errand, Kin, LegState, Referral, Refusal, Staying};
use crate::model::{Leg, SessionId, Timestamp};
use crate::policy::Decision;
use crate::sip::transaction::ServerId;
use crate::sip::{Flow, Method, NameAddr, Request, Scheme};
use crate::trunk::{Caps, Destination, Trunk};

/// The calls that a new one comes of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    /// Where the REFER came, and whose party becomes the caller.
    from: SessionId,
    /// The call whose party becomes the callee, if it is one of ours.
    other: Option<SessionId>,
}

/// What a REFER comes to, if it is accepted.
pub(super) struct Plan {
    pub(super) referral: Referral,
    /// A call of ours whose dialog is to be replaced, and who stays there if its party goes over.
    named: Option<SessionId>,
    joined: Option<(SessionId, Leg)>,
    arrival: Arrival,
    /// As if who stays had sent it.
    invite: Request,
}

/// The callee of the new call.
struct Callee {
    trunk: Arc<Trunk>,
    destinations: Vec<Destination>,
    leg: CallLeg,
    /// As the recording names its dialog.
    call_id: String,
    kin: Kin,
}

impl Signaling {
    /// A REFER of a trunk where we execute them.
    pub(super) fn execute_refer(
        &mut self,
        now: Timestamp,
        (session, side): (SessionId, Leg),
        (id, request): (ServerId, &Request),
        (flow, bytes): (Flow, &Bytes),
    ) {
        let to = SessionId::mint(now, self.wire.mint().entropy());
        let is_emergency = self.calls.get(&session).is_some_and(|call| call.is_emergency());
        let source = flow.remote.ip();
        let course = if is_emergency || self.admission.has_room_for(source) {
            self.course(now, (session, side), (request, source), to)
        } else {
            Err(Refusal::TooManyCalls)
        };
        let referral = course.as_ref().map(Course::referral).map_err(Refusal::clone);
        let mut is_accepted = false;
        self.with_call(now, session, |call, turn| {
            call.received(turn, side, flow, bytes);
            is_accepted = call.on_refer_to_execute(turn, side, flow, (id, request), (referral, to));
        });
        match course.ok().filter(|_| is_accepted) {
            Some(Course::Now(plan)) => self.begin_transfer(now, session, *plan, source),
            Some(Course::Later(consultation)) => self.begin_consultation(now, to, *consultation),
            None => {}
        }
    }

    fn course(
        &mut self,
        now: Timestamp,
        of: (SessionId, Leg),
        (request, source): (&Request, IpAddr),
        to: SessionId,
    ) -> Result<Course, Refusal> {
        // Taken for a plain call, it would ring a second time who talks already.
        b2bua::check_refer_to(&refer_to(request)?).map_err(|_| Refusal::BadReference)?;
        match self.consultation(of, request, source)? {
            Some(consultation) => Ok(Course::Later(Box::new(consultation))),
            None => Ok(Course::Now(Box::new(self.plan(now, of, request, to, None)?))),
        }
    }

    /// `source`: who sent the REFER. The call counts as its, as if it had sent an INVITE.
    pub(super) fn begin_transfer(&mut self, now: Timestamp, session: SessionId, plan: Plan, source: IpAddr) {
        let (to, arrival, invite) = (plan.arrival.session, plan.arrival, plan.invite);
        if let Some(named) = plan.named {
            self.conversations.join(session, named);
        }
        if let Some((other, stays)) = plan.joined {
            self.with_call(now, other, |call, _| call.begin_referring(stays, to));
        }
        let transfer = Transfer {
            from: session,
            other: plan.joined.map(|(other, _)| other),
        };
        self.transfers.insert(to, transfer);
        let conversation = arrival.kin.conversation.unwrap_or(to);
        self.conversations.begin(to, conversation, &invite, &arrival.target);
        let call = Call::receive(&mut self.turn(now), arrival, invite);
        self.adopt(call);
        self.admission.on_opened(now, to, source);
        self.with_call(now, to, Call::settle);
    }

    /// Whom the REFER brings in and how, or why it does not. `rung`: where and who that is, if Refer-To need not tell.
    pub(super) fn plan(
        &mut self,
        now: Timestamp,
        (session, side): (SessionId, Leg),
        request: &Request,
        to: SessionId,
        rung: Option<(Destination, String)>,
    ) -> Result<Plan, Refusal> {
        let refer_to = refer_to(request)?;
        let uri = refer_to.uri();
        if uri.scheme() == Scheme::Other {
            return Err(Refusal::UnsupportedScheme);
        }
        let method = uri.param("method").unwrap_or("INVITE");
        if !method.eq_ignore_ascii_case(Method::Invite.as_str()) {
            return Err(Refusal::BadReference);
        }
        if request.headers.max_forwards() == Some(0) {
            return Err(Refusal::TooManyHops);
        }
        let (referral, named) = self.referral(session, side, &mut request.clone())?;
        if named == Some(session) {
            return Err(Refusal::BadReference);
        }
        let joined = self.joined_by((session, side), &refer_to);
        let other = joined.and_then(|(other, stays)| Some((self.calls.get(&other)?, stays)));
        if let Some((call, stays)) = other {
            call.may_refer(stays).map_err(|refusal| match refusal {
                Refusal::NoSuchDialog => Refusal::Unreplaceable,
                other => other,
            })?;
        }
        let lines = other.map_or(0, |(call, _)| call.lines());
        let told = other.and_then(|(call, stays)| call.told(stays));
        let call = self.calls.get(&session).ok_or(Refusal::NoSuchDialog)?;
        let (caller, referrer) = (call.party(side.other()), call.party(side));
        let dissent = call.dissenting(side.other());
        let is_emergency = call.is_emergency() || other.is_some_and(|(call, _)| call.is_emergency());
        let staying = call.staying(side.other(), request, uri, lines);
        let mut staying = staying.ok_or(Refusal::MediaNotAcceptable)?;
        staying.leg.local_tag = self.wire.mint().tag();
        let mut callee = self.callee(now, &mut staying, &refer_to, joined, rung)?;
        callee.kin.rerouted_by.insert(0, referrer);
        let conversations = [Some(session), named].into_iter().flatten();
        callee.kin.conversation = conversations.filter_map(|call| self.conversations.of(call)).min();
        let old = [Some(session), joined.map(|(other, _)| other)];
        callee.kin.caller = Some(caller);
        callee.kin.dissents[Leg::A.index()] = dissent;
        callee.kin.emergency = is_emergency;
        let (arrival, invite) = self.arrival(now, (to, old), (staying, told), callee)?;
        Ok(Plan {
            referral,
            named,
            joined,
            arrival,
            invite,
        })
    }

    /// The call of ours that Refer-To wants replaced, and who stays of it: joined by us, where the transferor's trunk has the
    /// other end (RFC 5589 §7). Who is called there need not know Replaces.
    fn joined_by(&self, (session, side): (SessionId, Leg), refer_to: &NameAddr) -> Option<(SessionId, Leg)> {
        let (header, name) = b2bua::dialog_of_refer_to(refer_to)?;
        let named = self.find_dialog(header, &name).filter(|_| header == "Replaces")?;
        let (other, stays) = (named.session, named.meant.leg);
        let (call, of) = (self.calls.get(&other)?, self.calls.get(&session)?);
        let is_own = call.reach(stays.other()).0.name == of.reach(side).0.name;
        let is_joined = is_own && other != session && !call.is_half_open() && !name.is_early_only();
        is_joined.then_some((other, stays))
    }

    fn callee(
        &mut self,
        now: Timestamp,
        staying: &mut Staying,
        refer_to: &NameAddr,
        joined: Option<(SessionId, Leg)>,
        rung: Option<(Destination, String)>,
    ) -> Result<Callee, Refusal> {
        let (tag, call_id) = (self.wire.mint().tag(), self.wire.mint().call_id());
        let named = b2bua::dialog_of_refer_to(refer_to);
        let found = named.as_ref().and_then(|(header, name)| self.find_dialog(header, name));
        let mut kin = Kin::default();
        if let Some((found, call)) = found
            .as_ref()
            .and_then(|found| Some((found, self.calls.get(&found.session)?)))
        {
            kin.rerouted_by.extend(Leg::BOTH.map(|side| call.party(side)));
            if joined.is_some() || self.far_end_of(&staying.invite.uri, Some(found)).is_some() {
                kin.callee = Some(call.party(found.meant.leg));
                kin.dissents[Leg::B.index()] = call.dissenting(found.meant.leg);
            }
        }
        if let Some((call, stays)) = joined.and_then(|(other, stays)| Some((self.calls.get(&other)?, stays))) {
            let leg = CallLeg {
                local_tag: tag,
                call_id,
                ..call.seat_of(stays, Leg::B)
            };
            return Ok(Callee {
                trunk: Arc::clone(&leg.trunk),
                destinations: Vec::new(),
                leg,
                call_id: call.call_id(stays).to_owned(),
                kin,
            });
        }
        if let Some((header, name)) = named {
            staying.invite.headers.set(header, name.to_string());
            if let Some(option) = b2bua::option_of(header) {
                staying.invite.headers.push("Require", option);
            }
        }
        let destinations = match (rung, self.far_end_of(&staying.invite.uri, found.as_ref())) {
            (Some((rung, party)), _) => {
                kin.callee = Some(party);
                vec![rung]
            }
            (None, Some(far_end)) => vec![far_end],
            (None, None) => self.destinations(now, &staying.invite, &staying.leg.trunk)?,
        };
        let first = destinations.first().cloned().ok_or(Refusal::NoRoute)?;
        self.rename_dialog(&mut staying.invite, found.as_ref(), &first.trunk);
        let leg = CallLeg {
            side: Leg::B,
            trunk: Arc::clone(&first.trunk),
            flow: first.flow,
            call_id: call_id.clone(),
            local_tag: tag,
            dialog: None,
            state: LegState::Idle,
            invite: None,
            ack: None,
            fronts_focus: false,
            tells_src: false,
        };
        Ok(Callee {
            trunk: first.trunk,
            destinations,
            leg,
            call_id,
            kin,
        })
    }

    /// The new call, decided as if the party that stays had called.
    fn arrival(
        &mut self,
        now: Timestamp,
        (session, old): (SessionId, [Option<SessionId>; 2]),
        (staying, told): (Staying, Option<Bytes>),
        callee: Callee,
    ) -> Result<(Arrival, Request), Refusal> {
        let (from, to) = (Arc::clone(&staying.leg.trunk), Arc::clone(&callee.trunk));
        let facts = b2bua::of_invite(now, &staying.invite, &from, &to, &self.policies);
        let facts = callee.kin.complete(facts);
        let target = callee.destinations.first().map(|first| first.target.clone());
        let facts = b2bua::at_our_address(facts, &self.topology, callee.destinations.iter().map(|d| &d.target));
        let decision = Arc::new(self.turn(now).decide_by(facts));
        self.may_move(
            now,
            &decision,
            old,
            [(&from, true), (&to, callee.destinations.is_empty())],
        )?;
        let opening = b2bua::Opening {
            session,
            node: &self.terms.node,
            now,
            b_call_id: &callee.call_id,
            from: &from,
            to: &to,
            meeting: false,
            conversation: callee.kin.conversation,
        };
        let header = Arc::new(b2bua::header(&opening, &staying.invite, &decision));
        let arrival = Arrival {
            session,
            asked: Asked::ByRefer {
                told: [staying.told, told],
                transfers: staying.transfers,
            },
            target: target.unwrap_or_else(|| staying.invite.uri.clone()),
            bytes: Bytes::new(),
            a: staying.leg,
            b: callee.leg,
            destinations: callee.destinations,
            kin: callee.kin,
            decision,
            meeting: false,
            header,
        };
        Ok((arrival, staying.invite))
    }

    /// Whether the node and both trunks have room for the new call, which takes the place of `old` ones: it counts for no
    /// trunk that they are on, and not as a new call where its party sits already (`true`).
    fn may_move(
        &mut self,
        now: Timestamp,
        decision: &Decision,
        old: [Option<SessionId>; 2],
        trunks: [(&Trunk, bool); 2],
    ) -> Result<(), Refusal> {
        self.may_begin(decision, true)?;
        if decision.emergency {
            return Ok(());
        }
        let is_on = |trunk: &Trunk| {
            let mut old = old.into_iter().flatten();
            old.any(|call| self.loads.is_on(call, &trunk.name))
        };
        let caps = trunks.map(|(trunk, sits)| {
            let calls_max = trunk.caps.calls_max.filter(|_| !is_on(trunk));
            let calls_per_second = trunk.caps.calls_per_second.filter(|_| !sits);
            let caps = Caps {
                calls_max,
                calls_per_second,
            };
            (&trunk.name, caps)
        });
        let room = self.loads.check(now, caps);
        room.map_err(|reached| Refusal::TrunkFull { reached })
    }

    /// What the calls of transfers have to tell each other.
    pub(super) fn carry_errands(&mut self, now: Timestamp) {
        while let Some((session, errand)) = self.errands.pop_front() {
            match errand {
                Errand::OfferCallee { offer } => {
                    if let Some(other) = self.transfers.get(&session).and_then(|transfer| transfer.other) {
                        self.with_call(now, other, |call, turn| call.reseat(turn, offer));
                    }
                }
                Errand::OfferCaller { offer } => {
                    if let Some(from) = self.transfers.get(&session).map(|transfer| transfer.from) {
                        self.with_call(now, from, |call, turn| call.reseat(turn, offer));
                    }
                }
                Errand::Declined { status } => {
                    let transfer = self.transfers.remove(&session);
                    for call in transfer.into_iter().flat_map(Transfer::old_calls) {
                        self.with_call(now, call, |call, turn| call.on_transfer_failed(turn, status));
                    }
                }
                Errand::Seated { to, answer } => self.on_seated(now, session, to, &answer),
                Errand::Lost { to, status } => {
                    self.end_consultation(now, to);
                    self.with_call(now, to, |call, turn| call.abandon(turn, status));
                }
                Errand::Consulted { to, how } => self.on_consulted(now, to, how),
                Errand::TakeOver { rings } => self.take_over(now, session, rings),
            }
        }
    }

    /// A party has accepted its new far end. Once all have, they go over together.
    fn on_seated(&mut self, now: Timestamp, session: SessionId, to: SessionId, answer: &Bytes) {
        let Some(transfer) = self.transfers.get(&to).copied() else {
            return;
        };
        if transfer.other == Some(session) {
            self.with_call(now, to, |call, turn| call.on_callee_seated(turn, Some(answer)));
            return;
        }
        let is_seated = |call: SessionId| self.calls.get(&call).is_some_and(|call| call.is_seated(to));
        if !transfer.old_calls().all(is_seated) || !self.calls.get(&to).is_some_and(|call| call.awaits_caller()) {
            self.with_call(now, to, |call, turn| call.abandon(turn, 487));
            return;
        }
        let mut newcomer = |call: SessionId| self.calls.get_mut(&call)?.take_newcomer();
        let newcomers = [newcomer(transfer.from), transfer.other.and_then(newcomer)];
        let mut is_admitted = false;
        self.with_call(now, to, |call, turn| is_admitted = call.admit_movers(turn, newcomers));
        if !is_admitted {
            return;
        }
        self.transfers.remove(&to);
        let mut go_over = |call: SessionId| self.calls.get_mut(&call)?.go_over();
        let caller = go_over(transfer.from);
        let callee = transfer.other.and_then(go_over);
        if let Some(caller) = caller {
            self.with_call(now, to, |call, turn| call.take_over(turn, caller, callee, answer));
        }
        for call in transfer.old_calls() {
            self.with_call(now, call, Call::on_transferred);
        }
    }
}

impl Transfer {
    /// That of the REFER first.
    fn old_calls(self) -> impl Iterator<Item = SessionId> {
        [Some(self.from), self.other].into_iter().flatten()
    }
}
