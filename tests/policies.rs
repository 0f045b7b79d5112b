//! The sample policies that an administrator starts from: they load without a finding that counts, and they decide
//! what their tests beside them say.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use onrecord::config;
use onrecord::model::{Fault, Generation, Timestamp};
use onrecord::policy::{
    Admission, CallFacts, Code, Explanation, OnRefusal, PolicySet, RecorderState, RejectCode, Severity, SourceFile,
    Verdict,
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    test: Vec<Test>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: String,
    call: Call,
    #[serde(default)]
    recorder: Recorder,
    expect: Expect,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    from: String,
    to: String,
    trunk: Option<String>,
    at: Option<Timestamp>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorder {
    embedded: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    decision: String,
    code: Option<u16>,
    policy: Option<String>,
}

fn samples() -> PolicySet {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    config::load_policies(&folder, Generation(1)).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// Policies of the manual that are whole: they name themselves.
fn of_the_manual() -> Vec<SourceFile> {
    let manual = include_str!("../docs/POLICY.md");
    let blocks = manual.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    let whole = blocks.filter(|block| block.starts_with("[policy]\nid = "));
    let files = whole.enumerate().map(|(at, text)| SourceFile {
        path: format!("{at}.toml"),
        text: text.into(),
    });
    files.collect()
}

#[test]
fn the_policies_that_the_manual_shows_load_and_draw_nothing_but_that_nobody_has_them() {
    let files = of_the_manual();
    assert!(files.len() >= 2);
    let set = PolicySet::compile(&files, Generation(1)).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let expected = [Code::UngrantedPolicy, Code::NoGrants];
    let others: Vec<_> = set.findings().iter().filter(|f| !expected.contains(&f.code)).collect();
    assert!(others.is_empty(), "{others:#?}");
    let consents = set.policies().iter().filter_map(|policy| policy.notify.consent);
    let refused: Vec<OnRefusal> = consents.map(|terms| terms.refused).collect();
    assert!(refused.contains(&OnRefusal::Unrecorded));
}

#[test]
fn the_samples_draw_nothing_but_notes() {
    let set = samples();
    let counting: Vec<_> = set.findings().iter().filter(|f| f.severity != Severity::Note).collect();
    assert!(counting.is_empty(), "{counting:#?}");
    assert!(set.policies().iter().all(|policy| policy.enabled));
    assert!(set.policies().len() >= 3);
}

#[test]
fn the_built_in_policies_are_the_samples() {
    assert_eq!(config::embedded_policies(Generation(1)).hash(), samples().hash());
}

#[test]
fn without_a_nearer_grant_everybody_is_recorded_strictly() {
    let facts = CallFacts {
        from: "sip:x@y".into(),
        request_uri: "sip:z@w".into(),
        ..CallFacts::default()
    };
    let decision = config::embedded_policies(Generation(7)).decide(&facts);
    assert_eq!(decision.verdict, Verdict::Record);
    assert_eq!(decision.generation, Generation(7));
    let requirements = decision.requirements.unwrap();
    assert!(requirements.before && requirements.during && requirements.before_meeting && requirements.during_meeting);
}

#[test]
fn the_tests_beside_the_samples_hold() {
    let set = samples();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/tests");
    let mut run = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file: TestFile = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for test in file.test {
            check(&set, &test);
            run += 1;
        }
    }
    assert!(run > 0);
}

fn check(set: &PolicySet, test: &Test) {
    let facts = CallFacts {
        trunk: test.call.trunk.as_deref().map(Into::into),
        from: test.call.from.clone(),
        request_uri: test.call.to.clone(),
        to: test.call.to.clone(),
        at: test.call.at.unwrap_or_default(),
        ..CallFacts::default()
    };
    let decision = set.decide(&facts);
    let explanation = Explanation {
        decision: &decision,
        recorder: match test.recorder.embedded.as_deref() {
            None | Some("up") => RecorderState::Up,
            Some("down") => RecorderState::Down(Fault::DiskFull),
            Some(other) => panic!("{}: no recorder state {other}", test.name),
        },
        meeting: false,
        at: facts.at,
        reject_code: RejectCode::Auto,
    };
    let decided = match (explanation.admission(), &decision.verdict) {
        (Admission::Refuse, _) => "reject",
        (Admission::ProceedUnrecorded, _) => "unrecorded",
        (Admission::Proceed, Verdict::Record) => "record",
        (Admission::Proceed, _) => "none",
    };
    let text = explanation.text();
    assert_eq!(decided, test.expect.decision, "{}\n{text}", test.name);
    assert_eq!(explanation.status(), test.expect.code, "{}\n{text}", test.name);
    if let Some(policy) = &test.expect.policy {
        assert!(
            decision.policies.iter().any(|id| id.as_str() == policy),
            "{}\n{text}",
            test.name
        );
    }
}
