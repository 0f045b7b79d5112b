//! Who may send to us and where calls go on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::paths::Paths;
use crate::model::TrunkName;
use crate::sip::{Flow, Transport, Uri};

/// The port of SIP where none is named (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;

/// One address of a trunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    pub ip: IpAddr,
    /// None: any source port may send; we send to 5060.
    pub port: Option<u16>,
}

impl Peer {
    fn matches(&self, source: SocketAddr, transport: Transport) -> bool {
        // A TCP connection comes from a port of the kernel's choice.
        let port_matters = transport == Transport::Udp;
        self.ip == source.ip() && (!port_matters || self.port.is_none_or(|port| port == source.port()))
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(SIP_PORT))
    }

    /// Where it listens: at the transport's own port if none is named (RFC 3261 §19.1.2).
    pub fn address_by(&self, transport: Transport) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(transport.default_port()))
    }
}

/// A PBX, a carrier: a configured neighbour.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trunk {
    pub name: TrunkName,
    /// Who may send; the first is where we send to. Never empty.
    pub peers: Vec<Peer>,
    /// How we send to it.
    pub transport: Transport,
    /// What it asserts of a caller (RFC 3325) is believed.
    pub trusted: bool,
}

impl Trunk {
    /// Whether this trunk may send from `source`. One that is reached by TLS is heard by TLS alone: a source address in
    /// clear proves nothing.
    pub fn admits(&self, source: SocketAddr, transport: Transport) -> bool {
        let in_clear = self.transport.is_secure() && !transport.is_secure();
        !in_clear && self.peers.iter().any(|peer| peer.matches(source, transport))
    }
}

/// From which trunk to which, for which called numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    pub from: TrunkName,
    pub to: TrunkName,
    /// The called user part begins with this.
    pub prefix: Option<String>,
    /// The user part to send instead of the called one.
    pub to_user: Option<String>,
    /// Lower goes first; then the longer prefix; then the order of the file.
    pub priority: u32,
}

/// All trunks and routes of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    trunks: Vec<Arc<Trunk>>,
    /// Sorted by preference.
    routes: Vec<Route>,
    listeners: Vec<(Transport, SocketAddr)>,
    paths: Paths,
}

impl Topology {
    pub fn new(trunks: Vec<Trunk>, mut routes: Vec<Route>, listeners: Vec<(Transport, SocketAddr)>) -> Self {
        routes.sort_by_key(|route| {
            let prefix = route.prefix.as_ref().map_or(0, String::len);
            (route.priority, std::cmp::Reverse(prefix))
        });
        Self {
            trunks: trunks.into_iter().map(Arc::new).collect(),
            routes,
            listeners,
            paths: Paths::default(),
        }
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

    /// The trunk that a message from `source` belongs to: one that names its port before one that does not.
    pub fn trunk_of(&self, source: SocketAddr, transport: Transport) -> Option<&Arc<Trunk>> {
        let mut admitting = self.trunks.iter().filter(|trunk| trunk.admits(source, transport));
        let first = admitting.next()?;
        let named = |trunk: &Arc<Trunk>| {
            trunk
                .peers
                .iter()
                .any(|peer| peer.ip == source.ip() && peer.port == Some(source.port()))
        };
        if named(first) {
            Some(first)
        } else {
            Some(admitting.find(|trunk| named(trunk)).unwrap_or(first))
        }
    }

    /// The best route of a call from `trunk` to `user`.
    pub fn route(&self, trunk: &TrunkName, user: &str) -> Option<(&Route, &Arc<Trunk>)> {
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

    /// The path to a trunk's first peer: by its transport, from a listener of the same address family.
    pub fn flow_to(&self, trunk: &Trunk) -> Option<Flow> {
        let remote = trunk.peers.first()?.address_by(trunk.transport);
        let fits = |(transport, local): &&(Transport, SocketAddr)| {
            *transport == trunk.transport && local.is_ipv4() == remote.is_ipv4()
        };
        let (transport, local) = self.listeners.iter().find(fits)?;
        Some(Flow {
            transport: *transport,
            local: *local,
            remote,
        })
    }

    /// Whether a URI names a listener of ours, by its address or by what it is advertised as.
    pub fn names_us(&self, uri: &Uri) -> bool {
        let by_address = uri.ip().is_some_and(|ip| self.is_ours(ip, uri.port()));
        by_address || uri.host().is_some_and(|host| self.paths.is_advertised(host, uri.port()))
    }

    /// Whether `address` is a listener of ours.
    pub fn is_ours(&self, ip: IpAddr, port: Option<u16>) -> bool {
        self.listeners
            .iter()
            .any(|(_, local)| local.ip() == ip && local.port() == port.unwrap_or(SIP_PORT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trunk(name: &str, ip: &str, port: Option<u16>) -> Trunk {
        let ip = ip.parse().expect("an address");
        Trunk {
            name: name.into(),
            peers: vec![Peer { ip, port }],
            transport: Transport::Udp,
            trusted: true,
        }
    }

    fn route(from: &str, to: &str, prefix: Option<&str>, priority: u32) -> Route {
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
    fn a_trunk_behind_tls_is_not_heard_in_clear() {
        let mut teams = trunk("teams", "192.0.2.9", None);
        teams.transport = Transport::Tls;
        let source = "192.0.2.9:5061".parse().expect("an address");
        let heard = Transport::ALL.map(|transport| teams.admits(source, transport));
        assert_eq!(heard, [false, false, true, false, true]);
        assert_eq!(teams.peers[0].address_by(Transport::Tls), source);
    }

    #[test]
    fn the_lowest_priority_then_the_longest_prefix_wins() {
        let trunks = vec![
            trunk("uk", "127.0.0.2", None),
            trunk("world", "127.0.0.3", None),
            trunk("test", "127.0.0.4", None),
        ];
        let routes = vec![
            route("pbx", "world", None, 10),
            route("pbx", "uk", Some("+44"), 10),
            route("pbx", "test", Some("+441"), 20),
            route("other", "test", None, 0),
        ];
        let topology = Topology::new(trunks, routes, vec![]);
        let to = |user: &str| {
            topology
                .route(&"pbx".into(), user)
                .map(|(route, _)| route.to.as_str().to_owned())
        };
        assert_eq!(to("+441234").as_deref(), Some("uk"));
        assert_eq!(to("+15551234").as_deref(), Some("world"));
        assert_eq!(topology.route(&"nobody".into(), "1"), None);
    }
}
