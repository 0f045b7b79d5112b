//! SRTP and SRTCP (RFC 3711, RFC 7714): one direction of one leg. The only user of the cipher crate.
//!
//! Architecture Invariant: a packet whose tag does not fit changes nothing heard, and costs one look at its tag, or a few where
//! a rollover counter is sought, two where it may have gone round before its stream was heard. A stream that a key has once encrypted is never begun anew under it: the same keystream would
//! be used twice.

mod cipher;
mod streams;

use cipher::Cipher;
pub use streams::STREAMS_MAX;
use streams::{Index, Streams};

use super::packet::{FIXED_HEADER_BYTES, RTCP_BYTES_MIN};
use crate::model::{Mki, SrtpKey, Ssrc};

/// The most by which a packet grows: the tag, and the index of SRTCP.
pub const SRTP_GROWTH_MAX: usize = cipher::TAG_BYTES_MAX + INDEX_BYTES;

/// Rollover counters that a stream may have when it is first heard: 2^24 packets, four days of speech.
const ROLLOVERS_SOUGHT: u32 = 256;
/// E flag and SRTCP index (RFC 3711 §3.4).
const INDEX_BYTES: usize = 4;
/// Where an RTP packet's sequence number stands (RFC 3550 §5.1).
const SEQUENCE_BYTES: std::ops::Range<usize> = 2..4;
/// Of RTCP that is never encrypted: the first packet's header and its sender.
const RTCP_CLEAR_BYTES: usize = 8;
/// The E flag: the packet is encrypted.
const ENCRYPTED_FLAG: u32 = 1 << 31;

/// Why a packet is not taken, or cannot be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SrtpError {
    /// Its sender's fault, or an attacker's: too short, or no RTP at all.
    #[error("it is no SRTP packet")]
    Malformed,
    /// The tag does not fit: forged, or encrypted with another key.
    #[error("its authentication tag does not fit")]
    Forged,
    /// It was there before, or is too old to tell (RFC 3711 §3.3.2).
    #[error("it was there before")]
    Replayed,
    /// [`STREAMS_MAX`] streams have used this key, or one of them all of its packets (RFC 3711 §9.2).
    #[error("the key has no more streams or packets")]
    Exhausted,
}

/// What turns clear packets into encrypted ones.
#[derive(Debug)]
pub struct Sealer {
    rtp: Cipher,
    rtcp: Cipher,
    streams: Streams,
}

/// What turns encrypted packets into clear ones.
#[derive(Debug)]
pub struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    mki: Option<Mki>,
    streams: Streams,
    /// The last rollover counter that was tried for a stream that was not heard before, beside 0. None: none is sought.
    sought: Option<u32>,
    /// By which the next packet is tried.
    guess: u32,
    /// The packet that did not fit is the first of its stream to come, and numbers may have gone round before it (RFC 3711 §3.3.1).
    may_have_wrapped: bool,
}

impl Sealer {
    /// None if the cipher refuses the key, which has no weak ones.
    pub fn new(key: &SrtpKey) -> Option<Self> {
        Some(Self {
            rtp: Cipher::rtp(key)?,
            rtcp: Cipher::rtcp(key)?,
            streams: Streams::default(),
        })
    }

    /// Encrypts the first `length` bytes of `buffer` in place, an RTP packet, and gives the length that it has then. `buffer`
    /// has room for [`SRTP_GROWTH_MAX`] more.
    pub fn seal_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get(..length).ok_or(SrtpError::Malformed)?;
        let header = header_bytes(packet).ok_or(SrtpError::Malformed)?;
        let (ssrc, sequence) = rtp_names(packet).ok_or(SrtpError::Malformed)?;
        let index = self.streams.next_rtp(ssrc, sequence)?;
        let tag = buffer.get(length..).map_or(0, <[u8]>::len).min(self.rtp.tag_bytes());
        let (packet, room) = buffer.split_at_mut_checked(length).ok_or(SrtpError::Malformed)?;
        let room = room.get_mut(..tag).filter(|room| room.len() == self.rtp.tag_bytes());
        let room = room.ok_or(SrtpError::Malformed)?;
        packet[SEQUENCE_BYTES].copy_from_slice(&index.sequence().to_be_bytes());
        self.rtp.seal_rtp(packet, header, ssrc, index, room)?;
        self.streams.settle_rtp(ssrc, index);
        Ok(length + tag)
    }

    /// The same for a (compound) RTCP packet.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let tag_bytes = self.rtcp.tag_bytes();
        let packet = buffer.get(..length).ok_or(SrtpError::Malformed)?;
        let ssrc = rtcp_sender(packet).ok_or(SrtpError::Malformed)?;
        let end = length + tag_bytes + INDEX_BYTES;
        let whole = buffer.get_mut(..end).ok_or(SrtpError::Malformed)?;
        let index = self.streams.next_rtcp(ssrc)?;
        let word = (ENCRYPTED_FLAG | index).to_be_bytes();
        self.rtcp.seal_rtcp(whole, length, ssrc, index, word)?;
        Ok(end)
    }
}

impl Opener {
    /// None if the cipher refuses the key, which has no weak ones.
    pub fn new(key: &SrtpKey) -> Option<Self> {
        Some(Self {
            rtp: Cipher::rtp(key)?,
            rtcp: Cipher::rtcp(key)?,
            mki: key.mki().copied(),
            streams: Streams::default(),
            sought: None,
            guess: 0,
            may_have_wrapped: false,
        })
    }

    /// Its key was in use before, and nobody tells the rollover counter (RFC 4568 §6.4): until a packet's tag fits, that is
    /// sought. What has been heard already stays.
    pub fn seek(&mut self) {
        if self.streams.is_empty() {
            self.sought = Some(0);
        }
    }

