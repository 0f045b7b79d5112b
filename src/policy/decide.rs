//! Facts in, decision out. The same function serves live calls, replays and `explain`.

use std::fmt::Write as _;

use super::decision::{BlockReason, Decision, Requirements, Verdict};
use super::dial_plan::DialPlan;
use super::document::Policy;
use super::emergency::Emergency;
use super::facts::CallFacts;
use super::grants::{Found, Hit, Level};
use super::identity::{Identity, Number};
use super::matcher::{Direction, FarEnd, Viewpoint};
use super::set::PolicySet;
use super::source::escaped;
use super::terms::{Action, OnConflict, RejectCode};
use crate::model::PolicyId;

/// More identities of one call than this are not asked about; the first ones count.
const IDENTITIES_MAX: usize = 16;

impl PolicySet {
    /// What the policies say of a call. Pure: the same facts and the same set give the same decision.
    pub fn decide(&self, facts: &CallFacts) -> Decision {
        let plan = self.dial_plan(facts.trunk.as_ref());
        let mut ask = Ask {
            set: self,
            facts,
            plan,
            trace: Vec::with_capacity(6),
            policies: Vec::new(),
        };
        let callers = ask.callers();
        let callees = ask.callees();
        let caller = callers.first().cloned().unwrap_or_default();
        let callee = callees.first().cloned().unwrap_or_default();
        let emergency = Emergency::detect(facts, &callee, plan);

        ask.party(Role::Caller, &callers, &callee);
        ask.callee(&callees, &caller);
        ask.rerouters(&caller, &callee);
        ask.settle(caller, callee, emergency)
    }

    /// Who is called, and whether nothing may refuse the call: what is asked even where there is no time for a decision.
    pub fn screen(&self, facts: &CallFacts) -> (Identity, bool) {
        let plan = self.dial_plan(facts.trunk.as_ref());
        let uris = std::iter::once(&facts.request_uri).chain(&facts.called_party_id);
        let mut callees = uris.map(|uri| Identity::parse(uri, plan));
        let callee = callees.find(Identity::is_readable).unwrap_or_default();
        let emergency = Emergency::detect(facts, &callee, plan).is_some();
        (callee, emergency)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Caller,
    Callee,
    Rerouter,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
            Self::Rerouter => "rerouted by",
        }
    }
}

/// One call being asked about.
struct Ask<'a> {
    set: &'a PolicySet,
    facts: &'a CallFacts,
    plan: &'a DialPlan,
    trace: Vec<String>,
    /// Which policies apply, what they say, in the order in which they were found; each pair once.
    policies: Vec<(&'a Policy, Action)>,
}

impl<'a> Ask<'a> {
    /// P-Asserted-Identity of a trusted peer, else From (RFC 3325 §5).
    fn callers(&self) -> Vec<Identity> {
        let asserted = self.identities(self.facts.asserted.iter());
        if asserted.is_empty() {
            self.identities(std::iter::once(&self.facts.from))
        } else {
            asserted
        }
    }

    /// The Request-URI, and who it was meant for before it was retargeted.
    fn callees(&self) -> Vec<Identity> {
        self.identities(std::iter::once(&self.facts.request_uri).chain(&self.facts.called_party_id))
    }

