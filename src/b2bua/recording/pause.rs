//! The recording is paused and goes on again: by the operator, by keys, by a phone's `Record` header, by the timer.
//!
//! A pause takes effect at once, and its marks are durable with the next commit: who is about to read out a card number does
//! not wait for a disk. What explains the hole until then are the pulses that the relay has the recorder keep in it. A recorder
//! that fails ends a strict call in a pause as at any other time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::output::StepKind;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::{MediaState, Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Leg, LineSet, Mark, MediaCommand, PausedBy, Pausing, Timestamp, earliest};
use crate::policy::{PauseTerms, Verdict};
use crate::sip::transaction::ServerId;
use crate::sip::{Request, Response};

/// Pauses of one call; more are refused.
const PAUSES_MAX: u32 = 100;
/// Changes that the relay has not confirmed; more are refused.
const ASKED_MAX: usize = 8;
/// Characters that are kept of why somebody paused.
const WHY_CHARS_MAX: usize = 200;
/// Keys of a code follow each other within this time.
const KEYS_APART_MAX: Duration = Duration::from_secs(4);
/// After a code was pressed keys count again only then: phones that send a key both as RFC 4733 and as INFO press it twice.
const CODE_REST: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(in crate::b2bua) struct Pauses {
    /// Until when all of it is paused at the latest.
    whole: Option<Timestamp>,
    /// Lines that are, whether all of it is or not, and until when at the latest.
    lines: Option<(LineSet, Timestamp)>,
    /// Who asked for each change that the relay has not confirmed, and why.
    asked: VecDeque<(PausedBy, Option<String>)>,
    /// What the relay was told.
    told: Pausing,
    /// Since when it keeps nothing.
    confirmed: Option<Timestamp>,
    count: u32,
    keypads: [Keypad; 2],
}

/// The newest keys of a leg.
#[derive(Debug, Default)]
struct Keypad {
    keys: String,
    last: Timestamp,
    rests_until: Timestamp,
}

impl Keypad {
    /// Whether that completes a code.
    fn press(&mut self, now: Timestamp, key: char, terms: &PauseTerms) -> bool {
        if now < self.rests_until {
            return false;
        }
        if now > self.last + KEYS_APART_MAX {
            self.keys.clear();
        }
        self.last = now;
        if self.keys.len() >= PauseTerms::CODE_KEYS_MAX {
            self.keys.remove(0);
        }
        self.keys.push(key);
        let is_code = terms.is_pressed(&self.keys);
        if is_code {
            self.keys.clear();
            self.rests_until = now + CODE_REST;
        }
        is_code
    }
}

/// Why a recording is not paused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PauseError {
    /// Its policies do not allow it, or not in this way.
    #[error("its policies do not allow that")]
    Forbidden,
    /// The call does not talk, or is not recorded at present.
    #[error("nothing is recorded of it now")]
    NotRecorded,
    /// It was paused so often, or was told otherwise so often at once, that no more is done.
    #[error("too often")]
    TooOften,
}

impl Call {
    /// Nothing is kept from here on, until somebody or the timer lets it go on.
    pub(in crate::b2bua) fn pause(
        &mut self,
        turn: &mut Turn<'_>,
        by: PausedBy,
        why: Option<String>,
    ) -> Result<(), PauseError> {
        let terms = self.pause_terms().ok_or(PauseError::Forbidden)?;
        let latest = turn.now + terms.resume_after;
        if self.is_paused() {
            return Ok(());
        }
        self.is_pausable()?;
        let why = why.map(|why| why.chars().filter(|c| !c.is_control()).take(WHY_CHARS_MAX).collect());
        self.begin_pause(latest, by, why);
        self.renew_pausing(turn);
        self.note_pausing();
        Ok(())
    }

