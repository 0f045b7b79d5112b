//! What happens to a call's media, told in virtual time: a plane, a recorder that can be broken, and two phones.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;

use proptest::prelude::*;

use crate::model::{
    Fault, Gate, Leg, LegPlan, LinePlan, MediaCommand, MediaEvent, MediaKind, MediaPlan, Origin, Recorded, Remote,
    SessionId, Tally, Timestamp,
};
use crate::recorder::{FrameSink, Offer, Packet, PacketKind, Slot};

use super::{Channel, Dropped, LINES_MAX, Plane, PlaneOutput, Port, Verdict};

/// A recorder that keeps what it takes.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) kept: Vec<(Leg, u16, PacketKind, Vec<u8>)>,
    refuses: Option<Fault>,
    no_room: bool,
    slots: Vec<Slot>,
    next: u32,
}

impl FrameSink for Shelf {
    fn open(&mut self, _: SessionId) -> Option<Slot> {
        if self.no_room {
            return None;
        }
        self.next += 1;
        self.slots.push(Slot(self.next));
        Some(Slot(self.next))
    }

    fn close(&mut self, _: Timestamp, slot: Slot) {
        let open = self
            .slots
            .iter()
            .position(|open| *open == slot)
            .expect("closed once, after it was opened");
        self.slots.swap_remove(open);
    }

    fn offer(&mut self, _: Timestamp, slot: Slot, packet: Packet<'_>) -> Offer {
        assert!(self.slots.contains(&slot), "offered to an open slot");
        match self.refuses {
            Some(fault) => Offer::Refused(fault),
            None => {
                self.kept
                    .push((packet.leg, packet.line, packet.kind, packet.bytes.to_vec()));
                Offer::Accepted
            }
        }
    }
}

/// A plane whose driver binds everything at once, unless told not to.
pub(super) struct World {
    pub(super) plane: Plane,
    pub(super) shelf: Shelf,
    pub(super) now: Timestamp,
    bound: Vec<(Port, SocketAddr)>,
    taken: Vec<SocketAddr>,
    events: Vec<MediaEvent>,
}

pub(super) const SESSION: SessionId = SessionId::from_u128(7);
pub(super) const A: &str = "192.0.2.1:4000";
pub(super) const B: &str = "198.51.100.1:6000";
const INJECTOR: &str = "203.0.113.66:4000";

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn remote(text: &str) -> Option<Remote> {
    let rtp = address(text);
    Some(Remote {
        rtp,
        rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
    })
}

pub(super) fn line(index: u16, a: Option<Remote>, b: Option<Remote>) -> LinePlan {
    let leg = |port: u16, remote| LegPlan {
        local: SocketAddr::new([10, 0, 0, 1].into(), 40_000 + 4 * index + port),
        remote,
        deaf: false,
        origin: Origin::Signalled,
        formats: Vec::new(),
    };
    LinePlan {
        index,
        kind: MediaKind::Audio,
        a: leg(0, a),
        b: leg(2, b),
    }
}

pub(super) fn plan(recorded: Recorded, lines: Vec<LinePlan>) -> Box<MediaPlan> {
    Box::new(MediaPlan {
        session: SESSION,
        recorded,
        lines,
        keys: Vec::new(),
    })
}

pub(super) fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xd5; 160]);
    packet
}

pub(super) const RTCP: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

impl World {
    pub(super) fn new() -> Self {
        Self {
            plane: Plane::new(),
            shelf: Shelf::default(),
            now: Timestamp::from_millis(1_000),
            bound: Vec::new(),
            taken: Vec::new(),
            events: Vec::new(),
        }
    }

    /// One audio line, both parties known.
    fn call(recorded: Recorded) -> Self {
        let mut world = Self::new();
        world.command(MediaCommand::Open(plan(recorded, vec![line(0, remote(A), remote(B))])));
        assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
        world
    }

    pub(super) fn command(&mut self, command: MediaCommand) {
        self.plane.handle_command(self.now, command, &mut self.shelf);
        self.drain();
    }

    fn modify(&mut self, recorded: Recorded, lines: Vec<LinePlan>) {
        self.command(MediaCommand::Modify(plan(recorded, lines)));
    }

    fn drain(&mut self) {
        while let Some(output) = self.plane.poll_output() {
            match output {
                PlaneOutput::Bind(port, at) if self.taken.contains(&at) => {
                    self.plane.handle_bind_failed(self.now, port, &mut self.shelf);
                }
                PlaneOutput::Bind(port, at) => {
                    assert!(
                        self.bound.iter().all(|(other, taken)| *other != port && *taken != at),
                        "bound twice"
                    );
                    self.bound.push((port, at));
                    self.plane.handle_bound(self.now, port, &mut self.shelf);
                }
                PlaneOutput::Unbind(port) => self.bound.retain(|(bound, _)| *bound != port),
                PlaneOutput::Event(event) => self.events.push(event),
            }
        }
    }

