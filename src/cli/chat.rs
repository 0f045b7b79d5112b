//! What the parties wrote to each other in a call: MESSAGE (RFC 3428) and INFO (RFC 6086) with a body, and text in whatever else,
//! a line of JSON each. Text that is typed letter by letter (T.140 in RTP, RFC 4103) is a line for each packet.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::export::Failure;
use super::output_file::Unwritable;
use super::typed::Typed;
use crate::b2bua::Writing;
use crate::model::{Direction, Leg, Timestamp};
use crate::recorder::{Frame, SealError};
use crate::sip::{Message, Request};

#[derive(Debug, Serialize)]
struct Line<'a> {
    at: Timestamp,
    /// Whose it is.
    from: Leg,
    method: &'a str,
    content_type: &'a str,
    bytes: usize,
    /// None when it is no UTF-8: the pcapng has its bytes.
    text: Option<&'a str>,
}

/// Writes the lines; gives how many there are. `file` is named if it cannot be written.
pub(super) fn write(
    out: &mut dyn Write,
    frames: impl Iterator<Item = Result<Frame, SealError>>,
    file: &Path,
) -> Result<u64, Failure> {
    let mut messages = 0;
    let mut typed = Typed::default();
    let mut tell = |line: &Line<'_>| {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        messages += 1;
        out.write_all(&text).map_err(|source| Unwritable::at(file, source))
    };
    for frame in frames {
        let (at, path, bytes) = match frame.map_err(Failure::Unread)? {
            Frame::Signal { at, path, bytes } => (at, path, bytes),
            Frame::Mark { mark, .. } => {
                typed.note(mark);
                continue;
            }
            Frame::Packet {
                at, leg, line, bytes, ..
            } => {
                if let Some(text) = typed.read(leg, line, &bytes) {
                    tell(&Line::typed(at, leg, &text))?;
                }
                continue;
            }
        };
        if path.direction != Direction::Received {
            continue;
        }
        let Ok(Message::Request(request)) = Message::parse(&bytes) else {
            continue;
        };
        let Some(line) = line(at, path.leg, &request) else {
            continue;
        };
        tell(&line)?;
    }
    Ok(messages)
}

impl<'a> Line<'a> {
    const fn typed(at: Timestamp, from: Leg, text: &'a str) -> Self {
        Self {
            at,
            from,
            method: "T.140",
            content_type: "text/t140",
            bytes: text.len(),
            text: Some(text),
        }
    }
}

fn line(at: Timestamp, from: Leg, request: &Request) -> Option<Line<'_>> {
    let method = request.method.as_str();
    let content_type = request.headers.get("Content-Type").unwrap_or_default();
    let is_written = match method {
        "MESSAGE" | "INFO" => true,
        // How a transfer goes (RFC 3515 §2.4.5).
        "NOTIFY" if content_type.starts_with("message/sipfrag") => false,
        _ => Writing::of(request) != Writing::Nothing,
    };
    let is_chat = is_written && !request.body.is_empty();
    is_chat.then(|| Line {
        at,
        from,
        method,
        content_type,
        bytes: request.body.len(),
        text: std::str::from_utf8(&request.body).ok(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;

    use super::*;
    use crate::model::SignalPath;

    fn signal(direction: Direction, method: &str, body: &[u8]) -> Result<Frame, SealError> {
        let address = "192.0.2.1:5060".parse().unwrap();
        let mut text = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        text.extend_from_slice(body);
        let path = SignalPath {
            leg: Leg::A,
            direction,
            peer: address,
            local: address,
            tcp: false,
        };
        Ok(Frame::Signal {
            at: Timestamp::from_millis(1),
            path,
            bytes: Bytes::from(text),
        })
    }

    #[test]
    fn each_message_is_told_once_as_it_came_and_nothing_else_is() {
        let frames = [
            signal(Direction::Received, "MESSAGE", "Grüße".as_bytes()),
            signal(Direction::Sent, "MESSAGE", "Grüße".as_bytes()),
            signal(Direction::Received, "INFO", &[0xff]),
            signal(Direction::Received, "INFO", b""),
            signal(Direction::Received, "NOTIFY", b"sell"),
            signal(Direction::Received, "BYE", b""),
        ];
        let mut out = Vec::new();
        let count = write(&mut out, frames.into_iter(), Path::new("-")).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(count, 3);
        assert_eq!(
            (&lines[0]["text"], &lines[0]["content_type"]),
            (&"Grüße".into(), &"text/plain".into())
        );
        assert_eq!(
            (&lines[1]["text"], &lines[1]["bytes"]),
            (&serde_json::Value::Null, &1.into())
        );
    }
}