    fn is_pausable(&self) -> Result<(), PauseError> {
        let talks = matches!(self.phase, Phase::Answered | Phase::Confirmed);
        let is_open = matches!(self.media, MediaState::Open | MediaState::Moving);
        let is_recorded = matches!(self.recording, Recording::Ready | Recording::Broken(_));
        if !talks || !is_open || !is_recorded || self.left_out.is_declined {
            return Err(PauseError::NotRecorded);
        }
        if self.pauses.count >= PAUSES_MAX || self.pauses.asked.len() >= ASKED_MAX {
            return Err(PauseError::TooOften);
        }
        Ok(())
    }

    /// Nothing is kept of these lines, both ways, for as long as a pause may last; those of before are kept again. They are paused
    /// beside a pause of all, too, and go on being so after it.
    pub(in crate::b2bua) fn pause_lines(&mut self, turn: &mut Turn<'_>, lines: LineSet) -> Result<(), PauseError> {
        let terms = self.pause_terms().ok_or(PauseError::Forbidden)?;
        let latest = turn.now + terms.resume_after;
        if self.paused_lines() == lines {
            return Ok(());
        }
        self.is_pausable()?;
        self.go_on_without(lines, latest);
        self.renew_pausing(turn);
        self.note_pausing();
        Ok(())
    }

    fn go_on_without(&mut self, lines: LineSet, latest: Timestamp) {
        let latest = self.pauses.lines.map_or(latest, |(_, latest)| latest);
        self.pauses.lines = Some((lines, latest));
        self.pauses.count += 1;
        self.watch_pauses();
    }

    fn begin_pause(&mut self, latest: Timestamp, by: PausedBy, why: Option<String>) {
        self.pauses.whole = Some(latest);
        self.pauses.count += 1;
        self.pauses.asked.push_back((by, why));
        self.chronicle.withhold(true);
        self.watch_pauses();
    }

    fn watch_pauses(&mut self) {
        let lines = self.pauses.lines.map(|(_, latest)| latest);
        match earliest(self.pauses.whole, lines) {
            Some(due) => self.deadlines.set(Wait::Resume, due),
            None => self.deadlines.clear(Wait::Resume),
        }
    }

    /// It is kept again, as far as who says so may mean. False: nothing of that was paused.
    pub(in crate::b2bua) fn resume_recording(&mut self, turn: &mut Turn<'_>, by: PausedBy) -> bool {
        let Pauses { whole, lines, .. } = self.pauses;
        let is_over = |latest: Timestamp| latest <= turn.now;
        let ended = match by {
            PausedBy::Timer => [
                whole.is_some_and(is_over),
                lines.is_some_and(|(_, latest)| is_over(latest)),
            ],
            // By the same code all of it is paused: pressed while lines are, it asks for that.
            PausedBy::Keys { .. } => [true, false],
            PausedBy::Operator | PausedBy::Info { .. } => [true, whole.is_none()],
            PausedBy::Preference { .. } | PausedBy::Policy | PausedBy::Restart => [true, true],
        };
        self.end_pauses(turn, by, ended)
    }

    /// Of all of it, of lines. False: it was not paused so.
    pub(in crate::b2bua) fn end_pauses(
        &mut self,
        turn: &mut Turn<'_>,
        by: PausedBy,
        [whole, lines]: [bool; 2],
    ) -> bool {
        let whole = whole && self.pauses.whole.take().is_some();
        let lines = lines && self.pauses.lines.take().is_some();
        if !whole && !lines {
            return false;
        }
        self.watch_pauses();
        if whole && self.pauses.told.is_paused {
            self.pauses.asked.push_back((by, None));
        } else if whole {
            // After a restart: no media was opened again yet.
            self.pauses.asked.clear();
            self.pauses.confirmed = None;
            self.chronicle.withhold(false);
        }
        self.renew_pausing(turn);
        self.note_pausing();
        true
    }

    /// The next process has to know.
    fn note_pausing(&mut self) {
        if self.kept == Kept::Written {
            self.kept = Kept::Stale;
        }
    }

