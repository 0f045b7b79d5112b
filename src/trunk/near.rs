//! Our own addresses that a trunk is faced by, on a node that has several: an inside and an outside.

use std::net::{IpAddr, SocketAddr};

use crate::sip::Transport;

/// What a trunk says of our end. Empty: the first listener of the transport and the family, and the node's media address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Near {
    /// What is sent to it leaves from there, and names that in Via, Contact and Record-Route.
    pub listener: Option<(Transport, SocketAddr)>,
    pub media: Option<NearMedia>,
}

/// Where the media of a trunk arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NearMedia {
    pub bound: IpAddr,
    /// What SDP says in its place, before a NAT.
    pub told: IpAddr,
}

impl Near {
    /// Whether a message of the trunk that came to `local` may open something: at the trunk's own address alone, if any of the
    /// listeners that it could come to is there. What comes from another network in its name is not its.
    pub(super) fn faces<'a>(
        &self,
        mut listeners: impl Iterator<Item = &'a (Transport, SocketAddr)>,
        local: SocketAddr,
    ) -> bool {
        self.listener
            .is_none_or(|(_, own)| own.ip() == local.ip() || !listeners.any(|(_, listener)| listener.ip() == own.ip()))
    }

    /// Of the listeners that lead there the trunk's own, else the one at its address, else the first.
    pub(super) fn choose<'a>(
        &self,
        listeners: impl Iterator<Item = &'a (Transport, SocketAddr)> + Clone,
    ) -> Option<&'a (Transport, SocketAddr)> {
        let own = self.listener.and_then(|(transport, at)| {
            let exact = listeners.clone().find(|listener| **listener == (transport, at));
            exact.or_else(|| listeners.clone().find(|(_, local)| local.ip() == at.ip()))
        });
        own.or_else(|| listeners.clone().next())
    }
}
