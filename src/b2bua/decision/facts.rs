//! From an INVITE to what the policies want to know, and to the recording's header.

use std::borrow::Cow;

use bytes::Bytes;

use crate::b2bua::awareness::Dissent;
use crate::b2bua::crossing::numbering;
use crate::b2bua::identity::{IDENTITIES_MAX, Named};
use crate::model::{Header, Leg, MediaKind, Party, SessionId, Timestamp, TrunkName};
use crate::policy::{CallFacts, Decision, Identity, PolicySet};
use crate::sdp::SessionDescription;
use crate::sip::{Headers, NameAddr, Request, Uri};
use crate::trunk::{Topology, Trunk};

/// Headers that name a party who sent the call on (RFC 3892, RFC 5806, RFC 7044).
const REROUTING: [&str; 3] = ["Referred-By", "Diversion", "History-Info"];

/// The facts of a call that `invite` opens, with the numbers that the rules of its trunk make.
pub fn of_invite(now: Timestamp, invite: &Request, from: &Trunk, to: &Trunk, policies: &PolicySet) -> CallFacts {
    match numbering::arriving(invite, from, policies) {
        Cow::Borrowed(invite) => of_arrived(now, invite, from, to),
        Cow::Owned(seen) => CallFacts {
            dialled: Some(invite.uri.to_string()),
            ..of_arrived(now, &seen, from, to)
        },
    }
}

fn of_arrived(now: Timestamp, invite: &Request, from: &Trunk, to: &Trunk) -> CallFacts {
    let headers = &invite.headers;
    let joined = |name: &str| {
        let values: Vec<&str> = headers.get_all(name).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let (rerouters, rerouters_left_out) = rerouting(invite);
    let (rerouted_by, rerouting_claimed) = vouched(from, rerouters);
    let (called_party_id, called_party_claimed) = vouched(from, uris(invite, &["P-Called-Party-ID"]).pop());
    let named = Named::of(invite, from);
    CallFacts {
        trunk: Some(from.name.clone()),
        writes_e164: from.e164,
        to_trunk: Some(to.name.clone()),
        from: headers.from().uri().to_string(),
        asserted: named.asserted,
        caller_claimed: named.claimed,
        caller_hosts: named.at_trunk,
        request_uri: invite.uri.to_string(),
        to: headers.to().uri().to_string(),
        to_is_vouched: from.trusted,
        dialled: None,
        sent_on_as: Vec::new(),
        called_at: None,
        called_party_id,
        called_party_claimed,
        rerouted_by,
        rerouting_claimed,
        rerouters_left_out,
        own_hosts: Vec::new(),
        priority: headers.get("Priority").filter(|_| from.trusted).map(str::to_owned),
        resource_priority: joined("Resource-Priority").filter(|_| from.trusted),
        emergency_callback: false,
        emergency_sent_on: false,
        media: media(&invite.headers, &invite.body),
        conference: super::meeting::is_focus(&invite.headers),
        at: now,
    }
}

/// The same where URIs name us: the callee is known at the host that the call goes to, too. Routes go by the user part, and with
/// their rules they may name another user. `targets`: what is asked, and what may be asked instead.
pub fn at_our_address<'u>(
    mut facts: CallFacts,
    topology: &Topology,
    targets: impl IntoIterator<Item = &'u Uri>,
) -> CallFacts {
    let targets: Vec<&Uri> = targets.into_iter().collect();
    let target = targets.first();
    let ours = |uri: &String| Uri::parse(uri).ok().filter(|uri| topology.names_us(uri));
    facts.sent_on_as = sent_on_as(&facts, topology, &targets);
    let called = ours(&facts.request_uri);
    facts.called_at = called.as_ref().and_then(|called| {
        let at = called.with_authority(target?.host()?)?;
        Some(at.to_string())
    });
    let others = [&facts.from, &facts.to]
        .into_iter()
        .chain(&facts.asserted)
        .chain(&facts.caller_claimed)
        .filter_map(ours);
    let ours = called.into_iter().chain(others);
    facts.own_hosts = ours.filter_map(|uri| Some(uri.host()?.to_owned())).collect();
    facts
}

/// The facts of an INVITE before anything is done for it: where it would go is looked up, and no destination chosen.
pub fn screened(
    now: Timestamp,
    invite: &Request,
    from: &Trunk,
    topology: &Topology,
    policies: &PolicySet,
) -> CallFacts {
    led_on(of_invite(now, invite, from, from, policies), topology)
}

/// The trunk that the call would leave by, and as what.
pub fn led_on(mut facts: CallFacts, topology: &Topology) -> CallFacts {
    let called = Uri::parse(&facts.request_uri).ok();
    let onward = called.zip(facts.trunk.as_ref());
    let onward = onward.and_then(|(called, from)| {
        let (sent, to) = topology.onward(from, &called)?;
        let is_renamed = sent.user() != called.user();
        Some((to.name.clone(), is_renamed.then(|| sent.to_string())))
    });
    if let Some((to, sent)) = onward {
        facts.to_trunk = Some(to);
        facts.sent_on_as = sent.into_iter().collect();
    }
    facts
}

