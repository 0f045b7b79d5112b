//! What happens to the media of a call whose legs are encrypted between their peers and us, in virtual time.

use std::sync::Arc;

use super::*;
use crate::model::{LegKeys, LineKeys, SrtpKey, SrtpSuite};
use crate::rtp::{Opener, SRTP_GROWTH_MAX, Sealer};

const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

fn key(fill: u8) -> Arc<SrtpKey> {
    Arc::new(SrtpKey::new(SUITE, &vec![fill; SUITE.master_bytes()], None).unwrap())
}

fn keys(theirs: u8, ours: u8) -> Option<LegKeys> {
    Some(LegKeys {
        theirs: Some(key(theirs)),
        ours: Some(key(ours)),
        ..LegKeys::default()
    })
}

fn agree(world: &mut World, legs: [Option<LegKeys>; 2]) {
    let mut plan = plan(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
    plan.keys = vec![LineKeys {
        legs,
        ..LineKeys::default()
    }];
    world.command(MediaCommand::Open(plan));
}

fn call(legs: [Option<LegKeys>; 2]) -> World {
    let mut world = World::new();
    agree(&mut world, legs);
    world
}

/// A phone that encrypts by one key and opens by another.
struct Phone {
    sealer: Sealer,
    opener: Opener,
}

impl Phone {
    fn new(theirs: u8, ours: u8) -> Self {
        Self {
            sealer: Sealer::new(&key(theirs)).unwrap(),
            opener: Opener::new(&key(ours)).unwrap(),
        }
    }

    fn says(&mut self, clear: &[u8]) -> Vec<u8> {
        let mut packet = clear.to_vec();
        packet.resize(clear.len() + SRTP_GROWTH_MAX, 0);
        let length = self.sealer.seal_rtp(&mut packet, clear.len()).unwrap();
        packet.truncate(length);
        packet
    }

    fn reports(&mut self) -> Vec<u8> {
        let mut packet = RTCP.to_vec();
        packet.resize(RTCP.len() + SRTP_GROWTH_MAX, 0);
        let length = self.sealer.seal_rtcp(&mut packet, RTCP.len()).unwrap();
        packet.truncate(length);
        packet
    }

    fn is_told(&mut self, packet: &[u8]) {
        assert_eq!(self.opener.open_rtcp(&mut packet.to_vec()), Ok(RTCP.len()));
    }

    fn hears(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let length = self.opener.open_rtp(&mut packet).unwrap();
        packet.truncate(length);
        packet
    }
}

fn from(world: &mut World, leg: Leg, packet: &[u8]) -> Verdict {
    let source = [A, B][leg.index()];
    world.send(world.port(0, leg, Channel::Rtp), source, packet)
}

/// A and B hear each other until the sequence numbers of both have wrapped once.
fn talk_past_a_rollover(world: &mut World, a: &mut Phone) {
    for sequence in [40_000, 65_535, 0] {
        let sent = a.says(&rtp(7, sequence));
        assert_eq!(goes_to(from(world, Leg::A, &sent)), B);
        assert_eq!(goes_to(from(world, Leg::B, &rtp(8, sequence))), A);
        assert_eq!(a.hears(world.plane.changed()), rtp(8, sequence));
    }
}

/// A report of B's, in clear.
fn b_reports(world: &mut World) -> Verdict {
    let port = world.port(0, Leg::B, Channel::Rtcp);
    world.send(port, "198.51.100.1:6001", &RTCP)
}

#[test]
fn two_encrypted_legs_hear_each_other_and_the_recorder_hears_both() {
    let mut world = call([keys(1, 2), keys(3, 4)]);
    let (mut a, mut b) = (Phone::new(1, 2), Phone::new(3, 4));
    for sequence in 0..300 {
        let clear = rtp(7, 65_400_u16.wrapping_add(sequence));
        let sent = a.says(&clear);
        assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B);
        assert_ne!(world.plane.changed(), sent);
        assert_eq!(b.hears(world.plane.changed()), clear);
        let clear = rtp(8, sequence);
        let sent = b.says(&clear);
        assert_eq!(goes_to(from(&mut world, Leg::B, &sent)), A);
        assert_eq!(a.hears(world.plane.changed()), clear);
    }
    assert_eq!(world.shelf.kept[0], (Leg::A, 0, PacketKind::Rtp, rtp(7, 65_400)));
    let report = a.reports();
    let verdict = world.send(world.port(0, Leg::A, Channel::Rtcp), "192.0.2.1:4001", &report);
    assert_eq!(goes_to(verdict), "198.51.100.1:6001");
    let mut told = world.plane.changed().to_vec();
    assert_eq!(b.opener.open_rtcp(&mut told), Ok(RTCP.len()));
    assert_eq!(
        world.shelf.kept.last().unwrap(),
        &(Leg::A, 0, PacketKind::Rtcp, RTCP.to_vec())
    );
    let tally = world.close();
    assert_eq!((tally.accepted, tally.forwarded, tally.undecryptable), (601, 601, 0));
    assert_eq!(tally.streams.iter().map(|stream| stream.lost).sum::<u64>(), 0);
}

