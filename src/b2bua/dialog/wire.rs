//! A call's way out: transactions, fresh identifiers, and who owns which transaction.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::challenge::{Challenges, Waiting};
use crate::model::{Leg, SessionId, Timestamp};
use crate::sip::transaction::{self, ClientId, Event, Fallback, ServerId, TransactionLimits, Transactions};
use crate::sip::{Flow, Glance, Message, Mint, Request, Response, Scheme, Uri, Via};
use crate::trunk::{DATAGRAM_REQUEST_BYTES_MAX, Paths, Sources, Trunk};

/// Whose transaction it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Owner {
    Call(SessionId, Leg),
    /// A request outside any call that is passed on, by the transaction that it came with.
    Passage(ServerId),
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
    /// Of media keys.
    vault: Mint,
    paths: Paths,
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
            vault: Mint::new(seed),
            paths: Paths::default(),
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            renewals: BTreeMap::new(),
            newest: BTreeMap::new(),
            challenges: Challenges::default(),
            departures: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    #[must_use]
    pub fn with_paths(mut self, paths: Paths) -> Self {
        self.paths = paths;
        self
    }

    /// Media keys come from this secret, not from the seed.
    pub fn keep_secret(&mut self, secret: [u8; 32]) {
        self.vault = Mint::of_secret(secret);
    }

    /// What makes the media keys of a call.
    pub fn keys_for(&self, session: SessionId) -> Mint {
        self.vault.offspring(session.as_u128())
    }

    /// Long requests to these peers alone are datagrams, from now on.
    pub fn keep_datagrams(&mut self, peers: Sources) {
        self.paths.keep_datagrams(peers);
    }

    pub fn mint(&mut self) -> &mut Mint {
        &mut self.mint
    }

    /// No request is taken that opens something.
    pub fn is_full(&self) -> bool {
        self.transactions.is_full()
    }

    /// Whether a request is one more copy of one that is in work.
    pub fn knows(&self, request: &Request) -> bool {
        self.transactions.knows(request)
    }

    /// The same of a request that was only glanced at.
    pub fn knows_glanced(&self, glance: &Glance<'_>) -> bool {
        self.transactions.knows_glanced(glance)
    }

    pub fn handle_message(&mut self, now: Timestamp, flow: Flow, message: Message) {
        self.transactions.handle_message(now, flow, message);
        self.pump();
    }

    /// The same of a request that begins an emergency call, or is part of one.
    pub fn handle_emergency(&mut self, now: Timestamp, flow: Flow, request: Request) {
        self.transactions.handle_emergency(now, flow, request);
        self.pump();
    }

    pub fn handle_unreachable(&mut self, now: Timestamp, flow: Flow) {
        self.transactions.handle_unreachable(now, flow);
        self.pump();
    }

    /// A datagram of ours came back: `fragment` is how it began.
    pub fn handle_bounced(&mut self, now: Timestamp, flow: Flow, fragment: &[u8]) {
        self.transactions.handle_bounced(now, flow, fragment);
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

    /// Starts a client transaction: adds our Via and sends. What is too long for a datagram goes by TCP to the same address,
    /// and as a datagram after all where nobody takes the connection (RFC 3261 §18.1.1).
    pub fn request(&mut self, now: Timestamp, owner: Owner, request: Request, flow: Flow) -> ClientId {
        let id = self.start(now, request, flow);
        self.clients.insert(id, (owner, flow));
        self.pump();
        id
    }

    fn start(&mut self, now: Timestamp, mut request: Request, flow: Flow) -> ClientId {
        let bare = self.paths.stream_for(flow).map(|stream| (stream, request.clone()));
        self.push_via(&mut request, flow);
        let long = bare.filter(|_| request.encode().len() > DATAGRAM_REQUEST_BYTES_MAX);
        match long {
            Some((stream, mut by_stream)) => {
                self.push_via(&mut by_stream, stream);
                let fallback = Fallback { request, flow };
                self.transactions.request_or(now, by_stream, stream, fallback)
            }
            None => self.transactions.request(now, request, flow),
        }
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
        let request = waiting.request.clone();
        self.challenges.keep(first, waiting);
        if let Some((_, by)) = self.clients.get_mut(&first) {
            *by = flow;
        }
        let id = self.start(now, request, flow);
        if let Some(before) = self.newest.insert(first, id) {
            self.renewals.remove(&before);
        }
        self.renewals.insert(id, first);
        self.pump();
    }

    /// The proofs of an INVITE for its ACK (RFC 3261 §22.1).
    pub(in crate::b2bua) fn repeat_proof(&self, owner: Owner, ack: &mut Request) {
        self.challenges.repeat(owner, ack);
    }

    /// Nothing more is sent for this owner.
    pub fn forget_proofs(&mut self, owner: Owner) {
        self.challenges.forget(owner);
    }

    /// Sends a request that has no transaction: the ACK to a 2xx (RFC 3261 §13.2.2.4). What is too long for a datagram goes
    /// by TCP (§18.1.1); no word comes back from there, so when the 2xx comes again it goes as a datagram after all. Gives
    /// it for that.
    pub fn send(&mut self, mut request: Request, flow: Flow) -> Request {
        let bare = self.paths.stream_for(flow).map(|stream| (stream, request.clone()));
        self.push_via(&mut request, flow);
        match bare.filter(|_| request.encode().len() > DATAGRAM_REQUEST_BYTES_MAX) {
            Some((stream, mut by_stream)) => {
                self.push_via(&mut by_stream, stream);
                self.transactions.send(stream, by_stream);
            }
            None => self.transactions.send(flow, request.clone()),
        }
        self.pump();
        request
    }

    /// Sends an ACK again, by the path that its 2xx came by (RFC 3261 §13.2.2.4).
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

    pub fn respond(&mut self, now: Timestamp, id: ServerId, mut response: Response) {
        self.paths.readdress(&mut response.headers);
        self.transactions.respond(now, id, response);
        self.pump();
    }

    /// 100 to an INVITE.
    pub fn say_trying(&mut self, id: ServerId) {
        self.transactions.say_trying(id);
        self.pump();
    }

    /// The peer has heard our 2xx, though its ACK is lost: it is not sent again, and nothing more of it is of interest.
    pub fn settle_server(&mut self, now: Timestamp, id: ServerId) {
        self.transactions.settle_success(now, id);
        self.disown_server(id);
    }

    /// Leaves a request to whoever its sender reaches next.
    pub fn forget(&mut self, id: ServerId) {
        self.transactions.forget(id);
    }

    /// Answers without a transaction: what none could be made of, or what needs none.
    pub fn refuse(&mut self, flow: Flow, mut response: Response) {
        self.paths.readdress(&mut response.headers);
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

    /// Another owner hears of this transaction from now on.
    pub fn pass_client(&mut self, id: ClientId, to: Owner) {
        if let Some((owner, _)) = self.clients.get_mut(&id) {
            *owner = to;
        }
    }

    /// No event of this transaction is of interest any more.
    pub fn disown_server(&mut self, id: ServerId) {
        self.servers.remove(&id);
    }

    /// As `disown_client`, and its INVITE is not awaited for ever. Gives the transaction that was sent last in its name:
    /// what still comes bears that id.
    pub fn abandon_client(&mut self, now: Timestamp, id: ClientId) -> ClientId {
        let newest = self.newest.get(&id).copied().unwrap_or(id);
        self.disown_client(id);
        self.transactions.abandon(now, newest);
        newest
    }

    pub fn disown_client(&mut self, id: ClientId) {
        self.clients.remove(&id);
        self.challenges.forget_request(id);
        if let Some(newest) = self.newest.remove(&id) {
            self.renewals.remove(&newest);
        }
    }

    /// Our end of a flow as a Contact. What the listener is advertised as takes the place of its address when the message
    /// leaves.
    pub fn contact(flow: Flow) -> Uri {
        Self::contact_of(None, flow)
    }

    /// The same with a user part.
    pub fn contact_of(user: Option<&str>, flow: Flow) -> Uri {
        let uri = Uri::sip(user, flow.local);
        match flow.transport.param() {
            Some(transport) => uri.with_param("transport", transport),
            None => uri,
        }
    }

    /// The same as `sips:` for who was called or calls by such a URI (RFC 3261 §8.1.1.8, §12.1.1), if the flow is by TLS.
    pub fn contact_for(flow: Flow, theirs: &Uri) -> Uri {
        if theirs.scheme() != Scheme::Sips || !flow.transport.is_secure() {
            return Self::contact(flow);
        }
        let uri = Uri::sip(None, flow.local).with_security(true);
        match flow.transport.param() {
            Some(transport) if flow.transport.is_websocket() => uri.with_param("transport", transport),
            _ => uri,
        }
    }

    /// The last touch before a request leaves by `flow`.
    fn push_via(&mut self, request: &mut Request, flow: Flow) {
        self.paths.readdress(&mut request.headers);
        let branch = self.mint.branch();
        let mut via = Via::named(flow.transport, &self.paths.sent_by(flow), &branch);
        if flow.transport.is_secure() && !flow.transport.is_websocket() {
            // The peer may use this connection for its own requests (RFC 5923 §8.1).
            via.params.set("alias", "");
        }
        request.headers.push_via(via);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sip::{Method, NameAddr, Transport};

    fn ack(body: usize) -> Request {
        let party = |text| NameAddr::parse(text).unwrap();
        let uri = Uri::parse("sip:b@192.0.2.1").unwrap();
        let mut ack = Request::new(
            Method::Ack,
            uri,
            party("<sip:a@x>;tag=1"),
            party("<sip:b@x>;tag=2"),
            "c",
            1,
        );
        ack.body = vec![b'x'; body].into();
        ack
    }

    #[test]
    fn an_ack_too_long_for_a_datagram_goes_by_tcp_and_again_as_a_datagram() {
        let ours = "192.0.2.9:5060".parse().unwrap();
        let listeners = [(Transport::Udp, ours), (Transport::Tcp, ours)];
        let limits = TransactionLimits::default();
        let mut wire = Wire::new(limits, 7).with_paths(Paths::by_streams_of(&listeners));
        let flow = Flow {
            transport: Transport::Udp,
            local: ours,
            remote: "192.0.2.1:5060".parse().unwrap(),
        };
        let sent = |wire: &mut Wire| {
            let departure = wire.poll_departure().unwrap();
            let Message::Request(ack) = Message::parse(&departure.bytes).unwrap() else {
                return None;
            };
            let via = ack.headers.get("Via").unwrap().to_owned();
            assert!(
                via.contains(&format!("/{} ", departure.flow.transport.as_str())),
                "{via}"
            );
            Some((departure.flow.transport, departure.flow.remote, ack.body.len()))
        };
        wire.send(ack(100), flow);
        assert_eq!(sent(&mut wire), Some((Transport::Udp, flow.remote, 100)));
        let kept = wire.send(ack(1_300), flow);
        assert_eq!(sent(&mut wire), Some((Transport::Tcp, flow.remote, 1_300)));
        wire.resend(kept, flow);
        assert_eq!(sent(&mut wire), Some((Transport::Udp, flow.remote, 1_300)));
        wire.keep_datagrams(Sources::from_iter([(flow.remote.ip(), None).into()]));
        wire.send(ack(1_300), flow);
        assert_eq!(sent(&mut wire), Some((Transport::Udp, flow.remote, 1_300)));
    }
}
