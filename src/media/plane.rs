//! The plane: every session's relay on this thread, by the port that a packet came in on.

mod notices;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use slab::Slab;

use crate::model::{Fault, Gate, Leg, MediaCommand, MediaEvent, MediaPlan, Pausing, SessionId, Timestamp, earliest};
use crate::recorder::FrameSink;

use super::port::{Port, SESSIONS_MAX};
use super::relay::{News, Relay, Wanted};
use super::rota::Rota;
use super::rounds::Rounds;
use super::secrecy::{Bench, SCRATCH_BYTES};

/// Outputs that may wait while news of lenient sessions' gaps, and packets of our own, are still added; the others are few per session.
const OUTPUTS_MAX: usize = 1_024;

/// What to do with a packet, now.
#[must_use = "a packet is either forwarded or not"]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Send the same bytes from our socket `via`. If the network does not take them: [`Plane::handle_unsent`].
    Forward {
        via: Port,
        to: SocketAddr,
    },
    /// The same, but what is sent is [`Plane::changed`]: one of the legs is encrypted between its peer and us.
    Change {
        via: Port,
        to: SocketAddr,
    },
    Drop(Dropped),
}

/// Why a packet went no further. Each is counted in the session's tally.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dropped {
    /// The port's session was closed.
    UnknownPort,
    /// The gate is shut.
    Gated,
    /// Not from the signalled source.
    Foreign,
    /// From the signalled source, but not by the key that was agreed.
    Undecryptable,
    /// ZRTP or DTLS, where what is recorded is in clear.
    Handshake,
    /// Recorded, but the far leg is being told that it is recorded.
    Hushed,
    /// It was for us: a check of a way (STUN), or a part of a handshake (DTLS). What is answered comes as [`PlaneOutput::Send`].
    Ours,
    /// It cannot be encrypted for the far leg: no RTP or RTCP, or one that was there before.
    Unsealable,
    /// The far leg has not said where it receives, or holds.
    Early,
    /// The recorder did not take a strict session's packet; the gate is shut now.
    Refused(Fault),
}

/// What the driver has to do, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PlaneOutput {
    /// Answer with [`Plane::handle_bound`] or [`Plane::handle_bind_failed`], before the next command is handed in.
    Bind(Port, SocketAddr),
    /// Nothing to do if it never was bound.
    Unbind(Port),
    /// A packet of our own, from this port. It may be lost.
    Send { via: Port, to: SocketAddr, bytes: Vec<u8> },
    /// For signalling. Before `Closed` is handed on, what the recorder's intake still holds has to be on its way.
    Event(MediaEvent),
}

/// Relays of many sessions; one owner, one thread. See [the module](super) for the rules.
#[derive(Debug, Default)]
pub struct Plane {
    relays: Slab<Relay>,
    places: BTreeMap<SessionId, usize>,
    /// Of the next session.
    generation: u32,
    outputs: VecDeque<PlaneOutput>,
    /// When handshakes are looked at, by their sessions' places.
    timers: BTreeSet<(Timestamp, usize)>,
    /// Why the recorder takes nothing.
    halted: Option<Fault>,
    /// Where packets are opened and sealed. Empty until the first session with keys.
    scratch: Vec<u8>,
    /// Bytes of it that the last [`Verdict::Change`] is about.
    changed: usize,
    rota: Rota,
    rounds: Rounds,
}

impl Plane {
    pub fn new() -> Self {
        Self::default()
    }

    /// A datagram that arrived at our socket `port` at the time `at`; `now` is the time of this turn.
    ///
    /// The packet is offered to `sink` before this returns `Forward`.
    #[inline]
    pub fn handle_packet(
        &mut self,
        now: Timestamp,
        port: Port,
        from: SocketAddr,
        at: Timestamp,
        bytes: &[u8],
        sink: &mut impl FrameSink,
    ) -> Verdict {
        let Some(relay) = self
            .relays
            .get_mut(port.session())
            .filter(|relay| relay.generation == port.generation())
        else {
            return Verdict::Drop(Dropped::UnknownPort);
        };
        let (verdict, missed) = match self.halted {
            Some(fault) if relay.fork.is_strict() => relay.refuse(fault),
            _ => {
                let bench = Bench {
                    scratch: &mut self.scratch,
                    changed: &mut self.changed,
                };
                relay.pass(now, port, from, (at, bytes), bench, sink)
            }
        };
        if let Some(fault) = missed {
            on_missed(relay, fault, &mut self.outputs);
        }
        let (session, learned, sealed) = (relay.session, relay.take_learned(), relay.take_sealed(port.line()));
        let pressed = relay.keys.take_pressed();
        if let Some((leg, line, from)) = learned {
            self.say(MediaEvent::Learned {
                session,
                leg,
                line,
                from,
            });
        }
        if verdict == Verdict::Drop(Dropped::Ours) {
            self.attend(port.session());
        }
        if let Some(line) = sealed {
            self.say(MediaEvent::Sealed { session, line });
        }
        if let Some((leg, key)) = pressed
            && self.outputs.len() < OUTPUTS_MAX
        {
            self.say(MediaEvent::Key { session, leg, key });
        }
        verdict
    }

