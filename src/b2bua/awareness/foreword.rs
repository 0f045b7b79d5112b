//! A word before the call: the caller hears by a prompt that it will be recorded before anybody is asked to answer, as early media of ours.
//!
//! The 183 makes an early dialog of its own, which ends with the prompt: who answers later does so in another, with another answer
//! (RFC 3261 §12.1, §13.2.1). What the prompt cannot be told by, or too slowly, is told after the answer; it costs no call.

use std::sync::Arc;
use std::time::Duration;

use super::announce::lasting;
use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::dialog::LegState;
use crate::b2bua::ending::Farewell;
use crate::b2bua::invite::{RAck, names};
use crate::b2bua::recording::key_in;
use crate::b2bua::reject::Refusal;
use crate::b2bua::session::Agreement;
use crate::b2bua::state::{MediaState, Phase};
use crate::b2bua::turn::Turn;
use crate::model::{Clip, Consent, Leg, LegNotice, LinePlan, MediaCommand, NoticePlan, Recorded, Timestamp};
use crate::policy::{ConsentTerms, NotifyWhen, Silence};
use crate::sip::transaction::ServerId;
use crate::sip::{Method, Request, Response};

/// How much longer than it lasts a prompt may take: a caller may hold, or agree on keys first.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
const OPTION: &str = "100rel";

/// It is being said.
#[derive(Debug)]
pub(in crate::b2bua) struct Foreword {
    /// What was agreed before.
    begun: Agreement,
    /// All of it was heard, and whether A agrees is waited for.
    is_heard: bool,
}

/// The early dialog that our 183 made.
#[derive(Debug)]
pub(super) struct OwnDialog {
    tag: String,
    /// Of the newest request in it.
    cseq: u32,
    /// Of the 183, where it is reliable.
    rseq: Option<u32>,
    unacknowledged: Option<Box<Unacknowledged>>,
}

/// The 183 comes again until it is acknowledged (RFC 3262 §3).
#[derive(Debug)]
struct Unacknowledged {
    progress: Response,
    again_after: Duration,
    until: Timestamp,
}

impl Call {
    /// B waits: a word is being said, or begins now.
    pub(in crate::b2bua) fn says_foreword(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.announced.foreword.is_some() {
            return true;
        }
        let prompt = self.foreword(turn);
        self.announced.is_forewarned = true;
        let Some(prompt) = prompt else {
            return false;
        };
        let Some((answer, begun)) = self.negotiation.answer_for_us() else {
            return false;
        };
        let line = self.spoken_line();
        let Some((line, lasts)) = line.and_then(|line| lasting(&prompt, &line, Leg::A).map(|lasts| (line, lasts)))
        else {
            self.negotiation.begin_again(&begun);
            return false;
        };
        self.announced.foreword = Some(Foreword { begun, is_heard: false });
        if self.consent_terms().is_some() {
            self.note_consent(turn, Leg::A, Consent::Asked);
        }
        self.deadlines.clear(Wait::SetUp);
        self.deadlines.set(Wait::Foreword, turn.now + lasts + SLACK);
        self.renew_media(turn);
        self.say(turn, line, prompt);
        self.progress_by_us(turn, answer);
        true
    }

    /// What A is to be told before B is asked. Not where no answer of ours fits: A offers nothing.
    fn foreword(&self, turn: &Turn<'_>) -> Option<Arc<Clip>> {
        let wanted = self.decision.requirements.as_ref()?;
        let is_asked = wanted.notify.when == NotifyWhen::BeforeConnect && wanted.notify.mode.has_prompt();
        let is_due = is_asked && wanted.tells()[Leg::A.index()] && !self.announced.is_forewarned;
        let is_open = self.media == MediaState::Open && self.b.state == LegState::Idle;
        let is_recorded = self.mode() != Recorded::No && !self.decision.emergency;
        // Who is to come over from another call is not here yet.
        let is_there = matches!(self.a.state, LegState::Invited { .. });
        self.a
            .invite
            .as_ref()
            .filter(|_| is_due && is_open && is_recorded && is_there)?;
        let is_offered = self.negotiation.pending_by() == Some(Leg::A);
        self.prompt_for(turn, wanted, Leg::A).filter(|_| is_offered)
    }

