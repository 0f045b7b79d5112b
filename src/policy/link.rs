//! Ties grants to policies and groups, and says what does not fit or can never be reached.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::dial_plan::DialPlan;
use super::document::Policy;
use super::finding::{Code, Finding, Findings};
use super::grants::{Grant, Grants, Origin};
use super::reader::shown;
use super::roster::{Roster, Spot, WrittenGrant, WrittenGroup};
use super::source::Source;
use super::suggest;
use super::target::Target;
use crate::model::TrunkName;

mod extensions;

pub(crate) type Linked = (
    Grants,
    BTreeMap<Option<TrunkName>, DialPlan>,
    BTreeMap<TrunkName, Finding>,
);

/// What a grant names as its policy to take every policy away.
const REVOKED: [&str; 2] = ["$null", "none"];

/// What the roster is linked with.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    pub(crate) policies: &'a [Policy],
    pub(crate) sources: &'a [Source<'a>],
    /// Not every file could be read: what is missing may be there.
    pub(crate) is_partial: bool,
}

pub(crate) fn link(mut roster: Roster, texts: Texts<'_>, findings: &RefCell<Findings>) -> Linked {
    // Stable: equal ranks stay in the order in which they are written.
    roster.groups.sort_by_key(|group| group.rank);
    let mut link = Link {
        texts,
        findings,
        trunks: BTreeMap::new(),
        granted: BTreeSet::new(),
    };
    let grants = link.grants(&roster);
    link.note_unreachable(&roster);
    link.note_extensions(&roster);
    let plans = link.plans(roster.plans);
    (grants, plans, link.trunks)
}

struct Link<'a> {
    texts: Texts<'a>,
    findings: &'a RefCell<Findings>,
    trunks: BTreeMap<TrunkName, Finding>,
    /// Which policies some grant names.
    granted: BTreeSet<usize>,
}