    /// What of handshakes is due by now.
    fn shake(&mut self, now: Timestamp) {
        while let Some((due, place)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, place));
            if let Some(relay) = self.relays.get_mut(place) {
                relay.timer = None;
                relay.handle_timeout(now, place);
            }
            self.attend(place);
        }
    }

    /// Tells what a session's handshakes have come to, and notes when they are due.
    fn attend(&mut self, place: usize) {
        let Some(relay) = self.relays.get_mut(place) else {
            return;
        };
        let Some(news) = relay.take_news() else { return };
        let due = relay.poll_timeout();
        if relay.timer != due {
            if let Some(known) = std::mem::replace(&mut relay.timer, due) {
                self.timers.remove(&(known, place));
            }
            self.timers.extend(due.map(|due| (due, place)));
        }
        for news in news {
            match news {
                News::Send { via, to, bytes } if self.outputs.len() < OUTPUTS_MAX => {
                    self.outputs.push_back(PlaneOutput::Send { via, to, bytes });
                }
                // It is sent again, by us or on the peer's next try.
                News::Send { .. } => {}
                News::Event(event) => self.say(event),
            }
        }
    }

    /// What is sent for the packet that was handed in last, and is to be changed.
    pub fn changed(&self) -> &[u8] {
        self.scratch.get(..self.changed).unwrap_or_default()
    }

    /// While there is a fault no packet of a strict session passes, as if the recorder had refused it. For the driver whose
    /// recorder says that it is down before its sink is full: signalling hears the same, but later.
    pub const fn halt(&mut self, fault: Option<Fault>) {
        self.halted = fault;
    }

    /// The network did not take the packet that was to leave `via`.
    pub fn handle_unsent(&mut self, via: Port) {
        if let Some(relay) = self.relay(via) {
            relay.on_unsent();
        }
    }

    pub fn handle_command(&mut self, now: Timestamp, command: MediaCommand, sink: &mut impl FrameSink) {
        match command {
            MediaCommand::Open(plan) => self.on_open(now, plan, sink),
            MediaCommand::Modify(plan) => {
                if let Some(place) = self.places.get(&plan.session) {
                    self.on_plan(now, *place, plan, sink);
                }
            }
            MediaCommand::Gate { session, gate } => self.on_gate(session, gate),
            MediaCommand::Notice(plan) => self.on_notice(now, plan),
            MediaCommand::Pausing { session, pausing } => self.on_pausing(now, session, pausing),
            MediaCommand::Close { session } => self.on_close(now, session, sink),
        }
    }

    pub fn handle_bound(&mut self, now: Timestamp, port: Port, sink: &mut impl FrameSink) {
        if let Some(relay) = self.relay(port) {
            relay.on_bound(port);
            self.settle(now, port.session(), sink);
        }
    }

    /// The session's other new ports are let go. Before its first plan took effect, the session is gone; later, it
    /// stays as it was, but for a side that was to move.
    pub fn handle_bind_failed(&mut self, now: Timestamp, port: Port, sink: &mut impl FrameSink) {
        let Some(relay) = self
            .relays
            .get_mut(port.session())
            .filter(|relay| relay.generation == port.generation())
        else {
            return;
        };
        let outputs = &mut self.outputs;
        let Some(local) = relay.on_bind_failed(port, |port| outputs.push_back(PlaneOutput::Unbind(port))) else {
            return;
        };
        let session = relay.session;
        if !relay.is_opened() {
            self.remove(now, session, sink);
        }
        self.say(MediaEvent::OpenFailed { session, local });
    }

    /// When a handshake is due, the sound of sessions is to be judged, or [`Self::poll_notice`] has something to say; none while there are none.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let handshake = self.timers.first().map(|(due, _)| *due);
        let judged = self.may_judge().then(|| self.rounds.due());
        earliest(handshake, earliest(judged, self.rota.next()))
    }

    /// What of handshakes is due; and judges the sound of some sessions, if it is time. While much waits to be told, they wait too.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.shake(now);
        if !self.may_judge() {
            return;
        }
        for place in self.rounds.take(now, self.relays.capacity()) {
            if let Some(relay) = self.relays.get_mut(place) {
                let (session, outputs) = (relay.session, &mut self.outputs);
                relay.judge(now, |ailing| {
                    outputs.push_back(PlaneOutput::Event(MediaEvent::Health { session, ailing }));
                });
            }
        }
    }

    /// There is whom to judge, and room to tell.
    fn may_judge(&self) -> bool {
        !self.relays.is_empty() && self.outputs.len() < OUTPUTS_MAX
    }

    pub fn poll_output(&mut self) -> Option<PlaneOutput> {
        self.outputs.pop_front()
    }

    /// Sessions that are held: zero when no call is up.
    pub fn len(&self) -> usize {
        self.relays.len()
    }

    pub fn is_empty(&self) -> bool {
        self.relays.is_empty()
    }

    /// An `Open` of a session that is open already is a `Modify`.
    fn on_open(&mut self, now: Timestamp, plan: Box<MediaPlan>, sink: &mut impl FrameSink) {
        let place = match self.places.get(&plan.session) {
            Some(place) => *place,
            None if self.relays.len() >= SESSIONS_MAX => {
                let local = plan.lines.first().map_or(super::side::NOWHERE, |line| line.a.local);
                return self.say(MediaEvent::OpenFailed {
                    session: plan.session,
                    local,
                });
            }
            None => {
                let generation = self.generation;
                self.generation = self.generation.wrapping_add(1);
                let place = self.relays.insert(Relay::new(plan.session, generation));
                self.places.insert(plan.session, place);
                place
            }
        };
        self.on_plan(now, place, plan, sink);
    }

    fn on_plan(&mut self, now: Timestamp, place: usize, plan: Box<MediaPlan>, sink: &mut impl FrameSink) {
        self.on_pausing(now, plan.session, plan.pausing);
        let Some(relay) = self.relays.get_mut(place) else {
            return;
        };
        if !plan.keys.is_empty() {
            self.scratch.resize(SCRATCH_BYTES, 0);
        }
        let (session, outputs) = (plan.session, &mut self.outputs);
        let staged = relay.stage((now, place), plan, |wanted| {
            outputs.push_back(match wanted {
                Wanted::Bound(port, at) => PlaneOutput::Bind(port, at),
                Wanted::Gone(port) => PlaneOutput::Unbind(port),
            });
        });
        let opened = relay.is_opened();
        match staged {
            Ok(()) => self.settle(now, place, sink),
            Err(local) => {
                if !opened {
                    self.remove(now, session, sink);
                }
                self.say(MediaEvent::OpenFailed { session, local });
            }
        }
    }

    fn settle(&mut self, now: Timestamp, place: usize, sink: &mut impl FrameSink) {
        let Some(relay) = self.relays.get_mut(place).filter(|relay| relay.is_settled()) else {
            return;
        };
        let session = relay.session;
        let settled = relay.settle(now, place, sink);
        self.outputs
            .push_back(PlaneOutput::Event(MediaEvent::Opened { session }));
        if let (Err(fault), Some(relay)) = (settled, self.relays.get_mut(place)) {
            on_missed(relay, fault, &mut self.outputs);
        }
        self.attend(place);
    }

    fn on_gate(&mut self, session: SessionId, gate: Gate) {
        let place = self.places.get(&session);
        if let Some(relay) = place.and_then(|place| self.relays.get_mut(*place)) {
            relay.gate.set(gate);
        }
    }

    fn on_pausing(&mut self, now: Timestamp, session: SessionId, pausing: Pausing) {
        let place = self.places.get(&session);
        let Some(relay) = place.and_then(|place| self.relays.get_mut(*place)) else {
            return;
        };
        relay.keys.want(pausing.keys);
        relay.asks = pausing.asks;
        for leg in Leg::BOTH {
            let lines = pausing.withheld[leg.index()];
            if relay.withhold(now, leg, lines) {
                let at = now;
                self.outputs.push_back(PlaneOutput::Event(MediaEvent::Withheld {
                    session,
                    leg,
                    lines,
                    at,
                }));
            }
        }
        let is_news = relay.fork.pause.set(now, pausing.is_paused);
        match (is_news, pausing.is_paused) {
            (true, true) => self.say(MediaEvent::Paused { session, at: now }),
            (true, false) => self.say(MediaEvent::Unpaused { session, at: now }),
            (false, _) => {}
        }
    }

    fn on_close(&mut self, now: Timestamp, session: SessionId, sink: &mut impl FrameSink) {
        if let Some(mut relay) = self.remove(now, session, sink) {
            relay.cut_notices(now);
            while let Some(notice) = relay.poll_noticed().map(Box::new) {
                self.say(MediaEvent::Noticed { session, notice });
            }
            self.say(MediaEvent::Closed {
                session,
                tally: Box::new(relay.tally()),
            });
        }
    }

    /// Takes the session out, lets its ports go and closes its place in the recorder.
    fn remove(&mut self, now: Timestamp, session: SessionId, sink: &mut impl FrameSink) -> Option<Relay> {
        let place = self.places.remove(&session)?;
        let mut relay = self.relays.try_remove(place)?;
        if let Some(due) = relay.timer {
            self.timers.remove(&(due, place));
        }
        self.outputs.extend(relay.ports(place).map(PlaneOutput::Unbind));
        relay.fork.close(now, sink);
        Some(relay)
    }

    fn say(&mut self, event: MediaEvent) {
        self.outputs.push_back(PlaneOutput::Event(event));
    }

    fn relay(&mut self, port: Port) -> Option<&mut Relay> {
        self.relays
            .get_mut(port.session())
            .filter(|relay| relay.generation == port.generation())
    }
}

/// The recorder did not take a packet. Said once until it takes one again.
#[cold]
fn on_missed(relay: &mut Relay, fault: Fault, outputs: &mut VecDeque<PlaneOutput>) {
    if relay.fork.is_news() && (relay.fork.is_strict() || outputs.len() < OUTPUTS_MAX) {
        relay.fork.mark_told();
        outputs.push_back(PlaneOutput::Event(MediaEvent::Refused {
            session: relay.session,
            fault,
        }));
    }
}
