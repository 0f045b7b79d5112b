//! A call's way out: transactions, fresh identifiers, and who owns which transaction.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::model::{Leg, SessionId, Timestamp};
use crate::sip::transaction::{self, ClientId, Event, ServerId, TransactionLimits, Transactions};
use crate::sip::{Flow, Message, Mint, Request, Response, Transport, Uri, Via};

/// Whose transaction it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    Call(SessionId, Leg),
    /// A request outside any dialog that is passed on; the other half of the pair is in `pass`.
    Passage,
    /// An OPTIONS of ours that asks a destination whether it lives.
    Probe,
}

/// A message on its way to the network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Departure {
    pub flow: Flow,
    pub bytes: Bytes,
}

/// The transaction layer with its owners.
#[derive(Debug)]
pub struct Wire {
    transactions: Transactions,
    mint: Mint,
    clients: BTreeMap<ClientId, (Owner, Flow)>,
    servers: BTreeMap<ServerId, Owner>,
    departures: VecDeque<Departure>,
    events: VecDeque<Event>,
}

impl Wire {
    pub fn new(limits: TransactionLimits, seed: u64) -> Self {
        Self {
            transactions: Transactions::new(limits),
            mint: Mint::new(seed),
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            departures: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub fn mint(&mut self) -> &mut Mint {
        &mut self.mint
    }

    pub fn handle_message(&mut self, now: Timestamp, flow: Flow, message: Message) {
        self.transactions.handle_message(now, flow, message);
        self.pump();
    }

    pub fn handle_unreachable(&mut self, flow: Flow) {
        self.transactions.handle_unreachable(flow);
        self.pump();
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.transactions.handle_timeout(now);
        self.pump();
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.transactions.poll_timeout()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn poll_departure(&mut self) -> Option<Departure> {
        self.departures.pop_front()
    }

    /// Live transactions and owned ids: both return to zero when all calls have ended.
    pub fn len(&self) -> (usize, usize) {
        (self.transactions.len(), self.clients.len() + self.servers.len())
    }

    /// Starts a client transaction: adds our Via and sends.
    pub fn request(&mut self, now: Timestamp, owner: Owner, mut request: Request, flow: Flow) -> ClientId {
        self.push_via(&mut request, flow);
        let id = self.transactions.request(now, request, flow);
        self.clients.insert(id, (owner, flow));
        self.pump();
        id
    }

    /// Sends a request that has no transaction: the ACK to a 2xx (RFC 3261 §13.2.2.4). Gives it as it was sent.
    pub fn send(&mut self, mut request: Request, flow: Flow) -> Request {
        self.push_via(&mut request, flow);
        self.transactions.send(flow, request.clone());
        self.pump();
        request
    }

    /// Sends an ACK again, as it was (RFC 3261 §13.2.2.4).
    pub fn resend(&mut self, request: Request, flow: Flow) {
        self.transactions.send(flow, request);
        self.pump();
    }

    pub fn cancel(&mut self, now: Timestamp, invite: ClientId, reasons: &[String]) {
        // The answer to a CANCEL says nothing: the INVITE's own final answer does (RFC 3261 §9.1).
        let _unowned: Option<ClientId> = self.transactions.cancel(now, invite, reasons);
        self.pump();
    }

    pub fn respond(&mut self, now: Timestamp, id: ServerId, response: Response) {
        self.transactions.respond(now, id, response);
        self.pump();
    }

    /// Answers what is no request that a transaction could be made of.
    pub fn refuse(&mut self, flow: Flow, response: Response) {
        self.transactions.refuse(flow, response);
        self.pump();
    }

    pub fn own_server(&mut self, id: ServerId, owner: Owner) {
        self.servers.insert(id, owner);
    }

    pub fn server_owner(&self, id: ServerId) -> Option<Owner> {
        self.servers.get(&id).copied()
    }

    pub fn client_owner(&self, id: ClientId) -> Option<Owner> {
        self.clients.get(&id).map(|(owner, _)| *owner)
    }

    /// Where the request of a transaction that is owned was sent.
    pub fn client_flow(&self, id: ClientId) -> Option<Flow> {
        self.clients.get(&id).map(|(_, flow)| *flow)
    }

    /// No event of this transaction is of interest any more.
    pub fn disown_server(&mut self, id: ServerId) {
        self.servers.remove(&id);
    }

    pub fn disown_client(&mut self, id: ClientId) {
        self.clients.remove(&id);
    }

    /// `host:port` of our end of a flow, as Via's sent-by and Contact name it.
    pub fn contact(flow: Flow) -> Uri {
        let uri = Uri::sip(None, flow.local);
        match flow.transport {
            Transport::Udp => uri,
            Transport::Tcp => uri.with_param("transport", "tcp"),
        }
    }

    fn push_via(&mut self, request: &mut Request, flow: Flow) {
        let branch = self.mint.branch();
        request.headers.push_via(Via::new(flow.transport, flow.local, &branch));
    }

    fn pump(&mut self) {
        while let Some(output) = self.transactions.poll_output() {
            match output {
                transaction::Output::Send { flow, bytes } => self.departures.push_back(Departure { flow, bytes }),
                transaction::Output::Event(event) => self.events.push_back(event),
            }
        }
    }
}
