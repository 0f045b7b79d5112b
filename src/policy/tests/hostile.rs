//! Text that is broken, huge or made to hurt.

use proptest::prelude::*;

use super::super::*;
use super::{call, compile, file, grant_lines, grants, policy};
use crate::model::Generation;

const GOOD: &str = include_str!("../../../policies/qa-sample.toml");
const GRANTS: &str = include_str!("../../../policies/grants.toml");

fn exercise(files: &[SourceFile]) {
    let findings = match PolicySet::compile(files, Generation(1)) {
        Ok(set) => {
            let facts = call("sip:alice@example.com", "tel:+442079460001");
            assert_eq!(set.decide(&facts), set.decide(&facts));
            set.findings().to_vec()
        }
        Err(findings) => {
            assert!(findings.iter().any(|f| f.severity == Severity::Error));
            findings
        }
    };
    for format in [
        Format::Full,
        Format::Concise,
        Format::Json,
        Format::Github,
        Format::Sarif,
    ] {
        let shown = render(&findings, format);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown}");
    }
}

proptest! {
    #[test]
    fn any_text_compiles_or_is_refused(text in "\\PC*", name in "[a-z\\x00-\\x1f]{0,8}") {
        exercise(&[file(&name, &text)]);
    }

    #[test]
    fn any_characters_compile_or_are_refused(text in proptest::collection::vec(any::<char>(), 0..200)) {
        exercise(&[file("x.toml", &text.into_iter().collect::<String>())]);
    }

    #[test]
    fn mutated_files_compile_or_are_refused(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[\\[\\]{}=\"'#.,\n a-zX0-9\u{1b}é€-]{0,6}"), 1..8),
    ) {
        for good in [GOOD, GRANTS] {
            let mut text: Vec<char> = good.chars().collect();
            for (at, drop, insert) in &edits {
                let at = at.index(text.len() + 1);
                let end = (at + drop).min(text.len());
                text.splice(at..end, insert.chars());
                if text.is_empty() {
                    text.push('x');
                }
            }
            exercise(&[file("x.toml", &text.into_iter().collect::<String>()), policy("trading-desk", "")]);
        }
    }

    #[test]
    fn any_identity_decides(from in "\\PC{0,40}", to in "(sip:|tel:|urn:)?[+0-9a-z%@:;<>\\[\\]. é-]{0,40}") {
        let lines = grant_lines(&[("p", "number:+44*"), ("p", "number:XXX"), ("p", "user:a@b"), ("p", "trunk:t")]);
        let set = compile(&[policy("p", ""), grants(&lines)]);
        let decision = set.decide(&call(&from, &to));
        let again = set.decide(&call(&decision.caller.to_string(), &decision.callee.to_string()));
        prop_assert!(!decision.caller.to_string().chars().chain(decision.callee.to_string().chars()).any(char::is_control));
        prop_assert!(decision.trace.iter().all(|line| !line.chars().any(char::is_control)));
        let is_read = |decision: &Decision| decision.verdict != Verdict::Block(BlockReason::Unreadable);
        if is_read(&decision) && is_read(&again) {
            prop_assert_eq!(again.verdict, decision.verdict);
        }
    }
}

#[test]
fn sizes_are_limited() {
    let big = file("big.toml", &"#".repeat(FILE_BYTES_MAX + 1));
    let findings = PolicySet::compile(&[big], Generation(1)).unwrap_err();
    assert_eq!(findings[0].code, Code::TooLarge);

    let many: Vec<SourceFile> = (0..=FILES_MAX).map(|i| file(&format!("{i}.toml"), "")).collect();
    let findings = PolicySet::compile(&many, Generation(1)).unwrap_err();
    assert_eq!(findings[0].code, Code::TooLarge);

    let line = "\"user:1@b\",".repeat(60_000);
    let text = format!("[[grant]]\npolicy = \"$null\"\nto = [{line}]\n");
    let findings = PolicySet::compile(&[file("1.toml", &text), file("2.toml", &text)], Generation(1)).unwrap_err();
    assert!(
        findings.iter().any(|f| f.code == Code::TooLarge),
        "{:?}",
        findings.last()
    );
}

#[test]
fn text_that_is_made_to_take_long_does_not() {
    let deep = "[".repeat(500_000);
    let bad_targets = format!("[[grant]]\npolicy = \"x\"\nto = [{}]\n", "\"x\",".repeat(99_000));
    let unknown: String = (0..20_000)
        .map(|i| format!("[[grant]]\npolicy=\"p{i}\"\nto=[\"global\"]\n"))
        .collect();
    let groups: String = (0..20_000)
        .map(|i| format!("[[group]]\nname=\"g{i}\"\nmembers=[]\n"))
        .collect();
    let dotted = format!("{}x = 1\n", "a.".repeat(100_000));
    let unknown_fields: String = (0..50_000).map(|i| format!("k{i}=1\n")).collect();
    let unclosed = "a = \"\"\"".to_owned() + &"x\n".repeat(400_000);
    for text in [deep, bad_targets, unknown, groups, dotted, unknown_fields, unclosed] {
        exercise(&[file("x.toml", &text)]);
    }
}

#[test]
fn findings_are_limited_and_the_rest_is_counted() {
    let text: String = (0..1_000).map(|i| format!("k{i} = 1\n")).collect();
    let findings = PolicySet::compile(&[file("x.toml", &text)], Generation(1)).unwrap_err();
    assert!(findings.len() <= finding::FINDINGS_MAX + 1);

    let text = format!("[[grant]]\npolicy = \"$null\"\nto = [{}]\n", "\"x\",".repeat(1_000));
    let findings = PolicySet::compile(&[file("x.toml", &text)], Generation(1)).unwrap_err();
    assert_eq!(
        findings.last().map(|f| (f.code, f.message.as_str())),
        Some((Code::More, "800 more findings are not listed"))
    );
}

#[test]
fn control_characters_are_spelled_out_and_marks_still_fit() {
    let text = "[policy]\nid = \"a\"\n\u{202e}x = 1\n";
    let findings = PolicySet::compile(&[file("a\u{1b}[2J.toml", text)], Generation(1)).unwrap_err();
    let shown = render(&findings, Format::Full);
    assert!(shown.contains("policies/a\\u{1b}[2J.toml:3:1"), "{shown}");
    assert!(shown.contains("3 | \\u{202e}x = 1"), "{shown}");
}

#[test]
fn secrets_are_never_echoed() {
    for text in [
        "[policy]\npassword = \"hunter2\"\n",
        "[policy]\npassword = hunter2\n",
        "[policy]\nid = { api_key = \"hunter2\" }\n",
        "[policy]\nsecret = \"\"\"\nhunter2\n\\q\"\"\"\n",
        "[policy]\ntokens = [\n  \"hunter2\", x\n]\n",
        "[policy]\n\"auth-token\" = 'hunter2'\npin = 'hunter2'\n",
    ] {
        let findings = PolicySet::compile(&[file("x.toml", text)], Generation(1)).unwrap_err();
        for format in [Format::Full, Format::Json, Format::Concise] {
            let shown = render(&findings, format);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

#[test]
fn a_very_long_line_is_cut_around_the_mark() {
    let text = format!("x = {{ a = \"{}\", b = 1 }}\nid = 1\n", "y".repeat(500));
    let findings = PolicySet::compile(&[file("x.toml", &format!("[policy]\n{text}"))], Generation(1)).unwrap_err();
    assert!(findings.iter().all(|f| f.place.snippet.chars().count() < 200));
}
