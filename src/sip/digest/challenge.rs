//! What a 401 or 407 asks for: the values of WWW-Authenticate and Proxy-Authenticate (RFC 7616 §3.3, RFC 7235 §2.1).

use super::algorithm::Algorithm;
use crate::sip::grammar::{self, is_space, is_token_char};

/// Challenges of one header line that are looked at; those behind are not.
const CHALLENGES_MAX: usize = 16;
/// Parameters of one challenge; with more it is ignored.
const PARAMS_MAX: usize = 32;
/// Bytes of realm, nonce and opaque each, which we would have to send back; a challenge with more is ignored.
const VALUE_BYTES_MAX: usize = 1_024;

/// A Digest challenge that we can answer, if we have a password for its realm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge {
    /// Quotes and escapes removed; likewise nonce and opaque.
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    /// The algorithm's session variant: the key is made of nonce and cnonce too (§3.4.2).
    pub session: bool,
    /// As the peer wrote it, to be sent back; None if it did not: MD5.
    pub algorithm_name: Option<String>,
    /// None: the peer is of RFC 2069, which knows no qop.
    pub qop: Option<Qop>,
    /// The credentials were right and only the nonce is too old.
    pub stale: bool,
}

/// What the response protects (§3.3). With both on offer `auth`: bodies may be changed by who is between.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Qop {
    Auth,
    AuthInt,
}

/// Why a challenge is none that we can answer. The peer's fault, or beyond us.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChallengeError {
    /// Basic, Bearer and the rest: nothing that we send over SIP (RFC 8760 §2.6).
    #[error("another scheme than Digest")]
    OtherScheme,
    #[error("a parameter that is none, is there twice, or is too long")]
    Malformed,
    #[error("realm or nonce is missing")]
    Missing,
    #[error("an algorithm that is not known")]
    UnknownAlgorithm,
    #[error("no qop that is known")]
    UnknownQop,
}

impl Qop {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// The challenges of one header line, in order: several may share it, with commas between them and within.
pub fn challenges(line: &str) -> impl Iterator<Item = Result<Challenge, ChallengeError>> {
    let mut elements = grammar::split_list(line).peekable();
    let all = std::iter::from_fn(move || {
        let (scheme, first) = begins_scheme(elements.next()?).unwrap_or(("", ""));
        let mut params = Vec::new();
        if !first.is_empty() {
            params.push(first);
        }
        while let Some(param) = elements.next_if(|element| begins_scheme(element).is_none()) {
            if params.len() <= PARAMS_MAX {
                params.push(param);
            }
        }
        Some(challenge(scheme, &params))
    });
    all.take(CHALLENGES_MAX)
}

/// Of all lines' challenges for that realm the one of the strongest algorithm; the first of equals (RFC 8760 §2.4).
pub fn strongest<'a>(lines: impl Iterator<Item = &'a str>, realm: &str) -> Option<Challenge> {
    let known = lines.flat_map(challenges).filter_map(Result::ok);
    known
        .filter(|challenge| challenge.realm == realm)
        .reduce(|best, next| if next.algorithm > best.algorithm { next } else { best })
}

/// Whether an Authorization or Proxy-Authorization value gives Digest credentials for that realm.
pub fn names_realm(value: &str, realm: &str) -> bool {
    let is_it = |(name, value): (&str, &str)| name.eq_ignore_ascii_case("realm") && grammar::unquoted(value) == realm;
    begins_scheme(value).is_some_and(|(scheme, params)| {
        scheme.eq_ignore_ascii_case("Digest") && grammar::split_list(params).filter_map(param).any(is_it)
    })
}

/// The scheme that an element of the list starts with and what is behind it; None for `name=value`.
fn begins_scheme(element: &str) -> Option<(&str, &str)> {
    let end = element.bytes().position(|c| !is_token_char(c)).unwrap_or(element.len());
    let (scheme, rest) = element.split_at_checked(end)?;
    let rest = rest.trim_start_matches(is_space);
    (!scheme.is_empty() && !rest.starts_with('=')).then_some((scheme, rest))
}

fn challenge(scheme: &str, params: &[&str]) -> Result<Challenge, ChallengeError> {
    if !scheme.eq_ignore_ascii_case("Digest") {
        return Err(ChallengeError::OtherScheme);
    }
    if params.len() > PARAMS_MAX {
        return Err(ChallengeError::Malformed);
    }
    let params = params
        .iter()
        .map(|text| param(text).ok_or(ChallengeError::Malformed))
        .collect::<Result<Vec<_>, _>>()?;
    let value = |wanted: &str| {
        let mut values = params.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let value = values.next().map(|(_, value)| grammar::unquoted(value));
        let is_fit = values.next().is_none() && value.as_ref().is_none_or(|value| value.len() <= VALUE_BYTES_MAX);
        if is_fit {
            Ok(value)
        } else {
            Err(ChallengeError::Malformed)
        }
    };
    let algorithm_name = value("algorithm")?.map(std::borrow::Cow::into_owned);
    let (algorithm, session) = match &algorithm_name {
        Some(name) => Algorithm::parse(name).ok_or(ChallengeError::UnknownAlgorithm)?,
        None => (Algorithm::Md5, false),
    };
    Ok(Challenge {
        realm: value("realm")?.ok_or(ChallengeError::Missing)?.into_owned(),
        nonce: value("nonce")?.ok_or(ChallengeError::Missing)?.into_owned(),
        opaque: value("opaque")?.map(std::borrow::Cow::into_owned),
        algorithm,
        session,
        algorithm_name,
        qop: qop(value("qop")?.as_deref())?,
        stale: value("stale")?.is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
    })
}

/// An empty list is what some peers of RFC 2069 send.
fn qop(offered: Option<&str>) -> Result<Option<Qop>, ChallengeError> {
    let Some(offered) = offered.filter(|offered| !offered.is_empty()) else {
        return Ok(None);
    };
    let has = |wanted: &str| {
        offered
            .split(',')
            .any(|word| word.trim_matches(is_space).eq_ignore_ascii_case(wanted))
    };
    match (has("auth"), has("auth-int")) {
        (true, _) => Ok(Some(Qop::Auth)),
        (false, true) => Ok(Some(Qop::AuthInt)),
        (false, false) => Err(ChallengeError::UnknownQop),
    }
}

/// `name = value`, the value a token or quoted.
fn param(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim_matches(is_space), value.trim_matches(is_space));
    let is_value =
        grammar::is_quoted(value) || !value.is_empty() && value.bytes().all(|c| c > b' ' && !matches!(c, b'"' | 0x7f));
    (grammar::is_token(name) && is_value && grammar::is_one_line(value)).then_some((name, value))
}
