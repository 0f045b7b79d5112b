//! Media that comes to a call late: what is offered in an 18x, a PRACK, an UPDATE or an ACK is decided for before it is heard,
//! and so is who is said to ring when early media begins.

mod becoming;
mod ringing;

use onrecord::model::{Fault, Gate, Header, MediaCommand, MediaKind, Outcome, Recorded, RecordingCommand};

use super::bench::{Bench, GRANTS, LENIENT, SDP, TO_TRADER, VIDEO_ALONE, reliable, with_video};

const KNOWS: &str = "Supported: 100rel\r\n";

fn rack(number: u32, cseq: u32) -> String {
    format!("RAck: {number} {cseq} INVITE\r\n")
}

/// Video is recorded strictly, and nothing else.
fn video_alone() -> Bench {
    Bench::with(&[("desk.toml", VIDEO_ALONE), ("grants.toml", GRANTS)])
}

/// The trader's video is.
fn traders_video() -> Bench {
    Bench::with(&[("desk.toml", VIDEO_ALONE), ("grants.toml", TO_TRADER)])
}

fn kinds(bench: &Bench) -> Vec<MediaKind> {
    bench.plan().lines.iter().map(|line| line.kind).collect()
}

/// The record of a call that was not recorded.
fn kept(bench: &Bench) -> (&Header, Outcome) {
    let kept = bench.recording.iter().rev().find_map(|command| match command {
        RecordingCommand::Keep { header, closing, .. } => Some((&**header, closing.outcome)),
        _ => None,
    });
    kept.expect("it is kept")
}

/// Who was called, as the end of the recording tells it.
fn became(bench: &Bench) -> Option<&str> {
    let became = bench.recording.iter().rev().find_map(|command| match command {
        RecordingCommand::Close { closing, .. } => closing.became.as_deref(),
        _ => None,
    });
    became.map(|header| header.callee.identity.as_str())
}

