//! Who is heard on a port, and where its far end is sent what: injectors, NAT, moves.

use super::*;
use crate::model::FarEnd;

#[test]
fn an_injector_neither_gets_in_nor_takes_over() {
    let mut world = World::call(Recorded::Strict);
    for sequence in 0..100 {
        assert_eq!(world.talk(Leg::A, INJECTOR, sequence), Verdict::Drop(Dropped::Foreign));
    }
    assert_eq!(goes_to(world.talk(Leg::A, A, 0)), B);
    assert_eq!(
        goes_to(world.talk(Leg::B, B, 0)),
        A,
        "B is still answered where it listens"
    );
    assert_eq!(world.talk(Leg::A, INJECTOR, 101), Verdict::Drop(Dropped::Foreign));
    let tally = world.close();
    assert_eq!((tally.foreign, tally.accepted, tally.forwarded), (101, 2, 2));
    assert_eq!(tally.streams.len(), 2, "rejected packets are no stream");
}

#[test]
fn a_leg_behind_nat_is_answered_where_it_is_heard_from_and_that_is_told_once() {
    const PUBLIC: &str = "203.0.113.5:61000";
    let mut world = World::new();
    let mut behind = line(0, remote("10.9.9.9:4000"), remote(B));
    behind.a.origin = Origin::First {
        speaker: address(PUBLIC).ip(),
    };
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![behind.clone()])));
    world.events();
    assert_eq!(goes_to(world.talk(Leg::B, B, 0)), "10.9.9.9:4000", "before it speaks");
    let ours = behind.a.local.to_string();
    assert_eq!(
        world.talk(Leg::A, &ours, 0),
        Verdict::Drop(Dropped::Foreign),
        "ourselves"
    );
    assert_eq!(goes_to(world.talk(Leg::A, PUBLIC, 0)), B);
    assert_eq!(goes_to(world.talk(Leg::A, PUBLIC, 1)), B);
    assert_eq!(goes_to(world.talk(Leg::B, B, 1)), PUBLIC);
    assert_eq!(world.talk(Leg::A, INJECTOR, 9), Verdict::Drop(Dropped::Foreign));
    assert_eq!(
        world.talk(Leg::B, PUBLIC, 9),
        Verdict::Drop(Dropped::Foreign),
        "B is not behind NAT"
    );
    let rtcp = world.port(0, Leg::A, Channel::Rtcp);
    assert_eq!(
        goes_to(world.send(rtcp, "203.0.113.5:61001", &RTCP)),
        "198.51.100.1:6001"
    );
    let from = address(PUBLIC);
    let learned = MediaEvent::Learned {
        session: SESSION,
        leg: Leg::A,
        line: 0,
        from,
    };
    assert_eq!(world.events(), [learned]);
    let tally = world.close();
    assert_eq!((tally.foreign, tally.accepted), (3, 5));
}

#[test]
fn behind_nat_an_injector_that_was_first_is_heard_until_the_leg_speaks_and_not_beside_it_by_rtcp() {
    const PUBLIC: &str = "203.0.113.5:61000";
    let mut world = World::new();
    let mut behind = line(0, remote("10.9.9.9:4000"), remote(B));
    behind.a.origin = Origin::First {
        speaker: address(PUBLIC).ip(),
    };
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![behind])));
    let rtcp = world.port(0, Leg::A, Channel::Rtcp);
    for sequence in 0..100 {
        assert_eq!(
            goes_to(world.talk(Leg::A, INJECTOR, sequence)),
            B,
            "who else might it be?"
        );
    }
    assert_eq!(goes_to(world.send(rtcp, INJECTOR, &RTCP)), "198.51.100.1:6001");
    assert_eq!(goes_to(world.talk(Leg::A, PUBLIC, 0)), B);
    assert_eq!(goes_to(world.talk(Leg::B, B, 0)), PUBLIC);
    assert_eq!(world.talk(Leg::A, INJECTOR, 100), Verdict::Drop(Dropped::Foreign));
    assert_eq!(world.send(rtcp, INJECTOR, &RTCP), Verdict::Drop(Dropped::Foreign));
    let theirs = world.port(0, Leg::B, Channel::Rtcp);
    assert_eq!(
        goes_to(world.send(theirs, "198.51.100.1:6001", &RTCP)),
        "10.9.9.9:4001",
        "nor is it told anything"
    );
}

