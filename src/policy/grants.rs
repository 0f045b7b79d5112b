//! Who has which policy. Nearest wins: user, group by rank (lowest first), number range (most specific first), trunk,
//! global. A decision looks up a handful of keys, however many grants there are.

// The only iteration is of ordered lists: the hash maps are looked up and never walked.
#![allow(clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::identity::{Identity, Number};
use super::target::{Pattern, Shape, Target};
use crate::model::TrunkName;

/// Where something is written: an index into the set's files, and a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Origin {
    pub(crate) file: usize,
    pub(crate) line: usize,
}

/// One grant of one target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Grant {
    /// Which of the set's policies; none takes every policy away.
    pub(crate) policy: Option<usize>,
    pub(crate) origin: Origin,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    User,
    Group,
    Number,
    Trunk,
    Global,
}

/// A grant that applies to a party.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Hit {
    pub(crate) level: Level,
    pub(crate) target: Target,
    pub(crate) grant: Grant,
}

/// The nearest grant and the one that it beat.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) nearest: Hit,
    pub(crate) beaten: Option<Hit>,
}

#[derive(Debug)]
struct Group {
    name: String,
    grant: Option<Grant>,
}

/// All grants, by what they are looked up by.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    users: HashMap<String, Grant>,
    /// By rank, then as written: a member's list of places in here is in the order of precedence.
    groups: Vec<Group>,
    members: HashMap<String, Vec<usize>>,
    /// Places in `groups`.
    names: HashMap<String, usize>,
    numbers: HashMap<Pattern, Grant>,
    /// The most specific first.
    shapes: BTreeSet<Shape>,
    trunks: BTreeMap<String, Grant>,
    global: Option<Grant>,
}

impl Grants {
    /// Groups with their members' keys, in the order of precedence. Called once, before `insert`.
    pub(crate) fn set_groups(&mut self, groups: Vec<(String, Vec<String>)>) {
        for (place, (name, members)) in groups.into_iter().enumerate() {
            for member in members {
                let places = self.members.entry(member).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
            self.names.entry(name.clone()).or_insert(place);
            self.groups.push(Group { name, grant: None });
        }
    }

    /// Keeps a grant; the one that the target already had comes back, and stays.
    pub(crate) fn insert(&mut self, target: &Target, grant: Grant) -> Option<Grant> {
        use std::collections::hash_map::Entry;
        let slot = match target {
            Target::User(key) => match self.users.entry(key.clone()) {
                Entry::Occupied(old) => return Some(*old.get()),
                Entry::Vacant(free) => {
                    free.insert(grant);
                    return None;
                }
            },
            Target::Number(pattern) => match self.numbers.entry(*pattern) {
                Entry::Occupied(old) => return Some(*old.get()),
                Entry::Vacant(free) => {
                    self.shapes.insert(pattern.shape);
                    free.insert(grant);
                    return None;
                }
            },
            Target::Trunk(name) => match self.trunks.get(name) {
                Some(old) => return Some(*old),
                None => {
                    self.trunks.insert(name.clone(), grant);
                    return None;
                }
            },
            Target::Group(name) => match self.names.get(name).and_then(|place| self.groups.get_mut(*place)) {
                Some(group) => &mut group.grant,
                None => return None,
            },
            Target::Global => &mut self.global,
        };
        let old = *slot;
        slot.get_or_insert(grant);
        old
    }

    /// The nearest grant of a party that has one identity, and the runner-up.
    pub(crate) fn find(&self, party: &Identity, trunk: Option<&TrunkName>) -> Option<Found> {
        let mut hits = Hits::default();
        self.by_person(party, &mut hits);
        if !hits.is_full()
            && let Some((name, grant)) = trunk.and_then(|t| self.trunks.get_key_value(t.as_str()))
        {
            hits.push(Level::Trunk, Target::Trunk(name.clone()), *grant);
        }
        if let Some(grant) = self.global {
            hits.push(Level::Global, Target::Global, grant);
        }
        hits.into_found()
    }

    /// The same without the grants that do not speak of the person: trunk and global.
    pub(crate) fn find_person(&self, party: &Identity) -> Option<Found> {
        let mut hits = Hits::default();
        self.by_person(party, &mut hits);
        hits.into_found()
    }

    fn by_person(&self, party: &Identity, hits: &mut Hits) {
        for key in party.keys() {
            if let Some(grant) = self.users.get(&*key) {
                hits.push(Level::User, Target::User(key.into_owned()), *grant);
            }
        }
        if !hits.is_full() {
            self.by_group(party, hits);
        }
        if !hits.is_full() {
            self.by_number(party, hits);
        }
    }

    fn by_group(&self, party: &Identity, hits: &mut Hits) {
        let mut places: Vec<usize> = party
            .keys()
            .filter_map(|key| self.members.get(&*key))
            .flatten()
            .copied()
            .collect();
        places.sort_unstable();
        places.dedup();
        for group in places.into_iter().filter_map(|place| self.groups.get(place)) {
            if let Some(grant) = group.grant {
                hits.push(Level::Group, Target::Group(group.name.clone()), grant);
            }
            if hits.is_full() {
                return;
            }
        }
    }

    fn by_number(&self, party: &Identity, hits: &mut Hits) {
        let e164 = party.number.as_ref().map(Number::as_str);
        let dialled = Some(party.dialled.as_str()).filter(|d| !d.is_empty() && !d.starts_with('+'));
        for shape in &self.shapes {
            let patterns = [
                e164.and_then(|n| shape.of(n, true)),
                dialled.and_then(|n| shape.of(n, false)),
            ];
            for pattern in patterns.into_iter().flatten() {
                if let Some(grant) = self.numbers.get(&pattern) {
                    hits.push(Level::Number, Target::Number(pattern), *grant);
                }
            }
            if hits.is_full() {
                return;
            }
        }
    }
}

/// The first two that are found.
#[derive(Default)]
struct Hits {
    nearest: Option<Hit>,
    beaten: Option<Hit>,
}

impl Hits {
    const fn is_full(&self) -> bool {
        self.beaten.is_some()
    }

    fn push(&mut self, level: Level, target: Target, grant: Grant) {
        let slot = if self.nearest.is_none() {
            &mut self.nearest
        } else {
            &mut self.beaten
        };
        slot.get_or_insert(Hit { level, target, grant });
    }

    fn into_found(self) -> Option<Found> {
        let beaten = self.beaten;
        self.nearest.map(|nearest| Found { nearest, beaten })
    }
}
