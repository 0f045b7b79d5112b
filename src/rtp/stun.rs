//! STUN binding requests as ICE sends them (RFC 8489, RFC 8445 §7): read, verified, answered. Who is lite sends none.
//!
//! Architecture Invariant: what is not signed by our password gets no answer, and reading allocates nothing.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

const HEADER_BYTES: usize = 20;
const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const INTEGRITY_BYTES: usize = 20;
/// Attributes of one request; ICE sends seven.
const ATTRIBUTES_MAX: usize = 32;
/// Longer ones are not looked at.
const REQUEST_BYTES_MAX: usize = 1_280;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
/// Attributes below have to be understood (RFC 8489 §14).
const OPTIONAL: u16 = 0x8000;
/// What the CRC-32 is combined with (RFC 8489 §14.7): "STUN".
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Whether a datagram is STUN (RFC 7983 §7, RFC 8489 §5).
pub fn is_stun(bytes: &[u8]) -> bool {
    let magic = bytes.get(4..8);
    matches!(bytes, [0..=3, ..]) && magic == Some(&MAGIC)
}

/// A binding request that is signed; by whom is for [`Self::is_signed_by`] to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BindingRequest<'a> {
    bytes: &'a [u8],
    username: &'a [u8],
    /// Where MESSAGE-INTEGRITY stands.
    integrity_at: usize,
    /// The sender takes this way (RFC 8445 §7.3.1.5).
    pub nominates: bool,
    /// The sender thinks that we decide, which we never do (RFC 8445 §6.1.1).
    pub is_controlled: bool,
}

