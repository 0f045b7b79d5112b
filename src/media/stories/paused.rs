//! A recording that is paused: the parties hear each other, and nobody else ever will.

use std::time::Duration;

use super::told::asking;
use super::*;
use crate::model::{LineSet, Ssrc};
use crate::rtp::TelephoneEvent;
use crate::rtp::packet::RtpPacket;

fn pausing(is_paused: bool, keys: [bool; 2]) -> MediaCommand {
    MediaCommand::Pausing {
        session: SESSION,
        pausing: Pausing {
            is_paused,
            keys,
            ..Pausing::default()
        },
    }
}

fn kinds(world: &World) -> Vec<PacketKind> {
    world.shelf.kept.iter().map(|(_, _, kind, _)| *kind).collect()
}

#[test]
fn in_a_pause_everything_crosses_and_a_pulse_is_all_that_is_kept() {
    let mut world = World::call(Recorded::Strict);
    let _ = world.talk(Leg::A, A, 0);
    world.command(pausing(true, [false; 2]));
    let at = world.now;
    assert_eq!(world.events(), [MediaEvent::Paused { session: SESSION, at }]);
    for n in 1..=10 {
        assert_eq!(goes_to(world.talk(Leg::A, A, n)), B);
        assert_eq!(goes_to(world.talk(Leg::B, B, n)), A);
        let rtcp = world.port(0, Leg::A, Channel::Rtcp);
        let _ = world.send(rtcp, "192.0.2.1:4001", &RTCP);
        world.now = world.now + Duration::from_millis(20);
    }
    world.command(pausing(false, [false; 2]));
    let at = world.now;
    assert_eq!(world.events(), [MediaEvent::Unpaused { session: SESSION, at }]);
    let _ = world.talk(Leg::B, B, 11);
    let pulse = PacketKind::Withheld;
    assert_eq!(kinds(&world), [PacketKind::Rtp, pulse, pulse, PacketKind::Rtp]);
    assert!(
        world
            .shelf
            .kept
            .iter()
            .all(|(.., kind, bytes)| *kind != pulse || bytes.is_empty())
    );
    let tally = world.close();
    assert_eq!((tally.accepted, tally.withheld, tally.forwarded), (2, 30, 32));
}

#[test]
fn what_arrived_in_the_pause_and_is_read_after_it_is_not_kept() {
    let mut world = World::call(Recorded::Strict);
    world.command(pausing(true, [false; 2]));
    let in_the_pause = world.now + Duration::from_millis(30);
    world.now = world.now + Duration::from_millis(40);
    world.command(pausing(false, [false; 2]));
    let port = world.port(0, Leg::A, Channel::Rtp);
    let packet = rtp(1, 1);
    let now = world.now;
    let verdict = world
        .plane
        .handle_packet(now, port, address(A), in_the_pause, &packet, &mut world.shelf);
    assert_eq!(goes_to(verdict), B);
    assert!(!kinds(&world).contains(&PacketKind::Rtp));
}

#[test]
fn a_recorder_that_takes_nothing_shuts_the_gate_of_a_strict_call_in_a_pause_too() {
    let mut world = World::call(Recorded::Strict);
    world.command(pausing(true, [false; 2]));
    let _ = world.talk(Leg::A, A, 0);
    world.events();
    world.shelf.refuses = Some(Fault::Stalled);
    world.now = world.now + Duration::from_millis(100);
    assert_eq!(
        world.talk(Leg::A, A, 1),
        Verdict::Drop(Dropped::Refused(Fault::Stalled))
    );
    assert_eq!(world.talk(Leg::B, B, 1), Verdict::Drop(Dropped::Gated));
}

#[test]
fn a_call_that_nobody_records_has_no_pulse() {
    let mut world = World::call(Recorded::No);
    world.command(pausing(true, [false; 2]));
    assert_eq!(goes_to(world.talk(Leg::A, A, 0)), B);
    let tally = world.close();
    assert_eq!((tally.withheld, tally.forwarded), (0, 1));
    assert!(world.shelf.kept.is_empty());
}

