//! The RTP header (RFC 3550 §5.1), read in place. The only user of the `rtp` crate.

use bytes::Bytes;
use webrtc_util::marshal::{Marshal, Unmarshal};

use crate::model::Ssrc;

pub(super) const FIXED_HEADER_BYTES: usize = 12;
pub(super) const RTCP_BYTES_MIN: usize = 8;
const ONE_BYTE_PROFILE: u16 = 0xBEDE;
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// What a datagram on a media port is, by its first bytes alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WireKind {
    Rtp,
    Rtcp,
    /// STUN, DTLS, ZRTP, UDPTL, noise.
    Other,
}

/// Tells RTP, RTCP and the rest apart (RFC 7983 §7, RFC 5761 §4).
pub fn classify(bytes: &[u8]) -> WireKind {
    match bytes {
        [128..=191, 192..=223, ..] if bytes.len() >= RTCP_BYTES_MIN => WireKind::Rtcp,
        [128..=191, 0..=191 | 224..=255, ..] if bytes.len() >= FIXED_HEADER_BYTES => WireKind::Rtp,
        _ => WireKind::Other,
    }
}

/// Whether a datagram is of the ends' own agreement on keys: a DTLS record (RFC 7983 §7), or ZRTP by its magic cookie
/// (RFC 6189 §5).
pub fn is_handshake(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=63, ..] | [16..=19, _, _, _, b'Z', b'R', b'T', b'P', ..])
}

/// ZRTP messages that agree on no keys (RFC 6189 §5.2 to §5.17): greetings, and what ends an agreement.
const GREETINGS: [&[u8]; 8] = [
    b"Hello   ",
    b"HelloACK",
    b"Error   ",
    b"ErrorACK",
    b"GoClear ",
    b"ClearACK",
    b"Ping    ",
    b"PingACK ",
];
/// DTLS handshake messages before the server has answered (RFC 6347 §4.3.2): HelloRequest, ClientHello, HelloVerifyRequest.
const UNANSWERED: [u8; 3] = [0, 1, 3];

/// Whether such a datagram is of an agreement that both ends take part in: phones greet with ZRTP whoever is there, and most
/// greetings get no answer.
pub fn agrees_on_keys(bytes: &[u8]) -> bool {
    let is_handshake_record = bytes.first() == Some(&22);
    let is_greeting = match bytes {
        // Cut short.
        [22, ..] if bytes.len() < 14 => true,
        [16..=19, ..] => bytes.get(16..24).is_none_or(|kind| GREETINGS.contains(&kind)),
        // The first message of a record of epoch 0.
        [_, _, _, 0, 0, ..] if is_handshake_record => bytes.get(13).is_none_or(|kind| UNANSWERED.contains(kind)),
        // Alerts.
        [21, ..] => true,
        _ => false,
    };
    is_handshake(bytes) && !is_greeting
}

/// Why bytes are no RTP packet: the sender's fault, or it is something else.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RtpError {
    #[error("RTP packet of {bytes} bytes is cut short")]
    Truncated { bytes: usize },
    #[error("RTP version {0} instead of 2")]
    Version(u8),
    #[error("RTP header extension does not fit its length")]
    Extension,
    /// Nothing to send: more CSRCs or a larger extension than the header can tell of.
    #[error("RTP header cannot be written")]
    Unwritable,
}

/// An RTP packet's header, and views of the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RtpHeader<'a> {
    pub ssrc: Ssrc,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    /// Contributing sources, 4 bytes each.
    csrc: &'a [u8],
    /// The profile word and the words that follow it.
    extension: Option<(u16, &'a [u8])>,
    /// Without padding. An encrypted packet's padding cannot be told: there it is all that follows the header.
    pub payload: &'a [u8],
}

