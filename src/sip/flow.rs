//! Where a message came from or goes to.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// Timers G, E, A and the waits I, J, K exist for unreliable transports only (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        matches!(self, Self::Tcp)
    }

    /// As Via writes it (RFC 3261 §20.42).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// Both ends of a SIP path, seen from us. A TCP flow that is not connected is opened by the driver when it is sent to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Flow {
    pub transport: Transport,
    /// The listener of ours that the message came in on or leaves by.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}
