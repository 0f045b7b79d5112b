//! Connections that break under a call: what was under way on them goes by another (RFC 3261 §18.2.2, §18.4).

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::Fault;
use onrecord::sip::{Flow, Message, Request, Transport};

use super::bench::{A, ALL_STRICT, B, Bench, PROXY, SDP, answer, invite};
use super::mended_dialogs::methods;

/// A port that the kernel of A or B chose.
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
    let mut bench = Bench::by_stream(&ALL_STRICT);
    bench.invite(SDP, "");
    bench
}

/// The same, and B has accepted; with its INVITE.
fn accepted() -> (Bench, Request) {
    let mut bench = by_stream();
    let invite = bench.request_to_b("INVITE");
    from_stream(&mut bench, B, answer(&invite, 200, "b-tag", B, SDP));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.to_b.clear();
    (bench, invite)
}

fn talking() -> Bench {
    accepted().0
}

/// They talk, and B has come back on a connection of its own.
fn come_back() -> Bench {
    let (mut bench, invite) = accepted();
    let (from, to) = (invite.headers.get("To").unwrap(), invite.headers.get("From").unwrap());
    let info = format!(
        "INFO sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/TCP {B};branch=z9hG4bKi\r\nMax-Forwards: 70\r\nFrom: {from};tag=b-tag\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n",
        invite.headers.call_id(),
    );
    from_stream(&mut bench, CHOSEN, info.into());
    bench.a_answers("INFO", 200, "");
    bench.to_b.clear();
    bench
}

