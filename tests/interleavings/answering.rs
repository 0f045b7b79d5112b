//! A phone's server transactions (RFC 3261 §17.2): answered once, the answer sent again as long as it has to be.

use std::rc::Rc;
use std::time::Duration;

use onrecord::model::Timestamp;

use super::phone::{Alarm, GIVE_UP, Phone, Stage, T1, T2};
use super::text::{Heard, response};

#[derive(Clone, Debug)]
pub struct Answering {
    pub request: Rc<Heard>,
    pub dialog: Option<usize>,
    /// What a copy of the request gets.
    pub last: Option<String>,
    /// 0 until it was answered for good.
    pub status: u16,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Until {
    /// The ACK to the refusal of the INVITE with that branch.
    Refused(String),
    /// The ACK to a 2xx: its dialog, the INVITE's CSeq.
    Accepted(usize, u32),
    /// The PRACK of a reliable provisional: fork of an INVITE, RSeq.
    Pracked(usize, usize, u32),
}

/// A response that is sent again until it is acknowledged.
#[derive(Clone, Debug)]
pub struct Repeat {
    pub until: Until,
    text: String,
    at: Timestamp,
    interval: Duration,
    give_up: Timestamp,
}

impl Repeat {
    pub fn due(&self) -> Timestamp {
        self.at.min(self.give_up)
    }
}

impl Phone {
    pub fn on_request(&mut self, now: Timestamp, heard: &Rc<Heard>) {
        if heard.method == "ACK" {
            self.on_ack(now, heard);
            return;
        }
        let known = self
            .answering
            .iter()
            .find(|known| known.request.branch == heard.branch && known.request.method == heard.method);
        if let Some(known) = known {
            self.out.extend(known.last.clone());
            return;
        }
        let dialog = self.dialog_of(heard).or_else(|| self.watch_of(heard));
        self.answering.push(Answering {
            request: Rc::clone(heard),
            dialog,
            last: None,
            status: 0,
        });
        let at = self.answering.len() - 1;
        match (heard.method.as_str(), heard.to_tag.is_empty()) {
            ("CANCEL", _) => self.on_cancel(now, at),
            _ if self.doubts(now, at) => {}
            ("INVITE", true) => self.on_invite(now, at),
            ("SUBSCRIBE", true) => self.on_subscribe(now, at),
            (_, true) => self.answer(now, at, 200, "", ""),
            _ => self.on_request_within(now, at, dialog),
        }
    }

    fn on_request_within(&mut self, now: Timestamp, at: usize, dialog: Option<usize>) {
        let heard = Rc::clone(&self.answering[at].request);
        let Some(dialog) = dialog.filter(|dialog| self.dialogs[*dialog].stage != Stage::Over) else {
            self.answer(now, at, 481, "", "");
            return;
        };
        if heard.cseq <= self.dialogs[dialog].remote_seq {
            // Overtaken by a later one (RFC 3261 §12.2.2).
            self.seen.insert("a request was overtaken");
            self.answer(now, at, 500, "", "");
            return;
        }
        self.dialogs[dialog].remote_seq = heard.cseq;
        if !self.contact().contains(&heard.uri) {
            self.wrong(format!("{} goes to {}", heard.told(), heard.uri));
        }
        match heard.method.as_str() {
            "BYE" => self.on_bye(now, at, dialog),
            "INVITE" => self.on_invite_again(now, at, dialog),
            "UPDATE" => self.on_update(now, at, dialog),
            "PRACK" => self.on_prack(now, at, dialog),
            "REFER" => self.on_refer(now, at, dialog),
            "SUBSCRIBE" => self.on_subscribed(now, at, dialog),
            "NOTIFY" if self.dialogs[dialog].stage == Stage::Watching => self.on_watch_notified(now, at, dialog),
            _ => {
                self.on_notified(now, dialog, &heard);
                self.seen.insert(match heard.method.as_str() {
                    "INFO" => "an INFO crossed",
                    "NOTIFY" => "a NOTIFY crossed",
                    _ => "another request crossed",
                });
                self.answer(now, at, 200, "", "");
            }
        }
    }

    /// Answers in the transaction; a final answer to an INVITE is sent again until its ACK.
    pub fn answer(&mut self, now: Timestamp, at: usize, status: u16, more: &str, body: &str) {
        let known = &self.answering[at];
        let tag = known
            .dialog
            .map_or("none", |dialog| self.dialogs[dialog].local_tag.as_str());
        let text = response(&known.request, status, tag, more, body);
        let repeated = (known.request.method == "INVITE" && status >= 200).then(|| match known.dialog {
            Some(dialog) if status < 300 => Until::Accepted(dialog, known.request.cseq),
            _ => Until::Refused(known.request.branch.clone()),
        });
        self.out.push(text.clone());
        if let Some(until) = repeated {
            self.repeat(now, until, text.clone());
        }
        let known = &mut self.answering[at];
        if status >= 200 {
            known.status = status;
        }
        // A 2xx to an INVITE is the core's to send again, not the transaction's (RFC 6026 §7.1).
        known.last = (known.request.method != "INVITE" || !(200..300).contains(&status)).then_some(text);
    }

