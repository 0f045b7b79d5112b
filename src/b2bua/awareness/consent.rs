//! Whether parties agree to be recorded: asked by the prompt, answered by a key (1 or 2), or by silence, as the policies say.
//!
//! Until who is asked has answered, the parties do not hear each other; before the call, nobody is called.

use std::time::Duration;

use super::announce::Answers;
use super::foreword::SLACK;
use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::ending::Farewell;
use crate::b2bua::output::StepKind;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::{MediaState, Phase};
use crate::b2bua::turn::Turn;
use crate::model::{Consent, Consented, Leg, Mark, Timestamp, Waiver, earliest};
use crate::policy::{ConsentMode, ConsentTerms, NotifyMode, OnRefusal, Silence};

const YES: char = '1';
const NO: char = '2';
/// Why a call ended that a party did not agree to (RFC 3326).
const REASON: &str = "Q.850;cause=21;text=\"Recording not agreed to\"";

/// A prompt waits while who is asked holds: its answer is waited for no longer than that after it was asked.
const HELD_MAX: Duration = Duration::from_mins(3);

/// It was put to a leg, and not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    due: Timestamp,
    /// It cannot have been heard sooner than this tells: another prompt may have ended.
    soonest: Timestamp,
    latest: Timestamp,
    is_heard: bool,
    /// Of the policies that asked.
    terms: ConsentTerms,
}

impl Question {
    /// The longer time, by the policies that asked and by those of now.
    fn within(&self, now: Option<ConsentTerms>) -> Duration {
        now.map_or(self.terms.within, |now| now.within.max(self.terms.within))
    }
}

impl Call {
    /// Of who is asked; none where nobody is.
    pub(in crate::b2bua) fn consent_terms(&self) -> Option<ConsentTerms> {
        let terms = self.decision.requirements.as_ref()?.notify.consent;
        terms.filter(|terms| terms.mode == ConsentMode::Explicit)
    }

    /// Help is not kept waiting for an answer, whoever came with a question still open.
    pub(in crate::b2bua) fn is_asked(&self, leg: Leg) -> bool {
        self.announced.consents[leg.index()] == Some(Consent::Asked) && !self.decision.emergency
    }

    /// The parties talk, and one is asked: they do not hear each other.
    pub(in crate::b2bua) fn holds_apart(&self) -> bool {
        self.phase == Phase::Confirmed && Leg::BOTH.into_iter().any(|leg| self.is_asked(leg))
    }

    pub(super) fn note_consent(&mut self, turn: &mut Turn<'_>, leg: Leg, consent: Consent) {
        self.announced.consents[leg.index()] = Some(consent);
        self.announced.refused[leg.index()] = self.refused_by(leg, consent);
        self.chronicle
            .step(turn.now, StepKind::Consent { leg, consent }, turn.out);
        let at = turn.now;
        let known = Consented {
            leg,
            consent,
            at,
            waiver: self.waiver(consent),
        };
        self.mark_consent(turn, &known);
        known.note(&mut self.story.consents);
        self.review_left_out();
        self.publish(turn);
        if self.kept == Kept::Written {
            self.kept = Kept::Stale;
        }
    }

    /// What it means that a party refuses, or would, by the policies that asked and by those of now; none if that is no refusal.
    fn refused_by(&self, leg: Leg, consent: Consent) -> Option<OnRefusal> {
        let terms = self.consent_terms();
        let now = terms.map(|terms| terms.refused);
        let asked = self.announced.refused[leg.index()];
        match consent {
            Consent::Asked => now,
            Consent::Refused => asked.max(now),
            Consent::Unanswered => {
                let question = self.announced.questions[leg.index()].map(|question| question.terms);
                let refuses =
                    |terms: Option<ConsentTerms>| terms.is_some_and(|terms| terms.silence == Silence::Refuses);
                let asked = asked.filter(|_| refuses(question.or(terms)));
                asked.max(now.filter(|_| refuses(terms)))
            }
            Consent::Given | Consent::Informed | Consent::Implied | Consent::Waived => None,
        }
    }

    fn waiver(&self, consent: Consent) -> Option<Waiver> {
        let waiver = self.decision.requirements.as_ref()?.waiver.as_ref();
        waiver.filter(|_| consent == Consent::Waived).cloned()
    }

