//! Hold by the null address (RFC 3264 §8.4, RFC 2543): the holder names no place where it receives, and may play music to who
//! waits all the same.

use std::net::{IpAddr, SocketAddr};

use super::{Agreement, Negotiation};
use crate::model::{Leg, Remote};
use crate::sdp::{MediaLine, SessionDescription};

impl Agreement {
    /// `leg` is bound by this from now on.
    pub(super) fn bind(&mut self, leg: Leg, sdp: SessionDescription) {
        let before = std::mem::take(&mut self.places[leg.index()]);
        let place = |(index, line): (usize, &MediaLine)| match line.has_null_address() {
            true => before.get(index).copied().flatten(),
            false => line.remote(),
        };
        self.places[leg.index()] = sdp.lines().iter().enumerate().map(place).collect();
        let first_keys = &mut self.first_keys[leg.index()];
        if first_keys.is_empty() {
            let cryptos = sdp.lines().iter().flat_map(|line| &line.cryptos);
            *first_keys = cryptos.map(|crypto| crypto.key.clone()).collect();
        }
        self.agreed[leg.index()] = Some(sdp);
    }
}

impl Negotiation {
    /// Where the packets of a leg's line come from: of one that is held by the null address from where they came before; of one
    /// that never named a place, from the host that speaks for the leg.
    pub(super) fn source(&self, leg: Leg, index: usize, line: &MediaLine) -> Option<Remote> {
        if !line.has_null_address() {
            return line.remote().or_else(|| self.named_host(leg, line));
        }
        let before = self.agreement.places[leg.index()].get(index).copied().flatten();
        match before {
            Some(place) if place.rtp.port() == line.port => Some(place),
            Some(place) => Some(at(place.rtp.ip(), line.port)),
            None => Some(at(self.faces[leg.index()]?.peer(), line.port)),
        }
    }
}

pub(super) const fn at(host: IpAddr, port: u16) -> Remote {
    Remote {
        rtp: SocketAddr::new(host, port),
        rtcp: SocketAddr::new(host, port.saturating_add(1)),
    }
}
