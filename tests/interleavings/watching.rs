//! SUBSCRIBE and NOTIFY (RFC 6665), in a call and beside it: begun, refreshed, ended by either side, and crossing.

use std::collections::BTreeSet;
use std::rc::Rc;

use onrecord::model::Timestamp;

use super::asking::Why;
use super::phone::{Alarm, Dialog, PROXY, Phone, Stage};
use super::session::Session;
use super::text::Heard;

impl Phone {
    /// Beside any call.
    pub fn subscribe(&mut self, now: Timestamp) {
        let (branch, number) = (self.mint_branch(), self.dialogs.len());
        let dialog = Dialog {
            call_id: format!("w{}{number}", self.seat),
            ours: format!("<sip:{}@example.com>;tag=w{number}", self.seat.user()),
            theirs: "<sip:bob@example.com>".to_owned(),
            local_tag: format!("w{number}"),
            local_seq: 1,
            target: format!("sip:bob@{PROXY}"),
            ..watching(self.nature.acts)
        };
        let more = self.watch_lines(60);
        let text = self.write_request("SUBSCRIBE", &dialog, 1, &branch, &more, "");
        self.dialogs.push(dialog);
        self.seen.insert("a SUBSCRIBE");
        self.ask(now, Some(number), ("SUBSCRIBE", 1, text), branch, Why::Watch);
    }

    fn watch_lines(&self, expires: u32) -> String {
        format!("Contact: {}\r\nEvent: dialog\r\nExpires: {expires}\r\n", self.contact())
    }

    /// In a call (RFC 6665 §4.5.2 would rather not, RFC 5057 §3 knows that it is done).
    pub fn watch_within(&mut self, now: Timestamp, at: usize) {
        if self.may(at, "SUBSCRIBE") {
            self.seen.insert("a SUBSCRIBE in a call");
            let expires = *self.rng.pick(&[0, 60]);
            let more = self.watch_lines(expires);
            self.ask_within(now, at, "SUBSCRIBE", &more, "", Why::Pass);
        }
    }

    /// A SUBSCRIBE that opens a dialog.
    pub fn on_subscribe(&mut self, now: Timestamp, at: usize) {
        let heard = Rc::clone(&self.answering[at].request);
        if self.rng.one_in(6) {
            self.answer(now, at, 489, "", "");
            return;
        }
        let (number, to) = (self.dialogs.len(), heard.header("To").unwrap_or_default());
        // Another notifier that the SUBSCRIBE reached has another (RFC 3261 §19.3).
        let tag = format!("{}n{number}", self.seat.user());
        self.dialogs.push(Dialog {
            call_id: heard.call_id.clone(),
            ours: format!("{to};tag={tag}"),
            theirs: heard.header("From").unwrap_or_default().to_owned(),
            local_tag: tag,
            remote_tag: heard.from_tag.clone(),
            remote_seq: heard.cseq,
            target: heard.contact().unwrap_or_default(),
            ..watching(0)
        });
        self.answering[at].dialog = Some(number);
        self.grant(now, at, number, &heard);
    }

    /// A SUBSCRIBE in a dialog: in a call, or a refresh.
    pub fn on_subscribed(&mut self, now: Timestamp, at: usize, dialog: usize) {
        let heard = Rc::clone(&self.answering[at].request);
        self.seen.insert(if self.dialogs[dialog].stage == Stage::Watching {
            "a subscription refreshed"
        } else {
            "a SUBSCRIBE in a call crossed"
        });
        self.grant(now, at, dialog, &heard);
    }

    fn grant(&mut self, now: Timestamp, at: usize, dialog: usize, heard: &Heard) {
        let expires = heard.header("Expires").unwrap_or("60").to_owned();
        // A NOTIFY may overtake the answer.
        let (first, wait) = (self.rng.one_in(4), self.rng.millis(0..=50));
        let lasts = expires != "0";
        if first {
            self.tell_watcher(now, dialog, !lasts);
        } else {
            self.alarm(now + wait, Alarm::Tell(dialog, !lasts));
        }
        let more = format!("Contact: {}\r\nExpires: {expires}\r\n", self.contact());
        self.answer(now, at, 200, &more, "");
        if lasts && self.rng.one_in(2) {
            let wait = self.rng.millis(100..=20_000);
            let ends = self.rng.one_in(2);
            self.alarm(now + wait, Alarm::Tell(dialog, ends));
        }
    }

