//! `;name=value` parameters of headers and URIs.

use std::borrow::Cow;
use std::fmt;

use super::grammar::{self, is_space, is_token_char};
use super::text::Text;

/// Parameters as text, in order: `;branch=z9hG4bK1;rport`. Names compare without case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Params {
    text: Text,
}

/// A parameter has no name, an open quote, or a character that cannot stand there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed parameters")]
pub struct ParamsError;

impl Params {
    /// Reads what is empty or starts with `;`. Space around `;` and `=` is dropped; an empty parameter is refused.
    pub fn parse(text: &str) -> Result<Self, ParamsError> {
        Self::read(text, |text| text.into())
    }

    /// A `piece` of `whole`, which they share if they are written without space.
    pub(super) fn piece_of(whole: &Text, piece: &str) -> Result<Self, ParamsError> {
        Self::read(piece, |text| whole.piece(text))
    }

    fn read(text: &str, keep: impl FnOnce(&str) -> Text) -> Result<Self, ParamsError> {
        let text = text.trim_matches(is_space);
        let mut plain_bytes = 0;
        each_spaced(text, |parts| {
            plain_bytes += parts.iter().map(|part| part.len()).sum::<usize>()
        })?;
        if plain_bytes == text.len() {
            return Ok(Self { text: keep(text) });
        }
        let mut out = String::with_capacity(plain_bytes);
        each_spaced(text, |parts| parts.iter().for_each(|part| out.push_str(part)))?;
        Ok(Self {
            text: out.as_str().into(),
        })
    }

    /// The value as written, in its quotes if it has some; `Some("")` for a parameter without a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        find(&self.text, name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The same as a quoted string, whatever it is.
    pub(crate) fn set_quoted(&mut self, name: &str, value: &str) {
        self.set(name, &grammar::quoted(value));
    }

    /// Replaces the parameter or appends it. An empty value writes the bare name; a value that is neither token, host
    /// nor quoted string is quoted; a name that is no token is made one.
    pub fn set(&mut self, name: &str, value: &str) {
        let plain = value.bytes().all(is_value_char) || grammar::is_quoted(value);
        let value = if plain {
            Cow::Borrowed(value)
        } else {
            Cow::Owned(grammar::quoted(value))
        };
        let name = grammar::as_token(name);
        let mut out = String::with_capacity(self.text.len() + name.len() + value.len() + 2);
        let mut found = false;
        for (old, kept) in self.iter() {
            let replaced = old.eq_ignore_ascii_case(&name);
            if replaced && found {
                continue;
            }
            append(&mut out, old, if replaced { &value } else { kept });
            found |= replaced;
        }
        if !found {
            append(&mut out, &name, &value);
        }
        self.text = out.as_str().into();
    }

    pub fn remove(&mut self, name: &str) {
        if self.contains(name) {
            let mut out = String::with_capacity(self.text.len());
            for (old, value) in self.iter().filter(|(old, _)| !old.eq_ignore_ascii_case(name)) {
                append(&mut out, old, value);
            }
            self.text = out.as_str().into();
        }
    }

    /// Names and values, in order; the value is empty when there is none.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        each(&self.text)
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn append(out: &mut String, name: &str, value: &str) {
    out.push(';');
    out.push_str(name);
    if !value.is_empty() {
        out.push('=');
        out.push_str(value);
    }
}

/// The value of `name` in text of the form of [`Params`], without space.
pub(super) fn find<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let named = |param: &'a str| {
        let (start, rest) = param.split_at_checked(name.len())?;
        let value = if rest.is_empty() { rest } else { rest.strip_prefix('=')? };
        start.eq_ignore_ascii_case(name).then_some(value)
    };
    each_whole(text).find_map(named)
}

/// The parameters of text of the form of [`Params`], without space.
pub(super) fn each(text: &str) -> impl Iterator<Item = (&str, &str)> {
    each_whole(text).map(|param| grammar::split_once(param, b'=').unwrap_or((param, "")))
}

/// Name and value together.
fn each_whole(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix(';')?;
        let end = grammar::find_outside(rest, b';').unwrap_or(rest.len());
        let (param, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(param)
    })
}

/// Tells the parts of each parameter: `;` and name, `=` and value, without the space between them.
fn each_spaced<'a>(text: &'a str, mut tell: impl FnMut(&[&'a str])) -> Result<(), ParamsError> {
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.strip_prefix(';').ok_or(ParamsError)?.trim_start_matches(is_space);
        let name = leading(rest, is_name_char);
        if name.is_empty() {
            return Err(ParamsError);
        }
        tell(&[";", name]);
        rest = rest.get(name.len()..).ok_or(ParamsError)?.trim_start_matches(is_space);
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start_matches(is_space);
            let value = leading_value(after)?;
            tell(&["=", value]);
            rest = after
                .get(value.len()..)
                .ok_or(ParamsError)?
                .trim_start_matches(is_space);
        }
    }
    Ok(())
}

/// Parameter names of URIs allow more than tokens (`paramchar`, RFC 3261 §25.1); so do we everywhere.
const fn is_name_char(c: u8) -> bool {
    is_token_char(c) || matches!(c, b'[' | b']' | b'/' | b':' | b'&' | b'$' | b'(' | b')')
}

/// Tokens, hosts, URI parameters, and what is seen in the wild in their place; also UTF-8.
const fn is_value_char(c: u8) -> bool {
    c > b' ' && !matches!(c, b';' | b',' | b'"' | b'<' | b'>' | 0x7f)
}

fn leading(text: &str, belongs: impl Fn(u8) -> bool) -> &str {
    let end = text.bytes().position(|c| !belongs(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn leading_value(text: &str) -> Result<&str, ParamsError> {
    if text.starts_with('"') {
        let end = grammar::end_of_quoted(text).ok_or(ParamsError)?;
        return text
            .get(..end)
            .filter(|value| grammar::is_one_line(value))
            .ok_or(ParamsError);
    }
    Ok(leading(text, is_value_char))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_found_without_case_and_keep_their_quotes() {
        let params = Params::parse(" ; Tag = a48s ;flag; q=\"x;y\\\"\" ").unwrap();
        assert_eq!(params.as_str(), ";Tag=a48s;flag;q=\"x;y\\\"\"");
        assert_eq!(params.get("tag"), Some("a48s"));
        assert_eq!(params.get("FLAG"), Some(""));
        assert_eq!(params.get("q"), Some("\"x;y\\\"\""));
        assert_eq!(params.get("other"), None);
    }

    #[test]
    fn empty_and_open_parameters_are_refused() {
        for text in [";;", ";", "a", ";a=\"b", ";a b", ";=b", ";a=b<"] {
            assert_eq!(Params::parse(text), Err(ParamsError), "{text}");
        }
    }

    #[test]
    fn setting_replaces_in_place_and_removing_leaves_the_rest() {
        let mut params = Params::parse(";a=1;rport;b=2").unwrap();
        params.set("RPORT", "5060");
        params.set("received", "2001:db8::1");
        params.remove("a");
        assert_eq!(params.as_str(), ";rport=5060;b=2;received=2001:db8::1");
        params.set("b", "two words\r\n");
        assert_eq!(params.get("b"), Some("\"two words  \""));
    }
}
