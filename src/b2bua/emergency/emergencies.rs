//! Who called for help: for a day, calls back to them are emergency calls too (RFC 7090 §1).
//!
//! Who is called back is who the far end was told of, by whatever name: the caller as the policies know it, as it wrote itself,
//! and as From and who is asserted have left. Hosts do not count: routes go by the user part, and the call back names us. What a
//! trusted trunk vouches for and is a number of the world counts anywhere, all else at the caller's own trunk alone: it may be an
//! extension there, or somebody else's number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::b2bua::call::Call;
use crate::b2bua::dialog::CallLeg;
use crate::b2bua::identity::caller;
use crate::b2bua::output::{Memory, Output};
use crate::b2bua::turn::Turn;
use crate::model::{SessionId, Timestamp, TrunkName};
use crate::policy::{CallFacts, Identity, PolicySet};
use crate::sip::Uri;

/// How long a call back is expected.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Callers that are remembered; beyond, the one who called first is forgotten.
const CALLERS_MAX: usize = 4_096;
/// Names of one caller that are remembered, and their longest in bytes; others are left out.
const NAMES_MAX: usize = 8;
const NAME_BYTES_MAX: usize = 256;
/// What tells the far end who calls, beside From.
const ASSERTED: [&str; 2] = ["P-Asserted-Identity", "Remote-Party-ID"];
/// Header lines of one INVITE that tell who is asserted and are looked at.
const ASSERTED_MAX: usize = 4;

/// Callers of emergency numbers, and the trunk that their call left by.
#[derive(Debug, Default)]
pub struct Emergencies {
    callers: BTreeMap<SessionId, Called>,
    names: BTreeSet<(TrunkName, String, SessionId)>,
}

/// By where it is written down.
#[derive(Clone, Debug)]
struct Called {
    names: Vec<String>,
    /// Numbers among them that a trusted trunk vouches for.
    vouched: Vec<String>,
    /// The caller's trunk.
    of: TrunkName,
    /// The trunk that the call left by.
    by: TrunkName,
    at: Timestamp,
}

/// One of them, written down for the next process.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HelpCall {
    called_for_help: Vec<String>,
    #[serde(default)]
    vouched: Vec<String>,
    of: TrunkName,
    by: TrunkName,
    at: Timestamp,
}

impl Emergencies {
    /// `slot`: where it may be written down, unless it is already. Gives where it is, and what of others is over.
    fn note(&mut self, called: Called, slot: SessionId) -> (SessionId, Vec<SessionId>) {
        let now = called.at;
        let lasts = |called: &Called| now.since(called.at) < WINDOW;
        let over = self.callers.iter().filter(|(_, called)| !lasts(called));
        let mut over: Vec<SessionId> = over.map(|(slot, _)| *slot).collect();
        over.iter().for_each(|slot| self.forget(*slot));
        if let Some(known) = self.slot_of(&called) {
            if let Some(before) = self.callers.get_mut(&known) {
                before.at = now.max(before.at);
            }
            return (known, over);
        }
        if self.callers.len() >= CALLERS_MAX {
            let first = self.callers.iter().min_by_key(|(_, called)| called.at);
            if let Some(first) = first.map(|(slot, _)| *slot) {
                self.forget(first);
                over.push(first);
            }
        }
        let names = called.names.iter().map(|name| (called.by.clone(), name.clone(), slot));
        self.names.extend(names);
        self.callers.insert(slot, called);
        (slot, over)
    }

    fn slot_of(&self, called: &Called) -> Option<SessionId> {
        let mut slots = self.slots(&called.by, called.names.first()?);
        slots.find(|slot| {
            let known = self
                .callers
                .get(slot)
                .map(|known| (&known.of, &known.names, &known.vouched));
            known == Some((&called.of, &called.names, &called.vouched))
        })
    }

    fn slots(&self, by: &TrunkName, name: &str) -> impl Iterator<Item = SessionId> {
        let at = |slot| (by.clone(), name.to_owned(), SessionId::from_u128(slot));
        let slots = self.names.range(at(0)..=at(u128::MAX));
        slots.map(|(_, _, slot)| *slot)
    }

    fn forget(&mut self, slot: SessionId) {
        let Some(called) = self.callers.remove(&slot) else {
            return;
        };
        for name in called.names {
            self.names.remove(&(called.by.clone(), name, slot));
        }
    }

    /// What the process before wrote down as `slot`, if it is of a caller: whether that is still to be kept.
    pub fn resume(&mut self, now: Timestamp, slot: SessionId, state: &[u8]) -> Option<bool> {
        let kept: HelpCall = serde_json::from_slice(state).ok()?;
        if now.since(kept.at) >= WINDOW || self.callers.len() >= CALLERS_MAX {
            return Some(false);
        }
        let mut names = kept.called_for_help;
        names.truncate(NAMES_MAX);
        let called = Called {
            vouched: kept.vouched.into_iter().filter(|name| names.contains(name)).collect(),
            names,
            of: kept.of,
            by: kept.by,
            at: kept.at,
        };
        let (place, _) = self.note(called, slot);
        Some(place == slot)
    }