    /// The packet that did not fit is tried again by the next rollover counter; each other one by 0 first. False: none is sought.
    pub fn seek_further(&mut self) -> bool {
        if std::mem::take(&mut self.may_have_wrapped) {
            self.guess = 1;
            return true;
        }
        let Some(sought) = &mut self.sought else {
            return false;
        };
        *sought = *sought % (ROLLOVERS_SOUGHT - 1) + 1;
        self.guess = *sought;
        true
    }

    /// Verifies an SRTP packet and decrypts it in place: the length of the RTP packet that its first bytes are then. After an
    /// error nothing has changed but perhaps `packet`.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let guess = std::mem::take(&mut self.guess);
        let (ssrc, sequence) = rtp_names(packet).ok_or(SrtpError::Malformed)?;
        let header = header_bytes(packet).ok_or(SrtpError::Malformed)?;
        let tag_bytes = self.rtp.tag_bytes();
        // Of AES-CM the MKI stands before the tag (RFC 3711 §3.1), of AEAD behind (RFC 7714 §8.2).
        let mki = self.mki.as_ref().map_or(0, |mki| mki.as_bytes().len());
        let payload_end = packet.len().checked_sub(tag_bytes + mki).ok_or(SrtpError::Malformed)?;
        if payload_end < header {
            return Err(SrtpError::Malformed);
        }
        let (head, tail) = packet.split_at_mut(payload_end);
        let (tag, named) = self.parts(tail, self.rtp.is_aead());
        if !self.is_named(named) {
            return Err(SrtpError::Forged);
        }
        let first = Index::new(guess, sequence);
        let index = self.streams.expect_rtp(ssrc, first)?;
        let opened = self.rtp.open_rtp(head, header, ssrc, index, tag);
        self.may_have_wrapped = opened.is_err()
            && self.sought.is_none()
            && index == Index::new(0, sequence)
            && sequence < streams::HALF
            && !self.streams.is_heard(ssrc);
        opened?;
        self.streams.settle_rtp(ssrc, index);
        self.sought = None;
        Ok(payload_end)
    }

    /// The same for SRTCP. One that is not encrypted is refused: that was not agreed.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_sender(packet).ok_or(SrtpError::Malformed)?;
        let mki = self.mki.as_ref().map_or(0, |mki| mki.as_bytes().len());
        let trailer = self.rtcp.tag_bytes() + INDEX_BYTES + mki;
        let end = packet.len().checked_sub(trailer).ok_or(SrtpError::Malformed)?;
        if end < RTCP_CLEAR_BYTES {
            return Err(SrtpError::Malformed);
        }
        let (head, tail) = packet.split_at_mut(end);
        // AES-CM: index, MKI, tag (RFC 3711 §3.4). AEAD: tag, index, MKI (RFC 7714 §9.2).
        let (word, tag, named) = if self.rtcp.is_aead() {
            let (tag, rest) = tail.split_at(self.rtcp.tag_bytes());
            let (word, named) = rest.split_at(INDEX_BYTES);
            (word, tag, named)
        } else {
            let (word, rest) = tail.split_at(INDEX_BYTES);
            let (named, tag) = rest.split_at(mki);
            (word, tag, named)
        };
        let word: [u8; INDEX_BYTES] = word.try_into().map_err(|_| SrtpError::Malformed)?;
        let index = u32::from_be_bytes(word);
        if index & ENCRYPTED_FLAG == 0 || !self.is_named(named) {
            return Err(SrtpError::Forged);
        }
        let index = index & !ENCRYPTED_FLAG;
        self.streams.expect_rtcp(ssrc, index)?;
        self.rtcp.open_rtcp(head, ssrc, index, word, tag)?;
        self.streams.settle_rtcp(ssrc, index);
        Ok(end)
    }

    /// Tag and MKI of what follows the payload.
    fn parts<'a>(&self, tail: &'a [u8], is_aead: bool) -> (&'a [u8], &'a [u8]) {
        if is_aead {
            tail.split_at(self.rtp.tag_bytes())
        } else {
            let (named, tag) = tail.split_at(tail.len() - self.rtp.tag_bytes());
            (tag, named)
        }
    }

    fn is_named(&self, named: &[u8]) -> bool {
        self.mki.as_ref().is_none_or(|mki| mki.as_bytes() == named)
    }
}

/// Fixed header, CSRCs and extension: what is authenticated and not encrypted.
fn header_bytes(packet: &[u8]) -> Option<usize> {
    let first = packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let fixed = FIXED_HEADER_BYTES + usize::from(first & 0x0f) * 4;
    let end = if first & 0x10 == 0 {
        fixed
    } else {
        let words = packet.get(fixed + 2..fixed + 4)?;
        let words = u16::from_be_bytes(words.try_into().ok()?);
        fixed + 4 + usize::from(words) * 4
    };
    (end <= packet.len()).then_some(end)
}

fn rtp_names(packet: &[u8]) -> Option<(Ssrc, u16)> {
    let header = packet.first_chunk::<FIXED_HEADER_BYTES>()?;
    let [_, _, s0, s1, _, _, _, _, r0, r1, r2, r3] = *header;
    Some((Ssrc(u32::from_be_bytes([r0, r1, r2, r3])), u16::from_be_bytes([s0, s1])))
}

fn rtcp_sender(packet: &[u8]) -> Option<Ssrc> {
    let [first, _, _, _, r0, r1, r2, r3] = *packet.first_chunk::<RTCP_BYTES_MIN>()?;
    (first >> 6 == 2).then_some(Ssrc(u32::from_be_bytes([r0, r1, r2, r3])))
}

#[cfg(test)]
mod tests;
