//! What parties are told of the recording in their descriptions, and what they would like of it (RFC 7866 §7.1, §7.3).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::LineSet;

/// How the recording stands, as `a=record` says it (RFC 7866 §7.1.2). Ordered: where two record one medium, the greater is so.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Indication {
    #[default]
    Off,
    Paused,
    On,
}

impl Indication {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Paused => "paused",
            Self::On => "on",
        }
    }

    /// Of a value of `a=record`; None: it is none.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::Off, Self::Paused, Self::On]
            .into_iter()
            .find(|indication| indication.as_str().eq_ignore_ascii_case(value))
    }
}

impl fmt::Display for Indication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a party is told by a description: how the recording stands, and lines that are paused where others are on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told {
    pub recording: Indication,
    pub paused: LineSet,
}

impl Told {
    pub const fn whole(recording: Indication) -> Self {
        let paused = LineSet::NONE;
        Self { recording, paused }
    }

    /// Of the m-line with this index.
    pub fn of(self, line: u16) -> Indication {
        match self.recording {
            Indication::On if self.paused.contains(line) => Indication::Paused,
            recording => recording,
        }
    }
}

/// What a party would like of the recording, as `a=recordpref` says it (RFC 7866 §7.3.2). Ordered: the greater leaves less recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    #[default]
    None,
    On,
    Pause,
    Off,
}

impl Preference {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "nopreference",
            Self::On => "on",
            Self::Pause => "pause",
            Self::Off => "off",
        }
    }

    /// Of a value of `a=recordpref`; None: it is none.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::None, Self::On, Self::Pause, Self::Off]
            .into_iter()
            .find(|preference| preference.as_str().eq_ignore_ascii_case(value))
    }
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_grammar_are_read_in_any_case_and_others_are_not() {
        assert_eq!(Indication::parse("PAUSED"), Some(Indication::Paused));
        assert_eq!(Indication::parse("pause"), None);
        assert_eq!(Preference::parse("Pause"), Some(Preference::Pause));
        assert_eq!(Preference::parse("nopreference"), Some(Preference::None));
        for word in ["", "none", "paused", "on off", "on\0"] {
            assert_eq!(Preference::parse(word), None, "{word:?}");
        }
    }
}
