//! REFER, and INVITEs that name a dialog (RFC 3515, RFC 3891, RFC 3911): transfers, pickup, joining.

use std::rc::Rc;

use onrecord::model::Timestamp;

use super::asking::Why;
use super::phone::{Alarm, PROXY, Phone, Stage};
use super::seat::Seat;
use super::text::Heard;

/// Calls that one phone places for others.
const REFERRED_MAX: usize = 4;
/// How often a consulting caller looks whether both calls are up, a second apart.
const LOOKS_MAX: u32 = 20;

impl Phone {
    /// A blind transfer.
    pub fn refer(&mut self, now: Timestamp, at: usize) {
        if self.may(at, "REFER") {
            self.seen.insert("a REFER");
            let refer_to = if self.knows_third {
                format!("<sip:{}@{PROXY}>", Seat::C.user())
            } else {
                "<sip:dave@example.com>".to_owned()
            };
            self.refer_to(now, at, &refer_to);
        }
    }

    fn refer_to(&mut self, now: Timestamp, at: usize, refer_to: &str) {
        let more = format!(
            "Contact: {}\r\nRefer-To: {refer_to}\r\nReferred-By: <sip:{}@example.com>\r\n",
            self.contact(),
            self.seat.user()
        );
        self.ask_within(now, at, "REFER", &more, "", Why::Pass);
    }

    /// An attended transfer: the party of our first call is to take our place in the second, which may ring still.
    pub fn join_parties(&mut self, now: Timestamp, looks: u32) {
        let at = |phone: &Self, call: usize, stage: Stage| {
            let mut dialogs = phone.dialogs_of(call).into_iter();
            dialogs.find(|dialog| phone.dialogs[*dialog].stage == stage)
        };
        let first = at(self, 0, Stage::Confirmed);
        let rings = at(self, 1, Stage::Early).filter(|_| first.is_some() && self.rng.one_in(2));
        if rings.is_some() {
            self.seen.insert("a semi-attended transfer");
        }
        let (Some(first), Some(second)) = (first, rings.or(at(self, 1, Stage::Confirmed))) else {
            if looks < LOOKS_MAX {
                let wait = self.rng.millis(500..=1_000);
                self.alarm(now + wait, Alarm::Join(looks + 1));
            }
            return;
        };
        self.seen.insert("an attended transfer");
        let other = &self.dialogs[second];
        let replaces = format!(
            "{}%3Bto-tag%3D{}%3Bfrom-tag%3D{}",
            other.call_id, other.remote_tag, other.local_tag
        );
        let refer_to = format!("<{}?Replaces={replaces}>", other.target);
        self.refer_to(now, first, &refer_to);
    }

    pub fn on_refer(&mut self, now: Timestamp, at: usize, dialog: usize) {
        self.seen.insert("a REFER crossed");
        let heard = Rc::clone(&self.answering[at].request);
        if self.rng.one_in(5) {
            self.answer(now, at, 603, "", "");
            return;
        }
        let contact = format!("Contact: {}\r\n", self.contact());
        self.answer(now, at, 202, &contact, "");
        let (first, last) = (self.rng.millis(0..=200), self.rng.millis(200..=2_000));
        self.alarm(now + first, Alarm::Notify(dialog, None));
        let follows = self.knows_third && self.placings.len() < REFERRED_MAX && !self.rng.one_in(4);
        let Some((uri, more)) = refer_to(&heard).filter(|_| follows) else {
            self.alarm(now + last, Alarm::Notify(dialog, Some(200)));
            return;
        };
        self.seen.insert(if more.contains("Replaces") {
            "a call placed with Replaces"
        } else {
            "a call placed for a REFER"
        });
        let by = heard.header("Referred-By").unwrap_or_default();
        let mut placing = self.another(uri, format!("{more}Referred-By: {by}\r\n"));
        placing.referred_in = Some(dialog);
        let wait = self.rng.millis(0..=100);
        self.place_at(now + wait, placing);
    }

