//! Forks: one INVITE, several early dialogs (RFC 3261 §12.1, §13.2.2.4). Each tag of B's is one early dialog with A, under a
//! tag of its own, with its own offer and answer over the same ports. One of them is in focus: `a`, `b` and `negotiation`
//! hold its state. Between events that is the one whose media is relayed.

use std::sync::Arc;

use super::leg::path_of;
use crate::b2bua::call::Call;
use crate::b2bua::crossing::numbering;
use crate::b2bua::ending::{Farewell, Leaving, answered};
use crate::b2bua::identity::Claims;
use crate::b2bua::invite::Reliable;
use crate::b2bua::session::Agreement;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Header, Leg};
use crate::policy::Decision;
use crate::sip::dialog::Dialog;
use crate::sip::{Flow, Headers, Method, Request, Response};

/// Early dialogs of one call. The provisional responses of more are dropped; a 2xx is taken from any.
pub const FORKS_MAX: usize = 16;
/// Second 2xx that are ended in order; more are left to time out.
pub const ENDED_MAX: usize = 8;

/// An early dialog that is not in focus.
#[derive(Debug)]
struct Early {
    /// Ours towards A: its name inside the call.
    local_tag: String,
    a: Option<Dialog>,
    b: Option<Dialog>,
    agreement: Agreement,
    reliable: Reliable,
    rings: Claims,
}

#[derive(Debug, Default)]
pub struct Forks {
    others: Vec<Early>,
    /// What every fork starts from: the offer of the INVITE, not answered yet.
    begun: Agreement,
    /// What was decided before anybody was heard ringing.
    called: Option<(Arc<Header>, Arc<Decision>)>,
    /// Our tag of the fork whose media is relayed; None while there is one only.
    heard: Option<String>,
    /// B's ends of those that were over when another answered: there we spoke, and their CSeq numbers go on.
    silenced: Vec<Dialog>,
    /// B's ends of those that had a BYE, and of one that went over to another call: a 2xx of theirs is acknowledged, and no
    /// more.
    parted: Vec<Dialog>,
    ended: Vec<Ended>,
    /// At most as many as `ended`.
    pub(in crate::b2bua) leaving: Vec<Leaving>,
}

/// A second 2xx that was ended.
#[derive(Debug)]
pub struct Ended {
    /// B's tag.
    pub(in crate::b2bua) tag: String,
    /// The ACK that it got, and by which path.
    pub(in crate::b2bua) ack: Request,
    pub(in crate::b2bua) flow: Flow,
}

impl Forks {
    /// Who rings is about to be decided for.
    pub(in crate::b2bua) fn note_called(&mut self, header: &Arc<Header>, decision: &Arc<Decision>) {
        self.called
            .get_or_insert_with(|| (Arc::clone(header), Arc::clone(decision)));
    }
}

impl Call {
    /// Brings the early dialog that a request names into focus. False when there is none.
    pub(in crate::b2bua) fn focus_on_request(&mut self, side: Leg, request: &Request) -> bool {
        let (theirs, ours) = (request.headers.from().tag(), request.headers.to().tag());
        match side {
            Leg::A => self.focus_on(ours.unwrap_or_default()),
            Leg::B => self.focus_on_callee(theirs.unwrap_or_default()),
        }
    }

    /// Brings the early dialog with this tag of ours towards A into focus.
    pub(in crate::b2bua) fn focus_on(&mut self, local_tag: &str) -> bool {
        if self.a.local_tag == local_tag {
            return true;
        }
        let found = self.forks.others.iter().position(|early| early.local_tag == local_tag);
        found.map(|at| self.swap(at)).is_some()
    }

    pub(super) fn focus_on_callee(&mut self, tag: &str) -> bool {
        let is_it = |dialog: &Option<Dialog>| dialog.as_ref().is_some_and(|dialog| dialog.remote_tag() == tag);
        if is_it(&self.b.dialog) {
            return true;
        }
        let found = self.forks.others.iter().position(|early| is_it(&early.b));
        found.map(|at| self.swap(at)).is_some()
    }

    /// Brings the early dialog that a provisional response belongs to, or makes, into focus. False when it is one too
    /// many, or had its BYE.
    pub(in crate::b2bua) fn focus_on_progress(&mut self, turn: &mut Turn<'_>, response: &Response) -> bool {
        let Some(tag) = response.headers.to().tag() else {
            return true;
        };
        if self.forks.parted.iter().any(|parted| parted.remote_tag() == tag) {
            return false;
        }
        if self.b.dialog.is_none() {
            self.forks.begun = self.negotiation.agreement().clone();
            self.b.dialog = self.dialog_with_b(response);
            return true;
        }
        if self.focus_on_callee(tag) {
            return true;
        }
        if self.forks.others.len() + 1 >= FORKS_MAX {
            tracing::debug!(session = %self.id, "too many forks of one INVITE");
            return false;
        }
        self.branch_off(turn);
        self.b.dialog = self.dialog_with_b(response);
        true
    }

