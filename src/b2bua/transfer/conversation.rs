//! Which calls are one conversation: transferred, forwarded, picked up, or rung at several places at once. The recordings
//! of a conversation share its name, that of its first session (the communication session group of RFC 7865 §6.2).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::b2bua::awareness::Dissent;
use crate::b2bua::crossing::DialogName;
use crate::model::{SessionId, Timestamp, TrunkName};
use crate::sip::{Headers, NameAddr, Request, Uri};

/// How long the INVITE that a REFER asks for may take to come.
const REFERRAL_KEPT: Duration = Duration::from_secs(300);
/// REFERs whose INVITE is awaited, of a node; of more, the oldest is forgotten.
const REFERRALS_MAX: usize = 4_096;
/// By so many marks at most a call is known; later ones are not kept.
const MARKS_MAX: usize = 16;
/// Former names of its conversation that a call tells; a call that goes through more joins tells the first.
const NAMES_MAX: usize = 8;
/// Header values of one INVITE that are looked at.
const VALUES_MAX: usize = 8;
/// User parts of callers who are not told.
const HIDDEN: [&str; 5] = ["anonymous", "restricted", "unavailable", "unknown", "private"];
/// Of so many REFERs at most that an INVITE may be the answer to, it is told who sent them.
const REFERRERS_MAX: usize = 16;
/// Branches of a fork before us that are looked at; a copy of a later one is not known for it.
const BRANCHES_MAX: usize = 64;
/// A longer user part, tag or Call-ID is no mark.
const MARK_BYTES_MAX: usize = 256;

/// What a later INVITE of the same conversation shares with a call.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Mark {
    /// A UUID of its Session-ID (RFC 7989 §4).
    Uuid(String),
    /// Call-ID and From tag: the branches of a fork before us (RFC 3261 §8.2.2.2).
    Origin(String, String),
    /// The user parts of the caller and of who is rung: forwarded, the call comes back from the same caller.
    Rung(String, String),
}

/// A REFER that crossed: who will call whom, and for which conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Referred {
    /// Where the INVITE will come from.
    pub trunk: TrunkName,
    /// Whom it will be for.
    pub refer_to: Uri,
    /// The URI of Referred-By (RFC 3892), if the REFER had one.
    pub referred_by: Option<Uri>,
    /// Who will call.
    pub caller: String,
    /// Who sent the REFER.
    pub referrer: String,
    pub session: SessionId,
    /// Whether who will call agrees to be recorded.
    pub dissent: Option<Dissent>,
    /// A call of the referrer's trunk that the INVITE shall take over while it rings, and its dialog as that will name it.
    pub rings: Option<(SessionId, DialogName)>,
}

/// The calls that are up, by what tells that another belongs to them.
#[derive(Debug, Default)]
pub struct Conversations {
    marks: BTreeSet<(Mark, SessionId)>,
    members: BTreeMap<SessionId, Member>,
    referrals: VecDeque<Awaited>,
}

/// A REFER whose INVITE has not come yet.
#[derive(Debug)]
struct Awaited {
    until: Timestamp,
    conversation: SessionId,
    /// Empty if they hide.
    caller: String,
    callee: Option<String>,
    referred: Referred,
    /// A call was taken for the one that it asked for.
    is_linked: bool,
}

/// An INVITE that a REFER asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answered {
    /// This REFER.
    Proven {
        conversation: SessionId,
        /// URI.
        referrer: String,
        dissent: Option<Dissent>,
    },
    /// One of these may be it.
    Alike {
        conversation: Option<SessionId>,
        /// URIs.
        referrers: Vec<String>,
        /// Of the one whose conversation it is.
        dissent: Option<Dissent>,
    },
}

#[derive(Debug)]
struct Member {
    conversation: SessionId,
    /// What that was called before, oldest first.
    formerly: Vec<SessionId>,
    marks: Vec<Mark>,
}

impl Conversations {
    /// The conversation of a call that is up.
    pub fn of(&self, session: SessionId) -> Option<SessionId> {
        self.members.get(&session).map(|member| member.conversation)
    }