    fn say(&self, turn: &mut Turn<'_>, line: LinePlan, prompt: Arc<Clip>) {
        let told = LegNotice {
            prompt: Some(prompt),
            tone: None,
        };
        self.tell_caller(turn, line, told);
    }

    /// What is left of it is not played into the call.
    fn hush_foreword(&self, turn: &mut Turn<'_>) {
        if let Some(line) = self.spoken_line() {
            self.tell_caller(turn, line, LegNotice::default());
        }
    }

    fn tell_caller(&self, turn: &mut Turn<'_>, line: LinePlan, told: LegNotice) {
        turn.media(MediaCommand::Notice(Box::new(NoticePlan {
            session: self.id,
            line,
            legs: [Some(told), None],
            parted: true,
        })));
    }

    fn progress_by_us(&mut self, turn: &mut Turn<'_>, answer: bytes::Bytes) {
        let (LegState::Invited { server }, Some(invite)) = (&self.a.state, &self.a.invite) else {
            return;
        };
        let tag = turn.wire.mint().tag();
        let mut progress = Response::to(invite, 183, None, Some(&tag));
        self.a.push_contact(&mut progress.headers);
        progress.set_body("application/sdp", answer);
        let is_asked = ["Supported", "Require"]
            .iter()
            .any(|header| names(&invite.headers, header, OPTION));
        // RFC 3262 §3: from 1 to 2**31 - 1, drawn anew.
        let rseq = is_asked.then(|| u32::try_from(turn.wire.mint().entropy() % (1 << 30)).unwrap_or_default() + 1);
        if let Some(rseq) = rseq {
            progress.headers.push("Require", OPTION);
            progress.headers.push("RSeq", rseq.to_string());
            self.deadlines.set(Wait::Acknowledged, turn.now + T1);
        }
        turn.respond(self.line(Leg::A), *server, progress.clone());
        let cseq = invite.headers.cseq().number;
        self.tags.push((tag.clone(), Leg::A));
        let unacknowledged = rseq.map(|_| {
            Box::new(Unacknowledged {
                progress,
                again_after: T1,
                until: turn.now + 64 * T1,
            })
        });
        self.announced.own_dialog = Some(OwnDialog {
            tag,
            cseq,
            rseq,
            unacknowledged,
        });
    }

    /// Our 183 was not acknowledged: again, until nobody hears it any more.
    pub(in crate::b2bua) fn on_unacknowledged(&mut self, turn: &mut Turn<'_>) {
        let is_said = self.announced.foreword.is_some();
        let (LegState::Invited { server }, Some(own)) = (&self.a.state, &mut self.announced.own_dialog) else {
            return;
        };
        let Some(waiting) = own
            .unacknowledged
            .as_mut()
            .filter(|waiting| is_said && turn.now < waiting.until)
        else {
            return;
        };
        waiting.again_after *= 2;
        let (progress, due) = (waiting.progress.clone(), turn.now + waiting.again_after);
        let server = *server;
        self.deadlines.set(Wait::Acknowledged, due);
        turn.respond(self.line(Leg::A), server, progress);
    }

