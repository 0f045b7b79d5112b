//! Whether parties agree to be recorded: asked by the prompt, answered by a key (1 or 2), or by silence, as the policies say.
//!
//! Until who is asked has answered, the parties do not hear each other; before the call, nobody is called.

use super::call::Call;
use super::continuation::Kept;
use super::deadlines::Wait;
use super::farewell::Farewell;
use super::reject::Refusal;
use super::state::{MediaState, Phase};
use super::turn::Turn;
use crate::model::{Consent, Leg, Mark, MediaCommand, NoticePlan, Timestamp};
use crate::policy::{ConsentTerms, OnRefusal, Silence};

const YES: char = '1';
const NO: char = '2';
/// Why a call ended that a party did not agree to (RFC 3326).
const REASON: &str = "Q.850;cause=21;text=\"Recording not agreed to\"";

impl Call {
    pub(super) fn consent_terms(&self) -> Option<ConsentTerms> {
        self.decision.requirements.as_ref()?.notify.consent
    }

    pub(super) fn is_asked(&self, leg: Leg) -> bool {
        self.announced.consents[leg.index()] == Some(Consent::Asked)
    }

    fn asks(&self) -> bool {
        Leg::BOTH.into_iter().any(|leg| self.is_asked(leg))
    }

    pub(super) fn note_consent(&mut self, turn: &mut Turn<'_>, leg: Leg, consent: Consent) {
        self.announced.consents[leg.index()] = Some(consent);
        self.chronicle.mark(turn.now, Mark::Consent { leg, consent }, turn.out);
        if self.kept == Kept::Written {
            self.kept = Kept::Stale;
        }
    }

    /// Who is told now is asked by that, until `due`; who cannot be told has not answered.
    pub(super) fn ask_consent(&mut self, turn: &mut Turn<'_>, leg: Leg, due: Option<Timestamp>) {
        match (self.announced.consents[leg.index()], due) {
            (None, Some(_)) => self.note_consent(turn, leg, Consent::Asked),
            (None, None) => self.note_consent(turn, leg, Consent::Unanswered),
            (Some(_), _) => {}
        }
        if self.is_asked(leg) {
            let due = due.unwrap_or(turn.now);
            let latest = self.announced.consent_due.map_or(due, |before| before.max(due));
            self.announced.consent_due = Some(latest);
            self.deadlines.set(Wait::Consent, latest);
        }
    }

    /// After every event: parties who are asked hear nobody, and who is not asked any more does.
    pub(super) fn review_consent(&mut self, turn: &mut Turn<'_>) {
        let is_open = matches!(self.media, MediaState::Opening | MediaState::Open | MediaState::Moving);
        if self.phase != Phase::Confirmed || !is_open {
            return;
        }
        // By the terms that hold now: who refused under others may be recorded on under those alone.
        let is_silence_no = self
            .consent_terms()
            .is_some_and(|terms| terms.silence == Silence::Refuses);
        let declines = |leg: &Leg| match self.announced.consents[leg.index()] {
            Some(Consent::Refused) => true,
            Some(Consent::Unanswered) => is_silence_no,
            _ => false,
        };
        if let Some(leg) = Leg::BOTH.into_iter().find(declines) {
            self.decline_recording(turn, leg);
        }
        if self.phase != Phase::Confirmed {
            return;
        }
        if self.announced.holds_apart != self.asks()
            && let Some(line) = self.spoken_line()
        {
            self.announced.holds_apart = self.asks();
            let plan = NoticePlan {
                session: self.id,
                line,
                legs: [None, None],
                parted: true,
                asks: self.asks(),
            };
            turn.media(MediaCommand::Notice(Box::new(plan)));
        }
        self.renew_pausing(turn);
    }

    /// A key of who is asked is the answer, or none.
    pub(super) fn take_consent(&mut self, turn: &mut Turn<'_>, leg: Leg, key: char) -> bool {
        if !self.is_asked(leg) || self.phase == Phase::Ending {
            return false;
        }
        match key {
            YES => {
                self.note_consent(turn, leg, Consent::Given);
                self.end_heard_foreword(turn);
            }
            NO => {
                self.note_consent(turn, leg, Consent::Refused);
                self.decline_recording(turn, leg);
            }
            _ => {}
        }
        if !self.asks() {
            self.announced.consent_due = None;
            self.deadlines.clear(Wait::Consent);
        }
        true
    }

    /// After a restart: who had not answered has as long again.
    pub(super) fn resume_consents(&mut self, turn: &Turn<'_>, consents: [Option<Consent>; 2]) {
        self.announced.consents = consents;
        let within = self.consent_terms().unwrap_or_default().within;
        if self.asks() {
            self.announced.consent_due = Some(turn.now + within);
            self.deadlines.set(Wait::Consent, turn.now + within);
        }
    }

    pub(super) fn on_consent_due(&mut self, turn: &mut Turn<'_>) {
        self.announced.consent_due = None;
        for leg in Leg::BOTH {
            if self.is_asked(leg) {
                self.note_consent(turn, leg, Consent::Unanswered);
            }
        }
    }

    /// A party does not agree, by word or by silence.
    pub(super) fn decline_recording(&mut self, turn: &mut Turn<'_>, leg: Leg) {
        let hangs_up = self
            .consent_terms()
            .is_some_and(|terms| terms.refused == OnRefusal::HangUp);
        match self.phase {
            Phase::Ending => {}
            Phase::Preparing if hangs_up => self.refuse(turn, &Refusal::Unconsented),
            Phase::Preparing => self.end_heard_foreword(turn),
            _ if hangs_up => {
                let farewell = Farewell::of_reasons(vec![REASON.to_owned()]);
                self.finish(turn, &format!("{leg} does not agree to be recorded"), &farewell);
            }
            _ => {}
        }
    }
}
