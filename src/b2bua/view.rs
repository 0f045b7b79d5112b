//! A call as readers see it.

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::state::{Phase, Recording};
use crate::model::{Ailment, Consented, Outcome, PolicyId, SessionId, Timestamp, TrunkName};
use crate::policy::Verdict;

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// The recorder and the ports are awaited.
    Preparing,
    Ringing,
    Talking,
    Ending,
    /// Nothing of it is left; readers may forget it.
    Over,
}

/// Whether it is being recorded.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// No policy asks for it.
    NotWanted,
    Opening,
    Recording,
    /// Asked for, and not possible at present.
    Broken,
    /// Asked for, and a party does not agree: nothing of it is kept.
    Declined,
}

/// One live call. Published whenever a field changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CallView {
    pub session: SessionId,
    /// Calls that belong together have one.
    pub conversation: SessionId,
    pub state: CallState,
    pub recording: RecordingState,
    pub caller: String,
    pub callee: String,
    pub from_trunk: TrunkName,
    pub to_trunk: Option<TrunkName>,
    pub policies: Vec<PolicyId>,
    pub strict: bool,
    /// A policy forbids the call, whatever the state of the recorder.
    pub forbidden: bool,
    pub emergency: bool,
    pub started: Timestamp,
    pub answered: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    /// What ails its sound now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ailments: Vec<Ailment>,
    /// It is written down, and goes on after a restart.
    #[serde(default)]
    pub survives: bool,
    /// A peer owes it a word: a hand-over waits for that a moment.
    #[serde(default)]
    pub unsettled: bool,
    /// Since when its recording is paused: what arrives from then on is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Timestamp>,
    /// How its parties' consent stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Consented>,
    /// Its policies let the operator pause it.
    #[serde(default)]
    pub pausable: bool,
}

impl Call {
    /// It was begun, and its caller has not acknowledged an answer yet.
    pub fn is_half_open(&self) -> bool {
        !matches!(self.phase, Phase::Confirmed | Phase::Ending)
    }

    /// Nobody was called for it yet: the recorder, or media, is not ready. Who is told something meanwhile keeps nobody waiting.
    pub fn is_preparing(&self) -> bool {
        self.phase == Phase::Preparing && self.announced.foreword.is_none()
    }

    pub(super) fn view(&self, conversation: SessionId) -> CallView {
        CallView {
            session: self.id,
            conversation,
            state: match self.phase {
                Phase::Preparing => CallState::Preparing,
                Phase::Inviting => CallState::Ringing,
                Phase::Answered | Phase::Confirmed => CallState::Talking,
                Phase::Ending if self.is_over() => CallState::Over,
                Phase::Ending => CallState::Ending,
            },
            recording: self.recording_state(),
            caller: self.header.caller.identity.clone(),
            callee: self.header.callee.identity.clone(),
            from_trunk: self.header.from_trunk.clone(),
            to_trunk: self.header.to_trunk.clone(),
            policies: self.header.policies.clone(),
            strict: self.header.strict_during,
            forbidden: matches!(self.decision.verdict, Verdict::Block(_)),
            emergency: self.header.emergency,
            started: self.header.started,
            answered: self.story.answered,
            outcome: self.story.outcome,
            ailments: self.ailments.clone(),
            survives: self.survives(),
            unsettled: self.is_unsettled(),
            paused: self.paused(),
            consents: self.story.consents.clone(),
            pausable: self.may_be_paused_by_api(),
        }
    }

    fn recording_state(&self) -> RecordingState {
        match self.recording {
            Recording::NotWanted => RecordingState::NotWanted,
            Recording::Opening => RecordingState::Opening,
            Recording::Unavailable(_) | Recording::Broken(_) => RecordingState::Broken,
            // A call that was sent on to somebody whom nobody records.
            Recording::Ready | Recording::Closing if self.decision.verdict != Verdict::Record => {
                RecordingState::NotWanted
            }
            _ if self.left_out.is_declined => RecordingState::Declined,
            Recording::Ready | Recording::Closing => RecordingState::Recording,
            // Only its end was kept of a call that was not recorded.
            Recording::Done if self.decision.verdict != Verdict::Record => RecordingState::NotWanted,
            Recording::Done => match self.story.outcome {
                Some(Outcome::Unrecorded | Outcome::Blocked) => RecordingState::Broken,
                _ => RecordingState::Recording,
            },
        }
    }
}
