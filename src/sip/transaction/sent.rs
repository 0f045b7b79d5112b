//! All client transactions: which answer belongs to which request.

use std::collections::VecDeque;

use super::client::Client;
use super::invite_client::InviteClient;
use super::key::ClientKey;
use super::outbox::{ClientId, ClientOutbox, Output};
use super::table::{Table, Timed};
use super::ways::Ways;
use crate::model::{Index, Timestamp};
use crate::sip::flow::Flow;
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;

#[derive(Debug)]
enum Machine {
    /// Not yet started: between getting an id and sending.
    Idle,
    Invite(InviteClient),
    Other(Client),
}

/// The way of a request for when its first one leads nowhere. Its top Via is there, with a branch of its own.
#[derive(Debug)]
pub struct Fallback {
    pub request: Request,
    pub flow: Flow,
}

#[derive(Debug)]
struct Entry {
    machine: Machine,
    key: Option<ClientKey>,
    flow: Flow,
    fallback: Option<Box<Fallback>>,
}

impl Timed for Entry {
    fn deadline(&self) -> Option<Timestamp> {
        match &self.machine {
            Machine::Idle => None,
            Machine::Invite(invite) => invite.deadline(),
            Machine::Other(client) => client.deadline(),
        }
    }

    fn is_terminated(&self) -> bool {
        match &self.machine {
            Machine::Idle => false,
            Machine::Invite(invite) => invite.is_terminated(),
            Machine::Other(client) => client.is_terminated(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Sent {
    entries: Table<Entry>,
    keys: Index<ClientKey, ClientId>,
    flows: Ways<ClientId>,
}

impl Sent {
    pub(super) fn new() -> Self {
        Self {
            entries: Table::new(),
            keys: Index::default(),
            flows: Ways::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.entries.earliest()
    }

    pub(super) fn start(
        &mut self,
        now: Timestamp,
        request: Request,
        flow: Flow,
        fallback: Option<Fallback>,
        outputs: &mut VecDeque<Output>,
    ) -> ClientId {
        let id = ClientId(self.entries.insert(Entry {
            machine: Machine::Idle,
            key: None,
            flow,
            fallback: fallback.map(Box::new),
        }));
        self.run(now, id, request, flow, outputs);
        id
    }

    /// Sends the request of an entry and starts its machine.
    fn run(&mut self, now: Timestamp, id: ClientId, request: Request, flow: Flow, outputs: &mut VecDeque<Output>) {
        let key = ClientKey::of(&request.headers);
        if let Some(key) = key.clone() {
            self.keys.insert(key, id);
        }
        self.flows.insert(flow, id);
        let out = &mut ClientOutbox { outputs, id, flow };
        let machine = if request.method == Method::Invite {
            Machine::Invite(InviteClient::start(now, request, flow, out))
        } else {
            Machine::Other(Client::start(now, &request, flow, out))
        };
        if let Some(entry) = self.entries.find_mut(id.0) {
            entry.machine = machine;
            entry.key = key;
            entry.flow = flow;
        }
        self.settle(id);
    }

    /// Gives back a response that belongs to nobody.
    pub(super) fn handle_response(
        &mut self,
        now: Timestamp,
        response: Response,
        outputs: &mut VecDeque<Output>,
    ) -> Option<Response> {
        let Some(id) = ClientKey::of(&response.headers).and_then(|key| self.keys.get(&key).copied()) else {
            return Some(response);
        };
        self.with(id, outputs, |machine, out| match machine {
            Machine::Invite(invite) => invite.on_response(now, response, out),
            Machine::Other(client) => client.on_response(now, response, out),
            Machine::Idle => {}
        });
        None
    }

    /// Makes one transaction whose deadline has come act on it. False when none has.
    pub(super) fn handle_timeout(&mut self, now: Timestamp, outputs: &mut VecDeque<Output>) -> bool {
        let Some(id) = self.entries.due(now).map(ClientId) else {
            return false;
        };
        self.with(id, outputs, |machine, out| match machine {
            Machine::Invite(invite) => invite.handle_timeout(now, out),
            Machine::Other(client) => client.handle_timeout(now, out),
            Machine::Idle => {}
        });
        true
    }

    pub(super) fn handle_unreachable(&mut self, now: Timestamp, flow: Flow, outputs: &mut VecDeque<Output>) {
        for id in self.flows.of(flow) {
            self.on_unreachable(now, id, outputs);
        }
    }

    pub(super) fn handle_bounced(
        &mut self,
        now: Timestamp,
        flow: Flow,
        fragment: &[u8],
        outputs: &mut VecDeque<Output>,
    ) {
        let key = ClientKey::of_fragment(fragment);
        let id = key.and_then(|key| self.keys.get(&key).copied());
        if let Some(id) = id.filter(|id| self.flows.contains(flow, *id)) {
            self.on_unreachable(now, id, outputs);
        }
    }

    fn on_unreachable(&mut self, now: Timestamp, id: ClientId, outputs: &mut VecDeque<Output>) {
        if let Some(fallback) = self.take_fallback(id) {
            return self.run(now, id, fallback.request, fallback.flow, outputs);
        }
        self.with(id, outputs, |machine, out| match machine {
            Machine::Invite(invite) => invite.on_unreachable(out),
            Machine::Other(client) => client.on_unreachable(out),
            Machine::Idle => {}
        });
    }

    /// The other way of a request of which nothing was heard; its first way is forgotten.
    fn take_fallback(&mut self, id: ClientId) -> Option<Fallback> {
        let entry = self.entries.find_mut(id.0)?;
        let unheard = match &entry.machine {
            Machine::Idle => false,
            Machine::Invite(invite) => invite.is_unheard(),
            Machine::Other(client) => client.is_unheard(),
        };
        let fallback = entry.fallback.take().filter(|_| unheard)?;
        self.flows.remove(entry.flow, id);
        if let Some(key) = entry.key.take() {
            self.keys.remove(&key);
        }
        Some(*fallback)
    }

    /// The CANCEL for an INVITE of ours, and where it goes.
    pub(super) fn cancel(&mut self, now: Timestamp, invite: ClientId, reasons: &[String]) -> Option<(Request, Flow)> {
        let entry = self.entries.find_mut(invite.0)?;
        let Machine::Invite(machine) = &mut entry.machine else {
            return None;
        };
        let cancel = machine.cancel(now, reasons)?;
        let flow = entry.flow;
        self.settle(invite);
        Some((cancel, flow))
    }

    /// Nobody waits for the answer to this request any more.
    pub(super) fn abandon(&mut self, now: Timestamp, id: ClientId) {
        if let Some(Entry {
            machine: Machine::Invite(invite),
            ..
        }) = self.entries.find_mut(id.0)
        {
            invite.abandon(now);
            self.settle(id);
        }
    }

    fn with(
        &mut self,
        id: ClientId,
        outputs: &mut VecDeque<Output>,
        act: impl FnOnce(&mut Machine, &mut ClientOutbox<'_>),
    ) {
        if let Some(entry) = self.entries.find_mut(id.0) {
            act(
                &mut entry.machine,
                &mut ClientOutbox {
                    outputs,
                    id,
                    flow: entry.flow,
                },
            );
            self.settle(id);
        }
    }

    /// After each step of a transaction: what led to it is forgotten when it has ended.
    fn settle(&mut self, id: ClientId) {
        if let Some(entry) = self.entries.settle(id.0) {
            self.flows.remove(entry.flow, id);
            if let Some(key) = entry.key.filter(|key| self.keys.get(key) == Some(&id)) {
                self.keys.remove(&key);
            }
        }
    }
}
