//! All server transactions: which request is new, which is one more copy, which ACK is for which answer.

use std::collections::VecDeque;

use super::invite_server::InviteServer;
use super::key::{AckKey, ServerKey};
use super::outbox::{Output, ServerId, ServerOutbox};
use super::server::Server;
use super::table::{Table, Timed};
use super::ways::Ways;
use crate::model::{Index, Timestamp};
use crate::sip::flow::Flow;
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;

#[derive(Debug)]
enum Machine {
    Invite(InviteServer),
    Other(Server),
}

#[derive(Debug)]
struct Entry {
    machine: Machine,
    key: Option<ServerKey>,
    /// Set once a 2xx was sent.
    ack: Option<AckKey>,
    /// Of the last response sent with one: a CANCEL's answer has the same (RFC 3261 §9.2).
    to_tag: Option<String>,
    flow: Flow,
    /// Where the responses go when the connection is gone.
    anew: Option<Flow>,
    is_chatter: bool,
}

impl Timed for Entry {
    fn deadline(&self) -> Option<Timestamp> {
        match &self.machine {
            Machine::Invite(invite) => invite.deadline(),
            Machine::Other(server) => server.deadline(),
        }
    }

    fn is_terminated(&self) -> bool {
        match &self.machine {
            Machine::Invite(invite) => invite.is_terminated(),
            Machine::Other(server) => server.is_terminated(),
        }
    }
}

/// Where an ACK belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AckOf {
    /// The first for the 2xx to that INVITE.
    Success(ServerId),
    /// One more, or for a refusal: nobody needs to know.
    Absorbed,
    Nothing,
}

/// The INVITE that a CANCEL is for.
#[derive(Clone, Debug)]
pub(super) struct Cancelled {
    pub(super) invite: ServerId,
    /// False once it has its final answer.
    pub(super) pending: bool,
    pub(super) to_tag: Option<String>,
}

#[derive(Debug)]
pub(super) struct Received {
    entries: Table<Entry>,
    chatter: usize,
    keys: Index<ServerKey, ServerId>,
    acks: Index<AckKey, ServerId>,
    /// Those that would go another way if their connection went.
    flows: Ways<ServerId>,
}

