//! One call, several addresses: the next is tried where one cannot take it (RFC 3263 §4.3), in the one recording.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Direction, Leg, RecordingCommand};
use onrecord::sip::{Flow, Transport};
use onrecord::trunk::{Conduct, Failover};

use super::bench::{A, ALL_STRICT, B, Bench, C, PROXY, SDP};

fn bench() -> Bench {
    Bench::with_spare(&ALL_STRICT, Conduct::default())
}

/// C takes the call, and it ends as every call does.
fn connect_and_end(bench: &mut Bench) {
    bench.c_answers("INVITE", 180, "");
    bench.c_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.c_answers("BYE", 200, "");
    assert_eq!(bench.sessions().len(), 1, "one recording for all attempts");
    bench.assert_nothing_left();
}

#[test]
fn a_503_moves_the_call_to_the_next_address_and_a_hears_nothing_of_it() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 503, "");
    let (first, second) = (bench.request_to_b("INVITE"), bench.request_to_c("INVITE"));
    assert_ne!(first.headers.call_id(), second.headers.call_id());
    assert_ne!(first.headers.from().tag(), second.headers.from().tag());
    assert_eq!(first.headers.cseq(), second.headers.cseq());
    assert_eq!(second.uri.to_string(), format!("sip:bob@{C}"));
    assert_eq!(first.body, second.body);
    connect_and_end(&mut bench);
    assert_eq!(
        bench.story,
        [
            "A → INVITE",
            "decided",
            "100 → A",
            "open",
            "ready",
            "INVITE → B",
            "B → 503",
            "ACK → B",
            "INVITE → B",
            "B → 180",
            "180 → A",
            "B → 200",
            "200 → A",
            "A → ACK",
            "ACK → B",
            "A → BYE",
            "200 → A",
            "BYE → B",
            "B → 200",
            "recorded: BYE from A",
            "sealed 10/10",
        ]
    );
}

#[test]
fn the_signalling_of_every_attempt_is_in_the_recording() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 503, "");
    connect_and_end(&mut bench);
    let kept = bench.recording.iter().filter_map(|command| match command {
        RecordingCommand::Signal { path, bytes, .. } if path.leg == Leg::B => {
            let line = String::from_utf8_lossy(bytes)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            Some((path.direction == Direction::Sent, path.peer.to_string(), line))
        }
        _ => None,
    });
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept[0], (true, B.to_owned(), format!("INVITE sip:bob@{B} SIP/2.0")));
    assert_eq!(
        kept[1],
        (false, B.to_owned(), "SIP/2.0 503 Service Unavailable".to_owned())
    );
    assert!(
        kept.contains(&(true, C.to_owned(), format!("INVITE sip:bob@{C} SIP/2.0"))),
        "{kept:?}"
    );
}

#[test]
fn silence_and_an_unreachable_address_move_the_call_too() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.wait(Duration::from_secs(33));
    connect_and_end(&mut bench);
    let mut bench = self::bench();
    bench.invite(SDP, "");
    let flow = Flow {
        transport: Transport::Udp,
        local: PROXY.parse().unwrap(),
        remote: B.parse().unwrap(),
    };
    bench.input(Input::Unreachable { flow });
    connect_and_end(&mut bench);
}

#[test]
fn when_the_last_address_fails_a_gets_its_answer() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 503, "");
    bench.c_answers("INVITE", 503, "");
    assert_eq!(bench.response_to_a().status, 503);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn the_callees_own_word_is_not_doubted() {
    for status in [404, 408, 486, 500, 600, 603] {
        let mut bench = bench();
        bench.invite(SDP, "");
        bench.b_answers("INVITE", 180, "");
        bench.b_answers("INVITE", status, "");
        assert!(bench.to_c.is_empty(), "{status}");
        assert_eq!(bench.response_to_a().status, status);
        bench.a_requests(1, "ACK", "a1", "");
        bench.assert_nothing_left();
    }
}

#[test]
fn a_trunk_may_name_more_statuses() {
    let conduct = Conduct {
        failover: Failover::after([500]),
        ..Conduct::default()
    };
    for (status, moves) in [(500, true), (503, false)] {
        let mut bench = Bench::with_spare(&ALL_STRICT, conduct.clone());
        bench.invite(SDP, "");
        bench.b_answers("INVITE", status, "");
        assert_eq!(!bench.to_c.is_empty(), moves, "{status}");
    }
}

