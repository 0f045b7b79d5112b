//! Lines of a description, by their place in the text.

use std::borrow::Cow;
use std::ops::Range;

use super::SdpError;

/// One line: `type=value`, or text that is neither.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line<'a> {
    /// The whole line with its line ending.
    pub(super) span: Range<usize>,
    /// The letter before `=`; `None` for a line of another shape.
    pub(super) kind: Option<u8>,
    /// After the `=`, without the line ending.
    pub(super) value: &'a [u8],
    /// Where `value` starts in the text.
    pub(super) value_at: usize,
}

impl Line<'_> {
    /// `name` and, after a colon, the value: without spaces around them, other than UTF-8 replaced.
    pub(super) fn attribute(&self) -> (Cow<'_, str>, Option<Cow<'_, str>>) {
        let colon = memchr::memchr(b':', self.value);
        let (name, value) = self.value.split_at(colon.unwrap_or(self.value.len()));
        let text = |bytes| String::from_utf8_lossy(<[u8]>::trim_ascii(bytes));
        (text(name), value.split_first().map(|(_, value)| text(value)))
    }
}

/// Splits at LF; CR only ever belongs to a line ending (RFC 8866 §9: neither CR nor NUL stands within a value). A stray
/// CR is refused rather than guessed at: two readers could see different lines, and one of them is our relay.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Result<Line<'_>, SdpError>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let line = line(start, &rest[..length]);
        start += length;
        Some(line)
    })
}

/// Without the NUL that ends a string where it was written, and was counted and sent.
pub(super) fn without_nul_behind(text: &[u8]) -> &[u8] {
    let is_end = |byte: &&u8| matches!(byte, 0 | b'\r' | b'\n');
    let tail = text.len() - text.iter().rev().take_while(is_end).count();
    let nul = text.iter().skip(tail).position(|byte| *byte == 0);
    nul.and_then(|at| text.get(..tail + at)).unwrap_or(text)
}

fn line(start: usize, raw: &[u8]) -> Result<Line<'_>, SdpError> {
    let content = raw.strip_suffix(b"\n").unwrap_or(raw);
    let ending = content.iter().rev().take_while(|byte| **byte == b'\r').count();
    let content = &content[..content.len() - ending];
    if let Some(at) = memchr::memchr2(b'\r', 0, content) {
        return Err(SdpError::Malformed { offset: start + at });
    }
    let indent = content.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let (kind, value_at) = match content.get(indent..) {
        // An indented m= or c= is a line for some readers and none for others.
        Some([b'm' | b'c', b'=', ..]) if indent > 0 => return Err(SdpError::Malformed { offset: start }),
        Some([kind, b'=', ..]) => (Some(*kind), indent + 2),
        _ => (None, 0),
    };
    Ok(Line {
        span: start..start + raw.len(),
        kind,
        value: content.get(value_at..).unwrap_or_default(),
        value_at: start + value_at,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_ending_keep_their_place() {
        let text = b"v=0\r\ns= x \n\na=one:two\r\r\nm=last";
        let lines: Vec<_> = lines(text).collect::<Result<_, _>>().unwrap();
        let spans: Vec<_> = lines.iter().map(|line| line.span.clone()).collect();
        assert_eq!(spans, [0..5, 5..11, 11..12, 12..24, 24..30]);
        assert_eq!(lines[1].value, b" x ");
        assert_eq!(lines[2].kind, None);
        assert_eq!(lines[3].attribute(), ("one".into(), Some("two".into())));
        assert_eq!(&text[lines[4].value_at..], b"last");
    }

    #[test]
    fn nuls_behind_the_last_line_are_no_part_of_it() {
        for (text, read) in [
            (&b"v=0\r\n\0"[..], &b"v=0\r\n"[..]),
            (b"v=0\r\n\0\r\n\0\0", b"v=0\r\n"),
            (b"v=0\0", b"v=0"),
            (b"v=0\r\n\r\n", b"v=0\r\n\r\n"),
            (b"\0", b""),
            (b"v=0\0s=-\r\n", b"v=0\0s=-\r\n"),
        ] {
            assert_eq!(without_nul_behind(text), read);
        }
    }

    #[test]
    fn a_carriage_return_within_a_line_is_refused() {
        let error = lines(b"v=0\r\na=x\ra=candidate:1\r\n").find_map(Result::err);
        assert_eq!(error, Some(SdpError::Malformed { offset: 8 }));
        let error = lines(b"v=0\na=\0").find_map(Result::err);
        assert_eq!(error, Some(SdpError::Malformed { offset: 6 }));
        let error = lines(b"v=0\n m=audio 1 RTP/AVP 0").find_map(Result::err);
        assert_eq!(error, Some(SdpError::Malformed { offset: 4 }));
    }
}
