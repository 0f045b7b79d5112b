//! The relay: one session's lines, and a packet's way from one leg to the other.

mod figures;
mod own;
mod sockets;
mod told;
mod withheld;

use std::net::SocketAddr;

use crate::model::{Fault, Leg, LineSet, MediaPlan, Recorded, SessionId, Tally, Timestamp};
use crate::recorder::{FrameSink, Packet, PacketKind};

use super::circle::Circle;
use super::fork::{Fork, Forked};
use super::gate::Gatekeeper;
use super::hearing::Hearing;
use super::keys::Keys;
use super::latch::{Admission, Latch};
use super::meter::Meter;
use super::notice::Notices;
use super::plane::{Dropped, Verdict};
use super::port::{Channel, LINES_MAX, Port};
use super::probation::{Evidence, Medium};
use super::secrecy::Bench;
use super::side::{Binding, Line, NOWHERE, Side, Socket};
use super::ways::Ways;
pub(super) use own::News;

#[derive(Debug)]
pub(super) struct Relay {
    pub(super) session: SessionId,
    pub(super) generation: u32,
    pub(super) gate: Gatekeeper,
    pub(super) fork: Fork,
    pub(super) keys: Keys,
    /// Somebody is asked whether it agrees.
    pub(super) asks: bool,
    /// Of leg A, of leg B: lines that nothing is kept of which it sends.
    withheld: [LineSet; 2],
    meter: Meter,
    /// `streams` stays empty until the end.
    tally: Tally,
    lines: Vec<Line>,
    /// Takes effect when every port that it needs is bound.
    staged: Option<Box<MediaPlan>>,
    /// Whether a plan took effect before.
    opened: bool,
    /// The leg, the m-line's index and where its RTP comes from, which no SDP named: news that were not told yet.
    learned: Option<(Leg, u16, SocketAddr)>,
    notices: Option<Box<Notices>>,
    /// When it says something of its own next, as its plane knows.
    pub(super) speaks_at: Option<Timestamp>,
    /// Of handshakes and checks, not told yet.
    news: Vec<News>,
    /// Something of a handshake happened since `attend`.
    stirred: bool,
    /// When its handshakes are looked at, as its plane knows.
    pub(super) timer: Option<Timestamp>,
}

/// What becomes of a port for a staged plan.
pub(super) enum Wanted {
    Bound(Port, SocketAddr),
    Gone(Port),
}

impl Relay {
    pub(super) fn new(session: SessionId, generation: u32) -> Self {
        Self {
            session,
            generation,
            gate: Gatekeeper::new(),
            fork: Fork::new(),
            keys: Keys::default(),
            asks: false,
            withheld: [LineSet::NONE; 2],
            meter: Meter::new(),
            tally: Tally::default(),
            lines: Vec::new(),
            staged: None,
            opened: false,
            learned: None,
            notices: None,
            speaks_at: None,
            news: Vec::new(),
            stirred: false,
            timer: None,
        }
    }

    /// The index of the line at this place, if its ends have agreed on keys since this was asked last.
    pub(super) fn take_sealed(&mut self, place: usize) -> Option<u16> {
        let line = self.lines.get_mut(place)?;
        line.hearing.take_news().then_some(line.index)
    }

    pub(super) const fn take_learned(&mut self) -> Option<(Leg, u16, SocketAddr)> {
        self.learned.take()
    }

    /// What goes round, and what would hide behind sound, goes no further.
    #[inline]
    fn bars(
        &mut self,
        now: Timestamp,
        port: Port,
        from: SocketAddr,
        (kind, bytes): (PacketKind, &[u8]),
    ) -> Option<Dropped> {
        let line = &mut self.lines[port.line()];
        let is_from_us = line.is_ours(from.ip());
        if !line.sides[port.leg().index()].circle.admits(now, is_from_us) {
            self.tally.excess += 1;
            return Some(Dropped::Foreign);
        }
        let is_handshake = line.hearing.bars(kind, bytes);
        self.tally.handshakes += u64::from(is_handshake);
        is_handshake.then_some(Dropped::Handshake)
    }

