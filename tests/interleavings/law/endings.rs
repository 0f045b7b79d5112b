//! What is owed when something fails, and when all is over.

use onrecord::model::{Outcome, SessionId, Timestamp};
use onrecord::sip::Flow;

use super::{Bond, FAULT_TO_BYE, LOST, Law, Served, Tape};
use crate::script::Grade;

impl Law {
    /// The process was killed: what was under way in it is lost, what it had written down goes on, if there is a call
    /// that it had.
    pub fn on_killed(&mut self, kept: &str) {
        let refers = |served: &Served| served.method == "REFER" && (200..300).contains(&served.status);
        if !kept.is_empty() && self.served.iter().any(refers) {
            self.seen.insert("a restart after a REFER");
        }
        for served in &mut self.served {
            served.status = if served.status == 0 { LOST } else { served.status };
            served.owed_by = None;
            served.lost = true;
            // Left to the next process.
            if let (LOST, "BYE", Some(bond)) = (served.status, served.method.as_str(), served.bond) {
                self.bonds[bond].bye_heard = false;
            }
        }
        for sent in &mut self.sent {
            // Who may still ask for proof of a BYE has a call that is kept, and a BYE that nobody remembers
            // (RFC 3261 §15.1.1, §22.2): the next process says it anew.
            let is_open = sent.answered.is_none_or(|(_, status)| status >= 300);
            if let ("BYE", true, Some(bond)) = (sent.method.as_str(), is_open, sent.bond)
                && kept.contains(&self.bonds[bond].theirs)
            {
                self.bonds[bond].byes = 0;
            }
            (sent.lost, sent.killed) = (true, true);
        }
        for success in &mut self.successes {
            success.lost = true;
        }
        for bond in &mut self.bonds {
            bond.forgotten |= !kept.contains(&bond.ours);
            bond.bye_heard |= bond.forgotten;
            // An answer in flight may be the last word.
            bond.acknowledged = true;
            bond.owed_by = None;
        }
        for tape in self.tapes.iter_mut().filter(|tape| tape.is_open()) {
            // Recovery seals it.
            tape.closed = 1;
            let exempt = self.grades.contains(&Grade::Exempt);
            tape.outcome = Some(if exempt { Outcome::Exempt } else { Outcome::Recorded });
        }
    }

    /// A connection broke, or was refused: the proxy may ask again elsewhere what nobody answered.
    pub fn on_unreachable(&mut self, flow: Flow) {
        for sent in self.sent.iter_mut().filter(|sent| sent.flow == flow) {
            if sent.rung || sent.answered.is_some() || sent.lost {
                continue;
            }
            sent.lost = true;
            if let ("BYE", Some(bond)) = (sent.method.as_str(), sent.bond) {
                let bond = &mut self.bonds[bond];
                (bond.byes, bond.bye_lost) = (0, true);
            }
        }
        for served in self.served.iter_mut().filter(|served| served.flow == flow) {
            // Its answers may have gone down with it.
            served.copies += 1;
        }
    }

    /// A datagram came back: nobody hears there.
    pub fn on_bounced(&mut self, branch: &str) {
        for sent in self.sent.iter_mut().filter(|sent| sent.branch == branch && !sent.rung) {
            sent.lost = true;
        }
    }

    /// The recorder is lost, or this recording alone: from here a strict call has to end, on both legs, in time.
    pub fn on_fault(&mut self, now: Timestamp, session: Option<SessionId>) {
        if !self.is_strict() || self.handed_over {
            return;
        }
        // Of a transfer's two calls one may be lost alone, and its party stay in the other.
        let is_moving = |tape: &Tape| {
            let mut others = self.tapes.iter();
            self.exchanges_parties && others.any(|other| tape.shares_dialogs(other))
        };
        let is_meant = |tape: &Tape| session.is_none_or(|session| session == tape.session && !is_moving(tape));
        let lost = |tape: &&Tape| tape.ready && tape.is_open() && is_meant(tape);
        let due = Some(now + FAULT_TO_BYE);
        for tape in self.tapes.iter().filter(lost) {
            let invite = tape.invite.and_then(|at| self.served.get(at));
            let (invite_at, number) = (tape.invite, invite.map(|invite| invite.cseq));
            let of_call = |bond: &&mut Bond| {
                // Later attempts of a caller have its Call-ID, too.
                tape.call_ids.contains(&bond.call_id) && (bond.by_us || Some(bond.invite) == number)
            };
            for bond in self.bonds.iter_mut().filter(of_call) {
                let bound = bond.confirmed.is_some() && (bond.by_us || bond.acknowledged);
                if bound && !bond.is_ended() {
                    self.seen.insert("a recorder lost in a confirmed call");
                    bond.owed_by = bond.owed_by.or(due);
                }
            }
            if let Some(served) = invite_at
                .map(|at| &mut self.served[at])
                .filter(|served| served.status == 0)
            {
                self.seen.insert("a recorder lost before the answer");
                served.owed_by = served.owed_by.or(due);
            }
        }
    }

    /// What was owed by now.
    pub fn check(&mut self, now: Timestamp) {
        for bond in &mut self.bonds {
            if bond.owed_by.is_some_and(|due| due < now) {
                if !bond.is_ended() && !bond.bye_lost {
                    self.broken
                        .push(format!("no BYE 250 ms after the recorder was lost: to {}", bond.seat));
                }
                bond.owed_by = None;
            }
        }
        for served in &mut self.served {
            if served.owed_by.take_if(|due| *due < now).is_some() {
                self.broken
                    .push("a caller has no final answer 250 ms after the recorder was lost".to_owned());
            }
        }
    }

    /// All timers have run out.
    pub fn audit(&mut self) {
        for served in self.served.iter().filter(|served| served.status == 0) {
            self.broken.push(format!(
                "a request was never answered: {} of {}",
                served.method, served.seat
            ));
        }
        for success in self
            .successes
            .iter()
            .filter(|success| success.acks == 0 && !success.lost)
        {
            self.broken.push(format!(
                "a 2xx was never acknowledged: of {} to INVITE {} of {}",
                success.tag, success.cseq, success.seat
            ));
        }
        for bond in self
            .bonds
            .iter()
            .filter(|bond| bond.confirmed.is_some() && !bond.is_ended() && !bond.bye_lost)
        {
            self.broken.push(format!(
                "a dialog was never ended: {}→{} with {}",
                bond.ours, bond.theirs, bond.seat
            ));
        }
        let calls = self
            .served
            .iter()
            .filter(|served| served.opens && served.method == "INVITE" && served.trying)
            .count();
        let (tapes, connected) = (self.tapes.len(), self.connected);
        if tapes < calls && !self.loses_outcomes {
            self.broken
                .push(format!("fewer outcomes than calls: {tapes} of {calls}"));
        }
        for tape in &self.tapes {
            let ends = tape.closed + tape.kept;
            let fits = match tape.outcome {
                Some(Outcome::Exempt) => self.grades.contains(&Grade::Exempt),
                Some(Outcome::Blocked) => !connected || tapes != 1 || self.loses_outcomes,
                outcome => outcome.is_some() && self.grades.iter().any(|grade| *grade != Grade::Exempt),
            };
            if ends != 1 || !fits {
                let outcome = tape.outcome;
                self.broken.push(format!(
                    "not one outcome that fits: {:?}, ended {ends} times, {outcome:?}, connected {connected}",
                    self.grades
                ));
            }
            self.seen.extend(tape.outcome.map(Outcome::as_str));
        }
    }
}
