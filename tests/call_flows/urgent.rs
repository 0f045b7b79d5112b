//! Emergency calls with everything against them: they are connected.

mod called_back;

use std::time::Duration;

use bytes::Bytes;
use onrecord::engine::Input;
use onrecord::model::{Fault, MediaCommand, MediaEvent, Outcome, RecordingCommand, Tally};
use onrecord::sip::Method;
use onrecord::trunk::{Conduct, Peer, Trunk};

use super::bench::{A, ALL_STRICT, B, Bench, GRANTS, SDP, invite, route};

fn call(cseq: u32, branch: &str, sdp: &str) -> Bytes {
    let text = String::from_utf8(invite(cseq, branch, "", sdp, "").to_vec()).unwrap();
    text.replace("sip:bob@", "sip:112@").into()
}

fn body(body: &Bytes) -> &str {
    std::str::from_utf8(body).unwrap()
}

/// Both talk, without us between them; then A hangs up.
fn talk_and_end(bench: &mut Bench) {
    assert_eq!(
        body(&bench.request_to_b("INVITE").body),
        SDP,
        "B is told A's own address"
    );
    let theirs = SDP.replace("192.0.2.1", "192.0.2.2");
    bench.b_answers("INVITE", 183, &theirs);
    assert_eq!(body(&bench.response_to_a().body), theirs, "early media too");
    bench.b_answers("INVITE", 200, &theirs);
    assert_eq!(body(&bench.response_to_a().body), theirs);
    bench.a_requests(1, "ACK", "ack1", "");
    let held = SDP.replace("sendrecv", "sendonly");
    bench.a_requests(2, "INVITE", "re2", &held);
    assert_eq!(body(&bench.request_to_b("INVITE").body), held);
    bench.b_answers("INVITE", 200, &theirs.replace("sendrecv", "recvonly"));
    assert_eq!(bench.response_to_a().status, 200);
    bench.a_requests(2, "ACK", "ack2", "");
    bench.a_requests(3, "BYE", "bye3", "");
    bench.b_answers("BYE", 200, "");
}

fn outcome(bench: &Bench) -> Outcome {
    let of = |command: &RecordingCommand| match command {
        RecordingCommand::Close { closing, .. } | RecordingCommand::Keep { closing, .. } => Some(closing.outcome),
        RecordingCommand::Open(_) => None,
        _ => None,
    };
    bench.recording.iter().find_map(of).unwrap()
}

#[test]
fn no_port_can_be_bound_and_the_parties_hear_each_other_without_us() {
    let mut bench = Bench::strict();
    bench.ports_bind = false;
    bench.from(A, call(1, "e1", SDP));
    talk_and_end(&mut bench);
    assert_eq!(outcome(&bench), Outcome::Unrecorded);
    bench.assert_nothing_left();
}

#[test]
fn any_other_call_is_refused_then() {
    let mut bench = Bench::strict();
    bench.ports_bind = false;
    bench.invite(SDP, "");
    assert_eq!(bench.response_to_a().status, 503);
    assert!(bench.to_b.is_empty());
}

#[test]
fn neither_relay_nor_recorder_says_a_word_and_the_call_waits_for_two_seconds_no_more() {
    let mut bench = Bench::strict();
    (bench.media_answers, bench.recorder_answers) = (false, false);
    bench.from(A, call(1, "e1", SDP));
    bench.wait(Duration::from_millis(1_900));
    assert!(bench.to_b.is_empty());
    bench.wait(Duration::from_millis(200));
    let is_close = |command: &MediaCommand| matches!(command, MediaCommand::Close { .. });
    assert!(
        bench.media.iter().any(is_close),
        "what comes to it late is not bound for ever"
    );
    let RecordingCommand::Open(header) = &bench.recording[0] else {
        panic!("{:?}", bench.recording)
    };
    let session = header.session;
    let late = [
        MediaEvent::Opened { session },
        MediaEvent::Closed {
            session,
            tally: Box::new(Tally::default()),
        },
    ];
    late.into_iter().for_each(|event| bench.input(Input::Media(event)));
    bench.recorder_answers = true;
    talk_and_end(&mut bench);
    assert_eq!(outcome(&bench), Outcome::Unrecorded);
    bench.assert_nothing_left();
}

