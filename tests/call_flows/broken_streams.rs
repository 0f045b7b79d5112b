//! Connections that break under a call: what was under way on them goes by another (RFC 3261 §18.2.2, §18.4).

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::Fault;
use onrecord::sip::{Flow, Message, Transport};

use super::bench::{A, B, Bench, GRANTS, PROXY, SDP, STRICT, answer, invite};

const POLICIES: [(&str, &str); 2] = [("desk.toml", STRICT), ("grants.toml", GRANTS)];
/// The port that A's kernel chose.
const CHOSEN: &str = "127.0.0.1:49152";

fn stream(remote: &str) -> Flow {
    Flow {
        transport: Transport::Tcp,
        local: PROXY.parse().unwrap(),
        remote: remote.parse().unwrap(),
    }
}

fn from_stream(bench: &mut Bench, remote: &str, bytes: bytes::Bytes) {
    let flow = stream(remote);
    bench.input(Input::Sip { flow, bytes });
}

/// A call up to B's INVITE, which went by a connection that we opened.
fn by_stream() -> Bench {
    let mut bench = Bench::by_stream(&POLICIES);
    bench.invite(SDP, "");
    bench
}

/// The same, and both talk.
fn talking() -> Bench {
    let mut bench = by_stream();
    let invite = bench.request_to_b("INVITE");
    from_stream(&mut bench, B, answer(&invite, 200, "b-tag", B, SDP));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.to_b.clear();
    bench
}

#[test]
fn the_answer_to_a_caller_whose_connection_broke_goes_to_where_it_listens() {
    let mut bench = Bench::by_stream(&POLICIES);
    let by_tcp = invite(1, "a1", "", SDP, "");
    let by_tcp = String::from_utf8(by_tcp.to_vec())
        .unwrap()
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    from_stream(&mut bench, CHOSEN, by_tcp.into());
    bench.input(Input::Unreachable { flow: stream(CHOSEN) });
    let answer = answer(&bench.request_to_b("INVITE"), 200, "b-tag", B, SDP);
    let before = bench.to_a.len();
    from_stream(&mut bench, B, answer);
    assert_eq!(bench.to_a.len(), before + 1, "A listens at {A}, which its Via says");
    assert_eq!(bench.response_to_a().status, 200);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 1);
}

#[test]
fn a_bye_is_said_once_more_with_its_reason_when_the_connection_under_it_breaks() {
    let mut bench = talking();
    bench.recorder_fails(Fault::Io);
    let first = bench.request_to_b("BYE");
    bench.to_b.clear();
    bench.input(Input::Unreachable { flow: stream(B) });
    let second = bench.request_to_b("BYE");
    assert!(second.headers.cseq().number > first.headers.cseq().number);
    assert_eq!(second.headers.get("Reason"), first.headers.get("Reason"));
    assert!(
        second
            .headers
            .get("Reason")
            .is_some_and(|reason| reason.contains("Recording lost"))
    );
    bench.to_b.clear();
    bench.input(Input::Unreachable { flow: stream(B) });
    assert!(bench.to_b.is_empty(), "twice is enough");
    bench.a_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_session_refresh_is_asked_once_more_when_the_connection_under_it_breaks() {
    let mut bench = talking();
    bench.wait(Duration::from_secs(915));
    assert_eq!(refreshes(&bench), 1, "{:?}", bench.to_b);
    bench.input(Input::Unreachable { flow: stream(B) });
    assert_eq!(refreshes(&bench), 2);
    assert_eq!(bench.signaling.calls(), 1);
    bench.input(Input::Unreachable { flow: stream(B) });
    assert!(bench.story.contains(&"BYE → A".to_owned()), "nobody is there");
}

fn refreshes(bench: &Bench) -> usize {
    let is = |message: &&Message| matches!(message, Message::Request(request) if matches!(request.method.as_str(), "INVITE" | "UPDATE"));
    bench.to_b.iter().filter(is).count()
}

/// A's INVITE to this number, whose Content-Length is more than its body is.
fn too_long(number: &str, more: usize) -> bytes::Bytes {
    let text = String::from_utf8(invite(1, "a1", "", SDP, "").to_vec()).unwrap();
    let length = |more: usize| format!("Content-Length: {}", SDP.len() + more);
    let text = text
        .replace(&length(0), &length(more))
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    text.replace("sip:bob@", &format!("sip:{number}@")).into()
}

#[test]
fn who_calls_for_help_and_says_less_than_it_announced_is_connected_and_anybody_else_waited_for() {
    for (number, is_urgent) in [("112", true), ("bob", false)] {
        let mut bench = Bench::with_phones_by(Transport::Tcp);
        let (flow, cut) = (stream(A), too_long(number, 40));
        let show = |bench: &mut Bench, bytes| bench.input(Input::Cut { flow, bytes });
        show(&mut bench, cut.clone());
        assert_eq!(
            (!bench.to_b.is_empty(), bench.signaling.calls() == 1),
            (is_urgent, is_urgent),
            "{number}"
        );
        if !is_urgent {
            assert!(bench.to_a.is_empty(), "no 400: the rest may come");
            continue;
        }
        // What it says next was taken for the rest.
        let rung = bench.to_b.len();
        let mut whole = cut.to_vec();
        whole.extend_from_slice(&b"ACK sip:112@127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5080\r\n"[..40]);
        from_stream(&mut bench, A, whole.into());
        show(&mut bench, cut);
        assert_eq!((bench.to_b.len(), bench.signaling.calls()), (rung, 1), "a copy");
        bench.b_answers("INVITE", 200, SDP);
        assert_eq!(bench.response_to_a().status, 200);
    }
    let mut strangers = Bench::with_phones_by(Transport::Tcp);
    let flow = stream("192.0.2.77:5060");
    let bytes = too_long("112", 40);
    strangers.input(Input::Cut { flow, bytes });
    assert_eq!(strangers.signaling.calls(), 0);
}
