//! Sessions that change while they last.

use onrecord::model::MediaCommand;

use super::bench::{Bench, SDP};

fn hold() -> String {
    SDP.replace("o=- 1 1", "o=- 1 2").replace("sendrecv", "sendonly")
}

#[test]
fn a_hold_and_its_end_cross_either_way() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "h1", &hold());
    assert!(String::from_utf8_lossy(&bench.request_to_b("INVITE").body).contains("a=sendonly"));
    bench.b_answers("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
    bench.a_requests(2, "ACK", "h2", "");
    assert_eq!(
        bench.story,
        [
            "A → INVITE",
            "100 → A",
            "INVITE → B",
            "B → 200",
            "200 → A",
            "A → ACK",
            "ACK → B"
        ]
    );
    bench.story.clear();
    bench.b_requests(1, "INVITE", "h3", SDP);
    bench.a_answers("INVITE", 200, SDP);
    bench.b_requests(1, "ACK", "h4", "");
    assert_eq!(
        bench.story,
        [
            "B → INVITE",
            "100 → B",
            "INVITE → A",
            "A → 200",
            "200 → B",
            "B → ACK",
            "ACK → A"
        ]
    );
    bench.a_requests(3, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_reinvite_that_rings_for_ever_ends_the_call() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "t1", &hold());
    bench.b_answers("INVITE", 180, "");
    assert_eq!(bench.response_to_a().status, 180, "its ringing crosses too");
    bench.wait(std::time::Duration::from_secs(199));
    assert_eq!(bench.signaling.calls(), 1);
    bench.wait(std::time::Duration::from_secs(2));
    assert!(bench.story.contains(&"408 → A".to_owned()), "{:?}", bench.story);
    assert!(bench.story.contains(&"BYE → A".to_owned()) && bench.story.contains(&"BYE → B".to_owned()));
    assert!(bench.story.contains(&"CANCEL → B".to_owned()), "{:?}", bench.story);
    bench.assert_nothing_left();
}

#[test]
fn two_offers_that_cross_are_glare() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "g1", &hold());
    bench.b_requests(1, "INVITE", "g2", SDP);
    assert_eq!(bench.response_to_b().status, 491);
    bench.a_requests(3, "UPDATE", "g3", SDP);
    assert_eq!(bench.response_to_a().status, 500);
    assert!(bench.response_to_a().headers.get("Retry-After").is_some());
}

#[test]
fn a_refused_offer_changes_nothing() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "r1", &hold());
    bench.b_answers("INVITE", 488, "");
    assert_eq!(bench.response_to_a().status, 488);
    assert!(bench.media.is_empty(), "{:?}", bench.media);
    bench.b_requests(1, "UPDATE", "r2", SDP);
    bench.a_answers("UPDATE", 200, SDP);
    assert_eq!(bench.response_to_b().status, 200);
}

#[test]
fn a_reinvite_without_an_offer_gets_one_and_answers_in_the_ack() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "l1", "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(2, "ACK", "l2", SDP);
    assert!(!bench.request_to_b("ACK").body.is_empty());
}

#[test]
fn a_new_line_gets_ports_before_the_far_end_can_answer() {
    let mut bench = Bench::strict().connected();
    let two = format!("{SDP}m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
    bench.a_requests(2, "INVITE", "v1", &two);
    assert_eq!(bench.media.len(), 1);
    let sdp = String::from_utf8_lossy(&bench.request_to_b("INVITE").body).into_owned();
    assert!(sdp.contains("m=video 40"), "{sdp}");
}

#[test]
fn a_cancelled_reinvite_leaves_the_call_up() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "c1", &hold());
    bench.b_answers("INVITE", 100, "");
    bench.a_requests(2, "CANCEL", "c1", "");
    assert!(bench.story.iter().any(|rung| rung == "CANCEL → B"), "{:?}", bench.story);
    bench.b_answers("INVITE", 487, "");
    assert_eq!(bench.response_to_a().status, 487);
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn a_far_end_that_forgot_the_dialog_ends_the_call() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "f1", &hold());
    bench.b_answers("INVITE", 481, "");
    assert_eq!(bench.request_to_a("BYE").headers.call_id(), "call-1");
}

