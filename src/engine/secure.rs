//! `sips:` (RFC 3261 §26.2.2): whoever is called by such a URI is reached by TLS on every hop, or not at all. Only an
//! emergency is connected however it can be. And our certificates for media.

use std::sync::Arc;

use super::signaling::Signaling;
use crate::b2bua::{self, Refusal};
use crate::model::{Identity, Timestamp};
use crate::sip::{Flow, Method, Request, Scheme, Uri};
use crate::trunk::{Destination, Trunk};

impl Signaling {
    /// Our certificates in handshakes with parties. Without them DTLS is between them.
    #[must_use]
    pub fn with_identities(mut self, identities: [Identity; 2]) -> Self {
        self.terms.identities = Some(identities.map(Arc::new));
        self
    }

    /// Whether a request that opens something came as securely as its URI demands.
    pub(super) fn came_securely(&self, now: Timestamp, flow: Flow, request: &Request) -> Result<(), Refusal> {
        if request.uri.scheme() != Scheme::Sips || flow.transport.is_secure() || request.headers.to().tag().is_some() {
            return Ok(());
        }
        let from = self.topology.trunk_of(flow.remote, flow.transport);
        match from {
            Some(from) if self.is_emergency(now, request, from) => Ok(()),
            _ => Err(Refusal::NotSecure),
        }
    }

    /// [`Self::next_hops`], and for an emergency those that no TLS leads to as well.
    pub(super) fn secure_hops(
        &mut self,
        now: Timestamp,
        request: &Request,
        uri: &Uri,
        from: &Trunk,
    ) -> Result<Vec<Destination>, Refusal> {
        match self.next_hops(now, uri, from) {
            Err(Refusal::NotSecure) if self.is_emergency(now, request, from) => {
                self.next_hops(now, &uri.with_security(false), from)
            }
            found => found,
        }
    }

    /// Whether a request begins an emergency call, or is part of one.
    pub(super) fn is_urgent(&self, now: Timestamp, flow: Flow, request: &Request) -> bool {
        if request.headers.to().tag().is_some() {
            let call = self
                .leg_of(request, flow)
                .and_then(|(session, _)| self.calls.get(&session));
            return call.is_some_and(|call| call.is_emergency());
        }
        let from = self.topology.trunk_of(flow.remote, flow.transport);
        request.method == Method::Invite && from.is_some_and(|from| self.is_emergency(now, request, from))
    }

    fn is_emergency(&self, now: Timestamp, request: &Request, from: &Trunk) -> bool {
        let facts = b2bua::screened(now, request, from, &self.topology, &self.policies);
        let (callee, is_emergency) = self.policies.screen(&facts);
        is_emergency || self.emergencies.expects(now, &self.policies, &facts, &callee)
    }
}
