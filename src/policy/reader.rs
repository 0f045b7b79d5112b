//! Walks a TOML tree and notes everything that is wrong with it, each with its place. Serde would stop at the first.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::{Code, Finding, Findings};
use super::source::{Source, escaped, is_secret};
use super::{scalar, suggest};

/// Broken text is reported at so many places; the rest mostly follows from those.
const SYNTAX_FINDINGS_MAX: usize = 10;
/// Longer values are cut in messages.
const SHOWN_CHARS_MAX: usize = 80;

/// What reading one file shares: its text and the findings.
pub(crate) struct Reading<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) findings: &'a RefCell<Findings>,
}

/// One table of the file, and which of its fields were asked for.
pub(crate) struct Table<'a> {
    reading: &'a Reading<'a>,
    entries: &'a DeTable<'a>,
    span: Range<usize>,
    /// What its fields are called in messages, like `a recorder field`.
    noun: &'static str,
    asked: RefCell<Vec<&'static str>>,
}

/// One of a list that may hold either.
pub(crate) enum Element<'a> {
    Text(Spanned<&'a str>),
    Table(Table<'a>),
}

/// The words of a choice with what each means.
pub(crate) type Words<T> = [(&'static str, T)];

/// Parses the text; none if it is not TOML, which is then noted.
pub(crate) fn parse<'a>(source: &Source<'a>, findings: &RefCell<Findings>) -> Option<Spanned<DeTable<'a>>> {
    let (document, errors) = DeTable::parse_recoverable(source.text);
    if errors.is_empty() {
        return Some(document);
    }
    let mut lines = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let line = source.line_of(span.start);
        if lines.len() >= SYNTAX_FINDINGS_MAX || lines.contains(&line) {
            continue;
        }
        lines.push(line);
        let finding = Finding::at(Code::Syntax, source, &span, "this is not TOML".to_owned())
            .label(shown(error.message()))
            .effect("nothing of this file can be read");
        findings.borrow_mut().push(finding);
    }
    None
}

impl<'a> Reading<'a> {
    pub(crate) fn note(&self, finding: Finding) {
        self.findings.borrow_mut().push(finding);
    }

    pub(crate) fn at(&self, code: Code, span: &Range<usize>, message: impl Into<String>) -> Finding {
        Finding::at(code, self.source, span, message.into())
    }

    pub(crate) fn root(&'a self, document: &'a Spanned<DeTable<'a>>) -> Table<'a> {
        // The document's own span is all of it: findings about it point at its first line.
        Table::new(self, document.get_ref(), 0..0, "known here")
    }
}

impl<'a> Table<'a> {
    fn new(reading: &'a Reading<'a>, entries: &'a DeTable<'a>, span: Range<usize>, noun: &'static str) -> Self {
        Self {
            reading,
            entries,
            span,
            noun,
            asked: RefCell::default(),
        }
    }

