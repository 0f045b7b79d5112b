//! What happens to a call's media, told in virtual time: a plane, a recorder that can be broken, and two phones.

#![allow(clippy::unwrap_used, clippy::panic)]

mod ailing;
mod as_it_is;
mod gated;
mod handshakes;
mod haphazard;
mod keyed;
mod lines;
mod measured;
mod metered;
mod paused;
mod phone;
mod reported;
mod shaken;
mod told;

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{
    Fault, Gate, Leg, LegPlan, LinePlan, MediaCommand, MediaEvent, MediaKind, MediaPlan, Origin, Pausing, Recorded,
    Remote, SessionId, Tally, Timestamp,
};
use crate::recorder::{FrameSink, Offer, Packet, PacketKind, Slot};
use crate::rtp::packet::tests::rtp;

use phone::Phone;

use super::{Channel, Dropped, LINES_MAX, Plane, PlaneOutput, Port, Verdict};

/// A recorder that keeps what it takes.
#[derive(Default)]
struct Shelf {
    kept: Vec<(Leg, u16, PacketKind, Vec<u8>)>,
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
struct World {
    plane: Plane,
    shelf: Shelf,
    now: Timestamp,
    bound: Vec<(Port, SocketAddr)>,
    taken: Vec<SocketAddr>,
    events: Vec<MediaEvent>,
    /// Packets of our own: from, to, what.
    sent: Vec<(Port, SocketAddr, Vec<u8>)>,
    /// As it was told last.
    pausing: Pausing,
}

const SESSION: SessionId = SessionId::from_u128(7);
const A: &str = "192.0.2.1:4000";
const B: &str = "198.51.100.1:6000";
const INJECTOR: &str = "203.0.113.66:4000";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn remote(text: &str) -> Option<Remote> {
    let rtp = address(text);
    Some(Remote {
        rtp,
        rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
    })
}

fn line(index: u16, a: Option<Remote>, b: Option<Remote>) -> LinePlan {
    let leg = |port: u16, remote| LegPlan {
        local: SocketAddr::new([10, 0, 0, 1].into(), 40_000 + 4 * index + port),
        remote,
        deaf: false,
        mute: false,
        holds: false,
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

fn plan(recorded: Recorded, lines: Vec<LinePlan>) -> Box<MediaPlan> {
    Box::new(MediaPlan {
        session: SESSION,
        recorded,
        answered: false,
        lines,
        keys: Vec::new(),
        pausing: Default::default(),
    })
}

const RTCP: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

impl World {
    fn new() -> Self {
        Self {
            plane: Plane::new(),
            shelf: Shelf::default(),
            now: Timestamp::from_millis(1_000),
            bound: Vec::new(),
            taken: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            pausing: Pausing::default(),
        }
    }

    /// One audio line, both parties known.
    fn call(recorded: Recorded) -> Self {
        let mut world = Self::new();
        world.command(MediaCommand::Open(plan(recorded, vec![line(0, remote(A), remote(B))])));
        assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
        world
    }

    fn command(&mut self, command: MediaCommand) {
        match &command {
            MediaCommand::Pausing { pausing, .. } => self.pausing = *pausing,
            MediaCommand::Open(plan) => self.pausing = plan.pausing,
            _ => {}
        }
        self.plane.handle_command(self.now, command, &mut self.shelf);
        self.drain();
    }

    fn modify(&mut self, recorded: Recorded, lines: Vec<LinePlan>) {
        let mut plan = plan(recorded, lines);
        plan.pausing = self.pausing;
        self.command(MediaCommand::Modify(plan));
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
                PlaneOutput::Send { via, to, bytes } => self.sent.push((via, to, bytes)),
                PlaneOutput::Event(event) => self.events.push(event),
            }
        }
    }

    fn events(&mut self) -> Vec<MediaEvent> {
        std::mem::take(&mut self.events)
    }

    fn port(&self, line: usize, leg: Leg, channel: Channel) -> Port {
        let found = self.bound.iter().map(|(port, _)| *port);
        found
            .into_iter()
            .find(|p| (p.line(), p.leg(), p.channel()) == (line, leg, channel))
            .unwrap()
    }

    fn send(&mut self, port: Port, from: &str, bytes: &[u8]) -> Verdict {
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

    fn close(&mut self) -> Tally {
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

fn goes_to(verdict: Verdict) -> String {
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
fn an_sdp_that_names_our_own_ports_makes_no_loop() {
    let mut world = World::new();
    let ours = line(0, remote("10.0.0.1:40002"), remote("10.0.0.1:40000"));
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![ours])));
    assert_eq!(world.talk(Leg::A, "10.0.0.1:40002", 0), Verdict::Drop(Dropped::Foreign));
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote("10.0.0.1:40001"))]);
    assert_eq!(world.talk(Leg::A, A, 0), Verdict::Drop(Dropped::Early));
}

#[test]
fn what_comes_from_ourselves_is_relayed_until_it_goes_round() {
    let mut world = World::new();
    let line = || line(0, remote("10.0.0.1:50000"), remote(B));
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![line()])));
    for sequence in 0..500 {
        assert_eq!(
            goes_to(world.talk(Leg::A, "10.0.0.1:50000", sequence)),
            B,
            "a call that passes us twice"
        );
        world.now = world.now + Duration::from_millis(1);
    }
    let round = (0..20_000).map(|sequence| world.talk(Leg::A, "10.0.0.1:50000", sequence));
    let forwarded = round
        .filter(|verdict| matches!(verdict, Verdict::Forward { .. }))
        .count();
    assert!((1_000..5_000).contains(&forwarded), "{forwarded}");
    world.now = world.now + Duration::from_secs(5);
    assert_eq!(
        world.talk(Leg::A, "10.0.0.1:50000", 0),
        Verdict::Drop(Dropped::Foreign),
        "it is seeded no more"
    );
    assert_eq!(goes_to(world.talk(Leg::B, B, 0)), "10.0.0.1:50000");
    world.modify(Recorded::Strict, vec![line()]);
    assert_eq!(goes_to(world.talk(Leg::A, "10.0.0.1:50000", 0)), B);
    assert!(world.close().excess > 10_000);
}

#[test]
fn what_goes_round_by_two_addresses_of_ours_is_cut_too() {
    let mut world = World::new();
    let mut between = line(0, remote("203.0.113.1:50002"), remote(B));
    between.b.local = address("203.0.113.1:40002");
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![between])));
    let round = (0..20_000).map(|sequence| world.talk(Leg::A, "203.0.113.1:50002", sequence));
    let forwarded = round
        .filter(|verdict| matches!(verdict, Verdict::Forward { .. }))
        .count();
    assert!((1_000..5_000).contains(&forwarded), "{forwarded}");
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
