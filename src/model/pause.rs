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

/// What the relay is to do for who may pause: the whole of it, each time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pausing {
    /// Nothing that passes is kept.
    pub is_paused: bool,
    /// Of leg A, of leg B: the keys that it presses are told.
    pub keys: [bool; 2],
}

/// Where nothing was kept, on purpose: since when, and for how long.
pub type PausedSpan = (Timestamp, Duration);