#[test]
fn after_a_cancel_nobody_else_is_asked() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.from(A, super::ordinary::cancel());
    bench.b_answers("INVITE", 503, "");
    assert!(bench.to_c.is_empty());
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
    let mut bench = self::bench();
    bench.invite(SDP, "");
    bench.from(A, super::ordinary::cancel());
    bench.wait(Duration::from_secs(33));
    assert!(bench.to_c.is_empty());
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn what_rang_at_the_first_address_rings_at_the_second_under_another_tag() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 183, SDP);
    let first = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.b_answers("INVITE", 503, "");
    bench.c_answers("INVITE", 180, "");
    let second = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    assert_ne!(first, second, "another early dialog (RFC 3261 §12.1)");
    bench.c_answers("INVITE", 200, &SDP.replace("4000", "6000"));
    assert!(!bench.response_to_a().body.is_empty());
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.c_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn an_invite_of_any_attempt_that_comes_round_is_a_loop() {
    let mut bench = bench();
    bench.invite(SDP, "");
    let first = bench.request_to_b("INVITE");
    bench.b_answers("INVITE", 503, "");
    for looped in [first, bench.request_to_c("INVITE")] {
        bench.from(A, looped.encode());
        assert_eq!(bench.response_to_a().status, 482);
    }
    connect_and_end(&mut bench);
}

#[test]
fn a_request_of_the_address_that_was_given_up_finds_no_dialog() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    let given_up = bench.request_to_b("INVITE");
    bench.b_answers("INVITE", 503, "");
    bench.b_requests(1, "BYE", "late", "");
    assert_eq!(bench.response_to_b().status, 481, "{given_up:?}");
    connect_and_end(&mut bench);
}

#[test]
fn the_same_server_is_asked_by_another_transport_too() {
    let mut bench = Bench::by_two_transports(&ALL_STRICT);
    bench.invite(SDP, "");
    let by = |bench: &Bench| bench.request_to_b("INVITE").headers.get("Via").unwrap().to_owned();
    assert!(by(&bench).starts_with("SIP/2.0/TCP"), "{}", by(&bench));
    let flow = Flow {
        transport: Transport::Tcp,
        local: PROXY.parse().unwrap(),
        remote: B.parse().unwrap(),
    };
    bench.input(Input::Unreachable { flow });
    assert!(by(&bench).starts_with("SIP/2.0/UDP"), "{}", by(&bench));
    bench.b_answers("INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486);
}

/// B is let go, and what it still says is answered as it has to be.
fn takes_leave_of_b(bench: &mut Bench, is_answered: bool) {
    let cancel = bench.request_to_b("CANCEL");
    assert_eq!(cancel.headers.get("Reason"), Some("SIP;cause=408;text=\"No answer\""));
    bench.b_answers("CANCEL", 200, "");
    if is_answered {
        bench.b_answers("INVITE", 200, SDP);
        assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 1);
        bench.b_answers("BYE", 200, "");
    } else {
        bench.b_answers("INVITE", 487, "");
        assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 1);
    }
}

#[test]
fn who_says_100_and_dies_is_not_waited_for_where_another_can_be_asked() {
    for is_answered in [false, true] {
        let mut bench = bench();
        bench.invite(SDP, "");
        bench.b_agrees("INVITE", 100, "");
        bench.wait(Duration::from_secs(59));
        bench.b_agrees("INVITE", 100, "");
        assert!(bench.to_c.is_empty());
        bench.wait(Duration::from_secs(2));
        assert_eq!(bench.request_to_c("INVITE").uri.to_string(), format!("sip:bob@{C}"));
        takes_leave_of_b(&mut bench, is_answered);
        connect_and_end(&mut bench);
    }
}

#[test]
fn who_says_100_and_no_more_is_waited_for_as_who_rings_where_nobody_else_can_be_asked() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_agrees("INVITE", 100, "");
    bench.wait(Duration::from_secs(590));
    bench.b_agrees("INVITE", 100, "");
    assert_eq!(bench.response_to_a().status, 100);
    bench.wait(Duration::from_secs(11));
    assert_eq!(bench.response_to_a().status, 408, "a 100 is no ringing");
    bench.b_answers("CANCEL", 200, "");
    bench.b_answers("INVITE", 487, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn who_rings_too_long_is_let_go_and_the_next_address_is_asked() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 183, SDP);
    let early = bench.response_to_a().headers.to().tag().map(str::to_owned);
    bench.wait(Duration::from_secs(599));
    assert!(bench.to_c.is_empty());
    bench.wait(Duration::from_secs(2));
    takes_leave_of_b(&mut bench, true);
    bench.c_answers("INVITE", 180, "");
    assert_ne!(bench.response_to_a().headers.to().tag(), early.as_deref());
    connect_and_end(&mut bench);
}

#[test]
fn help_is_called_elsewhere_and_where_there_is_no_other_rings_on() {
    let text = String::from_utf8(super::bench::invite(1, "e1", "", SDP, "").to_vec()).unwrap();
    let call = || bytes::Bytes::from(text.replace("sip:bob@", "sip:112@"));
    let mut bench = bench();
    bench.from(A, call());
    bench.b_agrees("INVITE", 100, "");
    bench.wait(Duration::from_secs(61));
    assert_eq!(bench.request_to_c("INVITE").uri.user(), Some("112"));
    takes_leave_of_b(&mut bench, false);
    bench.c_answers("INVITE", 183, SDP);
    bench.wait(Duration::from_secs(23 * 3_600));
    assert_eq!(bench.response_to_a().status, 183, "the queue for help is long");
    bench.c_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_a().status, 200);
}
