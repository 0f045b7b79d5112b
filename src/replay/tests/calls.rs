//! What is a call, and how far it is played: tries, hops, transports, what came before and what is missing.

use super::super::forge::{self, ACK, ETHERNET, Pcap, SYN, addr, millis, rtp};
use super::super::talk::{A, A_MEDIA, B, B_MEDIA, Said, Talk, flow};
use super::super::*;
use super::{options, streams};
use crate::model::{Leg, Outcome};

#[test]
fn a_call_that_outlives_the_capture_is_ended_with_it() {
    let mut talk = Talk::new("endless@test");
    talk.connected().talk(10);
    let call = &talk.replay().calls[0];
    assert_eq!((call.outcome, call.stored), (Outcome::Recorded, 20));
    assert_eq!(
        flow(call)[9..],
        ["A→proxy BYE", "proxy→A 200", "proxy→B BYE", "B→proxy 200"]
    );
    let mut ringing = Talk::new("ringing@test");
    ringing.invite().b("SIP/2.0 180 Ringing", "1 INVITE", None);
    let report = ringing.replay();
    assert_eq!(report.calls[0].outcome, Outcome::NoMedia);
    assert!(flow(&report.calls[0]).contains(&"A→proxy CANCEL".to_owned()));
    assert!(report.is_fine());
}

#[test]
fn a_call_that_began_before_the_capture_is_told() {
    let mut talk = Talk::new("begun@test");
    talk.a("BYE sip:b@192.168.0.2 SIP/2.0", "3 BYE", None)
        .b("SIP/2.0 200 OK", "3 BYE", None);
    let report = talk.replay();
    assert_eq!((report.calls.len(), report.capture.begun_before), (0, 1));
    assert!(
        report
            .to_text()
            .contains("1 call begun before the capture, not replayed")
    );
}

#[test]
fn a_challenge_and_the_second_try_are_one_call() {
    let mut talk = Talk::new("challenge@test");
    talk.invite()
        .b("SIP/2.0 401 Unauthorized", "1 INVITE", None)
        .a("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", None)
        .a("INVITE sip:b@example.net SIP/2.0", "2 INVITE", Some(A_MEDIA))
        .b("SIP/2.0 200 OK", "2 INVITE", Some(B_MEDIA))
        .a("ACK sip:b@192.168.0.2 SIP/2.0", "2 ACK", None)
        .talk(3)
        .a("BYE sip:b@192.168.0.2 SIP/2.0", "3 BYE", None)
        .b("SIP/2.0 200 OK", "3 BYE", None);
    let report = talk.replay();
    assert_eq!(report.calls.len(), 1);
    assert_eq!(
        (report.calls[0].outcome, report.calls[0].stored),
        (Outcome::Recorded, 6)
    );
    assert_eq!(
        flow(&report.calls[0])
            .iter()
            .filter(|line| *line == "A→proxy ACK")
            .count(),
        2
    );
}

#[test]
fn a_second_try_much_later_is_played_too() {
    let mut talk = Talk::new("later@test");
    talk.invite()
        .b("SIP/2.0 486 Busy Here", "1 INVITE", None)
        .a("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", None);
    talk.now += 60_000;
    talk.a("INVITE sip:b@example.net SIP/2.0", "2 INVITE", Some(A_MEDIA)).b(
        "SIP/2.0 200 OK",
        "2 INVITE",
        Some(B_MEDIA),
    );
    talk.a("ACK sip:b@192.168.0.2 SIP/2.0", "2 ACK", None).talk(2);
    let report = talk.replay();
    assert_eq!((report.calls.len(), report.calls[0].outcome), (1, Outcome::Recorded));
}

#[test]
fn a_call_under_the_call_id_of_a_registration_is_a_call_of_its_own() {
    let mut talk = Talk::new("register-and-call@test");
    talk.a("REGISTER sip:example.net SIP/2.0", "1 REGISTER", None)
        .b("SIP/2.0 200 OK", "1 REGISTER", None)
        .connected()
        .hang_up();
    let report = talk.replay();
    assert_eq!((report.calls.len(), report.passages.len()), (1, 1));
    assert_eq!(report.passages[0].method, "REGISTER");
    assert_eq!(report.calls[0].outcome, Outcome::NoMedia);
    assert_eq!(flow(&report.calls[0])[0], "A→proxy INVITE");
}

