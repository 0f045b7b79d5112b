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
            let addresses: Vec<SocketAddr> = servers.flat_map(|server| server.addresses.iter().copied()).collect();
            if trunk.located != addresses {
                Arc::make_mut(trunk).located = addresses;
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trunk::{Field, Network, Rank, Rewrite, Server};

    const OURS: &str = "192.0.2.9:5060";

    fn trunk(name: &str, ip: &str, port: Option<u16>) -> Trunk {
        let ip = ip.parse().expect("an address");
        Trunk::new(name.into(), vec![Peer { ip, port }])
    }

    fn site(text: &str, priority: u16, weight: u16) -> Site {
        Site::parse(text, Rank { priority, weight }).expect("a destination")
    }

    fn carrier(sites: Vec<Site>) -> Topology {
        let carrier = Trunk {
            sites,
            ..trunk("carrier", "192.0.2.1", None)
        };
        let ours = OURS.parse().expect("an address");
        let listeners = vec![(Transport::Udp, ours), (Transport::Tcp, ours)];
        Topology::new(
            vec![trunk("pbx", "192.0.2.100", None), carrier],
            vec![route("pbx", "carrier", None, 0)],
            listeners,
        )
    }

    fn targets(topology: &Topology, now: Timestamp) -> Vec<String> {
        let pbx = Arc::clone(&topology.trunks()[0]);
        let uri = Uri::parse("sip:0123@192.0.2.9").expect("a URI");
        let all = topology.destinations(now, &pbx, &uri, &mut |_| 0).expect("a route");
        all.iter()
            .map(|to| format!("{} {} {}", to.flow.transport.as_str(), to.flow.remote, to.target))
            .collect()
    }

    fn hears(topology: &Topology, remote: SocketAddr, transport: Transport) -> bool {
        let local = OURS.parse().expect("an address");
        let flow = Flow {
            transport,
            local,
            remote,
        };
        topology.hearing(flow) == Hearing::All
    }

    fn located(addresses: &[&str]) -> Located {
        let server = |(at, text): (usize, &&str)| Server {
            rank: Rank {
                priority: at as u16,
                weight: 0,
            },
            transport: Transport::Tcp,
            addresses: vec![text.parse().expect("an address")],
        };
        Located {
            servers: addresses.iter().enumerate().map(server).collect(),
            ttl: Duration::from_secs(60),
        }
    }

    #[test]
    fn without_destinations_the_peers_are_tried_in_their_order() {
        let mut topology = carrier(vec![]);
        Arc::make_mut(&mut topology.trunks[1])
            .peers
            .extend(trunk("x", "192.0.2.2", Some(5080)).peers);
        assert_eq!(
            targets(&topology, Timestamp::ZERO),
            [
                "UDP 192.0.2.1:5060 sip:0123@192.0.2.1:5060",
                "UDP 192.0.2.2:5080 sip:0123@192.0.2.2:5080"
            ]
        );
    }

    #[test]
    fn a_uri_without_a_port_means_that_of_its_scheme_and_transport() {
        let ours = [(Transport::Udp, 5060), (Transport::Tls, 5061), (Transport::Wss, 443)];
        let at = |(transport, port)| {
            (
                transport,
                SocketAddr::new("192.0.2.9".parse().expect("an address"), port),
            )
        };
        let names_us = |listeners: &[(Transport, u16)], text: &str| {
            let listeners = listeners.iter().copied().map(at).collect();
            Topology::new(vec![], vec![], listeners).names_us(&Uri::parse(text).expect("a URI"))
        };
        for (listener, text) in ours.into_iter().zip([
            "sip:192.0.2.9;transport=tcp",
            "sip:192.0.2.9;transport=TLS",
            "sips:a@192.0.2.9;transport=ws",
        ]) {
            assert!(names_us(&[listener], text), "{text}");
            assert!(!names_us(&[(Transport::Udp, 5070)], text), "{text}");
        }
        assert!(names_us(&ours, "sips:192.0.2.9") && !names_us(&ours[..1], "sips:192.0.2.9"));
    }

    #[test]
    fn a_destination_that_failed_comes_last_until_its_time_is_over() {
        let mut topology = carrier(vec![site("192.0.2.1", 1, 0), site("sip:192.0.2.2;transport=tcp", 2, 0)]);
        let first = (Transport::Udp, "192.0.2.1:5060".parse().expect("an address"));
        topology.health().on_failure(Timestamp::ZERO, first, None);
        let at = |seconds| targets(&topology, Timestamp::ZERO + Duration::from_secs(seconds))[0].clone();
        assert_eq!(at(0), "TCP 192.0.2.2:5060 sip:0123@192.0.2.2:5060");
        assert_eq!(at(30), "UDP 192.0.2.1:5060 sip:0123@192.0.2.1:5060");
        assert_eq!(
            targets(&topology, Timestamp::ZERO).len(),
            2,
            "it is tried all the same when all else fails"
        );
    }

    #[test]
    fn a_name_is_kept_in_the_request_uri_and_its_servers_may_send() {
        let mut topology = carrier(vec![site("sip.example.com", 1, 0), site("192.0.2.8", 2, 0)]);
        let aim = topology.aims().remove(0);
        let server = "198.51.100.1:5062".parse().expect("an address");
        assert!(!hears(&topology, server, Transport::Tcp));
        topology.locate(aim.clone(), located(&["198.51.100.1:5062", "198.51.100.2:5060"]));
        assert_eq!(
            targets(&topology, Timestamp::ZERO),
            [
                "TCP 198.51.100.1:5062 sip:0123@sip.example.com",
                "TCP 198.51.100.2:5060 sip:0123@sip.example.com",
                "UDP 192.0.2.8:5060 sip:0123@192.0.2.8:5060"
            ]
        );
        assert_eq!(
            topology.trunk_of(server, Transport::Tcp).map(|t| t.name.as_str()),
            Some("carrier")
        );

        topology.locate(aim, located(&["198.51.100.2:5060"]));
        assert_eq!(topology.datagrams_only(), Sources::default());
        Arc::make_mut(&mut topology.trunks[1]).datagrams_only = true;
        let kept = topology.datagrams_only();
        assert!(
            kept.has_host([198, 51, 100, 2].into()),
            "where the name leads now: {kept:?}"
        );
        assert!(topology.trunk_of(server, Transport::Tcp).is_none(), "opens no call");
        assert!(hears(&topology, server, Transport::Tcp), "ends those that are up");
    }

    #[test]
    fn a_source_is_of_who_names_its_port_then_its_address_then_the_longest_range_around_it() {
        let range = |name: &str, text: &str| Trunk {
            networks: vec![Network::parse(text).expect("a range")],
            ..Trunk::new(name.into(), vec![])
        };
        let secure = Trunk {
            transport: Transport::Tls,
            ..range("secure", "10.1.2.0/24")
        };
        let trunks = vec![
            range("wide", "10.0.0.0/8"),
            secure,
            range("narrow", "10.1.0.0/16"),
            trunk("host", "10.1.2.3", None),
            trunk("port", "10.1.2.3", Some(5080)),
        ];
        let topology = Topology::new(trunks, vec![], vec![]);
        let of = |text: &str, transport| {
            let trunk = topology.trunk_of(text.parse().expect("an address"), transport);
            trunk.map(|trunk| trunk.name.as_str())
        };
        for (source, transport, name) in [
            ("10.1.2.3:5080", Transport::Udp, Some("port")),
            ("10.1.2.3:5081", Transport::Udp, Some("host")),
            ("10.1.2.3:40000", Transport::Tcp, Some("host")),
            ("10.1.2.4:5060", Transport::Tls, Some("secure")),
            ("10.1.2.4:5060", Transport::Udp, Some("narrow")),
            ("[::ffff:10.1.9.9]:5060", Transport::Udp, Some("narrow")),
            ("10.9.9.9:5060", Transport::Tcp, Some("wide")),
            ("11.0.0.1:5060", Transport::Udp, None),
        ] {
            assert_eq!(of(source, transport), name, "{source}");
        }
    }

    #[test]
    fn a_server_that_dns_names_is_its_trunks_within_anothers_range_and_a_range_that_goes_may_end_its_calls() {
        let mut topology = carrier(vec![site("sip.example.com", 1, 0)]);
        let configured: Vec<Trunk> = topology.trunks().iter().map(|trunk| (**trunk).clone()).collect();
        let mut with_range = configured.clone();
        with_range[0].networks = vec![Network::parse("198.51.100.0/24").expect("a range")];
        topology.replace(with_range, vec![]);
        let aim = topology.aims().remove(0);
        topology.locate(aim, located(&["198.51.100.1:5062"]));
        let name_of = |topology: &Topology, text: &str| {
            let trunk = topology.trunk_of(text.parse().expect("an address"), Transport::Udp);
            trunk.map(|trunk| trunk.name.as_str().to_owned())
        };
        assert_eq!(name_of(&topology, "198.51.100.1:5062").as_deref(), Some("carrier"));
        assert_eq!(name_of(&topology, "198.51.100.2:5062").as_deref(), Some("pbx"));
        let pbx = Arc::clone(&topology.trunks()[0]);
        let member = "198.51.100.2:5062".parse().expect("an address");
        assert!(topology.speaks_for(&pbx, member, Transport::Udp));
        topology.replace(configured, vec![]);
        assert_eq!(name_of(&topology, "198.51.100.2:5062"), None, "opens no call");
        assert!(
            topology.speaks_for(&pbx, member, Transport::Udp),
            "ends those that are up"
        );
        let carrier = Arc::clone(&topology.trunks()[1]);
        assert!(!topology.speaks_for(&carrier, member, Transport::Udp));
    }

    #[test]
    fn another_configuration_keeps_what_is_known_and_lets_old_peers_end_their_calls() {
        let mut topology = carrier(vec![site("sip.example.com", 1, 0)]);
        let aim = topology.aims().remove(0);
        topology.locate(aim, located(&["198.51.100.1:5062"]));
        let carrier = (*topology.trunks()[1]).clone();
        topology.replace(
            vec![Trunk {
                located: vec![],
                ..carrier
            }],
            vec![],
        );
        let pbx = "192.0.2.100:5060".parse().expect("an address");
        assert!(topology.trunk_of(pbx, Transport::Udp).is_none() && hears(&topology, pbx, Transport::Udp));
        assert_eq!(topology.trunks()[0].located.len(), 1, "the name is still known");
    }

    #[test]
    fn the_rules_of_what_leaves_write_the_request_uri() {
        let mut topology = carrier(vec![]);
        let rule = Rewrite::new(Passage::Out, Field::RequestUri, r"^0(\d+)$", "+44$1").expect("a rule");
        Arc::make_mut(&mut topology.trunks[1]).rewrites = vec![rule];
        assert_eq!(
            targets(&topology, Timestamp::ZERO),
            ["UDP 192.0.2.1:5060 sip:+44123@192.0.2.1:5060"]
        );
    }

    fn route(from: &str, to: &str, prefix: Option<&str>, priority: i64) -> Route {
        Route {
            from: from.into(),
            to: to.into(),
            prefix: prefix.map(str::to_owned),
            to_user: None,
            priority,
        }
    }

    #[test]
    fn two_trunks_on_one_host_are_told_apart_by_port() {
        let trunks = vec![trunk("any", "127.0.0.1", None), trunk("pbx", "127.0.0.1", Some(5080))];
        let topology = Topology::new(trunks, vec![], vec![]);
        let name = |source: &str| {
            let source = source.parse().expect("an address");
            topology
                .trunk_of(source, Transport::Udp)
                .map(|trunk| trunk.name.as_str().to_owned())
        };
        assert_eq!(name("127.0.0.1:5080").as_deref(), Some("pbx"));
        assert_eq!(name("127.0.0.1:5081").as_deref(), Some("any"));
        assert_eq!(name("127.0.0.2:5080"), None);
    }

    #[test]
    fn the_lowest_priority_then_the_first_written_wins() {
        let trunks = vec![
            trunk("uk", "127.0.0.2", None),
            trunk("world", "127.0.0.3", None),
            trunk("test", "127.0.0.4", None),
        ];
        let routes = vec![
            route("pbx", "test", Some("+441"), 20),
            route("pbx", "uk", Some("+44"), 10),
            route("pbx", "world", None, 10),
            route("other", "test", None, 0),
        ];
        let topology = Topology::new(trunks, routes, vec![]);
        let to = |user: &str| {
            topology
                .route(&"pbx".into(), user)
                .map(|(route, _)| route.to.as_str().to_owned())
        };
        assert_eq!(to("+441234").as_deref(), Some("uk"));
        assert_eq!(to("%2B441234").as_deref(), Some("uk"), "the same number");
        assert_eq!(to("+15551234").as_deref(), Some("world"));
        assert_eq!(topology.route(&"nobody".into(), "1"), None);
    }
}
