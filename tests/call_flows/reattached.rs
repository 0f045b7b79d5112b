//! Recordings that could not be opened, and are asked for again: below the reserve, and after any other refusal.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, Outcome, Recorded, RecordingCommand, RecordingEvent};

use super::bench::{ALL_STRICT, Bench, GRANTS, LENIENT, SDP, STRICT};
use super::party::ALICE;

fn tell(bench: &mut Bench, event: RecordingEvent) {
    bench.input(Input::Recording(event));
}

fn ping(bench: &mut Bench) -> u16 {
    bench.requests(
        "OPTIONS",
        ALICE,
        "sip:127.0.0.1:5070",
        &format!("ping-{:?}", bench.now),
        "",
        "",
    );
    bench.response_to_a().status
}

#[test]
fn a_lenient_call_begun_below_the_reserve_is_recorded_within_a_second_of_room() {
    let mut bench = Bench::lenient();
    tell(&mut bench, RecordingEvent::Reserve { crossed: true });
    let mut bench = bench.connected();
    bench.wait(Duration::from_secs(30));
    assert_eq!(bench.sessions(), [], "nothing is asked of a recorder that refuses");
    tell(&mut bench, RecordingEvent::Reserve { crossed: false });
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.sessions().len(), 1);
    assert_eq!(bench.recorded(), Some(Recorded::Lenient));
    bench.a_requests(2, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
    let outcome = bench.recording.iter().rev().find_map(|command| match command {
        RecordingCommand::Close { closing, .. } => Some((closing.outcome, closing.fault)),
        _ => None,
    });
    assert_eq!(
        outcome,
        Some((Outcome::Faulted, Some(Fault::Reserve))),
        "its beginning lacks"
    );
}

#[test]
fn an_emergency_call_begun_below_the_reserve_is_recorded_when_there_is_room() {
    let mut bench = Bench::strict();
    tell(&mut bench, RecordingEvent::Reserve { crossed: true });
    bench.requests(
        "INVITE",
        ALICE,
        "urn:service:sos",
        "sos-1",
        "Content-Type: application/sdp\r\n",
        SDP,
    );
    assert!(!bench.to_b.is_empty(), "it is never refused");
    assert_eq!(bench.sessions(), []);
    tell(&mut bench, RecordingEvent::Reserve { crossed: false });
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.sessions().len(), 1);
}

#[test]
fn a_refused_opening_is_asked_for_again_each_second_and_no_more_often() {
    let mut bench = Bench::lenient();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    for n in 1..=10 {
        let (session, fault) = (bench.session(), Fault::QueueFull);
        tell(&mut bench, RecordingEvent::OpenFailed { session, fault });
        bench.wait(Duration::from_secs(1));
        assert_eq!(bench.sessions().len(), n + 1);
    }
    bench.recorder_answers = true;
    let session = bench.session();
    tell(&mut bench, RecordingEvent::Ready { session });
    bench.wait(Duration::from_secs(30));
    assert_eq!(bench.sessions().len(), 11);
}

#[test]
fn below_the_reserve_options_say_so_before_any_call_fails_and_no_longer_than_it_lasts() {
    let mut bench = Bench::with(&ALL_STRICT);
    assert_eq!(ping(&mut bench), 200);
    tell(&mut bench, RecordingEvent::Reserve { crossed: true });
    assert_eq!(ping(&mut bench), 503);
    bench.invite(SDP, "");
    assert_eq!(bench.response_to_a().status, 503);
    assert!(bench.to_b.is_empty() && bench.sessions().is_empty());
    tell(&mut bench, RecordingEvent::Up);
    assert_eq!(ping(&mut bench), 503, "that it writes is not that it has room");
    tell(&mut bench, RecordingEvent::Reserve { crossed: false });
    assert_eq!(ping(&mut bench), 200);
}

#[test]
fn a_call_that_is_recorded_goes_on_below_the_reserve_and_is_sent_on() {
    for policy in [STRICT, LENIENT] {
        let mut bench = Bench::with(&[("desk.toml", policy), ("grants.toml", GRANTS)]).connected();
        tell(&mut bench, RecordingEvent::Reserve { crossed: true });
        bench.a_requests(2, "UPDATE", "u1", "");
        bench.b_answers("UPDATE", 200, "");
        assert_eq!(bench.response_to_a().status, 200);
        bench.wait(Duration::from_secs(10));
        assert_eq!(bench.sessions().len(), 1);
        assert!(
            !bench.story.iter().any(|rung| rung.starts_with("BYE")),
            "{:?}",
            bench.story
        );
    }
}
