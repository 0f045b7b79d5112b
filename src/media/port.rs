//! The name of one of a session's sockets, in 64 bits: an epoll token that needs no map.

use std::fmt;
use std::net::SocketAddr;

use crate::model::Leg;
use crate::recorder::PacketKind;
use crate::rtp::{self, WireKind};

/// m-lines of one session that are relayed. RFC 4566 sets no limit; phones offer up to five, WebRTC gateways a dozen.
pub const LINES_MAX: usize = 16;

/// Sessions that one plane holds; an `Open` beyond is answered by `OpenFailed`.
pub const SESSIONS_MAX: usize = 1 << 16;

const CHANNEL_SHIFT: u32 = 0;
const LEG_SHIFT: u32 = 1;
const LINE_SHIFT: u32 = 2;
const SESSION_SHIFT: u32 = 10;
const GENERATION_SHIFT: u32 = 32;

/// What a port was signalled for. With rtcp-mux (RFC 5761) RTCP arrives on `Rtp`, too.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Channel {
    Rtp,
    Rtcp,
}

impl Channel {
    pub const BOTH: [Self; 2] = [Self::Rtp, Self::Rtcp];

    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its address, by that of RTP: RTCP's port is the one after (RFC 3550 §11).
    pub(super) fn beside(self, rtp: SocketAddr) -> SocketAddr {
        SocketAddr::new(rtp.ip(), rtp.port().saturating_add(self.index() as u16))
    }

    /// What a packet is by its first bytes; RTP on the port that was signalled for RTCP is none.
    pub(super) fn kind_of(self, bytes: &[u8]) -> PacketKind {
        match (rtp::classify(bytes), self) {
            (WireKind::Rtcp, _) => PacketKind::Rtcp,
            (WireKind::Rtp, Self::Rtp) => PacketKind::Rtp,
            _ => PacketKind::Other,
        }
    }
}

/// One of our UDP sockets: session, m-line, leg, RTP or RTCP.
///
/// The session is a place in a slab and the number of its use, so the name of a closed session's port never means
/// another session's.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Port(u64);

impl Port {
    pub(super) fn new(session: usize, generation: u32, line: usize, leg: Leg, channel: Channel) -> Self {
        debug_assert!(session < SESSIONS_MAX && line < LINES_MAX);
        Self(
            u64::from(generation) << GENERATION_SHIFT
                | (session as u64) << SESSION_SHIFT
                | (line as u64) << LINE_SHIFT
                | (leg.index() as u64) << LEG_SHIFT
                | (channel.index() as u64) << CHANNEL_SHIFT,
        )
    }

    /// For the kernel to keep. Never `u64::MAX`.
    pub const fn token(self) -> u64 {
        self.0
    }

    /// What [`Port::token`] gave. Any other number names a port that no plane knows.
    pub const fn from_token(token: u64) -> Self {
        Self(token)
    }

    /// The session's place: below [`SESSIONS_MAX`], used again after `Close`.
    pub const fn session(self) -> usize {
        (self.0 >> SESSION_SHIFT) as usize & (SESSIONS_MAX - 1)
    }

    /// The m-line's place: below 256, of a plane's own ports below [`LINES_MAX`].
    pub const fn line(self) -> usize {
        (self.0 >> LINE_SHIFT) as usize & 0xff
    }

    pub const fn leg(self) -> Leg {
        match (self.0 >> LEG_SHIFT) & 1 {
            0 => Leg::A,
            _ => Leg::B,
        }
    }

    pub const fn channel(self) -> Channel {
        match (self.0 >> CHANNEL_SHIFT) & 1 {
            0 => Channel::Rtp,
            _ => Channel::Rtcp,
        }
    }

    pub(super) const fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// The same line, towards the other party, by this channel.
    pub(super) const fn far_by(self, channel: Channel) -> Self {
        let line = (self.0 ^ (1 << LEG_SHIFT)) & !(1 << CHANNEL_SHIFT);
        Self(line | (channel.index() as u64) << CHANNEL_SHIFT)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (session, line, leg, channel) = (self.session(), self.line(), self.leg(), self.channel());
        write!(f, "{session}#{}/{line}/{leg}/{channel:?}", self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_survives_its_token() {
        for session in [0, 1, SESSIONS_MAX - 1] {
            for (generation, line) in [(0, 0), (7, 3), (u32::MAX >> 1, LINES_MAX - 1)] {
                for (leg, channel) in Leg::BOTH
                    .into_iter()
                    .flat_map(|leg| Channel::BOTH.map(|channel| (leg, channel)))
                {
                    let port = Port::from_token(Port::new(session, generation, line, leg, channel).token());
                    assert_eq!(
                        (port.session(), port.generation(), port.line()),
                        (session, generation, line)
                    );
                    assert_eq!((port.leg(), port.channel()), (leg, channel));
                    let far = port.far_by(channel);
                    assert_eq!((far.leg(), far.far_by(channel)), (leg.other(), port));
                    assert_eq!(port.far_by(Channel::Rtp).channel(), Channel::Rtp);
                    assert_ne!(port.token(), u64::MAX);
                }
            }
        }
    }
}
