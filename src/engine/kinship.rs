//! What calls have to do with each other: dialogs that requests name, parties that REFER brings together, and the
//! conversation that a new call goes on with.

use std::sync::Arc;

use super::signaling::Signaling;
use crate::b2bua::{self, Answered, Call, DialogEvent, DialogName, Kin, Meant, Referral, Referred, Refusal, Wire};
use crate::model::{Leg, SessionId, Timestamp};
use crate::sip::transaction::ServerId;
use crate::sip::{Flow, Method, NameAddr, Request, Uri};
use crate::trunk::{Destination, Trunk};

/// Names a dialog in some packages.
const EVENT: &str = "Event";
/// Times that one INVITE may come by us: as often as Max-Forwards lets it, where nobody sets that anew.
const PASSAGES_MAX: usize = 70;

/// A dialog of a call of ours that a request names.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) session: SessionId,
    pub(super) meant: Meant,
    pub(super) header: &'static str,
}

impl Signaling {
    /// The dialog of ours that an INVITE or SUBSCRIBE names; none if it names none or a stranger's.
    pub(super) fn dialog_named(&self, request: &Request) -> Result<Option<Named>, Refusal> {
        let named = b2bua::dialog_named(request).map_err(|_| Refusal::BadReference)?;
        let named = named.and_then(|(header, name)| self.find_dialog(header, &name));
        Ok(named.or_else(|| self.find_watched(request)))
    }

    /// The dialog of ours that the event of a SUBSCRIBE is of.
    fn find_watched(&self, request: &Request) -> Option<Named> {
        let event = request
            .headers
            .get("Event")
            .filter(|_| request.method == Method::Subscribe)?;
        let event = DialogEvent::parse(event)?;
        if !event.is_of_far_end() {
            return self.find_dialog(EVENT, &event.name);
        }
        event.name.tags().into_iter().find_map(|tag| {
            let (session, side) = *self.tags.get(tag)?;
            let meant = self.calls.get(&session)?.meant_beyond(side, &event.name)?;
            let header = EVENT;
            Some(Named { session, meant, header })
        })
    }

    pub(super) fn find_dialog(&self, header: &'static str, name: &DialogName) -> Option<Named> {
        name.tags().into_iter().find_map(|tag| {
            let (session, _) = *self.tags.get(tag)?;
            let meant = self.calls.get(&session)?.meant(name)?;
            Some(Named { session, meant, header })
        })
    }

    /// The calls under whose Call-IDs a neighbour has sent this INVITE back to us, the newest first.
    fn passages_before(&self, invite: &Request) -> impl Iterator<Item = (SessionId, &Call)> {
        let before = |call_id: &str| {
            let session = *self.minted.get(call_id)?;
            Some((session, self.calls.get(&session)?.as_ref()))
        };
        let newest = before(invite.headers.call_id());
        std::iter::successors(newest, move |(_, call)| before(call.call_id(Leg::A))).take(PASSAGES_MAX)
    }

    /// One that comes back for somebody else is a spiral, and a call of its own; to ask the same party at the same place
    /// again is a loop (RFC 3261 §6, §16.3 item 4).
    pub(super) fn is_no_loop(&self, invite: &Request, destinations: &[Destination]) -> Result<(), Refusal> {
        let mut before = self.passages_before(invite);
        if before.any(|(_, call)| call.has_asked(destinations)) || self.passages_before(invite).count() == PASSAGES_MAX
        {
            return Err(Refusal::Loop);
        }
        Ok(())
    }

    /// Whether an INVITE in work has come once more by another way, under another branch: whom it asks for is rung already (RFC
    /// 3261 §8.2.2.2). A fork before us asks for somebody else by each branch; what comes back to us is no copy of what came.
    pub(super) fn is_merged(&self, invite: &Request) -> bool {
        let is_back = self.minted.contains_key(invite.headers.call_id());
        let asked_by = |session: &SessionId| self.calls.get(session).is_some_and(|call| call.is_asked_by(invite));
        !is_back && self.conversations.branches(invite).iter().any(asked_by)
    }