    /// The conversations that a call which is up belonged to before they were joined to the one of now.
    pub fn formerly(&self, session: SessionId) -> &[SessionId] {
        self.members.get(&session).map_or(&[], |member| &member.formerly)
    }

    /// A call began: `target` is the Request-URI that it goes on with.
    pub fn begin(&mut self, session: SessionId, conversation: SessionId, invite: &Request, target: &Uri) {
        self.resume(session, conversation);
        for uuid in uuids(&invite.headers) {
            self.mark(session, Mark::Uuid(uuid));
        }
        if let Some(mark) = origin(invite) {
            self.mark(session, mark);
        }
        let rung: BTreeSet<String> = [&invite.uri, target].into_iter().filter_map(user).collect();
        for caller in callers(invite) {
            for callee in &rung {
                self.mark(session, Mark::Rung(caller.clone(), callee.clone()));
            }
        }
    }

    /// A call of the process before goes on: later ones know it by its dialogs alone.
    pub fn resume(&mut self, session: SessionId, conversation: SessionId) {
        let (formerly, marks) = (Vec::new(), Vec::new());
        let member = Member {
            conversation,
            formerly,
            marks,
        };
        self.members.insert(session, member);
    }

    /// The far end told its UUID (RFC 7989 §6).
    pub fn learn(&mut self, session: SessionId, headers: &Headers) {
        for uuid in uuids(headers) {
            self.mark(session, Mark::Uuid(uuid));
        }
    }

    /// The call is over.
    pub fn end(&mut self, session: SessionId) {
        let Some(member) = self.members.remove(&session) else {
            return;
        };
        for mark in member.marks {
            self.marks.remove(&(mark, session));
        }
    }

    /// A REFER crossed in a call that is up.
    pub fn remember(&mut self, now: Timestamp, referred: Referred) {
        let Some(conversation) = self.of(referred.session) else {
            return;
        };
        if self.referrals.len() >= REFERRALS_MAX {
            self.referrals.pop_front();
        }
        self.referrals.push_back(Awaited {
            until: now + REFERRAL_KEPT,
            conversation,
            caller: caller_key(&referred.caller),
            callee: user(&referred.refer_to),
            referred,
            is_linked: false,
        });
    }

    /// Which REFER asked for this INVITE. Referred-By and Session-ID tell, and such a REFER is answered once. Who else calls
    /// and is called alike may be meant, which is no proof: others may have that number, so that nothing is used up.
    pub fn take_referral(&mut self, now: Timestamp, trunk: &TrunkName, invite: &Request) -> Option<Answered> {
        while self.referrals.front().is_some_and(|awaited| awaited.until <= now) {
            self.referrals.pop_front();
        }
        if self.referrals.is_empty() {
            return None;
        }
        let callee = user(&invite.uri);
        let by = invite.headers.get("Referred-By");
        let by = by.and_then(|by| NameAddr::parse(by).ok()).map(|by| by.uri);
        let callers = callers(invite);
        let own = uuids(&invite.headers).into_iter().map(Mark::Uuid);
        let mut own: Vec<(Mark, SessionId)> = own.map(|mark| (mark, SessionId::from_u128(0))).collect();
        let is_alike = |awaited: &Awaited| match awaited.caller.is_empty() {
            true => callers.is_empty(),
            false => callers.contains(&awaited.caller),
        };
        let (mut named, mut alike) = (Vec::new(), Vec::new());
        for (at, awaited) in self.referrals.iter().enumerate() {
            let referred = &awaited.referred;
            if referred.trunk != *trunk || awaited.callee != callee {
                continue;
            }
            let is_named = by
                .as_ref()
                .zip(referred.referred_by.as_ref())
                .is_some_and(|(by, known)| by.is_equivalent(known));
            let is_kin = own.iter_mut().any(|marked| {
                marked.1 = referred.session;
                self.marks.contains(marked)
            });
            if is_named || is_kin {
                named.push(at);
            }
            if is_alike(awaited) {
                alike.push(at);
            }
        }
        let both = || named.iter().filter(|at| alike.contains(at));
        let certain = match (named.as_slice(), both().count()) {
            ([at], _) => Some(*at),
            (_, 1) => both().next().copied(),
            _ => None,
        };
        if let Some(awaited) = certain.and_then(|at| self.referrals.remove(at)) {
            return Some(Answered::Proven {
                conversation: awaited.conversation,
                referrer: awaited.referred.referrer,
                dissent: awaited.referred.dissent,
            });
        }
        let alike = if named.is_empty() { alike } else { named };
        self.answer_alike(&alike)
    }