    pub fn repeat(&mut self, now: Timestamp, until: Until, text: String) {
        self.repeats.push(Repeat {
            until,
            text,
            at: now + T1,
            interval: T1,
            give_up: now + GIVE_UP,
        });
    }

    pub fn repeat_answers(&mut self, now: Timestamp) {
        let mut at = 0;
        while at < self.repeats.len() {
            let repeat = &mut self.repeats[at];
            if repeat.give_up <= now {
                let until = self.repeats.swap_remove(at).until;
                self.on_unacknowledged(now, until);
                continue;
            }
            if repeat.at <= now {
                let is_reliable = matches!(repeat.until, Until::Pracked(..));
                repeat.interval = if is_reliable {
                    repeat.interval * 2
                } else {
                    (repeat.interval * 2).min(T2)
                };
                repeat.at = now + repeat.interval;
                self.out.push(repeat.text.clone());
            }
            at += 1;
        }
    }

    fn on_unacknowledged(&mut self, now: Timestamp, until: Until) {
        match until {
            // RFC 3261 §13.3.1.4: the session is ended, BYE and all.
            Until::Accepted(dialog, _) => {
                if matches!(self.dialogs[dialog].stage, Stage::Accepted | Stage::Confirmed) {
                    self.seen.insert("a 2xx was never acknowledged");
                    self.dialogs[dialog].stage = Stage::Confirmed;
                    self.hang_up(now, dialog);
                }
            }
            Until::Pracked(invited, fork, _) => self.reject_fork(now, invited, fork, 504),
            Until::Refused(_) => {}
        }
    }

    fn on_ack(&mut self, now: Timestamp, heard: &Rc<Heard>) {
        self.repeats
            .retain(|repeat| repeat.until != Until::Refused(heard.branch.clone()));
        let Some(dialog) = self.dialog_of(heard) else { return };
        let until = Until::Accepted(dialog, heard.cseq);
        let Some(at) = self.repeats.iter().position(|repeat| repeat.until == until) else {
            return;
        };
        self.repeats.swap_remove(at);
        let by = heard.told();
        let asked = self.dialogs[dialog]
            .session
            .asked_by
            .take_if(|cseq| *cseq == heard.cseq)
            .is_some();
        match (heard.sdp(), asked) {
            (Some(sdp), true) if self.dialogs[dialog].session.is_declined(&sdp) => {
                self.dialogs[dialog].session.offered = None;
                self.seen.insert("an offer in a 2xx declined");
            }
            (Some(sdp), _) => {
                let verdict = self.dialogs[dialog].session.take_answer(&sdp, &by);
                self.judge(verdict);
            }
            // The proxy may acknowledge only to say BYE (RFC 3261 §13.2.2.4): then there is none.
            (None, true) => {
                self.dialogs[dialog].session.offered = None;
                self.seen.insert("an ACK without an answer");
            }
            (None, false) => {}
        }
        if self.dialogs[dialog].stage == Stage::Accepted {
            self.on_confirmed(now, dialog);
        }
    }

    fn on_bye(&mut self, now: Timestamp, at: usize, dialog: usize) {
        self.answer(now, at, 200, "", "");
        let crosses = self.dialogs[dialog].stage == Stage::Leaving;
        self.seen.insert(if crosses { "BYEs crossed" } else { "a BYE crossed" });
        if self.dialogs[dialog].stage == Stage::Early {
            self.fork_ends(now, dialog);
        }
        self.repeats
            .retain(|repeat| !matches!(repeat.until, Until::Accepted(of, _) if of == dialog));
        if !crosses {
            self.bury(now, dialog);
        }
    }

    /// Requests of the other side that wait in a dialog get this (RFC 3261 §15.1.2).
    pub fn refuse_pending(&mut self, now: Timestamp, dialog: usize, status: u16) {
        for at in 0..self.answering.len() {
            let known = &self.answering[at];
            if known.dialog == Some(dialog) && known.status == 0 && !known.request.to_tag.is_empty() {
                self.answer(now, at, status, "", "");
            }
        }
    }

    /// A re-INVITE that waits for our answer.
    pub fn pending_invite(&self, dialog: usize) -> bool {
        self.answering.iter().any(|known| {
            known.dialog == Some(dialog)
                && known.status == 0
                && known.request.method == "INVITE"
                && !known.request.to_tag.is_empty()
        })
    }

    fn on_cancel(&mut self, now: Timestamp, at: usize) {
        let branch = self.answering[at].request.branch.clone();
        let invite = self
            .answering
            .iter()
            .position(|known| known.request.method == "INVITE" && known.request.branch == branch);
        let Some(invite) = invite else {
            self.answer(now, at, 481, "", "");
            return;
        };
        self.answer(now, at, 200, "", "");
        if self.answering[invite].request.to_tag.is_empty() {
            self.on_call_cancelled(now, invite);
        } else if self.answering[invite].status == 0 {
            self.seen.insert("a re-INVITE was cancelled");
            if let Some(dialog) = self.answering[invite].dialog {
                self.dialogs[dialog].session.owed = None;
            }
            self.answer(now, invite, 487, "", "");
        }
    }

