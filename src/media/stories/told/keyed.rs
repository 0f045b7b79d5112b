//! Who has keys is told under them, and never in clear.

use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use super::{Heard, PROMPT_FRAMES, assert_unbroken, notice, prompt, spoken_line, talk};
use crate::model::{LegKeys, LineKeys, SrtpKey, SrtpSuite};
use crate::rtp::Opener;

fn key(fill: u8) -> Arc<SrtpKey> {
    let suite = SrtpSuite::AesCm128HmacSha1_80;
    Arc::new(SrtpKey::new(suite, &vec![fill; suite.master_bytes()], None).unwrap())
}

/// A speaks and hears SRTP, B is in clear.
fn keyed_plan() -> Box<MediaPlan> {
    let mut plan = plan(Recorded::Strict, vec![spoken_line("PCMU")]);
    let keys = LegKeys {
        theirs: Some(key(1)),
        ours: Some(key(2)),
        ..LegKeys::default()
    };
    plan.keys = vec![LineKeys {
        legs: [Some(keys), None],
        ..LineKeys::default()
    }];
    plan
}

#[test]
fn a_notice_is_sealed_for_an_encrypted_leg_and_what_follows_opens_too() {
    let mut world = World::new();
    world.command(MediaCommand::Open(keyed_plan()));
    world.events();
    let mut opener = Opener::new(&key(2)).unwrap();
    let mut opened = |bytes: &[u8], at| {
        let mut packet = bytes.to_vec();
        let length = opener.open_rtp(&mut packet).unwrap();
        Heard::of(at, &packet[..length])
    };
    let mut heard = Vec::new();
    notice(&mut world, "PCMU", [Some(prompt()), None], false);
    for sequence in 0..40 {
        if let Verdict::Change { .. } = world.talk(Leg::B, B, sequence) {
            heard.push(opened(world.plane.changed(), world.now));
        }
        while world.plane.poll_notice(world.now).is_some() {
            heard.push(opened(world.plane.changed(), world.now));
        }
        world.now = world.now + Duration::from_millis(20);
    }
    assert_eq!(heard.iter().filter(|heard| heard.is_prompt()).count(), PROMPT_FRAMES);
    assert_unbroken(&heard);
    assert!(!heard.last().unwrap().is_prompt());
}

#[test]
fn who_had_keys_is_told_nothing_in_clear_while_nothing_is_agreed_and_the_rest_once_clear_is() {
    let mut world = World::new();
    world.command(MediaCommand::Open(keyed_plan()));
    world.events();
    notice(&mut world, "PCMU", [Some(prompt()), None], true);
    let [a, _] = talk(&mut world, 0..8, [false, false]);
    assert!(!a.is_empty());
    world.modify(Recorded::Strict, vec![spoken_line("PCMU")]);
    let [a, _] = talk(&mut world, 8..60, [false, false]);
    assert!(a.is_empty());
    let mut in_clear = plan(Recorded::Strict, vec![spoken_line("PCMU")]);
    in_clear.agreed = [true; 2];
    world.command(MediaCommand::Modify(in_clear));
    let [a, _] = talk(&mut world, 60..120, [false, false]);
    assert!(!a.is_empty());
    world.command(MediaCommand::Modify(keyed_plan()));
    let mut opener = Opener::new(&key(2)).unwrap();
    assert!(matches!(world.talk(Leg::B, B, 120), Verdict::Change { .. }));
    assert!(
        opener.open_rtp(&mut world.plane.changed().to_vec()).is_ok(),
        "its keys go on"
    );
}
