//! The unit of the journal: up to ~100 ms of one call's frames behind a header with CRC, sequence and chain.
//!
//! The layout is told in docs/JOURNAL.md, §2 and §3; all integers are little-endian.

use bytes::BytesMut;
use sha2::{Digest, Sha256};

use crate::model::{Leg, SessionId, Timestamp};

use super::frame::{Packet, PacketKind};

pub(super) const EXTENT_MAGIC: [u8; 4] = *b"ORX1";
pub(super) const EXTENT_HEADER_BYTES: usize = 96;
/// No extent is longer: a reader refuses to believe a greater length.
pub(super) const EXTENT_BYTES_MAX: usize = 1 << 20;
pub(super) const FRAME_HEADER_BYTES: usize = 16;
/// A UDP payload is never longer (RFC 768: a 16-bit length that counts its own 8 bytes; 65,507 over IPv4).
pub(super) const PACKET_BYTES_MAX: usize = 65_535;

/// SHA-256 of an extent's bytes: a link of its call's chain. All zeros before the first.
pub(super) type Link = [u8; 32];

pub(super) const CHAIN_START: Link = [0; 32];

pub(super) fn sha256(bytes: &[u8]) -> Link {
    Sha256::digest(bytes).into()
}

/// What a frame is, as stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tag {
    Packet(PacketKind),
    Signal,
    Mark,
    /// The header of the recording, as JSON; the first frame of ordinal 0 and nowhere else.
    Opening,
    /// The closing facts, as JSON.
    Closing,
}

impl Tag {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Packet(PacketKind::Rtp) => 0,
            Self::Packet(PacketKind::Rtcp) => 1,
            Self::Packet(PacketKind::Other) => 2,
            Self::Packet(PacketKind::Withheld) => 3,
            Self::Signal => 16,
            Self::Mark => 17,
            Self::Opening => 18,
            Self::Closing => 19,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Packet(PacketKind::Rtp),
            1 => Self::Packet(PacketKind::Rtcp),
            2 => Self::Packet(PacketKind::Other),
            3 => Self::Packet(PacketKind::Withheld),
            16 => Self::Signal,
            17 => Self::Mark,
            18 => Self::Opening,
            19 => Self::Closing,
            _ => return None,
        })
    }
}

/// Why bytes are no extent, or an extent no frames. Offsets count from the extent's first byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExtentError {
    #[error("cut off")]
    Truncated,
    #[error("no extent starts here")]
    Magic,
    #[error("impossible length {0}")]
    Length(u32),
    #[error("CRC32C does not match")]
    Checksum,
    #[error("unknown version {0}")]
    Version(u16),
    #[error("malformed frame at +{0}")]
    Frame(u32),
}

/// An extent's header, decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ExtentHeader {
    /// Of header and frames.
    pub(super) bytes: u32,
    pub(super) session: SessionId,
    /// Grows by one with each extent of the journal.
    pub(super) lsn: u64,
    /// Grows by one with each extent of the call, from 0.
    pub(super) ordinal: u32,
    pub(super) frames: u32,
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    pub(super) previous: Link,
}

const VERSION: u16 = 1;

