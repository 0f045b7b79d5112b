//! Messages out of a byte stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

mod broken;
mod cut;

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

use cut::{Behind, Shown};

use super::message::{Lines, MESSAGE_BYTES_MAX};

/// The most that start line and headers of one message may take.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Why a stream cannot be read on: the connection is to be closed, for nobody knows where the next message starts.
/// Always the peer's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FramingError {
    #[error("start line and headers longer than {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    #[error("message longer than {MESSAGE_BYTES_MAX} bytes")]
    MessageTooLong,
    #[error("no Content-Length")]
    NoContentLength,
    #[error("malformed or contradicting Content-Length")]
    BadContentLength,
    #[error("malformed header lines")]
    BadLines,
}

/// Cuts one stream into messages. Holds less than one message beside those that wait for [`Framer::next_frame`]; who
/// reads the socket drains them after each push, so that they are never more than one read brought.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Bytes of the buffer known to hold no end of head.
    scanned: usize,
    begun: Option<Begun>,
    shown: Shown,
    frames: VecDeque<Bytes>,
    broken: Option<FramingError>,
    /// Head of the message that broke the stream, if it was whole.
    broken_head: Bytes,
    keep_alives: u64,
    pings: u32,
    /// CRs and LFs between messages that came last in a row.
    blank: u32,
}

/// A message whose head is there.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// Bytes of its head, its end included.
    head: usize,
    /// Bytes of all of it.
    whole: usize,
}

impl Framer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the socket gave. After an error the frames before it can still be taken; nothing more comes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        self.buffer.extend_from_slice(bytes);
        loop {
            if self.look_behind_shown() == Behind::Undecided {
                return Ok(());
            }
            self.skip_blank();
            match self.cut() {
                Ok(Some(frame)) => self.frames.push_back(frame),
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.broken = Some(error);
                    self.broken_head = self.take_head();
                    self.buffer.clear();
                    return Err(error);
                }
            }
        }
    }

    /// The next whole message, from its start line to the end of its body.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        self.frames.pop_front()
    }

    /// How many CRLFs came between messages.
    pub const fn keep_alives(&self) -> u64 {
        self.keep_alives
    }

    /// How many pings (CRLFCRLF, RFC 5626 §3.5.1) came since last asked; each wants one CRLF back.
    pub fn take_pings(&mut self) -> u32 {
        std::mem::take(&mut self.pings)
    }

    /// Whether a message has begun and not ended.
    pub fn is_inside_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn skip_blank(&mut self) {
        let blank = self.buffer.iter().take_while(|c| matches!(c, b'\r' | b'\n')).count();
        for c in self.buffer.iter().take(blank) {
            if *c == b'\n' {
                self.keep_alives += 1;
                self.blank += 1;
                if self.blank == 2 {
                    self.pings = self.pings.saturating_add(1);
                    self.blank = 0;
                }
            }
        }
        self.buffer.advance(blank);
        if !self.buffer.is_empty() {
            self.blank = 0;
        }
    }

    fn cut(&mut self) -> Result<Option<Bytes>, FramingError> {
        if self.begun.is_none() {
            self.begun = self.measure()?;
        }
        let Some(begun) = self.begun.filter(|begun| self.buffer.len() >= begun.whole) else {
            return Ok(None);
        };
        self.begin_anew();
        Ok(Some(self.buffer.split_to(begun.whole).freeze()))
    }

    fn begin_anew(&mut self) {
        self.begun = None;
        self.scanned = 0;
        self.shown = Shown::default();
    }

    /// The message at the front, once its head is whole.
    fn measure(&mut self) -> Result<Option<Begun>, FramingError> {
        let from = self.scanned.saturating_sub(END_OF_HEAD.len() - 1);
        let found = memchr::memmem::find(self.buffer.get(from..).unwrap_or_default(), END_OF_HEAD);
        let head = found.map_or(self.buffer.len(), |at| from + at + END_OF_HEAD.len());
        if head > HEAD_BYTES_MAX {
            return Err(FramingError::HeadTooLong);
        }
        if found.is_none() {
            self.scanned = head;
            return Ok(None);
        }
        let whole = head + content_length(self.buffer.get(..head).unwrap_or_default())?;
        if whole > MESSAGE_BYTES_MAX {
            Err(FramingError::MessageTooLong)
        } else {
            Ok(Some(Begun { head, whole }))
        }
    }
}

fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut lines = Lines::new(head, 0);
    lines.next_unfolded().map_err(|_| FramingError::BadLines)?;
    let mut length = None;
    while let Some(line) = lines.next_header().map_err(|_| FramingError::BadLines)? {
        let Some((name, value)) = line.header() else { continue };
        if !name.eq_ignore_ascii_case("Content-Length") && !name.eq_ignore_ascii_case("l") {
            continue;
        }
        let digits = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.bytes().all(|c| c.is_ascii_digit()));
        let value: usize = digits
            .and_then(|text| text.parse().ok())
            .ok_or(FramingError::BadContentLength)?;
        if length.is_some_and(|other| other != value) {
            return Err(FramingError::BadContentLength);
        }
        length = Some(value.min(MESSAGE_BYTES_MAX + 1));
    }
    length.ok_or(FramingError::NoContentLength)
}

#[cfg(test)]
mod tests;
