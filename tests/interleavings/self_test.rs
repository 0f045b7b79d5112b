//! The law can fail: what a proxy must not do, done by hand.

use std::time::Duration;

use onrecord::model::{MediaCommand, MediaPlan, Recorded, SessionId, Timestamp};
use onrecord::sip::{Flow, Transport};

use super::law::Law;
use super::network::proxy;
use super::phone::{GIVE_UP, T1};
use super::script::Grade;
use super::seat::Seat;
use super::text::Heard;

const CALL: &str = "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK";

fn heard(start: &str, branch: &str, tags: [&str; 2], cseq: &str) -> Heard {
    let [from, to] = tags.map(|tag| {
        if tag.is_empty() {
            String::new()
        } else {
            format!(";tag={tag}")
        }
    });
    let text = format!(
        "{start}\r\nVia: {CALL}{branch}\r\nFrom: <sip:a@a>{from}\r\nTo: <sip:b@b>{to}\r\nCall-ID: c\r\nCSeq: {cseq}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    Heard::read(&text).unwrap_or_else(|| panic!("SIP: {text}"))
}

fn request(method: &str, branch: &str, tags: [&str; 2], cseq: u32) -> Heard {
    heard(
        &format!("{method} sip:b@b SIP/2.0"),
        branch,
        tags,
        &format!("{cseq} {method}"),
    )
}

fn response(status: u16, branch: &str, tags: [&str; 2], cseq: &str) -> Heard {
    heard(&format!("SIP/2.0 {status} Whatever"), branch, tags, cseq)
}

fn by_datagram(seat: Seat) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: proxy(),
        remote: seat.address(),
    }
}

const OURS: [&str; 2] = ["ours", "theirs"];

/// A dialog with B, up to its 2xx.
fn accepted(now: Timestamp) -> Law {
    let mut law = Law::new(Grade::Exempt);
    law.on_sent(
        now,
        Seat::B,
        by_datagram(Seat::B),
        &request("INVITE", "1", ["ours", ""], 1),
    );
    law.on_heard(
        now,
        Seat::B,
        by_datagram(Seat::B),
        &response(200, "1", OURS, "1 INVITE"),
    );
    law
}

fn confirmed(now: Timestamp) -> Law {
    let mut law = accepted(now);
    law.on_sent(now, Seat::B, by_datagram(Seat::B), &request("ACK", "2", OURS, 1));
    assert_eq!(law.broken, Vec::<String>::new());
    law
}

fn breaks(law: &Law, what: &str) {
    assert!(
        law.broken.iter().any(|broken| broken.starts_with(what)),
        "{what}: {:?}",
        law.broken
    );
}

#[test]
fn a_second_bye_breaks_it_and_the_same_again_does_not() {
    let now = Timestamp::ZERO;
    let mut law = confirmed(now);
    let bye = request("BYE", "3", OURS, 2);
    law.on_sent(now, Seat::B, by_datagram(Seat::B), &bye);
    law.on_sent(now + T1, Seat::B, by_datagram(Seat::B), &bye);
    assert_eq!(law.broken, Vec::<String>::new());
    law.on_sent(now, Seat::B, by_datagram(Seat::B), &request("BYE", "4", OURS, 3));
    breaks(&law, "a second BYE");
}

#[test]
fn after_a_kill_a_bye_is_said_anew_only_where_it_was_open_in_a_call_that_is_kept() {
    let now = Timestamp::ZERO;
    let flow = by_datagram(Seat::B);
    let killed = |kept: &str, answered: bool| {
        let mut law = confirmed(now);
        law.on_sent(now, Seat::B, flow, &request("BYE", "3", OURS, 2));
        if answered {
            law.on_heard(now, Seat::B, flow, &response(200, "3", OURS, "2 BYE"));
        }
        law.on_killed(kept);
        law.on_sent(now, Seat::B, flow, &request("BYE", "4", OURS, 1_003));
        law
    };
    assert_eq!(killed("ours theirs", false).broken, Vec::<String>::new());
    breaks(&killed("ours theirs", true), "a second BYE");
    breaks(&killed("ours another", false), "a second BYE");
    breaks(&killed("", false), "a second BYE");
}

#[test]
fn a_bye_before_the_ack_or_in_an_early_dialog_breaks_it() {
    let now = Timestamp::ZERO;
    let mut law = accepted(now);
    law.on_sent(now, Seat::B, by_datagram(Seat::B), &request("BYE", "3", OURS, 2));
    breaks(&law, "BYE before the ACK");
    let mut law = Law::new(Grade::Exempt);
    law.on_sent(
        now,
        Seat::B,
        by_datagram(Seat::B),
        &request("INVITE", "1", ["ours", ""], 1),
    );
    law.on_heard(
        now,
        Seat::B,
        by_datagram(Seat::B),
        &response(180, "1", OURS, "1 INVITE"),
    );
    law.on_sent(now, Seat::B, by_datagram(Seat::B), &request("BYE", "3", OURS, 2));
    breaks(&law, "BYE in an early dialog");
}

