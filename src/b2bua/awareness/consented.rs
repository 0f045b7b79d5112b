//! What a party has answered elsewhere: in the call that it comes from by a transfer, or in one that led to this by a REFER or
//! Replaces that crossed.
//!
//! Who comes over keeps its answer, and a question that nobody answered is put anew where the policies here ask, else stays open:
//! somebody else's policies are no consent. Who calls or is called anew is another dialog, and asked as any; where nobody asks it, its
//! refusal binds.

use super::consent::Question;
use crate::b2bua::call::Call;
use crate::b2bua::turn::Turn;
use crate::model::{Consent, Consented, Leg, Timestamp};
use crate::policy::{OnRefusal, Verdict};

/// Of a party on its way from one call to another.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::b2bua) struct Carried {
    /// It was told by a prompt that it is recorded.
    prompted: bool,
    consent: Option<Consent>,
    refused: Option<OnRefusal>,
    question: Option<Question>,
}

/// A party does not agree to be recorded: by word or by silence, and what that means by the policies that asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dissent {
    consent: Consent,
    refused: OnRefusal,
}

impl Call {
    /// The policies of now ask who is at this leg.
    pub(super) fn asks(&self, leg: Leg) -> bool {
        let wanted = self.decision.requirements.as_ref();
        self.consent_terms().is_some() && wanted.is_some_and(|wanted| wanted.tells()[leg.index()])
    }

    pub(in crate::b2bua) const fn carried(&self, leg: Leg) -> Carried {
        let at = leg.index();
        Carried {
            prompted: self.announced.prompted[at],
            consent: self.announced.consents[at],
            refused: self.announced.refused[at],
            question: self.announced.questions[at],
        }
    }

    /// Who has come over to this leg.
    pub(in crate::b2bua) fn take_carried(&mut self, turn: &mut Turn<'_>, leg: Leg, carried: Carried) {
        let at = leg.index();
        // Where nothing is recorded, it is asked anew once that changes.
        let is_recorded = self.decision.verdict == Verdict::Record;
        let stays_open = carried.consent == Some(Consent::Asked) && !self.asks(leg) && is_recorded;
        self.announced.prompted[at] = carried.prompted;
        self.announced.refused[at] = None;
        let bound = self.announced.consents[at].take();
        let is_kept = |consent: &Consent| match consent {
            Consent::Asked => stays_open,
            // By policies that need not be those of now, which say so themselves.
            Consent::Waived => false,
            _ => true,
        };
        let Some(consent) = carried.consent.filter(is_kept) else {
            return;
        };
        self.announced.consents[at] = Some(consent);
        if bound != Some(consent) {
            self.note_consent(turn, leg, consent);
        }
        self.announced.refused[at] = carried.refused.map(|refused| self.decision.held_to(refused));
        if stays_open {
            let question = carried.question.unwrap_or_else(|| self.question_of_before(turn.now));
            self.announced.questions[at] = Some(question);
            self.await_answers();
        }
        self.review_left_out();
    }

    /// What another call has to know of who does not agree, for whom it is made.
    pub fn dissenting(&self, leg: Leg) -> Option<Dissent> {
        Some(Dissent {
            refused: self.dissent(leg)?,
            consent: self.announced.consents[leg.index()]?,
        })
    }

    /// At its beginning. `comes_over`: its parties keep their answers.
    pub(in crate::b2bua) fn bind_dissents(&mut self, now: Timestamp, comes_over: bool) {
        for leg in Leg::BOTH {
            let dissent = self.attempts.kin.dissents[leg.index()];
            let Some(Dissent { consent, refused }) = dissent.filter(|_| comes_over || !self.asks(leg)) else {
                continue;
            };
            self.announced.consents[leg.index()] = Some(consent);
            self.announced.refused[leg.index()] = Some(self.decision.held_to(refused));
            let (at, waiver) = (now, None);
            Consented {
                leg,
                consent,
                at,
                waiver,
            }
            .note(&mut self.story.consents);
        }
    }

    /// The call is decided anew while nobody has answered: what was refused before means what it does beside these policies.
    pub(in crate::b2bua) fn hold_dissents(&mut self, callee_is_another: bool) {
        if callee_is_another {
            self.announced.consents[Leg::B.index()] = None;
            self.announced.refused[Leg::B.index()] = None;
        }
        let decision = &self.decision;
        let held = |refused: Option<OnRefusal>| refused.map(|refused| decision.held_to(refused));
        self.announced.refused = self.announced.refused.map(held);
    }

    /// Somebody does not agree to what the policies want of the call: nobody need be called.
    pub(in crate::b2bua) fn is_dissented(&self) -> bool {
        let ends = |leg| self.dissent(leg) == Some(OnRefusal::HangUp);
        Leg::BOTH.into_iter().any(ends)
    }
}
