//! What a caller's side may write as it likes takes no policy away, and nobody is exempt by how they are written.

use super::super::*;
use super::{call, compile, file, grant_lines, grants, names, policy};

const NEVER: &str = "[policy]\nid = \"never\"\nenabled = true\nrecord_rerouted_calls = true\naction = \"never\"\non_conflict = \"never\"\n[[policy.recorder]]\nid = \"embedded\"\n";

fn desk_and(lines: &[(&str, &str)], plan: &str) -> PolicySet {
    let text = format!("{}{plan}", grant_lines(lines));
    compile(&[policy("desk", ""), file("never.toml", NEVER), grants(&text)])
}

fn to_bob() -> CallFacts {
    call("sip:x@y", "sip:bob@example.com")
}

#[test]
fn who_is_said_to_be_called_by_a_stranger_adds_a_policy_and_takes_none_away() {
    let set = desk_and(&[("$null", "user:free@example.com"), ("desk", "global")], "");
    let said = |called_party_claimed: &str| CallFacts {
        called_party_claimed: Some(called_party_claimed.to_owned()),
        ..call("sip:free@example.com", "sip:bob@example.com")
    };
    assert_eq!(names(&set.decide(&said("sip:free@example.com"))), ["desk"]);
    let set = desk_and(&[("desk", "user:boss@example.com")], "");
    assert_eq!(names(&set.decide(&said("sip:boss@example.com"))), ["desk"]);
}

#[test]
fn whom_a_stranger_names_as_having_sent_the_call_on_forbids_no_recording() {
    let set = desk_and(
        &[("never", "user:judge@example.com"), ("desk", "user:bob@example.com")],
        "",
    );
    let by = "sip:judge@example.com".to_owned();
    let claimed = CallFacts {
        rerouting_claimed: vec![by.clone()],
        ..to_bob()
    };
    assert_eq!(names(&set.decide(&claimed)), ["desk"]);
    let known = CallFacts {
        rerouted_by: vec![by],
        ..to_bob()
    };
    assert_eq!(set.decide(&known).verdict, Verdict::None);
}

#[test]
fn parameters_make_no_party_unreadable_and_who_is_unreadable_is_refused() {
    let set = desk_and(&[("desk", "user:bob@example.com")], "");
    let long = format!("sip:bob@example.com;x={}", "a".repeat(600));
    assert_eq!(names(&set.decide(&call("sip:x@y", &long))), ["desk"]);
    let unreadable = format!("sip:{}@example.com", "a".repeat(600));
    let refused = Verdict::Block(BlockReason::Unreadable);
    for facts in [call("sip:x@y", &unreadable), call(&unreadable, "sip:x@y")] {
        assert_eq!(set.decide(&facts).verdict, refused);
    }
    let emergency = CallFacts {
        to: "urn:service:sos".to_owned(),
        to_is_vouched: true,
        ..call(&unreadable, "sip:x@y")
    };
    assert_eq!(set.decide(&emergency).verdict, Verdict::None);
}

#[test]
fn users_at_our_own_address_are_users_of_the_host_that_we_send_to_and_of_our_domains() {
    let ours = || CallFacts {
        own_hosts: vec!["192.0.2.9".to_owned()],
        called_at: Some("sip:bob@192.0.2.10:5060".to_owned()),
        ..call("sip:x@y", "sip:bob@192.0.2.9:5070")
    };
    let by_host = desk_and(&[("desk", "user:bob@192.0.2.10")], "");
    assert_eq!(names(&by_host.decide(&ours())), ["desk"]);
    let plan = "[[dial_plan]]\ndomains = [\"Example.com\"]\n";
    let by_domain = desk_and(
        &[("desk", "user:bob@example.com"), ("$null", "user:ann@example.com")],
        plan,
    );
    assert_eq!(names(&by_domain.decide(&ours())), ["desk"]);
    let elsewhere = call("sip:x@y", "sip:bob@192.0.2.77");
    assert_eq!(names(&by_domain.decide(&elsewhere)), ["desk"], "routes send it to bob");
    let by_all = desk_and(&[("desk", "global"), ("$null", "user:ann@example.com")], plan);
    let to_ann = CallFacts {
        from: "sip:ann@192.0.2.9".to_owned(),
        request_uri: "sip:ann@192.0.2.9".to_owned(),
        ..ours()
    };
    assert_eq!(by_all.decide(&to_ann).verdict, Verdict::None);
    let stranger = CallFacts {
        from: "sip:ann@example.com".to_owned(),
        ..call("sip:ann@example.com", "sip:ann@192.0.2.77")
    };
    assert_eq!(
        names(&by_all.decide(&stranger)),
        ["desk"],
        "a host that is not ours exempts nobody"
    );
}

