//! What became of each call: the engine's own words about its sessions.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::options::Shown;
use crate::engine::{CallState, CallView, RecordingState, Step, StepKind};
use crate::model::{Ailing, Direction, Leg, Outcome, Reconciliation, SessionId, Timestamp};

/// Rungs of one session's ladder that are kept.
const STEPS_MAX: usize = 1_000;

/// Messages of one call that are listed.
const SIP_MAX: usize = 1_000;

/// One Call-ID's sessions: several when the callee asked for credentials or another try.
#[derive(Debug, Default)]
pub(crate) struct Story {
    sessions: BTreeMap<SessionId, Session>,
    /// What phones and proxy said to each other.
    pub sip: Vec<Told>,
}

/// A message, as it crossed between a phone and the proxy.
#[derive(Debug)]
pub(crate) struct Told {
    pub at: Timestamp,
    pub leg: Leg,
    /// Seen from the proxy.
    pub direction: Direction,
    pub start_line: Box<str>,
    /// All of it, where that is asked for.
    pub whole: Option<Bytes>,
    /// The header lines that are asked for.
    pub headers: Vec<String>,
}

impl Told {
    pub(crate) fn new(at: Timestamp, (leg, direction): (Leg, Direction), bytes: &Bytes, shown: &Shown) -> Self {
        let (whole, headers) = shown.of(bytes);
        let end = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
        Self {
            at,
            leg,
            direction,
            start_line: String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into(),
            whole,
            headers,
        }
    }
}

impl Story {
    pub(crate) fn session(&mut self, id: SessionId) -> &mut Session {
        self.sessions.entry(id).or_default()
    }

    pub(crate) fn hear(&mut self, told: Told) {
        if self.sip.len() < SIP_MAX {
            self.sip.push(told);
        }
    }

    /// In order of time.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.sessions
            .values()
            .all(|session| session.view.as_ref().is_some_and(|view| view.state == CallState::Over))
    }

    /// Over, and nothing more is expected of the recorder.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_over()
            && self
                .sessions
                .values()
                .all(|session| session.is_sealed() || !session.is_seal_expected())
    }

    /// The session that tells most of the call: what failed before what was recorded, before what came to nothing.
    pub(crate) fn telling(&self) -> Option<(SessionId, &Session)> {
        self.sessions().max_by_key(|(id, session)| (session.weight(), *id))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    pub view: Option<CallView>,
    pub steps: Vec<Step>,
    pub ended: Option<Timestamp>,
    /// Packets that the recorder took from the relay.
    pub relayed: u64,
    pub ailments: Vec<Ailing>,
    pub reconciliation: Option<Reconciliation>,
    /// Its sealed file has its name.
    pub is_published: bool,
    /// It wanted to be recorded at some time.
    pub is_wanted: bool,
}

impl Session {
    pub(crate) fn on_view(&mut self, now: Timestamp, view: CallView) {
        self.is_wanted |= view.recording != RecordingState::NotWanted;
        if matches!(view.state, CallState::Ending | CallState::Over) {
            self.ended.get_or_insert(now);
        }
        self.view = Some(view);
    }

    pub(crate) fn on_step(&mut self, step: Step) {
        if let StepKind::Ended { .. } = step.what {
            self.ended = Some(step.at);
        }
        if self.steps.len() < STEPS_MAX {
            self.steps.push(step);
        }
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.view.as_ref()?.outcome
    }

    fn is_sealed(&self) -> bool {
        self.reconciliation.is_some()
    }

    /// A broken recorder seals nothing.
    fn is_seal_expected(&self) -> bool {
        matches!(self.outcome(), Some(Outcome::Recorded | Outcome::NoMedia) if self.is_wanted)
    }

    fn weight(&self) -> u8 {
        match self.outcome() {
            None => 0,
            Some(Outcome::NoMedia) => 1,
            Some(Outcome::Exempt) => 2,
            Some(Outcome::Unrecorded) => 3,
            Some(Outcome::Recorded) => 4,
            Some(Outcome::Blocked) => 5,
            Some(Outcome::Faulted) => 6,
        }
    }
}