    /// Whether a call with these facts, to `callee`, may be the call back: by who is called, and by what it is sent on as.
    pub fn expects(&self, now: Timestamp, policies: &PolicySet, facts: &CallFacts, callee: &Identity) -> bool {
        let Some(from) = facts.trunk.as_ref().filter(|_| !self.callers.is_empty()) else {
            return false;
        };
        let sent_on = facts.sent_on_as.iter().flat_map(|uri| {
            let trunks = [Some(from), facts.to_trunk.as_ref()].into_iter().flatten();
            trunks.flat_map(|trunk| policies.identify(trunk, uri).names())
        });
        let mut called = callee.names().chain(sent_on);
        called.any(|name| self.expects_name(now, &name, from, facts.to_trunk.as_ref()))
    }

    fn expects_name(&self, now: Timestamp, name: &str, from: &TrunkName, to: Option<&TrunkName>) -> bool {
        let is_meant = |called: &Called| to == Some(&called.of) || called.vouched.iter().any(|vouched| vouched == name);
        let mut callers = self.slots(from, name).filter_map(|slot| self.callers.get(&slot));
        callers.any(|called| now.since(called.at) < WINDOW && is_meant(called))
    }
}

impl Call {
    /// B has answered, or it rings there. From an emergency call that came so far a call back may follow, also where the caller
    /// hung up before somebody took it (RFC 7090); one that was refused, or only asked for by a REFER, opens no window, and
    /// neither does the call back itself, nor the call of a transfer.
    pub(in crate::b2bua) fn note_emergency(&self, turn: &mut Turn<'_>) {
        if !self.decision.emergency || self.attempts.kin.emergency {
            return;
        }
        let target = turn.policies.identify(&self.b.trunk.name, &self.target.to_string());
        let called = self.decision.callee.names().chain(target.names());
        let mut called = called.collect::<Vec<String>>().into_iter();
        if called.any(|name| {
            turn.emergencies
                .expects_name(turn.now, &name, &self.a.trunk.name, Some(&self.b.trunk.name))
        }) {
            return;
        }
        let called = self.called_for_help(turn);
        if called.names.is_empty() {
            return;
        }
        let kept = HelpCall {
            called_for_help: called.names.clone(),
            vouched: called.vouched.clone(),
            of: called.of.clone(),
            by: called.by.clone(),
            at: called.at,
        };
        let slot = SessionId::mint(turn.now, turn.wire.mint().entropy());
        let (session, over) = turn.emergencies.note(called, slot);
        let over = over.into_iter().map(|session| Output::Forget { session });
        turn.out.extend(over);
        let state = Memory::CalledForHelp(kept);
        turn.out.push_back(Output::Remember { session, state });
    }

