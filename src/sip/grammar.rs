//! The small words of the grammar that every header shares (RFC 3261 §25.1).

use std::borrow::Cow;

/// The characters of `token`.
pub(crate) const fn is_token_char(c: u8) -> bool {
    TOKEN_CHARS[c as usize]
}

/// A table, for every byte of many names is asked.
const TOKEN_CHARS: [bool; 256] = {
    let mut chars = [false; 256];
    let mut c = 0;
    while c < chars.len() {
        let byte = c as u8;
        chars[c] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        c += 1;
    }
    chars
};

pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_char)
}

/// `text` with `-` for each character that no token may hold.
pub(crate) fn as_token(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_token_char) {
        return text.into();
    }
    let tokenized = |c| {
        if u8::try_from(c).is_ok_and(is_token_char) {
            c
        } else {
            '-'
        }
    };
    text.chars().map(tokenized).collect()
}

/// SP and HTAB: what is left of LWS once lines are unfolded.
pub(crate) const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Whether `text` may stand in a header line as it is.
pub(crate) fn is_one_line(text: &str) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, text.as_bytes()).is_none()
}

/// Whether `text` holds a control character other than HTAB (RFC 3261 §25.1 `CTL`).
pub(crate) fn has_controls(text: &str) -> bool {
    // Without a branch for each byte: every header of every message is asked.
    let is_control = |c: u8| (c < b' ') & (c != b'\t') | (c == 0x7f);
    text.bytes().fold(false, |found, c| found | is_control(c))
}

/// `text` with a space for each control character but HTAB.
pub(crate) fn without_controls(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_control() && c != '\t', " ")
}

/// `text` with CR, LF and NUL as spaces, so that it can neither end its line nor start another.
pub(crate) fn one_line(text: String) -> String {
    if is_one_line(&text) {
        return text;
    }
    text.replace(['\r', '\n', '\0'], " ")
}

/// Where the ASCII character `wanted` stands first.
pub(crate) fn find(text: &str, wanted: u8) -> Option<usize> {
    memchr::memchr(wanted, text.as_bytes())
}

/// What stands before and behind the first `wanted`, an ASCII character.
pub(crate) fn split_once(text: &str, wanted: u8) -> Option<(&str, &str)> {
    let at = find(text, wanted)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// `number` in decimal digits.
pub(crate) fn push_number(out: &mut String, number: u32) {
    let mut tens = 1;
    while number / tens >= 10 {
        tens *= 10;
    }
    while tens > 0 {
        let digit = number / tens % 10;
        out.push(char::from(b'0' + digit as u8));
        tens /= 10;
    }
}

/// The byte after the closing quote, for a `text` that starts with one. None when it never closes.
pub(crate) fn end_of_quoted(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(c) = bytes.get(at) {
        match c {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// Whether `text` is one `quoted-string` and nothing else.
pub(crate) fn is_quoted(text: &str) -> bool {
    text.starts_with('"') && end_of_quoted(text) == Some(text.len()) && is_one_line(text)
}

/// `text` in quotes, with `"` and `\` escaped (RFC 3261 §25.1 `quoted-string`).
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\r' | '\n' | '\0' => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The content of a `quoted-string` with its escapes resolved; other text unchanged.
pub(crate) fn unquoted(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return text.into();
    };
    if find(inner, b'\\').is_none() {
        return inner.into();
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out.into()
}

/// Where `wanted` stands first outside quotes and angle brackets.
pub(crate) fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let found = memchr::memchr3(wanted, b'"', b'<', rest.as_bytes())?;
        at += found;
        at += match rest.as_bytes().get(found)? {
            b'"' => end_of_quoted(text.get(at..)?)?,
            b'<' => find(text.get(at..)?, b'>')? + 1,
            _ => return Some(at),
        };
    }
}

/// Whether a list of one element is written so: without comma, and without space around.
pub(crate) fn is_one_element(text: &str) -> bool {
    let is_bare = |end: Option<&u8>| end.is_some_and(|c| !matches!(c, b' ' | b'\t'));
    is_bare(text.as_bytes().first()) && is_bare(text.as_bytes().last()) && find(text, b',').is_none()
}

/// The elements of a header that is a comma-separated list, without surrounding space (RFC 3261 §7.3.1). Empty
/// elements are skipped.
pub(crate) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let element = match find_outside(text, b',') {
                Some(at) => {
                    rest = text.get(at + 1..);
                    text.get(..at)?
                }
                None => {
                    rest = None;
                    text
                }
            };
            let element = element.trim_matches(is_space);
            if !element.is_empty() {
                return Some(element);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_at_commas_that_are_neither_quoted_nor_in_brackets() {
        let text = r#"<sip:a,b@c>;x=1, "Smith, \" J" <sip:j@d> ,, plain ,"#;
        let elements: Vec<_> = split_list(text).collect();
        assert_eq!(elements, ["<sip:a,b@c>;x=1", r#""Smith, \" J" <sip:j@d>"#, "plain"]);
    }

    #[test]
    fn quoting_and_unquoting_are_inverse_for_text_of_one_line() {
        for text in ["", "Bob", r#"a "b" \ c"#, "Jörg"] {
            assert_eq!(unquoted(&quoted(text)), text);
        }
        assert_eq!(quoted("a\r\nVia: x"), "\"a  Via: x\"");
    }

    #[test]
    fn an_unclosed_quote_ends_nowhere() {
        assert_eq!(end_of_quoted(r#""abc"#), None);
        assert_eq!(end_of_quoted(r#""abc\""#), None);
        assert_eq!(end_of_quoted(r#""a\"" x"#), Some(5));
    }
}
