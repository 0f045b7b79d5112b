//! Changes of a call that talks and that wait for a recording: what a re-INVITE or UPDATE asks for, what its reliable 18x or
//! its 2xx brings. If the recording cannot be had, who asked hears 488, who agreed already is told the session as it was, and
//! nothing that would have to be recorded is heard.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, Gate, MediaCommand, Recorded, RecordingEvent};
use onrecord::sip::Message;

use super::bench::{B, Bench, GRANTS, SDP, STRICT, TO_TRADER, TRADER, VIDEO_ALONE, answer, with_lines, with_video};

const KNOWS: &str = "Supported: 100rel\r\n";
const RELIABLE: &str = "Require: 100rel\r\nRSeq: 7\r\n";

/// How the recording does not come.
const FAILURES: [bool; 2] = [false, true];

/// Two talk whom nobody records; the recorder takes its time.
fn talks(policy: &str, grants: &str) -> (Bench, String) {
    let mut bench = Bench::with(&[("desk.toml", policy), ("grants.toml", grants)]).connected();
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.recorder_answers = false;
    bench.media.clear();
    bench.story.clear();
    (bench, tag)
}

fn video_alone() -> (Bench, String) {
    talks(VIDEO_ALONE, GRANTS)
}

fn ready(bench: &mut Bench) {
    let session = bench.newest_session();
    bench.input(Input::Recording(RecordingEvent::Ready { session }));
}

fn does_not_come(bench: &mut Bench, stalls: bool) {
    let (session, fault) = (bench.newest_session(), Fault::DiskFull);
    match stalls {
        true => bench.wait(Duration::from_millis(2_050)),
        false => bench.input(Input::Recording(RecordingEvent::OpenFailed { session, fault })),
    }
}

/// B's answer to the newest request of that method.
fn b_says(bench: &mut Bench, method: &str, status: u16, more: &str, sdp: &str) {
    let bytes = answer(&bench.request_to_b(method), status, "b-tag", B, sdp);
    bench.from(B, with_lines(&bytes, more));
}

fn body_to_b(bench: &Bench, method: &str) -> String {
    String::from_utf8(bench.request_to_b(method).body.to_vec()).unwrap()
}

fn version(sdp: &str) -> u64 {
    let origin = sdp.lines().find(|line| line.starts_with("o=")).unwrap();
    origin.split(' ').nth(2).unwrap().parse().unwrap()
}

/// The call is as it was, and ends as any does.
fn assert_goes_on(mut bench: Bench, tag: &str) {
    let mut answers = bench.to_a.iter().filter_map(|message| match message {
        Message::Response(response) => Some(response),
        Message::Request(_) => None,
    });
    let refused = answers
        .rfind(|response| response.status == 488)
        .expect("who asked is refused");
    let warning = refused.headers.get("Warning").unwrap();
    assert!(warning.contains("Recording required by policy desk"), "{warning}");
    assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (0, 0));
    assert!(!bench.hears_video());
    assert!(bench.recorded().is_none_or(|recorded| recorded == Recorded::No));
    let gates = bench.gates();
    assert!(gates.is_empty() || gates == [Gate::Shut, Gate::Open], "{gates:?}");
    // Somebody asks for what needs no recording.
    bench.a_requests_in(tag, 8, "INVITE", "", SDP);
    b_says(&mut bench, "INVITE", 200, "", SDP);
    assert_eq!(bench.response_to_a().status, 200, "{:#?}", bench.story);
    bench.a_requests_in(tag, 8, "ACK", "", "");
    bench.a_requests_in(tag, 9, "BYE", "", "");
    b_says(&mut bench, "BYE", 200, "", "");
    bench.assert_nothing_left();
}

