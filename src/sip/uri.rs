//! Addresses of users, services and numbers (RFC 3261 §19.1, RFC 3966, RFC 8141).

mod equivalence;
mod headers;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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
        if text
            .bytes()
            .any(|c| c <= b' ' || matches!(c, b'"' | b'<' | b'>' | 0x7f))
        {
            return Err(UriError::BadCharacter);
        }
        let colon = scheme_end(text).ok_or(UriError::NoScheme)?;
        let mended = without_third_colon(text);
        let text = match &mended {
            Some(mended) => Text::from(mended.as_str()),
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
        let uri = Self {
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
            Scheme::Sip | Scheme::Sips => uri.find_sip_parts(colon + 1),
            Scheme::Tel => uri.find_number(colon + 1),
            Scheme::Urn | Scheme::Other => Ok(uri),
        }
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

    fn find_sip_parts(mut self, start: usize) -> Result<Self, UriError> {
        let text = &*self.text;
        let rest = text.get(start..).unwrap_or_default();
        // '@' stands nowhere else unescaped, while ';' and '?' may stand in the user part.
        let host_start = match find(rest, b'@') {
            Some(at) => {
                let user = rest.get(..at).unwrap_or_default();
                let user_end = find(user, b':').unwrap_or(at);
                if user_end == 0 {
                    return Err(UriError::BadCharacter);
                }
                self.user = Some(Span::new(start, start + user_end));
                if user_end < at {
                    self.password = Some(Span::new(start + user_end + 1, start + at));
                }
                start + at + 1
            }
            None => start,
        };
        let rest = text.get(host_start..).unwrap_or_default();
        let headers = find(rest, b'?').unwrap_or(rest.len());
        let params = find(rest.get(..headers).unwrap_or_default(), b';').unwrap_or(headers);
        let (host_bytes, port) = split_host_port(rest.get(..params).unwrap_or_default())?;
        self.host = Some(Span::new(host_start, host_start + host_bytes));
        self.port = port;
        self.params = Span::new(host_start + params, host_start + headers);
        self.headers = Span::new((host_start + headers + 1).min(text.len()), text.len());
        Ok(self)
    }

    fn find_number(mut self, start: usize) -> Result<Self, UriError> {
        let rest = self.text.get(start..).unwrap_or_default();
        let end = find(rest, b';').unwrap_or(rest.len());
        if end == 0 {
            return Err(UriError::BadHost);
        }
        self.user = Some(Span::new(start, start + end));
        self.params = Span::new(start + end, self.text.len());
        Ok(self)
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

/// The colon after `ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`.
fn scheme_end(text: &str) -> Option<usize> {
    let colon = find(text, b':')?;
    let scheme = text.get(..colon)?.as_bytes();
    let (first, rest) = scheme.split_first()?;
    let well_formed = first.is_ascii_alphabetic()
        && rest
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'));
    well_formed.then_some(colon)
}

/// RFC 3261's grammar asks for a colon too many before an IPv4 address inside an IPv6 one: `[2001:db8:::192.0.2.1]`. It
/// is read and never written (RFC 5118 §4.10).
fn without_third_colon(text: &str) -> Option<String> {
    find(text, b'[')?;
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

/// `unreserved` and `user-unreserved` stay, all else is percent-escaped (RFC 3261 §25.1). A '%' that starts an
/// escape stays, so that escaped input is not escaped twice.
fn escaped_user(user: &str) -> String {
    use fmt::Write as _;
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

#[cfg(test)]
mod tests;
