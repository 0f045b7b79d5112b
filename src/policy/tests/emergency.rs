//! Emergency calls are connected, whatever the policies and the recorder say.

use super::super::*;
use super::{call, compile, grant_lines, grants, names, policy};
use crate::model::Fault;

fn strict() -> PolicySet {
    compile(&[policy("strict", ""), grants(&grant_lines(&[("strict", "global")]))])
}

fn emergencies() -> Vec<CallFacts> {
    let plain = || call("sip:a@x", "sip:b@x");
    let mut calls: Vec<CallFacts> = [
        "urn:service:sos",
        "URN:service:SOS.fire",
        "sip:112@x",
        "sip:911@x;user=phone",
        "tel:999",
        "tel:112;phone-context=+44",
        "sip:+112@x",
        "sip:1-1-2@x",
    ]
    .map(|uri| call("sip:a@x", uri))
    .to_vec();
    calls.push(CallFacts {
        to: "<urn:service:sos>".to_owned(),
        to_is_vouched: true,
        ..plain()
    });
    calls.push(CallFacts {
        priority: Some("PSAP-Callback".to_owned()),
        ..plain()
    });
    calls.push(CallFacts {
        resource_priority: Some("dsn.flash, esnet.1".to_owned()),
        ..plain()
    });
    calls.push(CallFacts {
        emergency_callback: true,
        ..plain()
    });
    calls
}

#[test]
fn an_emergency_is_connected_in_every_state_and_recorded_as_well_as_possible() {
    let set = strict();
    for facts in emergencies() {
        let decision = set.decide(&facts);
        assert!(decision.emergency, "{facts:?}");
        assert_eq!(decision.verdict, Verdict::Record);
        let all = decision.requirements.as_ref().unwrap();
        assert!(!all.before && !all.during && !all.before_meeting && !all.during_meeting);
        assert_eq!(all.notify, Notify::default());
        for meeting in [false, true] {
            assert_eq!(decision.admission(RecorderState::Up, meeting), Admission::Proceed);
            assert_eq!(
                decision.admission(RecorderState::Down(Fault::Hung), meeting),
                Admission::ProceedUnrecorded
            );
        }
    }
}

#[test]
fn an_emergency_beats_block_and_conflict() {
    let private = policy("private", "action = \"never\"\non_conflict = \"block\"");
    let lines = grant_lines(&[("closed", "user:a@x"), ("private", "user:p@x"), ("all", "global")]);
    let set = compile(&[
        policy("closed", "action = \"block\""),
        private,
        policy("all", ""),
        grants(&lines),
    ]);
    for mut facts in emergencies() {
        let decision = set.decide(&facts);
        assert_ne!(
            decision.admission(RecorderState::Down(Fault::Io), false),
            Admission::Refuse,
            "{facts:?}"
        );
        assert_eq!(names(&decision), ["all"]);
        facts.from = "sip:p@x".to_owned();
        assert_eq!(
            set.decide(&facts).verdict,
            Verdict::None,
            "privacy law holds in an emergency"
        );
    }
}

#[test]
fn what_only_looks_like_an_emergency_is_none() {
    let set = strict();
    for uri in [
        "urn:service:sosage",
        "urn:service:counseling",
        "sip:1120@x",
        "sip:sos@x",
        "tel:+44112",
        "sip:911abc@x",
    ] {
        assert!(!set.decide(&call("sip:a@x", uri)).emergency, "{uri}");
    }
    let shaped = |priority: &str| CallFacts {
        priority: Some(priority.to_owned()),
        ..call("sip:a@x", "sip:b@x")
    };
    assert!(
        !set.decide(&shaped("emergency")).emergency,
        "anybody can write that (RFC 3261 §20.26)"
    );
    let spoofed = CallFacts {
        to: "sip:112@x".to_owned(),
        ..call("sip:a@x", "sip:b@x")
    };
    assert!(!set.decide(&spoofed).emergency, "a number in To goes nowhere");
    let claimed = CallFacts {
        to: "<urn:service:sos>".to_owned(),
        ..call("sip:a@x", "sip:b@x")
    };
    assert!(!set.decide(&claimed).emergency, "any caller can write that");
    let sent_on = CallFacts {
        emergency_sent_on: true,
        ..claimed
    };
    assert!(set.decide(&sent_on).emergency);
}

#[test]
fn what_is_dialled_behind_a_code_that_ends_with_a_hash_stays_a_call_for_help_whatever_rules_make_of_it() {
    let text = format!(
        "{}[[dial_plan]]\ntrunk = \"pbx\"\nemergency = [\"1414\"]\n",
        grant_lines(&[("strict", "global")])
    );
    let set = compile(&[policy("strict", ""), grants(&text)]);
    for (dialled, sent_on_as, is_emergency) in [
        ("sip:1414@x", "sip:+442079460000@y", true),
        ("sip:*31#1414@x", "sip:+442079460000@y", true),
        ("sip:*31#1414@x", "sip:*31#1414@y", true),
        ("sip:1414p1@x", "sip:1414p1@y", true),
        ("sip:1414p1@x", "sip:14141@y", false),
        ("sip:*671414@x", "sip:+442079460000@y", false),
        ("sip:*671414@x", "sip:911@y", true),
    ] {
        let facts = CallFacts {
            trunk: Some("pbx".into()),
            to_trunk: Some("carrier".into()),
            sent_on_as: vec![sent_on_as.to_owned()],
            ..call("sip:a@x", dialled)
        };
        assert_eq!(set.decide(&facts).emergency, is_emergency, "{dialled} as {sent_on_as}");
    }
}

#[test]
fn a_dial_plan_names_its_own_numbers() {
    let text = format!(
        "{}[[dial_plan]]\nemergency = [\"1414\"]\n",
        grant_lines(&[("strict", "global")])
    );
    let set = compile(&[policy("strict", ""), grants(&text)]);
    assert!(set.decide(&call("sip:a@x", "sip:1414@x")).emergency);
    assert!(!set.decide(&call("sip:a@x", "sip:911@x")).emergency);
}

#[test]
fn an_emergency_number_behind_a_caller_id_code_or_before_a_pause_is_one() {
    let set = strict();
    for uri in [
        "sip:*31#112@x",
        "sip:#31#112@x",
        "sip:*31%23112@x",
        "tel:*31#+112",
        "sip:*30#112@x",
        "sip:*67911@x",
        "sip:*82911@x;user=phone",
        "sip:*67%23112@x",
        "sip:112,@x",
        "sip:112,,1@x",
        "sip:112p1@x",
        "sip:112w@x",
        "sip:*31#1-1-2p1@x",
        "sip:*31#112%23@x",
    ] {
        assert!(set.decide(&call("sip:a@x", uri)).emergency, "{uri}");
        assert!(set.screen(&call("sip:a@x", uri)).1, "{uri}");
    }
    for uri in [
        "sip:*21*112#@x",
        "sip:*21#112@x",
        "sip:*70911@x",
        "sip:#112@x",
        "sip:*31#1120@x",
        "sip:*31#@x",
        "sip:*31#2,112@x",
        "sip:p112@x",
        "sip:*31#*31#112@x",
        "sip:911x@x",
        "sip:911pbx@x",
        "sip:112pete@x",
        "sip:*31#112w.smith@x",
    ] {
        assert!(!set.decide(&call("sip:a@x", uri)).emergency, "{uri}");
    }
}