    /// Whether a URI leads to us: by the address of a listener, or by what it is advertised as.
    pub(super) fn is_ours(&self, uri: &Uri) -> bool {
        self.topology.names_us(uri)
    }

    /// Where the dialog named leads, for a request whose URI is our own Contact; or any at us where a dialog is to be replaced
    /// or joined: who has it is called, whatever the user (RFC 3891 §3, RFC 3911 §4, RFC 5589 §7.3).
    pub(super) fn far_end_of(&self, uri: &Uri, named: Option<&Named>) -> Option<Destination> {
        let is_called = |named: &&Named| uri.user().is_none() || b2bua::option_of(named.header).is_some();
        let named = named.filter(is_called).filter(|_| self.is_ours(uri))?;
        let (trunk, flow) = self.calls.get(&named.session)?.reach(named.meant.leg);
        Some(Destination {
            trunk: Arc::clone(trunk),
            flow,
            target: named.meant.target.clone(),
        })
    }

    /// The dialog as it is known where the request goes on to.
    pub(super) fn rename_dialog(&self, request: &mut Request, named: Option<&Named>, to: &Trunk) {
        let Some(named) = named else { return };
        let known_by = self.calls.get(&named.session).map(|call| call.reach(named.meant.leg));
        if known_by.is_some_and(|(trunk, _)| trunk.name == to.name) {
            let event = request.headers.get(EVENT).filter(|_| named.header == EVENT);
            let value = event
                .and_then(DialogEvent::parse)
                .map_or_else(|| named.meant.name.to_string(), |event| event.naming(&named.meant.name));
            request.headers.set(named.header, value);
        }
    }

    /// What other calls tell of this one.
    pub(super) fn kin_of(&mut self, now: Timestamp, invite: &Request, from: &Trunk, named: Option<&Named>) -> Kin {
        let mut kin = Kin::default();
        let mut conversations = Vec::new();
        if let Some((named, call)) = named.and_then(|named| Some((named, self.calls.get(&named.session)?))) {
            conversations.extend(self.conversations.of(named.session));
            kin.continues = b2bua::option_of(named.header).is_some() && !call.is_left();
            kin.rerouted_by.extend(Leg::BOTH.map(|side| call.party(side)));
            kin.callee = self
                .far_end_of(&invite.uri, Some(named))
                .map(|_| call.party(named.meant.leg));
            kin.dissents[Leg::B.index()] = kin.callee.as_ref().and_then(|_| call.dissenting(named.meant.leg));
        }
        match self.conversations.take_referral(now, &from.name, invite) {
            Some(Answered::Proven {
                conversation,
                referrer,
                dissent,
            }) => {
                conversations.push(conversation);
                kin.dissents[Leg::A.index()] = dissent;
                kin.continues = true;
                kin.rerouted_by.push(referrer);
            }
            Some(Answered::Alike {
                conversation,
                referrers,
                dissent,
            }) => {
                conversations.extend(conversation);
                kin.dissents[Leg::A.index()] = dissent;
                kin.continues |= conversation.is_some();
                kin.may_be_rerouted_by.extend(referrers);
            }
            None => {}
        }
        let spiral = self.passages_before(invite).next();
        conversations.extend(spiral.and_then(|(session, _)| self.conversations.of(session)));
        if conversations.is_empty() {
            let rings = |session| self.calls.get(&session).is_some_and(|call| call.is_ringing());
            let found = self.conversations.kin(invite, &b2bua::rerouters(invite), rings);
            conversations.extend(found.and_then(|session| self.conversations.of(session)));
        }
        kin.conversation = conversations.into_iter().min();
        kin
    }

