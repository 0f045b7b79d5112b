//! The catalog: one line of JSON a sealed call. A view: it can be deleted, torn or stale, and is rebuilt from the
//! sealed calls, which alone are believed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Consented, Encryption, Outcome, PolicyId, SessionId, StreamTally, Timestamp};

use super::manifest::Manifest;
use super::stored::json;

/// What a search sees of a call.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    pub id: SessionId,
    /// The first session of the conversation that it goes on with; none: it began one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<SessionId>,
    /// Conversations that were joined to this one while the call was up: calls that ended before bear these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<SessionId>,
    pub call_ids: Vec<String>,
    pub from: String,
    pub to: String,
    /// Who else was in the call, before these two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    pub started: Timestamp,
    pub duration_ms: u64,
    pub outcome: Outcome,
    /// How much of its media nobody hears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    pub policies: Vec<PolicyId>,
    /// RTP streams as the relay counted them; as stored when it did not say.
    pub streams: Vec<StreamTally>,
    /// Packets that the relay says were accepted, and that are stored.
    pub accepted: u64,
    pub stored: u64,
    #[serde(default)]
    pub recovered: bool,
    /// How long its recording was paused, in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub paused_ms: u64,
    /// How the parties' consent stood at last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Consented>,
    /// Something of a party was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(millis: &u64) -> bool {
    *millis == 0
}

impl From<&Manifest> for Entry {
    fn from(manifest: &Manifest) -> Self {
        let header = manifest.last_header();
        Self {
            id: manifest.session,
            conversation: Some(manifest.conversation()).filter(|first| *first != manifest.session),
            joined: manifest.joined(),
            call_ids: header.call_ids.clone(),
            others: others(manifest),
            from: header.caller.identity.clone(),
            to: header.callee.identity.clone(),
            started: manifest.header.started,
            duration_ms: u64::try_from(manifest.duration().as_millis()).unwrap_or(u64::MAX),
            outcome: manifest.outcome,
            encryption: manifest.closing.encryption,
            policies: header.policies.clone(),
            streams: streams(manifest),
            accepted: manifest.reconciliation.accepted,
            stored: manifest.reconciliation.stored,
            recovered: manifest.recovered.is_some(),
            paused_ms: paused_ms(manifest),
            consents: manifest.closing.consents.clone(),
            left_out: !manifest.reconciliation.left_out.is_empty(),
        }
    }
}

fn paused_ms(manifest: &Manifest) -> u64 {
    let pauses = manifest.reconciliation.pauses.iter();
    let length = pauses.fold(Duration::ZERO, |all, (_, length)| all.saturating_add(*length));
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Parties that the last decision does not name.
fn others(manifest: &Manifest) -> Vec<String> {
    let last = manifest.last_header();
    let first = &manifest.header;
    let earlier = manifest.closing.decisions.iter();
    let earlier = earlier.flat_map(|decided| [&decided.caller, &decided.callee]);
    let known = [&last.caller.identity, &last.callee.identity];
    let mut others: Vec<String> = Vec::new();
    for party in [&first.caller.identity, &first.callee.identity]
        .into_iter()
        .chain(earlier)
    {
        if !known.contains(&party) && !others.contains(party) {
            others.push(party.clone());
        }
    }
    others
}

fn streams(manifest: &Manifest) -> Vec<StreamTally> {
    if let Some(tally) = &manifest.closing.tally
        && !tally.streams.is_empty()
    {
        return tally.streams.clone();
    }
    let stored = manifest.streams.iter().map(|stream| StreamTally {
        leg: stream.leg,
        line: stream.line,
        ssrc: stream.ssrc,
        payload_type: stream.payload_type,
        packets: stream.packets,
        lost: 0,
        quality: None,
    });
    stored.collect()
}

impl Entry {
    /// The first session of its conversation.
    pub fn conversation(&self) -> SessionId {
        self.conversation.unwrap_or(self.id)
    }

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

/// Which conversations turned out to be one with an earlier one, by what the calls tell that were up then.
#[derive(Debug, Default)]
pub struct Joins(BTreeMap<SessionId, SessionId>);

impl Joins {
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut joins = BTreeMap::new();
        for entry in entries {
            // The first session names a conversation: a join leads to an earlier one, never back.
            for name in entry.joined.iter().filter(|name| **name > entry.conversation()) {
                let first = joins.entry(*name).or_insert_with(|| entry.conversation());
                *first = entry.conversation().min(*first);
            }
        }
        Self(joins)
    }

    /// What a conversation of this name is called now.
    pub fn first(&self, conversation: SessionId) -> SessionId {
        let mut name = conversation;
        while let Some(first) = self.0.get(&name) {
            name = *first;
        }
        name
    }

    pub fn rename(&self, entry: &mut Entry) {
        let first = self.first(entry.conversation());
        entry.conversation = Some(first).filter(|first| *first != entry.id);
    }
}

/// Which calls are wanted. Empty: all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Part of a party's identity or of a Call-ID, without regard to case.
    pub party: Option<String>,
    pub outcome: Option<Outcome>,
    /// All calls of the conversation that this session belongs to begin with it.
    pub conversation: Option<SessionId>,
}

