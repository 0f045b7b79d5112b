//! The capture, played to the engine at capture time: two phones per call, their media, and a disk that may break.

mod silence;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::FLAWS_MAX;
use super::binding::CallIndex;
use super::blocks::Provenance;
use super::calls::{Calls, description_in};
use super::capture::{Captured, Event, Payload};
use super::clock::{CaptureClock, Reached};
use super::fault::FaultSpec;
use super::flaw::{Flaw, FlawKind};
use super::options::{ReplayOptions, Shown};
use super::proxy::{Listeners, signaling};
use super::script::{CALL_HEADER, Line};
use super::spool::{Disk, Spool};
use super::story::{Session, Story, Told};
use crate::engine::{CallState, Engine, EngineOutput, Relayed};
use crate::model::{Direction, Leg, RecordingEvent, SessionId, Timestamp};
use crate::recorder::WriterConfig;
use crate::sdp::SessionDescription;
use crate::sip::{Flow, Message, Transport};
use silence::Patience;

/// How long calls may take to end and recordings to be sealed after the last packet: Timer B and H, and the seal.
const EPILOGUE_MAX: Duration = Duration::from_secs(120);
/// A call that is over gets no new messages after so long (64 × T1).
const LINGER: Duration = Duration::from_secs(32);
/// Before time leaps, everything that the recorder took becomes durable: what is late must not seem to be.
const HAND_OVER: Duration = Duration::from_secs(2);
/// Packets are copied out of the file's buffer into blocks of so many bytes.
const ARENA_BYTES: usize = 64 << 10;
/// Packets cut by the snap length that are listed: where one is, all are, and they must not hide the rest.
const CUTS_MAX: u64 = 20;
/// What phones may make up in one call.
const MADE_UP_MAX: u32 = 200;

/// See [the module](self).
pub(crate) struct Reenactment<D> {
    engine: Engine,
    listeners: Listeners,
    spool: Spool<D>,
    faults: Vec<FaultSpec>,
    clock: CaptureClock,
    patience: Patience,
    /// What the packet brought whose time the next one has to confirm, without and with its bytes.
    unsure: Vec<(Captured<'static>, Bytes)>,
    pub calls: Calls,
    pub stories: BTreeMap<CallIndex, Story>,
    sessions: BTreeMap<SessionId, CallIndex>,
    /// Call-IDs that the engine minted towards B.
    minted: BTreeMap<String, CallIndex>,
    /// The call of which the engine is being given a message, and whether that is an INVITE that begins it.
    giving: Option<CallIndex>,
    is_inviting: bool,
    /// What the phones are about to say.
    lines: VecDeque<(CallIndex, Line)>,
    made_up: BTreeMap<CallIndex, u32>,
    /// Calls that are over, with the time when their scripts are forgotten.
    leaving: VecDeque<(Timestamp, CallIndex)>,
    pub flaws: Vec<Flaw>,
    pub flaws_in_all: u64,
    /// Of these, packets cut by the snap length.
    cuts: u64,
    /// It is known that the capture is of a replay.
    is_replayed: bool,
    arena: BytesMut,
    shown: Shown,
    /// Datagrams that no SDP binds to a call.
    pub unbound: u64,
}

impl<D: Disk> Reenactment<D> {
    /// `first`: where the capture's first message or datagram went to.
    pub(crate) fn new(
        options: &ReplayOptions,
        disk: D,
        (started, first): (Timestamp, IpAddr),
        provenance: Provenance,
    ) -> Self {
        let writer = WriterConfig {
            segment_bytes: 8 << 20,
            spool_segments: 4,
            ..WriterConfig::default()
        };
        let listeners = Listeners::beside(first);
        let config = signaling(options, writer.lag_max, listeners);
        let clock = CaptureClock::new(started);
        let started = clock.now();
        // The same capture gives the same replay, tags and all.
        let engine = Engine::fresh(config, writer, options.policies.clone(), 1, started);
        Self {
            engine,
            listeners,
            spool: Spool::new(disk),
            faults: options.faults.clone(),
            clock,
            patience: Patience::new(),
            unsure: Vec::new(),
            calls: Calls::new(provenance),
            stories: BTreeMap::new(),
            sessions: BTreeMap::new(),
            minted: BTreeMap::new(),
            giving: None,
            is_inviting: false,
            lines: VecDeque::new(),
            made_up: BTreeMap::new(),
            leaving: VecDeque::new(),
            flaws: Vec::new(),
            flaws_in_all: 0,
            cuts: 0,
            is_replayed: false,
            arena: BytesMut::new(),
            shown: options.shown.clone(),
            unbound: 0,
        }
        .with_faults(started)
    }

