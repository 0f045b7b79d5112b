//! The calls of an archive, a row each: sealed, being recorded, damaged, or missing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::disk::{Layout, Stray, Unreadable};
use crate::model::{Header, Outcome, SessionId};
use crate::recorder::{Entry, File, Joins, Query, SpoolError, partial_opening, survey};

use super::archive::{self, CallError};

/// What a row can say of its call.
pub(super) const OUTCOMES: [&str; 9] = [
    "recorded",
    "faulted",
    "blocked",
    "exempt",
    "unrecorded",
    "no_media",
    "recording",
    "damaged",
    "missing",
];

#[derive(Debug)]
pub(super) struct Row {
    pub entry: Entry,
    state: State,
}

#[derive(Debug)]
enum State {
    Sealed(PathBuf),
    /// It is being recorded, or a crash left it and the next start will seal it.
    Open,
    /// `known`: the catalog tells the facts that the file does not.
    Damaged {
        path: PathBuf,
        error: String,
        known: bool,
    },
    Missing(PathBuf),
}

/// Every call there is, and what else lies among the sealed ones.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub rows: Vec<Row>,
    pub strays: Vec<(PathBuf, Stray)>,
    pub joins: Joins,
}

impl Row {
    pub(super) fn outcome(&self) -> &'static str {
        match &self.state {
            State::Sealed(_) => self.entry.outcome.as_str(),
            State::Open => "recording",
            State::Damaged { .. } => "damaged",
            State::Missing(_) => "missing",
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        matches!(self.state, State::Sealed(_) | State::Open)
    }

    pub(super) fn error(&self) -> Option<&str> {
        match &self.state {
            State::Sealed(_) | State::Open => None,
            State::Damaged { error, .. } => Some(error),
            State::Missing(_) => Some(archive::MISSING),
        }
    }

    /// Whose facts nobody knows may be anybody's.
    pub(super) fn matches(&self, query: &Query) -> bool {
        let party = match &self.state {
            State::Damaged { known: false, .. } => None,
            _ => query.party.clone(),
        };
        let query = Query { party, ..query.clone() };
        query.matches(&self.entry)
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::json!(self.entry);
        value["outcome"] = self.outcome().into();
        value["conversation"] = serde_json::json!(self.entry.conversation());
        value["path"] = match &self.state {
            State::Open => serde_json::Value::Null,
            State::Sealed(path) | State::Damaged { path, .. } | State::Missing(path) => serde_json::json!(path),
        };
        if let Some(error) = self.error() {
            value["error"] = error.into();
        }
        value
    }
}

/// Every call, oldest first. The files decide; the catalog only saves reading them, and tells which have gone.
pub(super) fn rows(layout: &Layout) -> Result<Rows, Unreadable> {
    // In this order: what is sealed while we look is neither missing nor twice here.
    let mut catalog = archive::catalog(layout)?;
    let open = open_calls(layout)?;
    let sealed = layout.sealed()?;
    let mut rows = Vec::new();
    for (id, header) in open {
        if !sealed.calls.contains_key(&id) && !catalog.contains_key(&id) {
            rows.push(Row {
                entry: bare_entry(id, header.as_deref()),
                state: State::Open,
            });
        }
    }
    for (id, path) in sealed.calls {
        rows.push(sealed_row(layout, id, path, catalog.remove(&id)));
    }
    for (id, entry) in catalog {
        let state = State::Missing(layout.path(File::Sealed(id)));
        rows.push(Row { entry, state });
    }
    rows.sort_by_key(|row| (row.entry.started, row.entry.id));
    let joins = Joins::of(rows.iter().map(|row| &row.entry));
    rows.iter_mut().for_each(|row| joins.rename(&mut row.entry));
    let strays = sealed.strays;
    Ok(Rows { rows, strays, joins })
}

fn sealed_row(layout: &Layout, id: SessionId, path: PathBuf, entry: Option<Entry>) -> Row {
    let read: Result<Entry, CallError> = match &entry {
        Some(entry) => archive::peek(layout, id).map(|()| entry.clone()),
        None => archive::open(layout, id).map(|call| Entry::from(call.manifest())),
    };
    match read {
        Ok(entry) => Row {
            entry,
            state: State::Sealed(path),
        },
        Err(error) => Row {
            state: State::Damaged {
                path,
                error: error.what(),
                known: entry.is_some(),
            },
            entry: entry.unwrap_or_else(|| bare_entry(id, None)),
        },
    }
}

