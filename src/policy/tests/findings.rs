//! Every kind of finding, word for word. After a change of wording: `BLESS=1 cargo test policy::tests::findings`, and
//! read what changed.

use std::fmt::Write as _;

use super::super::*;
use super::{file, grant_lines, grants, policy};
use crate::model::{Generation, TrunkName};

const SNAPSHOT: &str = include_str!("findings.txt");

fn one(code: Code, text: &str) -> (Code, Vec<SourceFile>) {
    (
        code,
        vec![file("p.toml", text), grants(&grant_lines(&[("p", "global")]))],
    )
}

fn body(code: Code, more: &str) -> (Code, Vec<SourceFile>) {
    (code, vec![policy("p", more), grants(&grant_lines(&[("p", "global")]))])
}

fn granted(code: Code, text: &str) -> (Code, Vec<SourceFile>) {
    (code, vec![policy("p", ""), policy("q", ""), grants(text)])
}

fn of_policies() -> Vec<(Code, Vec<SourceFile>)> {
    vec![
        one(Code::Syntax, "[policy]\nid = \"p\n"),
        one(Code::Syntax, "[policy]\nid = \"p\"\nid = \"q\"\n"),
        body(Code::WrongType, "description = 7"),
        body(Code::WrongType, "record = \"audio\""),
        one(Code::WrongType, "[[policy]]\nid = \"p\"\n"),
        one(Code::Missing, "[policy]\nenabled = true\n"),
        body(Code::NotAllowed, "record = [\"audio\", \"vidoe\"]"),
        body(Code::Malformed, "reject_code = 404"),
        body(Code::Malformed, "retention = { keep = \"7 years\" }"),
        body(Code::UnknownField, "recordd = [\"audio\"]"),
        one(
            Code::UnknownField,
            "[policy]\nid = \"p\"\nenabled = true\nrecord_rerouted_calls = true\n\n[[policy.recorder]]\nid = \"embedded\"\n\
             required_before_call = true\n",
        ),
        (
            Code::DuplicatePolicy,
            vec![policy("p", ""), file("q.toml", &policy("p", "").text)],
        ),
        one(
            Code::NoRecorder,
            "[policy]\nid = \"p\"\nenabled = true\nrecord_rerouted_calls = true\n",
        ),
        body(Code::DuplicateRecorder, "[[policy.recorder]]\nid = \"embedded\""),
        body(Code::UnknownRecorder, "[[policy.recorder]]\nid = \"siprec-1\""),
        one(
            Code::PairedAndConcurrent,
            "[policy]\nid = \"p\"\nenabled = true\nrecord_rerouted_calls = true\n[[policy.recorder]]\nid = \"embedded\"\n\
             paired = \"b\"\nconcurrent_invitation_count = 2\n",
        ),
        body(Code::NoDisclaimer, "disable_audio_notification = true"),
        one(
            Code::ReroutedNotRecorded,
            "[policy]\nid = \"p\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\n",
        ),
        one(
            Code::NotEnabled,
            "[policy]\nid = \"p\"\n[[policy.recorder]]\nid = \"embedded\"\n",
        ),
        body(Code::NoDefaultAction, "[[policy.filter]]\ndirection = \"inbound\""),
        body(
            Code::UnreachableFilter,
            "action = \"skip\"\n[[policy.filter]]\n[[policy.filter]]\ndirection = \"inbound\"",
        ),
        body(Code::NoConflictRule, "action = \"never\""),
        body(Code::RetriedReject, "reject_code = 503"),
    ]
}