    fn answer_alike(&mut self, alike: &[usize]) -> Option<Answered> {
        let found = match alike {
            [] => return None,
            [at] => self.referrals.get_mut(*at).and_then(|awaited| {
                let is_first = !std::mem::replace(&mut awaited.is_linked, true) && !awaited.caller.is_empty();
                is_first.then_some(&*awaited)
            }),
            _ => None,
        };
        let (conversation, dissent) = match found {
            Some(awaited) => (Some(awaited.conversation), awaited.referred.dissent),
            None => (None, None),
        };
        let mut referrers: Vec<String> = Vec::new();
        for awaited in alike.iter().filter_map(|at| self.referrals.get(*at)) {
            let referrer = &awaited.referred.referrer;
            if referrers.len() < REFERRERS_MAX && !referrers.contains(referrer) {
                referrers.push(referrer.clone());
            }
        }
        Some(Answered::Alike {
            conversation,
            referrers,
            dissent,
        })
    }

    /// Whether a REFER lets who calls take over the call that rings, by this name of its dialog. `trunk`: to which the REFER must
    /// have crossed; none where who calls is of the trunk of that call's caller, to whom it belongs.
    pub fn may_take_over(
        &self,
        now: Timestamp,
        trunk: Option<&TrunkName>,
        rings: SessionId,
        name: &DialogName,
    ) -> bool {
        let mut awaited = self.referrals.iter().filter(|awaited| awaited.until > now);
        awaited.any(|Awaited { referred, .. }| {
            let named = referred.rings.as_ref();
            trunk.is_none_or(|trunk| referred.trunk == *trunk)
                && named.is_some_and(|(known, by)| *known == rings && by.is_alike(name))
        })
    }

    /// Calls that came under the same Call-ID and From tag: branches of a fork before us, and copies of one INVITE that came
    /// by several ways.
    pub fn branches(&self, invite: &Request) -> Vec<SessionId> {
        let found = origin(invite).map(|mark| self.marked(&mark).take(BRANCHES_MAX).collect());
        found.unwrap_or_default()
    }

    /// A call that is up and that this INVITE belongs to by Session-ID, or as another branch of a fork; or, where
    /// `diverted_by` names who sent it on, the call that rings there.
    pub fn kin(
        &self,
        invite: &Request,
        diverted_by: &[String],
        rings: impl Fn(SessionId) -> bool,
    ) -> Option<SessionId> {
        let own = uuids(&invite.headers).into_iter().map(Mark::Uuid).chain(origin(invite));
        if let Some(session) = own.into_iter().find_map(|mark| self.marked(&mark).next()) {
            return Some(session);
        }
        // Two callers may have one number: of several conversations it is none.
        let mut found: Option<SessionId> = None;
        for caller in callers(invite) {
            for diverter in diverted_by.iter().take(VALUES_MAX) {
                let mark = Mark::Rung(caller.clone(), key(diverter));
                for session in self.marked(&mark).filter(|session| rings(*session)) {
                    if found.is_some_and(|known| self.of(known) != self.of(session)) {
                        return None;
                    }
                    found.get_or_insert(session);
                }
            }
        }
        found
    }

