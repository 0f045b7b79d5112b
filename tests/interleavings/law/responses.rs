//! What the proxy answers: once for good, and no oftener than its timers say.

use onrecord::model::Timestamp;

use super::{LOST, Law, Served};
use crate::seat::Seat;
use crate::text::Heard;

/// How often an answer to an INVITE is sent again until its ACK: T1, doubled up to T2, for 64 × T1 (RFC 3261 §13.3.1.4,
/// §17.2.1).
const REPEATS_MAX: u32 = 10;

impl Served {
    /// An OPTIONS to the proxy is answered without state: each copy is told what holds when it comes.
    fn is_answered_otherwise(&self, heard: &Heard) -> bool {
        self.tag != heard.to_tag || self.status != heard.status && self.method != "OPTIONS"
    }

    /// A final answer goes out; what that breaks.
    fn on_final(&mut self) -> Option<&'static str> {
        self.finals += 1;
        let repeats = match (self.method.as_str(), self.status, self.flow.transport.is_stream()) {
            ("INVITE", 200..300, _) | ("INVITE", _, false) => REPEATS_MAX,
            _ => 0,
        };
        let repeats_after_ack = self
            .at_ack
            .is_some_and(|(copies, finals)| self.finals - finals > self.copies - copies);
        if self.lost {
            None
        } else if self.finals > self.copies + repeats {
            Some("an answer sent too often")
        } else if repeats_after_ack {
            Some("an answer sent again after its ACK")
        } else {
            None
        }
    }
}

impl Law {
    pub(super) fn on_response(&mut self, now: Timestamp, seat: Seat, heard: &Heard) {
        let served = self
            .served
            .iter_mut()
            .find(|served| served.branch == heard.branch && served.method == heard.cseq_method);
        let Some(served) = served else {
            self.break_by("answers nothing that was asked", heard);
            return;
        };
        let mut verdict = None;
        if heard.status < 200 {
            served.trying = true;
            if !matches!(served.status, 0 | LOST) && !served.lost {
                verdict = Some("a provisional answer after the final one");
            }
        } else if matches!(served.status, 0 | LOST) {
            (served.status, served.tag) = (heard.status, heard.to_tag.clone());
            served.owed_by = None;
            verdict = served.on_final();
        } else if !served.lost && served.is_answered_otherwise(heard) {
            verdict = Some("two final answers to one request");
        } else {
            verdict = served.on_final();
        }
        let opens = served.opens;
        let hung_up = heard.status / 100 == 2 && served.method == "INVITE" && served.copies < served.finals;
        let bond = self.bond_of(seat, &heard.call_id, &heard.to_tag, &heard.from_tag);
        if hung_up && bond.is_some_and(|bond| self.bonds[bond].bye_heard && opens) {
            verdict = verdict.or(Some("a 2xx sent again after BYE"));
        }
        if let Some(law) = verdict {
            self.break_by(law, heard);
            return;
        }
        if heard.status == 491 {
            self.seen.insert("glare at the proxy");
        }
        if heard.cseq_method != "INVITE" || !(101..300).contains(&heard.status) || !opens {
            return;
        }
        let bond = self.make_bond(seat, false, heard, [&heard.to_tag, &heard.from_tag]);
        if heard.status >= 200 {
            self.connected = true;
            self.bonds[bond].confirmed.get_or_insert(now);
        }
    }
}
