//! REFERs that we execute and that name a call which rings still: the transfer is accepted, and waits for that call.

use std::net::IpAddr;

use super::kinship::{Named, refer_to};
use super::referral::Plan;
use super::signaling::Signaling;
use crate::b2bua::{self, Call, Consulted, DialogName, Kin, Referral, Refusal};
use crate::model::{Leg, SessionId, Timestamp};
use crate::sip::{NameAddr, Request, Uri};
use crate::trunk::{Destination, Trunk};

pub(super) const REPLACES: &str = "Replaces";

/// A transfer that waits for whom its REFER names. One call is awaited by one transfer, and each transfer is of one call:
/// there are no more of these than calls.
#[derive(Debug)]
pub(super) struct Consultation {
    referral: Referral,
    /// Where the REFER came, and from whom.
    from: (SessionId, Leg),
    refer: Request,
    source: IpAddr,
    /// The call that rings.
    rings: SessionId,
}

/// What a REFER comes to, if it is accepted.
pub(super) enum Course {
    Now(Box<Plan>),
    Later(Box<Consultation>),
}

impl Course {
    pub(super) const fn referral(&self) -> &Referral {
        match self {
            Self::Now(plan) => &plan.referral,
            Self::Later(consultation) => &consultation.referral,
        }
    }
}

impl Signaling {
    /// The call that has to be answered before a REFER can be executed; None if it can be now.
    pub(super) fn consultation(
        &self,
        (session, side): (SessionId, Leg),
        refer: &Request,
        source: IpAddr,
    ) -> Result<Option<Consultation>, Refusal> {
        let Some((header, name)) = b2bua::dialog_of_refer_to(&refer_to(refer)?) else {
            return Ok(None);
        };
        let named = self.find_dialog(header, &name).filter(|_| header == REPLACES);
        let Some(named) = named.filter(|named| named.meant.leg == Leg::B && named.session != session) else {
            return Ok(None);
        };
        let (Some(rings), Some(of)) = (self.calls.get(&named.session), self.calls.get(&session)) else {
            return Ok(None);
        };
        if !rings.is_ringing() && !rings.rings_for_caller() {
            return Ok(None);
        }
        let is_own = rings.reach(Leg::A).0.name == of.reach(side).0.name;
        if !is_own || name.is_early_only() || !rings.rings_for_caller() {
            return Err(Refusal::Unreplaceable);
        }
        if rings.is_awaited() {
            return Err(Refusal::Glare);
        }
        let (referral, _) = self.referral(session, side, &mut refer.clone())?;
        Ok(Some(Consultation {
            referral,
            from: (session, side),
            refer: refer.clone(),
            source,
            rings: named.session,
        }))
    }

    /// Where an INVITE goes; and the call that rings there, if this one is to ring in its place.
    pub(super) fn called_by(
        &mut self,
        now: Timestamp,
        invite: &Request,
        from: &Trunk,
        named: Option<&Named>,
    ) -> Result<(Option<SessionId>, Vec<Destination>), Refusal> {
        let called = match self.far_end_of(&invite.uri, named) {
            Some(far_end) => vec![far_end],
            None => self.destinations(now, invite, from)?,
        };
        let rings = self.rings_for(now, invite, from, named);
        Ok(match rings.filter(|(_, rung)| self.is_at(&invite.uri, &called, rung)) {
            Some((session, rung)) => (Some(session), vec![rung]),
            None => (None, called),
        })
    }

    /// The call that rings for whom an INVITE wants to reach in the place of its caller. Who knows its dialog may not yet
    /// end it: its caller's side has asked for this INVITE by a REFER that crossed.
    fn rings_for(
        &self,
        now: Timestamp,
        invite: &Request,
        from: &Trunk,
        named: Option<&Named>,
    ) -> Option<(SessionId, Destination)> {
        let named = named.filter(|named| named.header == REPLACES && named.meant.leg == Leg::B)?;
        let call = self.calls.get(&named.session).filter(|call| call.may_make_way())?;
        let (_, name) = b2bua::dialog_named(invite).ok()??;
        let trunk = Some(&from.name).filter(|trunk| **trunk != call.reach(Leg::A).0.name);
        let may = self.conversations.may_take_over(now, trunk, named.session, &name);
        may.then(|| (named.session, call.rung()))
    }

    /// A dialog that rings, named by who would pick it up there: of the trunk that is rung. Who rings did not begin it and could
    /// only say 481 (RFC 3891 §3); the name was told by who did, and means them, as it was told. But for what a REFER asked for.
    pub(super) fn picked_up(&self, now: Timestamp, invite: &Request, from: &Trunk, named: Named) -> Named {
        let is_rung = |call: &&Call| {
            let [begun_by, rung] = Leg::BOTH.map(|side| &call.reach(side).0.name);
            call.is_ringing() && *rung == from.name && *begun_by != from.name
        };
        let is_callee = named.header == REPLACES && named.meant.leg == Leg::B;
        let call = self.calls.get(&named.session).filter(|_| is_callee);
        let call = call.map(Box::as_ref).filter(is_rung);
        let name = b2bua::dialog_named(invite).ok().flatten().map(|(_, name)| name);
        let meant = call.zip(name).and_then(|(call, name)| {
            let is_asked = self
                .conversations
                .may_take_over(now, Some(&from.name), named.session, &name);
            let is_told = name.call_id() == call.call_id(Leg::A) && !is_asked;
            is_told.then(|| call.begun_as(name)).flatten()
        });
        match meant {
            Some(meant) => Named { meant, ..named },
            None => named,
        }
    }