#[test]
fn the_hash_that_ends_a_number_is_no_part_of_it() {
    let set = desk_and(&[("desk", "number:+44207*"), ("never", "user:*21#@pbx")], "");
    for uri in [
        "sip:+442079460001%23@pbx",
        "tel:+442079460001#",
        "sip:+442079460001#@pbx",
    ] {
        assert_eq!(names(&set.decide(&call("sip:x@y", uri))), ["desk"], "{uri}");
    }
    let code = set.decide(&call("sip:x@y", "sip:*21%23@pbx"));
    assert!(
        code.trace.iter().any(|line| line.contains("must not be recorded")),
        "{:?}",
        code.trace
    );
}

#[test]
fn that_more_parties_sent_a_call_on_than_are_looked_at_is_told() {
    let set = desk_and(&[("desk", "user:bob@example.com")], "");
    let many = CallFacts {
        rerouters_left_out: 3,
        ..to_bob()
    };
    let trace = set.decide(&many).trace;
    assert!(
        trace.contains(&"rerouted by  3 more are named than are looked at".to_owned()),
        "{trace:?}"
    );
}

#[test]
fn a_number_is_found_behind_service_codes_before_pauses_and_in_its_context() {
    let plan = "[[dial_plan]]\ncountry_code = \"44\"\n";
    let set = desk_and(&[("desk", "user:+442079460001")], plan);
    for uri in [
        "tel:79460001;phone-context=+4420",
        "sip:79460001;phone-context=+44-20@pbx;user=phone",
        "sip:%2A31%2302079460001@pbx",
        "sip:#31#02079460001@pbx",
        "sip:*6702079460001@pbx",
        "sip:+442079460001,,1@pbx",
        "sip:+442079460001p1@pbx",
        "sip:02079460001W1@pbx",
        "sip:02079460001*@pbx",
        "sip:02079460001%23%23@pbx",
        "tel:+44(0)20-7946-0001",
    ] {
        assert_eq!(names(&set.decide(&call("sip:x@y", uri))), ["desk"], "to {uri}");
        assert_eq!(names(&set.decide(&call(uri, "sip:x@y"))), ["desk"], "from {uri}");
    }
    for uri in [
        "tel:79460001;phone-context=example.com",
        "sip:79460001;phone-context=+4421@pbx",
        "sip:*21*02079460001#@pbx",
        "sip:wp@pbx",
        "sip:**@pbx",
    ] {
        assert_eq!(names(&set.decide(&call("sip:x@y", uri))), [""; 0], "{uri}");
    }
}

#[test]
fn a_number_that_lacks_its_plus_is_found_on_a_trunk_that_writes_e164_and_digits_behind_a_number_are_part_of_it() {
    let plan = "[[dial_plan]]\ncountry_code = \"44\"\n";
    let set = desk_and(
        &[("desk", "number:+44207946XXXX"), ("never", "user:442079460002")],
        plan,
    );
    let told = |from: &str, to: &str, writes_e164| {
        let facts = CallFacts {
            writes_e164,
            ..call(from, to)
        };
        set.decide(&facts).policies
    };
    for number in ["sip:442079460001@pbx", "tel:442079460001"] {
        assert_eq!(told("sip:x@y", number, true).len(), 1, "to {number}");
        assert_eq!(told(number, "sip:x@y", true).len(), 1, "from {number}");
        assert!(
            told("sip:x@y", number, false).is_empty(),
            "{number} of a trunk that does not say so"
        );
    }
    for other in [
        "sip:442079460002@pbx",
        "sip:4420794@pbx",
        "sip:+4420794600010@pbx",
        "sip:+442079460001*12@pbx",
        "sip:+442079460001x12@pbx",
    ] {
        assert!(told("sip:x@y", other, true).is_empty(), "{other}");
    }
}

