//! Who may speak to us: every other source is dropped before a byte of it is parsed, and gets no reply.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::TrunkName;
use crate::trunk::{DomainName, Source, Sources};

/// The configured trunk peers as the sockets ask for them.
///
/// A source that is not here gets nothing back, so it learns nothing and nothing can be reflected off us. All clones are
/// the same set: the resolver replaces it as names move, the sockets read it without a lock.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<ArcSwap<Known>>);

#[derive(Debug, Default)]
struct Known {
    sources: Sources,
    owners: BTreeMap<SocketAddr, Owner>,
}

/// Whose server an address is, as DNS says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    pub trunk: TrunkName,
    /// The trunk's name for it, which its certificate has to prove (RFC 5922 §7.3).
    pub name: DomainName,
}

impl Peers {
    /// A peer without a port may send from any port of its address.
    pub fn new(sources: impl IntoIterator<Item = impl Into<Source>>) -> Self {
        let known = Self::default();
        known.replace(sources.into_iter().map(Into::into), []);
        known
    }

    /// These from now on, and no others.
    pub fn replace(
        &self,
        sources: impl IntoIterator<Item = Source>,
        owners: impl IntoIterator<Item = (SocketAddr, Owner)>,
    ) {
        let mut by_place = BTreeMap::new();
        for (at, owner) in owners {
            by_place.entry(canonical(at)).or_insert(owner);
        }
        self.0.store(Arc::new(Known {
            sources: sources.into_iter().collect(),
            owners: by_place,
        }));
    }

    /// Whether a datagram from `source` is read.
    pub fn allow_datagram(&self, source: SocketAddr) -> bool {
        self.0.load().sources.allow_datagram(source)
    }

    /// Whose server it is, if a name of a trunk led to it: to that port, or else to one of that address, for what the peer
    /// opens comes from any. Of several names the first as configured; of several ports the lowest.
    pub fn owner(&self, at: SocketAddr) -> Option<Owner> {
        let known = self.0.load();
        let at = canonical(at);
        let of_host = || {
            let mut from = known.owners.range(SocketAddr::new(at.ip(), 0)..);
            from.next()
                .filter(|(next, _)| next.ip() == at.ip())
                .map(|(_, owner)| owner)
        };
        known.owners.get(&at).or_else(of_host).cloned()
    }

    /// Whether a connection from `source` is kept. Its port is an ephemeral one, so only the address counts.
    pub fn allow_connection(&self, source: SocketAddr) -> bool {
        self.0.load().sources.has_host(source.ip())
    }
}

fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::trunk::Network;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_peer_with_a_port_sends_datagrams_from_that_port_only() {
        let peers = Peers::new([(ip("127.0.0.1"), Some(5080)), (ip("127.0.0.1"), Some(5090))]);
        assert!(peers.allow_datagram(at("127.0.0.1:5080")));
        assert!(peers.allow_datagram(at("127.0.0.1:5090")));
        assert!(!peers.allow_datagram(at("127.0.0.1:5081")));
        assert!(!peers.allow_datagram(at("127.0.0.2:5080")));
        assert!(
            peers.allow_connection(at("127.0.0.1:40001")),
            "a connection's port is ephemeral"
        );
    }

    #[test]
    fn a_peer_named_once_without_a_port_may_use_any() {
        for order in [[Some(5080), None], [None, Some(5080)]] {
            let peers = Peers::new(order.map(|port| (ip("::1"), port)));
            assert!(peers.allow_datagram(at("[::1]:9")), "{order:?}");
        }
    }

    #[test]
    fn another_set_holds_for_every_clone_at_once() {
        let peers = Peers::new([(ip("192.0.2.1"), None)]);
        let sockets = peers.clone();
        let owner = Owner {
            trunk: "carrier".into(),
            name: DomainName::parse("sip.example.com").expect("a name"),
        };
        peers.replace(
            [(ip("192.0.2.2"), None).into()],
            [(at("192.0.2.2:5061"), owner.clone())],
        );
        assert_eq!(sockets.owner(at("[::ffff:192.0.2.2]:5061")), Some(owner));
        assert!(sockets.allow_connection(at("192.0.2.2:5060")));
        assert!(!sockets.allow_connection(at("192.0.2.1:5060")));
    }

    #[test]
    fn of_two_names_that_led_to_one_address_the_port_tells_which_and_else_the_first() {
        let owner = |name: &str| Owner {
            trunk: name.into(),
            name: DomainName::parse(&format!("{name}.example.com")).expect("a name"),
        };
        let peers = Peers::default();
        peers.replace(
            [],
            [
                (at("192.0.2.1:5063"), owner("second")),
                (at("192.0.2.1:5061"), owner("first")),
                (at("192.0.2.1:5061"), owner("third")),
            ],
        );
        let of = |text: &str| peers.owner(at(text)).map(|owner| owner.trunk.to_string());
        assert_eq!(of("192.0.2.1:5063").as_deref(), Some("second"));
        assert_eq!(of("192.0.2.1:5061").as_deref(), Some("first"));
        assert_eq!(of("192.0.2.1:40000").as_deref(), Some("first"), "the lowest port");
        assert_eq!(of("192.0.2.2:5061"), None);
    }

    #[test]
    fn an_ipv4_address_mapped_into_ipv6_is_the_same_peer() {
        let peers = Peers::new([(ip("192.0.2.1"), None)]);
        assert!(peers.allow_datagram(at("[::ffff:192.0.2.1]:5060")));
        assert!(!peers.allow_connection(at("[::ffff:192.0.2.2]:5060")));
    }

    #[test]
    fn of_a_range_everybody_is_read_from_any_port() {
        let range = Network::parse("192.0.2.0/25").expect("a range");
        let peers = Peers::new([Source::Network(range)]);
        assert!(peers.allow_datagram(at("192.0.2.127:9")) && peers.allow_connection(at("192.0.2.0:9")));
        assert!(!peers.allow_datagram(at("192.0.2.128:9")) && !peers.allow_connection(at("192.0.2.128:9")));
    }
}