    /// Where the table's header or braces are.
    pub(crate) fn span(&self) -> &Range<usize> {
        &self.span
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where a field's name is; the table's own place if there is no such field.
    pub(crate) fn key_span(&self, key: &str) -> Range<usize> {
        self.entries
            .get_key_value(key)
            .map_or_else(|| self.span.clone(), |(k, _)| k.span())
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.entries.get(key)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{key}` must be {wanted}");
        self.reading.note(
            self.reading
                .at(Code::WrongType, &value.span(), message)
                .label(format!("this is {}", article(found))),
        );
    }

    fn missing(&self, key: &'static str, wanted: &str) {
        let message = format!("`{key}` is missing");
        let finding = self
            .reading
            .at(Code::Missing, &self.span, message)
            .label(format!("needs `{key}`, {wanted}"));
        self.reading.note(finding);
    }

    pub(crate) fn malformed(&self, key: &str, span: &Range<usize>, value: &str, wanted: &str) {
        let value = if is_secret(key) {
            "(hidden)".to_owned()
        } else {
            shown(value)
        };
        let message = format!("`{key}` cannot be `{value}`");
        self.reading
            .note(self.reading.at(Code::Malformed, span, message).label(wanted.to_owned()));
    }

    pub(crate) fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(key, value, "`true` or `false`");
        }
        found
    }

    /// A value of the field that was understood and is out of range, as it is written.
    pub(crate) fn out_of_range(&self, key: &'static str, span: &Range<usize>, wanted: &str) {
        let written = self.entries.get(key).and_then(|value| value.get_ref().as_str());
        self.malformed(key, span, written.unwrap_or_default(), wanted);
    }

    pub(crate) fn integer(&self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<Spanned<i64>> {
        let value = self.value(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Some(Spanned::new(value.span(), number)),
            _ => {
                let wanted = format!("a whole number from {} to {}", range.start(), range.end());
                self.malformed(key, &value.span(), integer.as_str(), &wanted);
                None
            }
        }
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<Spanned<&'a str>> {
        let value = self.value(key)?;
        let found = value.get_ref().as_str();
        if found.is_none() {
            self.wrong_type(key, value, "text in quotes");
        }
        found.map(|text| Spanned::new(value.span(), text))
    }

    /// Whether the field is there and is text.
    pub(crate) fn text_is(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// Text that must be there and not be empty.
    pub(crate) fn required_text(&self, key: &'static str, wanted: &str) -> Option<Spanned<&'a str>> {
        if !self.has(key) {
            self.asked.borrow_mut().push(key);
            self.missing(key, wanted);
            return None;
        }
        let text = self.text(key)?;
        if text.get_ref().trim().is_empty() {
            self.malformed(key, &text.span(), text.get_ref(), wanted);
            return None;
        }
        Some(text)
    }

    /// A list of text. Elements of another type are noted and left out.
    pub(crate) fn texts(&self, key: &'static str) -> Option<Vec<Spanned<&'a str>>> {
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of texts in quotes");
            return None;
        };
        let text = |element: &'a Spanned<DeValue<'a>>| {
            let text = element.get_ref().as_str();
            if text.is_none() {
                self.wrong_type(key, element, "a list of texts in quotes");
            }
            text.map(|text| Spanned::new(element.span(), text))
        };
        Some(array.iter().filter_map(text).collect())
    }

    /// A list of text and of tables, in order. Elements of another type are noted and left out.
    pub(crate) fn required_elements(
        &self,
        key: &'static str,
        noun: &'static str,
        wanted: &str,
    ) -> Option<Vec<Element<'a>>> {
        let list = "a list of texts in quotes, or of tables";
        let Some(value) = self.value(key) else {
            self.missing(key, wanted);
            return None;
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, list);
            return None;
        };
        let element = |element: &'a Spanned<DeValue<'a>>| match element.get_ref() {
            DeValue::String(text) => Some(Element::Text(Spanned::new(element.span(), text))),
            DeValue::Table(entries) => Some(Element::Table(Table::new(self.reading, entries, element.span(), noun))),
            _ => {
                self.wrong_type(key, element, list);
                None
            }
        };
        Some(array.iter().filter_map(element).collect())
    }

    pub(crate) fn required_texts(&self, key: &'static str, wanted: &str) -> Option<Vec<Spanned<&'a str>>> {
        if !self.has(key) {
            self.asked.borrow_mut().push(key);
            self.missing(key, wanted);
            return None;
        }
        self.texts(key)
    }

    /// Text that `read` understands.
    pub(crate) fn parsed<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let text = self.text(key)?;
        let parsed = read(text.get_ref());
        if parsed.is_none() {
            self.malformed(key, &text.span(), text.get_ref(), wanted);
        }
        parsed.map(|value| Spanned::new(text.span(), value))
    }

    pub(crate) fn duration(&self, key: &'static str) -> Option<Spanned<Duration>> {
        self.parsed(
            key,
            "a duration, like \"250ms\", \"1s\", \"30d\" or \"7y\"",
            scalar::duration,
        )
    }

    /// One of some words.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, words: &Words<T>) -> Option<Spanned<T>> {
        let text = self.text(key)?;
        let chosen = self.word(key, &text, words)?;
        Some(Spanned::new(text.span(), chosen))
    }

    /// A list of some words.
    pub(crate) fn choices<T: Copy>(&self, key: &'static str, words: &Words<T>) -> Option<Vec<T>> {
        let texts = self.texts(key)?;
        Some(texts.iter().filter_map(|text| self.word(key, text, words)).collect())
    }

    fn word<T: Copy>(&self, key: &str, text: &Spanned<&str>, words: &Words<T>) -> Option<T> {
        if let Some((_, meaning)) = words.iter().find(|(word, _)| word == text.get_ref()) {
            return Some(*meaning);
        }
        let list: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let meant = suggest::nearest(text.get_ref(), words.iter().map(|(word, _)| *word));
        let message = format!("`{key}` cannot be `{}`", shown(text.get_ref()));
        let finding = self
            .reading
            .at(Code::NotAllowed, &text.span(), message)
            .label(format!("one of {}", list.join(", ")));
        self.reading
            .note(finding.maybe_hint(meant.map(|word| format!("did you mean `{word}`?"))));
        None
    }

    pub(crate) fn table(&self, key: &'static str, noun: &'static str) -> Option<Table<'a>> {
        let value = self.value(key)?;
        let Some(entries) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a table");
            return None;
        };
        Some(Table::new(self.reading, entries, self.header(key, value), noun))
    }

    /// An array of tables; one table alone counts as the only one.
    pub(crate) fn tables(&self, key: &'static str, noun: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let message = format!("`{key}` must be an array of tables");
            let finding = self.reading.at(Code::WrongType, &self.header(key, value), message);
            self.reading
                .note(finding.hint(format!("write the header in double brackets: `[[…{key}]]`")));
            return Vec::new();
        };
        let table = |element: &'a Spanned<DeValue<'a>>| {
            let Some(entries) = element.get_ref().as_table() else {
                self.wrong_type(key, element, "an array of tables");
                return None;
            };
            Some(Table::new(self.reading, entries, element.span(), noun))
        };
        array.iter().filter_map(table).collect()
    }

    fn header(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Range<usize> {
        let span = value.span();
        if span.is_empty() { self.key_span(key) } else { span }
    }

    /// Notes every field that nobody asked for.
    pub(crate) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.entries.iter() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            if self.reading.findings.borrow().is_full() {
                return;
            }
            let meant = suggest::nearest(name, asked.iter().copied().filter(|known| !self.has(known)));
            let mut finding = self
                .reading
                .at(
                    Code::UnknownField,
                    &key.span(),
                    format!("unknown field `{}`", shown(name)),
                )
                .label(format!("not {}", self.noun))
                .maybe_hint(Some(match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known fields: {}", asked.join(", ")),
                }));
            if let Some(effect) = meant.and_then(default_effect) {
                finding = finding.effect(effect);
            }
            self.reading.note(finding);
        }
    }

    pub(crate) fn note(&self, finding: Finding) {
        self.reading.note(finding);
    }

    pub(crate) fn at(&self, code: Code, span: &Range<usize>, message: impl Into<String>) -> Finding {
        self.reading.at(code, span, message)
    }

    pub(crate) fn line_of(&self, span: &Range<usize>) -> usize {
        self.reading.source.line_of(span.start)
    }
}

/// What happens to calls when a misspelt field keeps its default.
fn default_effect(field: &str) -> Option<&'static str> {
    Some(match field {
        "required_before_call_establishment" => {
            "the default (true) applies: calls are refused while the recorder is down"
        }
        "required_during_call" => "the default (true) applies: calls end when their recording fails",
        "required_before_meeting_join" => {
            "the default (true) applies: nobody joins a meeting while the recorder is down"
        }
        "required_during_meeting" => {
            "the default (true) applies: who is recorded leaves a meeting when recording fails"
        }
        "enabled" => "the default (false) applies: the policy records nothing",
        "record_rerouted_calls" => "the default (false) applies: forwarded and transferred calls are not recorded",
        _ => return None,
    })
}

/// A value as messages show it.
pub(crate) fn shown(value: &str) -> String {
    let text = escaped(value);
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text;
    }
    text.chars().take(SHOWN_CHARS_MAX).chain(['…']).collect()
}

fn article(noun: &str) -> String {
    let an = noun.starts_with(['a', 'i', 'o', 'e']);
    format!("{} {noun}", if an { "an" } else { "a" })
}