impl Link<'_> {
    fn at(&self, code: Code, spot: &Spot, message: String) -> Finding {
        match self.texts.sources.get(spot.0) {
            Some(source) => Finding::at(code, source, &spot.1, message),
            None => Finding::whole(code, "", message),
        }
    }

    fn note(&self, finding: Finding) {
        self.findings.borrow_mut().push(finding);
    }

    /// Comparing names costs too much for findings that are not listed.
    fn nearest<'n>(&self, name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
        if self.findings.borrow().is_full() {
            None
        } else {
            suggest::nearest(name, names)
        }
    }

    fn origin(&self, spot: &Spot) -> Origin {
        let line = self
            .texts
            .sources
            .get(spot.0)
            .map_or(0, |source| source.line_of(spot.1.start));
        Origin { file: spot.0, line }
    }

    fn grants(&mut self, roster: &Roster) -> Grants {
        let mut grants = Grants::default();
        let names = self.groups(&roster.groups);
        grants.set_groups(
            roster
                .groups
                .iter()
                .map(|g| (g.name.clone(), g.members.clone()))
                .collect(),
        );
        let ids: BTreeMap<&str, usize> = self
            .texts
            .policies
            .iter()
            .enumerate()
            .map(|(i, p)| (p.id.as_str(), i))
            .collect();
        for written in &roster.grants {
            let policy = self.policy(written, &ids);
            self.granted.extend(policy.flatten());
            for (target, spot) in &written.targets {
                match target {
                    Target::Group(name) if !names.contains(name.as_str()) => {
                        self.unknown_group(name, spot, &names);
                        continue;
                    }
                    Target::Trunk(name) => self.trunk(TrunkName::from(name.as_str()), spot),
                    _ => {}
                }
                let Some(policy) = policy else { continue };
                let grant = Grant {
                    policy,
                    origin: self.origin(spot),
                };
                if let Some(old) = grants.insert(target, grant) {
                    self.granted_twice(target, spot, policy, old);
                }
            }
        }
        grants
    }

    /// The policy of a grant; `Some(None)` revokes; none, noted, if there is no such policy.
    fn policy(&self, written: &WrittenGrant, ids: &BTreeMap<&str, usize>) -> Option<Option<usize>> {
        if REVOKED.contains(&written.policy.as_str()) {
            return Some(None);
        }
        let found = ids.get(written.policy.as_str()).copied();
        if found.is_none() && !self.texts.is_partial {
            let meant = self.nearest(&written.policy, ids.keys().copied());
            let message = format!("there is no policy `{}`", shown(&written.policy));
            let finding = self
                .at(Code::UnknownPolicy, &written.policy_spot, message)
                .label("no file of the folder has a `[policy]` with this id")
                .maybe_hint(Some(match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "to take a policy away, grant \"$null\"".to_owned(),
                }));
            self.note(finding);
        }
        found.map(Some)
    }

    fn groups<'g>(&self, groups: &'g [WrittenGroup]) -> BTreeSet<&'g str> {
        let mut names = BTreeSet::new();
        for group in groups {
            if !names.insert(group.name.as_str()) {
                let message = format!("group `{}` is defined twice", group.name);
                self.note(self.at(Code::DuplicateGroup, &group.spot, message));
            }
        }
        names
    }

    fn unknown_group(&self, name: &str, spot: &Spot, names: &BTreeSet<&str>) {
        if self.texts.is_partial {
            return;
        }
        let meant = self.nearest(name, names.iter().copied());
        let finding = self.at(Code::UnknownGroup, spot, format!("there is no group `{name}`"));
        self.note(finding.maybe_hint(Some(match meant {
            Some(meant) => format!("did you mean `group:{meant}`?"),
            None => format!("define it: `[[group]]` with `name = \"{name}\"`, `rank` and `members`"),
        })));
    }

    fn granted_twice(&self, target: &Target, spot: &Spot, policy: Option<usize>, old: Grant) {
        let before = self.texts.sources.get(old.origin.file).map_or("", |source| source.name);
        let before = format!("{}:{}", shown(before), old.origin.line);
        let target = shown(&target.to_string());
        let finding = if old.policy == policy {
            self.at(
                Code::RepeatedGrant,
                spot,
                format!("`{target}` has this policy already, by {before}"),
            )
        } else {
            let message = format!("`{target}` has another policy already, by {before}");
            self.at(Code::ConflictingGrant, spot, message)
                .effect("nothing says which of them counts")
                .hint("take one of the grants away")
        };
        self.note(finding);
    }

    fn trunk(&mut self, name: TrunkName, spot: &Spot) {
        if !self.trunks.contains_key(&name) {
            let message = format!("there is no trunk `{}`", shown(name.as_str()));
            let finding = self
                .at(Code::UnknownTrunk, spot, message)
                .label("the config has no trunk of this name");
            self.trunks.insert(name, finding);
        }
    }

    fn plans(&mut self, written: Vec<(Option<TrunkName>, DialPlan, Spot)>) -> BTreeMap<Option<TrunkName>, DialPlan> {
        let mut plans = BTreeMap::new();
        for (trunk, plan, spot) in written {
            if let Some(trunk) = &trunk {
                self.trunk(trunk.clone(), &spot);
            }
            if plans.contains_key(&trunk) {
                let whose = trunk
                    .as_ref()
                    .map_or_else(|| "all trunks".to_owned(), |t| format!("trunk `{}`", shown(t.as_str())));
                self.note(self.at(
                    Code::DuplicateDialPlan,
                    &spot,
                    format!("a second dial plan for {whose}"),
                ));
            }
            plans.insert(trunk, plan);
        }
        plans
    }

    fn note_unreachable(&self, roster: &Roster) {
        if self.texts.is_partial {
            return;
        }
        for (index, policy) in self.texts.policies.iter().enumerate() {
            if !self.granted.contains(&index) && !roster.grants.is_empty() {
                let message = format!("policy `{}` is granted to nobody", policy.id);
                self.note(
                    self.at(Code::UngrantedPolicy, &policy.spot, message)
                        .effect("it never applies"),
                );
            }
        }
        if roster.grants.is_empty() && !self.texts.policies.is_empty() {
            let finding = Finding::whole(Code::NoGrants, "grants.toml", "there is no grant at all".to_owned())
                .effect("no call is ever recorded")
                .hint("grant a policy: `[[grant]]` with `policy = \"…\"` and `to = [\"global\"]`");
            self.note(finding);
        }
        self.note_unreachable_groups(roster);
    }

    /// A group is out of reach when each of its members has a nearer grant: of their own or by a group of lower rank.
    fn note_unreachable_groups(&self, roster: &Roster) {
        let targets = || roster.grants.iter().flat_map(|g| &g.targets);
        let mut taken: BTreeSet<&str> = targets()
            .filter_map(|(target, _)| {
                if let Target::User(key) = target {
                    Some(key.as_str())
                } else {
                    None
                }
            })
            .collect();
        let granted: BTreeMap<&str, &Spot> = targets()
            .filter_map(|(target, spot)| {
                if let Target::Group(name) = target {
                    Some((name.as_str(), spot))
                } else {
                    None
                }
            })
            .collect();
        let mut ranks: BTreeMap<&str, i64> = BTreeMap::new();
        for group in &roster.groups {
            let Some(spot) = granted.get(group.name.as_str()) else {
                let message = format!("no grant names group `{}`", group.name);
                self.note(self.at(Code::UngrantedGroup, &group.spot, message));
                continue;
            };
            if group.members.iter().all(|member| taken.contains(member.as_str())) {
                let message = format!("no call reaches the grant of group `{}`", group.name);
                let why = if group.members.is_empty() {
                    "the group has no members"
                } else {
                    "each member has a grant of their own, or by a group of lower rank"
                };
                self.note(self.at(Code::UnreachableGrant, spot, message).effect(why));
            }
            let shared = group
                .members
                .iter()
                .find(|m| ranks.get(m.as_str()) == Some(&group.rank));
            if let Some(member) = shared {
                let message = format!(
                    "group `{}` shares its rank and the member `{}` with a group before it",
                    group.name,
                    shown(member)
                );
                let finding = self.at(Code::SharedRank, &group.spot, message);
                self.note(
                    finding
                        .effect("the group that is written first wins")
                        .hint("give each group a `rank` of its own; the lowest wins"),
                );
            }
            for member in &group.members {
                taken.insert(member);
                ranks.insert(member, group.rank);
            }
        }
    }
}
