//! A phone's client transactions (RFC 3261 §17.1): sent again until answered, and what their answers mean.

use std::rc::Rc;
use std::time::Duration;

use onrecord::model::{Timestamp, earliest};

use super::phone::{Alarm, GIVE_UP, Phone, Stage, T1, T2};
use super::text::Heard;

/// What a request is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// A call that it places.
    Call(usize),
    Cancel,
    Bye,
    /// Whether it offers.
    Prack {
        offers: bool,
    },
    /// A re-INVITE or UPDATE; whether it offers; whether it holds.
    Change {
        invite: bool,
        offers: bool,
        holds: bool,
    },
    /// A re-INVITE that no RFC allows now.
    Haste,
    /// A subscription, or its refresh.
    Watch,
    /// What needs only an answer.
    Pass,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub branch: String,
    pub method: &'static str,
    pub cseq: u32,
    pub text: String,
    pub dialog: Option<usize>,
    pub why: Why,
    /// When it is sent again, and after how long then.
    again: Option<(Timestamp, Duration)>,
    /// When it counts as unanswered.
    give_up: Option<Timestamp>,
    pub rung: bool,
    pub status: u16,
    /// By the other side's tag: the ACK that was sent.
    pub acks: Vec<(String, String)>,
    pub cancelled: bool,
    /// Who it was sent to was killed: a late copy is new to the next process, which may answer otherwise.
    pub forgotten: bool,
}

impl Asked {
    pub const fn is_call(&self) -> bool {
        matches!(self.why, Why::Call(_))
    }

    pub fn due(&self) -> Option<Timestamp> {
        earliest(self.again.map(|(at, _)| at), self.give_up)
    }

    /// Nothing more is sent of its own accord; its final answer is awaited for so long.
    pub fn settle(&mut self, give_up: Option<Timestamp>) {
        self.again = None;
        self.give_up = give_up;
    }
}

