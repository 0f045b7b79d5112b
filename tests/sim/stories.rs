//! Single stories, told on good links, where it is known to the message what has to happen.

use std::time::Duration;

use onrecord::model::Outcome;
use onrecord::recorder::File;

use super::disk::Trouble;
use super::invariants::sealed_calls;
use super::net::Quality;
use super::setting;
use super::ua::{Script, State};
use super::world::{Grade, Happening, World};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn script() -> Script {
    Script {
        ring_after: Duration::from_millis(100),
        answer_after: Duration::from_millis(400),
        refuses: None,
        early_media: false,
        patience: seconds(60),
        talks: seconds(2),
        holds_after: None,
        mute: false,
    }
}

/// Does not hang up first.
pub fn patient() -> Script {
    Script {
        talks: seconds(400),
        ..script()
    }
}

#[test]
fn a_strict_call_is_recorded_from_end_to_end() {
    let mut world = World::new(1, Quality::PERFECT);
    let pair = world.pair(Duration::ZERO, Grade::Strict, script(), patient());
    world.run_to_rest();
    assert_eq!(
        world.caller(pair).status,
        Some(200),
        "{}",
        world.complaint("not answered")
    );
    assert_eq!(world.callee(pair).state, State::Ended);
    assert!(world.callee(pair).heard.len() > 90 && world.caller(pair).heard.len() > 90);
    world.audit();
}

#[test]
fn a_full_disk_ends_a_strict_call_on_both_legs() {
    let mut world = World::new(2, Quality::PERFECT);
    let pair = world.pair(Duration::ZERO, Grade::Strict, patient(), patient());
    world.after(seconds(3), Happening::Break(Trouble::Full));
    world.after(seconds(20), Happening::Mend);
    world.run_to_rest();

    let fault = world.ledger.faulted(pair).expect("the recorder said so");
    let on_the_wire = Duration::from_millis(2);
    for phone in [world.caller(pair), world.callee(pair)] {
        let heard = phone.bye_heard.map(|at| at.since(fault));
        assert!(
            heard.is_some_and(|late| late <= on_the_wire),
            "{}",
            world.complaint("late or no BYE")
        );
        let says = |what: &str| phone.reasons.iter().any(|reason| reason.contains(what));
        assert!(says("SIP;cause=503") && says("Q.850;cause=41"), "{:?}", phone.reasons);
    }
    world.audit();
}

#[test]
fn a_disk_that_hangs_ends_a_strict_call_within_the_limit() {
    let mut world = World::new(3, Quality::PERFECT);
    let pair = world.pair(Duration::ZERO, Grade::Strict, patient(), patient());
    let hangs = seconds(3);
    world.after(hangs, Happening::Break(Trouble::Hangs));
    world.after(seconds(20), Happening::Mend);
    world.run_to_rest();

    let limit = setting::START + hangs + setting::LAG_MAX + Duration::from_millis(250);
    for phone in [world.caller(pair), world.callee(pair)] {
        assert!(
            phone.bye_heard.is_some_and(|at| at <= limit),
            "{}",
            world.complaint("late or no BYE")
        );
    }
    world.audit();
}

#[test]
fn a_callee_hears_nothing_of_a_strict_call_while_the_recorder_is_down() {
    let mut world = World::new(4, Quality::PERFECT);
    world.after(Duration::ZERO, Happening::Break(Trouble::ReadOnly));
    let first = world.pair(seconds(1), Grade::Strict, script(), patient());
    let second = world.pair(seconds(4), Grade::Strict, script(), patient());
    world.after(seconds(10), Happening::Mend);
    let third = world.pair(seconds(20), Grade::Strict, script(), patient());
    world.run_to_rest();

    for pair in [first, second] {
        assert_eq!(world.caller(pair).status, Some(603));
        assert!(!world.ledger.was_rung(pair) && world.callee(pair).state == State::Idle);
    }
    assert_eq!(
        world.caller(third).status,
        Some(200),
        "{}",
        world.complaint("the recorder stayed down")
    );
    world.audit();
}

#[test]
fn a_lenient_call_goes_on_without_its_recorder() {
    let mut world = World::new(5, Quality::PERFECT);
    let talker = Script {
        talks: seconds(10),
        ..script()
    };
    let pair = world.pair(Duration::ZERO, Grade::Lenient, talker, patient());
    world.after(seconds(3), Happening::Break(Trouble::FlushFails));
    world.after(seconds(5), Happening::Mend);
    world.run_to_rest();

    let heard = world.callee(pair).heard.len();
    assert!(
        heard > 490,
        "{}",
        world.complaint(&format!("only {heard} packets came through"))
    );
    let mut broken = Vec::new();
    let sealed = sealed_calls(&world.disk, &mut broken);
    assert_eq!((sealed.len(), broken.len()), (1, 0));
    assert_eq!(sealed[0].manifest.outcome, Outcome::Faulted);
    assert!(
        sealed[0].packets.len() > 600,
        "kept {} packets",
        sealed[0].packets.len()
    );
    world.audit();
}

#[test]
fn a_second_volume_keeps_strict_calls_alive() {
    for trouble in [
        Trouble::Full,
        Trouble::FlushFails,
        Trouble::ShortWrite,
        Trouble::ReadOnly,
        Trouble::Hangs,
    ] {
        let mut world = World::with_volumes(7, Quality::PERFECT, 2);
        let talker = Script {
            talks: seconds(8),
            ..script()
        };
        let pair = world.pair(Duration::ZERO, Grade::Strict, talker, patient());
        world.after(seconds(3), Happening::BreakFirst(trouble));
        let later = world.pair(seconds(5), Grade::Strict, script(), patient());
        world.after(seconds(20), Happening::Mend);
        world.run_to_rest();

        for pair in [pair, later] {
            assert_eq!(world.caller(pair).status, Some(200), "{}", world.complaint("refused"));
            let reasons = &world.caller(pair).reasons;
            assert!(
                reasons.is_empty(),
                "{}",
                world.complaint(&format!("{trouble:?} ended the call: {reasons:?}"))
            );
        }
        world.audit();
    }
}

#[test]
fn a_flipped_bit_in_a_sealed_call_is_found() {
    let mut world = World::new(6, Quality::PERFECT);
    world.pair(Duration::ZERO, Grade::Strict, script(), patient());
    world.run_to_rest();
    let file = world
        .disk
        .names()
        .find(|file| matches!(file, File::Sealed(_)))
        .expect("a sealed call");
    let bytes = world.disk.contents(file).map_or(0, |contents| contents.len());

    for at in (0..bytes).step_by(bytes / 40) {
        world.disk.flip_bit(file, at);
        let mut broken = Vec::new();
        let _ = sealed_calls(&world.disk, &mut broken);
        assert_eq!(broken.len(), 1, "byte {at} of {bytes} can be changed unseen");
        world.disk.flip_bit(file, at);
    }
}
