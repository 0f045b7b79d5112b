//! The INVITE from A: decided, prepared, sent on to B. B hears nothing before the recorder and the ports are ready.

use std::sync::Arc;

use super::arrival::{Arrival, Asked, Setting};
use crate::b2bua::call::Call;
use crate::b2bua::crossing::{Crossing, carry};
use crate::b2bua::decision::{FOCUS, is_focus};
use crate::b2bua::dialog::{LegState, Owner, Wire};
use crate::b2bua::output::StepKind;
use crate::b2bua::reject::{self, Refusal};
use crate::b2bua::session::{Content, NegotiationError};
use crate::b2bua::state::{MediaState, Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Direction, Fault, Leg, MediaCommand, PolicyId, RecordingCommand};
use crate::policy::{Admission, RecorderState, Verdict};
use crate::sip::{Headers, Method, Request, Uri};

impl Call {
    /// A call begins: it waits for the recorder and the ports, or is refused at once.
    pub fn receive(turn: &mut Turn<'_>, arrival: Arrival, invite: Request) -> Self {
        let (asked, bytes) = (arrival.asked, arrival.bytes);
        let setting = Setting {
            session: arrival.session,
            a: arrival.a,
            b: arrival.b,
            target: arrival.target,
            destinations: arrival.destinations,
            decision: arrival.decision,
            meeting: arrival.meeting,
            header: arrival.header,
        };
        let mut call = Self::new(setting, turn.terms.steps);
        call.negotiation.mint_keys_by(turn.wire.keys_for(call.id));
        call.negotiation.shake_hands_as(turn.terms.identities.clone());
        call.attempts.kin = arrival.kin;
        let server = match asked {
            Asked::ByInvite(server) => {
                turn.wire.own_server(server, Owner::Call(call.id, Leg::A));
                Some(server)
            }
            Asked::ByRefer { told, transfers } => {
                call.succeed(told, transfers);
                None
            }
        };
        call.bind_dissents(turn.now, server.is_none());
        call.expect_recording(turn);
        let admitted = call.admit(turn, &invite);
        if admitted.is_ok() && call.wants_recording() {
            call.open_recording(turn);
        }
        call.review_left_out();
        let decided = call.decided();
        if server.is_some() {
            call.chronicle
                .message(turn.now, Leg::A, Direction::Received, call.a.flow, &bytes, turn.out);
        }
        call.chronicle.step(turn.now, StepKind::Decided(decided), turn.out);
        call.note_proof(Leg::A, &invite.headers);
        call.a.invite = Some(Box::new(invite));
        if let Err(refusal) = admitted {
            call.refuse(turn, &refusal);
            return call;
        }
        call.ring(turn, server);
        call
    }

    fn ring(&mut self, turn: &mut Turn<'_>, server: Option<crate::sip::transaction::ServerId>) {
        if let Some(server) = server {
            turn.say_trying(self.line(Leg::A), server);
        }
        if self.recording == Recording::Opening {
            self.chronicle.step(turn.now, StepKind::RecordingAsked, turn.out);
        }
        self.note_opaque(turn);
        self.enter(turn, Phase::Preparing);
        if self.negotiation.has_media() {
            self.media = MediaState::Opening;
            let mut plan = self.negotiation.plan(self.id, self.mode());
            plan.pausing = self.pausing();
            turn.media(MediaCommand::Open(Box::new(plan)));
        }
        self.proceed(turn);
    }

    /// Asks everything that may refuse the call, in the order in which A should hear of it. Leases ports, no more.
    fn admit(&mut self, turn: &mut Turn<'_>, invite: &Request) -> Result<(), Refusal> {
        reject::of_verdict(&self.decision)?;
        if self.is_dissented() {
            return Err(Refusal::Unconsented);
        }
        if let (Admission::Refuse, RecorderState::Down(fault)) =
            (self.decision.admission(turn.recorder, self.meeting), turn.recorder)
        {
            return Err(self.recorder_down(turn, fault));
        }
        self.begin_upkeep(turn, invite)?;
        self.take_first_offer(turn, invite)
    }

