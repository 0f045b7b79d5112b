use super::*;

fn invite() -> Request {
    request(Method::Invite, "z9hG4bKi")
}

/// The ACK to a refusal: in the INVITE's transaction.
fn ack_of_refusal() -> Request {
    inside(Method::Ack, "z9hG4bKi")
}

/// The ACK to a 2xx: a transaction of its own.
fn ack_of_success() -> Request {
    inside(Method::Ack, "z9hG4bKa")
}

/// RFC 3261 §17.2.1.
#[test]
fn a_silent_user_has_its_100_sent_after_200_ms_and_copies_get_the_last_answer() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.waits(millis(500));
    story.hears(invite());
    story.answers(answer(&invite(), 183));
    story.hears(invite());
    assert_eq!(
        story.tells(),
        [
            "0 ↑ INVITE",
            "200 → 100 INVITE",
            "500 → 100 INVITE",
            "500 → 183 INVITE",
            "500 → 183 INVITE"
        ]
    );
}

#[test]
fn an_answer_in_time_spares_the_100() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 180));
    story.waits(seconds(10));
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 180 INVITE"]);
}

/// Timer G doubles up to T2, Timer H ends it.
#[test]
fn a_refusal_is_sent_until_its_ack_or_for_32_seconds() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 486));
    story.waits(seconds(4));
    story.hears(invite());
    story.hears(ack_of_refusal());
    story.hears(ack_of_refusal());
    story.hears(invite());
    assert_eq!(
        story.tells(),
        [
            "0 ↑ INVITE",
            "0 → 486 INVITE",
            "500 → 486 INVITE",
            "1500 → 486 INVITE",
            "3500 → 486 INVITE",
            "4000 → 486 INVITE"
        ]
    );
    story.waits(millis(4_999));
    assert_eq!(story.layer.len(), 1, "Timer I");
    story.waits(millis(1));
    assert_eq!((story.layer.len(), story.tells()), (0, vec![]));

    story.hears(invite());
    story.answers(answer(&invite(), 486));
    story.tells();
    story.waits(seconds(40));
    let told = story.tells();
    assert_eq!(told.len(), 11);
    assert_eq!(told.last().unwrap(), "41000 ↑ no ACK", "32 s after 9 s");
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn over_tcp_a_refusal_is_sent_once_and_its_ack_ends_it() {
    let mut story = Story::on(TCP);
    story.hears(invite());
    story.answers(answer(&invite(), 486));
    story.waits(seconds(5));
    story.hears(ack_of_refusal());
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 486 INVITE"]);
    assert_eq!(story.layer.len(), 0);
}

/// RFC 3261 §13.3.1.4, over TCP too.
#[test]
fn a_2xx_is_sent_until_its_ack_is_told_once() {
    for transport in [UDP, TCP] {
        let mut story = Story::on(transport);
        story.hears(invite());
        story.answers(answer(&invite(), 200));
        story.waits(seconds(8));
        story.hears(ack_of_success());
        story.hears(ack_of_success());
        story.waits(seconds(23));
        assert_eq!(
            story.tells(),
            [
                "0 ↑ INVITE",
                "0 → 200 INVITE",
                "500 → 200 INVITE",
                "1500 → 200 INVITE",
                "3500 → 200 INVITE",
                "7500 → 200 INVITE",
                "8000 ↑ ACK"
            ]
        );
        assert_eq!(story.layer.len(), 1, "Timer L");
        story.waits(seconds(1));
        assert_eq!(story.layer.len(), 0);
    }
}

/// RFC 3261 §13.3.1.4, in the process after the one that was asked.
#[test]
fn a_2xx_of_the_process_before_is_sent_until_its_ack() {
    let mut story = Story::on(UDP);
    let success = answer(&invite(), 200);
    let id = story.layer.resume_success(story.now, &invite(), &success, story.flow);
    story.server = Some(id);
    story.drain();
    story.waits(millis(600));
    story.hears(invite());
    story.hears(ack_of_success());
    story.waits(seconds(10));
    assert_eq!(
        story.tells(),
        ["0 → 200 INVITE", "500 → 200 INVITE", "600 ↑ ACK"],
        "a copy of the INVITE is none of a new one"
    );
}

/// RFC 6026 §7.1.
#[test]
fn copies_of_an_accepted_invite_are_absorbed_without_an_answer() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 200));
    story.hears(ack_of_success());
    story.hears(invite());
    story.waits(seconds(31));
    story.hears(invite());
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 200 INVITE", "0 ↑ ACK"]);
}

#[test]
fn a_2xx_that_nobody_acknowledges_is_told() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 200));
    story.waits(seconds(60));
    let told = story.tells();
    assert_eq!(told.len(), 13);
    assert_eq!(told.last().unwrap(), "32000 ↑ no ACK");
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn an_ack_that_keeps_the_invites_branch_is_taken_for_what_it_means() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 200));
    story.hears(inside(Method::Ack, "z9hG4bKi"));
    story.waits(seconds(10));
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 200 INVITE", "0 ↑ ACK"]);
}

