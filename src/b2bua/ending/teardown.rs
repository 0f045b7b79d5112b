//! How a call ends: BYE, CANCEL, refusal, and the recorder's loss under strict mode. The strict-mode matrix is here.

use std::sync::Arc;

use super::farewell::Farewell;
use crate::b2bua::call::Call;
use crate::b2bua::dialog::LegState;
use crate::b2bua::output::StepKind;
use crate::b2bua::reject::{self, Refusal};
use crate::b2bua::state::{MediaState, Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Closing, Fault, Gate, Leg, MediaCommand, Outcome, Recorded, RecordingCommand};
use crate::policy::{DuringArms, Verdict};
use crate::sip::dialog::DialogError;
use crate::sip::transaction::ServerId;
use crate::sip::{Flow, Method, Request, Response};

/// Seconds until a request that came too early may come again: drawn anew each time (RFC 3261 §14.2, RFC 3311 §5.2).
const RETRY_AFTER_MAX: u128 = 10;

impl Call {
    pub(in crate::b2bua) fn on_bye(&mut self, turn: &mut Turn<'_>, side: Leg, server: ServerId, request: &Request) {
        if self.ask_to_part(turn, side, server, request) {
            return;
        }
        turn.respond(self.line(side), server, Response::to(request, 200, None, None));
        let farewell = Farewell::of(&self.crossing(side), request);
        if self.end_early(turn, side, &farewell) || self.part_early(turn, side) {
            return;
        }
        match self.leg(side).state {
            // A caller may end an early dialog by BYE (RFC 3261 §15): its INVITE is answered 487.
            LegState::Invited { .. } => {
                self.note_given_up(side);
                self.cancel_by(turn, format!("BYE from {side}"), &farewell);
                return;
            }
            // A callee may not, and its other phones ring on.
            LegState::Inviting { .. } => {
                self.cancel_by(turn, format!("BYE from {side}"), &Farewell::default());
                return;
            }
            _ => {}
        }
        if let LegState::AckAwaited { server, .. } = self.leg(side).state {
            turn.wire.settle_server(turn.now, server);
        }
        self.close_exchange(turn);
        if let LegState::AckOwed { cseq, .. } = self.leg(side).state {
            // It did not wait for A's ACK any longer; its 2xx is acknowledged all the same (RFC 3261 §13.2.2.4).
            let chronicle = self.chronicle;
            self.leg_mut(side).acknowledge(turn, &chronicle, cseq, None);
        }
        self.leg_mut(side).state = LegState::Gone;
        // Who asked for a transfer hears that it failed while it still has a dialog.
        self.close_transfer(turn, 487);
        self.hurry_notice(turn);
        self.hang_up(turn, side.other(), &farewell, &Refusal::Cancelled);
        self.end(turn, format!("BYE from {side}"));
    }

    /// The CANCEL of A's INVITE, or of a re-INVITE; it is answered already (RFC 3261 §9.2).
    pub fn on_cancelled(&mut self, turn: &mut Turn<'_>, invite: ServerId, cancel: &Request) {
        let farewell = Farewell::of(&self.crossing(Leg::A), cancel);
        if self.a.state == (LegState::Invited { server: invite }) {
            self.note_given_up(Leg::A);
            self.cancel_by(turn, "CANCEL from A".to_owned(), &farewell);
        } else if self.exchange.as_ref().is_some_and(|exchange| exchange.server == invite) {
            self.on_exchange_cancelled(turn, &farewell.reasons());
        }
    }

    pub(in crate::b2bua) fn cancel_by(&mut self, turn: &mut Turn<'_>, by: String, farewell: &Farewell) {
        self.story.status = Some(487);
        self.hang_up(turn, Leg::A, &Farewell::default(), &Refusal::Cancelled);
        self.hang_up(turn, Leg::B, farewell, &Refusal::Cancelled);
        self.end(turn, by);
    }

    /// A is told why there is no call; B, if it was invited, is let go.
    pub(in crate::b2bua) fn refuse(&mut self, turn: &mut Turn<'_>, refusal: &Refusal) {
        let lost_recorder = matches!(refusal, Refusal::RecorderDown { .. } | Refusal::DiskReserve { .. });
        if self.phase != Phase::Ending {
            self.story.blocked = lost_recorder || refusal.is_forbidden();
            self.story.status = Some(refusal.rejection("").status);
        }
        if let Refusal::RecorderDown { fault, .. } = refusal {
            self.story.fault.get_or_insert(*fault);
        }
        let farewell = Farewell::of_reasons(if lost_recorder {
            reject::recording_lost()
        } else {
            Vec::new()
        });
        self.hang_up(turn, Leg::A, &farewell, refusal);
        self.hang_up(turn, Leg::B, &farewell, refusal);
        self.end(turn, refused_by(refusal));
    }

