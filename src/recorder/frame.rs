//! A frame: one thing that happened on a call's timeline, and who takes it.

use bytes::Bytes;

use crate::model::{Fault, Leg, Mark, SessionId, SignalPath, Timestamp};

/// What a packet on a media port is, by its first bytes and its port (RFC 5761 §4, RFC 7983).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PacketKind {
    Rtp,
    Rtcp,
    /// Neither: DTLS, STUN, T.38 UDPTL, noise. Kept raw all the same.
    Other,
    /// No packet: media passes while the recording is paused, and this, without a payload, is all that is kept of it.
    Withheld,
}

/// A packet on its way through the relay, borrowed from the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Kernel arrival time.
    pub at: Timestamp,
    /// Who sent it.
    pub leg: Leg,
    /// Which m-line, from 0.
    pub line: u16,
    pub kind: PacketKind,
    /// The UDP payload, unchanged.
    pub bytes: &'a [u8],
}

/// A frame as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Packet {
        at: Timestamp,
        leg: Leg,
        line: u16,
        kind: PacketKind,
        bytes: Bytes,
    },
    Signal {
        at: Timestamp,
        path: SignalPath,
        bytes: Bytes,
    },
    Mark {
        at: Timestamp,
        mark: Mark,
    },
}

impl Frame {
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Packet { at, .. } | Self::Signal { at, .. } | Self::Mark { at, .. } => *at,
        }
    }
}

/// A session's place in a [`FrameSink`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Slot(pub u32);

/// Whether the recorder took a packet. A refusal has to be met: the caller must not forward a strict session's packet.
#[must_use = "a packet of a strict call must not be forwarded when the recorder refused it"]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    Accepted,
    Refused(Fault),
}

/// Where the media fork puts packets before they are forwarded. Copies; never blocks, locks, allocates or reads a clock.
pub trait FrameSink {
    /// None: no room.
    fn open(&mut self, session: SessionId) -> Option<Slot>;

    fn close(&mut self, now: Timestamp, slot: Slot);

    fn offer(&mut self, now: Timestamp, slot: Slot, packet: Packet<'_>) -> Offer;
}
