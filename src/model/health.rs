//! What ails the sound of a call while it lives.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Leg, Timestamp};

/// How the sound of a call is not as it should be. Never a reason to end it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Impairment {
    /// Nothing comes from this leg, and from the other something does.
    OneWay,
    /// Nothing comes from either leg.
    NoMedia,
    /// The same sound again and again, packet by packet.
    Constant,
    /// Packets of digital silence: muted, or no microphone.
    Silence,
    /// What is called clear is as even as what is encrypted.
    Noise,
    /// Samples at the rails.
    Clipping,
}

impl Impairment {
    pub const ALL: [Self; 6] = [
        Self::OneWay,
        Self::NoMedia,
        Self::Constant,
        Self::Silence,
        Self::Noise,
        Self::Clipping,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneWay => "one_way",
            Self::NoMedia => "no_media",
            Self::Constant => "constant",
            Self::Silence => "silence",
            Self::Noise => "noise",
            Self::Clipping => "clipping",
        }
    }
}

/// An impairment, and where it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Ailment {
    pub impairment: Impairment,
    /// The m-line's index.
    pub line: u16,
    /// Whose packets it is about; none: both legs'.
    pub leg: Option<Leg>,
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, line) = (self.impairment.as_str(), self.line);
        match self.leg {
            Some(leg) => write!(f, "{what}, line {line}, leg {leg}"),
            None => write!(f, "{what}, line {line}"),
        }
    }
}

/// An ailment with its time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ailing {
    #[serde(flatten)]
    pub ailment: Ailment,
    pub since: Timestamp,
    /// None: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
