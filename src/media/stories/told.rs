//! The parties hear that they are recorded, in virtual time.

mod asked;
mod keyed;
mod toned;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{Clip, LegNotice, Notice, NoticeKind, NoticePlan, Pausing, Rendition};
use crate::rtp::RtpHeader;
use crate::rtp::codecs::to_pcmu;

pub(super) const PROMPT_FRAMES: usize = 10;
const TONE_FRAMES: usize = 5;
const EVERY: Duration = Duration::from_secs(2);

/// Each of its packets is full of one byte.
fn clip(name: &str, encoding: &'static str, frames: usize, byte: u8) -> Arc<Clip> {
    Arc::new(Clip {
        name: name.to_owned(),
        renditions: vec![Rendition {
            encoding,
            clock_rate: 8_000,
            channels: 1,
            payloads: vec![vec![byte; 160].into(); frames],
        }],
    })
}

pub(super) fn prompt() -> LegNotice {
    LegNotice {
        prompt: Some(clip("prompt", "PCMU", PROMPT_FRAMES, 0x11)),
        tone: None,
    }
}

fn tone(encoding: &'static str) -> LegNotice {
    LegNotice {
        prompt: None,
        tone: Some((clip("tone", encoding, TONE_FRAMES, to_pcmu(1_000)), EVERY)),
    }
}

fn spoken_line(encoding: &str) -> LinePlan {
    let mut line = line(0, remote(A), remote(B));
    for leg in [&mut line.a, &mut line.b] {
        leg.formats = vec![
            (0, encoding.to_owned(), 8_000, 1),
            (101, "telephone-event".to_owned(), 8_000, 1),
        ];
    }
    line
}

pub(super) fn notice(world: &mut World, encoding: &str, legs: [Option<LegNotice>; 2], parted: bool) {
    world.command(MediaCommand::Notice(Box::new(NoticePlan {
        session: SESSION,
        line: spoken_line(encoding),
        legs,
        parted,
    })));
}

/// Somebody is asked whether it agrees, or nobody.
pub(super) fn asking(asks: bool) -> MediaCommand {
    MediaCommand::Pausing {
        session: SESSION,
        pausing: Pausing {
            asks,
            ..Pausing::default()
        },
    }
}

/// What a party received.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Heard {
    at: u64,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    payload_type: u8,
    payload: Vec<u8>,
}

impl Heard {
    fn of(at: Timestamp, bytes: &[u8]) -> Self {
        let header = RtpHeader::parse(bytes).unwrap();
        Self {
            at: at.as_millis(),
            ssrc: header.ssrc.0,
            sequence: header.sequence,
            timestamp: header.timestamp,
            payload_type: header.payload_type,
            payload: header.payload.to_vec(),
        }
    }

    fn is_prompt(&self) -> bool {
        self.payload == [0x11; 160]
    }
}

/// Both parties talk for so many packets of 20 ms; what each of them hears meanwhile: A, B.
fn talk(world: &mut World, sequences: std::ops::Range<u16>, talkers: [bool; 2]) -> [Vec<Heard>; 2] {
    let mut heard = [Vec::new(), Vec::new()];
    for sequence in sequences {
        for leg in Leg::BOTH.into_iter().filter(|leg| talkers[leg.index()]) {
            let verdict = world.talk(leg, [A, B][leg.index()], sequence);
            let bytes = match verdict {
                Verdict::Forward { .. } => rtp(leg.index() as u32, sequence),
                Verdict::Change { .. } => world.plane.changed().to_vec(),
                Verdict::Drop(why) => {
                    assert_eq!(why, Dropped::Hushed);
                    continue;
                }
            };
            heard[leg.other().index()].push(Heard::of(world.now, &bytes));
        }
        let end = world.now + Duration::from_millis(20);
        while let Some(due) = world.plane.poll_timeout().filter(|due| *due < end) {
            world.now = world.now.max(due);
            world.plane.handle_timeout(world.now);
            while let Some((via, to)) = world.plane.poll_notice(world.now) {
                assert_eq!(to, address([A, B][via.leg().index()]));
                let bytes = world.plane.changed().to_vec();
                heard[via.leg().index()].push(Heard::of(world.now, &bytes));
            }
            world.drain();
        }
        world.now = end;
    }
    heard
}

