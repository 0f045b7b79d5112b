//! Lines of a message before its body, unfolded (RFC 3261 §7.3.1).

use std::borrow::Cow;

use super::decode::HEADER_BYTES_MAX;
use super::error::Wrong;

/// One line without its end. A folded line is one line, with a space where it was folded.
pub(crate) struct Line<'a> {
    /// Of its first byte.
    pub(crate) offset: usize,
    pub(crate) text: Cow<'a, [u8]>,
}

impl Line<'_> {
    /// The name, in whatever form, and the value without surrounding space. None when it is no header.
    pub(crate) fn header(&self) -> Option<(&str, &[u8])> {
        let colon = memchr::memchr(b':', &self.text).filter(|_| !matches!(self.text.first(), Some(b' ' | b'\t')))?;
        let name = std::str::from_utf8(trimmed(self.text.get(..colon)?)).ok()?;
        Some((name, trimmed(self.text.get(colon + 1..)?)))
    }
}

/// Reads lines until the empty one.
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    pub(crate) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the next line starts; the body, once the empty line was read.
    pub(crate) const fn offset(&self) -> usize {
        self.at
    }

    /// One line as it stands, without unfolding: the start line.
    pub(crate) fn next_unfolded(&mut self) -> Result<&'a [u8], (Wrong, usize)> {
        let end = self.line_end(self.at)?;
        let text = self.bytes.get(self.at..end).unwrap_or_default();
        self.at = end + 2;
        Ok(text)
    }

    /// The next header line; None at the empty line.
    pub(crate) fn next_header(&mut self) -> Result<Option<Line<'a>>, (Wrong, usize)> {
        let offset = self.at;
        let first = self.next_unfolded()?;
        if first.is_empty() {
            return Ok(None);
        }
        let mut text = Cow::Borrowed(first);
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) {
            let more = self.next_unfolded()?;
            let text = text.to_mut();
            text.push(b' ');
            text.extend_from_slice(trimmed(more));
            if text.len() > HEADER_BYTES_MAX {
                break;
            }
        }
        if text.len() > HEADER_BYTES_MAX {
            return Err((Wrong::HeaderTooLong, offset));
        }
        Ok(Some(Line { offset, text }))
    }

    /// Goes past a line with a CR or LF in it, up to its CRLF; false if it has none.
    pub(crate) fn leave_out(&mut self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = memchr::memmem::find(rest, b"\r\n");
        self.at += end.map_or(0, |end| end + 2);
        end.is_some()
    }

    /// The CR of the CRLF that ends the line at `from`. A CR or LF by itself is refused: two readers who take it
    /// differently see different messages.
    fn line_end(&self, from: usize) -> Result<usize, (Wrong, usize)> {
        let rest = self.bytes.get(from..).unwrap_or_default();
        let end = from + memchr::memchr2(b'\r', b'\n', rest).ok_or((Wrong::NoEndOfHeaders, from))?;
        match self.bytes.get(end..end + 2) {
            Some(b"\r\n") => Ok(end),
            None if self.bytes.get(end) == Some(&b'\r') => Err((Wrong::NoEndOfHeaders, from)),
            _ => Err((Wrong::BareLineEnd, end)),
        }
    }
}

/// Without SP and HTAB around; other controls are content.
const fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
