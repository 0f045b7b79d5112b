//! What a phone asks for: INVITE, re-INVITE, CANCEL, BYE, each with its retransmissions.

use std::time::Duration;

use onrecord::model::Timestamp;

use super::ua::{GIVE_UP, Phone, State, T1, T2};
use super::wire::Heard;

/// A client transaction.
#[derive(Debug)]
pub struct Requesting {
    pub method: &'static str,
    branch: String,
    cseq: u32,
    text: String,
    at: Timestamp,
    interval: Duration,
    give_up: Timestamp,
    /// A 1xx came: an INVITE is no longer repeated.
    proceeding: bool,
    /// The first INVITE of the call, not one inside the dialog.
    is_initial: bool,
}

impl Requesting {
    pub fn due(&self) -> Option<Timestamp> {
        Some(self.at.min(self.give_up))
    }
}

impl Phone {
    /// Caller: places the call.
    pub fn call(&mut self, now: Timestamp, caller: &str, callee: &str) {
        self.state = State::Ringing;
        self.remote_target = format!("sip:{callee}@{}", self.proxy);
        self.from = format!("<sip:{caller}>;tag={}", self.tag);
        self.to = format!("<sip:{callee}@{}>", self.proxy);
        self.due_cancel = Some(now + self.script.patience);
        let body = self.description("sendrecv");
        self.transact(now, "INVITE", &body, true);
    }

    fn transact(&mut self, now: Timestamp, method: &'static str, body: &str, is_initial: bool) {
        self.cseq += 1;
        let branch = format!("z9hG4bK{:x}", self.rng.next());
        let text = self.request(method, &branch, self.cseq, body);
        self.start(now, method, branch, self.cseq, text, is_initial);
    }

    fn start(
        &mut self,
        now: Timestamp,
        method: &'static str,
        branch: String,
        cseq: u32,
        text: String,
        is_initial: bool,
    ) {
        self.send(text.clone());
        let (at, give_up) = (now + T1, now + GIVE_UP);
        let request = Requesting {
            method,
            branch,
            cseq,
            text,
            at,
            interval: T1,
            give_up,
            proceeding: false,
            is_initial,
        };
        self.requesting.push(request);
    }

    pub(super) fn repeat_requests(&mut self, now: Timestamp) {
        let mut repeats = Vec::new();
        let mut timed_out = Vec::new();
        for request in &mut self.requesting {
            if request.give_up <= now {
                timed_out.push(request.method);
            } else if request.at <= now {
                if request.method == "INVITE" && request.proceeding {
                    request.at = request.give_up;
                    continue;
                }
                let doubled = request.interval * 2;
                request.interval = if request.method == "INVITE" {
                    doubled
                } else {
                    doubled.min(T2)
                };
                request.at = now + request.interval;
                repeats.push(request.text.clone());
            }
        }
        self.requesting.retain(|request| request.give_up > now);
        repeats.into_iter().for_each(|text| self.send(text));
        for method in timed_out {
            match (method, self.state) {
                ("INVITE", State::Talking) => self.hang_up(now),
                ("INVITE", State::Ringing) | ("BYE", _) => self.end(),
                _ => {}
            }
        }
    }

    pub(super) fn on_response(&mut self, now: Timestamp, heard: &Heard) {
        let (cseq, method) = heard.cseq();
        let Some(at) = self
            .requesting
            .iter()
            .position(|r| r.branch == heard.branch() && r.method == method)
        else {
            // A 2xx again: our ACK was lost (§13.2.2.4).
            if method == "INVITE" && (200..300).contains(&heard.status) {
                self.acknowledge(cseq);
            }
            return;
        };
        if heard.status < 200 {
            self.on_provisional(now, at, heard);
            return;
        }
        let request = self.requesting.remove(at);
        match method {
            "INVITE" => self.on_invite_answered(now, &request, heard),
            "BYE" => self.end(),
            _ => {}
        }
    }

    fn on_provisional(&mut self, now: Timestamp, at: usize, heard: &Heard) {
        let request = &mut self.requesting[at];
        request.proceeding = true;
        // Timer B no longer counts; the caller's patience does, and after a CANCEL 64 × T1.
        if request.method == "INVITE" && self.due_cancel.is_some() {
            request.give_up = now + Duration::from_secs(300);
        }
        if heard.media().is_some() {
            self.learn_media(heard);
        }
    }

    fn on_invite_answered(&mut self, now: Timestamp, request: &Requesting, heard: &Heard) {
        if heard.status >= 300 {
            self.acknowledge_failure(request, heard);
            self.reasons.extend(heard.all("reason").map(str::to_owned));
            if request.is_initial {
                self.status = Some(heard.status);
                return self.end();
            }
            self.holding = false;
            if heard.status == 491 && self.state == State::Talking {
                let wait = if self.is_caller {
                    self.rng.millis(2100..=4000)
                } else {
                    self.rng.millis(0..=2000)
                };
                self.due_hold = Some(now + wait);
            }
            return;
        }
        self.remote_target = heard.contact().unwrap_or_else(|| self.remote_target.clone());
        self.learn_media(heard);
        if request.is_initial {
            self.to = heard.header("to").unwrap_or_default().to_owned();
            self.status = Some(heard.status);
        }
        self.acknowledge(request.cseq);
        let was_cancelled = request.is_initial && self.due_cancel.is_none();
        if request.is_initial && self.state == State::Ringing {
            self.on_connected(now);
            if was_cancelled {
                self.hang_up(now);
            }
        }
    }

    /// ACK to a 2xx: a new branch, the INVITE's CSeq number.
    fn acknowledge(&mut self, cseq: u32) {
        let branch = format!("z9hG4bK{:x}", self.rng.next());
        let text = self.request("ACK", &branch, cseq, "");
        self.send(text);
    }

    /// ACK to a refusal: the INVITE's branch and target, the response's To (§17.1.1.3).
    fn acknowledge_failure(&mut self, request: &Requesting, heard: &Heard) {
        let own_to = std::mem::replace(&mut self.to, heard.header("to").unwrap_or_default().to_owned());
        let text = self.request("ACK", &request.branch, request.cseq, "");
        self.to = own_to;
        self.send(text);
    }

    pub(super) fn cancel(&mut self, now: Timestamp) {
        let Some(at) = self.requesting.iter().position(|request| request.is_initial) else {
            return;
        };
        let invite = &mut self.requesting[at];
        if !invite.proceeding {
            // No CANCEL before a 1xx (§9.1): try again soon.
            self.due_cancel = Some(now + Duration::from_millis(200));
            return;
        }
        invite.give_up = now + GIVE_UP;
        let (branch, cseq) = (invite.branch.clone(), invite.cseq);
        let text = self.request("CANCEL", &branch, cseq, "");
        self.start(now, "CANCEL", branch, cseq, text, false);
    }

    pub(super) fn hang_up(&mut self, now: Timestamp) {
        self.end();
        self.state = State::HangingUp;
        self.requesting.retain(|request| request.method != "INVITE");
        self.transact(now, "BYE", "", false);
    }

    /// Hold, or the end of it.
    pub(super) fn hold(&mut self, now: Timestamp) {
        if self.requesting.iter().any(|request| request.method == "INVITE") {
            return;
        }
        self.holding = !self.holding;
        let body = self.description(if self.holding { "sendonly" } else { "sendrecv" });
        self.due_hold = self
            .script
            .holds_after
            .filter(|_| self.holding)
            .map(|after| now + after);
        self.transact(now, "INVITE", &body, false);
    }
}
