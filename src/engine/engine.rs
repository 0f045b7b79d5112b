//! All three cores on one thread: what `replay` and the simulator drive.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::input::Input;
use super::signaling::{Signaling, SignalingConfig};
use crate::b2bua::{CallView, Output, Step};
use crate::media::{Dropped, Plane, PlaneOutput, Port, Verdict};
use crate::model::{MediaEvent, RecordingEvent, SessionId, Tally, Timestamp, earliest};
use crate::policy::PolicySet;
use crate::recorder::{
    self, FrameSink, Intake, IntakeConfig, IoDone, IoRequest, Offer, Packet, PacketKind, Slot, Writer, WriterConfig,
};
use crate::sip::Flow;

/// What the engine asks its driver to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineOutput {
    Send {
        flow: Flow,
        bytes: Bytes,
    },
    /// A packet to forward: from our port to a peer.
    Media {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    Io(IoRequest),
    Published(Box<CallView>),
    Step(Step),
    /// What the recorder told signalling, for who wants to watch.
    Recorder(RecordingEvent),
    /// A session's media is closed; what the relay counted.
    Relayed {
        session: SessionId,
        tally: Box<Tally>,
    },
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relayed {
    /// No such port of ours is bound.
    Nowhere,
    /// `recorded`: the recorder took it; false, too, when none was asked to, and of the pulses of a pause.
    Dropped {
        why: Dropped,
        recorded: bool,
    },
    Forwarded {
        recorded: bool,
    },
}

/// Passes the fork's packets on and sees whether they were taken.
struct Witness<'a> {
    intake: &'a mut Intake,
    recorded: bool,
}

impl FrameSink for Witness<'_> {
    fn open(&mut self, session: SessionId) -> Option<Slot> {
        FrameSink::open(self.intake, session)
    }

    fn close(&mut self, now: Timestamp, slot: Slot) {
        FrameSink::close(self.intake, now, slot);
    }

    fn offer(&mut self, now: Timestamp, slot: Slot, packet: Packet<'_>) -> Offer {
        let offer = self.intake.offer(now, slot, packet);
        self.recorded = offer == Offer::Accepted && packet.kind != PacketKind::Withheld;
        offer
    }
}

/// Signalling, the media plane, its intake and the recorder's writer, joined by plain calls.
#[derive(Debug)]
pub struct Engine {
    signaling: Signaling,
    plane: Plane,
    intake: Intake,
    writer: Writer,
    /// Bound ports of ours, by address.
    bound: BTreeMap<SocketAddr, Port>,
    locals: BTreeMap<Port, SocketAddr>,
    outputs: VecDeque<EngineOutput>,
}

impl Engine {
    pub fn new(
        signaling: SignalingConfig,
        intake: IntakeConfig,
        writer: Writer,
        policies: Arc<PolicySet>,
        seed: u64,
    ) -> Self {
        Self {
            signaling: Signaling::new(signaling, policies, seed),
            plane: Plane::new(),
            intake: Intake::new(intake),
            writer,
            bound: BTreeMap::new(),
            locals: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// An engine whose spool is empty: nothing to recover.
    pub fn fresh(
        signaling: SignalingConfig,
        writer: WriterConfig,
        policies: Arc<PolicySet>,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let intake = IntakeConfig {
            lag_max: writer.lag_max,
            extent_age: writer.extent_age,
            ..IntakeConfig::default()
        };
        Self::new(signaling, intake, Writer::new(writer, 1, now), policies, seed)
    }

    pub fn handle_sip(&mut self, now: Timestamp, flow: Flow, bytes: Bytes) {
        self.handle_input(now, Input::Sip { flow, bytes });
    }

    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        self.signaling.handle_input(now, input);
        self.run(now);
    }

    /// A datagram that arrived on our port `local`.
    pub fn handle_media(&mut self, now: Timestamp, local: SocketAddr, from: SocketAddr, bytes: &Bytes) -> Relayed {
        let Some(port) = self.bound.get(&local).copied() else {
            return Relayed::Nowhere;
        };
        let mut fork = Witness {
            intake: &mut self.intake,
            recorded: false,
        };
        let verdict = self.plane.handle_packet(now, port, from, now, bytes, &mut fork);
        let recorded = fork.recorded;
        let relayed = match verdict {
            verdict @ (Verdict::Forward { via, to } | Verdict::Change { via, to }) => {
                let bytes = match verdict {
                    Verdict::Change { .. } => &Bytes::copy_from_slice(self.plane.changed()),
                    _ => bytes,
                };
                if let Some(from) = self.locals.get(&via) {
                    self.outputs.push_back(EngineOutput::Media {
                        from: *from,
                        to,
                        bytes: bytes.clone(),
                    });
                }
                Relayed::Forwarded { recorded }
            }
            Verdict::Drop(why) => Relayed::Dropped { why, recorded },
        };
        self.run(now);
        self.replenish(now);
        relayed
    }

    /// Media can come faster than time passes: in a capture with a coarse clock, or with none. Its blocks are made and
    /// brought back between two packets, which a live media thread must not do.
    fn replenish(&mut self, now: Timestamp) {
        self.intake.restock();
        if self.intake.is_short() {
            self.writer.hasten(now);
            self.run(now);
        }
    }

    fn speak(&mut self, now: Timestamp) {
        while let Some((via, to)) = self.plane.poll_notice(now) {
            let bytes = Bytes::copy_from_slice(self.plane.changed());
            if let Some(from) = self.locals.get(&via).copied() {
                self.outputs.push_back(EngineOutput::Media { from, to, bytes });
            }
        }
    }

    pub fn handle_io(&mut self, now: Timestamp, done: IoDone) {
        self.writer.handle_io(now, done);
        self.run(now);
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.intake.poll_timeout().is_some_and(|due| due <= now) {
            self.intake.flush(now);
        }
        self.plane.handle_timeout(now);
        self.speak(now);
        self.writer.handle_timeout(now);
        // After a leap in time signalling hears the recorder before it judges its silence.
        self.run(now);
        self.signaling.handle_timeout(now);
        self.run(now);
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let recorder = earliest(self.intake.poll_timeout(), self.writer.poll_timeout());
        earliest(
            self.signaling.poll_timeout(),
            earliest(recorder, self.plane.poll_timeout()),
        )
    }

    /// No call is up, nothing waits for the disk, and all is well: until signalling has something to do, time may pass unheard.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.signaling.calls() == 0
            && self.plane.is_empty()
            && self.writer.is_idle()
            && self.writer.status(now).fault.is_none()
    }

