//! The upgrade and the exchange in virtual time: a pipe in place of the network.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::*;
use crate::live::homes::Homes;
use crate::live::sip_sockets::{Arrival, Shared};
use crate::live::sip_streams::StreamLimits;
use crate::live::switchboard::Call;
use crate::sip::{Flow, Transport};

const SIP_MESSAGE: &str = "OPTIONS sip:a SIP/2.0\r\n\r\n";

struct Bench {
    writes: mpsc::Sender<Bytes>,
    arrivals: mpsc::Receiver<Arrival>,
    calls: mpsc::Receiver<Call>,
    task: JoinHandle<Ending>,
}

fn bench(origins: &[&str]) -> (Bench, DuplexStream) {
    limited(origins, StreamLimits::default())
}

fn limited(origins: &[&str], limits: StreamLimits) -> (Bench, DuplexStream) {
    let (peer, ours) = duplex(256 * 1024);
    let (sender, arrivals) = mpsc::channel(8);
    let (calls, desk) = mpsc::channel(8);
    let (writes, inbox) = mpsc::channel(8);
    let flow = Flow {
        transport: Transport::Ws,
        local: "192.0.2.100:80".parse().unwrap(),
        remote: "192.0.2.1:40000".parse().unwrap(),
    };
    let mut shared = Shared::bare(sender);
    shared.homes = Homes::at([(Transport::Ws, "192.0.2.1:80".parse().unwrap())]);
    shared.origins = Arc::new(origins.iter().map(|origin| (*origin).to_owned()).collect());
    let line = Line {
        flow,
        number: 1,
        limits,
        shared,
        calls,
    };
    let task = tokio::spawn(async move { run(&line, ours, inbox).await });
    let bench = Bench {
        writes,
        arrivals,
        calls: desk,
        task,
    };
    (bench, peer)
}

/// A browser's end.
async fn open(
    peer: DuplexStream,
    protocol: Option<&str>,
    origin: Option<&str>,
) -> Result<WebSocketStream<DuplexStream>, u16> {
    let mut request = "ws://sbc.example.com/".into_client_request().unwrap();
    let headers = request.headers_mut();
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.parse().unwrap());
    }
    if let Some(origin) = origin {
        headers.insert(header::ORIGIN, origin.parse().unwrap());
    }
    match tokio_tungstenite::client_async(request, peer).await {
        Ok((socket, response)) => {
            assert_eq!(response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).unwrap(), "sip");
            Ok(socket)
        }
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_a_message_either_way_and_the_trunk_is_reached_by_it() {
    let (mut bench, peer) = bench(&[]);
    let mut browser = open(peer, Some("chat, sip"), Some("https://a.example")).await.unwrap();
    for message in [
        Message::Text(SIP_MESSAGE.into()),
        Message::Binary(Bytes::from_static(SIP_MESSAGE.as_bytes())),
    ] {
        browser.send(message).await.unwrap();
        let Some(Arrival::Sip { bytes, .. }) = bench.arrivals.recv().await else {
            panic!("no message")
        };
        assert_eq!(&bytes[..], SIP_MESSAGE.as_bytes());
    }
    let Ok(Call::Alias { at, .. }) = bench.calls.try_recv() else {
        panic!("not noted")
    };
    assert_eq!(at.port(), 80);

    bench
        .writes
        .send(Bytes::from_static(b"SIP/2.0 200 OK\r\n"))
        .await
        .unwrap();
    assert_eq!(
        browser.next().await.unwrap().unwrap(),
        Message::Text("SIP/2.0 200 OK\r\n".into())
    );
    bench.writes.send(Bytes::from_static(b"\xff")).await.unwrap();
    assert_eq!(
        browser.next().await.unwrap().unwrap(),
        Message::Binary(Bytes::from_static(b"\xff"))
    );

    browser.send(Message::Text("\r\n\r\n".into())).await.unwrap();
    assert_eq!(browser.next().await.unwrap().unwrap(), Message::Text("\r\n".into()));
    browser.close(None).await.unwrap();
    assert_eq!(bench.task.await.unwrap(), Ending::Closed);
}

