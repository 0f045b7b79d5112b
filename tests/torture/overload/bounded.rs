//! What one source, one call or one fork may cost is bounded, and its places come back.

use std::time::Duration;

use bytes::Bytes;
use onrecord::model::MediaCommand;
use onrecord::sip::Message;

use super::{BOB, answers, invite, invites_to_b, request};
use crate::bench::{A, B, Bench, PROXY, SDP, answer};

#[test]
fn invites_that_nobody_answers_are_bounded_for_one_source_and_their_places_come_back() {
    let mut bench = Bench::unrecorded();
    for number in 0..100 {
        bench.from(A, request("INVITE", number, BOB, "", ""));
    }
    // Half of the 100 calls that the node may have.
    assert_eq!(invites_to_b(&bench), 50);
    assert!(answers(&bench).iter().all(|response| response.status == 503));
    bench.from(A, invite(200, "urn:service:sos", ""));
    assert_eq!(invites_to_b(&bench), 51, "an emergency is not counted among them");
    bench.wait(Duration::from_secs(120));
    assert_eq!((bench.signaling.calls(), bench.signaling.leftovers()), (0, [0; 4]));
    bench.to_b.clear();
    bench.from(A, request("INVITE", 300, BOB, "", ""));
    assert_eq!(invites_to_b(&bench), 1);
}

#[test]
fn calls_whose_caller_never_acknowledges_are_ended_and_counted_half_open_until_then() {
    let mut bench = Bench::unrecorded();
    for number in 0..40 {
        bench.from(A, invite(number, BOB, ""));
        bench.b_answers("INVITE", 200, SDP);
    }
    bench.to_b.clear();
    for number in 40..60 {
        bench.from(A, request("INVITE", number, BOB, "", ""));
    }
    assert_eq!(invites_to_b(&bench), 10, "forty 2xx wait for their ACK");
    bench.wait(Duration::from_secs(40));
    let byes = |messages: &[Message]| {
        let is_bye = |message: &&Message| matches!(message, Message::Request(r) if r.method.as_str() == "BYE");
        messages.iter().filter(is_bye).count()
    };
    assert!(byes(&bench.to_a) >= 40 && byes(&bench.to_b) >= 40);
    bench.assert_nothing_left();
}

#[test]
fn a_hundred_forks_ring_as_one_call_and_end_with_it() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    let to_b = bench.request_to_b("INVITE");
    for fork in 0..100 {
        bench.from(B, answer(&to_b, 183, &format!("fork-{fork}"), "127.0.0.1:5090", SDP));
    }
    let opens = bench
        .media
        .iter()
        .filter(|command| matches!(command, MediaCommand::Open(_)))
        .count();
    assert_eq!(opens, 1, "one set of ports, not a hundred");
    assert!(
        bench.media.len() <= 20,
        "forks that are told apart are bounded: {}",
        bench.media.len()
    );
    for fork in 0..100 {
        bench.from(B, answer(&to_b, 200, &format!("fork-{fork}"), "127.0.0.1:5090", SDP));
    }
    assert_eq!(
        answers(&bench).iter().filter(|response| response.status == 200).count(),
        1
    );
    let byes = bench
        .to_b
        .iter()
        .filter(|m| matches!(m, Message::Request(r) if r.method.as_str() == "BYE"))
        .count();
    assert_eq!(byes, 8, "so many are ended in order, the rest are left to time out");
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn deep_and_many_parted_bodies_are_refused_without_being_walked() {
    let nested: String = (0..900)
        .map(|level| {
            format!(
                "--b{level}\r\nContent-Type: multipart/mixed;boundary=b{}\r\n\r\n",
                level + 1
            )
        })
        .collect();
    let many = "--b0\r\nContent-Type: text/plain\r\n\r\nx\r\n".repeat(1_500) + "--b0--\r\n";
    let open = "--b0\r\n".repeat(9_000);
    for body in [nested, many, open] {
        let mut bench = Bench::strict();
        let invite = String::from_utf8(invite(1, BOB, "").to_vec()).unwrap();
        let head = invite.split("Content-Type").next().unwrap();
        let length = body.len();
        let bytes =
            format!("{head}Content-Type: multipart/mixed;boundary=b0\r\nContent-Length: {length}\r\n\r\n{body}");
        bench.from(A, bytes.into());
        assert_eq!(bench.response_to_a().status, 415);
        assert!(bench.to_b.is_empty());
    }
}

#[test]
fn a_spray_inside_a_call_is_bounded_and_leaves_the_call_and_others_alone() {
    let mut bench = Bench::strict().connected();
    bench.to_b.clear();
    for number in 0..1_000 {
        bench.a_requests(number + 2, "INFO", &format!("spray{number}"), "");
    }
    let sprayed = bench.to_b.len();
    assert!(sprayed <= 60, "{sprayed} reached B");
    let refused = answers(&bench).iter().filter(|response| response.status == 500).count();
    assert!(refused >= 900, "{refused}");
    bench.to_b.clear();
    bench.a_requests(2_000, "BYE", "bye1", "");
    bench.request_to_b("BYE");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn cseq_may_jump_forward_as_far_as_it_goes_and_never_back() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2_000_000_000, "INFO", "jump1", "");
    bench.request_to_b("INFO");
    bench.b_answers("INFO", 200, "");
    bench.a_requests(3, "INFO", "jump2", "");
    assert_eq!(bench.response_to_a().status, 500);
    bench.a_requests(2_147_483_647, "BYE", "jump3", "");
    assert_eq!(
        bench.response_to_a().status,
        200,
        "the last number there is (RFC 3261 §8.1.1.5)"
    );
}

