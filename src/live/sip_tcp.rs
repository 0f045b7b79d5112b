//! SIP over TCP (RFC 3261 §18): connections keyed by their remote address, used both ways.
//!
//! One task owns the table of connections; each connection is one task that reads, frames and writes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::sip_connection::{self, Ending};
use super::sip_sockets::{Arrival, Listening, Shared, awaits_answer};
use crate::sip::{Flow, Transport};

const BACKLOG: i32 = 512;

/// How long no connection is accepted after the kernel refused one: no file handles, no memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Messages from signalling, and news of connections, that wait for the table. Full: the message counts as not sent,
/// and if it is a request its transaction is told.
const SWITCHBOARD_MAX: usize = 4096;

/// Messages that wait for one connection. Full (a peer that does not read): as with [`SWITCHBOARD_MAX`].
const WRITES_MAX: usize = 256;

/// What one stranger or one sick peer can make us hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpLimits {
    /// Connections in all, both ways.
    pub connections_max: usize,
    /// Connections that one address has opened.
    pub connections_per_peer_max: usize,
    /// A connection that has begun a message has to finish it within this, and a new one its first.
    pub message_time_max: Duration,
    /// A connection on which nothing came or went for this long is closed.
    pub idle_time_max: Duration,
    pub connect_time_max: Duration,
}

impl Default for TcpLimits {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            connections_per_peer_max: 256,
            message_time_max: Duration::from_secs(20),
            idle_time_max: Duration::from_secs(30 * 60),
            connect_time_max: Duration::from_secs(4),
        }
    }
}

/// A bound and listening socket.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Signalling's end of all connections.
#[derive(Debug)]
pub(super) struct TcpFlows {
    locals: Vec<SocketAddr>,
    switchboard: mpsc::Sender<Call>,
}

impl TcpFlows {
    pub(super) fn start(listeners: Vec<TcpListener>, limits: TcpLimits, shared: &Shared) -> Self {
        let (calls, inbox) = mpsc::channel(SWITCHBOARD_MAX);
        let mut locals = Vec::new();
        for listener in listeners {
            match listener.local_addr() {
                Ok(local) => {
                    locals.push(local);
                    tokio::spawn(accept(local, listener, shared.clone(), calls.clone()));
                }
                Err(error) => tracing::error!(%error, "a TCP listener has no address"),
            }
        }
        let switchboard = Switchboard {
            limits,
            shared: shared.clone(),
            calls: calls.clone(),
            connections: BTreeMap::new(),
            next_number: 0,
        };
        tokio::spawn(switchboard.run(inbox));
        Self {
            locals,
            switchboard: calls,
        }
    }

    pub(super) fn locals(&self) -> &[SocketAddr] {
        &self.locals
    }

    pub(super) fn send(&self, flow: Flow, bytes: Bytes) -> bool {
        self.locals.contains(&flow.local) && self.switchboard.try_send(Call::Send { flow, bytes }).is_ok()
    }
}

async fn accept(local: SocketAddr, listener: TcpListener, shared: Shared, calls: mpsc::Sender<Call>) {
    let _listening = Listening::new(&shared);
    loop {
        match listener.accept().await {
            Ok((stream, remote)) if shared.peers.allow_connection(remote) => {
                if calls.send(Call::Accepted { local, remote, stream }).await.is_err() {
                    return;
                }
            }
            Ok((stream, _)) => {
                shared.counters.strangers.fetch_add(1, Relaxed);
                reset(&stream);
            }
            Err(error) => {
                tracing::error!(%local, %error, "accept");
                let later = shared.clock.now() + ACCEPT_PAUSE;
                tokio::time::sleep_until(shared.clock.instant(later).into()).await;
            }
        }
    }
}

/// Closes with a reset: no waiting state is left behind for a stranger's connection.
fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "linger");
    }
}

#[derive(Debug)]
pub(super) enum Call {
    Send {
        flow: Flow,
        bytes: Bytes,
    },
    Accepted {
        local: SocketAddr,
        remote: SocketAddr,
        stream: TcpStream,
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
}

struct Switchboard {
    limits: TcpLimits,
    shared: Shared,
    calls: mpsc::Sender<Call>,
    connections: BTreeMap<Flow, Connection>,
    next_number: u64,
}

impl Switchboard {
    async fn run(mut self, mut inbox: mpsc::Receiver<Call>) {
        let _listening = Listening::new(&self.shared);
        while let Some(call) = inbox.recv().await {
            match call {
                Call::Send { flow, bytes } => self.on_send(flow, bytes).await,
                Call::Accepted { local, remote, stream } => self.on_accepted(local, remote, stream),
                Call::Ended { flow, number, ending } => self.on_ended(flow, number, ending).await,
            }
        }
    }

    async fn on_send(&mut self, flow: Flow, bytes: Bytes) {
        let known = self
            .connections
            .get(&flow)
            .filter(|connection| !connection.writes.is_closed());
        let writes = match known {
            Some(connection) => connection.writes.clone(),
            None if self.connections.len() >= self.limits.connections_max => {
                tracing::error!(remote = %flow.remote, "no room for another TCP connection");
                return self.on_unsent(flow, &bytes).await;
            }
            None => self.connect(flow),
        };
        if let Err(unsent) = writes.try_send(bytes) {
            tracing::warn!(remote = %flow.remote, "TCP peer does not read: message dropped");
            self.on_unsent(flow, &unsent.into_inner()).await;
        }
    }

    async fn on_unsent(&mut self, flow: Flow, bytes: &[u8]) {
        self.shared.counters.unsent.fetch_add(1, Relaxed);
        if awaits_answer(bytes) {
            self.tell_unreachable(flow).await;
        }
    }

