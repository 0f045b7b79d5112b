//! Who called for help: for a day, calls back to them are emergency calls too (RFC 7090 §1).

use std::collections::BTreeMap;
use std::time::Duration;

use super::call::Call;
use super::turn::Turn;
use crate::model::{Timestamp, TrunkName};

/// How long a call back is expected.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Callers that are remembered; beyond, the one who called first is forgotten.
const CALLERS_MAX: usize = 4_096;

/// Callers of emergency numbers, and the trunk that their call left by.
#[derive(Debug, Default)]
pub struct Emergencies {
    callers: BTreeMap<(String, TrunkName), Timestamp>,
}

impl Emergencies {
    pub fn note(&mut self, now: Timestamp, caller: String, by: TrunkName) {
        self.callers.retain(|_, called| now.since(*called) < WINDOW);
        if self.callers.len() >= CALLERS_MAX {
            let first = self
                .callers
                .iter()
                .min_by_key(|(_, called)| **called)
                .map(|(key, _)| key.clone());
            if let Some(first) = first {
                self.callers.remove(&first);
            }
        }
        self.callers.insert((caller, by), now);
    }

    /// Nobody has called for help lately.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Whether a call to `callee` that comes in by `from` may be the call back.
    pub fn expects(&self, now: Timestamp, callee: &str, from: &TrunkName) -> bool {
        let called = self.callers.get(&(callee.to_owned(), from.clone()));
        called.is_some_and(|called| now.since(*called) < WINDOW)
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
            turn.emergencies.note(turn.now, decision.caller.to_string(), by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_back_is_expected_for_a_day_and_from_where_help_was_called() {
        let mut emergencies = Emergencies::default();
        let start = Timestamp::from_millis(1_000);
        emergencies.note(start, "sip:alice@example.com".to_owned(), "carrier".into());
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
            emergencies.note(Timestamp::from_millis(n), format!("sip:{n}@x"), "carrier".into());
        }
        assert_eq!(emergencies.callers.len(), CALLERS_MAX);
        assert!(!emergencies.expects(Timestamp::from_millis(5_000), "sip:0@x", &"carrier".into()));
        assert!(emergencies.expects(Timestamp::from_millis(5_000), "sip:4999@x", &"carrier".into()));
    }
}
