//! Phones that register through us: our Path names the flow that each came by (RFC 3327 §5.2, RFC 5626 §5.2), and what its
//! registrar sends by it goes down that flow (RFC 5626 §5.3). A Route that nobody else could have written, and no other.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::binding::{EXPIRES_MAX, longest, seconds};
use super::passage::Passage;
use super::signaling::Signaling;
use crate::b2bua::{Refusal, Wire};
use crate::model::Timestamp;
use crate::sip::{Flow, Method, NameAddr, Request, Response, Scheme, TokenKey, Transport};
use crate::trunk::{Destination, Topology, Trunk};

/// Connections that phones are registered by at a time: more than a driver holds open. Full: the one whose time is over first
/// is forgotten, and calls do not find it until it is registered by again.
const CONNECTIONS_MAX: usize = 4_096;
/// Where neither registrar nor phone says how long (RFC 3261 §10.3 leaves it to the registrar; §20.19's example).
const GRANTED_DEFAULT: Duration = Duration::from_secs(3_600);
/// What a registrar sends while a registration stands may arrive after its end: Timer B (RFC 3261 §17.1.1.2).
const LINGER: Duration = Duration::from_secs(32);

/// What is known of the flows that phones are registered by.
#[derive(Debug)]
pub(super) struct Edge {
    key: TokenKey,
    /// Those by connections that are open: by whom a registrar has taken a registration, and by nobody else.
    connections: BTreeMap<Flow, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// No connection before it had this one between the same addresses.
    number: u64,
    /// Until when the longest registration by it holds.
    until: Timestamp,
}

/// By which path a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    flow: Flow,
    /// Of whoever registers by a connection; no other between the same addresses has it. 0: none, or gone.
    connection: u64,
}

impl Origin {
    pub(super) const fn of(flow: Flow) -> Self {
        Self { flow, connection: 0 }
    }
}

/// What a token stands for.
struct Bound {
    flow: Flow,
    /// 0 of datagrams.
    connection: u64,
}

impl Edge {
    pub(super) const fn new(key: TokenKey) -> Self {
        Self {
            key,
            connections: BTreeMap::new(),
        }
    }

    /// The user part of the Path for whoever came from there, good for this registrar.
    fn token(&self, topology: &Topology, Origin { flow, connection }: Origin, registrar: &Trunk) -> Option<String> {
        if !topology.listens(flow) {
            return None;
        }
        self.key
            .seal(&written(&Bound { flow, connection }), registrar.name.as_str())
    }

    fn bound(&self, token: &str, registrar: &Trunk) -> Option<Bound> {
        read(&self.key.open(token, registrar.name.as_str())?)
    }

    /// A datagram finds its way as long as a NAT lets it; of connections the very one has to be open, and registered by still.
    /// Either by the listener that it came to: processes before may have had others.
    fn lives(&self, now: Timestamp, topology: &Topology, bound: &Bound) -> bool {
        let open = self.connections.get(&bound.flow);
        let is_it = |open: &Connection| open.number == bound.connection && now <= open.until + LINGER;
        let is_open = !bound.flow.transport.is_stream() || open.is_some_and(is_it);
        is_open && topology.listens(bound.flow)
    }

    fn note(&mut self, Origin { flow, connection }: Origin, until: Timestamp) {
        if let Some(open) = self.connections.get_mut(&flow) {
            open.until = open.until.max(until);
            return;
        }
        if self.connections.len() >= CONNECTIONS_MAX {
            let first = self.connections.iter().min_by_key(|(_, open)| open.until);
            if let Some(first) = first.map(|(flow, _)| *flow) {
                self.connections.remove(&first);
            }
        }
        let number = connection;
        self.connections.insert(flow, Connection { number, until });
    }
}

/// Of what a token stands for: the transport, our address, theirs, the connection. Both addresses are of one family.
fn written(bound: &Bound) -> Vec<u8> {
    let Flow {
        transport,
        local,
        remote,
    } = bound.flow;
    let place = Transport::ALL.iter().position(|known| *known == transport);
    let mut text = vec![place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)];
    for address in [local, remote] {
        match address.ip() {
            IpAddr::V4(ip) => text.extend(ip.octets()),
            IpAddr::V6(ip) => text.extend(ip.octets()),
        }
        text.extend(address.port().to_be_bytes());
    }
    text.extend(bound.connection.to_be_bytes());
    text
}

/// The reverse of [`written`].
fn read(text: &[u8]) -> Option<Bound> {
    let (transport, rest) = text.split_first()?;
    let (addresses, connection) = rest.split_last_chunk()?;
    let (local, remote) = addresses.split_at(addresses.len() / 2);
    let flow = Flow {
        transport: *Transport::ALL.get(usize::from(*transport))?,
        local: address(local)?,
        remote: address(remote)?,
    };
    let connection = u64::from_be_bytes(*connection);
    Some(Bound { flow, connection })
}

