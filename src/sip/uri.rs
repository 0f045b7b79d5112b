//! Addresses of users, services and numbers (RFC 3261 §19.1, RFC 3966, RFC 8141).

mod delimiters;
mod equivalence;
mod escapes;
mod headers;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::delimiters::Delimiters;
use self::escapes::escaped_user;
pub(crate) use self::escapes::unescaped;
use super::grammar::find;
use super::host::{self, HostPort, parse_ip, split_host_port};
use super::params;
use super::text::Text;

/// The longest URI that is read, in bytes.
pub const URI_BYTES_MAX: usize = 4096;
/// Where SIP over UDP and TCP listens when a URI or Via names no port (RFC 3261 §19.1.2).
pub const DEFAULT_PORT: u16 = 5060;
const DEFAULT_TLS_PORT: u16 = 5061;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scheme {
    Sip,
    Sips,
    /// A telephone number (RFC 3966).
    Tel,
    /// A name, like `urn:service:sos` (RFC 5031).
    Urn,
    /// Well-formed, and none of ours: 416 as a Request-URI.
    Other,
}

/// Why a text is no URI.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UriError {
    /// The peer sent more than [`URI_BYTES_MAX`]: 414.
    #[error("URI longer than {URI_BYTES_MAX} bytes")]
    TooLong,
    /// No `scheme:` in front.
    #[error("URI without a scheme")]
    NoScheme,
    /// Space, control characters, quotes or angle brackets.
    #[error("character that no URI may hold")]
    BadCharacter,
    /// A SIP URI without a host, or with one that is neither name nor address.
    #[error("malformed host")]
    BadHost,
    /// Not 1–65535.
    #[error("malformed port")]
    BadPort,
}

/// Bytes of `text`; a URI has at most [`URI_BYTES_MAX`].
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Span {
    from: u16,
    to: u16,
}

impl Span {
    fn new(from: usize, to: usize) -> Self {
        let narrow = |at| u16::try_from(at).expect("invariant: spans lie within URI_BYTES_MAX");
        Self {
            from: narrow(from),
            to: narrow(to),
        }
    }

    fn of(self, text: &str) -> &str {
        text.get(usize::from(self.from)..usize::from(self.to))
            .unwrap_or_default()
    }
}

/// A URI as it was written, with its parts found. `==` compares the text; [`Uri::is_equivalent`] compares as RFC 3261
/// §19.1.4 asks.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct Uri {
    text: Text,
    scheme: Scheme,
    user: Option<Span>,
    password: Option<Span>,
    host: Option<Span>,
    port: Option<u16>,
    params: Span,
    headers: Span,
}

impl Uri {
    pub fn parse(text: &str) -> Result<Self, UriError> {
        Self::read(text, || text.into())
    }

    /// A `piece` of `whole`, which it shares.
    pub(super) fn piece_of(whole: &Text, piece: &str) -> Result<Self, UriError> {
        Self::read(piece, || whole.piece(piece))
    }

    fn read(text: &str, keep: impl FnOnce() -> Text) -> Result<Self, UriError> {
        if text.len() > URI_BYTES_MAX {
            return Err(UriError::TooLong);
        }
        let mut found = Delimiters::of(text)?;
        let colon = found.colon.filter(|colon| is_scheme(text.get(..*colon)));
        let colon = colon.ok_or(UriError::NoScheme)?;
        let text = match found.bracket.and_then(|_| without_third_colon(text)) {
            Some(mended) => {
                found = Delimiters::of(&mended)?;
                Text::from(mended.as_str())
            }
            None => keep(),
        };
        let scheme = match text.get(..colon).unwrap_or_default() {
            s if s.eq_ignore_ascii_case("sip") => Scheme::Sip,
            s if s.eq_ignore_ascii_case("sips") => Scheme::Sips,
            s if s.eq_ignore_ascii_case("tel") => Scheme::Tel,
            s if s.eq_ignore_ascii_case("urn") => Scheme::Urn,
            _ => Scheme::Other,
        };
        let nowhere = Span::new(text.len(), text.len());
        let mut uri = Self {
            text,
            scheme,
            user: None,
            password: None,
            host: None,
            port: None,
            params: nowhere,
            headers: nowhere,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => uri.set_sip_parts(colon + 1, &found)?,
            Scheme::Tel => uri.set_number(colon + 1)?,
            Scheme::Urn | Scheme::Other => {}
        }
        Ok(uri)
    }

