//! The parts of a multipart body, and of those inside it (RFC 2046 §5.1).
//!
//! What two readers could take for different things is not carried: a boundary within a line or with more behind it, a part
//! with two types, a multipart without an end.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::{Content, Writing};

/// Parts that are looked at, of all levels together.
const PARTS_MAX: usize = 16;
/// Multiparts within each other.
const DEPTH_MAX: usize = 4;

/// Media may hide in the body.
struct Hidden;

/// What has been found so far.
#[derive(Default)]
struct Walk {
    parts: usize,
    sdp: Option<Range<usize>>,
    is_any_sealed: bool,
    /// The most of any part.
    writing: Option<Writing>,
}

/// What is written in the parts of a multipart body; none: it cannot be taken apart.
pub(super) fn writing(body: &[u8], parameters: &str) -> Option<Writing> {
    let mut walk = Walk::default();
    let walked = walk.enter(body, 0..body.len(), parameters.as_bytes(), 1);
    walked.ok().and(walk.writing)
}

/// Finds the one SDP part of a multipart body. `parameters`: of its Content-Type.
pub(super) fn content(body: &[u8], parameters: &str) -> Content {
    let mut walk = Walk::default();
    if walk.enter(body, 0..body.len(), parameters.as_bytes(), 1).is_err() {
        return Content::Unreadable;
    }
    match walk.sdp {
        Some(Range { start, end }) => Content::Part {
            start,
            end,
            beside_sealed: walk.is_any_sealed,
        },
        None if walk.is_any_sealed => Content::Sealed,
        None => Content::opaque(body),
    }
}

impl Walk {
    /// The multipart within `range`.
    fn enter(&mut self, body: &[u8], range: Range<usize>, parameters: &[u8], depth: usize) -> Result<(), Hidden> {
        let delimiter = delimiter(parameters).filter(|_| depth <= DEPTH_MAX).ok_or(Hidden)?;
        let text = body.get(range.clone()).ok_or(Hidden)?;
        let mut begun = None;
        for at in memmem::find_iter(text, &delimiter) {
            let line = DelimiterLine::read(text, at, delimiter.len())?;
            if let Some(start) = begun {
                // The line break before a delimiter belongs to the delimiter.
                let end = without_line_break(text, at);
                let part = text.get(start..end).ok_or(Hidden)?;
                self.on_part(body, range.start + start, part, depth)?;
            }
            if line.closes {
                return begun.map(drop).ok_or(Hidden);
            }
            begun = Some(line.end);
        }
        Err(Hidden)
    }

    /// `at`: where it starts in the body.
    fn on_part(&mut self, body: &[u8], at: usize, part: &[u8], depth: usize) -> Result<(), Hidden> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(Hidden);
        }
        let (fields, start) = head(part).ok_or(Hidden)?;
        let content_type = single(&fields, &["content-type", "c"])?.unwrap_or_default();
        let (media_type, parameters) = split_type(content_type);
        let content = at + start..at + part.len();
        self.is_any_sealed |= super::is_sealed(media_type);
        if !starts_with_ignoring_case(media_type, b"multipart/") || Writing::of_part(media_type) == Writing::Sealed {
            self.writing = self.writing.max(Some(Writing::of_part(media_type)));
        }
        if starts_with_ignoring_case(media_type, b"multipart/") {
            is_plain(&fields)?;
            return self.enter(body, content, parameters, depth + 1);
        }
        if media_type.eq_ignore_ascii_case(b"application/sdp") {
            is_plain(&fields)?;
            if self.sdp.replace(content).is_some() {
                return Err(Hidden);
            }
        }
        Ok(())
    }
}

/// A line that begins with the delimiter: `--boundary`, `--` behind the last part, and padding (RFC 2046 §5.1.1).
struct DelimiterLine {
    closes: bool,
    /// Behind its line break.
    end: usize,
}

