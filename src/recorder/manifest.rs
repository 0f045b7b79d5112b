//! The facts that close a sealed call.

use serde::{Deserialize, Serialize};

use crate::model::{
    Closing, Decided, Generation, Header, Leg, Outcome, Party, Reconciliation, SessionId, Ssrc, Timestamp,
};

use super::chain::Chain;
use super::seal_job::Ending;
use super::stored::hex;

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
    /// The first session of the conversation that the call belongs to: its own, if it began one.
    pub fn conversation(&self) -> SessionId {
        let told = self.closing.conversation.or(self.header.conversation);
        told.unwrap_or(self.session)
    }

    /// The parties and what was decided for them, as they were at the end.
    pub fn last_header(&self) -> &Header {
        self.closing.became.as_deref().unwrap_or(&self.header)
    }

    /// All that was decided, in order: at least once.
    pub fn decisions(&self) -> Vec<Decided> {
        match self.closing.decisions.as_slice() {
            [] => vec![Decided::of(self.header.started, self.last_header())],
            decisions => decisions.to_vec(),
        }
    }

    /// The conversations that were joined to its own while it was up.
    pub fn joined(&self) -> Vec<SessionId> {
        let first = self.header.conversation.unwrap_or(self.session);
        let mut joined = self.closing.formerly.clone();
        if !joined.contains(&first) {
            joined.push(first);
        }
        joined.retain(|name| *name != self.conversation());
        joined
    }

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

/// The facts of a call whose extents have all been read.
pub(super) fn conclude(
    now: Timestamp,
    software: &str,
    session: SessionId,
    chain: &mut Chain,
    ending: &Ending,
) -> Manifest {
    let closed = chain.closing.clone().or_else(|| ending.closing.clone());
    let kept_until = chain.last_at.unwrap_or_else(|| session.minted_at());
    let recovered = ending.recovered.then_some(Recovered {
        at: now,
        kept_until,
        closed: closed.is_some(),
    });
    let closing = closed.unwrap_or_else(|| Box::new(unclosed(chain, kept_until)));
    chain.end_gap(closing.ended);
    chain.end_pause(closing.ended);
    for leg in Leg::BOTH {
        chain.end_left_out(leg, closing.ended);
    }
    let stored = chain.counts.packets;
    let reconciliation = Reconciliation {
        accepted: closing.tally.as_ref().map_or(stored, |tally| tally.accepted),
        forwarded: closing.tally.as_ref().map_or(stored, |tally| tally.forwarded),
        stored,
        gaps: chain.gaps.clone(),
        pauses: chain.pauses.clone(),
        left_out: chain.left_out.clone(),
    };
    let whole = reconciliation.is_exact() && chain.breaks.is_empty();
    let outcome = match closing.outcome {
        Outcome::Recorded if !whole => Outcome::Faulted,
        outcome => outcome,
    };
    let header = chain.opening.clone().or_else(|| ending.header.clone());
    Manifest {
        session,
        software: software.to_owned(),
        sealed: now,
        outcome,
        header: *header.unwrap_or_else(|| Box::new(lost_header(session))),
        closing: *closing,
        reconciliation,
        counts: chain.counts.clone(),
        streams: chain.streams.clone(),
        breaks: chain.breaks.clone(),
        chain: hex(&chain.head()),
        recovered,
    }
}

/// The end of a call whose end nobody wrote.
fn unclosed(chain: &Chain, ended: Timestamp) -> Closing {
    Closing {
        outcome: Outcome::Faulted,
        answered: chain.answered,
        ended,
        ended_by: "recorder: the node stopped".to_owned(),
        status: None,
        tally: None,
        fault: None,
        encryption: None,
        conversation: None,
        became: None,
        decisions: Vec::new(),
        formerly: Vec::new(),
        consents: chain.consents.clone(),
    }
}

/// A call whose opening record was damaged after it was durable: what is left of it is kept all the same.
fn lost_header(session: SessionId) -> Header {
    Header {
        session,
        conversation: None,
        node: String::new(),
        started: session.minted_at(),
        caller: Party::default(),
        callee: Party::default(),
        from_trunk: "".into(),
        to_trunk: None,
        call_ids: Vec::new(),
        policies: Vec::new(),
        generation: Generation::default(),
        policy_hash: String::new(),
        trace: vec!["the opening record is lost".to_owned()],
        strict_before: false,
        strict_during: false,
        emergency: false,
    }
}
