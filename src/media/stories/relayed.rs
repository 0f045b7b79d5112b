//! Both ways are relayed and kept, through the ports that the far ends were told, for as long as the session is open.

use super::*;

#[test]
fn both_ways_are_relayed_and_all_of_it_is_kept() {
    let mut world = World::call(Recorded::Strict);
    for sequence in 0..50 {
        assert_eq!(goes_to(world.talk(Leg::A, A, sequence)), B);
        assert_eq!(goes_to(world.talk(Leg::B, B, sequence)), A);
    }
    assert_eq!(world.shelf.kept.len(), 100);
    let tally = world.close();
    assert_eq!((tally.accepted, tally.forwarded), (100, 100));
    let streams: Vec<_> = tally.streams.iter().map(|s| (s.leg, s.packets, s.lost)).collect();
    assert_eq!(streams, [(Leg::A, 50, 0), (Leg::B, 50, 0)]);
}

#[test]
fn a_packet_leaves_from_the_port_that_the_far_leg_was_told() {
    let mut world = World::call(Recorded::No);
    let (near, far) = (world.port(0, Leg::A, Channel::Rtp), world.port(0, Leg::B, Channel::Rtp));
    assert_eq!(
        world.send(near, A, &rtp(1, 1)),
        Verdict::Forward {
            via: far,
            to: address(B)
        }
    );
    assert!(world.shelf.kept.is_empty(), "nobody asked for a recording");
    assert_eq!(world.close().forwarded, 1);
}

#[test]
fn before_the_answer_packets_are_counted_and_go_nowhere() {
    let mut world = World::new();
    world.command(MediaCommand::Open(plan(
        Recorded::Strict,
        vec![line(0, remote(A), None)],
    )));
    assert_eq!(world.talk(Leg::A, A, 0), Verdict::Drop(Dropped::Early));
    assert_eq!(
        world.talk(Leg::B, B, 0),
        Verdict::Drop(Dropped::Foreign),
        "nobody said who B is"
    );
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
    assert_eq!(goes_to(world.talk(Leg::B, B, 1)), A);
    let tally = world.close();
    assert_eq!(
        (tally.early, tally.foreign, tally.accepted, tally.forwarded),
        (1, 1, 1, 1)
    );
}

#[test]
fn one_way_audio_is_relayed_and_tallied_one_way() {
    let mut world = World::new();
    world.command(MediaCommand::Open(plan(
        Recorded::Strict,
        vec![line(0, remote("0.0.0.0:4000"), remote(B))],
    )));
    assert_eq!(
        world.talk(Leg::B, B, 0),
        Verdict::Drop(Dropped::Early),
        "A holds by 0.0.0.0"
    );
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
    for sequence in 0..5 {
        assert_eq!(goes_to(world.talk(Leg::B, B, sequence)), A);
    }
    let tally = world.close();
    let legs: Vec<_> = tally.streams.iter().map(|s| (s.leg, s.packets)).collect();
    assert_eq!(legs, [(Leg::B, 5)]);
}

#[test]
fn rtcp_has_its_own_ports_and_latch_and_may_share_the_rtp_port() {
    let mut world = World::call(Recorded::Strict);
    let (rtp_port, rtcp_port) = (
        world.port(0, Leg::A, Channel::Rtp),
        world.port(0, Leg::A, Channel::Rtcp),
    );
    assert_eq!(
        goes_to(world.send(rtcp_port, "192.0.2.1:4001", &RTCP)),
        "198.51.100.1:6001"
    );
    assert_eq!(goes_to(world.send(rtp_port, A, &RTCP)), B, "rtcp-mux");
    assert_eq!(goes_to(world.send(rtp_port, A, b"\x16\xfe\xfd DTLS")), B, "kept raw");
    assert_eq!(goes_to(world.send(rtp_port, A, b"")), B);
    let kinds: Vec<_> = world.shelf.kept.iter().map(|(_, _, kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [PacketKind::Rtcp, PacketKind::Rtcp, PacketKind::Other, PacketKind::Other]
    );
    assert_eq!(world.close().streams, []);
}

#[test]
fn what_the_network_did_not_take_was_not_forwarded() {
    let mut world = World::call(Recorded::Strict);
    let Verdict::Forward { via, .. } = world.talk(Leg::A, A, 0) else {
        panic!()
    };
    world.plane.handle_unsent(via);
    let tally = world.close();
    assert_eq!((tally.accepted, tally.forwarded, tally.unsent), (1, 0, 1));
}

#[test]
fn a_closed_sessions_port_is_not_the_next_ones() {
    let mut world = World::call(Recorded::Strict);
    let old = world.port(0, Leg::A, Channel::Rtp);
    world.close();
    world.command(MediaCommand::Open(plan(
        Recorded::Strict,
        vec![line(0, remote(A), remote(B))],
    )));
    assert_eq!(
        world.port(0, Leg::A, Channel::Rtp).session(),
        old.session(),
        "the place is used again"
    );
    assert_eq!(world.send(old, A, &rtp(1, 1)), Verdict::Drop(Dropped::UnknownPort));
    assert_eq!(world.close().accepted, 0);
}

#[test]
fn recording_may_begin_and_end_within_a_call() {
    let mut world = World::call(Recorded::No);
    let lines = || vec![line(0, remote(A), remote(B))];
    assert_eq!(goes_to(world.talk(Leg::A, A, 0)), B);
    world.modify(Recorded::Strict, lines());
    assert_eq!(goes_to(world.talk(Leg::A, A, 1)), B);
    world.modify(Recorded::No, lines());
    assert_eq!(world.shelf.slots, []);
    assert_eq!(goes_to(world.talk(Leg::A, A, 2)), B);
    assert_eq!(world.shelf.kept.len(), 1);
    let tally = world.close();
    assert_eq!((tally.accepted, tally.forwarded), (1, 3));
}