#[test]
fn one_encrypted_leg_talks_with_one_in_clear() {
    let mut world = call([keys(1, 2), None]);
    let mut a = Phone::new(1, 2);
    let clear = rtp(7, 1);
    let sent = a.says(&clear);
    assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B);
    assert_eq!(world.plane.changed(), clear);
    let clear = rtp(8, 1);
    assert_eq!(goes_to(from(&mut world, Leg::B, &clear)), A);
    assert_eq!(a.hears(world.plane.changed()), clear);
    assert_eq!(
        from(&mut world, Leg::B, &clear),
        Verdict::Drop(Dropped::Unsealable),
        "no keystream twice"
    );
    assert_eq!(
        from(&mut world, Leg::B, b"stun, perhaps"),
        Verdict::Drop(Dropped::Unsealable)
    );
    let kept: Vec<_> = world.shelf.kept.iter().map(|kept| kept.3[..1].to_vec()).collect();
    assert_eq!(kept.len(), 4, "what arrived is recorded");
    let tally = world.close();
    assert_eq!((tally.accepted, tally.forwarded, tally.unsent), (4, 2, 2));
}

#[test]
fn a_million_forged_packets_change_nothing() {
    let mut world = call([keys(1, 2), keys(3, 4)]);
    let (mut a, mut b) = (Phone::new(1, 2), Phone::new(3, 4));
    let mut sequence = 0_u16;
    let mut talks = |world: &mut World| {
        let sent = a.says(&rtp(7, sequence));
        assert_eq!(goes_to(from(world, Leg::A, &sent)), B);
        assert_eq!(b.hears(world.plane.changed()), rtp(7, sequence));
        sequence += 1;
    };
    talks(&mut world);
    let forged = Phone::new(9, 9).says(&rtp(7, 1));
    let port = world.port(0, Leg::A, Channel::Rtp);
    for attempt in 0..1_000_000_u32 {
        let mut packet = forged.clone();
        // Any sequence number and timestamp, of the stream that talks and of others, from the signalled host.
        packet[2..6].copy_from_slice(&attempt.wrapping_mul(0x9e37_79b9).to_be_bytes());
        packet[11] = 7 + u8::from(attempt % 3 == 0) * (attempt % 200) as u8;
        let source = if attempt % 2 == 0 { A } else { "192.0.2.1:4444" };
        let verdict = world.plane.handle_packet(
            world.now,
            port,
            source.parse().unwrap(),
            world.now,
            &packet,
            &mut world.shelf,
        );
        assert_eq!(verdict, Verdict::Drop(Dropped::Undecryptable));
        if attempt % 100_000 == 0 {
            talks(&mut world);
        }
    }
    talks(&mut world);
    assert_eq!(
        from(&mut world, Leg::A, &rtp(7, 500)),
        Verdict::Drop(Dropped::Undecryptable),
        "nor in clear"
    );
    let tally = world.close();
    assert_eq!((tally.accepted, tally.forwarded), (12, 12));
    assert_eq!((tally.undecryptable, tally.foreign), (1_000_001, 0));
}

#[test]
fn a_new_key_takes_over_while_packets_by_the_old_one_are_under_way() {
    let mut world = call([keys(1, 2), None]);
    let (mut old, mut new) = (Phone::new(1, 2), Phone::new(5, 2));
    for sequence in [65_534, 65_535, 0, 1] {
        let sent = old.says(&rtp(7, sequence));
        assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B);
    }
    let late = old.says(&rtp(7, 2));
    let after = old.says(&rtp(7, 3));
    let replayed = old.says(&rtp(7, 4));
    agree(&mut world, [keys(5, 2), None]);
    assert_eq!(goes_to(from(&mut world, Leg::A, &late)), B, "under way");
    assert_eq!(goes_to(from(&mut world, Leg::A, &after)), B);
    let sent = new.says(&rtp(7, 4));
    assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B);
    assert_eq!(
        from(&mut world, Leg::A, &replayed),
        Verdict::Drop(Dropped::Undecryptable),
        "its time is over"
    );
    assert_eq!(goes_to(from(&mut world, Leg::B, &rtp(8, 1))), A);
    assert_eq!(new.hears(world.plane.changed()), rtp(8, 1), "ours stays");
}