/// Empty where each destination is asked for the user that was called, and at one host.
fn sent_on_as(facts: &CallFacts, topology: &Topology, targets: &[&Uri]) -> Vec<String> {
    let called = Uri::parse(&facts.request_uri).ok();
    let Some((called, trunk)) = called.zip(facts.trunk.as_ref()) else {
        return Vec::new();
    };
    let Some((sent, _)) = topology.onward(trunk, &called) else {
        return Vec::new();
    };
    let is_renamed = sent.user() != called.user();
    if !is_renamed && !topology.names_us(&called) {
        return Vec::new();
    }
    let hosts = targets
        .iter()
        .skip(usize::from(!is_renamed))
        .filter_map(|target| target.host());
    let mut all: Vec<String> = is_renamed.then(|| sent.to_string()).into_iter().collect();
    for at in hosts.filter_map(|host| sent.with_authority(host)) {
        let at = at.to_string();
        if !all.contains(&at) {
            all.push(at);
        }
    }
    all
}

/// Who sent the call on, as the INVITE tells, the latest of each header first.
pub fn rerouters(invite: &Request) -> Vec<String> {
    rerouting(invite).0
}

/// The same, and how many were left out.
fn rerouting(invite: &Request) -> (Vec<String>, usize) {
    let (mut rerouters, mut left_out) = (Vec::new(), 0);
    for name in REROUTING {
        let mut values: Vec<&str> = invite.headers.get_all(name).collect();
        if name == "History-Info" {
            // Written in the order of events (RFC 7044 §9.2); Diversion has the newest at the top (RFC 5806).
            values.reverse();
        }
        left_out += values.len().saturating_sub(IDENTITIES_MAX);
        let named = values
            .into_iter()
            .take(IDENTITIES_MAX)
            .filter_map(|value| NameAddr::parse(value).ok());
        rerouters.extend(named.map(|named| named.uri().to_string()));
    }
    (rerouters, left_out)
}

/// What a trunk says as far as it counts in full, and as far as it can only add.
fn vouched<T: Default>(from: &Trunk, told: T) -> (T, T) {
    if from.trusted {
        (told, T::default())
    } else {
        (T::default(), told)
    }
}

/// What is known of a call by others: the dialog that it replaces, the REFER that asked for it, the call that was forwarded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kin {
    /// The conversation that it goes on with.
    pub conversation: Option<SessionId>,
    /// Parties beside those that the INVITE names (URIs): who transferred it, whose dialog it replaces.
    pub rerouted_by: Vec<String>,
    /// Parties who may have transferred it (URIs), if nothing tells which of them.
    pub may_be_rerouted_by: Vec<String>,
    /// Who is called, where the Request-URI only names us.
    pub callee: Option<String>,
    /// Who calls, where another call knows that better than the INVITE.
    pub caller: Option<String>,
    /// A party of an emergency call was transferred.
    pub emergency: bool,
    /// Who calls, who is called, does not agree to be recorded.
    pub dissents: [Option<Dissent>; 2],
    /// The call that rings where this one shall ring, in its place.
    pub takes_over: Option<SessionId>,
    /// A call that is up has led to it: it replaces or joins that one, or a REFER of it asked for it.
    pub continues: bool,
}

impl Kin {
    /// The facts of a call with what is known of it by others.
    pub fn complete(&self, mut facts: CallFacts) -> CallFacts {
        facts.rerouted_by.splice(..0, self.rerouted_by.iter().cloned());
        facts
            .rerouting_claimed
            .splice(..0, self.may_be_rerouted_by.iter().cloned());
        if let Some(callee) = &self.callee {
            facts.request_uri.clone_from(callee);
        }
        facts.emergency_sent_on |= self.emergency;
        if let Some(caller) = &self.caller {
            facts.from.clone_from(caller);
        }
        facts
    }
}

/// A transfer: who stays calls who is brought in, by order of the referrer.
pub struct TransferFacts<'a> {
    /// URI, and trunk.
    pub stays: (String, &'a Trunk),
    pub brought_in: (String, Option<TrunkName>),
    pub referrer: String,
    pub media: Vec<MediaKind>,
}

impl TransferFacts<'_> {
    /// The facts of the call that the transfer makes.
    pub fn facts(self, now: Timestamp) -> CallFacts {
        let (callee, to_trunk) = self.brought_in;
        CallFacts {
            trunk: Some(self.stays.1.name.clone()),
            writes_e164: self.stays.1.e164,
            to_trunk,
            from: self.stays.0,
            request_uri: callee.clone(),
            to: callee,
            rerouted_by: vec![self.referrer],
            media: self.media,
            at: now,
            ..CallFacts::default()
        }
    }
}

/// Inside the call a party turns out to be another (RFC 4916, RFC 3325).
pub struct ChangeFacts<'a> {
    pub side: Leg,
    /// Who the party is said to be (URIs): the first counts as who it is.
    pub told: Vec<String>,
    /// Who it was, and who is at the other end (URIs).
    pub before: String,
    pub other: String,
    /// Of A, of B.
    pub trunks: [&'a Trunk; 2],
    pub media: Vec<MediaKind>,
    pub meeting: bool,
}

