//! What a phone does within a call: offers, holds, INFO, MESSAGE, requests in haste, BYE.

use std::rc::Rc;
use std::time::Duration;

use onrecord::model::Timestamp;

use super::answering::Until;
use super::asking::Why;
use super::phone::{Alarm, Phone, Stage};
use super::text::Heard;

impl Phone {
    pub fn on_confirmed(&mut self, now: Timestamp, at: usize) {
        self.dialogs[at].stage = Stage::Confirmed;
        self.seen.insert(if self.dialogs[at].is_caller {
            "the caller is connected"
        } else {
            "the callee is connected"
        });
        let wait = self.pace();
        self.alarm(now + wait, Alarm::Act(at));
    }

    fn pace(&mut self) -> Duration {
        let longest = self.nature.pace_ms;
        if self.rng.one_in(3) {
            Duration::from_millis(longest)
        } else {
            self.rng.millis(0..=longest)
        }
    }

    /// The next thing that the owner does.
    pub fn act(&mut self, now: Timestamp, at: usize) {
        match self.dialogs[at].stage {
            Stage::Confirmed => {}
            Stage::Watching => return self.watch_on(now, at),
            _ => return,
        }
        if self.dialogs[at].acts_left == 0 {
            if self.nature.hangs_up {
                self.hang_up(now, at);
            } else {
                // The other may do it; a session timer may want to be seen at work.
                let longest = if self.dialogs[at].interval.is_some() { 400 } else { 40 };
                let wait = self.rng.millis(1_000..=longest * 1_000);
                self.alarm(now + wait, Alarm::HangUp(at));
            }
            return;
        }
        self.dialogs[at].acts_left -= 1;
        let change = |offers, holds| Why::Change {
            invite: true,
            offers,
            holds,
        };
        if self.nature.hasty && self.is_asking(at, &["INVITE"]) {
            self.haste(now, at);
        }
        match self.rng.below(16) {
            0..3 => self.change(now, at, change(true, false)),
            3 => self.change(now, at, change(false, false)),
            4 | 5 => self.change(now, at, change(true, true)),
            6..9 => self.update(now, at, false),
            9 => self.pass(now, at, "INFO", "Signal=1"),
            10 => self.pass(now, at, "MESSAGE", "hello"),
            11 => self.pass(now, at, "OPTIONS", ""),
            12 | 13 => self.refer(now, at),
            14 => self.watch_within(now, at),
            _ => self.hang_up(now, at),
        }
        if self.dialogs[at].stage == Stage::Confirmed {
            let wait = self.pace();
            self.alarm(now + wait, Alarm::Act(at));
        }
    }

    pub fn may(&self, at: usize, method: &str) -> bool {
        self.nature.stubborn || self.dialogs[at].allowed.contains(method)
    }

    fn is_asking(&self, at: usize, methods: &[&str]) -> bool {
        self.asked
            .iter()
            .any(|asked| asked.dialog == Some(at) && asked.status == 0 && methods.contains(&asked.method))
    }

    fn is_unacknowledged(&self, at: usize) -> bool {
        self.repeats
            .iter()
            .any(|repeat| matches!(repeat.until, Until::Accepted(dialog, _) if dialog == at))
    }

    /// A re-INVITE or UPDATE with or without an offer.
    pub fn change(&mut self, now: Timestamp, at: usize, why: Why) {
        let Why::Change { invite, offers, holds } = why else {
            return;
        };
        // One INVITE at a time, from its sending to its ACK (RFC 3261 §14.1), and one offer (RFC 3264 §4).
        let idle = self.dialogs[at].session.is_idle() && !self.pending_invite(at) && !self.is_unacknowledged(at);
        let asks = self.is_asking(at, &["INVITE", "UPDATE"]);
        if (invite || offers) && (!idle || asks) || self.is_asking(at, &["UPDATE"]) {
            return;
        }
        let mut body = String::new();
        if offers {
            let more = usize::from(self.rng.one_in(4) && self.dialogs[at].session.lines < 3);
            let direction = if holds {
                *self.rng.pick(&["sendonly", "inactive"])
            } else {
                "sendrecv"
            };
            let offer = self.offer(self.dialogs[at].session.lines + more, direction);
            self.dialogs[at].session.offers_by(&offer);
            body = offer.write();
        }
        self.seen.insert(match (invite, offers, holds) {
            (true, _, true) => "a hold",
            (true, true, _) => "a re-INVITE",
            (true, false, _) => "a re-INVITE without an offer",
            (false, true, _) => "an UPDATE with an offer",
            (false, false, _) => "an UPDATE without an offer",
        });
        let mut more = self.abilities();
        if let Some(interval) = self.dialogs[at].interval {
            let refresher = if self.dialogs[at].refreshes { "uac" } else { "uas" };
            more += &format!("Session-Expires: {};refresher={refresher}\r\n", interval.as_secs());
        }
        self.ask_within(now, at, if invite { "INVITE" } else { "UPDATE" }, &more, &body, why);
    }

