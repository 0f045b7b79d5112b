//! Legs whose SDP names a host that is out of reach: an address behind NAT, or a name.

use super::Negotiation;
use super::null_hold::at;
use crate::model::{Leg, Origin, Remote, is_local, is_private};
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
