//! A URI with a name before it and parameters behind: From, To, Contact, Route and their kin (RFC 3261 §20.10).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::grammar::{self, find, is_space, split_once};
use super::params::{Params, ParamsError};
use super::text::Text;
use super::uri::{Uri, UriError};

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameAddr {
    /// As written, quotes and all; empty if there is none.
    display: Text,
    pub uri: Uri,
    /// The header's parameters, not the URI's.
    pub params: Params,
}

/// Why a text is no `name-addr` or `addr-spec` with parameters. The peer's fault: 400.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameAddrError {
    #[error("quote or angle bracket that never closes")]
    Unbalanced,
    #[error("display name that is neither tokens nor quoted")]
    BadDisplayName,
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error(transparent)]
    Params(#[from] ParamsError),
}

impl NameAddr {
    pub fn new(uri: Uri) -> Self {
        Self {
            display: Text::default(),
            uri,
            params: Params::default(),
        }
    }

    /// One element: `"Name" <uri>;params`, `<uri>;params`, or `uri;params`, where the parameters are the header's
    /// (RFC 3261 §20).
    pub fn parse(text: &str) -> Result<Self, NameAddrError> {
        let whole = Text::from(text.trim_matches(is_space));
        let text = &*whole;
        let Some(open) = bracket(text)? else {
            let end = find(text, b';').unwrap_or(text.len());
            let (uri, params) = text.split_at_checked(end).ok_or(NameAddrError::Unbalanced)?;
            return Ok(Self {
                display: Text::default(),
                uri: Uri::piece_of(&whole, uri.trim_end_matches(is_space))?,
                params: Params::piece_of(&whole, params)?,
            });
        };
        let display = text.get(..open).unwrap_or_default().trim_end_matches(is_space);
        if !is_display_name(display) {
            return Err(NameAddrError::BadDisplayName);
        }
        let rest = text.get(open + 1..).unwrap_or_default();
        let (uri, params) = split_once(rest, b'>').ok_or(NameAddrError::Unbalanced)?;
        Ok(Self {
            display: whole.piece(display),
            uri: Uri::piece_of(&whole, uri.trim_matches(is_space))?,
            params: Params::piece_of(&whole, params)?,
        })
    }

    /// Of a text that [`Self::parse`] refuses for its display name alone (`Smith, John <sip:a@b>`): as if that had its quotes
    /// (RFC 4475 §3.1.2.15). Not where more than one address could be meant.
    pub(super) fn parse_unquoted(text: &str) -> Result<Self, NameAddrError> {
        let (name, rest) = split_once(text, b'<').ok_or(NameAddrError::Unbalanced)?;
        let is_address = |piece: &str| piece.contains(':') && piece.contains('@');
        let mut pieces = name.split([',', ' ', '\t', '\r', '\n']);
        if name.contains(['"', '>']) || rest.contains('<') || pieces.any(is_address) {
            return Err(NameAddrError::BadDisplayName);
        }
        let name = name.trim_matches(is_space).replace('\\', "\\\\");
        Self::parse(&format!("\"{name}\" <{rest}"))
    }

    /// Of a text that [`Self::parse`] refuses for its display name (`Smith, John <sip:a@b>`, a quote that never closes) what is in
    /// the last angle brackets and behind them.
    pub(super) fn parse_nameless(text: &str) -> Result<Self, NameAddrError> {
        let close = text.rfind('>').ok_or(NameAddrError::Unbalanced)?;
        let open = text.get(..close).and_then(|text| text.rfind('<'));
        Self::parse(text.get(open.ok_or(NameAddrError::Unbalanced)?..).unwrap_or_default())
    }

    /// Nobody (RFC 3323 §4.1.1.3), with the parameters of a text whose URI is none.
    pub(super) fn parse_anonymous(text: &str) -> Result<Self, NameAddrError> {
        let end = text.rfind('>').map_or_else(|| text.find(';'), |close| Some(close + 1));
        let params = end.and_then(|end| text.get(end..)).unwrap_or_default();
        Ok(Self {
            display: Text::default(),
            uri: Uri::parse("sip:anonymous@anonymous.invalid")?,
            params: Params::parse(params.trim_matches(is_space))?,
        })
    }

    /// As a header has it.
    pub(super) fn written(&self) -> String {
        self.parts().concat()
    }

    fn parts(&self) -> [&str; 6] {
        let space = if self.display.is_empty() { "" } else { " " };
        [&self.display, space, "<", self.uri.as_str(), ">", self.params.as_str()]
    }

    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Without quotes, escapes resolved. None if absent or empty.
    pub fn display_name(&self) -> Option<Cow<'_, str>> {
        Some(grammar::unquoted(&self.display)).filter(|name| !name.is_empty())
    }

    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", tag);
        self
    }

    #[must_use]
    pub fn without_tag(mut self) -> Self {
        self.params.remove("tag");
        self
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().iter().try_for_each(|part| f.write_str(part))
    }
}

impl std::str::FromStr for NameAddr {
    type Err = NameAddrError;

    fn from_str(text: &str) -> Result<Self, NameAddrError> {
        Self::parse(text)
    }
}

impl Serialize for NameAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NameAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// Where the `<` of a `name-addr` stands; None for an `addr-spec`.
fn bracket(text: &str) -> Result<Option<usize>, NameAddrError> {
    if text.starts_with('"') {
        let end = grammar::end_of_quoted(text).ok_or(NameAddrError::Unbalanced)?;
        let rest = text.get(end..).unwrap_or_default();
        let space = rest.len() - rest.trim_start_matches(is_space).len();
        let open = end + space;
        return if text.as_bytes().get(open) == Some(&b'<') {
            Ok(Some(open))
        } else {
            Err(NameAddrError::Unbalanced)
        };
    }
    // A quoted parameter of an addr-spec may hold '<'.
    let end = find(text, b'"').unwrap_or(text.len());
    Ok(find(text.get(..end).unwrap_or_default(), b'<'))
}

/// Quoted, or words. RFC 3261 wants tokens; peers send `Jörg` and `O(ffice)` too, and no character that ends the
/// name early does harm.
fn is_display_name(text: &str) -> bool {
    let ends_early = |c| matches!(c, b'"' | b'<' | b'>' | b';' | b',' | b'\r' | b'\n' | 0);
    grammar::is_quoted(text) || !text.bytes().any(ends_early)
}

#[cfg(test)]
mod tests;
