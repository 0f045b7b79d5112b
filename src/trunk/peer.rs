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

    /// Whether a message from there may be this peer's.
    pub fn is_source(&self, source: SocketAddr, transport: Transport) -> bool {
        // A TCP connection comes from a port of the kernel's choice.
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
    /// Whether this trunk may send from `source`.
    pub fn admits(&self, source: SocketAddr, transport: Transport) -> bool {
        self.peers.iter().any(|peer| peer.is_source(source, transport))
    }
}
