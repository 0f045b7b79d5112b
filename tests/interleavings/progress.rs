//! What comes of an INVITE: early dialogs, reliable provisionals and their PRACKs, and whatever final answers come.

use std::collections::BTreeSet;
use std::rc::Rc;

use onrecord::model::Timestamp;

use super::asking::Why;
use super::phone::{Alarm, Dialog, Phone, Stage};
use super::script::Rel100;
use super::session::Session;
use super::text::Heard;

impl Phone {
    /// The dialog that a response to our INVITE makes or belongs to.
    fn dialog_by(&mut self, (call, at): (usize, usize), heard: &Heard) -> usize {
        let known = self.dialogs.iter().position(|dialog| {
            dialog.call_id == heard.call_id && dialog.remote_tag == heard.to_tag && dialog.local_tag == heard.from_tag
        });
        if let Some(known) = known {
            return known;
        }
        let mut session = Session {
            offered: self.placings[call].offered.clone(),
            offered_lines: self.placings[call].lines,
            ..Session::default()
        };
        session.lines = self.placings[call].lines;
        self.dialogs.push(Dialog {
            call_id: heard.call_id.clone(),
            ours: heard.header("From").unwrap_or_default().to_owned(),
            theirs: heard.header("To").unwrap_or_default().to_owned(),
            local_tag: heard.from_tag.clone(),
            remote_tag: heard.to_tag.clone(),
            target: heard.contact().unwrap_or_default(),
            local_seq: self.asked[at].cseq,
            remote_seq: 0,
            stage: Stage::Early,
            session,
            is_caller: true,
            allowed: BTreeSet::new(),
            acts_left: self.nature.acts,
            retries: 3,
            rseq: 0,
            interval: None,
            refreshes: false,
            refreshed: 0,
        });
        if self
            .dialogs
            .iter()
            .filter(|dialog| dialog.call_id == heard.call_id && dialog.stage == Stage::Early)
            .count()
            > 1
        {
            self.seen.insert("several early dialogs at the caller");
        }
        self.dialogs.len() - 1
    }

    pub fn learn_allow(&mut self, dialog: usize, heard: &Heard) {
        let allowed: BTreeSet<String> = heard
            .all("Allow")
            .flat_map(|value| value.split(','))
            .map(|value| value.trim().to_owned())
            .collect();
        if !allowed.is_empty() {
            self.dialogs[dialog].allowed = allowed;
        }
    }

    pub fn on_progress(&mut self, now: Timestamp, (call, at): (usize, usize), heard: &Rc<Heard>) {
        let placing = &mut self.placings[call];
        if placing.cancel_wanted && placing.invite == Some(at) {
            placing.cancel_wanted = false;
            self.cancel(now, call);
        }
        if heard.status == 100 || self.asked[at].status != 0 {
            return;
        }
        if heard.to_tag.is_empty() {
            self.wrong(format!("has no To tag: {}", heard.told()));
            return;
        }
        let dialog = self.dialog_by((call, at), heard);
        if self.dialogs[dialog].stage != Stage::Early {
            return;
        }
        self.learn_allow(dialog, heard);
        let reliable = heard.lists("Require", "100rel");
        if let Some(sdp) = heard.sdp().filter(|_| !reliable) {
            self.seen.insert(if sdp.is_of_proxy() {
                "a word before the call"
            } else {
                "early media"
            });
            let verdict = self.dialogs[dialog].session.take_preview(&sdp, &heard.told());
            self.judge(verdict);
        }
        if reliable {
            self.acknowledge_provisional(now, at, dialog, heard);
        }
    }

    /// PRACK (RFC 3262 §4), which may bring an answer or an offer (§5).
    fn acknowledge_provisional(&mut self, now: Timestamp, at: usize, dialog: usize, heard: &Heard) {
        if self.nature.rel100 == Rel100::Unknown {
            self.wrong("a reliable 18x that it never asked for".to_owned());
            return;
        }
        let rseq: u32 = heard.header("RSeq").and_then(|rseq| rseq.parse().ok()).unwrap_or(0);
        let known = self.dialogs[dialog].rseq;
        if rseq == 0 || (known != 0 && rseq != known + 1) {
            return;
        }
        self.dialogs[dialog].rseq = rseq;
        let mut body = String::new();
        let mut offers = false;
        if let Some(sdp) = heard.sdp() {
            let by = heard.told();
            if self.dialogs[dialog].session.offered.is_some() {
                self.seen.insert("an answer in a reliable 18x");
                let verdict = self.dialogs[dialog].session.take_answer(&sdp, &by);
                self.judge(verdict);
            } else if !self.dialogs[dialog].session.agreed {
                self.seen.insert("an offer in a reliable 18x");
                let verdict = self.dialogs[dialog].session.take_offer(&sdp, &by);
                self.judge(verdict);
                self.dialogs[dialog].session.answered();
                body = self.answer_to(&sdp).write();
            }
        }
        let may_offer = self.dialogs[dialog].session.agreed && self.dialogs[dialog].session.is_idle();
        if body.is_empty() && may_offer && self.rng.one_in(4) {
            self.seen.insert("an offer in a PRACK");
            offers = true;
            let offer = self.offer(self.dialogs[dialog].session.lines, "sendrecv");
            self.dialogs[dialog].session.offers_by(&offer);
            body = offer.write();
        }
        let rack = format!("RAck: {rseq} {} INVITE\r\n", self.asked[at].cseq);
        self.ask_within(now, dialog, "PRACK", &rack, &body, Why::Prack { offers });
    }

