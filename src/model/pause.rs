//! A recording that is paused: nothing of the span is kept, and what is kept is that nothing was.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Leg, Timestamp};

/// Who, or what, paused a recording or let it go on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PausedBy {
    /// Who may use the control socket: `onrecord pause`, or a program in its place.
    Operator,
    /// The keys of a telephone (RFC 4733, or INFO), pressed on this leg.
    Keys { leg: Leg },
    /// A `Record` header in an INFO of this leg.
    Info { leg: Leg },
    /// `a=recordpref` in a description of this leg (RFC 7866 §7.3.2).
    Preference { leg: Leg },
    /// The longest time that the policies allow is over.
    Timer,
    /// The call was decided anew, and may not be paused any more.
    Policy,
    /// It was paused when the process before ended.
    Restart,
}

impl std::fmt::Display for PausedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator => f.write_str("the operator"),
            Self::Keys { leg } => write!(f, "keys of {leg}"),
            Self::Info { leg } => write!(f, "INFO of {leg}"),
            Self::Preference { leg } => write!(f, "the wish of {leg}"),
            Self::Timer => f.write_str("the timer"),
            Self::Policy => f.write_str("another decision"),
            Self::Restart => f.write_str("a restart"),
        }
    }
}

/// m-lines of a session, by their index; those from 64 on are there or not together.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct LineSet(u64);

impl LineSet {
    pub const ALL: Self = Self(u64::MAX);
    pub const NONE: Self = Self(0);

    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    pub const fn contains(self, index: u16) -> bool {
        self.0 & Self::bit(index) != 0
    }

    #[must_use]
    pub const fn with(self, index: u16) -> Self {
        Self(self.0 | Self::bit(index))
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of so many lines, in order.
    pub fn indexes(self, lines: usize) -> impl Iterator<Item = u16> {
        let lines = u16::try_from(lines).unwrap_or(u16::MAX);
        (0..lines).filter(move |index| self.contains(*index))
    }

    const fn bit(index: u16) -> u64 {
        1 << if index < 63 { index } else { 63 }
    }
}

/// What the relay is to do for who may pause, and of who has not agreed: the whole of it, each time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pausing {
    /// Nothing that passes is kept.
    pub is_paused: bool,
    /// Of leg A, of leg B: the lines that nothing is kept of which it sends.
    pub withheld: [LineSet; 2],
    /// Of leg A, of leg B: the keys that it presses are told.
    pub keys: [bool; 2],
    /// Somebody is asked whether it agrees: meanwhile nothing crosses on any line.
    pub asks: bool,
}

/// What of a leg a recording leaves out from a time on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// It is kept, or kept again.
    Nothing,
    /// These lines, by their index.
    Lines(Vec<u16>),
    /// All that it sends.
    All,
}

impl LeftOut {
    /// `lines`: how many the session has.
    pub fn of(set: LineSet, lines: usize) -> Self {
        match set {
            LineSet::ALL => Self::All,
            LineSet::NONE => Self::Nothing,
            some => Self::Lines(some.indexes(lines).collect()),
        }
    }

    pub fn contains(&self, index: u16) -> bool {
        match self {
            Self::Nothing => false,
            Self::Lines(lines) => lines.contains(&index),
            Self::All => true,
        }
    }
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::All => f.write_str("all"),
            Self::Lines(lines) => {
                let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                write!(f, "line {}", lines.join(", "))
            }
        }
    }
}

/// Why a recording leaves something out that passes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withholding {
    /// Who sends it, or hears it, has not agreed to be recorded.
    Consent,
    /// A party would not like it kept, and may say so (RFC 7866 §7.3.2).
    Preference,
}

impl Withholding {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Preference => "a wish",
        }
    }
}

/// Where of a leg something was left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeftOutSpan {
    pub leg: Leg,
    pub what: LeftOut,
    pub why: Withholding,
    pub from: Timestamp,
    pub length: Duration,
}

/// Where nothing was kept, on purpose: since when, and for how long.
pub type PausedSpan = (Timestamp, Duration);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_lines_has_what_was_put_into_it_and_the_last_line_stands_for_those_behind() {
        let set = LineSet::NONE.with(0).with(3);
        assert_eq!(
            (0..5).map(|line| set.contains(line)).collect::<Vec<_>>(),
            [true, false, false, true, false]
        );
        assert_eq!(set.indexes(3).collect::<Vec<_>>(), [0]);
        assert_eq!(LeftOut::of(set, 4), LeftOut::Lines(vec![0, 3]));
        assert!(LineSet::ALL.contains(u16::MAX) && !LineSet::NONE.contains(u16::MAX));
        assert!(LineSet::NONE.with(70).contains(900), "never less than was meant");
        assert_eq!(
            (LeftOut::of(LineSet::ALL, 1), LeftOut::of(LineSet::NONE, 1)),
            (LeftOut::All, LeftOut::Nothing)
        );
    }
}