#[test]
fn what_a_number_may_be_read_as_takes_no_policy_away() {
    let set = desk_and(
        &[
            ("desk", "number:100X"),
            ("$null", "user:+44201001"),
            ("never", "user:+44201002"),
        ],
        "",
    );
    for uri in ["sip:1001;phone-context=+4420@pbx", "tel:1002;phone-context=+4420"] {
        assert_eq!(names(&set.decide(&call("sip:x@y", uri))), ["desk"], "{uri}");
    }
}

#[test]
fn an_extension_is_found_behind_service_codes_and_before_pauses() {
    let plan = "[[dial_plan]]\ndomains = [\"example.com\"]\n";
    for target in ["user:2000", "number:20XX", "user:2000@example.com"] {
        let set = desk_and(&[("desk", target)], plan);
        for user in [
            "*31#2000",
            "#31#2000",
            "*31%232000",
            "*672000",
            "2000,1",
            "2000p1",
            "2000w1",
            "2000*",
        ] {
            let uri = format!("sip:{user}@pbx");
            assert_eq!(names(&set.decide(&call("sip:x@y", &uri))), ["desk"], "{target} {uri}");
        }
        for user in ["*21*2000#", "2000x", "p2000", "alice"] {
            let uri = format!("sip:{user}@pbx");
            assert_eq!(names(&set.decide(&call("sip:x@y", &uri))), [""; 0], "{target} {uri}");
        }
    }
}

#[test]
fn what_any_caller_may_write_of_themselves_adds_a_policy_and_takes_none_away() {
    let claimed = |from: &str, claimed: &str| CallFacts {
        caller_claimed: vec![claimed.to_owned()],
        ..call(from, "sip:x@y")
    };
    let set = desk_and(&[("desk", "user:2000"), ("$null", "user:free@example.com")], "");
    for said in ["sip:2000@pbx", "sip:*31#2000@pbx", "<sip:2000@pbx", "2000"] {
        let facts = claimed("sip:anonymous@anonymous.invalid", said);
        assert_eq!(names(&set.decide(&facts)), ["desk"], "{said}");
    }
    let known = claimed("sip:free@example.com", "sip:2000@pbx");
    assert_eq!(names(&set.decide(&known)), [""; 0], "a grant of their own counts");
    let set = desk_and(&[("desk", "global"), ("$null", "user:free@example.com")], "");
    let exempt = claimed("sip:anonymous@anonymous.invalid", "sip:free@example.com");
    assert_eq!(names(&set.decide(&exempt)), ["desk"]);
}

#[test]
fn a_caller_at_their_trunks_own_address_is_a_user_of_our_domains_if_that_adds_a_policy() {
    let plan = "[[dial_plan]]\ndomains = [\"example.com\"]\n";
    let from_pbx = |from: &str| CallFacts {
        caller_hosts: vec!["192.0.2.11".to_owned()],
        ..call(from, "sip:x@y")
    };
    let set = desk_and(&[("desk", "user:alice@example.com")], plan);
    assert_eq!(names(&set.decide(&from_pbx("sip:alice@192.0.2.11:5070"))), ["desk"]);
    assert_eq!(names(&set.decide(&from_pbx("sip:alice@192.0.2.99"))), [""; 0]);
    let set = desk_and(&[("desk", "global"), ("$null", "user:alice@example.com")], plan);
    assert_eq!(names(&set.decide(&from_pbx("sip:alice@192.0.2.11"))), ["desk"]);
}