#[test]
fn an_update_without_an_offer_while_b_rings_does_not_cost_the_call_its_media() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    bench.b_requests(1, "UPDATE", "u1", "");
    bench.a_answers("UPDATE", 200, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let Some(MediaCommand::Modify(plan)) = bench.media.last() else {
        panic!("{:?}", bench.media)
    };
    assert!(
        plan.lines[0].a.remote.is_some() && plan.lines[0].b.remote.is_some(),
        "{plan:?}"
    );
}

#[test]
fn numbers_of_requests_to_b_grow_from_the_early_dialog_on() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 183, SDP);
    bench.a_requests(2, "UPDATE", "u1", SDP);
    assert_eq!(bench.request_to_b("UPDATE").headers.cseq().number, 2);
    bench.b_answers("UPDATE", 200, SDP);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(3, "BYE", "bye", "");
    assert_eq!(bench.request_to_b("BYE").headers.cseq().number, 3);
}

#[test]
fn after_a_refused_upgrade_a_hold_still_crosses() {
    let mut bench = Bench::strict().connected();
    let two = format!("{SDP}m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
    bench.a_requests(2, "INVITE", "v1", &two);
    bench.b_answers("INVITE", 488, "");
    bench.a_requests(2, "ACK", "v1", "");
    bench.a_requests(3, "INVITE", "v2", &hold());
    assert_eq!(bench.request_to_b("INVITE").headers.cseq().number, 3);
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_a().status, 200);
    bench.a_requests(3, "ACK", "v3", "");
    bench.a_requests(4, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_new_line_whose_port_cannot_be_bound_is_refused_and_the_call_goes_on() {
    let mut bench = Bench::strict().connected();
    bench.ports_bind = false;
    let two = format!("{SDP}m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
    bench.a_requests(2, "INVITE", "v1", &two);
    assert_eq!(bench.response_to_a().status, 488);
    assert_eq!(bench.signaling.calls(), 1);
    assert!(!bench.story.iter().any(|rung| rung == "INVITE → B"));
}

#[test]
fn what_an_updates_answer_offers_unasked_is_left_out() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "UPDATE", "u1", "");
    bench.b_answers("UPDATE", 200, SDP);
    assert!(bench.response_to_a().body.is_empty());
    bench.a_requests(3, "INVITE", "u2", &hold());
    assert_eq!(
        bench.request_to_b("INVITE").headers.cseq().number,
        3,
        "no glare with what nobody asked for"
    );
}

#[test]
fn an_answer_that_cannot_be_carried_ends_the_call() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "x1", &hold());
    bench.b_answers("INVITE", 200, "this is no sdp");
    assert!(bench.story.contains(&"488 → A".to_owned()), "{:?}", bench.story);
    assert_eq!(
        bench.story[4..],
        ["488 → A", "ACK → B", "BYE → A", "BYE → B"],
        "{:?}",
        bench.story
    );
}

#[test]
fn a_cancel_of_a_reinvite_waits_for_the_first_provisional() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "c1", &hold());
    bench.a_requests(2, "CANCEL", "c1", "");
    assert!(!bench.story.contains(&"CANCEL → B".to_owned()));
    bench.b_answers("INVITE", 100, "");
    assert!(bench.story.contains(&"CANCEL → B".to_owned()), "{:?}", bench.story);
}

#[test]
fn a_2xx_that_crosses_the_end_of_the_call_is_acknowledged() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "h1", &hold());
    bench.a_requests(3, "BYE", "bye", "");
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(
        bench.story.last().map(String::as_str),
        Some("ACK → B"),
        "{:?}",
        bench.story
    );
}

#[test]
fn sdp_that_hides_in_a_part_within_a_part_is_refused() {
    let mut bench = Bench::strict().connected();
    let body = "--b1\r\nContent-Type: multipart/alternative;boundary=b2\r\n\r\n--b2\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\nv=0\r\nc=IN IP4 192.0.2.1\r\n--b2--\r\n--b1--\r\n";
    bench.a_requests_typed(2, "INVITE", "m1", "multipart/mixed;boundary=b1", body);
    assert_eq!(bench.response_to_a().status, 415);
    assert!(!bench.story.contains(&"INVITE → B".to_owned()));
}
