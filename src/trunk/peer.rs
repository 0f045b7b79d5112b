//! A configured neighbour and its addresses.

use std::net::{IpAddr, SocketAddr};

use super::Conduct;
use crate::model::TrunkName;
use crate::sip::Transport;

/// The port of SIP over UDP and TCP where none is named (RFC 3261 §19.1.2).
pub const SIP_PORT: u16 = 5060;

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
    /// Who may send; the first is where we send to. Never empty.
    pub peers: Vec<Peer>,
    /// How we send to it.
    pub transport: Transport,
    /// What it asserts of a caller is believed (RFC 3325's trust domain). Default false.
    pub trusted: bool,
    pub conduct: Conduct,
}

impl Trunk {
    /// Whether this trunk may send from `source`. One that is reached by TLS is heard by TLS alone: a source address in
    /// clear proves nothing.
    pub fn admits(&self, source: SocketAddr, transport: Transport) -> bool {
        let in_clear = self.transport.is_secure() && !transport.is_secure();
        !in_clear && self.peers.iter().any(|peer| peer.is_source(source, transport))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_behind_tls_is_not_heard_in_clear() {
        let source: SocketAddr = "192.0.2.9:5061".parse().expect("an address");
        let peer = Peer {
            ip: source.ip(),
            port: None,
        };
        let teams = Trunk {
            name: "teams".into(),
            peers: vec![peer],
            transport: Transport::Tls,
            trusted: true,
            conduct: crate::trunk::Conduct::default(),
        };
        let heard = Transport::ALL.map(|transport| teams.admits(source, transport));
        assert_eq!(heard, [false, false, true, false, true]);
        assert_eq!(peer.address_by(Transport::Tls), source);
    }
}