#[test]
fn the_same_key_in_a_new_description_keeps_its_rollover_counter() {
    let mut world = call([keys(1, 2), None]);
    let mut a = Phone::new(1, 2);
    talk_past_a_rollover(&mut world, &mut a);
    agree(&mut world, [keys(1, 2), None]);
    let sent = a.says(&rtp(7, 1));
    assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B);
    assert_eq!(goes_to(from(&mut world, Leg::B, &rtp(8, 1))), A);
    assert_eq!(a.hears(world.plane.changed()), rtp(8, 1));
    agree(&mut world, [Some(LegKeys::default()), None]);
    assert_eq!(
        from(&mut world, Leg::A, &a.says(&rtp(7, 2))),
        Verdict::Drop(Dropped::Undecryptable),
        "no key, no media"
    );
    assert_eq!(from(&mut world, Leg::B, &rtp(8, 2)), Verdict::Drop(Dropped::Unsealable));
    agree(&mut world, [None, None]);
    assert!(matches!(from(&mut world, Leg::A, &rtp(7, 3)), Verdict::Forward { .. }));
}

/// Its key has sealed so many times all sequence numbers.
fn rolled_over(times: u32) -> Phone {
    let mut a = Phone::new(1, 2);
    for _ in 0..times {
        for sequence in [10_000, 30_000, 50_000] {
            a.says(&rtp(7, sequence));
        }
    }
    a.says(&rtp(7, 10));
    a
}

/// RFC 4568 §6.4: it is told nowhere.
#[test]
fn a_key_that_was_in_use_in_another_call_is_heard_by_whatever_rollover_counter_it_has() {
    let carried = || {
        let keys = keys(1, 2).unwrap();
        let is_carried = true;
        Some(LegKeys { is_carried, ..keys })
    };
    for (rollovers, lost) in [(0, 0), (1, 0), (8, 0), (9, 1), (250, 31)] {
        let mut world = call([carried(), None]);
        let mut a = rolled_over(rollovers);
        let port = world.port(0, Leg::A, Channel::Rtcp);
        assert!(matches!(
            world.send(port, "192.0.2.1:4001", &a.reports()),
            Verdict::Forward { .. } | Verdict::Change { .. }
        ));
        for sequence in 11..11 + lost {
            let verdict = from(&mut world, Leg::A, &a.says(&rtp(7, sequence)));
            assert_eq!(
                verdict,
                Verdict::Drop(Dropped::Undecryptable),
                "{rollovers}: {sequence}"
            );
        }
        for sequence in 11 + lost..100 {
            assert_eq!(goes_to(from(&mut world, Leg::A, &a.says(&rtp(7, sequence)))), B);
        }
        assert_eq!(goes_to(from(&mut world, Leg::B, &rtp(8, 1))), A);
        assert_eq!(a.hears(world.plane.changed()), rtp(8, 1));
        agree(&mut world, [carried(), None]);
        let sent = Phone::new(1, 2).says(&rtp(9, 1));
        assert_eq!(
            goes_to(from(&mut world, Leg::A, &sent)),
            B,
            "a stream that begins here does so at zero"
        );
    }
    let mut world = call([keys(1, 2), None]);
    let verdict = from(&mut world, Leg::A, &rolled_over(2).says(&rtp(7, 11)));
    assert_eq!(verdict, Verdict::Drop(Dropped::Undecryptable), "it was not in use");
}

#[test]
fn who_is_first_heard_after_its_numbers_went_round_is_heard_and_so_is_what_comes_late_from_before() {
    for first in [0, 1, 200] {
        let mut world = call([keys(1, 2), None]);
        let mut a = Phone::new(1, 2);
        let [_, late] = [65_534, 65_535].map(|sequence| a.says(&rtp(7, sequence)));
        for sequence in first..first + 20 {
            let sent = a.says(&rtp(7, sequence));
            assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B, "{first}: {sequence}");
        }
        let verdict = from(&mut world, Leg::A, &late);
        if first < 100 {
            assert_eq!(goes_to(verdict), B);
            assert_eq!(world.plane.changed(), rtp(7, 65_535));
        } else {
            assert_eq!(verdict, Verdict::Drop(Dropped::Undecryptable), "too old to tell");
        }
    }
}

#[test]
fn packets_that_are_under_way_by_the_key_before_keep_none_by_a_new_one_from_being_heard() {
    let mut world = call([keys(1, 2), None]);
    let (mut a, mut new) = (Phone::new(1, 2), Phone::new(5, 6));
    talk_past_a_rollover(&mut world, &mut a);
    let mut late: Vec<_> = (1..5).map(|sequence| a.says(&rtp(7, sequence))).collect();
    let renewed = keys(5, 6).map(|keys| LegKeys {
        is_carried: true,
        ..keys
    });
    agree(&mut world, [renewed, None]);
    for bytes in late.drain(..) {
        assert_eq!(goes_to(from(&mut world, Leg::A, &bytes)), B);
    }
    for sequence in 5..50 {
        assert_eq!(goes_to(from(&mut world, Leg::A, &new.says(&rtp(7, sequence)))), B);
    }
}

