//! `carry` of a trunk: headers that cross from it and to it though no rule of ours lets them.

use std::sync::Arc;

use super::trunk::too_many;
use crate::policy::reader::Table;
use crate::trunk::Field;

/// Names that one trunk may list.
const NAMES_MAX: usize = 32;

/// Beside what belongs to a hop, a dialog or a body: what we write, decide, or settle with each neighbour.
const OURS: [&str; 14] = [
    "Flow-Timer",
    "Max-Breadth",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "P-Preferred-Service",
    "Proxy-Authenticate",
    "Remote-Party-ID",
    "Retry-After",
    "Security-Client",
    "Security-Server",
    "Security-Verify",
    "Unsupported",
    "WWW-Authenticate",
    "X-Recording-Decision",
];

pub(super) fn carry(table: &Table<'_>) -> Option<Arc<[String]>> {
    let texts = table.texts("carry")?;
    too_many(table, "carry", texts.len(), NAMES_MAX);
    let mut names = Vec::new();
    for text in texts.iter().take(NAMES_MAX) {
        let name = *text.get_ref();
        let is_ours = OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        match Field::parse(&format!("header:{name}")) {
            Ok(_) if !is_ours => names.push(name.to_owned()),
            _ => {
                let wanted = "the full name of a header that belongs to no hop, dialog or body and is not ours to write, \
                              like \"Cisco-Gucid\"";
                table.malformed("carry", &text.span(), name, wanted);
            }
        }
    }
    Some(names.into())
}
