//! A recording is paused, as its policies allow, and goes on again.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{
    Fault, Leg, Mark, MediaCommand, MediaEvent, PausedBy, Pausing, RecordingCommand, SessionId, Timestamp,
};

use super::bench::{Bench, GRANTS, SDP, STRICT};

/// Strict, and what `[policy.pause]` says.
fn bench(pause: &str) -> Bench {
    let policy = format!("{STRICT}[policy.pause]\nallowed = true\n{pause}\n");
    Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)]).connected()
}

/// What the relay was told of pausing since the last time, and does.
fn obeyed(bench: &mut Bench) -> Vec<Pausing> {
    let told = |command: &MediaCommand| match command {
        MediaCommand::Pausing { pausing, .. } => Some(*pausing),
        _ => None,
    };
    let told: Vec<Pausing> = bench.media.iter().filter_map(told).collect();
    bench.media.clear();
    for pausing in &told {
        let (session, at) = (bench.session(), bench.now);
        let done = if pausing.is_paused {
            MediaEvent::Paused { session, at }
        } else {
            MediaEvent::Unpaused { session, at }
        };
        bench.input(Input::Media(done));
    }
    told
}

fn is_paused(bench: &mut Bench) -> Option<bool> {
    obeyed(bench).last().map(|pausing| pausing.is_paused)
}

fn marks(bench: &Bench) -> Vec<(Timestamp, Mark)> {
    let mark = |command: &RecordingCommand| match command {
        RecordingCommand::Mark { at, mark, .. } => Some((*at, mark.clone())),
        _ => None,
    };
    let of_pauses =
        |mark: &(Timestamp, Mark)| matches!(mark.1, Mark::RecordingPaused { .. } | Mark::RecordingResumed { .. });
    bench.recording.iter().filter_map(mark).filter(of_pauses).collect()
}

fn pause(session: SessionId, why: &str) -> Input {
    Input::PauseRecording {
        session,
        why: Some(why.to_owned()),
    }
}

fn press(bench: &mut Bench, leg: Leg, keys: &str) {
    let session = bench.session();
    for key in keys.chars() {
        bench.wait(Duration::from_millis(300)); // a heartbeat of the recorder
        bench.input(Input::Media(MediaEvent::Key { session, leg, key }));
    }
    bench.wait(Duration::from_millis(600));
}

/// A's INFO, with more header lines or with a body.
fn info(bench: &mut Bench, cseq: u32, more: &str, (media_type, body): (&str, &str)) {
    if more.is_empty() {
        bench.a_requests_typed(cseq, "INFO", &format!("info{cseq}"), media_type, body);
    } else {
        let ours = bench.response_to_a().headers.to().tag().unwrap().to_owned();
        bench.a_requests_in(&ours, cseq, "INFO", more, "");
    }
}

#[test]
fn the_operator_pauses_and_the_timer_lets_it_go_on() {
    let mut bench = bench("resume_after = \"90s\"");
    let session = bench.session();
    bench.input(pause(session, "card\u{7} number"));
    assert_eq!(is_paused(&mut bench), Some(true));
    let since = bench.now;
    bench.wait(Duration::from_secs(89));
    assert_eq!(is_paused(&mut bench), None);
    bench.wait(Duration::from_secs(2));
    assert_eq!(is_paused(&mut bench), Some(false));
    let [(at, paused), (_, resumed)] = &marks(&bench)[..] else {
        panic!("{:?}", marks(&bench))
    };
    assert_eq!(*at, since);
    let why = Some("card number".to_owned());
    let by = PausedBy::Operator;
    assert_eq!(*paused, Mark::RecordingPaused { by, why });
    assert_eq!(*resumed, Mark::RecordingResumed { by: PausedBy::Timer });
    assert_eq!(bench.story, ["paused by the operator", "goes on by the timer"]);
}