    /// The first 2xx: its early dialog, or a new one, is the call's from now on; the others are over.
    pub(in crate::b2bua) fn focus_on_winner(&mut self, turn: &mut Turn<'_>, response: &Response) {
        let tag = response.headers.to().tag().unwrap_or_default();
        if self.b.dialog.is_some() && self.focus_on_callee(tag) {
            if let Some(early) = &mut self.b.dialog {
                early.confirm(response);
            }
        } else {
            if self.b.dialog.is_some() {
                self.branch_off(turn);
            }
            self.b.dialog = self.dialog_with_b(response);
        }
        self.forks.heard = None;
        self.forks.begun = Agreement::default();
        let others = std::mem::take(&mut self.forks.others);
        if others.is_empty() {
            return;
        }
        self.forks.silenced = others.into_iter().filter_map(|early| early.b).collect();
        if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.fork != self.a.local_tag)
        {
            self.close_exchange(turn);
        }
    }

    /// Who answers and is not named is who was called, whoever else was heard ringing. What is recorded stays so.
    pub(in crate::b2bua) fn name_called(&mut self, turn: &Turn<'_>, headers: &Headers) {
        let Some((header, decision)) = self.forks.called.take() else {
            return;
        };
        if numbering::asserted(headers, &self.b.trunk, turn.policies).is_empty() {
            self.name_callee(turn, &header, &decision);
        }
    }

    fn name_callee(&mut self, turn: &Turn<'_>, header: &Header, decision: &Decision) {
        if decision.callee != self.decision.callee {
            self.supersede_decision(turn.now);
            Arc::make_mut(&mut self.header).callee.clone_from(&header.callee);
            Arc::make_mut(&mut self.decision).callee.clone_from(&decision.callee);
            self.is_amended |= self.chronicle.is_kept();
        }
    }

    /// There is no call: whoever of the forks still answers comes too late.
    pub(in crate::b2bua) fn silence_forks(&mut self) {
        let others = std::mem::take(&mut self.forks.others).into_iter();
        let early = self.b.dialog.take().into_iter();
        self.forks
            .silenced
            .extend(early.chain(others.filter_map(|other| other.b)));
    }

    /// B is asked anew, or another B: what the forks of the last attempt agreed is forgotten, and so is who rang there; an
    /// answer to come reaches A in a dialog of its own.
    pub(in crate::b2bua) fn start_over(&mut self, turn: &mut Turn<'_>) {
        if self.b.dialog.is_some() {
            self.branch_off(turn);
        }
        self.forks.others.clear();
        self.forks.heard = None;
        if let Some((header, decision)) = self.forks.called.take() {
            self.name_callee(turn, &header, &decision);
        }
        self.rings = Claims::default();
    }

    /// Another 2xx to the same INVITE. From the dialog that we took it needs nothing yet; a fork is acknowledged and ended
    /// by it (RFC 3261 §13.2.2.4), once.
    pub(in crate::b2bua) fn on_fork(&mut self, turn: &mut Turn<'_>, response: &Response) {
        let tag = response.headers.to().tag().unwrap_or_default();
        if self.b.dialog.as_ref().is_some_and(|dialog| dialog.remote_tag() == tag) {
            return;
        }
        if self.acknowledge_parted(turn, response) {
            return;
        }
        if let Some(ended) = self.forks.ended.iter().find(|ended| ended.tag == tag) {
            turn.resend(self.b.line_by(ended.flow, &self.chronicle), ended.ack.clone());
            return;
        }
        let silenced = &mut self.forks.silenced;
        let fork = self
            .b
            .invite
            .as_ref()
            .and_then(|invite| answered(silenced, invite, response));
        let Some(fork) = fork.filter(|_| self.forks.ended.len() < ENDED_MAX) else {
            return;
        };
        let flow = path_of(&self.b.trunk, &fork, self.invited_by);
        let line = self.b.line_by(flow, &self.chronicle);
        let ack = turn.send(line, fork.ack(response.headers.cseq().number));
        self.end_fork(turn, fork, flow);
        let tag = tag.to_owned();
        self.forks.ended.push(Ended { tag, ack, flow });
    }

    /// The callee goes over to another call; its 2xx may come again, for its ACK.
    pub(in crate::b2bua) fn part_with(&mut self, callee: Option<Dialog>) {
        self.forks.parted.extend(callee);
    }

    /// Whether the 2xx is of an early dialog that A has ended (RFC 3261 §15): the two crossed.
    pub(in crate::b2bua) fn acknowledge_parted(&mut self, turn: &mut Turn<'_>, response: &Response) -> bool {
        let tag = response.headers.to().tag().unwrap_or_default();
        let Some(at) = self.forks.parted.iter().position(|parted| parted.remote_tag() == tag) else {
            return false;
        };
        let parted = self.forks.parted.swap_remove(at);
        let flow = path_of(&self.b.trunk, &parted, self.invited_by);
        let line = self.b.line_by(flow, &self.chronicle);
        let ack = turn.send(line, parted.ack(response.headers.cseq().number));
        let tag = tag.to_owned();
        self.forks.ended.push(Ended { tag, ack, flow });
        true
    }

    /// For what comes after an INVITE: the early dialogs that never were answered, those that had a BYE, and the second 2xx
    /// that were ended.
    pub(in crate::b2bua) fn part_with_forks(&mut self) -> (Vec<Dialog>, Vec<Dialog>, Vec<Ended>) {
        let forks = &mut self.forks;
        let mut early = std::mem::take(&mut forks.silenced);
        early.extend(forks.others.iter_mut().filter_map(|fork| fork.b.take()));
        (
            early,
            std::mem::take(&mut forks.parted),
            std::mem::take(&mut forks.ended),
        )
    }

    /// A BYE for the early dialog in focus, while others are left: it alone is over (RFC 3261 §15). False when it is the
    /// last, or all are over already.
    pub(in crate::b2bua) fn end_early(&mut self, turn: &mut Turn<'_>, by: Leg, farewell: &Farewell) -> bool {
        if self.forks.others.is_empty() || self.phase == Phase::Ending {
            return false;
        }
        if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.fork == self.a.local_tag)
        {
            self.close_exchange(turn);
        }
        if by == Leg::A
            && let Some(mut bye) = self.b.dialog_request(Method::Bye)
        {
            farewell.write(&mut bye);
            let client = turn.request(self.id, self.line(Leg::B), bye);
            turn.wire.disown_client(client);
        }
        let was_heard = self.forks.heard.as_ref().is_none_or(|heard| *heard == self.a.local_tag);
        let newest = self.forks.others.len() - 1;
        self.swap(newest);
        self.forks
            .parted
            .extend(self.forks.others.drain(newest..).filter_map(|early| early.b));
        if self.forks.others.is_empty() {
            self.forks.heard = None;
        } else if was_heard {
            self.forks.heard = Some(self.a.local_tag.clone());
        }
        if was_heard {
            self.renew_media(turn);
        }
        true
    }

    /// The dialogs of the call, with A and with B: that in focus, then the other early ones.
    pub(in crate::b2bua) fn dialogs(&self) -> impl Iterator<Item = [Option<&Dialog>; 2]> {
        let others = self.forks.others.iter();
        let others = others.map(|early| [early.a.as_ref(), early.b.as_ref()]);
        std::iter::once([self.a.dialog.as_ref(), self.b.dialog.as_ref()]).chain(others)
    }

    /// The media of the fork in focus is what the relay carries now.
    pub(in crate::b2bua) fn hear_focus(&mut self) {
        if !self.forks.others.is_empty() {
            self.forks.heard = Some(self.a.local_tag.clone());
        }
    }

    /// After every event the fork whose media is relayed is in focus again.
    pub(in crate::b2bua) fn rest_on_heard(&mut self) {
        if let Some(heard) = self.forks.heard.take() {
            self.focus_on(&heard);
            self.forks.heard = Some(heard);
        }
    }

    /// A new early dialog comes into focus: a new tag towards A, nothing agreed but the INVITE's offer.
    fn branch_off(&mut self, turn: &mut Turn<'_>) {
        self.forks.heard.get_or_insert_with(|| self.a.local_tag.clone());
        let local_tag = turn.wire.mint().tag();
        self.tags.push((local_tag.clone(), Leg::A));
        self.forks.others.push(Early {
            local_tag,
            a: None,
            b: None,
            agreement: self.negotiation.branched(&self.forks.begun),
            reliable: Reliable::default(),
            rings: Claims::default(),
        });
        self.swap(self.forks.others.len() - 1);
    }

    fn swap(&mut self, at: usize) {
        let Some(early) = self.forks.others.get_mut(at) else {
            return;
        };
        std::mem::swap(&mut early.local_tag, &mut self.a.local_tag);
        std::mem::swap(&mut early.a, &mut self.a.dialog);
        std::mem::swap(&mut early.b, &mut self.b.dialog);
        std::mem::swap(&mut early.reliable, &mut self.reliable);
        std::mem::swap(&mut early.rings, &mut self.rings);
        self.negotiation.swap(&mut early.agreement);
    }

    fn dialog_with_b(&self, response: &Response) -> Option<Dialog> {
        let invite = self.b.invite.as_ref()?;
        Dialog::uac(invite, response).ok()
    }
}
