//! Findings as text: for people, for scripts, for code hosts.

use std::fmt::Write as _;

use serde_json::json;

use super::finding::{Finding, Severity};

/// How findings are shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// With the line and what to do, for people.
    #[default]
    Full,
    /// `file:line:column: error[P014]: message`, a line each.
    Concise,
    /// An array of objects.
    Json,
    /// Workflow commands that annotate a pull request.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// All findings in one format. Ends with a newline unless empty.
pub fn render(findings: &[Finding], format: Format) -> String {
    match format {
        Format::Full => {
            let parts: Vec<String> = findings.iter().map(full).collect();
            parts.join("\n")
        }
        Format::Concise => findings.iter().map(concise).collect(),
        Format::Github => findings.iter().map(github).collect(),
        Format::Json => format!("{:#}\n", json!(findings)),
        Format::Sarif => format!("{:#}\n", sarif(findings)),
    }
}

fn full(finding: &Finding) -> String {
    let place = &finding.place;
    let mut out = format!(
        "{}[{}]: {}\n",
        finding.severity.as_str(),
        finding.code.as_str(),
        finding.message
    );
    let gutter = if place.line > 0 {
        place.line.to_string().len()
    } else {
        1
    };
    let bar = format!("{:gutter$} |", "");
    if place.line > 0 {
        let _ = writeln!(out, "{:gutter$}--> {}:{}:{}", "", place.file, place.line, place.column);
        let marks = format!("{}{}", " ".repeat(place.mark.0), "^".repeat(place.mark.1));
        let label = finding
            .label
            .as_deref()
            .map(|label| format!(" {label}"))
            .unwrap_or_default();
        let _ = writeln!(out, "{bar}\n{} | {}\n{bar} {marks}{label}", place.line, place.snippet);
    } else {
        if !place.file.is_empty() {
            let _ = writeln!(out, "{:gutter$}--> {}", "", place.file);
        }
        if let Some(label) = &finding.label {
            let _ = writeln!(out, "{:gutter$} = {label}", "");
        }
    }
    if let Some(effect) = &finding.effect {
        let _ = writeln!(out, "{:gutter$} = effect: {effect}", "");
    }
    if let Some(hint) = &finding.hint {
        let _ = writeln!(out, "\nhint: {hint}");
    }
    out
}

/// One line: `file:line:column: error[P014]: message (hint)`.
impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(concise(self).trim_end())
    }
}

fn concise(finding: &Finding) -> String {
    let place = &finding.place;
    let mut out = match (place.file.is_empty(), place.line) {
        (true, _) => String::new(),
        (false, 0) => format!("{}: ", place.file),
        (false, _) => format!("{}:{}:{}: ", place.file, place.line, place.column),
    };
    let _ = write!(
        out,
        "{}[{}]: {}",
        finding.severity.as_str(),
        finding.code.as_str(),
        finding.message
    );
    if let Some(hint) = &finding.hint {
        let _ = write!(out, " ({hint})");
    }
    out.push('\n');
    out
}

/// `::error file=…,line=…,col=…,title=…::message`, with the escapes that workflow commands demand.
fn github(finding: &Finding) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let level = if finding.severity == Severity::Note {
        "notice"
    } else {
        finding.severity.as_str()
    };
    let place = &finding.place;
    let mut out = format!("::{level} file={}", property(&place.file));
    if place.line > 0 {
        let _ = write!(out, ",line={},col={}", place.line, place.column);
    }
    let _ = writeln!(out, ",title={}::{}", finding.code.as_str(), escape(&sentence(finding)));
    out
}

fn sarif(findings: &[Finding]) -> serde_json::Value {
    let result = |finding: &Finding| {
        let place = &finding.place;
        let mut location = json!({ "artifactLocation": { "uri": place.file } });
        if place.line > 0 {
            location["region"] = json!({ "startLine": place.line, "startColumn": place.column });
        }
        json!({
            "ruleId": finding.code.as_str(),
            "level": finding.severity.as_str(),
            "message": { "text": sentence(finding) },
            "locations": [{ "physicalLocation": location }],
        })
    };
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let rules: Vec<serde_json::Value> = rules.into_iter().map(|id| json!({ "id": id })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "onrecord", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// Message, effect and hint in one line.
fn sentence(finding: &Finding) -> String {
    let mut out = finding.message.clone();
    for part in [&finding.label, &finding.effect, &finding.hint].into_iter().flatten() {
        let _ = write!(out, "; {part}");
    }
    out
}
