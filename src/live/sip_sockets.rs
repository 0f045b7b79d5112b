//! SIP on the wire: listeners of every transport, IPv4 and IPv6.
//!
//! Every socket lives on one thread with [`signaling`](super::signaling), joined to it by one bounded queue of
//! [`Arrival`]s. What a source that is no configured peer sends is dropped unread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::homes::Homes;
use super::peers::Peers;
use super::sip_streams::{self, StreamFlows, StreamLimits};
use super::sip_udp::{self, UdpPort};
use super::tls::Contexts;
use crate::sip::{Flow, Transport};

/// How many messages wait for the signalling. Full: a datagram is dropped and counted (SIP over UDP repeats itself, RFC 3261
/// §17.1.1.2), a connection is read no further until there is room.
pub const ARRIVALS_MAX: usize = 4096;

/// What the sockets hand to the signalling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// One datagram, or one message cut out of a stream.
    Sip { flow: Flow, bytes: Bytes },
    /// An INVITE of a stream as far as it has come, whose rest does not come.
    Cut { flow: Flow, bytes: Bytes },
    /// A request was not taken by this connection, or the connection broke or could not be opened. Never of UDP.
    Unreachable { flow: Flow },
    /// A connection has ended, be it in good order. What it brought comes before this, and what the next between the same
    /// addresses brings comes after.
    Closed { flow: Flow },
    /// A datagram came back from where nobody listens; `fragment` is how it began.
    Bounced { flow: Flow, fragment: Bytes },
}

/// What the sockets have seen since the start. Written by the sockets, read by `status`.
#[derive(Debug, Default)]
pub struct SipCounters {
    pub received: AtomicU64,
    pub sent: AtomicU64,
    /// From a source that is no configured peer: dropped unread, without a reply.
    pub strangers: AtomicU64,
    /// CRLF and NUL keep-alives (RFC 5626 §4.4.1 and what phones make of it): datagrams without a message.
    pub keep_alives: AtomicU64,
    /// Dropped because signalling was behind by [`ARRIVALS_MAX`] messages.
    pub shed: AtomicU64,
    /// Not taken by the network.
    pub unsent: AtomicU64,
    /// Datagrams of ours that came back from where nobody listens.
    pub bounced: AtomicU64,
    /// Connections closed for too many of them, a slow sender, a failed handshake, or bytes that cannot be framed.
    pub connections_refused: AtomicU64,
    pub connections: AtomicU64,
    /// Tasks without which SIP is not heard, that have ended.
    pub listeners_lost: AtomicU64,
}

/// Counts a listener's task as lost when it ends, be it by a panic.
pub(super) struct Listening(Arc<SipCounters>);

impl Listening {
    pub(super) fn new(shared: &Shared) -> Self {
        Self(Arc::clone(&shared.counters))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners_lost.fetch_add(1, Relaxed);
    }
}

/// What the sockets counted, at one moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SipCounts {
    pub received: u64,
    pub sent: u64,
    pub strangers: u64,
    pub keep_alives: u64,
    pub shed: u64,
    pub unsent: u64,
    #[serde(default)]
    pub bounced: u64,
    pub connections_refused: u64,
    /// Open now.
    pub connections: u64,
}

impl SipCounters {
    pub fn read(&self) -> SipCounts {
        SipCounts {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            strangers: self.strangers.load(Relaxed),
            keep_alives: self.keep_alives.load(Relaxed),
            shed: self.shed.load(Relaxed),
            unsent: self.unsent.load(Relaxed),
            bounced: self.bounced.load(Relaxed),
            connections_refused: self.connections_refused.load(Relaxed),
            connections: self.connections.load(Relaxed),
        }
    }
}

/// A listener could not be opened: the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}:{address}: {source}", transport.as_str().to_ascii_lowercase())]
pub struct BindError {
    pub transport: Transport,
    pub address: SocketAddr,
    pub source: std::io::Error,
}

/// What every socket of SIP shares.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub clock: Clock,
    pub peers: Arc<Peers>,
    pub homes: Homes,
    /// The newest generation of certificates.
    pub tls: watch::Receiver<Arc<Contexts>>,
    /// Of pages that may open a WebSocket; empty: any.
    pub origins: Arc<Vec<String>>,
    pub counters: Arc<SipCounters>,
    pub arrivals: mpsc::Sender<Arrival>,
}