    /// What the lists of both trunks let cross; in an emergency everything may.
    pub(in crate::b2bua) fn permit_codecs(&mut self) {
        let trunks = [&*self.a.trunk, &*self.b.trunk];
        let trunks = trunks.into_iter().filter(|_| !self.decision.emergency);
        self.negotiation.permit(trunks);
        self.demand_hearing();
    }

    /// What A's INVITE offers, as the B of now shall see it.
    pub(in crate::b2bua) fn take_first_offer(&mut self, turn: &mut Turn<'_>, invite: &Request) -> Result<(), Refusal> {
        match self.anchor_first_offer(turn, invite) {
            Err(refusal) if self.lets_body_pass(invite, &refusal) => Ok(()),
            anchored => anchored,
        }
    }

    fn anchor_first_offer(&mut self, turn: &mut Turn<'_>, invite: &Request) -> Result<(), Refusal> {
        let content = self.content_of(&invite.headers, &invite.body);
        if content == Content::Unreadable {
            return Err(Refusal::UnsupportedBody);
        }
        if let Some(sdp) = content.sdp(&invite.body) {
            let emergency = self.decision.emergency;
            let anchored = self.negotiation.offer(turn.now, Leg::A, sdp, turn.ports, emergency)?;
            self.kinds = self.negotiation.offered();
            self.body = content.with_sdp(&invite.body, anchored);
        } else {
            self.body = invite.body.clone();
        }
        Ok(())
    }

    /// What a body of this call's holds for us; of a call that is recorded nothing may be sealed.
    pub(in crate::b2bua) fn content_of(&self, headers: &Headers, body: &[u8]) -> Content {
        if self.negotiation.is_opaque() {
            return if body.is_empty() {
                Content::Empty
            } else {
                Content::Other
            };
        }
        let is_recorded = self.wants_recording() && !self.decision.emergency;
        Content::of(headers, body).recorded(is_recorded)
    }

    pub(in crate::b2bua) fn policy(&self) -> PolicyId {
        reject::first_policy(&self.decision)
    }

    pub(in crate::b2bua) fn recorder_down(&self, turn: &Turn<'_>, fault: Fault) -> Refusal {
        reject::of_recorder(&self.decision, turn.terms, fault)
    }

    /// The decision in a line: `trading-desk: record, strict`.
    pub(in crate::b2bua) fn decided(&self) -> String {
        let policies: Vec<&str> = self.decision.policies.iter().map(PolicyId::as_str).collect();
        let strict = match (self.header.strict_before, self.header.strict_during) {
            (true, true) => ", strict",
            (true, false) => ", strict before the call",
            (false, true) => ", strict during the call",
            (false, false) => "",
        };
        let emergency = if self.decision.emergency { "emergency, " } else { "" };
        match &self.decision.verdict {
            Verdict::Record => format!("{emergency}{}: record{strict}", policies.join(", ")),
            Verdict::None => format!("{emergency}no policy asks for a recording"),
            Verdict::Block(reason) => reason.to_string(),
        }
    }

    pub(in crate::b2bua) fn wants_recording(&self) -> bool {
        self.decision.verdict == Verdict::Record
    }

    /// Nothing may be heard before the recording that is being opened is there.
    pub(in crate::b2bua) fn awaits_recording(&self) -> bool {
        self.recording == Recording::Opening && self.decision.is_strict_before(self.meeting)
    }

    pub(in crate::b2bua) fn open_recording(&mut self, turn: &mut Turn<'_>) {
        if let RecorderState::Down(fault) = turn.recorder {
            self.go_without(turn, fault);
            self.story.fault.get_or_insert(fault);
            return;
        }
        self.recording = Recording::Opening;
        self.is_amended = false;
        turn.record(RecordingCommand::Open(Arc::clone(&self.header)));
        self.chronicle.keep(true);
        self.tell_consents(turn);
        self.tell_left_out(turn);
    }