/// A call whose parties agreed on telephone events.
fn with_keys(keys: [bool; 2]) -> World {
    let mut world = World::new();
    let mut line = line(0, remote(A), remote(B));
    for leg in [&mut line.a, &mut line.b] {
        leg.formats = vec![
            (0, "PCMU".to_owned(), 8_000, 1),
            (101, "telephone-event".to_owned(), 8_000, 1),
        ];
    }
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![line])));
    world.command(pausing(false, keys));
    world.events();
    world
}

/// One packet of a key.
fn key(world: &mut World, leg: Leg, (sequence, timestamp): (u16, u32), event: u8) {
    let payload = TelephoneEvent {
        event,
        end: false,
        volume: 10,
        duration: 160,
    };
    let payload = bytes::Bytes::copy_from_slice(&payload.encode());
    let packet = RtpPacket::new(Ssrc(9), 101, sequence, timestamp, false, payload)
        .encode()
        .unwrap();
    let from = if leg == Leg::A { A } else { B };
    let _ = world.send(world.port(0, leg, Channel::Rtp), from, &packet);
    world.now = world.now + Duration::from_millis(20);
}

fn pressed(world: &mut World) -> String {
    let events = world.events().into_iter();
    events
        .filter_map(|event| match event {
            MediaEvent::Key { key, .. } => Some(key),
            _ => None,
        })
        .collect()
}

#[test]
fn a_key_is_told_once_however_many_packets_it_has_and_in_whatever_order_they_come() {
    let mut world = with_keys([true, false]);
    for (sequence, timestamp, event) in [
        (1, 800, 10),
        (2, 800, 10),
        (5, 1_600, 9),
        (3, 800, 10),
        (6, 1_600, 9),
        (7, 2_400, 9),
    ] {
        key(&mut world, Leg::A, (sequence, timestamp), event);
        key(&mut world, Leg::B, (sequence, timestamp), event);
    }
    assert_eq!(pressed(&mut world), "*99", "of leg A alone");
}

#[test]
fn keys_are_heard_in_a_pause_and_none_is_kept() {
    let mut world = with_keys([true, false]);
    world.command(pausing(true, [true, false]));
    key(&mut world, Leg::A, (1, 800), 4);
    world.now = world.now + Duration::from_millis(40);
    key(&mut world, Leg::A, (2, 1_600), 2);
    assert_eq!(pressed(&mut world), "42");
    world.command(pausing(false, [true, false]));
    key(&mut world, Leg::A, (3, 1_600), 2);
    assert!(
        !kinds(&world).contains(&PacketKind::Rtp),
        "the end of a key of the pause"
    );
    let _ = world.talk(Leg::A, A, 1);
    assert!(kinds(&world).contains(&PacketKind::Rtp));
}

#[test]
fn a_flood_of_keys_is_no_flood_of_news() {
    let mut world = with_keys([true, true]);
    for n in 0..5_000_u32 {
        key(&mut world, Leg::A, (n as u16, n * 160), 1);
        world.now = world.now + Duration::from_millis(u64::from(n % 50 == 0));
        world.now = Timestamp::from_nanos(world.now.as_nanos() - 19_900_000);
    }
    let told = pressed(&mut world).len();
    assert!(told < 30, "{told} in half a second");
}

#[test]
fn who_is_asked_is_heard_to_press_a_key_that_the_other_does_not_hear() {
    let mut world = with_keys([true, false]);
    let mut held = line(0, remote(A), None);
    for leg in [&mut held.a, &mut held.b] {
        leg.formats = vec![
            (0, "PCMU".to_owned(), 8_000, 1),
            (101, "telephone-event".to_owned(), 8_000, 1),
        ];
    }
    world.command(MediaCommand::Notice(Box::new(crate::model::NoticePlan {
        session: SESSION,
        line: held.clone(),
        legs: [None, None],
        parted: true,
    })));
    world.command(MediaCommand::Pausing {
        session: SESSION,
        pausing: Pausing {
            keys: [true, false],
            asks: true,
            ..Pausing::default()
        },
    });
    key(&mut world, Leg::A, (1, 800), 1);
    assert_eq!(pressed(&mut world), "1");
    world.modify(Recorded::Strict, vec![held]);
    world.now = world.now + Duration::from_millis(100);
    key(&mut world, Leg::A, (2, 1_600), 2);
    assert_eq!(pressed(&mut world), "2", "nor has anybody to be there");
    let tally = world.close();
    assert_eq!((tally.forwarded, tally.hushed), (0, 1));
}

