//! The parties hear that they are recorded: by a prompt, by a tone, as the policies say.
//!
//! Once a party, when the call talks: never again on hold or re-INVITE, on a transfer to the newcomer alone. An emergency call is never
//! announced, for nothing is demanded of it.

use std::sync::Arc;
use std::time::Duration;

use super::consent::Question;
use super::foreword::{Foreword, OwnDialog};
use super::languages::Languages;
use crate::b2bua::call::Call;
use crate::b2bua::ending::Farewell;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::{MediaState, Phase};
use crate::b2bua::turn::Turn;
use crate::model::{
    CLIP_FRAME, Clip, Consent, Leg, LegNotice, LinePlan, Mark, MediaCommand, MediaKind, Notice, NoticeKind, NoticePlan,
    Recorded,
};
use crate::policy::{Clips, NotifyMode, NotifyWhen, OnRefusal, Requirements, Untold, Verdict};

/// Who has been told: A, B.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Announced {
    told: [bool; 2],
    /// By a prompt, which is not played twice.
    pub(super) prompted: [bool; 2],
    /// The relay plays a tone, until it is told otherwise.
    toned: [bool; 2],
    /// A is told before B is asked: now, or was meant to be.
    pub(in crate::b2bua) foreword: Option<Foreword>,
    pub(super) is_forewarned: bool,
    pub(super) own_dialog: Option<OwnDialog>,
    /// What A, what B would like to be spoken to in.
    pub(super) languages: [Languages; 2],
    /// Of A, of B.
    pub(in crate::b2bua) consents: [Option<Consent>; 2],
    /// What it means that A, that B does not agree, by the policies that asked and by those that came later.
    pub(in crate::b2bua) refused: [Option<OnRefusal>; 2],
    /// Those that A, that B has not answered.
    pub(super) questions: [Option<Question>; 2],
}

/// Of A, of B: what each was told and has answered.
#[derive(Clone, Debug)]
pub(in crate::b2bua) struct Answers {
    told: [bool; 2],
    prompted: [bool; 2],
    languages: [Languages; 2],
    consents: [Option<Consent>; 2],
    refused: [Option<OnRefusal>; 2],
    questions: [Option<Question>; 2],
}

impl Announced {
    pub(in crate::b2bua) fn answers(&self) -> Answers {
        Answers {
            told: self.told,
            prompted: self.prompted,
            languages: self.languages.clone(),
            consents: self.consents,
            refused: self.refused,
            questions: self.questions,
        }
    }

    /// Who came has not come, and what came has not: all is as it was, but for what was answered meanwhile.
    pub(super) fn restore(&mut self, former: Answers) {
        let meanwhile = self.consents;
        self.told = former.told;
        self.prompted = former.prompted;
        self.languages = former.languages;
        self.consents = former.consents;
        self.refused = former.refused;
        self.questions = former.questions;
        for at in Leg::BOTH.map(Leg::index) {
            let was_open = self.consents[at] == Some(Consent::Asked);
            match meanwhile[at].filter(|_| was_open) {
                Some(Consent::Given) => (self.consents[at], self.refused[at]) = (meanwhile[at], None),
                Some(Consent::Refused) => self.consents[at] = meanwhile[at],
                _ => {}
            }
        }
    }

    /// The call has talked before this process: tones go on, prompts were played.
    pub(in crate::b2bua) fn resumed() -> Self {
        Self {
            prompted: [true; 2],
            is_forewarned: true,
            ..Self::default()
        }
    }

    /// No tone plays any more.
    pub(in crate::b2bua) const fn fall_silent(&mut self) {
        self.toned = [false; 2];
    }

    /// Other policies may apply to both: who was not told, or not asked, may have to be.
    pub(in crate::b2bua) const fn review(&mut self) {
        self.told = [false; 2];
    }

    /// Somebody else is at this end, and other policies may apply to both.
    pub(in crate::b2bua) fn forget(&mut self, leg: Leg) {
        self.review();
        self.languages[leg.index()] = Languages::default();
        self.prompted[leg.index()] = false;
        self.consents[leg.index()] = None;
        self.refused[leg.index()] = None;
        self.questions[leg.index()] = None;
    }
}

/// What one party is to be told by. None of what is demanded and cannot be had.
struct Told {
    notice: LegNotice,
    /// All that is demanded can be played.
    is_whole: bool,
}

