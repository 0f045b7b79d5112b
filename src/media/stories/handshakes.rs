//! Keys that the ends agree on behind their descriptions: not where the call is recorded in clear.

use super::*;

/// ZRTP's Hello (RFC 6189 §5.2), a DTLS ClientHello (RFC 6347 §4.1), a STUN binding request (RFC 8489 §5).
const ZRTP: &[u8] = b"\x10\x00\x00\x01ZRTP\x00\x00\x00\x09\x50\x5a\x00\x1dHello   ";
const DTLS: &[u8] = &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0];
const STUN: &[u8] = &[
    0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
];

/// A line whose legs have PCMA, by these names.
fn named(a: &str, b: &str) -> LinePlan {
    let mut line = line(0, remote(A), remote(B));
    line.a.formats = vec![(8, a.to_owned(), 8_000, 1)];
    line.b.formats = vec![(8, b.to_owned(), 8_000, 1)];
    line
}

#[test]
fn the_ends_agree_on_no_keys_of_their_own_where_the_call_is_recorded_in_clear() {
    for recorded in [Recorded::Strict, Recorded::Lenient] {
        let mut world = World::call(recorded);
        world.modify(recorded, vec![named("PCMA", "PCMA")]);
        let ports = Channel::BOTH.map(|channel| world.port(0, Leg::A, channel));
        for (port, from) in ports.into_iter().zip([A, "192.0.2.1:4001"]) {
            assert_eq!(world.send(port, from, ZRTP), Verdict::Drop(Dropped::Handshake));
            assert_eq!(world.send(port, from, DTLS), Verdict::Drop(Dropped::Handshake));
        }
        assert_eq!(world.send(ports[0], INJECTOR, ZRTP), Verdict::Drop(Dropped::Foreign));
        assert_eq!(
            goes_to(world.send(ports[0], A, STUN)),
            B,
            "they ask for their way all the same"
        );
        assert_eq!(goes_to(world.talk(Leg::A, A, 1)), B);
        let tally = world.close();
        assert_eq!((tally.handshakes, tally.foreign, tally.accepted), (4, 1, 2));
    }
}

#[test]
fn they_do_where_nothing_is_recorded_or_their_descriptions_said_so() {
    for (recorded, line) in [
        (Recorded::No, named("PCMA", "PCMA")),
        (Recorded::Lenient, named("PCMA (SRTP)", "PCMA (SRTP)")),
        (Recorded::Strict, line(0, remote(A), remote(B))),
    ] {
        let mut world = World::call(recorded);
        world.modify(recorded, vec![line]);
        let port = world.port(0, Leg::A, Channel::Rtp);
        for bytes in [ZRTP, DTLS] {
            assert_eq!(goes_to(world.send(port, A, bytes)), B);
        }
        assert_eq!(world.close().handshakes, 0);
    }
}

/// ZRTP's Commit (RFC 6189 §5.4).
const COMMIT: &[u8] = b"\x10\x00\x00\x02ZRTP\x00\x00\x00\x09\x50\x5a\x00\x1dCommit  ";

#[test]
fn keys_that_they_agree_on_before_anything_is_recorded_are_told_of_and_a_greeting_is_not() {
    let mut world = World::call(Recorded::No);
    let plan = || vec![named("PCMA", "PCMA")];
    world.modify(Recorded::No, plan());
    let port = world.port(0, Leg::A, Channel::Rtp);
    let news = |world: &mut World| {
        let mut events = world.events();
        events.retain(|event| matches!(event, MediaEvent::Sealed { .. }));
        events
    };
    for bytes in [ZRTP, DTLS] {
        assert_eq!(goes_to(world.send(port, A, bytes)), B);
    }
    assert_eq!(news(&mut world), [], "nobody has answered");
    let sealed = MediaEvent::Sealed {
        session: SESSION,
        line: 0,
    };
    for told in [vec![sealed], vec![]] {
        assert_eq!(goes_to(world.send(port, A, COMMIT)), B);
        assert_eq!(news(&mut world), told, "once");
    }
    world.modify(Recorded::Lenient, plan());
    assert_eq!(world.send(port, A, COMMIT), Verdict::Drop(Dropped::Handshake));
    assert_eq!(news(&mut world), []);
}