    pub fn tell_watcher(&mut self, now: Timestamp, at: usize, ends: bool) {
        if !matches!(self.dialogs[at].stage, Stage::Watching | Stage::Confirmed) {
            return;
        }
        let state = if ends {
            "terminated;reason=timeout"
        } else {
            "active;expires=60"
        };
        let more = format!(
            "Contact: {}\r\nEvent: dialog\r\nSubscription-State: {state}\r\n",
            self.contact()
        );
        self.ask_within(now, at, "NOTIFY", &more, "state", Why::Pass);
        if ends && self.dialogs[at].stage == Stage::Watching {
            self.dialogs[at].stage = Stage::Over;
        }
    }

    /// A NOTIFY of a subscription of ours: the first may make its dialog (RFC 6665 §4.4.1).
    pub fn watch_of(&mut self, heard: &Heard) -> Option<usize> {
        let is = |dialog: &Dialog| {
            let unmade = dialog.remote_tag.is_empty() || dialog.remote_tag == heard.from_tag;
            dialog.stage == Stage::Watching
                && dialog.call_id == heard.call_id
                && dialog.local_tag == heard.to_tag
                && unmade
        };
        let at = self.dialogs.iter().position(is)?;
        self.know_notifier(at, heard.header("From")?, &heard.from_tag, heard);
        Some(at)
    }

    fn know_notifier(&mut self, at: usize, theirs: &str, tag: &str, heard: &Heard) {
        let dialog = &mut self.dialogs[at];
        if dialog.remote_tag.is_empty() {
            (dialog.theirs, dialog.remote_tag) = (theirs.to_owned(), tag.to_owned());
        }
        if let Some(target) = heard.contact() {
            dialog.target = target;
        }
    }

    pub fn on_watch_notified(&mut self, now: Timestamp, at: usize, dialog: usize) {
        let heard = Rc::clone(&self.answering[at].request);
        self.seen.insert("a NOTIFY of a subscription crossed");
        self.answer(now, at, 200, "", "");
        if heard
            .header("Subscription-State")
            .is_some_and(|state| state.starts_with("terminated"))
        {
            self.bury(now, dialog);
        }
    }

    pub fn on_watch_answered(&mut self, now: Timestamp, at: usize, heard: &Rc<Heard>) {
        if heard.status >= 300 {
            self.bury(now, at);
            return;
        }
        let theirs = heard.header("To").unwrap_or_default().to_owned();
        self.know_notifier(at, &theirs, &heard.to_tag, heard);
        if self.dialogs[at].stage == Stage::Watching && self.dialogs[at].acts_left > 0 {
            self.dialogs[at].acts_left -= 1;
            let wait = self.rng.millis(0..=10_000);
            self.alarm(now + wait, Alarm::Act(at));
        }
    }

    /// The watcher refreshes, or has seen enough.
    pub fn watch_on(&mut self, now: Timestamp, at: usize) {
        let expires = *self.rng.pick(&[0, 60, 60]);
        let more = self.watch_lines(expires);
        self.ask_within(now, at, "SUBSCRIBE", &more, "", Why::Watch);
    }
}

fn watching(acts: u32) -> Dialog {
    Dialog {
        call_id: String::new(),
        ours: String::new(),
        theirs: String::new(),
        local_tag: String::new(),
        remote_tag: String::new(),
        target: String::new(),
        local_seq: 0,
        remote_seq: 0,
        stage: Stage::Watching,
        session: Session::default(),
        is_caller: false,
        allowed: BTreeSet::new(),
        acts_left: acts,
        retries: 0,
        rseq: 0,
        interval: None,
        refreshes: false,
        refreshed: 0,
    }
}
