//! Whole captures, played.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::forge::{self, ACK, ETHERNET, Order, Pcap, SYN, addr, millis, rtp};
use super::talk::{A, A_MEDIA, B, B_MEDIA, Said, Talk, flow};
use super::*;
use crate::config::embedded_policies;
use crate::model::{Generation, Leg, Outcome, SrtpKey, SrtpSuite, Timestamp};
use crate::rtp::{SRTP_GROWTH_MAX, Sealer};
use crate::sdp::Crypto;

fn options() -> ReplayOptions {
    let policies = Arc::new(embedded_policies(Generation(1)));
    ReplayOptions {
        policies,
        faults: Vec::new(),
        trunks: ["caller".into(), "callee".into()],
        config: None,
        shown: Shown::default(),
    }
}

fn streams(call: &CallReport) -> Vec<(Leg, u32, u64, u64)> {
    call.streams
        .iter()
        .map(|s| (s.leg, s.ssrc, s.packets, s.recorded))
        .collect()
}

#[test]
fn a_plain_call_is_recorded_packet_for_packet() {
    let report = Talk::new("plain@test").connected().talk(50).hang_up().replay();
    let call = &report.calls[0];
    assert_eq!(
        (call.decision, call.policy.as_deref()),
        ("record", Some("record-everything"))
    );
    assert_eq!(call.outcome, Outcome::Recorded);
    assert_eq!(
        (call.from.as_str(), call.to.as_str()),
        ("sip:a@example.net", "sip:b@example.net")
    );
    assert_eq!(streams(call), [(Leg::A, 0xA, 50, 50), (Leg::B, 0xB, 50, 50)]);
    assert_eq!((call.accepted, call.stored, call.gaps), (100, 100, 0));
    assert_eq!((call.started, call.duration_ms), (millis(0), 1_050));
    assert_eq!(call.streams[0].codec, "PCMU");
    let capture = &report.capture;
    assert_eq!(
        (capture.packets, capture.sip, capture.rtp, capture.ignored),
        (106, 6, 100, 0)
    );
    assert!(report.is_fine() && capture.errors.is_empty());
    let expected = [
        "A→proxy INVITE",
        "proxy→A 100",
        "proxy→B INVITE",
        "B→proxy 180",
        "proxy→A 180",
        "B→proxy 200",
        "proxy→A 200",
        "A→proxy ACK",
        "proxy→B ACK",
        "A→proxy BYE",
        "proxy→A 200",
        "proxy→B BYE",
        "B→proxy 200",
    ];
    assert_eq!(flow(call), expected);
    assert!(report.to_text().contains("sealed 100/100"));
    assert!(
        report
            .to_text()
            .starts_with("106 packets: 6 SIP, 100 RTP, 0 RTCP, 0 ignored; 1 call\n")
    );
}

#[test]
fn the_same_capture_gives_the_same_report_every_time() {
    let mut talk = Talk::new("twice@test");
    talk.connected().talk(5).hang_up();
    let json = |report: &Report| serde_json::to_string(report).unwrap();
    assert_eq!(json(&talk.replay()), json(&talk.replay()));
}

#[test]
fn a_broken_recorder_ends_the_call_on_both_legs_and_blocks_the_next() {
    let mut talk = Talk::new("first@test");
    talk.connected().talk(100).hang_up();
    talk.call_id = "second@test".to_owned();
    talk.now += 1_000;
    talk.connected().talk(3).hang_up();
    for (fault, cause) in [
        ("eio", "EIO"),
        ("enospc", "ENOSPC"),
        ("erofs", "EROFS"),
        ("short", "short"),
        ("stall", "stall"),
    ] {
        let report = talk.replay_with(&[&format!("recorder:{fault}@1s")]);
        let [first, second] = report.calls.as_slice() else {
            panic!("two calls")
        };
        assert_eq!(
            (first.outcome, second.outcome),
            (Outcome::Faulted, Outcome::Blocked),
            "{fault}"
        );
        assert!(
            flow(first).contains(&"proxy→A BYE".to_owned()),
            "{fault}: {:?}",
            flow(first)
        );
        assert!(flow(first).contains(&"proxy→B BYE".to_owned()), "{fault}");
        assert_eq!(
            flow(second),
            ["A→proxy INVITE", "proxy→A 603", "A→proxy ACK"],
            "{fault}"
        );
        assert!(
            first.trail.iter().any(|line| line.contains(cause)),
            "{fault}: {:?}",
            first.trail
        );
        assert_eq!(second.decision, "record");
        assert!(first.streams[0].recorded < 100 && first.streams[0].packets == 100);
        assert!(!report.is_fine());
        // The recorder never came back to seal it: that is no reason to deny what it was given.
        let recorded: u64 = first.streams.iter().map(|stream| stream.recorded).sum();
        assert_eq!((first.accepted, first.stored), (recorded, 0), "{fault}");
        assert!((80..190).contains(&recorded), "{fault}: {recorded}");
    }
}

