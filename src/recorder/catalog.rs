//! The catalog: one line of JSON a sealed call. A view: it can be deleted, torn or stale, and is rebuilt from the
//! sealed calls, which alone are believed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Outcome, PolicyId, SessionId, Timestamp};

use super::manifest::Manifest;
use super::stored::json;

/// What a search sees of a call.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    pub id: SessionId,
    pub call_ids: Vec<String>,
    pub from: String,
    pub to: String,
    pub started: Timestamp,
    pub duration_ms: u64,
    pub outcome: Outcome,
    pub policies: Vec<PolicyId>,
    /// RTP streams stored.
    pub streams: usize,
    /// Packets that the relay says were accepted, and that are stored.
    pub accepted: u64,
    pub stored: u64,
    #[serde(default)]
    pub recovered: bool,
}

impl From<&Manifest> for Entry {
    fn from(manifest: &Manifest) -> Self {
        Self {
            id: manifest.session,
            call_ids: manifest.header.call_ids.clone(),
            from: manifest.header.caller.identity.clone(),
            to: manifest.header.callee.identity.clone(),
            started: manifest.header.started,
            duration_ms: u64::try_from(manifest.duration().as_millis()).unwrap_or(u64::MAX),
            outcome: manifest.outcome,
            policies: manifest.header.policies.clone(),
            streams: manifest.streams.len(),
            accepted: manifest.reconciliation.accepted,
            stored: manifest.reconciliation.stored,
            recovered: manifest.recovered.is_some(),
        }
    }
}

impl Entry {
    /// Its line, newline included.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = json(self);
        line.push(b'\n');
        line
    }
}

/// Reads a catalog's text: lines that are no entry are skipped, of two for one call the later counts.
pub fn parse(text: &[u8]) -> BTreeMap<SessionId, Entry> {
    let lines = text.split(|byte| *byte == b'\n');
    let entries = lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    entries.map(|entry| (entry.id, entry)).collect()
}

/// Which calls are wanted. Empty: all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Part of a party's identity or of a Call-ID, without regard to case.
    pub party: Option<String>,
    pub outcome: Option<Outcome>,
}

impl Query {
    pub fn matches(&self, entry: &Entry) -> bool {
        let names = [&entry.from, &entry.to].into_iter().chain(&entry.call_ids);
        let mut names = names.map(|name| name.to_lowercase());
        self.from.is_none_or(|from| entry.started >= from)
            && self.until.is_none_or(|until| entry.started < until)
            && self.outcome.is_none_or(|outcome| entry.outcome == outcome)
            && self.party.as_ref().is_none_or(|party| {
                let party = party.to_lowercase();
                names.any(|name| name.contains(&party))
            })
    }
}
