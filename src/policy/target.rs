//! What a grant is given to, as written and as looked up.

use std::fmt;

use super::dial_plan::DialPlan;
use super::document::is_name;
use super::identity::{E164_DIGITS_MAX, Identity};

const USER_BYTES_MAX: usize = 256;

/// One element of a grant's `to`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Target {
    /// The normalised key of an identity.
    User(String),
    Group(String),
    Number(Pattern),
    Trunk(String),
    Global,
}

/// Why text names no target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("a grant goes to `user:…`, `group:…`, `number:…`, `trunk:…` or `global`")]
    Kind,
    #[error("write a user as `user:alice@example.com`, `user:+442079460001` or `user:1001`")]
    User,
    #[error(
        "write a range as `number:+44207946XXXX`, `number:+44207*` or `number:1XXX`: digits first, then X or one `*`"
    )]
    Number,
    #[error("a name has letters, digits, `-`, `_` and `.`, at most 64 of them")]
    Name,
}

/// A range of numbers: some digits, then either so many more or any number of them.
///
/// Ordered from the most specific: longer beginnings first, a fixed length before an open one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Pattern {
    pub(crate) shape: Shape,
    /// The leading digits as one number.
    pub(crate) leading: u64,
}

/// What patterns have in common that are found by one lookup.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Shape {
    /// Digits that are given, counted down from 15, so that more of them sort first.
    missing: u8,
    /// Digits in all; none for any number of them.
    length: Option<u8>,
    /// E.164, with a plus; else as dialled.
    plus: bool,
}

impl Shape {
    const fn given(self) -> usize {
        E164_DIGITS_MAX - self.missing as usize
    }

    /// The pattern of this shape that a number falls under.
    pub(crate) fn of(self, digits: &str, plus: bool) -> Option<Pattern> {
        let fits = self.plus == plus && self.length.is_none_or(|length| usize::from(length) == digits.len());
        if !fits {
            return None;
        }
        Some(Pattern {
            shape: self,
            leading: value(digits.get(..self.given())?)?,
        })
    }
}

/// Digits as a number; nothing at all is 0.
fn value(digits: &str) -> Option<u64> {
    digits.bytes().try_fold(0_u64, |sum, c| {
        c.is_ascii_digit()
            .then(|| sum.checked_mul(10)?.checked_add(u64::from(c - b'0')))
            .flatten()
    })
}

impl Pattern {
    /// Whether it is a range of numbers of exactly so many digits.
    pub(crate) fn is_of_length(self, digits: usize) -> bool {
        self.shape.length.map(usize::from) == Some(digits)
    }

    fn parse(text: &str) -> Option<Self> {
        let plus = text.starts_with('+');
        let text = text.strip_prefix('+').unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at_checked(end)?;
        let length = match rest {
            "*" => None,
            rest if rest.bytes().all(|c| matches!(c, b'X' | b'x')) => Some(text.len()),
            _ => return None,
        };
        let is_empty = digits.is_empty() && (plus || length.is_none_or(|length| length == 0));
        if is_empty || text.len() > E164_DIGITS_MAX {
            return None;
        }
        let missing = u8::try_from(E164_DIGITS_MAX - digits.len()).ok()?;
        let length = length.map(u8::try_from).transpose().ok()?;
        Some(Self {
            shape: Shape { missing, length, plus },
            leading: value(digits)?,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.shape.given();
        if self.shape.plus {
            f.write_str("+")?;
        }
        if given > 0 {
            write!(f, "{:0given$}", self.leading)?;
        }
        match self.shape.length {
            None => f.write_str("*"),
            Some(length) => f.write_str(&"X".repeat(usize::from(length).saturating_sub(given))),
        }
    }
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, TargetError> {
        let name = |name: &str| {
            if is_name(name) {
                Ok(name.to_owned())
            } else {
                Err(TargetError::Name)
            }
        };
        match text.split_once(':') {
            None if text == "global" => Ok(Self::Global),
            Some(("user", user)) => user_key(user).map(Self::User).ok_or(TargetError::User),
            Some(("group", group)) => name(group).map(Self::Group),
            Some(("trunk", trunk)) => name(trunk).map(Self::Trunk),
            Some(("number", number)) => Pattern::parse(number).map(Self::Number).ok_or(TargetError::Number),
            _ => Err(TargetError::Kind),
        }
    }
}

/// The key that identities of this user have.
pub(crate) fn user_key(user: &str) -> Option<String> {
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let identity = Identity::parse(user, &DialPlan::default());
    let is_known = if identity.dialled.is_empty() {
        identity.key.contains('@')
    } else {
        true
    };
    (is_known && !identity.key.starts_with('@') && !identity.key.ends_with('@')).then_some(identity.key)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{user}"),
            Self::Group(group) => write!(f, "group:{group}"),
            Self::Number(pattern) => write!(f, "number:{pattern}"),
            Self::Trunk(trunk) => write!(f, "trunk:{trunk}"),
            Self::Global => f.write_str("global"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_written_alike() {
        for text in [
            "user:alice@example.com",
            "user:+442079460001",
            "user:1001",
            "group:desk-rates",
            "number:+44207946XXXX",
            "number:+4400*",
            "number:+442079460001",
            "number:1XXX",
            "number:0XX",
            "number:XXX",
            "trunk:pbx",
            "global",
        ] {
            assert_eq!(Target::parse(text).map(|t| t.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(
            Target::parse("user:sip:Alice@Example.com:5060;x=y")
                .map(|t| t.to_string())
                .as_deref(),
            Ok("user:alice@example.com")
        );
    }

    #[test]
    fn what_is_no_target_says_what_one_looks_like() {
        for (text, error) in [
            ("", TargetError::Kind),
            ("alice@example.com", TargetError::Kind),
            ("Global", TargetError::Kind),
            ("user:", TargetError::User),
            ("user:alice", TargetError::User),
            ("user:@example.com", TargetError::User),
            ("user:a b@example.com", TargetError::User),
            ("number:", TargetError::Number),
            ("number:+", TargetError::Number),
            ("number:*", TargetError::Number),
            ("number:+XXX", TargetError::Number),
            ("number:+44X7", TargetError::Number),
            ("number:+44XX*", TargetError::Number),
            ("number:+4420794600010000", TargetError::Number),
            ("number:+４４", TargetError::Number),
            ("group:", TargetError::Name),
            ("trunk:a b", TargetError::Name),
        ] {
            assert_eq!(Target::parse(text), Err(error), "{text}");
        }
    }
}
