//! Who called for help: for a day, calls back to them are emergency calls too (RFC 7090 §1).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::output::{Memory, Output};
use super::turn::Turn;
use crate::model::{SessionId, Timestamp, TrunkName};

/// How long a call back is expected.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Callers that are remembered; beyond, the one who called first is forgotten.
const CALLERS_MAX: usize = 4_096;

/// Callers of emergency numbers, and the trunk that their call left by.
#[derive(Debug, Default)]
pub struct Emergencies {
    callers: BTreeMap<(String, TrunkName), Called>,
}

#[derive(Clone, Copy, Debug)]
struct Called {
    at: Timestamp,
    /// Where it is written down.
    slot: SessionId,
}

/// One of them, written down for the next process.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HelpCall {
    called_for_help: String,
    by: TrunkName,
    at: Timestamp,
}

impl Emergencies {
    /// `slot`: where it may be written down, unless it is already. Gives where it is, and what of others is over.
    fn note(&mut self, called: Called, caller: String, by: TrunkName) -> (SessionId, Vec<SessionId>) {
        let now = called.at;
        let mut over = Vec::new();
        self.callers.retain(|_, called| {
            let lasts = now.since(called.at) < WINDOW;
            if !lasts {
                over.push(called.slot);
            }
            lasts
        });
        let key = (caller, by);
        if let Some(known) = self.callers.get_mut(&key) {
            known.at = now.max(known.at);
            return (known.slot, over);
        }
        if self.callers.len() >= CALLERS_MAX {
            let first = self.callers.iter().min_by_key(|(_, called)| called.at);
            if let Some((key, slot)) = first.map(|(key, called)| (key.clone(), called.slot)) {
                self.callers.remove(&key);
                over.push(slot);
            }
        }
        self.callers.insert(key, called);
        (called.slot, over)
    }

    /// What the process before wrote down as `slot`, if it is of a caller: whether that is still to be kept.
    pub fn resume(&mut self, now: Timestamp, slot: SessionId, state: &[u8]) -> Option<bool> {
        let kept: HelpCall = serde_json::from_slice(state).ok()?;
        if now.since(kept.at) >= WINDOW || self.callers.len() >= CALLERS_MAX {
            return Some(false);
        }
        let called = Called { at: kept.at, slot };
        let (place, _) = self.note(called, kept.called_for_help, kept.by);
        Some(place == slot)
    }

    /// Nobody has called for help lately.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Whether a call to `callee` that comes in by `from` may be the call back.
    pub fn expects(&self, now: Timestamp, callee: &str, from: &TrunkName) -> bool {
        let called = self.callers.get(&(callee.to_owned(), from.clone()));
        called.is_some_and(|called| now.since(called.at) < WINDOW)
    }
}

impl Call {
    /// B has answered, or it rings there. From an emergency call that came so far a call back may follow, also where the caller
    /// hung up before somebody took it (RFC 7090); one that was refused, or only asked for by a REFER, opens no window, and
    /// neither does the call back itself, nor the call of a transfer.
    pub(super) fn note_emergency(&self, turn: &mut Turn<'_>) {
        let decision = &self.decision;
        let is_call_back = |callee: &str| turn.emergencies.expects(turn.now, callee, &self.a.trunk.name);
        let is_told = decision.emergency && !self.attempts.kin.emergency;
        if is_told && !is_call_back(&decision.callee.to_string()) {
            let by = self.b.trunk.name.clone();
            let kept = HelpCall {
                called_for_help: decision.caller.to_string(),
                by: by.clone(),
                at: turn.now,
            };
            let slot = SessionId::mint(turn.now, turn.wire.mint().entropy());
            let called = Called { at: turn.now, slot };
            let (session, over) = turn.emergencies.note(called, decision.caller.to_string(), by);
            let over = over.into_iter().map(|session| Output::Forget { session });
            turn.out.extend(over);
            let state = Memory::CalledForHelp(kept);
            turn.out.push_back(Output::Remember { session, state });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(emergencies: &mut Emergencies, at: Timestamp, caller: &str) -> (SessionId, Vec<SessionId>) {
        let slot = SessionId::from_u128(u128::from(at.as_millis()));
        emergencies.note(Called { at, slot }, caller.to_owned(), "carrier".into())
    }

    #[test]
    fn a_call_back_is_expected_for_a_day_and_from_where_help_was_called() {
        let mut emergencies = Emergencies::default();
        let start = Timestamp::from_millis(1_000);
        note(&mut emergencies, start, "sip:alice@example.com");
        let expects = |after: u64, callee: &str, from: &str| {
            emergencies.expects(start + Duration::from_secs(after), callee, &from.into())
        };
        assert!(expects(86_399, "sip:alice@example.com", "carrier"));
        assert!(!expects(86_400, "sip:alice@example.com", "carrier"));
        assert!(!expects(1, "sip:alice@example.com", "pbx"));
        assert!(!expects(1, "sip:bob@example.com", "carrier"));
    }

    #[test]
    fn a_flood_of_emergencies_forgets_the_oldest_and_grows_no_further() {
        let mut emergencies = Emergencies::default();
        for n in 0..5_000_u64 {
            let (_, over) = note(&mut emergencies, Timestamp::from_millis(n), &format!("sip:{n}@x"));
            assert_eq!(
                over.len(),
                usize::from(n >= CALLERS_MAX as u64),
                "its place is given back"
            );
        }
        assert_eq!(emergencies.callers.len(), CALLERS_MAX);
        assert!(!emergencies.expects(Timestamp::from_millis(5_000), "sip:0@x", &"carrier".into()));
        assert!(emergencies.expects(Timestamp::from_millis(5_000), "sip:4999@x", &"carrier".into()));
    }
}
