//! An INVITE whose rest does not come: how much of it is worth showing, and where it ends if its sender goes on with the next
//! message all the same.

use bytes::Bytes;

use super::Framer;
use crate::sip::start_line::{self, StartLine, start_line};

/// How far a message that is not whole was handed on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Shown {
    length: usize,
    /// Nothing says yet that the rest comes.
    may_be_all: bool,
}

/// What comes behind that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Behind {
    Rest,
    /// A line that may yet become the start line of the next message.
    Undecided,
    /// The next message: what was shown was all.
    Message,
}

impl Framer {
    /// Whether all that lacks of an INVITE is lines that it may do without: a line is here that describes media (RFC 8866
    /// §5.14). Without one whoever is called would be asked to offer, and the caller does not know that it has to answer.
    pub fn is_worth_showing(&self) -> bool {
        let Some(begun) = self.begun.filter(|_| self.buffer.ends_with(b"\n")) else {
            return false;
        };
        let behind_head = self.buffer.get(begun.head - 1..).unwrap_or_default();
        self.is_invite() && memchr::memmem::find(behind_head, b"\nm=").is_some()
    }

    /// An INVITE of which no more is waited for, as far as it has come: its head, and whole lines of its body. Once for what
    /// has come; who asks hands it on.
    pub fn show_invite(&mut self) -> Option<Bytes> {
        let head = self.begun.filter(|_| self.is_invite())?.head;
        let length = memchr::memrchr(b'\n', &self.buffer).map_or(0, |at| at + 1).max(head);
        if length == self.shown.length {
            return None;
        }
        self.shown = Shown {
            length,
            may_be_all: true,
        };
        self.buffer.get(..length).map(Bytes::copy_from_slice)
    }

    fn is_invite(&self) -> bool {
        self.buffer.starts_with(b"INVITE ")
    }

    /// What was shown ends where the next message begins.
    pub(super) fn look_behind_shown(&mut self) -> Behind {
        if !self.shown.may_be_all {
            return Behind::Rest;
        }
        let behind = self.buffer.get(self.shown.length..).unwrap_or_default();
        let line = start_line::skip_crlf(behind);
        if line.is_empty() {
            return Behind::Rest;
        }
        let is_whole = self.begun.is_some_and(|begun| self.buffer.len() >= begun.whole);
        let is_boundary = line.starts_with(b"--"); // of a multipart body (RFC 2046 §5.1.1): its last needs no line end
        match start_line(line) {
            _ if is_boundary => {
                self.shown.may_be_all = false;
                Behind::Rest
            }
            StartLine::Undecided if is_whole => {
                self.shown.may_be_all = false;
                Behind::Rest
            }
            StartLine::Sip => {
                let shown = self.buffer.split_to(self.shown.length).freeze();
                self.frames.push_back(shown);
                self.begin_anew();
                Behind::Message
            }
            StartLine::Undecided => Behind::Undecided,
            StartLine::NotSip => {
                self.shown.may_be_all = false;
                Behind::Rest
            }
        }
    }
}

#[cfg(test)]
mod tests;
