//! A file's text, its lines, and how a line is shown: escaped, cut, and without secrets.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Write as _;
use std::ops::Range;

use super::finding::{FINDINGS_MAX, Place};

/// A file as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceFile {
    /// As messages name it, like `policies/trading-desk.toml`.
    pub path: String,
    pub text: String,
}

impl SourceFile {
    /// The last part of the path, as the trail names it.
    pub fn name(&self) -> &str {
        self.path.rsplit(['/', '\\']).next().unwrap_or(&self.path)
    }
}

/// Snippets longer than this are cut around the mark.
const SNIPPET_CHARS_MAX: usize = 120;
/// Longer lines are not shown at all, nor searched for secrets.
const LINE_BYTES_MAX: usize = 4_096;
/// A line whose text has one of these words may hold a secret.
const SECRET_WORDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "private",
    "api_key",
    "pin",
];
/// How far back a name may stand that makes a line secret: a value may span lines.
const SECRET_LINES_BACK: usize = 40;

/// A file's text with the starts of its lines.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    /// How many places have been shown: more than can be listed are told by their line alone.
    places: Cell<usize>,
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a SourceFile) -> Self {
        let newlines = file
            .text
            .bytes()
            .enumerate()
            .filter(|(_, c)| *c == b'\n')
            .map(|(i, _)| i + 1);
        let starts = std::iter::once(0).chain(newlines).collect();
        Self {
            path: &file.path,
            name: file.name(),
            text: &file.text,
            places: Cell::new(0),
            starts,
        }
    }

    /// The line of a byte offset, from 1.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    fn line(&self, number: usize) -> &'a str {
        let start = number
            .checked_sub(1)
            .and_then(|i| self.starts.get(i))
            .copied()
            .unwrap_or(self.text.len());
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        self.text
            .get(start..end)
            .unwrap_or_default()
            .trim_end_matches(['\n', '\r'])
    }

    /// Where a span is, and how to show it. Spans past the end or inside a character are moved to what is there.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let start = floor_char(self.text, span.start);
        let number = self.line_of(start);
        self.places.set(self.places.get() + 1);
        if self.places.get() > 2 * FINDINGS_MAX {
            let (file, line, column) = (escaped(self.path), number, 1);
            return Place {
                file,
                line,
                column,
                snippet: String::new(),
                mark: (0, 1),
            };
        }
        let line_start = self.starts.get(number - 1).copied().unwrap_or(0);
        let line = self.line(number);
        let within = floor_char(line, start.saturating_sub(line_start));
        let end = floor_char(line, span.end.saturating_sub(line_start).max(within));
        let column = line.get(..within).unwrap_or_default().chars().count() + 1;
        if line.len() > LINE_BYTES_MAX {
            let snippet = format!("(a line of {} bytes)", line.len());
            return Place {
                file: escaped(self.path),
                line: number,
                column,
                snippet,
                mark: (0, 1),
            };
        }
        let shown = if self.may_be_secret(number) {
            masked(line)
        } else {
            Cow::Borrowed(line)
        };
        let is_masked = matches!(shown, Cow::Owned(_));
        let (snippet, mark) = if is_masked {
            // Positions moved: mark the line's first word, never what stood where the secret was.
            let name = shown.split(['=', ' ']).next().unwrap_or_default().chars().count();
            window(&shown, 0, name.max(1))
        } else {
            let width = line.get(within..end).unwrap_or_default().chars().count();
            window(line, column - 1, width.max(1))
        };
        Place {
            file: escaped(self.path),
            line: number,
            column,
            snippet,
            mark,
        }
    }

    /// Whether the line, or the assignment that it continues, names something secret.
    fn may_be_secret(&self, number: usize) -> bool {
        if is_secret(self.line(number)) {
            return true;
        }
        (number.saturating_sub(SECRET_LINES_BACK).max(1)..number)
            .rev()
            .map(|n| self.line(n))
            .take_while(|line| !line.trim_start().starts_with('['))
            .any(|line| {
                is_secret(line) && (line.contains("\"\"\"") || line.contains("'''") || line.trim_end().ends_with('['))
            })
    }
}

/// Whether a name or a line speaks of a secret.
pub(crate) fn is_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            // `pin` and `private` as words of their own: not in `mapping`.
            let before = text.get(..at).and_then(|t| t.chars().next_back());
            let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
            word.len() > 4 || !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        })
    })
}

/// A line without its values: what follows the first `=`, or all of it.
fn masked(line: &str) -> Cow<'_, str> {
    match line.split_once('=') {
        Some((name, _)) => Cow::Owned(format!("{name}= (hidden)")),
        None => Cow::Owned("(hidden)".to_owned()),
    }
}

/// The part of a line around a mark, escaped, and the mark's place in it.
fn window(line: &str, mark: usize, width: usize) -> (String, (usize, usize)) {
    let total = line.chars().count();
    let first = if total <= SNIPPET_CHARS_MAX {
        0
    } else {
        mark.saturating_sub(SNIPPET_CHARS_MAX / 3)
            .min(total.saturating_sub(SNIPPET_CHARS_MAX))
    };
    let mut snippet = String::new();
    let (mut start, mut end) = (0, 0);
    let mut column = 0;
    if first > 0 {
        snippet.push('…');
        column = 1;
    }
    let mut piece = String::new();
    for (i, c) in line.chars().enumerate().skip(first).take(SNIPPET_CHARS_MAX) {
        if i == mark {
            start = column;
        }
        piece.clear();
        escape_into(c, &mut piece);
        snippet.push_str(&piece);
        column += piece.chars().count();
        if i >= mark && i < mark.saturating_add(width) {
            end = column;
        }
    }
    if mark >= total {
        start = column;
    }
    if first + SNIPPET_CHARS_MAX < total {
        snippet.push('…');
    }
    (snippet, (start, end.saturating_sub(start).max(1)))
}

/// Text that a terminal may show: control characters, and those that turn the direction of writing, are spelled out.
pub(crate) fn escaped(text: &str) -> String {
    if text.bytes().all(|c| (b' '..0x7f).contains(&c)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        escape_into(c, &mut out);
    }
    out
}

fn escape_into(c: char, out: &mut String) {
    match c {
        '\t' => out.push(' '),
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c if c.is_control() => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// The greatest boundary of a character that is not past `at`.
fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
