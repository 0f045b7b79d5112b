//! The paths that a source names, and what each one leads to.

use std::collections::BTreeSet;

use super::source::{Kind, Source, Token, closing};

/// What a path leads to.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Target {
    /// Segments from the crate's root: `["sip", "Flow"]`.
    Here(Vec<String>),
    /// Segments with the foreign crate's name first: `["std", "fs", "File"]`.
    Foreign(Vec<String>),
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Named {
    pub target: Target,
    pub line: usize,
    /// The module that names it: the file's, or one written inside it.
    pub from: Vec<String>,
}

struct Path {
    segments: Vec<String>,
    /// It began with `::`.
    global: bool,
    line: usize,
    from: Vec<String>,
}

/// Every path that the source names, resolved. A path whose first name was brought in by a `use` or declared as a
/// module here is left out: that `use` is in the list itself.
pub fn named(source: &Source) -> Vec<Named> {
    let mut bound = BTreeSet::new();
    let mut paths = Vec::new();
    Walk {
        tokens: &source.tokens,
        module: source.module.clone(),
        bound: &mut bound,
        paths: &mut paths,
    }
    .run();
    paths.into_iter().filter_map(|path| resolve(path, &bound)).collect()
}

fn resolve(path: Path, bound: &BTreeSet<String>) -> Option<Named> {
    let Path {
        segments,
        global,
        line,
        from,
    } = path;
    let mut rest = segments.iter().map(String::as_str).peekable();
    let mut base = match *rest.peek()? {
        "crate" | "onrecord" => {
            rest.next();
            Vec::new()
        }
        "self" => {
            rest.next();
            from.clone()
        }
        "super" => from.clone(),
        first if !global && bound.contains(first) => return None,
        _ => {
            return Some(Named {
                target: Target::Foreign(segments),
                line,
                from,
            });
        }
    };
    while rest.next_if_eq(&"super").is_some() {
        base.pop();
    }
    base.extend(rest.map(str::to_owned));
    Some(Named {
        target: Target::Here(base),
        line,
        from,
    })
}

struct Walk<'a> {
    tokens: &'a [Token],
    module: Vec<String>,
    bound: &'a mut BTreeSet<String>,
    paths: &'a mut Vec<Path>,
}

impl Walk<'_> {
    fn run(mut self) {
        let mut inner_ends = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if inner_ends.last() == Some(&at) {
                inner_ends.pop();
                self.module.pop();
            }
            if self.tokens[at].is_ident("mod")
                && let Some(name) = self.tokens.get(at + 1).and_then(Token::ident)
            {
                self.bound.insert(name.to_owned());
                if self.tokens.get(at + 2).is_some_and(|t| t.is('{')) {
                    inner_ends.push(closing(self.tokens, at + 2));
                    self.module.push(name.to_owned());
                }
                at += 2;
            } else if self.tokens[at].is_ident("use") && self.starts_item(at) {
                at = self.tree(at + 1, &[], None, true);
            } else if self.starts_path(at) {
                at = self.tree(at, &[], None, false);
            } else {
                at += 1;
            }
        }
    }

    /// `use` as an item and not in `impl Trait + use<'a>`.
    fn starts_item(&self, at: usize) -> bool {
        !self.tokens.get(at + 1).is_some_and(|t| t.is('<'))
    }

    fn is_separator(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|t| t.kind == Kind::PathSeparator)
    }

    fn is_arrow(&self, at: usize) -> bool {
        self.tokens[at].is('>') && (self.tokens[at - 1].is('-') || self.tokens[at - 1].is('='))
    }

    fn starts_path(&self, at: usize) -> bool {
        if self.is_separator(at) {
            let closes_type = at > 1 && self.tokens[at - 1].is('>') && !self.is_arrow(at - 1);
            let continues = at > 0 && (self.tokens[at - 1].ident().is_some() || closes_type);
            return !continues && self.tokens.get(at + 1).is_some_and(|t| t.ident().is_some());
        }
        let continues = at > 0 && (self.is_separator(at - 1) || self.tokens[at - 1].is('.'));
        self.tokens[at].ident().is_some() && self.is_separator(at + 1) && !continues
    }

    /// Reads a path, or in a `use` a tree of them, from `at` on; the index after it.
    fn tree(&mut self, mut at: usize, prefix: &[String], global: Option<bool>, in_use: bool) -> usize {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(at).map_or(0, |t| t.line);
        let global = global.unwrap_or_else(|| self.is_separator(at));
        if self.is_separator(at) {
            at += 1;
        }
        loop {
            match self.tokens.get(at).map(|t| &t.kind) {
                Some(Kind::Ident(name)) => segments.push(name.clone()),
                Some(Kind::Mark('*')) if in_use => segments.push("*".to_owned()),
                Some(Kind::Mark('{')) if in_use => return self.group(at, &segments, global),
                _ => break,
            }
            at += 1;
            if !self.is_separator(at) {
                break;
            }
            at += 1;
        }
        if in_use {
            at = self.bind(at, &mut segments);
        }
        self.paths.push(Path {
            segments,
            global,
            line,
            from: self.module.clone(),
        });
        at
    }

    fn group(&mut self, open: usize, prefix: &[String], global: bool) -> usize {
        let end = closing(self.tokens, open);
        let mut at = open + 1;
        while at < end {
            at = if self.tokens[at].is(',') {
                at + 1
            } else {
                self.tree(at, prefix, Some(global), true).max(at + 1)
            };
        }
        end + 1
    }

    /// Notes the name that a `use` brings in: its alias, or its last segment. A bare `use name;` brings in nothing new.
    fn bind(&mut self, at: usize, segments: &mut Vec<String>) -> usize {
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        if self.tokens.get(at).is_some_and(|t| t.is_ident("as")) {
            self.bound
                .extend(self.tokens.get(at + 1).and_then(Token::ident).map(str::to_owned));
            return at + 2;
        }
        if segments.len() > 1 {
            self.bound.extend(segments.last().cloned());
        }
        at
    }
}
