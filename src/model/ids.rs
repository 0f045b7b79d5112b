//! Names of things, as types: a session is not a Call-ID, an SSRC is not a number.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SESSION_ID_CHARS: usize = 26;

/// One communication session (RFC 7865 §6.1): both legs of a call, and its recording.
///
/// 48 bits of milliseconds since 1970, then 80 bits of entropy; as text 26 characters of Crockford's base 32, so that
/// names sort by time. Safe in a file name.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(u128);

impl SessionId {
    /// A new id from the time and 80 bits of the caller's entropy (the rest of `entropy` is not used).
    pub fn mint(now: Timestamp, entropy: u128) -> Self {
        let millis = u128::from(now.as_millis()) & ((1 << 48) - 1);
        Self(millis << 80 | entropy & ((1 << 80) - 1))
    }

    pub const fn from_u128(raw: u128) -> Self {
        Self(raw)
    }

    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// When the id was minted, to the millisecond.
    pub fn minted_at(self) -> Timestamp {
        let millis = u64::try_from(self.0 >> 80).expect("invariant: 48 bits fit u64");
        Timestamp::from_millis(millis)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; SESSION_ID_CHARS];
        for (i, slot) in text.iter_mut().enumerate() {
            let shift = 5 * (SESSION_ID_CHARS - 1 - i);
            *slot = ALPHABET[(self.0 >> shift) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).expect("invariant: the alphabet is ASCII"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no session id: 26 characters of Crockford's base 32.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a session id (26 characters of 0-9 A-Z without I, L, O, U)")]
pub struct NotASessionId;

impl FromStr for SessionId {
    type Err = NotASessionId;

    fn from_str(text: &str) -> Result<Self, NotASessionId> {
        if text.len() != SESSION_ID_CHARS || text.as_bytes()[0] > b'7' {
            return Err(NotASessionId);
        }
        text.bytes()
            .try_fold(0_u128, |raw, c| {
                let digit = ALPHABET.iter().position(|a| *a == c.to_ascii_uppercase())?;
                Some(raw << 5 | digit as u128)
            })
            .map(Self)
            .ok_or(NotASessionId)
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The two dialogs of a call: A faces the caller, B the callee.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Leg {
    A,
    B,
}

impl Leg {
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// Synchronisation source of an RTP stream (RFC 3550 §3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Which load of the policy files decided: grows by one with each successful load.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The `id` of a policy file.
    PolicyId
}
name! {
    /// The `name` of a configured trunk.
    TrunkName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_survives_its_text_and_keeps_its_time() {
        let now = Timestamp::from_millis(1_763_800_000_123);
        let id = SessionId::mint(now, 0x0123_4567_89ab_cdef_0123);
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_lowercase().parse(), Ok(id));
        assert_eq!(id.minted_at(), now);
    }

    #[test]
    fn what_is_no_session_id_is_refused() {
        for text in [
            "",
            "../../../../etc/passwd0000",
            "80000000000000000000000000",
            "0000000000000000000000000U",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(NotASessionId), "{text}");
        }
    }
}
