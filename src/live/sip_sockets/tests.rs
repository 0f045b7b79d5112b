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
        let sockets = SipSockets::open(Clock::start(), setting, Arc::clone(&counters), sender, limits).expect("binds");
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
