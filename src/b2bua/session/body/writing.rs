//! Whether a body is what people write to each other, whichever request brings it.

use super::{is_sealed, parts};
use crate::sip::{Method, Request};

/// What of a request is written.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Writing {
    /// Nothing: state of devices, pictures, documents.
    Nothing,
    /// A message that can be read, or that might be.
    Clear,
    /// Something that only its ends can read: S/MIME (RFC 8551), PGP (RFC 3156).
    Sealed,
}

impl Writing {
    /// A MESSAGE (RFC 3428), and any other request whose body is `text/*` or `message/*`, has no type or cannot be taken
    /// apart. A registration's is for its registrar.
    pub fn of(request: &Request) -> Self {
        let least = match request.method {
            Method::Register => return Self::Nothing,
            Method::Message => Self::Clear,
            _ => Self::Nothing,
        };
        if request.body.is_empty() {
            return least;
        }
        let types = request.headers.get_all("Content-Type");
        let most = types.map(|content_type| of_type(content_type, &request.body)).max();
        most.unwrap_or(Self::Clear).max(least)
    }

    /// Of a part, by its type alone.
    pub(super) fn of_part(media_type: &[u8]) -> Self {
        let begins = |with: &[u8]| {
            let start = media_type.get(..with.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        if is_sealed(media_type) || begins(b"application/pgp-encrypted") || begins(b"multipart/encrypted") {
            Self::Sealed
        } else if media_type.is_empty() || begins(b"text/") || begins(b"message/") {
            Self::Clear // no type is text/plain (RFC 2045 §5.2)
        } else {
            Self::Nothing
        }
    }
}

fn of_type(content_type: &str, body: &[u8]) -> Writing {
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let media_type = media_type.trim().as_bytes();
    let whole = Writing::of_part(media_type);
    let is_multipart = media_type
        .get(..10)
        .is_some_and(|t| t.eq_ignore_ascii_case(b"multipart/"));
    if is_multipart && whole != Writing::Sealed {
        return parts::writing(body, parameters).unwrap_or(Writing::Clear);
    }
    whole
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::sip::Message;

    fn writing(method: &str, content_type: &str, body: &str) -> Writing {
        let text = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n{content_type}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match Message::parse(text.as_bytes()).unwrap() {
            Message::Request(request) => Writing::of(&request),
            Message::Response(_) => panic!("a response"),
        }
    }

    #[test]
    fn text_is_written_whichever_request_brings_it() {
        for method in ["NOTIFY", "PUBLISH", "SUBSCRIBE", "OPTIONS"] {
            for (header, wanted) in [
                ("Content-Type: text/plain\r\n", Writing::Clear),
                ("c: TEXT/html;charset=utf-8\r\n", Writing::Clear),
                ("Content-Type: message/cpim\r\n", Writing::Clear),
                ("", Writing::Clear),
                ("Content-Type: application/pidf+xml\r\n", Writing::Nothing),
                (
                    "Content-Type: Application/PKCS7-mime; smime-type=enveloped-data\r\n",
                    Writing::Sealed,
                ),
                ("Content-Type: multipart/mixed\r\n", Writing::Clear),
            ] {
                assert_eq!(writing(method, header, "sell"), wanted, "{method} {header}");
            }
            assert_eq!(writing(method, "Content-Type: text/plain\r\n", ""), Writing::Nothing);
        }
        assert_eq!(
            writing("REGISTER", "Content-Type: text/plain\r\n", "x"),
            Writing::Nothing
        );
    }

    #[test]
    fn a_message_is_written_whatever_it_brings() {
        for header in ["Content-Type: image/png\r\n", "Content-Type: text/plain\r\n", ""] {
            assert_eq!(writing("MESSAGE", header, "x"), Writing::Clear);
        }
        for header in [
            "application/pgp-encrypted",
            "application/x-pkcs7-mime",
            "multipart/encrypted; boundary=b",
        ] {
            let header = format!("Content-Type: {header}\r\n");
            assert_eq!(writing("MESSAGE", &header, "x"), Writing::Sealed, "{header}");
        }
    }

    #[test]
    fn the_parts_of_a_body_count() {
        let header = "Content-Type: multipart/mixed;boundary=b\r\n";
        for (part, wanted) in [
            ("Content-Type: text/plain\r\n\r\nsell", Writing::Clear),
            ("Content-Type: application/pkcs7-mime\r\n\r\n0", Writing::Sealed),
            ("Content-Type: application/pidf+xml\r\n\r\n<x/>", Writing::Nothing),
        ] {
            assert_eq!(
                writing("NOTIFY", header, &format!("--b\r\n{part}\r\n--b--\r\n")),
                wanted,
                "{part}"
            );
        }
    }
}
