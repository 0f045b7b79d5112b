//! Requests and responses (RFC 3261 §7).

mod decode;
mod encode;
mod error;
mod field;
mod headers;
mod lines;
mod singles;

use bytes::Bytes;

pub use decode::{HEADER_BYTES_MAX, HEADERS_MAX, MESSAGE_BYTES_MAX};
pub use error::{ParseError, Wrong};
pub use headers::{CSEQ_MAX, CSeq, Headers};
pub(crate) use lines::Lines;

use super::method::Method;
use super::name_addr::NameAddr;
use super::uri::Uri;

/// What a request starts with when nothing else is known (RFC 3261 §8.1.1.6).
pub const MAX_FORWARDS: u8 = 70;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    pub headers: Headers,
    pub body: Bytes,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// 100–699.
    pub status: u16,
    pub reason: String,
    pub headers: Headers,
    pub body: Bytes,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    Request(Request),
    Response(Response),
}

impl Request {
    /// Without Via, with Max-Forwards 70, without a body.
    pub fn new(method: Method, uri: Uri, from: NameAddr, to: NameAddr, call_id: &str, cseq: u32) -> Self {
        let mut headers = Headers::new(
            from,
            to,
            call_id,
            CSeq {
                number: cseq,
                method: method.clone(),
            },
        );
        headers.push("Max-Forwards", MAX_FORWARDS.to_string());
        Self {
            method,
            uri,
            headers,
            body: Bytes::new(),
        }
    }

    /// The body, and the Content-Type that says what it is.
    pub fn set_body(&mut self, content_type: &str, body: Bytes) {
        self.headers.set("Content-Type", content_type);
        self.body = body;
    }
}

impl Response {
    pub const fn is_provisional(&self) -> bool {
        self.status < 200
    }

    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..300)
    }

    pub const fn is_final(&self) -> bool {
        self.status >= 200
    }

    /// The body, and the Content-Type that says what it is.
    pub fn set_body(&mut self, content_type: &str, body: Bytes) {
        self.headers.set("Content-Type", content_type);
        self.body = body;
    }
}

impl Message {
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    pub const fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Self::Request(request) => &mut request.headers,
            Self::Response(response) => &mut response.headers,
        }
    }

    pub const fn body(&self) -> &Bytes {
        match self {
            Self::Request(request) => &request.body,
            Self::Response(response) => &response.body,
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

#[cfg(test)]
mod tests;
