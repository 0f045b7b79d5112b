//! The parties hear that they are recorded, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{
    Clip, LegKeys, LegNotice, LineKeys, Notice, NoticeKind, NoticePlan, Pausing, Rendition, SrtpKey, SrtpSuite,
};
use crate::rtp::codecs::{pcmu, to_pcmu};
use crate::rtp::{Opener, RtpHeader};

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
fn who_is_asked_and_the_other_do_not_hear_each_other_until_nobody_is() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(prompt()), None], true);
    world.command(asking(true));
    let [a, b] = talk(&mut world, 0..100, [true, true]);
    assert!(a.iter().all(Heard::is_prompt) && b.is_empty());
    assert_eq!(a.len(), PROMPT_FRAMES);
    world.command(asking(false));
    let [a, b] = talk(&mut world, 100..150, [true, true]);
    assert_eq!((a.len(), b.len()), (50, 50));
    assert!(world.close().hushed > 0);
}

#[test]
fn the_key_that_answers_is_hushed_to_its_last_packet_and_the_next_one_crosses() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [None, None], true);
    let event = |sequence: u16, timestamp: u32| {
        let mut packet = rtp(1, sequence);
        packet[1] = 101;
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet
    };
    let is_hushed = |verdict| match verdict {
        Verdict::Drop(why) => why == Dropped::Hushed,
        _ => false,
    };
    world.command(asking(true));
    let press = |world: &mut World, sequence, timestamp| {
        let port = world.port(0, Leg::B, Channel::Rtp);
        is_hushed(world.send(port, B, &event(sequence, timestamp)))
    };
    assert!(press(&mut world, 10, 1_600));
    world.command(asking(false));
    let rest: Vec<bool> = (11..17).map(|sequence| press(&mut world, sequence, 1_600)).collect();
    assert_eq!(rest, [true; 6], "updates and the end, three times");
    let voice = world.talk(Leg::B, B, 17);
    assert!(!is_hushed(voice), "what is said meanwhile crosses");
    assert!(!press(&mut world, 18, 3_200), "and so does the next key");
    assert!(press(&mut world, 19, 1_600), "a late end of the first does not");
    let mut of_a = event(20, 1_600);
    of_a[8..12].copy_from_slice(&7_u32.to_be_bytes());
    let port = world.port(0, Leg::A, Channel::Rtp);
    assert!(!is_hushed(world.send(port, A, &of_a)), "nor is A's key B's");
    assert_eq!(world.close().accepted, 11, "all of it is recorded");
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

#[test]
fn who_had_keys_is_told_nothing_in_clear() {
    let mut world = World::new();
    world.command(MediaCommand::Open(keyed_plan()));
    world.events();
    notice(&mut world, "PCMU", [Some(prompt()), None], true);
    let [a, _] = talk(&mut world, 0..8, [false, false]);
    assert!(!a.is_empty());
    world.modify(Recorded::Strict, vec![spoken_line("PCMU")]);
    let [a, _] = talk(&mut world, 8..60, [false, false]);
    assert!(a.is_empty());
}