    /// One packet, from a socket of this session. Gate, keys, latch, fork, and only then the way out.
    ///
    /// The fault, too, when the recorder did not take the packet.
    #[inline]
    pub(super) fn pass(
        &mut self,
        now: Timestamp,
        port: Port,
        from: SocketAddr,
        (at, bytes): (Timestamp, &[u8]),
        mut bench: Bench<'_>,
        sink: &mut impl FrameSink,
    ) -> (Verdict, Option<Fault>) {
        let Some(line) = self.lines.get(port.line()) else {
            return (Verdict::Drop(Dropped::UnknownPort), None);
        };
        let (leg, channel) = (port.leg(), port.channel());
        // Whatever the gate: nothing of it is media.
        if line.sides[leg.index()].is_own(channel, from, bytes) {
            self.on_own(now, port, from, bytes);
            return (Verdict::Drop(Dropped::Ours), None);
        }
        if !self.gate.is_open() {
            self.tally.gated += 1;
            return (Verdict::Drop(Dropped::Gated), None);
        }
        let kind = channel.kind_of(bytes);
        let opened = match self.take(port, from, (at, kind, bytes), bench.scratch) {
            Ok(opened) => opened,
            Err(dropped) => return (Verdict::Drop(dropped), None),
        };
        if let Some(dropped) = self.bars(now, port, from, (kind, bytes)) {
            return (Verdict::Drop(dropped), None);
        }
        let line = &mut self.lines[port.line()];
        let exit = line.exit(leg, channel, kind);
        let (near, far) = Line::pair(&mut line.sides, leg);
        let clear = bench.clear(bytes, opened);
        let packet = Packet {
            at,
            leg,
            line: line.index,
            kind,
            bytes: clear,
        };
        let to = far.destination(exit);
        if to.is_none() && !far.is_deaf(exit) {
            self.tally.early += 1;
            // Who is asked before anybody is called answers nobody but us.
            self.keys.take(&packet);
            return (Verdict::Drop(Dropped::Early), None);
        }
        let repeats = || self.keys.repeats(leg, line.index, clear);
        let own = near.withheld.as_deref_mut();
        let missed = match self.fork.offer(now, self.session, packet, (own, repeats), sink) {
            Forked::Refused(fault) => {
                self.gate.refuse();
                return (Verdict::Drop(Dropped::Refused(fault)), Some(fault));
            }
            forked => forked.note(&mut self.tally),
        };
        self.meter.take(port.line(), &packet);
        self.keys.take(&packet);
        // A hold by the null address: kept as what is said during a hold by sendonly is, and there is nowhere to send it.
        let Some(to) = to else {
            self.tally.early += 1;
            return (Verdict::Drop(Dropped::Early), missed);
        };
        let telling = (&mut self.notices, self.asks);
        let Ok(opened) = bench.hush(telling, (now, kind, line.index), leg, (bytes, opened)) else {
            return (told::hushed(&mut self.tally), missed);
        };
        let Ok(is_changed) = bench.finish(far.secrecy.as_deref_mut(), kind, bytes, opened) else {
            self.tally.unsent += 1;
            return (Verdict::Drop(Dropped::Unsealable), missed);
        };
        line.hearing.note(kind, bytes);
        self.tally.forwarded += 1;
        let via = port.far_by(exit);
        let verdict = if is_changed {
            Verdict::Change { via, to }
        } else {
            Verdict::Forward { via, to }
        };
        (verdict, missed)
    }

    /// Whether a packet comes from its leg: the length of the clear packet in `scratch`, where it was encrypted for us.
    #[inline]
    fn take(
        &mut self,
        port: Port,
        from: SocketAddr,
        (at, kind, bytes): (Timestamp, PacketKind, &[u8]),
        scratch: &mut [u8],
    ) -> Result<Option<usize>, Dropped> {
        let (leg, channel) = (port.leg(), port.channel());
        let line = &mut self.lines[port.line()];
        let ours = !line.sides[leg.index()].sockets[channel.index()].latch.is_on(from) && line.is_ours(from.ip());
        let side = &mut line.sides[leg.index()];
        if side.ways.as_ref().is_some_and(|ways| !ways.is_proved(from)) {
            self.tally.foreign += 1;
            return Err(Dropped::Foreign);
        }
        // Before the latch: what is forged changes nothing, not even where the leg is thought to be.
        let Ok(opened) = side.open(channel, (from, ours), (kind, bytes), scratch) else {
            self.tally.undecryptable += 1;
            return Err(Dropped::Undecryptable);
        };
        if side.ways.is_some() {
            return Ok(opened);
        }
        let latch = &mut side.sockets[channel.index()].latch;
        let was_on = latch.is_on(from);
        let evidence = match opened {
            Some(_) => Evidence::Verified,
            None if channel == Channel::Rtp => Evidence::of(line.medium, kind == PacketKind::Rtcp, at, bytes),
            None => Evidence::Nothing,
        };
        match latch.admits(from, ours, evidence) {
            Admission::Taken => {}
            Admission::Learned if channel == Channel::Rtp => self.learned = Some((leg, line.index, from)),
            Admission::Learned => {}
            Admission::Foreign => {
                self.tally.foreign += 1;
                return Err(Dropped::Foreign);
            }
        }
        if !was_on && channel == Channel::Rtp {
            side.sockets[Channel::Rtcp.index()].latch.go_beside(from.ip());
        }
        Ok(opened)
    }