    fn with_faults(mut self, started: Timestamp) -> Self {
        self.spool.break_at(started, &self.faults);
        self
    }

    pub(crate) fn handle(&mut self, event: Event<'_>) {
        match event {
            Event::Started(_) => {}
            Event::Flaw(flaw) => self.note(flaw),
            Event::Captured(captured) => self.on_captured(&captured),
        }
    }

    fn on_captured(&mut self, captured: &Captured<'_>) {
        // What came in one packet has one time.
        let mut reached = match self.unsure.first() {
            Some((unsure, _)) if unsure.packet == captured.packet => Reached::Unsure,
            _ => self.clock.reach(captured.at),
        };
        if let Reached::Confirmed { rise, to } = reached {
            if rise > self.clock.now() {
                self.run_until(self.clock.now() + HAND_OVER);
                self.clock.set(rise);
            }
            self.advance(to, captured);
            self.play_unsure();
            reached = self.clock.reach(captured.at);
        }
        if let Reached::Time(time) = reached {
            self.play_unsure();
            self.advance(time, captured);
            self.play(captured);
        } else {
            if self
                .unsure
                .first()
                .is_some_and(|(unsure, _)| unsure.packet != captured.packet)
            {
                self.play_unsure();
            }
            let bytes = Bytes::copy_from_slice(captured.payload.bytes());
            self.unsure.push((captured.with_bytes(&[]), bytes));
        }
    }

    fn play_unsure(&mut self) {
        for (captured, bytes) in std::mem::take(&mut self.unsure) {
            self.play(&captured.with_bytes(&bytes));
        }
    }

    fn play(&mut self, captured: &Captured<'_>) {
        match captured.payload {
            Payload::Sip(transport, bytes) => self.on_sip(captured, transport, bytes),
            Payload::Datagram(bytes) => self.on_datagram(captured, bytes),
            Payload::Cut(start) => {
                let is_bound = self.calls.on_cut(captured, start);
                self.unbound += u64::from(!is_bound);
            }
        }
    }

    fn note(&mut self, flaw: Flaw) {
        self.flaws_in_all += 1;
        if matches!(flaw.kind, FlawKind::Cut { .. }) {
            self.cuts += 1;
            if self.cuts > CUTS_MAX {
                return;
            }
        }
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        }
    }

    fn on_sip(&mut self, captured: &Captured<'_>, transport: Transport, bytes: &[u8]) {
        let heard = self.calls.on_sip(self.clock.now(), captured, transport, bytes);
        if let Some(kind) = self.calls.take_unkeyed() {
            self.note(captured.flaw(kind));
        }
        let is_lone_export = self.calls.far_legs.is_some() && self.calls.len() <= 1;
        let is_marked = || memchr::memmem::find(bytes, CALL_HEADER.as_bytes()).is_some();
        if !self.is_replayed && !is_lone_export && is_marked() {
            self.is_replayed = true;
            self.note(captured.flaw(FlawKind::Replayed));
        }
        match heard {
            Ok(Some(heard)) => {
                if let Some(kind) = heard.refused {
                    self.note(captured.flaw(kind));
                    self.give(heard.call, Leg::A, Bytes::copy_from_slice(bytes));
                }
                self.lines
                    .extend(heard.lines.into_iter().map(|line| (heard.call, line)));
                self.settle();
            }
            Ok(None) => {}
            Err(kind) => {
                self.note(captured.flaw(kind));
            }
        }
    }