    fn identities<'u>(&self, uris: impl Iterator<Item = &'u String>) -> Vec<Identity> {
        let mut known: Vec<Identity> = Vec::new();
        for uri in uris.take(IDENTITIES_MAX) {
            let identity = Identity::parse(uri, self.plan);
            if identity.is_readable() && !known.contains(&identity) {
                known.push(identity);
            }
        }
        known
    }

    /// Asks for the caller, or for the callee by the identities that the network vouches for.
    fn party(&mut self, role: Role, identities: &[Identity], far: &Identity) {
        let trunk = if role == Role::Caller {
            &self.facts.trunk
        } else {
            &self.facts.to_trunk
        };
        let nobody = Identity::default();
        let first = identities.first().unwrap_or(&nobody);
        let found = identities
            .iter()
            .chain(identities.is_empty().then_some(&nobody))
            .filter_map(|identity| Some((identity, self.set.grants.find(identity, trunk.as_ref())?)))
            .min_by_key(|(_, found)| found.nearest.level);
        match found {
            Some((identity, found)) => self.apply(role, identity, far, &found),
            None => self
                .trace
                .push(format!("{} {}  no grant → none", role.as_str(), key(first))),
        }
    }

    /// To is written by the caller, so it can only add: what it would take away does not count.
    fn callee(&mut self, identities: &[Identity], far: &Identity) {
        let to = Identity::parse(&self.facts.to, self.plan);
        let is_news = to.is_readable() && !identities.contains(&to);
        if is_news && !identities.iter().any(|i| self.set.grants.find_person(i).is_some()) {
            let found = self.set.grants.find_person(&to);
            let adds = |found: &Found| {
                let policy = self.set.policy(&found.nearest.grant).filter(|p| p.enabled);
                policy.is_some_and(|p| matches!(self.action(p, Role::Callee, far), Action::Record | Action::Block))
            };
            if let Some(found) = found.filter(adds) {
                self.apply(Role::Callee, &to, far, &found);
                return;
            }
        }
        self.party(Role::Callee, identities, far);
    }

    /// Everybody that the call was forwarded or transferred by, whose policy asks for that.
    fn rerouters(&mut self, caller: &Identity, callee: &Identity) {
        for identity in self.identities(self.facts.rerouted_by.iter()) {
            let Some(found) = self.set.grants.find_person(&identity) else {
                continue;
            };
            let policy = self.set.policy(&found.nearest.grant);
            if policy.is_some_and(|p| p.record_rerouted_calls) && identity != *caller && identity != *callee {
                self.apply(Role::Rerouter, &identity, caller, &found);
            }
        }
    }

    fn apply(&mut self, role: Role, identity: &Identity, far: &Identity, found: &Found) {
        let policy = self.set.policy(&found.nearest.grant);
        let action = policy.map(|policy| self.action(policy, role, far));
        let mut line = format!(
            "{}  {}",
            self.set.place(found.nearest.grant.origin),
            escaped(&self.hit(&found.nearest))
        );
        if found.nearest.level != Level::User {
            let _ = write!(line, " for {} {}", role.as_str(), key(identity));
        }
        match (policy, action) {
            (None, _) => line.push_str(": revoked"),
            (Some(policy), _) if !policy.enabled => line.push_str(": disabled, not recorded"),
            (Some(policy), Some(action)) => {
                if action != Action::Record {
                    let _ = write!(line, ": {}", word(action));
                }
                if !self.policies.iter().any(|(p, a)| p.id == policy.id && *a == action) {
                    self.policies.push((policy, action));
                }
            }
            (Some(_), None) => {}
        }
        if let Some(beaten) = &found.beaten {
            let _ = write!(
                line,
                "  ({} beats {})",
                level(found.nearest.level),
                escaped(&self.hit(beaten))
            );
        }
        self.trace.push(line);
    }

    /// `user:alice@example.com → trading-desk`
    fn hit(&self, hit: &Hit) -> String {
        let policy = self.set.policy(&hit.grant).map_or("none", |policy| policy.id.as_str());
        format!("{} → {policy}", hit.target)
    }

    fn action(&self, policy: &Policy, role: Role, far: &Identity) -> Action {
        if policy.filters.is_empty() {
            return policy.action;
        }
        let view = Viewpoint {
            // Who passes a call on was called first.
            direction: if role == Role::Caller {
                Direction::Outbound
            } else {
                Direction::Inbound
            },
            far_end: if self.plan.is_internal(far) {
                FarEnd::Internal
            } else {
                FarEnd::External
            },
            far_number: far.number.as_ref().map_or("", Number::as_str),
            media: &self.facts.media,
            at: self.facts.at,
        };
        policy
            .filters
            .iter()
            .find(|filter| filter.matches(&view))
            .map_or(policy.action, |filter| filter.action)
    }

    fn settle(mut self, caller: Identity, callee: Identity, emergency: Option<Emergency>) -> Decision {
        let mut verdict = self.verdict();
        if emergency.is_some() && matches!(verdict, Verdict::Block(_)) {
            // Connected whatever a policy says; recorded if one asks for it and none forbids it.
            let is_recorded = self.has(Action::Record) && !self.has(Action::Never);
            verdict = if is_recorded { Verdict::Record } else { Verdict::None };
        }
        let requirements = (verdict == Verdict::Record).then(|| self.requirements(emergency.is_some()));
        self.trace.push(match &requirements {
            Some(r) => {
                let flag = |on| if on { "yes" } else { "no" };
                format!(
                    "merge  record=yes strict_before={} strict_during={}",
                    flag(r.before),
                    flag(r.during)
                )
            }
            None => format!(
                "merge  record=no{}",
                if matches!(verdict, Verdict::Block(_)) {
                    " block=yes"
                } else {
                    ""
                }
            ),
        });
        self.trace.push(match emergency {
            Some(why) => format!("emergency  {why}: connected in every case, nothing is strict"),
            None => "emergency  no match".to_owned(),
        });
        let policies = match &verdict {
            Verdict::Record => self.ids(Action::Record),
            Verdict::None => Vec::new(),
            Verdict::Block(BlockReason::Forbidden { policy }) => vec![policy.clone()],
            Verdict::Block(BlockReason::Conflict { record, never }) => vec![record.clone(), never.clone()],
        };
        Decision {
            verdict,
            policies,
            requirements,
            emergency: emergency.is_some(),
            caller,
            callee,
            trace: self.trace,
            generation: self.set.generation,
            hash: self.set.hash.clone(),
        }
    }

    fn with(&self, action: Action) -> impl Iterator<Item = &'a Policy> {
        self.policies
            .iter()
            .filter(move |(_, a)| *a == action)
            .map(|(policy, _)| *policy)
    }

    fn has(&self, action: Action) -> bool {
        self.with(action).next().is_some()
    }

    fn ids(&self, action: Action) -> Vec<PolicyId> {
        let mut ids: Vec<PolicyId> = Vec::new();
        for policy in self.with(action) {
            if !ids.contains(&policy.id) {
                ids.push(policy.id.clone());
            }
        }
        ids
    }

    fn verdict(&mut self) -> Verdict {
        if let Some(policy) = self.with(Action::Block).next() {
            return Verdict::Block(BlockReason::Forbidden {
                policy: policy.id.clone(),
            });
        }
        let record = self.with(Action::Record).next();
        let never = self.with(Action::Never).next();
        let (Some(record), Some(never)) = (record, never) else {
            return if record.is_some() {
                Verdict::Record
            } else {
                Verdict::None
            };
        };
        // `check` demands a rule of every policy that may say never; the strongest counts, the party's that is stricter.
        let rule = self
            .with(Action::Never)
            .filter_map(|p| p.on_conflict)
            .max()
            .unwrap_or(OnConflict::Block);
        let (record, never) = (record.id.clone(), never.id.clone());
        let outcome = match rule {
            OnConflict::Record => "record",
            OnConflict::Never => "never",
            OnConflict::Block => "block",
        };
        self.trace.push(format!(
            "conflict  {record} demands, {never} forbids: on_conflict = {outcome}"
        ));
        match rule {
            OnConflict::Record => Verdict::Record,
            OnConflict::Never => Verdict::None,
            OnConflict::Block => Verdict::Block(BlockReason::Conflict { record, never }),
        }
    }

    /// Flags OR-ed over all recorders, the most demanding of everything else; in an emergency nothing is demanded.
    fn requirements(&self, is_emergency: bool) -> Requirements {
        let any = |flag: fn(&super::document::RecorderRule) -> bool| {
            !is_emergency
                && self
                    .with(Action::Record)
                    .any(|policy| policy.recorders.iter().any(flag))
        };
        let mut all = Requirements {
            before: any(|r| r.required_before_call_establishment),
            during: any(|r| r.required_during_call),
            before_meeting: any(|r| r.required_before_meeting_join),
            during_meeting: any(|r| r.required_during_meeting),
            during_arms: Default::default(),
            reject_code: RejectCode::Auto,
            media: Default::default(),
            notify: Default::default(),
            retention: None,
            pause_allowed: true,
        };
        for policy in self.with(Action::Record) {
            all.during_arms = all.during_arms.max(policy.during_arms);
            all.reject_code = all.reject_code.or(policy.reject_code);
            all.media = all.media.union(policy.media);
            all.notify = if is_emergency {
                all.notify
            } else {
                all.notify.merge(policy.notify)
            };
            all.retention = all.retention.max(policy.retention);
            all.pause_allowed &= policy.pause.allowed;
        }
        all
    }
}

/// The short form of an identity, safe to print.
fn key(identity: &Identity) -> String {
    if identity.is_readable() {
        escaped(&identity.key)
    } else {
        "unreadable".to_owned()
    }
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::User => "user",
        Level::Group => "group",
        Level::Number => "number",
        Level::Trunk => "trunk",
        Level::Global => "global",
    }
}

const fn word(action: Action) -> &'static str {
    match action {
        Action::Record => "record",
        Action::Skip => "not asked for, by a filter",
        Action::Never => "must not be recorded",
        Action::Block => "forbidden",
    }
}
