//! Who may send: addresses of trunks, and ranges of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::network::{Network, Networks};
use super::peer::Peer;
use crate::sip::Transport;

/// One of those who may send as a trunk.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Source {
    Peer(Peer),
    /// From any port.
    Network(Network),
}

impl Source {
    /// Whether a message from there may be this source's.
    pub fn is_source(&self, source: SocketAddr, transport: Transport) -> bool {
        match self {
            Self::Peer(peer) => peer.is_source(source, transport),
            Self::Network(network) => network.contains(source.ip()),
        }
    }
}

impl From<Peer> for Source {
    fn from(peer: Peer) -> Self {
        Self::Peer(peer)
    }
}

/// An address, with the only port or without one.
impl From<(IpAddr, Option<u16>)> for Source {
    fn from((ip, port): (IpAddr, Option<u16>)) -> Self {
        Self::Peer(Peer { ip, port })
    }
}

impl From<Network> for Source {
    fn from(network: Network) -> Self {
        Self::Network(network)
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Ports {
    Any,
    Only(BTreeSet<u16>),
}

/// Many of them, found by an address without a look at the others.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sources {
    hosts: BTreeMap<IpAddr, Ports>,
    networks: Networks<()>,
}

impl FromIterator<Source> for Sources {
    fn from_iter<I: IntoIterator<Item = Source>>(sources: I) -> Self {
        let mut all = Self::default();
        for source in sources {
            match source {
                Source::Peer(peer) => all.add(peer),
                Source::Network(network) => *all.networks.entry(network) = (),
            }
        }
        all
    }
}

impl Sources {
    fn add(&mut self, Peer { ip, port }: Peer) {
        let none = || Ports::Only(BTreeSet::new());
        let ports = self.hosts.entry(ip.to_canonical()).or_insert_with(none);
        match (port, ports) {
            (None, ports) => *ports = Ports::Any,
            (Some(port), Ports::Only(ports)) => {
                ports.insert(port);
            }
            (Some(_), Ports::Any) => {}
        }
    }

    /// Whether a datagram may come from there.
    pub fn allow_datagram(&self, source: SocketAddr) -> bool {
        let is_port = match self.hosts.get(&source.ip().to_canonical()) {
            Some(Ports::Any) => true,
            Some(Ports::Only(ports)) => ports.contains(&source.port()),
            None => false,
        };
        is_port || self.has_network_of(source.ip())
    }

    /// Whether any message may: the port of a connection is an ephemeral one.
    pub fn has_host(&self, ip: IpAddr) -> bool {
        self.hosts.contains_key(&ip.to_canonical()) || self.has_network_of(ip)
    }

    fn has_network_of(&self, ip: IpAddr) -> bool {
        self.networks.around(ip).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn sources() -> Sources {
        let peer = |ip: &str, port| Peer {
            ip: ip.parse().expect("an address"),
            port,
        };
        let network = |text| Network::parse(text).expect("a range");
        Sources::from_iter([
            peer("192.0.2.1", Some(5070)).into(),
            network("198.51.100.0/24").into(),
            peer("198.51.100.7", Some(5070)).into(),
            network("2001:db8::/48").into(),
        ])
    }

    #[test]
    fn who_is_in_a_range_may_send_from_any_port_even_where_its_address_is_named_with_one() {
        let sources = sources();
        for from in [
            "198.51.100.0:1",
            "198.51.100.255:65535",
            "198.51.100.7:9",
            "[2001:db8::77]:5060",
            "192.0.2.1:5070",
        ] {
            assert!(
                sources.allow_datagram(at(from)) && sources.has_host(at(from).ip()),
                "{from}"
            );
        }
        for from in ["198.51.101.0:5060", "[2001:db8:1::1]:5060", "192.0.2.2:5070"] {
            assert!(
                !sources.allow_datagram(at(from)) && !sources.has_host(at(from).ip()),
                "{from}"
            );
        }
        assert!(!sources.allow_datagram(at("192.0.2.1:5060")));
        assert!(
            sources.has_host(at("192.0.2.1:5060").ip()),
            "a connection's port is ephemeral"
        );
    }
}