#[test]
fn what_begins_in_the_middle_is_no_call() {
    let mut talk = Talk::new("middle@test");
    talk.a("INVITE sip:b@192.168.0.2 SIP/2.0", "7 INVITE", Some(A_MEDIA))
        .b("SIP/2.0 200 OK", "7 INVITE", Some(B_MEDIA))
        .talk(2)
        .hang_up();
    let report = talk.replay();
    assert_eq!(
        (report.calls.len(), report.capture.sip, report.capture.ignored),
        (0, 4, 4)
    );
}

#[test]
fn retransmissions_are_left_to_the_engine() {
    let mut once = Talk::new("repeated@test");
    once.connected().hang_up();
    let mut often = Talk::new("repeated@test");
    often.invite().invite();
    often
        .b("SIP/2.0 180 Ringing", "1 INVITE", None)
        .b("SIP/2.0 180 Ringing", "1 INVITE", None);
    often
        .b("SIP/2.0 200 OK", "1 INVITE", Some(B_MEDIA))
        .b("SIP/2.0 200 OK", "1 INVITE", Some(B_MEDIA));
    often
        .a("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", None)
        .a("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", None);
    often.hang_up().hang_up();
    assert_eq!(flow(&often.replay().calls[0]), flow(&once.replay().calls[0]));
}

#[test]
fn of_several_hops_the_first_is_played_and_the_media_of_all_is_counted() {
    let (proxy, relay) = ("192.168.0.9:5060", "192.168.0.9:7000");
    let mut talk = Talk::new("hops@test");
    let invite = |media| Said {
        start: "INVITE sip:b@example.net SIP/2.0",
        cseq: "1 INVITE",
        by_a: true,
        b_tag: None,
        media: Some(media),
    };
    let ok = |media| Said {
        start: "SIP/2.0 200 OK",
        cseq: "1 INVITE",
        by_a: false,
        b_tag: Some("from-b"),
        media: Some(media),
    };
    let said = |start, cseq, by_a| Said {
        start,
        cseq,
        by_a,
        b_tag: Some("from-b"),
        media: None,
    };
    talk.say_on(A, proxy, &invite(A_MEDIA)).say_on(proxy, B, &invite(relay));
    talk.say_on(B, proxy, &ok(B_MEDIA)).say_on(proxy, A, &ok(relay));
    // Without Record-Route the rest passes the proxy by.
    talk.say_on(A, B, &said("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", true));
    for n in 0..4 {
        talk.file.udp(millis(talk.now), A_MEDIA, relay, &rtp(0xA, 0, n));
        talk.file.udp(millis(talk.now), relay, B_MEDIA, &rtp(0xA, 0, n));
        talk.now += 20;
    }
    talk.say_on(B, A, &said("BYE sip:a@192.168.0.1 SIP/2.0", "1 BYE", false));
    talk.say_on(A, B, &said("SIP/2.0 200 OK", "1 BYE", true));
    let report = talk.replay();
    let call = &report.calls[0];
    assert_eq!((report.calls.len(), call.outcome), (1, Outcome::Recorded));
    assert_eq!(flow(call).iter().filter(|line| line.ends_with("INVITE")).count(), 2);
    assert_eq!(streams(call), [(Leg::A, 0xA, 8, 4)]);
    assert_eq!(call.streams[0].lost, 0);
}

#[test]
fn a_cancel_that_crosses_the_answer_is_played_to_its_end() {
    let mut talk = Talk::new("cross@test");
    talk.invite().b("SIP/2.0 180 Ringing", "1 INVITE", None).say(&Said {
        start: "CANCEL sip:b@example.net SIP/2.0",
        cseq: "1 CANCEL",
        by_a: true,
        b_tag: None,
        media: None,
    });
    talk.b("SIP/2.0 200 OK", "1 CANCEL", None)
        .b("SIP/2.0 200 OK", "1 INVITE", Some(B_MEDIA));
    let call = &talk.replay().calls[0];
    let flow = flow(call);
    assert!(flow.contains(&"proxy→A 487".to_owned()), "{flow:?}");
    assert!(flow.contains(&"proxy→B BYE".to_owned()), "{flow:?}");
    assert_eq!(call.outcome, Outcome::NoMedia);
}