    async fn tell_unreachable(&mut self, flow: Flow) {
        if self.shared.arrivals.send(Arrival::Unreachable { flow }).await.is_err() {
            tracing::debug!("a connection ended after signalling");
        }
    }

    fn connect(&mut self, flow: Flow) -> mpsc::Sender<Bytes> {
        let limits = self.limits;
        let (writes, inbox) = mpsc::channel(WRITES_MAX);
        let number = self.enter(flow, false, writes.clone());
        let (shared, calls) = (self.shared.clone(), self.calls.clone());
        tokio::spawn(async move {
            let ending = match tokio::time::timeout(limits.connect_time_max, open(flow)).await {
                Ok(Ok(stream)) => sip_connection::run(flow, stream, inbox, limits, &shared).await,
                Ok(Err(error)) => Ending::Broken(error.kind()),
                Err(_) => Ending::Broken(io::ErrorKind::TimedOut),
            };
            end(&calls, flow, number, ending).await;
        });
        writes
    }

    fn on_accepted(&mut self, local: SocketAddr, remote: SocketAddr, stream: TcpStream) {
        let same_peer =
            |(flow, connection): (&Flow, &Connection)| connection.accepted && flow.remote.ip() == remote.ip();
        let of_peer = self.connections.iter().filter(|entry| same_peer(*entry)).count();
        if self.connections.len() >= self.limits.connections_max || of_peer >= self.limits.connections_per_peer_max {
            self.shared.counters.connections_refused.fetch_add(1, Relaxed);
            tracing::warn!(%remote, of_peer, "too many TCP connections: refused");
            return reset(&stream);
        }
        let flow = Flow {
            transport: Transport::Tcp,
            local,
            remote,
        };
        let (writes, inbox) = mpsc::channel(WRITES_MAX);
        let number = self.enter(flow, true, writes);
        let (shared, calls, limits) = (self.shared.clone(), self.calls.clone(), self.limits);
        tokio::spawn(async move {
            let ending = sip_connection::run(flow, stream, inbox, limits, &shared).await;
            end(&calls, flow, number, ending).await;
        });
    }

    fn enter(&mut self, flow: Flow, accepted: bool, writes: mpsc::Sender<Bytes>) -> u64 {
        self.next_number += 1;
        self.connections.insert(
            flow,
            Connection {
                number: self.next_number,
                accepted,
                writes,
            },
        );
        self.shared
            .counters
            .connections
            .store(self.connections.len() as u64, Relaxed);
        self.next_number
    }

    async fn on_ended(&mut self, flow: Flow, number: u64, ending: Ending) {
        let is_newest = self
            .connections
            .get(&flow)
            .is_some_and(|connection| connection.number == number);
        if is_newest {
            self.connections.remove(&flow);
        }
        self.shared
            .counters
            .connections
            .store(self.connections.len() as u64, Relaxed);
        match ending {
            Ending::Closed => {}
            Ending::Refused(refusal) => {
                self.shared.counters.connections_refused.fetch_add(1, Relaxed);
                tracing::warn!(remote = %flow.remote, %refusal, "TCP connection closed");
            }
            Ending::Broken(kind) => {
                tracing::warn!(remote = %flow.remote, error = %kind, "TCP connection broke");
                self.shared.counters.unsent.fetch_add(1, Relaxed);
                // What waits on the connection that took its place must not fail with it; its own requests time out.
                if is_newest {
                    self.tell_unreachable(flow).await;
                }
            }
        }
    }
}

async fn end(calls: &mpsc::Sender<Call>, flow: Flow, number: u64, ending: Ending) {
    if calls.send(Call::Ended { flow, number, ending }).await.is_err() {
        tracing::debug!("a connection ended after the switchboard");
    }
}

/// Connects from the listener's address, so that the peer sees the source it was told of; the port is ephemeral.
async fn open(flow: Flow) -> io::Result<TcpStream> {
    let socket = if flow.remote.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    socket.bind(SocketAddr::new(flow.local.ip(), 0))?;
    socket.connect(flow.remote).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::clock::Clock;
    use super::super::peers::Peers;
    use super::super::sip_sockets::SipCounters;
    use super::*;

    #[test]
    fn the_end_of_a_connection_fails_no_request_on_the_one_that_took_its_place() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (sender, mut arrivals) = mpsc::channel(8);
            let shared = Shared {
                clock: Clock::start(),
                peers: Arc::new(Peers::new([])),
                counters: Arc::new(SipCounters::default()),
                arrivals: sender,
            };
            let trunk = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let remote = trunk.local_addr().expect("bound");
            let local = SocketAddr::new(remote.ip(), 5060);
            let flow = Flow {
                transport: Transport::Tcp,
                local,
                remote,
            };
            let mut switchboard = Switchboard {
                limits: TcpLimits::default(),
                shared,
                calls: mpsc::channel(8).0,
                connections: BTreeMap::new(),
                next_number: 0,
            };
            let broken = Ending::Broken(io::ErrorKind::ConnectionReset);
            let first = switchboard.enter(flow, false, mpsc::channel(1).0);
            switchboard
                .on_send(flow, Bytes::from_static(b"INVITE sip:b SIP/2.0\r\n"))
                .await;
            let second = switchboard.next_number;
            switchboard.on_ended(flow, first, broken).await;
            assert!(first != second && arrivals.try_recv().is_err());
            switchboard.on_ended(flow, second, broken).await;
            assert_eq!(arrivals.try_recv(), Ok(Arrival::Unreachable { flow }));
        });
    }
}
