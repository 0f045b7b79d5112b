//! How the policies of two parties merge, and what is settled where they contradict each other.

use super::super::*;
use super::{call, compile, file, grant_lines, grants, names, policy};
use crate::model::Fault;

#[test]
fn who_forwards_a_call_is_recorded_if_the_policy_says_so() {
    let lines = grant_lines(&[("follows", "user:alice@example.com"), ("stays", "user:bob@example.com")]);
    let stays = file(
        "stays.toml",
        "[policy]\nid = \"stays\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\n",
    );
    let set = compile(&[policy("follows", ""), stays, grants(&lines)]);
    let by = |who: &str| CallFacts {
        rerouted_by: vec![who.to_owned()],
        ..call("sip:x@y", "sip:mobile@far")
    };
    assert_eq!(
        names(&set.decide(&by("<sip:alice@example.com>;reason=unconditional"))),
        ["follows"]
    );
    assert_eq!(set.decide(&by("sip:bob@example.com")).verdict, Verdict::None);
}

#[test]
fn two_parties_policies_merge_to_the_more_demanding() {
    let lenient = file(
        "lenient.toml",
        "[policy]\nid = \"lenient\"\nenabled = true\nrecord = [\"audio\"]\nrecord_rerouted_calls = true\nreject_code = 480\n\
         notify = { mode = \"tone\", to = \"caller\" }\npause = { allowed = true }\n\
         [policy.retention]\nkeep = \"7y\"\n[[policy.recorder]]\nid = \"embedded\"\nrequired_before_call_establishment = false\n\
         required_during_call = false\nrequired_before_meeting_join = false\nrequired_during_meeting = false\n",
    );
    let strict = policy(
        "strict",
        "record = [\"video\"]\nduring_arms = \"answer\"\nnotify = { mode = \"prompt\", to = \"callee\" }\nretention = { keep = \"30d\" }",
    );
    let lines = grant_lines(&[("lenient", "user:a@x"), ("strict", "user:b@x")]);
    let set = compile(&[lenient, strict, grants(&lines)]);
    let alone = set.decide(&call("sip:a@x", "sip:c@x"));
    assert!(!alone.is_strict_before(false) && !alone.is_strict_during(true));
    assert_eq!(
        alone.admission(RecorderState::Down(Fault::Io), false),
        Admission::ProceedUnrecorded
    );

    let both = set.decide(&call("sip:a@x", "sip:b@x"));
    assert_eq!(names(&both), ["lenient", "strict"]);
    let all = both.requirements.as_ref().unwrap();
    assert!(all.before && all.during && all.before_meeting && all.during_meeting);
    assert_eq!(
        all.media,
        MediaSet {
            audio: true,
            video: true,
            screen: false,
            chat: false
        }
    );
    assert_eq!(all.notify.mode, NotifyMode::PromptAndTone);
    assert_eq!(all.notify.whom, NotifyWhom::Both);
    assert_eq!(all.during_arms, DuringArms::Answer);
    assert_eq!(all.retention.unwrap().keep.as_secs(), 7 * 366 * 86_400);
    assert_eq!(all.reject_code.status(false), 480);
    assert_eq!(all.pause, None, "one of them does not allow it");
    assert_eq!(both.admission(RecorderState::Down(Fault::Io), false), Admission::Refuse);
    assert_eq!(both.admission(RecorderState::Up, false), Admission::Proceed);
}

#[test]
fn of_several_prompts_the_one_that_asks_is_played() {
    let telling = |id: &str, consent: &str| {
        let notify = format!("notify = {{ mode = \"prompt\"{consent} }}\nprompts = {{ package = \"{id}\" }}");
        policy(id, &notify)
    };
    let asks = ", consent = { silence = \"agrees\" }";
    let policies = [telling("inform", ""), telling("ask", asks), telling("ask-too", asks)];
    for (caller, callee, wanted) in [
        ("inform", "ask", "ask"),
        ("ask", "inform", "ask"),
        ("ask", "ask-too", "ask"),
        ("ask-too", "ask", "ask-too"),
        ("inform", "inform", "inform"),
    ] {
        let lines = grant_lines(&[(caller, "user:a@x"), (callee, "user:b@x")]);
        let set = compile(&[&policies[..], &[grants(&lines)]].concat());
        let decision = set.decide(&call("sip:a@x", "sip:b@x"));
        let all = decision.requirements.as_ref().unwrap();
        assert_eq!(all.prompt.as_deref(), Some(wanted), "{caller} {callee}");
        assert_eq!(all.notify.consent.is_some(), wanted != "inform");
    }
}

#[test]
fn calls_and_meetings_have_flags_of_their_own() {
    let text = "[policy]\nid = \"p\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\nrequired_before_meeting_join = false\nrequired_during_call = false\n";
    let set = compile(&[file("p.toml", text), grants(&grant_lines(&[("p", "global")]))]);
    let decision = set.decide(&call("sip:a@x", "sip:b@x"));
    let down = RecorderState::Down(Fault::DiskFull);
    assert_eq!(decision.admission(down, false), Admission::Refuse);
    assert_eq!(decision.admission(down, true), Admission::ProceedUnrecorded);
    assert!(!decision.is_strict_during(false) && decision.is_strict_during(true));
}

#[test]
fn never_against_record_is_settled_by_the_rule_of_never() {
    for (rule, expected) in [
        ("record", Verdict::Record),
        ("never", Verdict::None),
        (
            "block",
            Verdict::Block(BlockReason::Conflict {
                record: "desk".into(),
                never: "private".into(),
            }),
        ),
    ] {
        let private = policy("private", &format!("action = \"never\"\non_conflict = \"{rule}\""));
        let lines = grant_lines(&[("desk", "user:a@x"), ("private", "user:b@x")]);
        let set = compile(&[policy("desk", ""), private, grants(&lines)]);
        let decision = set.decide(&call("sip:a@x", "sip:b@x"));
        assert_eq!(decision.verdict, expected, "{rule}");
        assert_eq!(set.decide(&call("sip:b@x", "sip:c@x")).verdict, Verdict::None);
    }
}

#[test]
fn a_policy_that_blocks_refuses_the_call_whatever_the_recorder_does() {
    let lines = grant_lines(&[("closed", "number:+4490*")]);
    let set = compile(&[policy("closed", "action = \"block\""), grants(&lines)]);
    let decision = set.decide(&call("sip:a@x", "tel:+449012345"));
    assert_eq!(
        decision.verdict,
        Verdict::Block(BlockReason::Forbidden {
            policy: "closed".into()
        })
    );
    assert_eq!(decision.admission(RecorderState::Up, false), Admission::Refuse);
    assert_eq!(decision.requirements, None);
}
