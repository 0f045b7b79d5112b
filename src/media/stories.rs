//! What happens to a call's media, told in virtual time: a plane, a recorder that can be broken, and two phones.

#![allow(clippy::unwrap_used, clippy::panic)]

mod ailing;
mod as_it_is;
mod circling;
mod forked;
mod gated;
mod handshakes;
mod haphazard;
mod keyed;
mod latched;
mod lines;
mod measured;
mod metered;
mod paused;
mod phone;
mod relayed;
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
        agreed: Default::default(),
        far_end: Default::default(),
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
