//! Calls beyond the end of the process.

use std::time::Duration;

use onrecord::engine::{Input, STATE_BYTES_MAX};
use onrecord::model::{Fault, MediaCommand, Outcome, Recorded, RecordingCommand};

use super::bench::{Bench, SDP};

fn opened(bench: &Bench) -> Vec<&MediaCommand> {
    let is_open = |command: &&MediaCommand| matches!(command, MediaCommand::Open(_));
    bench.media.iter().filter(is_open).collect()
}

#[test]
fn a_call_goes_on_after_a_crash_with_a_new_recording_before_its_first_packet() {
    let mut before = Bench::strict();
    before.invite(SDP, "");
    let MediaCommand::Open(plan_before) = before.media[0].clone() else {
        panic!("{:?}", before.media)
    };
    let before = {
        before.b_answers("INVITE", 200, SDP);
        before.a_requests(1, "ACK", "ack1", "");
        before
    };
    let session = before.session();

    let mut bench = Bench::strict();
    bench.recorder_answers = false;
    let mut bench = before.goes_on_as(bench);
    assert!(bench.media.is_empty(), "media before its recording: {:?}", bench.media);
    let RecordingCommand::Open(header) = &bench.recording[0] else {
        panic!("{:?}", bench.recording)
    };
    assert_ne!(header.session, session);
    let resumed = header.session;
    assert_eq!(
        bench.remembered.keys().collect::<Vec<_>>(),
        [&resumed],
        "the old state is forgotten, the new one kept"
    );

    bench.input(Input::Recording(onrecord::model::RecordingEvent::Ready {
        session: resumed,
    }));
    let [MediaCommand::Open(plan)] = opened(&bench)[..] else {
        panic!("{:?}", bench.media)
    };
    assert_eq!(plan.recorded, Recorded::Strict);
    assert_eq!(
        plan.lines[0].a.local, plan_before.lines[0].a.local,
        "the ports that the peers know"
    );
    assert!(plan.lines[0].a.remote.is_some() && plan.lines[0].b.remote.is_some());

    bench.recorder_answers = true;
    bench.a_requests(7, "BYE", "bye", "");
    let bye = bench.request_to_b("BYE");
    assert_eq!(bye.headers.to().tag(), Some("b-tag"));
    assert!(bye.headers.cseq().number > 1);
    bench.b_answers("BYE", 200, "");
    assert!(bench.remembered.is_empty());
    bench.assert_nothing_left();
}

#[test]
fn a_strict_call_that_cannot_be_recorded_after_the_restart_is_ended_on_both_legs() {
    let before = Bench::strict().connected();
    let mut after = Bench::strict();
    after.recorder_fails(Fault::DiskFull);
    let mut bench = before.goes_on_as(after);
    for bye in [bench.request_to_a("BYE"), bench.request_to_b("BYE")] {
        let reasons: Vec<&str> = bye.headers.get_all("Reason").collect();
        assert!(reasons[0].contains("Recording lost"), "{reasons:?}");
    }
    assert!(opened(&bench).is_empty());
    assert!(bench.remembered.is_empty());
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_call_without_a_policy_goes_on_at_once() {
    let before = Bench::unrecorded().connected();
    let mut bench = before.goes_on_as(Bench::unrecorded());
    assert_eq!(opened(&bench).len(), 1);
    bench.b_requests(3, "BYE", "bye", "");
    assert_eq!(bench.request_to_a("BYE").headers.to().tag(), Some("a-tag"));
    bench.a_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_call_that_its_peers_forgot_meanwhile_is_ended_when_they_are_asked() {
    let before = Bench::strict().connected();
    let mut bench = before.goes_on_as(Bench::strict());
    bench.wait(Duration::from_secs(8));
    bench.a_answers("INVITE", 481, "");
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("b-tag"));
    bench.b_answers("BYE", 200, "");
    bench.a_answers("BYE", 481, "");
    bench.assert_nothing_left();
}

#[test]
fn a_call_whose_ports_are_taken_is_ended_on_both_legs() {
    let before = Bench::strict().connected();
    let (session, state) = before.remembered.iter().next().unwrap();
    let mut bench = before.goes_on_as(Bench::strict());
    // Another call that had the same ports.
    let mut other: serde_json::Value = serde_json::from_slice(state).unwrap();
    for leg in other["legs"].as_array_mut().unwrap() {
        leg["local_tag"] = format!("other-{}", leg["local_tag"].as_str().unwrap()).into();
    }
    bench.input(Input::Resume {
        session: *session,
        state: serde_json::to_vec(&other).unwrap().into(),
    });
    assert_eq!(bench.request_to_a("BYE").headers.to().tag(), Some("a-tag"));
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("b-tag"));
}

