//! A confirmed call beyond the end of the process: written down while it talks, taken over by the next start.
//!
//! The dialogs, the decision and the agreed media go on. The recording does not: the old one is sealed, by its process or
//! by recovery, and a new one of the same conversation begins, under the same strictness.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::awareness::Announced;
use super::call::Call;
use super::deadlines::Wait;
use super::dialog::{CallLeg, LegState};
use super::ending::Farewell;
use super::identity::Claims;
use super::invite::Setting;
use super::modification::Upkeep;
use super::output::{Memory, Output};
use super::reject::{self, Refusal, SET_UP_MAX};
use super::session::{Aware, KeptMedia};
use super::state::{Phase, Recording};
use super::turn::Turn;
use crate::model::{Consent, Consented, Header, Leg, LineSet, Preference, SessionId, Timestamp, TrunkName};
use crate::policy::{Decision, OnRefusal, Verdict};
use crate::sip::Flow;
use crate::sip::dialog::Dialog;

/// The longest state that the driver keeps. A call whose state is longer does not survive a restart.
pub const STATE_BYTES_MAX: usize = 8_164;

/// What the next process needs of a call.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Continuation {
    header: Arc<Header>,
    decision: Arc<Decision>,
    meeting: bool,
    answered: Option<Timestamp>,
    legs: [KeptLeg; 2],
    media: KeptMedia,
    #[serde(default)]
    upkeep: [Upkeep; 2],
    #[serde(default)]
    from_change: [bool; 2],
    #[serde(default)]
    aware: [Aware; 2],
    #[serde(default)]
    wishes: Option<[Vec<Option<Preference>>; 2]>,
    #[serde(default)]
    consents: [Option<Consent>; 2],
    #[serde(default)]
    refused: [Option<OnRefusal>; 2],
    #[serde(default)]
    claims: [Claims; 2],
    /// Who had hung up while the other was on its way to another call.
    #[serde(default)]
    parted: Option<Leg>,
    #[serde(default)]
    transfers: u8,
    /// Whether the party beyond leg A, beyond leg B is a conference focus.
    #[serde(default)]
    focus: [bool; 2],
    /// Its recording, or lines of it, are paused until then at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_until: Option<Timestamp>,
    /// Not all of it then, but these lines.
    #[serde(default, skip_serializing_if = "LineSet::is_empty")]
    paused_lines: LineSet,
    /// These lines beside all of it, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_beside: Option<(LineSet, Timestamp)>,
    /// As its facts tell it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    consented: Vec<Consented>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct KeptLeg {
    trunk: TrunkName,
    flow: Flow,
    call_id: String,
    local_tag: String,
    dialog: Dialog,
}

#[derive(Deserialize)]
struct KeptTags {
    legs: [KeptTag; 2],
}

#[derive(Deserialize)]
struct KeptTag {
    local_tag: String,
}

/// Whether a call's newest state is written down.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Kept {
    #[default]
    Nowhere,
    Stale,
    Written,
}

/// Why a call cannot be taken over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResumeError {
    /// Written by another version, or damaged.
    #[error("not readable")]
    Unreadable,
    /// The configuration has no such trunk, or no listener of that kind, any more.
    #[error("its trunk or listener is gone")]
    NoTrunk,
}

impl KeptLeg {
    fn of(leg: &CallLeg) -> Option<Self> {
        Some(Self {
            trunk: leg.trunk.name.clone(),
            flow: leg.flow,
            call_id: leg.call_id.clone(),
            local_tag: leg.local_tag.clone(),
            dialog: leg.dialog.clone()?,
        })
    }

    fn revive(&self, turn: &Turn<'_>, side: Leg) -> Result<CallLeg, ResumeError> {
        let trunk = turn.topology.trunk(&self.trunk).ok_or(ResumeError::NoTrunk)?;
        let flow = turn.topology.flow_like(self.flow).ok_or(ResumeError::NoTrunk)?;
        Ok(CallLeg {
            side,
            trunk: Arc::clone(trunk),
            flow,
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            dialog: Some(self.dialog.clone().resumed()),
            state: LegState::Up,
            invite: None,
            ack: None,
            fronts_focus: false,
            tells_src: false,
        })
    }
}