/// Whether B's media is known to any plan.
fn answers_media(bench: &Bench) -> bool {
    bench.media.iter().any(|command| match command {
        MediaCommand::Open(plan) | MediaCommand::Modify(plan) => plan.lines.iter().any(|line| line.b.remote.is_some()),
        _ => false,
    })
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

#[test]
fn video_that_a_183_offers_is_recorded_before_it_is_seen() {
    let mut bench = video_alone();
    bench.recorder_answers = false;
    bench.invite("", KNOWS);
    assert_eq!(bench.sessions().len(), 0, "nothing is known to be video");
    bench.fork_answers("b-tag", 183, &reliable(4), &with_video());
    assert_eq!(bench.sessions().len(), 1);
    assert_eq!(bench.gates(), [Gate::Shut], "the relay opens with its gate shut");
    let tag = bench.our_tag();
    bench.a_requests_in(&tag, 2, "PRACK", &rack(4, 1), &with_video());
    bench.b_agrees("PRACK", 200, "");
    bench.fork_answers("b-tag", 200, "", "");
    assert_eq!(bench.times("200 → A"), 1, "that of the PRACK: {:#?}", bench.story);
    bench.recording_opens();
    assert_eq!(bench.times("200 → A"), 2, "{:#?}", bench.story);
    assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
    assert_eq!(bench.recorded(), Some(Recorded::Strict));
    bench.a_requests_in(&tag, 1, "ACK", "", "");
    bench.recorder_fails(Fault::Io);
    assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (1, 1));
    bench.a_answers("BYE", 200, "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn video_that_a_183_offers_and_that_cannot_be_recorded_ends_the_call_before_it_is_seen() {
    for opens_late in [true, false] {
        let mut bench = video_alone();
        bench.recorder_answers = false;
        if !opens_late {
            bench.recorder_fails(Fault::Io);
        }
        bench.invite("", KNOWS);
        bench.fork_answers("b-tag", 183, &reliable(4), &with_video());
        if opens_late {
            assert_eq!(bench.times("183 → A"), 1);
            bench.recording_does_not_open(Fault::Io);
        } else {
            assert_eq!(bench.times("183 → A"), 0);
            assert!(bench.media.is_empty(), "no port was opened");
        }
        assert!(!bench.gates().contains(&Gate::Open));
        assert_eq!(bench.response_to_a().status, 603);
        assert_eq!(bench.times("CANCEL → B"), 1);
        bench.a_requests(1, "ACK", "a1", "");
        bench.b_agrees("CANCEL", 200, "");
        bench.fork_answers("b-tag", 487, "", "");
        assert_eq!(kept(&bench).1, Outcome::Blocked);
        bench.assert_nothing_left();
    }
}

#[test]
fn a_late_offer_that_nobody_records_crosses_whatever_the_recorder_does() {
    let audio_beside_a_policy = (VIDEO_ALONE, SDP.to_owned());
    let lenient = (LENIENT, with_video());
    for (policy, offer) in [audio_beside_a_policy, lenient] {
        let mut bench = Bench::with(&[("desk.toml", policy), ("grants.toml", GRANTS)]);
        bench.recorder_fails(Fault::DiskFull);
        bench.invite("", KNOWS);
        bench.fork_answers("b-tag", 183, &reliable(4), &offer);
        let tag = bench.our_tag();
        bench.a_requests_in(&tag, 2, "PRACK", &rack(4, 1), &offer);
        bench.b_agrees("PRACK", 200, "");
        bench.fork_answers("b-tag", 200, "", "");
        bench.a_requests_in(&tag, 1, "ACK", "", "");
        assert_eq!(bench.times("ACK → B"), 1, "{:#?}", bench.story);
        assert_eq!((bench.sessions().len(), bench.gates()), (0, Vec::new()));
    }
}

/// A 183 to a re-INVITE of A's with this body, and what A's PRACK to it brings.
fn progresses(bench: &mut Bench, offer: &str, progress: &str) -> String {
    let tag = bench.our_tag();
    bench.a_requests_in(&tag, 2, "INVITE", KNOWS, offer);
    let bytes = super::bench::answer(&bench.request_to_b("INVITE"), 183, "b-tag", "127.0.0.1:5090", progress);
    bench.from(super::bench::B, super::bench::with_lines(&bytes, &reliable(7)));
    tag
}

#[test]
fn video_that_a_183_offers_to_a_reinvite_is_recorded_from_there() {
    let mut bench = video_alone().connected();
    let tag = progresses(&mut bench, "", &with_video());
    assert_eq!(bench.sessions().len(), 1);
    assert_eq!(bench.times("183 → A"), 1);
    bench.a_requests_in(&tag, 3, "PRACK", &rack(7, 2), &with_video());
    bench.b_agrees("PRACK", 200, "");
    bench.b_answers("INVITE", 200, "");
    bench.a_requests_in(&tag, 2, "ACK", "", "");
    assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
    assert_eq!(bench.recorded(), Some(Recorded::Strict));
    assert_eq!(kinds(&bench), [MediaKind::Audio, MediaKind::Video]);
}

#[test]
fn video_that_a_183_brings_to_a_reinvite_and_that_cannot_be_recorded_is_refused_and_the_call_stays() {
    for final_status in [487, 200] {
        let mut bench = video_alone().connected();
        bench.recorder_fails(Fault::Io);
        let tag = progresses(&mut bench, "", &with_video());
        assert_eq!(bench.times("183 → A"), 0);
        assert_eq!(bench.times("CANCEL → B"), 1);
        bench.b_answers("CANCEL", 200, "");
        if final_status == 200 {
            // It crossed the CANCEL: its offer is answered by what holds, and then it is told that once more.
            bench.b_answers("INVITE", 200, &with_video());
            let ack = bench.request_to_b("ACK");
            assert!(
                text(&ack.body).ends_with("m=video 0 RTP/AVP 96\r\n"),
                "{}",
                text(&ack.body)
            );
            assert!(bench.story.ends_with(&["ACK → B".to_owned(), "INVITE → B".to_owned()]));
            assert_eq!(bench.gates(), [Gate::Shut]);
            bench.b_answers("INVITE", 200, SDP);
        } else {
            bench.b_answers("INVITE", 487, "");
        }
        assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
        assert_eq!(bench.signaling.calls(), 1, "the call stays as it was");
        assert_eq!(bench.times("488 → A"), 1, "{:#?}", bench.story);
        bench.a_requests_in(&tag, 2, "ACK", "", "");
        assert_eq!(bench.sessions().len(), 0);
        assert!(!bench.hears_video());
    }
}

#[test]
fn video_that_comes_in_a_prack_or_an_early_update_of_either_side_is_recorded_or_refused() {
    for (by_b, method) in [(false, "PRACK"), (false, "UPDATE"), (true, "UPDATE")] {
        for is_up in [true, false] {
            let mut bench = video_alone();
            bench.invite(SDP, KNOWS);
            bench.fork_answers("b-tag", 183, &reliable(9), SDP);
            let tag = bench.our_tag();
            if !is_up {
                bench.recorder_fails(Fault::Io);
            }
            bench.recorder_answers = false;
            if method == "UPDATE" {
                bench.a_requests_in(&tag, 2, "PRACK", &rack(9, 1), "");
                bench.b_agrees("PRACK", 200, "");
            }
            match by_b {
                true => bench.fork_requests("b-tag", 3, method, "", &with_video()),
                false => bench.a_requests_in(&tag, 3, method, &rack(9, 1), &with_video()),
            }
            let onward = if by_b {
                format!("{method} → A")
            } else {
                format!("{method} → B")
            };
            if is_up {
                assert_eq!(bench.gates(), [Gate::Shut], "{onward}");
                assert_eq!(bench.times(&onward), 0, "{onward} waits");
                bench.recording_opens();
                assert_eq!(bench.times(&onward), 1, "{:#?}", bench.story);
                assert_eq!(bench.recorded(), Some(Recorded::Strict));
            } else {
                let refused = if by_b {
                    bench.response_to_b()
                } else {
                    bench.response_to_a()
                };
                assert_eq!(refused.status, 488, "{onward}");
                assert_eq!(bench.times(&onward), 0);
                bench.fork_answers("b-tag", 200, "", "");
                bench.a_requests_in(&tag, 1, "ACK", "", "");
                assert_eq!(
                    bench.times("ACK → B"),
                    1,
                    "the call goes on without: {:#?}",
                    bench.story
                );
                assert_eq!((bench.sessions().len(), kinds(&bench)[0]), (0, MediaKind::Audio));
            }
        }
    }
}
