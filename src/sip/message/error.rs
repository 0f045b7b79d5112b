//! What is wrong with a message, and what its sender is told.

use super::Response;
use super::decode::{HEADER_BYTES_MAX, HEADERS_MAX, MESSAGE_BYTES_MAX};
use crate::sip::uri::UriError;

/// The bytes are no SIP message that can be worked with. Always the sender's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what}, at byte {offset}")]
pub struct ParseError {
    pub what: Wrong,
    /// Where in the bytes.
    pub offset: usize,
    /// What the request deserves, if it was one (never for ACK) and its headers could be found. To be sent without
    /// state, by `Transactions::refuse`.
    pub reply: Option<Box<Response>>,
}

/// What is wrong. The text becomes part of the reason phrase of a 400 (RFC 3261 §21.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Wrong {
    /// Garbage: not answered.
    #[error("no SIP start line")]
    NotSip,
    #[error("malformed start line")]
    StartLine,
    /// 505.
    #[error("SIP version not supported")]
    Version,
    /// 400, or 414 when too long.
    #[error("malformed Request-URI: {0}")]
    RequestUri(UriError),
    /// RFC 3261 §19.1.1: a Request-URI has no `?` part.
    #[error("headers in the Request-URI")]
    RequestUriHeaders,
    #[error("no empty line after the headers")]
    NoEndOfHeaders,
    #[error("CR or LF inside a line")]
    BareLineEnd,
    #[error("malformed header line")]
    HeaderLine,
    /// 513.
    #[error("header longer than {HEADER_BYTES_MAX} bytes")]
    HeaderTooLong,
    /// 513.
    #[error("more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    /// 513.
    #[error("message longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    #[error("missing {0} header field")]
    Missing(&'static str),
    #[error("more than one {0} header field")]
    Repeated(&'static str),
    /// And each says the same.
    #[error("more than one {0} header field")]
    Doubled(&'static str),
    #[error("malformed {0} header field")]
    Malformed(&'static str),
    #[error("CSeq method does not match the request")]
    CSeqMethod,
    /// The same for a method that is not known: 501, which tells its sender more (RFC 4475 §3.1.2.18).
    #[error("CSeq method does not match the unknown method of the request")]
    UnknownCSeqMethod,
    #[error("body shorter than Content-Length")]
    BodyTooShort,
}

/// What a message cannot be answered without, and where it ends.
const NEEDED: [&str; 6] = ["Via", "From", "To", "Call-ID", "CSeq", "Content-Length"];

impl Wrong {
    /// Whether a message can be understood and answered without the line that is wrong.
    pub(super) fn is_dispensable(self) -> bool {
        match self {
            Self::HeaderLine | Self::HeaderTooLong | Self::BareLineEnd | Self::Doubled(_) => true,
            Self::Repeated(name) | Self::Malformed(name) => !NEEDED.contains(&name),
            _ => false,
        }
    }

    /// What a request with this fault is answered; None: not at all.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::NotSip => None,
            Self::Version => Some(505),
            Self::UnknownCSeqMethod => Some(501),
            Self::RequestUri(UriError::TooLong) => Some(414),
            Self::HeaderTooLong | Self::TooManyHeaders | Self::TooLong => Some(513),
            _ => Some(400),
        }
    }
}
