//! Where the session description is in a body, and the same body with another one.

mod parts;
mod writing;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem;

use crate::sip::Headers;

pub use writing::Writing;

/// What says something of a body, and nothing without one.
const DESCRIPTIONS: [&str; 5] = [
    "Content-Type",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "MIME-Version",
];

/// Whether a header describes the body.
pub fn describes_body(name: &str) -> bool {
    DESCRIPTIONS.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

/// The body stays behind.
pub fn leave_out_descriptions(headers: &mut Headers) {
    for name in DESCRIPTIONS {
        headers.remove(name);
    }
}

/// What a body holds for us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    Empty,
    /// The whole body is SDP.
    Sdp,
    /// SDP is one part of a multipart body, at these bytes.
    Part {
        start: usize,
        end: usize,
        /// S/MIME is another part of it: the far end might take what is sealed there.
        beside_sealed: bool,
    },
    /// Something else: carried as it is, byte for byte.
    Other,
    /// S/MIME (RFC 3261 §23): SDP may be sealed in it, for the far end alone.
    Sealed,
    /// Encoded or broken so that we cannot know whether media hides in it.
    Unreadable,
}

impl Content {
    /// Reads the headers that describe a body, and the body's parts.
    pub fn of(headers: &Headers, body: &[u8]) -> Self {
        if body.is_empty() {
            return Self::Empty;
        }
        let times = |wanted: &str| {
            headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .count()
        };
        let encoding = headers.get("Content-Encoding").unwrap_or("identity");
        let is_plain = encoding.trim().eq_ignore_ascii_case("identity");
        if !is_plain || times("Content-Type") > 1 || times("Content-Encoding") > 1 {
            return Self::Unreadable;
        }
        let Some(content_type) = headers.get("Content-Type") else {
            // RFC 3261 §7.4.1 demands a type; phones that leave it out mean SDP.
            return if body.starts_with(b"v=0") {
                Self::Sdp
            } else {
                Self::opaque(body)
            };
        };
        let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let media_type = media_type.trim();
        if media_type.eq_ignore_ascii_case("application/sdp") {
            return Self::Sdp;
        }
        if media_type
            .get(..10)
            .is_some_and(|t| t.eq_ignore_ascii_case("multipart/"))
        {
            return parts::content(body, parameters);
        }
        if is_sealed(media_type.as_bytes()) {
            return Self::Sealed;
        }
        Self::opaque(body)
    }

    /// The same for a call that is recorded or not: media that is sealed is not recorded.
    #[must_use]
    pub fn recorded(self, is_recorded: bool) -> Self {
        match self {
            Self::Sealed
            | Self::Part {
                beside_sealed: true, ..
            } if is_recorded => Self::Unreadable,
            Self::Sealed => Self::Other,
            content => content,
        }
    }

    /// What is called something else and yet holds an address for media is not carried: the peers might understand it.
    fn opaque(body: &[u8]) -> Self {
        if memmem::find(body, b"c=IN IP").is_some() {
            Self::Unreadable
        } else {
            Self::Other
        }
    }

    /// The SDP's bytes, if there is any.
    pub fn sdp<'a>(&self, body: &'a Bytes) -> Option<&'a [u8]> {
        match self {
            Self::Sdp => Some(body),
            Self::Part { start, end, .. } => body.get(*start..*end),
            Self::Empty | Self::Other | Self::Sealed | Self::Unreadable => None,
        }
    }

    /// The body with `sdp` in the place of its own; everything else byte for byte.
    pub fn with_sdp(&self, body: &Bytes, sdp: Bytes) -> Bytes {
        match self {
            Self::Sdp => sdp,
            Self::Part { start, end, .. } => {
                let mut whole = BytesMut::with_capacity(body.len() + sdp.len());
                whole.put_slice(&body[..*start]);
                whole.put_slice(&sdp);
                whole.put_slice(&body[*end..]);
                whole.freeze()
            }
            Self::Empty | Self::Other | Self::Sealed | Self::Unreadable => body.clone(),
        }
    }
}

/// The session description in a message, if there is one that can be read.
pub fn sdp_of<'a>(headers: &Headers, body: &'a Bytes) -> Option<&'a [u8]> {
    Content::of(headers, body).sdp(body)
}