#[test]
fn requests_of_one_source_that_wait_for_an_answer_are_bounded() {
    let mut bench = Bench::strict();
    for number in 0..20_000 {
        bench.from(A, request("MESSAGE", number, BOB, "", "hello"));
    }
    let [_, transactions, owned, _] = bench.signaling.leftovers();
    assert!(
        transactions <= 2_100 && owned <= 100,
        "{transactions} transactions, {owned} owned"
    );
    let refused = answers(&bench).iter().filter(|response| response.status == 503).count();
    assert!(refused > 18_000, "{refused}");
    bench.assert_nothing_left();
}

#[test]
fn what_a_stranger_sends_is_dropped_unread() {
    let mut bench = Bench::strict();
    for (number, bytes) in [
        invite(1, BOB, ""),
        invite(2, "urn:service:sos", ""),
        Bytes::from_static(b"\0garbage"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.from(&format!("127.0.0.66:{}", 5060 + number), bytes);
    }
    assert!(bench.to_a.is_empty() && bench.to_b.is_empty() && bench.story.is_empty());
    assert_eq!(bench.signaling.leftovers(), [0; 4]);
}

/// A request in the dialog of [`Bench::connected`], of A or of B, with more header lines.
fn refer(bench: &mut Bench, by_a: bool, number: u32, target: &str) {
    let more = format!("Refer-To: <{target}>\r\n");
    if by_a {
        let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
        bench.a_requests_in(&tag, number, "REFER", &more, "");
    } else {
        bench.fork_requests("b-tag", number, "REFER", &more, "");
    }
}

fn requests(messages: &[Message], method: &str) -> usize {
    let is_it = |message: &&Message| matches!(message, Message::Request(r) if r.method.as_str() == method);
    messages.iter().filter(is_it).count()
}

#[test]
fn refers_that_go_round_in_a_ring_are_bounded() {
    let mut bench = Bench::unrecorded().connected();
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    for round in 0..1_000 {
        // Each refers the other to itself, and agrees to what the other wants.
        bench.a_requests_in(
            &tag,
            round + 2,
            "REFER",
            &format!("Refer-To: <sip:alice@{PROXY}>\r\n"),
            "",
        );
        if requests(&bench.to_b, "REFER") > 0 {
            bench.b_answers("REFER", 202, "");
        }
        bench.fork_requests(
            "b-tag",
            round + 2,
            "REFER",
            &format!("Refer-To: <sip:bob@{PROXY}>\r\n"),
            "",
        );
        if requests(&bench.to_a, "REFER") > 0 {
            bench.a_answers("REFER", 202, "");
        }
        // The caller does as it is told: once more to where it is.
        bench.from(A, invite(10_000 + round as usize, BOB, ""));
        bench.b_answers("INVITE", 486, "");
        bench.from(A, request("ACK", 10_000 + round as usize, BOB, "", ""));
        bench.wait(Duration::from_millis(10));
    }
    // Ten seconds at twenty a second, and the sixty that may come at once.
    let carried = requests(&bench.to_a, "REFER") + requests(&bench.to_b, "REFER");
    assert!((200..=270).contains(&carried), "{carried}");
    assert_eq!(bench.signaling.calls(), 1, "the calls that it made are over");
    bench.a_requests_in(&tag, 5_000, "BYE", "", "");
    bench.b_answers("BYE", 200, "");
    bench.wait(Duration::from_secs(400));
    bench.assert_nothing_left();
}

#[test]
fn a_call_that_is_to_replace_itself_ends_no_other_way_than_any() {
    let mut bench = Bench::unrecorded().connected();
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    let replaces = format!("call-1%3Bto-tag%3D{tag}%3Bfrom-tag%3Da-tag");
    for number in 2..42 {
        refer(
            &mut bench,
            number % 2 == 0,
            number,
            &format!("sip:bob@{PROXY}?Replaces={replaces}"),
        );
    }
    let carried = requests(&bench.to_a, "REFER") + requests(&bench.to_b, "REFER");
    assert!(carried <= 16, "{carried} wait for an answer");
    // And the INVITE that it asks for, from the call's own caller, over and over.
    for number in 0..80 {
        let text = String::from_utf8(invite(number, BOB, "").to_vec()).unwrap();
        let line = format!("Replaces: call-1;to-tag={tag};from-tag=a-tag\r\nContact:");
        bench.from(A, text.replace("Contact:", &line).into());
    }
    assert!(bench.signaling.calls() <= 51, "half of the node's calls, and this one");
    bench.a_requests_in(&tag, 100, "BYE", "", "");
    bench.wait(Duration::from_secs(400));
    bench.assert_nothing_left();
}

#[test]
fn thousands_of_headers_are_refused_or_cross_in_a_bounded_time() {
    for line in [
        "X-More: 1\r\n",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n",
        "Route: <sip:192.0.2.1;lr>\r\n",
    ] {
        let mut bench = Bench::unrecorded();
        let text = String::from_utf8(invite(1, BOB, "").to_vec()).unwrap();
        let more = line.repeat(60_000 / line.len());
        bench.from(A, text.replace("Contact:", &format!("{more}Contact:")).into());
        let refused = answers(&bench);
        assert!(
            refused.len() == 1 && (400..600).contains(&refused[0].status),
            "{line}: {refused:?}"
        );
        assert!(bench.to_b.is_empty(), "{line}");
        bench.assert_nothing_left();
    }
}
