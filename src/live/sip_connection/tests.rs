//! One connection in virtual time: a pipe in place of the network.

#![allow(clippy::panic, clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::sip::Transport;

const PIPE_BYTES: usize = 64 * 1024;
const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKx;alias\r\n\
                       From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n";

struct Bench {
    peer: DuplexStream,
    writes: mpsc::Sender<Bytes>,
    arrivals: mpsc::Receiver<Arrival>,
    calls: mpsc::Receiver<Call>,
    task: JoinHandle<Ending>,
}

fn bench(aliases: bool) -> Bench {
    bench_of(move |line, ours, inbox| async move { run(&line, ours, inbox, aliases).await })
}

fn dialled() -> Bench {
    bench_of(|line, ours, inbox| async move { run_dialled(&line, ours, inbox).await })
}

fn bench_of<F>(serve: impl FnOnce(Line, DuplexStream, mpsc::Receiver<Bytes>) -> F) -> Bench
where
    F: Future<Output = Ending> + Send + 'static,
{
    let (peer, ours) = duplex(PIPE_BYTES);
    let (sender, arrivals) = mpsc::channel(8);
    let (calls, desk) = mpsc::channel(8);
    let (writes, inbox) = mpsc::channel(8);
    let line = Line {
        flow: Flow {
            transport: Transport::Tls,
            local: "192.0.2.100:5061".parse().unwrap(),
            remote: "192.0.2.1:40000".parse().unwrap(),
        },
        number: 7,
        limits: StreamLimits::default(),
        shared: Shared::bare(sender),
        calls,
    };
    let task = tokio::spawn(serve(line, ours, inbox));
    Bench {
        peer,
        writes,
        arrivals,
        calls: desk,
        task,
    }
}