    /// Both legs are ended, each as its state allows.
    pub(in crate::b2bua) fn finish(&mut self, turn: &mut Turn<'_>, by: &str, farewell: &Farewell) {
        self.close_exchange(turn);
        self.close_transfer(turn, 487);
        self.hurry_notice(turn);
        self.hang_up(turn, Leg::A, farewell, &Refusal::Cancelled);
        self.hang_up(turn, Leg::B, farewell, &Refusal::Cancelled);
        self.end(turn, by.to_owned());
    }

    /// The node is shutting down.
    pub fn shut_down(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Ending {
            let farewell = Farewell::of_reasons(reject::shutting_down());
            self.close_exchange(turn);
            self.close_transfer(turn, 487);
            self.hurry_notice(turn);
            self.hang_up(turn, Leg::A, &farewell, &Refusal::Draining { retry_after: None });
            self.hang_up(turn, Leg::B, &farewell, &Refusal::Draining { retry_after: None });
            self.end(turn, "shutdown of the proxy".to_owned());
        }
    }

    /// Nothing is open yet: the recorder cannot open this recording.
    pub(in crate::b2bua) fn on_recording_not_opened(&mut self, turn: &mut Turn<'_>, fault: Fault) {
        if self.recording != Recording::Opening {
            return;
        }
        self.chronicle.keep(false);
        self.go_without(turn, fault);
        self.story.fault.get_or_insert(fault);
        self.chronicle
            .step(turn.now, StepKind::RecordingFaulted(fault), turn.out);
        self.fall_back(turn);
        if self.ends_without_recorder() {
            self.end_without_recorder(turn, fault);
            return;
        }
        self.renew_media(turn);
        self.refuse_identity(turn, fault);
        self.proceed(turn);
    }

