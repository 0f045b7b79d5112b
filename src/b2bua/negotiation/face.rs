//! Which address of ours the media of a leg faces.

use std::net::{IpAddr, SocketAddr};

use super::Negotiation;
use crate::b2bua::leg::CallLeg;
use crate::media::PortPair;
use crate::model::Leg;
use crate::sdp::SessionDescription;
use crate::trunk::NearMedia;

/// Where a leg's peer is, and what its trunk says of our end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face {
    peer: IpAddr,
    near: Option<NearMedia>,
    /// Its trunk is behind NAT.
    nat: bool,
}

impl Face {
    pub(super) fn of(leg: &CallLeg) -> Self {
        let peer = leg.flow.remote.ip().to_canonical();
        let is_of_family = |near: &NearMedia| near.bound.is_ipv4() == peer.is_ipv4();
        Self {
            peer,
            near: leg.trunk.near.media.filter(is_of_family),
            nat: leg.trunk.nat,
        }
    }

    /// The host that speaks for it.
    pub(super) const fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(super) const fn is_behind_nat(&self) -> bool {
        self.nat
    }

    /// Where its RTP arrives.
    pub(super) fn bound(&self, pair: &PortPair) -> SocketAddr {
        match self.near {
            Some(near) => SocketAddr::new(near.bound, pair.rtp().port()),
            None => pair.rtp_facing(self.peer),
        }
    }

    /// Where it is told to send.
    pub(super) fn told(&self, pair: &PortPair) -> SocketAddr {
        match self.near {
            Some(near) => SocketAddr::new(near.told, pair.rtp().port()),
            None => pair.told_to(self.peer),
        }
    }
}

impl Negotiation {
    /// Whether some line of `by` can hear us: by an address of the family of ours, or, where all of them are private and
    /// say little of where it is, by another one.
    pub(super) fn reaches(&self, by: Leg, sdp: &SessionDescription) -> bool {
        let Some((face, ports)) = self.faces[by.index()].zip(self.ports.first()) else {
            return true;
        };
        let ours = face.bound(match by {
            Leg::A => &ports.a,
            Leg::B => &ports.b,
        });
        let mut theirs = sdp
            .lines()
            .iter()
            .filter_map(|line| Some(line.remote()?.rtp.ip().to_canonical()))
            .peekable();
        theirs.peek().is_none()
            || theirs.any(|address| is_private(address) || address.is_ipv4() == ours.ip().to_canonical().is_ipv4())
    }
}

/// RFC 1918, RFC 4193.
const fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}
