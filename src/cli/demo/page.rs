//! What the demo prints, as it happens, and what of it held.

use std::io::IsTerminal as _;

use serde::Serialize;

/// One claim, measured in this run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Check {
    pub ok: bool,
    pub what: String,
}

pub(super) struct Page {
    /// Nothing is printed before the end.
    is_quiet: bool,
    is_coloured: bool,
    acts: u8,
    checks: Vec<Check>,
}

impl Page {
    /// Colour only on a terminal whose user has not declined it (<https://no-color.org>).
    pub(super) fn new(is_quiet: bool) -> Self {
        let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            is_quiet,
            is_coloured: !declined && std::io::stdout().is_terminal(),
            acts: 0,
            checks: Vec::new(),
        }
    }

    pub(super) fn act(&mut self, title: &str) {
        self.acts += 1;
        let title = format!("{}. {title}", self.acts);
        let title = self.painted(&title, "1");
        self.print(&format!("\n{title}\n"));
    }

    /// Text as it is, a line feed at the end of each line.
    pub(super) fn text(&self, text: &str) {
        self.print(&super::super::logging::visible_lines(text));
    }

    pub(super) fn check(&mut self, ok: bool, what: impl Into<String>) {
        let what = what.into();
        let mark = if ok {
            self.painted("✓", "32")
        } else {
            self.painted("✗ FAILED:", "1;31")
        };
        self.print(&format!("   {mark} {}\n", super::super::logging::visible(&what)));
        self.checks.push(Check { ok, what });
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    pub(super) fn all_held(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    fn painted(&self, text: &str, code: &str) -> String {
        if self.is_coloured {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn print(&self, text: &str) {
        if !self.is_quiet {
            super::super::print(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_claim_that_does_not_hold_is_enough() {
        let mut page = Page::new(true);
        page.check(true, "one");
        assert!(page.all_held());
        page.check(false, "two");
        page.check(true, "three");
        assert!(!page.all_held());
        assert_eq!(page.checks().len(), 3);
    }
}