fn of_telling() -> Vec<(Code, Vec<SourceFile>)> {
    vec![
        body(Code::NoPrompt, "notify = { mode = \"prompt\" }"),
        body(Code::NoPrompt, "notify = { mode = \"tone\", consent = {} }"),
        body(Code::NoPrompt, "notify = { consent = { mode = \"implied\" } }"),
        body(
            Code::UnkeptButStrict,
            "notify = { mode = \"prompt\", consent = { refused = \"unrecorded\" } }\nprompts = { package = \"desk\" }",
        ),
        body(
            Code::ConsentIdle,
            "notify = { mode = \"tone\", consent = { mode = \"inform\", refused = \"mute\" } }",
        ),
        body(
            Code::Missing,
            "notify = { consent = { mode = \"waived\", date = \"2026-01-31\" } }",
        ),
        body(
            Code::Malformed,
            "notify = { consent = { mode = \"waived\", signed_by = \"Legal\", date = \"31.1.2026\" } }",
        ),
        body(
            Code::Malformed,
            "notify = { mode = \"prompt\", consent = { within = \"5m\" } }\nprompts = { package = \"desk\" }",
        ),
        body(Code::Malformed, "notify = { mode = \"tone\", every = \"1s\" }"),
        body(Code::Malformed, "prompts = { package = \"../desk\" }"),
        body(
            Code::Malformed,
            "prompts = { package = \"desk\", languages = [\"de\", \"../en\"] }",
        ),
        body(Code::NoEffectYet, "banner = \"This call is recorded\""),
        body(
            Code::NoEffectYet,
            "notify = { mode = \"tone\", when = \"before_connect\" }",
        ),
    ]
}

fn of_grants() -> Vec<(Code, Vec<SourceFile>)> {
    let group = |name: &str, rank: u8, members: &str| {
        format!("[[group]]\nname = \"{name}\"\nrank = {rank}\nmembers = [{members}]\n")
    };
    let both = grant_lines(&[("p", "user:a@x"), ("q", "global")]);
    vec![
        granted(Code::UnknownPolicy, &grant_lines(&[("pp", "global")])),
        granted(
            Code::MalformedTarget,
            &grant_lines(&[("p", "alice@example.com"), ("q", "number:+44X7")]),
        ),
        granted(
            Code::UnknownGroup,
            &format!(
                "{both}{}{}",
                grant_lines(&[("p", "group:desks")]),
                group("desk", 1, "\"a@x\"")
            ),
        ),
        granted(
            Code::ConflictingGrant,
            &grant_lines(&[("p", "global"), ("q", "global")]),
        ),
        granted(
            Code::RepeatedGrant,
            &format!("{both}{}", grant_lines(&[("p", "user:A@X")])),
        ),
        granted(
            Code::DuplicateGroup,
            &format!(
                "{both}{}{}{}",
                grant_lines(&[("p", "group:g")]),
                group("g", 1, "\"b@x\""),
                group("g", 2, "\"c@x\"")
            ),
        ),
        granted(
            Code::SharedRank,
            &format!(
                "{both}{}{}{}",
                grant_lines(&[("p", "group:g"), ("q", "group:h")]),
                group("g", 1, "\"b@x\""),
                group("h", 1, "\"b@x\", \"c@x\"")
            ),
        ),
        granted(
            Code::UnreachableGrant,
            &format!("{both}{}{}", grant_lines(&[("q", "group:g")]), group("g", 1, "\"a@x\"")),
        ),
        granted(Code::UngrantedPolicy, &grant_lines(&[("p", "global")])),
        granted(Code::UngrantedGroup, &format!("{both}{}", group("g", 1, "\"b@x\""))),
        granted(
            Code::DuplicateDialPlan,
            &format!("{both}[[dial_plan]]\n[[dial_plan]]\ncountry_code = \"44\"\n"),
        ),
        (Code::NoGrants, vec![policy("p", "")]),
        granted(
            Code::EmergencyExtension,
            &format!(
                "{both}{}{}[[dial_plan]]\ncountry_code = \"44\"\n",
                grant_lines(&[("p", "number:11X"), ("p", "user:110@x"), ("p", "group:g")]),
                group("g", 1, "\"118\", \"b@x\"")
            ),
        ),
    ]
}

