//! Too much at once, from peers that may send: what is bounded, what is shed, and what goes on undisturbed.

mod bounded;

use std::time::Duration;

use bytes::Bytes;
use onrecord::engine::Input;
use onrecord::model::{RecordingEvent, Timestamp};
use onrecord::sip::{Flow, Message, Response, Transport};

use crate::bench::{A, Bench, PROXY, SDP};

/// The recorder trails by nearly all that it may, for half a minute.
fn congested(mut bench: Bench) -> Bench {
    trail(&mut bench, Duration::from_millis(950), 120);
    bench.to_a.clear();
    bench.to_b.clear();
    bench
}

fn trail(bench: &mut Bench, lag: Duration, beats: u32) {
    for _ in 0..beats {
        bench.wait(Duration::from_millis(250));
        let durable_until = Timestamp::from_nanos(bench.now.as_nanos() - lag.as_nanos() as u64);
        bench.input(Input::Recording(RecordingEvent::Heartbeat { durable_until }));
    }
}

fn invite(number: usize, uri: &str, via: &str) -> Bytes {
    request("INVITE", number, uri, via, SDP)
}

fn request(method: &str, number: usize, uri: &str, via: &str, body: &str) -> Bytes {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKn{number};rport{via}\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=n{number}\r\nTo: <sip:bob@{PROXY}>\r\nCall-ID: n{number}\r\nCSeq: 1 {method}\r\nContact: <sip:alice@{A}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

const BOB: &str = "sip:bob@127.0.0.1:5070";

/// What A was answered, without 100.
fn answers(bench: &Bench) -> Vec<Response> {
    let responses = bench.to_a.iter().filter_map(|message| match message {
        Message::Response(response) if response.status > 100 => Some(response.clone()),
        _ => None,
    });
    responses.collect()
}

fn invites_to_b(bench: &Bench) -> usize {
    bench
        .to_b
        .iter()
        .filter(|message| matches!(message, Message::Request(r) if r.method.as_str() == "INVITE"))
        .count()
}

#[test]
fn under_load_new_calls_are_refused_for_some_seconds_and_calls_that_are_up_go_on() {
    let bench = Bench::strict().connected();
    let accepted = bench.response_to_a();
    let mut bench = congested(bench);
    for number in 0..200 {
        bench.from(A, invite(number, BOB, ""));
    }
    let refused = answers(&bench);
    assert!(
        refused.len() >= 185 && refused.len() + invites_to_b(&bench) == 200,
        "{}",
        refused.len()
    );
    let mut seconds: Vec<u32> = refused
        .iter()
        .map(|r| {
            r.headers
                .get("Retry-After")
                .unwrap_or_else(|| panic!("{r:?}"))
                .parse()
                .unwrap()
        })
        .collect();
    assert!(refused.iter().all(|response| response.status == 503));
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds, [1, 2, 3, 4, 5, 6, 7, 8], "not all in the same second");

    bench.to_b.clear();
    bench.to_a.push(accepted.into());
    bench.a_requests(2, "INFO", "info1", "");
    bench.b_answers("INFO", 200, "");
    bench.a_requests(3, "INVITE", "re1", SDP);
    assert_eq!(invites_to_b(&bench), 1, "a re-INVITE is no new call");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(3, "ACK", "re1ack", "");
    bench.a_requests(4, "BYE", "bye1", "");
    bench.request_to_b("BYE");
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn an_emergency_is_taken_under_any_load() {
    let mut bench = congested(Bench::strict());
    for number in 0..30 {
        bench.from(A, invite(number, "urn:service:sos.fire", ""));
    }
    assert_eq!((invites_to_b(&bench), answers(&bench).len()), (30, 0));
}

#[test]
fn a_copy_of_a_refused_invite_gets_the_same_answer_and_its_ack_none() {
    let mut bench = congested(Bench::strict());
    bench.from(A, invite(1, BOB, ""));
    let refused = answers(&bench);
    assert_eq!(refused.len(), 1, "98 of 100 are refused, and the seed is fixed");
    // The load goes while the copy is on its way.
    trail(&mut bench, Duration::ZERO, 80);
    bench.to_a.clear();
    bench.from(A, invite(1, BOB, ""));
    assert_eq!(answers(&bench), refused);
    bench.to_a.clear();
    let tag = refused[0].headers.to().tag().unwrap();
    let ack = String::from_utf8(request("ACK", 1, BOB, "", "").to_vec()).unwrap();
    bench.from(
        A,
        ack.replace("5070>\r\nCall", &format!("5070>;tag={tag}\r\nCall")).into(),
    );
    assert!(bench.to_a.is_empty() && bench.to_b.is_empty());
    bench.from(A, invite(2, BOB, ""));
    assert_eq!(invites_to_b(&bench), 1, "another call is welcome again");
    bench.b_answers("INVITE", 486, "");
    bench.from(A, request("ACK", 2, BOB, "", ""));
    bench.assert_nothing_left();
}

#[test]
fn for_whom_the_line_has_no_room_is_refused_at_a_glance_and_an_emergency_is_not() {
    let mut bench = Bench::strict();
    bench.from(A, invite(1, BOB, ""));
    assert_eq!(invites_to_b(&bench), 1);
    let from = |bench: &mut Bench, bytes: Bytes| {
        let flow = Flow {
            transport: Transport::Udp,
            local: PROXY.parse().unwrap(),
            remote: A.parse().unwrap(),
        };
        bench.input(Input::Excess { flow, bytes });
    };
    bench.to_a.clear();
    from(&mut bench, invite(1, BOB, ""));
    assert!(answers(&bench).is_empty(), "a copy of one that is in work");
    let odd = |bytes: Bytes| {
        Bytes::from(
            String::from_utf8(bytes.to_vec())
                .unwrap()
                .replace("Call-ID: ", "Call-ID:\r\n "),
        )
    };
    from(&mut bench, invite(2, BOB, ""));
    from(&mut bench, odd(invite(3, BOB, "")));
    let refused = answers(&bench);
    assert_eq!(refused.iter().map(|r| r.status).collect::<Vec<_>>(), [503, 503]);
    for response in &refused {
        assert!(response.headers.contains("Retry-After") && response.headers.to().tag().unwrap().len() == 16);
    }
    // Copies that come when there is room again ring nobody either.
    bench.to_a.clear();
    bench.from(A, invite(2, BOB, ""));
    bench.from(A, odd(invite(3, BOB, "")));
    assert_eq!((answers(&bench), invites_to_b(&bench)), (refused, 1));
    from(&mut bench, invite(4, "urn:service:sos", ""));
    assert_eq!(invites_to_b(&bench), 2, "an emergency is taken");
    bench.to_a.clear();
    from(&mut bench, request("REGISTER", 6, BOB, "", ""));
    assert_eq!(bench.response_to_a().status, 503);
}

#[test]
fn a_peer_that_offers_to_throttle_itself_is_told_by_how_much() {
    let via = ";oc;oc-algo=\"loss\"";
    let mut bench = Bench::strict();
    bench.from(A, request("OPTIONS", 1, BOB, via, ""));
    let told = bench.response_to_a().headers.via().unwrap().params.clone();
    assert_eq!((told.get("oc"), told.get("oc-validity")), (Some("0"), Some("0")));
    let mut bench = congested(bench);
    for number in 2..22 {
        bench.from(A, invite(number, BOB, via));
    }
    let refused = answers(&bench);
    assert!(refused.len() >= 15);
    for response in refused {
        let told = &response.headers.via().unwrap().params;
        assert_eq!((told.get("oc"), told.get("oc-algo")), (Some("98"), Some("\"loss\"")));
        assert_eq!(
            (told.get("oc-validity"), told.get("oc-seq").is_some()),
            (Some("500"), true)
        );
        assert!(
            !response.headers.contains("Retry-After"),
            "it would stop altogether (RFC 7339 §5.10.2)"
        );
    }
}

#[test]
fn under_load_a_probe_is_answered_and_a_flood_of_them_is_not() {
    let mut bench = congested(Bench::strict());
    for number in 0..100 {
        bench.from(A, request("OPTIONS", number, BOB, "", ""));
    }
    let statuses: Vec<u16> = answers(&bench).iter().map(|response| response.status).collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        3,
        "{statuses:?}"
    );
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
}
