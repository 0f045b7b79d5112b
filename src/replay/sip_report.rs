//! The messages of a call, as a report tells them.

use std::fmt::Write as _;

use serde::Serialize;

use super::call::Call;
use super::script::CALL_HEADER;
use super::story::{Story, Told};
use crate::model::{Direction, Leg};

#[derive(Clone, Debug, Serialize)]
pub struct SipReport {
    pub leg: Leg,
    pub sent: &'static str,
    pub start_line: String,
    /// Milliseconds since the first message.
    pub at_ms: u64,
    /// The header lines that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// All of it, where that was asked for; bytes that are no text as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl SipReport {
    pub(super) fn all(call: &Call, story: &Story) -> Vec<Self> {
        let report = |told: &Told| Self {
            leg: told.leg,
            sent: match (told.leg, told.direction) {
                (Leg::A, Direction::Received) => "A→proxy",
                (Leg::A, Direction::Sent) => "proxy→A",
                (Leg::B, Direction::Sent) => "proxy→B",
                (Leg::B, Direction::Received) => "B→proxy",
            },
            start_line: told.start_line.to_string(),
            at_ms: u64::try_from((told.at - call.shift).since(call.started).as_millis()).unwrap_or(u64::MAX),
            headers: told.headers.clone(),
            message: told.whole.as_deref().map(spelled),
        };
        story.sip.iter().map(report).collect()
    }

    /// The messages that were asked for, each below the way that it took.
    pub(super) fn write_whole(sip: &[Self], text: &mut String) {
        for told in sip {
            let mut tell = |what: &str, lines: &mut dyn Iterator<Item = &str>| {
                let _infallible = writeln!(text, "  {}, {} ms{what}", told.sent, told.at_ms);
                for line in lines {
                    let _infallible = writeln!(text, "{}", format!("    | {}", printable(line)).trim_end());
                }
            };
            if let Some(message) = &told.message {
                tell("", &mut message.lines());
            } else if !told.headers.is_empty() {
                let what = format!(", {}", printable(&told.start_line));
                tell(&what, &mut told.headers.iter().map(String::as_str));
            }
        }
    }
}

/// A message as text, without the mark of the replay; what is no text, or what a terminal would obey, as `\xNN`.
fn spelled(message: &[u8]) -> String {
    let mut text = String::new();
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(CALL_HEADER.as_bytes()) {
            continue;
        }
        let end = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n"));
        for chunk in end.unwrap_or(line).utf8_chunks() {
            for c in chunk.valid().chars() {
                if is_hostile(c) {
                    let mut bytes = [0; 4];
                    escape(c.encode_utf8(&mut bytes).as_bytes(), &mut text);
                } else {
                    text.push(c);
                }
            }
            escape(chunk.invalid(), &mut text);
        }
        if end.is_some() {
            text.push('\n');
        }
    }
    text
}

fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        let _infallible = write!(text, "\\x{byte:02x}");
    }
}

/// The capture's text, without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hostile(c) { '·' } else { c }).collect()
}

fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
