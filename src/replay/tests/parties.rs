//! Whose media it is: bound by what the parties said, through a NAT, with their keys, and where they move to.

use super::super::forge::{millis, rtp};
use super::super::talk::{A, A_MEDIA, B, B_MEDIA, Said, Talk};
use super::streams;
use crate::model::{Leg, Outcome, SrtpKey, SrtpSuite};
use crate::rtp::{SRTP_GROWTH_MAX, Sealer};
use crate::sdp::Crypto;

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

/// Five packets each way, by keys that the descriptions tell.
pub(super) fn encrypted_call() -> Talk {
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
    talk
}

#[test]
fn encrypted_media_whose_keys_were_captured_is_opened() {
    let talk = encrypted_call();
    let report = talk.replay();
    assert_eq!(streams(&report.calls[0]), [(Leg::A, 0xA, 5, 5), (Leg::B, 0xB, 5, 5)]);
    assert_eq!(report.calls[0].streams[0].codec, "PCMU");
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