#[test]
fn a_call_that_was_written_twice_goes_on_once() {
    let before = Bench::strict().connected();
    let (session, state) = before.remembered.iter().next().unwrap();
    let mut bench = before.goes_on_as(Bench::strict());
    let calls = bench.signaling.calls();
    bench.input(Input::Resume {
        session: *session,
        state: state.clone(),
    });
    assert_eq!(bench.signaling.calls(), calls);
    bench.a_requests(7, "BYE", "bye", "");
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("b-tag"));
}

#[test]
fn what_was_written_by_another_version_or_is_damaged_is_forgotten() {
    let before = Bench::strict().connected();
    let (session, state) = before.remembered.iter().next().unwrap();
    let mut bench = Bench::strict();
    for state in [&state[..state.len() / 2], b"{}", b""] {
        let state = bytes::Bytes::copy_from_slice(state);
        bench.remembered.insert(*session, state.clone());
        bench.input(Input::Resume {
            session: *session,
            state,
        });
        assert!(bench.remembered.is_empty());
    }
    bench.assert_nothing_left();
}

#[test]
fn a_call_that_is_handed_over_hears_nothing_and_its_recording_is_sealed() {
    let mut bench = Bench::strict().connected();
    let (to_a, to_b) = (bench.to_a.len(), bench.to_b.len());
    bench.input(Input::HandOver);
    bench.input(Input::ShutDown);
    assert_eq!((bench.to_a.len(), bench.to_b.len()), (to_a, to_b), "a word to a peer");
    let closing = bench.recording.iter().find_map(|command| match command {
        RecordingCommand::Close { closing, .. } => Some(closing.outcome),
        _ => None,
    });
    assert_eq!(closing, Some(Outcome::Recorded));
    assert_eq!(bench.remembered.len(), 1, "the next start needs it");
    bench.a_requests(2, "BYE", "bye", "");
    assert_eq!(bench.to_a.len(), to_a, "the next process answers");
    let mut after = bench.goes_on_as(Bench::strict());
    after.a_requests(2, "BYE", "bye", "");
    assert_eq!(after.request_to_b("BYE").headers.to().tag(), Some("b-tag"));
}

#[test]
fn a_call_whose_state_was_not_kept_is_ended_by_a_hand_over_unless_it_was_told_again() {
    for is_told_again in [false, true] {
        let mut bench = Bench::strict().connected();
        let session = *bench.remembered.keys().next().unwrap();
        bench.remembered.clear();
        bench.input(Input::NotKept { session });
        assert!(bench.remembered.is_empty(), "a full store is not asked again at once");
        if is_told_again {
            bench.a_requests(2, "INFO", "info1", "");
            assert_eq!(bench.remembered.len(), 1);
            bench.b_answers("INFO", 200, "");
        }
        bench.story.clear();
        bench.input(Input::HandOver);
        bench.input(Input::ShutDown);
        let byes = bench.story.iter().filter(|rung| rung.starts_with("BYE")).count();
        assert_eq!(byes, if is_told_again { 0 } else { 2 }, "{:?}", bench.story);
    }
}

#[test]
fn a_call_whose_state_is_too_long_is_told_again_once_it_is_shorter() {
    let byes = |bench: &mut Bench| {
        bench.story.clear();
        bench.input(Input::HandOver);
        bench.input(Input::ShutDown);
        bench.story.iter().filter(|rung| rung.starts_with("BYE")).count()
    };
    let reinvites = |bench: &mut Bench, cseq: u32, sdp: &str| {
        bench.a_requests(cseq, "INVITE", &format!("re{cseq}"), sdp);
        bench.b_answers("INVITE", 200, SDP);
        bench.a_requests(cseq, "ACK", &format!("ack{cseq}"), "");
    };
    let long = format!("{SDP}a=x:{}\r\n", "x".repeat(STATE_BYTES_MAX));
    for becomes_shorter in [false, true] {
        let mut bench = Bench::strict();
        bench.invite(&long, "");
        bench.b_answers("INVITE", 200, SDP);
        bench.a_requests(1, "ACK", "ack1", "");
        let session = *bench.remembered.keys().next().unwrap();
        assert!(bench.remembered[&session].len() > STATE_BYTES_MAX);
        bench.input(Input::NotKept { session });
        assert!(bench.remembered.is_empty(), "nor is an older state kept");
        bench.a_requests(2, "INFO", "info1", "");
        bench.b_answers("INFO", 200, "");
        assert!(bench.remembered.is_empty(), "nothing has changed");
        reinvites(&mut bench, 3, &long);
        assert!(bench.remembered.is_empty(), "changed, and as long as before");
        if becomes_shorter {
            reinvites(&mut bench, 4, SDP);
            assert!(bench.remembered[&session].len() <= STATE_BYTES_MAX);
        }
        assert_eq!(
            byes(&mut bench),
            if becomes_shorter { 0 } else { 2 },
            "{:?}",
            bench.story
        );
    }
}