impl<'a> RtpHeader<'a> {
    /// Reads and bounds-checks everything but the elements of the header extension.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let truncated = RtpError::Truncated { bytes: bytes.len() };
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_HEADER_BYTES>().ok_or(truncated)?;
        let [b0, b1, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = *fixed;
        if b0 >> 6 != 2 {
            return Err(RtpError::Version(b0 >> 6));
        }
        let (csrc, rest) = rest.split_at_checked(usize::from(b0 & 0x0f) * 4).ok_or(truncated)?;
        let (extension, rest) = if b0 & 0x10 == 0 {
            (None, rest)
        } else {
            let ([p0, p1, l0, l1], rest) = rest.split_first_chunk::<4>().ok_or(truncated)?;
            let words = usize::from(u16::from_be_bytes([*l0, *l1]));
            let (elements, rest) = rest.split_at_checked(words * 4).ok_or(truncated)?;
            (Some((u16::from_be_bytes([*p0, *p1]), elements)), rest)
        };
        let is_padded = b0 & 0x20 != 0;
        Ok(Self {
            ssrc: Ssrc(u32::from_be_bytes([r0, r1, r2, r3])),
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            marker: b1 & 0x80 != 0,
            csrc,
            extension,
            payload: if is_padded { without_padding(rest) } else { rest },
        })
    }

    /// Contributing sources of a mixer.
    pub fn csrc(&self) -> impl Iterator<Item = Ssrc> + 'a {
        self.csrc
            .chunks_exact(4)
            .filter_map(|word| Some(Ssrc(u32::from_be_bytes(word.try_into().ok()?))))
    }

    /// The elements of the header extension, (id, value) each (RFC 8285 §4.2, §4.3); an extension of another profile is
    /// one element of id 0. Stops at the first that does not fit.
    pub fn extensions(&self) -> Extensions<'a> {
        let (profile, elements) = self.extension.unwrap_or((ONE_BYTE_PROFILE, &[]));
        Extensions {
            profile,
            rest: elements,
            is_broken: false,
        }
    }
}

/// RFC 3550 §5.1: the last byte counts the padding, itself included.
fn without_padding(rest: &[u8]) -> &[u8] {
    let padding = rest.last().map_or(0, |count| usize::from(*count));
    let payload = rest.len().checked_sub(padding).filter(|_| padding > 0);
    payload.and_then(|length| rest.get(..length)).unwrap_or(rest)
}

/// Walks the elements of a header extension.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    profile: u16,
    rest: &'a [u8],
    is_broken: bool,
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let is_element_walk = self.profile == ONE_BYTE_PROFILE || self.profile & 0xfff0 == TWO_BYTE_PROFILE;
        if !is_element_walk {
            let whole = std::mem::take(&mut self.rest);
            return (!whole.is_empty()).then_some((0, whole));
        }
        while let Some((0, rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        let (id, length, rest) = match (self.profile, self.rest) {
            (_, []) => return None,
            (ONE_BYTE_PROFILE, [first, rest @ ..]) => (first >> 4, usize::from(first & 0x0f) + 1, rest),
            (_, [id, length, rest @ ..]) => (*id, usize::from(*length), rest),
            (_, [_]) => (0, usize::MAX, &[][..]),
        };
        let is_end = self.profile == ONE_BYTE_PROFILE && id == 15; // RFC 8285 §4.2
        self.rest = &[];
        if is_end {
            return None;
        }
        let Some((value, rest)) = rest.split_at_checked(length) else {
            self.is_broken = true;
            return None;
        };
        self.rest = rest;
        Some((id, value))
    }
}

/// A packet with an owned header, for those who send: phones of the simulator, tones, tests. Not for the relay's path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RtpPacket(::rtp::packet::Packet);

impl RtpPacket {
    /// A plain packet: no CSRC, extension or padding.
    pub fn new(ssrc: Ssrc, payload_type: u8, sequence: u16, timestamp: u32, marker: bool, payload: Bytes) -> Self {
        Self(::rtp::packet::Packet {
            header: ::rtp::header::Header {
                version: 2,
                marker,
                payload_type: payload_type & 0x7f,
                sequence_number: sequence,
                timestamp,
                ssrc: ssrc.0,
                ..Default::default()
            },
            payload,
        })
    }

