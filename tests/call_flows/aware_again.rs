//! What a party was told of the recording by an offer that came to nothing, and what it wished while there was no recording (RFC 7866).

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, Indication, Leg, RecordingEvent};

use super::aware::{call, invites, marks, obey, said, told, wish};
use super::bench::{A, Bench, GRANTS, LENIENT, SDP, answer};

/// B, who reads it, was told of a gap that has just closed; it is not told yet that there is a recording again.
fn behind() -> Bench {
    let mut bench = call(LENIENT, [false, true]);
    bench.b_agrees("INVITE", 200, SDP);
    bench.wait(Duration::from_secs(10));
    bench.recorder_lives = false;
    bench.recorder_fails(Fault::DiskFull);
    bench.wait(Duration::from_millis(3_100));
    assert_eq!(said(&bench.request_to_b("INVITE").body).0, Some("off"));
    bench.b_agrees("INVITE", 200, SDP);
    bench.recorder_lives = true;
    bench.input(Input::Recording(RecordingEvent::Up));
    bench.wait(Duration::from_millis(300));
    assert_eq!(marks(&bench).last(), Some(&told(Leg::B, Indication::Off)));
    bench
}

fn is_told_again(bench: &mut Bench) {
    assert_eq!(
        marks(bench).last(),
        Some(&told(Leg::B, Indication::Off)),
        "it has refused to hear it"
    );
    let asked = invites(&bench.to_b).len();
    bench.wait(Duration::from_millis(3_100));
    assert_eq!(invites(&bench.to_b).len(), asked + 1);
    assert_eq!(said(&bench.request_to_b("INVITE").body).0, Some("on"));
    assert_eq!(
        marks(bench).last(),
        Some(&told(Leg::B, Indication::Off)),
        "not before it has accepted"
    );
    bench.b_agrees("INVITE", 200, SDP);
    assert_eq!(marks(bench).last(), Some(&told(Leg::B, Indication::On)));
}

#[test]
fn who_refuses_an_offer_that_told_it_is_told_again_and_the_recording_does_not_say_that_it_knows() {
    for status in [491, 488] {
        let mut bench = behind();
        bench.a_requests(2, "INVITE", "re2", SDP);
        assert_eq!(said(&bench.request_to_b("INVITE").body).0, Some("on"));
        bench.b_agrees("INVITE", status, "");
        assert_eq!(bench.response_to_a().status, status);
        is_told_again(&mut bench);
    }
}

#[test]
fn so_is_who_refuses_it_after_a_reliable_183() {
    let mut bench = behind();
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 2, "INVITE", "Supported: 100rel\r\n", SDP);
    bench.fork_answers("b-tag", 183, "Require: 100rel\r\nRSeq: 9\r\n", SDP);
    bench.a_requests_in(&tag, 3, "PRACK", "RAck: 9 2 INVITE\r\n", "");
    bench.b_agrees("PRACK", 200, "");
    let asked = invites(&bench.to_b).len();
    bench.b_agrees("INVITE", 488, "");
    assert_eq!(bench.response_to_a().status, 488);
    bench.wait(Duration::from_millis(3_100));
    assert_eq!(invites(&bench.to_b).len(), asked + 1);
    assert_eq!(said(&bench.request_to_b("INVITE").body).0, Some("on"));
}

/// By this, recordings may be lacking, and both may pause.
fn lenient() -> String {
    format!("{LENIENT}[policy.pause]\nallowed = true\nfrom = \"both\"\n")
}

fn pauses_by_wish(bench: &mut Bench) -> bool {
    obey(bench);
    bench.story.contains(&"paused by the wish of A".to_owned())
}

fn wishes(bench: &mut Bench) {
    bench.invite(&wish("pause"), "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
}

#[test]
fn a_wish_that_came_while_the_recorder_was_away_is_heeded_once_it_is_back() {
    let mut bench = Bench::with(&[("desk.toml", &lenient()), ("grants.toml", GRANTS)]);
    bench.recorder_fails(Fault::Io);
    wishes(&mut bench);
    bench.input(Input::Recording(RecordingEvent::Up));
    bench.wait(Duration::from_secs(1));
    assert!(pauses_by_wish(&mut bench), "{:?}", bench.story);
}

#[test]
fn a_wish_that_came_before_whose_policy_records_is_heeded_when_they_come() {
    let grants = "[[grant]]\npolicy = \"desk\"\nto = [\"user:trader@example.com\"]\n";
    let mut bench = Bench::with(&[("desk.toml", &lenient()), ("grants.toml", grants)]);
    wishes(&mut bench);
    let trader = "P-Asserted-Identity: <sip:trader@example.com>\r\n";
    bench.fork_requests("b-tag", 9, "UPDATE", trader, "");
    let update = answer(&bench.request_to_a("UPDATE"), 200, "a-tag", A, "");
    bench.from(A, update);
    assert!(pauses_by_wish(&mut bench), "{:?}", bench.story);
}

#[test]
fn a_wish_that_was_not_heeded_before_a_restart_is_heeded_after_it() {
    let files = [("desk.toml", lenient()), ("grants.toml", GRANTS.to_owned())];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let mut before = Bench::with(&files);
    before.recorder_fails(Fault::Io);
    wishes(&mut before);
    let mut bench = Bench::with(&files);
    bench.now = before.now + Duration::from_secs(2);
    bench.to_a.clone_from(&before.to_a);
    bench.to_b.clone_from(&before.to_b);
    for (session, state) in before.remembered.clone() {
        bench.input(Input::Resume { session, state });
    }
    assert!(pauses_by_wish(&mut bench), "{:?}", bench.story);
}