    /// Whether an INVITE for this URI is for who is rung.
    fn is_at(&self, uri: &Uri, called: &[Destination], rung: &Destination) -> bool {
        let is_rung = |at: &Destination| at.trunk.name == rung.trunk.name && at.target.user() == rung.target.user();
        self.is_ours(uri) || called.iter().any(is_rung)
    }

    /// The INVITE takes the place of a call that rings: who is rung there is its callee, whatever its URI says.
    pub(super) fn call_in_place(&self, kin: &mut Kin, invite: &mut Request, rings: SessionId) {
        let call = self.calls.get(&rings);
        kin.callee = call.map(|call| call.party(Leg::B));
        kin.takes_over = call.filter(|call| !call.is_abandoned()).map(|call| call.id());
        b2bua::replace_nothing(&mut invite.headers);
    }

    /// The call whose place the INVITE that a REFER asks for shall take: one of the sender's trunk, not of who is rung.
    pub(super) fn rings_of(&self, by: &Trunk, refer_to: &NameAddr) -> Option<(SessionId, DialogName)> {
        let (header, name) = b2bua::dialog_of_refer_to(refer_to)?;
        let named = self.find_dialog(header, &name)?;
        let is_callee = header == REPLACES && named.meant.leg == Leg::B;
        let is_own = self.calls.get(&named.session)?.reach(Leg::A).0.name == by.name;
        (is_callee && is_own).then_some((named.session, name))
    }

    /// A call that can ring now asks another to make way.
    pub(super) fn take_over(&mut self, now: Timestamp, session: SessionId, rings: SessionId) {
        let mut is_made = false;
        self.with_call(now, rings, |call, turn| is_made = call.make_way(turn));
        self.with_call(now, session, |call, turn| call.on_way(turn, is_made));
    }

    /// The REFER was accepted: `to` is the call that it will make.
    pub(super) fn begin_consultation(&mut self, now: Timestamp, to: SessionId, consultation: Consultation) {
        let rings = consultation.rings;
        self.conversations.join(consultation.from.0, rings);
        self.consultations.insert(to, consultation);
        self.with_call(now, rings, |call, _| call.await_answer(to));
    }

    /// The call that a transfer waited for is answered, or over.
    pub(super) fn on_consulted(&mut self, now: Timestamp, to: SessionId, how: Consulted) {
        let Some(consultation) = self.consultations.remove(&to) else {
            return;
        };
        let (from, source) = (consultation.from, consultation.source);
        let planned = match how {
            Consulted::Answered => self.join_answered(now, to, consultation),
            Consulted::GivenUp { rung, party } => self.call_instead(now, to, consultation, (rung, party)),
            Consulted::Failed { status } => Err(status),
        };
        match planned {
            Ok(plan) => self.begin_transfer(now, from.0, plan, source),
            Err(status) => self.with_call(now, from.0, |call, turn| call.on_transfer_failed(turn, status)),
        }
    }

    /// Attended, from here on: by the dialog of who answered, which need not be the one that rang when the REFER came.
    fn join_answered(&mut self, now: Timestamp, to: SessionId, consultation: Consultation) -> Result<Plan, u16> {
        let mut refer = consultation.refer;
        let renamed = refer_to(&refer).ok().and_then(|refer_to| {
            let (header, name) = b2bua::dialog_of_refer_to(&refer_to)?;
            let name = self.calls.get(&consultation.rings)?.named_by_caller(&name)?;
            let mut refer_to = refer_to;
            refer_to.uri = refer_to.uri.with_header(header, &name.to_string());
            Some(refer_to)
        });
        let renamed = renamed.ok_or(Refusal::NoSuchDialog).map_err(status)?;
        refer.headers.set("Refer-To", renamed.to_string());
        self.plan(now, consultation.from, &refer, to, None).map_err(status)
    }

    /// Blind, from here on: who stays calls where it rang.
    fn call_instead(
        &mut self,
        now: Timestamp,
        to: SessionId,
        consultation: Consultation,
        rung: (Destination, String),
    ) -> Result<Plan, u16> {
        let mut refer = consultation.refer;
        let target = NameAddr::new(rung.0.target.clone());
        refer.headers.set("Refer-To", target.to_string());
        let plan = self.plan(now, consultation.from, &refer, to, Some(rung));
        plan.map_err(status)
    }

    /// The old call is not there for its transfer any more.
    pub(super) fn end_consultation(&mut self, now: Timestamp, to: SessionId) {
        if let Some(consultation) = self.consultations.remove(&to) {
            self.with_call(now, consultation.rings, |call, _| Call::forgo_answer(call, to));
        }
    }
}

fn status(refusal: Refusal) -> u16 {
    refusal.rejection("").status
}