    /// A REFER inside a call: whom it brings in is decided before it crosses.
    pub(super) fn on_refer(
        &mut self,
        now: Timestamp,
        (session, side): (SessionId, Leg),
        (id, mut request): (ServerId, Request),
        (flow, bytes): (Flow, &bytes::Bytes),
    ) {
        if self.calls.get(&session).is_some_and(|call| call.executes_refer(side)) {
            self.execute_refer(now, (session, side), (id, &request), (flow, bytes));
            return;
        }
        let (referral, other) = match self.referral(session, side, &mut request) {
            Ok((referral, other)) => (Ok(referral), other),
            Err(refusal) => (Err(refusal), None),
        };
        let mut carried = false;
        self.with_call(now, session, |call, turn| {
            call.received(turn, side, flow, bytes);
            carried = call.on_refer(turn, side, flow, (id, &request), referral);
        });
        if carried {
            if let Some(other) = other {
                self.conversations.join(session, other);
            }
            self.remember_referral(now, (session, side), &request);
        }
    }

    /// Whom the REFER brings in, and the other call whose dialog they shall replace. Its Refer-To is written for the
    /// receiver: our address as it knows it, the dialog as the party knows it where the INVITE will not come by us.
    pub(super) fn referral(
        &self,
        session: SessionId,
        side: Leg,
        request: &mut Request,
    ) -> Result<(Referral, Option<SessionId>), Refusal> {
        let mut refer_to = refer_to(request)?;
        let call = self.calls.get(&session).ok_or(Refusal::NoSuchDialog)?;
        let (stays, flow) = call.reach(side.other());
        let named = b2bua::dialog_of_refer_to(&refer_to).and_then(|(header, name)| self.find_dialog(header, &name));
        let known = named.as_ref().and_then(|named| self.calls.get(&named.session));
        let referral = match (&named, known) {
            (Some(named), Some(call)) => Referral {
                party: call.party(named.meant.leg),
                trunk: Some(Arc::clone(call.reach(named.meant.leg).0)),
            },
            _ => {
                let user = refer_to.uri().user().unwrap_or_else(|| refer_to.uri().opaque());
                Referral {
                    party: refer_to.uri().without_headers().to_string(),
                    trunk: self
                        .topology
                        .route(&stays.name, user)
                        .map(|(_, trunk)| Arc::clone(trunk)),
                }
            }
        };
        if self.is_ours(refer_to.uri()) {
            refer_to.uri = refer_to.uri.at(&Wire::contact(flow));
        } else if let Some(named) = &named {
            refer_to.uri = refer_to.uri.with_header(named.header, &named.meant.name.to_string());
        }
        request.headers.set("Refer-To", refer_to.to_string());
        Ok((referral, named.map(|named| named.session)))
    }

    fn remember_referral(&mut self, now: Timestamp, (session, side): (SessionId, Leg), request: &Request) {
        let referred_by = request
            .headers
            .get("Referred-By")
            .and_then(|value| NameAddr::parse(value).ok());
        let Some((call, refer_to)) = self.calls.get(&session).zip(refer_to(request).ok()) else {
            return;
        };
        let referred = Referred {
            trunk: call.reach(side.other()).0.name.clone(),
            refer_to: refer_to.uri.without_headers(),
            referred_by: referred_by.map(|by| by.uri),
            caller: call.party(side.other()),
            referrer: call.party(side),
            dissent: call.dissenting(side.other()),
            session,
            rings: self.rings_of(call.reach(side).0, &refer_to),
        };
        self.conversations.remember(now, referred);
    }
}

/// Exactly one (RFC 3515 §2.4.2).
pub(super) fn refer_to(request: &Request) -> Result<NameAddr, Refusal> {
    let mut values = request.headers.get_all("Refer-To");
    match (values.next(), values.next()) {
        (Some(value), None) => NameAddr::parse(value).map_err(|_| Refusal::BadReference),
        _ => Err(Refusal::BadReference),
    }
}
