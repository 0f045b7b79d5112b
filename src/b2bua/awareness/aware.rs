//! Recording awareness (RFC 7866 §6.1.2, §7.1): parties that read it are told by their descriptions how the recording stands, and once
//! more when that changes; what they would like of it is noted, and done where the policies let them pause.
//!
//! `record-aware` crosses, and is never claimed by us: only a party can tell its user.

use std::time::Duration;

use super::languages::Languages;
use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::dialog::LegState;
use crate::b2bua::invite::names;
use crate::b2bua::modification::glare_wait;
use crate::b2bua::session::Aware;
use crate::b2bua::state::{MediaState, Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Indication, Leg, LineSet, Mark, PausedBy, Preference, Timestamp, Told, earliest};
use crate::policy::{NotifyMode, PauseTerms, RecorderState, Verdict};
use crate::sip::{Headers, Method};

const OPTION: &str = "record-aware";
/// Refusals after which a party is not asked to hear of this change any more: what crosses next tells it.
const REFUSALS_MAX: u8 = 4;
/// A gap that is over sooner is told to nobody: all calls have it at once, and would all ask.
const GAP_MIN: Duration = Duration::from_secs(1);
/// How far apart those calls ask.
const GAP_SPREAD: Duration = Duration::from_secs(2);

/// One leg.
#[derive(Clone, Debug, Default)]
pub(in crate::b2bua) struct Telling {
    /// What it refused to hear last, and how often.
    refused: Option<Told>,
    refusals: u8,
    /// What it is to be told, and not before when.
    meant: Option<Told>,
    rests_until: Timestamp,
    /// As the recording has it.
    marked: Option<Told>,
    /// Of each line; none where it would like nothing.
    wishes: Vec<Option<Preference>>,
}

impl Call {
    /// Whether a peer reads what it is told of the recording, and in which language it would hear it.
    pub(in crate::b2bua) fn note_aware(&mut self, side: Leg, headers: &Headers) {
        if let Some(languages) = Languages::of(headers) {
            self.announced.languages[side.index()] = languages;
        }
        if names(headers, "Supported", OPTION) || names(headers, "Require", OPTION) {
            let aware = self.negotiation.aware(side);
            self.negotiation.set_aware(side, Aware { knows: true, ..aware });
        }
        let is_recorded = self.decision.verdict == Verdict::Record && !self.is_emergency();
        self.leg_mut(side).tells_src = is_recorded && self.is_aware(side);
    }

    /// Of several phones that rang under B's INVITE, who answers says it for itself.
    pub(in crate::b2bua) fn note_answerer_aware(&mut self, headers: &Headers) {
        let aware = self.negotiation.aware(Leg::B);
        self.negotiation.set_aware(Leg::B, Aware { knows: false, ..aware });
        self.note_aware(Leg::B, headers);
    }

    pub(super) fn is_aware(&self, side: Leg) -> bool {
        self.negotiation.aware(side).knows
    }

    /// Before its recording is asked for: what B's INVITE says is what is expected.
    pub(in crate::b2bua) fn expect_recording(&mut self, turn: &Turn<'_>) {
        let is_up = turn.recorder == RecorderState::Up && self.decision.verdict == Verdict::Record;
        let expected = if is_up { Indication::On } else { Indication::Off };
        self.negotiation
            .note_recording([Told::whole(expected); 2], self.insists(), false);
    }

    /// Who is told by SDP whether it reads that or not: a policy says so, and B has had no chance to say that it does.
    fn insists(&self) -> [bool; 2] {
        let wanted = self.decision.requirements.as_ref();
        let wanted = wanted.filter(|wanted| wanted.notify.mode == NotifyMode::Sdp);
        wanted.map(|wanted| wanted.tells()).unwrap_or_default()
    }