#[test]
fn a_lenient_call_goes_on_without_the_recorder_and_says_what_is_missing() {
    let policy = "[policy]\nid = \"lenient\"\nenabled = true\nrecord = [\"audio\"]\n[[policy.recorder]]\nid = \"embedded\"\n\
                  required_before_call_establishment = false\nrequired_during_call = false\n\
                  required_before_meeting_join = false\nrequired_during_meeting = false\n[policy.retention]\nkeep = \"90d\"\n\
                  [[grant]]\npolicy = \"lenient\"\nto = [\"global\"]\n";
    let file = crate::policy::SourceFile {
        path: "lenient.toml".to_owned(),
        text: policy.to_owned(),
    };
    let policies = Arc::new(crate::policy::PolicySet::compile(&[file], Generation(1)).unwrap());
    let mut talk = Talk::new("lenient@test");
    talk.connected().talk(100).hang_up();
    let broken = |fault: &str| {
        let options = ReplayOptions {
            policies: Arc::clone(&policies),
            faults: vec![fault.parse().unwrap()],
            ..options()
        };
        replay(&*talk.file.bytes, &options).unwrap()
    };
    let back = &broken("recorder:eio@500ms..800ms").calls[0];
    let recorded: u64 = back.streams.iter().map(|stream| stream.recorded).sum();
    assert_eq!((recorded, recorded), (back.accepted, back.stored));
    assert!((50..200).contains(&recorded) && back.gaps > 0);
    let report = broken("recorder:eio@1s");
    let call = &report.calls[0];
    assert_eq!(call.policy.as_deref(), Some("lenient"));
    assert_eq!(flow(call).last().map(String::as_str), Some("B→proxy 200"));
    assert_eq!(flow(call).iter().filter(|line| line.ends_with("BYE")).count(), 2);
    assert!(
        call.streams
            .iter()
            .all(|s| s.packets == 100 && (10..95).contains(&s.recorded)),
        "{:?}",
        call.streams
    );
    assert!(!report.is_fine());
}

#[test]
fn media_before_its_description_is_not_guessed_at() {
    let mut talk = Talk::new("early@test");
    talk.talk(3).connected().talk(4).hang_up();
    let report = talk.replay();
    assert_eq!((report.capture.ignored, report.capture.rtp), (6, 8));
    assert_eq!(streams(&report.calls[0]), [(Leg::A, 0xA, 4, 4), (Leg::B, 0xB, 4, 4)]);
}

#[test]
fn media_through_a_nat_is_bound_by_the_end_that_was_described() {
    let mut talk = Talk::new("nat@test");
    talk.connected();
    for n in 0..5 {
        talk.file
            .udp(millis(talk.now), "203.0.113.77:9999", B_MEDIA, &rtp(0xA, 0, n));
        talk.file
            .udp(millis(talk.now), B_MEDIA, "203.0.113.77:9999", &rtp(0xB, 0, n));
        talk.now += 20;
    }
    talk.hang_up();
    assert_eq!(
        streams(&talk.replay().calls[0]),
        [(Leg::A, 0xA, 5, 5), (Leg::B, 0xB, 5, 5)]
    );
}

