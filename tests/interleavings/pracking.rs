//! PRACK at the callee (RFC 3262 §3), with the offer or answer that it may bring (§5).

use std::rc::Rc;

use onrecord::model::Timestamp;

use super::answering::Until;
use super::phone::Phone;
use super::text::Heard;

impl Phone {
    pub fn on_prack(&mut self, now: Timestamp, at: usize, dialog: usize) {
        let heard = Rc::clone(&self.answering[at].request);
        let rseq: u32 = heard
            .header("RAck")
            .and_then(|rack| rack.split(' ').next()?.parse().ok())
            .unwrap_or(0);
        let matches = |until: &Until| match until {
            Until::Pracked(invited, fork, number) => {
                *number == rseq && self.invited[*invited].forks[*fork].dialog == Some(dialog)
            }
            _ => false,
        };
        let Some(repeat) = self.repeats.iter().position(|repeat| matches(&repeat.until)) else {
            self.answer(now, at, 481, "", "");
            return;
        };
        self.repeats.swap_remove(repeat);
        self.seen.insert("a PRACK arrived");
        self.on_prack_taken(now, at, dialog, &heard);
    }

    fn on_prack_taken(&mut self, now: Timestamp, at: usize, dialog: usize, heard: &Heard) {
        let sdp_sent = self
            .invited
            .iter()
            .flat_map(|invited| &invited.forks)
            .any(|fork| fork.dialog == Some(dialog) && fork.sdp_sent);
        let (by, sdp) = (heard.told(), heard.sdp());
        let session = &mut self.dialogs[dialog].session;
        if session.offered.is_some() {
            let verdict = match sdp {
                Some(sdp) => session.take_answer(&sdp, &by),
                None => Err(format!("{by} has no answer to the offer of its 18x")),
            };
            session.offered = None;
            self.judge(verdict);
            self.answer(now, at, 200, "", "");
            return;
        }
        if sdp_sent {
            session.answered();
        }
        let Some(sdp) = sdp else {
            self.answer(now, at, 200, "", "");
            return;
        };
        self.seen.insert("an offer in a PRACK arrived");
        let verdict = session.take_offer(&sdp, &by);
        session.answered();
        self.judge(verdict);
        let answer = self.answer_to(&sdp);
        self.answer(now, at, 200, "", &answer.write());
    }
}
