//! SIP on the wire: UDP and TCP listeners, IPv4 and IPv6.
//!
//! Every socket lives on one thread with [`signaling`](super::signaling), joined to it by one bounded queue of
//! [`Arrival`]s. What a source that is no configured peer sends is dropped unread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::clock::Clock;
use super::peers::Peers;
use super::sip_tcp::{self, TcpFlows, TcpLimits};
use super::sip_udp::{self, UdpPort};
use crate::sip::{Flow, Transport};

/// How many messages wait for the signalling. Full: a datagram is dropped and counted (SIP over UDP repeats itself, RFC 3261
/// §17.1.1.2), a TCP connection is read no further until there is room.
pub const ARRIVALS_MAX: usize = 4096;

/// What the sockets hand to the signalling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// One datagram, or one message cut out of a stream.
    Sip { flow: Flow, bytes: Bytes },
    /// What was sent on this flow did not leave, or its connection broke.
    Unreachable { flow: Flow },
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
    /// Connections closed for too many of them, a slow sender, or bytes that cannot be framed.
    pub connections_refused: AtomicU64,
    pub connections: AtomicU64,
}

/// [`SipCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SipCounts {
    pub received: u64,
    pub sent: u64,
    pub strangers: u64,
    pub keep_alives: u64,
    pub shed: u64,
    pub unsent: u64,
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
    pub counters: Arc<SipCounters>,
    pub arrivals: mpsc::Sender<Arrival>,
}

/// The sending side of all SIP sockets; the receiving side runs as tasks of the runtime it was opened on.
#[derive(Debug)]
pub struct SipSockets {
    udp: Vec<UdpPort>,
    tcp: TcpFlows,
    shared: Shared,
}

impl SipSockets {
    /// Binds every listener and starts to receive: must be called on the runtime that is to run the sockets.
    ///
    /// A listener on port 0 gets a free port: [`Self::listeners`] tells it.
    pub fn open(
        clock: Clock,
        listeners: &[(Transport, SocketAddr)],
        peers: Peers,
        counters: Arc<SipCounters>,
        arrivals: mpsc::Sender<Arrival>,
        limits: TcpLimits,
    ) -> Result<Self, BindError> {
        let shared = Shared {
            clock,
            peers: Arc::new(peers),
            counters,
            arrivals,
        };
        let mut udp = Vec::new();
        let mut tcp = Vec::new();
        for (transport, address) in listeners.iter().copied() {
            let failed = |source| BindError {
                transport,
                address,
                source,
            };
            match transport {
                Transport::Udp => udp.push(sip_udp::open(address, &shared).map_err(failed)?),
                Transport::Tcp => tcp.push(sip_tcp::listen(address).map_err(failed)?),
            }
        }
        let tcp = TcpFlows::start(tcp, limits, &shared);
        Ok(Self { udp, tcp, shared })
    }

    /// The addresses as bound.
    pub fn listeners(&self) -> Vec<(Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|port| (Transport::Udp, port.local()));
        udp.chain(self.tcp.locals().iter().map(|local| (Transport::Tcp, *local)))
            .collect()
    }

    /// Sends one message; never waits. True if it left or is on its way: a TCP flow that is not connected is connected
    /// first, and its failure comes back as [`Arrival::Unreachable`].
    #[must_use = "what did not leave has to be told to the transactions"]
    pub fn send(&mut self, flow: Flow, bytes: Bytes) -> bool {
        let taken = match flow.transport {
            Transport::Udp => self
                .udp
                .iter()
                .find(|port| port.local() == flow.local)
                .is_some_and(|port| port.send(flow.remote, &bytes)),
            Transport::Tcp => self.tcp.send(flow, bytes),
        };
        let counters = &self.shared.counters;
        if taken { &counters.sent } else { &counters.unsent }.fetch_add(1, Relaxed);
        taken
    }
}