    pub(in crate::b2bua) fn indication(&self) -> Indication {
        match self.recording {
            _ if self.decision.verdict != Verdict::Record || self.left_out.is_declined => Indication::Off,
            Recording::NotWanted | Recording::Unavailable(_) | Recording::Broken(_) | Recording::Done => {
                Indication::Off
            }
            // Opened again and again it would pass for a recording each time.
            Recording::Opening if self.story.fault.is_some() => Indication::Off,
            // Until the relay has said that nothing is kept, something may be.
            _ if self.is_paused() && self.paused().is_some() => Indication::Paused,
            Recording::Opening | Recording::Ready | Recording::Closing => Indication::On,
        }
    }

    /// After every event: who does not know how the recording stands is told, once nothing else is in flight.
    pub(in crate::b2bua) fn indicate(&mut self, turn: &mut Turn<'_>) {
        let is_settled = self.phase == Phase::Confirmed;
        if matches!(self.phase, Phase::Preparing | Phase::Ending) {
            return;
        }
        self.negotiation
            .note_recording(Leg::BOTH.map(|leg| self.told_of(leg)), self.insists(), is_settled);
        if !is_settled {
            return;
        }
        let mut due = None;
        for side in Leg::BOTH {
            self.heed_preference(turn, side);
            self.mark_told(turn, side);
            if !self.is_to_be_told(turn, side) {
                continue;
            }
            let rests_until = self.telling[side.index()].rests_until;
            if rests_until > turn.now {
                due = earliest(due, Some(rests_until));
            } else if self.is_free_to_tell(side) {
                self.refresh_by(turn, side, Method::Invite, [false; 2]);
            }
        }
        match due {
            Some(due) => self.deadlines.set(Wait::Indicate, due),
            None => self.deadlines.clear(Wait::Indicate),
        }
    }

    fn is_to_be_told(&mut self, turn: &mut Turn<'_>, side: Leg) -> bool {
        let (now, told) = (self.told_of(side), self.negotiation.aware(side).told());
        let is_declined = self.left_out.is_declined;
        let telling = &mut self.telling[side.index()];
        if telling.meant != Some(now) {
            let is_of_gap = self.story.answered.is_some_and(|answered| answered < turn.now)
                && told.is_some_and(|told| [told, now].iter().any(|told| told.recording == Indication::Off))
                && !is_declined;
            telling.meant = Some(now);
            telling.rests_until = turn.now;
            if is_of_gap {
                let spread = turn.wire.mint().entropy() % GAP_SPREAD.as_millis();
                let spread = Duration::from_millis(u64::try_from(spread).unwrap_or_default());
                telling.rests_until = turn.now + GAP_MIN + spread;
            }
        }
        let is_given_up = telling.refusals > REFUSALS_MAX && telling.refused == Some(now);
        self.negotiation.is_behind(side) && !is_given_up && !self.is_emergency()
    }

    fn is_free_to_tell(&self, side: Leg) -> bool {
        let is_refreshing = self.upkeep.iter().any(|upkeep| upkeep.refreshing.is_some());
        let is_retelling = self.upkeep.iter().any(|upkeep| upkeep.untold.is_some());
        let is_busy = is_refreshing || is_retelling || self.exchange.is_some() || self.is_reinviting();
        self.leg(side).state == LegState::Up && !is_busy && !self.is_parting() && !self.negotiation.is_pending()
    }

    /// What a party has heard is in the recording, as what was played to it is.
    fn mark_told(&mut self, turn: &mut Turn<'_>, leg: Leg) {
        let told = self.negotiation.aware(leg).told().filter(|_| self.is_aware(leg));
        let is_asked = self.negotiation.pending_by() == Some(leg.other());
        let is_known = !is_asked && !self.upkeep[leg.index()].is_reinviting();
        if let Some(told) = told.filter(|told| is_known && self.telling[leg.index()].marked != Some(*told)) {
            self.telling[leg.index()].marked = Some(told);
            let recording = told.recording;
            let paused = told.paused.indexes(self.negotiation.lines()).collect();
            let mark = Mark::Indicated { leg, recording, paused };
            self.chronicle.mark(turn.now, mark, turn.out);
            if recording == Indication::On {
                self.on_told_by(turn, leg, NotifyMode::Sdp);
            }
        }
    }

