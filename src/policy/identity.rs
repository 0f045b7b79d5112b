//! Who a URI names, in the one form that grants are looked up by.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::dial_plan::DialPlan;

/// A longer user part and host, or number, name nobody: such a call is refused.
pub(super) const NAME_BYTES_MAX: usize = 512;
/// ITU-T E.164: country code, area and subscriber together.
pub(crate) const E164_DIGITS_MAX: usize = 15;

/// A party's URI, normalised: scheme and case levelled, escapes undone (RFC 3261 §19.1.4), parameters, port and
/// password dropped, the number in E.164 by the trunk's dial plan.
///
/// As text: `tel:+442079460001` if it has a number, else `sip:alice@example.com`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    /// `alice@example.com`, `+442079460001`, `urn:service:sos`; empty when the URI could not be read.
    pub(crate) key: String,
    pub(crate) number: Option<Number>,
    /// The user part or the tel number as it was dialled: digits, `+`, `*`, `#`; empty when it is no number.
    pub(crate) dialled: String,
    pub(crate) domain: String,
}

/// An E.164 number: up to 15 digits, kept as text order and length demand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Number {
    digits: [u8; E164_DIGITS_MAX],
    len: u8,
}

impl Number {
    /// From digits without the plus; none if there are none, too many, or anything else among them.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut digits = [0; E164_DIGITS_MAX];
        if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        digits.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self {
            digits,
            len: u8::try_from(text.len()).ok()?,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        let digits = self.digits.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.number {
            Some(number) => write!(f, "tel:+{}", number.as_str()),
            None if self.key.is_empty() => f.write_str("unreadable"),
            None if self.key.starts_with("urn:") => f.write_str(&self.key),
            None if self.key.contains('@') || self.dialled.is_empty() => write!(f, "sip:{}", self.key),
            None => write!(f, "tel:{}", self.key),
        }
    }
}

impl Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Identity {
    /// Reads a SIP, SIPS, tel or URN URI, bare or as the name-addr that holds it. Never fails: what cannot be read
    /// names nobody.
    pub(crate) fn parse(text: &str, plan: &DialPlan) -> Self {
        let uri = addr_spec(text);
        match uri.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tel") => Self::from_tel(rest, plan),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("urn") => {
                let name = uri.split([';', '?']).next().unwrap_or_default();
                let key = if name.len() > NAME_BYTES_MAX {
                    String::new()
                } else {
                    level(name)
                };
                Self { key, ..Self::default() }
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") => {
                Self::from_sip(rest, plan)
            }
            // `alice@example.com`, `+44…`, `host:5060`: what `explain` and careless peers write.
            _ if uri.contains('@') => Self::from_sip(uri, plan),
            _ => Self::from_tel(uri, plan),
        }
    }

    /// RFC 3966 §3; a bare word that is no number is kept as a key.
    fn from_tel(rest: &str, plan: &DialPlan) -> Self {
        let subscriber = rest.split([';', '?']).next().unwrap_or_default();
        if subscriber.len() > NAME_BYTES_MAX {
            return Self::default();
        }
        let dialled = dialled(unterminated(&level(subscriber)));
        let number = plan.e164(&dialled);
        let key = match &number {
            Some(number) => format!("+{}", number.as_str()),
            None if dialled.is_empty() => level(subscriber),
            None => dialled.clone(),
        };
        Self {
            key,
            number,
            dialled,
            domain: String::new(),
        }
    }

    /// RFC 3261 §19.1.1, without the scheme.
    fn from_sip(rest: &str, plan: &DialPlan) -> Self {
        // Neither user, parameters nor headers may hold a bare `@`: the first one ends the user part.
        let (user, host) = rest.split_once('@').unwrap_or(("", rest));
        let user = user.split([';', ':']).next().unwrap_or_default();
        let host = host.split([';', '?']).next().unwrap_or_default();
        if user.len() + host.len() > NAME_BYTES_MAX {
            return Self::default();
        }
        let mut domain = level(without_port(host));
        domain.truncate(domain.trim_end_matches('.').len());
        let user = level(user);
        let user = unterminated(&user);
        let dialled = dialled(user);
        let number = plan.e164(&dialled);
        let key = if user.is_empty() {
            domain.clone()
        } else {
            [user, "@", &domain].concat()
        };
        Self {
            key,
            number,
            dialled,
            domain,
        }
    }

    /// The keys under which a `user:` grant may name this party: the address, the E.164 number, and what was dialled
    /// (an extension is granted as `user:1001`, whatever its domain).
    pub(crate) fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let number = self.number.map(|n| format!("+{}", n.as_str()));
        let address = Some(self.key.as_str()).filter(|key| Some(*key) != number.as_deref());
        let dialled = Some(self.dialled.as_str()).filter(|d| Some(*d) != number.as_deref() && Some(*d) != address);
        [address.map(Cow::from), number.map(Cow::from), dialled.map(Cow::from)]
            .into_iter()
            .flatten()
            .filter(|key| !key.is_empty())
    }

    /// The same user in another domain; none if it has no user part.
    pub(crate) fn in_domain(&self, domain: &str) -> Option<Self> {
        let (user, _) = self.key.split_once('@')?;
        Some(Self {
            key: format!("{user}@{domain}"),
            domain: domain.to_owned(),
            ..self.clone()
        })
    }

    pub fn is_readable(&self) -> bool {
        !self.key.is_empty()
    }

    /// Not `anonymous@anonymous.invalid` (RFC 3323 §4.1.1.3), nor a host alone.
    pub(crate) fn names_somebody(&self) -> bool {
        let is_nowhere = self.domain == "invalid" || self.domain.ends_with(".invalid");
        let has_user = self.key.contains('@') || self.domain.is_empty();
        let user = self.key.split('@').next().unwrap_or_default();
        self.is_readable() && !is_nowhere && has_user && user != "anonymous"
    }

    /// What the party may be called as at whatever host: its number, what is dialled, its user part. Namesakes have one in
    /// common ([`Self::is_namesake`]); who is nobody has none.
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        let user = self.key.split('@').next().filter(|_| self.names_somebody());
        let number = self.number.map(|number| format!("+{}", number.as_str()));
        let dialled = Some(&self.dialled).filter(|dialled| !dialled.is_empty()).cloned();
        [user.map(str::to_owned), number, dialled].into_iter().flatten()
    }

    /// Whether both name one party to every grant: by their number in E.164, else by their address.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.number, other.number) {
            (Some(own), Some(other)) => own == other,
            _ => self.key == other.key,
        }
    }

    /// Whether they may be one party under different domains: `1001@pbx` and `1001@proxy`.
    pub fn is_namesake(&self, other: &Self) -> bool {
        let user = |party: &Self| party.key.split_once('@').map(|(user, _)| user.to_owned());
        let is_dialled_alike = !self.dialled.is_empty() && self.dialled == other.dialled;
        is_dialled_alike || self.is_same(other) || user(self).is_some_and(|own| user(other) == Some(own))
    }
}

