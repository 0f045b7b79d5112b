//! Any text as a policy file: compiling never panics, findings can be shown, and what compiles decides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::model::Generation;
use onrecord::policy::{CallFacts, Format, PolicySet, SourceFile, render};

fuzz_target!(|text: &str| {
    let file = SourceFile { path: "policies/fuzz.toml".to_owned(), text: text.to_owned() };
    let findings = match PolicySet::compile(&[file], Generation(1)) {
        Err(findings) => {
            assert!(!findings.is_empty());
            findings
        }
        Ok(set) => {
            let uri = text.lines().next().unwrap_or_default().to_owned();
            let facts = CallFacts { from: uri.clone(), request_uri: uri, ..CallFacts::default() };
            assert_eq!(set.decide(&facts), set.decide(&facts));
            set.findings().to_vec()
        }
    };
    for format in [Format::Full, Format::Concise, Format::Json, Format::Github, Format::Sarif] {
        let shown = render(&findings, format);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
    }
});
