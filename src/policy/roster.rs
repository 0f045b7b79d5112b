//! `[[grant]]`, `[[group]]` and `[[dial_plan]]` as written, before they are linked with the policies.

use std::ops::Range;

use toml::Spanned;

use super::dial_plan::DialPlan;
use super::document::{NAME_RULE, is_name};
use super::finding::Code;
use super::reader::{Table, shown};
use super::set::GRANTS_MAX;
use super::target::{Target, user_key};
use crate::model::TrunkName;

/// Longer lists of emergency numbers, domains and the like are refused.
const LIST_MAX: usize = 1_000;

/// A place in one of the files: which file, and the bytes.
pub(crate) type Spot = (usize, Range<usize>);

pub(crate) struct WrittenGrant {
    pub(crate) policy: String,
    pub(crate) policy_spot: Spot,
    pub(crate) targets: Vec<(Target, Spot)>,
}

pub(crate) struct WrittenGroup {
    pub(crate) name: String,
    pub(crate) rank: i64,
    /// Keys of users.
    pub(crate) members: Vec<String>,
    pub(crate) spot: Spot,
}

#[derive(Default)]
pub(crate) struct Roster {
    pub(crate) grants: Vec<WrittenGrant>,
    pub(crate) groups: Vec<WrittenGroup>,
    pub(crate) plans: Vec<(Option<TrunkName>, DialPlan, Spot)>,
    count: usize,
}

impl Roster {
    pub(crate) fn read(&mut self, root: &Table<'_>, file: usize) {
        for table in root.tables("grant", "a grant field") {
            self.read_grant(&table, file);
        }
        for table in root.tables("group", "a group field") {
            self.read_group(&table, file);
        }
        for table in root.tables("dial_plan", "a dial plan field") {
            self.read_plan(&table, file);
        }
    }

    /// Counts tables, targets and members; false once there are too many.
    fn admit(&mut self, table: &Table<'_>, count: usize) -> bool {
        let before = self.count;
        self.count += count;
        if before <= GRANTS_MAX && self.count > GRANTS_MAX {
            let message = format!("more than {GRANTS_MAX} grants, targets and members of groups");
            table.note(table.at(Code::TooLarge, table.span(), message));
        }
        self.count <= GRANTS_MAX
    }

    fn read_grant(&mut self, table: &Table<'_>, file: usize) {
        let policy = table.required_text("policy", "the id of a policy, or \"$null\"");
        let texts = table
            .required_texts("to", "like [\"user:alice@example.com\"]")
            .unwrap_or_default();
        table.finish();
        if !self.admit(table, texts.len() + 1) {
            return;
        }
        let mut targets = Vec::with_capacity(texts.len());
        for text in texts {
            match Target::parse(text.get_ref()) {
                Ok(target) => targets.push((target, (file, text.span()))),
                Err(rule) => {
                    let message = format!("nobody is meant by `{}`", shown(text.get_ref()));
                    table.note(
                        table
                            .at(Code::MalformedTarget, &text.span(), message)
                            .label(rule.to_string()),
                    );
                }
            }
        }
        if let Some(policy) = policy {
            let policy_spot = (file, policy.span());
            self.grants.push(WrittenGrant {
                policy: policy.into_inner().to_owned(),
                policy_spot,
                targets,
            });
        }
    }

    fn read_group(&mut self, table: &Table<'_>, file: usize) {
        let name = table.required_text("name", "what grants call it by");
        let rank = table
            .integer("rank", 0..=i64::MAX)
            .map_or(i64::MAX, Spanned::into_inner);
        let texts = table
            .required_texts("members", "like [\"alice@example.com\"]")
            .unwrap_or_default();
        table.finish();
        if !self.admit(table, texts.len() + 1) {
            return;
        }
        let mut members = Vec::with_capacity(texts.len());
        for text in texts {
            let user = text.get_ref().strip_prefix("user:").unwrap_or(text.get_ref());
            match user_key(user) {
                Some(key) => members.push(key),
                None => {
                    let message = format!("nobody is meant by `{}`", shown(text.get_ref()));
                    let finding = table.at(Code::MalformedTarget, &text.span(), message);
                    table.note(finding.label("members are users, like `alice@example.com` or `+442079460001`"));
                }
            }
        }
        let Some(name) = name else { return };
        if is_name(name.get_ref()) {
            let spot = (file, name.span());
            self.groups.push(WrittenGroup {
                name: name.into_inner().to_owned(),
                rank,
                members,
                spot,
            });
        } else {
            table.malformed("name", &name.span(), name.get_ref(), NAME_RULE);
        }
    }

    fn read_plan(&mut self, table: &Table<'_>, file: usize) {
        if !self.admit(table, 1) {
            return;
        }
        let standard = DialPlan::default();
        let digits = |key, fallback: String| {
            let read =
                |text: &str| (text.len() <= 8 && text.bytes().all(|c| c.is_ascii_digit())).then(|| text.to_owned());
            table
                .parsed(key, "up to 8 digits", read)
                .map_or(fallback, Spanned::into_inner)
        };
        let list = |key| {
            let texts: Option<Vec<Spanned<&str>>> = table.texts(key);
            if let Some(excess) = texts.as_ref().and_then(|t| t.get(LIST_MAX)) {
                table.note(table.at(
                    Code::TooLarge,
                    &excess.span(),
                    format!("more than {LIST_MAX} entries in `{key}`"),
                ));
            }
            texts
        };
        let emergency = list("emergency").map(|numbers| {
            let is_number = |n: &str| !n.is_empty() && n.len() <= 15 && n.bytes().all(|c| c.is_ascii_digit());
            for number in numbers.iter().filter(|n| !is_number(n.get_ref())) {
                table.malformed("emergency", &number.span(), number.get_ref(), "digits, like \"112\"");
            }
            numbers.into_iter().map(|n| n.into_inner().to_owned()).collect()
        });
        let domains = |key| {
            let texts = list(key).unwrap_or_default().into_iter();
            texts.map(|domain| domain.get_ref().to_lowercase()).collect()
        };
        let trunk = table.text("trunk");
        let plan = DialPlan {
            country_code: Some(digits("country_code", String::new())).filter(|code| !code.is_empty()),
            national_prefix: digits("national_prefix", standard.national_prefix),
            international_prefix: digits("international_prefix", standard.international_prefix),
            national_length: table
                .integer("national_length", 1..=14)
                .and_then(|n| usize::try_from(n.into_inner()).ok()),
            emergency: emergency.unwrap_or(standard.emergency),
            domains: domains("domains"),
            internal_domains: domains("internal_domains"),
            internal_numbers: super::matcher::prefixes(table, "internal_numbers"),
        };
        table.finish();
        let spot = (file, trunk.as_ref().map_or_else(|| table.span().clone(), Spanned::span));
        self.plans
            .push((trunk.map(|trunk| TrunkName::from(*trunk.get_ref())), plan, spot));
    }
}