#[test]
fn keys_that_come_back_after_a_time_in_clear_go_on_where_they_were() {
    let mut world = call([keys(1, 2), None]);
    let mut a = Phone::new(1, 2);
    talk_past_a_rollover(&mut world, &mut a);
    assert_eq!(goes_to(b_reports(&mut world)), "192.0.2.1:4001");
    a.is_told(world.plane.changed());
    agree(&mut world, [None, None]);
    agree(&mut world, [keys(1, 2), None]);
    let sent = a.says(&rtp(7, 1));
    assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B);
    assert_eq!(goes_to(from(&mut world, Leg::B, &rtp(8, 1))), A);
    assert_eq!(
        a.hears(world.plane.changed()),
        rtp(8, 1),
        "at the same rollover counter"
    );
    assert_eq!(goes_to(b_reports(&mut world)), "192.0.2.1:4001");
    a.is_told(world.plane.changed());
}

#[test]
fn keys_that_come_back_go_on_where_they_were() {
    let mut world = call([keys(1, 2), None]);
    let (mut a, mut other) = (Phone::new(1, 2), Phone::new(5, 6));
    talk_past_a_rollover(&mut world, &mut a);
    agree(&mut world, [keys(5, 6), None]);
    let sent = other.says(&rtp(7, 1));
    assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B);
    assert_eq!(goes_to(from(&mut world, Leg::B, &rtp(8, 1))), A);
    other.hears(world.plane.changed());
    agree(&mut world, [keys(1, 2), None]);
    let sent = a.says(&rtp(7, 2));
    assert_eq!(
        goes_to(from(&mut world, Leg::A, &sent)),
        B,
        "at the same rollover counter"
    );
    assert_eq!(goes_to(from(&mut world, Leg::B, &rtp(8, 2))), A);
    assert_eq!(a.hears(world.plane.changed()), rtp(8, 2));
    assert_eq!(
        from(&mut world, Leg::B, &rtp(8, 0)),
        Verdict::Drop(Dropped::Unsealable),
        "no keystream twice"
    );
}

#[test]
fn keys_that_come_back_after_several_others_use_no_index_twice() {
    let mut world = call([keys(1, 2), None]);
    let mut a = Phone::new(1, 2);
    talk_past_a_rollover(&mut world, &mut a);
    assert_eq!(goes_to(b_reports(&mut world)), "192.0.2.1:4001");
    a.is_told(world.plane.changed());
    for others in 1..7 {
        agree(&mut world, [keys(10 * others, 10 * others + 1), None]);
    }
    agree(&mut world, [keys(1, 2), None]);
    assert_eq!(goes_to(b_reports(&mut world)), "192.0.2.1:4001");
    a.is_told(world.plane.changed());
    let sent = a.says(&rtp(7, 1));
    assert_eq!(goes_to(from(&mut world, Leg::A, &sent)), B, "and so does what it says");
    assert_eq!(goes_to(from(&mut world, Leg::B, &rtp(8, 1))), A);
    assert_eq!(a.hears(world.plane.changed()), rtp(8, 1));
}

#[test]
fn behind_nat_a_verified_packet_moves_an_encrypted_phone_at_once_after_a_new_sdp_and_no_forged_one_does() {
    const BEFORE: &str = "203.0.113.77:50000";
    const SINCE: &str = "203.0.113.88:50000";
    let behind = |world: &mut World, at: &str| {
        let mut plan = plan(Recorded::Strict, vec![line(0, remote(at), remote(B))]);
        plan.lines[0].a.origin = Origin::First {
            speaker: address("203.0.113.5:5060").ip(),
        };
        let legs = [keys(1, 2), None];
        plan.keys = vec![LineKeys {
            legs,
            ..LineKeys::default()
        }];
        world.command(MediaCommand::Open(plan));
    };
    let mut world = World::new();
    behind(&mut world, "10.9.9.9:4000");
    let (mut a, port) = (Phone::new(1, 2), world.port(0, Leg::A, Channel::Rtp));
    assert_eq!(goes_to(world.send(port, BEFORE, &a.says(&rtp(7, 1)))), B);
    behind(&mut world, "10.9.9.9:5000");
    let forged = world.send(port, INJECTOR, &Phone::new(9, 9).says(&rtp(7, 2)));
    assert_eq!(forged, Verdict::Drop(Dropped::Undecryptable));
    assert_eq!(goes_to(world.send(port, SINCE, &a.says(&rtp(7, 2)))), B);
    assert_eq!(goes_to(from(&mut world, Leg::B, &rtp(8, 1))), SINCE);
    assert_eq!(world.close().foreign, 0);
}