#[tokio::test(start_paused = true)]
async fn only_sip_is_spoken_and_only_by_pages_that_may() {
    for (protocol, origin, wanted) in [
        (None, None, Err(400)),
        (Some("chat"), None, Err(400)),
        (Some("sip"), Some("https://evil.example"), Err(403)),
        (Some("sip"), Some("https://Phone.example.com"), Ok(())),
        (Some("sip"), None, Ok(())),
    ] {
        let (bench, peer) = bench(&["https://phone.example.com"]);
        let opened = open(peer, protocol, origin).await;
        assert_eq!(opened.as_ref().map(|_| ()).map_err(|status| *status), wanted);
        drop(opened);
        let ending = bench.task.await.unwrap();
        assert_eq!(matches!(ending, Ending::Refused(_)), wanted.is_err(), "{ending:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_or_does_not_end_is_given_up() {
    for begun in [&b""[..], b"GET / HTTP/1.1\r\nHost: a\r\n"] {
        let (bench, mut peer) = bench(&[]);
        peer.write_all(begun).await.unwrap();
        assert_eq!(bench.task.await.unwrap(), Ending::Refused(UpgradeError::Slow.into()));
        assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
    }
    let (bench, mut peer) = bench(&[]);
    peer.write_all(b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        bench.task.await.unwrap(),
        Ending::Refused(UpgradeError::Malformed.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_closed() {
    let (bench, peer) = bench(&[]);
    let mut browser = open(peer, Some("sip"), None).await.unwrap();
    browser.send(Message::Text(SIP_MESSAGE.into())).await.unwrap();
    let begun = tokio::time::Instant::now();
    // It does not read, so it does not answer pings.
    assert_eq!(bench.task.await.unwrap(), Ending::Refused(Refusal::WebSocket));
    let limits = StreamLimits::default();
    let waited = begun.elapsed();
    assert!(
        waited >= limits.silence_max
            && waited <= 2 * limits.silence_max + limits.handshake_time_max + Duration::from_secs(1),
        "{waited:?}"
    );
    drop(browser);
}

#[tokio::test(start_paused = true)]
async fn who_opens_a_connection_and_says_nothing_is_closed() {
    let (bench, peer) = bench(&[]);
    let _browser = open(peer, Some("sip"), None).await.unwrap();
    assert_eq!(bench.task.await.unwrap(), Ending::Refused(Refusal::SlowSender));
}

#[tokio::test(start_paused = true)]
async fn who_was_spoken_to_first_owes_no_message() {
    let (bench, peer) = bench(&[]);
    let _browser = open(peer, Some("sip"), None).await.unwrap();
    let options = Bytes::from_static(SIP_MESSAGE.as_bytes());
    bench.writes.send(options).await.unwrap();
    let ending = bench.task.await.unwrap();
    assert_eq!(ending, Ending::Refused(Refusal::WebSocket), "it answers no ping");
}

#[tokio::test(start_paused = true)]
async fn a_message_longer_than_any_of_sip_ends_the_connection() {
    let (mut bench, peer) = bench(&[]);
    let mut browser = open(peer, Some("sip"), None).await.unwrap();
    let long = "x".repeat(MESSAGE_BYTES_MAX + 1);
    browser.send(Message::Text(long.into())).await.unwrap();
    assert_eq!(bench.task.await.unwrap(), Ending::Refused(Refusal::WebSocket));
    assert!(bench.arrivals.try_recv().is_err());
}

/// A masked frame: the part of a message, or a ping.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_message_in_parts_that_does_not_end_is_given_up_whatever_pings_stand_between() {
    let (mut bench, peer) = bench(&[]);
    let mut browser = open(peer, Some("sip"), None).await.unwrap();
    browser.send(Message::Text(SIP_MESSAGE.into())).await.unwrap();
    assert!(bench.arrivals.recv().await.is_some());
    let begun = tokio::time::Instant::now();
    let pause = StreamLimits::default().message_time_max / 4;
    let stream = browser.get_mut();
    stream.write_all(&frame(0x01, b"OPTIONS ")).await.unwrap();
    while !bench.task.is_finished() {
        tokio::time::advance(pause).await;
        let more = [frame(0x00, b"x"), frame(0x89, b"ping")].concat();
        if stream.write_all(&more).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
        assert!(
            begun.elapsed() < 4 * StreamLimits::default().message_time_max,
            "goes on for ever"
        );
    }
    assert_eq!(bench.task.await.unwrap(), Ending::Refused(Refusal::SlowSender));
}

#[tokio::test]
async fn who_pings_and_says_nothing_else_is_left_alone() {
    let message_time_max = Duration::from_millis(50);
    let limits = StreamLimits {
        message_time_max,
        ..StreamLimits::default()
    };
    let (mut bench, peer) = limited(&[], limits);
    let mut browser = open(peer, Some("sip"), None).await.unwrap();
    browser.send(Message::Text(SIP_MESSAGE.into())).await.unwrap();
    assert!(bench.arrivals.recv().await.is_some());
    for _ in 0..20 {
        browser.get_mut().write_all(&frame(0x89, b"still here")).await.unwrap();
        let _pause = timeout(message_time_max / 3, std::future::pending::<()>()).await;
    }
    browser.send(Message::Text(SIP_MESSAGE.into())).await.unwrap();
    assert!(bench.arrivals.recv().await.is_some());
    assert!(!bench.task.is_finished());
}