    /// The caller, by all that it may be called back as, each once: as it is known here and as its INVITE left.
    fn called_for_help(&self, turn: &Turn<'_>) -> Called {
        let identify = |leg: &CallLeg, uri: &Uri| turn.policies.identify(&leg.trunk.name, &uri.to_string());
        let left = self.b.invite.as_deref().map(|invite| &invite.headers);
        let asserted = left.into_iter().flat_map(|headers| {
            let named = ASSERTED.map(|name| headers.addresses(name));
            let named = named.into_iter().flat_map(|named| named.into_iter().take(ASSERTED_MAX));
            named.filter(|named| !caller::is_called(named))
        });
        let asserted = asserted.map(|named| identify(&self.b, named.uri()));
        let known = std::iter::once(self.decision.caller.clone()).chain(asserted);
        let came = self.a.invite.as_deref().map(|invite| &invite.headers);
        let from = left.map(|headers| identify(&self.b, headers.from().uri())).into_iter();
        let from = from.chain(came.map(|headers| identify(&self.a, headers.from().uri())));
        let mut called = Called {
            names: Vec::new(),
            vouched: Vec::new(),
            of: self.a.trunk.name.clone(),
            by: self.b.trunk.name.clone(),
            at: turn.now,
        };
        let parties = known.map(|party| (party, self.a.trunk.trusted));
        for (party, is_vouched) in parties.chain(from.map(|party| (party, false))) {
            for name in party.names().filter(|name| name.len() <= NAME_BYTES_MAX) {
                if called.names.len() >= NAMES_MAX || called.names.contains(&name) {
                    continue;
                }
                if is_vouched && name.starts_with('+') {
                    called.vouched.push(name.clone());
                }
                called.names.push(name);
            }
        }
        called
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn note(emergencies: &mut Emergencies, at: Timestamp, caller: &str) -> (SessionId, Vec<SessionId>) {
        let slot = SessionId::from_u128(u128::from(at.as_millis()));
        let names = vec![caller.to_owned(), format!("{caller}-as-sent")];
        let called = Called {
            vouched: names.iter().filter(|name| name.starts_with("+44")).cloned().collect(),
            names,
            of: "pbx".into(),
            by: "carrier".into(),
            at,
        };
        emergencies.note(called, slot)
    }

    #[test]
    fn a_call_back_is_expected_for_a_day_and_from_where_help_was_called() {
        let mut emergencies = Emergencies::default();
        let start = Timestamp::from_millis(1_000);
        note(&mut emergencies, start, "alice");
        let expects = |after: u64, callee: &str, from: &str| {
            emergencies.expects_name(
                start + Duration::from_secs(after),
                callee,
                &from.into(),
                Some(&"pbx".into()),
            )
        };
        assert!(expects(86_399, "alice", "carrier"));
        assert!(expects(86_399, "alice-as-sent", "carrier"));
        assert!(!expects(86_400, "alice", "carrier"));
        assert!(!expects(1, "alice", "pbx"));
        assert!(!expects(1, "bob", "carrier"));
    }

    #[test]
    fn who_is_vouched_for_is_called_back_at_a_number_anywhere_and_else_at_its_own_pbx() {
        let mut emergencies = Emergencies::default();
        let start = Timestamp::from_millis(1_000);
        for (after, caller) in (1..).zip(["1000", "+442079460000", "+12025550100"]) {
            note(&mut emergencies, start + Duration::from_millis(after), caller);
        }
        let expects =
            |callee: &str, to: &str| emergencies.expects_name(start, callee, &"carrier".into(), Some(&to.into()));
        assert!(expects("1000", "pbx") && !expects("1000", "branch"));
        assert!(expects("+442079460000", "pbx") && expects("+442079460000", "branch"));
        assert!(expects("+12025550100", "pbx") && !expects("+12025550100", "branch"));
        assert!(!emergencies.expects_name(start, "1000", &"carrier".into(), None));
    }

    #[test]
    fn who_was_written_down_by_a_version_that_did_not_tell_who_is_vouched_for_is_called_back_at_its_own_pbx() {
        let mut emergencies = Emergencies::default();
        let (start, slot) = (Timestamp::from_millis(1_000), SessionId::from_u128(1));
        let kept = HelpCall {
            called_for_help: vec!["+442079460000".to_owned()],
            vouched: Vec::new(),
            of: "pbx".into(),
            by: "carrier".into(),
            at: start,
        };
        let mut state = serde_json::to_value(kept).unwrap();
        assert!(state.as_object_mut().unwrap().remove("vouched").is_some());
        let state = state.to_string();
        assert_eq!(emergencies.resume(start, slot, state.as_bytes()), Some(true));
        let expects = |to: &str| emergencies.expects_name(start, "+442079460000", &"carrier".into(), Some(&to.into()));
        assert!(expects("pbx") && !expects("branch"));
    }

    #[test]
    fn one_extension_of_two_pbxs_is_called_back_at_both() {
        let mut emergencies = Emergencies::default();
        let start = Timestamp::from_millis(1_000);
        for (slot, pbx) in [(1, "pbx"), (2, "branch")] {
            let called = Called {
                names: vec!["1000".to_owned()],
                vouched: Vec::new(),
                of: pbx.into(),
                by: "carrier".into(),
                at: start,
            };
            emergencies.note(called, SessionId::from_u128(slot));
        }
        for pbx in ["pbx", "branch"] {
            assert!(
                emergencies.expects_name(start, "1000", &"carrier".into(), Some(&pbx.into())),
                "{pbx}"
            );
        }
    }

    #[test]
    fn a_flood_of_emergencies_forgets_the_oldest_and_grows_no_further() {
        let mut emergencies = Emergencies::default();
        for n in 0..5_000_u64 {
            let (_, over) = note(&mut emergencies, Timestamp::from_millis(n), &format!("{n}"));
            assert_eq!(
                over.len(),
                usize::from(n >= CALLERS_MAX as u64),
                "its place is given back"
            );
        }
        assert_eq!(emergencies.callers.len(), CALLERS_MAX);
        assert_eq!(emergencies.names.len(), 2 * CALLERS_MAX);
        assert!(!emergencies.expects_name(
            Timestamp::from_millis(5_000),
            "0",
            &"carrier".into(),
            Some(&"pbx".into())
        ));
        assert!(emergencies.expects_name(
            Timestamp::from_millis(5_000),
            "4999",
            &"carrier".into(),
            Some(&"pbx".into())
        ));
    }
}