    pub fn poll_output(&mut self) -> Option<EngineOutput> {
        self.outputs.pop_front()
    }

    pub const fn signaling(&self) -> &Signaling {
        &self.signaling
    }

    pub const fn intake(&self) -> &Intake {
        &self.intake
    }

    pub const fn plane(&self) -> &Plane {
        &self.plane
    }

    /// Ports of ours that are bound now.
    pub fn bound(&self) -> usize {
        self.bound.len()
    }

    /// Carries values between the cores until none has anything to say.
    fn run(&mut self, now: Timestamp) {
        loop {
            let mut idle = true;
            while let Some(output) = self.signaling.poll_output() {
                idle = false;
                self.on_signaling(now, output);
            }
            while let Some(output) = self.plane.poll_output() {
                idle = false;
                self.on_plane(now, output);
            }
            while let Some(extent) = self.intake.poll_full() {
                idle = false;
                self.writer.handle_extent(now, extent);
            }
            while let Some(output) = self.writer.poll_output() {
                idle = false;
                self.on_recorder(now, output);
            }
            if idle {
                return;
            }
        }
    }

    fn on_signaling(&mut self, now: Timestamp, output: Output) {
        match output {
            Output::Send { flow, bytes } => self.outputs.push_back(EngineOutput::Send { flow, bytes }),
            Output::Recording(command) => {
                // What the relay handed over before this command belongs before it.
                self.hand_over(now);
                self.writer.handle_command(now, command);
            }
            Output::Media(command) => {
                self.plane.handle_command(now, command, &mut self.intake);
                while let Some(output) = self.plane.poll_output() {
                    self.on_plane(now, output);
                }
            }
            Output::Publish(view) => self.outputs.push_back(EngineOutput::Published(view)),
            Output::Step(step) => self.outputs.push_back(EngineOutput::Step(step)),
            // Captures and worlds do not outlive their process.
            Output::Remember { .. } | Output::Forget { .. } => {}
        }
    }

    fn on_plane(&mut self, now: Timestamp, output: PlaneOutput) {
        match output {
            PlaneOutput::Bind(port, local) => {
                if let Entry::Vacant(free) = self.bound.entry(local) {
                    free.insert(port);
                    self.locals.insert(port, local);
                    self.plane.handle_bound(now, port, &mut self.intake);
                } else {
                    self.plane.handle_bind_failed(now, port, &mut self.intake);
                }
            }
            PlaneOutput::Unbind(port) => {
                if let Some(local) = self.locals.remove(&port) {
                    self.bound.remove(&local);
                }
            }
            PlaneOutput::Send { via, to, bytes } => {
                if let Some(from) = self.locals.get(&via).copied() {
                    let bytes = Bytes::from(bytes);
                    self.outputs.push_back(EngineOutput::Media { from, to, bytes });
                }
            }
            PlaneOutput::Event(event) => {
                if let MediaEvent::Closed { session, tally } = &event {
                    self.hand_over(now);
                    self.outputs.push_back(EngineOutput::Relayed {
                        session: *session,
                        tally: tally.clone(),
                    });
                }
                self.signaling.handle_input(now, Input::Media(event));
            }
        }
    }

    fn on_recorder(&mut self, now: Timestamp, output: recorder::Output) {
        match output {
            recorder::Output::Io(request) => self.outputs.push_back(EngineOutput::Io(request)),
            recorder::Output::Recycle(extent) => self.intake.recycle(extent),
            recorder::Output::Event(event) => {
                if event == RecordingEvent::Up {
                    self.intake.forgive();
                }
                self.outputs.push_back(EngineOutput::Recorder(event.clone()));
                self.signaling.handle_input(now, Input::Recording(event));
            }
        }
    }

    fn hand_over(&mut self, now: Timestamp) {
        while let Some(extent) = self.intake.poll_full() {
            self.writer.handle_extent(now, extent);
        }
    }
}