    /// Reads a whole packet. The `rtp` crate panics on extensions whose elements overrun, so our own walk goes first.
    pub fn parse(bytes: &Bytes) -> Result<Self, RtpError> {
        let header = RtpHeader::parse(bytes)?;
        let mut elements = header.extensions();
        let known = header
            .extension
            .is_none_or(|(profile, _)| matches!(profile, ONE_BYTE_PROFILE | TWO_BYTE_PROFILE));
        elements.by_ref().for_each(drop);
        if elements.is_broken || !known {
            return Err(RtpError::Extension);
        }
        let truncated = RtpError::Truncated { bytes: bytes.len() };
        ::rtp::packet::Packet::unmarshal(&mut bytes.clone())
            .map(Self)
            .map_err(|_| truncated)
    }

    pub fn encode(&self) -> Result<Bytes, RtpError> {
        self.0.marshal().map_err(|_| RtpError::Unwritable)
    }

    pub const fn payload(&self) -> &Bytes {
        &self.0.payload
    }

    pub const fn sequence(&self) -> u16 {
        self.0.header.sequence_number
    }

    pub const fn timestamp(&self) -> u32 {
        self.0.header.timestamp
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 20 ms of PCMU.
    pub(crate) fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 0];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 160).to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.extend([0xd5; 160]);
        packet
    }

    /// Marker, one CSRC, a one-byte extension of two elements, three bytes of padding.
    const FULL: &[u8] = &[
        0xb1, 0x80, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 7, 0xbe, 0xde, 0, 2, 0x10, 0xaa, 0x00,
        0x21, 0xbb, 0xcc, 0, 0, 1, 2, 3, 4, 5, 0, 0, 3,
    ];

    #[test]
    fn keys_are_agreed_on_once_a_greeting_is_answered() {
        let zrtp = |kind: &[u8]| [b"\x10\x00\x00\x01ZRTP\x00\x00\x00\x09\x50\x5a\x00\x1d", kind].concat();
        let dtls =
            |record: u8, epoch: u8, kind: u8| vec![record, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0, 0, 4, kind, 0];
        for kind in ["Hello   ", "HelloACK", "Ping    ", "GoClear ", ""] {
            assert!(!agrees_on_keys(&zrtp(kind.as_bytes())), "{kind}");
        }
        for kind in ["Commit  ", "DHPart1 ", "DHPart2 ", "Confirm1", "Confirm2", "Conf2ACK"] {
            assert!(agrees_on_keys(&zrtp(kind.as_bytes())), "{kind}");
        }
        for (record, epoch, kind, agrees) in [
            (22, 0, 1, false),
            (22, 0, 3, false),
            (21, 0, 2, false),
            (22, 0, 2, true),
            (22, 0, 16, true),
            (20, 0, 1, true),
            (22, 1, 1, true),
            (23, 1, 0, true),
        ] {
            assert_eq!(
                agrees_on_keys(&dtls(record, epoch, kind)),
                agrees,
                "{record} {epoch} {kind}"
            );
        }
        assert!(!agrees_on_keys(&rtp(1, 1)) && !agrees_on_keys(&[]) && !agrees_on_keys(&[22]));
    }

    #[test]
    fn a_packet_with_everything_is_read_in_place() {
        let header = RtpHeader::parse(FULL).expect("a packet");
        assert_eq!(
            (header.ssrc, header.payload_type, header.sequence),
            (Ssrc(0xdead_beef), 0, 0x1234)
        );
        assert_eq!((header.timestamp, header.marker), (160, true));
        assert_eq!(header.csrc().collect::<Vec<_>>(), [Ssrc(7)]);
        let elements: Vec<_> = header.extensions().collect();
        assert_eq!(elements, [(1, &[0xaa][..]), (2, &[0xbb, 0xcc][..])]);
        assert_eq!(header.payload, [1, 2, 3, 4, 5]);
        let owned = RtpPacket::parse(&Bytes::from_static(FULL)).expect("a packet");
        assert_eq!(owned.payload().as_ref(), header.payload);
    }

    #[test]
    fn what_is_cut_short_is_refused_at_every_length() {
        for length in 0..FULL.len() {
            let cut = FULL.get(..length).expect("shorter");
            match RtpHeader::parse(cut) {
                Ok(header) => assert!(length >= 28, "{header:?}"),
                Err(error) => assert_eq!(error, RtpError::Truncated { bytes: length }),
            }
        }
    }

    #[test]
    fn the_packet_that_panics_the_rtp_crate_is_refused() {
        let mut hostile = vec![0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 1];
        hostile.extend([0x1f, 0, 0, 0]);
        assert!(
            RtpHeader::parse(&hostile).is_ok(),
            "its header is in order, so it is relayed and kept"
        );
        assert_eq!(RtpPacket::parse(&Bytes::from(hostile)), Err(RtpError::Extension));
    }

    #[test]
    fn padding_that_cannot_be_is_left_in_the_payload() {
        let mut packet = vec![0xa0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9];
        assert_eq!(RtpHeader::parse(&packet).map(|header| header.payload.len()), Ok(2));
        packet.extend([0]);
        assert_eq!(RtpHeader::parse(&packet).map(|header| header.payload.len()), Ok(3));
    }

    #[test]
    fn datagrams_are_told_apart() {
        assert_eq!(classify(FULL), WireKind::Rtp);
        assert_eq!(classify(&[0x80, 200, 0, 1, 0, 0, 0, 1]), WireKind::Rtcp);
        assert_eq!(classify(&[0x80, 200, 0, 1]), WireKind::Other, "shorter than any report");
        assert_eq!(
            classify(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0]),
            WireKind::Other,
            "STUN"
        );
        assert_eq!(
            classify(&[22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            WireKind::Other,
            "DTLS"
        );
        assert_eq!(classify(&[]), WireKind::Other);
    }

    fn likely_packet() -> impl Strategy<Value = Vec<u8>> {
        let profile = prop_oneof![Just(ONE_BYTE_PROFILE), Just(TWO_BYTE_PROFILE), any::<u16>()];
        let first = prop_oneof![Just(0x80), Just(0x90), Just(0xb0), Just(0xb2), any::<u8>()];
        let body = proptest::collection::vec(any::<u8>(), 0..64);
        (first, any::<[u8; 11]>(), profile, 0..16_u16, body).prop_map(|(first, fixed, profile, words, body)| {
            let mut bytes = vec![first];
            bytes.extend(fixed);
            bytes.extend(vec![0; usize::from(first & 0x0f) * 4]);
            bytes.extend(profile.to_be_bytes());
            bytes.extend(words.to_be_bytes());
            bytes.extend(body);
            bytes
        })
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            classify(&bytes);
            if let Ok(header) = RtpHeader::parse(&bytes) {
                header.extensions().for_each(drop);
            }
            let _ = RtpPacket::parse(&Bytes::from(bytes));
        }

        #[test]
        fn our_view_and_the_rtp_crate_agree(bytes in likely_packet()) {
            let Ok(owned) = RtpPacket::parse(&Bytes::from(bytes.clone())) else { return Ok(()) };
            let header = RtpHeader::parse(&bytes).expect("what the crate reads, we read");
            let theirs = &owned.0.header;
            prop_assert_eq!(header.ssrc.0, theirs.ssrc);
            prop_assert_eq!((header.sequence, header.timestamp), (theirs.sequence_number, theirs.timestamp));
            prop_assert_eq!((header.payload_type, header.marker), (theirs.payload_type, theirs.marker));
            prop_assert_eq!(header.csrc().map(|ssrc| ssrc.0).collect::<Vec<_>>(), theirs.csrc.clone());
        }

        #[test]
        fn a_packet_that_is_sent_is_read_back(
            ssrc: u32, payload_type in 0..128_u8, sequence: u16, timestamp: u32, marker: bool,
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let packet = RtpPacket::new(Ssrc(ssrc), payload_type, sequence, timestamp, marker, payload.clone().into());
            let bytes = packet.encode().expect("a plain packet");
            let header = RtpHeader::parse(&bytes).expect("our own packet");
            prop_assert_eq!((header.ssrc, header.payload_type, header.sequence), (Ssrc(ssrc), payload_type, sequence));
            prop_assert_eq!((header.timestamp, header.marker, header.payload), (timestamp, marker, payload.as_slice()));
        }
    }
}
