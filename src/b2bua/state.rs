//! Where a call's parts are: its phase, its media, its recording, and what the closing record will tell.

use crate::model::{Consented, Decided, Encryption, Fault, Outcome, Tally, Timestamp};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// The recorder and the ports are awaited; B knows nothing yet.
    Preparing,
    /// B is invited.
    Inviting,
    /// A has its 2xx; its ACK is awaited.
    Answered,
    Confirmed,
    Ending,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum MediaState {
    Unopened,
    Opening,
    Open,
    /// Open, and our ports towards B are being bound at another address.
    Moving,
    Closing,
    Closed(Option<Box<Tally>>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Recording {
    /// No policy asks for it.
    NotWanted,
    /// Asked for without strictness; nothing is open. Tried again when the recorder is up.
    Unavailable(Fault),
    Opening,
    Ready,
    /// It was open; frames are lost from here on, until the recorder is up again.
    Broken(Fault),
    /// The recorder was told of the end.
    Closing,
    /// Nothing more is expected of the recorder.
    Done,
}

/// What the closing record tells.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub answered: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub ended_by: String,
    pub status: Option<u16>,
    pub fault: Option<Fault>,
    pub blocked: bool,
    /// The most that its media was encrypted.
    pub encryption: Option<Encryption>,
    /// What was decided before what the header tells, and when that was decided, if not at the start.
    pub superseded: Vec<Decided>,
    pub decided: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub consents: Vec<Consented>,
}
