//! Session timers, leg by leg (RFC 4028): a call that its peers forgot ends.

mod ours;

use std::time::Duration;

use onrecord::sip::Request;

use super::bench::{Bench, PROXY, SDP, with_lines};

const KNOWS: &str = "Supported: timer\r\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Both sides agreed; `a` and `b` are header lines of A's INVITE and B's 200.
fn connected(a: &str, b: &str) -> Bench {
    let mut bench = Bench::strict();
    bench.invite(SDP, a);
    bench.fork_answers("b-tag", 200, b, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.story.clear();
    bench
}

fn expires(request: &Request) -> Option<&str> {
    request.headers.get("Session-Expires")
}

#[test]
fn each_leg_has_a_timer_of_its_own() {
    let bench = connected(
        "Supported: timer\r\nSession-Expires: 600\r\n",
        "Require: timer\r\nSession-Expires: 1200;refresher=uas\r\n",
    );
    let invite = bench.request_to_b("INVITE");
    assert_eq!(expires(&invite), Some("1800"));
    assert_eq!(invite.headers.get("Supported"), Some("timer"));
    let accepted = bench.response_to_a();
    assert_eq!(accepted.headers.get("Session-Expires"), Some("600;refresher=uac"));
    assert_eq!(accepted.headers.get("Require"), Some("timer"));
}

#[test]
fn a_caller_that_knows_no_timers_is_told_of_none() {
    let bench = connected("", "");
    let accepted = bench.response_to_a();
    assert_eq!(accepted.headers.get("Session-Expires"), None);
    assert_eq!(accepted.headers.get("Require"), None);
}

#[test]
fn a_demand_for_timers_is_no_extension_too_many() {
    let bench = connected("Supported: timer\r\nRequire: timer\r\nSession-Expires: 90\r\n", "");
    assert_eq!(
        bench.response_to_a().headers.get("Session-Expires"),
        Some("90;refresher=uac")
    );
    assert_eq!(bench.request_to_b("INVITE").headers.get("Require"), None);
}

#[test]
fn an_interval_that_is_too_small_gets_422_with_ours() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "Supported: timer\r\nSession-Expires: 60\r\n");
    assert_eq!(bench.response_to_a().status, 422);
    assert_eq!(bench.response_to_a().headers.get("Min-SE"), Some("90"));
    assert!(bench.to_b.is_empty());
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_422_of_the_callee_is_met_with_its_interval() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 422, "Min-SE: 3600\r\n", "");
    let again = bench.request_to_b("INVITE");
    assert_eq!(
        (expires(&again), again.headers.get("Min-SE")),
        (Some("3600"), Some("3600"))
    );
    assert_eq!(again.headers.get_all("Supported").count(), 1);
    assert_eq!(again.headers.cseq().number, 2);
    assert!(!bench.story.contains(&"422 → A".to_owned()));
    bench.fork_answers("b-tag", 422, "Min-SE: 3600\r\n", "");
    assert_eq!(bench.response_to_a().status, 422, "the same again is no help");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_422_after_ringing_begins_anew_in_a_dialog_of_its_own() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.fork_answers("b-1", 183, "", SDP);
    let first = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.fork_answers("b-1", 422, "Min-SE: 3600\r\n", "");
    bench.fork_answers("b-2", 200, "", &SDP.replace("4000", "5002"));
    let second = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    assert_ne!(first, second);
    bench.a_requests_in(&second, 1, "ACK", "", "");
    assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 2);
    bench.a_requests_in(&second, 2, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_422_that_crosses_a_cancel_ends_the_call() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    let text = String::from_utf8(super::bench::invite(1, "a1", "", "", "").to_vec()).unwrap();
    bench.from(super::bench::A, text.replace("INVITE", "CANCEL").into());
    bench.fork_answers("b-tag", 422, "Min-SE: 3600\r\n", "");
    assert_eq!(bench.times("INVITE → B"), 1);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_refresh_of_a_peer_crosses_and_serves_both_legs() {
    let mut bench = connected(
        "Supported: timer\r\nSession-Expires: 90\r\n",
        "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n",
    );
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    for cseq in 2..6 {
        bench.wait(seconds(45));
        bench.a_requests_in(
            &tag,
            cseq,
            "UPDATE",
            "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n",
            "",
        );
        assert_eq!(expires(&bench.request_to_b("UPDATE")), Some("90;refresher=uac"));
        let answer = super::bench::answer(&bench.request_to_b("UPDATE"), 200, "x", "127.0.0.1:5090", "");
        bench.from(
            super::bench::B,
            with_lines(&answer, "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n"),
        );
        assert_eq!(
            bench.response_to_a().headers.get("Session-Expires"),
            Some("90;refresher=uac")
        );
    }
    assert_eq!(bench.times("UPDATE → B"), 4, "none of our own: {:?}", bench.story);
    bench.wait(seconds(61));
    assert!(
        bench.story.contains(&"recorded: session of A expired".to_owned()),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
}

#[test]
fn an_interval_that_only_the_far_end_finds_too_small_is_settled_with_it_alone() {
    let mut bench = connected(KNOWS, "Require: timer\r\nSession-Expires: 1800;refresher=uas\r\n");
    bench.a_requests(2, "INVITE", "h1", &SDP.replace("sendrecv", "sendonly"));
    let refused = super::bench::answer(&bench.request_to_b("INVITE"), 422, "x", "127.0.0.1:5090", "");
    bench.from(super::bench::B, with_lines(&refused, "Min-SE: 2400\r\n"));
    let again = bench.request_to_b("INVITE");
    assert_eq!(
        (expires(&again), again.headers.get("Min-SE")),
        (Some("2400;refresher=uas"), Some("2400"))
    );
    assert!(String::from_utf8_lossy(&again.body).contains("a=sendonly"));
    bench.b_agrees("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
    assert_eq!(bench.response_to_a().status, 200);
    bench.a_requests(2, "ACK", "h2", "");
    assert_eq!(bench.times("422 → A"), 0);
}

#[test]
fn a_refresh_that_asks_for_too_little_is_refused_and_the_call_stays() {
    let mut bench = connected(KNOWS, "");
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 2, "UPDATE", "Supported: timer\r\nSession-Expires: 30\r\n", "");
    assert_eq!(bench.response_to_a().status, 422);
    assert_eq!(bench.response_to_a().headers.get("Min-SE"), Some("90"));
    assert_eq!((bench.times("UPDATE → B"), bench.signaling.calls()), (0, 1));
}

#[test]
fn no_timer_ends_an_emergency_call() {
    let mut bench = Bench::strict();
    let text = String::from_utf8(super::bench::invite(1, "a1", "", SDP, "").to_vec()).unwrap();
    let urgent = text.replacen(&format!("sip:bob@{PROXY}"), &format!("sip:112@{PROXY}"), 1);
    let urgent = urgent.replace("To: <sip:bob", "To: <sip:112").replacen(
        "Content-Type",
        "Supported: timer\r\nSession-Expires: 20\r\nContent-Type",
        1,
    );
    bench.from(super::bench::A, urgent.into());
    assert_eq!(expires(&bench.request_to_b("INVITE")), None);
    bench.fork_answers("b-tag", 200, "", SDP);
    assert_eq!(bench.response_to_a().headers.get("Session-Expires"), None);
    bench.a_requests(1, "ACK", "ack1", "");
    for (cseq, method) in [(2, "UPDATE"), (3, "INVITE")] {
        let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
        let short = "Supported: timer\r\nSession-Expires: 30\r\n";
        bench.a_requests_in(&tag, cseq, method, short, if method == "INVITE" { SDP } else { "" });
        bench.b_agrees(method, 200, if method == "INVITE" { SDP } else { "" });
        assert_eq!(bench.response_to_a().status, 200, "{method}");
    }
    bench.a_requests(3, "ACK", "ack3", "");
    bench.wait(seconds(7_200));
    assert_eq!(bench.signaling.calls(), 1);
}