    fn events(&mut self) -> Vec<MediaEvent> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn port(&self, line: usize, leg: Leg, channel: Channel) -> Port {
        let found = self.bound.iter().map(|(port, _)| *port);
        found
            .into_iter()
            .find(|p| (p.line(), p.leg(), p.channel()) == (line, leg, channel))
            .unwrap()
    }

    pub(super) fn send(&mut self, port: Port, from: &str, bytes: &[u8]) -> Verdict {
        let verdict = self
            .plane
            .handle_packet(self.now, port, address(from), self.now, bytes, &mut self.shelf);
        self.drain();
        verdict
    }

    /// An RTP packet on the first line.
    fn talk(&mut self, leg: Leg, from: &str, sequence: u16) -> Verdict {
        self.send(
            self.port(0, leg, Channel::Rtp),
            from,
            &rtp(leg.index() as u32, sequence),
        )
    }

    pub(super) fn close(&mut self) -> Tally {
        self.events.clear();
        self.command(MediaCommand::Close { session: SESSION });
        assert!(
            self.plane.is_empty() && self.bound.is_empty() && self.shelf.slots.is_empty(),
            "something leaked"
        );
        match self.events().as_slice() {
            [MediaEvent::Closed { tally, .. }] => (**tally).clone(),
            other => panic!("closed with {other:?}"),
        }
    }
}

pub(super) fn goes_to(verdict: Verdict) -> String {
    match verdict {
        Verdict::Forward { to, .. } | Verdict::Change { to, .. } => to.to_string(),
        Verdict::Drop(why) => format!("{why:?}"),
    }
}

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
    assert_eq!(world.shelf.kept.len(), 2);
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
    assert_eq!(goes_to(world.talk(Leg::A, A, 1)), B);
    let tally = world.close();
    assert_eq!(
        (tally.accepted, tally.forwarded, tally.early, tally.foreign),
        (3, 3, 2, 1)
    );
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
    world.now = world.now + super::fork::REATTACH_EVERY;
    assert_eq!(goes_to(world.talk(Leg::A, A, 2)), B);
    assert_eq!(world.shelf.kept.len(), 1);
    let tally = world.close();
    assert_eq!((tally.accepted, tally.unrecorded, tally.forwarded), (1, 2, 3));
}

#[test]
fn an_sdp_that_names_our_own_ports_makes_no_loop() {
    let mut world = World::new();
    let ours = line(0, remote("10.0.0.1:40002"), remote("10.0.0.1:40000"));
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![ours])));
    assert_eq!(world.talk(Leg::A, "10.0.0.1:40002", 0), Verdict::Drop(Dropped::Foreign));
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote("10.0.0.1:40001"))]);
    assert_eq!(world.talk(Leg::A, A, 0), Verdict::Drop(Dropped::Early));
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

#[test]
fn a_re_invite_adds_a_line_and_its_frames_carry_the_lines_index() {
    let mut world = World::call(Recorded::Strict);
    world.modify(
        Recorded::Strict,
        vec![
            line(0, remote(A), remote(B)),
            line(1, remote("192.0.2.1:4100"), remote("198.51.100.1:6100")),
        ],
    );
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    assert_eq!(world.bound.len(), 8);
    let video = world.port(1, Leg::B, Channel::Rtp);
    assert_eq!(
        goes_to(world.send(video, "198.51.100.1:6100", &rtp(9, 1))),
        "192.0.2.1:4100"
    );
    assert_eq!(world.shelf.kept[0].1, 1);
    assert_eq!(world.close().streams[0].line, 1);
}

#[test]
fn a_refused_line_takes_no_ports_until_it_has_some() {
    let mut world = World::new();
    let mut refused = line(1, None, None);
    refused.a.local.set_port(0);
    refused.b.local.set_port(0);
    world.command(MediaCommand::Open(plan(
        Recorded::Strict,
        vec![line(0, remote(A), remote(B)), refused],
    )));
    assert_eq!(world.bound.len(), 4);
    world.modify(
        Recorded::Strict,
        vec![line(0, remote(A), remote(B)), line(1, remote(A), remote(B))],
    );
    assert_eq!(world.bound.len(), 8);
    world.close();
}

#[test]
fn a_port_that_is_taken_ends_the_opening_and_leaves_nothing_bound() {
    let mut world = World::new();
    world.taken = vec![address("10.0.0.1:40002")];
    world.command(MediaCommand::Open(plan(
        Recorded::Strict,
        vec![line(0, remote(A), remote(B))],
    )));
    let failed = MediaEvent::OpenFailed {
        session: SESSION,
        local: address("10.0.0.1:40002"),
    };
    assert_eq!(world.events(), [failed]);
    assert!(world.plane.is_empty() && world.bound.is_empty() && world.shelf.slots.is_empty());
    world.command(MediaCommand::Close { session: SESSION });
    assert_eq!(world.events(), [], "no Closed follows");
}

