//! The way into a call as a caller: INVITE, early dialogs, PRACK, CANCEL, and whatever final answers come.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use onrecord::model::Timestamp;

use super::asking::Why;
use super::phone::{Alarm, Dialog, GIVE_UP, PROXY, Phone, Stage};
use super::script::{Calling, Rel100};
use super::session::Session;
use super::text::{Heard, finish};

/// Nobody waits for an answer longer.
const PATIENCE: Duration = Duration::from_secs(280);
/// INVITEs that one caller sends at most: credentials, a redirection, an extension less.
const ATTEMPTS_MAX: u32 = 4;

#[derive(Clone, Debug)]
pub struct Placing {
    pub calling: Calling,
    call_id: String,
    tag: String,
    cseq: u32,
    attempts: u32,
    user: String,
    /// Header lines that an answer asked for.
    more: String,
    /// The newest INVITE.
    invite: Option<usize>,
    offered: Option<String>,
    lines: usize,
    cancel_wanted: bool,
}

impl Placing {
    pub fn new(calling: Calling, seed: u64) -> Self {
        Self {
            calling,
            call_id: format!("c{seed:x}"),
            tag: "atag".to_owned(),
            cseq: 0,
            attempts: 0,
            user: "bob".to_owned(),
            more: String::new(),
            invite: None,
            offered: None,
            lines: 0,
            cancel_wanted: false,
        }
    }
}

impl Phone {
    /// Everything that the caller's owner plans.
    pub fn plan(&mut self, start: Timestamp) {
        self.alarm(start, Alarm::Place);
        self.alarm(start + PATIENCE, Alarm::Cancel);
        let calling = self.placing.calling.clone();
        let plans = [
            (calling.cancel_at, Alarm::Cancel),
            (calling.bye_early_at, Alarm::ByeEarly),
            (calling.update_early_at, Alarm::UpdateEarly),
            (calling.outside_at, Alarm::Outside),
        ];
        for (at, alarm) in plans {
            if let Some(at) = at {
                self.alarm(start + at, alarm);
            }
        }
        self.find_due();
    }

    pub fn place(&mut self, now: Timestamp) {
        self.placing.attempts += 1;
        self.placing.cseq += 1 + self.rng.below(3) as u32;
        let branch = self.mint_branch();
        let sdp = (!self.placing.calling.late_offer).then(|| {
            let lines = if self.rng.one_in(8) { 2 } else { 1 };
            self.offer(lines, "sendrecv")
        });
        self.placing.offered = sdp.as_ref().map(|sdp| sdp.serial.clone());
        self.placing.lines = sdp.as_ref().map_or(0, |sdp| sdp.ports.len());
        let Placing {
            call_id,
            tag,
            cseq,
            user,
            more,
            ..
        } = &self.placing;
        let (cseq, user) = (*cseq, user.clone());
        let mut text = format!(
            "INVITE sip:{user}@{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@example.com>;tag={tag}\r\nTo: <sip:bob@example.com>\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} INVITE\r\n{}{more}",
            self.address,
            self.abilities()
        );
        if self.nature.rel100 == Rel100::Required {
            text += "Require: 100rel\r\n";
        }
        if let Some(interval) = self.nature.timer {
            text += &format!("Session-Expires: {interval}\r\n");
        }
        let text = finish(text, &sdp.map(|sdp| sdp.write()).unwrap_or_default());
        self.placing.invite = Some(self.ask(now, None, ("INVITE", cseq, text), branch, Why::Call));
    }

