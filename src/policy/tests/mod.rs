//! The whole room: text in, findings or decisions out.

#![allow(clippy::panic, clippy::unwrap_used)]

mod deciding;
mod emergency;
mod findings;
mod hostile;
mod merging;
mod vouched;

use super::{CallFacts, Decision, PolicySet, SourceFile};
use crate::model::Generation;

/// A policy of this id, strict, with nothing for the lint to say; `more` follows the table's first fields.
pub(super) fn policy(id: &str, more: &str) -> SourceFile {
    let text = format!(
        "[policy]\nid = \"{id}\"\nenabled = true\nrecord_rerouted_calls = true\n{more}\n\n[[policy.recorder]]\nid = \"embedded\"\n"
    );
    file(&format!("{id}.toml"), &text)
}

pub(super) fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        path: format!("policies/{name}"),
        text: text.to_owned(),
    }
}

pub(super) fn grants(text: &str) -> SourceFile {
    file("grants.toml", text)
}

/// Grants as `(policy, target)`, a line each.
pub(super) fn grant_lines(lines: &[(&str, &str)]) -> String {
    lines
        .iter()
        .map(|(policy, to)| format!("[[grant]]\npolicy = \"{policy}\"\nto = [\"{to}\"]\n"))
        .collect()
}

pub(super) fn compile(files: &[SourceFile]) -> PolicySet {
    PolicySet::compile(files, Generation(41)).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

pub(super) fn call(from: &str, to: &str) -> CallFacts {
    CallFacts {
        from: from.to_owned(),
        request_uri: to.to_owned(),
        to: to.to_owned(),
        ..CallFacts::default()
    }
}

pub(super) fn names(decision: &Decision) -> Vec<&str> {
    decision.policies.iter().map(|id| id.as_str()).collect()
}
