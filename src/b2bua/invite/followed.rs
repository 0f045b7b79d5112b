//! The parties that 3xx name: where each is asked, and what the policies see of it (RFC 3261 §8.1.3.4). One truth for both: a
//! Contact that goes by the routes is called as if A had dialled it, with the rules of A's trunk; one that names a peer is asked
//! there as it is, and decided as it is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::redirect;
use crate::b2bua::call::Call;
use crate::b2bua::crossing::numbering;
use crate::b2bua::decision::facts;
use crate::b2bua::turn::Turn;
use crate::policy::CallFacts;
use crate::sip::{NameAddr, Request, Scheme, Uri};
use crate::trunk::{Destination, Peer, Trunk};

/// A party that a 3xx names.
#[derive(Clone, Debug)]
pub struct Followed {
    pub contact: Uri,
    /// It is help: neither caps nor missing TLS stop a call there.
    pub is_urgent: bool,
    /// It is asked itself.
    pub is_direct: bool,
}

impl Call {
    /// A Contact as it may be followed. None: who was called securely is not called otherwise (RFC 3261 §8.1.3.4), but for help.
    pub(super) fn follows(&self, turn: &Turn<'_>, contact: Uri) -> Option<Followed> {
        let is_urgent = self.is_help(turn, &contact);
        let demands_tls = self.target.scheme() == Scheme::Sips && !is_urgent && !self.decision.emergency;
        let may = !demands_tls || contact.scheme() == Scheme::Sips;
        may.then_some(Followed {
            contact,
            is_urgent,
            is_direct: false,
        })
    }

    /// Whether a call to a Contact is an emergency call, whatever it was before.
    fn is_help(&self, turn: &Turn<'_>, contact: &Uri) -> bool {
        let Some(received) = &self.a.invite else {
            return false;
        };
        let asked = asking(received, contact);
        let facts = if self.peer_of(turn, contact).is_some() {
            let facts = facts::of_invite(turn.now, &asked, &self.a.trunk, &self.a.trunk, turn.policies);
            as_written(facts, contact)
        } else {
            facts::screened(turn.now, &asked, &self.a.trunk, turn.topology, turn.policies)
        };
        turn.policies.screen(&facts).1
    }

    /// The peer of a trunk that A may call, if a Contact names one.
    fn peer_of<'t>(&self, turn: &Turn<'t>, contact: &Uri) -> Option<(&'t Arc<Trunk>, &'t Peer)> {
        let address = contact.socket_addr()?;
        let trunks = turn.topology.trunks_to(&self.a.trunk.name);
        trunks
            .flat_map(|trunk| trunk.peers.iter().map(move |peer| (trunk, peer)))
            .filter(|(trunk, peer)| peer.is_source(address, trunk.transport))
            .min_by_key(|(_, peer)| peer.port != Some(address.port()))
    }

    /// A peer is asked itself, where we know that it listens; for everybody else the routes say where, as if A had called them.
    pub(super) fn destinations_of(&self, turn: &mut Turn<'_>, party: &mut Followed) -> VecDeque<Destination> {
        let (topology, contact) = (turn.topology, &party.contact);
        let is_urgent = party.is_urgent || self.decision.emergency;
        let peer = self.peer_of(turn, contact).and_then(|(trunk, peer)| {
            Some(Destination {
                trunk: Arc::clone(trunk),
                flow: topology.flow(trunk, trunk.transport, peer.address_by(trunk.transport))?,
                target: contact.clone(),
            })
        });
        let is_secure =
            |to: &Destination| contact.scheme() != Scheme::Sips || is_urgent || to.flow.transport.is_secure();
        if let Some(peer) = peer.filter(is_secure) {
            party.is_direct = true;
            return VecDeque::from([peer]);
        }
        let Some(received) = &self.a.invite else {
            return VecDeque::new();
        };
        let asked = asking(received, contact);
        let seen = numbering::arriving(&asked, &self.a.trunk, turn.policies).uri.clone();
        let mint = turn.wire.mint();
        let mut routed = |uri: &Uri| {
            let found = topology.destinations(turn.now, &self.a.trunk, uri, &mut |max| mint.up_to(max));
            found.unwrap_or_default()
        };
        let found = routed(&seen);
        if found.is_empty() && is_urgent && seen.scheme() == Scheme::Sips {
            return routed(&seen.with_security(false)).into();
        }
        found.into()
    }

    /// What A's INVITE tells of the call, with who is asked now.
    pub(in crate::b2bua) fn facts_of_invite(&self, turn: &Turn<'_>) -> Option<CallFacts> {
        let received = self.a.invite.as_ref()?;
        let party = self.attempts.party.as_ref();
        let mut kin = self.attempts.kin.clone();
        if party.is_some() {
            kin.callee = None;
        }
        kin.rerouted_by.extend(self.redirected_by(received));
        let of = |asked: &Request| facts::of_invite(turn.now, asked, &self.a.trunk, &self.b.trunk, turn.policies);
        let facts = match party {
            Some(party) => of(&asking(received, &party.contact)),
            None => of(received),
        };
        let others = self.attempts.destinations.iter().map(|other| &other.target);
        let targets = std::iter::once(&self.target).chain(others);
        let facts = facts::at_our_address(kin.complete(facts), turn.topology, targets);
        Some(match party {
            Some(party) if party.is_direct => as_written(facts, &party.contact),
            _ => facts,
        })
    }

    /// Who sent the call on with a 3xx (URIs).
    fn redirected_by(&self, received: &Request) -> Vec<String> {
        let redirects = self.attempts.rerouting.iter().filter(|rerouted| rerouted.is_redirect());
        let parties = redirects.map(|rerouted| rerouted.party.as_ref().unwrap_or(&received.uri));
        parties.map(|party| party.without_headers().to_string()).collect()
    }

    /// The history of a call that was sent on, for B, and what the Contact that is followed brings.
    pub(super) fn write_history(&self, invite: &mut Request) {
        for (name, value) in &self.attempts.brought {
            invite.headers.set(name, value.as_str());
        }
        if let Some(received) = &self.a.invite {
            redirect::write_history(received, &self.attempts.rerouting, invite);
        }
    }
}

/// A's INVITE as if A had called this party.
fn asking(received: &Request, contact: &Uri) -> Request {
    let mut asked = received.clone();
    asked.uri = contact.without_headers();
    asked.headers.set_to(NameAddr::new(asked.uri.clone()));
    asked.headers.remove("P-Called-Party-ID");
    asked
}

/// Of a peer that is asked itself: no route and no rule makes another of it.
fn as_written(facts: CallFacts, contact: &Uri) -> CallFacts {
    let contact = contact.without_headers().to_string();
    CallFacts {
        request_uri: contact.clone(),
        to: contact,
        dialled: None,
        sent_on_as: Vec::new(),
        ..facts
    }
}
