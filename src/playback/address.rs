//! Who sent a frame to whom, as IP addresses and ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::formats::Formats;
use crate::model::{Direction, Leg, SignalPath};
use crate::recorder::PacketKind;

/// Source and destination of a datagram or segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Way {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

impl Way {
    pub(super) const fn of_signal(path: &SignalPath) -> Self {
        match path.direction {
            Direction::Received => Self {
                from: path.peer,
                to: path.local,
            },
            Direction::Sent => Self {
                from: path.local,
                to: path.peer,
            },
        }
    }

    /// A leg's packet, by the newest plan: from the address that its SDP named, or that was learned, to our port. What no plan tells is
    /// unspecified (0.0.0.0 or `::`), port 0.
    pub(super) fn of_packet(formats: &Formats, leg: Leg, line: u16, kind: PacketKind) -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let Some(plan) = formats.line(line).map(|plan| plan.leg(leg)) else {
            return Self {
                from: nowhere,
                to: nowhere,
            };
        };
        let mut to = plan.local;
        let mut from = formats.source(leg, line);
        if kind == PacketKind::Rtcp {
            from = plan.remote.map(|remote| remote.rtcp);
            let is_muxed = plan.remote.is_some_and(|remote| remote.rtcp == remote.rtp);
            to.set_port(if is_muxed {
                to.port()
            } else {
                to.port().saturating_add(1)
            });
        }
        let unspecified = match to.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self {
            from: from.unwrap_or(SocketAddr::new(unspecified, 0)),
            to,
        }
    }

    /// Both addresses in one family; a mixed pair as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
    pub(super) fn ips(&self) -> (IpAddr, IpAddr) {
        let v6 = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
            IpAddr::V6(_) => ip,
        };
        match (self.from.ip(), self.to.ip()) {
            (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => (from, to),
            (from, to) => (v6(from), v6(to)),
        }
    }
}