fn address(text: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = text.split_last_chunk()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

impl Signaling {
    /// Tokens of processes before with the same key are good still.
    #[must_use]
    pub fn with_token_key(mut self, key: TokenKey) -> Self {
        self.edge.key = key;
        self
    }

    /// Media keys come from this, and not from the seed of tags and Call-IDs, which peers see the sequence of.
    #[must_use]
    pub fn with_secret(mut self, secret: [u8; 32]) -> Self {
        self.wire.keep_secret(secret);
        self
    }

    /// Where a request comes from. The connection of a phone that registers is told from others that may come to be between the
    /// same addresses; nothing is noted of it before the registrar agrees.
    pub(super) fn origin(&mut self, request: &Request, flow: Flow) -> Origin {
        let by_connection = request.method == Method::Register && flow.transport.is_stream();
        if !by_connection {
            return Origin::of(flow);
        }
        let mut pending = self.passages.values().map(|passage| passage.origin);
        let pending = pending.find(|origin| origin.flow == flow && origin.connection != 0);
        let known = self.edge.connections.get(&flow).map(|open| open.number);
        let connection = known
            .or_else(|| Some(pending?.connection))
            .unwrap_or_else(|| self.wire.mint().entropy() as u64 | 1);
        Origin { flow, connection }
    }

    /// A registrar's final answer: from here on its phone is called by the connection that it registered by, as long as it was
    /// granted.
    pub(super) fn on_granted(&mut self, now: Timestamp, passage: &Passage, response: &Response) {
        let asked = passage.request.headers.addresses("Contact");
        let wanted = passage.request.headers.get("Expires").and_then(seconds);
        let of_contact = |contact: &NameAddr| contact.param("expires").and_then(seconds).or(wanted);
        let stays = asked.iter().any(|contact| of_contact(contact) != Some(Duration::ZERO));
        if passage.origin.connection == 0 || !(200..300).contains(&response.status) || !stays {
            return;
        }
        let wished = || asked.iter().filter_map(of_contact).max();
        let granted = longest(response, &asked).or_else(wished).unwrap_or(GRANTED_DEFAULT);
        self.edge.note(passage.origin, now + granted.min(EXPIRES_MAX));
    }

    pub(super) fn on_closed(&mut self, flow: Flow) {
        self.edge.connections.remove(&flow);
        let pending = self.passages.values_mut().map(|passage| &mut passage.origin);
        for origin in pending.filter(|origin| origin.flow == flow) {
            origin.connection = 0;
        }
    }

    /// What a registrar has to know beside what is carried: where the user is, and that the way there leads by us. The support
    /// for Path is ours, as the user agent that this registrar sees (RFC 3327 §5.1), whatever the phone knows: called past us it
    /// would go unrecorded.
    pub(super) fn write_registration(
        &self,
        (request, origin): (&Request, Origin),
        onward: &mut Request,
        to: &Destination,
    ) {
        for contact in request.headers.get_all("Contact") {
            onward.headers.push("Contact", contact);
        }
        let token = self.edge.token(&self.topology, origin, &to.trunk);
        let us = Wire::contact_of(token.as_deref(), to.flow).with_param("lr", "");
        onward.headers.push("Path", format!("<{us}>"));
        onward.headers.push("Supported", "path");
    }

    /// Where a registrar sends by the Path that we gave it (RFC 3327 §5.4): down the flow that the phone registered by, if a
    /// route leads to its trunk. A phone that can be reached at its Contact is, should its connection be gone. None: it is
    /// no Path of ours, or not this peer's.
    pub(super) fn by_path(
        &self,
        now: Timestamp,
        request: &Request,
        from: &Trunk,
    ) -> Result<Option<Destination>, Refusal> {
        let route = request.headers.get_all("Route").next();
        let route = route.and_then(|route| NameAddr::parse(route).ok());
        let route = route.filter(|route| self.is_ours(route.uri()));
        let Some((bound, trunk)) = route.and_then(|route| self.whose(route.uri().user()?, from)) else {
            return Ok(None);
        };
        let at_contact = self.contact_of(request, trunk);
        let lives = self.edge.lives(now, &self.topology, &bound).then_some(bound.flow);
        let flow = if bound.flow.transport.is_stream() {
            lives.or(at_contact)
        } else {
            at_contact.or(lives)
        };
        let flow = flow.ok_or(Refusal::FlowFailed)?;
        if request.uri.scheme() == Scheme::Sips && !flow.transport.is_secure() {
            return Err(Refusal::NotSecure);
        }
        Ok(Some(Destination {
            trunk: Arc::clone(trunk),
            flow,
            target: request.uri.clone(),
        }))
    }

    fn whose(&self, token: &str, from: &Trunk) -> Option<(Bound, &Arc<Trunk>)> {
        let bound = self.edge.bound(token, from)?;
        let trunk = self.topology.trunk_of(bound.flow.remote, bound.flow.transport)?;
        self.topology.leads(&from.name, &trunk.name).then_some((bound, trunk))
    }

    /// The address in a registered Contact, if it is one of the phone's trunk: no such address is behind a NAT.
    fn contact_of(&self, request: &Request, trunk: &Trunk) -> Option<Flow> {
        let contact = request.uri.socket_addr()?;
        let is_theirs = self.topology.trunk_at(contact)?.name == trunk.name && !trunk.transport.is_websocket();
        self.topology
            .flow(trunk, trunk.transport, contact)
            .filter(|_| is_theirs)
    }
}

pub(super) fn supports_path(request: &Request) -> bool {
    let mut supported = request.headers.get_all("Supported").flat_map(|value| value.split(','));
    supported.any(|option| option.trim().eq_ignore_ascii_case("path"))
}
