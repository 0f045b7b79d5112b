//! What parties would like of the recording (RFC 7866 §6.1.3): noted, and heeded where a policy lets them pause.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{
    Indication, LeftOut, Leg, LineSet, Mark, MediaCommand, MediaEvent, PausedBy, Preference, RecordingCommand,
    RecordingEvent, Withholding,
};

use super::super::bench::{Bench, GRANTS, LENIENT, SDP, STRICT};
use super::{AWARE, call, marks, obey, pausable, pause, restarted, said, wish};

#[test]
fn a_wish_is_noted_and_changes_nothing_where_no_policy_lets_it() {
    let files = [
        STRICT.to_owned(),
        format!("{STRICT}[policy.pause]\nallowed = true\nby = [\"api\"]\n"),
    ];
    for policy in files {
        let mut bench = call(&policy, [true, false]);
        bench.a_requests(2, "INVITE", "wish", &wish("off"));
        bench.b_agrees("INVITE", 200, SDP);
        assert_eq!(
            said(&bench.response_to_a().body).0,
            Some("on"),
            "and is told what is so"
        );
        bench.a_requests(2, "ACK", "ack2", "");
        bench.a_requests(3, "INVITE", "wish2", &wish("pause"));
        bench.b_agrees("INVITE", 200, SDP);
        bench.a_requests(3, "ACK", "ack3", "");
        let is_pausing =
            |command: &MediaCommand| matches!(command, MediaCommand::Pausing { pausing, .. } if pausing.is_paused);
        assert!(!bench.media.iter().any(is_pausing));
        let wishes = [Preference::Off, Preference::Pause].map(|preference| Mark::Preferred {
            leg: Leg::A,
            preference,
            lines: Vec::new(),
        });
        assert_eq!(marks(&bench)[1..], wishes);
    }
}

fn assert_paused_by_wish(bench: &mut Bench) {
    obey(bench);
    let is_so = bench.story.contains(&"paused by the wish of A".to_owned());
    assert!(is_so, "{:?}", bench.story);
}

#[test]
fn who_may_pause_does_so_by_its_wish_and_hears_that_it_is_so() {
    let mut bench = call(&pausable(), [true, false]);
    bench.a_requests(2, "INVITE", "wish", &wish("pause"));
    bench.b_agrees("INVITE", 200, SDP);
    bench.a_requests(2, "ACK", "ack2", "");
    assert_paused_by_wish(&mut bench);
    assert_eq!(said(&bench.request_to_a("INVITE").body).0, Some("paused"));
    bench.a_answers("INVITE", 200, &wish("pause"));
    bench.a_requests(3, "INVITE", "wish2", &wish("on"));
    bench.b_agrees("INVITE", 200, SDP);
    bench.a_requests(3, "ACK", "ack3", "");
    obey(&mut bench);
    assert!(bench.recording.iter().any(|command| matches!(
        command,
        RecordingCommand::Mark {
            mark: Mark::RecordingResumed {
                by: PausedBy::Preference { leg: Leg::A }
            },
            ..
        }
    )));
    assert_eq!(said(&bench.request_to_a("INVITE").body).0, Some("on"));
}

/// What the live lines of a description say of the recording.
fn each(body: &[u8]) -> Vec<&str> {
    let lines = std::str::from_utf8(body).unwrap().lines();
    lines.filter_map(|line| line.strip_prefix("a=record:")).collect()
}

#[test]
fn a_wish_for_one_line_pauses_that_line_alone_and_for_no_longer_than_any_pause() {
    let video = "m=video 5004 RTP/AVP 31\r\n";
    let answered = format!("{SDP}{video}");
    let begun = |wishes: &str| {
        let mut bench = Bench::with(&[("desk.toml", &pausable()), ("grants.toml", GRANTS)]);
        bench.invite(&format!("{SDP}{video}{wishes}"), AWARE);
        bench.b_answers("INVITE", 200, &answered);
        bench.a_requests(1, "ACK", "ack1", "");
        bench
    };
    let withheld = |bench: &Bench| {
        let told = bench.media.iter().rev().find_map(|command| match command {
            MediaCommand::Pausing { pausing, .. } => Some(*pausing),
            _ => None,
        });
        told.map(|told| (told.is_paused, told.withheld)).unwrap_or_default()
    };
    let one = LineSet::NONE.with(1);
    let mut bench = begun("a=recordpref:pause\r\n");
    assert_eq!(withheld(&bench), (false, [one, one]), "both ways");
    let (preference, lines) = (Preference::Pause, vec![Preference::None, Preference::Pause]);
    let leg = Leg::A;
    assert!(marks(&bench).contains(&Mark::Preferred { leg, preference, lines }));
    let (session, at) = (bench.session(), bench.now);
    for leg in Leg::BOTH {
        bench.input(Input::Media(MediaEvent::Withheld {
            session,
            leg,
            lines: one,
            at,
        }));
    }
    assert_eq!(each(&bench.request_to_a("INVITE").body), ["on", "paused"]);
    bench.a_answers("INVITE", 200, &format!("{SDP}{video}a=recordpref:pause\r\n"));
    let paused = vec![1];
    let recording = Indication::On;
    assert!(marks(&bench).contains(&Mark::Indicated { leg, recording, paused }));
    let out = Mark::LeftOut {
        leg,
        what: LeftOut::Lines(vec![1]),
        why: Withholding::Preference,
    };
    let is_out = |command: &RecordingCommand| matches!(command, RecordingCommand::Mark { mark, .. } if *mark == out);
    assert!(bench.recording.iter().any(is_out));
    bench.wait(Duration::from_secs(121));
    assert_eq!(withheld(&bench), (false, [LineSet::NONE; 2]));

    assert_eq!(withheld(&begun("a=recordpref:off\r\n")), (false, [LineSet::NONE; 2]));
    let whole = begun("").media.len();
    assert!(whole > 0, "and nobody who wishes nothing");
}

#[test]
fn a_wish_said_in_the_first_invite_is_heeded_when_the_call_talks() {
    let mut bench = Bench::with(&[("desk.toml", &pausable()), ("grants.toml", GRANTS)]);
    bench.invite(&wish("pause"), "");
    assert!(
        String::from_utf8_lossy(&bench.request_to_b("INVITE").body).contains("a=recordpref:pause"),
        "it is B's to know, too"
    );
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_paused_by_wish(&mut bench);
}

#[test]
fn a_wish_from_before_a_restart_ends_no_pause_after_it() {
    let mut before = call(&pausable(), [true, false]);
    before.a_requests(2, "INVITE", "wish", &wish("on"));
    before.b_agrees("INVITE", 200, SDP);
    before.a_requests(2, "ACK", "ack2", "");
    pause(&mut before);
    before.a_answers("INVITE", 200, &wish("on"));
    let bench = restarted(&before);
    let is_paused = |command: &MediaCommand| match command {
        MediaCommand::Pausing { pausing, .. } => Some(pausing.is_paused),
        _ => None,
    };
    assert_eq!(bench.media.iter().rev().find_map(is_paused), Some(true));
    assert!(marks(&bench).iter().all(|mark| !matches!(mark, Mark::Preferred { .. })));
}

#[test]
fn a_wish_that_came_before_the_recording_is_heeded_once_it_is_open() {
    let policy = format!("{LENIENT}[policy.pause]\nallowed = true\nfrom = \"both\"\n");
    let mut bench = Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)]);
    bench.recorder_answers = false;
    bench.invite(&wish("pause"), "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let session = bench.session();
    bench.input(Input::Recording(RecordingEvent::Ready { session }));
    assert_paused_by_wish(&mut bench);
}