#[test]
fn the_answer_to_a_caller_whose_connection_broke_goes_to_where_it_listens() {
    let mut bench = Bench::by_stream(&ALL_STRICT);
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

#[test]
fn what_crosses_a_call_is_asked_again_where_the_far_end_listens_when_a_connection_broke() {
    for method in ["INVITE", "UPDATE", "INFO"] {
        let mut bench = come_back();
        let body = if method == "INFO" { "" } else { SDP };
        bench.a_requests(2, method, "m1", body);
        bench.input(Input::Unreachable { flow: stream(CHOSEN) });
        assert_eq!(methods(&bench.to_b), [method, method]);
        let again = bench.request_to_b(method);
        from_stream(&mut bench, B, answer(&again, 200, "b-tag", B, body));
        assert_eq!(bench.response_to_a().status, 200, "{method}");
        assert_eq!(bench.signaling.calls(), 1);
        if method == "INVITE" {
            bench.a_requests(2, "ACK", "ack2", "");
        }
        bench.a_requests(3, "BYE", "bye", "");
        let bye = bench.request_to_b("BYE");
        from_stream(&mut bench, B, answer(&bye, 200, "b-tag", B, ""));
        bench.assert_nothing_left();
    }
}

#[test]
fn all_requests_that_wait_on_a_connection_that_breaks_are_asked_again() {
    let mut bench = come_back();
    bench.a_requests(2, "INFO", "m1", "");
    bench.a_requests(3, "MESSAGE", "m2", "");
    bench.a_requests(4, "INVITE", "m3", SDP);
    bench.input(Input::Unreachable { flow: stream(CHOSEN) });
    assert_eq!(
        methods(&bench.to_b),
        ["INFO", "MESSAGE", "INVITE", "INFO", "MESSAGE", "INVITE"]
    );
    bench
        .to_a
        .retain(|message| !matches!(message, Message::Response(response) if response.status == 100));
    for (method, body) in [("INFO", ""), ("MESSAGE", ""), ("INVITE", SDP)] {
        let again = bench.request_to_b(method);
        from_stream(&mut bench, B, answer(&again, 200, "b-tag", B, body));
        let answered = bench.response_to_a();
        assert_eq!(
            (answered.status, answered.headers.cseq().method.as_str()),
            (200, method)
        );
    }
    bench.a_requests(4, "ACK", "ack2", "");
    // Where it listens a connection of ours is opened anew, once: then all of it is over.
    bench.to_b.clear();
    bench.a_requests(5, "INFO", "m4", "");
    bench.a_requests(6, "MESSAGE", "m5", "");
    for _ in 0..2 {
        bench.input(Input::Unreachable { flow: stream(B) });
        assert_eq!(methods(&bench.to_b), ["INFO", "MESSAGE", "INFO", "MESSAGE"]);
    }
    assert_eq!(bench.response_to_a().status, 408);
    bench.a_requests(7, "BYE", "bye", "");
    let bye = bench.request_to_b("BYE");
    from_stream(&mut bench, B, answer(&bye, 200, "b-tag", B, ""));
    bench.assert_nothing_left();
}

#[test]
fn what_breaks_twice_is_over() {
    let mut bench = come_back();
    bench.a_requests(2, "INFO", "m1", "");
    bench.input(Input::Unreachable { flow: stream(CHOSEN) });
    bench.input(Input::Unreachable { flow: stream(B) });
    assert_eq!(methods(&bench.to_b), ["INFO", "INFO"]);
    assert_eq!(bench.response_to_a().status, 408);
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

#[test]
fn who_calls_by_a_stream_while_a_node_hands_over_is_told_so_at_once() {
    let mut bench = Bench::with_phones_by(Transport::Tcp);
    bench.input(Input::HandOver);
    from_stream(&mut bench, A, too_long("bob", 0));
    assert_eq!(bench.response_to_a().status, 503, "nobody sends it again");
}

/// A call of before is over; another is on its way to B by the same connection.
fn called_again() -> Bench {
    let mut bench = talking();
    bench.a_requests(2, "BYE", "bye", "");
    let bye = bench.request_to_b("BYE");
    from_stream(&mut bench, B, answer(&bye, 200, "b-tag", B, ""));
    bench.to_b.clear();
    super::routed::call(&mut bench, 2, "bob", SDP);
    assert_eq!(methods(&bench.to_b), ["INVITE"]);
    bench
}

#[test]
fn a_call_by_a_connection_that_died_unnoticed_is_asked_once_more_by_a_new_one() {
    let mut bench = called_again();
    let first = bench.request_to_b("INVITE");
    bench.input(Input::Unreachable { flow: stream(B) });
    assert_eq!(methods(&bench.to_b), ["INVITE", "INVITE"]);
    let second = bench.request_to_b("INVITE");
    assert_eq!(first.uri, second.uri);
    assert_ne!(first.headers.call_id(), second.headers.call_id());
    assert_eq!(bench.response_to_a().status, 100, "A hears nothing of it");
    from_stream(&mut bench, B, answer(&second, 486, "b-tag", B, ""));
    assert_eq!(bench.response_to_a().status, 486);
}

#[test]
fn who_answers_both_the_invite_of_the_broken_connection_and_that_of_the_new_is_let_go_in_the_dialog_of_the_first() {
    let mut bench = called_again();
    let first = bench.request_to_b("INVITE");
    bench.input(Input::Unreachable { flow: stream(B) });
    let second = bench.request_to_b("INVITE");
    let invited = bench.to_b.len();
    let late = answer(&first, 200, "b-first", B, SDP);
    from_stream(&mut bench, B, late.clone());
    assert_eq!(methods(&bench.to_b)[invited..], ["ACK", "BYE"]);
    for method in ["ACK", "BYE"] {
        let headers = bench.request_to_b(method).headers;
        assert_eq!(headers.call_id(), first.headers.call_id());
        assert_eq!(headers.to().tag(), Some("b-first"));
    }
    from_stream(&mut bench, B, late);
    assert_eq!(methods(&bench.to_b)[invited + 2..], ["ACK"], "one BYE");
    from_stream(&mut bench, B, answer(&second, 200, "b-second", B, SDP));
    assert_eq!(bench.response_to_a().status, 200, "the call is that of the second");
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn where_nobody_takes_the_new_connection_either_the_caller_hears_of_it() {
    let mut bench = called_again();
    bench.input(Input::Unreachable { flow: stream(B) });
    bench.input(Input::Unreachable { flow: stream(B) });
    assert_eq!(methods(&bench.to_b), ["INVITE", "INVITE"]);
    assert_eq!(bench.response_to_a().status, 480);

    let mut bench = by_stream();
    bench.input(Input::Unreachable { flow: stream(B) });
    assert_eq!(methods(&bench.to_b), ["INVITE"], "it was opened for this call");
    assert_eq!(bench.response_to_a().status, 480);
}

#[test]
fn who_has_said_that_it_has_the_call_is_not_asked_again() {
    let mut bench = called_again();
    let trying = answer(&bench.request_to_b("INVITE"), 100, "b-tag", B, "");
    from_stream(&mut bench, B, trying);
    bench.input(Input::Unreachable { flow: stream(B) });
    assert_eq!(
        methods(&bench.to_b),
        ["INVITE"],
        "it may ring, and answer by a connection of its own"
    );
}