#[test]
fn extensions_are_no_emergency_numbers_where_a_list_says_so_and_no_finding_where_a_range_is_open() {
    let found = |more: &str, to: &str| {
        let text = format!("{}{more}", grant_lines(&[("p", to)]));
        let set = PolicySet::compile(&[policy("p", ""), grants(&text)], Generation(1)).unwrap();
        set.findings()
            .iter()
            .any(|finding| finding.code == Code::EmergencyExtension)
    };
    assert!(found("", "number:1XX") && found("", "user:119@example.com"));
    assert!(!found("", "number:1*") && !found("", "number:1XXX") && !found("", "user:1100"));
    let listed = "[[dial_plan]]\nemergency = [\"112\", \"999\"]\n";
    assert!(!found(listed, "number:1XX"));
    let one_is_not = format!("{listed}[[dial_plan]]\ntrunk = \"pbx\"\ncountry_code = \"44\"\n");
    assert!(found(&one_is_not, "number:1XX"));
}

#[test]
fn every_finding_reads_as_it_was_agreed() {
    let mut shown = String::new();
    let mut seen = Vec::new();
    for (code, files) in of_policies().into_iter().chain(of_telling()).chain(of_grants()) {
        let findings = match PolicySet::compile(&files, Generation(1)) {
            Ok(set) => set.findings().to_vec(),
            Err(findings) => findings,
        };
        assert!(findings.iter().any(|f| f.code == code), "{code:?} in {findings:#?}");
        seen.extend(findings.iter().map(|f| f.code));
        let chosen: Vec<Finding> = findings.into_iter().filter(|f| f.code == code).collect();
        let _ = writeln!(shown, "######## {}\n{}", code.as_str(), render(&chosen, Format::Full));
    }
    let set = PolicySet::compile(
        &[policy("p", ""), grants(&grant_lines(&[("p", "trunk:pbk")]))],
        Generation(1),
    )
    .unwrap();
    let findings = set.unknown_trunks(&[TrunkName::from("pbx")]);
    seen.extend(findings.iter().map(|f| f.code));
    let _ = writeln!(shown, "######## P050\n{}", render(&findings, Format::Full));

    // The rest has tests of its own: sizes in `hostile`, files and the config's in `config`.
    let elsewhere = [Code::TooLarge, Code::Unreadable, Code::More, Code::BadPrompt];
    let missing: Vec<&Code> = Code::ALL
        .iter()
        .filter(|c| c.as_str() < "P100" && !seen.contains(c) && !elsewhere.contains(c))
        .collect();
    assert!(missing.is_empty(), "no test for {missing:?}");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/tests/findings.txt"),
            &shown,
        )
        .unwrap();
        return;
    }
    assert!(shown == SNAPSHOT, "wording changed:\n{shown}");
}

#[test]
fn codes_are_unique() {
    let mut codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Code::ALL.len());
}

#[test]
fn every_format_names_the_code_and_the_place() {
    let findings = PolicySet::compile(&[policy("p", "recordd = [\"a:b\"]")], Generation(1)).unwrap_err();
    let finding: Vec<Finding> = findings.into_iter().filter(|f| f.code == Code::UnknownField).collect();
    assert_eq!(
        render(&finding, Format::Concise),
        "policies/p.toml:5:1: error[P014]: unknown field `recordd` (did you mean `record`?)\n"
    );
    assert_eq!(
        render(&finding, Format::Github),
        "::error file=policies/p.toml,line=5,col=1,title=P014::unknown field `recordd`; not a policy field; did you mean `record`?\n"
    );
    let json: serde_json::Value = serde_json::from_str(&render(&finding, Format::Json)).unwrap();
    assert_eq!(
        (json[0]["code"].as_str(), json[0]["place"]["line"].as_u64()),
        (Some("P014"), Some(5))
    );
    let sarif: serde_json::Value = serde_json::from_str(&render(&finding, Format::Sarif)).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "P014");
    assert_eq!(sarif["version"], "2.1.0");
}

#[test]
fn a_policy_that_is_off_needs_no_recorder() {
    let off = file("p.toml", "[policy]\nid = \"p\"\nenabled = false\n");
    let set = PolicySet::compile(&[off, grants(&grant_lines(&[("p", "global")]))], Generation(1));
    let codes: Vec<Code> = set.expect("only a warning").findings().iter().map(|f| f.code).collect();
    assert_eq!(codes, [Code::NotEnabled]);
}

#[test]
fn no_hint_names_an_option_that_there_is_not() {
    assert!(!SNAPSHOT.contains("--fix"));
}
