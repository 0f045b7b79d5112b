//! The tone: added to what a party hears, again and again.

use super::super::*;
use super::{Heard, TONE_FRAMES, assert_unbroken, notice, noticed, spoken_line, talk, tone};
use crate::model::NoticeKind;
use crate::rtp::codecs::{pcmu, to_pcmu};

#[test]
fn a_tone_is_not_added_to_what_a_leg_that_holds_does_not_hear() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(tone("PCMU")), None], false);
    let [before, _] = talk(&mut world, 0..9, [true, true]);
    let toned = |heard: &[Heard]| heard.iter().filter(|heard| heard.payload != [0xd5; 160]).count();
    let told = toned(&before);
    assert!((1..TONE_FRAMES).contains(&told), "{told} of its packets");
    let mut held = spoken_line("PCMU");
    held.a.holds = true;
    world.modify(Recorded::Strict, vec![held]);
    let [during, _] = talk(&mut world, 9..60, [true, true]);
    assert_eq!((during.len(), toned(&during)), (51, 0));
    world.modify(Recorded::Strict, vec![spoken_line("PCMU")]);
    let [after, _] = talk(&mut world, 60..100, [true, true]);
    assert_eq!(toned(&after), TONE_FRAMES - told);
}

#[test]
fn a_tone_is_added_to_what_the_far_party_says_and_comes_again() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(tone("PCMU")), Some(tone("PCMU"))], false);
    let [a, _] = talk(&mut world, 0..250, [true, true]);
    assert_eq!(a.len(), 250, "nothing is hushed");
    assert_unbroken(&a);
    let mixed = to_pcmu(pcmu(0xd5) + pcmu(to_pcmu(1_000)));
    let toned = a.iter().filter(|heard| heard.payload == [mixed; 160]);
    let at: Vec<u64> = toned.map(|heard| heard.at).collect();
    assert_eq!(at.len(), 3 * TONE_FRAMES, "{at:?}");
    for tones in at.chunks(TONE_FRAMES).collect::<Vec<_>>().windows(2) {
        let apart = tones[1][0] - tones[0][0];
        assert!((1_980..=2_020).contains(&apart), "{apart} ms from tone to tone");
    }
    let told = noticed(&mut world);
    assert_eq!(told.len(), 6);
    assert!(told.iter().all(|told| told.kind == NoticeKind::Tone && told.whole));
    let tally = world.close();
    assert_eq!(
        (tally.accepted, tally.forwarded, tally.hushed, tally.told),
        (500, 500, 0, 0)
    );
}

#[test]
fn a_tone_is_heard_though_the_far_party_says_nothing() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(tone("PCMU")), None], false);
    talk(&mut world, 0..50, [true, true]);
    let [a, _] = talk(&mut world, 50..200, [true, false]);
    assert_eq!(a.len(), TONE_FRAMES);
    assert!(a.iter().all(|heard| heard.payload == [to_pcmu(1_000); 160]));
    assert_eq!(a[0].sequence, 50, "behind what it heard before");
    let [rest, _] = talk(&mut world, 200..220, [true, true]);
    assert_unbroken(&[&a[..], &rest[..]].concat());
}

#[test]
fn a_codec_that_is_not_mixed_gives_way_to_the_tone_but_digits_pass() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "G722", [Some(tone("G722")), None], false);
    let mut heard = Vec::new();
    for sequence in 0..30_u16 {
        let [a, _] = talk(&mut world, 2 * sequence..2 * sequence + 1, [false, true]);
        heard.extend(a);
        let mut digit = rtp(1, 2 * sequence + 1);
        digit[1] = 101;
        digit[4..8].copy_from_slice(&77_u32.to_be_bytes());
        let event = world.send(world.port(0, Leg::B, Channel::Rtp), B, &digit);
        let bytes = match event {
            Verdict::Forward { .. } => digit,
            Verdict::Change { .. } => world.plane.changed().to_vec(),
            Verdict::Drop(why) => panic!("{why:?}"),
        };
        heard.push(Heard::of(world.now, &bytes));
    }
    assert_eq!(heard.iter().filter(|heard| heard.payload_type == 101).count(), 30);
    assert!(
        heard
            .iter()
            .filter(|heard| heard.payload_type == 101)
            .all(|digit| digit.timestamp == 77),
        "one event"
    );
    let toned = heard
        .iter()
        .filter(|heard| heard.payload == [to_pcmu(1_000); 160])
        .count();
    assert_eq!(toned, TONE_FRAMES);
    let mut sequences: Vec<u16> = heard.iter().map(|heard| heard.sequence).collect();
    let all = sequences.len();
    sequences.dedup();
    assert_eq!(sequences.len(), all, "no number twice");
    assert!(sequences.is_sorted());
}

#[test]
fn however_often_its_notices_change_a_session_is_looked_at_once_a_time() {
    let mut world = World::call(Recorded::Strict);
    for number in 0..50 {
        let legs = [Some(tone("PCMU")), (number % 2 == 0).then(|| tone("PCMU"))];
        notice(&mut world, "PCMU", legs, false);
        talk(&mut world, number * 3..number * 3 + 3, [true, false]);
    }
    talk(&mut world, 150..400, [true, false]);
    assert_eq!(world.plane.times_known(), 1);
    let _ = world.close();
}