/// RFC 8551 §3.2; `x-` of before it was registered.
fn is_sealed(media_type: &[u8]) -> bool {
    let sealed = [&b"application/pkcs7-mime"[..], b"application/x-pkcs7-mime"];
    sealed.iter().any(|sealed| media_type.eq_ignore_ascii_case(sealed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Method, NameAddr, Request, Uri};

    fn blank() -> Headers {
        let uri = Uri::parse("sip:alice@example.com").expect("a URI");
        let party = NameAddr::new(uri.clone());
        let mut headers = Request::new(Method::Invite, uri, party.clone(), party, "c1", 1).headers;
        headers.remove("Max-Forwards");
        headers
    }

    fn content(content_type: &str, body: &[u8]) -> Content {
        let mut headers = blank();
        headers.push("Content-Type", content_type);
        Content::of(&headers, body)
    }

    const MIXED: &[u8] = b"preamble\r\n--b1\r\nContent-Type: application/isup\r\n\r\n\x00\xff--\r\n--b1\r\nContent-Type: application/SDP;x=y\r\nContent-ID: <1>\r\n\r\nv=0\r\nm=a\r\n\r\n--b1--\r\n";

    #[test]
    fn sdp_in_a_multipart_body_is_found_and_replaced_byte_for_byte() {
        let body = Bytes::from_static(MIXED);
        let found = content("multipart/mixed; boundary=\"b1\"", &body);
        assert_eq!(found.sdp(&body), Some(&b"v=0\r\nm=a\r\n"[..]));
        let replaced = found.with_sdp(&body, Bytes::from_static(b"v=1\r\n"));
        let expected = [&MIXED[..MIXED.len() - 20], &b"v=1\r\n\r\n--b1--\r\n"[..]].concat();
        assert_eq!(replaced, expected);
    }

    #[test]
    fn what_cannot_be_seen_through_is_unreadable() {
        let mut headers = blank();
        headers.push("Content-Type", "application/sdp");
        headers.push("Content-Encoding", "gzip");
        assert_eq!(Content::of(&headers, b"\x1f\x8b"), Content::Unreadable);
        assert_eq!(content("multipart/mixed", MIXED), Content::Unreadable);
        assert_eq!(content("multipart/mixed;boundary=zz", MIXED), Content::Unreadable);
        let part = &MIXED[10..MIXED.len() - 8];
        let twice = [part, part, b"--b1--\r\n"].concat();
        assert_eq!(content("multipart/mixed;boundary=b1", &twice), Content::Unreadable);
        let many = b"--b1\r\n\r\n".repeat(40);
        assert_eq!(content("multipart/mixed;boundary=b1", &many), Content::Unreadable);
    }

    #[test]
    fn sdp_that_hides_is_never_carried_raw() {
        let endless = b"--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n";
        assert_eq!(content("multipart/mixed;boundary=b1", endless), Content::Unreadable);
        assert_eq!(
            content("application/foo", b"v=0\r\nc=IN IP4 192.0.2.1\r\n"),
            Content::Unreadable
        );
        let mut twice = blank();
        twice.push("Content-Type", "text/plain");
        twice.push("Content-Type", "application/sdp");
        assert_eq!(Content::of(&twice, b"v=0\r\n"), Content::Unreadable);
    }

    #[test]
    fn what_is_sealed_for_the_far_end_is_unreadable_where_the_call_is_recorded() {
        let sealed = content("application/pkcs7-mime; smime-type=enveloped-data", b"\x30\x82");
        assert_eq!(sealed, Content::Sealed);
        assert_eq!(sealed.clone().recorded(true), Content::Unreadable);
        assert_eq!(sealed.recorded(false), Content::Other);
        let part = b"--b1\r\nContent-Type: application/PKCS7-mime;name=smime.p7m\r\n\r\n\x30\x82\r\n--b1--\r\n";
        assert_eq!(content("multipart/mixed;boundary=b1", part), Content::Sealed);
        let both = [&part[..part.len() - 8], &MIXED[10..]].concat();
        let both = content("multipart/mixed;boundary=b1", &both);
        assert!(
            matches!(
                both,
                Content::Part {
                    beside_sealed: true,
                    ..
                }
            ),
            "{both:?}"
        );
        assert_eq!(both.recorded(true), Content::Unreadable);
    }

    #[test]
    fn other_bodies_are_left_alone() {
        assert_eq!(content("text/plain", b"hello"), Content::Other);
        assert_eq!(content("application/sdp", b""), Content::Empty);
        assert_eq!(content("Application/SDP ;a=b", b"v=0\r\n"), Content::Sdp);
    }
}
