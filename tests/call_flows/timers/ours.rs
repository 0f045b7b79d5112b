//! Refreshes of ours, for peers that know no timers: how they are asked, and what becomes of who does not answer.

use super::super::bench::{A, Bench, SDP, answer, with_lines};
use super::{connected, expires, seconds};

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
    assert_eq!((bench.times("ACK → A"), bench.times("ACK → B")), (1, 1));
    assert_eq!(bench.media.len(), media, "nothing moved");
    bench.a_answers("INVITE", 200, SDP);
    assert_eq!(
        bench.times("ACK → A"),
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
            (bench.times("BYE → A"), bench.times("BYE → B")),
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
    let busy = answer(&bench.request_to_a("UPDATE"), 500, "x", A, "");
    bench.from(A, with_lines(&busy, "Retry-After: 3\r\n"));
    bench.wait(seconds(2));
    assert_eq!(bench.times("UPDATE → A"), 1);
    bench.wait(seconds(2));
    assert_eq!(bench.times("UPDATE → A"), 2);
    for status in [500, 491, 503] {
        bench.a_answers("UPDATE", status, "");
        bench.wait(seconds(8));
    }
    assert_eq!((bench.times("UPDATE → A"), bench.times("UPDATE → B")), (5, 1));
    bench.a_answers("UPDATE", 200, "");
    bench.wait(seconds(15));
    assert_eq!(bench.times("UPDATE → A"), 5, "one 2xx is enough");
    assert_eq!((bench.times("BYE → A"), bench.signaling.calls()), (0, 1));
}

#[test]
fn who_refuses_every_refresh_is_asked_a_few_times_in_an_interval_and_keeps_its_call() {
    let mut bench = short("Allow: INVITE, ACK, BYE\r\n", "");
    for second in 0..300 {
        bench.wait(seconds(1));
        if bench.times("INVITE → A") > 0 {
            bench.a_answers("INVITE", 488, "");
        }
        for (method, body) in [("INVITE", SDP), ("UPDATE", "")] {
            if bench.times(&format!("{method} → B")) > 0 {
                bench.b_agrees(method, 200, body);
            }
        }
        assert!(
            bench.signaling.calls() == 1,
            "ended after {second} s: {:?}",
            bench.story
        );
    }
    let asked = bench.times("INVITE → A");
    assert!((8..=24).contains(&asked), "{asked} times");
}

#[test]
fn who_does_not_take_the_description_is_asked_without_one() {
    let mut bench = short("", "");
    bench.wait(seconds(55));
    bench.b_agrees("INVITE", 488, "");
    bench.a_answers("INVITE", 488, "");
    assert_eq!((bench.times("UPDATE → A"), bench.times("UPDATE → B")), (1, 1));
    assert!(bench.request_to_a("UPDATE").body.is_empty());
    bench.a_answers("UPDATE", 200, "");
    bench.b_agrees("UPDATE", 501, "");
    bench.wait(seconds(20));
    assert_eq!(
        (bench.times("INVITE → A"), bench.times("INVITE → B")),
        (1, 2),
        "who has no UPDATE is asked as before"
    );
    bench.b_agrees("INVITE", 200, SDP);
    bench.wait(seconds(38));
    assert_eq!(bench.times("UPDATE → A"), 2, "by what it accepted");
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
            bench.times("UPDATE → A") > 0,
            bench.times("INVITE → A"),
            bench.signaling.calls()
        ),
        (true, 2, 1)
    );
    bench.wait(seconds(40));
    assert_eq!(bench.times("BYE → B"), 1, "now it is silent to both");
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
    assert_eq!(bench.times("INVITE → B"), 2);
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
    assert_eq!((bench.times("INVITE → A"), bench.times("INVITE → B")), (0, 1));
    bench.b_agrees("INVITE", 200, SDP);
    bench.a_requests(2, "ACK", "w2", "");
    bench.wait(seconds(600));
    assert_eq!(
        (bench.times("INVITE → A"), bench.times("INVITE → B")),
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
    assert_eq!(bench.times("ACK → B"), 1);
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
    assert_eq!(bench.times("BYE → B"), 1);
}

#[test]
fn a_refresh_that_rings_for_ever_ends_with_the_session() {
    let mut bench = connected("", "");
    bench.wait(seconds(912));
    bench.a_answers("INVITE", 200, SDP);
    bench.b_agrees("INVITE", 180, "");
    bench.wait(seconds(900));
    assert_eq!(
        (bench.times("CANCEL → B"), bench.times("BYE → A")),
        (1, 1),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
}