#[test]
fn its_reserve_of_ports_is_used_up_and_the_next_goes_without() {
    let mut bench = Bench::with_spare(&ALL_STRICT, Conduct::default());
    let lines = 16;
    let many = format!("{}{}", SDP, "m=audio 4002 RTP/AVP 8\r\n".repeat(lines - 1));
    for number in 0..7_u32 {
        let text = String::from_utf8(call(1, &format!("e{number}"), &many).to_vec()).unwrap();
        bench.from(A, text.replace("call-1", &format!("call-e{number}")).into());
    }
    let bodies = bench.to_b.iter().filter_map(|message| match message {
        onrecord::sip::Message::Request(request) if request.method == Method::Invite => Some(request.body.clone()),
        _ => None,
    });
    let direct: Vec<bool> = bodies.map(|sdp| body(&sdp) == many).collect();
    assert_eq!(direct.len(), 7, "every one is sent on");
    assert_eq!(direct.first(), Some(&false));
    assert_eq!(direct.last(), Some(&true));
}

#[test]
fn a_callee_who_makes_the_offer_is_connected_too_when_no_port_is_left() {
    let mut bench = Bench::with_spare(&ALL_STRICT, Conduct::default());
    for number in 0..51_u32 {
        let text = String::from_utf8(call(1, &format!("e{number}"), SDP).to_vec()).unwrap();
        bench.from(A, text.replace("call-1", &format!("call-e{number}")).into());
    }
    assert_eq!(body(&bench.request_to_b("INVITE").body), SDP, "no port is left");
    bench.from(A, call(1, "late", ""));
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(body(&bench.response_to_a().body), SDP);
    bench.a_requests(1, "ACK", "ack1", SDP);
    assert_eq!(body(&bench.request_to_b("ACK").body), SDP);
}

#[test]
fn a_trunk_that_may_not_call_may_call_for_help() {
    let mut bench = Bench::strict();
    let trunk = |name: &str, address: &str| {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let peer = Peer {
            ip: address.ip(),
            port: Some(address.port()),
        };
        Trunk::new(name.into(), vec![peer])
    };
    let pbx = Trunk {
        methods: Some(vec![Method::Options]),
        ..trunk("pbx", A)
    };
    bench.input(Input::Trunks {
        trunks: vec![pbx, trunk("carrier", B)],
        routes: vec![route("pbx", "carrier", None)],
    });
    bench.invite(SDP, "");
    assert_eq!(bench.response_to_a().status, 405);
    bench.from(A, call(1, "e1", SDP));
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "INVITE", "re2", SDP);
    assert_eq!(
        bench.request_to_b("INVITE").headers.cseq().number,
        2,
        "nor is it cut short later"
    );
}

#[test]
fn a_resumed_call_whose_recorder_is_silent_is_heard_again_after_two_seconds() {
    let lenient = [("desk.toml", super::bench::LENIENT), ("grants.toml", GRANTS)];
    for down in [false, true] {
        let before = Bench::with(&lenient).connected();
        let mut bench = Bench::with(&lenient);
        bench.now = before.now;
        bench.recorder_answers = false;
        for (session, state) in before.remembered.clone() {
            bench.input(Input::Resume { session, state });
        }
        assert!(bench.media.is_empty(), "{:?}", bench.media);
        if down {
            bench.recorder_fails(Fault::Io);
        } else {
            bench.wait(Duration::from_millis(2_100));
        }
        assert!(matches!(bench.media[..], [MediaCommand::Open(_)]), "{:?}", bench.media);
        assert_eq!(bench.signaling.calls(), 1);
    }
}