    /// Whoever may use the control socket wants it paused.
    pub fn pause_by_operator(&mut self, turn: &mut Turn<'_>, why: Option<String>) {
        let done = match self.pause_terms() {
            Some(terms) if terms.by_api() => self.pause(turn, PausedBy::Operator, why),
            _ => Err(PauseError::Forbidden),
        };
        if let Err(error) = done {
            tracing::warn!(session = %self.id, %error, "not paused");
        }
        self.settle(turn);
    }

    pub fn resume_by_operator(&mut self, turn: &mut Turn<'_>) {
        self.resume_recording(turn, PausedBy::Operator);
        self.settle(turn);
    }

    /// All of it.
    pub(in crate::b2bua) const fn is_paused(&self) -> bool {
        self.pauses.whole.is_some()
    }

    /// The lines that are, whether all of it is or not.
    pub(in crate::b2bua) fn paused_lines(&self) -> LineSet {
        self.pauses.lines.map(|(lines, _)| lines).unwrap_or_default()
    }

    /// Since when nothing is kept, as the relay says.
    pub(in crate::b2bua) const fn paused(&self) -> Option<Timestamp> {
        self.pauses.confirmed
    }

    /// Until when all of it is paused at the latest; the lines that are, and until when.
    pub(in crate::b2bua) const fn paused_until(&self) -> (Option<Timestamp>, Option<(LineSet, Timestamp)>) {
        (self.pauses.whole, self.pauses.lines)
    }

    pub(in crate::b2bua) fn may_be_paused_by_api(&self) -> bool {
        self.pause_terms().is_some_and(PauseTerms::by_api)
    }

    /// None: nobody may.
    pub(in crate::b2bua) fn pause_terms(&self) -> Option<&PauseTerms> {
        if self.decision.verdict != Verdict::Record {
            return None;
        }
        self.decision.requirements.as_ref()?.pause.as_ref()
    }

    /// A key that a party pressed, as RFC 4733 or in an INFO. It crosses to the other party all the same.
    pub(in crate::b2bua) fn on_key(&mut self, turn: &mut Turn<'_>, leg: Leg, key: char) {
        if self.take_consent(turn, leg, key) {
            return;
        }
        let Some(requirements) = self.decision.requirements.as_ref() else {
            return;
        };
        let Some(terms) = requirements.pause.as_ref().filter(|terms| terms.heard()[leg.index()]) else {
            return;
        };
        if !self.pauses.keypads[leg.index()].press(turn.now, key, terms) {
            return;
        }
        let by = PausedBy::Keys { leg };
        if !self.resume_recording(turn, by)
            && let Err(error) = self.pause(turn, by, None)
        {
            tracing::warn!(session = %self.id, %error, "not paused");
        }
    }

    /// An INFO that is about the recording (`Record: off`, `Record: on`) is ours, where the policies let phones pause by it.
    /// Another may tell a key.
    pub(in crate::b2bua) fn on_record_info(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        server: ServerId,
        request: &Request,
    ) -> bool {
        if let Some(key) = key_in(request) {
            self.on_key(turn, side, key);
        }
        let Some(terms) = self.pause_terms().filter(|terms| terms.by_info()) else {
            return false;
        };
        let is_party = terms.is_party(side);
        let Some(word) = request.headers.get("Record").map(str::trim) else {
            return false;
        };
        let by = PausedBy::Info { leg: side };
        let done = match word {
            _ if !is_party => Err(PauseError::Forbidden),
            word if word.eq_ignore_ascii_case("off") => self.pause(turn, by, None),
            word if word.eq_ignore_ascii_case("on") => {
                self.resume_recording(turn, by);
                Ok(())
            }
            _ => return false,
        };
        match done {
            Ok(()) => turn.respond(self.line(side), server, Response::to(request, 200, None, None)),
            Err(_) => self.refuse_request(turn, side, server, request, &Refusal::NotPausable),
        }
        true
    }

    pub(in crate::b2bua) fn on_pause_over(&mut self, turn: &mut Turn<'_>) {
        self.resume_recording(turn, PausedBy::Timer);
    }

