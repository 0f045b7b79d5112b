//! Calls as they are every day, and how they end.

use std::time::Duration;

use onrecord::model::Fault;

use super::bench::{A, Bench, SDP, STRICT, invite};

#[test]
fn a_plain_call_is_decided_recorded_joined_and_sealed() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "P-Asserted-Identity: <sip:alice@example.com>\r\n");
    bench.b_answers("INVITE", 100, "");
    bench.b_answers("INVITE", 180, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(
        bench.story,
        [
            "A → INVITE",
            "decided",
            "100 → A",
            "open",
            "ready",
            "INVITE → B",
            "B → 100",
            "B → 180",
            "180 → A",
            "B → 200",
            "200 → A",
            "A → ACK",
            "ACK → B",
            "A → BYE",
            "200 → A",
            "BYE → B",
            "B → 200",
            "recorded: BYE from A",
            "sealed 10/10",
        ]
    );
    bench.assert_nothing_left();
}

#[test]
fn each_leg_has_its_own_identifiers_and_our_addresses() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "User-Agent: phone/1\r\nRoute: <sip:127.0.0.9;lr>\r\n");
    let invite = bench.request_to_b("INVITE");
    assert_eq!(invite.uri.to_string(), "sip:bob@127.0.0.1:5090");
    assert_ne!(invite.headers.call_id(), "call-1");
    assert_ne!(invite.headers.from().tag(), Some("a-tag"));
    assert_eq!(invite.headers.from().uri().to_string(), "sip:alice@example.com");
    assert_eq!(invite.headers.get("Contact"), Some("<sip:127.0.0.1:5070>"));
    assert_eq!(invite.headers.get("Max-Forwards"), Some("69"));
    assert_eq!(invite.headers.get("User-Agent"), Some("phone/1"));
    assert_eq!(invite.headers.get("Route"), None);
    assert_eq!(invite.headers.get_all("Via").count(), 1);
    let sdp = String::from_utf8(invite.body.to_vec()).expect("text");
    assert!(
        sdp.contains("c=IN IP4 127.0.0.1\r\n") && sdp.contains("m=audio 400"),
        "{sdp}"
    );
    assert!(sdp.contains("o=- 1 1 IN IP4 192.0.2.1\r\n"), "{sdp}");
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut bench = Bench::strict();
    bench.invite("", "");
    assert!(bench.request_to_b("INVITE").body.is_empty());
    bench.b_answers("INVITE", 200, SDP);
    assert!(!bench.response_to_a().body.is_empty());
    bench.a_requests(1, "ACK", "ack1", SDP);
    let ack = bench.request_to_b("ACK");
    assert!(String::from_utf8_lossy(&ack.body).contains("127.0.0.1"));
    assert_eq!(ack.headers.get("Content-Type"), Some("application/sdp"));
    bench.a_requests(2, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn early_media_crosses_with_our_addresses() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 183, SDP);
    let progress = bench.response_to_a();
    assert_eq!(progress.status, 183);
    assert!(String::from_utf8_lossy(&progress.body).contains("c=IN IP4 127.0.0.1"));
}

#[test]
fn a_busy_callee_ends_the_call_with_its_own_words() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486);
    assert!(
        bench.story.iter().any(|rung| rung == "recorded: 486 from B"),
        "{:?}",
        bench.story
    );
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_cancel_waits_for_the_first_provisional_and_then_reaches_b() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.from(A, cancel());
    assert_eq!(bench.response_to_a().status, 487);
    assert!(
        !bench.story.iter().any(|rung| rung == "CANCEL → B"),
        "before a 1xx (RFC 3261 §9.1)"
    );
    bench.b_answers("INVITE", 180, "");
    assert!(bench.story.iter().any(|rung| rung == "CANCEL → B"), "{:?}", bench.story);
    bench.b_answers("CANCEL", 200, "");
    bench.b_answers("INVITE", 487, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_2xx_that_crosses_a_cancel_is_acknowledged_and_then_ended() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    bench.from(A, cancel());
    bench.b_answers("INVITE", 200, SDP);
    let after: Vec<&str> = bench
        .story
        .iter()
        .map(String::as_str)
        .skip_while(|rung| *rung != "CANCEL → B")
        .collect();
    assert_eq!(
        after[..4],
        ["CANCEL → B", "B → 200", "ACK → B", "BYE → B"],
        "{:?}",
        bench.story
    );
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_bye_of_the_callee_reaches_the_caller() {
    let mut bench = Bench::strict().connected();
    bench.b_requests(1, "BYE", "bye-b", "");
    bench.a_answers("BYE", 200, "");
    assert_eq!(bench.story[..4], ["B → BYE", "200 → B", "BYE → A", "A → 200"]);
    bench.assert_nothing_left();
}

#[test]
fn two_byes_that_cross_end_one_call_once() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "BYE", "bye-a", "");
    bench.b_requests(1, "BYE", "bye-b", "");
    bench.b_answers("BYE", 481, "");
    assert_eq!(
        bench.story.iter().filter(|rung| rung.starts_with("recorded")).count(),
        1,
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
}

