//! Before the answer: reliable provisional responses (RFC 3262), offers in PRACK and UPDATE (RFC 3311).

use std::time::Duration;

use super::bench::{A, B, Bench, PROXY, SDP, audio_at, invite, reliable};

const KNOWS: &str = "Supported: 100rel\r\n";

fn rack(number: u32) -> String {
    format!("RAck: {number} 1 INVITE\r\n")
}

fn ports(bench: &Bench) -> (Option<u16>, Option<u16>) {
    let line = &bench.plan().lines[0];
    let port = |leg: &onrecord::model::LegPlan| leg.remote.map(|remote| remote.rtp.port());
    (port(&line.a), port(&line.b))
}

/// A reliable 183 with B's answer reached A; gives A's tag of us.
fn progressed() -> (Bench, String) {
    let mut bench = Bench::strict();
    bench.invite(SDP, KNOWS);
    bench.fork_answers("b-tag", 183, &reliable(9), &audio_at(5001));
    let tag = bench.our_tag();
    (bench, tag)
}

/// The same, after its PRACK.
fn acknowledged() -> (Bench, String) {
    let (mut bench, tag) = progressed();
    bench.a_requests_in(&tag, 2, "PRACK", &rack(9), "");
    bench.b_agrees("PRACK", 200, "");
    (bench, tag)
}

fn connect_and_end(bench: &mut Bench, tag: &str) {
    bench.a_requests_in(tag, 1, "ACK", "", "");
    bench.a_requests_in(tag, 90, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_reliable_183_crosses_and_so_does_its_prack() {
    let (mut bench, tag) = progressed();
    assert_eq!(bench.request_to_b("INVITE").headers.get("Supported"), Some("100rel"));
    let progress = bench.response_to_a();
    assert_eq!(progress.headers.get("RSeq"), Some("9"));
    assert_eq!(progress.headers.get("Require"), Some("100rel"));
    bench.a_requests_in(&tag, 2, "PRACK", &rack(9), "");
    assert_eq!(bench.request_to_b("PRACK").headers.get("RAck"), Some("9 1 INVITE"));
    bench.b_agrees("PRACK", 200, "");
    assert_eq!(bench.response_to_a().headers.cseq().method.as_str(), "PRACK");
    bench.fork_answers("b-tag", 200, "", "");
    assert_eq!(ports(&bench), (Some(4000), Some(5001)));
    assert_eq!(
        bench.story[6..],
        [
            "B → 183",
            "183 → A",
            "A → PRACK",
            "PRACK → B",
            "B → 200",
            "200 → A",
            "B → 200",
            "200 → A"
        ]
    );
    connect_and_end(&mut bench, &tag);
}

#[test]
fn a_reliable_183_that_comes_again_passes_again_and_changes_nothing() {
    let (mut bench, tag) = acknowledged();
    bench.a_requests_in(&tag, 3, "UPDATE", "", &audio_at(4010));
    bench.b_agrees("UPDATE", 200, &audio_at(5011));
    let before = bench.media.len();
    bench.fork_answers("b-tag", 183, &reliable(9), &audio_at(5001));
    assert_eq!(bench.response_to_a().headers.get("RSeq"), Some("9"));
    assert!(!bench.response_to_a().body.is_empty());
    assert_eq!(bench.media.len(), before);
    assert_eq!(ports(&bench), (Some(4010), Some(5011)));
}

#[test]
fn who_did_not_ask_for_100rel_is_not_promised_it() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    assert_ne!(bench.request_to_b("INVITE").headers.get("Supported"), Some("100rel"));
    bench.fork_answers("b-tag", 183, &reliable(9), &audio_at(5001));
    let progress = bench.response_to_a();
    assert_eq!(
        (progress.headers.get("RSeq"), progress.headers.get("Require")),
        (None, None)
    );
    bench.a_requests_in(&bench.our_tag(), 2, "PRACK", &rack(9), "");
    assert_eq!(bench.response_to_a().status, 481);
}

#[test]
fn a_demand_for_100rel_crosses_and_so_does_its_refusal() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "Require: 100rel\r\n");
    assert_eq!(bench.request_to_b("INVITE").headers.get("Require"), Some("100rel"));
    bench.fork_answers("b-tag", 420, "Unsupported: 100rel\r\n", "");
    assert_eq!(bench.response_to_a().headers.get("Unsupported"), Some("100rel"));
}

