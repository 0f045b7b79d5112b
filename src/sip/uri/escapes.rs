//! `%XX` in URIs (RFC 3261 §19.1.2).

use std::borrow::Cow;
use std::fmt::Write as _;

/// `unreserved` and `user-unreserved` stay, all else is percent-escaped (RFC 3261 §25.1). A '%' that starts an
/// escape stays, so that escaped input is not escaped twice.
pub(super) fn escaped_user(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for (at, c) in user.bytes().enumerate() {
        let plain = c.is_ascii_alphanumeric()
            || b"-_.!~*'()&=+$,;?/".contains(&c)
            || (c == b'%' && escape_at(user.as_bytes(), at).is_some());
        if plain {
            out.push(char::from(c));
        } else {
            write!(out, "%{c:02X}").expect("invariant: a String takes all that is written");
        }
    }
    out
}

/// The byte that `%XX` at `at` stands for.
fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let hex = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    if bytes.get(at) != Some(&b'%') {
        return None;
    }
    u8::try_from(hex(at + 1)? << 4 | hex(at + 2)?).ok()
}

/// `%XX` resolved; what does not resolve to UTF-8 becomes U+FFFD.
pub(crate) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&c) = bytes.get(at) {
        let escape = escape_at(bytes, at);
        out.push(escape.unwrap_or(c));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned().into()
}