impl ExtentHeader {
    /// Fills the header of `extent`, whose frames are in place, and the CRC last.
    pub(super) fn stamp(&self, extent: &mut [u8]) {
        debug_assert_eq!(extent.len(), self.bytes as usize);
        let mut head = [0_u8; EXTENT_HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &EXTENT_MAGIC);
        put(8, &self.bytes.to_le_bytes());
        put(12, &VERSION.to_le_bytes());
        put(16, &self.session.as_u128().to_le_bytes());
        put(32, &self.lsn.to_le_bytes());
        put(40, &self.ordinal.to_le_bytes());
        put(44, &self.frames.to_le_bytes());
        put(48, &self.first_at.as_nanos().to_le_bytes());
        put(56, &self.last_at.as_nanos().to_le_bytes());
        put(64, &self.previous);
        extent[..EXTENT_HEADER_BYTES].copy_from_slice(&head);
        let crc = crc32c::crc32c(&extent[8..]);
        extent[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// An extent in a buffer, its CRC checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtentView<'a> {
    pub(super) header: ExtentHeader,
    /// All of it, header included.
    pub(super) bytes: &'a [u8],
}

/// The length that an extent claims, if one can start here: what a reader must have before it can check the rest.
pub(super) fn claimed_bytes(buffer: &[u8]) -> Result<usize, ExtentError> {
    match buffer.first_chunk::<4>() {
        None => return Err(ExtentError::Truncated),
        Some(magic) if *magic != EXTENT_MAGIC => return Err(ExtentError::Magic),
        Some(_) => {}
    }
    let length = u32_at(buffer, 8).ok_or(ExtentError::Truncated)?;
    let bytes = length as usize;
    if !(EXTENT_HEADER_BYTES..=EXTENT_BYTES_MAX).contains(&bytes) {
        return Err(ExtentError::Length(length));
    }
    Ok(bytes)
}

impl<'a> ExtentView<'a> {
    /// The extent at the start of `buffer`, which may go on behind it.
    pub(super) fn parse(buffer: &'a [u8]) -> Result<Self, ExtentError> {
        let bytes = buffer.get(..claimed_bytes(buffer)?).ok_or(ExtentError::Truncated)?;
        let crc = u32_at(bytes, 4).ok_or(ExtentError::Truncated)?;
        if crc32c::crc32c(&bytes[8..]) != crc {
            return Err(ExtentError::Checksum);
        }
        let version = u16_at(bytes, 12).ok_or(ExtentError::Truncated)?;
        if version != VERSION {
            return Err(ExtentError::Version(version));
        }
        let header = Self::header(bytes).ok_or(ExtentError::Truncated)?;
        Ok(Self { header, bytes })
    }

    fn header(bytes: &[u8]) -> Option<ExtentHeader> {
        Some(ExtentHeader {
            bytes: u32_at(bytes, 8)?,
            session: SessionId::from_u128(u128::from_le_bytes(*bytes.get(16..)?.first_chunk()?)),
            lsn: u64_at(bytes, 32)?,
            ordinal: u32_at(bytes, 40)?,
            frames: u32_at(bytes, 44)?,
            first_at: Timestamp::from_nanos(u64_at(bytes, 48)?),
            last_at: Timestamp::from_nanos(u64_at(bytes, 56)?),
            previous: *bytes.get(64..)?.first_chunk()?,
        })
    }

    pub(super) fn frames(&self) -> RawFrames<'a> {
        RawFrames {
            bytes: self.bytes,
            at: EXTENT_HEADER_BYTES,
            left: self.header.frames,
        }
    }
}

/// A frame as stored: header fields and payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawFrame<'a> {
    pub(super) at: Timestamp,
    pub(super) tag: Tag,
    pub(super) leg: Leg,
    pub(super) line: u16,
    pub(super) payload: &'a [u8],
    /// Where the frame starts, from the extent's first byte.
    pub(super) offset: u32,
}

/// The frames of an extent; ends after the first malformed one. Frame count and length must agree.
#[derive(Clone, Debug)]
pub(super) struct RawFrames<'a> {
    bytes: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> RawFrames<'a> {
    /// Goes on in `bytes` where `position` was.
    pub(super) fn resume(bytes: &'a [u8], at: usize, left: u32) -> Self {
        Self { bytes, at, left }
    }

    pub(super) fn position(&self) -> (usize, u32) {
        (self.at, self.left)
    }

    fn read(&mut self) -> Option<RawFrame<'a>> {
        let head = self.bytes.get(self.at..)?.first_chunk::<FRAME_HEADER_BYTES>()?;
        let length = u32_at(head, 8)? as usize;
        let payload_at = self.at + FRAME_HEADER_BYTES;
        let payload = self.bytes.get(payload_at..payload_at.checked_add(length)?)?;
        let frame = RawFrame {
            at: Timestamp::from_nanos(u64_at(head, 0)?),
            tag: Tag::from_byte(head[12])?,
            leg: match head[13] {
                0 => Leg::A,
                1 => Leg::B,
                _ => return None,
            },
            line: u16_at(head, 14)?,
            payload,
            offset: u32::try_from(self.at).ok()?,
        };
        self.at = payload_at + length;
        Some(frame)
    }
}

