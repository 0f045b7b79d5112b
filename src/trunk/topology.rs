//! All trunks and routes of one node: whose message this is, and where its call goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::destination::{Destination, Draw, in_order};
use super::health::{Health, Place};
use super::locate::Located;
use super::peer::{SIP_PORT, SIPS_PORT};
use super::retired::{Former, Retired};
use super::rewrite::{self, Passage};
use super::senders::Senders;
use super::site::{Aim, Site};
use super::source::{Source, Sources};
use super::{Paths, Peer, Route, Trunk};
use crate::model::{Timestamp, TrunkName};
use crate::sip::{Flow, Scheme, Transport, Uri, unescaped};

/// The host of a user whose destination is not known yet.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// All trunks and routes of one configuration, and what is known of their destinations.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    trunks: Vec<Arc<Trunk>>,
    senders: Senders,
    /// In the order in which they are tried.
    routes: Vec<Route>,
    listeners: Vec<(Transport, SocketAddr)>,
    paths: Paths,
    located: BTreeMap<Aim, Located>,
    health: Health,
    retired: Retired,
}

/// What is read of what comes by a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hearing {
    /// From nobody who is a peer, or was one while calls began.
    Nothing,
    /// A peer's, at another address than its trunk faces. It may have faced this one when what is up began.
    Begun,
    All,
}

impl Topology {
    pub fn new(trunks: Vec<Trunk>, routes: Vec<Route>, listeners: Vec<(Transport, SocketAddr)>) -> Self {
        let mut topology = Self {
            listeners,
            ..Self::default()
        };
        topology.replace(trunks, routes);
        topology
    }

    /// Another configuration of the same node. Calls that are up keep their trunks; whoever is no peer any more may
    /// speak of those calls still.
    pub fn replace(&mut self, trunks: Vec<Trunk>, mut routes: Vec<Route>) {
        // Stable: equal priorities stay as written.
        routes.sort_by_key(|route| route.priority);
        self.routes = routes;
        let old = std::mem::replace(&mut self.trunks, trunks.into_iter().map(Arc::new).collect());
        let aims: Vec<Aim> = self.aims();
        self.located.retain(|aim, _| aims.contains(aim));
        self.place_located();
        let left: Vec<Former> = old.iter().flat_map(who_retires).collect();
        self.retire(left);
    }

    /// What DNS says of a name now; kept until it says something else.
    pub fn locate(&mut self, aim: Aim, located: Located) {
        if !self.aims().contains(&aim) {
            return;
        }
        let old: Vec<Former> = self.trunks.iter().flat_map(who_retires).collect();
        self.located.insert(aim, located);
        self.place_located();
        self.retire(old);
    }

    /// Names to ask DNS for.
    pub fn aims(&self) -> Vec<Aim> {
        let sites = self.trunks.iter().flat_map(|trunk| &trunk.sites);
        sites.filter_map(Site::aim).collect()
    }

    pub fn health(&mut self) -> &mut Health {
        &mut self.health
    }

    pub fn is_avoided(&self, now: Timestamp, place: Place) -> bool {
        self.health.is_avoided(now, place)
    }

    fn place_located(&mut self) {
        for trunk in &mut self.trunks {
            let aims = trunk.sites.iter().filter_map(Site::aim);
            let servers = aims.filter_map(|aim| self.located.get(&aim)).flat_map(|l| &l.servers);
            let places = servers.flat_map(|server| server.addresses.iter().map(|at| (server.transport, *at)));
            let places: Vec<Place> = places.collect();
            if trunk.located != places {
                Arc::make_mut(trunk).located = places;
            }
        }
        self.senders = Senders::of(&self.trunks);
        let places: BTreeSet<Place> = self.trunks.iter().flat_map(|trunk| self.places(trunk)).collect();
        self.health.retain(|place| places.contains(&place));
    }

    fn retire(&mut self, candidates: Vec<Former>) {
        let now: BTreeSet<Former> = self.trunks.iter().flat_map(who_retires).collect();
        for former in candidates {
            if !now.contains(&former) {
                self.retired.add(former);
            }
        }
    }

