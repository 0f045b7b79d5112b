//! How a client says hello (RFC 6347 §4.2.1): nothing is kept of it before it has shown, by a cookie, that it is where it says.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{hmac, rand};

use super::records::{HANDSHAKE, HEADER_BYTES, MESSAGE_HEADER_BYTES};

/// Of a ClientHello (RFC 5246 §7.4.1.2).
pub(super) const RANDOM_BYTES: usize = 32;
/// As long as the DTLS crate's own.
pub(super) const COOKIE_BYTES: usize = 20;

pub(super) type Random = [u8; RANDOM_BYTES];
pub(super) type Cookie = [u8; COOKIE_BYTES];

const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// Of a HelloVerifyRequest, whatever is agreed on later.
const DTLS_1_0: [u8; 2] = [0xfe, 0xff];
/// In a message, behind its header: the version comes first.
const RANDOM_AT: usize = 2;
const SESSION_AT: usize = RANDOM_AT + RANDOM_BYTES;
/// The number of a hello that answers a request for a cookie (RFC 6347 §4.2.2).
const SECOND: [u8; 2] = [0, 1];

/// The first fragment of a ClientHello: what we need stands at its beginning.
pub(super) struct Hello<'a> {
    /// What all hellos of one client have in common.
    pub(super) random: Random,
    cookie: &'a [u8],
    is_second: bool,
    /// The record's number, 48 bits.
    pub(super) record: [u8; 6],
}

impl<'a> Hello<'a> {
    /// None for what is none, or not its beginning.
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, message) = datagram.split_at_checked(HEADER_BYTES)?;
        let (message_header, body) = message.split_at_checked(MESSAGE_HEADER_BYTES)?;
        let is_hello = header[0] == HANDSHAKE && message_header[0] == CLIENT_HELLO;
        let is_plain = header[3..5] == [0, 0];
        let is_first = message_header[6..9] == [0, 0, 0];
        let random = *body.get(RANDOM_AT..)?.first_chunk()?;
        (is_hello && is_plain && is_first).then_some(())?;
        Some(Self {
            random,
            cookie: cookie_place(body).and_then(|at| body.get(at)).unwrap_or_default(),
            is_second: message_header[4..6] == SECOND,
            record: *header[5..].first_chunk()?,
        })
    }

    /// Whether its client has been told this one.
    pub(super) fn brings(&self, cookie: &Cookie) -> bool {
        self.is_second && self.cookie == cookie
    }

    /// A HelloVerifyRequest, shorter than any hello.
    pub(super) fn request(&self, cookie: &Cookie) -> Vec<u8> {
        const BODY: u8 = 2 + 1 + COOKIE_BYTES as u8;
        let mut datagram = vec![HANDSHAKE, DTLS_1_0[0], DTLS_1_0[1], 0, 0];
        datagram.extend_from_slice(&self.record);
        datagram.extend_from_slice(&[0, MESSAGE_HEADER_BYTES as u8 + BODY]);
        datagram.extend_from_slice(&[HELLO_VERIFY_REQUEST, 0, 0, BODY, 0, 0, 0, 0, 0, 0, 0, BODY]);
        datagram.extend_from_slice(&DTLS_1_0);
        datagram.push(COOKIE_BYTES as u8);
        datagram.extend_from_slice(cookie);
        datagram
    }
}

/// Where the cookie stands in the body of a ClientHello, without its length.
fn cookie_place(body: &[u8]) -> Option<std::ops::Range<usize>> {
    let length_at = SESSION_AT + 1 + usize::from(*body.get(SESSION_AT)?);
    let length = usize::from(*body.get(length_at)?);
    Some(length_at + 1..length_at + 1 + length)
}

/// The hello (message with its header) that its client said before it had a cookie.
pub(super) fn without_cookie(message: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = message.split_at_checked(MESSAGE_HEADER_BYTES)?;
    let cookie = cookie_place(body).filter(|place| place.end <= body.len())?;
    let length = u32::try_from(body.len() - cookie.len()).ok()?.to_be_bytes();
    let mut first = Vec::with_capacity(message.len());
    first.push(header[0]);
    first.extend_from_slice(&length[1..]);
    first.extend_from_slice(&[0; 5]);
    first.extend_from_slice(&length[1..]);
    first.extend_from_slice(&body[..cookie.start - 1]);
    first.push(0);
    first.extend_from_slice(&body[cookie.end..]);
    Some(first)
}

/// What the cookies of one association are made with.
pub(super) struct Cookies {
    key: hmac::Key,
    #[cfg(test)]
    pub(super) made: std::cell::Cell<usize>,
}

impl Cookies {
    /// None if there is no randomness to be had.
    pub(super) fn new() -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        Some(Self {
            key: key.ok()?,
            #[cfg(test)]
            made: std::cell::Cell::default(),
        })
    }

    /// `place`: None for a client that has proved to be there, and may move.
    pub(super) fn make(&self, random: &Random, place: Option<SocketAddr>) -> Cookie {
        #[cfg(test)]
        self.made.set(self.made.get() + 1);
        let mut context = hmac::Context::with_key(&self.key);
        context.update(random);
        if let Some(at) = place {
            context.update(&octets(at.ip()));
            context.update(&at.port().to_be_bytes());
        }
        let tag = context.sign();
        *tag.as_ref()
            .first_chunk()
            .expect("invariant: a digest is longer than a cookie")
    }
}

fn octets(host: IpAddr) -> [u8; 16] {
    match host {
        IpAddr::V4(host) => host.to_ipv6_mapped().octets(),
        IpAddr::V6(host) => host.octets(),
    }
}