    /// UPDATE (RFC 3311 §5.1): in an early dialog with an offer only once the first one was answered reliably.
    pub fn update(&mut self, now: Timestamp, at: usize, early: bool) {
        if !self.nature.updates || !self.may(at, "UPDATE") {
            return;
        }
        let wants = self.rng.one_in(2);
        let offers = wants && (!early || self.dialogs[at].session.agreed);
        self.change(
            now,
            at,
            Why::Change {
                invite: false,
                offers,
                holds: false,
            },
        );
    }

    /// What was glare, once more.
    pub fn try_again(&mut self, now: Timestamp, at: usize, why: Why) {
        if matches!(self.dialogs[at].stage, Stage::Confirmed) {
            self.change(now, at, why);
        }
    }

    fn pass(&mut self, now: Timestamp, at: usize, method: &'static str, body: &str) {
        if self.may(at, method) {
            self.ask_within(now, at, method, "", body, Why::Pass);
        }
    }

    pub fn hang_up(&mut self, now: Timestamp, at: usize) {
        if self.dialogs[at].stage != Stage::Confirmed {
            return;
        }
        self.dialogs[at].stage = Stage::Leaving;
        self.refuse_pending(now, at, 487);
        // A re-INVITE that nobody answers in time is given up.
        let open = self
            .asked
            .iter()
            .position(|asked| asked.dialog == Some(at) && asked.method == "INVITE" && asked.status == 0 && asked.rung);
        if let Some(open) = open.filter(|_| self.rng.one_in(2)) {
            self.cancel_again(now, open);
        }
        self.ask_within(now, at, "BYE", "", "", Why::Bye);
    }

    /// A re-INVITE while one of ours is under way (RFC 3261 §14.1 forbids it, §14.2 says what it gets).
    fn haste(&mut self, now: Timestamp, at: usize) {
        self.seen.insert("a re-INVITE in haste");
        let offer = self.offer(self.dialogs[at].session.lines, "sendrecv");
        let more = self.abilities();
        self.ask_within(now, at, "INVITE", &more, &offer.write(), Why::Haste);
    }

    pub fn on_haste_answered(&mut self, now: Timestamp, at: usize, dialog: usize, heard: &Rc<Heard>) {
        match heard.status {
            500 => drop(self.seen.insert("a re-INVITE in haste was refused")),
            481 => self.on_gone(now, dialog),
            200..300 => {
                // The one before was over by then.
                self.seen.insert("a re-INVITE in haste came just right");
                if let Some(sdp) = heard.sdp() {
                    self.dialogs[dialog].session.taken.push(sdp.serial);
                }
                self.acknowledge(at, dialog, "");
            }
            _ => {}
        }
    }

    fn cancel_again(&mut self, now: Timestamp, at: usize) {
        let asked = &self.asked[at];
        let (branch, cseq) = (asked.branch.clone(), asked.cseq);
        let Some(dialog) = asked.dialog else { return };
        let text = self.write_request("CANCEL", &self.dialogs[dialog], cseq, &branch, "", "");
        self.seen.insert("a CANCEL for a re-INVITE");
        self.ask(now, Some(dialog), ("CANCEL", cseq, text), branch, Why::Cancel);
    }
}