impl Continuation {
    /// As [`Call::resume`] reads it.
    pub fn written(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Of all of it, and of lines.
    fn pauses(&self) -> (Option<Timestamp>, Option<(LineSet, Timestamp)>) {
        match self.paused_until {
            Some(latest) if !self.paused_lines.is_empty() => (None, Some((self.paused_lines, latest))),
            whole => (whole, self.paused_beside),
        }
    }
}

impl Call {
    /// What the next process needs of this call; none unless it talks, with nothing in the balance.
    fn continuation(&self) -> Option<Continuation> {
        let (whole, lines) = self.paused_until();
        let alone = lines.filter(|_| whole.is_none());
        Some(Continuation {
            header: Arc::clone(&self.header),
            decision: Arc::clone(&self.decision),
            meeting: self.meeting,
            answered: self.story.answered,
            legs: [KeptLeg::of(&self.a)?, KeptLeg::of(&self.b)?],
            media: self.negotiation.keep()?,
            upkeep: self.upkeep.clone(),
            from_change: self.from_change,
            consents: self.announced.consents,
            refused: self.announced.refused,
            aware: Leg::BOTH.map(|leg| self.negotiation.aware(leg)),
            wishes: Some(self.noted_wishes()),
            claims: self.claims.clone(),
            parted: self.parted(),
            transfers: self.transfers.before,
            focus: [self.a.fronts_focus, self.b.fronts_focus],
            paused_until: whole.or(lines.map(|(_, latest)| latest)),
            paused_lines: alone.map(|(lines, _)| lines).unwrap_or_default(),
            paused_beside: whole.and(lines),
            consented: self.story.consents.clone(),
        })
    }

    /// Writes down what has changed, once nothing is in the balance.
    pub(super) fn remember(&mut self, turn: &mut Turn<'_>) {
        if self.kept != Kept::Stale || self.phase != Phase::Confirmed || !(self.is_at_rest() || self.is_parted()) {
            return;
        }
        if self.outgrown {
            if !self.fits() {
                self.kept = Kept::Nowhere;
                return;
            }
            self.outgrown = false;
        }
        let Some(state) = self.continuation() else {
            return;
        };
        self.kept = Kept::Written;
        turn.out.push_back(Output::Remember {
            session: self.id,
            state: Memory::Talks(Box::new(state)),
        });
        self.publish(turn);
    }

    /// The driver has not kept what it was told last. The next event of the call tells it again; of what is too long, one that
    /// makes it shorter.
    pub fn note_not_kept(&mut self, turn: &mut Turn<'_>) {
        if self.kept != Kept::Written {
            return;
        }
        self.outgrown = !self.fits();
        if self.outgrown {
            self.forget(turn);
        } else {
            self.kept = Kept::Stale;
        }
        self.publish(turn);
    }

    /// No re-INVITE or UPDATE is in flight, the peers' or ours, and no party is on its way to another call.
    fn is_at_rest(&self) -> bool {
        self.exchange.is_none() && !self.is_reinviting() && self.transfers.referring.is_none() && !self.is_parting()
    }

    /// The tags of ours that a written call goes by; none if it cannot be read.
    pub fn tags_in(state: &[u8]) -> Option<[String; 2]> {
        let kept: KeptTags = serde_json::from_slice(state).ok()?;
        Some(kept.legs.map(|leg| leg.local_tag))
    }

    /// The call ends: there is nothing to go on with.
    pub(super) fn forget(&mut self, turn: &mut Turn<'_>) {
        if self.kept != Kept::Nowhere {
            self.kept = Kept::Nowhere;
            turn.out.push_back(Output::Forget { session: self.id });
        }
    }

    /// Ends what the next start cannot take over. What is in the balance may come to rest until the others are let go.
    pub fn part_before_hand_over(&mut self, turn: &mut Turn<'_>) {
        // A transfer does not survive: the old call does, if both its parties are there.
        if !self.is_parted() && !self.is_reseating() {
            self.close_transfer(turn, 503);
        }
        let is_kept = match self.kept {
            Kept::Nowhere => false,
            Kept::Stale => !self.is_at_rest(),
            Kept::Written => true,
        };
        if self.phase != Phase::Confirmed || !is_kept || self.is_parted() {
            self.shut_down(turn);
        }
    }

    /// Lets go of the call without a word to its peers, if it is written down: the next start takes it over.
    pub fn hand_over(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Confirmed {
            return;
        }
        if !self.is_parted() && !self.is_reseating() {
            self.close_transfer(turn, 503);
        }
        self.give_up_change(turn);
        if !self.survives() || !self.is_at_rest() || !self.fits() {
            return;
        }
        // What ends here is the recording, not the call: its state stays where it is written.
        self.kept = Kept::Nowhere;
        for side in Leg::BOTH {
            self.leg_mut(side).state = LegState::Gone;
        }
        self.end(turn, "restart of the proxy".to_owned());
        self.settle(turn);
    }