    fn on_invite_again(&mut self, now: Timestamp, at: usize, dialog: usize) {
        let heard = Rc::clone(&self.answering[at].request);
        let ours = self
            .asked
            .iter()
            .any(|asked| asked.dialog == Some(dialog) && asked.method == "INVITE" && asked.status == 0);
        let theirs = self.answering.iter().enumerate().any(|(other, known)| {
            other != at
                && known.dialog == Some(dialog)
                && known.status == 0
                && known.request.method == "INVITE"
                && !known.request.to_tag.is_empty()
        });
        let stage = self.dialogs[dialog].stage;
        if self.refuses_interval(now, at) {
            return;
        }
        if theirs {
            self.answer(now, at, 500, "Retry-After: 1\r\n", "");
        } else if ours
            || !self.dialogs[dialog].session.is_idle()
            || !matches!(stage, Stage::Confirmed | Stage::Accepted)
        {
            self.seen.insert("a re-INVITE was glare at a phone");
            self.answer(now, at, 491, "", "");
        } else {
            if let Some(sdp) = heard.sdp() {
                // What another party answered is its offer here (RFC 3725 §4), and so is what answers an offer of ours anew.
                if self.exchangeable || sdp.answers.starts_with(&self.seat.to_string()) {
                    self.dialogs[dialog].session.offers.push(sdp.answers.clone());
                }
                let verdict = self.dialogs[dialog].session.take_offer(&sdp, &heard.told());
                self.judge(verdict);
            }
            if self.nature.slow {
                let (status, wait) = (*self.rng.pick(&[100, 180]), self.rng.millis(0..=1_500));
                self.answer(now, at, status, "", "");
                self.alarm(now + wait, Alarm::AnswerAgain(at));
            } else {
                self.answer_again(now, at);
            }
        }
    }

    pub fn answer_again(&mut self, now: Timestamp, at: usize) {
        let (Some(dialog), 0) = (self.answering[at].dialog, self.answering[at].status) else {
            return;
        };
        let heard = Rc::clone(&self.answering[at].request);
        if self.rng.happens(self.nature.declines) {
            self.dialogs[dialog].session.owed = None;
            let status = *self.rng.pick(&[488, 488, 603, 500]);
            self.answer(now, at, status, "", "");
            return;
        }
        if let Some(target) = heard.contact() {
            self.dialogs[dialog].target = target;
        }
        let sdp = match self.dialogs[dialog].session.owed.clone() {
            Some(offer) => {
                self.dialogs[dialog].session.answered();
                self.answer_to(&offer)
            }
            None => {
                let offer = self.offer(self.dialogs[dialog].session.lines, "sendrecv");
                self.dialogs[dialog].session.offers_by(&offer);
                self.dialogs[dialog].session.asked_by = Some(heard.cseq);
                offer
            }
        };
        let more = self.abilities() + &self.timer_answer(now, dialog, &heard);
        self.answer(now, at, 200, &more, &sdp.write());
    }

    fn on_update(&mut self, now: Timestamp, at: usize, dialog: usize) {
        let heard = Rc::clone(&self.answering[at].request);
        let sdp = heard.sdp();
        if self.refuses_interval(now, at) {
            return;
        }
        let session = &self.dialogs[dialog].session;
        if sdp.is_some() && session.owed.is_some() {
            self.answer(now, at, 500, "Retry-After: 1\r\n", "");
            return;
        }
        if sdp.is_some() && session.offered.is_some() {
            self.seen.insert("an UPDATE was glare at a phone");
            self.answer(now, at, 491, "", "");
            return;
        }
        if let Some(target) = heard.contact() {
            self.dialogs[dialog].target = target;
        }
        self.seen.insert(match (self.dialogs[dialog].stage, sdp.is_some()) {
            (Stage::Early, false) => "an early UPDATE crossed",
            (Stage::Early, true) => "an early UPDATE with an offer crossed",
            (_, false) => "an UPDATE crossed",
            (_, true) => "an UPDATE with an offer crossed",
        });
        let more = self.abilities() + &self.timer_answer(now, dialog, &heard);
        let Some(sdp) = sdp else {
            self.answer(now, at, 200, &more, "");
            return;
        };
        if self.rng.happens(self.nature.declines) {
            self.answer(now, at, 488, "", "");
            return;
        }
        let verdict = self.dialogs[dialog].session.take_offer(&sdp, &heard.told());
        self.judge(verdict);
        self.dialogs[dialog].session.answered();
        let answer = self.answer_to(&sdp);
        self.answer(now, at, 200, &more, &answer.write());
    }
}
