//! Session timers, leg by leg (RFC 4028): a call that its peers forgot ends.

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

fn count(bench: &Bench, rung: &str) -> usize {
    bench.story.iter().filter(|told| *told == rung).count()
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
    assert_eq!(count(&bench, "INVITE → B"), 1);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn peers_that_know_no_timers_are_asked_by_the_description_that_they_know() {
    let mut bench = connected("", "");
    bench.wait(seconds(905));
    assert!(bench.story.is_empty());
    bench.wait(seconds(10));
    assert_eq!(bench.story, ["INVITE → A", "INVITE → B"]);
    let (to_a, to_b) = (bench.request_to_a("INVITE"), bench.request_to_b("INVITE"));
    for request in [&to_a, &to_b] {
        assert_eq!(expires(request), Some("1800;refresher=uac"));
        let sdp = String::from_utf8_lossy(&request.body);
        assert!(
            sdp.contains("o=- 1 1 IN IP4 192.0.2.1") && sdp.contains("c=IN IP4 127.0.0.1"),
            "{sdp}"
        );
    }
    let media = bench.media.len();
    bench.a_answers("INVITE", 200, SDP);
    bench.b_agrees("INVITE", 200, SDP);
    assert_eq!((count(&bench, "ACK → A"), count(&bench, "ACK → B")), (1, 1));
    assert_eq!(bench.media.len(), media, "nothing moved");
    bench.a_answers("INVITE", 200, SDP);
    assert_eq!(
        count(&bench, "ACK → A"),
        2,
        "a 2xx that comes again is acknowledged again"
    );
    bench.wait(seconds(900));
    assert_eq!(bench.signaling.calls(), 1);
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_peer_that_moved_meanwhile_is_heard_at_its_new_address() {
    let mut bench = connected("", "");
    bench.wait(seconds(912));
    bench.media.clear();
    bench.a_answers("INVITE", 200, &SDP.replace("4000", "4444"));
    assert_eq!(bench.media.len(), 1, "{:?}", bench.media);
}

#[test]
fn who_allows_update_is_asked_by_update_without_a_body() {
    let allows = "Allow: INVITE, ACK, BYE, UPDATE\r\n";
    let mut bench = connected(allows, allows);
    bench.wait(seconds(912));
    assert_eq!(bench.story, ["UPDATE → A", "UPDATE → B"]);
    assert!(bench.request_to_a("UPDATE").body.is_empty());
    bench.a_answers("UPDATE", 200, "");
    bench.b_agrees("UPDATE", 405, "");
    assert_eq!(
        bench.story.last().map(String::as_str),
        Some("INVITE → B"),
        "it allowed more than it can"
    );
    bench.b_agrees("INVITE", 200, SDP);
    bench.wait(seconds(300));
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn a_call_that_both_peers_forgot_ends_within_one_interval() {
    for status in [408, 481] {
        let mut bench = connected("", "");
        bench.wait(seconds(912));
        bench.a_answers("INVITE", status, "");
        assert_eq!(
            (count(&bench, "BYE → A"), count(&bench, "BYE → B")),
            (1, 1),
            "{:?}",
            bench.story
        );
        let reason = bench.request_to_b("BYE").headers.get("Reason").map(str::to_owned);
        assert_eq!(reason.as_deref(), Some("SIP;cause=408;text=\"Session timer expired\""));
        bench.assert_nothing_left();
        assert!(
            bench.story.iter().any(|rung| rung.starts_with("sealed")),
            "{:?}",
            bench.story
        );
    }
    let mut bench = connected("", "");
    bench.wait(seconds(1_000));
    assert!(
        bench
            .story
            .contains(&"recorded: no answer from A to a session refresh".to_owned()),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
}

#[test]
fn an_error_says_that_the_peer_is_there() {
    let mut bench = connected("", "");
    bench.wait(seconds(912));
    for _ in 0..3_000 {
        bench.a_answers("INVITE", 403, "");
        bench.b_agrees("INVITE", 500, "");
        bench.wait(seconds(1));
    }
    assert_eq!(bench.signaling.calls(), 1);
}

/// Both legs know timers of 90 s that we refresh: 54 s after the call began.
fn short(a: &str, b: &str) -> Bench {
    let asks = format!("Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n{a}");
    connected(
        &asks,
        &format!("Require: timer\r\nSession-Expires: 90;refresher=uac\r\n{b}"),
    )
}

#[test]
fn a_peer_that_is_busy_is_asked_again_when_it_said_and_before_its_session_ends() {
    let allows = "Allow: INVITE, ACK, BYE, UPDATE\r\n";
    let mut bench = short(allows, allows);
    bench.wait(seconds(55));
    bench.b_agrees("UPDATE", 200, "");
    let busy = super::bench::answer(&bench.request_to_a("UPDATE"), 500, "x", super::bench::A, "");
    bench.from(super::bench::A, with_lines(&busy, "Retry-After: 3\r\n"));
    bench.wait(seconds(2));
    assert_eq!(count(&bench, "UPDATE → A"), 1);
    bench.wait(seconds(2));
    assert_eq!(count(&bench, "UPDATE → A"), 2);
    for status in [500, 491, 503] {
        bench.a_answers("UPDATE", status, "");
        bench.wait(seconds(8));
    }
    assert_eq!((count(&bench, "UPDATE → A"), count(&bench, "UPDATE → B")), (5, 1));
    bench.a_answers("UPDATE", 200, "");
    bench.wait(seconds(15));
    assert_eq!(count(&bench, "UPDATE → A"), 5, "one 2xx is enough");
    assert_eq!((count(&bench, "BYE → A"), bench.signaling.calls()), (0, 1));
}

#[test]
fn who_refuses_every_refresh_is_asked_a_few_times_in_an_interval_and_keeps_its_call() {
    let mut bench = short("Allow: INVITE, ACK, BYE\r\n", "");
    for second in 0..300 {
        bench.wait(seconds(1));
        if count(&bench, "INVITE → A") > 0 {
            bench.a_answers("INVITE", 488, "");
        }
        for (method, body) in [("INVITE", SDP), ("UPDATE", "")] {
            if count(&bench, &format!("{method} → B")) > 0 {
                bench.b_agrees(method, 200, body);
            }
        }
        assert!(
            bench.signaling.calls() == 1,
            "ended after {second} s: {:?}",
            bench.story
        );
    }
    let asked = count(&bench, "INVITE → A");
    assert!((8..=24).contains(&asked), "{asked} times");
}

#[test]
fn who_does_not_take_the_description_is_asked_without_one() {
    let mut bench = short("", "");
    bench.wait(seconds(55));
    bench.b_agrees("INVITE", 488, "");
    bench.a_answers("INVITE", 488, "");
    assert_eq!((count(&bench, "UPDATE → A"), count(&bench, "UPDATE → B")), (1, 1));
    assert!(bench.request_to_a("UPDATE").body.is_empty());
    bench.a_answers("UPDATE", 200, "");
    bench.b_agrees("UPDATE", 501, "");
    bench.wait(seconds(20));
    assert_eq!(
        (count(&bench, "INVITE → A"), count(&bench, "INVITE → B")),
        (1, 2),
        "who has no UPDATE is asked as before"
    );
    bench.b_agrees("INVITE", 200, SDP);
    bench.wait(seconds(38));
    assert_eq!(count(&bench, "UPDATE → A"), 2, "by what it accepted");
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn an_update_that_nobody_hears_does_not_end_the_call_of_a_peer_that_answered_before() {
    let mut bench = connected("", "");
    bench.wait(seconds(912));
    bench.b_agrees("INVITE", 200, SDP);
    bench.a_answers("INVITE", 488, "");
    bench.wait(seconds(45));
    assert_eq!(
        (
            count(&bench, "UPDATE → A") > 0,
            count(&bench, "INVITE → A"),
            bench.signaling.calls()
        ),
        (true, 2, 1)
    );
    bench.wait(seconds(40));
    assert_eq!(count(&bench, "BYE → B"), 1, "now it is silent to both");
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
    assert_eq!(count(&bench, "UPDATE → B"), 4, "none of our own: {:?}", bench.story);
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
    assert_eq!(count(&bench, "422 → A"), 0);
}

#[test]
fn a_refresh_that_asks_for_too_little_is_refused_and_the_call_stays() {
    let mut bench = connected(KNOWS, "");
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 2, "UPDATE", "Supported: timer\r\nSession-Expires: 30\r\n", "");
    assert_eq!(bench.response_to_a().status, 422);
    assert_eq!(bench.response_to_a().headers.get("Min-SE"), Some("90"));
    assert_eq!((count(&bench, "UPDATE → B"), bench.signaling.calls()), (0, 1));
}

#[test]
fn offers_that_cross_our_refresh_are_glare_and_we_try_again_after_theirs() {
    let mut bench = connected("", "");
    bench.wait(seconds(912));
    bench.a_requests(2, "INVITE", "g1", SDP);
    assert_eq!(bench.response_to_a().status, 491);
    bench.b_agrees("INVITE", 491, "");
    bench.a_answers("INVITE", 200, SDP);
    bench.wait(seconds(5));
    assert_eq!(count(&bench, "INVITE → B"), 2);
    bench.b_agrees("INVITE", 200, SDP);
    bench.a_requests(3, "INVITE", "g2", SDP);
    bench.b_agrees("INVITE", 200, SDP);
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn a_refresh_waits_for_what_is_in_flight() {
    let mut bench = connected("", "");
    bench.wait(seconds(905));
    bench.a_requests(2, "INVITE", "w1", SDP);
    bench.b_answers("INVITE", 100, "");
    bench.wait(seconds(8));
    assert_eq!((count(&bench, "INVITE → A"), count(&bench, "INVITE → B")), (0, 1));
    bench.b_agrees("INVITE", 200, SDP);
    bench.a_requests(2, "ACK", "w2", "");
    bench.wait(seconds(600));
    assert_eq!(
        (count(&bench, "INVITE → A"), count(&bench, "INVITE → B")),
        (0, 1),
        "it served both legs"
    );
}

#[test]
fn a_bye_that_crosses_our_refresh_ends_the_call_once() {
    let mut bench = connected("", "");
    bench.wait(seconds(912));
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_agrees("INVITE", 200, SDP);
    assert_eq!(count(&bench, "ACK → B"), 1);
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
    assert_eq!(count(&bench, "BYE → B"), 1);
}

#[test]
fn a_refresh_that_rings_for_ever_ends_with_the_session() {
    let mut bench = connected("", "");
    bench.wait(seconds(912));
    bench.a_answers("INVITE", 200, SDP);
    bench.b_agrees("INVITE", 180, "");
    bench.wait(seconds(900));
    assert_eq!(
        (count(&bench, "CANCEL → B"), count(&bench, "BYE → A")),
        (1, 1),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
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
    bench.wait(seconds(7_200));
    assert_eq!(bench.signaling.calls(), 1);
}