impl<'a> BindingRequest<'a> {
    /// None for what is no request, is not signed, or asks for what we do not know.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(word(bytes, 2)?);
        let is_whole = bytes.len() == HEADER_BYTES + length && length.is_multiple_of(4);
        if !is_stun(bytes) || word(bytes, 0)? != BINDING_REQUEST || !is_whole || bytes.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let mut request = Self {
            bytes,
            username: &[],
            integrity_at: 0,
            nominates: false,
            is_controlled: false,
        };
        let mut at = HEADER_BYTES;
        for _ in 0..ATTRIBUTES_MAX {
            if at == bytes.len() {
                break;
            }
            let (kind, length) = (word(bytes, at)?, usize::from(word(bytes, at + 2)?));
            let value = bytes.get(at + 4..at + 4 + length)?;
            match kind {
                // What follows the signature is not signed.
                MESSAGE_INTEGRITY if length == INTEGRITY_BYTES => {
                    request.integrity_at = at;
                    break;
                }
                USERNAME => request.username = value,
                USE_CANDIDATE => request.nominates = true,
                ICE_CONTROLLED => request.is_controlled = true,
                PRIORITY => {}
                unknown if unknown < OPTIONAL => return None,
                _ => {}
            }
            at += 4 + length.next_multiple_of(4);
        }
        (request.integrity_at != 0).then_some(request)
    }

    /// `ours:theirs` (RFC 8445 §7.2.2).
    pub fn is_between(&self, ours: &str, theirs: &str) -> bool {
        let rest = self.username.strip_prefix(ours.as_bytes());
        rest.and_then(|rest| rest.strip_prefix(b":")) == Some(theirs.as_bytes())
    }

    /// RFC 8489 §14.5, by short-term credentials.
    pub fn is_signed_by(&self, password: &str) -> bool {
        let signed = self.bytes.get(..self.integrity_at).unwrap_or_default();
        let value = self.integrity_at + 4..self.integrity_at + 4 + INTEGRITY_BYTES;
        let told = self.bytes.get(value).unwrap_or_default();
        verify_slices_are_equal(told, signature(signed, password).as_ref()).is_ok()
    }

    /// From where it came: the answer that proves the way (RFC 8445 §7.3.1).
    pub fn answer(&self, from: SocketAddr, password: &str) -> Vec<u8> {
        let mut out = self.head(BINDING_SUCCESS);
        let transaction = self.bytes.get(8..HEADER_BYTES).unwrap_or_default();
        let mask = [&MAGIC[..], transaction].concat();
        let xor = |bytes: &[u8]| -> Vec<u8> { bytes.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect() };
        let (family, address) = match from.ip() {
            IpAddr::V4(ip) => (1, xor(&ip.octets())),
            IpAddr::V6(ip) => (2, xor(&ip.octets())),
        };
        let mapped = [&[0, family][..], &xor(&from.port().to_be_bytes()), &address].concat();
        push(&mut out, XOR_MAPPED_ADDRESS, &mapped);
        close(out, password)
    }

    /// 487 Role Conflict: the sender has to decide, for we are lite (RFC 8445 §7.3.1.1).
    pub fn refuse_role(&self, password: &str) -> Vec<u8> {
        let mut out = self.head(BINDING_ERROR);
        push(&mut out, ERROR_CODE, &[0, 0, 4, 87]);
        close(out, password)
    }

    fn head(&self, kind: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(self.bytes.get(4..HEADER_BYTES).unwrap_or_default());
        out
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

/// `value` has no more than a few bytes, of a multiple of four.
fn push(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    settle(out, 0);
}

/// The header's length, with so many bytes that follow.
fn settle(out: &mut [u8], more: usize) {
    let length = (out.len() + more - HEADER_BYTES) as u16;
    if let Some(place) = out.get_mut(2..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn close(mut out: Vec<u8>, password: &str) -> Vec<u8> {
    let tag = signature(&out, password);
    push(&mut out, MESSAGE_INTEGRITY, tag.as_ref());
    settle(&mut out, 8);
    let check = crc32(&out) ^ FINGERPRINT_XOR;
    push(&mut out, FINGERPRINT, &check.to_be_bytes());
    out
}

/// Over all that stands before MESSAGE-INTEGRITY, as if the message ended with that.
fn signature(before: &[u8], password: &str) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    let length = (before.len() + 4 + INTEGRITY_BYTES).saturating_sub(HEADER_BYTES) as u16;
    context.update(before.get(..2).unwrap_or_default());
    context.update(&length.to_be_bytes());
    context.update(before.get(4..).unwrap_or_default());
    context.sign()
}

/// ITU V.42, as Ethernet has it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let shift = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        (0..8).fold(crc ^ u32::from(*byte), shift)
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A check as a full agent sends it.
    pub fn check(username: &str, password: &str, more: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 0];
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(b"transaction!");
        let mut name = username.as_bytes().to_vec();
        let length = name.len() as u16;
        name.resize(name.len().next_multiple_of(4), 0);
        push(&mut out, USERNAME, &name);
        let at = HEADER_BYTES + 2;
        out[at..at + 2].copy_from_slice(&length.to_be_bytes());
        for (kind, value) in more {
            push(&mut out, *kind, value);
        }
        close(out, password)
    }

    pub const NOMINATED: (u16, &[u8]) = (USE_CANDIDATE, &[]);
    pub const CONTROLLED: (u16, &[u8]) = (ICE_CONTROLLED, &[7; 8]);

    /// RFC 5769 §2.1: short-term credentials, a password that has to be padded, and attributes that are not known.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    #[test]
    fn the_sample_of_the_rfc_is_read_and_its_signature_holds() {
        assert!(is_stun(SAMPLE));
        let request = BindingRequest::parse(SAMPLE).expect("a request");
        assert!(request.is_between("evtj", "h6vY") && request.is_controlled && !request.nominates);
        assert!(request.is_signed_by("VOkJxbRl1RmTxUk/WvJxBt"));
        assert!(!request.is_signed_by("VOkJxbRl1RmTxUk/WvJxBT"));
        assert!(!request.is_between("h6vY", "evtj"));
        let (before, check) = SAMPLE.split_at(SAMPLE.len() - 8);
        assert_eq!((crc32(before) ^ FINGERPRINT_XOR).to_be_bytes(), check[4..]);
    }

    #[test]
    fn an_answer_names_where_the_request_came_from() {
        let check = check("ours:theirs", "password of ours, long", &[NOMINATED]);
        let request = BindingRequest::parse(&check).expect("a request");
        assert!(request.nominates && request.is_signed_by("password of ours, long"));
        let answer = request.answer("192.0.2.1:32853".parse().expect("an address"), "password of ours, long");
        assert_eq!(answer[..2], BINDING_SUCCESS.to_be_bytes());
        assert_eq!(answer[4..20], check[4..20], "the same transaction");
        assert_eq!(
            answer[20..32],
            [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]
        ); // RFC 5769 §2.2
        let signed = &answer[..32];
        assert_eq!(answer[36..56], *signature(signed, "password of ours, long").as_ref());
        assert_eq!(
            usize::from(word(&answer, 2).expect("a length")) + HEADER_BYTES,
            answer.len()
        );
        let wide = request.answer("[2001:db8::1]:9".parse().expect("an address"), "p");
        assert_eq!(word(&wide, 22), Some(20));
    }

    #[test]
    fn what_is_no_signed_request_is_none() {
        let good = check("a:b", "p", &[]);
        let bent = |at: usize, to: u8| {
            let mut bent = good.clone();
            bent[at] = to;
            bent
        };
        for bytes in [
            Vec::new(),
            good[..19].to_vec(),
            good[..good.len() - 1].to_vec(),
            bent(0, 1),
            bent(4, 0),
            bent(3, 0),
            check("a:b", "p", &[(0x7000, &[0; 4])]),
            b"\x00\x01\x00\x00\x21\x12\xa4\x42transaction!".to_vec(),
        ] {
            assert_eq!(BindingRequest::parse(&bytes), None, "{bytes:02x?}");
        }
        let unsigned_end = [&good[..], &USE_CANDIDATE.to_be_bytes(), &[0, 0]].concat();
        let mut long = unsigned_end;
        settle(&mut long, 0);
        assert!(
            !BindingRequest::parse(&long).expect("a request").nominates,
            "what follows the signature counts for nothing"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), begun: bool) {
            if begun {
                let length = (bytes.len().saturating_sub(20) as u16).to_be_bytes();
                let head = [&[0, 1][..], &length, &MAGIC].concat();
                let end = bytes.len().min(8);
                bytes.splice(..end, head);
            }
            if let Some(request) = BindingRequest::parse(&bytes) {
                prop_assert!(!request.is_signed_by("a password that nobody knows"));
                let _ = request.answer("192.0.2.1:9".parse().expect("an address"), "p");
            }
        }

        #[test]
        fn a_bent_check_is_not_ours(at in 0..60_usize, bit in 0..8_u32) {
            let mut check = check("ours:theirs", "password of ours, long", &[NOMINATED]);
            let last = check.len() - 9; // the fingerprint is for demultiplexing alone
            check[at.min(last)] ^= 1 << bit;
            let is_ours = BindingRequest::parse(&check)
                .is_some_and(|request| request.is_between("ours", "theirs") && request.is_signed_by("password of ours, long"));
            prop_assert!(!is_ours);
        }
    }
}