#[test]
fn a_call_that_rings_cannot_be_handed_over_and_is_ended() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    assert!(bench.remembered.is_empty());
    bench.input(Input::HandOver);
    bench.input(Input::ShutDown);
    assert_eq!(bench.response_to_a().status, 503);
    assert_eq!(bench.request_to_b("CANCEL").method.as_str(), "CANCEL");
}

#[test]
fn a_session_timer_goes_on_and_asks_soon_whether_anybody_is_still_there() {
    let mut before = Bench::strict();
    before.invite(SDP, "");
    before.b_answers("INVITE", 200, SDP);
    before.a_requests(1, "ACK", "ack1", "");
    let mut bench = before.goes_on_as(Bench::strict());
    bench.story.clear();
    bench.wait(Duration::from_secs(30));
    let mut asked = bench.story.clone();
    asked.sort();
    assert_eq!(asked, ["INVITE → A", "INVITE → B"]);
    bench.a_answers("INVITE", 200, SDP);
    bench.b_answers("INVITE", 481, "");
    assert!(bench.story.contains(&"BYE → A".to_owned()), "{:?}", bench.story);
    bench.assert_nothing_left();
}

#[test]
fn a_hand_over_ends_what_rings_at_once_and_whoever_talks_goes_on_until_its_peers_have_had_their_time() {
    let mut ringing = Bench::strict();
    ringing.invite(SDP, "");
    ringing.b_answers("INVITE", 180, "");
    ringing.input(Input::HandOver);
    assert_eq!(ringing.response_to_a().status, 503);
    let is_closed = |bench: &Bench| {
        let mut commands = bench.recording.iter();
        commands.any(|command| matches!(command, RecordingCommand::Close { .. }))
    };
    let mut talking = Bench::strict().connected();
    talking.input(Input::HandOver);
    assert!(!is_closed(&talking), "the recording ends with the process, not before");
    talking.a_requests(2, "INFO", "info1", "");
    talking.b_answers("INFO", 200, "");
    assert_eq!(talking.response_to_a().status, 200);
    talking.input(Input::ShutDown);
    assert!(is_closed(&talking));
}

#[test]
fn peers_that_do_not_answer_are_not_waited_for_once_they_are_abandoned_and_the_recording_is_closed() {
    let mut bench = Bench::strict().connected();
    bench.remembered.clear();
    bench.input(Input::NotKept {
        session: bench.session(),
    });
    bench.input(Input::HandOver);
    assert_eq!(bench.request_to_b("BYE").method.as_str(), "BYE");
    bench.input(Input::ShutDown);
    let is_closed = |bench: &Bench| {
        let mut commands = bench.recording.iter();
        commands.any(|command| matches!(command, RecordingCommand::Close { .. }))
    };
    assert!(!is_closed(&bench), "a 200 to the BYE may come");
    bench.input(Input::Abandon);
    assert!(is_closed(&bench));
    bench.assert_nothing_left();
}

#[test]
fn a_call_whose_change_is_not_answered_is_handed_over_as_it_was_and_who_asked_may_ask_again() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "re2", SDP);
    bench.request_to_b("INVITE");
    bench.input(Input::HandOver);
    bench.story.clear();
    bench.input(Input::ShutDown);
    assert_eq!(bench.response_to_a().status, 491);
    assert!(
        !bench.story.iter().any(|rung| rung.starts_with("BYE")),
        "{:?}",
        bench.story
    );
    assert_eq!(bench.remembered.len(), 1, "the next start needs it");
    let mut after = bench.goes_on_as(Bench::strict());
    after.a_requests(3, "INVITE", "re3", SDP);
    after.b_answers("INVITE", 200, SDP);
    assert_eq!(after.response_to_a().status, 200);
}