#[test]
fn video_that_a_reinvite_or_update_offers_is_refused_before_anybody_else_hears_of_it() {
    for method in ["INVITE", "UPDATE"] {
        for stalls in FAILURES {
            let (mut bench, tag) = video_alone();
            bench.a_requests_in(&tag, 2, method, "", &with_video());
            assert_eq!(bench.times(&format!("{method} → B")), 0);
            does_not_come(&mut bench, stalls);
            assert_eq!(bench.times(&format!("{method} → B")), 0);
            if method == "INVITE" {
                bench.a_requests_in(&tag, 2, "ACK", "", "");
            }
            assert_goes_on(bench, &tag);
        }
    }
}

#[test]
fn video_that_a_2xx_to_a_reinvite_offers_waits_and_is_answered_with_what_holds() {
    for stalls in FAILURES {
        let (mut bench, tag) = video_alone();
        bench.a_requests_in(&tag, 2, "INVITE", "", "");
        bench.b_answers("INVITE", 200, &with_video());
        bench.b_answers("INVITE", 200, &with_video());
        assert_eq!((bench.times("200 → A"), bench.times("ACK → B")), (0, 0));
        assert_eq!(bench.gates(), [Gate::Shut]);
        does_not_come(&mut bench, stalls);
        bench.a_requests_in(&tag, 2, "ACK", "", "");
        let [answer, offer] = ["ACK", "INVITE"].map(|method| body_to_b(&bench, method));
        assert!(answer.ends_with("m=video 0 RTP/AVP 96\r\n"), "{answer}");
        assert_eq!(answer.matches("m=audio").count(), 1);
        assert_eq!(offer.matches("\r\nm=").count(), 2, "no line is missing: {offer}");
        assert_eq!(version(&offer), version(&answer) + 1);
        assert_eq!(bench.gates(), [Gate::Shut], "until he has taken it");
        bench.b_answers("INVITE", 200, SDP);
        assert_goes_on(bench, &tag);
    }
}

#[test]
fn a_phone_that_turns_the_refused_line_on_again_when_it_is_told_the_old_session_is_not_heeded() {
    let (mut bench, tag) = video_alone();
    bench.a_requests_in(&tag, 2, "INVITE", "", "");
    bench.b_answers("INVITE", 200, &with_video());
    does_not_come(&mut bench, false);
    bench.a_requests_in(&tag, 2, "ACK", "", "");
    bench.b_answers("INVITE", 200, &with_video().replace("audio 4000", "audio 4100"));
    let moved = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Open(plan) | MediaCommand::Modify(plan) => plan.lines[0].b.remote,
        MediaCommand::Gate { .. }
        | MediaCommand::Notice(_)
        | MediaCommand::Pausing { .. }
        | MediaCommand::Close { .. } => None,
    });
    assert_eq!(
        moved.map(|remote| remote.rtp.port()),
        Some(4_100),
        "where he moved counts"
    );
    assert_goes_on(bench, &tag);
}

#[test]
fn who_does_not_take_the_session_as_it_was_is_not_heard_and_let_go_at_last() {
    let (mut bench, tag) = video_alone();
    bench.a_requests_in(&tag, 2, "INVITE", "", "");
    bench.b_answers("INVITE", 200, &with_video());
    does_not_come(&mut bench, false);
    bench.a_requests_in(&tag, 2, "ACK", "", "");
    for _ in 0..6 {
        bench.b_answers("INVITE", 488, "");
        bench.wait(Duration::from_secs(5));
    }
    assert_eq!(bench.gates(), [Gate::Shut]);
    assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (1, 1));
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn video_in_a_reliable_183_waits_for_its_recording_and_so_does_a_2xx_that_overtakes_it() {
    for overtakes in [false, true] {
        let (mut bench, tag) = video_alone();
        bench.a_requests_in(&tag, 2, "INVITE", KNOWS, "");
        b_says(&mut bench, "INVITE", 183, RELIABLE, &with_video());
        b_says(&mut bench, "INVITE", 183, RELIABLE, &with_video());
        assert_eq!(bench.times("183 → A"), 0, "nor its copy");
        if overtakes {
            b_says(&mut bench, "INVITE", 200, "", "");
            assert_eq!(bench.times("200 → A"), 0);
        }
        ready(&mut bench);
        assert_eq!(bench.times("183 → A"), 1);
        assert_eq!(bench.times("200 → A"), usize::from(overtakes));
        assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
        if !overtakes {
            bench.a_requests_in(&tag, 3, "PRACK", "RAck: 7 2 INVITE\r\n", &with_video());
            b_says(&mut bench, "PRACK", 200, "", "");
            assert_eq!(bench.recorded(), Some(Recorded::Strict));
            assert!(bench.hears_video());
            b_says(&mut bench, "INVITE", 200, "", "");
            bench.a_requests_in(&tag, 2, "ACK", "", "");
            bench.a_requests_in(&tag, 4, "BYE", "", "");
            b_says(&mut bench, "BYE", 200, "", "");
            bench.assert_nothing_left();
        }
    }
}

