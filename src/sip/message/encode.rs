//! Messages as bytes: our names and line ends, their values and bodies byte for byte.

use bytes::Bytes;

use super::{Headers, Message, Request, Response};
use crate::sip::grammar;

const VERSION: &str = "SIP/2.0";
/// Room for the start line's spaces, Content-Length and the line ends around.
const SLACK_BYTES: usize = 64;

impl Request {
    pub fn encode(&self) -> Bytes {
        let parts = [self.method.as_str(), " ", self.uri.as_str(), " ", VERSION];
        encode(&parts, &self.headers, &self.body)
    }
}

impl Response {
    pub fn encode(&self) -> Bytes {
        let status = self.status.to_string();
        encode(&[VERSION, " ", &status, " ", &self.reason], &self.headers, &self.body)
    }
}

impl Message {
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Request(request) => request.encode(),
            Self::Response(response) => response.encode(),
        }
    }
}

fn encode(start: &[&str], headers: &Headers, body: &[u8]) -> Bytes {
    let start_bytes: usize = start.iter().map(|part| part.len()).sum();
    let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let mut out = Vec::with_capacity(start_bytes + header_bytes + body.len() + SLACK_BYTES);
    for part in start {
        push_one_line(&mut out, part);
    }
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers.iter() {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(body.len().to_string().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
    out.into()
}

/// Method names and reason phrases are open to whoever builds the message, so they are looked at once more.
fn push_one_line(out: &mut Vec<u8>, text: &str) {
    if grammar::is_one_line(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend_from_slice(grammar::one_line(text.to_owned()).as_bytes());
    }
}