    /// A packet that nobody would record: the gate shuts.
    #[cold]
    pub(super) fn refuse(&mut self, fault: Fault) -> (Verdict, Option<Fault>) {
        if !self.gate.is_open() {
            self.tally.gated += 1;
            return (Verdict::Drop(Dropped::Gated), None);
        }
        self.gate.refuse();
        (Verdict::Drop(Dropped::Refused(fault)), Some(fault))
    }

    /// Stages `plan`; `tell` is told of each port that it needs and that is not bound, and before that of each whose
    /// address moved: that one is let go at once, and hears and says nothing until it is bound anew. Err: the address that
    /// cannot be.
    pub(super) fn stage(
        &mut self,
        (now, place): (Timestamp, usize),
        plan: Box<MediaPlan>,
        mut tell: impl FnMut(Wanted),
    ) -> Result<(), SocketAddr> {
        self.check(&plan)?;
        for wanted in &plan.lines {
            let line = self.line_at(now, wanted.index);
            for leg in Leg::BOTH {
                let side = &mut self.lines[line].sides[leg.index()];
                let wanted = wanted.leg(leg).local;
                if wanted.port() == 0 || side.local == wanted {
                    continue;
                }
                side.local = wanted;
                for channel in Channel::BOTH {
                    let port = Port::new(place, self.generation, line, leg, channel);
                    let socket = &mut side.sockets[channel.index()];
                    if socket.binding != Binding::Absent {
                        tell(Wanted::Gone(port));
                    }
                    *socket = Socket {
                        binding: Binding::Asked,
                        latch: Latch::default(),
                    };
                    tell(Wanted::Bound(port, channel.beside(wanted)));
                }
            }
        }
        self.staged = Some(plan);
        Ok(())
    }

    /// More lines than are relayed, a line that is named twice, or an address whose RTCP port would be 65536.
    fn check(&self, plan: &MediaPlan) -> Result<(), SocketAddr> {
        let mut lines = self.lines.len();
        for (place, wanted) in plan.lines.iter().enumerate() {
            lines += usize::from(self.lines.iter().all(|line| line.index != wanted.index));
            let is_again = plan.lines.iter().take(place).any(|line| line.index == wanted.index);
            for leg in Leg::BOTH {
                let address = wanted.leg(leg).local;
                if lines > LINES_MAX || is_again || address.port() == u16::MAX {
                    return Err(address);
                }
            }
        }
        Ok(())
    }

    /// The place of the line with this index, a new one if need be.
    fn line_at(&mut self, now: Timestamp, index: u16) -> usize {
        if let Some(place) = self.lines.iter().position(|line| line.index == index) {
            return place;
        }
        self.lines.reserve_exact(1); // most calls have one, of 600 bytes
        let mut sides = [Side::new(), Side::new()];
        for (side, withheld) in sides.iter_mut().zip(self.withheld) {
            side.withhold(now, withheld.contains(index));
        }
        self.lines.push(Line {
            index,
            medium: Medium::default(),
            hearing: Hearing::default(),
            muxed: None,
            sides,
        });
        self.meter.add_line();
        self.lines.len() - 1
    }

    pub(super) fn on_bound(&mut self, port: Port) {
        if let Some(socket) = self.socket(port)
            && socket.binding == Binding::Asked
        {
            socket.binding = Binding::Fresh;
        }
    }