fn request(end: &str) -> String {
    format!("{OPTIONS}{end}\r\n")
}

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_closed_in_time() {
    let bench = bench(false);
    let begun = tokio::time::Instant::now();
    assert_eq!(bench.task.await.unwrap(), Ending::Refused(Refusal::SlowSender));
    assert!(begun.elapsed() <= StreamLimits::default().message_time_max + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_trickles_in_has_one_deadline_from_its_first_byte() {
    let mut bench = bench(false);
    let text = request("Content-Length: 0\r\n");
    let limit = StreamLimits::default().message_time_max;
    for byte in text.as_bytes().iter().take(40) {
        bench.peer.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(bench.task.await.unwrap(), Ending::Refused(Refusal::SlowSender));
    assert!(
        begun.elapsed() <= limit + Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(bench.arrivals.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_good_order() {
    let mut bench = bench(false);
    bench
        .peer
        .write_all(request("Content-Length: 0\r\n").as_bytes())
        .await
        .unwrap();
    assert!(matches!(bench.arrivals.recv().await, Some(Arrival::Sip { .. })));
    let begun = tokio::time::Instant::now();
    assert_eq!(bench.task.await.unwrap(), Ending::Closed);
    assert!(begun.elapsed() > StreamLimits::default().message_time_max);
    assert_eq!(bench.peer.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_a_write_no_longer_than_a_message_may_take() {
    let bench = bench(false);
    bench
        .writes
        .send(Bytes::from(vec![b'x'; 2 * PIPE_BYTES]))
        .await
        .unwrap();
    assert_eq!(bench.task.await.unwrap(), Ending::Broken(io::ErrorKind::TimedOut));
    drop(bench.peer);
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_and_a_flood_of_them_by_a_few() {
    let mut bench = bench(false);
    bench.peer.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    bench.peer.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\r\n");
    bench.peer.write_all(&b"\r\n\r\n".repeat(1_000)).await.unwrap();
    bench.peer.shutdown().await.unwrap();
    let mut pongs = Vec::new();
    bench.peer.read_to_end(&mut pongs).await.unwrap();
    assert!((2..=8).contains(&pongs.len()), "{}", pongs.len());
    assert_eq!(bench.task.await.unwrap(), Ending::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_framed_gets_400_and_the_connection_is_closed() {
    for lengths in [
        "Content-Length: -999\r\n",
        "Content-Length: 5\r\nl: 6\r\n",
        "",
        "Content-Length: 70000\r\n",
    ] {
        let mut bench = bench(false);
        bench.peer.write_all(request(lengths).as_bytes()).await.unwrap();
        let mut answer = String::new();
        bench.peer.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("SIP/2.0 400 ") || answer.starts_with("SIP/2.0 513 "),
            "{lengths}: {answer}"
        );
        assert!(matches!(
            bench.task.await.unwrap(),
            Ending::Refused(Refusal::Framing(_))
        ));
        assert!(bench.arrivals.try_recv().is_err(), "nothing of it arrives");
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_is_asked_for_once_and_only_by_who_may() {
    for may in [true, false] {
        let mut bench = bench(may);
        let text = request("Content-Length: 0\r\n").repeat(2);
        bench.peer.write_all(text.as_bytes()).await.unwrap();
        for _ in 0..2 {
            bench.arrivals.recv().await.unwrap();
        }
        match bench.calls.try_recv() {
            Ok(Call::Alias { flow, number, at }) => {
                assert!(may);
                assert_eq!((flow.remote.port(), number), (40_000, 7));
                assert_eq!(at, std::net::SocketAddr::from(([192, 0, 2, 1], 5_061)));
            }
            _ => assert!(!may),
        }
        assert!(bench.calls.try_recv().is_err());
    }
}

const INVITE: &str = "INVITE sip:112@b SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
                      To: <sip:112@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 42\r\n\r\n";
const MEDIA: &str = "v=0\r\nm=audio 4000 RTP/AVP 8\r\n";
const REST: &str = "s=-\r\na=x:yz\r\n";
const LIMIT: Duration = Duration::from_secs(20);

impl Bench {
    async fn says(&mut self, text: &str) {
        self.peer.write_all(text.as_bytes()).await.unwrap();
    }

    /// What arrives next has been shown in part.
    async fn shows(&mut self, cut: &str) {
        let shown = self.arrivals.recv().await;
        assert!(
            matches!(&shown, Some(Arrival::Cut { bytes, .. }) if bytes == cut),
            "{shown:?}"
        );
    }

    async fn brings(&mut self, message: &str) {
        let arrived = self.arrivals.recv().await;
        assert!(
            matches!(&arrived, Some(Arrival::Sip { bytes, .. }) if bytes == message),
            "{arrived:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_invite_whose_rest_does_not_come_is_shown_as_it_is_and_the_stream_goes_on() {
    let mut bench = bench(false);
    let cut = format!("{INVITE}{MEDIA}");
    let begun = tokio::time::Instant::now();
    bench.says(&cut).await;
    bench.shows(&cut).await;
    assert!(begun.elapsed() >= REST_MAX && begun.elapsed() < REST_MAX + Duration::from_secs(1));
    bench.says(REST).await;
    bench.brings(&format!("{cut}{REST}")).await;
}

#[tokio::test(start_paused = true)]
async fn an_invite_whose_media_has_not_come_is_waited_for_as_long_as_any_message() {
    for here in ["", "v=0\r\ns=-\r\n"] {
        let mut late = bench(false);
        let begun = tokio::time::Instant::now();
        late.says(&format!("{INVITE}{here}")).await;
        let early = timeout(REST_MAX + Duration::from_secs(1), late.arrivals.recv()).await;
        assert!(early.is_err(), "{early:?}");
        let whole = format!("{INVITE}{here}{}", "x".repeat(42 - here.len()));
        late.says(&whole[INVITE.len() + here.len()..]).await;
        late.brings(&whole).await;

        let mut never = bench(false);
        never.says(&format!("{INVITE}{here}")).await;
        never.shows(&format!("{INVITE}{here}")).await;
        assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
        never
            .writes
            .send(Bytes::from_static(b"SIP/2.0 180 Ringing\r\n"))
            .await
            .unwrap();
        let ended = timeout(2 * LIMIT, &mut never.task).await;
        assert!(ended.is_err(), "it is answered by that connection: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shown_of_half_a_head_or_of_half_a_line_or_of_what_is_no_invite() {
    let options = request("Content-Length: 42\r\n") + MEDIA;
    for (text, shown) in [
        (&INVITE[..INVITE.len() - 2], None),
        (&format!("{INVITE}{MEDIA}s=-"), Some(format!("{INVITE}{MEDIA}"))),
        (&options, None),
    ] {
        let mut bench = bench(false);
        bench.says(text).await;
        if let Some(shown) = shown {
            bench.shows(&shown).await;
        }
        assert_eq!(bench.task.await.unwrap(), Ending::Refused(Refusal::SlowSender));
        assert!(bench.arrivals.try_recv().is_err(), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_no_more_to_say_has_said_its_invite() {
    for here in ["", "v=0\r\n", MEDIA] {
        let mut bench = bench(false);
        bench.says(&format!("{INVITE}{here}")).await;
        bench.peer.shutdown().await.unwrap();
        bench.shows(&format!("{INVITE}{here}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_message_of_whose_invite_was_shown_is_not_taken_for_its_rest() {
    let mut bench = bench(false);
    let (cut, next) = (format!("{INVITE}{MEDIA}"), request("Content-Length: 0\r\n"));
    bench.says(&cut).await;
    bench.shows(&cut).await;
    bench.says(&next).await;
    bench.brings(&cut).await;
    bench.brings(&next).await;
    bench.says("\r\n\r\n").await;
    let mut pong = [0; 2];
    bench.peer.read_exact(&mut pong).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whose_cut_invite_is_answered_keeps_its_connection_while_it_is_waited_for() {
    for is_answered in [true, false] {
        let mut bench = bench(false);
        let begun = tokio::time::Instant::now();
        let cut = format!("{INVITE}{MEDIA}");
        bench.says(&cut).await;
        bench.shows(&cut).await;
        let writes = bench.writes.clone();
        if is_answered {
            writes
                .send(Bytes::from_static(b"SIP/2.0 180 Ringing\r\n"))
                .await
                .unwrap();
        }
        let ending = bench.task.await.unwrap();
        assert_eq!(
            begun.elapsed() > LIMIT + Duration::from_secs(2),
            is_answered,
            "{ending:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_we_opened_is_pinged_while_it_is_idle_and_given_up_when_pongs_cease() {
    let mut bench = dialled();
    let begun = tokio::time::Instant::now();
    bench.writes.send(Bytes::from_static(b"x")).await.unwrap();
    bench.peer.read_exact(&mut [0]).await.unwrap();
    let mut ping = [0; 4];
    for _ in 0..2 {
        bench.peer.read_exact(&mut ping).await.unwrap();
        assert_eq!(&ping, b"\r\n\r\n");
        bench.peer.write_all(b"\r\n").await.unwrap();
    }
    let asked = begun.elapsed().as_secs();
    assert!((2 * 95..=2 * 120 + 1).contains(&asked), "{asked} s");
    bench.peer.read_exact(&mut ping).await.unwrap();
    let last = tokio::time::Instant::now();
    assert_eq!(bench.task.await.unwrap(), Ending::Broken(io::ErrorKind::TimedOut));
    assert_eq!(last.elapsed().as_secs(), 10);
    assert!(bench.arrivals.recv().await.is_none(), "a pong is no message");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_pings_is_let_be_until_the_connection_is_idle_for_too_long() {
    let mut bench = dialled();
    bench.writes.send(Bytes::from_static(b"x")).await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut heard = Vec::new();
    bench.peer.read_to_end(&mut heard).await.unwrap();
    assert_eq!(bench.task.await.unwrap(), Ending::Closed);
    let idle = StreamLimits::default().idle_time_max;
    assert!(begun.elapsed() >= idle && begun.elapsed() <= idle + Duration::from_secs(2));
    let pings = (heard.len() - 1) / PING.len();
    assert!((15..=18).contains(&pings), "{pings}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_and_says_nothing_else_keeps_a_connection_for_hours_and_not_for_ever() {
    let mut bench = dialled();
    bench.writes.send(Bytes::from_static(b"x")).await.unwrap();
    let begun = tokio::time::Instant::now();
    bench.peer.read_exact(&mut [0; 1]).await.unwrap();
    let mut ping = [0; PING.len()];
    while bench.peer.read_exact(&mut ping).await.is_ok() {
        bench.peer.write_all(PONG).await.unwrap();
    }
    assert_eq!(bench.task.await.unwrap(), Ending::Closed);
    let idle = StreamLimits::default().idle_time_max * ANSWERED_IDLE_TIMES;
    assert!(begun.elapsed() >= idle && begun.elapsed() <= idle + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_peer_opened_is_the_peers_to_ping() {
    let mut bench = bench(false);
    bench.writes.send(Bytes::from_static(b"x")).await.unwrap();
    let mut heard = Vec::new();
    bench.peer.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"x");
}