#[test]
fn an_invite_that_cannot_be_read_is_a_call_that_was_refused() {
    let mut talk = Talk::new("broken@test");
    let said = Said {
        start: "INVITE sip:b@example.net SIP/2.0",
        cseq: "1 INVITE",
        by_a: true,
        b_tag: None,
        media: None,
    };
    let text = String::from_utf8(said.bytes("broken@test"))
        .unwrap()
        .replace("Content-Length: 0", "Content-Length: x");
    talk.file.udp(millis(0), A, B, text.as_bytes());
    let report = talk.replay();
    assert_eq!(flow(&report.calls[0]), ["A→proxy INVITE", "proxy→A 400"]);
    assert_eq!(report.capture.errors[0].packet, 1);
    assert!(report.is_fine());
}

/// The message with IPv6 in its SDP, and the length that it then has.
fn over_ipv6(bytes: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap().replace("/UDP", "/TCP");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = body.replace("IP4 ", "IP6 ").replace("10.0.0.", "2001:db8::");
    let (head, _) = head.split_once("Content-Length").unwrap();
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn a_call_over_tcp_and_ipv6_is_played() {
    let (a, b) = (addr("[2001:db8::1]:41000"), addr("[2001:db8::2]:5060"));
    let mut file = Pcap::new(ETHERNET);
    let (mut sent, mut now) = ([100_u32, 900_u32], 0);
    let mut push = |by_a: bool, flags: u8, payload: &[u8]| {
        let (src, dst) = if by_a { (a, b) } else { (b, a) };
        let sequence = &mut sent[usize::from(!by_a)];
        let segment = forge::tcp(src, dst, *sequence, flags, 0, payload);
        *sequence += payload.len() as u32 + u32::from(flags & SYN != 0);
        now += 10;
        file.push(
            millis(now),
            &forge::ethernet(&forge::ip(src.ip(), dst.ip(), 6, &segment)),
        );
    };
    let said = |start, cseq, by_a, b_tag, media| {
        over_ipv6(
            Said {
                start,
                cseq,
                by_a,
                b_tag,
                media,
            }
            .bytes("tcp6@test"),
        )
    };
    push(true, SYN, b"");
    push(false, SYN | ACK, b"");
    let invite = said(
        "INVITE sip:b@example.net SIP/2.0",
        "1 INVITE",
        true,
        None,
        Some("10.0.0.1:4000"),
    );
    let (left, right) = invite.split_at(invite.len() / 2);
    push(true, ACK, left);
    push(true, ACK, right);
    push(
        false,
        ACK,
        &said(
            "SIP/2.0 200 OK",
            "1 INVITE",
            false,
            Some("from-b"),
            Some("10.0.0.2:6000"),
        ),
    );
    push(
        true,
        ACK,
        &said("ACK sip:b@x SIP/2.0", "1 ACK", true, Some("from-b"), None),
    );
    for n in 0..3 {
        let at = millis(100 + u64::from(n) * 20);
        file.udp(at, "[2001:db8::1]:4000", "[2001:db8::2]:6000", &rtp(0xA, 0, n));
    }
    let report = replay(&*file.bytes, &options()).unwrap();
    let call = &report.calls[0];
    assert_eq!(
        (call.outcome, streams(call)),
        (Outcome::Recorded, vec![(Leg::A, 0xA, 3, 3)])
    );
}

#[test]
fn a_capture_of_a_replay_is_named_so_once() {
    let mut talk = Talk::new("again@test");
    for cseq in ["1 INVITE", "2 INVITE"] {
        let invite = Said {
            start: "INVITE sip:b@example.net SIP/2.0",
            cseq,
            by_a: true,
            b_tag: None,
            media: Some(A_MEDIA),
        };
        let invite = String::from_utf8(invite.bytes("again@test")).unwrap();
        let invite = invite.replace("Max-Forwards", "X-Replayed-Call: 0\r\nMax-Forwards");
        talk.file.udp(millis(talk.now), A, B, invite.as_bytes());
        talk.now += 40_000;
    }
    let report = talk.replay();
    assert_eq!((report.capture.errors_total, report.capture.errors[0].packet), (1, 1));
    assert!(report.to_text().contains("recorded by `replay`"));
}