#[test]
fn behind_nat_who_speaks_on_takes_over_from_a_stranger_that_was_first_and_that_is_told() {
    const PARTY: &str = "203.0.113.77:50000";
    let mut world = World::new();
    let mut behind = line(0, remote("10.9.9.9:4000"), remote(B));
    behind.a.origin = Origin::First {
        speaker: address("203.0.113.5:5060").ip(),
    };
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![behind])));
    world.events();
    let rtcp = world.port(0, Leg::A, Channel::Rtcp);
    assert_eq!(goes_to(world.talk(Leg::A, INJECTOR, 0)), B, "who else might it be?");
    for sweep in 1..50 {
        let verdict = world.talk(Leg::A, INJECTOR, sweep * 1_000);
        assert_eq!(
            verdict,
            Verdict::Drop(Dropped::Foreign),
            "one packet in a sweep of all ports"
        );
    }
    for sequence in 0..4 {
        assert_eq!(world.talk(Leg::A, PARTY, sequence), Verdict::Drop(Dropped::Foreign));
    }
    assert_eq!(goes_to(world.talk(Leg::A, PARTY, 4)), B);
    assert_eq!(goes_to(world.talk(Leg::B, B, 0)), PARTY);
    assert_eq!(world.talk(Leg::A, INJECTOR, 7), Verdict::Drop(Dropped::Foreign));
    assert_eq!(world.send(rtcp, INJECTOR, &RTCP), Verdict::Drop(Dropped::Foreign));
    assert_eq!(
        goes_to(world.send(rtcp, "203.0.113.77:50001", &RTCP)),
        "198.51.100.1:6001"
    );
    let learned = |from| MediaEvent::Learned {
        session: SESSION,
        leg: Leg::A,
        line: 0,
        from: address(from),
    };
    assert_eq!(world.events(), [learned(INJECTOR), learned(PARTY)]);
    assert_eq!(world.close().foreign, 55);
}

/// B, of a trunk behind NAT, says by this dialog that it is there.
fn describes(world: &mut World, signalled: &str, far_end: FarEnd, answered: bool) {
    let mut plan = plan(Recorded::Strict, vec![line(0, remote(A), remote(signalled))]);
    plan.lines[0].b.origin = Origin::First {
        speaker: address("192.0.2.200:5060").ip(),
    };
    (plan.far_end, plan.answered) = (far_end, answered);
    world.command(MediaCommand::Open(plan));
}

/// Whether the next packet from there is B's.
fn is_heard(world: &mut World, at: &str, sequence: u16) -> bool {
    world.wait(10);
    goes_to(world.talk(Leg::B, at, sequence)) == A
}

const PHONE: &str = "203.0.113.77:50000";
const OTHER: &str = "203.0.113.88:60000";

#[test]
fn behind_nat_who_answers_by_another_dialog_is_heard_on_though_a_stranger_speaks_first() {
    for signalled in [B, "10.0.0.5:5004"] {
        let mut world = World::new();
        let end = FarEnd::default();
        describes(&mut world, signalled, end, false);
        assert!((0..50).all(|sequence| is_heard(&mut world, PHONE, sequence)));
        describes(&mut world, signalled, end.next(), true);
        is_heard(&mut world, INJECTOR, 9_000);
        let heard = (50..350).filter(|sequence| is_heard(&mut world, PHONE, *sequence));
        assert!(heard.count() >= 296, "{signalled}");
        assert_eq!(goes_to(world.talk(Leg::A, A, 1)), PHONE);
        assert!((0..50).all(|sequence| !is_heard(&mut world, INJECTOR, sequence)));
        assert!(is_heard(&mut world, PHONE, 350));
    }
}

#[test]
fn behind_nat_who_answers_by_another_dialog_from_a_public_address_is_heard_whatever_a_stranger_says_between() {
    let mut world = World::new();
    let end = FarEnd::default();
    describes(&mut world, B, end, false);
    assert!((0..50).all(|sequence| is_heard(&mut world, PHONE, sequence)));
    describes(&mut world, B, end.next(), true);
    for sequence in 50..300 {
        for burst in 0..5 {
            is_heard(&mut world, INJECTOR, 5 * sequence + burst);
        }
        assert!(is_heard(&mut world, PHONE, sequence), "{sequence}");
        assert_eq!(goes_to(world.talk(Leg::A, A, sequence)), PHONE);
    }
    assert!(
        (0..300).all(|sequence| !is_heard(&mut world, INJECTOR, sequence)),
        "nor when it is silent"
    );
}

