//! The strict-mode matrix, state by state.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, Gate, MediaCommand, MediaEvent, Outcome, Recorded, RecordingCommand, RecordingEvent};
use onrecord::sip::{Message, Method};

use super::bench::{A, ALL_STRICT, B, Bench, PROXY, SDP, invite};
use super::party::{ALICE, BOB};

fn kept(bench: &Bench) -> Vec<Outcome> {
    let outcome = |command: &RecordingCommand| match command {
        RecordingCommand::Keep { closing, .. } | RecordingCommand::Close { closing, .. } => Some(closing.outcome),
        _ => None,
    };
    bench.recording.iter().filter_map(outcome).collect()
}

#[test]
fn without_a_recorder_a_strict_call_is_refused_and_b_hears_nothing() {
    let mut bench = Bench::strict();
    bench.recorder_fails(Fault::DiskFull);
    bench.invite(SDP, "");
    let refusal = bench.response_to_a();
    assert_eq!(refusal.status, 603);
    assert_eq!(
        refusal.headers.get("Reason"),
        Some("Q.850;cause=21;text=\"Recording required by policy\"")
    );
    assert_eq!(
        refusal.headers.get("Warning"),
        Some("399 lab \"Recording required by policy desk: recorder unavailable\"")
    );
    assert!(bench.to_b.is_empty());
    assert_eq!(kept(&bench), [Outcome::Blocked]);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_recorder_that_cannot_open_refuses_the_call_before_b_rings() {
    let mut bench = Bench::strict();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    assert!(bench.to_b.is_empty());
    let session = bench.session();
    bench.input(Input::Recording(RecordingEvent::OpenFailed {
        session,
        fault: Fault::Io,
    }));
    assert_eq!(bench.response_to_a().status, 603);
    assert!(bench.to_b.is_empty());
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_recorder_that_does_not_answer_refuses_the_call_in_two_seconds() {
    let mut bench = Bench::strict();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    bench.wait(Duration::from_millis(2_050));
    assert_eq!(bench.response_to_a().status, 603);
    assert!(bench.to_b.is_empty());
}

#[test]
fn a_full_disk_refuses_at_the_door_with_503_and_no_retry_after() {
    let mut bench = Bench::strict();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    let session = bench.session();
    bench.input(Input::Recording(RecordingEvent::OpenFailed {
        session,
        fault: Fault::Reserve,
    }));
    let refusal = bench.response_to_a();
    assert_eq!(refusal.status, 503);
    assert_eq!(refusal.headers.get("Retry-After"), None);
}

#[test]
fn while_b_rings_a_lost_recorder_cancels_it_and_refuses_a() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    bench.story.clear();
    bench.recorder_fails(Fault::Io);
    assert_eq!(
        bench.story,
        ["gated", "fault: input/output error (EIO)", "603 → A", "CANCEL → B"]
    );
    let cancel = bench.request_to_b("CANCEL");
    assert!(
        cancel
            .headers
            .get("Reason")
            .is_some_and(|reason| reason.starts_with("SIP;cause=503"))
    );
    bench.b_answers("CANCEL", 200, "");
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(
        bench.request_to_b("BYE").headers.cseq().number,
        2,
        "a 2xx that crosses is ACKed, then BYEd"
    );
    bench.b_answers("BYE", 200, "");
    bench.a_requests(1, "ACK", "a1", "");
    assert_eq!(kept(&bench), [Outcome::Blocked]);
}

#[test]
fn a_confirmed_strict_call_is_gated_first_and_then_ended_on_both_legs_in_one_turn() {
    let mut bench = Bench::strict().connected();
    bench.recorder_fails(Fault::Io);
    assert_eq!(
        bench.story,
        ["gated", "fault: input/output error (EIO)", "BYE → A", "BYE → B"]
    );
    assert!(matches!(bench.media[0], MediaCommand::Gate { gate: Gate::Shut, .. }));
    for bye in [bench.request_to_a("BYE"), bench.request_to_b("BYE")] {
        let reasons: Vec<&str> = bye.headers.get_all("Reason").collect();
        assert_eq!(
            reasons[0],
            "SIP;cause=503;text=\"Recording lost; policy requires recording\""
        );
        assert!(reasons[1].starts_with("Q.850;cause=41"));
    }
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(kept(&bench), [Outcome::Faulted]);
    bench.assert_nothing_left();
}

#[test]
fn before_a_has_acknowledged_its_bye_is_held_back() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.story.clear();
    bench.recorder_fails(Fault::Io);
    assert_eq!(
        bench.story,
        ["gated", "fault: input/output error (EIO)", "ACK → B", "BYE → B"]
    );
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(bench.story[4..], ["A → ACK", "BYE → A"]);
}

#[test]
fn a_refused_packet_ends_a_strict_call() {
    let mut bench = Bench::strict().connected();
    let session = bench.session();
    bench.input(Input::Media(MediaEvent::Refused {
        session,
        fault: Fault::PoolEmpty,
    }));
    assert!(bench.story.iter().any(|rung| rung == "BYE → A") && bench.story.iter().any(|rung| rung == "BYE → B"));
}

#[test]
fn a_recorder_that_falls_silent_ends_strict_calls_within_the_lag_limit() {
    let mut bench = Bench::strict().connected();
    bench.recorder_lives = false;
    bench.wait(Duration::from_millis(1_650));
    assert!(bench.story.iter().any(|rung| rung == "BYE → A"), "{:?}", bench.story);
}