    /// What A asks for in the early dialog of ours: to hang up (RFC 3261 §15), or a key. False: it names another.
    pub(in crate::b2bua) fn on_foreword_request(
        &mut self,
        turn: &mut Turn<'_>,
        server: ServerId,
        request: &Request,
    ) -> bool {
        let is_named = |own: &&mut OwnDialog| request.headers.to().tag() == Some(own.tag.as_str());
        let Some(own) = self.announced.own_dialog.as_mut().filter(is_named) else {
            return false;
        };
        let invite = self.a.invite.as_ref();
        let is_theirs = invite.is_some_and(|invite| invite.headers.from().tag() == request.headers.from().tag());
        let is_there = is_theirs && matches!(self.a.state, LegState::Invited { .. });
        let cseq = request.headers.cseq().number;
        let is_new = cseq > own.cseq;
        own.cseq = own.cseq.max(if is_there { cseq } else { 0 });
        let refusal = match (&request.method, key_in(request)) {
            _ if !is_there => Refusal::NoSuchDialog,
            _ if !is_new => Refusal::OutOfOrder,
            (Method::Bye, _) => {
                turn.respond(self.line(Leg::A), server, Response::to(request, 200, None, None));
                self.announced.own_dialog = None;
                // Who has others beside it, of phones that ring, has ended this one alone.
                if self.a.dialog.is_none() {
                    self.note_given_up(Leg::A);
                    self.cancel_by(
                        turn,
                        "BYE from A".to_owned(),
                        &Farewell::of(&self.crossing(Leg::A), request),
                    );
                }
                return true;
            }
            (Method::Prack, _) => {
                let is_ours = own.rseq.zip(RAck::of(&request.headers));
                let invited = invite.map(|invite| invite.headers.cseq().number);
                if is_ours.is_some_and(|(rseq, rack)| rack.names(rseq, invited)) {
                    own.unacknowledged = None;
                    self.deadlines.clear(Wait::Acknowledged);
                    // It would be another offer, and this dialog ends with the prompt.
                    let status = if request.body.is_empty() { 200 } else { 488 };
                    turn.respond(self.line(Leg::A), server, Response::to(request, status, None, None));
                    return true;
                }
                Refusal::NoSuchDialog
            }
            // What was agreed there stays as it is until the prompt is over.
            (Method::Update, _) => {
                turn.respond(self.line(Leg::A), server, Response::to(request, 488, None, None));
                return true;
            }
            (Method::Info, Some(key)) if self.announced.foreword.is_some() => {
                turn.respond(self.line(Leg::A), server, Response::to(request, 200, None, None));
                self.on_key(turn, Leg::A, key);
                return true;
            }
            _ => Refusal::NoSuchDialog,
        };
        self.refuse_request(turn, Leg::A, server, request, &refusal);
        true
    }

    /// A leg has heard all of a prompt.
    pub(super) fn on_prompted(&mut self, turn: &mut Turn<'_>, leg: Leg) {
        self.announced.prompted[leg.index()] = true;
        let within = self.consent_terms().unwrap_or_default().within;
        let is_asked = self.is_asked(leg);
        match (leg, &mut self.announced.foreword) {
            (Leg::A, Some(foreword)) if is_asked => {
                foreword.is_heard = true;
                self.deadlines.set(Wait::Foreword, turn.now + within);
            }
            (_, None) if is_asked => self.on_question_heard(turn, leg),
            (Leg::A, ..) => self.end_foreword(turn),
            (Leg::B, ..) => {}
        }
    }

    /// It was not heard to its end, or was not answered.
    pub(in crate::b2bua) fn on_foreword_due(&mut self, turn: &mut Turn<'_>) {
        let foreword = self.announced.foreword.as_ref();
        let is_heard = foreword.is_some_and(|foreword| foreword.is_heard);
        if !is_heard {
            self.hush_foreword(turn);
        }
        if !self.is_asked(Leg::A) {
            self.end_foreword(turn);
        } else if !is_heard {
            self.announced.consents[Leg::A.index()] = None;
            self.announced.refused[Leg::A.index()] = None;
            self.end_foreword(turn);
        } else {
            self.note_consent(turn, Leg::A, Consent::Unanswered);
            let refuses = |terms: ConsentTerms| terms.silence == Silence::Refuses;
            if self.consent_terms().is_some_and(refuses) {
                self.decline_recording(turn, Leg::A);
            } else {
                self.end_foreword(turn);
            }
        }
    }

    /// Who answers before the end hears the rest: what is played goes by A's agreement with us, which ends with it.
    pub(super) fn end_heard_foreword(&mut self, turn: &mut Turn<'_>) {
        if self
            .announced
            .foreword
            .as_ref()
            .is_some_and(|foreword| foreword.is_heard)
        {
            self.end_foreword(turn);
        }
    }

    /// It tells of a recording that will not be: who waits for its call hears no more of it.
    pub(super) fn cut_foreword(&mut self, turn: &mut Turn<'_>) {
        let foreword = self.announced.foreword.as_ref();
        if foreword.is_some_and(|foreword| !foreword.is_heard) {
            self.hush_foreword(turn);
        }
        self.end_foreword(turn);
    }

    /// B is asked, as if nothing had been said.
    pub(super) fn end_foreword(&mut self, turn: &mut Turn<'_>) {
        let Some(foreword) = self.announced.foreword.take() else {
            return;
        };
        self.deadlines.clear(Wait::Foreword);
        if self.phase == Phase::Preparing {
            self.negotiation.begin_again(&foreword.begun);
            self.renew_media(turn);
            self.proceed(turn);
        }
    }
}
