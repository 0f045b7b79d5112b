//! An end that turns out to be somebody else, with video, or makes video of audio in its answer to a refresh of ours.

use std::time::Duration;

use onrecord::model::{Fault, Gate, MediaCommand, MediaKind, Recorded};

use super::super::bench::{
    B, Bench, CLERK, SDP, TO_TRADER, TRADER, VIDEO_ALONE, answer, reliable, with_lines, with_video,
};
use super::{KNOWS, kinds, rack, traders_video, video_alone};

#[test]
fn an_answer_that_makes_video_of_audio_is_no_way_round_a_policy() {
    let swapped = SDP.replace("m=audio", "m=video");
    for by in ["PRACK", "ACK"] {
        let mut bench = video_alone();
        bench.recorder_fails(Fault::Io);
        bench.invite("", KNOWS);
        if by == "PRACK" {
            bench.fork_answers("b-tag", 183, &reliable(4), SDP);
            let tag = bench.our_tag();
            bench.a_requests_in(&tag, 2, "PRACK", &rack(4, 1), &swapped);
            assert_eq!(bench.response_to_a().status, 488);
            assert_eq!(bench.times("PRACK → B"), 0);
        } else {
            bench.fork_answers("b-tag", 200, "", SDP);
            let tag = bench.our_tag();
            bench.a_requests_in(&tag, 1, "ACK", "", &swapped);
            assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (1, 1));
        }
        assert!(kinds(&bench).iter().all(|kind| *kind == MediaKind::Audio));
    }
}

#[test]
fn somebody_who_comes_with_video_is_judged_by_both() {
    for by_b in [true, false] {
        let asks = |bench: &mut Bench, who: &str, sdp: &str, cseq: u32| {
            let tag = bench.our_tag();
            match by_b {
                true => bench.fork_requests("b-tag", cseq, "UPDATE", who, sdp),
                false => bench.a_requests_in(&tag, cseq, "UPDATE", who, sdp),
            }
        };
        let refused = |bench: &Bench| match by_b {
            true => bench.response_to_b(),
            false => bench.response_to_a(),
        };
        let mut bench = traders_video().connected();
        bench.recorder_fails(Fault::Io);
        asks(&mut bench, TRADER, &with_video(), 9);
        assert_eq!(refused(&bench).status, 488, "the trader's video must be recorded");
        assert_eq!(bench.signaling.calls(), 1, "the call stays as it was");
        asks(&mut bench, TRADER, SDP, 10);
        assert_eq!(
            bench.times("UPDATE → A") + bench.times("UPDATE → B"),
            1,
            "nobody records the trader's voice"
        );

        let mut bench = traders_video().connected();
        bench.recorder_fails(Fault::Io);
        asks(&mut bench, CLERK, &with_video(), 9);
        assert_eq!(
            bench.times("UPDATE → A") + bench.times("UPDATE → B"),
            1,
            "nor the clerk's video"
        );

        let mut bench = traders_video().connected();
        bench.recorder_answers = false;
        asks(&mut bench, TRADER, &with_video(), 9);
        assert_eq!(bench.gates(), [Gate::Shut]);
        assert_eq!(bench.times("UPDATE → A") + bench.times("UPDATE → B"), 0);
        bench.recording_opens();
        assert_eq!(bench.times("UPDATE → A") + bench.times("UPDATE → B"), 1);
        assert_eq!(bench.recorded(), Some(Recorded::Strict));
    }
}

#[test]
fn somebody_else_who_accepts_with_video_is_recorded_from_there_or_is_told_the_old_session_again() {
    let only_before = format!("{VIDEO_ALONE}required_during_call = false\n");
    for opens in [true, false] {
        let mut bench = Bench::with(&[("desk.toml", &only_before), ("grants.toml", TO_TRADER)]).connected();
        bench.recorder_answers = false;
        let tag = bench.our_tag();
        bench.a_requests_in(&tag, 2, "INVITE", "", "");
        let bytes = answer(
            &bench.request_to_b("INVITE"),
            200,
            "b-tag",
            "127.0.0.1:5090",
            &with_video(),
        );
        bench.story.clear();
        bench.from(B, with_lines(&bytes, TRADER));
        assert_eq!(bench.gates(), [Gate::Shut]);
        assert_eq!(bench.times("200 → A"), 0, "it waits for the recording");
        if opens {
            bench.recording_opens();
            assert_eq!(bench.times("200 → A"), 1);
            bench.a_requests_in(&tag, 2, "ACK", "", &with_video());
            assert_eq!(
                bench.recorded(),
                Some(Recorded::Lenient),
                "nothing has to be recorded to its end"
            );
        } else {
            bench.recording_does_not_open(Fault::Io);
            assert!(
                bench
                    .story
                    .ends_with(&["488 → A", "ACK → B", "INVITE → B"].map(str::to_owned))
            );
            assert_eq!(bench.gates(), [Gate::Shut]);
            bench.b_answers("INVITE", 200, SDP);
            assert!(!bench.hears_video());
        }
        assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
        assert_eq!(bench.times("BYE → B"), 0, "nobody records the trader's voice");
    }
}

/// B accepts our refresh before A does, as `who` and with `sdp`.
fn refreshes(bench: &mut Bench, who: &str, sdp: &str) {
    bench.wait(Duration::from_secs(912));
    let refresh = bench.request_to_b("INVITE");
    assert_eq!(refresh.headers.cseq().number, 2, "the refresh");
    let acknowledged = bench.times("ACK → B");
    bench.media.clear();
    let bytes = answer(&refresh, 200, "b-tag", "127.0.0.1:5090", sdp);
    bench.from(B, with_lines(&bytes, who));
    assert_eq!(bench.times("ACK → B"), acknowledged + 1);
}

#[test]
fn who_accepts_our_refresh_with_the_video_that_it_refused_has_none_and_the_session_stays() {
    for (who, is_strict) in [(TRADER, false), ("", true)] {
        let mut bench = if is_strict { video_alone() } else { traders_video() };
        if !is_strict {
            bench.recorder_fails(Fault::Io);
        }
        bench.invite(&with_video(), "");
        bench.b_answers("INVITE", 200, &format!("{SDP}m=video 0 RTP/AVP 96\r\n"));
        bench.a_requests(1, "ACK", "ack1", "");
        refreshes(&mut bench, who, &with_video());
        assert_eq!(bench.times("BYE → B"), 0, "nobody records the trader's voice");
        let is_seen = |command: &MediaCommand| match command {
            MediaCommand::Open(plan) | MediaCommand::Modify(plan) => plan.lines[1].b.remote.is_some(),
            _ => false,
        };
        assert!(!bench.media.iter().any(is_seen), "B sends no video, and gets none");
        assert_eq!(bench.gates(), []);
        assert_eq!(bench.signaling.calls(), 1);
    }
}

#[test]
fn an_answer_to_our_refresh_that_makes_video_of_audio_changes_nothing() {
    let mut bench = video_alone().connected();
    bench.recorder_fails(Fault::Io);
    refreshes(&mut bench, "", &SDP.replace("m=audio", "m=video"));
    assert_eq!((bench.times("BYE → B"), bench.signaling.calls()), (0, 1));
    assert_eq!(bench.media, [], "nothing moved");
}