#[test]
fn video_in_a_reliable_183_without_a_recording_is_cancelled_and_a_2xx_that_crosses_is_taken_back() {
    for stalls in FAILURES {
        for crossing in [None, Some(""), Some(&*with_video())] {
            let (mut bench, tag) = video_alone();
            bench.a_requests_in(&tag, 2, "INVITE", KNOWS, "");
            b_says(&mut bench, "INVITE", 183, RELIABLE, &with_video());
            does_not_come(&mut bench, stalls);
            assert_eq!((bench.times("CANCEL → B"), bench.times("183 → A")), (1, 0));
            b_says(&mut bench, "CANCEL", 200, "", "");
            assert_eq!(bench.gates(), [Gate::Shut]);
            match crossing {
                None => b_says(&mut bench, "INVITE", 487, "", ""),
                Some(sdp) => {
                    bench.story.clear();
                    b_says(&mut bench, "INVITE", 200, "", sdp);
                    assert_eq!(bench.story, ["B → 200", "488 → A", "ACK → B", "INVITE → B"]);
                    assert_eq!(bench.gates(), [Gate::Shut]);
                    b_says(&mut bench, "INVITE", 200, "", SDP);
                }
            }
            bench.a_requests_in(&tag, 2, "ACK", "", "");
            assert_goes_on(bench, &tag);
        }
    }
}

#[test]
fn who_accepts_as_somebody_who_must_be_recorded_is_there_and_without_a_recording_the_call_ends() {
    for method in ["INVITE", "UPDATE"] {
        for stalls in FAILURES {
            let (mut bench, tag) = talks(STRICT, TO_TRADER);
            bench.a_requests_in(&tag, 2, method, "", SDP);
            b_says(&mut bench, method, 200, TRADER, SDP);
            assert_eq!(bench.times("200 → A"), 0, "who asked waits");
            does_not_come(&mut bench, stalls);
            assert_eq!(bench.times("488 → A"), 1, "{:#?}", bench.story);
            assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (1, 1));
            assert_eq!(bench.gates(), [Gate::Shut]);
            if method == "INVITE" {
                assert_eq!(bench.times("ACK → B"), 1);
                bench.a_requests_in(&tag, 2, "ACK", "", "");
            }
            bench.a_answers("BYE", 200, "");
            b_says(&mut bench, "BYE", 200, "", "");
            bench.assert_nothing_left();
        }
    }
}

#[test]
fn who_hangs_up_or_gives_up_while_a_2xx_waits_leaves_nothing_open() {
    for hangs_up in ["A", "B", "nobody"] {
        let (mut bench, tag) = video_alone();
        bench.a_requests_in(&tag, 2, "INVITE", "", "");
        bench.b_answers("INVITE", 200, &with_video());
        match hangs_up {
            "A" => bench.a_requests_in(&tag, 3, "BYE", "", ""),
            "B" => bench.fork_requests("b-tag", 9, "BYE", "", ""),
            _ => bench.a_requests_in(&tag, 2, "CANCEL", "", ""),
        }
        if hangs_up == "nobody" {
            ready(&mut bench);
            assert_eq!(bench.response_to_a().status, 200);
            bench.a_requests_in(&tag, 2, "ACK", "", &with_video());
            bench.a_requests_in(&tag, 3, "BYE", "", "");
        } else {
            assert_eq!((bench.times("487 → A"), bench.times("ACK → B")), (1, 1));
            bench.a_requests_in(&tag, 2, "ACK", "", "");
        }
        match hangs_up {
            "B" => bench.a_answers("BYE", 200, ""),
            _ => b_says(&mut bench, "BYE", 200, "", ""),
        }
        bench.assert_nothing_left();
    }
}

