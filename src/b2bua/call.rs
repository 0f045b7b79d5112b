//! A call: two legs, one decision, one recording. This file holds its state and tells each event where it belongs.

use std::sync::Arc;

use bytes::Bytes;

use super::awareness::{Announced, Telling};
use super::continuation::Kept;
use super::crossing::{Passing, ReferNumber};
use super::deadlines::Deadlines;
use super::dialog::{CallLeg, Forks, LegState, Owner};
use super::ending::{Farewell, Partings};
use super::identity::Claims;
use super::invite::{Attempts, Reliable, Setting, reliable};
use super::modification::{Exchange, Former, Upkeep, Withheld};
use super::output::{Output, StepKind};
use super::recording::{Chronicle, LeavingOut, Pauses};
use super::reject::{self, Refusal};
use super::session::Negotiation;
use super::state::{MediaState, Phase, Recording, Story};
use super::transfer::Transfers;
use super::turn::{Line, Turn};
use crate::model::{Ailment, Direction, Header, Leg, MediaKind, Reconciliation, RecordingEvent, SessionId, TrunkName};
use crate::policy::Decision;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Method, Request, Response, Uri};

#[derive(Debug)]
pub struct Call {
    pub(super) id: SessionId,
    pub(super) phase: Phase,
    pub(super) decision: Arc<Decision>,
    pub(super) meeting: bool,
    pub(super) a: CallLeg,
    pub(super) b: CallLeg,
    /// The Request-URI of B's INVITE.
    pub(super) target: Uri,
    /// What else was tried for B, and can be.
    pub(super) attempts: Attempts,
    /// The body of B's INVITE.
    pub(super) body: Bytes,
    pub(super) negotiation: Negotiation,
    /// The kinds of media that it was decided with.
    pub(super) kinds: Vec<MediaKind>,
    pub(super) media: MediaState,
    pub(super) recording: Recording,
    pub(super) exchange: Option<Box<Exchange>>,
    /// The newest re-INVITE that we sent to A, to B: its 2xx may come again.
    pub(super) last_exchange: [Option<ClientId>; 2],
    pub(super) passings: Vec<Passing>,
    pub(super) partings: Partings,
    pub(super) pauses: Pauses,
    pub(super) left_out: LeavingOut,
    pub(super) refers: Vec<ReferNumber>,
    pub(super) transfers: Transfers,
    pub(super) chronicle: Chronicle,
    pub(super) header: Arc<Header>,
    /// The recording was opened with another header.
    pub(super) is_amended: bool,
    pub(super) story: Story,
    pub(super) deadlines: Deadlines,
    /// The transaction of B's INVITE: its 2xx may come again, or from a fork.
    pub(super) invited: Option<ClientId>,
    /// The path of that INVITE.
    pub(super) invited_by: Flow,
    pub(super) held: [bool; 2],
    pub(super) announced: Announced,
    /// Of A, of B.
    pub(super) telling: [Telling; 2],
    /// What ails its sound now: each ailment once, so a few a line.
    pub(super) ailments: Vec<Ailment>,
    pub(super) gated: bool,
    pub(super) kept: Kept,
    /// Its state was too long to be kept.
    pub(super) outgrown: bool,
    /// `during` binds: recording has started.
    pub(super) armed: bool,
    /// Until the recording is open that who answered asks for.
    pub(super) withheld: Option<Withheld>,
    /// Until the recording is open that who, or what, came asks for.
    pub(super) former: Option<Former>,
    /// Of each leg: A, B.
    pub(super) upkeep: [Upkeep; 2],
    /// Which peers know `from-change`: A, B.
    pub(super) from_change: [bool; 2],
    /// What A, what B said of themselves.
    pub(super) claims: [Claims; 2],
    pub(super) forks: Forks,
    /// Of the early dialog in focus.
    pub(super) reliable: Reliable,
    /// Who is said to ring there.
    pub(super) rings: Claims,
    /// Every tag of ours that requests of the legs may name; the first `tags_told` are known outside.
    pub(super) tags: Vec<(String, Leg)>,
    tags_told: usize,
}