    pub(in crate::b2bua) fn on_recording_ready(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.recording, Recording::Opening | Recording::Broken(_)) {
            return;
        }
        self.recording = Recording::Ready;
        self.armed = true;
        self.chronicle.step(turn.now, StepKind::RecordingReady, turn.out);
        if self.phase == Phase::Preparing {
            self.proceed(turn);
        } else if self.phase != Phase::Ending {
            self.renew_media(turn);
            self.release_identity(turn);
        }
        self.publish(turn);
    }

    /// The recorder is lost while the call is set up or talks.
    pub(in crate::b2bua) fn on_recording_lost(&mut self, turn: &mut Turn<'_>, fault: Fault) {
        if !matches!(self.recording, Recording::Opening | Recording::Ready) {
            return;
        }
        if self.recording == Recording::Opening && self.phase == Phase::Preparing {
            self.on_recording_not_opened(turn, fault);
            return;
        }
        // What never was open has to be opened anew; what was open goes on.
        if self.recording == Recording::Opening {
            self.chronicle.keep(false);
            self.go_without(turn, fault);
        } else {
            self.recording = Recording::Broken(fault);
        }
        self.lose(turn, fault, false);
    }

    /// The relay could not hand over a packet: of a strict call it has gated the media already. While the recorder is
    /// known to be lost, that is no news.
    pub(in crate::b2bua) fn on_media_refused(&mut self, turn: &mut Turn<'_>, fault: Fault) {
        if matches!(self.recording, Recording::Broken(_)) {
            return;
        }
        let strict = self.mode() == Recorded::Strict;
        if strict {
            self.recording = Recording::Broken(fault);
        }
        self.lose(turn, fault, strict);
    }

    /// What the loss means, by phase and policy.
    fn lose(&mut self, turn: &mut Turn<'_>, fault: Fault, gated: bool) {
        if self.phase == Phase::Ending {
            self.part_without_recorder(turn);
            return;
        }
        self.story.fault.get_or_insert(fault);
        self.chronicle
            .step(turn.now, StepKind::RecordingFaulted(fault), turn.out);
        let is_as_before = !gated && self.fall_back(turn);
        if !gated && !self.ends_without_recorder() {
            tracing::error!(session = %self.id, %fault, "call goes on with a gap in its recording");
            if self.media == MediaState::Unopened || is_as_before {
                // It waited for its recording, as calls of before a restart do.
                self.renew_media(turn);
            }
            self.refuse_identity(turn, fault);
            self.publish(turn);
            return;
        }
        self.end_without_recorder(turn, fault);
    }

    pub(in crate::b2bua) fn end_without_recorder(&mut self, turn: &mut Turn<'_>, fault: Fault) {
        self.gate(turn);
        if matches!(self.phase, Phase::Preparing | Phase::Inviting) {
            let refusal = self.recorder_down(turn, fault);
            self.refuse(turn, &refusal);
        } else {
            self.refuse_accepted(turn);
            self.finish(
                turn,
                &format!("recorder: {fault}"),
                &Farewell::of_reasons(reject::recording_lost()),
            );
        }
    }

    /// Stops the media of a call that ends when its recording does. Done for all calls before the first BYE is written.
    pub fn gate_without_recorder(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.recording, Recording::Opening | Recording::Ready) && self.ends_without_recorder() {
            self.gate(turn);
        }
    }

    pub(in crate::b2bua) fn gate(&mut self, turn: &mut Turn<'_>) {
        if !self.gated && matches!(self.media, MediaState::Opening | MediaState::Open | MediaState::Moving) {
            self.gated = true;
            turn.media(MediaCommand::Gate {
                session: self.id,
                gate: Gate::Shut,
            });
            self.chronicle.step(turn.now, StepKind::MediaGated, turn.out);
        }
    }

    pub(in crate::b2bua) fn ends_without_recorder(&self) -> bool {
        let before = self.decision.is_strict_before(self.meeting);
        let during = self.armed && self.decision.is_strict_during(self.meeting);
        match self.phase {
            Phase::Preparing | Phase::Inviting => before || during,
            Phase::Answered | Phase::Confirmed => during,
            Phase::Ending => false,
        }
    }

    /// Under `during_arms = "answer"` a call is not connected while its recording is not there; nor is one whose answer shows
    /// that it joins a meeting, where that wants a recording first.
    pub(in crate::b2bua) fn unarmed(&self, turn: &Turn<'_>) -> Option<Refusal> {
        let arms_at_answer = self
            .decision
            .requirements
            .as_ref()
            .is_some_and(|r| r.during_arms == DuringArms::Answer);
        let missing = match self.recording {
            Recording::Unavailable(fault) | Recording::Broken(fault) => Some(fault),
            Recording::Opening => Some(Fault::Stalled),
            _ => None,
        }?;
        let during = arms_at_answer && self.decision.is_strict_during(self.meeting);
        let strict = during || self.decision.is_strict_before(self.meeting);
        strict.then(|| self.recorder_down(turn, missing))
    }

    pub(in crate::b2bua) fn on_set_up_stalled(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Preparing {
            // A call that was set up long ago waits for the recording of who was connected.
            if self.recording == Recording::Opening {
                self.lose(turn, Fault::Stalled, false);
            }
            return;
        }
        if self.lets_media_pass_by(turn) {
            return;
        }
        let refusal = if self.recording == Recording::Opening {
            self.recorder_down(turn, Fault::Stalled)
        } else {
            Refusal::NoPorts
        };
        self.refuse(turn, &refusal);
    }

    pub(in crate::b2bua) fn on_bye_failed(&mut self, turn: &mut Turn<'_>, side: Leg, broken: Option<Flow>) {
        let (session, chronicle) = (self.id, self.chronicle);
        self.leg_mut(side).on_bye_failed(turn, session, &chronicle, broken);
        if self.leg(side).state == LegState::Gone && self.is_far_end_of_held(side) {
            self.note_untold(turn, side);
        }
    }

    pub(in crate::b2bua) fn hang_up(&mut self, turn: &mut Turn<'_>, side: Leg, farewell: &Farewell, refusal: &Refusal) {
        self.close_parting(turn);
        let (session, chronicle) = (self.id, self.chronicle);
        let rejection = refusal.rejection(&turn.terms.node);
        self.leg_mut(side)
            .hang_up(turn, session, &chronicle, farewell, &rejection);
    }

    /// The call is over for its parties; what is left is to let the legs go, stop the media and seal the recording.
    pub(in crate::b2bua) fn end(&mut self, turn: &mut Turn<'_>, by: String) {
        if self.phase == Phase::Ending {
            return;
        }
        self.story.ended = Some(turn.now);
        self.story.ended_by = by;
        self.close_succession();
        self.close_transfer(turn, 487);
        self.close_passings(turn);
        self.close_parting(turn);
        self.close_exchange(turn);
        self.give_up_refreshes(turn);
        self.forget(turn);
        match self.media {
            MediaState::Opening | MediaState::Open | MediaState::Moving => {
                self.media = MediaState::Closing;
                turn.media(MediaCommand::Close { session: self.id });
            }
            MediaState::Unopened => self.negotiation.give_back(turn.now, turn.ports),
            MediaState::Closing | MediaState::Closed(_) => {}
        }
        self.enter(turn, Phase::Ending);
    }

    /// Tells the recorder the end, once the relay has told what it did.
    pub(in crate::b2bua) fn close_recording(&mut self, turn: &mut Turn<'_>) {
        let tally = match &self.media {
            MediaState::Unopened => None,
            MediaState::Closed(tally) => tally.as_deref().cloned(),
            MediaState::Opening | MediaState::Open | MediaState::Moving | MediaState::Closing => return,
        };
        if self.story.outcome.is_some() {
            return;
        }
        let outcome = self.outcome(tally.as_ref());
        self.story.outcome = Some(outcome);
        let by = self.story.ended_by.clone();
        let closing = Box::new(Closing {
            outcome,
            answered: self.story.answered,
            ended: self.story.ended.unwrap_or(turn.now),
            ended_by: by.clone(),
            status: self.story.status,
            tally,
            fault: self.story.fault,
            encryption: self.story.encryption,
            conversation: self.joined(turn),
            became: self.is_amended.then(|| Arc::clone(&self.header)),
            decisions: self.all_decisions(),
            formerly: turn.conversations.formerly(self.id).to_vec(),
            consents: self.story.consents.clone(),
        });
        let (session, at) = (self.id, turn.now);
        self.chronicle.step(at, StepKind::Ended { outcome, by }, turn.out);
        match self.recording {
            Recording::NotWanted | Recording::Unavailable(_) => {
                turn.record(RecordingCommand::Keep {
                    header: Arc::clone(&self.header),
                    at,
                    closing,
                });
                self.recording = Recording::Done;
            }
            Recording::Opening | Recording::Ready | Recording::Broken(_) => {
                turn.record(RecordingCommand::Close { session, at, closing });
                self.recording = Recording::Closing;
            }
            Recording::Closing | Recording::Done => {}
        }
    }

    fn outcome(&self, tally: Option<&crate::model::Tally>) -> Outcome {
        let accepted = tally.map_or(0, |tally| tally.accepted);
        let missed = tally.map_or(0, |tally| tally.unrecorded);
        let is_unheard = self.negotiation.passes_by() || self.left_out.is_declined;
        match self.recording {
            _ if self.story.blocked && self.story.answered.is_none() => Outcome::Blocked,
            // Wanted, and refused before it was opened; or wanted of a call that talked, because of who came, and ended by that.
            Recording::NotWanted if self.wants_recording() && self.story.answered.is_none() => Outcome::Blocked,
            Recording::NotWanted if self.wants_recording() => Outcome::Unrecorded,
            Recording::NotWanted => Outcome::Exempt,
            // It was opened for somebody else than who was called at last, whom nobody records.
            _ if accepted == 0 && self.decision.verdict == Verdict::None => Outcome::Exempt,
            _ if accepted == 0 && (missed > 0 || is_unheard) => Outcome::Unrecorded,
            Recording::Unavailable(_) => Outcome::Unrecorded,
            _ if self.story.fault.is_some() || missed > 0 => Outcome::Faulted,
            _ if accepted == 0 && tally.is_none_or(|tally| tally.withheld == 0) => Outcome::NoMedia,
            _ => Outcome::Recorded,
        }
    }

    /// CSeq has to grow inside a dialog (RFC 3261 §12.2.2); without a dialog nothing is in order.
    pub(in crate::b2bua) fn take_in_order(&mut self, side: Leg, request: &Request) -> Result<(), Refusal> {
        let Some(dialog) = &mut self.leg_mut(side).dialog else {
            return Err(Refusal::NoSuchDialog);
        };
        dialog.accepts(request).map_err(|error| match error {
            DialogError::OutOfOrder => Refusal::OutOfOrder,
            _ => Refusal::NoSuchDialog,
        })
    }

    pub(in crate::b2bua) fn refuse_request(
        &self,
        turn: &mut Turn<'_>,
        side: Leg,
        server: ServerId,
        request: &Request,
        refusal: &Refusal,
    ) {
        let rejection = match request.method {
            Method::Invite | Method::Update | Method::Prack => refusal.of_change().rejection(&turn.terms.node),
            _ => refusal.rejection(&turn.terms.node),
        };
        let mut response = Response::to(request, rejection.status, None, None);
        for (name, value) in &rejection.headers {
            response.headers.push(name, value);
        }
        if *refusal == Refusal::Busy {
            let wait = turn.wire.mint().entropy() % (RETRY_AFTER_MAX + 1);
            response.headers.set("Retry-After", wait.to_string());
        }
        turn.respond(self.line(side), server, response);
        turn.wire.disown_server(server);
    }
}

fn refused_by(refusal: &Refusal) -> String {
    match refusal {
        Refusal::RecorderDown { policy, fault, .. } => format!("policy {policy}: recorder: {fault}"),
        Refusal::PolicyForbids { policy } => format!("policy {policy}: forbidden"),
        Refusal::UnreadableParty => "caller or callee cannot be read".to_owned(),
        Refusal::DiskReserve { policy } => format!("policy {policy}: free space below the reserve"),
        Refusal::MediaSealed => "media is encrypted, keys unknown, and must be recorded".to_owned(),
        Refusal::Untold => "who is recorded cannot be told so".to_owned(),
        Refusal::NoAnswer => "no answer from B".to_owned(),
        Refusal::Unreachable => "B is unreachable".to_owned(),
        other => format!("refused with {}", other.rejection("").status),
    }
}