    /// A re-INVITE that told it was accepted.
    pub(in crate::b2bua) const fn on_indicated(&mut self, side: Leg) {
        self.telling[side.index()].refused = None;
    }

    /// A re-INVITE was refused by who was told by it how the recording stands: it does not know.
    pub(in crate::b2bua) fn on_not_indicated(&mut self, turn: &mut Turn<'_>, side: Leg) {
        let aware = self.negotiation.aware(side);
        if !aware.knows {
            return;
        }
        let telling = &mut self.telling[side.index()];
        if telling.refused != aware.told() {
            (telling.refused, telling.refusals) = (aware.told(), 0);
        }
        telling.refusals = telling.refusals.saturating_add(1);
        telling.rests_until = turn.now + glare_wait(turn, side);
        let told = telling.marked;
        self.negotiation.set_aware(side, aware.with(told));
    }

    /// The wishes of A, of B that were noted.
    pub(in crate::b2bua) fn noted_wishes(&self) -> [Vec<Option<Preference>>; 2] {
        Leg::BOTH.map(|leg| self.telling[leg.index()].wishes.clone())
    }

    /// After a restart: what was noted before it is no news. `None`: written by a version that did not tell.
    pub(in crate::b2bua) fn resume_preferences(&mut self, noted: Option<[Vec<Option<Preference>>; 2]>) {
        let noted = noted.unwrap_or_else(|| Leg::BOTH.map(|leg| self.wishes(leg)));
        for (telling, noted) in self.telling.iter_mut().zip(noted) {
            telling.wishes = noted;
        }
    }

    fn wishes(&self, leg: Leg) -> Vec<Option<Preference>> {
        let mut wishes = self.negotiation.preferences(leg);
        if wishes.iter().flatten().all(|wish| *wish == Preference::None) {
            wishes.clear();
        }
        wishes
    }

    /// What a party would like is noted. It is done where the policies let that party pause in this way, line by line, and never more
    /// than a pause: what must be recorded is.
    fn heed_preference(&mut self, turn: &mut Turn<'_>, leg: Leg) {
        let is_open = matches!(self.media, MediaState::Open | MediaState::Moving);
        // A wish that comes before there is a recording stands until there is one.
        if !matches!(self.recording, Recording::Ready | Recording::Broken(_)) || !is_open {
            return;
        }
        let wishes = self.wishes(leg);
        let known = &mut self.telling[leg.index()].wishes;
        if *known == wishes {
            return;
        }
        known.clone_from(&wishes);
        let live = || wishes.iter().flatten().copied();
        let preference = live().max().unwrap_or_default();
        let is_alike = live().all(|wish| wish == preference);
        let each = wishes.iter().map(|wish| wish.unwrap_or_default());
        let lines = if is_alike { Vec::new() } else { each.collect() };
        let mark = Mark::Preferred { leg, preference, lines };
        self.chronicle.mark(turn.now, mark, turn.out);
        let may_pause = |terms: &PauseTerms| terms.by_preference() && terms.is_party(leg);
        if !self.pause_terms().is_some_and(may_pause) {
            return;
        }
        let by = PausedBy::Preference { leg };
        let paused = (0..).zip(&wishes).filter(|(_, wish)| **wish == Some(Preference::Pause));
        let paused = paused.fold(LineSet::NONE, |lines, (line, _)| lines.with(line));
        let wants_on = live().any(|wish| wish == Preference::On);
        let done = match () {
            // Said in a pause of all, it is a wish for each line, and outlives that pause.
            () if is_alike && !paused.is_empty() && !self.is_paused() => self.pause(turn, by, None),
            () if wants_on && paused.is_empty() => {
                self.resume_recording(turn, by);
                Ok(())
            }
            // A pause of all does not end for one of lines that is not to be had, nor before that begins.
            () if wants_on => self.pause_lines(turn, paused).map(|()| {
                self.end_pauses(turn, by, [true, false]);
            }),
            () if paused.is_empty() => Ok(()),
            () => self.pause_lines(turn, paused.and(self.paused_lines())),
        };
        if let Err(error) = done {
            tracing::warn!(session = %self.id, %error, "not paused");
        }
    }
}
