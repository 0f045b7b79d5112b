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
mod tests {
    #![allow(clippy::panic)]

    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream, UdpSocket};
    use tokio::time::timeout;

    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    const SOON: Duration = Duration::from_secs(10);

    struct Bench {
        sockets: SipSockets,
        arrivals: mpsc::Receiver<Arrival>,
        counters: Arc<SipCounters>,
    }

    impl Bench {
        fn open(transport: Transport, address: IpAddr, peers: Peers, limits: StreamLimits) -> Self {
            let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
            let counters = Arc::new(SipCounters::default());
            let setting = SipSetting {
                listeners: vec![(transport, SocketAddr::new(address, 0))],
                peers,
                homes: Homes::default(),
                tls: watch::channel(Arc::default()).1,
                origins: Vec::new(),
            };
            let sockets =
                SipSockets::open(Clock::start(), setting, Arc::clone(&counters), sender, limits).expect("binds");
            Self {
                sockets,
                arrivals,
                counters,
            }
        }

        fn local(&self) -> SocketAddr {
            self.sockets.listeners()[0].1
        }

        /// The ends of connections aside.
        fn hears_nothing(&mut self) -> bool {
            let mut arrivals = std::iter::from_fn(|| self.arrivals.try_recv().ok());
            arrivals.all(|arrival| matches!(arrival, Arrival::Closed { .. } | Arrival::Unreachable { .. }))
        }

        /// The next, the ends of connections aside.
        async fn arrival(&mut self) -> Arrival {
            loop {
                let next = timeout(SOON, self.arrivals.recv()).await.expect("in time");
                match next.expect("sockets live") {
                    Arrival::Closed { .. } => {}
                    arrival => return arrival,
                }
            }
        }
    }

    fn loopback() -> Peers {
        Peers::new([(Ipv4Addr::LOCALHOST.into(), None), (Ipv6Addr::LOCALHOST.into(), None)])
    }

    fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(work)
    }

    #[test]
    fn a_datagram_comes_in_and_its_answer_leaves_by_the_same_port_in_both_families() {
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            on_a_runtime(async {
                let mut bench = Bench::open(Transport::Udp, address, loopback(), StreamLimits::default());
                let phone = UdpSocket::bind((address, 0)).await.expect("binds");
                phone
                    .send_to(b"\r\n\r\n", bench.local())
                    .await
                    .expect("sends a keep-alive");
                phone.send_to(MESSAGE, bench.local()).await.expect("sends");
                let Arrival::Sip { flow, bytes } = bench.arrival().await else {
                    panic!("no message")
                };
                assert_eq!((&bytes[..], flow.remote), (MESSAGE, phone.local_addr().expect("bound")));

                assert!(bench.sockets.send(flow, Bytes::from_static(b"answer")));
                bench.sockets.flush();
                let mut buffer = [0; 64];
                let (length, from) = timeout(SOON, phone.recv_from(&mut buffer))
                    .await
                    .expect("in time")
                    .expect("receives");
                assert_eq!((&buffer[..length], from), (&b"answer"[..], bench.local()));
                assert_eq!(bench.counters.read().keep_alives, 1);
            });
        }
    }

    #[test]
    fn a_datagram_that_cannot_be_sent_is_lost_alone() {
        on_a_runtime(async {
            let local = Ipv4Addr::LOCALHOST.into();
            let mut bench = Bench::open(Transport::Udp, local, loopback(), StreamLimits::default());
            let phone = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
            phone.send_to(MESSAGE, bench.local()).await.expect("sends");
            let Arrival::Sip { flow, .. } = bench.arrival().await else {
                panic!("no message")
            };
            let too_long = Bytes::from(vec![b'x'; 70_000]);
            assert!(bench.sockets.send(flow, too_long), "nothing to tell the transactions");
            assert!(bench.sockets.send(flow, Bytes::from_static(MESSAGE)));
            bench.sockets.flush();
            let mut buffer = [0; 64];
            let read = timeout(SOON, phone.recv(&mut buffer)).await.expect("in time");
            assert_eq!(read.expect("receives"), MESSAGE.len());
            assert_eq!((bench.counters.read().unsent, bench.counters.read().sent), (1, 1));
        });
    }

    #[test]
    fn only_a_request_that_found_no_room_makes_its_connection_unreachable() {
        on_a_runtime(async {
            let limits = StreamLimits {
                connections_max: 0,
                ..StreamLimits::default()
            };
            let mut bench = Bench::open(Transport::Tcp, Ipv4Addr::LOCALHOST.into(), loopback(), limits);
            let flow = |port| Flow {
                transport: Transport::Tcp,
                local: bench.local(),
                remote: (Ipv4Addr::LOCALHOST, port).into(),
            };
            let (quiet, told) = (flow(9), flow(10));
            for message in [&b"SIP/2.0 200 OK\r\n"[..], b"ACK sip:a SIP/2.0\r\n"] {
                assert!(bench.sockets.send(quiet, Bytes::from_static(message)));
            }
            assert!(bench.sockets.send(told, Bytes::from_static(MESSAGE)));
            assert_eq!(bench.arrival().await, Arrival::Unreachable { flow: told });
            assert_eq!(bench.counters.read().unsent, 3);
        });
    }

    #[test]
    fn a_stranger_is_dropped_unread_and_gets_no_reply() {
        on_a_runtime(async {
            let known = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
            let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
            let port = known.local_addr().expect("bound").port();
            let peers = Peers::new([(Ipv4Addr::LOCALHOST.into(), Some(port))]);
            let mut bench = Bench::open(
                Transport::Udp,
                Ipv4Addr::LOCALHOST.into(),
                peers,
                StreamLimits::default(),
            );
            stranger.send_to(b"spoof", bench.local()).await.expect("sends");
            known.send_to(MESSAGE, bench.local()).await.expect("sends");
            let Arrival::Sip { flow, .. } = bench.arrival().await else {
                panic!("no message")
            };
            assert_eq!(flow.remote.port(), port);
            assert_eq!(
                (bench.counters.read().strangers, bench.counters.read().received),
                (1, 1)
            );
        });
    }

    #[test]
    fn a_connection_carries_messages_both_ways_and_is_reused() {
        on_a_runtime(async {
            let mut bench = Bench::open(
                Transport::Tcp,
                Ipv4Addr::LOCALHOST.into(),
                loopback(),
                StreamLimits::default(),
            );
            let mut phone = TcpStream::connect(bench.local()).await.expect("connects");
            phone.write_all(&MESSAGE[..9]).await.expect("writes");
            phone
                .write_all(&[&MESSAGE[9..], MESSAGE].concat())
                .await
                .expect("writes");
            for _ in 0..2 {
                let Arrival::Sip { flow, bytes } = bench.arrival().await else {
                    panic!("no message")
                };
                assert_eq!(&bytes[..], MESSAGE);
                assert!(bench.sockets.send(flow, Bytes::from_static(b"answer")));
            }
            let mut buffer = [0; 12];
            timeout(SOON, phone.read_exact(&mut buffer))
                .await
                .expect("in time")
                .expect("reads");
            assert_eq!((&buffer, bench.counters.read().connections), (b"answeranswer", 1));
        });
    }

    #[test]
    fn a_peer_that_is_not_connected_is_connected_to_and_one_that_is_not_there_is_unreachable() {
        on_a_runtime(async {
            let mut bench = Bench::open(
                Transport::Tcp,
                Ipv4Addr::LOCALHOST.into(),
                loopback(),
                StreamLimits::default(),
            );
            let trunk = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let remote = trunk.local_addr().expect("bound");
            let flow = Flow {
                transport: Transport::Tcp,
                local: bench.local(),
                remote,
            };
            assert!(bench.sockets.send(flow, Bytes::from_static(MESSAGE)));
            let (mut connection, _) = timeout(SOON, trunk.accept()).await.expect("in time").expect("accepts");
            let mut buffer = vec![0; MESSAGE.len()];
            timeout(SOON, connection.read_exact(&mut buffer))
                .await
                .expect("in time")
                .expect("reads");
            assert_eq!(buffer, MESSAGE);
            connection.write_all(MESSAGE).await.expect("writes");
            assert_eq!(
                bench.arrival().await,
                Arrival::Sip {
                    flow,
                    bytes: Bytes::from_static(MESSAGE)
                }
            );

            drop((trunk, connection));
            let gone = TcpListener::bind("127.0.0.1:0")
                .await
                .expect("binds")
                .local_addr()
                .expect("bound");
            let flow = Flow { remote: gone, ..flow };
            assert!(bench.sockets.send(flow, Bytes::from_static(MESSAGE)));
            // The end of the one before is told first.
            while bench.arrival().await != (Arrival::Unreachable { flow }) {}
        });
    }

    #[test]
    fn a_peer_that_closed_its_idle_connection_is_heard_and_reached_on_its_next() {
        on_a_runtime(async {
            let local = Ipv4Addr::LOCALHOST.into();
            let mut bench = Bench::open(Transport::Tcp, local, loopback(), StreamLimits::default());
            let mut flows = Vec::new();
            for _ in 0..2 {
                let mut phone = TcpStream::connect(bench.local()).await.expect("connects");
                phone.write_all(MESSAGE).await.expect("writes");
                let flow = loop {
                    if let Arrival::Sip { flow, .. } = bench.arrival().await {
                        break flow;
                    }
                };
                assert!(bench.sockets.send(flow, Bytes::from_static(b"answer")));
                let mut buffer = [0; 6];
                let read = timeout(SOON, phone.read_exact(&mut buffer)).await.expect("in time");
                assert_eq!(read.expect("reads"), buffer.len());
                phone.shutdown().await.expect("closes");
                let read = timeout(SOON, phone.read(&mut buffer)).await.expect("in time");
                assert_eq!(read.expect("reads"), 0, "closed from both sides");
                flows.push(flow);
            }
            assert_ne!(flows[0].remote, flows[1].remote, "another connection");
            assert!(bench.hears_nothing());

            // A request of ours to the peer's own port, again after it has closed what we opened.
            let trunk = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let remote = trunk.local_addr().expect("bound");
            for _ in 0..2 {
                let flow = Flow { remote, ..flows[0] };
                assert!(bench.sockets.send(flow, Bytes::from_static(MESSAGE)));
                let (mut connection, _) = timeout(SOON, trunk.accept()).await.expect("in time").expect("accepts");
                let mut buffer = vec![0; MESSAGE.len()];
                let read = timeout(SOON, connection.read_exact(&mut buffer))
                    .await
                    .expect("in time");
                assert_eq!(read.expect("reads"), buffer.len());
                connection.shutdown().await.expect("closes");
                let read = timeout(SOON, connection.read(&mut buffer)).await.expect("in time");
                assert_eq!(read.expect("reads"), 0, "closed from both sides");
            }
            assert!(bench.hears_nothing());
        });
    }

    #[test]
    fn a_slow_sender_and_one_connection_too_many_are_closed() {
        on_a_runtime(async {
            let message_time_max = Duration::from_millis(50);
            let limits = StreamLimits {
                connections_per_peer_max: 1,
                message_time_max,
                ..StreamLimits::default()
            };
            let bench = Bench::open(Transport::Tcp, Ipv4Addr::LOCALHOST.into(), loopback(), limits);
            let mut slow = TcpStream::connect(bench.local()).await.expect("connects");
            slow.write_all(b"INVITE sip:").await.expect("writes");
            // Its reset may come before the connect is seen to have succeeded.
            let mut phones = vec![slow];
            phones.extend(TcpStream::connect(bench.local()).await);
            let mut buffer = [0; 1];
            for phone in &mut phones {
                let read = timeout(SOON, phone.read(&mut buffer)).await.expect("in time");
                assert!(!matches!(read, Ok(1..)), "{read:?}");
            }
            assert_eq!(bench.counters.read().connections_refused, 2);
        });
    }
}
