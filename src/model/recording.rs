//! What is asked of the recorder and what it answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Ailing, Consent, Consented, Generation, Indication, LeftOut, LeftOutSpan, Leg, LinePlan, Notice, PausedBy,
    PausedSpan, PolicyId, Preference, SessionId, Tally, Timestamp, TrunkName, Waiver, Withholding,
};

/// From signalling to the recorder. Carried by a bounded queue; full is a fault of the recorder.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordingCommand {
    /// Make the call's opening record durable. Answered by `Ready` or `OpenFailed`.
    Open(Arc<Header>),
    /// A SIP message of the call, as it crossed the wire.
    Signal {
        session: SessionId,
        at: Timestamp,
        path: SignalPath,
        bytes: Bytes,
    },
    Mark {
        session: SessionId,
        at: Timestamp,
        mark: Mark,
    },
    /// The call ended: everything accepted is in the recorder's queue already. Answered by `Sealed`.
    Close {
        session: SessionId,
        at: Timestamp,
        closing: Box<Closing>,
    },
    /// A record of a call of which nothing was recorded: blocked, exempt or unrecorded. Answered by `Sealed`, when
    /// a volume takes it.
    Keep {
        header: Arc<Header>,
        at: Timestamp,
        closing: Box<Closing>,
    },
}

/// From the recorder to signalling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordingEvent {
    /// The opening record is durable.
    Ready {
        session: SessionId,
    },
    OpenFailed {
        session: SessionId,
        fault: Fault,
    },
    /// This recording alone is broken.
    Faulted {
        session: SessionId,
        fault: Fault,
    },
    /// No volume takes anything: every open recording is broken, none can be opened.
    Down {
        fault: Fault,
    },
    /// A volume takes writes again. Recordings that are still open go on, with a gap.
    Up,
    /// Every volume has less free than its reserve, or one has enough again. Until then nothing is opened; recordings that
    /// are open go on.
    Reserve {
        crossed: bool,
    },
    /// Sent at least every 250 ms while up: every frame accepted before this time is durable.
    Heartbeat {
        durable_until: Timestamp,
    },
    Sealed {
        session: SessionId,
        reconciliation: Box<Reconciliation>,
    },
}

/// Why nothing can be recorded (strict-mode's "what counts as failure").
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    #[error("no volume could be opened")]
    OpenFailed,
    #[error("disk full (ENOSPC)")]
    DiskFull,
    #[error("disk quota exceeded (EDQUOT)")]
    QuotaExceeded,
    #[error("input/output error (EIO)")]
    Io,
    #[error("read-only file system (EROFS)")]
    ReadOnly,
    #[error("short write")]
    ShortWrite,
    #[error("write or flush stalled beyond lag_max")]
    Stalled,
    #[error("recorder queue full")]
    QueueFull,
    #[error("no free block to record into")]
    PoolEmpty,
    #[error("recorder thread gave no sign of life")]
    Hung,
    #[error("free space below the reserve")]
    Reserve,
    #[error("media relayed but not counted by the recorder")]
    Miscounted,
    #[error("media whose keys were not agreed on")]
    Unkeyed,
}

/// How a call ended, for the law. Exactly one per call.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it is kept.
    Recorded,
    /// Recording broke off: a strict call was ended, a lenient one has gaps.
    Faulted,
    /// Refused because it could not or must not take place.
    Blocked,
    /// No policy asked for it (or an emergency call that none did), or none for whom it was sent on to at last.
    Exempt,
    /// A policy asked for it, without strictness, and the recorder was down from the start to the end; or an emergency call for
    /// whose media we had no port; or an exempt call that was ended because of who came into it; or a party did not agree, and its
    /// policy leaves such calls unrecorded.
    Unrecorded,
    /// Opened in order, but no media crossed: busy, cancelled, not answered, or silent.
    NoMedia,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Faulted => "faulted",
            Self::Blocked => "blocked",
            Self::Exempt => "exempt",
            Self::Unrecorded => "unrecorded",
            Self::NoMedia => "no_media",
        }
    }
}

/// Media of a call that crossed encrypted, and is kept as it crossed: no export of this version makes sound of it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Between a party and us, or both and us (RFC 4568): what is recorded is clear.
    Decrypted,
    /// The keys are in the signalling that is kept beside it (RFC 4568).
    Keyed,
    /// The keys are the ends' own (RFC 5763, RFC 3830): nobody else can ever hear it.
    Sealed,
}

impl Encryption {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decrypted => "encrypted on the way, recorded in clear",
            Self::Keyed => "encrypted, keys in the signalling",
            Self::Sealed => "encrypted, keys unknown",
        }
    }
}

/// One party of a call, as signalled and as normalised.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Party {
    /// The URI that decided, normalised, like `sip:alice@example.com` or `tel:+442079460001`.
    pub identity: String,
    pub display_name: Option<String>,
    /// The header values as they arrived, with their names.
    pub raw: Vec<(String, String)>,
}