fn noticed(world: &mut World) -> Vec<Notice> {
    let events = world.events().into_iter();
    events
        .map(|event| match event {
            MediaEvent::Noticed { notice, .. } => *notice,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// One source, no number twice, none left out, and timestamps that go on.
fn assert_unbroken(heard: &[Heard]) {
    for pair in heard.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(after.ssrc, before.ssrc);
        assert_eq!(after.sequence, before.sequence.wrapping_add(1), "{before:?} {after:?}");
        assert!(after.timestamp.wrapping_sub(before.timestamp).cast_signed() >= 160);
    }
}

#[test]
fn a_prompt_is_heard_in_the_stream_of_the_far_party_and_both_are_recorded_throughout() {
    let mut world = World::call(Recorded::Strict);
    let before = talk(&mut world, 0..10, [true, true]);
    notice(&mut world, "PCMU", [Some(prompt()), None], false);
    let [a, b] = talk(&mut world, 10..60, [true, true]);
    assert_eq!(before.map(|heard| heard.len()), [10, 10]);
    assert_eq!(a.iter().filter(|heard| heard.is_prompt()).count(), PROMPT_FRAMES);
    assert!(!b.iter().any(Heard::is_prompt), "only A is told");
    assert_eq!(b.len(), 50, "and A is heard meanwhile");
    assert_unbroken(&a);
    assert_eq!(world.shelf.kept.len(), 120, "what A did not hear of B is recorded");
    assert!(
        world.shelf.kept.iter().all(|(.., bytes)| bytes[12] == 0xd5),
        "and nothing that we said"
    );

    let [told] = &noticed(&mut world)[..] else {
        panic!("one notice")
    };
    assert_eq!(
        (told.leg, told.line, told.kind, told.name.as_str()),
        (Leg::A, 0, NoticeKind::Prompt, "prompt")
    );
    assert_eq!((told.packets, told.whole), (PROMPT_FRAMES as u32, true));
    assert_eq!(
        told.until.since(told.from),
        Duration::from_millis(20 * PROMPT_FRAMES as u64)
    );
    let spoken: Vec<u64> = a
        .iter()
        .filter(|heard| heard.is_prompt())
        .map(|heard| heard.at)
        .collect();
    assert_eq!(
        (spoken[0], spoken[PROMPT_FRAMES - 1] + 20),
        (told.from.as_millis(), told.until.as_millis())
    );
    assert!(spoken.windows(2).all(|pair| pair[1] - pair[0] == 20), "at an even pace");
    let tally = world.close();
    assert_eq!((tally.accepted, tally.told), (120, PROMPT_FRAMES as u64));
    assert_eq!(tally.accepted, tally.forwarded + tally.hushed);
}

#[test]
fn parted_parties_hear_each_other_only_when_both_have_been_told() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(prompt()), None], true);
    let [a, b] = talk(&mut world, 0..50, [true, true]);
    assert_unbroken(&a);
    assert_unbroken(&b);
    let last = a.iter().rfind(|heard| heard.is_prompt()).unwrap().at;
    assert!(b[0].at > last, "B hears A once A knows");
    assert!(b.len() > 30);
}

#[test]
fn a_prompt_waits_while_its_leg_holds_and_the_other_hears_the_music() {
    let by_address: fn(&mut LegPlan) = |leg| leg.deaf = true;
    let by_direction: fn(&mut LegPlan) = |leg| leg.holds = true;
    for hold in [by_address, by_direction] {
        let mut world = World::call(Recorded::Strict);
        notice(&mut world, "PCMU", [Some(prompt()), None], true);
        let [before, _] = talk(&mut world, 0..10, [true, true]);
        let told = before.iter().filter(|heard| heard.is_prompt()).count();
        assert!((1..PROMPT_FRAMES).contains(&told), "{told} of its packets");
        let mut held = spoken_line("PCMU");
        hold(&mut held.a);
        world.modify(Recorded::Strict, vec![held]);
        let [none, music] = talk(&mut world, 10..60, [true, false]);
        assert_eq!((none.len(), music.len() >= 48), (0, true), "{} of 50", music.len());
        world.modify(Recorded::Strict, vec![spoken_line("PCMU")]);
        world.events();
        let [after, _] = talk(&mut world, 60..100, [true, true]);
        assert_eq!(
            after.iter().filter(|heard| heard.is_prompt()).count(),
            PROMPT_FRAMES - told
        );
        let ended = noticed(&mut world);
        assert!(ended.len() == 1 && ended[0].whole, "{ended:?}");
    }
}

