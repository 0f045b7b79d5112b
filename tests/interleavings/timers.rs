//! Session timers as a phone keeps them (RFC 4028): intervals asked, granted, refused and refreshed.

use std::time::Duration;

use onrecord::model::Timestamp;

use super::asking::Why;
use super::phone::{Alarm, Phone, Stage};
use super::text::Heard;

/// RFC 4028 §10: BYE goes out so long before the interval is over, or a third of it.
const EXPIRY_LEAD: Duration = Duration::from_secs(32);
const REFRESH_AGAIN: Duration = Duration::from_secs(4);

impl Phone {
    /// Refuses a request whose interval is too short (RFC 4028 §9).
    pub fn refuses_interval(&mut self, now: Timestamp, at: usize) -> bool {
        let request = &self.answering[at].request;
        let asked = request.header("Session-Expires").and_then(seconds);
        let (Some(asked), Some(min)) = (asked, self.nature.interval_min) else {
            return false;
        };
        if asked >= min || !request.lists("Supported", "timer") {
            return false;
        }
        self.seen.insert("a 422");
        self.answer(now, at, 422, &format!("Min-SE: {min}\r\n"), "");
        true
    }

    /// A 422 to a re-INVITE or UPDATE of ours: once more with a longer interval.
    pub fn lengthen(&mut self, now: Timestamp, at: usize, why: Why, heard: &Heard) {
        let min = heard.header("Min-SE").and_then(seconds).map(Duration::from_secs);
        let grows = min > self.dialogs[at].interval;
        if !grows {
            self.wrong(format!("asks for no longer interval: {}", heard.told()));
        } else if self.dialogs[at].retries > 0 {
            self.seen.insert("a 422 in a dialog followed");
            self.dialogs[at].retries -= 1;
            self.dialogs[at].interval = min;
            let wait = self.rng.millis(0..=100);
            self.alarm(now + wait, Alarm::Again(at, why));
        }
    }

    /// What a 2xx of ours says of the session interval (RFC 4028 §9).
    pub fn timer_answer(&mut self, now: Timestamp, at: usize, request: &Heard) -> String {
        let (Some(_), Some(asked)) = (self.nature.timer, request.header("Session-Expires")) else {
            return String::new();
        };
        let seconds = seconds(asked).unwrap_or(1_800);
        let able = request.lists("Supported", "timer");
        let named = asked.split("refresher=").nth(1).map(str::trim);
        let theirs = match named {
            Some(named) => named == "uac",
            None => able && self.rng.one_in(2),
        };
        self.watch_timer(now, at, Duration::from_secs(seconds), !theirs);
        let require = if theirs { "Require: timer\r\n" } else { "" };
        format!(
            "{require}Session-Expires: {seconds};refresher={}\r\n",
            if theirs { "uac" } else { "uas" }
        )
    }

    /// What a 2xx of theirs says of it.
    pub fn learn_timer(&mut self, now: Timestamp, at: usize, heard: &Heard, asked: bool) {
        let Some(agreed) = heard.header("Session-Expires") else {
            return;
        };
        let seconds = seconds(agreed).unwrap_or(1_800);
        let by_us = agreed.contains("refresher=uac") == asked;
        if by_us && self.nature.timer.is_none() {
            self.wrong(format!(
                "{} makes it refresh a session timer that it does not know",
                heard.told()
            ));
        }
        self.watch_timer(now, at, Duration::from_secs(seconds), by_us);
    }

    fn watch_timer(&mut self, now: Timestamp, at: usize, interval: Duration, by_us: bool) {
        self.seen.insert("a session timer agreed");
        let dialog = &mut self.dialogs[at];
        dialog.interval = Some(interval);
        dialog.refreshes = by_us;
        dialog.refreshed += 1;
        let newest = dialog.refreshed;
        if by_us {
            self.alarm(now + interval / 2, Alarm::Refresh(at, newest));
        }
        let lead = EXPIRY_LEAD.min(interval / 3);
        self.alarm(now + interval - lead, Alarm::Expire(at, newest));
    }

    pub fn refresh(&mut self, now: Timestamp, at: usize, newest: u32) {
        if self.dialogs[at].refreshed != newest || self.dialogs[at].stage != Stage::Confirmed {
            return;
        }
        self.seen.insert("a session refreshed");
        let invite = !self.may(at, "UPDATE");
        self.change(
            now,
            at,
            Why::Change {
                invite,
                offers: invite,
                holds: false,
            },
        );
        // In case something else was under way, or it was refused.
        self.alarm(now + REFRESH_AGAIN, Alarm::Refresh(at, newest));
    }
}

fn seconds(value: &str) -> Option<u64> {
    value.split(';').next()?.trim().parse().ok()
}