    pub const fn retired(&self) -> &Retired {
        &self.retired
    }

    /// Who was a peer, if others have become so, or were forgotten, since the last time.
    pub fn poll_retired(&mut self) -> Option<Vec<Source>> {
        self.retired.poll()
    }

    /// Forgets who was a peer and may speak of no call any more. `busy`: the trunks that calls are on, as they were when
    /// the calls began.
    pub fn sweep_retired<'a>(&mut self, now: Timestamp, busy: impl Iterator<Item = &'a Arc<Trunk>>) {
        let is_old = |trunk: &&Arc<Trunk>| !self.trunks.iter().any(|now| Arc::ptr_eq(now, trunk));
        let busy: BTreeSet<&TrunkName> = busy.filter(is_old).map(|trunk| &trunk.name).collect();
        self.retired.sweep(now, &busy);
    }

    /// What is read of what comes by this path.
    pub fn hearing(&self, flow: Flow) -> Hearing {
        match self.trunk_of(flow.remote, flow.transport) {
            Some(trunk) if trunk.near.faces(self.leading(flow.transport, flow.remote), flow.local) => Hearing::All,
            Some(_) => Hearing::Begun,
            None if self.retired.is_source(flow.remote, flow.transport) => Hearing::All,
            None => Hearing::Nothing,
        }
    }

    /// Whether a message from there may speak of a call of `trunk`, as that was when the call began: of any address of it then
    /// or since, by whatever it may come by. What the dialog's tags are another trunk may know, and its address be forged.
    pub fn speaks_for(&self, trunk: &Trunk, source: SocketAddr, transport: Transport) -> bool {
        let mut now = self.admitting(source, move |_| transport);
        let is_as_then = || self.trunks.iter().any(|now| std::ptr::eq(Arc::as_ptr(now), trunk));
        now.any(|now| now.name == trunk.name)
            || self.retired.speaks_for(&trunk.name, source, transport)
            || !is_as_then() && trunk.admits(source, transport)
    }

    /// How peers know the listeners; without it by their addresses alone.
    #[must_use]
    pub fn with_paths(mut self, paths: Paths) -> Self {
        self.paths = paths;
        self
    }

    pub const fn paths(&self) -> &Paths {
        &self.paths
    }

    pub fn trunks(&self) -> &[Arc<Trunk>] {
        &self.trunks
    }

    /// The trunk that a message from `source` belongs to: one that names its port before one that names its address, and both
    /// before one that names a range.
    pub fn trunk_of(&self, source: SocketAddr, transport: Transport) -> Option<&Arc<Trunk>> {
        self.admitting(source, move |_| transport).next()
    }

    /// The trunk that a phone's address belongs to, reached as the trunk is.
    pub fn trunk_at(&self, address: SocketAddr) -> Option<&Arc<Trunk>> {
        self.admitting(address, |trunk| trunk.transport).next()
    }

    fn admitting<'a>(
        &'a self,
        source: SocketAddr,
        transport: impl Fn(&Trunk) -> Transport + Copy + 'a,
    ) -> impl Iterator<Item = &'a Arc<Trunk>> {
        let by = move |at: usize| self.trunks.get(at).map(|trunk| transport(trunk));
        let senders = self.senders.at(source, by);
        let known = senders.filter_map(|at| self.trunks.get(at));
        known.filter(move |trunk| trunk.hears(transport(trunk)))
    }

    /// Whether any route leads from one trunk to the other.
    pub fn leads(&self, from: &TrunkName, to: &TrunkName) -> bool {
        self.routes.iter().any(|route| route.from == *from && route.to == *to)
    }

    /// The trunks that a route from this one leads to.
    pub fn trunks_to(&self, from: &TrunkName) -> impl Iterator<Item = &Arc<Trunk>> {
        self.trunks.iter().filter(move |trunk| self.leads(from, &trunk.name))
    }

    /// The best route of a call from `trunk` to `user`, which may be written with escapes (RFC 3261 §19.1.4).
    pub fn route(&self, trunk: &TrunkName, user: &str) -> Option<(&Route, &Arc<Trunk>)> {
        let user = unescaped(user);
        let matches = |route: &&Route| {
            route.from == *trunk
                && route
                    .prefix
                    .as_ref()
                    .is_none_or(|prefix| user.starts_with(prefix.as_str()))
        };
        let route = self.routes.iter().find(matches)?;
        Some((route, self.trunks.iter().find(|trunk| trunk.name == route.to)?))
    }

    /// Who a call from `from` to `uri` is sent on to, and to which trunk: the route's user, then the rules of what leaves. At
    /// which host is the destination's to say. None: no route leads on.
    pub fn onward(&self, from: &TrunkName, uri: &Uri) -> Option<(Uri, &Arc<Trunk>)> {
        let user = uri.user().unwrap_or_else(|| uri.opaque());
        let (route, trunk) = self.route(from, user)?;
        let mut sent = match &route.to_user {
            None => uri.clone(),
            Some(user) => rewrite::with_user(uri, user).unwrap_or_else(|| Uri::sip(Some(user), NOWHERE)),
        };
        rewrite::apply_to_uri(&trunk.rewrites, Passage::Out, &mut sent);
        Some((sent, trunk))
    }

    /// Where a call from `from` to `uri` may be sent, best first: our own address in `uri` becomes the destination's, then
    /// the rules of what leaves apply. Destinations that failed of late come last. None: no route leads on. Empty: one
    /// does, and no path or no address is known at its end.
    pub fn destinations(&self, now: Timestamp, from: &Trunk, uri: &Uri, draw: Draw<'_>) -> Option<Vec<Destination>> {
        let user = uri.user().unwrap_or_else(|| uri.opaque());
        let (route, trunk) = self.route(&from.name, user)?;
        let mut flows: Vec<(Flow, Option<String>)> = Vec::new();
        for (place, authority) in self.ordered(trunk, draw) {
            if let Some(flow) = self.flow(trunk, place.0, place.1)
                && !flows.iter().any(|(known, _)| *known == flow)
            {
                flows.push((flow, authority));
            }
        }
        if uri.scheme() == Scheme::Sips {
            flows.retain(|(flow, _)| flow.transport.is_secure());
        }
        // Stable: both halves stay in their order.
        flows.sort_by_key(|(flow, _)| self.is_avoided(now, (flow.transport, flow.remote)));
        let destination = |(flow, authority): (Flow, Option<String>)| Destination {
            trunk: Arc::clone(trunk),
            flow,
            target: self.target(uri, route, trunk, flow, authority.as_deref()),
        };
        Some(flows.into_iter().map(destination).collect())
    }

    /// All that may be sent to of a trunk, in no order of meaning.
    pub fn places(&self, trunk: &Trunk) -> Vec<Place> {
        let ordered = self.ordered(trunk, &mut |_| 0);
        ordered.into_iter().map(|(place, _)| place).collect()
    }

    /// Each place of a trunk, best first, with what a Request-URI names there instead of the address.
    fn ordered(&self, trunk: &Trunk, draw: Draw<'_>) -> Vec<(Place, Option<String>)> {
        if trunk.sites.is_empty() {
            let place = |peer: &Peer| ((trunk.transport, peer.address_by(trunk.transport)), None);
            return trunk.peers.iter().map(place).collect();
        }
        let sites = trunk.sites.iter().map(|site| (site.rank, site)).collect();
        let mut places = Vec::new();
        for site in in_order(sites, draw) {
            places.extend(site.place(trunk.transport).map(|place| (place, None)));
            let located = site.aim().and_then(|aim| self.located.get(&aim));
            let servers = located.map(|located| &located.servers).into_iter().flatten();
            let servers = servers.map(|server| (server.rank, server)).collect();
            for server in in_order(servers, draw) {
                let addresses = server.addresses.iter();
                places.extend(addresses.map(|address| ((server.transport, *address), site.authority())));
            }
        }
        places
    }

    fn target(&self, uri: &Uri, route: &Route, trunk: &Trunk, flow: Flow, authority: Option<&str>) -> Uri {
        let mut target = if !self.names_us(uri) && route.to_user.is_none() {
            uri.clone()
        } else {
            let user = route.to_user.as_deref().or_else(|| uri.user());
            let target = Uri::sip(user, flow.remote);
            let named = authority.and_then(|authority| target.with_authority(authority));
            let target = named.unwrap_or(target).with_security(uri.scheme() == Scheme::Sips);
            match uri.param("user") {
                Some(kind) => target.with_param("user", kind),
                None => target,
            }
        };
        rewrite::apply_to_uri(&trunk.rewrites, Passage::Out, &mut target);
        target
    }

    /// The path to an address of a trunk: from a listener of this transport and of the same address family, rather the
    /// trunk's own.
    pub fn flow(&self, trunk: &Trunk, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        let (transport, local) = trunk.near.choose(self.leading(transport, remote))?;
        Some(Flow {
            transport: *transport,
            local: *local,
            remote,
        })
    }

    /// The listeners of this transport and of the family of `remote`.
    fn leading(
        &self,
        transport: Transport,
        remote: SocketAddr,
    ) -> impl Iterator<Item = &(Transport, SocketAddr)> + Clone {
        let fits =
            move |(ours, local): &&(Transport, SocketAddr)| *ours == transport && local.is_ipv4() == remote.is_ipv4();
        self.listeners.iter().filter(fits)
    }

    /// Whether a flow is of a listener of ours.
    pub fn listens(&self, flow: Flow) -> bool {
        self.listeners.contains(&(flow.transport, flow.local))
    }

    /// Whether a URI names a listener of ours, by its address or by what it is advertised as.
    pub fn names_us(&self, uri: &Uri) -> bool {
        let port = uri.port().unwrap_or_else(|| default_port(uri));
        let is_listener = |ip| {
            let mut locals = self.listeners.iter().map(|(_, local)| local);
            locals.any(|local| local.ip() == ip && local.port() == port)
        };
        uri.ip().is_some_and(is_listener)
            || uri
                .host()
                .is_some_and(|host| self.paths.is_advertised(host, uri.port()))
    }

    /// Where long requests go as datagrams all the same: trunks that want it so, located servers among them.
    pub fn datagrams_only(&self) -> Sources {
        let trunks = self.trunks.iter().filter(|trunk| trunk.datagrams_only);
        trunks.flat_map(|trunk| trunk.senders()).collect()
    }

    /// The trunk of this name.
    pub fn trunk(&self, name: &TrunkName) -> Option<&Arc<Trunk>> {
        self.trunks.iter().find(|trunk| trunk.name == *name)
    }

    /// A path of before a restart, from a listener that is there now.
    pub fn flow_like(&self, flow: Flow) -> Option<Flow> {
        let fits = |local: &SocketAddr| local.is_ipv4() == flow.remote.is_ipv4();
        let mut alike = self
            .listeners
            .iter()
            .filter(|(transport, local)| *transport == flow.transport && fits(local));
        let local = if self.listens(flow) {
            flow.local
        } else {
            alike.next()?.1
        };
        Some(Flow { local, ..flow })
    }
}

/// Where a URI leads that names an address and no port: the transport that it names says, else its scheme (RFC 3261 §19.1.2).
fn default_port(uri: &Uri) -> u16 {
    let transport = uri.param("transport").map(str::to_ascii_lowercase);
    match (transport.as_deref(), uri.scheme()) {
        (Some("ws"), Scheme::Sips) => Transport::Wss.default_port(),
        (Some("ws"), _) => Transport::Ws.default_port(),
        (Some("tls"), _) | (_, Scheme::Sips) => SIPS_PORT,
        _ => SIP_PORT,
    }
}

fn who_retires(trunk: &Arc<Trunk>) -> impl Iterator<Item = Former> {
    trunk.senders().map(|source| Former {
        trunk: trunk.name.clone(),
        source,
        is_secure: trunk.transport.is_secure(),
    })
}

#[cfg(test)]
mod tests;