fn withholding(withheld: [LineSet; 2]) -> MediaCommand {
    MediaCommand::Pausing {
        session: SESSION,
        pausing: Pausing {
            withheld,
            ..Pausing::default()
        },
    }
}

fn kept_of(world: &World, leg: Leg) -> Vec<(u16, PacketKind)> {
    let of_leg = world.shelf.kept.iter().filter(|(from, ..)| *from == leg);
    of_leg.map(|(_, line, kind, _)| (*line, *kind)).collect()
}

#[test]
fn of_who_is_left_out_nothing_is_kept_on_any_line_and_the_other_is_kept_whole() {
    let mut world = World::new();
    let lines = vec![line(0, remote(A), remote(B)), line(1, remote(A), remote(B))];
    let mut open = plan(Recorded::Strict, lines);
    open.pausing.withheld = [LineSet::ALL, LineSet::NONE];
    world.command(MediaCommand::Open(open));
    let at = world.now;
    let (session, leg, lines) = (SESSION, Leg::A, LineSet::ALL);
    let told = MediaEvent::Withheld {
        session,
        leg,
        lines,
        at,
    };
    assert_eq!(
        world.events(),
        [told, MediaEvent::Opened { session }],
        "before the first packet"
    );
    for n in 0..5 {
        for line in [0, 1] {
            for (leg, from) in [(Leg::A, A), (Leg::B, B)] {
                let port = world.port(line, leg, Channel::Rtp);
                let verdict = world.send(port, from, &rtp(line as u32 * 2 + leg.index() as u32, n));
                assert!(matches!(verdict, Verdict::Forward { .. }), "it crosses");
            }
        }
    }
    let pulses: Vec<_> = kept_of(&world, Leg::A);
    assert_eq!(pulses, [(0, PacketKind::Withheld), (1, PacketKind::Withheld)]);
    assert_eq!(kept_of(&world, Leg::B).len(), 10);

    world.modify(
        Recorded::Strict,
        (0..3).map(|index| line(index, remote(A), remote(B))).collect(),
    );
    let port = world.port(2, Leg::A, Channel::Rtp);
    let _ = world.send(port, A, &rtp(9, 1));
    assert_eq!(
        kept_of(&world, Leg::A)[2..],
        [(2, PacketKind::Withheld)],
        "nor on a line that is new"
    );

    world.command(withholding([LineSet::NONE.with(1), LineSet::NONE]));
    world.now = world.now + Duration::from_millis(10);
    for line in [0, 1, 2] {
        let port = world.port(line, Leg::A, Channel::Rtp);
        let _ = world.send(port, A, &rtp(line as u32 * 2, 100));
    }
    let kept = kept_of(&world, Leg::A);
    assert_eq!(kept[3..], [(0, PacketKind::Rtp), (2, PacketKind::Rtp)]);
}

