//! What the sender of a message that cannot be framed is told, before its connection is closed.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{END_OF_HEAD, Framer, FramingError};
use crate::sip::message::{Message, Response};
use crate::sip::method::Method;
use crate::sip::response::{reason_phrase, stateless_tag};

impl Framer {
    /// The answer to the request that broke the stream (RFC 3261 §18.3, RFC 4475 §3.1.2.3): 513 if it was too long, else
    /// 400. None if it was no request, or not so much of one that its Via, From, To, Call-ID and CSeq could be repeated.
    pub fn answer_to_broken(&self, source: SocketAddr) -> Option<Bytes> {
        let error = self.broken?;
        let mut response = match Message::parse(&self.broken_head) {
            Err(fault) => *fault.reply?,
            Ok(Message::Request(request)) if request.method != Method::Ack => {
                let tag = stateless_tag([request.headers.call_id()].into_iter());
                Response::to(&request, 400, None, Some(&tag))
            }
            Ok(_) => return None,
        };
        match error {
            FramingError::MessageTooLong => {
                response.status = 513;
                reason_phrase(513).clone_into(&mut response.reason);
            }
            error => response.reason = error.to_string(),
        }
        let mut via = response.headers.via()?.clone();
        via.stamp(source);
        response.headers.set_via(via);
        Some(response.encode())
    }

    /// The head at the front of the buffer; nothing if its end has not come.
    pub(super) fn take_head(&mut self) -> Bytes {
        let found = memchr::memmem::find(&self.buffer, END_OF_HEAD);
        found.map_or_else(Bytes::new, |at| self.buffer.split_to(at + END_OF_HEAD.len()).freeze())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn answer(method: &str, lengths: &str) -> Option<String> {
        let message = format!(
            "{method} sip:bob@192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKx;rport\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{lengths}\r\n"
        );
        let mut framer = Framer::new();
        framer.push(message.as_bytes()).unwrap_err();
        let answer = framer.answer_to_broken("192.0.2.9:40000".parse().unwrap())?;
        Some(String::from_utf8(answer.to_vec()).unwrap())
    }

    #[test]
    fn who_cannot_say_how_long_its_request_is_is_told_so() {
        for (lengths, start) in [
            ("Content-Length: -999\r\n", "SIP/2.0 400 "),
            ("Content-Length: five\r\n", "SIP/2.0 400 "),
            ("Content-Length: 13\r\nl: 5\r\n", "SIP/2.0 400 "),
            ("", "SIP/2.0 400 no Content-Length\r\n"),
            ("Content-Length: 70000\r\n", "SIP/2.0 513 "),
        ] {
            let answer = answer("INVITE", lengths).unwrap();
            assert!(answer.starts_with(start), "{lengths}: {answer}");
            assert!(
                answer.contains("rport=40000;") || answer.contains("rport=40000\r\n"),
                "{answer}"
            );
            assert!(answer.contains("received=192.0.2.9"), "{answer}");
        }
    }

    #[test]
    fn neither_an_ack_nor_what_is_no_request_is_answered() {
        assert_eq!(answer("ACK", "Content-Length: -1\r\n"), None);
        for text in ["A b C\r\nContent-Length: -1\r\n\r\n", "SIP/2.0 200 OK\r\nl: -1\r\n\r\n"] {
            let mut framer = Framer::new();
            framer.push(text.as_bytes()).unwrap_err();
            assert_eq!(
                framer.answer_to_broken("192.0.2.9:40000".parse().unwrap()),
                None,
                "{text}"
            );
        }
    }
}
