//! A call as readers see it.

use serde::{Deserialize, Serialize};

use crate::model::{Outcome, PolicyId, SessionId, Timestamp, TrunkName};

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
}

/// One live call. Published whenever a field changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CallView {
    pub session: SessionId,
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
}
