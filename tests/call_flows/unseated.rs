//! The media of transfers that we execute: what is relayed and recorded between the REFER and its end, whichever way it ends,
//! and who a party turns out to be that comes over.

use onrecord::engine::Input;
use onrecord::model::{Fault, Gate, Leg, MediaCommand, MediaPlan, Recorded, RecordingEvent, SessionId};

use super::bench::{A, B, Bench, LENIENT, SDP, STRICT, TO_TRADER, TRADER, answer, audio_at, with_lines};
use super::executed::{assert_old_call_stays, assert_told_last, refers, rings, strict};
use super::party::{ALICE, BOB, DAVE, PhoneDialog};

fn port(plan: &MediaPlan, leg: Leg) -> Option<u16> {
    plan.lines[0].leg(leg).remote.map(|remote| remote.rtp.port())
}

fn of(bench: &Bench, session: SessionId) -> Vec<&MediaPlan> {
    let plans = bench.plans().into_iter();
    plans.filter(|plan| plan.session == session).collect()
}

/// How a transfer of Bob to Dave comes to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    TargetIsBusy,
    WhoStaysRefuses,
    TargetHangsUpBeforeWhoStaysHasAnswered,
}

fn fails(bench: &mut Bench, failure: Failure) {
    if failure == Failure::TargetIsBusy {
        bench.answers(DAVE, "INVITE", 486, "");
        return;
    }
    let invite = bench.newest(A, "INVITE");
    bench.answers(DAVE, "INVITE", 200, &audio_at(7_000));
    if failure == Failure::WhoStaysRefuses {
        bench.answers(BOB, "INVITE", 488, "");
        bench.answers(DAVE, "BYE", 200, "");
        return;
    }
    let bye = PhoneDialog::of_callee(DAVE, &invite).request("BYE", "", "");
    bench.from(A, bye);
    // He takes whom is gone, at another port; and then Alice again, at a third.
    bench.answers(BOB, "INVITE", 200, &audio_at(5_010));
    bench.answers(BOB, "INVITE", 200, &audio_at(5_020));
}

#[test]
fn the_old_call_is_relayed_and_recorded_as_before_until_a_transfer_is_over_and_after_it_has_failed() {
    use Failure::{TargetHangsUpBeforeWhoStaysHasAnswered, TargetIsBusy, WhoStaysRefuses};
    for failure in [TargetIsBusy, WhoStaysRefuses, TargetHangsUpBeforeWhoStaysHasAnswered] {
        let mut bench = strict();
        let [alice, _] = rings(&mut bench);
        let [old, new] = [0, 1].map(|at| bench.headers()[at].session);
        fails(&mut bench, failure);
        bench.answers(ALICE, "NOTIFY", 200, "");
        assert!(
            bench.plans().iter().all(|plan| plan.recorded == Recorded::Strict),
            "{failure:?}"
        );
        assert_eq!(bench.gates(), [], "{failure:?}");
        let told: Vec<_> = of(&bench, old)
            .iter()
            .map(|plan| (port(plan, Leg::A), port(plan, Leg::B)))
            .collect();
        let bobs = if failure == TargetHangsUpBeforeWhoStaysHasAnswered {
            5_020
        } else {
            4_000
        };
        assert_eq!(told.last(), Some(&(Some(4_000), Some(bobs))), "{failure:?}");
        let known = [None, Some(4_000), Some(bobs)];
        assert!(
            told.iter().all(|(_, b)| known.contains(b)),
            "Bob is not sent to where he hears the new call: {told:?}"
        );
        let of_new = of(&bench, new);
        assert!(
            of_new.iter().all(|plan| port(plan, Leg::A).is_none()),
            "{failure:?}: of Bob, who has not come over, the new call takes and sends nothing"
        );
        let closed = bench.media.contains(&MediaCommand::Close { session: new });
        assert!(closed, "{failure:?}");
        assert_old_call_stays(&mut bench, alice);
    }
}

#[test]
fn a_recorder_that_is_lost_after_a_transfer_has_failed_ends_the_old_call() {
    let mut bench = strict();
    let [_, _] = rings(&mut bench);
    fails(&mut bench, Failure::TargetHangsUpBeforeWhoStaysHasAnswered);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.recorder_fails(Fault::Io);
    assert_eq!(bench.gates(), [Gate::Shut], "before any BYE");
    assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (1, 1));
    bench.answers(ALICE, "BYE", 200, "");
    bench.answers(BOB, "BYE", 200, "");
    bench.assert_nothing_left();
}

/// Nobody but the trader is recorded, and Bob is referred to Dave, who has answered.
fn for_trader(policy: &str) -> (Bench, [PhoneDialog; 2]) {
    let mut bench = Bench::executing(&[("desk.toml", policy), ("grants.toml", TO_TRADER)]);
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.story.clear();
    bench.media.clear();
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 200, SDP);
    (bench, [alice, bob])
}

/// Bob's network says that it is the trader who comes over.
fn trader_comes(bench: &mut Bench) {
    let invite = bench.newest(B, "INVITE");
    let bytes = answer(&invite, 200, "bob-tag", &format!("bob@{B}"), SDP);
    bench.from(B, with_lines(&bytes, TRADER));
}

#[test]
fn who_turns_out_to_be_another_while_it_comes_over_is_recorded_before_it_is_heard() {
    let (mut bench, [_, bob]) = for_trader(STRICT);
    bench.recorder_answers = false;
    trader_comes(&mut bench);
    assert_eq!(bench.headers().len(), 1);
    assert_eq!(bench.headers()[0].caller.identity, "sip:trader@example.com");
    assert_eq!(bench.gates(), [Gate::Shut]);
    let session = bench.headers()[0].session;
    bench.recorder_answers = true;
    bench.input(Input::Recording(RecordingEvent::Ready { session }));
    assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
    assert_eq!(bench.plans().last().map(|plan| plan.recorded), Some(Recorded::Strict));
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_transfer_is_refused_whose_party_turns_out_to_be_another_that_cannot_be_recorded_and_the_old_call_stays() {
    let (mut bench, [alice, _]) = for_trader(STRICT);
    bench.recorder_fails(Fault::Io);
    trader_comes(&mut bench);
    assert_told_last(&bench, "SIP/2.0 603 Decline");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "BYE", 200, "");
    bench.answers(BOB, "INVITE", 200, SDP);
    let new = bench.media.iter().find_map(|command| match command {
        MediaCommand::Close { session } => Some(*session),
        _ => None,
    });
    let heard = of(&bench, new.unwrap()).iter().any(|plan| port(plan, Leg::A).is_some());
    assert!(!heard, "nobody heard him");
    assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (0, 1));
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn who_turns_out_to_be_another_while_it_comes_over_comes_where_a_recording_is_only_wished_for() {
    let (mut bench, [_, bob]) = for_trader(LENIENT);
    bench.recorder_fails(Fault::Io);
    trader_comes(&mut bench);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    assert_eq!(bench.times("BYE → B"), 0, "{:#?}", bench.story);
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}