#[test]
fn neither_an_option_that_nobody_knows_nor_used_up_hops_stop_it() {
    let mut bench = Bench::with(&ALL_STRICT);
    let odd = "Proxy-Require: privacy, x-unheard-of\r\nRequire: x-other\r\nPrivacy: id\r\nContact:";
    let text = String::from_utf8(call(1, "e1", SDP).to_vec()).unwrap();
    let text = text.replace("Max-Forwards: 70", "Max-Forwards: 0");
    bench.from(A, text.replacen("Contact:", odd, 1).into());
    let sent = bench.request_to_b("INVITE");
    let lines = ["Proxy-Require", "Require", "Privacy"].map(|name| sent.headers.get(name));
    assert_eq!(lines, [None, None, Some("id")]);

    let mut bench = Bench::with(&ALL_STRICT);
    bench.invite(SDP, "Proxy-Require: x-unheard-of\r\n");
    assert_eq!(bench.response_to_a().status, 420, "any other call");
}

#[test]
fn a_demand_for_privacy_is_passed_on_to_the_next_hop() {
    let mut bench = Bench::with(&ALL_STRICT);
    bench.invite(SDP, "Proxy-Require: Privacy\r\nPrivacy: id; critical\r\n");
    let sent = bench.request_to_b("INVITE");
    let lines = ["Proxy-Require", "Require", "Privacy"].map(|name| sent.headers.get(name));
    assert_eq!(lines, [Some("privacy"), None, Some("id; critical")]);
}

/// An INVITE to 112 with this in place of that.
fn odd_call(from: &str, to: &str) -> Bytes {
    let text = String::from_utf8(call(1, "e1", SDP).to_vec()).unwrap();
    let odd = text.replacen(from, to, 1);
    assert_ne!(odd, text);
    odd.into()
}

#[test]
fn what_we_cannot_read_of_its_offer_crosses_as_it_is() {
    let nested = "Content-Type: multipart/mixed;boundary=b1\r\nContent-Length: 64\r\n\r\n--b1\r\nContent-Type: multipart/mixed;boundary=b2\r\n\r\nv=0\r\n--b1--\r\n";
    let at = String::from_utf8(call(1, "e1", SDP).to_vec()).unwrap();
    let plain = &at[at.find("Content-Type").unwrap()..];
    let garbage = plain.replace("m=audio 4000", "m=audio xxxx");
    let packed = plain.replace("Content-Length", "Content-Encoding: gzip\r\nContent-Length");
    for odd in [nested, &garbage, &packed] {
        let mut bench = Bench::strict();
        bench.from(A, odd_call(plain, odd));
        let sent = bench.request_to_b("INVITE");
        assert_eq!(body(&sent.body), odd.split_once("\r\n\r\n").unwrap().1);
        let encoding = odd.contains("gzip").then_some("gzip");
        assert_eq!(sent.headers.get("Content-Encoding"), encoding);
        let theirs = SDP.replace("192.0.2.1", "192.0.2.2");
        bench.b_answers("INVITE", 200, &theirs);
        assert_eq!(body(&bench.response_to_a().body), theirs);
        bench.a_requests(1, "ACK", "ack1", "");
        bench.a_requests(2, "INVITE", "re2", SDP);
        assert_eq!(body(&bench.request_to_b("INVITE").body), SDP);
        bench.b_answers("INVITE", 200, &theirs);
        bench.a_requests(2, "ACK", "ack2", "");
        bench.a_requests(3, "BYE", "bye3", "");
        bench.b_answers("BYE", 200, "");
        assert!(bench.media.is_empty());
        assert_eq!(outcome(&bench), Outcome::Unrecorded);
        bench.assert_nothing_left();
    }
}