    /// `sip:user@host:port`, or `sip:host:port` without a user. What a user part may not hold is escaped.
    pub fn sip(user: Option<&str>, at: SocketAddr) -> Self {
        let mut text = String::with_capacity(64);
        text.push_str("sip:");
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            text.push_str(&escaped_user(user));
            text.push('@');
        }
        let host = text.len();
        host::push_address(&mut text, at);
        Self::parse(&text).unwrap_or_else(|_| {
            // Too long, with the user.
            text.replace_range("sip:".len()..host, "");
            Self::parse(&text).expect("invariant: a host and port are a URI")
        })
    }

    fn set_sip_parts(&mut self, start: usize, found: &Delimiters) -> Result<(), UriError> {
        let end = self.text.len();
        let host_start = match found.at {
            Some(at) => {
                let user_end = found.password.unwrap_or(at);
                if user_end == start {
                    return Err(UriError::BadCharacter);
                }
                self.user = Some(Span::new(start, user_end));
                self.password = found.password.map(|colon| Span::new(colon + 1, at));
                at + 1
            }
            None => start,
        };
        let headers = found.question.unwrap_or(end);
        let params = found.semicolon.unwrap_or(headers);
        let (host_bytes, port) = split_host_port(self.text.get(host_start..params).unwrap_or_default())?;
        self.host = Some(Span::new(host_start, host_start + host_bytes));
        self.port = port;
        self.params = Span::new(params, headers);
        self.headers = Span::new((headers + 1).min(end), end);
        Ok(())
    }

    fn set_number(&mut self, start: usize) -> Result<(), UriError> {
        let rest = self.text.get(start..).unwrap_or_default();
        let end = find(rest, b';').unwrap_or(rest.len());
        if end == 0 {
            return Err(UriError::BadHost);
        }
        self.user = Some(Span::new(start, start + end));
        self.params = Span::new(start + end, self.text.len());
        Ok(())
    }

    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The user part as written, escapes and all; the number of a `tel:` URI.
    pub fn user(&self) -> Option<&str> {
        self.user.map(|span| span.of(&self.text))
    }

    pub fn password(&self) -> Option<&str> {
        self.password.map(|span| span.of(&self.text))
    }

    /// As written, an IPv6 address in its brackets. None for `tel:`, `urn:` and other schemes.
    pub fn host(&self) -> Option<&str> {
        self.host.map(|span| span.of(&self.text))
    }

    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The host, if it is a literal address.
    pub fn ip(&self) -> Option<IpAddr> {
        parse_ip(self.host()?)
    }

    /// Where to send, if the host is a literal address: the port named, or the scheme's default.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let default = if self.scheme == Scheme::Sips {
            DEFAULT_TLS_PORT
        } else {
            DEFAULT_PORT
        };
        Some(SocketAddr::new(self.ip()?, self.port.unwrap_or(default)))
    }

    /// What follows `scheme:`, up to parameters and headers for `sip:`; all of it for `urn:` and other schemes.
    pub fn opaque(&self) -> &str {
        let start = find(&self.text, b':').map_or(0, |colon| colon + 1);
        self.text.get(start..usize::from(self.params.from)).unwrap_or_default()
    }

    /// `Some("")` for a parameter without a value, like `lr`.
    pub fn param(&self, name: &str) -> Option<&str> {
        params::find(self.params.of(&self.text), name)
    }

    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        params::each(self.params.of(&self.text))
    }

    /// What follows `?`, without it.
    pub fn headers(&self) -> Option<&str> {
        Some(self.headers.of(&self.text)).filter(|headers| !headers.is_empty())
    }

    /// Whether a proxy of this URI is a loose router (RFC 3261 §19.1.1 `lr`).
    pub fn is_loose(&self) -> bool {
        self.param("lr").is_some()
    }

    /// The same with this parameter and no other of its name. An empty value writes the bare name. Unchanged if the
    /// result were no URI, or for schemes without parameters.
    #[must_use]
    pub fn with_param(&self, name: &str, value: &str) -> Self {
        let added = if value.is_empty() {
            format!(";{name}")
        } else {
            format!(";{name}={value}")
        };
        self.with_params(|old| !old.eq_ignore_ascii_case(name), &added)
    }

    /// The same user and parameters at another host. Unchanged for schemes without a host.
    #[must_use]
    pub fn with_host_port(&self, at: &HostPort) -> Self {
        let Some(host) = self.host else { return self.clone() };
        let before = self.text.get(..usize::from(host.from)).unwrap_or_default();
        let after = self.text.get(usize::from(self.params.from)..).unwrap_or_default();
        Self::parse(&format!("{before}{at}{after}")).unwrap_or_else(|_| self.clone())
    }

    /// The same without the header part, which no Request-URI, Contact of a dialog or Route may have (§19.1.1).
    #[must_use]
    pub fn without_headers(&self) -> Self {
        let bare = self.text.get(..usize::from(self.params.to)).unwrap_or_default();
        Self::parse(bare).unwrap_or_else(|_| self.clone())
    }

    /// The same with another user part, given without escapes; a password stays. None for a URI without a user part, and
    /// for an empty one. Not for `tel:`.
    pub fn with_user(&self, user: &str) -> Option<Self> {
        let old = self.user.filter(|_| !user.is_empty())?;
        if !matches!(self.scheme, Scheme::Sip | Scheme::Sips) {
            return None;
        }
        let before = self.text.get(..usize::from(old.from))?;
        let after = self.text.get(usize::from(old.to)..)?;
        // Every '%' is text here, so none may be taken for an escape.
        let user = escaped_user(&user.replace('%', "%25"));
        Self::parse(&format!("{before}{user}{after}")).ok()
    }

    /// The same at another `host` or `host:port`. None if that is neither, and for schemes without a host.
    pub fn with_authority(&self, authority: &str) -> Option<Self> {
        let host = self.host?;
        let before = self.text.get(..usize::from(host.from))?;
        let after = self.text.get(usize::from(self.params.from)..)?;
        Self::parse(&format!("{before}{authority}{after}"))
            .ok()
            .filter(|uri| uri.user() == self.user())
    }

    /// The same as `sips:`, or as `sip:`. Unchanged for other schemes.
    #[must_use]
    pub fn with_security(&self, is_secure: bool) -> Self {
        if !matches!(self.scheme, Scheme::Sip | Scheme::Sips) {
            return self.clone();
        }
        let scheme = if is_secure { "sips" } else { "sip" };
        let rest = find(&self.text, b':').and_then(|colon| self.text.get(colon..));
        Self::parse(&format!("{scheme}{}", rest.unwrap_or_default())).unwrap_or_else(|_| self.clone())
    }

    fn with_params(&self, keep: impl Fn(&str) -> bool, added: &str) -> Self {
        if matches!(self.scheme, Scheme::Urn | Scheme::Other) {
            return self.clone();
        }
        let mut text = self
            .text
            .get(..usize::from(self.params.from))
            .unwrap_or_default()
            .to_owned();
        for (name, value) in self.params().filter(|(name, _)| keep(name)) {
            text.push(';');
            text.push_str(name);
            if !value.is_empty() {
                text.push('=');
                text.push_str(value);
            }
        }
        text.push_str(added);
        text.push_str(self.text.get(usize::from(self.params.to)..).unwrap_or_default());
        Self::parse(&text).unwrap_or_else(|_| self.clone())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl Serialize for Uri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// `ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`.
fn is_scheme(text: Option<&str>) -> bool {
    let Some((first, rest)) = text.and_then(|text| text.as_bytes().split_first()) else {
        return false;
    };
    first.is_ascii_alphabetic()
        && rest
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'))
}

/// RFC 3261's grammar asks for a colon too many before an IPv4 address inside an IPv6 one: `[2001:db8:::192.0.2.1]`. It
/// is read and never written (RFC 5118 §4.10).
fn without_third_colon(text: &str) -> Option<String> {
    let at = text.find(":::")?;
    let inside = text
        .get(..at)?
        .rfind('[')
        .is_some_and(|open| !text[open..at].contains(']'));
    let embedded = text
        .get(at + 3..)?
        .split(']')
        .next()?
        .parse::<std::net::Ipv4Addr>()
        .is_ok();
    (inside && embedded).then(|| [&text[..at], &text[at + 1..]].concat())
}

#[cfg(test)]
mod tests;
