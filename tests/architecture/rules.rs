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
                        rules
                            .imports
                            .extend(row[1].iter().map(|room| (room.clone(), row[2].clone())));
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
        let modules: BTreeSet<&[String]> = sources.iter().map(|source| source.module.as_slice()).collect();
        let mut findings = Vec::new();
        let mut edges = Edges::default();
        for source in sources {
            if source.lines > LINES_MAX {
                findings.push(format!(
                    "{}:1: {} lines without tests, at most {LINES_MAX}",
                    source.file, source.lines
                ));
            }
            findings.extend(short_cuts(source));
            for named in named(source) {
                findings.extend(self.broken(source, &named));
                edges.insert(source, &named, &modules);
            }
        }
        findings.extend(self.unknown_rooms(sources));
        findings.extend(edges.cycles());
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

/// Who names whom: rooms, and within a room its direct children.
#[derive(Default)]
struct Edges(BTreeMap<Vec<String>, BTreeMap<Vec<String>, String>>);

impl Edges {
    fn insert(&mut self, source: &Source, named: &Named, modules: &BTreeSet<&[String]>) {
        let Target::Here(path) = &named.target else { return };
        let mut module = path.as_slice();
        while !modules.contains(module) && !module.is_empty() {
            module = &module[..module.len() - 1];
        }
        let shared = source.module.iter().zip(module).take_while(|(a, b)| a == b).count();
        if shared >= source.module.len() || shared >= module.len() || shared > 1 {
            return;
        }
        let at = format!("{}:{}", source.file, named.line);
        let from = source.module[..=shared].to_vec();
        self.0
            .entry(from)
            .or_default()
            .entry(module[..=shared].to_vec())
            .or_insert(at);
    }

    fn cycles(&self) -> Vec<String> {
        let mut done = BTreeSet::new();
        let mut findings = Vec::new();
        for start in self.0.keys() {
            self.visit(start, &mut Vec::new(), &mut done, &mut findings);
        }
        findings
    }

    fn visit(
        &self,
        node: &Vec<String>,
        trail: &mut Vec<Vec<String>>,
        done: &mut BTreeSet<Vec<String>>,
        findings: &mut Vec<String>,
    ) {
        if let Some(from) = trail.iter().position(|seen| seen == node) {
            let mut names: Vec<String> = trail[from..].iter().map(|module| module.join("::")).collect();
            names.push(node.join("::"));
            let last = trail
                .last()
                .and_then(|last| self.0.get(last))
                .and_then(|to| to.get(node));
            let at = last.map_or("src", String::as_str);
            findings.push(format!(
                "{at}: modules import each other in a circle: {}",
                names.join(" → ")
            ));
            return;
        }
        if done.contains(node) {
            return;
        }
        trail.push(node.clone());
        for next in self.0.get(node).into_iter().flat_map(BTreeMap::keys) {
            self.visit(next, trail, done, findings);
        }
        trail.pop();
        done.insert(node.clone());
    }
}
