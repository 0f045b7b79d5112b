//! Frames between their values and their bytes: JSON where it is rare and read by people, raw where it is media.

use bytes::Bytes;

use crate::model::{Closing, Header, Mark, SignalPath};

use super::extent::{RawFrame, Tag};
use super::frame::Frame;

/// A frame as it is found in an extent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stored {
    Opening(Box<Header>),
    Closing(Box<Closing>),
    Frame(Frame),
}

/// Decodes `raw`, which lies within `buffer`; media bytes are shared, not copied. None: the payload is malformed.
pub(super) fn decode(buffer: &Bytes, raw: &RawFrame<'_>) -> Option<Stored> {
    let at = raw.at;
    Some(match raw.tag {
        Tag::Packet(kind) => Stored::Frame(Frame::Packet {
            at,
            leg: raw.leg,
            line: raw.line,
            kind,
            bytes: buffer.slice_ref(raw.payload),
        }),
        Tag::Signal => {
            let (path, bytes) = split_signal(raw.payload)?;
            let bytes = buffer.slice_ref(bytes);
            Stored::Frame(Frame::Signal { at, path, bytes })
        }
        Tag::Mark => Stored::Frame(Frame::Mark {
            at,
            mark: decode_mark(raw.payload)?,
        }),
        Tag::Opening => Stored::Opening(serde_json::from_slice(raw.payload).ok()?),
        Tag::Closing => Stored::Closing(serde_json::from_slice(raw.payload).ok()?),
    })
}

pub(super) fn decode_mark(payload: &[u8]) -> Option<Mark> {
    serde_json::from_slice(payload).ok()
}

/// A signal's payload: the length of the path (16 bits), the path as JSON, the message.
pub(super) fn split_signal(payload: &[u8]) -> Option<(SignalPath, &[u8])> {
    let (length, rest) = payload.split_first_chunk::<2>()?;
    let (path, message) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((serde_json::from_slice(path).ok()?, message))
}

/// The head of a signal's payload; the message follows it.
pub(super) fn signal_head(path: &SignalPath) -> Vec<u8> {
    let json = json(path);
    let mut head = (json.len() as u16).to_le_bytes().to_vec();
    head.extend_from_slice(&json);
    head
}

/// JSON of a value of ours, none of which has a map with keys that JSON cannot carry.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("invariant: our values have a JSON form")
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The inverse of [`hex`], for 32 bytes.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
