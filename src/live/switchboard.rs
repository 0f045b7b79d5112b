//! The table of connections, keyed by their remote address and used both ways. One task owns it; each connection is one
//! task that opens, reads, frames and writes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::AbortHandle;

use super::sip_connection::{Ending, Line};
use super::sip_dial::{self, Opening};
use super::sip_sockets::{Arrival, Listening, Shared, awaits_answer};
use super::sip_streams::{StreamLimits, reset};
use crate::sip::Flow;

/// Messages that wait for one connection. Full (a peer that does not read): the connection is given up with all of them, and
/// the transactions of its requests are told.
const WRITES_MAX: usize = 256;

/// Names that one connection may be reached by beside its own (RFC 5923). More are not noted.
const ALIASES_MAX: usize = 4;

#[derive(Debug)]
pub(super) enum Call {
    Send {
        flow: Flow,
        bytes: Bytes,
    },
    Accepted {
        flow: Flow,
        stream: TcpStream,
    },
    /// Requests to there may take this connection, which the peer has opened: it said so (RFC 5923 §8.2), or it is a
    /// WebSocket, which only it can open.
    Alias {
        flow: Flow,
        number: u64,
        at: SocketAddr,
    },
    Ended {
        flow: Flow,
        number: u64,
        ending: Ending,
    },
}

struct Connection {
    /// Tells this connection from an earlier one with the same addresses.
    number: u64,
    accepted: bool,
    writes: mpsc::Sender<Bytes>,
    /// Flows that lead here too.
    aliases: Vec<Flow>,
    /// None until it is served.
    task: Option<AbortHandle>,
}

pub(super) struct Switchboard {
    limits: StreamLimits,
    shared: Shared,
    calls: mpsc::Sender<Call>,
    connections: BTreeMap<Flow, Connection>,
    /// From a flow to the trunk's own address to the connection that the trunk opened.
    aliases: BTreeMap<Flow, Flow>,
    next_number: u64,
}

