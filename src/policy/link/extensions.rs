//! Grants to extensions that the default list takes for emergency numbers: calls to them are never refused, so never strict.

use super::Link;
use crate::policy::dial_plan::{DialPlan, EMERGENCY_NUMBERS};
use crate::policy::finding::Code;
use crate::policy::roster::{Roster, Spot};
use crate::policy::target::Target;

impl Link<'_> {
    /// Silent once each dial plan, one for all trunks among them, has a list of its own.
    pub(super) fn note_extensions(&self, roster: &Roster) {
        let is_default = |plan: &DialPlan| plan.emergency == EMERGENCY_NUMBERS;
        let none_stated = !roster.plans.iter().any(|(trunk, ..)| trunk.is_none());
        let by_default =
            none_stated && roster.plans.is_empty() || roster.plans.iter().any(|(_, plan, _)| is_default(plan));
        if !by_default || self.texts.is_partial {
            return;
        }
        for (target, spot) in roster.grants.iter().flat_map(|grant| &grant.targets) {
            let meant = numbers(target);
            if !meant.is_empty() {
                self.note_extension(&target.to_string(), &meant, spot);
            }
        }
        for group in &roster.groups {
            let members = group
                .members
                .iter()
                .filter(|member| EMERGENCY_NUMBERS.contains(&user_of(member)));
            for member in members {
                self.note_extension(member, &[user_of(member)], &group.spot);
            }
        }
    }

    fn note_extension(&self, what: &str, numbers: &[&str], spot: &Spot) {
        let message = format!(
            "`{what}` means {}, which the default list has for emergencies",
            numbers.join(", ")
        );
        let finding = self
            .at(Code::EmergencyExtension, spot, message)
            .effect("calls there are never refused or ended, whatever a policy asks, and nor, for 24 h, calls back")
            .hint("where these are extensions write `emergency = [\"112\", …]` in the `[[dial_plan]]`, with the numbers that are not");
        self.note(finding);
    }
}

/// The emergency numbers that a grant speaks of: by name, or by a range of numbers as long as they are.
fn numbers(target: &Target) -> Vec<&'static str> {
    let is_meant = |number: &&str| match target {
        Target::User(key) => user_of(key) == *number,
        Target::Number(pattern) => {
            pattern.is_of_length(number.len()) && pattern.shape.of(number, false) == Some(*pattern)
        }
        Target::Group(_) | Target::Trunk(_) | Target::Global => false,
    };
    EMERGENCY_NUMBERS.into_iter().filter(is_meant).collect()
}

fn user_of(key: &str) -> &str {
    key.split_once('@').map_or(key, |(user, _)| user)
}