#[test]
fn a_lenient_call_goes_on_through_the_loss_and_after_it() {
    let mut bench = Bench::lenient().connected();
    bench.recorder_fails(Fault::Io);
    assert_eq!(bench.story, ["fault: input/output error (EIO)"]);
    bench.input(Input::Recording(RecordingEvent::Up));
    assert_eq!(bench.story[1..], ["ready"]);
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(kept(&bench), [Outcome::Faulted]);
    bench.assert_nothing_left();
}

#[test]
fn a_lenient_call_starts_without_a_recorder_and_is_recorded_once_there_is_one() {
    let mut bench = Bench::lenient();
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert!(bench.recording.is_empty());
    bench.input(Input::Recording(RecordingEvent::Up));
    assert!(matches!(bench.recording[0], RecordingCommand::Open(_)));
    let modes: Vec<Recorded> = bench
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Modify(plan) => Some(plan.recorded),
            _ => None,
        })
        .collect();
    assert_eq!(modes.last(), Some(&Recorded::Lenient));
}

#[test]
fn a_lenient_call_that_never_met_a_recorder_is_kept_as_unrecorded() {
    let mut bench = Bench::lenient();
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(kept(&bench), [Outcome::Unrecorded]);
    bench.assert_nothing_left();
}

#[test]
fn options_says_whether_a_strict_call_would_be_taken() {
    let mut bench = Bench::strict();
    let options = || {
        let text = String::from_utf8(invite(1, "o1", "", "", "").to_vec()).expect("text");
        text.replace("INVITE", "OPTIONS")
    };
    bench.from(A, options().into());
    assert_eq!(bench.response_to_a().status, 200);
    bench.recorder_fails(Fault::Io);
    bench.from(A, options().replace("o1", "o2").into());
    assert_eq!(bench.response_to_a().status, 503);
    bench.input(Input::Recording(RecordingEvent::Up));
    bench.from(A, options().replace("o1", "o3").into());
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn an_emergency_call_goes_through_without_a_recorder() {
    let mut bench = Bench::strict();
    bench.recorder_fails(Fault::Io);
    let text = String::from_utf8(invite(1, "e1", "", SDP, "").to_vec()).expect("text");
    bench.from(A, text.replace("sip:bob@", "sip:112@").into());
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("112"));
}

#[test]
fn a_call_that_is_refused_before_its_recording_opens_is_kept_as_blocked() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "Supported: timer\r\nSession-Expires: 30\r\n");
    assert_eq!(bench.response_to_a().status, 422);
    assert_eq!(kept(&bench), [Outcome::Blocked]);
}

#[test]
fn a_call_that_no_policy_asks_for_is_joined_and_kept_as_exempt() {
    let mut bench = Bench::unrecorded().connected();
    bench.recorder_fails(Fault::Io);
    assert!(bench.story.is_empty());
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(kept(&bench), [Outcome::Exempt]);
    bench.assert_nothing_left();
}

#[test]
fn the_call_back_after_an_emergency_goes_through_too() {
    let mut bench = Bench::strict();
    bench.recorder_fails(Fault::Io);
    let text = String::from_utf8(invite(1, "e1", "", SDP, "").to_vec()).expect("text");
    bench.from(A, text.replace("sip:bob@", "sip:112@").into());
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("112"));
    bench.b_answers("INVITE", 180, "");
    let before = bench.to_a.len();
    calls_back(&mut bench);
    assert!(is_called(&bench, before));
}

/// The answering point calls Alice.
fn calls_back(bench: &mut Bench) {
    let text = String::from_utf8(invite(1, "back", "", SDP, "").to_vec()).expect("text");
    let back = text
        .replace("sip:bob@127.0.0.1:5070", "sip:alice@example.com")
        .replace("\"Alice\" <sip:alice@example.com>", "<sip:psap@example.com>")
        .replace("a-tag", "psap-tag");
    bench.from(B, back.replace("call-1", "call-2").replace(A, B).into());
}

fn is_called(bench: &Bench, before: usize) -> bool {
    let is_invite =
        |message: &Message| matches!(message, Message::Request(request) if request.method == Method::Invite);
    bench.to_a[before..].iter().any(is_invite)
}

#[test]
fn who_is_refused_an_emergency_call_opens_no_window_for_call_backs() {
    let text = String::from_utf8(invite(1, "e1", "", SDP, "").to_vec()).expect("text");
    let mut bench = Bench::strict();
    bench.recorder_fails(Fault::Io);
    bench.from(A, text.replace("sip:bob@", "sip:112@").into());
    bench.b_answers("INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486);
    calls_back(&mut bench);
    assert!(!is_called(&bench, 0));
    assert_eq!(bench.response_to_b().status, 603);
}

#[test]
fn a_refer_to_an_emergency_number_that_is_declined_leaves_strict_mode_as_it_is() {
    for (mut bench, is_executed) in [(Bench::strict(), false), (Bench::executing(&ALL_STRICT), true)] {
        let [alice, mut bob] = bench.talk(ALICE, BOB, "call-1", "");
        let refer = bob.request("REFER", &format!("Refer-To: <sip:112@{PROXY}>\r\n"), "");
        bench.from(B, refer);
        if is_executed {
            assert_eq!(bench.response_to_b().status, 202);
            let invite = bench.request_to_b("INVITE");
            assert_eq!(invite.uri.user(), Some("112"));
            bench.b_answers("INVITE", 603, "");
        } else {
            bench.a_answers("REFER", 603, "");
        }
        bench.hangs_up(alice, BOB);
        bench.recorder_fails(Fault::Io);
        let before = bench.to_a.len();
        calls_back(&mut bench);
        assert!(!is_called(&bench, before), "executed: {is_executed}");
        assert_eq!(bench.response_to_b().status, 603);
    }
}