impl Call {
    /// Tells who has not been told, once the call talks and is recorded. What is asked for a change that may yet be refused would
    /// outlive it.
    pub(in crate::b2bua) fn announce(&mut self, turn: &mut Turn<'_>) {
        let is_open = matches!(self.media, MediaState::Opening | MediaState::Open | MediaState::Moving);
        let is_settled = self.phase == Phase::Confirmed && is_open && !self.awaits_change();
        if !is_settled || self.announced.told == [true; 2] {
            return;
        }
        let decision = Arc::clone(&self.decision);
        let Some(wanted) = decision.requirements.as_ref().filter(|_| self.mode() != Recorded::No) else {
            return;
        };
        let Some(line) = self.spoken_line() else { return };
        let (tells, mut legs) = (wanted.tells(), [None, None]);
        for leg in Leg::BOTH {
            let at = leg.index();
            if std::mem::replace(&mut self.announced.told[at], true) {
                continue;
            }
            let was_toned = std::mem::take(&mut self.announced.toned[at]);
            if !tells[at] {
                legs[at] = was_toned.then(LegNotice::default);
                continue;
            }
            let prompt = self.prompt_for(turn, wanted, leg);
            let mut told = told(turn, wanted, &line, (leg, self.is_aware(leg)), prompt);
            if let Some(terms) = self.consent_terms() {
                let lasts = told
                    .notice
                    .prompt
                    .as_deref()
                    .and_then(|prompt| lasting(prompt, &line, leg));
                // A prompt of policies that asked nothing was no question.
                self.announced.prompted[at] &= self.was_asked(leg);
                self.ask_consent(turn, leg, lasts, terms);
            }
            if told.notice.prompt.is_some() && std::mem::replace(&mut self.announced.prompted[at], true) {
                told.notice.prompt = None;
            }
            if !told.is_whole {
                self.chronicle.mark(turn.now, Mark::Unnoticed { leg }, turn.out);
                if wanted.notify.untold == Untold::Refuse {
                    let by = format!("policy {}: {leg} cannot be told that it is recorded", self.policy());
                    self.finish(turn, &by, &Farewell::default());
                    return;
                }
            }
            self.announced.toned[at] = told.notice.tone.is_some();
            legs[at] = Some(told.notice).filter(|notice| was_toned || *notice != LegNotice::default());
        }
        if legs != [None, None] {
            let parted = !wanted.notify.over_talk || wanted.notify.when == NotifyWhen::BeforeConnect;
            turn.media(MediaCommand::Notice(Box::new(NoticePlan {
                session: self.id,
                line,
                legs,
                parted,
            })));
        }
    }

    /// Why the call may not be answered as it was agreed: somebody has to be told, and could not be. Where A has still to answer B's
    /// offer it is not known yet.
    pub(in crate::b2bua) fn untold(&self, turn: &Turn<'_>) -> Option<Refusal> {
        let decision = &self.decision;
        let wanted = decision
            .requirements
            .as_ref()
            .filter(|wanted| decision.verdict == Verdict::Record && wanted.notify.untold == Untold::Refuse)?;
        let line = self.spoken_line()?;
        let mut legs = Leg::BOTH.into_iter().filter(|leg| wanted.tells()[leg.index()]);
        let is_whole = |leg| {
            let prompt = self.prompt_for(turn, wanted, leg);
            told(turn, wanted, &line, (leg, self.is_aware(leg)), prompt).is_whole
        };
        legs.any(|leg| !is_whole(leg)).then_some(Refusal::Untold)
    }

    /// What a party is told by, in a language that it likes if there is one.
    pub(super) fn prompt_for(&self, turn: &Turn<'_>, wanted: &Requirements, leg: Leg) -> Option<Arc<Clip>> {
        let prompts = &turn.policies.clips().prompts;
        let package = wanted.prompt.as_ref()?;
        let in_language = |tag: &str| prompts.get(&Clips::key(package, tag));
        let tag = self.announced.languages[leg.index()].pick(|tag| in_language(tag).is_some());
        tag.and_then(in_language).or_else(|| prompts.get(package)).cloned()
    }

    /// The first line of sound that both legs have agreed on.
    pub(in crate::b2bua) fn spoken_line(&self) -> Option<LinePlan> {
        if !self.negotiation.has_media() || self.negotiation.is_pending() {
            return None;
        }
        let lines = self.negotiation.plan(self.id, self.mode()).lines.into_iter();
        let is_agreed = |line: &LinePlan| !line.a.formats.is_empty() && !line.b.formats.is_empty();
        lines.filter(|line| line.kind == MediaKind::Audio).find(is_agreed)
    }

    pub(in crate::b2bua) fn on_noticed(&mut self, turn: &mut Turn<'_>, notice: Notice) {
        let (leg, kind, whole) = (notice.leg, notice.kind, notice.whole);
        self.chronicle.mark(turn.now, Mark::Noticed(notice), turn.out);
        match kind {
            _ if !whole => {}
            NoticeKind::Tone => self.on_told_by(turn, leg, NotifyMode::Tone),
            NoticeKind::Prompt => {
                self.on_told_by(turn, leg, NotifyMode::Prompt);
                self.on_prompted(turn, leg);
            }
        }
    }
}

/// How long a prompt takes that is told to a leg; None: it has no format for it.
pub(super) fn lasting(prompt: &Clip, line: &LinePlan, leg: Leg) -> Option<Duration> {
    let voice = prompt.voice(line, leg, None)?;
    let frames = prompt.renditions.get(voice.rendition)?.payloads.len();
    Some(CLIP_FRAME * u32::try_from(frames).ok()?)
}

/// `reads`: the leg reads what descriptions say of the recording.
fn told(
    turn: &Turn<'_>,
    wanted: &Requirements,
    line: &LinePlan,
    (leg, reads): (Leg, bool),
    prompt: Option<Arc<Clip>>,
) -> Told {
    let (clips, mode) = (turn.policies.clips(), wanted.notify.mode);
    let playable = |clip: Option<&Arc<Clip>>| clip.filter(|clip| clip.voice(line, leg, None).is_some()).cloned();
    let prompt = playable(prompt.as_ref()).filter(|_| mode.has_prompt());
    let tone = playable(clips.tone.as_ref()).filter(|_| mode.has_tone());
    Told {
        is_whole: match mode {
            NotifyMode::Sdp => reads,
            _ => prompt.is_some() == mode.has_prompt() && tone.is_some() == mode.has_tone(),
        },
        notice: LegNotice {
            prompt,
            tone: tone.map(|tone| (tone, wanted.notify.every)),
        },
    }
}
