//! What each leg sends where: the words between signalling and the media plane.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    Ailing, Fault, KeyingFault, Leg, LegKeys, LineKeys, LineSet, Notice, NoticePlan, Pausing, Quality, SessionId, Ssrc,
    Timestamp,
};

/// From signalling to the media plane. Carried by a bounded queue; signalling refuses calls when it is full.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MediaCommand {
    /// Bind every line's ports and relay between them. Answered by `Opened` or `OpenFailed`.
    Open(Box<MediaPlan>),
    /// The session was negotiated anew: the plan as it is now, lines never fewer than before. Lines that are new
    /// are bound; answered like `Open`. A remote that changed unlocks that side's latch. A local that changed moves that
    /// side: its old ports are let go first.
    Modify(Box<MediaPlan>),
    /// Stop or resume forwarding and recording, at once.
    Gate { session: SessionId, gate: Gate },
    /// Tell the parties that they are recorded. Answered by `Noticed` for each sound that was played.
    Notice(Box<NoticePlan>),
    /// What passes is kept no longer, or again; and whose keys are told. Answered by `Paused`, `Unpaused` or `Withheld` where
    /// that changes what is kept.
    Pausing { session: SessionId, pausing: Pausing },
    /// Stop, flush what the recorder has not yet taken, give the ports back. Answered by `Closed`.
    Close { session: SessionId },
}

/// From the media plane to signalling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MediaEvent {
    Opened {
        session: SessionId,
    },
    /// A port could not be bound. At the first `Open` the session is gone from the plane and no `Closed` follows; later it
    /// stays as it was, but for a side that was to move: that has no ports.
    OpenFailed {
        session: SessionId,
        local: SocketAddr,
    },
    /// The recorder took no packet of this session: its gate shut before the packet was forwarded if the session is
    /// strict; otherwise forwarding goes on. Said once until a later packet is taken again.
    Refused {
        session: SessionId,
        fault: Fault,
    },
    /// The RTP of this leg's line comes from a host that its SDP does not name, as the [`Origin`] of its plan allows.
    Learned {
        session: SessionId,
        leg: Leg,
        line: u16,
        from: SocketAddr,
    },
    /// A party was told that it is recorded, or the first part of it, when the call ended meanwhile.
    Noticed {
        session: SessionId,
        notice: Box<Notice>,
    },
    /// The handshake of this leg's line gave no keys: nothing of it can be heard, but what is `keyed` by those of before.
    Unkeyed {
        session: SessionId,
        leg: Leg,
        line: u16,
        fault: KeyingFault,
        keyed: bool,
    },
    /// The ends of this line have agreed on keys of their own where their descriptions call it clear: it was not recorded, and
    /// what they said crossed. Once for each plan.
    Sealed {
        session: SessionId,
        line: u16,
    },
    /// Something ails the sound of this session, or does no more: `until` says so. Each time it begins and ends, and at most 32
    /// beginnings a session.
    Health {
        session: SessionId,
        ailing: Ailing,
    },
    /// Nothing that arrives from `at` on is kept.
    Paused {
        session: SessionId,
        at: Timestamp,
    },
    /// What arrives from `at` on is kept again.
    Unpaused {
        session: SessionId,
        at: Timestamp,
    },
    /// Of what this leg sends nothing is kept that arrives from `at` on, on these lines; of the others all is.
    Withheld {
        session: SessionId,
        leg: Leg,
        lines: LineSet,
        at: Timestamp,
    },
    /// A key that was pressed on this leg (RFC 4733), where [`Pausing::keys`] asked for it.
    Key {
        session: SessionId,
        leg: Leg,
        key: char,
    },
    Closed {
        session: SessionId,
        tally: Box<Tally>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gate {
    Open,
    Shut,
}

/// One session's media, all of its m-lines, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaPlan {
    pub session: SessionId,
    pub recorded: Recorded,
    /// The call is answered: from here on its sound is watched.
    pub answered: bool,
    pub lines: Vec<LinePlan>,
    /// Of lines that are encrypted between a peer and us. Not part of a [`LinePlan`], which recordings keep.
    pub keys: Vec<LineKeys>,
    /// Of leg A, of leg B: whether what is agreed with it holds now. Who is between two agreements, and had keys, has none here.
    pub agreed: [bool; 2],
    /// Whom B's leg is with.
    pub far_end: FarEnd,
    /// From the first packet on; of a session that is open already only the command counts.
    pub pausing: Pausing,
}

impl MediaPlan {
    /// How a leg's side of the m-line with this index is encrypted.
    pub fn keys_of(&self, index: u16, leg: Leg) -> Option<&LegKeys> {
        self.secured(index)?.legs[leg.index()].as_ref()
    }

    /// What of the m-line with this index is between its peers and us.
    pub fn secured(&self, index: u16) -> Option<&LineKeys> {
        self.keys.iter().find(|line| line.index == index)
    }
}

/// One of those whom a leg has been with: each early dialog of an INVITE (RFC 3261 §12.1), and each who is asked after another.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FarEnd(u32);

impl FarEnd {
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Whether packets are copied to the recorder, and what a refusal means.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// Not copied.
    No,
    /// Copied before it is forwarded; what the recorder refuses is forwarded all the same and counted as a gap.
    Lenient,
    /// Copied before it is forwarded; the first refusal shuts the gate.
    Strict,
}

/// One m-line (RFC 4566 §5.14) and the two ways it is relayed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LinePlan {
    /// Position among the m-lines, from 0.
    pub index: u16,
    pub kind: MediaKind,
    pub a: LegPlan,
    pub b: LegPlan,
}

