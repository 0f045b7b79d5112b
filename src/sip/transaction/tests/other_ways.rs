//! Requests whose first way leads nowhere.

use proptest::prelude::*;

use super::*;
use crate::sip::transaction::Fallback;

fn invite(branch: &str) -> Request {
    request(Method::Invite, branch)
}

/// An INVITE by TCP that may go by UDP too.
fn long_invite(story: &mut Story) -> ClientId {
    let fallback = Fallback {
        request: invite("z9hG4bKudp"),
        flow: flow(UDP),
    };
    let id = story
        .layer
        .request_or(story.now, invite("z9hG4bKtcp"), flow(TCP), fallback);
    story.drain();
    id
}

#[test]
fn what_nobody_takes_by_tcp_goes_by_udp_under_the_same_id() {
    let mut story = Story::on(TCP);
    let id = long_invite(&mut story);
    story.layer.handle_unreachable(story.now, flow(TCP));
    story.drain();
    assert_eq!(story.tells(), ["0 → INVITE", "0 → INVITE"]);
    assert_eq!((story.sent[0].0, story.sent[1].0), (flow(TCP), flow(UDP)));
    story.waits(millis(500));
    assert_eq!(story.tells(), ["500 → INVITE"], "a datagram is repeated");
    story.hears(answer(&invite("z9hG4bKtcp"), 180));
    assert_eq!(story.tells(), [""; 0], "the first way is forgotten");
    story.hears(answer(&invite("z9hG4bKudp"), 180));
    story.layer.cancel(story.now, id, &[]);
    story.drain();
    assert_eq!(story.tells(), ["500 ↑ 180 INVITE", "500 → CANCEL"]);
    assert_eq!(story.sent.last().unwrap().0, flow(UDP));

    story.waits(seconds(64));
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn there_is_one_other_way_and_only_while_nothing_was_heard() {
    let mut story = Story::on(TCP);
    long_invite(&mut story);
    story.layer.handle_unreachable(story.now, flow(TCP));
    story.layer.handle_unreachable(story.now, flow(UDP));
    story.drain();
    assert_eq!(story.tells(), ["0 → INVITE", "0 → INVITE", "0 ↑ unreachable"]);
    assert_eq!(story.layer.len(), 0);

    long_invite(&mut story);
    story.hears(answer(&invite("z9hG4bKtcp"), 180));
    story.layer.handle_unreachable(story.now, flow(TCP));
    story.drain();
    assert_eq!(story.tells(), ["0 → INVITE", "0 ↑ 180 INVITE"]);
}

#[test]
fn a_datagram_that_came_back_ends_its_own_request_at_once() {
    let mut story = Story::on(UDP);
    story.asks(invite("z9hG4bKone"));
    story.asks(invite("z9hG4bKtwo"));
    let (to, bytes) = story.sent[0].clone();
    story.tells();
    // What routers quote of a datagram is cut somewhere.
    story.layer.handle_bounced(story.now, to, &bytes[..200]);
    story.drain();
    assert_eq!(story.tells(), ["0 ↑ unreachable"]);
    assert_eq!(story.layer.len(), 1, "the other waits");
}

#[test]
fn a_forged_error_without_the_branch_means_nothing() {
    let mut story = Story::on(UDP);
    story.asks(invite("z9hG4bKsecret"));
    let (to, bytes) = story.sent[0].clone();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let branch_ends = text.find("z9hG4bKsecret").unwrap() + "z9hG4bKsecret".len();
    let elsewhere = Flow {
        remote: "192.0.2.7:5060".parse().unwrap(),
        ..to
    };
    story.tells();
    for (flow, fragment) in [
        (to, &b""[..]),
        (to, b"\xff\xfe"),
        (to, &text.as_bytes()[..8]),
        (to, &text.as_bytes()[..branch_ends]),
        (to, text.replace("secret", "guess").as_bytes()),
        (to, text.replace("INVITE", "BYE").as_bytes()),
        (elsewhere, text.as_bytes()),
    ] {
        story.layer.handle_bounced(story.now, flow, fragment);
    }
    story.hears(answer(&invite("z9hG4bKsecret"), 100));
    story.layer.handle_bounced(story.now, to, &bytes);
    story.drain();
    assert_eq!(story.tells(), ["0 ↑ 100 INVITE"], "and what was heard of is not ended");
}

proptest! {
    #[test]
    fn no_error_from_the_network_panics_or_hits_what_it_does_not_quote(
        fragment in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "(INVITE |branch=|z9hG4bK|;|\r\n|[a-z]{1,8}){0,12}".prop_map(String::into_bytes),
        ],
    ) {
        let mut story = Story::on(UDP);
        story.asks(invite("z9hG4bK-0123456789abcdef"));
        story.layer.handle_bounced(story.now, flow(UDP), &fragment);
        story.drain();
        prop_assert_eq!(story.tells(), ["0 → INVITE"]);
    }
}

/// A request that came by a connection from a port of the kernel's choice; its Via says 5060.
fn asked_by_stream(method: Method) -> Story {
    let mut story = Story::on(TCP);
    story.flow.remote.set_port(49_152);
    let asked = request(method, "z9hG4bKs");
    story.hears(asked);
    story
}

#[test]
fn answers_go_to_where_the_peer_listens_once_its_connection_is_gone() {
    let mut story = asked_by_stream(Method::Invite);
    let invite = request(Method::Invite, "z9hG4bKs");
    story.answers(answer(&invite, 180));
    let gone = story.flow;
    story.layer.handle_unreachable(story.now, gone);
    story.drain();
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 → 180 INVITE", "0 → 180 INVITE"]);
    story.answers(answer(&invite, 486));
    let ways: Vec<Flow> = story.sent.iter().map(|(flow, _)| *flow).collect();
    assert_eq!(ways, [gone, flow(TCP), flow(TCP)]);
    story.tells();
    story.layer.handle_unreachable(story.now, flow(TCP));
    story.drain();
    assert_eq!(story.tells(), [""; 0], "there is no third way");
    story.waits(seconds(64));
    assert_eq!(story.layer.len(), 0);
}

#[test]
fn a_2xx_goes_the_other_way_by_its_own_clock_and_nothing_does_once_it_is_settled() {
    for settled in [false, true] {
        let mut story = asked_by_stream(Method::Invite);
        let gone = story.flow;
        story.answers(answer(&request(Method::Invite, "z9hG4bKs"), 200));
        story.layer.handle_unreachable(story.now, gone);
        if settled {
            story.layer.settle_success(story.now, story.server.unwrap());
        }
        story.tells();
        story.waits(millis(500));
        let expected: &[&str] = if settled { &[] } else { &["500 → 200 INVITE"] };
        assert_eq!(story.tells(), expected);
        assert_eq!(story.sent.last().unwrap().0 == flow(TCP), !settled);
    }
}