    /// Two calls are one conversation from here on, and so are all that belonged to either.
    pub fn join(&mut self, one: SessionId, other: SessionId) {
        let (Some(one), Some(other)) = (self.of(one), self.of(other)) else {
            return;
        };
        if one == other {
            return;
        }
        let (first, second) = (one.min(other), one.max(other));
        for member in self.members.values_mut().filter(|member| member.conversation == second) {
            member.conversation = first;
            if member.formerly.len() < NAMES_MAX {
                member.formerly.push(second);
            }
        }
        for awaited in self
            .referrals
            .iter_mut()
            .filter(|awaited| awaited.conversation == second)
        {
            awaited.conversation = first;
        }
    }

    /// Calls and their marks: zero when all calls are over.
    pub fn leftovers(&self) -> usize {
        self.members.len() + self.marks.len()
    }

    fn mark(&mut self, session: SessionId, mark: Mark) {
        let Some(member) = self.members.get_mut(&session) else {
            return;
        };
        if member.marks.len() < MARKS_MAX && !member.marks.contains(&mark) {
            member.marks.push(mark.clone());
            self.marks.insert((mark, session));
        }
    }

    /// Oldest first.
    fn marked<'a>(&'a self, mark: &'a Mark) -> impl Iterator<Item = SessionId> + use<'a> {
        let from = (mark.clone(), SessionId::from_u128(0));
        let marked = self.marks.range(from..).take_while(move |(other, _)| other == mark);
        marked.map(|(_, session)| *session)
    }
}

/// The UUIDs of Session-ID: local, and remote if it is known yet; the nil UUID is none (RFC 7989 §5).
fn uuids(headers: &Headers) -> Vec<String> {
    let Some(value) = headers.get("Session-ID") else {
        return Vec::new();
    };
    let (local, params) = value.split_once(';').unwrap_or((value, ""));
    let remote = params.split(';').find_map(|param| param.trim().strip_prefix("remote="));
    let is_uuid = |uuid: &&str| {
        uuid.len() == 32 && uuid.bytes().all(|c| c.is_ascii_hexdigit()) && uuid.bytes().any(|c| c != b'0')
    };
    let uuids = [Some(local), remote].into_iter().flatten().map(str::trim);
    uuids.filter(is_uuid).map(str::to_ascii_lowercase).collect()
}

fn origin(invite: &Request) -> Option<Mark> {
    let (call_id, tag) = (invite.headers.call_id(), invite.headers.from().tag()?);
    let fits = call_id.len() <= MARK_BYTES_MAX && tag.len() <= MARK_BYTES_MAX;
    fits.then(|| Mark::Origin(call_id.to_owned(), tag.to_owned()))
}

/// Who calls, as From and P-Asserted-Identity tell.
fn callers(invite: &Request) -> BTreeSet<String> {
    let asserted = invite.headers.get_all("P-Asserted-Identity").take(2);
    let asserted = asserted.filter_map(|value| NameAddr::parse(value).ok());
    let asserted = asserted.filter_map(|named| caller(named.uri()));
    caller(invite.headers.from().uri())
        .into_iter()
        .chain(asserted)
        .collect()
}

/// The user part; none of who hides: that is everybody's (RFC 3323 §4.1).
fn caller(uri: &Uri) -> Option<String> {
    let is_hidden = uri
        .host()
        .is_some_and(|host| host.to_ascii_lowercase().ends_with(".invalid"));
    user(uri).filter(|user| !is_hidden && !HIDDEN.contains(&user.as_str()))
}

fn caller_key(uri: &str) -> String {
    Uri::parse(uri).ok().as_ref().and_then(caller).unwrap_or_default()
}

fn key(uri: &str) -> String {
    Uri::parse(uri).ok().as_ref().and_then(user).unwrap_or_default()
}

/// The user part without what separates digits for the eye (RFC 3966 §5.1.1), and without case.
fn user(uri: &Uri) -> Option<String> {
    let user = uri.user().filter(|user| user.len() <= MARK_BYTES_MAX)?;
    let user = user.split(';').next().unwrap_or_default();
    let mut bare = String::with_capacity(user.len());
    bare.extend(user.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')));
    bare.make_ascii_lowercase();
    Some(bare).filter(|user| !user.is_empty())
}

#[cfg(test)]
mod tests;
