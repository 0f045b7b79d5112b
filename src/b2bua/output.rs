//! What a call wants done, in order: order is meaning.

use bytes::Bytes;

use super::continuation::Continuation;
use super::emergency::HelpCall;
use super::view::CallView;
use crate::model::{
    Consent, Direction, Fault, Leg, MediaCommand, Outcome, PausedBy, RecordingCommand, SessionId, Timestamp,
};
use crate::sip::Flow;

/// From signalling to its driver, carried out in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Send {
        flow: Flow,
        bytes: Bytes,
    },
    Recording(RecordingCommand),
    Media(MediaCommand),
    /// How a call stands, for readers.
    Publish(Box<CallView>),
    /// The newest of it, for the process after this one.
    Remember {
        session: SessionId,
        state: Memory,
    },
    /// That call is over.
    Forget {
        session: SessionId,
    },
    /// One rung of the call-flow ladder; only when asked for.
    Step(Step),
}

/// What the process after this one needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Memory {
    /// A call that talks.
    Talks(Box<Continuation>),
    /// Who may be called back.
    CalledForHelp(HelpCall),
}

impl Memory {
    /// As the next process reads it.
    pub fn written(&self) -> Bytes {
        match self {
            Self::Talks(state) => state.written(),
            Self::CalledForHelp(caller) => serde_json::to_vec(caller).unwrap_or_default().into(),
        }
    }
}

/// Something that happened in a call, as the ladder shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    pub at: Timestamp,
    pub session: SessionId,
    pub what: StepKind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StepKind {
    /// A SIP message between the proxy and a leg. `start_line` is the peer's text: hostile.
    Sip {
        leg: Leg,
        direction: Direction,
        start_line: String,
    },
    /// The decision, in a line.
    Decided(String),
    RecordingAsked,
    RecordingReady,
    RecordingFaulted(Fault),
    MediaGated,
    /// It crosses again.
    MediaReopened,
    /// Nothing is kept from here on.
    RecordingPaused(PausedBy),
    /// It is kept again.
    RecordingResumed(PausedBy),
    /// Whether a party agrees to be recorded.
    Consent {
        leg: Leg,
        consent: Consent,
    },
    Ended {
        outcome: Outcome,
        by: String,
    },
    /// Packets accepted by the recorder and packets stored.
    Sealed {
        accepted: u64,
        stored: u64,
    },
}