    fn mark_consent(&self, turn: &mut Turn<'_>, known: &Consented) {
        let mark = Mark::Consent {
            leg: known.leg,
            consent: known.consent,
            waiver: known.waiver.clone(),
        };
        self.chronicle.mark(known.at.max(self.header.started), mark, turn.out);
    }

    /// Another recording of the call begins.
    pub(in crate::b2bua) fn tell_consents(&self, turn: &mut Turn<'_>) {
        for known in &self.story.consents {
            self.mark_consent(turn, known);
        }
    }

    /// A party has heard by all of this, or read, that it is recorded: where nobody is asked, that is all there is to its consent.
    pub(super) fn on_told_by(&mut self, turn: &mut Turn<'_>, leg: Leg, by: NotifyMode) {
        let Some(wanted) = &self.decision.requirements else {
            return;
        };
        let consent = match wanted.notify.consent.map(|terms| terms.mode) {
            Some(ConsentMode::Implied) => Consent::Implied,
            Some(ConsentMode::Inform) => Consent::Informed,
            Some(ConsentMode::Explicit | ConsentMode::Waived) | None => return,
        };
        let is_all = match wanted.notify.mode {
            NotifyMode::Prompt | NotifyMode::PromptAndTone => by == NotifyMode::Prompt,
            mode => by == mode,
        };
        if is_all && wanted.tells()[leg.index()] && self.announced.consents[leg.index()].is_none() {
            self.note_consent(turn, leg, consent);
        }
    }

    /// Who need not agree.
    fn note_waived(&mut self, turn: &mut Turn<'_>) {
        let Some(wanted) = &self.decision.requirements else {
            return;
        };
        let is_waived = wanted
            .notify
            .consent
            .is_some_and(|terms| terms.mode == ConsentMode::Waived);
        let tells = wanted.tells();
        for leg in Leg::BOTH {
            if is_waived && tells[leg.index()] && self.announced.consents[leg.index()].is_none() {
                self.note_consent(turn, leg, Consent::Waived);
            }
        }
    }

    /// Nothing more is asked of it: it was, by policies of before or of now. Who said nothing where that agrees was not, where it does not.
    pub(in crate::b2bua) fn was_asked(&self, leg: Leg) -> bool {
        let agrees = |terms: ConsentTerms| terms.silence == Silence::Agrees;
        match self.announced.consents[leg.index()] {
            Some(Consent::Unanswered) if self.announced.refused[leg.index()].is_none() => {
                self.consent_terms().is_none_or(agrees)
            }
            consent => consent.is_some_and(Consent::was_asked),
        }
    }

    /// Who is told now is asked by that, by a prompt that lasts so long; who cannot be told has not answered.
    pub(super) fn ask_consent(&mut self, turn: &mut Turn<'_>, leg: Leg, lasts: Option<Duration>, terms: ConsentTerms) {
        match (self.was_asked(leg), lasts) {
            (false, Some(lasts)) => {
                let soonest = turn.now + lasts + terms.within;
                self.announced.questions[leg.index()] = Some(Question {
                    due: soonest + SLACK,
                    soonest,
                    latest: turn.now + HELD_MAX,
                    is_heard: false,
                    terms,
                });
                self.note_consent(turn, leg, Consent::Asked);
            }
            (false, None) => self.note_consent(turn, leg, Consent::Unanswered),
            (true, _) => {}
        }
        self.await_answers();
    }

    /// One that was put before, by policies that may not be those of now: its answer is waited for once more.
    pub(super) fn question_of_before(&self, now: Timestamp) -> Question {
        let terms = self.consent_terms().unwrap_or_default();
        let soonest = now + terms.within;
        Question {
            due: soonest + SLACK,
            soonest,
            latest: now + HELD_MAX,
            is_heard: true,
            terms,
        }
    }

    pub(super) fn await_answers(&mut self) {
        let mut due = None;
        for leg in Leg::BOTH {
            let asked = self.announced.questions[leg.index()].filter(|_| self.is_asked(leg));
            self.announced.questions[leg.index()] = asked;
            due = earliest(due, asked.map(|question| question.due));
        }
        match due {
            Some(due) => self.deadlines.set(Wait::Consent, due),
            None => self.deadlines.clear(Wait::Consent),
        }
    }

    /// Nothing is recorded, whatever they say: who has not answered is asked no more, and anew once that changes.
    pub(in crate::b2bua) fn close_questions(&mut self) {
        for leg in Leg::BOTH {
            if self.is_asked(leg) {
                self.announced.consents[leg.index()] = None;
                self.announced.refused[leg.index()] = None;
            }
        }
        self.await_answers();
    }