    pub fn cancel(&mut self, now: Timestamp) {
        let Some(at) = self.placing.invite.filter(|at| self.asked[*at].status == 0) else {
            // Too late to cancel: an owner who wants no call hangs up.
            if self.dialogs.iter().any(|dialog| dialog.stage == Stage::Confirmed) {
                self.seen.insert("a CANCEL came too late to be sent");
            }
            for dialog in 0..self.dialogs.len() {
                self.hang_up(now, dialog);
            }
            return;
        };
        if !self.asked[at].rung {
            self.placing.cancel_wanted = true;
            return;
        }
        if self.asked[at].cancelled {
            return;
        }
        self.asked[at].cancelled = true;
        self.asked[at].settle(Some(now + GIVE_UP));
        self.seen.insert("a CANCEL was sent");
        let asked = &self.asked[at];
        let line = |name: &str| {
            asked
                .text
                .split("\r\n")
                .find(|line| line.starts_with(name))
                .unwrap_or_default()
        };
        let uri = asked.text.split(' ').nth(1).unwrap_or_default();
        let (via, from, to, call_id) = (line("Via:"), line("From:"), line("To:"), line("Call-ID:"));
        let (branch, cseq) = (asked.branch.clone(), asked.cseq);
        let text = format!(
            "CANCEL {uri} SIP/2.0\r\n{via}\r\nMax-Forwards: 70\r\n{from}\r\n{to}\r\n{call_id}\r\nCSeq: {cseq} CANCEL\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.ask(now, None, ("CANCEL", cseq, text), branch, Why::Cancel);
    }

    /// A PRACK was never answered, say: there is no point in going on.
    pub fn give_up_call(&mut self, now: Timestamp) {
        if self.is_caller {
            self.cancel(now);
        }
    }

    pub fn bye_early(&mut self, now: Timestamp) {
        let is_open = self.placing.invite.is_some_and(|at| self.asked[at].status == 0);
        let early = self.dialogs.iter().position(|dialog| dialog.stage == Stage::Early);
        if let Some(dialog) = early.filter(|_| is_open) {
            self.seen.insert("a BYE in an early dialog");
            self.dialogs[dialog].stage = Stage::Leaving;
            self.ask_within(now, dialog, "BYE", "", "", Why::Bye);
        }
    }

    pub fn update_early(&mut self, now: Timestamp) {
        if let Some(dialog) = self.dialogs.iter().position(|dialog| dialog.stage == Stage::Early) {
            self.update(now, dialog, true);
        }
    }

    pub fn ask_outside(&mut self, now: Timestamp) {
        let (branch, method) = (self.mint_branch(), *self.rng.pick(&["OPTIONS", "MESSAGE", "PUBLISH"]));
        let text = format!(
            "{method} sip:bob@{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@example.com>;tag=otag\r\nTo: <sip:bob@example.com>\r\nCall-ID: out{branch}\r\nCSeq: 1 {method}\r\n\
             Contact: {}\r\n",
            self.address,
            self.contact()
        );
        let body = if method == "MESSAGE" { "hello" } else { "" };
        self.ask(now, None, (method, 1, finish(text, body)), branch, Why::Pass);
    }

    /// The dialog that a response to our INVITE makes or belongs to.
    fn dialog_by(&mut self, at: usize, heard: &Heard) -> usize {
        let known = self.dialogs.iter().position(|dialog| {
            dialog.call_id == heard.call_id && dialog.remote_tag == heard.to_tag && dialog.local_tag == heard.from_tag
        });
        if let Some(known) = known {
            return known;
        }
        let mut session = Session {
            offered: self.placing.offered.clone(),
            ..Session::default()
        };
        session.lines = self.placing.lines;
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

    pub fn on_progress(&mut self, now: Timestamp, at: usize, heard: &Rc<Heard>) {
        if self.placing.cancel_wanted && self.placing.invite == Some(at) {
            self.placing.cancel_wanted = false;
            self.cancel(now);
        }
        if heard.status == 100 || self.asked[at].status != 0 {
            return;
        }
        if heard.to_tag.is_empty() {
            self.wrong(format!("has no To tag: {}", heard.told()));
            return;
        }
        let dialog = self.dialog_by(at, heard);
        if self.dialogs[dialog].stage != Stage::Early {
            return;
        }
        self.learn_allow(dialog, heard);
        let reliable = heard.lists("Require", "100rel");
        if let Some(sdp) = heard.sdp().filter(|_| !reliable) {
            self.seen.insert("early media");
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
            self.dialogs[dialog].session.offered = Some(offer.serial.clone());
            body = offer.write();
        }
        let rack = format!("RAck: {rseq} {} INVITE\r\n", self.asked[at].cseq);
        self.ask_within(now, dialog, "PRACK", &rack, &body, Why::Prack { offers });
    }

    /// No final answer will come.
    pub fn on_call_failed(&mut self, now: Timestamp, at: usize) {
        self.end_early_dialogs(now, at);
    }

    fn end_early_dialogs(&mut self, now: Timestamp, _at: usize) {
        for dialog in 0..self.dialogs.len() {
            if self.dialogs[dialog].stage == Stage::Early {
                self.bury(now, dialog);
            }
        }
    }

    pub fn on_call_answered(&mut self, now: Timestamp, at: usize, heard: &Rc<Heard>, is_first: bool) {
        if heard.status >= 300 {
            if is_first {
                self.end_early_dialogs(now, at);
                self.on_refused(now, heard);
            } else if self.asked[at].status != heard.status && self.asked[at].status != 408 {
                self.wrong(format!("{} after {}", heard.told(), self.asked[at].status));
            }
            return;
        }
        if self.asked[at].acks.iter().any(|(tag, _)| *tag == heard.to_tag) {
            self.repeat_ack(at, heard);
            return;
        }
        let dialog = self.dialog_by(at, heard);
        if matches!(self.dialogs[dialog].stage, Stage::Confirmed | Stage::Accepted) {
            return;
        }
        let is_second = self.dialogs.iter().any(|dialog| dialog.stage == Stage::Confirmed);
        let unwanted = self.asked[at].cancelled || self.placing.cancel_wanted || is_second || !is_first;
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
            self.end_early_dialogs(now, at);
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

    fn on_refused(&mut self, now: Timestamp, heard: &Heard) {
        if self.placing.attempts >= ATTEMPTS_MAX || self.placing.cancel_wanted {
            return;
        }
        match heard.status {
            401 | 407 if self.placing.more.is_empty() => {
                let name = if heard.status == 401 {
                    "WWW-Authenticate"
                } else {
                    "Proxy-Authenticate"
                };
                if heard.header(name).is_none() {
                    self.wrong(format!("{} has no {name}", heard.told()));
                    return;
                }
                let name = if heard.status == 401 {
                    "Authorization"
                } else {
                    "Proxy-Authorization"
                };
                self.placing.more = format!("{name}: Digest username=\"alice\"\r\n");
                self.seen.insert("a challenge answered");
            }
            302 if self.placing.user == "bob" => {
                if heard.contact().is_none() {
                    self.wrong(format!("has no Contact: {}", heard.told()));
                    return;
                }
                self.placing.user = "carol".to_owned();
                self.seen.insert("a redirection followed");
            }
            420 if self.nature.rel100 == Rel100::Required => {
                self.nature.rel100 = Rel100::Supported;
                self.seen.insert("a 420 followed");
            }
            _ => return,
        }
        let wait = self.rng.millis(0..=100);
        self.alarm(now + wait, Alarm::Place);
    }
}
