//! SIP over WebSocket (RFC 7118): one message a WebSocket message, in one frame or several (RFC 6455 §5.2).
//!
//! A connection is known by a frame that starts a SIP message, whether or not its handshake was captured. Such a frame is
//! looked for, too, where the start of the next one is not known: behind a gap, and behind bytes that are no frame.

use std::collections::VecDeque;

use super::super::fragments::Place;
use super::framing::{BODY_BYTES_MAX, HEADER_BYTES_MAX};
use super::{Key, Output, Stream};
use crate::sip::Transport;
use crate::sip::start_line::{START_LINE_MAX, StartLine, skip_crlf, start_line};

const MESSAGE_BYTES_MAX: usize = HEADER_BYTES_MAX + BODY_BYTES_MAX;
/// What may be a frame of SIP by its first bytes, and is looked at to the end of its start line, in one search. Then the
/// rest of the bytes holds none.
const CANDIDATES_MAX: usize = 64;
/// As much of a payload as is unmasked before that.
const PEEK_BYTES: usize = 4;

/// The frames of one direction.
#[derive(Default)]
pub(super) struct Frames {
    /// What came so far of a message in several frames.
    message: Vec<u8>,
    /// The bytes before the next frame are missing, or what came is no frame, or longer than any SIP message: where the
    /// next frame starts is not known.
    is_lost: bool,
}

struct Frame<'a> {
    is_last: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// With the header.
    len: usize,
    /// Where the payload starts.
    from: usize,
    /// As much as there is.
    payload: &'a [u8],
}

enum Parsed<'a> {
    Frame(Frame<'a>),
    Partial,
    Broken,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let [first, second, after @ ..] = bytes else {
        return Parsed::Partial;
    };
    // Extensions are not read: RFC 7118 names none.
    if first & 0x70 != 0 || !matches!(first & 0x0F, CONTINUATION | TEXT | BINARY | 8 | 9 | 10) {
        return Parsed::Broken;
    }
    let (len, len_bytes) = match (second & 0x7F, after) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
        (126 | 127, _) => return Parsed::Partial,
        (len, _) => (u64::from(len), 0),
    };
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= MESSAGE_BYTES_MAX) else {
        return Parsed::Broken;
    };
    let mut from = 2 + len_bytes;
    let mut mask = None;
    if second & 0x80 != 0 {
        mask = bytes.get(from..from + 4).and_then(|mask| mask.try_into().ok());
        if mask.is_none() {
            return Parsed::Partial;
        }
        from += 4;
    }
    let end = (from + len).min(bytes.len());
    Parsed::Frame(Frame {
        is_last: first & 0x80 != 0,
        opcode: first & 0x0F,
        mask,
        len: from + len,
        from,
        payload: bytes.get(from..end).unwrap_or_default(),
    })
}

impl Frame<'_> {
    fn unmasked(&self) -> impl Iterator<Item = u8> {
        let mask = self.mask.unwrap_or_default();
        self.payload
            .iter()
            .zip(mask.into_iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
    }
}

/// Whether bytes start with a frame that starts a SIP message; each frame that might is one of the `candidates`.
fn begins(bytes: &[u8], candidates: &mut usize) -> StartLine {
    let frame = match parse(bytes) {
        Parsed::Frame(frame) if matches!(frame.opcode, TEXT | BINARY) => frame,
        Parsed::Frame(_) | Parsed::Broken => return StartLine::NotSip,
        Parsed::Partial => return StartLine::Undecided,
    };
    let peek: Vec<u8> = frame.unmasked().take(PEEK_BYTES).collect();
    if start_line(skip_crlf(&peek)) == StartLine::NotSip || *candidates == 0 {
        return StartLine::NotSip;
    }
    *candidates -= 1;
    let line: Vec<u8> = frame.unmasked().take(START_LINE_MAX).collect();
    match start_line(skip_crlf(&line)) {
        // A frame that ends before its start line does is none of SIP.
        StartLine::Undecided if bytes.len() >= frame.len => StartLine::NotSip,
        found => found,
    }
}

/// Where the first frame that starts a SIP message is.
pub(super) fn first_frame(bytes: &[u8]) -> Option<usize> {
    match search(bytes) {
        (at, StartLine::Sip) => Some(at),
        _ => None,
    }
}

/// How many bytes to pass over for the first frame that starts a SIP message, or may start one when more has come.
fn search(bytes: &[u8]) -> (usize, StartLine) {
    let mut candidates = CANDIDATES_MAX;
    for (at, first) in bytes.iter().enumerate() {
        if !matches!(first & 0x7F, TEXT | BINARY) {
            continue;
        }
        match begins(bytes.get(at..).unwrap_or_default(), &mut candidates) {
            StartLine::NotSip => {}
            found => return (at, found),
        }
    }
    (bytes.len(), StartLine::NotSip)
}

impl Frames {
    pub(super) const fn after_gap() -> Self {
        Self {
            message: Vec::new(),
            is_lost: true,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.message.len()
    }

    /// The SIP message that the frame ends.
    fn take_in(&mut self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        if frame.opcode > BINARY {
            return None;
        }
        if frame.opcode != CONTINUATION {
            self.message = Vec::new();
        }
        self.message.extend(frame.unmasked());
        if self.message.len() > MESSAGE_BYTES_MAX {
            *self = Self::after_gap();
            return None;
        }
        if !frame.is_last {
            return None;
        }
        let message = std::mem::take(&mut self.message);
        let message = skip_crlf(&message);
        (start_line(message) == StartLine::Sip).then(|| message.to_vec())
    }
}

impl Stream {
    /// Cuts the buffer into frames, and what they carry into messages.
    pub(super) fn cut_frames(&mut self, frames: &mut Frames, place: Place, key: Key, outputs: &mut VecDeque<Output>) {
        let mut from = 0;
        loop {
            let rest = self.buffer.get(from..).unwrap_or_default();
            if frames.is_lost {
                let (passed, found) = search(rest);
                from += passed;
                self.skipped += passed;
                if found != StartLine::Sip {
                    break;
                }
                frames.is_lost = false;
                self.name_skipped(place, key, outputs);
                continue;
            }
            let frame = match parse(rest) {
                Parsed::Frame(frame) if frame.payload.len() == frame.len - frame.from => frame,
                Parsed::Frame(_) | Parsed::Partial => break,
                Parsed::Broken => {
                    *frames = Frames::after_gap();
                    continue;
                }
            };
            from += frame.len;
            if let Some(message) = frames.take_in(&frame) {
                outputs.push_back(Output::Message {
                    place,
                    transport: Transport::Ws,
                    src: key.0,
                    dst: key.1,
                    bytes: message,
                });
            }
        }
        self.pass(from);
    }
}

#[cfg(test)]
mod tests;