#[test]
fn a_late_offer_is_made_in_a_183_and_answered_in_its_prack() {
    let mut bench = Bench::strict();
    bench.invite("", KNOWS);
    bench.fork_answers("b-tag", 183, &reliable(4), &audio_at(5001));
    let tag = bench.our_tag();
    let offer = String::from_utf8_lossy(&bench.response_to_a().body).into_owned();
    assert!(offer.contains("c=IN IP4 127.0.0.1"), "{offer}");
    bench.fork_answers("b-tag", 183, &reliable(4), &audio_at(5001));
    assert_eq!(bench.response_to_a().body, offer, "the same once more");
    bench.a_requests_in(&tag, 2, "PRACK", &rack(4), &audio_at(4001));
    let prack = bench.request_to_b("PRACK");
    assert!(String::from_utf8_lossy(&prack.body).contains("c=IN IP4 127.0.0.1"));
    assert_eq!(ports(&bench), (Some(4001), Some(5001)));
    bench.b_agrees("PRACK", 200, "");
    bench.fork_answers("b-tag", 200, "", "");
    assert_eq!(bench.response_to_a().status, 200);
    connect_and_end(&mut bench, &tag);
}

#[test]
fn sdp_in_an_unreliable_183_to_an_invite_without_an_offer_is_no_offer() {
    let mut bench = Bench::strict();
    bench.invite("", "");
    bench.fork_answers("b-tag", 183, "", &audio_at(5001));
    assert!(bench.response_to_a().body.is_empty());
    bench.fork_answers("b-tag", 200, "", &audio_at(5001));
    assert!(!bench.response_to_a().body.is_empty());
    let tag = bench.our_tag();
    bench.a_requests_in(&tag, 1, "ACK", "", &audio_at(4001));
    assert_eq!(ports(&bench), (Some(4001), Some(5001)));
}

#[test]
fn an_offer_in_a_prack_is_answered_in_its_200() {
    let (mut bench, tag) = progressed();
    bench.a_requests_in(&tag, 2, "PRACK", &rack(9), &audio_at(4010));
    let prack = bench.request_to_b("PRACK");
    assert_eq!(prack.headers.get("RAck"), Some("9 1 INVITE"));
    assert!(String::from_utf8_lossy(&prack.body).contains("c=IN IP4 127.0.0.1"));
    bench.b_agrees("PRACK", 200, &audio_at(5011));
    let answer = bench.response_to_a();
    assert!(String::from_utf8_lossy(&answer.body).contains("c=IN IP4 127.0.0.1"));
    assert_eq!(answer.headers.get("Contact"), None, "a PRACK moves no target");
    assert_eq!(ports(&bench), (Some(4010), Some(5011)));
    bench.fork_answers("b-tag", 200, "", "");
    connect_and_end(&mut bench, &tag);
}

#[test]
fn what_the_200_of_a_prack_describes_unasked_is_left_out() {
    let (mut bench, tag) = progressed();
    bench.a_requests_in(&tag, 2, "PRACK", &rack(9), "");
    bench.b_agrees("PRACK", 200, &audio_at(5011));
    assert!(bench.response_to_a().body.is_empty());
}

#[test]
fn a_prack_for_nothing_gets_481_and_reaches_nobody() {
    let (mut bench, tag) = progressed();
    for (cseq, more) in [
        (2, rack(10)),
        (3, "RAck: 9 2 INVITE\r\n".to_owned()),
        (4, String::new()),
    ] {
        bench.a_requests_in(&tag, cseq, "PRACK", &more, "");
        assert_eq!(bench.response_to_a().status, 481, "{more}");
    }
    assert!(!bench.story.contains(&"PRACK → B".to_owned()));
}

