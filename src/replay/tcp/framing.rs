//! Where a message ends, and where the next may begin.

use crate::sip::start_line::{StartLine, skip_crlf, start_line};

pub(super) const HEADER_BYTES_MAX: usize = 64 << 10;
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// What a copy to a collector begins with.
const HEP3: &[u8] = b"HEP3";

/// What a stream begins with.
pub(super) enum Frame {
    Whole(usize),
    /// No empty line yet.
    Headless,
    /// Not all of the body yet.
    Partial,
    Oversized,
}

/// How long the message at the start of `bytes` is; the first `searched` bytes hold no empty line.
pub(super) fn frame(bytes: &[u8], searched: usize) -> Frame {
    let from = searched.saturating_sub(3).min(bytes.len());
    let Some(end) = bytes
        .get(from..)
        .and_then(|tail| memchr::memmem::find(tail, b"\r\n\r\n"))
    else {
        return if bytes.len() > HEADER_BYTES_MAX {
            Frame::Oversized
        } else {
            Frame::Headless
        };
    };
    let head_len = from + end + 4;
    let body_len = content_length(bytes.get(..head_len).unwrap_or_default());
    match head_len + body_len {
        _ if head_len > HEADER_BYTES_MAX || body_len > BODY_BYTES_MAX => Frame::Oversized,
        len if len <= bytes.len() => Frame::Whole(len),
        _ => Frame::Partial,
    }
}

/// How long the copy by HEP3 at the start of `bytes` is; 0 while that is not known. None: there is none.
pub(super) fn copy_length(bytes: &[u8]) -> Option<usize> {
    match bytes.strip_prefix(HEP3)? {
        [high, low, ..] => Some(usize::from(u16::from_be_bytes([*high, *low])).max(HEP3.len() + 2)),
        _ => Some(0),
    }
}

/// What Content-Length or `l` says (RFC 3261 §20.14); 0 when it is missing or no number.
fn content_length(head: &[u8]) -> usize {
    head.split(|b| *b == b'\n')
        .filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let name = line.get(..colon)?.trim_ascii();
            let is_ours = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l");
            let value = line.get(colon + 1..)?.trim_ascii();
            is_ours.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
        })
        .next()
        .unwrap_or(0)
}

/// How many bytes to pass over, at least one: up to the next line that starts a message, or to the last line.
pub(super) fn resync(bytes: &[u8]) -> usize {
    let mut last = bytes.len();
    for newline in memchr::memchr_iter(b'\n', bytes) {
        last = newline + 1;
        let next = bytes.get(last..).unwrap_or_default();
        if start_line(next) == StartLine::Sip || next.starts_with(HEP3) {
            break;
        }
    }
    last
}

/// Where in a segment the first start line or copy is, at the segment's or a line's beginning.
pub(super) fn first_start_line(payload: &[u8]) -> Option<usize> {
    if payload.starts_with(HEP3) {
        return Some(0);
    }
    memchr::memmem::find(payload, b"SIP/2.0")?;
    if start_line(skip_crlf(payload)) == StartLine::Sip {
        return Some(payload.len() - skip_crlf(payload).len());
    }
    memchr::memchr_iter(b'\n', payload)
        .map(|newline| newline + 1)
        .find(|at| start_line(payload.get(*at..).unwrap_or_default()) == StartLine::Sip)
}
