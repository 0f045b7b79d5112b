//! What an emergency call is given though we have nothing to give, and what it is not refused for: it is connected in every
//! fault state.

use crate::b2bua::call::Call;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::{MediaState, Phase};
use crate::b2bua::turn::Turn;
use crate::model::{Mark, MediaCommand};
use crate::sip::Request;

impl Call {
    pub fn is_emergency(&self) -> bool {
        self.decision.emergency
    }

    /// No port of ours can be bound, or nobody says whether it is: the parties of an emergency call hear each other without us,
    /// and are not recorded. False: the call is none, or has gone on to B already.
    pub(in crate::b2bua) fn lets_media_pass_by(&mut self, turn: &mut Turn<'_>) -> bool {
        let is_waiting = self.is_emergency() && self.phase == Phase::Preparing && !self.negotiation.passes_by();
        let Some(invite) = self.a.invite.clone().filter(|_| is_waiting) else {
            return false;
        };
        self.negotiation.pass_by();
        match self.media {
            MediaState::Opening | MediaState::Open | MediaState::Moving => {
                // Its ports come back when the relay says that it has closed them.
                self.media = MediaState::Closing;
                turn.media(MediaCommand::Close { session: self.id });
            }
            MediaState::Unopened | MediaState::Closing | MediaState::Closed(_) => {}
        }
        if self.take_first_offer(turn, &invite).is_err() {
            return false;
        }
        tracing::error!(session = %self.id, "no media port for an emergency call: its parties hear each other without us");
        let note = "no media port: the parties hear each other without the proxy, unrecorded".to_owned();
        self.chronicle.mark(turn.now, Mark::Note(note), turn.out);
        self.proceed(turn);
        true
    }

    /// What A offers cannot be read or anchored: in an emergency every body of the call crosses as it is, and the parties hear
    /// each other without us, if they can. False: the call is none, or has media by us.
    pub(in crate::b2bua) fn lets_body_pass(&mut self, invite: &Request, refusal: &Refusal) -> bool {
        if !self.is_emergency() || self.media != MediaState::Unopened || self.negotiation.lines() > 0 {
            return false;
        }
        tracing::error!(session = %self.id, ?refusal, "an emergency call offers what cannot be read: it crosses as it is, and is not recorded");
        self.negotiation.turn_opaque();
        self.body = invite.body.clone();
        true
    }

    /// Into the recording of the signalling, once there is one.
    pub(in crate::b2bua) fn note_opaque(&self, turn: &mut Turn<'_>) {
        if self.negotiation.is_opaque() {
            let note =
                "what is offered cannot be read: the parties hear each other without the proxy, unrecorded".to_owned();
            self.chronicle.mark(turn.now, Mark::Note(note), turn.out);
        }
    }
}
