//! What could not be used of a capture, where it is, and why.

use std::net::SocketAddr;
use std::time::Duration;

use super::encapsulation::Encapsulation;
use crate::model::Timestamp;
use crate::sdp::SdpError;
use crate::sip::Wrong;

/// One thing in a capture that was passed over. Everything readable around it is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flaw {
    /// Number of the packet in the file, from 1, as Wireshark counts.
    pub packet: u64,
    /// Where its record starts in the file, in bytes.
    pub offset: u64,
    /// Capture time of the packet; of the one before it when its own could not be read.
    pub at: Timestamp,
    pub kind: FlawKind,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "packet {} at byte {}: {}", self.packet, self.offset, self.kind)
    }
}

/// Why a packet was passed over. `is_fatal` ones end the reading: what follows has no known start.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FlawKind {
    /// The file was cut, or the record's length is wrong.
    #[error("the file ends inside this record")]
    Truncated,
    /// The record claims more than any packet has.
    #[error("record longer than {max} bytes: the file is corrupt from here on")]
    TooLong { max: u32 },
    /// The block's framing contradicts itself.
    #[error("corrupt block: the file is unreadable from here on")]
    Corrupt,
    /// The file system failed.
    #[error("reading the file failed: {0}")]
    Read(std::io::ErrorKind),
    /// A packet block that its own fields do not fit in.
    #[error("malformed packet block")]
    MalformedBlock,
    /// A packet of an interface that no earlier block describes.
    #[error("interface {interface} was never described")]
    UnknownInterface { interface: u32 },
    /// The same, of one that was passed over.
    #[error("interface {interface}: of one section, only the first {max} are read")]
    TooManyInterfaces { interface: u32, max: u32 },
    /// Named once, by the first of them.
    #[error("{what} is not supported: {packets} packets not read")]
    Unsupported { what: Encapsulation, packets: u64 },
    /// Named once, by the first of them. They are used where they are in the file.
    #[error("out of order by up to {behind:?}, more than {max:?}, {packets} times: `reordercap` puts packets in order")]
    OutOfOrder {
        packets: u64,
        behind: Duration,
        max: Duration,
    },
    /// Only the first `captured` bytes of the packet were kept (snap length).
    #[error("only {captured} of {wire} bytes were captured")]
    Cut { captured: u32, wire: u32 },
    #[error("malformed link-layer header")]
    MalformedLink,
    #[error("malformed IP header")]
    MalformedIp,
    #[error("malformed UDP or TCP header")]
    MalformedTransport,
    #[error("malformed HEP header")]
    MalformedHep,
    #[error("IP fragments overlap: datagram dropped")]
    OverlappingFragments,
    #[error("IP datagram of more than {max} fragments dropped")]
    TooManyFragments { max: usize },
    /// Named by the packet that brought its first fragment.
    #[error("IP datagram never completed")]
    LostFragments,
    #[error("tunnels nested deeper than {max}")]
    NestedTooDeep { max: u8 },
    /// The packets in between are not in the capture, or came too late.
    #[error("{bytes} bytes missing in the TCP stream {src} → {dst}")]
    TcpGap {
        src: SocketAddr,
        dst: SocketAddr,
        bytes: u32,
    },
    #[error("{bytes} bytes without a SIP start line in the TCP stream {src} → {dst}")]
    TcpResync {
        src: SocketAddr,
        dst: SocketAddr,
        bytes: u32,
    },
    /// Looks like SIP by its start line, but cannot be read as such.
    #[error("SIP message: {what}, at its byte {offset}")]
    MalformedSip { what: Wrong, offset: usize },
    #[error("{what}")]
    MalformedSdp { what: SdpError },
    /// Named once: the identifiers that a replay mints are in it already, so that its calls cannot be told from ours.
    #[error("recorded by `replay`: exported from there, a call cannot be replayed again; replay the first capture")]
    Replayed,
    /// Named once, by the first description that says so.
    #[error("encrypted on the way and clear in this recording: its media is played as RTP in clear")]
    Deciphered,
    /// Named once, by the first of them.
    #[error("the keys of its media are not in the recording: what came by them is not heard")]
    Keyless,
    /// Named once, by the packet at the end of the first.
    #[error(
        "silence with calls up beyond what is replayed: of this one and later ones, only the beginning and the end are"
    )]
    TooSilent,
    #[error("more than {max} calls: this one is not replayed")]
    TooManyCalls { max: usize },
}

impl FlawKind {
    /// Whether nothing after this could be read.
    pub const fn is_fatal(self) -> bool {
        matches!(
            self,
            Self::Truncated | Self::TooLong { .. } | Self::Corrupt | Self::Read(_)
        )
    }
}

/// Why a file is no capture at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotACapture {
    /// gzip, zstd, xz or lz4, by its magic number.
    #[error("the capture is compressed with {by}: unpack it first")]
    Compressed { by: &'static str },
    #[error("neither pcap nor pcapng: the file starts with {magic:02x?}")]
    Magic { magic: [u8; 4] },
    #[error("the file ends inside its header")]
    Truncated,
    #[error("the file's header is corrupt")]
    Header,
    #[error("reading failed: {0}")]
    Read(std::io::ErrorKind),
}