impl Call {
    pub(super) fn new(setting: Setting, steps: bool) -> Self {
        let tag = |leg: &CallLeg| (leg.local_tag.clone(), leg.side);
        let tags = vec![tag(&setting.a), tag(&setting.b)];
        let attempts = Attempts::new(&setting.b, &setting.target, setting.destinations);
        let negotiation = Negotiation::between(&setting.a, &setting.b);
        let mut call = Self {
            id: setting.session,
            phase: Phase::Preparing,
            decision: setting.decision,
            meeting: setting.meeting,
            a: setting.a,
            invited_by: setting.b.flow,
            b: setting.b,
            target: setting.target,
            attempts,
            body: Bytes::new(),
            negotiation,
            kinds: Vec::new(),
            media: MediaState::Unopened,
            recording: Recording::NotWanted,
            exchange: None,
            last_exchange: [None; 2],
            passings: Vec::new(),
            partings: Partings::default(),
            pauses: Pauses::default(),
            left_out: LeavingOut::default(),
            refers: Vec::new(),
            transfers: Transfers::default(),
            chronicle: Chronicle::new(setting.session, steps),
            header: setting.header,
            is_amended: false,
            story: Story::default(),
            deadlines: Deadlines::default(),
            invited: None,
            held: [false; 2],
            announced: Announced::default(),
            telling: Default::default(),
            ailments: Vec::new(),
            gated: false,
            kept: Kept::default(),
            outgrown: false,
            armed: false,
            withheld: None,
            former: None,
            upkeep: Default::default(),
            from_change: [false; 2],
            claims: Default::default(),
            forks: Forks::default(),
            reliable: Reliable::default(),
            rings: Claims::default(),
            tags,
            tags_told: 0,
        };
        call.b.fronts_focus = call.meeting;
        call.permit_codecs();
        call
    }

    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The trunks of both legs.
    pub fn trunks(&self) -> [&TrunkName; 2] {
        [&self.a.trunk.name, &self.b.trunk.name]
    }

    /// That of B, if it has heard nothing of the call.
    pub fn unasked_trunk(&self) -> Option<&TrunkName> {
        let [from, to] = self.trunks();
        (!self.attempts.is_heard && from != to).then_some(to)
    }

