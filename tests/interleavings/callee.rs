//! The way into a call as its callee: a forking proxy with up to four phones behind it, each with its own To tag, and
//! one server transaction towards the proxy under test (RFC 3261 §16.7).

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use onrecord::model::Timestamp;

use super::answering::Until;
use super::phone::{Alarm, Dialog, Phone, Stage};
use super::script::{Rel100, Step};
use super::session::Session;
use super::text::response;

/// No phone rings longer.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ForkState {
    Ringing,
    Accepted,
    Rejected(u16),
}

#[derive(Clone, Debug)]
pub struct Ringing {
    state: ForkState,
    pub dialog: Option<usize>,
    rseq: u32,
    /// A reliable provisional with SDP of ours awaits its PRACK, or got it.
    pub sdp_sent: bool,
}

/// An INVITE from the proxy under test.
#[derive(Clone, Debug)]
pub struct Invited {
    at: usize,
    pub forks: Vec<Ringing>,
    cancelled: bool,
    /// The dialog that it takes the place of.
    replaces: Option<usize>,
}

impl Phone {
    pub fn on_invite(&mut self, now: Timestamp, at: usize) {
        let heard = Rc::clone(&self.answering[at].request);
        let merged = self.invited.iter().any(|invited| {
            let known = &self.answering[invited.at];
            known.request.call_id == heard.call_id && known.status == 0
        });
        if merged {
            self.answer(now, at, 482, "", "");
            return;
        }
        if self.trying {
            self.answer(now, at, 100, "", "");
        }
        if heard.lists("Require", "100rel") && self.nature.rel100 == Rel100::Unknown {
            self.answer(now, at, 420, "Unsupported: 100rel\r\n", "");
            return;
        }
        if self.refuses_interval(now, at) {
            return;
        }
        let replaces = match self.dialog_named(&heard) {
            Ok(replaces) => replaces,
            Err(status) => return self.answer(now, at, status, "", ""),
        };
        if heard.header("Join").is_some() {
            self.seen.insert("a Join accepted");
        }
        let ringing = Ringing {
            state: ForkState::Ringing,
            dialog: None,
            rseq: 0,
            sdp_sent: false,
        };
        self.invited.push(Invited {
            at,
            forks: vec![ringing; self.forks.len()],
            cancelled: false,
            replaces,
        });
        if self.forks.len() > 1 {
            self.seen.insert("an INVITE forked");
        }
        for fork in 0..self.forks.len() {
            self.alarm(now + PATIENCE, Alarm::ForkStops(self.invited.len() - 1, fork));
            if let Some((after, _)) = self.forks[fork].steps.first() {
                self.alarm(now + *after, Alarm::ForkStep(self.invited.len() - 1, fork, 0));
            }
        }
    }

    pub fn fork_step(&mut self, now: Timestamp, invited: usize, fork: usize, step: usize) {
        if self.invited[invited].forks[fork].state != ForkState::Ringing {
            return;
        }
        let waits = self
            .repeats
            .iter()
            .any(|repeat| matches!(repeat.until, Until::Pracked(of, which, _) if (of, which) == (invited, fork)));
        let updating = self.invited[invited].forks[fork]
            .dialog
            .is_some_and(|dialog| self.dialogs[dialog].session.offered.is_some());
        let (_, what) = self.forks[fork].steps[step];
        if (waits || updating) && !matches!(what, Step::Reject(_)) {
            // RFC 3262 §3: first things first.
            let wait = self.rng.millis(20..=100);
            self.alarm(now + wait, Alarm::ForkStep(invited, fork, step));
            return;
        }
        match what {
            Step::Ring { sdp, reliable } => self.ring(now, invited, fork, sdp, reliable),
            Step::Update => {
                if let Some(dialog) = self.invited[invited].forks[fork].dialog {
                    self.update(now, dialog, true);
                }
            }
            Step::Accept => self.accept(now, invited, fork),
            Step::Reject(status) => self.reject_fork(now, invited, fork, status),
        }
        if let Some((after, _)) = self.forks[fork].steps.get(step + 1) {
            self.alarm(now + *after, Alarm::ForkStep(invited, fork, step + 1));
        }
    }

