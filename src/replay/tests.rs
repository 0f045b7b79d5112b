//! Whole captures, played.

mod calls;
mod clocks;
mod exported;
mod flawed;
mod parties;

use std::sync::Arc;

use super::forge::{self, millis};
use super::talk::{A_MEDIA, B_MEDIA, Talk, flow};
use super::*;
use crate::config::embedded_policies;
use crate::model::{Generation, Leg, Outcome};

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