#[test]
fn a_prompt_reaches_who_hears_nobody_yet() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(prompt()), Some(prompt())], true);
    let [a, b] = talk(&mut world, 0..30, [false, false]);
    for heard in [&a, &b] {
        assert_eq!(heard.len(), PROMPT_FRAMES);
        assert_unbroken(heard);
    }
    assert_ne!(a[0].ssrc, b[0].ssrc);
    assert_eq!(noticed(&mut world).len(), 2);
}

#[test]
fn a_call_that_ends_during_a_prompt_tells_that_it_was_cut() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(prompt()), None], false);
    talk(&mut world, 0..8, [true, true]);
    world.command(MediaCommand::Close { session: SESSION });
    let events = world.events();
    let [MediaEvent::Noticed { notice, .. }, MediaEvent::Closed { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(!notice.whole && notice.packets < PROMPT_FRAMES as u32 && notice.packets > 0);
    assert_eq!(world.plane.poll_notice(world.now + EVERY), None);
}

#[test]
fn a_notice_waits_for_a_line_that_is_not_there_yet() {
    let mut world = World::call(Recorded::Strict);
    let later = LinePlan {
        index: 1,
        ..spoken_line("PCMU")
    };
    world.command(MediaCommand::Notice(Box::new(NoticePlan {
        session: SESSION,
        line: later,
        legs: [Some(prompt()), None],
        parted: true,
    })));
    let [a, b] = talk(&mut world, 0..50, [true, true]);
    assert_eq!((a.len(), b.len()), (50, 50), "nobody waits for it");
    let mut later = line(1, remote(A), remote(B));
    later.a.formats = spoken_line("PCMU").a.formats;
    later.b.formats = spoken_line("PCMU").b.formats;
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote(B)), later]);
    let [a, _] = talk(&mut world, 50..100, [false, false]);
    assert_eq!(a.len(), PROMPT_FRAMES);
}

#[test]
fn nothing_is_said_while_the_gate_is_shut_or_the_recorder_down() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(prompt()), Some(tone("PCMU"))], false);
    world.plane.halt(Some(Fault::Io));
    let later = world.now + Duration::from_secs(1);
    assert_eq!(world.plane.poll_notice(later), None);
    world.plane.halt(None);
    world.command(MediaCommand::Gate {
        session: SESSION,
        gate: Gate::Shut,
    });
    assert_eq!(world.plane.poll_notice(later + Duration::from_secs(1)), None);
    world.command(MediaCommand::Gate {
        session: SESSION,
        gate: Gate::Open,
    });
    assert!(world.plane.poll_notice(later + Duration::from_secs(2)).is_some());
}

#[test]
fn where_no_format_fits_the_parties_hear_each_other_all_the_same() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "G729", [Some(prompt()), Some(tone("PCMU"))], true);
    let [a, b] = talk(&mut world, 0..100, [true, true]);
    assert!(a.len() >= 94 && b.len() >= 94, "{} {}", a.len(), b.len());
    assert!(a.iter().all(|heard| heard.payload == [0xd5; 160]));
    assert_eq!(world.close().told, 0);
}

#[test]
fn a_prompt_that_is_not_wanted_any_more_is_cut_and_one_beside_a_tone_goes_on() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(prompt()), None], true);
    talk(&mut world, 0..8, [true, true]);
    notice(&mut world, "PCMU", [Some(LegNotice::default()), None], true);
    let [a, b] = talk(&mut world, 8..60, [true, true]);
    assert!(a.len() >= 51 && b.len() == 52, "{} {}", a.len(), b.len());
    assert!(!a.iter().any(Heard::is_prompt));
    let told = noticed(&mut world);
    assert_eq!(told.iter().map(|notice| notice.whole).collect::<Vec<_>>(), [false]);

    let mut world = World::call(Recorded::Strict);
    let both = LegNotice {
        tone: tone("PCMU").tone,
        ..prompt()
    };
    notice(&mut world, "PCMU", [Some(both), None], true);
    talk(&mut world, 0..8, [true, true]);
    notice(&mut world, "PCMU", [Some(LegNotice::default()), None], true);
    talk(&mut world, 8..60, [true, true]);
    assert!(noticed(&mut world).iter().all(|notice| notice.whole));
}