/// What the sockets are told of the configuration.
#[derive(Clone, Debug)]
pub struct SipSetting {
    pub listeners: Vec<(Transport, SocketAddr)>,
    pub peers: Peers,
    pub homes: Homes,
    pub tls: watch::Receiver<Arc<Contexts>>,
    pub origins: Vec<String>,
}

/// The sending side of all SIP sockets; the receiving side runs as tasks of the runtime it was opened on.
#[derive(Debug)]
pub struct SipSockets {
    udp: Vec<UdpPort>,
    streams: StreamFlows,
    shared: Shared,
}

impl SipSockets {
    /// Binds every listener and starts to receive: must be called on the runtime that is to run the sockets.
    ///
    /// A listener on port 0 gets a free port: [`Self::listeners`] tells it.
    pub fn open(
        clock: Clock,
        setting: SipSetting,
        counters: Arc<SipCounters>,
        arrivals: mpsc::Sender<Arrival>,
        limits: StreamLimits,
    ) -> Result<Self, BindError> {
        let shared = Shared {
            clock,
            peers: Arc::new(setting.peers),
            homes: setting.homes,
            tls: setting.tls,
            origins: Arc::new(setting.origins),
            counters,
            arrivals,
        };
        let mut udp = Vec::new();
        let mut streams: Vec<(Transport, TcpListener)> = Vec::new();
        for (transport, address) in setting.listeners {
            let failed = |source| BindError {
                transport,
                address,
                source,
            };
            match transport {
                Transport::Udp => udp.push(sip_udp::open(address, &shared).map_err(failed)?),
                Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                    streams.push((transport, sip_streams::listen(address).map_err(failed)?));
                }
            }
        }
        let streams = StreamFlows::start(streams, limits, &shared);
        Ok(Self { udp, streams, shared })
    }

    /// The addresses as bound.
    pub fn listeners(&self) -> Vec<(Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|port| (Transport::Udp, port.local()));
        udp.chain(self.streams.locals().iter().copied()).collect()
    }

    /// Takes one message to send; never waits. False if it is a request that will not leave and is not sent again by a timer:
    /// one over a stream for which there is no room (RFC 3261 §18.4). A stream that is not connected is connected first,
    /// and its failure comes back as [`Arrival::Unreachable`]. A datagram leaves with [`Self::flush`] at the latest; one that
    /// did not is counted, and no more.
    #[must_use = "what did not leave has to be told to the transactions"]
    pub fn send(&mut self, flow: Flow, bytes: Bytes) -> bool {
        let counters = &self.shared.counters;
        let (taken, is_told) = match flow.transport {
            Transport::Udp => {
                if let Some(port) = self.udp.iter_mut().find(|port| port.local() == flow.local) {
                    port.send(self.shared.clock.now(), flow.remote, bytes, counters);
                    return true;
                }
                (false, false)
            }
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                let is_told = awaits_answer(&bytes);
                (self.streams.send(flow, bytes), is_told)
            }
        };
        if taken { &counters.sent } else { &counters.unsent }.fetch_add(1, Relaxed);
        taken || !is_told
    }

    /// Lets the datagrams leave that [`Self::send`] took: they go by the batch.
    pub fn flush(&mut self) {
        let now = self.shared.clock.now();
        for port in &mut self.udp {
            port.flush(now, &self.shared.counters);
        }
    }
}

#[cfg(test)]
impl Shared {
    /// Of a node without trunks or certificates.
    pub(super) fn bare(arrivals: mpsc::Sender<Arrival>) -> Self {
        Self {
            clock: Clock::start(),
            peers: Arc::new(Peers::default()),
            homes: Homes::default(),
            tls: watch::channel(Arc::default()).1,
            origins: Arc::default(),
            counters: Arc::new(SipCounters::default()),
            arrivals,
        }
    }
}

/// Whether a client transaction stands behind a message of ours: neither a response nor an ACK has one.
pub(super) fn awaits_answer(message: &[u8]) -> bool {
    !message.starts_with(b"SIP/2.0 ") && !message.starts_with(b"ACK ")
}

#[cfg(test)]
mod tests;