#[test]
fn behind_nat_a_fork_that_answers_by_a_third_dialog_takes_over_from_another_whose_late_packet_came_first() {
    for [phone, other] in [[B, "198.51.100.2:6000"], ["10.0.0.5:5004", "10.0.0.6:7000"]] {
        let mut world = World::new();
        let end = FarEnd::default();
        describes(&mut world, phone, end, false);
        assert!((0..50).all(|sequence| is_heard(&mut world, PHONE, sequence)));
        describes(&mut world, other, end.next(), false);
        assert!((0..50).all(|sequence| is_heard(&mut world, OTHER, sequence)));
        describes(&mut world, phone, end.next().next(), true);
        assert!(is_heard(&mut world, OTHER, 50), "late");
        let heard = (50..350).filter(|sequence| {
            is_heard(&mut world, OTHER, sequence + 1);
            is_heard(&mut world, PHONE, *sequence)
        });
        assert!(heard.count() >= 290, "{phone}");
        assert_eq!(goes_to(world.talk(Leg::A, A, 1)), PHONE);
        assert!((400..900).all(|sequence| !is_heard(&mut world, OTHER, sequence)));
    }
}

#[test]
fn behind_nat_a_fork_that_answers_by_a_third_dialog_from_its_public_address_gives_way_to_no_stranger() {
    let mut world = World::new();
    let end = FarEnd::default();
    describes(&mut world, B, end, false);
    assert!((0..50).all(|sequence| is_heard(&mut world, PHONE, sequence)));
    describes(&mut world, "198.51.100.2:6000", end.next(), false);
    describes(&mut world, B, end.next().next(), true);
    assert!((50..60).all(|sequence| is_heard(&mut world, PHONE, sequence)));
    assert!((0..20).all(|sequence| !is_heard(&mut world, INJECTOR, sequence)));
    assert!((60..90).all(|sequence| is_heard(&mut world, PHONE, sequence)));
}

#[test]
fn behind_nat_a_fax_is_heard_whole_from_who_was_first_whatever_its_numbers_begin_with() {
    let mut world = World::new();
    let mut behind = line(0, remote("10.9.9.9:4000"), remote(B));
    behind.kind = MediaKind::Other;
    behind.a.origin = Origin::First {
        speaker: address("203.0.113.5:5060").ip(),
    };
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![behind])));
    let port = world.port(0, Leg::A, Channel::Rtp);
    for number in 0x7ff0_u16..0x8010 {
        let [high, low] = number.to_be_bytes();
        // Repeated at once, as some do (T.38 §9.1.4.1): of RTP that would be a copy.
        for _ in 0..2 {
            let datagram = [high, low, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0];
            assert_eq!(
                goes_to(world.send(port, "203.0.113.77:50000", &datagram)),
                B,
                "{number:x}"
            );
        }
    }
    assert_eq!(world.close().foreign, 0);
}

#[test]
fn a_re_invite_moves_the_source_and_the_destination() {
    let mut world = World::call(Recorded::Strict);
    assert_eq!(goes_to(world.talk(Leg::A, A, 0)), B);
    world.modify(Recorded::Strict, vec![line(0, remote("192.0.2.9:7000"), remote(B))]);
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    assert_eq!(
        world.talk(Leg::A, A, 1),
        Verdict::Drop(Dropped::Foreign),
        "the old place is no longer trusted"
    );
    assert_eq!(goes_to(world.talk(Leg::A, "192.0.2.9:7000", 2)), B);
    assert_eq!(goes_to(world.talk(Leg::B, B, 0)), "192.0.2.9:7000");
}

#[test]
fn a_holder_that_receives_nothing_is_heard_from_where_it_was_and_kept() {
    let mut world = World::call(Recorded::Strict);
    assert_eq!(goes_to(world.talk(Leg::B, B, 0)), A);
    let mut held = line(0, remote(A), remote(B));
    held.b.deaf = true;
    world.modify(Recorded::Strict, vec![held]);
    assert_eq!(goes_to(world.talk(Leg::B, B, 1)), A, "its music");
    assert_eq!(
        world.talk(Leg::A, A, 0),
        Verdict::Drop(Dropped::Early),
        "it hears nothing"
    );
    assert_eq!(world.talk(Leg::B, INJECTOR, 2), Verdict::Drop(Dropped::Foreign));
    let rtcp = world.port(0, Leg::A, Channel::Rtcp);
    assert_eq!(world.send(rtcp, "192.0.2.1:4001", &RTCP), Verdict::Drop(Dropped::Early));
    assert_eq!(world.shelf.kept.len(), 4, "what is said to it is kept");
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
    assert_eq!(goes_to(world.talk(Leg::A, A, 1)), B);
    let tally = world.close();
    assert_eq!(
        (tally.accepted, tally.forwarded, tally.early, tally.foreign),
        (5, 3, 2, 1)
    );
}
