//! What the proxy asks: in dialogs that are, in order, and never after their end.

use onrecord::model::Timestamp;
use onrecord::sip::Flow;

use super::{Law, Sent, Success, Tape};
use crate::phone::GIVE_UP;
use crate::seat::Seat;
use crate::text::Heard;

impl Law {
    /// The proxy sent a message.
    pub fn on_sent(&mut self, now: Timestamp, seat: Seat, flow: Flow, heard: &Heard) {
        if heard.is_request() {
            self.on_request(now, seat, flow, heard);
        } else {
            self.on_response(now, seat, heard);
        }
    }

    fn on_request(&mut self, now: Timestamp, seat: Seat, flow: Flow, heard: &Heard) {
        let is_ack = heard.method == "ACK";
        if is_ack {
            self.on_ack(seat, heard);
        }
        let known = self
            .sent
            .iter_mut()
            .find(|sent| sent.branch == heard.branch && sent.method == heard.method);
        if let Some(sent) = known {
            let verdict = if sent.text != heard.text() {
                Some("a request that changed on being sent again")
            } else if is_ack {
                None
            } else {
                sent.repeat(now)
            };
            if let Some(law) = verdict {
                self.break_by(law, heard);
            }
            return;
        }
        let mut bond = None;
        match heard.method.as_str() {
            "ACK" => {}
            "CANCEL" => self.on_cancel(now, heard),
            _ if heard.to_tag.is_empty() => self.on_opening(heard),
            "SUBSCRIBE" | "NOTIFY" if self.watches.contains(&heard.call_id) => {}
            _ => bond = self.on_request_within(now, seat, heard),
        }
        self.sent.push(Sent {
            branch: heard.branch.clone(),
            method: heard.method.clone(),
            text: heard.text().to_owned(),
            at: now,
            flow,
            copies: 1,
            rung: false,
            cancelled: None,
            answered: None,
            refusals: 0,
            acks: 0,
            bond,
            lost: false,
            killed: false,
        });
    }

    /// One for each final answer that came, no more.
    fn on_ack(&mut self, seat: Seat, heard: &Heard) {
        let mut invites = self.sent.iter_mut();
        if let Some(invite) = invites.find(|sent| sent.method == "INVITE" && sent.branch == heard.branch) {
            invite.acks += 1;
            if invite.answered.is_none_or(|(_, status)| status < 300) {
                self.break_by("an ACK without a refusal", heard);
            } else if invite.acks > invite.refusals {
                self.break_by("more ACKs than refusals", heard);
            }
            return;
        }
        let is = |success: &&mut Success| {
            success.seat == seat
                && success.call_id == heard.call_id
                && success.tag == heard.to_tag
                && success.cseq == heard.cseq
        };
        let Some(success) = self.successes.iter_mut().find(is) else {
            self.break_by("an ACK without a 2xx", heard);
            return;
        };
        success.acks += 1;
        if success.acks > success.copies {
            self.break_by("more ACKs than 2xx", heard);
        }
        if let Some(bond) = self.bond_of(seat, &heard.call_id, &heard.from_tag, &heard.to_tag) {
            let bond = &mut self.bonds[bond];
            bond.acknowledged |= heard.cseq == bond.invite;
        }
    }

    fn on_cancel(&mut self, now: Timestamp, heard: &Heard) {
        let invite = self
            .sent
            .iter_mut()
            .find(|sent| sent.method == "INVITE" && sent.branch == heard.branch);
        match invite {
            None => self.break_by("a CANCEL without an INVITE", heard),
            Some(sent) if !sent.rung => self.break_by("a CANCEL before a provisional answer", heard),
            Some(sent) if sent.answered.is_some() => self.break_by("a CANCEL after the final answer", heard),
            Some(sent) => sent.cancelled = Some(now),
        }
    }

    /// Strict: B hears nothing before the opening record is durable.
    fn on_opening(&mut self, heard: &Heard) {
        if heard.method == "SUBSCRIBE" {
            self.watches.insert(heard.call_id.clone());
        }
        if heard.method == "INVITE" && self.is_strict() {
            let ready = self
                .tapes
                .iter()
                .any(|tape| tape.ready && tape.call_ids.contains(&heard.call_id));
            if !ready {
                self.break_by("B rings before the recorder is ready", heard);
            }
        }
    }

    fn on_request_within(&mut self, now: Timestamp, seat: Seat, heard: &Heard) -> Option<usize> {
        let is_bye = heard.method == "BYE";
        let lost = is_bye && heard.all("Reason").any(|reason| reason.contains("Recording lost"));
        let relayed = |tape: &&Tape| tape.is_open() && tape.relays;
        let unshut = |tape: &Tape| !tape.shut && tape.call_ids.contains(&heard.call_id);
        // Of a transfer's two calls one may be lost alone.
        let mut tapes = self.tapes.iter().filter(relayed);
        if lost && tapes.clone().any(unshut) && !tapes.any(|tape| tape.shut) {
            self.break_by("BYE before the media is gated", heard);
        }
        let ends_early = self.ends_early;
        let Some(at) = self.bond_of(seat, &heard.call_id, &heard.from_tag, &heard.to_tag) else {
            self.break_by("a request in a dialog that nobody made", heard);
            return None;
        };
        let bond = &mut self.bonds[at];
        let silent = |sent: &&Sent| sent.bond == Some(at) && sent.method == "BYE" && now >= sent.at + GIVE_UP;
        if is_bye && !bond.bye_heard && self.sent.iter().any(|sent| silent(&sent)) {
            // Nobody answered: it goes another way.
            bond.byes = 0;
        }
        // How its transfer goes on may be told to who has hung up (RFC 5589 §6.1); our own BYE comes last.
        let is_notice = heard.method == "NOTIFY" && bond.bye_heard && bond.byes == 0;
        let verdict = if bond.is_ended() && is_bye {
            Some(if bond.byes > 0 {
                "a second BYE"
            } else {
                "a BYE to one who said BYE"
            })
        } else if bond.is_ended() && !is_notice {
            Some("a request after BYE")
        } else if heard.cseq <= bond.cseq {
            Some("CSeq does not grow")
        } else if is_bye && bond.confirmed.is_none() && !(ends_early && bond.by_us) {
            Some("BYE in an early dialog")
        } else if is_bye && !bond.acknowledged && bond.confirmed.is_some_and(|at| now < at + GIVE_UP) {
            Some("BYE before the ACK")
        } else {
            None
        };
        bond.cseq = bond.cseq.max(heard.cseq);
        bond.byes += u32::from(is_bye);
        if let Some(law) = verdict {
            self.break_by(law, heard);
        }
        Some(at)
    }
}
