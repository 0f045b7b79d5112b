//! Who sits where: three phones around the proxy.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A calls. B is called. C is a third: the carrier's other address, or a party of its own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Seat {
    A,
    B,
    C,
}

impl Seat {
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    pub const fn index(self) -> usize {
        self as usize
    }

    pub const fn host(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1 + self as u8))
    }

    /// Where the phone listens, for datagrams and for connections.
    pub const fn address(self) -> SocketAddr {
        SocketAddr::new(self.host(), 5060)
    }

    pub const fn user(self) -> &'static str {
        match self {
            Self::A => "alice",
            Self::B => "bob",
            Self::C => "carol",
        }
    }

    pub fn at(ip: IpAddr) -> Option<Self> {
        Self::ALL.into_iter().find(|seat| seat.host() == ip)
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