#[test]
fn a_plan_brings_what_is_left_out_before_the_next_packet() {
    for is_opened_again in [false, true] {
        let mut world = World::call(Recorded::Strict);
        let mut next = plan(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
        next.pausing = Pausing {
            withheld: [LineSet::ALL, LineSet::NONE],
            asks: true,
            ..Pausing::default()
        };
        world.command(match is_opened_again {
            true => MediaCommand::Open(next),
            false => MediaCommand::Modify(next),
        });
        assert_eq!(world.talk(Leg::B, B, 1), Verdict::Drop(Dropped::Hushed));
        world.command(withholding([LineSet::ALL, LineSet::NONE]));
        let _ = world.talk(Leg::A, A, 1);
        assert_eq!(kept_of(&world, Leg::A), [(0, PacketKind::Withheld)]);
        let left_out = |event: &MediaEvent| matches!(event, MediaEvent::Withheld { leg: Leg::A, .. });
        assert_eq!(world.events().iter().filter(|event| left_out(event)).count(), 1);
    }
}

#[test]
fn a_recorder_that_takes_nothing_is_noticed_by_who_is_left_out() {
    let mut world = World::call(Recorded::Strict);
    world.command(withholding([LineSet::ALL, LineSet::NONE]));
    world.events();
    world.shelf.refuses = Some(Fault::Stalled);
    assert_eq!(
        world.talk(Leg::A, A, 1),
        Verdict::Drop(Dropped::Refused(Fault::Stalled))
    );
}

#[test]
fn while_somebody_is_asked_nothing_crosses_on_any_line() {
    let mut world = World::new();
    let lines = vec![line(0, remote(A), remote(B)), line(1, remote(A), remote(B))];
    world.command(MediaCommand::Open(plan(Recorded::Strict, lines)));
    world.command(asking(true));
    for place in [0, 1] {
        for (leg, from) in [(Leg::A, A), (Leg::B, B)] {
            let port = world.port(place, leg, Channel::Rtp);
            assert_eq!(world.send(port, from, &rtp(1, 1)), Verdict::Drop(Dropped::Hushed));
            assert_eq!(
                world.send(port, from, b"\x00\x01t38"),
                Verdict::Drop(Dropped::Hushed),
                "no RTP"
            );
            let port = world.port(place, leg, Channel::Rtcp);
            let from = from.replace("000", "001");
            assert!(
                matches!(world.send(port, &from, &RTCP), Verdict::Forward { .. }),
                "reports do"
            );
        }
    }
    world.command(asking(false));
    let port = world.port(1, Leg::A, Channel::Rtp);
    assert!(matches!(world.send(port, A, &rtp(1, 2)), Verdict::Forward { .. }));
}

#[test]
fn what_brings_once_more_what_was_sent_in_a_pause_is_not_kept_for_two_seconds_after_it() {
    const REPEATING: [&str; 9] = [
        "red",
        "rtx",
        "RTX",
        "rtx",
        "rtx",
        "ulpfec",
        "flexfec-03",
        "1d-interleaved-parityfec",
        "rtx (SRTP)",
    ];
    let mut world = World::call(Recorded::Strict);
    let mut line = line(0, remote(A), remote(B));
    line.kind = MediaKind::Video;
    let names = ["VP8"].into_iter().chain(REPEATING);
    let formats = (96..)
        .zip(names)
        .map(|(payload_type, name)| (payload_type, name.to_owned(), 90_000, 1));
    (line.a.formats, line.b.formats) = (formats.clone().collect(), formats.collect());
    world.modify(Recorded::Strict, vec![line]);
    world.command(pausing(true, [false; 2]));
    world.now = world.now + Duration::from_secs(1);
    world.command(pausing(false, [false; 2]));
    let kept_types = |world: &mut World| {
        world.shelf.kept.clear();
        for payload_type in 96..96 + 1 + REPEATING.len() as u8 {
            let mut packet = rtp(u32::from(payload_type), 1);
            packet[1] = payload_type;
            assert_eq!(goes_to(world.send(world.port(0, Leg::A, Channel::Rtp), A, &packet)), B);
        }
        let kept = world.shelf.kept.iter().filter(|kept| kept.2 == PacketKind::Rtp);
        kept.map(|kept| kept.3[1]).collect::<Vec<_>>()
    };
    assert_eq!(kept_types(&mut world), [96], "what is new");
    world.now = world.now + Duration::from_secs(3);
    assert_eq!(kept_types(&mut world).len(), 1 + REPEATING.len());
}
