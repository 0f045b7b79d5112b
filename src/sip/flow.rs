//! Where a message came from or goes to.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp,
    Tcp,
    /// TCP under TLS (RFC 3261 §26.2).
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket under TLS.
    Wss,
}

impl Transport {
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Timers G, E, A and the waits I, J, K exist for unreliable transports only (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        self.is_stream()
    }

    /// Whether messages come by connections: answers and later requests use the one that is there.
    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether nobody on the way reads or writes along.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// As Via writes it (RFC 3261 §20.42, RFC 7118 §5.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of a URI's `transport` parameter; none for UDP, which is meant where there is none. `tls` is deprecated by
    /// RFC 3261 §26.2.2 and what neighbours write and expect all the same; WebSocket has one name for both of its kinds
    /// (RFC 7118 §5.2).
    pub const fn param(self) -> Option<&'static str> {
        match self {
            Self::Udp => None,
            Self::Tcp => Some("tcp"),
            Self::Tls => Some("tls"),
            Self::Ws | Self::Wss => Some("ws"),
        }
    }

    /// Where it listens if no port is named (RFC 3261 §19.1.2, RFC 7118 §5.3, RFC 6455 §3).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// Both ends of a SIP path, seen from us. A TCP or TLS flow that is not connected is opened by the driver when it is sent
/// to; a WebSocket is the peer's to open.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Flow {
    pub transport: Transport,
    /// The listener of ours that the message came in on or leaves by.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_has_its_names_and_its_port() {
        let names = Transport::ALL.map(|transport| (transport.as_str(), transport.param(), transport.default_port()));
        assert_eq!(
            names,
            [
                ("UDP", None, 5060),
                ("TCP", Some("tcp"), 5060),
                ("TLS", Some("tls"), 5061),
                ("WS", Some("ws"), 80),
                ("WSS", Some("ws"), 443),
            ]
        );
    }

    #[test]
    fn all_but_udp_are_streams() {
        for transport in Transport::ALL {
            assert_eq!(transport.is_stream(), transport != Transport::Udp);
            assert_eq!(transport.is_reliable(), transport.is_stream());
        }
    }
}