impl DelimiterLine {
    fn read(text: &[u8], at: usize, length: usize) -> Result<Self, Hidden> {
        let is_at_line_start = at == 0 || text.get(at - 1) == Some(&b'\n');
        let rest = text.get(at + length..).filter(|_| is_at_line_start).ok_or(Hidden)?;
        let closes = rest.starts_with(b"--");
        let line_end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let padding = rest.get(if closes { 2 } else { 0 }..line_end).ok_or(Hidden)?;
        if !padding.iter().all(u8::is_ascii_whitespace) {
            return Err(Hidden);
        }
        let end = at + length + line_end;
        Ok(Self { closes, end })
    }
}

/// `--` and the boundary parameter, unquoted (RFC 2046 §5.1.1: 1 to 70 characters).
fn delimiter(parameters: &[u8]) -> Option<Vec<u8>> {
    let mut boundaries = parameters.split(|c| *c == b';').filter_map(|parameter| {
        let equals = memchr::memchr(b'=', parameter)?;
        let (name, value) = (parameter.get(..equals)?, parameter.get(equals + 1..)?);
        name.trim_ascii()
            .eq_ignore_ascii_case(b"boundary")
            .then(|| value.trim_ascii())
    });
    let value = boundaries.next().filter(|_| boundaries.next().is_none())?;
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let value = unquoted.unwrap_or(value);
    let fits = (1..=70).contains(&value.len()) && !value.contains(&b'"');
    fits.then(|| [b"--", value].concat())
}

fn without_line_break(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

type Field<'a> = (&'a [u8], Cow<'a, [u8]>);

/// The header fields of a part, folded lines joined, and where its content starts. None for a head that cannot be read line
/// by line or does not end.
fn head(part: &[u8]) -> Option<(Vec<Field<'_>>, usize)> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut at = 0;
    loop {
        let rest = part.get(at..)?;
        let Some(end) = memchr::memchr(b'\n', rest) else {
            // Its own last line break is the delimiter's: a part without a body.
            let is_end = rest.trim_ascii().is_empty();
            return is_end.then_some((fields, part.len()));
        };
        let line = rest.get(..end)?;
        at += end + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => return Some((fields, at)),
            Some(b' ' | b'\t') => {
                let (_, value) = fields.last_mut()?;
                let value = value.to_mut();
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            Some(_) => {
                let colon = memchr::memchr(b':', line)?;
                let value = line.get(colon + 1..)?.trim_ascii();
                fields.push((line.get(..colon)?.trim_ascii(), Cow::Borrowed(value)));
            }
        }
    }
}

/// The value of a field that may stand once.
fn single<'a>(fields: &'a [Field<'_>], names: &[&str]) -> Result<Option<&'a [u8]>, Hidden> {
    let is_named = |name: &[u8]| names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()));
    let mut found = fields.iter().filter(|(name, _)| is_named(name));
    let first = found.next().map(|(_, value)| value.trim_ascii());
    if found.next().is_some() { Err(Hidden) } else { Ok(first) }
}