#[test]
fn a_lost_ack_to_b_is_sent_again_when_its_2xx_comes_again() {
    let mut bench = Bench::strict().connected();
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(bench.story, ["B → 200", "ACK → B"]);
}

#[test]
fn the_2xx_of_a_fork_is_acknowledged_and_ended_alone() {
    let mut bench = Bench::strict().connected();
    let fork = super::bench::answer(&bench.request_to_b("INVITE"), 200, "other-tag", "127.0.0.1:5090", SDP);
    bench.from(super::bench::B, fork);
    assert_eq!(bench.story, ["B → 200", "ACK → B", "BYE → B"]);
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn without_an_ack_from_a_both_legs_are_ended() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.wait(Duration::from_secs(33));
    assert_eq!(bench.request_to_a("BYE").headers.call_id(), "call-1");
    let bye = bench.request_to_b("BYE");
    assert_eq!(bye.headers.cseq().number, 2);
    assert!(
        bye.headers.get("Reason").is_some_and(|why| why.contains("cause=408")),
        "{bye:?}"
    );
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_silent_callee_costs_a_408_and_nothing_more() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.wait(Duration::from_secs(33));
    assert_eq!(bench.response_to_a().status, 408);
    bench.assert_nothing_left();
}

#[test]
fn a_callee_that_rings_for_ever_is_cancelled() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    bench.wait(Duration::from_secs(601));
    assert_eq!(bench.response_to_a().status, 408);
    bench.b_answers("CANCEL", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn what_asks_too_much_is_refused_with_its_reason() {
    for (more, status) in [("Require: gruu, 100rel\r\n", 420), ("Proxy-Require: x\r\n", 420)] {
        let mut bench = Bench::strict();
        bench.invite(SDP, more);
        assert_eq!(bench.response_to_a().status, status, "{more}");
        bench.a_requests(1, "ACK", "a1", "");
        bench.assert_nothing_left();
    }
    let mut bench = Bench::strict();
    let spent = String::from_utf8(invite(1, "x", "", SDP, "").to_vec()).expect("text");
    bench.from(A, spent.replace("Max-Forwards: 70", "Max-Forwards: 0").into());
    assert_eq!(bench.response_to_a().status, 483);
    bench.invite("this is no sdp", "");
    assert_eq!(bench.response_to_a().status, 400);
}

#[test]
fn a_stranger_gets_no_byte() {
    let mut bench = Bench::strict();
    bench.from("127.0.0.9:5060", invite(1, "s1", "", SDP, ""));
    bench.from("127.0.0.9:5060", "OPTIONS sip:x SIP/2.0\r\n\r\n".into());
    assert!(bench.to_a.is_empty() && bench.to_b.is_empty() && bench.story.is_empty());
}

#[test]
fn unknown_methods_get_501_and_known_ones_405() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "REGISTER", "r1", "");
    assert_eq!(bench.response_to_a().status, 405);
    bench.a_requests(3, "FROBNICATE", "f1", "");
    assert_eq!(bench.response_to_a().status, 501);
    assert!(bench.response_to_a().headers.get("Allow").is_some());
}

#[test]
fn info_crosses_with_its_body_and_its_answer_comes_back() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INFO", "i1", "Signal=1\r\n");
    assert_eq!(bench.request_to_b("INFO").body, "Signal=1\r\n");
    bench.b_answers("INFO", 200, "");
    assert_eq!(bench.story, ["A → INFO", "INFO → B", "B → 200", "200 → A"]);
}

#[test]
fn a_message_outside_any_dialog_is_passed_on() {
    let mut bench = Bench::strict();
    let text = String::from_utf8(invite(1, "m1", "", "hello", "").to_vec()).expect("text");
    bench.from(
        A,
        text.replace("INVITE", "MESSAGE")
            .replace("application/sdp", "text/plain")
            .into(),
    );
    assert_eq!(bench.request_to_b("MESSAGE").body, "hello");
    bench.b_answers("MESSAGE", 202, "");
    assert_eq!(bench.response_to_a().status, 202);
    bench.assert_nothing_left();
}

