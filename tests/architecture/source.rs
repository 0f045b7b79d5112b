//! Reads Rust source far enough to know which paths it names: tokens without comments, literals and test items.

use std::ops::Range;

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    Ident(String),
    /// `::` is one token; every other mark is itself.
    Mark(char),
    PathSeparator,
    Literal,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
}

impl Token {
    pub fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub fn is_ident(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Ident(ident) if ident == name)
    }

    pub fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(ident) => Some(ident),
            _ => None,
        }
    }
}

/// One file, without its tests.
#[derive(Debug)]
pub struct Source {
    /// As printed in findings.
    pub file: String,
    /// `["sip", "transaction", "key"]`; empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    pub tokens: Vec<Token>,
    /// Lines that belong to no test item.
    pub lines: usize,
    /// Modules declared as `#[cfg(test)] mod x;`: their files are tests too.
    pub test_modules: Vec<String>,
}

impl Source {
    pub fn read(file: &str, module: Vec<String>, text: &str) -> Self {
        let mut tokens = tokens(text);
        let mut test_lines = 0;
        let mut test_modules = Vec::new();
        while let Some(range) = test_item(&tokens) {
            let item = &tokens[range.clone()];
            test_lines += item[item.len() - 1].line - item[0].line + 1;
            if let [.., module, name, end] = item
                && module.is_ident("mod")
                && end.is(';')
            {
                test_modules.extend(name.ident().map(str::to_owned));
            }
            tokens.drain(range);
        }
        let lines = text.lines().count() - test_lines;
        Self {
            file: file.to_owned(),
            module,
            tokens,
            lines,
            test_modules,
        }
    }
}

/// The first item under `#[cfg(test)]` or `#[cfg(all(test, …))]`, from its first attribute to its last token.
fn test_item(tokens: &[Token]) -> Option<Range<usize>> {
    let is_test = |at: usize| {
        let names: Vec<&str> = tokens[at..].iter().take(8).filter_map(Token::ident).collect();
        tokens[at].is('#')
            && tokens.get(at + 1).is_some_and(|t| t.is('['))
            && (names.starts_with(&["cfg", "test"]) || names.starts_with(&["cfg", "all", "test"]))
    };
    let start = (0..tokens.len()).find(|at| is_test(*at))?;
    let mut at = start;
    while tokens.get(at).is_some_and(|t| t.is('#')) {
        at = closing(tokens, at + 1) + 1;
    }
    while at < tokens.len() && !tokens[at].is(';') && !tokens[at].is('{') {
        at = if tokens[at].is('(') || tokens[at].is('[') {
            closing(tokens, at) + 1
        } else {
            at + 1
        };
    }
    let end = if tokens.get(at).is_some_and(|t| t.is('{')) {
        closing(tokens, at)
    } else {
        at
    };
    Some(start..(end + 1).min(tokens.len()))
}

/// Where the bracket that opens at `open` closes; the last token if it does not.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len().saturating_sub(1)
}

pub fn tokens(text: &str) -> Vec<Token> {
    let mut scanner = Scanner {
        text: text.as_bytes(),
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(token) = scanner.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn advance(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.text.len());
        self.line += self.text[self.at..end].iter().filter(|c| **c == b'\n').count();
        self.at = end;
    }

    fn next_token(&mut self) -> Option<Token> {
        self.skip_blank_and_comments();
        let line = self.line;
        let first = *self.text.get(self.at)?;
        let kind = match first {
            b'"' => self.quoted(b'"'),
            b'\'' if self.peek(1) == b'\\' || self.char_ends() => self.quoted(b'\''),
            b'\'' => {
                self.advance(1);
                self.word();
                Kind::Literal
            }
            c if c.is_ascii_digit() => {
                self.word();
                Kind::Literal
            }
            c if is_word(c) => self.ident_or_prefixed_literal(),
            b':' if self.peek(1) == b':' => {
                self.advance(2);
                Kind::PathSeparator
            }
            c => {
                self.advance(1);
                Kind::Mark(char::from(c))
            }
        };
        Some(Token { kind, line })
    }

    fn skip_blank_and_comments(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'/') => {
                    while self.at < self.text.len() && self.peek(0) != b'\n' {
                        self.advance(1);
                    }
                }
                (b'/', b'*') => self.skip_block_comment(),
                (c, _) if c.is_ascii_whitespace() => self.advance(1),
                _ => return,
            }
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.advance(2);
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.advance(2);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.advance(1),
            }
        }
    }

    /// A character literal and not a lifetime: one character (of one to four bytes), then the closing quote.
    fn char_ends(&self) -> bool {
        let first = self.peek(1);
        let width = match first {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            _ => 4,
        };
        self.peek(1 + width) == b'\''
    }

    fn quoted(&mut self, quote: u8) -> Kind {
        self.advance(1);
        while self.at < self.text.len() && self.peek(0) != quote {
            self.advance(if self.peek(0) == b'\\' { 2 } else { 1 });
        }
        self.advance(1);
        Kind::Literal
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while is_word(self.peek(0)) {
            self.advance(1);
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    /// `name`, `r#name`, `"…"` with a prefix of b, c or r, and raw strings with any number of hashes.
    fn ident_or_prefixed_literal(&mut self) -> Kind {
        let word = self.word();
        let is_prefix = matches!(word.as_str(), "b" | "c" | "r" | "br" | "cr");
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == b'#').count();
        if is_prefix && word.ends_with('r') && self.peek(hashes) == b'"' {
            return self.raw_string(hashes);
        }
        if word == "r" && hashes == 1 {
            self.advance(1);
            return Kind::Ident(self.word());
        }
        match self.peek(0) {
            b'"' if is_prefix => self.quoted(b'"'),
            b'\'' if word == "b" => self.quoted(b'\''),
            _ => Kind::Ident(word),
        }
    }

    fn raw_string(&mut self, hashes: usize) -> Kind {
        self.advance(hashes + 1);
        let is_end = |scanner: &Self| scanner.peek(0) == b'"' && (1..=hashes).all(|ahead| scanner.peek(ahead) == b'#');
        while self.at < self.text.len() && !is_end(self) {
            self.advance(1);
        }
        self.advance(hashes + 1);
        Kind::Literal
    }
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c >= 0x80
}