    fn fork_dialog(&mut self, invited: usize, fork: usize) -> usize {
        if let Some(dialog) = self.invited[invited].forks[fork].dialog {
            return dialog;
        }
        let heard = Rc::clone(&self.answering[self.invited[invited].at].request);
        let tag = format!("{}{invited}f{fork}", self.seat.user());
        let owed = heard.sdp();
        let lines = owed.as_ref().map_or(0, |sdp| sdp.ports.len());
        let (to, from) = (
            heard.header("To").unwrap_or_default(),
            heard.header("From").unwrap_or_default(),
        );
        self.dialogs.push(Dialog {
            call_id: heard.call_id.clone(),
            ours: format!("{to};tag={tag}"),
            theirs: from.to_owned(),
            local_tag: tag,
            remote_tag: heard.from_tag.clone(),
            target: heard.contact().unwrap_or_default(),
            local_seq: 10 * fork as u32,
            remote_seq: heard.cseq,
            stage: Stage::Early,
            session: Session {
                owed,
                lines,
                ..Session::default()
            },
            is_caller: false,
            allowed: BTreeSet::new(),
            acts_left: self.nature.acts,
            retries: 3,
            rseq: 0,
            interval: None,
            refreshes: false,
            refreshed: 0,
        });
        let dialog = self.dialogs.len() - 1;
        self.learn_allow(dialog, &heard);
        self.invited[invited].forks[fork].dialog = Some(dialog);
        dialog
    }

    fn ring(&mut self, now: Timestamp, invited: usize, fork: usize, sdp: bool, reliable: bool) {
        let dialog = self.fork_dialog(invited, fork);
        let at = self.invited[invited].at;
        let heard = Rc::clone(&self.answering[at].request);
        let required = heard.lists("Require", "100rel");
        let able = (required || heard.lists("Supported", "100rel")) && self.nature.rel100 != Rel100::Unknown;
        let reliable = able && (reliable || required);
        let sdp_sent = self.invited[invited].forks[fork].sdp_sent;
        let owes = self.dialogs[dialog].session.owed.is_some();
        let body = match (sdp, reliable, owes) {
            (true, _, true) if !sdp_sent => self.preview(dialog),
            (true, true, false) if !sdp_sent && !self.dialogs[dialog].session.agreed => {
                let offer = self.offer(1, "sendrecv");
                self.dialogs[dialog].session.offers_by(&offer);
                offer.write()
            }
            _ => String::new(),
        };
        let status = if body.is_empty() {
            *self.rng.pick(&[180, 180, 181, 183])
        } else {
            183
        };
        let mut more = self.abilities();
        if reliable {
            let ringing = &mut self.invited[invited].forks[fork];
            ringing.rseq = if ringing.rseq == 0 {
                7 + fork as u32
            } else {
                ringing.rseq + 1
            };
            ringing.sdp_sent |= !body.is_empty();
            more += &format!("Require: 100rel\r\nRSeq: {}\r\n", ringing.rseq);
            self.seen.insert("a reliable 18x");
        }
        let text = response(&heard, status, &self.dialogs[dialog].local_tag, &more, &body);
        self.out.push(text.clone());
        if self.answering[at].status == 0 {
            self.answering[at].last = Some(text.clone());
        }
        if reliable {
            let rseq = self.invited[invited].forks[fork].rseq;
            self.repeat(now, Until::Pracked(invited, fork, rseq), text);
        }
    }

    /// The answer that an 18x promises: the same whenever it is given (RFC 6337 §3.1.1).
    fn preview(&mut self, dialog: usize) -> String {
        let session = &self.dialogs[dialog].session;
        if let Some(preview) = &session.preview {
            return preview.write();
        }
        let Some(offer) = session.owed.clone() else {
            return String::new();
        };
        let answer = self.answer_to(&offer);
        self.dialogs[dialog].session.preview = Some(answer.clone());
        answer.write()
    }

    fn accept(&mut self, now: Timestamp, invited: usize, fork: usize) {
        let dialog = self.fork_dialog(invited, fork);
        let at = self.invited[invited].at;
        let heard = Rc::clone(&self.answering[at].request);
        let body = if self.dialogs[dialog].session.owed.is_some() {
            let body = self.preview(dialog);
            self.dialogs[dialog].session.answered();
            body
        } else if self.dialogs[dialog].session.agreed {
            String::new()
        } else {
            let offer = self.offer(1, "sendrecv");
            self.dialogs[dialog].session.offers_by(&offer);
            self.dialogs[dialog].session.asked_by = Some(heard.cseq);
            offer.write()
        };
        let more = self.abilities() + &self.timer_answer(now, dialog, &heard);
        let text = response(&heard, 200, &self.dialogs[dialog].local_tag, &more, &body);
        self.out.push(text.clone());
        self.repeat(now, Until::Accepted(dialog, heard.cseq), text);
        self.dialogs[dialog].stage = Stage::Accepted;
        self.answering[at].last = None;
        if self.answering[at].status != 0 {
            self.seen.insert("several forks accepted");
        }
        if let Some(replaced) = self.invited[invited].replaces.take() {
            self.on_replaced(now, replaced);
        }
        if self.invited[invited].cancelled {
            self.seen.insert("a late 200 after a CANCEL");
        }
        self.answering[at].status = 200;
        self.invited[invited].forks[fork].state = ForkState::Accepted;
        for other in 0..self.invited[invited].forks.len() {
            if self.invited[invited].forks[other].state == ForkState::Ringing {
                // The forking proxy cancels the others, which may have picked up by then.
                let lag = if self.rng.one_in(2) {
                    self.rng.millis(0..=300)
                } else {
                    self.rng.millis(20_000..=20_000)
                };
                self.alarm(now + lag, Alarm::ForkStops(invited, other));
            }
        }
    }

