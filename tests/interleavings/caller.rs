//! The way into a call as a caller: INVITE, CANCEL, and INVITE again when an answer asks for something.

use std::time::Duration;

use onrecord::model::Timestamp;

use super::asking::Why;
use super::phone::{Alarm, GIVE_UP, PROXY, Phone, Stage};
use super::script::{Calling, Rel100};
use super::seat::Seat;
use super::text::{Heard, finish};

/// Nobody waits for an answer longer.
const PATIENCE: Duration = Duration::from_secs(280);
/// INVITEs that one caller sends at most: credentials, a redirection, a longer interval, an extension less.
const ATTEMPTS_MAX: u32 = 4;

/// A call that a phone places.
#[derive(Clone, Debug)]
pub struct Placing {
    late_offer: bool,
    pub call_id: String,
    tag: String,
    cseq: u32,
    attempts: u32,
    pub uri: String,
    /// Header lines that its owner, or an answer, asked for.
    pub more: String,
    interval: Option<u64>,
    /// The newest INVITE.
    pub invite: Option<usize>,
    pub offered: Option<String>,
    pub lines: usize,
    pub cancel_wanted: bool,
    /// The dialog of the REFER that asked for it.
    pub referred_in: Option<usize>,
}

impl Placing {
    pub fn new(call_id: String, tag: String, uri: String) -> Self {
        Self {
            late_offer: false,
            call_id,
            tag,
            cseq: 0,
            attempts: 0,
            uri,
            more: String::new(),
            interval: None,
            invite: None,
            offered: None,
            lines: 0,
            cancel_wanted: false,
            referred_in: None,
        }
    }
}

impl Phone {
    /// Everything that the caller's owner plans.
    pub fn plan(&mut self, start: Timestamp, calling: &Calling, seed: u64) {
        let mut placing = Placing::new(
            format!("c{seed:x}"),
            "atag".to_owned(),
            format!("sip:{}@{PROXY}", Seat::B.user()),
        );
        placing.late_offer = calling.late_offer;
        placing.interval = self.nature.timer;
        let call = self.place_at(start, placing);
        let plans = [
            (calling.cancel_at, Alarm::Cancel(call)),
            (calling.bye_early_at, Alarm::ByeEarly(call)),
            (calling.update_early_at, Alarm::UpdateEarly(call)),
            (calling.outside_at, Alarm::Outside),
            (calling.subscribe_at, Alarm::Subscribe),
        ];
        for (at, alarm) in plans {
            if let Some(at) = at {
                self.alarm(start + at, alarm);
            }
        }
        self.find_due();
    }

    /// A call that begins then.
    pub fn place_at(&mut self, at: Timestamp, placing: Placing) -> usize {
        self.placings.push(placing);
        let call = self.placings.len() - 1;
        self.alarm(at, Alarm::Place(call));
        self.alarm(at + PATIENCE, Alarm::Cancel(call));
        call
    }

    /// A call to somebody beside the first one.
    pub fn another(&self, uri: String, more: String) -> Placing {
        let number = self.placings.len();
        let mut placing = Placing::new(
            format!("c{}{number}", self.seat),
            format!("t{}{number}", self.seat),
            uri,
        );
        placing.more = more;
        placing.interval = self.nature.timer;
        placing
    }

    pub fn place(&mut self, now: Timestamp, call: usize) {
        let cseq_step = 1 + self.rng.below(3) as u32;
        let branch = self.mint_branch();
        let sdp = (!self.placings[call].late_offer).then(|| {
            let lines = if self.rng.one_in(8) { 2 } else { 1 };
            self.offer(lines, "sendrecv")
        });
        let placing = &mut self.placings[call];
        placing.attempts += 1;
        placing.cseq += cseq_step;
        placing.offered = sdp.as_ref().map(|sdp| sdp.serial.clone());
        placing.lines = sdp.as_ref().map_or(0, |sdp| sdp.ports.len());
        let Placing {
            call_id,
            tag,
            cseq,
            uri,
            more,
            interval,
            ..
        } = &self.placings[call];
        let cseq = *cseq;
        let mut text = format!(
            "INVITE {uri} SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: <sip:{}@example.com>;tag={tag}\r\n\
             To: <sip:somebody@example.com>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} INVITE\r\n{}{more}",
            self.via(&branch),
            self.seat.user(),
            self.abilities()
        );
        if self.nature.rel100 == Rel100::Required {
            text += "Require: 100rel\r\n";
        }
        if let Some(interval) = interval {
            text += &format!("Session-Expires: {interval}\r\n");
        }
        let text = finish(text, &sdp.map(|sdp| sdp.write()).unwrap_or_default());
        let at = self.ask(now, None, ("INVITE", cseq, text), branch, Why::Call(call));
        self.placings[call].invite = Some(at);
    }

