//! The facts that close a sealed call.

use serde::{Deserialize, Serialize};

use crate::model::{Closing, Header, Leg, Outcome, Reconciliation, SessionId, Ssrc, Timestamp};

/// What a sealed call says about itself. JSON, covered by the file's SHA-256 together with the head of the chain.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Manifest {
    pub session: SessionId,
    pub software: String,
    pub sealed: Timestamp,
    /// How the call ended, after reconciliation: a recording that lacks packets is not `recorded`.
    pub outcome: Outcome,
    pub header: Header,
    pub closing: Closing,
    pub reconciliation: Reconciliation,
    pub counts: Counts,
    /// RTP streams as stored, in order of appearance; at most 64, the rest counts in `counts` only.
    pub streams: Vec<StoredStream>,
    /// Places where the chain does not hold because extents were lost before sealing.
    pub breaks: Vec<ChainBreak>,
    /// SHA-256 of the last extent, in hexadecimal; zeros when there is none.
    pub chain: String,
    /// Set when the call was sealed by recovery.
    pub recovered: Option<Recovered>,
}

impl Manifest {
    pub fn started(&self) -> Timestamp {
        self.header.started
    }

    pub fn duration(&self) -> std::time::Duration {
        self.closing.ended.since(self.header.started)
    }
}

/// What is in the file.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    pub extents: u64,
    pub bytes: u64,
    pub frames: u64,
    pub packets: u64,
    pub rtp: u64,
    pub rtcp: u64,
    pub other: u64,
    pub signals: u64,
    pub marks: u64,
}

/// One RTP stream as stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredStream {
    pub leg: Leg,
    pub line: u16,
    pub ssrc: Ssrc,
    /// Of its first packet.
    pub payload_type: u8,
    pub packets: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// Extent `next` follows extent `after`, and should not: what was between them is lost.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChainBreak {
    /// None: the opening record itself is lost.
    pub after: Option<u32>,
    /// SHA-256 of extent `after`, in hexadecimal: the head of the chain up to the break.
    pub head: String,
    pub next: u32,
}

/// Sealed after a crash.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Recovered {
    pub at: Timestamp,
    /// Time of the last frame that was kept: what came after it was not acknowledged and is lost.
    pub kept_until: Timestamp,
    /// The call's own end was in the journal.
    pub closed: bool,
}