    pub fn fork_stops(&mut self, now: Timestamp, invited: usize, fork: usize) {
        if self.invited[invited].forks[fork].state == ForkState::Ringing {
            self.reject_fork(now, invited, fork, 487);
        }
    }

    /// The caller has ended this early dialog (RFC 3261 §15).
    pub fn fork_ends(&mut self, now: Timestamp, dialog: usize) {
        let place = (0..self.invited.len()).find_map(|invited| {
            let fork = self.invited[invited]
                .forks
                .iter()
                .position(|fork| fork.dialog == Some(dialog))?;
            Some((invited, fork))
        });
        match place {
            Some((invited, fork)) => {
                self.seen.insert("a BYE in an early dialog crossed");
                self.reject_fork(now, invited, fork, 487);
            }
            // The 2xx went down with its connection, and no ACK came of it.
            None if self.by_stream => {
                self.bury(now, dialog);
                self.give_up_call(now, dialog);
            }
            None => self.wrong("a BYE in an early dialog of a caller".to_owned()),
        }
    }

    pub fn reject_fork(&mut self, now: Timestamp, invited: usize, fork: usize, status: u16) {
        if self.invited[invited].forks[fork].state != ForkState::Ringing {
            return;
        }
        self.invited[invited].forks[fork].state = ForkState::Rejected(status);
        self.repeats
            .retain(|repeat| !matches!(repeat.until, Until::Pracked(of, which, _) if (of, which) == (invited, fork)));
        if let Some(dialog) = self.invited[invited].forks[fork].dialog {
            self.bury(now, dialog);
        }
        let at = self.invited[invited].at;
        let states = self.invited[invited].forks.iter().map(|fork| fork.state);
        let rejected: Vec<u16> = states
            .filter_map(|state| {
                if let ForkState::Rejected(status) = state {
                    Some(status)
                } else {
                    None
                }
            })
            .collect();
        if rejected.len() < self.invited[invited].forks.len() || self.answering[at].status != 0 {
            return;
        }
        // The best: a 6xx, else the lowest class (RFC 3261 §16.7 item 6).
        let best = rejected
            .iter()
            .copied()
            .find(|status| *status >= 600)
            .or(rejected.iter().copied().min());
        let more = if best == Some(302) { self.elsewhere() } else { "" };
        self.answering[at].dialog = self.invited[invited].forks[fork].dialog;
        self.answer(now, at, best.unwrap_or(487), more, "");
    }

    /// Who else could be asked: others at the same address, the third, both, or the one who was asked already.
    fn elsewhere(&mut self) -> &'static str {
        const PLACES: [&str; 4] = [
            "Contact: <sip:carol@192.0.2.2:5060>\r\n",
            "Contact: <sip:carol@192.0.2.3:5060>\r\n",
            "Contact: <sip:carol@192.0.2.3:5060>;q=0.5, <sip:dora@192.0.2.2:5060>;q=0.9\r\n",
            "Contact: <sip:bob@192.0.2.2:5060>\r\n",
        ];
        self.rng.pick::<&str>(&PLACES)
    }

    pub fn on_call_cancelled(&mut self, now: Timestamp, at: usize) {
        let Some(invited) = self.invited.iter().position(|invited| invited.at == at) else {
            return;
        };
        if self.answering[at].status != 0 {
            self.seen.insert("a CANCEL crossed a final answer");
            return;
        }
        self.invited[invited].cancelled = true;
        self.seen.insert("a CANCEL arrived");
        for fork in 0..self.invited[invited].forks.len() {
            let lag = if self.rng.one_in(2) { 0 } else { 400 };
            let lag = self.rng.millis(0..=lag);
            self.alarm(now + lag, Alarm::ForkStops(invited, fork));
        }
    }
}