/// A message whose SDP has this key.
fn keyed(talk: &mut Talk, by_a: bool, start: &str, key: &Crypto) {
    let said = Said {
        start,
        cseq: "1 INVITE",
        by_a,
        b_tag: (!by_a).then_some("from-b"),
        media: Some(if by_a { A_MEDIA } else { B_MEDIA }),
    };
    let text = String::from_utf8(said.bytes(&talk.call_id)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut secured = body.replace("RTP/AVP", "RTP/SAVP");
    key.write(&mut secured);
    secured.push_str("\r\n");
    let (old, new) = (body.len().to_string(), secured.len().to_string());
    let head = head.replace(&format!("Content-Length: {old}"), &format!("Content-Length: {new}"));
    let (src, dst) = if by_a { (A, B) } else { (B, A) };
    let message = format!("{head}\r\n\r\n{secured}");
    talk.file.udp(millis(talk.now), src, dst, message.as_bytes());
    talk.now += 10;
}

#[test]
fn encrypted_media_whose_keys_were_captured_is_opened() {
    let suite = SrtpSuite::AesCm128HmacSha1_32;
    let key = |fill| SrtpKey::new(suite, &vec![fill; suite.master_bytes()], None).unwrap();
    let mut talk = Talk::new("srtp@test");
    let crypto = |fill| Crypto { tag: 3, key: key(fill) };
    keyed(&mut talk, true, "INVITE sip:b@example.net SIP/2.0", &crypto(1));
    keyed(&mut talk, false, "SIP/2.0 200 OK", &crypto(2));
    talk.a("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", None);
    let mut sealers = [1, 2].map(|fill| Sealer::new(&key(fill)).unwrap());
    for n in 0..5 {
        for (sealer, (ssrc, src, dst)) in sealers
            .iter_mut()
            .zip([(0xA, A_MEDIA, B_MEDIA), (0xB, B_MEDIA, A_MEDIA)])
        {
            let mut packet = rtp(ssrc, 0, n);
            let length = packet.len();
            packet.resize(length + SRTP_GROWTH_MAX, 0);
            let sealed = sealer.seal_rtp(&mut packet, length).unwrap();
            talk.file.udp(millis(talk.now), src, dst, &packet[..sealed]);
        }
        talk.now += 20;
    }
    talk.hang_up();
    let report = talk.replay();
    assert_eq!(streams(&report.calls[0]), [(Leg::A, 0xA, 5, 5), (Leg::B, 0xB, 5, 5)]);
    assert_eq!(report.calls[0].streams[0].codec, "PCMU");
}

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
fn each_payload_type_of_a_stream_is_told() {
    let mut talk = Talk::new("types@test");
    talk.connected();
    for (sequence, payload_type) in [0, 0, 0, 8, 8].into_iter().enumerate() {
        let packet = forge::rtp(0xA, payload_type, sequence as u16);
        talk.file.udp(millis(talk.now), A_MEDIA, B_MEDIA, &packet);
        talk.now += 20;
    }
    talk.hang_up();
    let report = talk.replay();
    let types = &report.calls[0].streams[0].payload_types;
    let told: Vec<_> = types.iter().map(|of| (of.payload_type, of.packets)).collect();
    assert_eq!(told, [(0, 3), (8, 2)]);
    assert!(
        report.to_text().contains("5 packets (3 PCMU, 2 "),
        "{}",
        report.to_text()
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
fn a_capture_of_two_mirrored_ports_reads_as_one_of_one_port() {
    for name in ["plain-call", "tcp-split", "fragmented-invite"] {
        let path = format!("{}/captures/{name}/call.pcap", env!("CARGO_MANIFEST_DIR"));
        let mut once = Pcap::new(ETHERNET);
        once.bytes = std::fs::read(path).unwrap();
        let mut twice = Pcap::new(ETHERNET);
        let mut frames: Vec<_> = once.records();
        for (at, frame) in once.records() {
            let mut tagged = frame[..12].to_vec();
            tagged.extend([0x81, 0x00, 0, 100]);
            tagged.extend(&frame[12..]);
            tagged[26] = 63;
            frames.push((at + Duration::from_micros(300), tagged));
        }
        frames.sort();
        for (at, frame) in &frames {
            twice.push(*at, frame);
        }
        let [once, twice] = [&once, &twice].map(|file| replay(&*file.bytes, &options()).unwrap());
        assert_eq!((once.capture.doubles, twice.capture.doubles), (0, once.capture.packets));
        assert_eq!(twice.capture.rtp, once.capture.rtp, "{name}");
        assert_eq!(twice.capture.sip, once.capture.sip, "{name}");
        let calls = [&once, &twice].map(|report| serde_json::to_value(&report.calls).unwrap());
        assert_eq!(calls[0][0]["streams"], calls[1][0]["streams"], "{name}");
        assert!(twice.to_text().contains("captured more than once, used once"));
    }
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
fn a_capture_cut_at_any_packet_is_replayed_up_to_there() {
    let mut talk = Talk::new("cut@test");
    talk.connected().talk(2).hang_up();
    let whole = talk.file.bytes.clone();
    for cut in (24..whole.len()).step_by(97) {
        talk.file.bytes = whole[..cut].to_vec();
        let report = talk.replay();
        assert!(
            report.calls.len() <= 1 && report.capture.errors.len() <= 1,
            "cut at {cut}"
        );
        assert!(report.is_fine(), "cut at {cut}");
    }
}

#[test]
fn two_phones_that_change_places_mid_call_keep_their_legs() {
    let mut talk = Talk::new("modify@test");
    talk.connected().talk(2);
    let said = |start, cseq, by_a, media| Said {
        start,
        cseq,
        by_a,
        b_tag: Some("from-b"),
        media,
    };
    // B moves its media, and says so.
    talk.say(&said(
        "INVITE sip:a@192.168.0.1 SIP/2.0",
        "9 INVITE",
        false,
        Some("192.168.0.2:8000"),
    ));
    talk.say(&said("SIP/2.0 200 OK", "9 INVITE", true, Some(A_MEDIA)));
    talk.say(&said("ACK sip:a@192.168.0.1 SIP/2.0", "9 ACK", false, None));
    for n in 2..5 {
        talk.file
            .udp(millis(talk.now), A_MEDIA, "192.168.0.2:8000", &rtp(0xA, 0, n));
        talk.file
            .udp(millis(talk.now), "192.168.0.2:8000", A_MEDIA, &rtp(0xB, 0, n));
        talk.now += 20;
    }
    talk.hang_up();
    let report = talk.replay();
    assert_eq!(streams(&report.calls[0]), [(Leg::A, 0xA, 5, 5), (Leg::B, 0xB, 5, 5)]);
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

/// Packets with these numbers, 20 ms apart, from there to there.
fn sends(talk: &mut Talk, ssrc: u32, numbers: std::ops::Range<u16>, src: &str, dst: &str) {
    for n in numbers {
        talk.file.udp(millis(talk.now), src, dst, &rtp(ssrc, 0, n));
        talk.now += 20;
    }
}

/// A re-INVITE, or an answer to it.
fn moving(talk: &mut Talk, by_a: bool, start: &str, cseq: &str, media: Option<&str>) {
    let b_tag = Some("from-b");
    talk.say(&Said {
        start,
        cseq,
        by_a,
        b_tag,
        media,
    });
}

const A_MOVED: &str = "192.168.0.1:4400";
const B_MOVED: &str = "192.168.0.2:6600";
const TO_B: &str = "INVITE sip:b@192.168.0.2 SIP/2.0";
const TO_A: &str = "INVITE sip:a@192.168.0.1 SIP/2.0";

#[test]
fn after_a_move_that_is_refused_media_is_where_it_was() {
    for (by_a, refused, is_fax) in [
        (true, "SIP/2.0 488 Not Acceptable Here", false),
        (true, "SIP/2.0 491 Request Pending", false),
        (false, "SIP/2.0 488 Not Acceptable Here", false),
        (false, "SIP/2.0 488 Not Acceptable Here", true),
    ] {
        let mut talk = Talk::new("refused@test");
        talk.connected().talk(5);
        let (start, moved, said) = match by_a {
            true => (TO_B, A_MOVED, (A, B)),
            false => (TO_A, B_MOVED, (B, A)),
        };
        let offer = Said {
            start,
            cseq: "9 INVITE",
            by_a,
            b_tag: Some("from-b"),
            media: Some(moved),
        };
        let mut offer = String::from_utf8(offer.bytes("refused@test")).unwrap();
        if is_fax {
            offer = offer.replace("m=audio 6600 RTP/AVP 0", "m=image 6600 udptl t38");
        }
        talk.file.udp(millis(talk.now), said.0, said.1, offer.as_bytes());
        talk.now += 10;
        moving(&mut talk, !by_a, refused, "9 INVITE", None);
        moving(&mut talk, by_a, &start.replace("INVITE", "ACK"), "9 ACK", None);
        for n in 5..30 {
            sends(&mut talk, 0xA, n..n + 1, A_MEDIA, B_MEDIA);
            sends(&mut talk, 0xB, n..n + 1, B_MEDIA, A_MEDIA);
        }
        talk.a("BYE sip:b@192.168.0.2 SIP/2.0", "10 BYE", None)
            .b("SIP/2.0 200 OK", "10 BYE", None);
        let report = talk.replay();
        let call = &report.calls[0];
        assert_eq!(
            streams(call),
            [(Leg::A, 0xA, 30, 30), (Leg::B, 0xB, 30, 30)],
            "{refused}, by A: {by_a}"
        );
        assert_eq!((call.foreign, call.outcome), (0, Outcome::Recorded));
    }
}

#[test]
fn until_a_move_is_answered_media_is_heard_at_both_places() {
    for by_a in [true, false] {
        let mut talk = Talk::new("pending@test");
        talk.connected().talk(5);
        let (start, ssrc, old, moved, far) = match by_a {
            true => (TO_B, 0xA, A_MEDIA, A_MOVED, B_MEDIA),
            false => (TO_A, 0xB, B_MEDIA, B_MOVED, A_MEDIA),
        };
        moving(&mut talk, by_a, start, "9 INVITE", Some(moved));
        sends(&mut talk, ssrc, 5..40, old, far);
        sends(&mut talk, ssrc, 40..45, moved, far);
        sends(&mut talk, 0xF, 0..3, far, old);
        sends(&mut talk, 0xF, 3..6, far, moved);
        moving(&mut talk, !by_a, "SIP/2.0 200 OK", "9 INVITE", Some(far));
        moving(&mut talk, by_a, &start.replace("INVITE", "ACK"), "9 ACK", None);
        sends(&mut talk, ssrc, 45..50, moved, far);
        talk.a("BYE sip:b@192.168.0.2 SIP/2.0", "10 BYE", None)
            .b("SIP/2.0 200 OK", "10 BYE", None);
        let report = talk.replay();
        let call = &report.calls[0];
        assert!(
            call.streams.iter().all(|stream| stream.recorded == stream.packets),
            "{call:?}"
        );
        let counted: Vec<_> = call
            .streams
            .iter()
            .map(|stream| (stream.ssrc, stream.recorded))
            .collect();
        assert!(
            counted.contains(&(ssrc, 50)) && counted.contains(&(0xF, 6)),
            "{counted:?}"
        );
        assert_eq!((call.foreign, call.outcome), (0, Outcome::Recorded));
    }
}

#[test]
fn who_sends_to_a_party_and_is_not_the_other_is_left_out_and_told() {
    const STRANGER: &str = "10.9.9.9:4000";
    let mut talk = Talk::new("foreign@test");
    talk.connected();
    sends(&mut talk, 0xA, 0..1, A_MEDIA, B_MEDIA);
    for n in 1..50 {
        for src in [STRANGER, "192.168.0.1:4444", A_MEDIA] {
            talk.file.udp(millis(talk.now), src, B_MEDIA, &rtp(0xA, 0, n));
        }
        talk.now += 20;
    }
    talk.hang_up();
    let report = talk.replay();
    let call = &report.calls[0];
    assert_eq!(streams(call), [(Leg::A, 0xA, 50, 50)]);
    assert_eq!((call.foreign, call.accepted), (98, 50));
    assert!(
        report
            .to_text()
            .contains("  98 packets from elsewhere than the parties, not recorded\n")
    );

    // Whoever comes first is heard until who is described speaks.
    let mut talk = Talk::new("first@test");
    talk.connected();
    sends(&mut talk, 0xE, 0..10, STRANGER, B_MEDIA);
    sends(&mut talk, 0xA, 0..10, A_MEDIA, B_MEDIA);
    sends(&mut talk, 0xE, 10..20, STRANGER, B_MEDIA);
    talk.hang_up();
    let report = talk.replay();
    let call = &report.calls[0];
    assert_eq!(streams(call), [(Leg::A, 0xA, 10, 10), (Leg::A, 0xE, 10, 10)]);
    assert_eq!(call.foreign, 10);
}

#[test]
fn what_a_party_sends_elsewhere_bars_nobody_who_sends_to_where_the_other_said() {
    const ELSEWHERE: &str = "10.9.9.9:4000";
    let mut talk = Talk::new("elsewhere@test");
    talk.connected();
    for n in 0..50 {
        for (ssrc, src, dst) in [(0xA, A_MEDIA, ELSEWHERE), (0xE, ELSEWHERE, B_MEDIA)] {
            talk.file.udp(millis(talk.now), src, dst, &rtp(ssrc, 0, n));
        }
        talk.now += 20;
    }
    talk.hang_up();
    let report = talk.replay();
    assert_eq!(
        streams(&report.calls[0]),
        [(Leg::A, 0xA, 50, 50), (Leg::A, 0xE, 50, 50)]
    );
    assert_eq!(report.calls[0].foreign, 0);
}

/// Everything was recorded, and nothing but `--fault` breaks a recorder.
fn assert_whole(what: &str, report: &Report, packets: u64) {
    for call in &report.calls {
        let found = (call.outcome, call.accepted, call.stored, call.gaps);
        assert_eq!(
            found,
            (Outcome::Recorded, packets, packets, 0),
            "{what}: {:?}",
            call.trail
        );
    }
    assert!(report.is_fine(), "{what}");
}

#[test]
fn media_of_any_rate_and_size_is_recorded_whole() {
    // 600 packets a second of 1,200 bytes each way; everything at one instant; packets longer than a block.
    for (packets, bytes, micros) in [(600, 1_200, 1_667), (4_000, 1_200, 0), (40, 5_000, 100)] {
        let mut talk = Talk::new("fast@test");
        talk.connected().stream(packets, bytes, micros).hang_up();
        assert_whole(&format!("{bytes} bytes"), &talk.replay(), 2 * u64::from(packets));
    }
}

/// The same packets at other times.
fn retimed(talk: &Talk, time: impl Fn(usize, Timestamp) -> Timestamp) -> Vec<u8> {
    let mut file = Pcap::new(ETHERNET);
    for (n, (at, frame)) in talk.file.records().into_iter().enumerate() {
        file.push(time(n, at), &frame);
    }
    file.bytes
}

#[test]
fn media_is_recorded_whole_by_a_clock_of_whole_seconds_or_by_none() {
    let mut talk = Talk::new("coarse@test");
    talk.connected().stream(1_200, 1_200, 1_667).hang_up();
    let seconds = retimed(&talk, |_, at| Timestamp::from_millis(at.as_secs() * 1_000));
    assert_whole("seconds", &replay(&*seconds, &options()).unwrap(), 2_400);
    let order = Order::Little;
    let mut timeless = [forge::section(order), forge::interface(order, 1, None)].concat();
    for (_, frame) in talk.file.records() {
        timeless.extend(forge::simple(order, &frame));
    }
    assert_whole("no time", &replay(&*timeless, &options()).unwrap(), 2_400);
}

/// A call and, by other clocks, another: both are whole, and last as long as they did.
#[test]
fn captures_one_after_the_other_are_replayed_whole_whatever_their_clocks_say() {
    let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(24 * 3_600));
    let mut talk = Talk::new("first@test");
    talk.connected().talk(100);
    let first = talk.file.records().len();
    talk.hang_up();
    talk.call_id = "second@test".to_owned();
    talk.connected().stream(300, 1_200, 7_000).hang_up();
    type Clock = Box<dyn Fn(Timestamp) -> Timestamp>;
    let clocks: [(&str, Clock); 4] = [
        ("an hour back", Box::new(move |at| at - hour)),
        ("a day ahead", Box::new(move |at| at + 3 * day)),
        ("seconds back", Box::new(move |at| at - Duration::from_secs(3))),
        ("1970", Box::new(move |at| at - millis(0).since(Timestamp::ZERO))),
    ];
    for (what, clock) in clocks {
        for whole in [true, false] {
            // Without its end, the first call is up when time leaps.
            let lost = if whole { 0..0 } else { first..first + 2 };
            let mut file = Pcap::new(ETHERNET);
            for (n, (at, frame)) in talk.file.records().into_iter().enumerate() {
                if !lost.contains(&n) {
                    file.push(if n < first + 2 { at } else { clock(at) }, &frame);
                }
            }
            let report = replay(&*file.bytes, &options()).unwrap();
            let [one, two] = report.calls.as_slice() else {
                panic!("two calls")
            };
            let stored = [one, two].map(|call| (call.outcome, call.accepted, call.stored));
            assert_eq!(
                stored,
                [(Outcome::Recorded, 200, 200), (Outcome::Recorded, 600, 600)],
                "{what}: {:?}",
                one.trail
            );
            assert_eq!(two.started, clock(millis(2_060)), "{what}");
            assert!(
                whole.then_some(one.duration_ms).is_none_or(|ms| ms == 2_050),
                "{what}: {}",
                one.duration_ms
            );
            assert!((2_100..2_200).contains(&two.duration_ms), "{what}: {}", two.duration_ms);
        }
    }
}

#[test]
fn a_wrong_time_on_the_first_packet_changes_nothing() {
    let mut talk = Talk::new("first@test");
    talk.connected().stream(600, 1_200, 1_667).hang_up();
    let wrong: [fn(Timestamp) -> Timestamp; 4] = [
        |at| at + Duration::from_secs(3_600),
        |at| at + Duration::from_secs(40 * 86_400),
        |_| Timestamp::ZERO,
        |at| at + Duration::from_secs(5),
    ];
    for wrong in wrong {
        let file = retimed(&talk, |n, at| if n == 0 { wrong(at) } else { at });
        let report = replay(&*file, &options()).unwrap();
        assert_whole("first", &report, 1_200);
        let call = &report.calls[0];
        assert_eq!((call.started, call.duration_ms), (millis(10), 1_040));
        let broken = ReplayOptions {
            faults: vec!["recorder:eio@500ms".parse().unwrap()],
            ..options()
        };
        let call = &replay(&*file, &broken).unwrap().calls[0];
        assert_eq!(call.outcome, Outcome::Faulted);
        assert!((100..600).contains(&call.streams[0].recorded), "{:?}", call.streams);
    }
}

#[test]
fn packets_cut_by_the_snap_length_are_counted_and_named_and_not_recorded() {
    let mut talk = Talk::new("cut@test");
    talk.connected().talk(50).hang_up();
    let mut file = Pcap::new(ETHERNET);
    for (at, frame) in talk.file.records() {
        // Ethernet, IP, UDP and the RTP header; and the messages whole.
        let kept = if frame.len() == 14 + 20 + 8 + 172 {
            54
        } else {
            frame.len()
        };
        file.push_cut(at, &frame, kept);
    }
    let report = replay(&*file.bytes, &options()).unwrap();
    let call = &report.calls[0];
    assert_eq!(call.outcome, Outcome::NoMedia);
    assert_eq!(streams(call), [(Leg::A, 0xA, 50, 0), (Leg::B, 0xB, 50, 0)]);
    let first = &call.streams[0];
    assert_eq!((first.payload_type, first.lost, first.cut), (0, 0, 50));
    let capture = &report.capture;
    assert_eq!((capture.rtp, capture.ignored, capture.errors_total), (100, 0, 100));
    assert_eq!(capture.errors.len(), 20);
    assert!(capture.errors[0].error.contains("only 54 of 214 bytes were captured"));
    assert!(
        report
            .to_text()
            .contains("50 packets, 50 cut by the capture, 0 lost, 0 recorded")
    );
}

#[test]
fn interfaces_without_a_packet_and_empty_files_are_fine() {
    let order = Order::Little;
    let file = [forge::section(order), forge::interface(order, 1, None)].concat();
    let report = replay(&*file, &options()).unwrap();
    assert!(report.is_fine() && report.calls.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_lost_repeated_and_out_of_order_never_panic_and_every_call_ends(
        order in prop::collection::vec(0_usize..10, 0..30),
    ) {
        let mut talk = Talk::new("chaos@test");
        for step in order {
            match step {
                0 | 1 => talk.invite(),
                2 => talk.b("SIP/2.0 180 Ringing", "1 INVITE", None),
                3 => talk.b("SIP/2.0 200 OK", "1 INVITE", Some(B_MEDIA)),
                4 => talk.a("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", None),
                5 => talk.talk(2),
                6 => talk.a("BYE sip:b@192.168.0.2 SIP/2.0", "2 BYE", None),
                7 => talk.b("SIP/2.0 200 OK", "2 BYE", None),
                8 => talk.b("SIP/2.0 486 Busy Here", "1 INVITE", None),
                _ => talk.b("BYE sip:a@192.168.0.1 SIP/2.0", "5 BYE", None),
            };
        }
        let report = talk.replay();
        prop_assert!(report.is_fine());
        prop_assert!(report.calls.len() <= 1);
        for call in &report.calls {
            prop_assert_eq!(call.accepted, call.stored);
        }
    }

    #[test]
    fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut talk = Talk::new("flipped@test");
        talk.connected().talk(2).hang_up();
        for (at, value) in flips {
            let at = at.index(talk.file.bytes.len() - 24) + 24;
            talk.file.bytes[at] = value;
        }
        let _ = talk.replay();
    }
}
