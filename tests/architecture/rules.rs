//! The two tables of `docs/ARCHITECTURE.md`, and what breaks them.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Named, Target, named};
use super::source::Source;

/// Lines of one file, its test items not counted.
pub const LINES_MAX: usize = 450;

#[derive(Debug, Default, Eq, PartialEq)]
pub struct Rules {
    /// Room → what it may import: other rooms, or single names of them (`recorder::Frame`). `*` is everything.
    pub imports: BTreeMap<String, BTreeSet<String>>,
    /// Room → its row.
    pub rows: BTreeMap<String, u32>,
    /// Path of a foreign crate or of std → the modules that may name it.
    pub reserved: BTreeMap<String, BTreeSet<String>>,
}

impl Rules {
    /// Reads the tables whose header rows are `| row | module | may import |` and `| named only here | by |`.
    pub fn parse(page: &str) -> Self {
        let mut rules = Self::default();
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            let rows = |lines: &mut std::str::Lines<'_>| -> Vec<Vec<BTreeSet<String>>> {
                let body = lines.skip(1).take_while(|line| line.starts_with('|'));
                body.map(|line| line.split('|').skip(1).map(words).collect()).collect()
            };
            match cells(line).as_slice() {
                ["row", "module", "may import", ..] => {
                    for row in rows(&mut lines) {
                        let number = row[0].first().and_then(|number| number.parse().ok()).unwrap_or(0);
                        for room in &row[1] {
                            rules.rows.insert(room.clone(), number);
                            rules.imports.insert(room.clone(), row[2].clone());
                        }
                    }
                }
                ["named only here", "by", ..] => {
                    for row in rows(&mut lines) {
                        rules
                            .reserved
                            .extend(row[0].iter().map(|name| (name.clone(), row[1].clone())));
                    }
                }
                _ => {}
            }
        }
        rules
    }

    /// Everything in `sources` that breaks a rule, as `file:line: what`.
    pub fn findings(&self, sources: &[Source]) -> Vec<String> {
        let mut findings = self.steps_up();
        for source in sources {
            if source.lines > LINES_MAX {
                findings.push(format!(
                    "{}:1: {} lines without tests, at most {LINES_MAX}",
                    source.file, source.lines
                ));
            }
            findings.extend(short_cuts(source));
            findings.extend(named(source).iter().filter_map(|named| self.broken(source, named)));
        }
        findings.extend(self.unknown_rooms(sources));
        findings
    }

    /// Grants that do not lead to a lower row: without them, rooms cannot import each other in a circle.
    fn steps_up(&self) -> Vec<String> {
        let row = |room: &str| self.rows.get(room).copied();
        let mut findings = Vec::new();
        for (room, granted) in &self.imports {
            for name in granted.iter().filter(|name| *name != "*") {
                let target = name.split("::").next().unwrap_or_default();
                if row(target).is_none_or(|target| Some(target) >= row(room)) {
                    findings.push(format!(
                        "docs/ARCHITECTURE.md: {room} is granted `{name}`, which is in no lower row"
                    ));
                }
            }
        }
        findings
    }

    fn broken(&self, source: &Source, named: &Named) -> Option<String> {
        let at = format!("{}:{}", source.file, named.line);
        match &named.target {
            Target::Foreign(path) => {
                let path = path.join("::");
                let (reserved, by) = self
                    .reserved
                    .iter()
                    .find(|(reserved, _)| starts_with(&path, reserved))?;
                let here = source.module.join("::");
                let allowed = by.iter().any(|module| starts_with(&here, module));
                (!allowed).then(|| format!("{at}: `{reserved}` is named only in {}", list(by)))
            }
            Target::Here(path) => {
                let room = source.module.first()?;
                let target = path
                    .first()
                    .filter(|target| *target != room && self.imports.contains_key(*target))?;
                let allowed = self.imports.get(room)?;
                let name = path.iter().take(2).cloned().collect::<Vec<_>>().join("::");
                let fine = ["*", target, &name].iter().any(|granted| allowed.contains(*granted));
                (!fine).then(|| format!("{at}: {room} must not import `{name}`, only {}", list(allowed)))
            }
        }
    }

    fn unknown_rooms(&self, sources: &[Source]) -> Vec<String> {
        let unknown = |source: &&Source| {
            source
                .module
                .first()
                .is_some_and(|room| !self.imports.contains_key(room))
        };
        sources
            .iter()
            .filter(unknown)
            .map(|source| format!("{}:1: its room has no row", source.file))
            .collect()
    }
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// `a, b::C` of one cell; `–` means nothing.
fn words(cell: &str) -> BTreeSet<String> {
    let words = cell.split(',').map(|word| word.trim().trim_matches('`'));
    words
        .filter(|word| !word.is_empty() && *word != "–")
        .map(str::to_owned)
        .collect()
}

fn list(words: &BTreeSet<String>) -> String {
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.iter().cloned().collect::<Vec<_>>().join(", ")
    }
}

/// `path` is `prefix` or something inside it.
fn starts_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// `.unwrap()` and the macros that give up.
fn short_cuts(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let next_is = |ahead: usize, mark| source.tokens.get(at + ahead).is_some_and(|t| t.is(mark));
        let unwraps = token.is('.')
            && source.tokens.get(at + 1).is_some_and(|t| t.is_ident("unwrap"))
            && next_is(2, '(')
            && next_is(3, ')');
        let gives_up = ["panic", "todo", "unimplemented"]
            .iter()
            .any(|name| token.is_ident(name))
            && next_is(1, '!');
        if unwraps || gives_up {
            findings.push(format!(
                "{}:{}: unwrap, panic!, todo! or unimplemented! outside tests",
                source.file, token.line
            ));
        }
    }
    findings
}