#[test]
fn a_line_that_cannot_be_bound_leaves_the_call_as_it_was() {
    let mut world = World::call(Recorded::Strict);
    world.taken = vec![address("10.0.0.1:40007")];
    let moved = remote("192.0.2.9:7000");
    world.modify(
        Recorded::Strict,
        vec![line(0, moved, remote(B)), line(1, remote(A), remote(B))],
    );
    let failed = MediaEvent::OpenFailed {
        session: SESSION,
        local: address("10.0.0.1:40007"),
    };
    assert_eq!(world.events(), [failed]);
    assert_eq!(world.bound.len(), 4);
    assert_eq!(goes_to(world.talk(Leg::A, A, 1)), B, "the old place");
    world.taken.clear();
    world.modify(
        Recorded::Strict,
        vec![line(0, moved, remote(B)), line(1, remote(A), remote(B))],
    );
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    assert_eq!(goes_to(world.talk(Leg::A, "192.0.2.9:7000", 2)), B);
    world.close();
}

#[test]
fn a_plan_that_cannot_be_relayed_is_refused() {
    let mut world = World::new();
    let many = (0..=LINES_MAX as u16)
        .map(|index| line(index, remote(A), remote(B)))
        .collect();
    world.command(MediaCommand::Open(plan(Recorded::Strict, many)));
    assert!(matches!(world.events().as_slice(), [MediaEvent::OpenFailed { .. }]));
    assert!(world.plane.is_empty() && world.bound.is_empty());
}

/// One line whose B faces us at our IPv6 address, at the same ports.
fn faced_by_ipv6(b: Option<Remote>) -> LinePlan {
    let mut faced = line(0, remote(A), b);
    faced.b.local = address("[2001:db8::1]:40002");
    faced
}

#[test]
fn a_side_moves_to_our_other_address_and_the_old_one_is_free() {
    let mut world = World::call(Recorded::Strict);
    let old = world.port(0, Leg::B, Channel::Rtp);
    world.modify(Recorded::Strict, vec![faced_by_ipv6(None)]);
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    let mut bound: Vec<_> = world.bound.iter().map(|(_, at)| at.to_string()).collect();
    bound.sort();
    let of_a = ["10.0.0.1:40000", "10.0.0.1:40001"];
    assert_eq!(bound, [of_a[0], of_a[1], "[2001:db8::1]:40002", "[2001:db8::1]:40003"]);
    assert_eq!(
        world.talk(Leg::A, A, 1),
        Verdict::Drop(Dropped::Early),
        "the party who was there is gone"
    );
    assert_eq!(world.send(old, B, &rtp(1, 1)), Verdict::Drop(Dropped::Foreign));
    world.modify(Recorded::Strict, vec![faced_by_ipv6(remote("[2001:db8::9]:6000"))]);
    assert_eq!(goes_to(world.talk(Leg::A, A, 2)), "[2001:db8::9]:6000");
    assert_eq!(goes_to(world.talk(Leg::B, "[2001:db8::9]:6000", 2)), A);
    let tally = world.close();
    assert_eq!((tally.accepted, tally.early, tally.foreign), (2, 1, 1));
}

#[test]
fn a_side_that_cannot_move_has_no_port_and_may_be_moved_again() {
    let mut world = World::call(Recorded::Strict);
    world.taken = vec![address("[2001:db8::1]:40003")];
    world.modify(Recorded::Strict, vec![faced_by_ipv6(remote("[2001:db8::9]:6000"))]);
    let local = address("[2001:db8::1]:40003");
    assert_eq!(
        world.events(),
        [MediaEvent::OpenFailed {
            session: SESSION,
            local
        }]
    );
    assert_eq!(world.bound.len(), 2, "A's");
    assert_eq!(world.talk(Leg::A, A, 1), Verdict::Drop(Dropped::Early));
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    assert_eq!(goes_to(world.talk(Leg::A, A, 2)), B);
    world.close();
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

/// What may happen to a plane, drawn at random.
#[derive(Clone, Debug)]
enum Step {
    Packet {
        token: u64,
        line: usize,
        leg: bool,
        rtcp: bool,
        from: u8,
        bytes: Vec<u8>,
    },
    Plan {
        open: bool,
        recorded: Recorded,
        lines: Vec<(u16, u8, u8)>,
    },
    Gate(bool),
    Close,
    Recorder(Option<Fault>, bool),
    Taken(Option<u16>),
}

fn sources(choice: u8) -> &'static str {
    [
        A,
        B,
        INJECTOR,
        "192.0.2.1:4001",
        "198.51.100.1:6001",
        "192.0.2.1:9",
        "0.0.0.0:4000",
        "[::1]:4000",
    ][choice as usize % 8]
}

