//! What a gate, and a recorder that does not take a packet, do to a call.

use super::*;

#[test]
fn the_gate_stops_both_ways_at_once_and_opens_again() {
    let mut world = World::call(Recorded::Strict);
    world.command(MediaCommand::Gate {
        session: SESSION,
        gate: Gate::Shut,
    });
    assert_eq!(world.talk(Leg::A, A, 0), Verdict::Drop(Dropped::Gated));
    assert_eq!(world.talk(Leg::B, B, 0), Verdict::Drop(Dropped::Gated));
    world.command(MediaCommand::Gate {
        session: SESSION,
        gate: Gate::Open,
    });
    assert_eq!(goes_to(world.talk(Leg::A, A, 1)), B);
    let tally = world.close();
    assert_eq!((tally.gated, tally.accepted), (2, 1));
}

#[test]
fn while_the_recorder_is_down_strict_calls_are_silent_and_others_are_not() {
    let mut strict = World::call(Recorded::Strict);
    let mut lenient = World::call(Recorded::Lenient);
    for world in [&mut strict, &mut lenient] {
        world.plane.halt(Some(Fault::Io));
    }
    assert_eq!(strict.talk(Leg::A, A, 0), Verdict::Drop(Dropped::Refused(Fault::Io)));
    let refused = MediaEvent::Refused {
        session: SESSION,
        fault: Fault::Io,
    };
    assert_eq!(strict.events(), [refused]);
    assert_eq!(goes_to(lenient.talk(Leg::A, A, 0)), B);
    for world in [&mut strict, &mut lenient] {
        world.plane.halt(None);
    }
    assert_eq!(
        strict.talk(Leg::B, B, 0),
        Verdict::Drop(Dropped::Gated),
        "it is being ended"
    );
    assert_eq!(goes_to(lenient.talk(Leg::B, B, 0)), A);
    let tally = strict.close();
    assert_eq!((tally.accepted, tally.forwarded, tally.gated), (0, 0, 1));
}

#[test]
fn a_refused_packet_of_a_strict_call_is_not_forwarded_and_the_gate_stays_shut() {
    let mut world = World::call(Recorded::Strict);
    world.shelf.refuses = Some(Fault::PoolEmpty);
    assert_eq!(
        world.talk(Leg::A, A, 0),
        Verdict::Drop(Dropped::Refused(Fault::PoolEmpty))
    );
    assert_eq!(
        world.events(),
        [MediaEvent::Refused {
            session: SESSION,
            fault: Fault::PoolEmpty
        }]
    );
    world.shelf.refuses = None;
    assert_eq!(
        world.talk(Leg::B, B, 0),
        Verdict::Drop(Dropped::Gated),
        "the other way, too"
    );
    world.command(MediaCommand::Gate {
        session: SESSION,
        gate: Gate::Open,
    });
    assert_eq!(
        world.talk(Leg::A, A, 1),
        Verdict::Drop(Dropped::Gated),
        "signalling had not heard yet"
    );
    assert_eq!(world.events(), []);
    let tally = world.close();
    assert_eq!(
        (tally.accepted, tally.forwarded, tally.unrecorded, tally.gated),
        (0, 0, 0, 2)
    );
}

#[test]
fn a_strict_call_without_a_place_in_the_recorder_starts_with_its_gate_shut() {
    let mut world = World::new();
    world.shelf.no_room = true;
    world.command(MediaCommand::Open(plan(
        Recorded::Strict,
        vec![line(0, remote(A), remote(B))],
    )));
    let refused = MediaEvent::Refused {
        session: SESSION,
        fault: Fault::PoolEmpty,
    };
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }, refused]);
    world.shelf.no_room = false;
    assert_eq!(world.talk(Leg::A, A, 0), Verdict::Drop(Dropped::Gated));
}

#[test]
fn a_lenient_call_goes_on_with_a_gap_that_is_counted_and_said_once() {
    let mut world = World::call(Recorded::Lenient);
    assert_eq!(goes_to(world.talk(Leg::A, A, 0)), B);
    world.shelf.refuses = Some(Fault::Io);
    for sequence in 1..=10 {
        assert_eq!(goes_to(world.talk(Leg::A, A, sequence)), B);
    }
    assert_eq!(
        world.events(),
        [MediaEvent::Refused {
            session: SESSION,
            fault: Fault::Io
        }]
    );
    world.shelf.refuses = None;
    assert_eq!(goes_to(world.talk(Leg::A, A, 11)), B);
    world.shelf.refuses = Some(Fault::Io);
    assert_eq!(goes_to(world.talk(Leg::A, A, 12)), B);
    assert_eq!(world.events().len(), 1, "a new gap is news");
    let tally = world.close();
    assert_eq!((tally.accepted, tally.unrecorded, tally.forwarded), (2, 11, 13));
}

#[test]
fn a_lenient_call_asks_for_a_place_every_second() {
    let mut world = World::new();
    world.shelf.no_room = true;
    world.command(MediaCommand::Open(plan(
        Recorded::Lenient,
        vec![line(0, remote(A), remote(B))],
    )));
    assert_eq!(goes_to(world.talk(Leg::A, A, 0)), B);
    world.shelf.no_room = false;
    assert_eq!(goes_to(world.talk(Leg::A, A, 1)), B);
    assert_eq!(world.shelf.kept.len(), 0);
    world.now = world.now + crate::media::fork::REATTACH_EVERY;
    assert_eq!(goes_to(world.talk(Leg::A, A, 2)), B);
    assert_eq!(world.shelf.kept.len(), 1);
    let tally = world.close();
    assert_eq!((tally.accepted, tally.unrecorded, tally.forwarded), (1, 2, 3));
}
