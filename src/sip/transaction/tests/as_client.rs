use super::*;

fn invite() -> Request {
    request(Method::Invite, "z9hG4bKi")
}

fn parsed(bytes: &[u8]) -> Request {
    match Message::parse(bytes) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// RFC 3261 §17.1.1.2: Timer A doubles without a cap, Timer B ends it.
#[test]
fn an_invite_that_nobody_answers_is_sent_seven_times_and_given_up_after_32_seconds() {
    let mut story = Story::on(UDP);
    story.asks(invite());
    story.waits(seconds(100));
    assert_eq!(
        story.tells(),
        [
            "0 → INVITE",
            "500 → INVITE",
            "1500 → INVITE",
            "3500 → INVITE",
            "7500 → INVITE",
            "15500 → INVITE",
            "31500 → INVITE",
            "32000 ↑ timed out"
        ]
    );
    assert_eq!((story.layer.len(), story.layer.poll_timeout()), (0, None));
}

#[test]
fn over_tcp_nothing_is_sent_again() {
    let mut story = Story::on(TCP);
    story.asks(invite());
    story.asks(request(Method::Options, "z9hG4bKo"));
    story.waits(seconds(100));
    assert_eq!(
        story.tells(),
        ["0 → INVITE", "0 → OPTIONS", "32000 ↑ timed out", "32000 ↑ timed out"]
    );
}

#[test]
fn a_provisional_answer_stops_the_repetition_and_the_end_of_waiting() {
    let mut story = Story::on(UDP);
    story.asks(invite());
    story.waits(millis(600));
    story.hears(answer(&invite(), 180));
    story.waits(seconds(100));
    assert_eq!(story.tells(), ["0 → INVITE", "500 → INVITE", "600 ↑ 180 INVITE"]);
    assert_eq!(story.layer.len(), 1);
}

/// RFC 3261 §17.1.1.2–3: the layer itself acknowledges, again for each copy, for 32 s.
#[test]
fn a_refusal_is_acknowledged_by_the_layer_and_told_once() {
    let mut story = Story::on(UDP);
    let mut invite = invite();
    invite.headers.push("Route", "<sip:192.0.2.1;lr>");
    story.asks(invite.clone());
    story.hears(answer(&invite, 486));
    story.waits(seconds(1));
    story.hears(answer(&invite, 486));
    story.hears(answer(&invite, 180));
    story.hears(answer(&invite, 200));
    assert_eq!(story.tells(), ["0 → INVITE", "0 → ACK", "0 ↑ 486 INVITE", "1000 → ACK"]);

    let ack = parsed(&story.sent[1].1);
    assert_eq!(ack.uri, invite.uri);
    assert_eq!(ack.headers.to().tag(), Some("b"));
    assert_eq!(ack.headers.cseq().to_string(), "1 ACK");
    assert_eq!(ack.headers.get("Via"), invite.headers.get("Via"));
    assert_eq!(ack.headers.get("Route"), Some("<sip:192.0.2.1;lr>"));

    story.waits(seconds(32));
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn over_tcp_a_refusal_ends_the_transaction_at_once() {
    let mut story = Story::on(TCP);
    story.asks(invite());
    story.hears(answer(&invite(), 603));
    assert_eq!(story.tells(), ["0 → INVITE", "0 → ACK", "0 ↑ 603 INVITE"]);
    assert_eq!(story.layer.len(), 0);
}

/// RFC 6026 §7.2.
#[test]
fn every_2xx_of_the_next_32_seconds_is_told_and_nothing_else() {
    let mut story = Story::on(UDP);
    story.asks(invite());
    story.hears(answer(&invite(), 200));
    story.waits(seconds(1));
    story.hears(answer(&invite(), 200));
    story.hears(answer(&invite(), 180));
    story.hears(answer(&invite(), 486));
    story.waits(millis(30_999));
    story.hears(answer(&invite(), 200));
    story.waits(millis(1));
    story.hears(answer(&invite(), 200));
    assert_eq!(
        story.tells(),
        [
            "0 → INVITE",
            "0 ↑ 200 INVITE",
            "1000 ↑ 200 INVITE",
            "31999 ↑ 200 INVITE",
            "32000 ↑ orphan 200 INVITE"
        ]
    );
    assert_eq!(story.layer.len(), 0);
}

/// RFC 3261 §9.1.
#[test]
fn a_cancel_waits_for_a_provisional_answer_and_goes_once() {
    let mut story = Story::on(UDP);
    let mut invite = invite();
    invite.headers.push("Route", "<sip:192.0.2.1;lr>");
    let id = story.asks(invite.clone());
    assert_eq!(story.layer.cancel(story.now, id, &[]), None, "nothing came yet");
    story.hears(answer(&invite, 180));
    let reasons = ["SIP;cause=503".to_owned(), "Q.850;cause=41".to_owned()];
    let cancel = story.layer.cancel(story.now, id, &reasons);
    assert!(cancel.is_some());
    assert_eq!(story.layer.cancel(story.now, id, &[]), None, "once");
    story.drain();

    let sent = parsed(&story.sent.last().unwrap().1);
    assert_eq!((sent.method.clone(), &sent.uri), (Method::Cancel, &invite.uri));
    assert_eq!(sent.headers.cseq().to_string(), "1 CANCEL");
    assert_eq!(sent.headers.get_all("Reason").collect::<Vec<_>>(), reasons);
    for name in ["Via", "From", "To", "Call-ID", "Route"] {
        assert_eq!(sent.headers.get(name), invite.headers.get(name), "{name}");
    }

    story.hears(answer(&sent, 200));
    story.hears(answer(&invite, 487));
    assert_eq!(
        story.tells(),
        [
            "0 → INVITE",
            "0 ↑ 180 INVITE",
            "0 → CANCEL",
            "0 ↑ 200 CANCEL",
            "0 → ACK",
            "0 ↑ 487 INVITE"
        ]
    );
}

#[test]
fn an_invite_that_its_user_has_abandoned_does_not_ring_for_ever() {
    let mut story = Story::on(UDP);
    let id = story.asks(invite());
    story.layer.abandon(story.now, id);
    story.hears(answer(&invite(), 180));
    story.waits(seconds(32));
    assert_eq!(story.tells(), ["0 → INVITE", "0 ↑ 180 INVITE", "32000 ↑ timed out"]);
}

#[test]
fn an_invite_that_stays_unanswered_after_its_cancel_is_given_up() {
    let mut story = Story::on(UDP);
    let id = story.asks(invite());
    story.hears(answer(&invite(), 100));
    story.waits(seconds(60));
    assert!(story.layer.cancel(story.now, id, &[]).is_some());
    story.drain();
    let cancel = parsed(&story.sent.last().unwrap().1);
    story.hears(answer(&cancel, 200));
    story.waits(seconds(32));
    assert_eq!(
        story.tells(),
        [
            "0 → INVITE",
            "0 ↑ 100 INVITE",
            "60000 → CANCEL",
            "60000 ↑ 200 CANCEL",
            "92000 ↑ timed out"
        ]
    );
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_told() {
    let mut story = Story::on(UDP);
    let id = story.asks(invite());
    story.hears(answer(&invite(), 180));
    assert!(story.layer.cancel(story.now, id, &[]).is_some());
    story.hears(answer(&invite(), 200));
    assert_eq!(
        story.tells(),
        ["0 → INVITE", "0 ↑ 180 INVITE", "0 → CANCEL", "0 ↑ 200 INVITE"]
    );
    assert_eq!(story.layer.cancel(story.now, id, &[]), None);
}

/// RFC 3261 §17.1.2.2: Timer E doubles up to T2, Timer F ends it.
#[test]
fn another_request_is_sent_eleven_times_in_32_seconds() {
    let mut story = Story::on(UDP);
    story.asks(request(Method::Bye, "z9hG4bKb"));
    story.waits(seconds(100));
    let told = story.tells();
    let times: Vec<_> = told.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        times,
        [
            "0", "500", "1500", "3500", "7500", "11500", "15500", "19500", "23500", "27500", "31500", "32000"
        ]
    );
    assert_eq!(told.last().unwrap(), "32000 ↑ timed out");
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn a_provisional_answer_to_another_request_slows_it_to_every_4_seconds() {
    let mut story = Story::on(UDP);
    let bye = request(Method::Bye, "z9hG4bKb");
    story.asks(bye.clone());
    story.hears(answer(&bye, 100));
    story.waits(seconds(9));
    story.hears(answer(&bye, 200));
    story.hears(answer(&bye, 200));
    assert_eq!(
        story.tells(),
        [
            "0 → BYE",
            "0 ↑ 100 BYE",
            "500 → BYE",
            "4500 → BYE",
            "8500 → BYE",
            "9000 ↑ 200 BYE"
        ]
    );
    story.waits(millis(4_999));
    assert_eq!(story.layer.len(), 1, "Timer K");
    story.waits(millis(1));
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn an_answer_of_another_branch_or_method_is_nobodys() {
    let mut story = Story::on(UDP);
    story.asks(invite());
    story.hears(answer(&request(Method::Invite, "z9hG4bKother"), 200));
    story.hears(answer(&request(Method::Bye, "z9hG4bKi"), 200));
    story.hears(answer(&request(Method::Invite, "z9hG4bKother"), 486));
    assert_eq!(
        story.tells(),
        ["0 → INVITE", "0 ↑ orphan 200 INVITE"],
        "its core acknowledges it (§13.2.2.4)"
    );
}

/// RFC 3261 §17.1.4: the error is the unsent request's; a call that rings is not ended by it.
#[test]
fn what_has_begun_to_be_answered_survives_its_dead_flow() {
    let mut story = Story::on(TCP);
    let info = request(Method::Info, "z9hG4bKn");
    story.asks(invite());
    story.asks(info.clone());
    story.hears(answer(&invite(), 180));
    story.hears(answer(&info, 100));
    story.asks(request(Method::Bye, "z9hG4bKb"));
    story.tells();
    story.layer.handle_unreachable(story.now, story.flow);
    story.drain();
    assert_eq!(story.tells(), ["0 ↑ unreachable"], "the BYE alone");
    story.hears(answer(&invite(), 200));
    story.hears(answer(&info, 200));
    assert_eq!(story.tells(), ["0 ↑ 200 INVITE", "0 ↑ 200 INFO"]);
}

#[test]
fn a_request_longer_than_a_datagram_fails_alone_and_only_over_udp() {
    for method in [Method::Invite, Method::Message] {
        let mut long = request(method, "z9hG4bKl");
        long.body = Bytes::from(vec![b'x'; outbox::DATAGRAM_BYTES_MAX]);
        let mut story = Story::on(UDP);
        story.asks(request(Method::Bye, "z9hG4bKb"));
        story.asks(long.clone());
        assert_eq!(story.tells(), ["0 → BYE", "0 ↑ unreachable"]);
        assert_eq!(story.layer.len(), 1);

        let mut story = Story::on(TCP);
        story.layer.request(story.now, long, story.flow);
        assert!(matches!(story.layer.poll_output(), Some(Output::Send { .. })));
        assert_eq!(story.layer.len(), 1);
    }
}

#[test]
fn what_waits_on_a_dead_flow_is_over_and_what_waits_elsewhere_is_not() {
    let mut story = Story::on(TCP);
    story.asks(invite());
    story.asks(request(Method::Bye, "z9hG4bKb"));
    let elsewhere = Flow {
        remote: "192.0.2.2:5060".parse().unwrap(),
        ..story.flow
    };
    story
        .layer
        .request(story.now, request(Method::Bye, "z9hG4bKc"), elsewhere);
    story.layer.handle_unreachable(story.now, story.flow);
    story.drain();
    assert_eq!(
        story.tells(),
        ["0 → INVITE", "0 → BYE", "0 → BYE", "0 ↑ unreachable", "0 ↑ unreachable"]
    );
    assert_eq!(story.layer.len(), 1);
    story.waits(seconds(32));
    assert_eq!(story.layer.len(), 0);
}
