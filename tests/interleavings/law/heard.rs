//! What reaches the proxy: what it owes from then on.

use onrecord::model::Timestamp;
use onrecord::sip::Flow;

use super::{Law, Served, Success};
use crate::seat::Seat;
use crate::text::Heard;

impl Law {
    /// A message reached the proxy.
    pub fn on_heard(&mut self, now: Timestamp, seat: Seat, flow: Flow, heard: &Heard) {
        if let Some(sdp) = heard.sdp() {
            self.named.extend(sdp.addresses());
            let named = self.named_in.entry(heard.call_id.clone()).or_default();
            named.extend(sdp.addresses());
        }
        if !heard.is_request() {
            self.on_answer(now, seat, heard);
            return;
        }
        let bond = self.bond_of(seat, &heard.call_id, &heard.to_tag, &heard.from_tag);
        let mut ends_early = false;
        if let Some(bond) = bond.map(|bond| &mut self.bonds[bond]) {
            // The ACK to a refusal names a dialog, too, that never was one.
            bond.acknowledged |= heard.method == "ACK" && heard.cseq == bond.invite && bond.confirmed.is_some();
            bond.bye_heard |= heard.method == "BYE";
            ends_early |= heard.method == "BYE" && !bond.acknowledged && !bond.by_us;
        }
        self.ends_early |= ends_early;
        if heard.method == "ACK" {
            self.on_acknowledged(seat, heard);
            return;
        }
        let mut known = self.served.iter_mut();
        if let Some(served) = known.find(|served| served.branch == heard.branch && served.method == heard.method) {
            served.copies += 1;
            return;
        }
        if heard.method == "SUBSCRIBE" && heard.to_tag.is_empty() {
            self.watches.insert(heard.call_id.clone());
        }
        self.served.push(Served {
            seat,
            branch: heard.branch.clone(),
            call_id: heard.call_id.clone(),
            cseq: heard.cseq,
            method: heard.method.clone(),
            flow,
            opens: heard.to_tag.is_empty(),
            trying: false,
            status: 0,
            tag: String::new(),
            owed_by: None,
            bond,
            copies: 1,
            finals: 0,
            at_ack: None,
            lost: false,
        });
    }

    fn on_acknowledged(&mut self, seat: Seat, ack: &Heard) {
        let is = |served: &&mut Served| {
            served.method == "INVITE"
                && served.seat == seat
                && served.call_id == ack.call_id
                && served.cseq == ack.cseq
                && served.tag == ack.to_tag
        };
        if let Some(served) = self.served.iter_mut().find(is) {
            served.at_ack.get_or_insert((served.copies, served.finals));
        }
    }

    fn on_answer(&mut self, now: Timestamp, seat: Seat, heard: &Heard) {
        let sent = self
            .sent
            .iter_mut()
            .find(|sent| sent.branch == heard.branch && sent.method == heard.cseq_method);
        let Some(sent) = sent else { return };
        let awaited = sent.awaits(now);
        sent.rung |= awaited;
        sent.refusals += u32::from(heard.status >= 300);
        if heard.status >= 200 && awaited && sent.answered.is_none() {
            sent.answered = Some((now, heard.status));
        }
        let again = matches!(heard.status, 401 | 404 | 407 | 408 | 480 | 500..600);
        if let ("BYE", true, Some(bond)) = (sent.method.as_str(), again, sent.bond) {
            // It may be said again, with credentials or another way.
            let bond = &mut self.bonds[bond];
            (bond.byes, bond.bye_lost) = (0, true);
            return;
        }
        let is_late = !awaited && heard.status >= 200;
        if sent.method != "INVITE" || heard.status >= 300 || !(awaited || is_late) || heard.to_tag.is_empty() {
            return;
        }
        let is_owed = awaited || sent.killed && !self.handed_over;
        let is_new = self
            .bond_of(seat, &heard.call_id, &heard.from_tag, &heard.to_tag)
            .is_none();
        let bond = self.make_bond(seat, true, heard, [&heard.from_tag, &heard.to_tag]);
        if heard.status < 200 {
            return;
        }
        let known = &mut self.bonds[bond];
        known.confirmed.get_or_insert(now);
        if is_late && (is_new || std::mem::take(&mut known.forgotten)) {
            // Whose dialog nobody has is ended, if it says that it is up.
            self.seen.insert("a 2xx to an INVITE that nobody remembers");
            (known.acknowledged, known.byes, known.bye_heard) = (true, 0, false);
            known.bye_lost |= !is_owed;
        } else if is_late && known.byes > 0 {
            // Its call is over by now, and nobody knows that its BYE has been said.
            (known.byes, known.bye_lost) = (0, true);
        }
        let is = |success: &&mut Success| {
            success.seat == seat
                && success.call_id == heard.call_id
                && success.tag == heard.to_tag
                && success.cseq == heard.cseq
        };
        match self.successes.iter_mut().find(is) {
            Some(success) => {
                success.copies += 1;
                success.lost &= !is_late || !is_owed;
            }
            None => self.successes.push(Success {
                seat,
                call_id: heard.call_id.clone(),
                tag: heard.to_tag.clone(),
                cseq: heard.cseq,
                copies: 1,
                acks: 0,
                lost: !is_owed,
            }),
        }
    }
}
