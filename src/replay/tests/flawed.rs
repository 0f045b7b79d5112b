//! Captures that are cut, doubled, empty or spoiled.

use std::time::Duration;

use proptest::prelude::*;

use super::super::forge::{self, ETHERNET, Order, Pcap, millis};
use super::super::talk::{B_MEDIA, Talk};
use super::super::*;
use super::{options, streams};
use crate::model::{Leg, Outcome};

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
fn a_capture_whose_signalling_cannot_be_read_says_what_it_has_in_place_of_calls() {
    let mut talk = Talk::new("unseen@test");
    talk.talk(3);
    let (a, b) = (forge::addr("192.168.0.1:40000"), forge::addr("192.168.0.2:5061"));
    let record = [23, 3, 3, 0, 3, 1, 2, 3];
    for (n, src, dst) in [(1, a, b), (9, b, a), (9, a, b)] {
        let segment = forge::tcp(src, dst, n, 0x10, 0, &record);
        let packet = forge::ip4(src.ip(), dst.ip(), 6, n as u16, 0, &segment);
        talk.file.push(millis(talk.now), &forge::ethernet(&packet));
    }
    let report = talk.replay();
    let capture = &report.capture;
    assert_eq!((capture.unnamed_rtp, capture.unnamed_streams, capture.tls), (6, 2, 1));
    assert_eq!(
        report.to_text(),
        "9 packets: 0 SIP, 0 RTP, 0 RTCP, 6 ignored; 0 calls\n\
         of the ignored, 6 RTP packets of 2 streams that no SDP before them names\n\
         1 TCP connection encrypted (TLS): SIP in there is not read\n"
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