    /// How a transfer goes on (RFC 3515 §2.4.4).
    pub fn notify(&mut self, now: Timestamp, at: usize, last: Option<u16>) {
        if self.dialogs[at].stage == Stage::Confirmed {
            let (state, body) = match last {
                Some(status) => ("terminated;reason=noresource", format!("SIP/2.0 {status} Whatever")),
                None => ("active;expires=60", "SIP/2.0 100 Trying".to_owned()),
            };
            let more = format!(
                "Contact: {}\r\nEvent: refer\r\nSubscription-State: {state}\r\n",
                self.contact()
            );
            self.ask_within(now, at, "NOTIFY", &more, &body, Why::Pass);
        }
    }

    /// What a NOTIFY in a call says: who has transferred the other side is done with it.
    pub fn on_notified(&mut self, now: Timestamp, dialog: usize, heard: &Heard) {
        let transferred = heard.header("Event") == Some("refer") && heard.body().starts_with("SIP/2.0 200");
        if transferred && self.rng.one_in(2) {
            self.seen.insert("a transfer done");
            let wait = self.rng.millis(0..=50);
            self.alarm(now + wait, Alarm::HangUp(dialog));
        }
    }

    /// The dialog that an INVITE is to replace or join; a refusal if there is none (RFC 3891 §3, RFC 3911 §4).
    pub fn dialog_named(&self, invite: &Heard) -> Result<Option<usize>, u16> {
        let (Some(value), joins) = (
            invite.header("Replaces").or(invite.header("Join")),
            invite.header("Join").is_some(),
        ) else {
            return Ok(None);
        };
        let mut parts = value.split(';').map(str::trim);
        let call_id = parts.next().unwrap_or_default();
        let (mut ours, mut theirs, mut early_only) = ("", "", false);
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("to-tag", tag) => ours = tag,
                ("from-tag", tag) => theirs = tag,
                (name, _) => early_only |= name == "early-only",
            }
        }
        let is = |at: &usize| {
            let dialog = &self.dialogs[*at];
            dialog.call_id == call_id && dialog.local_tag == ours && dialog.remote_tag == theirs
        };
        let at = (0..self.dialogs.len()).find(is).ok_or(481_u16)?;
        let dialog = &self.dialogs[at];
        match dialog.stage {
            Stage::Early if joins || !dialog.is_caller => Err(481),
            Stage::Confirmed | Stage::Accepted if early_only => Err(486),
            Stage::Early | Stage::Confirmed | Stage::Accepted => Ok((!joins).then_some(at)),
            Stage::Leaving | Stage::Watching | Stage::Over => Err(603),
        }
    }

    /// The INVITE that replaces this dialog was accepted.
    pub fn on_replaced(&mut self, now: Timestamp, at: usize) {
        let dialog = &self.dialogs[at];
        match dialog.stage {
            Stage::Early => {
                self.seen.insert("an early dialog replaced");
                let call_id = dialog.call_id.clone();
                if let Some(call) = self.placings.iter().position(|placing| placing.call_id == call_id) {
                    self.cancel(now, call);
                }
            }
            Stage::Confirmed => {
                self.seen.insert("a dialog replaced");
                self.hang_up(now, at);
            }
            _ => {}
        }
    }
}

/// Where a REFER sends: the Request-URI, and the header lines that the URI carries (RFC 3261 §19.1.5).
fn refer_to(heard: &Heard) -> Option<(String, String)> {
    let (_, rest) = heard.header("Refer-To")?.split_once('<')?;
    let uri = rest.split_once('>')?.0;
    if !uri.contains(PROXY) {
        return None;
    }
    let (uri, headers) = uri.split_once('?').unwrap_or((uri, ""));
    let mut more = String::new();
    for header in headers.split('&').filter(|header| !header.is_empty()) {
        let (name, value) = header.split_once('=')?;
        let value = ["%3B", "%3D", "%40", "%3b", "%3d"]
            .iter()
            .zip([";", "=", "@", ";", "="])
            .fold(value.to_owned(), |value, (escaped, plain)| {
                value.replace(escaped, plain)
            });
        more += &format!("{name}: {value}\r\n");
    }
    Some((uri.to_owned(), more))
}
