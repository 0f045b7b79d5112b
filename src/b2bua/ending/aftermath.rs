//! What a call leaves behind: 2xx answers to its INVITEs that come after it is over, from forks that ring on, from a
//! re-INVITE that its end crossed, or because an ACK was lost. Each is acknowledged, and a dialog that nobody wants any
//! more is ended (RFC 3261 §13.2.2.4, §14.1).

use std::sync::Arc;

use crate::b2bua::call::Call;
use crate::b2bua::dialog::{ENDED_MAX, Ended, Owner, Wire, path_of};
use crate::b2bua::turn::Turn;
use crate::model::{Leg, SessionId, Timestamp};
use crate::sip::dialog::Dialog;
use crate::sip::transaction::ClientId;
use crate::sip::{Flow, Method, Request, Response};
use crate::trunk::Trunk;

/// An INVITE of a call that is over.
#[derive(Debug)]
pub struct Aftermath {
    session: SessionId,
    leg: Leg,
    trunk: Arc<Trunk>,
    /// The path of the INVITE.
    flow: Flow,
    /// The INVITE that forks may still answer; none of a re-INVITE.
    invite: Option<Request>,
    /// Early dialogs in which we spoke: their CSeq numbers are used.
    early: Vec<Dialog>,
    /// Dialogs that have had their BYE: here an ACK is all that is missing.
    ended: Vec<(Dialog, Flow)>,
    /// 2xx that got their ACK.
    acknowledged: Vec<Ended>,
}

impl Call {
    /// A re-INVITE is given up before its answer: a 2xx may cross, and is acknowledged when it comes.
    pub(in crate::b2bua) fn expect_late_answer(&mut self, turn: &mut Turn<'_>, to: Leg, client: Option<ClientId>) {
        if let Some(before) = client.and_then(|client| self.last_exchange[to.index()].replace(client)) {
            turn.wire.abandon_client(turn.now, before);
        }
        self.transfers.given_up[to.index()] = client;
    }

    /// What was given up has its final answer, or will not get one.
    pub(in crate::b2bua) fn forget_given_up(&mut self, side: Leg, client: ClientId) {
        self.transfers.given_up[side.index()].take_if(|given_up| *given_up == client);
    }

    /// Of B's INVITE and of the newest re-INVITE, unless no 2xx to them can come any more.
    pub fn aftermaths(&mut self) -> impl Iterator<Item = (ClientId, Aftermath)> + use<> {
        let exchanges = Leg::BOTH.map(|side| self.aftermath_of_exchange(side));
        self.aftermath_of_invite()
            .into_iter()
            .chain(exchanges.into_iter().flatten())
    }

    /// B's INVITE is given up while the call goes on: a 2xx may cross its CANCEL.
    pub(in crate::b2bua) fn leave_behind(&mut self, turn: &mut Turn<'_>) -> Option<(ClientId, Aftermath)> {
        let client = self.invited.take()?;
        self.invited = Some(turn.wire.abandon_client(turn.now, client));
        let left_behind = self.aftermath_of_invite();
        self.invited = None;
        left_behind
    }

    fn aftermath_of_invite(&mut self) -> Option<(ClientId, Aftermath)> {
        let invite = self.b.invite.take()?;
        let (mut early, parted, acknowledged) = self.part_with_forks();
        let (trunk, flow) = (Arc::clone(&self.b.trunk), self.invited_by);
        let path = |parted: Dialog| {
            let path = path_of(&trunk, &parted, flow);
            (parted, path)
        };
        let mut ended: Vec<_> = parted.into_iter().map(path).collect();
        match (&self.b.ack, self.b.dialog.clone()) {
            (Some(_), dialog) => ended.extend(dialog.map(|dialog| (dialog, self.b.flow))),
            (None, dialog) => early.extend(dialog),
        }
        let aftermath = Aftermath {
            session: self.id,
            leg: Leg::B,
            trunk,
            flow,
            invite: Some(*invite),
            early,
            ended,
            acknowledged,
        };
        Some((self.invited?, aftermath))
    }

    fn aftermath_of_exchange(&self, side: Leg) -> Option<(ClientId, Aftermath)> {
        let client = self.last_exchange[side.index()]?;
        let leg = self.leg(side);
        let aftermath = Aftermath {
            session: self.id,
            leg: leg.side,
            trunk: Arc::clone(&leg.trunk),
            flow: leg.flow,
            invite: None,
            early: Vec::new(),
            ended: leg
                .dialog
                .clone()
                .map(|dialog| (dialog, leg.flow))
                .into_iter()
                .collect(),
            acknowledged: Vec::new(),
        };
        Some((client, aftermath))
    }
}

impl Aftermath {
    /// A response to the INVITE; only a 2xx still matters.
    pub fn handle_response(&mut self, now: Timestamp, wire: &mut Wire, response: &Response) {
        if !response.is_success() || response.headers.cseq().method != Method::Invite {
            return;
        }
        let tag = response.headers.to().tag().unwrap_or_default();
        let cseq = response.headers.cseq().number;
        if let Some(known) = self.acknowledged.iter().find(|known| known.tag == tag) {
            wire.resend(known.ack.clone(), known.flow);
            return;
        }
        if let Some((ended, flow)) = self.ended.iter().find(|(ended, _)| ended.remote_tag() == tag) {
            let (tag, flow) = (tag.to_owned(), *flow);
            let ack = wire.send(ended.ack(cseq), flow);
            self.acknowledged.push(Ended { tag, ack, flow });
            return;
        }
        let invite = self.invite.as_ref().filter(|_| self.acknowledged.len() < ENDED_MAX);
        let Some(mut fork) = invite.and_then(|invite| answered(&mut self.early, invite, response)) else {
            return;
        };
        let flow = path_of(&self.trunk, &fork, self.flow);
        let ack = wire.send(fork.ack(cseq), flow);
        let owner = Owner::Call(self.session, self.leg);
        let bye = wire.request(now, owner, fork.request(Method::Bye), flow);
        wire.disown_client(bye);
        let tag = tag.to_owned();
        self.acknowledged.push(Ended { tag, ack, flow });
    }
}

/// The dialog that a 2xx to `invite` makes, or confirms if it is one of the `early` ones.
pub fn answered(early: &mut Vec<Dialog>, invite: &Request, response: &Response) -> Option<Dialog> {
    let tag = response.headers.to().tag().unwrap_or_default();
    match early.iter().position(|early| early.remote_tag() == tag) {
        Some(at) => {
            let mut known = early.swap_remove(at);
            known.confirm(response);
            Some(known)
        }
        None => Dialog::uac(invite, response).ok(),
    }
}
