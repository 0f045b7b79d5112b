//! Who is called in the end: a route or a rule of what leaves makes another callee of the number that was dialled, and the
//! policies of both hold.

use onrecord::engine::Input;
use onrecord::model::Fault;
use onrecord::trunk::{Conduct, Field, Passage, Rank, Redirect, Rewrite, Route, Site, Trunk};

use super::bench::{A, B, Bench, GRANTS, LENIENT, SDP, STRICT};
use super::routed::{call, trunk};

fn rule(passage: Passage, pattern: &str, replacement: &str) -> Rewrite {
    Rewrite::new(passage, Field::RequestUri, pattern, replacement).unwrap()
}

fn granted(to: &str) -> String {
    format!("[[grant]]\npolicy = \"desk\"\nto = [\"{to}\"]\n")
}

fn with_rules(rules: Vec<Rewrite>) -> Trunk {
    Trunk {
        rewrites: rules,
        ..trunk("carrier", B)
    }
}

fn routed(bench: &mut Bench, carrier: Trunk, prefix: Option<&str>, to_user: Option<&str>) {
    routed_from(bench, trunk("pbx", A), carrier, prefix, to_user);
}

fn routed_from(bench: &mut Bench, pbx: Trunk, carrier: Trunk, prefix: Option<&str>, to_user: Option<&str>) {
    let route = |prefix: Option<&str>, to_user: Option<&str>, priority| Route {
        from: "pbx".into(),
        to: "carrier".into(),
        prefix: prefix.map(str::to_owned),
        to_user: to_user.map(str::to_owned),
        priority,
    };
    bench.input(Input::Trunks {
        trunks: vec![pbx, carrier],
        routes: vec![route(prefix, to_user, -1), route(None, None, 0)],
    });
}

#[test]
fn a_number_that_rings_at_a_strict_desk_is_strict_and_others_are_not() {
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", &granted("user:1000"))]);
    routed(&mut bench, trunk("carrier", B), Some("+442079460000"), Some("1000"));
    bench.recorder_fails(Fault::DiskFull);
    call(&mut bench, 1, "+442079460000", SDP);
    assert_eq!(bench.response_to_a().status, 603);
    call(&mut bench, 2, "+442079460001", SDP);
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("+442079460001"));
}

#[test]
fn a_name_that_a_rule_makes_of_what_was_dialled_is_decided_for() {
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", &granted("user:alice@127.0.0.1"))]);
    let carrier = with_rules(vec![rule(Passage::Out, "^desk$", "alice")]);
    routed(&mut bench, carrier, None, None);
    bench.recorder_fails(Fault::DiskFull);
    call(&mut bench, 1, "desk", SDP);
    assert_eq!(bench.response_to_a().status, 603);
}

#[test]
fn who_is_called_at_another_host_if_the_first_is_silent_is_decided_for_at_once() {
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", &granted("user:1000@127.0.0.9"))]);
    let mut carrier = trunk("carrier", B);
    carrier.peers.extend(trunk("x", "127.0.0.9:5060").peers);
    let site = |text: &str, priority| Site::parse(text, Rank { priority, weight: 0 }).unwrap();
    carrier.sites = vec![site(B, 1), site("127.0.0.9:5060", 2)];
    routed(&mut bench, carrier, Some("reception"), Some("1000"));
    bench.recorder_fails(Fault::DiskFull);
    call(&mut bench, 1, "reception", SDP);
    assert_eq!(bench.response_to_a().status, 603);
}

#[test]
fn a_number_that_a_redirect_names_is_decided_for_as_its_route_sends_it_on() {
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", &granted("user:1000"))]);
    let carrier = Trunk {
        conduct: Conduct {
            redirect: Redirect::Follow,
            ..Conduct::default()
        },
        ..trunk("carrier", B)
    };
    routed(&mut bench, carrier, Some("+442079460000"), Some("1000"));
    bench.recorder_fails(Fault::DiskFull);
    call(&mut bench, 1, "bob", SDP);
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("bob"));
    bench.b_redirects(302, &["sip:+442079460000@example.com"]);
    assert_eq!(bench.response_to_a().status, 603);
}

#[test]
fn who_is_called_in_the_end_takes_no_policy_away() {
    let grants = format!("{GRANTS}[[grant]]\npolicy = \"$null\"\nto = [\"user:1000\"]\n");
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", &grants)]);
    routed(&mut bench, trunk("carrier", B), Some("reception"), Some("1000"));
    bench.recorder_fails(Fault::DiskFull);
    call(&mut bench, 1, "reception", SDP);
    assert_eq!(bench.response_to_a().status, 603);
}

#[test]
fn a_number_that_becomes_112_as_it_leaves_is_an_emergency() {
    let mut bench = Bench::strict();
    let carrier = with_rules(vec![rule(Passage::Out, r"^9(\d+)$", "$1")]);
    routed(&mut bench, carrier, Some("help"), Some("9112"));
    bench.recorder_fails(Fault::DiskFull);
    for (n, dialled) in [(1, "9112"), (2, "help")] {
        call(&mut bench, n, dialled, SDP);
        assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("112"), "{dialled}");
        bench.b_answers("INVITE", 486, "");
    }
    call(&mut bench, 3, "9113", SDP);
    assert_eq!(bench.response_to_a().status, 603);
}

#[test]
fn what_was_dialled_for_help_stays_an_emergency_whatever_the_rules_make_of_it() {
    let mut bench = Bench::strict();
    let pbx = Trunk {
        rewrites: vec![rule(Passage::In, "^112$", "+4420794")],
        ..trunk("pbx", A)
    };
    routed_from(&mut bench, pbx, trunk("carrier", B), None, None);
    bench.recorder_fails(Fault::DiskFull);
    call(&mut bench, 1, "112", SDP);
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("+4420794"));
}

#[test]
fn an_extension_that_looks_like_help_on_another_trunk_is_none_where_its_own_trunk_says_so() {
    let plan = "[[dial_plan]]\ntrunk = \"carrier\"\nemergency = [\"112\"]\n";
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", GRANTS), ("plan.toml", plan)]);
    routed(&mut bench, trunk("carrier", B), Some("reception"), Some("110"));
    bench.recorder_fails(Fault::DiskFull);
    call(&mut bench, 1, "reception", SDP);
    assert_eq!(bench.response_to_a().status, 603);
}

#[test]
fn a_lenient_desk_is_recorded_under_the_number_that_was_dialled() {
    let mut bench = Bench::with(&[("desk.toml", LENIENT), ("grants.toml", &granted("user:1000"))]);
    routed(&mut bench, trunk("carrier", B), Some("reception"), Some("1000"));
    call(&mut bench, 1, "reception", SDP);
    let header = bench.headers()[0].clone();
    assert_eq!(header.policies.len(), 1);
    assert!(
        header.callee.identity.contains("reception"),
        "{}",
        header.callee.identity
    );
}
