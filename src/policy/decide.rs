//! Facts in, decision out. The same function serves live calls, replays and `explain`.

use std::fmt::Write as _;

use super::consenting::ConsentMode;
use super::decision::{BlockReason, Decision, Requirements, Verdict};
use super::dial_plan::DialPlan;
use super::document::Policy;
use super::emergency::Emergency;
use super::facts::CallFacts;
use super::grants::{Found, Hit, Level};
use super::identity::{Identity, Number};
use super::matcher::{Direction, FarEnd, Viewpoint};
use super::pausing::PauseTerms;
use super::set::PolicySet;
use super::source::escaped;
use super::terms::{Action, OnConflict, RejectCode};
use crate::model::PolicyId;

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
            roles: Vec::new(),
        };
        let callers = ask.callers();
        let callees = ask.callees();
        let caller = callers.first().cloned().unwrap_or_default();
        let callee = callees.first().cloned().unwrap_or_default();
        let emergency = Emergency::detect(facts, &callee, plan, self.dial_plan_beyond(facts));
        let onward = ask.onward(&callees);

        ask.caller(&callers, &callee, &onward);
        ask.callee(&callees, &caller);
        ask.sent_on(&callees, &onward, &caller);
        ask.rerouters(&caller, &callee);
        ask.settle(caller, callee, emergency)
    }

    /// Who is called, and whether nothing may refuse the call: what is asked even where there is no time for a decision.
    pub fn screen(&self, facts: &CallFacts) -> (Identity, bool) {
        let plan = self.dial_plan(facts.trunk.as_ref());
        let uris = std::iter::once(&facts.request_uri).chain(&facts.called_party_id);
        let mut callees = uris.map(|uri| Identity::parse(uri, plan));
        let callee = callees.find(Identity::is_readable).unwrap_or_default();
        let emergency = Emergency::detect(facts, &callee, plan, self.dial_plan_beyond(facts)).is_some();
        (callee, emergency)
    }

    /// How the trunk writes numbers that the call is sent on to.
    pub(super) fn dial_plan_beyond(&self, facts: &CallFacts) -> &DialPlan {
        self.dial_plan(facts.to_trunk.as_ref())
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Caller,
    Callee,
    Rerouter,
}

impl Role {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
            Self::Rerouter => "rerouted by",
        }
    }
}

/// One call being asked about.
pub(super) struct Ask<'a> {
    pub(super) set: &'a PolicySet,
    pub(super) facts: &'a CallFacts,
    pub(super) plan: &'a DialPlan,
    pub(super) trace: Vec<String>,
    /// Which policies apply, what they say, in the order in which they were found; each pair once.
    policies: Vec<(&'a Policy, Action)>,
    /// Whose each policy is that asks for a recording.
    roles: Vec<(&'a PolicyId, Role)>,
}

impl<'a> Ask<'a> {
    pub(super) fn apply(&mut self, role: Role, identity: &Identity, far: &Identity, found: &Found) {
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
                if action == Action::Record && !self.roles.contains(&(&policy.id, role)) {
                    self.roles.push((&policy.id, role));
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

    pub(super) fn action(&self, policy: &Policy, role: Role, far: &Identity) -> Action {
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
        if !caller.is_readable() || !callee.is_readable() {
            verdict = Verdict::Block(BlockReason::Unreadable);
        }
        if emergency.is_some() && matches!(verdict, Verdict::Block(_)) {
            // Connected whatever a policy says; recorded if one asks for it and none forbids it.
            let is_recorded = self.has(Action::Record) && !self.has(Action::Never);
            verdict = if is_recorded { Verdict::Record } else { Verdict::None };
        }
        let requirements = (verdict == Verdict::Record).then(|| {
            let external = [&caller, &callee].map(|party| !self.plan.is_internal(party));
            self.requirements(emergency.is_some(), external)
        });
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
        let consent = requirements.as_ref().and_then(|wanted| {
            let consent = wanted.notify.consent?;
            Some(consent.told(wanted.waiver.as_ref()))
        });
        self.trace.extend(consent);
        self.trace.push(match emergency {
            Some(why) => format!("emergency  {why}: connected in every case, nothing is strict"),
            None => "emergency  no match".to_owned(),
        });
        let policies = match &verdict {
            Verdict::Record => self.ids(Action::Record),
            Verdict::None | Verdict::Block(BlockReason::Unreadable) => Vec::new(),
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
    fn requirements(&self, is_emergency: bool, external: [bool; 2]) -> Requirements {
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
            waiver: None,
            prompt: (!is_emergency).then(|| self.prompt()).flatten(),
            external,
            retention: None,
            pause: self.pause(),
        };
        for policy in self.with(Action::Record) {
            all.during_arms = all.during_arms.max(policy.during_arms);
            all.reject_code = all.reject_code.or(policy.reject_code);
            all.media = all.media.union(policy.media);
            if !is_emergency && !policy.disable_audio_notification {
                all.notify = all.notify.merge(policy.notify);
                all.waiver = all.waiver.or_else(|| policy.waiver.clone());
            }
            all.retention = all.retention.max(policy.retention);
        }
        if let Some(consent) = &mut all.notify.consent {
            all.waiver = all.waiver.filter(|_| consent.mode == ConsentMode::Waived);
            for policy in self.with(Action::Record).filter(|policy| policy.is_strict()) {
                let says = policy.notify.consent.filter(|_| !policy.disable_audio_notification);
                consent.beside_strict(says);
            }
        }
        all
    }
}

impl Ask<'_> {
    /// The first that is demanded; before it one that asks: who is not asked cannot answer.
    fn prompt(&self) -> Option<String> {
        let tells = |policy: &&Policy| policy.notify.mode.has_prompt() && !policy.disable_audio_notification;
        let telling = self
            .with(Action::Record)
            .filter(|policy| tells(policy) && policy.custom_prompts.is_some());
        let asks = |policy: &&Policy| {
            policy
                .notify
                .consent
                .is_some_and(|terms| terms.mode == ConsentMode::Explicit)
        };
        let policy = telling.min_by_key(|policy| !asks(policy))?;
        policy.custom_prompts.clone()
    }

    /// What all of the policies allow that ask for the recording.
    fn pause(&self) -> Option<PauseTerms> {
        let mut all: Option<PauseTerms> = None;
        for policy in self.with(Action::Record) {
            let roles = self.roles.iter().filter(|(id, _)| **id == policy.id);
            let terms = policy.pause.terms(roles.map(|(_, role)| *role))?;
            all = Some(match all {
                Some(all) => all.and(&terms),
                None => terms,
            });
        }
        all
    }
}

/// The short form of an identity, safe to print.
pub(super) fn key(identity: &Identity) -> String {
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