#[test]
fn nobody_pauses_what_its_policy_does_not_let_be_paused() {
    for policy in [
        STRICT.to_owned(),
        format!("{STRICT}[policy.pause]\nallowed = true\nby = [\"dtmf\"]\n"),
    ] {
        let mut bench = Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)]).connected();
        let session = bench.session();
        bench.input(pause(session, ""));
        assert_eq!(is_paused(&mut bench), None);
        assert!(marks(&bench).is_empty());
    }
}

#[test]
fn a_call_that_nobody_has_answered_is_not_paused() {
    let policy = format!("{STRICT}[policy.pause]\nallowed = true\n");
    let mut bench = Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)]);
    bench.invite(SDP, "");
    let session = bench.session();
    bench.input(pause(session, ""));
    assert_eq!(is_paused(&mut bench), None);
}

#[test]
fn of_what_is_typed_in_a_pause_nothing_is_kept_and_of_the_rest_all() {
    let mut bench = bench("");
    let session = bench.session();
    bench.input(pause(session, ""));
    obeyed(&mut bench);
    bench
        .recording
        .retain(|command| matches!(command, RecordingCommand::Open(_)));
    info(
        &mut bench,
        2,
        "",
        ("application/dtmf-relay", "Signal=4\r\nDuration=160\r\n"),
    );
    assert_eq!(
        bench.request_to_b("INFO").body,
        "Signal=4\r\nDuration=160\r\n",
        "it crosses"
    );
    bench.b_answers("INFO", 200, "");
    let kept = |bench: &Bench| {
        let signals = bench
            .recording
            .iter()
            .filter(|c| matches!(c, RecordingCommand::Signal { .. }));
        format!("{:?}", signals.collect::<Vec<_>>())
    };
    assert_eq!(kept(&bench), "[]");
    bench.a_requests(3, "INVITE", "hold", &SDP.replace("sendrecv", "sendonly"));
    assert!(kept(&bench).contains("sendonly"), "what makes the call is kept");

    bench.input(Input::ResumeRecording { session });
    assert_eq!(is_paused(&mut bench), Some(false));
    bench.b_answers("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
    bench.a_requests(3, "ACK", "ack-hold", "");
    info(
        &mut bench,
        4,
        "",
        ("application/dtmf-relay", "Signal=7\r\nDuration=160\r\n"),
    );
    assert!(kept(&bench).contains("Signal=7"));
}

#[test]
fn the_code_of_the_policy_pauses_and_goes_on_from_the_party_that_has_the_policy() {
    let policy = format!("{STRICT}[policy.pause]\nallowed = true\ndtmf = \"*9\"\n");
    let grants = "[[grant]]\npolicy = \"desk\"\nto = [\"user:alice@example.com\"]\n";
    let mut bench = Bench::with(&[("desk.toml", &policy), ("grants.toml", grants)]);
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let listened: Vec<Pausing> = bench
        .media
        .iter()
        .filter_map(|c| match c {
            MediaCommand::Pausing { pausing, .. } => Some(*pausing),
            _ => None,
        })
        .collect();
    let keys = [true, false];
    let only_keys = Pausing {
        keys,
        ..Pausing::default()
    };
    assert_eq!(listened, [only_keys]);
    bench.media.clear();

    press(&mut bench, Leg::B, "*9");
    assert_eq!(is_paused(&mut bench), None, "a customer stops no recording");
    press(&mut bench, Leg::A, "12*");
    bench.wait(Duration::from_secs(5));
    press(&mut bench, Leg::A, "9");
    assert_eq!(is_paused(&mut bench), None, "too slow to be a code");
    press(&mut bench, Leg::A, "12*9");
    assert_eq!(is_paused(&mut bench), Some(true));
    press(&mut bench, Leg::A, "4929123412341234");
    assert_eq!(is_paused(&mut bench), None);
    press(&mut bench, Leg::A, "*9");
    assert_eq!(is_paused(&mut bench), Some(false));
    let by = PausedBy::Keys { leg: Leg::A };
    assert_eq!(bench.story.last().unwrap(), &format!("goes on by {by}"));
}

#[test]
fn a_phone_that_sends_keys_both_ways_presses_them_once() {
    let mut bench = bench("dtmf = \"*9\"\nfrom = \"both\"");
    let session = bench.session();
    for (cseq, key) in [(2, '*'), (3, '9')] {
        bench.input(Input::Media(MediaEvent::Key {
            session,
            leg: Leg::A,
            key,
        }));
        info(&mut bench, cseq, "", ("application/dtmf", &key.to_string()));
        bench.b_answers("INFO", 200, "");
    }
    assert_eq!(obeyed(&mut bench).len(), 1, "paused, and not at once resumed");
}

#[test]
fn a_phone_says_record_off_and_record_on_and_we_answer_it() {
    let mut bench = bench("from = \"caller\"");
    info(&mut bench, 2, "Record: off\r\n", ("", ""));
    assert_eq!(is_paused(&mut bench), Some(true));
    assert_eq!(bench.response_to_a().status, 200);
    assert!(
        bench
            .to_b
            .iter()
            .all(|message| !format!("{message:?}").contains("INFO")),
        "it was for us"
    );
    info(&mut bench, 3, "Record: ON\r\n", ("", ""));
    assert_eq!(is_paused(&mut bench), Some(false));

    bench.fork_requests("b-tag", 2, "INFO", "Record: off\r\n", "");
    assert_eq!(is_paused(&mut bench), None);
    assert_eq!(bench.response_to_b().status, 403, "the policy names the caller");
}

#[test]
fn where_info_may_not_pause_it_crosses_as_ever() {
    let mut bench = bench("by = [\"api\"]");
    info(&mut bench, 2, "Record: off\r\n", ("", ""));
    assert_eq!(is_paused(&mut bench), None);
    bench.request_to_b("INFO");
}

#[test]
fn a_recorder_that_fails_in_a_pause_ends_a_strict_call() {
    let mut bench = bench("");
    let session = bench.session();
    bench.input(pause(session, ""));
    obeyed(&mut bench);
    bench.recorder_fails(Fault::Io);
    assert!(bench.story.contains(&"BYE → A".to_owned()) && bench.story.contains(&"BYE → B".to_owned()));
}

#[test]
fn a_call_is_not_paused_without_end() {
    let mut bench = bench("");
    let session = bench.session();
    let mut pauses = 0;
    for _ in 0..150 {
        bench.input(pause(session, ""));
        pauses += usize::from(is_paused(&mut bench) == Some(true));
        bench.input(Input::ResumeRecording { session });
        obeyed(&mut bench);
    }
    assert_eq!(pauses, 100);
}

#[test]
fn a_pause_outlives_the_process() {
    let mut before = bench("resume_after = \"20s\"");
    let session = before.session();
    before.input(pause(session, ""));
    obeyed(&mut before);
    let policy = format!("{STRICT}[policy.pause]\nallowed = true\n");
    let mut after = Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)]);
    after.now = before.now + Duration::from_secs(2);
    let (session, state) = before.remembered.pop_first().unwrap();
    after.input(Input::Resume { session, state });
    let opened = after
        .media
        .iter()
        .position(|c| matches!(c, MediaCommand::Open(_)))
        .unwrap();
    assert!(
        matches!(after.media[opened + 1], MediaCommand::Pausing { pausing, .. } if pausing.is_paused),
        "nothing is kept in between: {:?}",
        after.media
    );
    obeyed(&mut after);
    let by = PausedBy::Restart;
    assert_eq!(marks(&after)[0].1, Mark::RecordingPaused { by, why: None });
    after.wait(Duration::from_secs(19));
    assert_eq!(is_paused(&mut after), Some(false), "the time runs on");
}

#[test]
fn a_paused_call_that_ends_leaves_nothing() {
    let mut bench = bench("");
    let session = bench.session();
    bench.input(pause(session, ""));
    obeyed(&mut bench);
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}
