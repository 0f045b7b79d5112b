//! What a recording leaves out of a call that goes on: of who has not agreed to be recorded, and lines that a party would rather not
//! have kept.
//!
//! It is left out at the fork, from its first packet on: nothing has to be taken back from a disk.

use crate::b2bua::call::Call;
use crate::b2bua::state::MediaState;
use crate::b2bua::turn::Turn;
use crate::model::{
    Consent, Indication, LeftOut, Leg, LegNotice, LineSet, Mark, MediaCommand, NoticePlan, Timestamp, Told, Withholding,
};
use crate::policy::OnRefusal;

/// Of leg A, of leg B.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::b2bua) struct LeavingOut {
    /// What the relay keeps nothing of, as it says.
    confirmed: [LineSet; 2],
    /// Nothing of the call is kept, because a party has not agreed.
    pub(in crate::b2bua) is_declined: bool,
    /// Tones play on until there is a line to end them on.
    owes_silence: bool,
}

impl Call {
    /// It was asked, and does not agree, by word or by silence: what becomes of that, as the most demanding says of the policies
    /// that asked and of those that hold now.
    pub(in crate::b2bua) fn dissent(&self, leg: Leg) -> Option<OnRefusal> {
        let at = leg.index();
        let kept = self.announced.refused[at];
        let now = match self.announced.consents[at] {
            Some(Consent::Refused) => self.consent_terms(),
            // Where silence meant that it agrees, it has refused nothing.
            Some(Consent::Unanswered) => self.consent_terms().filter(|_| kept.is_some()),
            _ => return None,
        };
        // An emergency goes on, whoever comes to it.
        let dissent = kept.max(now.map(|terms| terms.refused));
        dissent.filter(|_| !self.decision.emergency)
    }

    /// What nothing is kept for of who has not agreed: it refused, or is to be asked.
    fn leaves_out(&self, leg: Leg) -> Option<OnRefusal> {
        let at = leg.index();
        let now = self.consent_terms().map(|terms| terms.refused);
        match self.announced.consents[at] {
            Some(Consent::Given) => None,
            Some(Consent::Refused | Consent::Unanswered) if self.was_asked(leg) => self.dissent(leg),
            Some(Consent::Asked) if self.is_asked(leg) => self.announced.refused[at].max(now),
            _ => {
                let tells = self.decision.requirements.as_ref()?.tells()[at];
                // Before it is asked, a strict policy wants what crosses.
                now.filter(|refused| tells && refused.waits())
            }
        }
    }

    /// A party does not agree, and its policies leave such a call unrecorded.
    pub(in crate::b2bua) fn is_declined(&self) -> bool {
        let is_left = |leg| self.dissent(leg) == Some(OnRefusal::Unrecorded);
        Leg::BOTH.into_iter().any(is_left)
    }

    /// What of each leg nothing is to be kept of.
    pub(super) fn withheld_lines(&self) -> [LineSet; 2] {
        let left_out = Leg::BOTH.map(|leg| self.leaves_out(leg));
        let is_whole = left_out.contains(&Some(OnRefusal::Unrecorded));
        left_out.map(|refused| match refused {
            _ if is_whole => LineSet::ALL,
            Some(OnRefusal::Mute | OnRefusal::HangUp | OnRefusal::Unrecorded) => LineSet::ALL,
            None | Some(OnRefusal::Mark) => self.paused_lines(),
        })
    }

    /// The relay does so from `at` on.
    pub(in crate::b2bua) fn on_relay_withheld(
        &mut self,
        turn: &mut Turn<'_>,
        (leg, lines): (Leg, LineSet),
        at: Timestamp,
    ) {
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
    pub(in crate::b2bua) fn tell_left_out(&self, turn: &mut Turn<'_>) {
        for leg in Leg::BOTH {
            if !self.left_out.confirmed[leg.index()].is_empty() {
                self.mark_left_out(turn, leg, (LineSet::NONE, turn.now));
            }
        }
    }

    /// Whose words in the signalling are kept.
    pub(in crate::b2bua) fn review_left_out(&mut self) {
        let wanted = self.withheld_lines();
        let is_declined = self.left_out.is_declined;
        self.chronicle.leave_out(Leg::BOTH.map(|leg| {
            let at = leg.index();
            is_declined || wanted[at] == LineSet::ALL || self.left_out.confirmed[at] == LineSet::ALL
        }));
    }

    /// After every event: a call that a party does not agree to have recorded is not, until that party has left.
    pub(in crate::b2bua) fn review_declined(&mut self, turn: &mut Turn<'_>) {
        let is_declined = self.is_declined();
        let is_news = std::mem::replace(&mut self.left_out.is_declined, is_declined) != is_declined;
        if is_declined {
            self.close_questions();
        }
        self.review_left_out();
        let is_open = matches!(self.media, MediaState::Opening | MediaState::Open | MediaState::Moving);
        if is_news && is_open {
            tracing::info!(session = %self.id, is_declined, "a party's consent decides whether the call is recorded");
            self.renew_media(turn);
            self.publish(turn);
            self.left_out.owes_silence = true;
        }
        self.left_out.owes_silence &= is_declined;
        if self.left_out.owes_silence && is_open {
            self.fall_silent(turn);
        }
    }

    /// Nobody hears any more that it is recorded: it is not.
    fn fall_silent(&mut self, turn: &mut Turn<'_>) {
        let Some(line) = self.spoken_line() else { return };
        self.left_out.owes_silence = false;
        self.announced.fall_silent();
        turn.media(MediaCommand::Notice(Box::new(NoticePlan {
            session: self.id,
            line,
            legs: [Some(LegNotice::default()), Some(LegNotice::default())],
            parted: false,
        })));
    }

    /// What this leg may be told of the recording: a party that is left out of it, or a line, is paused.
    pub(in crate::b2bua) fn told_of(&self, leg: Leg) -> Told {
        let recording = self.indication();
        let is_ending = self
            .consent_terms()
            .is_some_and(|terms| terms.refused == OnRefusal::HangUp);
        let left_out = self.left_out.confirmed[leg.index()];
        match recording {
            Indication::On if left_out == LineSet::ALL && !is_ending => Told::whole(Indication::Paused),
            Indication::On if left_out != LineSet::ALL => Told {
                recording,
                paused: left_out,
            },
            _ => Told::whole(recording),
        }
    }
}