#[test]
fn an_ack_of_another_number_or_tag_is_not_this_invites() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 200));
    let mut ack = ack_of_success();
    ack.headers.set("CSeq", "2 ACK");
    story.hears(ack);
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 200 INVITE", "0 ↑ stray ACK"]);
}

#[test]
fn an_answer_after_the_final_one_is_not_sent() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 200));
    story.answers(answer(&invite(), 486));
    story.answers(answer(&invite(), 180));
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 200 INVITE"]);
}

/// RFC 3261 §9.2.
#[test]
fn a_cancel_is_answered_and_told_while_the_invite_is_open() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 180));
    let invite_id = story.server;
    story.hears(request(Method::Cancel, "z9hG4bKi"));
    story.hears(request(Method::Cancel, "z9hG4bKi"));
    story.server = invite_id;
    story.answers(answer(&invite(), 487));
    story.hears(ack_of_refusal());
    assert_eq!(
        story.tells(),
        [
            "0 ↑ INVITE",
            "0 → 180 INVITE",
            "0 → 200 CANCEL",
            "0 ↑ cancelled",
            "0 → 200 CANCEL",
            "0 → 487 INVITE"
        ]
    );
    let Ok(Message::Response(ok)) = Message::parse(&story.sent[1].1) else {
        panic!("no response")
    };
    assert_eq!(ok.headers.to().tag(), Some("b"), "the tag of the INVITE's own answer");
    story.waits(seconds(32));
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn a_cancel_that_comes_too_late_changes_nothing_and_one_for_nothing_gets_481() {
    let mut story = Story::on(UDP);
    story.hears(invite());
    story.answers(answer(&invite(), 200));
    story.hears(request(Method::Cancel, "z9hG4bKi"));
    story.hears(request(Method::Cancel, "z9hG4bKother"));
    assert_eq!(
        story.tells(),
        ["0 ↑ INVITE", "0 → 200 INVITE", "0 → 200 CANCEL", "0 → 481 CANCEL"]
    );
}

/// RFC 3261 §17.2.2.
#[test]
fn another_request_is_told_once_and_its_answer_repeated_on_demand_for_32_seconds() {
    let mut story = Story::on(UDP);
    let bye = request(Method::Bye, "z9hG4bKb");
    story.hears(bye.clone());
    story.hears(bye.clone());
    story.answers(answer(&bye, 100));
    story.hears(bye.clone());
    story.answers(answer(&bye, 200));
    story.waits(millis(31_999));
    story.hears(bye.clone());
    story.waits(millis(1));
    assert_eq!(
        story.tells(),
        [
            "0 ↑ BYE",
            "0 → 100 BYE",
            "0 → 100 BYE",
            "0 → 200 BYE",
            "31999 → 200 BYE"
        ]
    );
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn over_tcp_the_answer_ends_it() {
    let mut story = Story::on(TCP);
    let bye = request(Method::Bye, "z9hG4bKb");
    story.hears(bye.clone());
    story.answers(answer(&bye, 200));
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn the_same_branch_from_another_host_or_for_another_method_is_another_request() {
    let mut story = Story::on(UDP);
    story.hears(request(Method::Info, "z9hG4bKx"));
    story.hears(request(Method::Bye, "z9hG4bKx"));
    let mut other = request(Method::Bye, "z9hG4bKx");
    other
        .headers
        .set_via(Via::new(UDP, "192.0.2.9:5060".parse().unwrap(), "z9hG4bKx"));
    story.hears(other);
    assert_eq!(story.tells(), ["0 ↑ INFO", "0 ↑ BYE", "0 ↑ BYE"]);
}

/// RFC 3261 §17.2.3, the second half.
#[test]
fn without_the_magic_cookie_the_whole_request_is_compared() {
    let mut story = Story::on(UDP);
    let old = request(Method::Invite, "1");
    story.hears(old.clone());
    story.hears(old.clone());
    let mut next = old.clone();
    next.headers.set("CSeq", "2 INVITE");
    story.hears(next);
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 100 INVITE", "0 ↑ INVITE"]);

    let mut story = Story::on(UDP);
    story.hears(old.clone());
    story.answers(answer(&old, 486));
    story.hears(inside(Method::Ack, "1"));
    story.waits(seconds(5));
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 486 INVITE"]);
    assert_eq!(story.layer.len(), 0);
}

/// RFC 3581 §4.
#[test]
fn answers_go_where_the_request_came_from() {
    let mut story = Story::on(UDP);
    story.flow.remote = "203.0.113.7:40000".parse().unwrap();
    story.hears(invite());
    story.waits(millis(200));
    let (flow, bytes) = story.sent[0].clone();
    assert_eq!(flow, story.flow, "rport was asked for");
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(
        text.contains(";rport=40000;branch=z9hG4bKi;received=203.0.113.7"),
        "{text}"
    );
}
