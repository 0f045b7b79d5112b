//! How many of the dialogs came to each place that is worth coming to.

use std::collections::{BTreeMap, BTreeSet};

/// What a slice has to meet at least once.
pub const MUST_HAVES: &[&str] = &[];

#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn add(&mut self, seen: &BTreeSet<&'static str>) {
        for what in seen {
            *self.0.entry(what).or_default() += 1;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted
            .iter()
            .copied()
            .filter(|what| !self.0.contains_key(what))
            .collect()
    }

    pub fn table(&self, dialogs: u64) -> String {
        let lines = self.0.iter().map(|(what, count)| format!("{count:9}  {what}\n"));
        format!(
            "{dialogs} dialogs, and how many of them met\n{}",
            lines.collect::<String>()
        )
    }
}