    /// The relay keeps nothing from `at` on.
    pub(in crate::b2bua) fn on_relay_paused(&mut self, turn: &mut Turn<'_>, at: Timestamp) {
        let (by, why) = self.pauses.asked.pop_front().unwrap_or((PausedBy::Operator, None));
        tracing::info!(session = %self.id, %by, "recording paused");
        self.chronicle.step(turn.now, StepKind::RecordingPaused(by), turn.out);
        self.chronicle.mark(at, Mark::RecordingPaused { by, why }, turn.out);
        self.pauses.confirmed = Some(at);
        self.publish(turn);
    }

    /// The relay keeps what arrives from `at` on.
    pub(in crate::b2bua) fn on_relay_unpaused(&mut self, turn: &mut Turn<'_>, at: Timestamp) {
        let (by, _) = self.pauses.asked.pop_front().unwrap_or((PausedBy::Operator, None));
        tracing::info!(session = %self.id, %by, "recording goes on");
        self.chronicle.withhold(self.is_paused());
        self.chronicle.step(turn.now, StepKind::RecordingResumed(by), turn.out);
        self.chronicle.mark(at, Mark::RecordingResumed { by }, turn.out);
        self.pauses.confirmed = None;
        self.publish(turn);
    }

    /// What holds now.
    pub(in crate::b2bua) fn pausing(&self) -> Pausing {
        let pauses = self.pause_terms().map(PauseTerms::heard).unwrap_or_default();
        Pausing {
            is_paused: self.is_paused(),
            withheld: self.withheld_lines(),
            keys: Leg::BOTH.map(|leg| pauses[leg.index()] || self.is_asked(leg)),
            asks: self.holds_apart(),
        }
    }

    /// Tells the relay what holds now, if that is news to it.
    pub(in crate::b2bua) fn renew_pausing(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.media, MediaState::Opening | MediaState::Open | MediaState::Moving) {
            return;
        }
        let pausing = self.pausing();
        if pausing != self.pauses.told {
            self.pauses.told = pausing;
            turn.media(MediaCommand::Pausing {
                session: self.id,
                pausing,
            });
        }
    }

    /// After every event: a call that may not be paused any more is not.
    pub(in crate::b2bua) fn review_pause(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Ending && self.pause_terms().is_none() {
            self.resume_recording(turn, PausedBy::Policy);
        }
    }

    /// It was paused when the process before ended: so it stays, for as long as was left.
    pub(in crate::b2bua) fn go_on_paused(
        &mut self,
        now: Timestamp,
        whole: Option<Timestamp>,
        lines: Option<(LineSet, Timestamp)>,
    ) {
        if let Some((lines, latest)) = lines {
            self.go_on_without(lines, latest);
        }
        if let Some(latest) = whole {
            self.begin_pause(latest, PausedBy::Restart, None);
            self.pauses.confirmed = Some(now);
        }
    }
}

/// The key that an INFO tells: `application/dtmf-relay` (`Signal=5`), `application/dtmf` (`5`).
pub fn key_in(request: &Request) -> Option<char> {
    let media_type = request.headers.get("Content-Type")?;
    let media_type = media_type.split(';').next()?.trim();
    let body = std::str::from_utf8(request.body.get(..request.body.len().min(256))?).ok()?;
    let key = if media_type.eq_ignore_ascii_case("application/dtmf-relay") {
        let signal = body.lines().find_map(|line| line.trim().strip_prefix("Signal"))?;
        signal.trim_start().strip_prefix('=')?.trim()
    } else if media_type.eq_ignore_ascii_case("application/dtmf") {
        body.trim()
    } else {
        return None;
    };
    let mut chars = key.chars();
    match (key, chars.next(), chars.next()) {
        ("10", ..) => Some('*'),
        ("11", ..) => Some('#'),
        (_, Some(key @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) => Some(key),
        _ => None,
    }
}