    /// Who asked for a change that the far end has not answered may ask the next process.
    fn give_up_change(&mut self, turn: &mut Turn<'_>) {
        if self.awaits_far_end() {
            self.give_up_exchange(turn, &Refusal::Glare);
        }
        self.give_up_refreshes(turn);
    }

    /// As far as signalling knows, the next start can take it over.
    pub(super) fn survives(&self) -> bool {
        let talks = self.phase == Phase::Confirmed && !self.is_parted() && !self.is_reseating();
        let may_be_given_up = self.exchange.is_none() || self.awaits_far_end();
        self.kept == Kept::Written && talks && may_be_given_up
    }

    /// No peer is waited for any longer: what is left is to close the recording.
    pub fn abandon_peers(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Ending {
            return;
        }
        for side in Leg::BOTH {
            self.leg_mut(side).state = LegState::Gone;
        }
        self.settle(turn);
    }

    /// Whether the driver can keep the call as it is: it may have had no time yet to say that it has not.
    fn fits(&self) -> bool {
        let state = self.continuation();
        state.is_some_and(|state| state.written().len() <= STATE_BYTES_MAX)
    }

    /// Its legs are not gone yet.
    pub fn is_leaving(&self) -> bool {
        !(self.a.is_over() && self.b.is_over())
    }

    /// Takes over a call of the process before, as `session`. What cannot go on is ended on both legs.
    pub fn resume(turn: &mut Turn<'_>, session: SessionId, state: &[u8]) -> Result<Self, ResumeError> {
        let kept: Continuation = serde_json::from_slice(state).map_err(|_| ResumeError::Unreadable)?;
        let pauses = kept.pauses();
        let [a, b] = &kept.legs;
        let (a, b) = (a.revive(turn, Leg::A)?, b.revive(turn, Leg::B)?);
        let mut header = kept.header;
        let resumed = Arc::make_mut(&mut header);
        resumed.conversation.get_or_insert(resumed.session);
        resumed.session = session;
        resumed.started = turn.now;
        let target = b.dialog.as_ref().map(|dialog| dialog.remote_target().clone());
        let setting = Setting {
            session,
            a,
            b,
            target: target.ok_or(ResumeError::Unreadable)?,
            destinations: Vec::new(),
            decision: kept.decision,
            meeting: kept.meeting,
            header,
        };
        let mut call = Self::new(setting, turn.terms.steps);
        call.negotiation.mint_keys_by(turn.wire.keys_for(session));
        call.negotiation.shake_hands_as(turn.terms.identities.clone());
        call.story.answered = kept.answered;
        call.transfers.before = kept.transfers;
        [call.a.fronts_focus, call.b.fronts_focus] = kept.focus;
        call.kept = Kept::Stale;
        call.announced = Announced::resumed();
        let is_answered = |known: &Consented| known.consent != Consent::Asked;
        call.story.consents = kept.consented.into_iter().filter(is_answered).collect();
        call.resume_consents(turn.now, kept.consents, kept.refused);
        call.enter(turn, Phase::Confirmed);
        call.from_change = kept.from_change;
        for (leg, aware) in Leg::BOTH.into_iter().zip(kept.aware) {
            call.negotiation.set_aware(leg, aware);
        }
        call.claims = kept.claims;
        call.resume_upkeep(turn, kept.upkeep);
        let (whole, lines) = pauses;
        call.go_on_paused(turn.now, whole, lines);
        let media_is_back = call.negotiation.revive(&kept.media, turn.ports);
        call.resume_preferences(kept.wishes);
        if call.decision.verdict == Verdict::Record {
            // It was recorded when it was written down, or meant to be: `during` binds.
            call.armed = true;
            call.open_recording(turn);
            call.deadlines.set(Wait::SetUp, turn.now + SET_UP_MAX);
        }
        if let Some(parted) = kept.parted {
            call.leg_mut(parted).state = LegState::Gone;
            let farewell = Farewell::of_reasons(reject::shutting_down());
            call.finish(turn, "transfer cut off by a restart", &farewell);
        } else if !media_is_back {
            call.finish(
                turn,
                "media ports are taken, or keys gone",
                &Farewell::of_reasons(reject::shutting_down()),
            );
        } else if call.ends_without_recorder() && !call.is_being_opened() {
            call.finish(
                turn,
                "recorder is down",
                &Farewell::of_reasons(reject::recording_lost()),
            );
        } else if !call.is_being_opened() {
            call.renew_media(turn);
        }
        call.settle(turn);
        Ok(call)
    }

    fn is_being_opened(&self) -> bool {
        self.recording == Recording::Opening
    }
}