/// No transfer encoding but the transparent ones, which leave the bytes as they are.
fn is_plain(fields: &[Field<'_>]) -> Result<(), Hidden> {
    let encoding = single(fields, &["content-transfer-encoding"])?.unwrap_or(b"binary");
    let is_transparent = [&b"binary"[..], b"8bit", b"7bit"]
        .iter()
        .any(|plain| encoding.eq_ignore_ascii_case(plain));
    if is_transparent { Ok(()) } else { Err(Hidden) }
}

fn split_type(content_type: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let (media_type, parameters) = content_type.split_at(end);
    (media_type.trim_ascii(), parameters)
}

fn starts_with_ignoring_case(value: &[u8], prefix: &[u8]) -> bool {
    value
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SDP: &str = "v=0\r\nc=IN IP4 192.0.2.1\r\n";

    /// The SDP that is found.
    fn found(body: &str) -> Option<&str> {
        match content(body.as_bytes(), ";boundary=b1") {
            Content::Part { start, end, .. } => Some(&body[start..end]),
            Content::Unreadable => None,
            other => Some(match other {
                Content::Other => "other",
                _ => "sealed",
            }),
        }
    }

    fn nested(depth: usize) -> String {
        (1..=depth).rev().fold(SDP.to_owned(), |inner, level| {
            let kind = if level == depth {
                "application/sdp".to_owned()
            } else {
                format!("multipart/mixed; boundary=\"b{}\"", level + 1)
            };
            format!("--b{level}\r\nContent-Type: {kind}\r\n\r\n{inner}\r\n--b{level}--\r\n")
        })
    }

    #[test]
    fn sdp_is_found_in_multiparts_within_each_other_up_to_four() {
        for depth in 1..=DEPTH_MAX {
            assert_eq!(found(&nested(depth)), Some(SDP), "{depth}");
        }
        assert_eq!(found(&nested(DEPTH_MAX + 1)), None);
    }

    #[test]
    fn padding_behind_a_boundary_and_folded_heads_are_read() {
        let body = format!(
            "before\r\n--b1 \t\r\nContent-Type:\r\n  Application/SDP;\r\n\tx=y\r\nContent-Disposition: session;\r\n handling=required\r\n\r\n{SDP}\r\n--b1-- \r\nafter"
        );
        assert_eq!(found(&body), Some(SDP));
        let folded = format!(
            "--b1\nc: multipart/alternative;\n boundary=x\n\n--x\nc: text/plain\n\nhi\n--x\nc: application/sdp\n\n{SDP}\n--x--\n--b1--"
        );
        assert_eq!(found(&folded), Some(SDP));
        assert_eq!(
            found("--b1\r\nContent-Type: text/plain\r\n\r\n--b1--\r\n"),
            Some("other")
        );
    }

    #[test]
    fn what_two_readers_could_take_for_different_things_is_not_carried() {
        let part = format!("--b1\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n");
        for hidden in [
            format!("{part}{part}--b1--\r\n"),
            part.clone(),
            format!("{part}--b12\r\n\r\nx\r\n--b1--\r\n"),
            format!("{part}--b1--x\r\n"),
            format!("{part}x --b1\r\n\r\n--b1--\r\n"),
            format!("--b1\r\n folded: first\r\n\r\n{SDP}\r\n--b1--\r\n"),
            format!("--b1\r\nno colon\r\n\r\n{SDP}\r\n--b1--\r\n"),
            part.replace("\r\n\r\n", "\r\nContent-Type: text/plain\r\n\r\n") + "--b1--\r\n",
            part.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n") + "--b1--\r\n",
            format!(
                "--b1\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n--x\r\nc: application/sdp\r\n\r\n{SDP}\r\n--b1--\r\n"
            ),
            "--b1--\r\n".to_owned(),
        ] {
            assert_eq!(found(&hidden), None, "{hidden}");
        }
        for twice in [";boundary=b1;boundary=b2", "", ";boundary=\"b1", ";boundary=\"\""] {
            let body = format!("{part}--b1--\r\n");
            assert_eq!(content(body.as_bytes(), twice), Content::Unreadable, "{twice}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked(pieces in proptest::collection::vec(prop_oneof![
            Just("--b1".to_owned()), Just("--".to_owned()), Just("\r\n".to_owned()), Just("\n".to_owned()), Just(" ".to_owned()),
            Just("Content-Type: multipart/mixed;boundary=b1\r\n".to_owned()), Just("c: application/sdp\r\n".to_owned()), "\\PC{0,8}",
        ], 0..40)) {
            let body = pieces.concat();
            if let Content::Part { start, end, .. } = content(body.as_bytes(), ";boundary=b1") {
                prop_assert!(start <= end && end <= body.len());
            }
        }
    }
}
