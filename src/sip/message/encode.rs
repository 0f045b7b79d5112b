//! Messages as bytes: our names and line ends, their values and bodies byte for byte.

use bytes::Bytes;

use super::{Headers, Message, Request, Response};
use crate::sip::grammar;

const VERSION: &str = "SIP/2.0";
const TRYING: &str = "SIP/2.0 100 Trying";
/// Room for the rest of the start line, Content-Length and the line ends around.
const SLACK_BYTES: usize = 96;

impl Request {
    pub fn encode(&self) -> Bytes {
        let mut out = text_for(self.uri.as_str().len(), &self.headers, &self.body);
        push_one_line(&mut out, self.method.as_str());
        out.push(' ');
        out.push_str(self.uri.as_str());
        out.push(' ');
        out.push_str(VERSION);
        finish(out, self.headers.iter(), &self.body)
    }

    /// The 100 to it, which has nothing of its own (RFC 3261 §8.2.6).
    pub(in crate::sip) fn encode_trying(&self) -> Bytes {
        let mut out = text_for(0, &self.headers, &[]);
        out.push_str(TRYING);
        let timestamp = self.headers.get("Timestamp").map(|value| ("Timestamp", value));
        finish(out, self.headers.identifying().chain(timestamp), &[])
    }
}

impl Response {
    pub fn encode(&self) -> Bytes {
        let mut out = text_for(self.reason.len(), &self.headers, &self.body);
        out.push_str(VERSION);
        out.push(' ');
        grammar::push_number(&mut out, self.status.into());
        out.push(' ');
        push_one_line(&mut out, &self.reason);
        finish(out, self.headers.iter(), &self.body)
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

/// Empty, with room for all of a message.
fn text_for(start_bytes: usize, headers: &Headers, body: &[u8]) -> String {
    let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    String::with_capacity(start_bytes + header_bytes + body.len() + SLACK_BYTES)
}

/// What follows the start line.
fn finish<'a>(mut out: String, headers: impl Iterator<Item = (&'a str, &'a str)>, body: &[u8]) -> Bytes {
    out.push_str("\r\n");
    for (name, value) in headers {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    }
    out.push_str("Content-Length: ");
    grammar::push_number(&mut out, u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.push_str("\r\n\r\n");
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out.into()
}

/// Method names and reason phrases are open to whoever builds the message, so they are looked at once more.
fn push_one_line(out: &mut String, text: &str) {
    if grammar::is_one_line(text) {
        out.push_str(text);
    } else {
        out.push_str(&grammar::one_line(text.to_owned()));
    }
}