    /// A change was refused that may have asked, or forgotten, somebody.
    pub(in crate::b2bua) fn take_back_answers(&mut self, former: Answers) {
        self.announced.restore(former);
        self.await_answers();
    }

    /// From the end of the prompt on a party has as long as its policies say.
    pub(super) fn on_question_heard(&mut self, turn: &Turn<'_>, leg: Leg) {
        let now = self.consent_terms();
        if let Some(question) = &mut self.announced.questions[leg.index()] {
            question.is_heard = true;
            question.due = question.soonest.max(turn.now + question.within(now));
            self.await_answers();
        }
    }

    /// After every event: who need not agree is noted, and who does not agree is let go where the policies say so; not by those of a
    /// change that may yet be refused.
    pub(in crate::b2bua) fn review_consent(&mut self, turn: &mut Turn<'_>) {
        let is_open = matches!(self.media, MediaState::Opening | MediaState::Open | MediaState::Moving);
        if self.phase != Phase::Confirmed || !is_open || self.awaits_change() {
            return;
        }
        self.note_waived(turn);
        let hangs_up = |leg: &Leg| self.dissent(*leg) == Some(OnRefusal::HangUp);
        if let Some(leg) = Leg::BOTH.into_iter().find(hangs_up) {
            self.decline_recording(turn, leg);
        }
    }

    /// A key of who is asked is the answer, or none.
    pub(in crate::b2bua) fn take_consent(&mut self, turn: &mut Turn<'_>, leg: Leg, key: char) -> bool {
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
        self.await_answers();
        true
    }

    /// After a restart: who has not answered is asked anew, for nobody knows whether it has heard the question. Where the policies of
    /// now ask nothing, the question of those before stays open.
    pub(in crate::b2bua) fn resume_consents(
        &mut self,
        now: Timestamp,
        consents: [Option<Consent>; 2],
        refused: [Option<OnRefusal>; 2],
    ) {
        for (leg, consent) in Leg::BOTH.into_iter().zip(consents) {
            let is_open = consent == Some(Consent::Asked);
            let is_anew = is_open && self.asks(leg);
            let by_terms = consent.and_then(|consent| self.refused_by(leg, consent));
            self.announced.refused[leg.index()] = refused[leg.index()].or(by_terms).filter(|_| !is_anew);
            self.announced.consents[leg.index()] = consent.filter(|_| !is_anew);
            self.announced.prompted[leg.index()] &= !is_anew;
            if is_open && !is_anew {
                self.announced.questions[leg.index()] = Some(self.question_of_before(now));
                let (at, waiver, consent) = (now, None, Consent::Asked);
                Consented {
                    leg,
                    consent,
                    at,
                    waiver,
                }
                .note(&mut self.story.consents);
            }
        }
        self.await_answers();
    }

    pub(in crate::b2bua) fn on_consent_due(&mut self, turn: &mut Turn<'_>) {
        let now = self.consent_terms();
        for leg in Leg::BOTH {
            let is_held = self.held[leg.index()];
            match &mut self.announced.questions[leg.index()] {
                Some(question) if question.due > turn.now => {}
                Some(question) if !question.is_heard && is_held && question.latest > turn.now => {
                    question.due = question.latest.min(turn.now + question.within(now));
                }
                Some(_) => self.note_consent(turn, leg, Consent::Unanswered),
                None => {}
            }
        }
        self.await_answers();
    }

    /// A party does not agree, by word or by silence.
    pub(super) fn decline_recording(&mut self, turn: &mut Turn<'_>, leg: Leg) {
        let hangs_up = self.dissent(leg) == Some(OnRefusal::HangUp);
        match self.phase {
            Phase::Ending => {}
            Phase::Preparing if hangs_up => self.refuse(turn, &Refusal::Unconsented),
            Phase::Preparing if self.is_declined() => self.cut_foreword(turn),
            Phase::Preparing => self.end_heard_foreword(turn),
            _ if hangs_up && !self.awaits_change() => {
                let farewell = Farewell::of_reasons(vec![REASON.to_owned()]);
                self.finish(turn, &format!("{leg} does not agree to be recorded"), &farewell);
            }
            _ => {}
        }
    }
}
