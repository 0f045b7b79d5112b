//! What a party has answered, or not, when the call goes on in the next process: after a hand-over, or a kill.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{LeftOut, Leg, Mark, MediaCommand, MediaEvent, Recorded, RecordingCommand};

use super::announced::{begun, bench_of_bob_then_carol, carol_comes, executing_bench};
use super::bench::Bench;
use super::carried_over::{
    ALL, NONE, TELLS_NOBODY, answered, asks, key_in, mode, newest, prompted, told, transferred, withheld,
};
use super::party::DAVE;

/// The process ends while they talk, by a hand-over or by a kill.
fn goes_on(mut before: Bench, after: Bench, is_handed_over: bool) -> Bench {
    if is_handed_over {
        before.input(Input::HandOver);
        before.input(Input::ShutDown);
    }
    assert_eq!(before.remembered.len(), 1);
    before.goes_on_as(after)
}

#[test]
fn after_a_restart_as_before_it_who_refused_is_left_out_and_who_agreed_is_not_asked_again() {
    for is_handed_over in [false, true] {
        for (refused, key, wanted, recorded) in [
            ("mute", '2', [ALL, NONE], Recorded::Lenient),
            ("mute", '1', [NONE, NONE], Recorded::Lenient),
            ("unrecorded", '2', [ALL, ALL], Recorded::No),
            ("unrecorded", '1', [NONE, NONE], Recorded::Lenient),
        ] {
            let notify = asks("both", refused);
            let mut before = executing_bench((&notify, true), None, true);
            let [alice, bob] = answered(&mut before, Some(key));
            let session = transferred(&mut before, alice);
            key_in(&mut before, session, Leg::B, '1');
            let mut after = goes_on(before, executing_bench((&notify, true), None, true), is_handed_over);
            let session = newest(&after);
            assert_eq!(withheld(&after, session), wanted, "{refused} {key}");
            assert_eq!(
                (mode(&after, session), prompted(&after, session)),
                (recorded, [false; 2])
            );
            let first = after.media.iter().find_map(|command| match command {
                MediaCommand::Open(plan) => Some(plan.pausing.withheld),
                _ => None,
            });
            assert_eq!(first, Some(wanted), "from the first packet on");
            key_in(&mut after, session, Leg::A, '1');
            assert_eq!(withheld(&after, session), wanted, "it was said");
            let (leg, at) = (Leg::A, after.now);
            after.input(Input::Media(MediaEvent::Withheld {
                session,
                leg,
                lines: wanted[0],
                at,
            }));
            let is_left_out = |command: &RecordingCommand| matches!(command, RecordingCommand::Mark { mark: Mark::LeftOut { leg: Leg::A, what, .. }, .. } if *what == LeftOut::All);
            assert_eq!(after.recording.iter().any(is_left_out), wanted[0] == ALL);
            after.hangs_up(bob, DAVE);
            after.assert_nothing_left();
        }
    }
}

#[test]
fn a_question_that_a_restart_leaves_open_stays_open_under_policies_that_ask_nobody() {
    let notify = asks("caller", "mute");
    let fresh = || bench_of_bob_then_carol((&notify, true), (TELLS_NOBODY, true));
    for is_handed_over in [false, true] {
        for (key, wanted) in [(None, ALL), (Some('1'), NONE), (Some('2'), ALL)] {
            let mut before = fresh();
            begun(&mut before);
            carol_comes(&mut before);
            let mut after = goes_on(before, fresh(), is_handed_over);
            let session = newest(&after);
            let told_now = told(&after, session);
            assert_eq!(
                (told_now.withheld, told_now.keys),
                ([ALL, NONE], [true, false]),
                "its keys are heard"
            );
            match key {
                Some(key) => key_in(&mut after, session, Leg::A, key),
                None => after.wait(Duration::from_secs(13)),
            }
            assert_eq!(withheld(&after, session), [wanted, NONE], "{key:?}");
            assert!(!told(&after, session).asks);
        }
    }
}

#[test]
fn a_question_that_a_restart_leaves_open_means_what_it_did_when_it_was_asked() {
    let notify = asks("caller", "mute").replace("\"5s\"", "\"5s\", silence = \"agrees\"");
    let fresh = || bench_of_bob_then_carol((&notify, true), (TELLS_NOBODY, true));
    for is_handed_over in [false, true] {
        let mut before = fresh();
        begun(&mut before);
        carol_comes(&mut before);
        let mut after = goes_on(before, fresh(), is_handed_over);
        let session = newest(&after);
        assert!(told(&after, session).asks);
        after.wait(Duration::from_secs(13));
        assert_eq!(withheld(&after, session), [NONE, NONE], "who says nothing agrees");
        assert!(!told(&after, session).asks);
    }
}

#[test]
fn who_is_asked_anew_after_a_restart_by_other_policies_answers_those_that_asked_first_too() {
    let first = asks("caller", "mute");
    let then = asks("caller", "mark").replace("\"5s\"", "\"5s\", silence = \"agrees\"");
    let fresh = || bench_of_bob_then_carol((&first, true), (&then, true));
    for restarts in 0..=2 {
        for (key, wanted) in [(Some('1'), NONE), (Some('2'), ALL), (None, ALL)] {
            let mut bench = fresh();
            begun(&mut bench);
            carol_comes(&mut bench);
            for _ in 0..restarts {
                bench = goes_on(bench, fresh(), false);
            }
            let session = newest(&bench);
            match key {
                Some(key) => key_in(&mut bench, session, Leg::A, key),
                None => bench.wait(Duration::from_secs(13)),
            }
            assert_eq!(withheld(&bench, session), [wanted, NONE], "{restarts} {key:?}");
        }
    }
}