    fn on_datagram(&mut self, captured: &Captured<'_>, bytes: &[u8]) {
        let Some(play) = self.calls.on_datagram(captured, bytes) else {
            self.unbound += 1;
            return;
        };
        let Some(play) = play else { return };
        let now = self.clock.now();
        let bytes = self.keep(bytes);
        let relayed = self.engine.handle_media(now, play.local, play.from, &bytes);
        let recorded = match relayed {
            Relayed::Forwarded { recorded } | Relayed::Dropped { recorded, .. } => recorded,
            Relayed::Nowhere => false,
        };
        if let Some(ssrc) = play.ssrc.filter(|_| recorded)
            && let Some(call) = self.calls.call_mut(play.call)
        {
            call.streams.count_recorded(play.sender, ssrc);
        }
        self.settle();
    }

    /// A copy that costs no allocation of its own: many packets share a block, which is used again when all are gone.
    fn keep(&mut self, packet: &[u8]) -> Bytes {
        if self.arena.capacity() < packet.len() {
            self.arena.reserve(ARENA_BYTES.max(packet.len()));
        }
        self.arena.extend_from_slice(packet);
        self.arena.split().freeze()
    }

    /// Carries words between phones, engine and disk until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.engine.poll_output() {
                self.on_output(output);
            }
            let now = self.clock.now();
            if let Some(done) = self.spool.poll_answer() {
                self.engine.handle_io(now, done);
            } else if let Some((index, line)) = self.lines.pop_front() {
                self.say(index, line);
            } else {
                return;
            }
        }
    }

    fn say(&mut self, index: CallIndex, line: Line) {
        if line.is_made_up {
            let count = self.made_up.entry(index).or_default();
            *count += 1;
            if *count > MADE_UP_MAX {
                return;
            }
        }
        self.is_inviting = line.message.headers().contains(CALL_HEADER);
        self.give(index, line.leg, line.message.encode());
        self.is_inviting = false;
    }

    /// A message from a phone to the engine.
    fn give(&mut self, index: CallIndex, leg: Leg, bytes: Bytes) {
        let Some(script) = self.calls.call(index).and_then(|call| call.script.as_deref()) else {
            return;
        };
        let flow = Flow {
            transport: script.transport_of(leg),
            local: self.listeners.facing(script.phone(leg)),
            remote: script.phone(leg),
        };
        self.hear(index, leg, Direction::Received, &bytes);
        self.giving = Some(index);
        self.engine.handle_sip(self.clock.now(), flow, bytes);
        while let Some(output) = self.engine.poll_output() {
            self.on_output(output);
        }
        self.giving = None;
    }

    fn hear(&mut self, index: CallIndex, leg: Leg, direction: Direction, bytes: &Bytes) {
        let told = Told::new(self.clock.now(), (leg, direction), bytes, &self.shown);
        self.stories.entry(index).or_default().hear(told);
    }

    fn on_output(&mut self, output: EngineOutput) {
        match output {
            EngineOutput::Send { flow, bytes } => self.on_sent(flow, &bytes),
            EngineOutput::Media { .. } => {}
            EngineOutput::Relayed { session, tally } => {
                self.with_session(session, |session| {
                    session.relayed += tally.accepted;
                    session.ailments.extend(tally.ailments);
                });
            }
            EngineOutput::Io(request) => {
                self.spool.handle_request(self.clock.now(), &request);
                while let Some(session) = self.spool.poll_published() {
                    self.with_session(session, |session| session.is_published = true);
                }
            }
            EngineOutput::Published(view) => {
                let (id, now) = (view.session, self.clock.now());
                let is_over = view.state == CallState::Over;
                self.with_session(id, |session| session.on_view(now, *view));
                let Some(index) = self.sessions.get(&id).copied() else {
                    return;
                };
                if is_over {
                    self.leaving.push_back((now + LINGER, index));
                }
            }
            EngineOutput::Step(step) => self.with_session(step.session, |session| session.on_step(step)),
            EngineOutput::Recorder(RecordingEvent::Sealed {
                session,
                reconciliation,
            }) => {
                self.with_session(session, |session| session.reconciliation = Some(*reconciliation));
            }
            EngineOutput::Recorder(_) => {}
        }
    }

    /// The first that is heard of a session is heard while its INVITE is being given to the engine.
    fn with_session(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        let index = match (self.sessions.get(&id), self.giving.filter(|_| self.is_inviting)) {
            (Some(index), _) => *index,
            (None, Some(index)) => {
                self.sessions.insert(id, index);
                index
            }
            (None, None) => return,
        };
        change(self.stories.entry(index).or_default().session(id));
    }

    fn on_sent(&mut self, flow: Flow, bytes: &Bytes) {
        let Ok(message) = Message::parse(bytes) else {
            // A refusal quotes what it refuses, faults and all.
            if let Some(index) = self.giving {
                self.hear(index, Leg::A, Direction::Sent, bytes);
            }
            return;
        };
        let call_id = message.headers().call_id();
        let (leg, known) = match self.calls.dialogs.find(message.headers()) {
            Some(index) => (Leg::A, Some(index)),
            None => (Leg::B, self.minted.get(call_id).copied()),
        };
        let index = known.or_else(|| message.headers().get(CALL_HEADER)?.parse().ok());
        let Some((index, call)) = index.and_then(|index| Some((index, self.calls.call_mut(index)?))) else {
            return;
        };
        if known.is_none() {
            self.minted.insert(call_id.to_owned(), index);
        }
        let description = description_in(&message).and_then(|sdp| SessionDescription::parse(&sdp).ok());
        call.sources[leg.index()].on_told(&message, description.is_some());
        if let Some(sdp) = description {
            call.relay[leg.index()] = sdp.lines().iter().map(|line| line.remote()).collect();
        }
        let mut lines = Vec::new();
        if let Some(script) = &mut call.script {
            script.on_sent(leg, flow.remote, &message, &mut lines);
        }
        self.learn_referral(index, leg, &message);
        self.hear(index, leg, Direction::Sent, bytes);
        self.lines.extend(lines.into_iter().map(|line| (index, line)));
    }

    fn learn_referral(&mut self, index: CallIndex, leg: Leg, message: &Message) {
        let Message::Request(request) = message else { return };
        let script = self.calls.call(index).and_then(|call| call.script.as_deref());
        let said = script
            .and_then(|script| script.refer_to(leg, request))
            .map(str::to_owned);
        if let (Some(said), Some(passed)) = (said, request.headers.get("Refer-To")) {
            self.calls.referrals.learn(&said, passed);
        }
    }

    /// The Call-ID of the call that began the conversation of this one, if that is another.
    pub(crate) fn conversation_of(&self, index: CallIndex) -> Option<&str> {
        let (_, told) = self.stories.get(&index)?.telling()?;
        let first = self.sessions.get(&told.view.as_ref()?.conversation)?;
        Some(self.calls.call(*first)?.call_id.as_str()).filter(|_| *first != index)
    }

    /// The capture is over: who still talks hangs up, and the recorder gets the time to seal.
    pub(crate) fn finish(&mut self) {
        self.play_unsure();
        let end = self.clock.now();
        for index in 0..self.calls.len() {
            let mut lines = Vec::new();
            if let Some(script) = self.calls.call_mut(index).and_then(|call| call.script.as_deref_mut()) {
                script.hang_up(&mut lines);
            }
            self.lines.extend(lines.into_iter().map(|line| (index, line)));
            self.settle();
        }
        while let Some(due) = self.engine.poll_timeout().filter(|due| due.since(end) <= EPILOGUE_MAX) {
            let is_quiet = self.engine.signaling().calls() == 0 && self.stories.values().all(Story::is_settled);
            if is_quiet {
                return;
            }
            self.run_until(due);
        }
    }
}
