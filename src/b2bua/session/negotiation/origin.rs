//! Legs whose SDP names a host that is out of reach: an address behind NAT, or a name.

use std::net::IpAddr;

use super::Negotiation;
use super::null_hold::at;
use crate::model::{Leg, Origin, Remote, is_local};
use crate::sdp::MediaLine;

impl Negotiation {
    /// Who may be heard on a leg's line beside the host that it names.
    pub(super) fn origin(&self, leg: Leg, line: &MediaLine) -> Origin {
        let Some(face) = self.faces[leg.index()] else {
            return Origin::Signalled;
        };
        let speaker = face.peer();
        if face.is_behind_nat() {
            return Origin::First { speaker };
        }
        match line.connection {
            Some(host) if is_private(host) && host != speaker => Origin::Speaker(speaker),
            Some(host) if is_local(host) && !is_local(speaker) => Origin::Speaker(speaker),
            _ => Origin::Signalled,
        }
    }

    /// Where a line is that gives its host a name, which we do not look up: with the host that speaks for the leg.
    pub(super) fn named_host(&self, leg: Leg, line: &MediaLine) -> Option<Remote> {
        let is_carried = line.names_host && line.is_live() && line.is_datagram();
        let face = self.faces[leg.index()].filter(|_| is_carried)?;
        Some(at(face.peer(), line.port))
    }
}

/// Not reached from everywhere: RFC 1918, RFC 6598, RFC 4193.
fn is_private(host: IpAddr) -> bool {
    match host.to_canonical() {
        IpAddr::V4(host) => {
            let [first, second, ..] = host.octets();
            host.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(host) => host.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_reached_from_everywhere_is_known() {
        for (host, expected) in [
            ("10.255.0.1", true),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("192.169.0.1", false),
            ("100.63.255.255", false),
            ("100.64.0.0", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("::ffff:10.0.0.1", true),
            ("fd00::1", true),
            ("fe80::1", false),
            ("2001:db8::1", false),
            ("198.51.100.1", false),
        ] {
            assert_eq!(is_private(host.parse().expect("an address")), expected, "{host}");
        }
    }
}