impl<'a> Iterator for RawFrames<'a> {
    type Item = Result<RawFrame<'a>, ExtentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 && self.at == self.bytes.len() {
            return None;
        }
        let offset = u32::try_from(self.at).unwrap_or(u32::MAX);
        let frame = if self.left == 0 { None } else { self.read() };
        match frame {
            Some(frame) => {
                self.left -= 1;
                Some(Ok(frame))
            }
            None => {
                self.left = 0;
                self.at = self.bytes.len();
                Some(Err(ExtentError::Frame(offset)))
            }
        }
    }
}

fn frame_header(at: Timestamp, tag: Tag, leg: Leg, line: u16, bytes: usize) -> [u8; FRAME_HEADER_BYTES] {
    let mut head = [0; FRAME_HEADER_BYTES];
    head[0..8].copy_from_slice(&at.as_nanos().to_le_bytes());
    head[8..12].copy_from_slice(&(bytes as u32).to_le_bytes());
    head[12] = tag.to_byte();
    head[13] = leg.index() as u8;
    head[14..16].copy_from_slice(&line.to_le_bytes());
    head
}

/// A buffer of one call's frames on its way from the media thread to the journal and, empty, back.
#[derive(Debug)]
pub struct Extent {
    pub(super) session: SessionId,
    pub(super) intake: u16,
    /// Room for the header, then frames.
    pub(super) bytes: Vec<u8>,
    pub(super) frames: u32,
    pub(super) packets: u32,
    /// When the first frame was taken.
    pub(super) opened: Timestamp,
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    /// Offers of this call that were refused before this extent was opened.
    pub(super) refused: Option<Refusals>,
    /// The intake's receipt for it.
    pub(super) ticket: u64,
}

/// Packets of a call that the intake did not take, between two extents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refusals {
    pub(super) fault: crate::model::Fault,
    pub(super) since: Timestamp,
    pub(super) packets: u64,
}

impl Extent {
    /// An empty extent for frames of `capacity` bytes in all, their headers counted.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(EXTENT_HEADER_BYTES + capacity);
        bytes.resize(EXTENT_HEADER_BYTES, 0);
        Self {
            session: SessionId::from_u128(0),
            intake: 0,
            bytes,
            frames: 0,
            packets: 0,
            opened: Timestamp::ZERO,
            first_at: Timestamp::ZERO,
            last_at: Timestamp::ZERO,
            refused: None,
            ticket: 0,
        }
    }

    /// The call whose frames these are.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// How many packets are in it.
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// The number of the intake that it belongs to, where it is to be recycled.
    pub fn intake(&self) -> u16 {
        self.intake
    }

    pub(super) fn reset(&mut self, intake: u16, session: SessionId, now: Timestamp) {
        self.intake = intake;
        self.session = session;
        self.bytes.truncate(EXTENT_HEADER_BYTES);
        self.frames = 0;
        self.packets = 0;
        self.opened = now;
        self.first_at = now;
        self.last_at = now;
        self.refused = None;
    }

    pub(super) fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Copies the packet in; the caller has checked that there is room.
    pub(super) fn push_packet(&mut self, packet: &Packet<'_>) {
        let tag = Tag::Packet(packet.kind);
        self.push(packet.at, tag, packet.leg, packet.line, &[packet.bytes]);
        self.packets += 1;
    }

    pub(super) fn push(&mut self, at: Timestamp, tag: Tag, leg: Leg, line: u16, payload: &[&[u8]]) {
        let length = payload.iter().map(|part| part.len()).sum();
        self.bytes.extend_from_slice(&frame_header(at, tag, leg, line, length));
        for part in payload {
            self.bytes.extend_from_slice(part);
        }
        if self.frames == 0 {
            self.first_at = at;
            self.last_at = at;
        }
        self.first_at = self.first_at.min(at);
        self.last_at = self.last_at.max(at);
        self.frames += 1;
    }

    /// Appends the finished extent to `batch` and gives its link.
    pub(super) fn seal_into(&self, batch: &mut BytesMut, lsn: u64, ordinal: u32, previous: Link) -> Link {
        let start = batch.len();
        batch.extend_from_slice(&self.bytes);
        let header = ExtentHeader {
            bytes: self.bytes.len() as u32,
            session: self.session,
            lsn,
            ordinal,
            frames: self.frames,
            first_at: self.first_at,
            last_at: self.last_at,
            previous,
        };
        let extent = &mut batch[start..];
        header.stamp(extent);
        sha256(extent)
    }
}

#[cfg(test)]
mod tests;