#[test]
fn a_2xx_overtakes_a_prack_that_is_not_answered_yet() {
    let (mut bench, tag) = progressed();
    bench.a_requests_in(&tag, 2, "PRACK", &rack(9), "");
    bench.fork_answers("b-tag", 200, "", "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.a_requests_in(&tag, 1, "ACK", "", "");
    bench.b_agrees("PRACK", 200, "");
    assert_eq!(bench.response_to_a().headers.cseq().method.as_str(), "PRACK");
    bench.a_requests_in(&tag, 90, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_2xx_overtakes_the_answer_to_an_update() {
    let (mut bench, tag) = acknowledged();
    bench.a_requests_in(&tag, 3, "UPDATE", "", &audio_at(4010));
    bench.fork_answers("b-tag", 200, "", &audio_at(5001));
    bench.a_requests_in(&tag, 1, "ACK", "", "");
    assert_eq!(bench.signaling.calls(), 1, "{:?}", bench.story);
    let updated = bench.request_to_b("UPDATE");
    bench.from(
        B,
        super::bench::answer(&updated, 200, "x", "127.0.0.1:5090", &audio_at(5011)),
    );
    assert_eq!(ports(&bench), (Some(4010), Some(5011)));
    bench.a_requests_in(&tag, 90, "BYE", "", "");
    assert!(bench.story.contains(&"BYE → B".to_owned()));
}

#[test]
fn cancel_and_bye_answer_what_waits() {
    for by_cancel in [true, false] {
        let (mut bench, tag) = progressed();
        bench.a_requests_in(&tag, 2, "PRACK", &rack(9), "");
        if by_cancel {
            let text = String::from_utf8(invite(1, "a1", "", "", "").to_vec()).unwrap();
            bench.from(A, text.replace("INVITE", "CANCEL").into());
        } else {
            bench.a_requests_in(&tag, 3, "BYE", "", "");
        }
        let refused = bench.story.iter().filter(|rung| *rung == "487 → A").count();
        assert_eq!(refused, 2, "the INVITE and the PRACK: {:?}", bench.story);
        assert!(bench.story.contains(&"CANCEL → B".to_owned()));
        bench.b_agrees("CANCEL", 200, "");
        bench.fork_answers("b-tag", 487, "", "");
        bench.a_requests_in(&tag, 1, "ACK", "", "");
        bench.assert_nothing_left();
    }
}

#[test]
fn an_update_crosses_early_either_way() {
    let (mut bench, tag) = acknowledged();
    bench.fork_requests("b-tag", 1, "UPDATE", "", &audio_at(5020));
    let update = bench.request_to_a("UPDATE");
    assert_eq!(update.headers.from().tag(), Some(tag.as_str()));
    bench.a_answers("UPDATE", 200, &audio_at(4020));
    assert_eq!(bench.response_to_b().status, 200);
    assert_eq!(ports(&bench), (Some(4020), Some(5020)));
    bench.a_requests_in(&tag, 3, "UPDATE", "", &audio_at(4021));
    bench.b_agrees("UPDATE", 200, &audio_at(5021));
    assert_eq!(ports(&bench), (Some(4021), Some(5021)));
}

#[test]
fn one_offer_at_a_time() {
    let mut bench = Bench::strict();
    bench.invite(SDP, KNOWS);
    bench.fork_answers("b-tag", 180, &reliable(1), "");
    let tag = bench.our_tag();
    bench.a_requests_in(&tag, 2, "PRACK", &rack(1), "");
    bench.b_agrees("PRACK", 200, "");
    bench.a_requests_in(&tag, 3, "UPDATE", "", &audio_at(4010));
    assert_eq!(bench.response_to_a().status, 500, "A's own offer is not answered yet");
    let wait: u32 = bench
        .response_to_a()
        .headers
        .get("Retry-After")
        .unwrap()
        .parse()
        .unwrap();
    assert!(wait <= 10);
    bench.fork_requests("b-tag", 1, "UPDATE", "", &audio_at(5010));
    assert_eq!(bench.response_to_b().status, 491, "B owes an answer first");
    assert!(!bench.story.contains(&"UPDATE → A".to_owned()) && !bench.story.contains(&"UPDATE → B".to_owned()));
}

#[test]
fn an_early_update_that_nobody_answers_does_not_end_the_call() {
    let (mut bench, tag) = acknowledged();
    bench.a_requests_in(&tag, 3, "UPDATE", "", &audio_at(4010));
    bench.wait(Duration::from_secs(33));
    assert_eq!(bench.response_to_a().status, 408);
    assert_eq!(bench.signaling.calls(), 1);
    bench.fork_answers("b-tag", 200, "", "");
    assert_eq!(ports(&bench), (Some(4000), Some(5001)));
    connect_and_end(&mut bench, &tag);
}

#[test]
fn an_early_update_that_is_refused_leaves_what_was_agreed() {
    let (mut bench, tag) = acknowledged();
    for (n, status) in [(3, 488), (4, 481), (5, 504)] {
        bench.a_requests_in(&tag, n, "UPDATE", "", &audio_at(4010));
        bench.b_agrees("UPDATE", status, "");
        assert_eq!(bench.response_to_a().status, status);
        assert_eq!(ports(&bench), (Some(4000), Some(5001)));
    }
    bench.fork_answers("b-tag", 200, "", "");
    connect_and_end(&mut bench, &tag);
}

#[test]
fn reliable_ringing_without_a_prack_is_bounded() {
    let mut bench = Bench::strict();
    bench.invite(SDP, KNOWS);
    for number in 1..200 {
        bench.fork_answers("b-tag", 180, &reliable(number), "");
    }
    let rang = bench.story.iter().filter(|rung| *rung == "180 → A").count();
    assert_eq!(rang, 1, "a second has to wait for the first one's PRACK (RFC 3262 §3)");
}

#[test]
fn pracks_that_wait_are_bounded() {
    let (mut bench, tag) = progressed();
    for cseq in 2..60 {
        bench.a_requests_in(&tag, cseq, "PRACK", &rack(9), "");
    }
    let passed = bench.story.iter().filter(|rung| *rung == "PRACK → B").count();
    assert_eq!(passed, 16);
    assert_eq!(bench.response_to_a().status, 500);
}

#[test]
fn a_reliable_183_to_a_reinvite_crosses_with_its_prack_either_way() {
    let mut bench = Bench::strict().connected();
    let invite = bench.request_to_b("INVITE");
    let knows = |text: &str| text.replacen("Content-Length", "Supported: 100rel\r\nContent-Length", 1);
    let reinvite = format!(
        "INVITE sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKre\r\nMax-Forwards: 70\r\nFrom: {};tag=b-tag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 40 INVITE\r\nContact: <sip:bob@{B}>\r\nContent-Length: 0\r\n\r\n",
        invite.headers.get("To").unwrap(),
        invite.headers.get("From").unwrap(),
        invite.headers.call_id(),
    );
    bench.from(B, knows(&reinvite).into());
    let onward = bench.request_to_a("INVITE");
    assert_eq!(onward.headers.get("Supported"), Some("100rel"));
    let progress = super::bench::answer(&onward, 183, "x", "127.0.0.1:5080", &audio_at(4050));
    bench.from(A, super::bench::with_lines(&progress, &reliable(3)));
    let passed = bench.response_to_b();
    assert_eq!((passed.status, passed.headers.get("RSeq")), (183, Some("3")));
    assert!(!passed.body.is_empty());
    bench.fork_requests("b-tag", 41, "PRACK", "RAck: 3 40 INVITE\r\n", &audio_at(5050));
    let prack = bench.request_to_a("PRACK");
    let number = onward.headers.cseq().number;
    assert_eq!(prack.headers.get("RAck"), Some(format!("3 {number} INVITE").as_str()));
    assert_eq!(ports(&bench), (Some(4050), Some(5050)));
    bench.a_answers("PRACK", 200, "");
    bench.a_answers("INVITE", 200, "");
    assert_eq!(bench.response_to_b().status, 200);
    bench.fork_requests("b-tag", 40, "ACK", "", "");
    assert!(bench.story.contains(&"ACK → A".to_owned()), "{:?}", bench.story);
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn a_queue_that_said_183_once_is_waited_for_and_a_callee_that_forgot_is_not_for_ever() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 183, SDP);
    bench.wait(Duration::from_secs(590));
    assert_eq!(bench.response_to_a().status, 183);
    bench.b_answers("INVITE", 180, "");
    bench.wait(Duration::from_secs(590));
    assert_eq!(bench.response_to_a().status, 180, "begun anew by each 18x");
    bench.wait(Duration::from_secs(11));
    assert_eq!(bench.response_to_a().status, 408);
    assert_eq!(bench.request_to_b("CANCEL").headers.cseq().number, 1);
    bench.b_answers("CANCEL", 200, "");
    bench.b_answers("INVITE", 487, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}