    /// The local tags of the legs, one for each dialog: what an in-dialog request names.
    pub fn local_tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|(tag, _)| tag.as_str())
    }

    /// A local tag that was not told before, and whose it is.
    pub fn poll_tag(&mut self) -> Option<(String, Leg)> {
        let tag = self.tags.get(self.tags_told).cloned();
        self.tags_told += usize::from(tag.is_some());
        tag
    }

    pub fn call_id(&self, side: Leg) -> &str {
        &self.leg(side).call_id
    }

    /// Whether it is this INVITE that A waits with for its answer; the branch aside.
    pub fn is_asked_by(&self, invite: &Request) -> bool {
        let asked = self
            .a
            .invite
            .as_ref()
            .filter(|_| matches!(self.a.state, LegState::Invited { .. }));
        asked.is_some_and(|asked| {
            let tags = [asked, invite].map(|request| request.headers.from().tag());
            asked.headers.call_id() == invite.headers.call_id()
                && tags[0] == tags[1]
                && asked.headers.cseq() == invite.headers.cseq()
                && asked.uri == invite.uri
        })
    }

    /// Nothing of it is left: both legs are gone, the ports are back, the recorder has all it needs.
    pub fn is_over(&self) -> bool {
        self.awaits_seal() && matches!(self.recording, Recording::NotWanted | Recording::Done)
    }

    /// Its parties are gone: it takes no place of another call, whatever is still to be stored.
    pub fn is_left(&self) -> bool {
        self.phase == Phase::Ending && self.a.is_over() && self.b.is_over()
    }

    /// The ports are back too: at most its recording is left.
    pub fn awaits_seal(&self) -> bool {
        self.is_left() && matches!(self.media, MediaState::Unopened | MediaState::Closed(_))
    }

    pub(super) const fn leg(&self, side: Leg) -> &CallLeg {
        match side {
            Leg::A => &self.a,
            Leg::B => &self.b,
        }
    }

    pub(super) const fn leg_mut(&mut self, side: Leg) -> &mut CallLeg {
        match side {
            Leg::A => &mut self.a,
            Leg::B => &mut self.b,
        }
    }

    pub(super) fn line(&self, side: Leg) -> Line<'_> {
        self.leg(side).line(&self.chronicle)
    }

    /// Writes down a message as it came from a leg.
    pub fn received(&self, turn: &mut Turn<'_>, side: Leg, flow: Flow, bytes: &Bytes) {
        self.chronicle
            .message(turn.now, side, Direction::Received, flow, bytes, turn.out);
        turn.depart(self.line(side));
    }

    pub fn on_request(&mut self, turn: &mut Turn<'_>, side: Leg, flow: Flow, server: ServerId, request: Request) {
        if side == Leg::A && self.on_foreword_request(turn, server, &request) {
            self.settle(turn);
            return;
        }
        if let Err(refusal) = self.take_request(side, flow, &request) {
            self.forget_fork(turn, &request);
            self.refuse_request(turn, side, server, &request, &refusal);
            self.settle(turn);
            return;
        }
        match request.method {
            Method::Bye => self.on_bye(turn, side, server, &request),
            Method::Invite | Method::Update => self.on_offer_again(turn, side, server, request),
            Method::Prack => self.on_prack(turn, side, server, request),
            Method::Subscribe if self.on_refer_subscribe(turn, side, server, &request) => {}
            Method::Info if self.on_record_info(turn, side, server, &request) => {}
            Method::Info | Method::Message | Method::Subscribe | Method::Notify | Method::Publish => {
                self.on_passing(turn, side, server, &request);
            }
            Method::Options => {
                let mut response = Response::to(&request, 200, None, None);
                let allow = self.leg(side).trunk.allow(super::crossing::ALLOW);
                response.headers.push("Allow", allow);
                turn.respond(self.line(side), server, response);
            }
            _ => {
                let allow = self.leg(side).trunk.allow(super::crossing::ALLOW);
                let refusal = super::reject::of_method(&request.method, allow);
                self.refuse_request(turn, side, server, &request, &refusal);
            }
        }
        self.settle(turn);
    }

    /// Takes note of a request's place in its dialog, and of the connection that the peer may have come back on.
    pub(super) fn take_request(&mut self, side: Leg, flow: Flow, request: &Request) -> Result<(), Refusal> {
        if !self.focus_on_request(side, request) {
            return Err(Refusal::NoSuchDialog);
        }
        self.take_in_order(side, request)?;
        self.note_proof(side, &request.headers);
        self.take_parted(side, request)?;
        self.take_parting(side, &request.method)?;
        if flow.transport.is_stream() {
            self.leg_mut(side).flow = flow;
        }
        Ok(())
    }

    pub fn on_response(&mut self, turn: &mut Turn<'_>, side: Leg, client: ClientId, mut response: Response) {
        if self.answer_challenge(turn, side, client, &response) {
            self.settle(turn);
            return;
        }
        if self.is_invite_of_b(side, client) {
            self.on_answer(turn, client, response);
        } else if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.client == Some(client))
        {
            self.on_exchange_response(turn, side, client, &response);
        } else if response.status >= 200 && self.leg(side).is_leaving_by(client) {
            turn.wire.disown_client(client);
            self.note_unproven(turn, side, &response);
            self.leg_mut(side).state = LegState::Gone;
        } else if self.upkeep[side.index()].is_refreshing_by(client) {
            self.on_refresh_response(turn, side, &response);
        } else if self.is_reseating_by(client) {
            self.on_seat_response(turn, side, &response);
        } else if self.is_parting_by(client) {
            self.on_parting_answered(turn, &response);
        } else if self.is_notice(client) {
            self.on_notice_answered(turn, Some(&response));
        } else {
            reliable::leave_out_sdp(&mut response);
            let is_known = self.on_fork_answered(turn, client, &response);
            if !is_known && !self.on_passed(turn, client, &response) && response.status >= 200 {
                self.on_late_response(turn, side, client, &response);
            }
        }
        self.settle(turn);
    }

    /// A transaction of ours got no answer in time, or its peer cannot be reached by the `broken` path.
    pub fn on_failed(&mut self, turn: &mut Turn<'_>, side: Leg, client: ClientId, broken: Option<Flow>) {
        if self.is_invite_of_b(side, client) {
            self.on_invite_failed(turn, broken.is_some());
        } else if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.client == Some(client))
        {
            self.on_exchange_failed(turn, broken);
        } else if self.leg(side).is_leaving_by(client) {
            self.on_bye_failed(turn, side, broken);
        } else if self.upkeep[side.index()].is_refreshing_by(client) {
            self.on_refresh_failed(turn, side, broken);
        } else if self.is_reseating_by(client) {
            self.on_seat_failed(turn, broken);
        } else if self.is_parting_by(client) {
            self.on_parting_failed(turn, broken);
        } else if self.is_notice(client) {
            self.on_notice_answered(turn, None);
        } else if !self.on_fork_silent(turn, client) {
            self.forget_given_up(side, client);
            self.on_passing_failed(turn, client, broken);
        }
        self.settle(turn);
    }

    pub fn on_ack(&mut self, turn: &mut Turn<'_>, side: Leg, ack: &Request) {
        if side == Leg::A && self.is_of_answer(ack) {
            self.on_answer_acknowledged(turn, ack);
        } else {
            self.on_exchange_acknowledged(turn, side, ack);
        }
        self.settle(turn);
    }

    pub fn on_recording(&mut self, turn: &mut Turn<'_>, event: RecordingEvent) {
        match event {
            RecordingEvent::Ready { .. } => self.on_recording_ready(turn),
            RecordingEvent::OpenFailed { fault, .. } => self.on_recording_not_opened(turn, fault),
            RecordingEvent::Faulted { fault, .. } | RecordingEvent::Down { fault } => {
                self.on_recording_lost(turn, fault);
            }
            RecordingEvent::Up => self.on_recorder_up(turn),
            RecordingEvent::Sealed { reconciliation, .. } => self.on_sealed(turn, &reconciliation),
            RecordingEvent::Reserve { .. } | RecordingEvent::Heartbeat { .. } => {}
        }
        self.settle(turn);
    }

    /// The ACK to a final answer of ours never came (RFC 3261 §13.3.1.4).
    pub fn on_no_ack(&mut self, turn: &mut Turn<'_>, server: ServerId) {
        turn.wire.disown_server(server);
        if matches!(self.a.state, LegState::AckAwaited { server: awaited, .. } if awaited == server) {
            self.on_never_acknowledged(turn);
        } else if self.exchange.as_ref().is_some_and(|exchange| exchange.server == server) {
            self.finish(turn, "no ACK to a 2xx", &Farewell::of_reasons(reject::no_ack()));
        }
        self.settle(turn);
    }

    /// Gives up what the wire keeps for it.
    pub fn release(&mut self, turn: &mut Turn<'_>) {
        for side in Leg::BOTH {
            turn.wire.forget_proofs(Owner::Call(self.id, side));
        }
        for awaited in self.last_exchange.iter_mut().chain([&mut self.invited]) {
            *awaited = awaited.map(|client| turn.wire.abandon_client(turn.now, client));
        }
        self.release_refreshes(turn);
        self.release_notices(turn);
        self.release_forks(turn);
    }

    /// Tells readers how the call stands.
    pub fn publish(&self, turn: &mut Turn<'_>) {
        let conversation = self.joined(turn).unwrap_or_else(|| self.conversation());
        turn.out.push_back(Output::Publish(Box::new(self.view(conversation))));
    }

    fn on_sealed(&mut self, turn: &mut Turn<'_>, reconciliation: &Reconciliation) {
        self.recording = Recording::Done;
        let (accepted, stored) = (reconciliation.accepted, reconciliation.stored);
        self.chronicle
            .step(turn.now, StepKind::Sealed { accepted, stored }, turn.out);
    }

    /// After every event: a call that is ending closes its recording once nothing more can come.
    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        self.announce(turn);
        self.review_consent(turn);
        self.review_declined(turn);
        self.review_pause(turn);
        self.renew_pausing(turn);
        self.indicate(turn);
        self.remember(turn);
        self.rest_on_heard();
        if self.is_left() {
            self.note_over();
            self.close_recording(turn);
        }
    }

    fn is_invite_of_b(&self, side: Leg, client: ClientId) -> bool {
        side == Leg::B
            && matches!(&self.b.state,
                LegState::Inviting { client: c, .. } | LegState::Cancelling { client: c, .. } | LegState::AckOwed { client: c, .. } if *c == client)
    }
}
