//! A call's way out: transactions, fresh identifiers, and who owns which transaction.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::challenge::{Challenges, Waiting};
use crate::model::{Leg, SessionId, Timestamp};
use crate::sip::transaction::{self, ClientId, Event, ServerId, TransactionLimits, Transactions};
use crate::sip::{Flow, Message, Mint, Request, Response, Transport, Uri, Via};
use crate::trunk::Trunk;

/// Whose transaction it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Owner {
    Call(SessionId, Leg),
    /// A request outside any dialog that is passed on; the other half of the pair is in `pass`.
    Passage,
    /// An OPTIONS of ours that asks a destination whether it lives.
    Probe,
    /// A registration of our own, by its place among them.
    Registration(usize),
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
    /// Transactions of requests that were sent again, and the first of each, by which its owner knows it.
    renewals: BTreeMap<ClientId, ClientId>,
    /// The newest transaction of those firsts.
    newest: BTreeMap<ClientId, ClientId>,
    challenges: Challenges,
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
            renewals: BTreeMap::new(),
            newest: BTreeMap::new(),
            challenges: Challenges::default(),
            departures: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub fn mint(&mut self) -> &mut Mint {
        &mut self.mint
    }

    /// Whether a request is one more copy of one that is in work.
    pub fn knows(&self, request: &Request) -> bool {
        self.transactions.knows(request)
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
        let owned = self.clients.len() + self.servers.len() + self.newest.len() + self.challenges.len();
        (self.transactions.len(), owned)
    }

    /// Starts a client transaction: adds our Via and sends.
    pub fn request(&mut self, now: Timestamp, owner: Owner, mut request: Request, flow: Flow) -> ClientId {
        self.push_via(&mut request, flow);
        let id = self.transactions.request(now, request, flow);
        self.clients.insert(id, (owner, flow));
        self.pump();
        id
    }

    /// Starts a client transaction with a peer that may ask who we are: it is told at once what it asked for before, and
    /// its challenge can be answered.
    pub fn request_with_proof(&mut self, now: Timestamp, owner: Owner, mut request: Request, flow: Flow) -> ClientId {
        self.challenges.prove(owner, &mut request);
        let id = self.request(now, owner, request.clone(), flow);
        self.challenges.keep(id, Waiting::from(request));
        id
    }

    /// What the transaction asked, if that can be asked again with proof. Once: the answer to it is final.
    pub fn take_waiting(&mut self, id: ClientId) -> Option<Waiting> {
        self.challenges.take(id)
    }

    /// The request with the proof that `response` asks for, to be given a new CSeq number and sent by [`Wire::renew`].
    pub fn answer(
        &mut self,
        waiting: Waiting,
        owner: Owner,
        trunk: &Arc<Trunk>,
        response: &Response,
    ) -> Option<Waiting> {
        self.challenges.answer(waiting, owner, trunk, response, &mut self.mint)
    }

    /// Sends a request again, after the final answer to it; whatever comes of it comes by the id of the `first`.
    pub fn renew(&mut self, now: Timestamp, first: ClientId, waiting: Waiting, flow: Flow) {
        let mut request = waiting.request.clone();
        self.challenges.keep(first, waiting);
        self.push_via(&mut request, flow);
        let id = self.transactions.request(now, request, flow);
        if let Some(before) = self.newest.insert(first, id) {
            self.renewals.remove(&before);
        }
        self.renewals.insert(id, first);
        self.pump();
    }

    /// The proofs of an INVITE for its ACK (RFC 3261 §22.1).
    pub(super) fn repeat_proof(&self, owner: Owner, ack: &mut Request) {
        self.challenges.repeat(owner, ack);
    }

    /// Nothing more is sent for this owner.
    pub fn forget_proofs(&mut self, owner: Owner) {
        self.challenges.forget(owner);
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
        let invite = self.newest.get(&invite).copied().unwrap_or(invite);
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
        self.challenges.forget_request(id);
        if let Some(newest) = self.newest.remove(&id) {
            self.renewals.remove(&newest);
        }
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

    /// The event as the owner of the transaction knows it.
    fn by_first(&self, mut event: Event) -> Event {
        if let Event::Response { id, .. } | Event::TimedOut { id } | Event::Unreachable { id } = &mut event
            && let Some(first) = self.renewals.get(id)
        {
            *id = *first;
        }
        event
    }

    fn pump(&mut self) {
        while let Some(output) = self.transactions.poll_output() {
            match output {
                transaction::Output::Send { flow, bytes } => self.departures.push_back(Departure { flow, bytes }),
                transaction::Output::Event(event) => {
                    let event = self.by_first(event);
                    self.events.push_back(event);
                }
            }
        }
    }
}