/// The opening record: who, when, why. Kept as JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Header {
    pub session: SessionId,
    /// The first session of the conversation that this one goes on with, by transfer, forward, pickup or simultaneous
    /// ring (RFC 7865 §6.2's communication session group); none: it begins one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<SessionId>,
    pub node: String,
    pub started: Timestamp,
    pub caller: Party,
    pub callee: Party,
    pub from_trunk: TrunkName,
    pub to_trunk: Option<TrunkName>,
    /// Call-IDs of leg A and, once sent, of leg B.
    pub call_ids: Vec<String>,
    pub policies: Vec<PolicyId>,
    pub generation: Generation,
    /// SHA-256 of the policy files as loaded, in hexadecimal.
    pub policy_hash: String,
    /// The decision and its trail, a line each.
    pub trace: Vec<String>,
    pub strict_before: bool,
    pub strict_during: bool,
    pub emergency: bool,
}

/// Which way a SIP message went, seen from the proxy.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignalPath {
    pub leg: Leg,
    pub direction: Direction,
    pub peer: std::net::SocketAddr,
    pub local: std::net::SocketAddr,
    pub tcp: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Received,
    Sent,
}

/// Something on the recording's timeline that is no packet. Kept as JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The media as negotiated from here on: addresses and payload types of every line.
    Media(Vec<LinePlan>),
    Answered,
    Held {
        by: Leg,
    },
    Resumed {
        by: Leg,
    },
    /// Somebody else speaks on this leg from here on (RFC 4916). `party`: name and URI as signalled.
    Connected {
        leg: Leg,
        party: String,
    },
    /// The RTP of this leg's line comes from a host that its SDP does not name.
    Learned {
        leg: Leg,
        line: u16,
        from: std::net::SocketAddr,
    },
    /// A party was told that it is recorded.
    Noticed(Notice),
    /// A party could not be told that it is recorded: the parties agreed on no format that we can speak in.
    Unnoticed {
        leg: Leg,
    },
    /// A description told a party how its recording stands, and the party reads that (RFC 7866).
    Indicated {
        leg: Leg,
        recording: Indication,
        /// Lines that it was told are paused all the same.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        paused: Vec<u16>,
    },
    /// How a party's consent to the recording stands from here on.
    Consent {
        leg: Leg,
        consent: Consent,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waiver: Option<Waiver>,
    },
    /// From here on this of what a leg sends is not kept, and all else is.
    LeftOut {
        leg: Leg,
        what: LeftOut,
        why: Withholding,
    },
    /// What a party would like of the recording, from here on.
    Preferred {
        leg: Leg,
        preference: Preference,
        /// Of each line, where they are not alike.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Preference>,
    },
    /// Something ails the sound from here on, or has until here.
    Health(Ailing),
    /// From here nothing was kept.
    GapOpened {
        fault: Fault,
    },
    /// From here it is kept again; `packets` passed unrecorded.
    GapClosed {
        packets: u64,
    },
    /// From here nothing is kept, on purpose: the policies allow it. `why`: as who asked for it said.
    RecordingPaused {
        by: PausedBy,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// From here it is kept again.
    RecordingResumed {
        by: PausedBy,
    },
    Note(String),
}

/// The facts that only the end of a call knows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Closing {
    pub outcome: Outcome,
    pub answered: Option<Timestamp>,
    pub ended: Timestamp,
    /// Who or what ended it, like `BYE from A` or `recorder: disk full (ENOSPC)`.
    pub ended_by: String,
    /// The final status of the INVITE towards A, if there was one.
    pub status: Option<u16>,
    /// None when no media was ever opened.
    pub tally: Option<Tally>,
    pub fault: Option<Fault>,
    /// How much of its media nobody hears; none if all of it crossed in clear. A call that breaks off without its end tells none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// The conversation that it turned out to belong to, if the opening record names another: a later transfer joined
    /// two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<SessionId>,
    /// The opening record as it would be now, if the parties or what the policies say of them have changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub became: Option<Arc<Header>>,
    /// All that was decided, in order, the last included; empty where it was decided once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decided>,
    /// Conversations that it belonged to before they were joined to that of its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<SessionId>,
    /// How the parties' consent stood at last, in order; of each who was in the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Consented>,
}

/// What was decided for a call from a time on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Decided {
    pub at: Timestamp,
    /// Who was in the call, as normalised.
    pub caller: String,
    pub callee: String,
    pub policies: Vec<PolicyId>,
    pub generation: Generation,
    pub strict_before: bool,
    pub strict_during: bool,
    pub trace: Vec<String>,
}

impl Decided {
    pub fn of(at: Timestamp, header: &Header) -> Self {
        Self {
            at,
            caller: header.caller.identity.clone(),
            callee: header.callee.identity.clone(),
            policies: header.policies.clone(),
            generation: header.generation,
            strict_before: header.strict_before,
            strict_during: header.strict_during,
            trace: header.trace.clone(),
        }
    }
}

/// Packets relayed against packets stored, after the last byte is durable.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reconciliation {
    /// What the relay says the recorder accepted.
    pub accepted: u64,
    pub forwarded: u64,
    /// What is in the sealed recording.
    pub stored: u64,
    pub gaps: Vec<(Timestamp, Duration)>,
    /// Where nothing was kept because the recording was paused: no fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PausedSpan>,
    /// Where something of a party was left out, because it has not agreed or would not like it: no fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutSpan>,
}

impl Reconciliation {
    pub fn is_exact(&self) -> bool {
        self.accepted == self.stored && self.gaps.is_empty()
    }
}
