//! SIP over connections (RFC 3261 §18): TCP, TLS, and WebSocket above either. Listeners, limits, and signalling's end.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::sip_sockets::{Listening, Shared};
use super::switchboard::{Call, Switchboard};
use crate::sip::{Flow, Transport};

const BACKLOG: i32 = 512;

/// How long no connection is accepted after the kernel refused one: no file handles, no memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Messages from signalling, and news of connections, that wait for the table. Full: the message counts as not sent,
/// and if it is a request its transaction is told.
const SWITCHBOARD_MAX: usize = 4096;

/// What one stranger or one sick peer can make us hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamLimits {
    /// Connections in all, both ways, those included that have not finished a handshake.
    pub connections_max: usize,
    /// So many of them are left to those that we open: who opens many keeps nobody from being called.
    pub dials_reserved: usize,
    /// Connections that one address has opened.
    pub connections_per_peer_max: usize,
    /// A connection that has begun a message has to finish it within this, and a new one its first.
    pub message_time_max: Duration,
    /// A connection on which nothing came or went for this long is closed.
    pub idle_time_max: Duration,
    pub connect_time_max: Duration,
    /// TLS, and WebSocket's upgrade, from the first byte to the last.
    pub handshake_time_max: Duration,
    /// How long a WebSocket may say nothing before it is pinged; after as long again it is closed.
    pub silence_max: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            dials_reserved: 256,
            connections_per_peer_max: 256,
            message_time_max: Duration::from_secs(20),
            idle_time_max: Duration::from_secs(30 * 60),
            connect_time_max: Duration::from_secs(4),
            handshake_time_max: Duration::from_secs(5),
            silence_max: Duration::from_secs(30),
        }
    }
}

impl StreamLimits {
    /// Connections in all beyond which none is accepted.
    pub const fn accepted_max(&self) -> usize {
        self.connections_max.saturating_sub(self.dials_reserved)
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
pub(super) struct StreamFlows {
    locals: Vec<(Transport, SocketAddr)>,
    switchboard: mpsc::Sender<Call>,
}

impl StreamFlows {
    pub(super) fn start(listeners: Vec<(Transport, TcpListener)>, limits: StreamLimits, shared: &Shared) -> Self {
        let (calls, inbox) = mpsc::channel(SWITCHBOARD_MAX);
        let mut locals = Vec::new();
        for (transport, listener) in listeners {
            match listener.local_addr() {
                Ok(local) => {
                    locals.push((transport, local));
                    tokio::spawn(accept(transport, local, listener, shared.clone(), calls.clone()));
                }
                Err(error) => tracing::error!(%error, "a listener has no address"),
            }
        }
        tokio::spawn(Switchboard::new(limits, shared.clone(), calls.clone()).run(inbox));
        Self {
            locals,
            switchboard: calls,
        }
    }

    pub(super) fn locals(&self) -> &[(Transport, SocketAddr)] {
        &self.locals
    }

    pub(super) fn send(&self, flow: Flow, bytes: Bytes) -> bool {
        self.locals.contains(&(flow.transport, flow.local))
            && self.switchboard.try_send(Call::Send { flow, bytes }).is_ok()
    }
}

async fn accept(
    transport: Transport,
    local: SocketAddr,
    listener: TcpListener,
    shared: Shared,
    calls: mpsc::Sender<Call>,
) {
    let _listening = Listening::new(&shared);
    loop {
        match listener.accept().await {
            Ok((stream, remote)) if shared.peers.allow_connection(remote) => {
                let flow = Flow {
                    transport,
                    local,
                    remote,
                };
                if calls.send(Call::Accepted { flow, stream }).await.is_err() {
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
pub(super) fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "linger");
    }
}

#[cfg(test)]
mod tests;
