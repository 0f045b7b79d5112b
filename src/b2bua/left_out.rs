//! What a recording leaves out of a call that goes on: of who has not agreed to be recorded, and lines that a party would rather not
//! have kept.
//!
//! It is left out at the fork, from its first packet on: nothing has to be taken back from a disk.

use super::call::Call;
use super::state::MediaState;
use super::turn::Turn;
use crate::model::{
    Consent, Indication, LeftOut, Leg, LegNotice, LineSet, Mark, MediaCommand, NoticePlan, Timestamp, Told, Withholding,
};
use crate::policy::{OnRefusal, Silence};

/// Of leg A, of leg B.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LeavingOut {
    /// What the relay keeps nothing of, as it says.
    confirmed: [LineSet; 2],
    /// Nothing of the call is kept, because a party has not agreed.
    pub(super) is_declined: bool,
}

impl Call {
    /// It is to be asked whether it agrees, and has not agreed.
    fn owes_consent(&self, leg: Leg) -> bool {
        let tells = self.decision.requirements.as_ref().map(|wanted| wanted.tells());
        let Some(terms) = self.consent_terms() else {
            return false;
        };
        match self.announced.consents[leg.index()] {
            Some(Consent::Given) => false,
            Some(Consent::Unanswered) => terms.silence == Silence::Refuses,
            _ => tells.is_some_and(|tells| tells[leg.index()]),
        }
    }

    /// It was asked, and does not agree: by word, or by silence.
    pub(super) fn declines(&self, leg: Leg) -> bool {
        let was_asked = [Some(Consent::Refused), Some(Consent::Unanswered)];
        was_asked.contains(&self.announced.consents[leg.index()]) && self.owes_consent(leg)
    }

    /// A party does not agree, and its policies leave such a call unrecorded.
    pub(super) fn is_declined(&self) -> bool {
        let is_left = self
            .consent_terms()
            .is_some_and(|terms| terms.refused == OnRefusal::Unrecorded);
        is_left && Leg::BOTH.into_iter().any(|leg| self.declines(leg))
    }

    /// What of each leg nothing is to be kept of.
    pub(super) fn withheld_lines(&self) -> [LineSet; 2] {
        let whole = |is_whole| if is_whole { LineSet::ALL } else { LineSet::NONE };
        let refused = self.consent_terms().map(|terms| terms.refused);
        let by_consent = match refused {
            None | Some(OnRefusal::Mark) => [LineSet::NONE; 2],
            // Before it is asked, a strict policy wants what crosses.
            Some(OnRefusal::HangUp) => Leg::BOTH.map(|leg| whole(self.is_asked(leg))),
            Some(OnRefusal::Mute) => Leg::BOTH.map(|leg| whole(self.owes_consent(leg))),
            Some(OnRefusal::Unrecorded) => [whole(Leg::BOTH.into_iter().any(|leg| self.owes_consent(leg))); 2],
        };
        by_consent.map(|lines| lines.and(self.paused_lines()))
    }

    /// The relay does so from `at` on.
    pub(super) fn on_relay_withheld(&mut self, turn: &mut Turn<'_>, (leg, lines): (Leg, LineSet), at: Timestamp) {
        let before = std::mem::replace(&mut self.left_out.confirmed[leg.index()], lines);
        self.mark_left_out(turn, leg, (before, at));
        self.review_left_out();
        self.publish(turn);
    }

    fn mark_left_out(&self, turn: &mut Turn<'_>, leg: Leg, (before, at): (LineSet, Timestamp)) {
        let lines = self.left_out.confirmed[leg.index()];
        let what = LeftOut::of(lines, self.negotiation.lines());
        let why = if [before, lines].contains(&LineSet::ALL) {
            Withholding::Consent
        } else {
            Withholding::Preference
        };
        self.chronicle.mark(at, Mark::LeftOut { leg, what, why }, turn.out);
    }

    /// Another recording of the call begins.
    pub(super) fn tell_left_out(&self, turn: &mut Turn<'_>) {
        for leg in Leg::BOTH {
            if !self.left_out.confirmed[leg.index()].is_empty() {
                self.mark_left_out(turn, leg, (LineSet::NONE, turn.now));
            }
        }
    }

    /// Whose words in the signalling are kept.
    pub(super) fn review_left_out(&mut self) {
        let wanted = self.withheld_lines();
        let is_declined = self.left_out.is_declined;
        self.chronicle.leave_out(Leg::BOTH.map(|leg| {
            let at = leg.index();
            is_declined || wanted[at] == LineSet::ALL || self.left_out.confirmed[at] == LineSet::ALL
        }));
    }

    /// After every event: a call that a party does not agree to have recorded is not, until that party has left.
    pub(super) fn review_declined(&mut self, turn: &mut Turn<'_>) {
        let is_declined = self.is_declined();
        let is_news = std::mem::replace(&mut self.left_out.is_declined, is_declined) != is_declined;
        self.review_left_out();
        let is_open = matches!(self.media, MediaState::Opening | MediaState::Open | MediaState::Moving);
        if is_news && is_open {
            tracing::info!(session = %self.id, is_declined, "a party's consent decides whether the call is recorded");
            self.renew_media(turn);
            self.publish(turn);
            if is_declined {
                self.fall_silent(turn);
            }
        }
    }

    /// Nobody hears any more that it is recorded: it is not.
    fn fall_silent(&mut self, turn: &mut Turn<'_>) {
        self.announced.fall_silent();
        let Some(line) = self.spoken_line() else { return };
        turn.media(MediaCommand::Notice(Box::new(NoticePlan {
            session: self.id,
            line,
            legs: [Some(LegNotice::default()), Some(LegNotice::default())],
            parted: false,
            asks: false,
        })));
    }

    /// What this leg may be told of the recording: a party that is left out of it, or a line, is paused.
    pub(super) fn told_of(&self, leg: Leg) -> Told {
        let recording = self.indication();
        let waits = self.consent_terms().is_some_and(|terms| terms.refused.waits());
        let left_out = self.left_out.confirmed[leg.index()];
        match recording {
            Indication::On if left_out == LineSet::ALL && waits => Told::whole(Indication::Paused),
            Indication::On if left_out != LineSet::ALL => Told {
                recording,
                paused: left_out,
            },
            _ => Told::whole(recording),
        }
    }
}