impl LinePlan {
    pub const fn leg(&self, leg: Leg) -> &LegPlan {
        match leg {
            Leg::A => &self.a,
            Leg::B => &self.b,
        }
    }

    /// RTP on both legs, and of one at least not encrypted beyond us.
    pub fn is_heard(&self) -> bool {
        let is_clear = |leg: &LegPlan| leg.formats.iter().any(|(_, name, ..)| !name.ends_with(ENCRYPTED));
        let has_rtp = !self.a.formats.is_empty() && !self.b.formats.is_empty();
        has_rtp && (is_clear(&self.a) || is_clear(&self.b))
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Audio,
    Video,
    Other,
}

/// One leg's side of an m-line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LegPlan {
    /// Where we receive this leg's RTP: an even port of ours; RTCP on the next (RFC 3550 §11).
    pub local: SocketAddr,
    /// Where this leg said that it receives, so where its packets have to come from; none before its SDP is known or
    /// when the line is refused (port 0).
    pub remote: Option<Remote>,
    /// Nothing is sent to `remote`: the leg holds by the null address, and `remote` is where it was before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deaf: bool,
    /// Nothing is awaited from it: it says that it does not send, or the far leg asks it not to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mute: bool,
    /// It does not listen: it holds, so nothing that it is told would be heard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds: bool,
    #[serde(default, skip_serializing_if = "Origin::is_signalled")]
    pub origin: Origin,
    /// Dynamic and static payload types of this leg's newest SDP: (payload type, encoding name, clock rate in Hz, channels).
    /// The names of an encrypted line end in [`ENCRYPTED`].
    pub formats: Vec<(u8, String, u32, u8)>,
}

/// Who is heard on a leg beside the host that its SDP names, and is sent to then (symmetric RTP, RFC 4961).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody.
    #[default]
    Signalled,
    /// The host that its signalling comes from: the SDP names one that cannot be reached from everywhere.
    Speaker(IpAddr),
    /// Whoever is heard first, and that host before others: its trunk is behind NAT.
    First { speaker: IpAddr },
}

/// Reached by itself alone, or by who is on its link (RFC 1122 §3.2.1.3, RFC 3927, RFC 4291 §2.5): for anybody else its name is
/// another's.
pub fn is_local(host: IpAddr) -> bool {
    match host.to_canonical() {
        IpAddr::V4(host) => host.is_loopback() || host.is_link_local(),
        IpAddr::V6(host) => host.is_loopback() || host.is_unicast_link_local(),
    }
}

/// Not reached from everywhere (RFC 1918, RFC 6598, RFC 4193): behind another NAT its name may be another's.
pub fn is_private(host: IpAddr) -> bool {
    match host.to_canonical() {
        IpAddr::V4(host) => {
            let [first, second, ..] = host.octets();
            host.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(host) => host.is_unique_local(),
    }
}

impl Origin {
    /// The host that the leg's signalling comes from, where that counts.
    pub const fn speaker(&self) -> Option<IpAddr> {
        match self {
            Self::Signalled => None,
            Self::Speaker(speaker) | Self::First { speaker } => Some(*speaker),
        }
    }

    pub const fn is_signalled(&self) -> bool {
        matches!(self, Self::Signalled)
    }
}

/// Ends the encoding names of a line whose media is encrypted, so that nobody takes ciphertext for sound.
pub const ENCRYPTED: &str = " (SRTP)";

/// The transport addresses that a leg's SDP names (c=, m=, a=rtcp: RFC 4566 §5.7, RFC 3605).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Remote {
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
}

/// What the relay did for one session, at its end.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Packets (RTP, RTCP and other) that the recorder accepted.
    pub accepted: u64,
    /// Packets handed to the network for the far leg.
    pub forwarded: u64,
    /// Accepted, but the network did not take them.
    pub unsent: u64,
    /// Forwarded without the recorder (lenient sessions only).
    pub unrecorded: u64,
    /// Forwarded while the recording was paused: nothing of them is kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub withheld: u64,
    /// Arrived while the gate was shut.
    pub gated: u64,
    /// Rejected: not from the signalled source.
    pub foreign: u64,
    /// From the right source while the far leg's address was not known yet; or was the null address, then accepted too.
    pub early: u64,
    /// From the right source, but not encrypted with the key that was agreed, or there before: not relayed, not recorded.
    #[serde(default)]
    pub undecryptable: u64,
    /// Of ZRTP or DTLS, on a line that is recorded in clear: not relayed, so that the ends stay with what is heard.
    #[serde(default)]
    pub handshakes: u64,
    /// More than a party sends, so not relayed: a flood, or our own come back from calls whose descriptions name each other's ports.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub excess: u64,
    /// Accepted, but not heard by the far leg, which was told meanwhile that it is recorded.
    #[serde(default)]
    pub hushed: u64,
    /// Packets of our own, by which a leg was told that it is recorded.
    #[serde(default)]
    pub told: u64,
    pub streams: Vec<StreamTally>,
    /// What ailed its sound, in the order of beginning: the first 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ailments: Vec<Ailing>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One RTP stream as one leg sent it. At most 64 per session are told apart; the rest counts as its line's last.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StreamTally {
    pub leg: Leg,
    pub line: u16,
    pub ssrc: Ssrc,
    /// The most frequent payload type.
    pub payload_type: u8,
    pub packets: u64,
    /// Expected less received by extended sequence numbers (RFC 3550 §A.3), never below zero.
    pub lost: u64,
    /// None where nobody measured it: a recording that broke off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Box<Quality>>,
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