#[test]
fn a_draining_node_takes_no_new_call_and_keeps_the_old() {
    let mut bench = Bench::strict().connected();
    bench.input(onrecord::engine::Input::Drain);
    let again = String::from_utf8(invite(1, "n1", "", SDP, "").to_vec()).expect("text");
    bench.from(A, again.replace("call-1", "call-2").into());
    assert_eq!(bench.response_to_a().status, 503);
    assert_eq!(bench.signaling.calls(), 1);
    bench.input(onrecord::engine::Input::ShutDown);
    assert_eq!(bench.request_to_a("BYE").headers.call_id(), "call-1");
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

pub fn cancel() -> bytes::Bytes {
    let text = String::from_utf8(invite(1, "a1", "", "", "").to_vec()).expect("text");
    text.replace("INVITE", "CANCEL").into()
}

#[test]
fn an_invite_without_a_contact_is_refused_at_the_door() {
    let mut bench = Bench::strict();
    let text = String::from_utf8(invite(1, "k1", "", SDP, "").to_vec()).expect("text");
    bench.from(A, text.replace("Contact: <sip:alice@127.0.0.1:5080>\r\n", "").into());
    assert_eq!(bench.response_to_a().status, 400);
    assert!(bench.to_b.is_empty());
}

#[test]
fn a_call_may_ring_on_while_b_says_so() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    for _ in 0..5 {
        bench.b_answers("INVITE", 182, "");
        bench.wait(Duration::from_secs(150));
    }
    assert_eq!(bench.response_to_a().status, 182);
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn a_fork_that_repeats_itself_costs_one_bye() {
    let mut bench = Bench::strict().connected();
    let invite = bench.request_to_b("INVITE");
    for n in 0..40 {
        let fork = super::bench::answer(&invite, 200, &format!("fork-{}", n % 20), "127.0.0.1:5090", SDP);
        bench.from(super::bench::B, fork);
    }
    assert_eq!(bench.story.iter().filter(|rung| *rung == "BYE → B").count(), 8);
    assert_eq!(bench.story.iter().filter(|rung| *rung == "ACK → B").count(), 16);
}

#[test]
fn a_request_of_another_dialog_gets_481() {
    let mut bench = Bench::strict().connected();
    let tag = bench
        .response_to_a()
        .headers
        .to()
        .tag()
        .map(str::to_owned)
        .expect("a tag");
    let text = String::from_utf8(invite(2, "o1", &format!(";tag={tag}"), "", "").to_vec()).expect("text");
    bench.from(
        A,
        text.replace("tag=a-tag", "tag=other").replace("INVITE", "BYE").into(),
    );
    assert_eq!(bench.response_to_a().status, 481);
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn a_bye_carries_what_the_caller_said_on_leaving() {
    let mut bench = Bench::strict().connected();
    let tag = bench
        .response_to_a()
        .headers
        .to()
        .tag()
        .map(str::to_owned)
        .expect("a tag");
    let more = "Reason: Q.850;cause=16;text=\"Normal\"\r\nX-Ticket: 7\r\nUser-to-User: 56\r\nRoute: <sip:127.0.0.1:5070;lr>\r\n";
    let text = String::from_utf8(invite(2, "w1", &format!(";tag={tag}"), "", more).to_vec()).expect("text");
    bench.from(A, text.replace("INVITE", "BYE").into());
    let bye = bench.request_to_b("BYE");
    assert_eq!(bye.headers.get("Reason"), Some("Q.850;cause=16;text=\"Normal\""));
    assert_eq!(bye.headers.get("X-Ticket"), Some("7"));
    assert_eq!(bye.headers.get("User-to-User"), Some("56"));
    assert_eq!(bye.headers.get("Route"), None);
}

#[test]
fn a_2xx_is_not_sent_again_to_who_hangs_up_before_its_ack_arrives() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.to_a.clear();
    bench.wait(Duration::from_secs(40));
    assert!(bench.to_a.is_empty(), "{:?}", bench.to_a);
    bench.assert_nothing_left();
}

#[test]
fn a_trusted_pbx_of_before_rfc_3325_says_by_remote_party_id_who_calls() {
    const TRADER: &str = "[[grant]]\npolicy = \"desk\"\nto = [\"user:trader@example.com\"]\n";
    let rings = |trusted: bool, lines: &str| {
        let mut bench = Bench::between([trusted; 2], &[("desk.toml", STRICT), ("grants.toml", TRADER)]);
        bench.recorder_fails(Fault::DiskFull);
        bench.invite(SDP, lines);
        !bench.to_b.is_empty()
    };
    let named = |party: &str| format!("Remote-Party-ID: <sip:trader@example.com>{party};screen=yes\r\n");
    assert!(!rings(true, &named(";party=calling")) && !rings(true, &named("")));
    assert!(rings(true, &named(";party=called")), "of somebody else");
    assert!(
        !rings(false, &named("")),
        "anybody may write it, and it can add a policy"
    );
    let asserted = "P-Asserted-Identity: <sip:alice@example.com>\r\n";
    assert!(
        rings(true, &[asserted, &named("")].concat()),
        "what has taken its place counts"
    );
}