/// Calls in the spool, by their opening records: of those there are no more than of segments being written.
pub(super) fn open_calls(layout: &Layout) -> Result<BTreeMap<SessionId, Option<Box<Header>>>, Unreadable> {
    let mut calls: BTreeMap<SessionId, Option<Box<Header>>> = BTreeMap::new();
    for path in layout.segments()? {
        let Some(file) = archive::open_fleeting(&path)? else {
            continue;
        };
        let survey = match survey(file) {
            Ok(survey) => survey,
            // Made, and not yet written to.
            Err(SpoolError::NotASegment) => continue,
            Err(SpoolError::Store(error)) => {
                let error = std::io::Error::other(error);
                return Err(Unreadable { path, error });
            }
        };
        for (id, call) in survey.calls {
            let header = calls.entry(id).or_default();
            *header = header.take().or(call.header);
        }
    }
    for (id, path) in layout.partial_files()? {
        let header = calls.entry(id).or_default();
        if let (None, Some(file)) = (&header, archive::open_fleeting(&path)?) {
            *header = partial_opening(file);
        }
    }
    Ok(calls)
}

/// Of a call that has no manifest.
pub(super) fn bare_entry(id: SessionId, header: Option<&Header>) -> Entry {
    Entry {
        id,
        conversation: header.and_then(|h| h.conversation),
        joined: Vec::new(),
        call_ids: header.map(|h| h.call_ids.clone()).unwrap_or_default(),
        from: header.map(|h| h.caller.identity.clone()).unwrap_or_default(),
        to: header.map(|h| h.callee.identity.clone()).unwrap_or_default(),
        others: Vec::new(),
        started: header.map_or_else(|| id.minted_at(), |h| h.started),
        duration_ms: 0,
        outcome: Outcome::Faulted,
        encryption: None,
        policies: header.map(|h| h.policies.clone()).unwrap_or_default(),
        streams: Vec::new(),
        accepted: 0,
        stored: 0,
        recovered: false,
        paused_ms: 0,
        consents: Vec::new(),
        left_out: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;
    use crate::disk::tests::{SESSION, disk, record};

    fn layout(data: &Path) -> Layout {
        archive::find(data, &[]).unwrap()
    }

    fn values(data: &Path) -> Vec<serde_json::Value> {
        let found = rows(&layout(data)).unwrap();
        assert!(found.strays.is_empty());
        found.rows.iter().map(Row::to_json).collect()
    }

    #[test]
    fn a_sealed_call_is_listed_with_or_without_the_catalog() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let with = values(folder.path());
        assert_eq!(with[0]["id"], SESSION.to_string());
        assert_eq!(
            (&with[0]["outcome"], &with[0]["stored"]),
            (&"recorded".into(), &40.into())
        );
        std::fs::write(folder.path().join("catalog.jsonl"), "nonsense").unwrap();
        assert_eq!(values(folder.path()), with);
        std::fs::remove_file(folder.path().join("catalog.jsonl")).unwrap();
        assert_eq!(values(folder.path()), with);
    }

    #[test]
    fn a_call_that_is_not_sealed_is_listed_as_recording() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), false);
        let listed = values(folder.path());
        assert_eq!(
            (&listed[0]["outcome"], &listed[0]["path"]),
            (&"recording".into(), &serde_json::Value::Null)
        );
    }

    #[test]
    fn the_file_of_another_call_is_damaged_whatever_the_catalog_says() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let layout = layout(folder.path());
        let other = SessionId::from_u128(SESSION.as_u128() + 1);
        std::fs::rename(layout.path(File::Sealed(SESSION)), layout.path(File::Sealed(other))).unwrap();
        let catalog = layout.path(File::Catalog);
        let text = std::fs::read_to_string(&catalog).unwrap();
        for text in [text.replace(&SESSION.to_string(), &other.to_string()), String::new()] {
            std::fs::write(&catalog, text).unwrap();
            let rows = values(folder.path());
            let row = rows.iter().find(|row| row["id"] == other.to_string()).unwrap();
            assert_eq!(
                (&row["outcome"], &row["error"]),
                (&"damaged".into(), &format!("this is call {SESSION}").into())
            );
        }
    }

    #[test]
    fn a_damaged_call_is_a_row_and_may_be_anybodys_when_its_facts_are_lost() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        let path = layout(folder.path()).path(File::Sealed(SESSION));
        std::fs::write(&path, "short").unwrap();
        let alice = Query {
            party: Some("alice".into()),
            ..Query::default()
        };
        for known in [true, false] {
            let found = rows(&layout(folder.path())).unwrap();
            let row = &found.rows[0];
            assert_eq!((row.outcome(), row.error()), ("damaged", Some("cut off at byte 5")));
            assert!(!row.is_sound());
            assert_eq!(row.matches(&alice), !known);
            std::fs::write(folder.path().join("catalog.jsonl"), "").unwrap();
        }
    }

    #[test]
    fn a_call_whose_file_is_gone_is_missing_even_while_the_spool_has_it() {
        let folder = tempfile::tempdir().unwrap();
        record(&mut disk(folder.path()), true);
        std::fs::remove_file(layout(folder.path()).path(File::Sealed(SESSION))).unwrap();
        let listed = values(folder.path());
        assert_eq!(
            (&listed[0]["outcome"], &listed[0]["stored"]),
            (&"missing".into(), &40.into())
        );
        assert_eq!(listed.len(), 1);
    }
}