    /// True when a plan is staged and all of its ports are bound.
    pub(super) fn is_settled(&self) -> bool {
        self.staged.is_some() && !self.sockets().any(|(_, socket)| socket.binding == Binding::Asked)
    }

    /// The staged plan takes effect. The fault if it wants a recording and the recorder has no place.
    pub(super) fn settle(&mut self, now: Timestamp, place: usize, sink: &mut impl FrameSink) -> Result<(), Fault> {
        let Some(plan) = self.staged.take() else { return Ok(()) };
        self.opened = true;
        if let Some(notices) = &mut self.notices {
            notices.settle(&plan);
        }
        self.keys.follow(&plan.lines);
        for at in 0..self.lines.len() {
            let index = self.lines[at].index;
            let wanted = plan.lines.iter().find(|wanted| wanted.index == index);
            self.lines[at].hearing = Hearing::of(plan.recorded, wanted);
            self.lines[at].medium = wanted.map_or(self.lines[at].medium, Medium::from);
            for leg in Leg::BOTH {
                // A line that the plan does not name was refused: nothing is sent.
                let wanted = wanted.map(|wanted| wanted.leg(leg));
                let remote = wanted.and_then(|leg| leg.remote);
                let (origin, deaf) = wanted.map_or_else(Default::default, |leg| (leg.origin, leg.deaf));
                let remotes = [remote.map(|r| r.rtp), remote.map(|r| r.rtcp)].map(|to| self.not_ours(to));
                let side = &mut self.lines[at].sides[leg.index()];
                side.circle = Circle::default();
                let keys = plan.keys_of(index, leg);
                let lite = plan.secured(index).and_then(|line| line.ice[leg.index()].as_ref());
                if leg == Leg::B {
                    side.turn_to(plan.far_end, remotes[0], (keys, lite));
                }
                if plan.answered {
                    side.let_branches_go();
                }
                side.settle(remotes, origin, deaf);
                side.secure(now, keys, plan.agreed[leg.index()]);
                side.ways = Ways::renew(side.ways.take(), lite);
            }
            self.lines[at].muxed = plan.secured(index).and_then(|line| line.muxed);
        }
        self.begin(now, place);
        let places = self.lines.iter().map(|line| line.index);
        self.meter.settle(now, &plan, places);
        if plan.recorded != Recorded::Strict {
            self.gate.forgive();
        }
        self.fork.set(now, self.session, plan.recorded, sink).inspect_err(|_| {
            if plan.recorded == Recorded::Strict {
                self.gate.refuse();
            }
        })
    }

    /// An SDP that names our own sockets of the same call would make its packets go round for ever.
    fn not_ours(&self, remote: Option<SocketAddr>) -> Option<SocketAddr> {
        let mut sides = self.lines.iter().flat_map(|line| &line.sides);
        remote.filter(|to| !sides.any(|side| Channel::BOTH.iter().any(|channel| channel.beside(side.local) == *to)))
    }

    /// A port of the staged plan could not be bound: its others are let go, and all is as it was, but for a side that moved:
    /// that has no port until the next plan. The address that failed.
    pub(super) fn on_bind_failed(&mut self, port: Port, mut let_go: impl FnMut(Port)) -> Option<SocketAddr> {
        let failed = self.lines.get(port.line())?.sides[port.leg().index()].local;
        if self.socket(port)?.binding != Binding::Asked {
            return None;
        }
        self.socket(port)?.binding = Binding::Absent;
        self.staged = None;
        for (place, line) in self.lines.iter_mut().enumerate() {
            for leg in Leg::BOTH {
                let side = &mut line.sides[leg.index()];
                for channel in Channel::BOTH {
                    let binding = &mut side.sockets[channel.index()].binding;
                    if matches!(binding, Binding::Asked | Binding::Fresh) {
                        *binding = Binding::Absent;
                        let_go(Port::new(port.session(), self.generation, place, leg, channel));
                    }
                }
                if side.sockets.iter().all(|socket| socket.binding == Binding::Absent) {
                    side.local = NOWHERE;
                }
            }
        }
        Some(port.channel().beside(failed))
    }

    /// Whether a plan took effect at least once.
    pub(super) const fn is_opened(&self) -> bool {
        self.opened
    }
}
