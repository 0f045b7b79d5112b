//! Signalling: SIP in, decisions, calls, SIP out. One owner, one ordered queue of outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::consultation::Consultation;
use super::edge::Edge;
use super::input::Input;
use super::invite::Door;
use super::orphan::Unwanted;
use super::overload::{Admission, AdmissionLimits};
use super::page::Pages;
use super::passage::Passage;
use super::probe::Probes;
use super::referral::Transfer;
use super::registration::Registration;
use super::urgent::Unread;
use crate::b2bua::{Aftermath, Call, Conversations, Emergencies, Errand, Output, Subscriptions, Terms, Turn, Wire};
use crate::media::PortPool;
use crate::model::{Fault, Index, Leg, MediaEvent, RecordingEvent, SessionId, Timestamp, earliest};
use crate::policy::{PolicySet, RecorderState, RejectCode};
use crate::sip::transaction::{ClientId, Event, TIMEOUT, TransactionLimits};
use crate::sip::{Flow, TokenKey};
use crate::trunk::{Loads, Topology};

/// Transactions of a node for few calls. Of a call that is over, three linger for 32 s to absorb copies (RFC 3261 §17.2.2, RFC
/// 6026 §7.1): 3,400 short calls a second, more than two cores serve, leave as many as calls may ([`TransactionLimits`]).
const TRANSACTIONS_MAX: usize = 400_000;
/// Port pairs that only emergency calls may take.
pub(super) const EMERGENCY_PAIRS: usize = 16;

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct SignalingConfig {
    pub node: String,
    pub topology: Topology,
    pub media_address: IpAddr,
    pub ports: RangeInclusive<u16>,
    /// How long a port rests between two calls.
    pub cool_down: Duration,
    /// Calls at a time; more are refused with 503.
    pub calls_max: usize,
    pub lag_max: Duration,
    /// Another node could take a call that this one must refuse.
    pub peer_node: bool,
    /// What a strict call gets that cannot be recorded, where its policy does not say.
    pub reject_code: RejectCode,
    /// How long a session may go unrefreshed (RFC 4028); None: no session timers are asked for.
    pub session_interval: Option<Duration>,
    /// How long a callee may ring without a word before the call is given up.
    pub ring_max: Duration,
    /// Write the rungs of the ladder to the outputs.
    pub steps: bool,
}

/// Every call of a node, and what they share: transactions, ports, policies.
#[derive(Debug)]
pub struct Signaling {
    pub(super) topology: Topology,
    pub(super) calls_max: usize,
    pub(super) lag_max: Duration,
    pub(super) terms: Terms,
    pub(super) wire: Wire,
    pub(super) ports: PortPool,
    pub(super) policies: Arc<PolicySet>,
    pub(super) calls: BTreeMap<SessionId, Box<Call>>,
    /// Of them those that are being prepared.
    pub(super) preparing: usize,
    /// Of them those of which at most the recording is left.
    pub(super) sealing: usize,
    /// Which leg a tag of ours belongs to.
    pub(super) tags: Index<String, (SessionId, Leg)>,
    /// Call-IDs that we minted for B legs, and of which call: an INVITE that bears one has been here before.
    pub(super) minted: BTreeMap<String, SessionId>,
    pub(super) deadlines: BTreeSet<(Timestamp, SessionId)>,
    /// INVITEs of calls that are over, and until when a 2xx to them may still come.
    pub(super) aftermaths: BTreeMap<ClientId, Aftermath>,
    aftermaths_end: VecDeque<(Timestamp, ClientId)>,
    pub(super) unwanted: Unwanted,
    /// Requests outside any dialog that were passed on.
    pub(super) passages: BTreeMap<ClientId, Passage>,
    pub(super) pages: Pages,
    pub(super) subscriptions: Subscriptions,
    pub(super) recorder: RecorderState,
    /// No volume has its reserve.
    pub(super) reserve_crossed: bool,
    pub(super) heard: Option<Timestamp>,
    pub(super) door: Door,
    /// The next process answers.
    pub(super) handed_over: bool,
    pub(super) emergencies: Emergencies,
    pub(super) loads: Loads,
    pub(super) probes: Probes,
    pub(super) conversations: Conversations,
    /// Transfers that we execute, by the call that each makes.
    pub(super) transfers: BTreeMap<SessionId, Transfer>,
    pub(super) errands: VecDeque<(SessionId, Errand)>,
    /// By the call that each will make.
    pub(super) consultations: BTreeMap<SessionId, Consultation>,
    pub(super) admission: Admission,
    pub(super) registrations: Vec<Registration>,
    pub(super) edge: Edge,
    pub(super) unread: Unread,
    pub(super) out: VecDeque<Output>,
}