impl Received {
    pub(super) fn new() -> Self {
        Self {
            entries: Table::new(),
            chatter: 0,
            keys: Index::default(),
            acks: Index::default(),
            flows: Ways::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of them those of requests that [`is_chatter`].
    pub(super) const fn chatter(&self) -> usize {
        self.chatter
    }

    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.entries.earliest()
    }

    pub(super) fn knows(&self, key: &ServerKey) -> bool {
        self.keys.contains_key(key)
    }

    /// Whether the request is one more copy of one that lives; then its answer went out again.
    pub(super) fn absorb(&mut self, key: &ServerKey, outputs: &mut VecDeque<Output>) -> bool {
        let Some(id) = self.keys.get(key).copied() else {
            return false;
        };
        self.with(id, outputs, |machine, out| match machine {
            Machine::Invite(invite) => invite.on_retransmission(out),
            Machine::Other(server) => server.on_retransmission(out),
        });
        true
    }

    /// `flow` is the way of the responses.
    pub(super) fn start(&mut self, now: Timestamp, key: Option<ServerKey>, request: &Request, flow: Flow) -> ServerId {
        let reliable = flow.transport.is_reliable();
        let machine = if request.method == Method::Invite {
            Machine::Invite(InviteServer::start(now, request, reliable))
        } else {
            Machine::Other(Server::start(reliable))
        };
        let entry = Entry {
            machine,
            key: key.clone(),
            ack: None,
            to_tag: None,
            flow,
            anew: request.headers.via().and_then(|via| via.response_flow_anew(flow)),
            is_chatter: is_chatter(request),
        };
        self.chatter += usize::from(entry.is_chatter);
        let goes_anew = entry.anew.is_some();
        let id = ServerId(self.entries.insert(entry));
        if goes_anew {
            self.flows.insert(flow, id);
        }
        if let Some(key) = key {
            self.keys.insert(key, id);
        }
        self.settle(id);
        id
    }

    pub(super) fn respond(
        &mut self,
        now: Timestamp,
        id: ServerId,
        response: &Response,
        outputs: &mut VecDeque<Output>,
    ) {
        let Some(entry) = self.entries.find_mut(id.0) else {
            return;
        };
        let out = &mut ServerOutbox {
            outputs,
            id,
            flow: entry.flow,
        };
        let (sent, is_invite) = match &mut entry.machine {
            Machine::Invite(invite) => (invite.respond(now, response, out), true),
            Machine::Other(server) => (server.respond(now, response, out), false),
        };
        if sent && is_invite {
            entry.to_tag = response.headers.to().tag().map(str::to_owned);
            if response.is_success() {
                let ack = AckKey::of_success(response);
                entry.ack = Some(ack.clone());
                self.acks.insert(ack, id);
            }
        }
        self.settle(id);
    }

    /// The 100 to an INVITE goes out, if nothing went out yet.
    pub(super) fn say_trying(&mut self, id: ServerId, outputs: &mut VecDeque<Output>) {
        self.with(id, outputs, |machine, out| match machine {
            Machine::Invite(invite) => invite.say_trying(out),
            Machine::Other(_) => {}
        });
    }

    /// By the 2xx that it acknowledges, whatever its branch; else by transaction, for a refusal's is in the INVITE's.
    pub(super) fn handle_ack(&mut self, now: Timestamp, ack: &Request) -> AckOf {
        let by_branch = ServerKey::of(ack).and_then(|key| self.keys.get(&key).copied());
        let refused = |id: &ServerId| self.entries.find(id.0).is_some_and(|entry| entry.ack.is_none());
        let by_success = self.acks.get(&AckKey::of_ack(ack)).copied();
        let Some(id) = by_success.or_else(|| by_branch.filter(refused)) else {
            return AckOf::Nothing;
        };
        let Some(Entry {
            machine: Machine::Invite(invite),
            ..
        }) = self.entries.find_mut(id.0)
        else {
            return AckOf::Nothing;
        };
        let is_first = invite.on_ack(now);
        self.settle(id);
        if is_first { AckOf::Success(id) } else { AckOf::Absorbed }
    }

    /// The connection is gone: responses go to where its peer says that it listens, and the last one, which may have
    /// gone down with it, once more (RFC 3261 §18.2.2). A 2xx to an INVITE has its own clock.
    pub(super) fn handle_unreachable(&mut self, flow: Flow, outputs: &mut VecDeque<Output>) {
        for id in self.flows.of(flow) {
            self.flows.remove(flow, id);
            if let Some(entry) = self.entries.find_mut(id.0)
                && let Some(anew) = entry.anew.take()
            {
                entry.flow = anew;
            }
            self.with(id, outputs, |machine, out| match machine {
                Machine::Invite(invite) => invite.on_connection_gone(out),
                Machine::Other(server) => server.on_retransmission(out),
            });
        }
    }

    /// As if the request had never come: what comes again is new.
    pub(super) fn forget(&mut self, id: ServerId) {
        if let Some(entry) = self.entries.remove(id.0) {
            self.drop_names(id, entry);
        }
    }

    /// The ACK to its 2xx will not come, and is not needed: the 2xx is not sent again.
    pub(super) fn settle_success(&mut self, now: Timestamp, id: ServerId) {
        if let Some(Entry {
            machine: Machine::Invite(invite),
            ack: Some(_),
            ..
        }) = self.entries.find_mut(id.0)
        {
            invite.on_ack(now);
            self.settle(id);
        }
    }

    fn drop_names(&mut self, id: ServerId, entry: Entry) {
        self.chatter -= usize::from(entry.is_chatter);
        self.flows.remove(entry.flow, id);
        if let Some(key) = entry.key.filter(|key| self.keys.get(key) == Some(&id)) {
            self.keys.remove(&key);
        }
        if let Some(ack) = entry.ack.filter(|ack| self.acks.get(ack) == Some(&id)) {
            self.acks.remove(&ack);
        }
    }

    pub(super) fn cancelled_by(&self, cancel: &Request) -> Option<Cancelled> {
        let invite = *self.keys.get(&ServerKey::of_cancelled(cancel)?)?;
        let entry = self.entries.find(invite.0)?;
        let pending = matches!(&entry.machine, Machine::Invite(machine) if machine.is_proceeding());
        Some(Cancelled {
            invite,
            pending,
            to_tag: entry.to_tag.clone(),
        })
    }

    /// Makes one transaction whose deadline has come act on it. False when none has.
    pub(super) fn handle_timeout(&mut self, now: Timestamp, outputs: &mut VecDeque<Output>) -> bool {
        let Some(id) = self.entries.due(now).map(ServerId) else {
            return false;
        };
        self.with(id, outputs, |machine, out| match machine {
            Machine::Invite(invite) => invite.handle_timeout(now, out),
            Machine::Other(server) => server.handle_timeout(now),
        });
        true
    }

    fn with(
        &mut self,
        id: ServerId,
        outputs: &mut VecDeque<Output>,
        act: impl FnOnce(&mut Machine, &mut ServerOutbox<'_>),
    ) {
        if let Some(entry) = self.entries.find_mut(id.0) {
            act(
                &mut entry.machine,
                &mut ServerOutbox {
                    outputs,
                    id,
                    flow: entry.flow,
                },
            );
            self.settle(id);
        }
    }

    /// After each step of a transaction: what led to it is forgotten when it has ended.
    fn settle(&mut self, id: ServerId) {
        if let Some(entry) = self.entries.settle(id.0) {
            self.drop_names(id, entry);
        }
    }
}

/// It opens no call and is part of none: OPTIONS, REGISTER, SUBSCRIBE, MESSAGE …
pub(super) fn is_chatter(request: &Request) -> bool {
    request.headers.to().tag().is_none() && !matches!(request.method, Method::Invite | Method::Cancel)
}
