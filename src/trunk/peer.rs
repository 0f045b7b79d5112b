//! A configured neighbour and its addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Conduct;
use super::caps::Caps;
use super::health::Place;
use super::near::Near;
use super::network::Network;
use super::rewrite::Rewrite;
use super::secrecy::Secrecy;
use super::site::Site;
use super::source::Source;
use crate::model::TrunkName;
use crate::sip::{Method, Transport};

/// The port of SIP over UDP and TCP where none is named (RFC 3261 §19.1.2).
pub const SIP_PORT: u16 = 5060;

/// The port of `sips:` where none is named.
pub(super) const SIPS_PORT: u16 = 5061;

/// One address of a trunk.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Peer {
    pub ip: IpAddr,
    /// None: any source port may send; we send to 5060.
    pub port: Option<u16>,
}

impl Peer {
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(SIP_PORT))
    }

    /// Where it listens: at the transport's own port if none is named (RFC 3261 §19.1.2).
    pub fn address_by(&self, transport: Transport) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(transport.default_port()))
    }

    /// Whether a message from there may be this peer's.
    pub fn is_source(&self, source: SocketAddr, transport: Transport) -> bool {
        // A connection comes from a port of the kernel's choice.
        let port_matters = transport == Transport::Udp;
        self.ip.to_canonical() == source.ip().to_canonical()
            && (!port_matters || self.port.is_none_or(|port| port == source.port()))
    }
}

/// A PBX, a carrier: a configured neighbour.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trunk {
    pub name: TrunkName,
    /// Who may send, literal destinations among them.
    pub peers: Vec<Peer>,
    /// Who else may send: ranges, to which nothing is sent that nobody asked for.
    pub networks: Vec<Network>,
    /// Where we send to; the peers in their order if there is none.
    pub sites: Vec<Site>,
    /// What the names among `sites` have for addresses now; not configured. They may send, too.
    pub located: Vec<Place>,
    /// How we send to what does not say how itself.
    pub transport: Transport,
    /// What it asserts of a caller is believed (RFC 3325's trust domain). Default false.
    pub trusted: bool,
    /// What we do there on our own behalf.
    pub conduct: Conduct,
    pub probe: Option<Probe>,
    /// Numbers that come from it are written in E.164, by its dial plan. Default false.
    pub e164: bool,
    pub rewrites: Vec<Rewrite>,
    /// Methods that it may use; None: all that we carry. ACK, BYE, CANCEL and PRACK always.
    pub methods: Option<Vec<Method>>,
    /// Names of the payload formats that may cross; None: all.
    pub codecs: Option<Vec<String>>,
    /// Names of headers that cross from it and to it, which else stay behind.
    pub carry: Option<Arc<[String]>>,
    pub caps: Caps,
    pub near: Near,
    /// Its media comes from where it comes, whatever its SDP says (RFC 4961).
    pub nat: bool,
    /// How its media is encrypted.
    pub secrecy: Secrecy,
    /// Long requests reach it as datagrams all the same. Default false: by TCP, if we listen there (RFC 3261 §18.1.1).
    pub datagrams_only: bool,
}

/// How a trunk's destinations are asked whether they live, by OPTIONS (RFC 3261 §11).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    pub interval: Duration,
    /// Final answers that show a destination alive; empty: all but 408 and 503.
    pub up_codes: Vec<u16>,
    /// Max-Forwards of the OPTIONS: 70, or 0 for a peer whose proxy shall answer itself.
    pub max_forwards: u8,
}

impl Trunk {
    /// A trunk over UDP, not trusted, with no rules and no limits.
    pub fn new(name: TrunkName, peers: Vec<Peer>) -> Self {
        Self {
            name,
            peers,
            networks: Vec::new(),
            sites: Vec::new(),
            located: Vec::new(),
            transport: Transport::Udp,
            trusted: false,
            conduct: Conduct::default(),
            probe: None,
            e164: false,
            rewrites: Vec::new(),
            methods: None,
            codecs: None,
            carry: None,
            caps: Caps::default(),
            near: Near::default(),
            nat: false,
            secrecy: Secrecy::default(),
            datagrams_only: false,
        }
    }

    /// Who may send as this trunk: what is configured, and located servers from any port.
    pub fn senders(&self) -> impl Iterator<Item = Source> {
        let located = self.located.iter().map(|(_, at)| Peer {
            ip: at.ip(),
            port: None,
        });
        let peers = self.peers.iter().copied().chain(located).map(Source::Peer);
        peers.chain(self.networks.iter().copied().map(Source::Network))
    }

    /// Whether this trunk may send from `source`, and whether we may send there. One that is reached by TLS is heard by TLS
    /// alone: a source address in clear proves nothing.
    pub fn admits(&self, source: SocketAddr, transport: Transport) -> bool {
        self.hears(transport) && self.senders().any(|known| known.is_source(source, transport))
    }

    /// Whether it may send by this transport at all.
    pub const fn hears(&self, transport: Transport) -> bool {
        transport.is_secure() || !self.transport.is_secure()
    }

    /// Where it is reached by `transport` when nothing better is known: rather at `near`, where it was last.
    pub fn first_address(&self, transport: Transport, near: IpAddr) -> Option<SocketAddr> {
        let sites = self.sites.iter().filter_map(|site| site.place(transport));
        let places = sites.chain(self.located.iter().copied());
        let places = places.filter_map(|(by, at)| (by == transport).then_some(at));
        let peers = self.peers.iter().map(|peer| peer.address_by(transport));
        let mut all = places.chain(peers).peekable();
        let first = all.peek().copied();
        all.find(|at| at.ip().to_canonical() == near.to_canonical()).or(first)
    }

    /// Whether it may use this method at all. What is part of every INVITE it may: whom it calls may ask it for PRACK
    /// (RFC 3262 §3).
    pub fn may_use(&self, method: &Method) -> bool {
        matches!(method, Method::Ack | Method::Bye | Method::Cancel | Method::Prack)
            || self.methods.as_ref().is_none_or(|methods| methods.contains(method))
    }

    /// The methods of `allow`, a comma-separated list, that it may use.
    pub fn allow(&self, allow: &str) -> String {
        let methods = allow.split(',').map(str::trim);
        let allowed: Vec<&str> = methods
            .filter(|word| Method::parse(word).is_some_and(|method| self.may_use(&method)))
            .collect();
        allowed.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trunk::Rank;

    #[test]
    fn a_broken_connection_is_opened_anew_where_its_transport_is_spoken_rather_at_the_same_host() {
        let at = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        let near = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let mut trunk = Trunk::new("carrier".into(), vec![]);
        let site = Site::parse("sip:192.0.2.1:5060;transport=udp", Rank::default()).expect("a site");
        trunk.sites = vec![site];
        assert_eq!(trunk.first_address(Transport::Tls, near("192.0.2.2")), None);
        trunk.located = vec![
            (Transport::Udp, at("192.0.2.2:5060")),
            (Transport::Tls, at("192.0.2.3:5061")),
            (Transport::Tls, at("192.0.2.2:5063")),
        ];
        assert_eq!(
            trunk.first_address(Transport::Tls, near("::ffff:192.0.2.2")),
            Some(at("192.0.2.2:5063"))
        );
        assert_eq!(
            trunk.first_address(Transport::Tls, near("192.0.2.9")),
            Some(at("192.0.2.3:5061"))
        );
        trunk.peers = vec![Peer {
            ip: near("192.0.2.9"),
            port: None,
        }];
        assert_eq!(
            trunk.first_address(Transport::Tcp, near("192.0.2.2")),
            Some(at("192.0.2.9:5060"))
        );
    }
}