    /// No call comes of it.
    pub fn on_call_failed(&mut self, now: Timestamp, call: usize, status: u16) {
        self.end_early_dialogs(now, call);
        self.on_placed(now, call, status);
    }

    fn end_early_dialogs(&mut self, now: Timestamp, call: usize) {
        for dialog in self.dialogs_of(call) {
            if self.dialogs[dialog].stage == Stage::Early {
                self.bury(now, dialog);
            }
        }
    }

    /// Who asked for this call is told what became of it.
    fn on_placed(&mut self, now: Timestamp, call: usize, status: u16) {
        if let Some(dialog) = self.placings[call].referred_in.take() {
            let wait = self.rng.millis(0..=50);
            self.alarm(now + wait, Alarm::Notify(dialog, Some(status)));
        }
    }

    pub fn on_call_answered(&mut self, now: Timestamp, (call, at): (usize, usize), heard: &Rc<Heard>, is_first: bool) {
        if heard.status >= 300 {
            if is_first {
                self.end_early_dialogs(now, call);
                if !self.on_refused(now, call, heard) {
                    self.on_placed(now, call, heard.status);
                }
            } else if ![heard.status, 408].contains(&self.asked[at].status) && !self.asked[at].forgotten {
                self.wrong(format!("{} after {}", heard.told(), self.asked[at].status));
            }
            return;
        }
        if self.asked[at].acks.iter().any(|(tag, _)| *tag == heard.to_tag) {
            self.repeat_ack(at, heard);
            return;
        }
        let dialog = self.dialog_by((call, at), heard);
        if matches!(self.dialogs[dialog].stage, Stage::Confirmed | Stage::Accepted) {
            return;
        }
        let mut others = self.dialogs_of(call).into_iter();
        let is_second = others.any(|other| self.dialogs[other].stage == Stage::Confirmed);
        let unwanted = self.asked[at].cancelled || self.placings[call].cancel_wanted || is_second || !is_first;
        let leaving = self.dialogs[dialog].stage == Stage::Leaving;
        let over = self.dialogs[dialog].stage == Stage::Over && is_first && !unwanted;
        if let Some(target) = heard.contact() {
            self.dialogs[dialog].target = target;
        }
        self.learn_allow(dialog, heard);
        let body = self.settle_session(dialog, heard);
        self.acknowledge(at, dialog, &body);
        if !leaving && !over {
            self.dialogs[dialog].stage = Stage::Confirmed;
        }
        if is_first {
            self.end_early_dialogs(now, call);
            self.on_placed(now, call, heard.status);
        }
        if leaving || over {
            return;
        }
        if unwanted {
            self.seen.insert(if is_second {
                "a second 2xx at the caller"
            } else {
                "a 2xx crossed a CANCEL at the caller"
            });
            self.hang_up(now, dialog);
            return;
        }
        self.learn_timer(now, dialog, heard, true);
        self.on_confirmed(now, dialog);
    }

    /// What the 2xx brings; the body of its ACK.
    fn settle_session(&mut self, dialog: usize, heard: &Heard) -> String {
        let (by, sdp) = (heard.told(), heard.sdp());
        let session = &mut self.dialogs[dialog].session;
        if session.agreed {
            // Whatever it says was said before (RFC 3261 §13.2.1); an offer of ours that waits is an UPDATE's or PRACK's.
            return String::new();
        }
        match (session.offered.is_some(), sdp) {
            (true, Some(sdp)) => {
                let differs = session.previewed.as_ref().is_some_and(|preview| *preview != sdp.serial);
                let verdict = session.take_answer(&sdp, &by);
                self.judge(verdict);
                if differs {
                    self.wrong(format!("an answer other than its preview: {by}"));
                }
            }
            (true, None) => self.wrong(format!("has no answer to an offer: {by}")),
            (false, Some(sdp)) => {
                let verdict = session.take_offer(&sdp, &by);
                session.answered();
                self.judge(verdict);
                self.seen.insert("a late offer");
                return self.answer_to(&sdp).write();
            }
            (false, None) => self.wrong(format!("has no offer although nothing was offered: {by}")),
        }
        String::new()
    }
}