#[test]
fn a_cancel_before_a_provisional_answer_breaks_it() {
    let mut law = Law::new(Grade::Exempt);
    law.on_sent(
        Timestamp::ZERO,
        Seat::B,
        by_datagram(Seat::B),
        &request("INVITE", "1", ["ours", ""], 1),
    );
    law.on_sent(
        Timestamp::ZERO,
        Seat::B,
        by_datagram(Seat::B),
        &request("CANCEL", "1", ["ours", ""], 1),
    );
    breaks(&law, "a CANCEL before a provisional answer");
}

#[test]
fn a_number_that_does_not_grow_and_a_dialog_that_nobody_made_break_it() {
    let now = Timestamp::ZERO;
    let mut law = confirmed(now);
    law.on_sent(now, Seat::B, by_datagram(Seat::B), &request("INFO", "3", OURS, 1));
    breaks(&law, "CSeq does not grow");
    law.on_sent(
        now,
        Seat::B,
        by_datagram(Seat::B),
        &request("INFO", "4", ["ours", "strange"], 2),
    );
    breaks(&law, "a request in a dialog that nobody made");
}

#[test]
fn two_final_answers_break_it_and_so_does_none() {
    let now = Timestamp::ZERO;
    let mut law = Law::new(Grade::Exempt);
    law.on_heard(
        now,
        Seat::A,
        by_datagram(Seat::A),
        &request("MESSAGE", "1", ["theirs", ""], 1),
    );
    law.audit();
    breaks(&law, "a request was never answered");
    law.on_sent(
        now,
        Seat::A,
        by_datagram(Seat::A),
        &response(200, "1", ["theirs", "ours"], "1 MESSAGE"),
    );
    law.on_sent(
        now,
        Seat::A,
        by_datagram(Seat::A),
        &response(481, "1", ["theirs", "ours"], "1 MESSAGE"),
    );
    breaks(&law, "two final answers to one request");
}

#[test]
fn what_is_left_open_breaks_it() {
    let mut law = accepted(Timestamp::ZERO);
    law.audit();
    breaks(&law, "a 2xx was never acknowledged");
    breaks(&law, "a dialog was never ended");
}

#[test]
fn a_strict_call_that_rings_before_the_recorder_is_ready_breaks_it() {
    let mut law = Law::new(Grade::Strict);
    law.on_sent(
        Timestamp::ZERO,
        Seat::B,
        by_datagram(Seat::B),
        &request("INVITE", "1", ["ours", ""], 1),
    );
    breaks(&law, "B rings before the recorder is ready");
}

#[test]
fn a_request_sent_again_too_early_too_long_or_on_a_connection_breaks_it() {
    let (now, bye) = (Timestamp::ZERO, request("BYE", "3", OURS, 2));
    let again = |flow: Flow, after: Duration| {
        let mut law = confirmed(now);
        law.on_sent(now, Seat::B, flow, &bye);
        law.on_sent(now + after, Seat::B, flow, &bye);
        law
    };
    let datagram = by_datagram(Seat::B);
    assert_eq!(again(datagram, T1).broken, Vec::<String>::new());
    breaks(&again(datagram, T1 / 2), "a request sent again too early");
    breaks(&again(datagram, GIVE_UP), "a request sent again for too long");
    let stream = Flow {
        transport: Transport::Tcp,
        ..datagram
    };
    breaks(&again(stream, T1), "a request sent again on a connection");
}

#[test]
fn an_answer_or_an_ack_that_nobody_asked_for_breaks_it() {
    let now = Timestamp::ZERO;
    let mut law = Law::new(Grade::Exempt);
    law.on_heard(
        now,
        Seat::A,
        by_datagram(Seat::A),
        &request("MESSAGE", "1", ["theirs", ""], 1),
    );
    let answer = response(200, "1", ["theirs", "ours"], "1 MESSAGE");
    law.on_sent(now, Seat::A, by_datagram(Seat::A), &answer);
    assert_eq!(law.broken, Vec::<String>::new());
    law.on_sent(now, Seat::A, by_datagram(Seat::A), &answer);
    breaks(&law, "an answer sent too often");
    let mut law = confirmed(now);
    law.on_sent(now, Seat::B, by_datagram(Seat::B), &request("ACK", "2", OURS, 1));
    breaks(&law, "more ACKs than 2xx");
}

#[test]
fn a_strict_call_that_is_relayed_unrecorded_breaks_it() {
    let plan = |recorded| MediaPlan {
        session: SessionId::from_u128(1),
        recorded,
        answered: false,
        lines: Vec::new(),
        keys: Vec::new(),
        agreed: Default::default(),
        far_end: Default::default(),
        pausing: Default::default(),
    };
    let mut law = Law::new(Grade::Strict);
    law.on_media(&MediaCommand::Open(Box::new(plan(Recorded::Strict))));
    assert_eq!(law.broken, Vec::<String>::new());
    law.on_media(&MediaCommand::Modify(Box::new(plan(Recorded::Lenient))));
    breaks(&law, "a strict call is relayed unrecorded");
}