/// The URI inside `"Name" <uri>;tag=x`, or the text itself.
pub(super) fn addr_spec(text: &str) -> &str {
    let text = text.trim();
    match text.rfind('<') {
        Some(open) => {
            let rest = text.get(open + 1..).unwrap_or_default();
            rest.split('>').next().unwrap_or_default().trim()
        }
        None => text,
    }
}

fn without_port(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => host.get(..=end).unwrap_or(host),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Escapes undone, lower case, bare control characters dropped: `%41lice` and `Alice` are `alice`. Undoing once is right:
/// RFC 3261 §19.1.2 has no double escapes. Escaped control characters stay escaped, and so does all of it if the bytes
/// are no UTF-8.
pub(super) fn level(text: &str) -> String {
    if text.bytes().all(|c| (b' '..0x7f).contains(&c) && c != b'%') {
        return text.to_ascii_lowercase();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4) | l),
            _ => None,
        };
        match escaped.filter(|byte| !byte.is_ascii_control()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    let mut text = String::from_utf8(bytes)
        .unwrap_or_else(|_| text.to_owned())
        .to_lowercase();
    text.retain(|c| !c.is_control());
    text
}

fn hex(c: u8) -> Option<u8> {
    char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// What was dialled without the `#` that ends it; service codes such as `*21#` keep theirs.
fn unterminated(user: &str) -> &str {
    let is_number = |number: &&str| !number.is_empty() && !number.contains(['*', '#']) && !dialled(number).is_empty();
    user.strip_suffix('#').filter(is_number).unwrap_or(user)
}

/// The number in a user part, visual separators dropped (RFC 3966 §5.1.1); empty when it is none.
pub(super) fn dialled(user: &str) -> String {
    let mut digits = String::with_capacity(user.len());
    for (i, c) in user.chars().enumerate() {
        match c {
            '0'..='9' | '*' | '#' => digits.push(c),
            '+' if i == 0 => digits.push(c),
            '-' | '.' | '(' | ')' | ' ' => {}
            _ => return String::new(),
        }
    }
    if digits == "+" { String::new() } else { digits }
}