fn step() -> impl Strategy<Value = Step> {
    let recorded = prop_oneof![Just(Recorded::No), Just(Recorded::Lenient), Just(Recorded::Strict)];
    let recorded = (
        any::<bool>(),
        recorded,
        proptest::collection::vec((0_u16..20, any::<u8>(), any::<u8>()), 0..4),
    );
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), any::<u16>()).prop_map(|(ssrc, sequence)| rtp(u32::from(ssrc), sequence)),
    ];
    let token = prop_oneof![8 => Just(0_u64), 1 => any::<u64>()];
    prop_oneof![
        12 => (token, 0_usize..3, any::<bool>(), any::<bool>(), any::<u8>(), bytes).prop_map(
            |(token, line, leg, rtcp, from, bytes)| Step::Packet { token, line, leg, rtcp, from, bytes }
        ),
        3 => recorded.prop_map(|(open, recorded, lines)| Step::Plan { open, recorded, lines }),
        1 => any::<bool>().prop_map(Step::Gate),
        1 => Just(Step::Close),
        2 => (proptest::option::of(Just(Fault::Io)), any::<bool>()).prop_map(|(fault, room)| Step::Recorder(fault, room)),
        1 => proptest::option::of(40_000_u16..40_080).prop_map(Step::Taken),
    ]
}

fn random_plan(recorded: Recorded, lines: &[(u16, u8, u8)]) -> Box<MediaPlan> {
    let side = |choice: u8| {
        if choice.is_multiple_of(3) {
            None
        } else {
            remote(sources(choice))
        }
    };
    plan(
        recorded,
        lines
            .iter()
            .map(|(index, a, b)| {
                let mut line = line(*index, side(*a), side(*b));
                if *b >= 200 {
                    line.b.local.set_ip([10, 0, 0, 2].into());
                }
                line
            })
            .collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_of_a_strict_session_is_forwarded_that_was_not_accepted(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut world = World::new();
        // The newest plan is not always in effect; strict at any time since the last close is what is claimed below.
        let mut only_strict = true;
        for step in steps {
            match step {
                Step::Packet { token, line, leg, rtcp, from, bytes } => {
                    let leg = if leg { Leg::A } else { Leg::B };
                    let channel = if rtcp { Channel::Rtcp } else { Channel::Rtp };
                    let known = world.bound.iter().map(|(port, _)| *port)
                        .find(|port| (port.line(), port.leg(), port.channel()) == (line, leg, channel));
                    let port = known.filter(|_| token == 0).unwrap_or(Port::from_token(token));
                    let kept = world.shelf.kept.len();
                    let verdict = world.send(port, sources(from), &bytes);
                    let taken = world.shelf.kept.len() - kept;
                    if let Verdict::Forward { via, to } = verdict {
                        prop_assert!(taken == 1 || !only_strict, "forwarded without the recorder");
                        prop_assert!(world.bound.iter().any(|(bound, _)| *bound == via), "sent from a port of ours");
                        prop_assert!(!to.ip().is_unspecified() && to.port() != 0);
                        if taken == 1 {
                            prop_assert_eq!(&world.shelf.kept.last().unwrap().3, &bytes);
                        }
                    } else {
                        prop_assert_eq!(taken, 0, "recorded and not forwarded");
                    }
                }
                Step::Plan { open, recorded, lines } => {
                    only_strict &= recorded == Recorded::Strict;
                    let plan = random_plan(recorded, &lines);
                    world.command(if open { MediaCommand::Open(plan) } else { MediaCommand::Modify(plan) });
                }
                Step::Gate(open) => {
                    let gate = if open { Gate::Open } else { Gate::Shut };
                    world.command(MediaCommand::Gate { session: SESSION, gate });
                }
                Step::Close => {
                    world.command(MediaCommand::Close { session: SESSION });
                    prop_assert!(world.plane.is_empty() && world.bound.is_empty() && world.shelf.slots.is_empty());
                    only_strict = true;
                }
                Step::Recorder(refuses, no_room) => (world.shelf.refuses, world.shelf.no_room) = (refuses, no_room),
                Step::Taken(port) => world.taken = port.map(|port| SocketAddr::new([10, 0, 0, 1].into(), port)).into_iter().collect(),
            }
        }
        world.command(MediaCommand::Close { session: SESSION });
        prop_assert!(world.plane.is_empty() && world.bound.is_empty() && world.shelf.slots.is_empty());
    }
}