impl Switchboard {
    pub(super) fn new(limits: StreamLimits, shared: Shared, calls: mpsc::Sender<Call>) -> Self {
        Self {
            limits,
            shared,
            calls,
            connections: BTreeMap::new(),
            aliases: BTreeMap::new(),
            next_number: 0,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Call>) {
        let _listening = Listening::new(&self.shared);
        while let Some(call) = inbox.recv().await {
            match call {
                Call::Send { flow, bytes } => self.on_send(flow, bytes).await,
                Call::Accepted { flow, stream } => self.on_accepted(flow, stream).await,
                Call::Alias { flow, number, at } => self.on_alias(flow, number, at),
                Call::Ended { flow, number, ending } => self.on_ended(flow, number, ending).await,
            }
        }
    }

    async fn on_send(&mut self, flow: Flow, bytes: Bytes) {
        let (at, writes) = match self.connected(flow) {
            Some(connected) => connected,
            None if flow.transport.is_websocket() => {
                tracing::warn!(remote = %flow.remote, "no WebSocket of this peer is open");
                return self.on_unsent(flow, &bytes).await;
            }
            None if self.connections.len() >= self.limits.connections_max => {
                tracing::error!(remote = %flow.remote, "no room for another connection");
                return self.on_unsent(flow, &bytes).await;
            }
            None => (flow, self.connect(flow).await),
        };
        if let Err(unsent) = writes.try_send(bytes) {
            if matches!(unsent, TrySendError::Full(_)) {
                self.give_up(at).await;
            }
            self.on_unsent(flow, &unsent.into_inner()).await;
        }
    }

    /// Ends a connection whose peer does not read. What waits on it is not sent: a request that came when its transaction
    /// was over would ring a phone for nobody.
    async fn give_up(&mut self, flow: Flow) {
        let Some(ended) = self.connections.remove(&flow) else {
            return;
        };
        tracing::warn!(remote = %flow.remote, "peer does not read: connection given up");
        if let Some(task) = &ended.task {
            task.abort();
        }
        let aliases = self.forget(flow, ended.aliases);
        self.count();
        self.arrive(Arrival::Closed { flow }).await;
        self.shared.counters.unsent.fetch_add(WRITES_MAX as u64, Relaxed);
        self.tell_ended(flow, aliases).await;
    }

    /// The connection that leads there: its own, or one that the peer has opened and that is as good.
    fn connected(&self, flow: Flow) -> Option<(Flow, mpsc::Sender<Bytes>)> {
        let open = |at: Flow| {
            let known = self.connections.get(&at).filter(|known| !known.writes.is_closed())?;
            Some((at, known.writes.clone()))
        };
        open(flow).or_else(|| open(*self.aliases.get(&flow)?))
    }

    async fn on_unsent(&mut self, flow: Flow, bytes: &[u8]) {
        self.shared.counters.unsent.fetch_add(1, Relaxed);
        if awaits_answer(bytes) {
            self.tell_unreachable(flow).await;
        }
    }

    async fn tell_ended(&mut self, flow: Flow, aliases: Vec<Flow>) {
        self.tell_unreachable(flow).await;
        for alias in aliases {
            self.tell_unreachable(alias).await;
        }
    }

    async fn tell_unreachable(&mut self, flow: Flow) {
        self.arrive(Arrival::Unreachable { flow }).await;
    }

    async fn arrive(&self, news: Arrival) {
        if self.shared.arrivals.send(news).await.is_err() {
            tracing::debug!("a connection ended after signalling");
        }
    }

    async fn connect(&mut self, flow: Flow) -> mpsc::Sender<Bytes> {
        let (writes, inbox) = mpsc::channel(WRITES_MAX);
        let number = self.enter(flow, false, writes.clone()).await;
        self.serve(flow, number, Opening::Dial, inbox);
        writes
    }

    async fn on_accepted(&mut self, flow: Flow, stream: TcpStream) {
        let accepted = || self.connections.iter().filter(|(_, connection)| connection.accepted);
        let of_peer = accepted().filter(|(of, _)| of.remote.ip() == flow.remote.ip()).count();
        let is_full =
            self.connections.len() >= self.limits.connections_max || accepted().count() >= self.limits.accepted_max();
        if is_full || of_peer >= self.limits.connections_per_peer_max {
            self.shared.counters.connections_refused.fetch_add(1, Relaxed);
            tracing::warn!(remote = %flow.remote, of_peer, "too many connections: refused");
            return reset(&stream);
        }
        let (writes, inbox) = mpsc::channel(WRITES_MAX);
        let number = self.enter(flow, true, writes).await;
        self.serve(flow, number, Opening::Answer(stream), inbox);
    }

    fn serve(&mut self, flow: Flow, number: u64, opening: Opening, writes: mpsc::Receiver<Bytes>) {
        let line = Line {
            flow,
            number,
            limits: self.limits,
            shared: self.shared.clone(),
            calls: self.calls.clone(),
        };
        let task = tokio::spawn(async move {
            let ending = sip_dial::serve(&line, opening, writes).await;
            let ended = Call::Ended { flow, number, ending };
            if line.calls.send(ended).await.is_err() {
                tracing::debug!("a connection ended after the switchboard");
            }
        });
        if let Some(connection) = self.connections.get_mut(&flow) {
            connection.task = Some(task.abort_handle());
        }
    }

    /// Only the trunk's own address: nobody has what is meant for another come to it.
    fn on_alias(&mut self, flow: Flow, number: u64, at: SocketAddr) {
        if !self.shared.homes.contains(flow.transport, at) {
            return tracing::debug!(remote = %flow.remote, %at, "alias of no address of a trunk: not followed");
        }
        let Some(connection) = self.connections.get_mut(&flow) else {
            return;
        };
        let alias = Flow { remote: at, ..flow };
        let room = connection.aliases.len() < ALIASES_MAX && !connection.aliases.contains(&alias);
        if connection.number == number && connection.accepted && room {
            connection.aliases.push(alias);
            self.aliases.insert(alias, flow);
        }
    }

    async fn enter(&mut self, flow: Flow, accepted: bool, writes: mpsc::Sender<Bytes>) -> u64 {
        self.next_number += 1;
        let connection = Connection {
            number: self.next_number,
            accepted,
            writes,
            aliases: Vec::new(),
            task: None,
        };
        if let Some(before) = self.connections.insert(flow, connection) {
            if let Some(task) = before.task.filter(|_| before.accepted && accepted) {
                // Its peer opened another from the same port: it is dead, and what it read last is not the new one's.
                task.abort();
            }
            self.forget(flow, before.aliases);
            self.arrive(Arrival::Closed { flow }).await;
        }
        self.count();
        self.next_number
    }

    /// Gives the aliases that led there to the end; the others lead to a connection that came later.
    fn forget(&mut self, flow: Flow, mut aliases: Vec<Flow>) -> Vec<Flow> {
        aliases.retain(|alias| self.aliases.get(alias) == Some(&flow));
        for alias in &aliases {
            self.aliases.remove(alias);
        }
        aliases
    }

    fn count(&self) {
        let open = self.connections.len() as u64;
        self.shared.counters.connections.store(open, Relaxed);
    }

    async fn on_ended(&mut self, flow: Flow, number: u64, ending: Ending) {
        let is_newest = |connection: &Connection| connection.number == number;
        let ended = if self.connections.get(&flow).is_some_and(is_newest) {
            self.connections.remove(&flow)
        } else {
            None
        };
        if ended.is_some() {
            self.arrive(Arrival::Closed { flow }).await;
        }
        let aliases = ended.map(|ended| self.forget(flow, ended.aliases));
        self.count();
        match ending {
            // In order, and yet nothing comes by it any more: a request without an answer fails at once.
            Ending::Closed => {}
            Ending::Refused(refusal) => {
                self.shared.counters.connections_refused.fetch_add(1, Relaxed);
                tracing::warn!(remote = %flow.remote, transport = flow.transport.as_str(), %refusal, "connection closed");
            }
            Ending::Broken(kind) => {
                self.shared.counters.unsent.fetch_add(1, Relaxed);
                tracing::warn!(remote = %flow.remote, transport = flow.transport.as_str(), error = %kind, "connection broke");
            }
        }
        // What waits on the connection that took its place must not fail with it; its own requests time out.
        if let Some(aliases) = aliases {
            self.tell_ended(flow, aliases).await;
        }
    }
}

#[cfg(test)]
mod tests;
