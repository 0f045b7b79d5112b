//! Allow: each party hears what the other one allows and we carry, and no more; a session refresh that the far end has no
//! method for is answered here.

use std::time::Duration;

use super::bench::{B, Bench, SDP, with_lines};

const ALL: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, REFER, INFO, PUBLISH\r\n";
const FEW: &str = "Allow: INVITE, ACK, BYE, CANCEL\r\n";

/// With what A's INVITE and B's 200 say of timers and methods.
fn connected(a: &str, b: &str) -> Bench {
    let mut bench = Bench::strict();
    bench.invite(SDP, &format!("Supported: timer\r\n{a}"));
    bench.fork_answers("b-tag", 200, b, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.story.clear();
    bench
}

fn refresh(bench: &mut Bench, cseq: u32) {
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    let more = format!("{ALL}Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n");
    bench.a_requests_in(&tag, cseq, "UPDATE", &more, "");
}

/// Seven refreshes by A, one each 15 minutes; the other leg is refreshed by us.
fn talks_for_hours(bench: &mut Bench) {
    for cseq in 2..9 {
        refresh(bench, cseq);
        let answer = bench.response_to_a();
        assert_eq!(answer.status, 200, "{:?}", bench.story);
        assert_eq!(answer.headers.get("Session-Expires"), Some("1800;refresher=uac"));
        for _ in 0..45 {
            bench.wait(Duration::from_secs(20));
            if let Some(at) = bench.story.iter().position(|rung| rung == "INVITE → B") {
                bench.story.truncate(at);
                bench.b_agrees("INVITE", 200, SDP);
            }
        }
    }
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn each_party_hears_what_the_other_one_allows_and_we_carry() {
    let bench = connected(ALL, FEW);
    let to_b = bench.request_to_b("INVITE");
    let allowed = ["INVITE", "ACK", "BYE", "CANCEL", "INFO", "UPDATE", "REFER", "PRACK"];
    assert_eq!(to_b.headers.get_all("Allow").collect::<Vec<_>>(), allowed);
    let to_a = bench.response_to_a();
    assert_eq!(to_a.headers.get_all("Allow").collect::<Vec<_>>(), allowed[..4]);
}

#[test]
fn who_says_nothing_of_methods_has_nothing_said_in_its_name() {
    let bench = connected("", "");
    assert!(!bench.request_to_b("INVITE").headers.contains("Allow"));
    assert!(!bench.response_to_a().headers.contains("Allow"));
}

#[test]
fn a_405_tells_what_its_sender_allows() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 405, "Allow: OPTIONS, KDMQ\r\n", "");
    let refused = bench.response_to_a();
    assert_eq!(refused.headers.get_all("Allow").collect::<Vec<_>>(), ["OPTIONS"]);
}

#[test]
fn a_refresh_by_update_is_answered_here_where_the_far_end_has_no_update() {
    let mut bench = connected(ALL, FEW);
    talks_for_hours(&mut bench);
    assert!(
        !bench.story.iter().any(|rung| rung == "UPDATE → B"),
        "{:?}",
        bench.story
    );
    bench.a_requests(20, "BYE", "bye", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_refresh_by_update_crosses_where_the_far_end_allows_it() {
    let mut bench = connected(FEW, ALL);
    refresh(&mut bench, 2);
    assert_eq!(bench.story, ["A → UPDATE", "UPDATE → B"]);
    bench.b_agrees("UPDATE", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn who_said_nothing_of_update_and_refuses_one_is_asked_by_none_again() {
    let mut bench = connected(ALL, "");
    refresh(&mut bench, 2);
    assert_eq!(bench.story, ["A → UPDATE", "UPDATE → B"]);
    bench.b_agrees("UPDATE", 501, "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.story.clear();
    refresh(&mut bench, 3);
    assert_eq!(bench.story, ["A → UPDATE", "200 → A"]);
    bench.a_requests(20, "BYE", "bye", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn an_update_that_offers_is_the_far_ends_to_refuse() {
    let mut bench = connected(ALL, FEW);
    bench.a_requests(2, "UPDATE", "u2", SDP);
    bench.b_agrees("UPDATE", 405, "");
    assert_eq!(bench.response_to_a().status, 405);
}

#[test]
fn the_callee_refreshes_by_update_past_a_caller_that_has_none() {
    let mut bench = connected(FEW, ALL);
    let invite = bench.request_to_b("INVITE");
    let update = format!(
        "UPDATE sip:127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKu;rport\r\nMax-Forwards: 70\r\nFrom: {};tag=b-tag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 7 UPDATE\r\nContact: <sip:bob@127.0.0.1:5090>\r\nContent-Length: 0\r\n\r\n",
        invite.headers.get("To").unwrap(),
        invite.headers.get("From").unwrap(),
        invite.headers.call_id(),
    );
    let more = "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n";
    bench.from(B, with_lines(&update.into(), more));
    assert_eq!(bench.response_to_b().status, 200);
    assert_eq!(bench.story, ["B → UPDATE", "200 → B"]);
}