#[test]
fn an_answer_that_we_cannot_read_ends_no_emergency_call() {
    let mut bench = Bench::strict();
    bench.from(A, call(1, "e1", SDP));
    let odd = SDP.replace("m=audio 4000", "m=audio xxxx");
    bench.b_answers("INVITE", 200, &odd);
    let answer = bench.response_to_a();
    assert_eq!((answer.status, body(&answer.body)), (200, odd.as_str()));
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(bench.signaling.calls(), 1);
    bench.a_requests(2, "BYE", "bye2", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn no_line_that_nobody_needs_stops_it() {
    let long = format!("X-Note: {}\r\nContact:", "a".repeat(20_000));
    let contact = format!("Contact: <sip:alice@{A}>\r\n");
    for (from, to) in [
        ("Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nMax-Forwards: 70\r\n"),
        ("Contact:", "Expires: 99999999999\r\nContact:"),
        ("Contact:", "no header at all\r\nContact:"),
        ("Contact:", "Replaces: none\r\nReplaces: none\r\nContact:"),
        ("Contact:", "Join: none\r\nContact:"),
        ("Contact:", long.as_str()),
        (contact.as_str(), ""),
        (contact.as_str(), "Contact: <<sip:\r\n"),
    ] {
        let mut bench = Bench::strict();
        bench.from(A, odd_call(from, to));
        let sent = bench.request_to_b("INVITE");
        assert!(sent.headers.get("X-Note").is_none() && sent.headers.get("Expires").is_none());
        bench.b_answers("INVITE", 200, SDP);
        bench.a_requests(1, "ACK", "ack1", "");
        bench.b_requests(1, "BYE", "bye", "");
        let bye = bench.request_to_a("BYE");
        assert_eq!(bye.uri.socket_addr(), A.parse().ok(), "{to}");
        bench.a_answers("BYE", 200, "");
        bench.assert_nothing_left();
        if to.starts_with("Expires") {
            // That stops no other call either.
            continue;
        }
        let mut other = Bench::strict();
        let text = String::from_utf8(odd_call(from, to).to_vec()).unwrap();
        other.from(A, text.replace("sip:112@", "sip:bob@").into());
        assert!(other.to_b.is_empty(), "any other call is refused: {to}");
    }
}

#[test]
fn how_many_addresses_the_next_hop_has_does_not_decide_whether_a_call_is_an_emergency() {
    let block = "[policy]\nid = \"desk\"\nenabled = true\naction = \"block\"\n[[policy.recorder]]\nid = \"embedded\"\n";
    let plan = "[[dial_plan]]\ntrunk = \"pbx\"\nemergency = [\"112\"]\n";
    let files = [("desk.toml", block), ("grants.toml", GRANTS), ("plan.toml", plan)];
    for addresses in [1, 2] {
        let mut bench = match addresses {
            1 => Bench::with(&files),
            _ => Bench::with_spare(&files, Conduct::default()),
        };
        super::routed::call(&mut bench, 1, "110", SDP);
        assert_eq!(bench.response_to_a().status, 403, "an extension, with {addresses}");
        assert!(bench.to_b.is_empty());
        super::routed::call(&mut bench, 2, "112", SDP);
        assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("112"));
    }
}

#[test]
fn a_name_that_cannot_be_read_stops_it_neither() {
    let from = "\"Alice\" <sip:alice@example.com>";
    for (odd, uri) in [
        ("Smith, John <sip:alice@example.com>", "sip:alice@example.com"),
        ("\"unbal <sip:alice@example.com>", "sip:alice@example.com"),
        ("<sip:Anonymous@>", "sip:anonymous@anonymous.invalid"),
    ] {
        let mut bench = Bench::strict();
        bench.from(A, odd_call(from, odd));
        assert_eq!(bench.request_to_b("INVITE").headers.from().uri().to_string(), uri);
        bench.b_answers("INVITE", 200, SDP);
        assert_eq!(bench.response_to_a().headers.from().tag(), Some("a-tag"));
        bench.a_requests(1, "ACK", "ack1", "");
        bench.a_requests(2, "BYE", "bye2", "");
        bench.b_answers("BYE", 200, "");
        bench.assert_nothing_left();
    }
}
