//! A URI with a name before it and parameters behind: From, To, Contact, Route and their kin (RFC 3261 §20.10).

use std::borrow::Cow;
use std::fmt;

use super::grammar::{self, is_space};
use super::params::{Params, ParamsError};
use super::uri::{Uri, UriError};

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameAddr {
    /// As written, quotes and all; empty if there is none.
    display: String,
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
            display: String::new(),
            uri,
            params: Params::default(),
        }
    }

    /// One element: `"Name" <uri>;params`, `<uri>;params`, or `uri;params`, where the parameters are the header's
    /// (RFC 3261 §20).
    pub fn parse(text: &str) -> Result<Self, NameAddrError> {
        let text = text.trim_matches(is_space);
        let Some(open) = bracket(text)? else {
            let end = text.find(';').unwrap_or(text.len());
            let (uri, params) = text.split_at_checked(end).ok_or(NameAddrError::Unbalanced)?;
            return Ok(Self {
                display: String::new(),
                uri: Uri::parse(uri.trim_end_matches(is_space))?,
                params: Params::parse(params)?,
            });
        };
        let display = text.get(..open).unwrap_or_default().trim_end_matches(is_space);
        if !is_display_name(display) {
            return Err(NameAddrError::BadDisplayName);
        }
        let rest = text.get(open + 1..).unwrap_or_default();
        let (uri, params) = rest.split_once('>').ok_or(NameAddrError::Unbalanced)?;
        Ok(Self {
            display: display.to_owned(),
            uri: Uri::parse(uri.trim_matches(is_space))?,
            params: Params::parse(params)?,
        })
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
        let space = if self.display.is_empty() { "" } else { " " };
        write!(f, "{}{space}<{}>{}", self.display, self.uri, self.params)
    }
}

impl std::str::FromStr for NameAddr {
    type Err = NameAddrError;

    fn from_str(text: &str) -> Result<Self, NameAddrError> {
        Self::parse(text)
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
    let end = text.find('"').unwrap_or(text.len());
    Ok(text.get(..end).unwrap_or_default().find('<'))
}

/// Quoted, or words. RFC 3261 wants tokens; peers send `Jörg` and `O(ffice)` too, and no character that ends the
/// name early does harm.
fn is_display_name(text: &str) -> bool {
    let ends_early = |c| matches!(c, b'"' | b'<' | b'>' | b';' | b',' | b'\r' | b'\n' | 0);
    grammar::is_quoted(text) || !text.bytes().any(ends_early)
}

#[cfg(test)]
mod tests;