/// What a call may touch. No function: it borrows field by field, so that one of `calls` can act in it.
macro_rules! turn {
    ($node:ident, $now:expr, $recorder:expr) => {
        Turn {
            now: $now,
            terms: &$node.terms,
            topology: &$node.topology,
            policies: &$node.policies,
            emergencies: &mut $node.emergencies,
            conversations: &$node.conversations,
            loads: &mut $node.loads,
            recorder: $recorder,
            wire: &mut $node.wire,
            ports: &mut $node.ports,
            out: &mut $node.out,
        }
    };
}

impl Signaling {
    /// `seed`: of all tags, branches, Call-IDs and session ids. A live node takes it from the kernel.
    pub fn new(config: SignalingConfig, policies: Arc<PolicySet>, seed: u64) -> Self {
        let limits = TransactionLimits {
            live_max: config.calls_max.saturating_mul(8).max(TRANSACTIONS_MAX),
        };
        let mut wire = Wire::new(limits, seed).with_paths(config.topology.paths().clone());
        let ports = PortPool::new(config.media_address, config.ports, config.cool_down)
            .reserving(EMERGENCY_PAIRS)
            .at(config.topology.paths().media());
        Self {
            registrations: Registration::all(&config.topology, &mut wire),
            topology: config.topology,
            calls_max: config.calls_max,
            lag_max: config.lag_max,
            terms: Terms {
                node: config.node,
                peer_node: config.peer_node,
                reject_code: config.reject_code,
                session_interval: config.session_interval,
                ring_max: config.ring_max,
                steps: config.steps,
                identities: None,
            },
            wire,
            ports,
            policies,
            calls: BTreeMap::new(),
            preparing: 0,
            sealing: 0,
            tags: Index::default(),
            minted: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            aftermaths: BTreeMap::new(),
            aftermaths_end: VecDeque::new(),
            unwanted: Unwanted::default(),
            passages: BTreeMap::new(),
            pages: Pages::default(),
            subscriptions: Subscriptions::default(),
            recorder: RecorderState::Up,
            reserve_crossed: false,
            heard: None,
            door: Door::Open,
            handed_over: false,
            emergencies: Emergencies::default(),
            loads: Loads::default(),
            probes: Probes::default(),
            conversations: Conversations::default(),
            transfers: BTreeMap::new(),
            errands: VecDeque::new(),
            consultations: BTreeMap::new(),
            admission: Admission::new(AdmissionLimits::of(config.calls_max)),
            edge: Edge::new(TokenKey::of_seed(seed)),
            unread: Unread::default(),
            out: VecDeque::new(),
        }
    }

    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        if self.heard.is_none() {
            self.heard = Some(now);
            self.follow_topology(now);
        }
        match input {
            Input::Sip { flow, bytes } => self.on_sip(now, flow, &bytes),
            Input::Cut { flow, bytes } => self.on_cut(now, flow, &bytes),
            Input::Unreachable { flow } => {
                self.wire.handle_unreachable(now, flow);
                self.on_events(now, None);
            }
            Input::Closed { flow } => self.on_closed(flow),
            Input::Bounced { flow, fragment } => {
                self.wire.handle_bounced(now, flow, &fragment);
                self.on_events(now, None);
            }
            Input::Excess { flow, bytes } => self.on_excess(now, flow, &bytes),
            Input::Refusing(share) => self.admission.congestion.note_refused(now, share),
            Input::Recording(event) => self.on_recording(now, event),
            Input::Media(event) => {
                let session = match &event {
                    MediaEvent::Opened { session }
                    | MediaEvent::OpenFailed { session, .. }
                    | MediaEvent::Refused { session, .. }
                    | MediaEvent::Learned { session, .. }
                    | MediaEvent::Noticed { session, .. }
                    | MediaEvent::Unkeyed { session, .. }
                    | MediaEvent::Sealed { session, .. }
                    | MediaEvent::Health { session, .. }
                    | MediaEvent::Paused { session, .. }
                    | MediaEvent::Unpaused { session, .. }
                    | MediaEvent::Withheld { session, .. }
                    | MediaEvent::Key { session, .. }
                    | MediaEvent::Closed { session, .. } => *session,
                };
                self.with_call(now, session, |call, turn| call.on_media(turn, event));
            }
            Input::Policies(policies) => self.policies = policies,
            Input::Trunks { trunks, routes } => self.on_trunks(now, trunks, routes),
            Input::Located { aim, located } => {
                self.topology.locate(aim, located);
                self.follow_topology(now);
            }
            Input::Drain => {
                self.door = self.door.max(Door::Draining);
                self.unregister(now);
            }
            Input::Admit => {
                self.door = Door::Open;
                self.register_again(now);
            }
            Input::HandOver => self.hand_over(now),
            Input::NotKept { session } => self.with_call(now, session, Call::note_not_kept),
            Input::Resume { session, state } => self.resume(now, session, &state),
            Input::PauseRecording { session, why } => {
                self.with_call(now, session, |call, turn| call.pause_by_operator(turn, why));
            }
            Input::ResumeRecording { session } => self.with_call(now, session, Call::resume_by_operator),
            Input::ShutDown => self.shut_down(now),
            Input::Abandon => self.for_all_calls(now, Call::abandon_peers),
        }
        self.carry_errands(now);
    }

    /// Fires what is due at `now`.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.wire.handle_timeout(now);
        // What goes out again here is of many calls, and of no one's turn.
        self.depart();
        self.on_events(now, None);
        self.subscriptions.handle_timeout(now);
        self.give_up_pages(now);
        while let Some((due, session)) = self.deadlines.first().copied().filter(|(due, _)| *due <= now) {
            self.deadlines.remove(&(due, session));
            self.with_call(now, session, |call, turn| call.handle_deadline(turn));
        }
        self.probe(now);
        while let Some((_, id)) = self.aftermaths_end.pop_front_if(|(end, _)| *end <= now) {
            self.aftermaths.remove(&id);
        }
        self.register(now);
        if self.topology.retired().due().is_some_and(|due| due <= now) {
            self.sweep_retired(now);
        }
        if self.silence_due().is_some_and(|due| due <= now) {
            self.on_recording(now, RecordingEvent::Down { fault: Fault::Hung });
        }
        self.carry_errands(now);
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let deadline = self.deadlines.first().map(|(due, _)| *due);
        let aftermath = self.aftermaths_end.front().map(|(end, _)| *end);
        let owned = earliest(earliest(deadline, aftermath), self.subscriptions.poll_timeout());
        let owned = earliest(owned, self.topology.retired().due());
        let owned = earliest(owned, self.pages.poll_timeout());
        let calls = earliest(earliest(self.wire.poll_timeout(), owned), self.silence_due());
        earliest(earliest(calls, self.registrations_due()), self.probes.poll_timeout())
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub const fn recorder(&self) -> RecorderState {
        self.recorder
    }

    /// Hands the transactions' events to their owners; `received` is the message behind them.
    pub(super) fn on_events(&mut self, now: Timestamp, received: Option<(Flow, &Bytes)>) {
        while let Some(event) = self.wire.poll_event() {
            self.on_event(now, event, received);
        }
        self.depart();
    }

    pub(super) fn depart(&mut self) {
        while let Some(departure) = self.wire.poll_departure() {
            self.out.push_back(Output::Send {
                flow: departure.flow,
                bytes: departure.bytes,
            });
        }
    }

    fn on_event(&mut self, now: Timestamp, event: Event, received: Option<(Flow, &Bytes)>) {
        match event {
            Event::Request { id, request, flow } => {
                let bytes = received.map(|(_, bytes)| bytes.clone()).unwrap_or_default();
                self.on_request(now, id, request, flow, bytes);
            }
            Event::Ack { request, flow, .. } => {
                let Some((session, side, request)) = self.acknowledged(now, request, flow) else {
                    return;
                };
                self.with_call(now, session, |call, turn| {
                    if let Some((_, bytes)) = received {
                        call.received(turn, side, flow, bytes);
                    }
                    call.on_ack(turn, side, &request);
                });
            }
            Event::Cancelled { invite, cancel } => {
                let Some(crate::b2bua::Owner::Call(session, side)) = self.wire.server_owner(invite) else {
                    return;
                };
                if received.is_some_and(|(flow, _)| !self.speaks_for(session, side, flow)) {
                    return;
                }
                self.with_call(now, session, |call, turn| {
                    if let Some((flow, bytes)) = received {
                        call.received(turn, side, flow, bytes);
                    }
                    call.on_cancelled(turn, invite, &cancel);
                });
            }
            Event::Response { id, response } => self.on_response(now, id, response, received),
            Event::Orphan { response, flow } => self.on_orphan(now, flow, &response, received),
            Event::TimedOut { id } => self.on_failed(now, id, false),
            Event::Unreachable { id } => self.on_failed(now, id, true),
            Event::NoAck { id } => {
                let Some(crate::b2bua::Owner::Call(session, _)) = self.wire.server_owner(id) else {
                    return;
                };
                self.with_call(now, session, |call, turn| call.on_no_ack(turn, id));
            }
        }
    }

    /// Lets a call act, then follows its deadline and forgets it when it is over.
    pub(super) fn with_call(&mut self, now: Timestamp, session: SessionId, act: impl FnOnce(&mut Call, &mut Turn<'_>)) {
        let recorder = self.openness();
        let Some(call) = self.calls.get_mut(&session) else {
            return;
        };
        let before = call.deadline();
        self.preparing -= usize::from(call.is_preparing());
        self.sealing -= usize::from(call.awaits_seal());
        let trunk = Arc::clone(call.reach(Leg::B).0);
        let mut turn = turn!(self, now, recorder);
        act(call, &mut turn);
        while let Some((tag, side)) = call.poll_tag() {
            self.tags.insert(tag, (session, side));
        }
        self.minted
            .extend(std::iter::from_fn(|| call.poll_call_id()).map(|call_id| (call_id, session)));
        for (invite, aftermath) in std::iter::from_fn(|| call.poll_left_behind()) {
            self.aftermaths.insert(invite, aftermath);
            self.aftermaths_end.push_back((now + TIMEOUT, invite));
        }
        let errands = call.take_errands().into_iter();
        self.errands.extend(errands.map(|errand| (session, errand)));
        self.preparing += usize::from(call.is_preparing());
        self.sealing += usize::from(call.awaits_seal());
        let over = call.is_over();
        let half_open = call.is_half_open();
        if over {
            call.publish(&mut turn);
            call.release(&mut turn);
        }
        if call.is_left() {
            if let Some(trunk) = call.unasked_trunk() {
                self.loads.give_back(session, trunk);
            }
            self.loads.end(session);
        } else if !Arc::ptr_eq(&trunk, call.reach(Leg::B).0) {
            self.loads.follow(session, call.trunks());
        }
        let after = call.deadline().filter(|_| !over);
        if before != after {
            self.deadlines.extend(after.map(|due| (due, session)));
            if let Some(due) = before {
                self.deadlines.remove(&(due, session));
            }
        }
        if !half_open {
            self.admission.on_settled(session);
        }
        if over {
            self.forget(now, session);
        }
    }

    fn forget(&mut self, now: Timestamp, session: SessionId) {
        let Some(mut call) = self.calls.remove(&session) else {
            return;
        };
        self.preparing -= usize::from(call.is_preparing());
        self.sealing -= usize::from(call.awaits_seal());
        for (invite, aftermath) in call.aftermaths() {
            self.aftermaths.insert(invite, aftermath);
            self.aftermaths_end.push_back((now + TIMEOUT, invite));
        }
        for tag in call.local_tags() {
            self.tags.remove(tag);
        }
        for call_id in call.minted_call_ids() {
            self.minted.remove(call_id);
        }
        self.loads.end(session);
        self.conversations.end(session);
        self.admission.forget(session);
    }

    /// A turn that belongs to no call yet.
    pub(super) fn turn(&mut self, now: Timestamp) -> Turn<'_> {
        let recorder = self.openness();
        turn!(self, now, recorder)
    }
}
