//! Which address of ours the media of a leg faces.

use std::net::{IpAddr, SocketAddr};

use super::manner::Manner;
use crate::b2bua::dialog::CallLeg;
use crate::media::PortPair;
use crate::trunk::NearMedia;

/// Where a leg's peer is, and what its trunk says of our end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face {
    peer: IpAddr,
    near: Option<NearMedia>,
    /// Its trunk is behind NAT.
    nat: bool,
    manner: Manner,
}

impl Face {
    pub(super) fn of(leg: &CallLeg) -> Self {
        let peer = leg.flow.remote.ip().to_canonical();
        let is_of_family = |near: &NearMedia| near.bound.is_ipv4() == peer.is_ipv4();
        Self {
            peer,
            near: leg.trunk.near.media.filter(is_of_family),
            nat: leg.trunk.nat,
            manner: Manner::of(&leg.trunk, leg.flow.transport.is_secure()),
        }
    }

    /// The host that speaks for it.
    pub(super) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// How its media is encrypted.
    pub(super) const fn manner(&self) -> Manner {
        self.manner
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