    /// The dialogs that came of a call.
    pub fn dialogs_of(&self, call: usize) -> Vec<usize> {
        let is = |at: &usize| self.dialogs[*at].is_caller && self.dialogs[*at].call_id == self.placings[call].call_id;
        (0..self.dialogs.len()).filter(is).collect()
    }

    pub fn cancel(&mut self, now: Timestamp, call: usize) {
        let Some(at) = self.placings[call].invite.filter(|at| self.asked[*at].status == 0) else {
            // Too late to cancel: an owner who wants no call hangs up.
            for dialog in self.dialogs_of(call) {
                if self.dialogs[dialog].stage == Stage::Confirmed {
                    self.seen.insert("a CANCEL came too late to be sent");
                }
                self.hang_up(now, dialog);
            }
            return;
        };
        if !self.asked[at].rung {
            self.placings[call].cancel_wanted = true;
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
    pub fn give_up_call(&mut self, now: Timestamp, dialog: usize) {
        let call_id = &self.dialogs[dialog].call_id;
        if let Some(call) = self.placings.iter().position(|placing| placing.call_id == *call_id) {
            self.cancel(now, call);
        }
    }

    fn early_dialog(&self, call: usize) -> Option<usize> {
        let mut dialogs = self.dialogs_of(call).into_iter();
        dialogs.find(|dialog| self.dialogs[*dialog].stage == Stage::Early)
    }

    pub fn bye_early(&mut self, now: Timestamp, call: usize) {
        let is_open = self.placings[call].invite.is_some_and(|at| self.asked[at].status == 0);
        if let Some(dialog) = self.early_dialog(call).filter(|_| is_open) {
            self.seen.insert("a BYE in an early dialog");
            self.dialogs[dialog].stage = Stage::Leaving;
            self.ask_within(now, dialog, "BYE", "", "", Why::Bye);
        }
    }

    pub fn update_early(&mut self, now: Timestamp, call: usize) {
        if let Some(dialog) = self.early_dialog(call) {
            self.update(now, dialog, true);
        }
    }

    pub fn ask_outside(&mut self, now: Timestamp) {
        let (branch, method) = (self.mint_branch(), *self.rng.pick(&["OPTIONS", "MESSAGE", "PUBLISH"]));
        let text = format!(
            "{method} sip:bob@{PROXY} SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=otag\r\n\
             To: <sip:bob@example.com>\r\nCall-ID: out{branch}\r\nCSeq: 1 {method}\r\nContact: {}\r\n",
            self.via(&branch),
            self.contact()
        );
        let body = if method == "MESSAGE" { "hello" } else { "" };
        self.ask(now, None, (method, 1, finish(text, body)), branch, Why::Pass);
    }

    /// A refusal may ask for something.
    pub fn on_refused(&mut self, now: Timestamp, call: usize, heard: &Heard) -> bool {
        let placing = &mut self.placings[call];
        if placing.attempts >= ATTEMPTS_MAX || placing.cancel_wanted {
            return false;
        }
        match heard.status {
            401 | 407 if !placing.more.contains("uthorization") => {
                let (asks, name) = if heard.status == 401 {
                    ("WWW-Authenticate", "Authorization")
                } else {
                    ("Proxy-Authenticate", "Proxy-Authorization")
                };
                if heard.header(asks).is_none() {
                    self.wrong(format!("{} has no {asks}", heard.told()));
                    return false;
                }
                placing.more += &format!("{name}: Digest username=\"alice\"\r\n");
                self.seen.insert("a challenge answered");
            }
            302 if placing.uri.contains(Seat::B.user()) => {
                if heard.contact().is_none() {
                    self.wrong(format!("has no Contact: {}", heard.told()));
                    return false;
                }
                placing.uri = format!("sip:{}@{PROXY}", Seat::C.user());
                self.seen.insert("a redirection followed");
            }
            422 => {
                let asked = heard.header("Min-SE").and_then(|seconds| seconds.trim().parse().ok());
                let grows = asked.is_some_and(|asked| placing.interval.is_some_and(|interval| asked > interval));
                if !grows {
                    self.wrong(format!("asks for no longer interval: {}", heard.told()));
                    return false;
                }
                placing.interval = asked;
                placing.more += &format!("Min-SE: {}\r\n", asked.unwrap_or_default());
                self.seen.insert("a 422 followed");
            }
            420 if self.nature.rel100 == Rel100::Required => {
                self.nature.rel100 = Rel100::Supported;
                self.seen.insert("a 420 followed");
            }
            _ => return false,
        }
        let wait = self.rng.millis(0..=100);
        self.alarm(now + wait, Alarm::Place(call));
        true
    }
}
