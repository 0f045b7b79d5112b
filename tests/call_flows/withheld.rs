//! Who answers while the recording is still being opened: the caller hears of it once the recording is there.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, RecordingEvent};

use super::bench::{A, Bench, GRANTS, LENIENT, PROXY, SDP, STRICT};
use super::consulted::{escaped, status_told};
use super::executed::{assert_told_last, refers};
use super::party::{ALICE, BOB, CAROL, DAVE};

/// A call may ring unrecorded, and is not connected so.
fn arms_at_answer() -> String {
    let during = LENIENT.replace("required_during_call = false", "required_during_call = true");
    during.replace("enabled = true", "enabled = true\nduring_arms = \"answer\"")
}

/// B has picked up before the recorder said anything.
fn picked_up() -> Bench {
    let mut bench = Bench::with(&[("desk.toml", &arms_at_answer()), ("grants.toml", GRANTS)]);
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    bench.story.clear();
    bench.b_answers("INVITE", 200, SDP);
    bench
}

#[test]
fn a_quick_answer_waits_for_the_recording_and_the_call_is_strict_from_there() {
    let mut bench = picked_up();
    assert_eq!(bench.story, ["B → 200"], "neither passed on nor refused");
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(bench.story, ["B → 200", "B → 200"], "its copy changes nothing");
    bench.recording_opens();
    bench.a_requests(1, "ACK", "ack", "");
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.story[2..], ["ready", "200 → A", "A → ACK", "ACK → B"]);
    bench.recorder_fails(Fault::Io);
    assert_eq!(
        bench.story[6..],
        ["gated", "fault: input/output error (EIO)", "BYE → A", "BYE → B"]
    );
}

#[test]
fn a_quick_answer_without_a_recording_in_two_seconds_is_refused() {
    for is_told in [true, false] {
        let mut bench = picked_up();
        if is_told {
            let (session, fault) = (bench.newest_session(), Fault::Io);
            bench.input(Input::Recording(RecordingEvent::OpenFailed { session, fault }));
        } else {
            bench.wait(Duration::from_millis(1_950));
            assert_eq!(bench.story, ["B → 200"]);
            bench.wait(Duration::from_millis(100));
        }
        assert_eq!(bench.response_to_a().status, 603);
        assert!(bench.story.ends_with(&["ACK → B".to_owned(), "BYE → B".to_owned()]));
    }
}

#[test]
fn who_hangs_up_before_the_recording_is_there_was_never_connected() {
    let mut bench = picked_up();
    bench.fork_requests("b-tag", 9, "BYE", "", "");
    bench.recording_opens();
    assert_eq!(bench.response_to_a().status, 487);
    bench.a_requests(1, "ACK", "a1", "");
    bench.wait(Duration::from_secs(60));
    bench.assert_nothing_left();
}

#[test]
fn an_answer_waits_for_the_recording_that_an_early_update_asked_for() {
    let grant = "[[grant]]\npolicy = \"desk\"\nto = [\"user:trader@example.com\"]\n";
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", grant)]);
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 183, "", "");
    let trader = "P-Asserted-Identity: <sip:trader@example.com>\r\n";
    bench.fork_requests("b-tag", 9, "UPDATE", trader, "");
    bench.story.clear();
    bench.fork_answers("b-tag", 200, "", SDP);
    assert_eq!(bench.story, ["B → 200"]);
    bench.recording_opens();
    assert_eq!(bench.story[1..], ["ready", "reopened", "200 → A", "UPDATE → A"]);
}

#[test]
fn who_is_called_for_a_transfer_waits_for_the_recording_of_the_new_call() {
    let mut bench = Bench::executing(&[("desk.toml", &arms_at_answer()), ("grants.toml", GRANTS)]);
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.recorder_answers = false;
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.story.clear();
    bench.answers(DAVE, "INVITE", 200, SDP);
    assert_eq!(bench.story, ["B → 200"]);
    bench.recording_opens();
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn who_comes_over_from_another_call_waits_for_the_recording_of_the_new_one() {
    for comes in [true, false] {
        let mut bench = Bench::executing(&[("desk.toml", &arms_at_answer()), ("grants.toml", GRANTS)]);
        let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
        let [second, _] = bench.talk(ALICE, CAROL, "call-2", "");
        bench.recorder_answers = false;
        let replaces = escaped(&second.for_far_end());
        let refer_to = format!("Refer-To: <sip:carol@{PROXY}?Replaces={replaces}>\r\n");
        let refer = first.request("REFER", &refer_to, "");
        bench.from(A, refer);
        bench.answers(ALICE, "NOTIFY", 200, "");
        bench.story.clear();
        bench.answers(CAROL, "INVITE", 200, SDP);
        assert_eq!(bench.story, ["B → 200", "ACK → B"]);
        if comes {
            bench.recording_opens();
            bench.answers(BOB, "INVITE", 200, SDP);
            assert_eq!(status_told(&bench), "SIP/2.0 200 OK\r\n");
        } else {
            bench.wait(Duration::from_millis(2_050));
            assert_eq!(status_told(&bench), "SIP/2.0 603 Decline\r\n");
            assert!(
                !bench.story.iter().any(|step| step.starts_with("BYE")),
                "both old calls stay"
            );
        }
    }
}
