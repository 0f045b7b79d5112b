//! How many of the dialogs came to each place that is worth coming to.

use std::collections::{BTreeMap, BTreeSet};

/// What a slice has to meet at least once.
pub const MUST_HAVES: &[&str] = &[
    "491 tried again",
    "500 tried again",
    "B's trunk removed",
    "BYEs crossed",
    "a 2xx crossed a CANCEL at the caller",
    "a 2xx was never acknowledged",
    "a 422",
    "a 422 followed",
    "a 2xx to an INVITE that nobody remembers",
    "a 481 ended a dialog",
    "a BYE crossed",
    "a BYE in an early dialog",
    "a CANCEL arrived",
    "a CANCEL came too late to be sent",
    "a CANCEL crossed a final answer",
    "a CANCEL for a re-INVITE",
    "a Join accepted",
    "a NOTIFY of a subscription crossed",
    "a PRACK arrived",
    "a REFER crossed",
    "a SUBSCRIBE",
    "a SUBSCRIBE in a call crossed",
    "a call handed over",
    "a call into a dialog",
    "a call placed for a REFER",
    "a call placed with Replaces",
    "a challenge answered",
    "a change of the recording told",
    "a challenge for the proxy",
    "a connection broke",
    "a datagram came back",
    "a dialog replaced",
    "a hold",
    "a late 200 after a CANCEL",
    "a late offer",
    "a party went over to another call",
    "a re-INVITE answered",
    "a re-INVITE in haste was refused",
    "a re-INVITE was glare at a phone",
    "a recorder lost before the answer",
    "a recorder lost in a confirmed call",
    "a recorder that hung",
    "a redirection followed",
    "a reliable 18x",
    "a request was overtaken",
    "a semi-attended transfer",
    "a session refreshed",
    "a session timer agreed",
    "a stale nonce",
    "a subscription refreshed",
    "a transfer done",
    "a word before the call",
    "an ACK without an answer",
    "an INFO crossed",
    "an INVITE forked",
    "an UPDATE crossed",
    "an UPDATE with an offer crossed",
    "an answer in a reliable 18x",
    "an attended transfer",
    "an early UPDATE crossed",
    "an early dialog replaced",
    "an offer in a 2xx to a re-INVITE",
    "an offer in a PRACK arrived",
    "an offer in a reliable 18x",
    "blocked",
    "drained",
    "early media",
    "exempt",
    "faulted",
    "glare at the proxy",
    "killed in a call",
    "no ACK",
    "no_media",
    "policies reloaded in a call",
    "recorded",
    "several early dialogs at the caller",
    "several forks accepted",
    "the callee died",
    "the caller died",
    "the third died",
    "trunks reloaded",
    "told of the recording",
    "unrecorded",
    "the media of a transfer",
];

/// What a hundred thousand have to meet besides.
pub const RARITIES: &[&str] = &[
    "a 420 followed",
    "a BYE in an early dialog crossed",
    "a call of two dead phones",
    "a re-INVITE in haste came just right",
    "a re-INVITE was cancelled",
    "a restart after a REFER",
    "an UPDATE was glare at a phone",
    "the media after a transfer that failed",
];

#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn add(&mut self, seen: &BTreeSet<&'static str>) {
        for what in seen {
            *self.0.entry(what).or_default() += 1;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted
            .iter()
            .copied()
            .filter(|what| !self.0.contains_key(what))
            .collect()
    }

    pub fn table(&self, dialogs: u64) -> String {
        let lines = self.0.iter().map(|(what, count)| format!("{count:9}  {what}\n"));
        format!(
            "{dialogs} dialogs, and how many of them met\n{}",
            lines.collect::<String>()
        )
    }
}