    /// Goes on to B once nothing more has to be waited for.
    pub(in crate::b2bua) fn proceed(&mut self, turn: &mut Turn<'_>) {
        let ports_awaited = matches!(self.media, MediaState::Opening | MediaState::Moving);
        if self.phase == Phase::Preparing && !self.awaits_recording() && !ports_awaited {
            if let Some(rings) = self.attempts.kin.takes_over.take() {
                self.ask_for_way(rings);
            } else if self.b.state == LegState::Expected {
                self.offer_callee(turn);
            } else if !self.says_foreword(turn) {
                self.invite_b(turn);
            }
        }
    }

    fn invite_b(&mut self, turn: &mut Turn<'_>) {
        let Some(received) = &self.a.invite else { return };
        let mut invite = onward(
            &self.crossing(Leg::A),
            received,
            self.target.clone(),
            &self.b.call_id,
            &self.b.local_tag,
            self.b.flow,
            self.body.clone(),
        );
        self.write_history(&mut invite);
        crate::b2bua::crossing::cross(&mut invite.headers, &self.a.trunk, &self.b.trunk, turn.policies);
        if self.negotiation.has_media() {
            let lines = self.negotiation.plan(self.id, self.mode()).lines;
            self.chronicle
                .mark(turn.now, crate::model::Mark::Media(lines), turn.out);
        }
        self.ask_upkeep(Leg::B, &mut invite);
        self.b.invite = Some(Box::new(invite.clone()));
        let client = turn.request(self.id, self.line(Leg::B), invite);
        self.invited = Some(client);
        self.invited_by = self.b.flow;
        self.attempts.is_heard = true;
        self.b.state = LegState::Inviting {
            client,
            provisional: false,
            cancel: None,
        };
        self.enter(turn, Phase::Inviting);
    }
}

/// Numbers above this leave a leg too little room to count on (RFC 3261 §8.1.1.5 ends at 2^31).
const NUMBER_MAX: u32 = 1 << 30;

/// A registration is no dialog: its numbers go on as its sender counts them (RFC 3261 §10.2).
fn number_onward(received: &Request) -> u32 {
    let number = received.headers.cseq().number;
    if number > NUMBER_MAX && received.method != Method::Register {
        number - NUMBER_MAX
    } else {
        number
    }
}

/// The request as B gets it: fresh Call-ID, tag, Via, Contact, Route; the CSeq number stays, where it leaves
/// room to count on.
pub fn onward(
    crossing: &Crossing,
    received: &Request,
    target: Uri,
    call_id: &str,
    local_tag: &str,
    flow: crate::sip::Flow,
    body: bytes::Bytes,
) -> Request {
    let from = received.headers.from().clone().with_tag(local_tag);
    let to = received.headers.to().clone().without_tag();
    let hops = received.headers.max_forwards().unwrap_or(70).saturating_sub(1);
    let number = number_onward(received);
    let contact = Wire::contact_for(flow, &target);
    let mut request = Request::new(received.method.clone(), target, from, to, call_id, number);
    request.body = body;
    let headers = &mut request.headers;
    headers.set("Max-Forwards", hops.to_string());
    if received.method == Method::Invite || crate::b2bua::crossing::refreshes_target(&received.method) {
        let focus = if is_focus(&received.headers) { FOCUS } else { "" };
        headers.push("Contact", ["<", contact.as_str(), ">", focus].concat());
    }
    carry::carry(crossing, &received.headers, headers);
    request
}

impl From<NegotiationError> for Refusal {
    fn from(error: NegotiationError) -> Self {
        match error {
            NegotiationError::Malformed { offset } => Self::MalformedSdp { offset },
            NegotiationError::Lines | NegotiationError::Codecs | NegotiationError::Keys => Self::MediaNotAcceptable,
            NegotiationError::NoPorts => Self::NoPorts,
            NegotiationError::Sealed => Self::MediaSealed,
        }
    }
}
