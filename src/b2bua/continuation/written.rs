//! A confirmed call beyond the end of the process: written down while it talks, taken over by the next start.
//!
//! The dialogs, the decision and the agreed media go on. The recording does not: the old one is sealed, by its process or
//! by recovery, and a new one of the same conversation begins, under the same strictness.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::unfinished::Unacknowledged;
use crate::b2bua::awareness::Announced;
use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::dialog::{CallLeg, LegState};
use crate::b2bua::ending::Farewell;
use crate::b2bua::identity::Claims;
use crate::b2bua::invite::Setting;
use crate::b2bua::modification::Upkeep;
use crate::b2bua::reject::{self, SET_UP_MAX};
use crate::b2bua::session::{Aware, KeptMedia, UnderWay};
use crate::b2bua::state::{Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Consent, Consented, Header, Leg, LineSet, Preference, SessionId, Timestamp, TrunkName};
use crate::policy::{ConsentTerms, Decision, OnRefusal, Verdict};
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
    /// Of the questions that A, that B has not answered.
    #[serde(default, skip_serializing_if = "is_none_of")]
    terms: [Option<ConsentTerms>; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unacknowledged: Option<Unacknowledged>,
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
pub(in crate::b2bua) enum Kept {
    #[default]
    Nowhere,
    Stale,
    Written,
    /// It goes on in the next process, which reads what is written.
    LetGo {
        /// Who has hung up since, and will say so again to that process.
        hung_up: Option<Leg>,
    },
    /// For the next process to end it, if this one cannot: it has no keys for its media.
    ToEnd,
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

    /// Whether the driver keeps it.
    pub(super) fn fits(&self) -> bool {
        self.written().len() <= STATE_BYTES_MAX
    }

    /// The next process cannot go on with it.
    pub(super) fn is_to_end(&self) -> bool {
        self.media.is_keyed()
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
    /// What the next process needs of this call, as it holds now. None of what cannot be written down.
    pub(super) fn continuation(&self) -> Option<Continuation> {
        let (whole, lines) = self.paused_until();
        let alone = lines.filter(|_| whole.is_none());
        let holds = self.in_force();
        let beyond = self.told_beyond();
        let unacknowledged = self.kept_unacknowledged();
        if self.awaits_ack() && unacknowledged.is_none() {
            return None;
        }
        let under_way = UnderWay {
            before: self.agreed_before(),
            told: beyond.each_ref().map(|beyond| beyond.sdp.as_deref()),
            owes_answer: self.awaits_ack(),
        };
        Some(Continuation {
            header: Arc::clone(holds.header),
            decision: Arc::clone(holds.decision),
            meeting: holds.meeting,
            answered: self.story.answered,
            legs: [KeptLeg::of(&self.a)?, KeptLeg::of(&self.b)?],
            media: self.negotiation.keep(&under_way)?,
            upkeep: self.upkeep_beyond(&beyond),
            from_change: self.from_change,
            consents: holds.answers.consents,
            refused: holds.answers.refused,
            aware: Leg::BOTH.map(|leg| self.negotiation.aware(leg)),
            wishes: Some(self.noted_wishes()),
            claims: self.claims.clone(),
            parted: self.parted(),
            transfers: self.transfers.before,
            focus: holds.fronts_focus,
            paused_until: whole.or(lines.map(|(_, latest)| latest)),
            paused_lines: alone.map(|(lines, _)| lines).unwrap_or_default(),
            paused_beside: whole.and(lines),
            consented: self.story.consents.clone(),
            terms: Leg::BOTH.map(|leg| self.terms_asked(&holds.answers, leg)),
            unacknowledged,
        })
    }

    /// The tags of ours that a written call goes by; none if it cannot be read.
    pub fn tags_in(state: &[u8]) -> Option<[String; 2]> {
        let kept: KeptTags = serde_json::from_slice(state).ok()?;
        Some(kept.legs.map(|leg| leg.local_tag))
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
        call.resume_consents(turn.now, kept.consents, kept.refused, kept.terms);
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
        call.go_on_or_end(turn, kept.parted, media_is_back, kept.unacknowledged.as_ref());
        call.settle(turn);
        Ok(call)
    }

    fn go_on_or_end(
        &mut self,
        turn: &mut Turn<'_>,
        parted: Option<Leg>,
        media_is_back: bool,
        unacknowledged: Option<&Unacknowledged>,
    ) {
        if let Some(parted) = parted {
            self.leg_mut(parted).state = LegState::Gone;
            let farewell = Farewell::of_reasons(reject::shutting_down());
            self.finish(turn, "transfer cut off by a restart", &farewell);
        } else if !media_is_back {
            self.finish(
                turn,
                "media ports are taken, or keys gone",
                &Farewell::of_reasons(reject::shutting_down()),
            );
        } else if self.ends_without_recorder() && !self.is_being_opened() {
            self.finish(
                turn,
                "recorder is down",
                &Farewell::of_reasons(reject::recording_lost()),
            );
        } else {
            if let Some(unacknowledged) = unacknowledged {
                self.await_ack_of_before(turn, unacknowledged);
            }
            if !self.is_being_opened() {
                self.renew_media(turn);
            }
        }
    }

    fn is_being_opened(&self) -> bool {
        self.recording == Recording::Opening
    }
}

fn is_none_of<T>(both: &[Option<T>; 2]) -> bool {
    both.iter().all(Option::is_none)
}
