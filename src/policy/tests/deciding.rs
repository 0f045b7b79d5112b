//! Who has which policy, and what applies.

use super::super::*;
use super::{call, compile, file, grant_lines, grants, names, policy};
use crate::model::{MediaKind, Timestamp, TrunkName};

const LEVELS: [(&str, &str); 7] = [
    ("by-user", "user:alice@example.com"),
    ("by-desk", "group:desk"),
    ("by-floor", "group:floor"),
    ("by-line", "number:+442079460001"),
    ("by-range", "number:+44207946XXXX"),
    ("by-trunk", "trunk:pbx"),
    ("by-global", "global"),
];
const GROUPS: &str = "
[[group]]
name = \"floor\"
rank = 20
members = [\"alice@example.com\"]
[[group]]
name = \"desk\"
rank = 10
members = [\"alice@example.com\"]
";

/// Alice, by two asserted identities, so that every level can find her.
fn alice() -> CallFacts {
    CallFacts {
        trunk: Some(TrunkName::from("pbx")),
        asserted: vec![
            "<sip:Alice@Example.com;user=x>".to_owned(),
            "tel:+44-20-7946-0001".to_owned(),
        ],
        ..call("sip:somebody@else.example", "sip:bob@far.example")
    }
}

fn set(lines: &[(&str, &str)]) -> PolicySet {
    let mut files: Vec<SourceFile> = lines
        .iter()
        .filter(|(id, _)| *id != "$null")
        .map(|(id, _)| policy(id, ""))
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup();
    let groups = if lines.iter().any(|(_, to)| to.starts_with("group:")) {
        GROUPS
    } else {
        ""
    };
    files.push(grants(&format!("{}{groups}", grant_lines(lines))));
    compile(&files)
}

#[test]
fn the_nearest_grant_wins_at_every_level() {
    for nearest in 0..LEVELS.len() {
        let lines = &LEVELS[nearest..];
        let decision = set(lines).decide(&alice());
        let mut expected = vec![lines[0].0];
        // Bob, the callee, has no trunk and no nearer grant than the global one.
        if lines[0].0 != "by-global" {
            expected.push("by-global");
        }
        assert_eq!(names(&decision), expected, "{:#?}", decision.trace);
    }
}

#[test]
fn a_revoked_grant_stops_the_search() {
    for (_, target) in &LEVELS[..6] {
        let decision = set(&[
            ("$null", target),
            (
                "by-trunk",
                if *target == "trunk:pbx" {
                    "trunk:other"
                } else {
                    "trunk:pbx"
                },
            ),
        ])
        .decide(&alice());
        assert_eq!(decision.verdict, Verdict::None, "{target}");
    }
}

#[test]
fn a_disabled_policy_stops_the_search_too() {
    let off = file(
        "off.toml",
        "[policy]\nid = \"off\"\nenabled = false\nrecord_rerouted_calls = true\n[[policy.recorder]]\nid = \"embedded\"\n",
    );
    let lines = grant_lines(&[("off", "user:alice@example.com"), ("on", "trunk:pbx")]);
    let decision = compile(&[off, policy("on", ""), grants(&lines)]).decide(&alice());
    assert_eq!(decision.verdict, Verdict::None);
    assert!(
        decision.trace[0].contains("user:alice@example.com → off: disabled, not recorded"),
        "{:?}",
        decision.trace
    );
}

#[test]
fn the_trail_says_where_it_is_written_and_what_was_beaten() {
    let decision = set(&[LEVELS[0], LEVELS[1]]).decide(&alice());
    assert_eq!(
        decision.trace,
        [
            "grants.toml:3  user:alice@example.com → by-user  (user beats group:desk → by-desk)",
            "callee bob@far.example  no grant → none",
            "merge  record=yes strict_before=yes strict_during=yes",
            "emergency  no match",
        ]
    );
    assert_eq!(decision.generation, crate::model::Generation(41));
    assert_eq!(decision.hash.len(), 64);
}

#[test]
fn identities_are_level_before_they_are_looked_up() {
    let set = set(&[("by-user", "user:alice@example.com")]);
    for uri in [
        "sip:alice@example.com",
        "sips:alice@example.com",
        "SIP:ALICE@EXAMPLE.COM",
        "sip:%61lice@example.com:5070;transport=tcp",
        "sip:alice:secret@example.com?subject=x",
        "sip:alice@example.com;x=@evil.example",
        "sip:ali\u{1}ce@example.com",
        "sip:alice;phone-context=x@example.com.",
        "\"Al <x>\" <sip:alice@example.com>;tag=1",
        "alice@example.com",
    ] {
        assert_eq!(set.decide(&call(uri, "sip:b@c")).verdict, Verdict::Record, "{uri}");
    }
    for uri in [
        "sip:alice@example.org",
        "sip:alice@example.com@evil.example",
        "sip:alice%40example.com@evil.example",
    ] {
        assert_eq!(set.decide(&call(uri, "sip:b@c")).verdict, Verdict::None, "{uri}");
    }
    let unreadable = Verdict::Block(BlockReason::Unreadable);
    for uri in ["", "sip:", "<"] {
        assert_eq!(set.decide(&call(uri, "sip:b@c")).verdict, unreadable, "{uri}");
    }
}

#[test]
fn from_counts_only_where_nobody_trusted_asserts_an_identity() {
    let set = set(&[("by-user", "user:alice@example.com")]);
    let mut facts = call("sip:alice@example.com", "sip:b@c");
    assert_eq!(set.decide(&facts).verdict, Verdict::Record);
    facts.asserted = vec!["sip:mallory@example.com".to_owned()];
    assert_eq!(set.decide(&facts).verdict, Verdict::None);
}

#[test]
fn from_adds_where_what_is_asserted_names_nobody() {
    let set = set(&[("by-user", "user:alice@example.com"), ("by-number", "number:+4420*")]);
    for nobody in [
        "sip:anonymous@anonymous.invalid",
        "\"Anonymous\" <sip:Anonymous@carrier.example>",
        "sip:unavailable@unknown.invalid",
        "sip:192.0.2.1:5060",
        "tel:anonymous",
    ] {
        let told = |from: &str| CallFacts {
            asserted: vec![nobody.to_owned()],
            ..call(from, "sip:b@c")
        };
        let decision = set.decide(&told("sip:alice@example.com"));
        assert_eq!(decision.verdict, Verdict::Record, "{nobody}");
        assert!(
            !decision.caller.to_string().contains("alice"),
            "its name is kept as asserted"
        );
        assert_eq!(
            names(&set.decide(&told("sip:+442079460001@x"))),
            ["by-number"],
            "{nobody}"
        );
        assert_eq!(set.decide(&told("sip:bob@example.com")).verdict, Verdict::None);
    }
    let exempt = set_of_all_but_alice();
    let hidden = CallFacts {
        asserted: vec!["sip:anonymous@anonymous.invalid".to_owned()],
        ..call("sip:alice@example.com", "sip:alice@example.com")
    };
    assert_eq!(
        exempt.decide(&hidden).verdict,
        Verdict::Record,
        "and takes nothing away"
    );
}

/// Everybody is recorded, alice is not.
fn set_of_all_but_alice() -> PolicySet {
    set(&[("everybody", "global"), ("$null", "user:alice@example.com")])
}

#[test]
fn numbers_are_e164_by_the_dial_plan_of_the_trunk() {
    let text = format!(
        "{}[[dial_plan]]\ntrunk = \"london\"\ncountry_code = \"44\"\n\
         [[dial_plan]]\ntrunk = \"newark\"\ncountry_code = \"1\"\nnational_prefix = \"1\"\ninternational_prefix = \"011\"\nnational_length = 10\n",
        grant_lines(&[
            ("uk", "number:+44207946XXXX"),
            ("us", "number:+1973*"),
            ("ext", "number:2XX")
        ])
    );
    let set = compile(&[policy("uk", ""), policy("us", ""), policy("ext", ""), grants(&text)]);
    for (trunk, dialled, expected) in [
        ("london", "sip:+442079460123@gw", "uk"),
        ("london", "tel:+44-(20)-7946.0123", "uk"),
        ("london", "sip:02079460123@gw;user=phone", "uk"),
        ("london", "sip:00442079460123@gw", "uk"),
        ("london", "sip:0019735550100@gw", "us"),
        ("london", "sip:234@gw", "ext"),
        ("newark", "sip:9735550100@gw", "us"),
        ("newark", "sip:19735550100@gw", "us"),
        ("newark", "sip:011442079460123@gw", "uk"),
        ("newark", "sip:02079460123@gw", ""),
        ("london", "sip:+4420794601234@gw", ""),
        ("london", "sip:2345@gw", ""),
    ] {
        let facts = CallFacts {
            trunk: Some(TrunkName::from(trunk)),
            ..call("sip:x@y", dialled)
        };
        assert_eq!(
            names(&set.decide(&facts)).first().copied().unwrap_or(""),
            expected,
            "{trunk} {dialled}"
        );
    }
}

#[test]
fn a_number_falls_under_the_most_specific_range() {
    let set = set(&[
        ("wide", "number:+44*"),
        ("mid", "number:+44207946XXXX"),
        ("narrow", "number:+442079460*"),
        ("one", "number:+442079460001"),
    ]);
    for (number, expected) in [
        ("+442079460001", "one"),
        ("+442079460002", "narrow"),
        ("+442079461002", "mid"),
        ("+441632960000", "wide"),
    ] {
        assert_eq!(
            names(&set.decide(&call("sip:x@y", &format!("tel:{number}")))),
            [expected],
            "{number}"
        );
    }
}

#[test]
fn to_can_add_a_policy_and_never_takes_one_away() {
    let lines = grant_lines(&[
        ("$null", "user:free@example.com"),
        ("desk", "user:desk@example.com"),
        ("all", "global"),
    ]);
    let set = compile(&[policy("desk", ""), policy("all", ""), grants(&lines)]);
    let with_to = |to: &str| CallFacts {
        to: to.to_owned(),
        ..call("sip:free@example.com", "sip:x1@10.0.0.9")
    };
    assert_eq!(names(&set.decide(&with_to("sip:free@example.com"))), ["all"]);
    assert_eq!(names(&set.decide(&with_to("sip:desk@example.com"))), ["desk", "all"]);
    let called = CallFacts {
        called_party_id: Some("<sip:desk@example.com>".to_owned()),
        ..with_to("sip:free@example.com")
    };
    assert_eq!(names(&set.decide(&called)), ["desk"]);
}

#[test]
fn the_first_filter_that_matches_decides() {
    let filters = "action = \"skip\"\n\
        [[policy.filter]]\nfar_end = \"internal\"\naction = \"skip\"\n\
        [[policy.filter]]\ndirection = \"outbound\"\nprefix = [\"+1\"]\naction = \"block\"\n\
        [[policy.filter]]\ndays = [\"mon\"]\nhours = \"22:00-06:00\"\nutc_offset = \"+01:00\"\n\
        [[policy.filter]]\nmedia = [\"video\"]\n\
        [[policy.filter]]\ndates = [\"2026-12-25\"]\naction = \"record\"";
    let plan = "[[dial_plan]]\ninternal_domains = [\"x\"]\n";
    let set = compile(&[
        policy("p", filters),
        grants(&format!("{}{plan}", grant_lines(&[("p", "user:a@x")]))),
    ]);
    let decide = |from: &str, to: &str, at: &str, media: &[MediaKind]| {
        let at: Timestamp = at.parse().unwrap();
        set.decide(&CallFacts {
            at,
            media: media.to_vec(),
            ..call(from, to)
        })
        .verdict
    };
    let (audio, video) = (
        [MediaKind::Audio].as_slice(),
        [MediaKind::Audio, MediaKind::Video].as_slice(),
    );
    // 2026-11-23 is a Monday; 21:30 UTC is 22:30 at +01:00.
    let (night, day, christmas) = ("2026-11-23T21:30:00Z", "2026-11-23T12:00:00Z", "2026-12-25T12:00:00Z");
    assert_eq!(decide("sip:a@x", "sip:b@x", night, audio), Verdict::None, "internal");
    assert!(
        matches!(decide("sip:a@x", "tel:+1555", day, audio), Verdict::Block(_)),
        "outbound to +1"
    );
    assert_eq!(
        decide("tel:+1555", "sip:a@x", day, audio),
        Verdict::None,
        "inbound from +1"
    );
    assert_eq!(
        decide("sip:a@x", "sip:b@far", night, audio),
        Verdict::Record,
        "Monday night"
    );
    assert_eq!(decide("sip:a@x", "sip:b@far", day, audio), Verdict::None, "by day");
    assert_eq!(
        decide("sip:a@x", "sip:b@far", day, &[]),
        Verdict::None,
        "a late offer counts as audio"
    );
    assert_eq!(decide("sip:a@x", "sip:b@far", day, video), Verdict::Record, "video");
    assert_eq!(
        decide("sip:a@x", "sip:b@far", christmas, audio),
        Verdict::Record,
        "by date"
    );
}

#[test]
fn the_hash_depends_on_names_and_texts_and_on_nothing_else() {
    let (one, two) = (policy("one", ""), grants(&grant_lines(&[("one", "global")])));
    let hash = |files: &[SourceFile]| compile(files).hash().to_owned();
    let reference = hash(&[one.clone(), two.clone()]);
    assert_eq!(hash(&[two.clone(), one.clone()]), reference);
    let elsewhere = SourceFile {
        path: "/etc/onrecord/policies/one.toml".to_owned(),
        ..one.clone()
    };
    assert_eq!(hash(&[elsewhere, two.clone()]), reference);
    let renamed = SourceFile {
        path: "policies/uno.toml".to_owned(),
        ..one.clone()
    };
    assert_ne!(hash(&[renamed, two.clone()]), reference);
    let touched = SourceFile {
        text: format!("{}\n", one.text),
        ..one
    };
    assert_ne!(hash(&[touched, two]), reference);
}

#[test]
fn a_decision_tells_more_where_somebody_is_told_or_asked_by_it_alone() {
    let decided = |notify: &str| {
        let prompts = "prompts = { package = \"desk\" }";
        let policy = policy("one", &format!("notify = {{ {notify} }}\n{prompts}"));
        let set = compile(&[policy, grants(&grant_lines(&[("one", "global")]))]);
        set.decide(&call("sip:alice@example.com", "sip:bob@example.com"))
    };
    let tells_more = |one: &str, other: &str| decided(one).tells_more_than(&decided(other));
    let silent = "mode = \"none\"";
    let [toned, prompted] = ["tone", "prompt"].map(|mode| format!("mode = \"{mode}\", to = \"caller\""));
    let asked = format!("{prompted}, consent = {{}}");
    let others = prompted.replace("caller", "callee");
    let informed = format!("{prompted}, consent = {{ mode = \"inform\" }}");
    for more in [&toned, &prompted, &asked] {
        assert!(tells_more(more, silent) && !tells_more(silent, more), "{more}");
        assert!(!tells_more(more, more), "{more}");
    }
    assert!(tells_more(&asked, &prompted) && !tells_more(&prompted, &asked));
    assert!(tells_more(&prompted, &others) && tells_more(&others, &prompted));
    assert!(tells_more(&prompted, &toned) && tells_more(&toned, &prompted));
    assert!(!tells_more(&informed, &prompted), "nobody is asked");
}
