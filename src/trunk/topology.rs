//! All trunks and routes of one node: whose message this is, and where its call goes on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::destination::{Destination, Draw};
use super::peer::SIP_PORT;
use super::{Paths, Route, Trunk};
use crate::model::{Timestamp, TrunkName};
use crate::sip::{Flow, Transport, Uri};

/// All trunks and routes of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    trunks: Vec<Arc<Trunk>>,
    /// In the order in which they are tried.
    routes: Vec<Route>,
    listeners: Vec<(Transport, SocketAddr)>,
    paths: Paths,
}

impl Topology {
    pub fn new(trunks: Vec<Trunk>, mut routes: Vec<Route>, listeners: Vec<(Transport, SocketAddr)>) -> Self {
        // Stable: equal priorities stay as written.
        routes.sort_by_key(|route| route.priority);
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

    pub fn trunks(&self) -> &[Arc<Trunk>] {
        &self.trunks
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

    /// The trunk that a configured address belongs to.
    pub fn trunk_at(&self, address: SocketAddr) -> Option<&Arc<Trunk>> {
        // Over UDP the port counts.
        self.trunk_of(address, Transport::Udp)
    }

    /// Whether any route leads from one trunk to the other.
    pub fn leads(&self, from: &TrunkName, to: &TrunkName) -> bool {
        self.routes.iter().any(|route| route.from == *from && route.to == *to)
    }

    /// The trunks that a route from this one leads to.
    pub fn trunks_to(&self, from: &TrunkName) -> impl Iterator<Item = &Arc<Trunk>> {
        self.trunks.iter().filter(move |trunk| self.leads(from, &trunk.name))
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

    /// Where a call from `from` to `uri` may be sent, best first: our own address in `uri` becomes the destination's.
    /// None: no route leads on. Empty: one does, and there is no path or no address at its end.
    pub fn destinations(&self, _now: Timestamp, from: &Trunk, uri: &Uri, _draw: Draw<'_>) -> Option<Vec<Destination>> {
        let user = uri.user().unwrap_or_else(|| uri.opaque());
        let (route, trunk) = self.route(&from.name, user)?;
        let peers = trunk.peers.iter();
        let flows = peers.filter_map(|peer| self.flow(trunk.transport, peer.address_by(trunk.transport)));
        let destination = |flow| Destination {
            trunk: Arc::clone(trunk),
            flow,
            target: self.target(uri, route, flow),
        };
        Some(flows.map(destination).collect())
    }

    fn target(&self, uri: &Uri, route: &Route, flow: Flow) -> Uri {
        if !self.names_us(uri) && route.to_user.is_none() {
            return uri.clone();
        }
        let user = route.to_user.as_deref().or_else(|| uri.user());
        let target = Uri::sip(user, flow.remote);
        match uri.param("user") {
            Some(kind) => target.with_param("user", kind),
            None => target,
        }
    }

    /// The path to an address: from a listener of this transport and of the same address family.
    pub fn flow(&self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        let fits = |(ours, local): &&(Transport, SocketAddr)| *ours == transport && local.is_ipv4() == remote.is_ipv4();
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
        by_address
            || uri
                .host()
                .is_some_and(|host| self.paths.is_advertised(host, uri.port()))
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
        let same = self.listeners.contains(&(flow.transport, flow.local));
        let local = if same { flow.local } else { alike.next()?.1 };
        Some(Flow { local, ..flow })
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

    use crate::trunk::{Conduct, Peer};

    fn trunk(name: &str, ip: &str, port: Option<u16>) -> Trunk {
        let ip = ip.parse().expect("an address");
        Trunk {
            name: name.into(),
            peers: vec![Peer { ip, port }],
            transport: Transport::Udp,
            trusted: true,
            conduct: Conduct::default(),
        }
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
        assert_eq!(to("+15551234").as_deref(), Some("world"));
        assert_eq!(topology.route(&"nobody".into(), "1"), None);
    }
}
