//! Phones that register through us: our Path names the flow that each came by (RFC 3327 §5.2, RFC 5626 §5.2), and what its
//! registrar sends by it goes down that flow (RFC 5626 §5.3). A Route that nobody else could have written, and no other.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::signaling::Signaling;
use crate::b2bua::{Refusal, Wire};
use crate::model::Timestamp;
use crate::sip::{Flow, NameAddr, Request, Scheme, TokenKey, Transport};
use crate::trunk::{Destination, Topology, Trunk};

/// Connections that phones have registered by at a time: more than a driver holds open. Full: the one that was longest not
/// registered by is forgotten, and calls do not find it until it is again.
const CONNECTIONS_MAX: usize = 4_096;

/// What is known of the flows that phones have registered by.
#[derive(Debug)]
pub(super) struct Edge {
    key: TokenKey,
    /// Those by connections that are open.
    connections: BTreeMap<Flow, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// No connection before it had this one between the same addresses.
    number: u64,
    /// When it was last registered by.
    heard: Timestamp,
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

    /// The user part of the Path for whoever came by `flow`, good for this registrar.
    fn token(&self, topology: &Topology, flow: Flow, registrar: &Trunk) -> Option<String> {
        if !topology.listens(flow) {
            return None;
        }
        let connection = self.connections.get(&flow).map_or(0, |open| open.number);
        self.key
            .seal(&written(&Bound { flow, connection }), registrar.name.as_str())
    }

    fn bound(&self, token: &str, registrar: &Trunk) -> Option<Bound> {
        read(&self.key.open(token, registrar.name.as_str())?)
    }

    /// A datagram finds its way as long as a NAT lets it; of connections the very one has to be open. Either by the listener
    /// that it came to: processes before may have had others.
    fn lives(&self, topology: &Topology, bound: &Bound) -> bool {
        let open = self.connections.get(&bound.flow);
        let is_open = !bound.flow.transport.is_stream() || open.is_some_and(|open| open.number == bound.connection);
        is_open && topology.listens(bound.flow)
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

    /// A phone registers by this flow. Its connection is told from others that may come to be between the same addresses.
    pub(super) fn on_registering(&mut self, now: Timestamp, request: &Request, flow: Flow) {
        if !flow.transport.is_stream() || !supports_path(request) {
            return;
        }
        let connections = &mut self.edge.connections;
        if let Some(open) = connections.get_mut(&flow) {
            open.heard = now;
            return;
        }
        if connections.len() >= CONNECTIONS_MAX {
            let longest = connections.iter().min_by_key(|(_, open)| open.heard);
            if let Some(longest) = longest.map(|(flow, _)| *flow) {
                connections.remove(&longest);
            }
        }
        let number = self.wire.mint().entropy() as u64;
        connections.insert(flow, Connection { number, heard: now });
    }

    pub(super) fn on_closed(&mut self, flow: Flow) {
        self.edge.connections.remove(&flow);
    }

    /// What a registrar has to know beside what is carried: where the user is, and that the way there leads by us.
    pub(super) fn write_registration(
        &self,
        (request, came_by): (&Request, Flow),
        onward: &mut Request,
        to: &Destination,
    ) {
        for contact in request.headers.get_all("Contact") {
            onward.headers.push("Contact", contact);
        }
        if !supports_path(request) {
            return;
        }
        let token = self.edge.token(&self.topology, came_by, &to.trunk);
        let us = Wire::contact_of(token.as_deref(), to.flow).with_param("lr", "");
        onward.headers.push("Path", format!("<{us}>"));
        onward.headers.push("Supported", "path");
    }

    /// Where a registrar sends by the Path that we gave it (RFC 3327 §5.4): down the flow that the phone registered by, if a
    /// route leads to its trunk. A phone that can be reached at its Contact is, should its connection be gone. None: it is
    /// no Path of ours, or not this peer's.
    pub(super) fn by_path(&self, request: &Request, from: &Trunk) -> Result<Option<Destination>, Refusal> {
        let route = request.headers.get_all("Route").next();
        let route = route.and_then(|route| NameAddr::parse(route).ok());
        let route = route.filter(|route| self.is_ours(route.uri()));
        let Some((bound, trunk)) = route.and_then(|route| self.whose(route.uri().user()?, from)) else {
            return Ok(None);
        };
        let at_contact = self.contact_of(request, trunk);
        let lives = self.edge.lives(&self.topology, &bound).then_some(bound.flow);
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

fn supports_path(request: &Request) -> bool {
    let mut supported = request.headers.get_all("Supported").flat_map(|value| value.split(','));
    supported.any(|option| option.trim().eq_ignore_ascii_case("path"))
}
