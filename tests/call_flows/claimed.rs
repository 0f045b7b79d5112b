//! What callers say of an emergency without calling anybody for help.

use onrecord::model::Fault;
use onrecord::trunk::{Conduct, Redirect};

use super::bench::{A, ALL_STRICT, B, Bench, C, GRANTS, PROXY, SDP, STRICT, invite};

const BLOCK: &str =
    "[policy]\nid = \"desk\"\nenabled = true\naction = \"block\"\n[[policy.recorder]]\nid = \"embedded\"\n";

/// Alice calls Bob, and writes of help in To.
fn claims_help(bench: &mut Bench) {
    let text = String::from_utf8(invite(1, "a1", "", SDP, "").to_vec()).unwrap();
    let to = format!("To: <sip:bob@{PROXY}>");
    bench.from(A, text.replace(&to, "To: <urn:service:sos>").into());
}

/// Somebody at the carrier calls Alice.
fn is_called(bench: &mut Bench) -> u16 {
    let text = String::from_utf8(invite(1, "back", "", SDP, "").to_vec()).unwrap();
    let call = text
        .replace("sip:bob@127.0.0.1:5070", "sip:alice@example.com")
        .replace("\"Alice\" <sip:alice@example.com>", "<sip:friend@example.com>")
        .replace("a-tag", "b-tag")
        .replace("call-1", "call-2");
    bench.from(B, call.replace(A, B).into());
    bench.response_to_b().status
}

#[test]
fn the_service_urn_in_to_of_a_trunk_that_is_not_trusted_makes_no_emergency() {
    for (policy, status) in [(STRICT, 603), (BLOCK, 403)] {
        let mut bench = Bench::between([false; 2], &[("desk.toml", policy), ("grants.toml", GRANTS)]);
        bench.recorder_fails(Fault::DiskFull);
        claims_help(&mut bench);
        assert_eq!(bench.response_to_a().status, status);
        assert!(bench.to_b.is_empty(), "{:#?}", bench.story);
    }
}

#[test]
fn nor_does_it_open_a_window_for_call_backs() {
    let mut bench = Bench::between([false; 2], &ALL_STRICT);
    claims_help(&mut bench);
    assert!(bench.headers()[0].strict_during, "an ordinary call");
    bench.b_answers("INVITE", 180, "");
    bench.recorder_fails(Fault::DiskFull);
    assert_eq!(is_called(&mut bench), 603);
}

#[test]
fn a_trusted_trunk_resolves_the_urn_and_leaves_it_in_to() {
    let mut bench = Bench::between([true, false], &ALL_STRICT);
    bench.recorder_fails(Fault::DiskFull);
    claims_help(&mut bench);
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("bob"));
    bench.b_answers("INVITE", 180, "");
    assert_eq!(is_called(&mut bench), 100, "the call back");
}

#[test]
fn who_calls_an_emergency_number_is_connected_from_any_trunk_and_wherever_it_is_sent_on() {
    let follows = || Conduct {
        redirect: Redirect::Follow,
        ..Conduct::default()
    };
    let mut bench = Bench::with_branch(&ALL_STRICT, follows(), follows());
    bench.recorder_fails(Fault::DiskFull);
    let text = String::from_utf8(invite(1, "a1", "", SDP, "").to_vec()).unwrap();
    bench.from(A, text.replace("sip:bob@", "sip:112@").into());
    bench.b_redirects(302, &[&format!("<sip:ambulance@{C}>")]);
    assert_eq!(bench.request_to_c("INVITE").uri.user(), Some("ambulance"));

    let mut stranger = Bench::between([false; 2], &ALL_STRICT);
    stranger.recorder_fails(Fault::DiskFull);
    stranger.from(A, text.replace(&format!("sip:bob@{PROXY} "), "urn:service:sos ").into());
    assert_eq!(stranger.request_to_b("INVITE").uri.user(), None);
}
