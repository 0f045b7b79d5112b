//! What is counted of the streams of a call.

use super::*;

#[test]
fn a_flood_of_ssrcs_is_bounded_and_the_other_party_keeps_its_place() {
    let mut world = World::call(Recorded::Strict);
    let port = world.port(0, Leg::A, Channel::Rtp);
    for ssrc in 0..1_000 {
        assert_eq!(goes_to(world.send(port, A, &rtp(ssrc, 1))), B);
    }
    assert_eq!(goes_to(world.talk(Leg::B, B, 1)), A);
    let tally = world.close();
    assert_eq!((tally.accepted, tally.streams.len()), (1_001, 64));
    assert_eq!(
        tally.streams.iter().map(|s| s.packets).sum::<u64>(),
        1_001,
        "every packet is in some stream"
    );
    assert_eq!(tally.streams.iter().filter(|s| s.leg == Leg::B).count(), 1);
}

#[test]
fn loss_reordering_and_wrap_are_told_by_extended_sequence_numbers() {
    let mut world = World::call(Recorded::Strict);
    for sequence in [65_533, 65_534, 0, 65_535, 1, 4, 4, 6] {
        assert_eq!(goes_to(world.talk(Leg::A, A, sequence)), B);
    }
    let stream = world.close().streams[0].clone();
    assert_eq!(
        (stream.packets, stream.lost),
        (8, 2),
        "2, 3 and 5 are missing, and 4 came twice"
    );
}

#[test]
fn the_most_frequent_payload_type_names_the_stream() {
    let mut world = World::call(Recorded::Strict);
    let port = world.port(0, Leg::A, Channel::Rtp);
    for (sequence, payload_type) in [101, 101, 8, 13, 97, 98, 8, 8, 8, 101].into_iter().enumerate() {
        let mut packet = rtp(5, sequence as u16);
        packet[1] = payload_type | 0x80;
        assert_eq!(goes_to(world.send(port, A, &packet)), B);
    }
    assert_eq!(world.close().streams[0].payload_type, 8);
}
