//! Pausing a recording, for card data (PCI DSS 3.3.1): what a policy allows, and what all policies of a call allow together.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::decide::Role;
use super::reader::{Table, Words};
use crate::model::Leg;

/// A pause ends by itself after this time where no policy says another.
const RESUME_AFTER: Duration = Duration::from_secs(120);

const WAYS: &Words<Way> = &[
    ("api", Way::Api),
    ("dtmf", Way::Dtmf),
    ("info", Way::Info),
    ("sdp", Way::Sdp),
];
const PARTIES: &Words<PauseParty> = &[
    ("own", PauseParty::Own),
    ("caller", PauseParty::Caller),
    ("callee", PauseParty::Callee),
    ("both", PauseParty::Both),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Api,
    Dtmf,
    Info,
    Sdp,
}

/// Whose keys, INFO and wishes count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PauseParty {
    /// Of the party that the policy is granted to.
    #[default]
    Own,
    Caller,
    Callee,
    Both,
}

impl PauseParty {
    const fn legs(self, role: Role) -> [bool; 2] {
        match (self, role) {
            (Self::Both, _) => [true, true],
            (Self::Caller, _) | (Self::Own, Role::Caller) => [true, false],
            (Self::Callee, _) | (Self::Own, Role::Callee) => [false, true],
            (Self::Own, Role::Rerouter) => [false, false],
        }
    }
}

/// What one policy says: `[policy.pause]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pause {
    pub allowed: bool,
    pub api: bool,
    pub keys: bool,
    pub info: bool,
    /// By `a=recordpref` (RFC 7866 §7.3.2).
    pub preference: bool,
    pub from: PauseParty,
    /// What is pressed to pause, and again to go on.
    pub dtmf: Option<String>,
    pub resume_after: Option<Duration>,
}

impl Pause {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let Some(pause) = table.table("pause", "a pause field") else {
            return Self::default();
        };
        let ways = pause.choices("by", WAYS);
        let has = |way| ways.as_ref().is_none_or(|ways| ways.contains(&way));
        let read = Self {
            allowed: pause.boolean("allowed").unwrap_or(false),
            api: has(Way::Api),
            keys: has(Way::Dtmf),
            info: has(Way::Info),
            preference: has(Way::Sdp),
            from: pause
                .choice("from", PARTIES)
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            dtmf: pause
                .parsed("dtmf", "keys of a telephone, like \"*9\"", |keys| {
                    let fits = (1..=PauseTerms::CODE_KEYS_MAX).contains(&keys.len())
                        && keys.bytes().all(|c| matches!(c, b'0'..=b'9' | b'*' | b'#'));
                    fits.then(|| keys.to_owned())
                })
                .map(Spanned::into_inner),
            resume_after: pause.duration("resume_after").map(Spanned::into_inner),
        };
        pause.finish();
        read
    }

    /// Of a call that only this policy applies to; none: it may not be paused.
    pub(super) fn terms(&self, roles: impl IntoIterator<Item = Role>) -> Option<PauseTerms> {
        let legs = roles.into_iter().fold([false; 2], |legs, role| {
            let more = self.from.legs(role);
            [legs[0] | more[0], legs[1] | more[1]]
        });
        self.allowed.then(|| PauseTerms {
            api: self.api,
            keys: self.keys,
            info: self.info,
            preference: self.preference,
            legs,
            codes: self.dtmf.iter().cloned().collect(),
            resume_after: self.resume_after.unwrap_or(RESUME_AFTER),
        })
    }
}

/// How a call's recording may be paused: what all of its policies allow. Nobody's policy is paused by another's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PauseTerms {
    api: bool,
    keys: bool,
    info: bool,
    #[serde(default)]
    preference: bool,
    /// Whose keys, INFO and wishes count: of leg A, of leg B.
    legs: [bool; 2],
    codes: Vec<String>,
    pub resume_after: Duration,
}

impl PauseTerms {
    pub const CODE_KEYS_MAX: usize = 8;

    /// What both allow: ways that both have, for the parties that either names, for the shorter time.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.api &= other.api;
        self.keys &= other.keys;
        self.info &= other.info;
        self.preference &= other.preference;
        for (own, other) in self.legs.iter_mut().zip(other.legs) {
            *own |= other;
        }
        for code in &other.codes {
            if !self.codes.contains(code) {
                self.codes.push(code.clone());
            }
        }
        self.resume_after = self.resume_after.min(other.resume_after);
        self
    }

    pub const fn by_api(&self) -> bool {
        self.api
    }

    pub const fn by_info(&self) -> bool {
        self.info
    }

    pub const fn by_preference(&self) -> bool {
        self.preference
    }

    /// Whether this leg's INFO counts, where INFO does; and its wishes.
    pub const fn is_party(&self, leg: Leg) -> bool {
        self.legs[leg.index()]
    }

    /// Of leg A, of leg B: whether its keys have to be heard.
    pub const fn heard(&self) -> [bool; 2] {
        let by_keys = self.keys && !self.codes.is_empty();
        [by_keys && self.legs[0], by_keys && self.legs[1]]
    }

    /// Whether the keys end in a code.
    pub fn is_pressed(&self, keys: &str) -> bool {
        self.codes.iter().any(|code| keys.ends_with(code))
    }
}