#[test]
fn what_a_change_asked_for_is_forgotten_with_it() {
    // B refuses what waits for its recording; that fails afterwards.
    let (mut bench, tag) = video_alone();
    bench.a_requests_in(&tag, 2, "INVITE", KNOWS, "");
    b_says(&mut bench, "INVITE", 183, RELIABLE, &with_video());
    b_says(&mut bench, "INVITE", 488, "", "");
    bench.a_requests_in(&tag, 2, "ACK", "", "");
    does_not_come(&mut bench, false);
    assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
    assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (0, 0));
    bench.recorder_fails(Fault::Io);
    assert_eq!(bench.times("BYE → A"), 0, "nobody has to be recorded");
}

#[test]
fn who_does_not_even_say_that_it_stopped_is_let_go() {
    let (mut bench, tag) = video_alone();
    bench.a_requests_in(&tag, 2, "INVITE", KNOWS, "");
    b_says(&mut bench, "INVITE", 183, RELIABLE, &with_video());
    does_not_come(&mut bench, false);
    b_says(&mut bench, "CANCEL", 200, "", "");
    bench.wait(Duration::from_secs(33));
    assert_eq!(bench.gates(), [Gate::Shut]);
    assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (1, 1));
}

#[test]
fn a_restart_does_not_let_media_through_before_the_session_is_as_it_was() {
    for is_told in [false, true] {
        let (mut bench, tag) = video_alone();
        bench.a_requests_in(&tag, 2, "INVITE", "", "");
        bench.b_answers("INVITE", 200, &with_video());
        does_not_come(&mut bench, false);
        if is_told {
            bench.b_answers("INVITE", 491, "");
        }
        let mut after = Bench::with(&[("desk.toml", VIDEO_ALONE), ("grants.toml", GRANTS)]);
        after.now = bench.now + Duration::from_secs(2);
        after.to_a.clone_from(&bench.to_a);
        after.to_b.clone_from(&bench.to_b);
        for (session, state) in bench.remembered.clone() {
            after.input(Input::Resume { session, state });
        }
        assert_eq!(after.gates(), [Gate::Shut], "before or after its answer");
        after.wait(Duration::from_secs(20));
        assert_eq!(body_to_b(&after, "INVITE").matches("\r\nm=").count(), 2);
        b_says(&mut after, "INVITE", 200, "", SDP);
        assert_eq!(after.gates(), [Gate::Shut, Gate::Open]);
        assert!(!after.hears_video());
    }
}

#[test]
fn video_of_an_early_update_without_a_recording_is_refused_and_the_call_rings_on() {
    for stalls in FAILURES {
        let mut bench = Bench::with(&[("desk.toml", VIDEO_ALONE), ("grants.toml", GRANTS)]);
        bench.invite(SDP, KNOWS);
        bench.fork_answers("b-tag", 183, RELIABLE, SDP);
        let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
        bench.a_requests_in(&tag, 2, "PRACK", "RAck: 7 1 INVITE\r\n", "");
        b_says(&mut bench, "PRACK", 200, "", "");
        bench.recorder_answers = false;
        bench.a_requests_in(&tag, 3, "UPDATE", "", &with_video());
        does_not_come(&mut bench, stalls);
        assert_eq!(bench.response_to_a().status, 488, "{:#?}", bench.story);
        b_says(&mut bench, "INVITE", 200, "", "");
        bench.a_requests_in(&tag, 1, "ACK", "", "");
        assert_eq!(bench.times("ACK → B"), 1, "{:#?}", bench.story);
        assert_goes_on(bench, &tag);
    }
}