impl Phone {
    /// Sends a request and sees to its answer.
    pub fn ask(
        &mut self,
        now: Timestamp,
        dialog: Option<usize>,
        asked: (&'static str, u32, String),
        branch: String,
        why: Why,
    ) -> usize {
        let (method, cseq, text) = asked;
        self.out.push(text.clone());
        // A connection sends again itself.
        let again = (!self.by_stream).then_some((now + T1, T1));
        self.asked.push(Asked {
            branch,
            method,
            cseq,
            text,
            dialog,
            why,
            again,
            give_up: Some(now + GIVE_UP),
            rung: false,
            status: 0,
            acks: Vec::new(),
            cancelled: false,
            forgotten: false,
        });
        self.asked.len() - 1
    }

    /// A request inside a dialog.
    pub fn ask_within(&mut self, now: Timestamp, at: usize, method: &'static str, more: &str, body: &str, why: Why) {
        self.dialogs[at].local_seq += 1;
        let (branch, cseq) = (self.mint_branch(), self.dialogs[at].local_seq);
        let text = self.write_request(method, &self.dialogs[at], cseq, &branch, more, body);
        self.ask(now, Some(at), (method, cseq, text), branch, why);
    }

    pub fn ask_again(&mut self, now: Timestamp) {
        for at in 0..self.asked.len() {
            let asked = &mut self.asked[at];
            if asked.give_up.is_some_and(|give_up| give_up <= now) {
                asked.settle(None);
                if asked.status == 0 {
                    asked.status = 408;
                    self.on_unanswered(now, at);
                }
            } else if let Some((_, interval)) = asked.again.filter(|(due, _)| *due <= now) {
                let limit = if asked.method == "INVITE" { GIVE_UP } else { T2 };
                let interval = (interval * 2).min(limit);
                asked.again = Some((now + interval, interval));
                self.out.push(asked.text.clone());
            }
        }
    }

    fn on_unanswered(&mut self, now: Timestamp, at: usize) {
        let (dialog, why) = (self.asked[at].dialog, self.asked[at].why);
        match (why, dialog) {
            (Why::Call(call), _) => self.on_call_failed(now, call, 408),
            (Why::Bye, Some(dialog)) => self.bury(now, dialog),
            (Why::Change { .. }, Some(dialog)) => self.on_change_failed(now, dialog, why, 408),
            (Why::Prack { .. }, Some(dialog)) => self.give_up_call(now, dialog),
            (Why::Watch, Some(dialog)) => self.bury(now, dialog),
            _ => {}
        }
    }

    pub fn on_response(&mut self, now: Timestamp, heard: &Rc<Heard>) {
        let asked = self
            .asked
            .iter()
            .position(|asked| asked.branch == heard.branch && asked.method == heard.cseq_method);
        let Some(at) = asked else {
            self.wrong(format!("answers nothing that it asked: {}", heard.told()));
            return;
        };
        if heard.status < 200 {
            self.on_provisional(now, at, heard);
            return;
        }
        if self.asked[at].method == "INVITE" && heard.status >= 300 {
            self.acknowledge_failure(at, heard);
        }
        if self.asked[at].status != 0 && !self.asked[at].is_call() {
            self.repeat_ack(at, heard);
            return;
        }
        let is_first = self.asked[at].status == 0;
        self.asked[at].settle(None);
        if is_first {
            self.asked[at].status = heard.status;
        }
        let (why, dialog) = (self.asked[at].why, self.asked[at].dialog);
        match (why, dialog) {
            (Why::Call(call), _) => self.on_call_answered(now, (call, at), heard, is_first),
            (Why::Bye, Some(dialog)) => self.bury(now, dialog),
            (Why::Change { .. }, Some(dialog)) => self.on_change_answered(now, at, dialog, heard),
            (Why::Prack { offers }, Some(dialog)) => self.on_prack_answered(dialog, offers, heard),
            (Why::Haste, Some(dialog)) => self.on_haste_answered(now, at, dialog, heard),
            (Why::Watch, Some(dialog)) => self.on_watch_answered(now, dialog, heard),
            (Why::Pass, Some(dialog)) if heard.status == 481 && !subscribes(self.asked[at].method) => {
                self.on_gone(now, dialog);
            }
            _ => {}
        }
    }

    fn on_provisional(&mut self, now: Timestamp, at: usize, heard: &Rc<Heard>) {
        let asked = &mut self.asked[at];
        asked.rung = true;
        if asked.method == "INVITE" && asked.status == 0 {
            // A CANCEL set a limit that stays.
            let limit = asked.give_up.filter(|_| asked.cancelled);
            asked.settle(limit);
        }
        if let Why::Call(call) = asked.why {
            self.on_progress(now, (call, at), heard);
        }
    }

    /// The ACK to a refusal: part of the transaction (RFC 3261 §17.1.1.3).
    fn acknowledge_failure(&mut self, at: usize, heard: &Heard) {
        let asked = &self.asked[at];
        let line = |name: &str| {
            asked
                .text
                .split("\r\n")
                .find(|line| line.starts_with(name))
                .unwrap_or_default()
        };
        let uri = asked.text.split(' ').nth(1).unwrap_or_default();
        let (via, from, call_id) = (line("Via:"), line("From:"), line("Call-ID:"));
        let (to, cseq) = (heard.header("To").unwrap_or_default(), asked.cseq);
        self.out.push(format!(
            "ACK {uri} SIP/2.0\r\n{via}\r\nMax-Forwards: 70\r\n{from}\r\nTo: {to}\r\n{call_id}\r\nCSeq: {cseq} ACK\r\n\
             Content-Length: 0\r\n\r\n"
        ));
    }

    /// A 2xx that comes again gets its ACK again (RFC 3261 §13.2.2.4).
    pub fn repeat_ack(&mut self, at: usize, heard: &Heard) {
        let ack = self.asked[at].acks.iter().find(|(tag, _)| *tag == heard.to_tag);
        let mute = self.nature.mute_acks && self.asked[at].is_call();
        if let Some((_, ack)) = ack.filter(|_| heard.status < 300 && !mute) {
            self.out.push(ack.clone());
        }
    }

    /// The ACK to a 2xx: a request of its own.
    pub fn acknowledge(&mut self, at: usize, dialog: usize, body: &str) {
        let (branch, cseq) = (self.mint_branch(), self.asked[at].cseq);
        let text = self.write_request("ACK", &self.dialogs[dialog], cseq, &branch, "", body);
        let tag = self.dialogs[dialog].remote_tag.clone();
        if self.nature.mute_acks && self.asked[at].is_call() {
            self.seen.insert("no ACK");
        } else {
            self.out.push(text.clone());
        }
        self.asked[at].acks.push((tag, text));
    }

    pub fn on_change_failed(&mut self, now: Timestamp, at: usize, why: Why, status: u16) {
        if matches!(why, Why::Change { offers: true, .. }) {
            self.dialogs[at].session.offered = None;
        }
        match status {
            408 => self.hang_up(now, at),
            481 => self.on_gone(now, at),
            491 | 500 if self.dialogs[at].retries > 0 => {
                self.seen.insert(if status == 491 {
                    "491 tried again"
                } else {
                    "500 tried again"
                });
                self.dialogs[at].retries -= 1;
                // RFC 3261 §14.1: who made the Call-ID waits longer.
                let wait = if self.dialogs[at].is_caller {
                    self.rng.millis(2_100..=4_000)
                } else {
                    self.rng.millis(0..=2_000)
                };
                self.alarm(now + wait, Alarm::Again(at, why));
            }
            _ => {}
        }
    }

    /// The other side does not know the dialog (RFC 5057 §5.1): it is over, nothing more is said.
    pub fn on_gone(&mut self, now: Timestamp, at: usize) {
        if matches!(self.dialogs[at].stage, Stage::Confirmed | Stage::Accepted) {
            self.seen.insert("a 481 ended a dialog");
            self.bury(now, at);
        }
    }

    fn on_change_answered(&mut self, now: Timestamp, at: usize, dialog: usize, heard: &Rc<Heard>) {
        let why = self.asked[at].why;
        let Why::Change { invite, offers, .. } = why else {
            return;
        };
        if heard.status >= 300 {
            self.on_change_failed(now, dialog, why, heard.status);
            if heard.status == 422 {
                self.lengthen(now, dialog, why, heard);
            }
            return;
        }
        self.seen.insert(if invite {
            "a re-INVITE answered"
        } else {
            "an UPDATE answered"
        });
        if let Some(target) = heard.contact() {
            self.dialogs[dialog].target = target;
        }
        self.learn_timer(now, dialog, heard, true);
        let by = heard.told();
        let sdp = heard.sdp();
        let mut body = String::new();
        match (offers, sdp) {
            (true, Some(sdp)) => {
                let verdict = self.dialogs[dialog].session.take_answer(&sdp, &by);
                self.judge(verdict);
            }
            (true, None) => {
                self.dialogs[dialog].session.offered = None;
                self.wrong(format!("has no answer to an offer: {by}"));
            }
            (false, Some(sdp)) if invite => {
                let verdict = self.dialogs[dialog].session.take_offer(&sdp, &by);
                self.judge(verdict);
                self.dialogs[dialog].session.owed = None;
                let answer = self.answer_to(&sdp);
                self.dialogs[dialog].session.lines = sdp.ports.len();
                body = answer.write();
                self.seen.insert("an offer in a 2xx to a re-INVITE");
            }
            (false, Some(_)) => self.wrong(format!("answers an UPDATE that offered nothing: {by}")),
            (false, None) if invite => self.wrong(format!("has no offer although nothing was offered: {by}")),
            (false, None) => {}
        }
        if invite {
            self.acknowledge(at, dialog, &body);
        }
    }

    fn on_prack_answered(&mut self, dialog: usize, offers: bool, heard: &Rc<Heard>) {
        if self.dialogs[dialog].stage == Stage::Over {
            return;
        }
        if heard.status >= 300 {
            if offers {
                self.dialogs[dialog].session.offered = None;
            }
            return;
        }
        self.seen.insert("a PRACK answered");
        if let Some(sdp) = heard.sdp() {
            let verdict = self.dialogs[dialog].session.take_answer(&sdp, &heard.told());
            self.judge(verdict);
        }
    }
}

/// A 481 to it may mean the subscription alone (RFC 6665 §4.1.2.2): the call is not given up for it.
fn subscribes(method: &str) -> bool {
    matches!(method, "SUBSCRIBE" | "NOTIFY" | "REFER")
}