impl ChangeFacts<'_> {
    /// The facts of the call as it is then. Who the party was counts as who has sent the call on.
    pub fn facts(self, now: Timestamp) -> CallFacts {
        let mut told = self.told.into_iter();
        let first = told.next().unwrap_or_default();
        let [from, _] = self.trunks;
        let writes_e164 = from.e164;
        let [trunk, to_trunk] = self.trunks.map(|trunk| Some(trunk.name.clone()));
        let facts = CallFacts {
            trunk,
            writes_e164,
            to_trunk,
            rerouted_by: vec![self.before],
            media: self.media,
            conference: self.meeting,
            at: now,
            ..CallFacts::default()
        };
        match self.side {
            Leg::A => CallFacts {
                asserted: std::iter::once(first.clone()).chain(told).collect(),
                from: first,
                request_uri: self.other.clone(),
                to: self.other,
                ..facts
            },
            Leg::B => {
                let second = told.next();
                CallFacts {
                    from: self.other,
                    request_uri: first.clone(),
                    to: told.next().unwrap_or(first),
                    called_party_id: second,
                    ..facts
                }
            }
        }
    }
}

/// The opening record of a call where the party `side` has become another; `raw`: as that was signalled.
pub fn change_party(header: &mut Header, decision: &Decision, side: Leg, (named, raw): (&NameAddr, &str)) {
    let (party, decided) = match side {
        Leg::A => (&mut header.caller, &decision.caller),
        Leg::B => (&mut header.callee, &decision.callee),
    };
    *party = Party {
        identity: decided.to_string(),
        display_name: named.display_name().map(|name| name.into_owned()),
        raw: vec![(raw.to_owned(), named.clone().without_tag().to_string())],
    };
}

/// The opening record of a call that was decided anew.
pub fn change_header(header: &mut Header, decision: &Decision, meeting: bool) {
    header.policies.clone_from(&decision.policies);
    header.generation = decision.generation;
    header.policy_hash = decision.hash.to_string();
    header.trace.clone_from(&decision.trace);
    header.strict_before = decision.is_strict_before(meeting);
    header.strict_during = decision.is_strict_during(meeting);
}

/// What the opening record tells beside the INVITE and the decision.
pub struct Opening<'a> {
    pub session: SessionId,
    pub node: &'a str,
    pub now: Timestamp,
    pub b_call_id: &'a str,
    pub from: &'a Trunk,
    pub to: &'a Trunk,
    pub meeting: bool,
    pub conversation: Option<SessionId>,
}

/// The opening record of a call.
pub fn header(opening: &Opening<'_>, invite: &Request, decision: &Decision) -> Header {
    Header {
        session: opening.session,
        conversation: opening.conversation,
        node: opening.node.to_owned(),
        started: opening.now,
        caller: party(&decision.caller, invite, "From"),
        callee: party(&decision.callee, invite, "To"),
        from_trunk: opening.from.name.clone(),
        to_trunk: Some(opening.to.name.clone()),
        call_ids: vec![invite.headers.call_id().to_owned(), opening.b_call_id.to_owned()],
        policies: decision.policies.clone(),
        generation: decision.generation,
        policy_hash: decision.hash.to_string(),
        trace: decision.trace.clone(),
        strict_before: decision.is_strict_before(opening.meeting),
        strict_during: decision.is_strict_during(opening.meeting),
        emergency: decision.emergency,
    }
}

fn party(identity: &Identity, invite: &Request, name: &str) -> Party {
    let named = if name == "From" {
        invite.headers.from()
    } else {
        invite.headers.to()
    };
    let mut raw: Vec<(String, String)> = invite
        .headers
        .get_all(name)
        .take(1)
        .map(|value| (name.to_owned(), value.to_owned()))
        .collect();
    if name == "To" {
        raw.push(("Request-URI".to_owned(), invite.uri.to_string()));
    } else {
        for name in ["P-Asserted-Identity", "Remote-Party-ID", "P-Preferred-Identity"] {
            let asserted = invite.headers.get_all(name).take(IDENTITIES_MAX);
            raw.extend(asserted.map(|value| (name.to_owned(), value.to_owned())));
        }
    }
    Party {
        identity: identity.to_string(),
        display_name: named.display_name().map(|name| name.into_owned()),
        raw,
    }
}

fn uris(invite: &Request, names: &[&str]) -> Vec<String> {
    let values = names.iter().flat_map(|name| invite.headers.get_all(name));
    let parsed = values.filter_map(|value| NameAddr::parse(value).ok());
    parsed
        .map(|named| named.uri().to_string())
        .take(IDENTITIES_MAX)
        .collect()
}

/// What a message's session description has.
pub fn media(headers: &Headers, body: &Bytes) -> Vec<MediaKind> {
    let sdp = crate::b2bua::session::sdp_of(headers, body).unwrap_or_default();
    let Ok(sdp) = SessionDescription::parse(sdp) else {
        return Vec::new();
    };
    let live = sdp.lines().iter().filter(|line| line.port != 0);
    live.map(|line| line.kind).collect()
}
