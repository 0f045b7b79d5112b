//! Peers by the dozen that begin something and never finish it, on every kind of stream, beside one that calls.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::live::clock::Clock;
use crate::live::homes::Homes;
use crate::live::peers::Peers;
use crate::live::sip_sockets::{Arrival, SipCounters, SipSetting, SipSockets};
use crate::live::tls::Contexts;
use crate::live::tls::tests::{Authority, config};

const HOSTILE: [u8; 4] = [127, 82, 0, 2];
const HONEST: [u8; 4] = [127, 82, 0, 3];
const SOON: Duration = Duration::from_secs(20);
const PER_PEER: usize = 8;
const SLOW: Duration = Duration::from_millis(300);
const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

struct Bench {
    local: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    counters: Arc<SipCounters>,
    folder: tempfile::TempDir,
    _sockets: SipSockets,
}

/// A node that hears both peers by one listener.
fn node(transport: Transport) -> Bench {
    let limits = StreamLimits {
        connections_per_peer_max: PER_PEER,
        message_time_max: SLOW,
        handshake_time_max: SLOW,
        ..StreamLimits::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let contexts = Contexts::load(&config(folder.path())).unwrap();
    let (sender, arrivals) = mpsc::channel(64);
    let counters = Arc::new(SipCounters::default());
    let setting = SipSetting {
        listeners: vec![(transport, SocketAddr::from(([127, 82, 0, 1], 0)))],
        peers: Peers::new([(HOSTILE.into(), None), (HONEST.into(), None)]),
        homes: Homes::default(),
        tls: watch::channel(Arc::new(contexts)).1,
        origins: Vec::new(),
    };
    let sockets = SipSockets::open(Clock::start(), setting, Arc::clone(&counters), sender, limits).unwrap();
    Bench {
        local: sockets.listeners()[0].1,
        arrivals,
        counters,
        folder,
        _sockets: sockets,
    }
}

async fn connect(from: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await
}

/// Whether the other end closed the connection, in time; what it says before is not looked at.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 512];
    let end = async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} };
    timeout(SOON, end).await.is_ok()
}

/// What each kind of stream begins with: nothing, or a part of what it owes.
fn begun(transport: Transport) -> [&'static [u8]; 2] {
    let part: &[u8] = match transport {
        Transport::Tls | Transport::Wss => b"\x16\x03\x01\x02\x00\x01",
        Transport::Ws => b"GET / HTTP/1.1\r\nHost: a\r\n",
        _ => b"INVITE sip:a SIP/2.0\r\nVia: ",
    };
    [b"", part]
}

#[tokio::test]
async fn what_is_begun_and_never_finished_is_bounded_by_peer_given_up_in_time_and_holds_up_nobody() {
    for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
        let mut bench = node(transport);
        let mut held = Vec::new();
        for number in 0..3 * PER_PEER {
            // A connection too many may be reset before it is seen to have been made.
            if let Ok(mut stream) = connect(HOSTILE, bench.local).await {
                let _broken = stream.write_all(begun(transport)[number % 2]).await;
                held.push(stream);
            }
        }
        if transport == Transport::Tcp {
            let mut honest = connect(HONEST, bench.local).await.unwrap();
            honest.write_all(MESSAGE).await.unwrap();
            let heard = timeout(SOON, bench.arrivals.recv()).await.unwrap();
            assert!(
                matches!(heard, Some(Arrival::Sip { flow, .. }) if flow.remote.ip() == std::net::IpAddr::from(HONEST))
            );
        }
        for stream in &mut held {
            assert!(is_closed(stream).await, "{transport:?}");
        }
        while bench.counters.read().connections > u64::from(transport == Transport::Tcp) {
            tokio::task::yield_now().await;
        }
        let refused = bench.counters.read().connections_refused;
        assert_eq!(refused, 3 * PER_PEER as u64, "{transport:?}: too many, and too slow");
        let messages = std::iter::from_fn(|| bench.arrivals.try_recv().ok());
        let messages = messages.filter(|arrival| matches!(arrival, Arrival::Sip { .. }));
        assert_eq!(messages.count(), 0, "{transport:?}");
    }
}

#[tokio::test]
async fn under_a_storm_of_handshakes_another_peer_shakes_hands() {
    let mut bench = node(Transport::Tls);
    let mut held = Vec::new();
    for _ in 0..PER_PEER {
        let mut stream = connect(HOSTILE, bench.local).await.unwrap();
        stream.write_all(begun(Transport::Tls)[1]).await.unwrap();
        held.push(stream);
    }
    let stream = connect(HONEST, bench.local).await.unwrap();
    let connector = Authority::connector(&bench.folder.path().join("chain.pem"));
    let name = ServerName::try_from("sbc.example.com").unwrap();
    let mut honest = connector.connect(name, stream).await.unwrap();
    honest.write_all(MESSAGE).await.unwrap();
    let heard = timeout(SOON, bench.arrivals.recv()).await.unwrap();
    assert!(matches!(heard, Some(Arrival::Sip { bytes, .. }) if bytes == MESSAGE));
}

#[tokio::test]
async fn a_message_that_comes_byte_by_byte_is_given_up_however_often_a_byte_comes() {
    let mut bench = node(Transport::Tcp);
    let mut slow = connect(HOSTILE, bench.local).await.unwrap();
    // An honest message first: it is no new connection any more.
    slow.write_all(MESSAGE).await.unwrap();
    timeout(SOON, bench.arrivals.recv()).await.unwrap();
    let (mut reading, mut writing) = slow.into_split();
    let trickle = async {
        for byte in b"INVITE sip:a SIP/2.0\r\nX: "
            .iter()
            .chain(std::iter::repeat_n(&b'x', 1_000_000))
        {
            if writing.write_all(&[*byte]).await.is_err() {
                return;
            }
            let _pause = timeout(SLOW / 20, std::future::pending::<()>()).await;
        }
    };
    let mut buffer = [0; 64];
    let closed = async { while !matches!(reading.read(&mut buffer).await, Ok(0) | Err(_)) {} };
    timeout(SOON, async {
        tokio::select! { () = trickle => {}, () = closed => {} }
    })
    .await
    .unwrap();
    assert_eq!(bench.counters.read().connections_refused, 1);
}