impl Query {
    pub fn matches(&self, entry: &Entry) -> bool {
        let names = [&entry.from, &entry.to].into_iter();
        let names = names.chain(&entry.others).chain(&entry.call_ids);
        let mut names = names.map(|name| name.to_lowercase());
        self.from.is_none_or(|from| entry.started >= from)
            && self.until.is_none_or(|until| entry.started < until)
            && self.conversation.is_none_or(|first| entry.conversation() == first)
            && self.outcome.is_none_or(|outcome| entry.outcome == outcome)
            && self.party.as_ref().is_none_or(|party| {
                let party = party.to_lowercase();
                names.any(|name| name.contains(&party))
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entry(id: u128, started: u64) -> Entry {
        Entry {
            id: SessionId::from_u128(id),
            conversation: None,
            joined: Vec::new(),
            call_ids: vec!["abc@PBX".into()],
            from: "sip:alice@example.com".into(),
            to: "tel:+15551234".into(),
            others: vec!["sip:carol@example.com".into()],
            started: Timestamp::from_millis(started),
            duration_ms: 1,
            outcome: Outcome::Recorded,
            encryption: None,
            policies: Vec::new(),
            streams: Vec::new(),
            accepted: 2,
            stored: 2,
            recovered: false,
            paused_ms: 0,
            consents: Vec::new(),
            left_out: false,
        }
    }

    #[test]
    fn torn_and_foreign_lines_are_skipped_and_the_later_of_two_counts() {
        let mut text = entry(1, 10).to_line();
        text.extend_from_slice(b"{}\nnoise\n\n");
        text.extend_from_slice(&entry(2, 20).to_line());
        text.extend_from_slice(&entry(1, 30).to_line());
        let torn = entry(3, 40).to_line();
        text.extend_from_slice(&torn[..torn.len() / 2]);
        let entries = parse(&text);
        let started: Vec<u64> = entries.values().map(|entry| entry.started.as_millis()).collect();
        assert_eq!(started, [30, 20]);
    }

    #[test]
    fn a_query_for_a_conversation_finds_its_first_call_and_those_that_went_on_with_it() {
        let (first, mut second, other) = (entry(1, 10), entry(2, 20), entry(3, 30));
        second.conversation = Some(first.id);
        let query = Query {
            conversation: Some(first.id),
            ..Query::default()
        };
        assert_eq!(
            [&first, &second, &other].map(|entry| query.matches(entry)),
            [true, true, false]
        );
        let line = String::from_utf8(first.to_line()).unwrap();
        assert!(!line.contains("conversation"), "an old reader and an old line agree");
    }

    #[test]
    fn a_call_that_ended_before_its_conversation_was_joined_is_found_by_every_name() {
        let [one, mut two, mut three, mut four] = [1, 2, 3, 4].map(|n| entry(n, n as u64));
        // 2 was up when it joined 1; 3, the first of its conversation, had ended when 4 joined 2 with it.
        two.conversation = Some(one.id);
        two.joined = vec![two.id];
        four.conversation = Some(two.id);
        four.joined = vec![three.id];
        let joins = Joins::of([&one, &two, &three, &four]);
        for late in [&mut two, &mut three, &mut four] {
            joins.rename(late);
            assert_eq!(late.conversation(), one.id);
        }
        assert_eq!(joins.first(SessionId::from_u128(3)), one.id);
        assert_eq!(joins.first(SessionId::from_u128(9)), SessionId::from_u128(9));
    }

    #[test]
    fn a_query_asks_for_time_party_and_outcome() {
        let call = entry(1, 10);
        let ask = |query: Query| query.matches(&call);
        assert!(ask(Query::default()));
        for (party, found) in [
            ("ALICE", true),
            ("5551234", true),
            ("abc@pbx", true),
            ("carol@", true),
            ("bob", false),
        ] {
            let party = Some(party.to_owned());
            assert_eq!(
                ask(Query {
                    party,
                    ..Query::default()
                }),
                found
            );
        }
        for (outcome, found) in [(Outcome::Recorded, true), (Outcome::Blocked, false)] {
            let outcome = Some(outcome);
            assert_eq!(
                ask(Query {
                    outcome,
                    ..Query::default()
                }),
                found
            );
        }
        for (from, until, found) in [(9, 11, true), (10, 11, true), (9, 10, false), (11, 12, false)] {
            let (from, until) = (Some(Timestamp::from_millis(from)), Some(Timestamp::from_millis(until)));
            assert_eq!(
                ask(Query {
                    from,
                    until,
                    ..Query::default()
                }),
                found
            );
        }
    }
}
