//! One TCP or TLS connection: reads and frames, writes what is queued, until either side is done with it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::keep_alive::{KeepAlive, Look, PING, PONG};
use super::sip_sockets::{Arrival, Shared};
use super::sip_streams::StreamLimits;
use super::switchboard::Call;
use super::tls::HandshakeError;
use super::websocket::UpgradeError;
use crate::model::Timestamp;
use crate::sip::framing::{Framer, FramingError};
use crate::sip::{Flow, Message};

const READ_BYTES: usize = 16 * 1024;

/// Pings of one read that are answered.
const PONGS_MAX: u32 = 4;

/// So long after its last byte an INVITE is looked at that is not whole, and describes media: a segment that was lost comes
/// again before.
const REST_MAX: Duration = Duration::from_secs(3);

/// A connection of ours whose peer answers pings may be idle for so many times as long.
const ANSWERED_IDLE_TIMES: u32 = 8;

/// How long a peer has to take the last of what we say.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Why we closed a connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    /// The peer's fault.
    #[error("a message was not finished in time")]
    SlowSender,
    /// The peer's fault.
    #[error("not framed as SIP: {0}")]
    Framing(#[from] FramingError),
    /// The peer's fault.
    #[error("the handshake was not finished in time")]
    SlowHandshake,
    #[error(transparent)]
    Tls(#[from] HandshakeError),
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The peer's fault.
    #[error("a WebSocket that does not answer pings, or breaks its protocol")]
    WebSocket,
    /// Nobody's.
    #[error("signalling has ended")]
    Ended,
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// By the peer in good order, or for idleness.
    Closed,
    /// By us.
    Refused(Refusal),
    /// By the network, or while something was still to be written.
    Broken(io::ErrorKind),
}

/// What a connection is a part of.
pub(super) struct Line {
    pub flow: Flow,
    pub number: u64,
    pub limits: StreamLimits,
    pub shared: Shared,
    pub calls: mpsc::Sender<Call>,
}

impl Line {
    /// Hands on one message. Waits when signalling is behind: the peer's window closes, nothing is lost.
    pub(super) async fn arrive(&self, bytes: Bytes) -> Result<(), Refusal> {
        self.shared.counters.received.fetch_add(1, Relaxed);
        let arrival = Arrival::Sip { flow: self.flow, bytes };
        self.shared.arrivals.send(arrival).await.map_err(|_| Refusal::Ended)
    }

    /// Requests to `at` may take this connection.
    pub(super) async fn stand_for(&self, at: SocketAddr) -> Result<(), Refusal> {
        let (flow, number) = (self.flow, self.number);
        let alias = Call::Alias { flow, number, at };
        self.calls.send(alias).await.map_err(|_| Refusal::Ended)
    }

    /// An INVITE that is not whole, as far as it has come.
    async fn arrive_cut(&self, bytes: Bytes) -> Result<(), Refusal> {
        let flow = self.flow;
        let arrival = Arrival::Cut { flow, bytes };
        self.shared.arrivals.send(arrival).await.map_err(|_| Refusal::Ended)
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }
}

/// Serves the connection to its end. `writes` are the messages for the peer. `aliases`: the peer opened it, and may say
/// that it stands for its own address (RFC 5923).
pub(super) async fn run<S>(line: &Line, stream: S, writes: mpsc::Receiver<Bytes>, aliases: bool) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    converse(Reading::new(line, aliases, None), stream, writes).await
}

/// The same of a connection that we opened: ours to keep alive.
pub(super) async fn run_dialled<S>(line: &Line, stream: S, writes: mpsc::Receiver<Bytes>) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let life = KeepAlive::new(line.now(), line.number);
    converse(Reading::new(line, false, Some(life)), stream, writes).await
}

async fn converse<S>(mut reading: Reading<'_>, stream: S, mut writes: mpsc::Receiver<Bytes>) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = reading.line;
    let (mut from_peer, mut to_peer) = tokio::io::split(stream);
    let mut buffer = vec![0_u8; READ_BYTES].into_boxed_slice();
    let limit = line.limits.message_time_max;
    let ending = loop {
        let due = match reading.begun {
            Some(begun) => begun + limit,
            None => reading.quiet_since + reading.idle_time_max(),
        };
        let is_cut = reading.cut.is_some_and(|cut| cut < due);
        let due = reading.cut.filter(|_| is_cut).unwrap_or(due);
        tokio::select! {
            read = from_peer.read(&mut buffer) => match read {
                Ok(0) => match reading.on_cut().await {
                    Ok(_) => break closed(&mut writes),
                    Err(refusal) => break Ending::Refused(refusal),
                },
                Ok(length) => match reading.on_bytes(&buffer[..length]).await {
                    Ok(pings) => {
                        let pongs = PONG.repeat(pings as usize);
                        if let Err(kind) = write(&mut to_peer, &pongs, limit).await {
                            return Ending::Broken(kind);
                        }
                    }
                    Err(refusal) => {
                        reading.answer_to_broken(&mut to_peer).await;
                        break Ending::Refused(refusal);
                    }
                },
                Err(error) => return Ending::Broken(error.kind()),
            },
            Some(message) = writes.recv() => {
                reading.on_written();
                if let Err(kind) = write(&mut to_peer, &message, limit).await {
                    return Ending::Broken(kind);
                }
            }
            Some(look) = reading.look() => {
                if let Err(kind) = look_after(&mut to_peer, look, limit).await {
                    return Ending::Broken(kind);
                }
            }
            () = sleep_until(line.shared.clock.instant(due).into()) => {
                if !is_cut && reading.begun.is_none() {
                    break closed(&mut writes);
                }
                match reading.on_cut().await {
                    Ok(false) if !is_cut => break Ending::Refused(Refusal::SlowSender),
                    // Who is answered to it needs the connection.
                    Ok(true) if !is_cut => reading.begun = Some(line.now()),
                    Ok(_) => {}
                    Err(refusal) => break Ending::Refused(refusal),
                }
            }
        }
    };
    // TLS says that this was all (RFC 5923 §8.3).
    if timeout(FAREWELL_MAX, to_peer.shutdown()).await.is_err() {
        tracing::debug!(remote = %line.flow.remote, "peer does not read the end");
    }
    ending
}

async fn look_after<W: AsyncWrite + Unpin>(to_peer: &mut W, look: Look, limit: Duration) -> Result<(), io::ErrorKind> {
    match look {
        Look::Ping => write(to_peer, PING, limit).await,
        Look::Dead => Err(io::ErrorKind::TimedOut),
    }
}

async fn write<W: AsyncWrite + Unpin>(to_peer: &mut W, bytes: &[u8], limit: Duration) -> Result<(), io::ErrorKind> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = async {
        to_peer.write_all(bytes).await?;
        to_peer.flush().await
    };
    match timeout(limit, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.kind()),
        Err(_) => Err(io::ErrorKind::TimedOut),
    }
}

/// What is still to be written when the peer has closed is lost.
pub(super) fn closed(writes: &mut mpsc::Receiver<Bytes>) -> Ending {
    writes.close();
    if writes.try_recv().is_ok() {
        Ending::Broken(io::ErrorKind::ConnectionReset)
    } else {
        Ending::Closed
    }
}

struct Reading<'a> {
    line: &'a Line,
    framer: Framer,
    /// The peer's first request is still to be asked for an alias.
    aliases: bool,
    /// Since when a message is on its way in; a connection that was just opened owes its first.
    begun: Option<Timestamp>,
    /// When somebody had something to say last; that it lives, and says so when we ask, is no use of a connection.
    quiet_since: Timestamp,
    /// When an INVITE whose rest has not come is handed on as it is.
    cut: Option<Timestamp>,
    /// One was: whoever waits for help is not hung up on for a length that it got wrong.
    is_taken: bool,
    /// Of a connection that is ours to keep alive.
    life: Option<KeepAlive>,
}

impl<'a> Reading<'a> {
    fn new(line: &'a Line, aliases: bool, life: Option<KeepAlive>) -> Self {
        Self {
            line,
            framer: Framer::new(),
            aliases,
            begun: Some(line.now()),
            quiet_since: line.now(),
            cut: None,
            is_taken: false,
            life,
        }
    }

    /// Who answers pings is not dialled anew for each registration, which may be an hour apart, or for the end of a long call.
    fn idle_time_max(&self) -> Duration {
        let is_answered = self.life.as_ref().is_some_and(KeepAlive::is_answered);
        self.line.limits.idle_time_max * if is_answered { ANSWERED_IDLE_TIMES } else { 1 }
    }

    /// What is to be done, when it is, to know whether the connection lives; None where the peer has to know.
    async fn look(&mut self) -> Option<Look> {
        let life = self.life.as_mut()?;
        sleep_until(self.line.shared.clock.instant(life.due()).into()).await;
        Some(life.look(self.line.now()))
    }

    /// Returns how many pings want a pong (RFC 5626 §3.5.1).
    async fn on_bytes(&mut self, bytes: &[u8]) -> Result<u32, Refusal> {
        let (now, between) = (self.line.now(), !self.framer.is_inside_message());
        let is_pong = self.life.as_mut().is_some_and(|life| life.on_read(now, bytes, between));
        if is_pong {
            // Two of them would pass for a ping.
            return Ok(0);
        }
        self.quiet_since = now;
        let framed = self.framer.push(bytes);
        let mut whole = false;
        while let Some(frame) = self.framer.next_frame() {
            whole = true;
            if std::mem::take(&mut self.aliases)
                && let Some(at) = alias(&frame, self.line.flow)
            {
                self.line.stand_for(at).await?;
            }
            self.line.arrive(frame).await?;
        }
        framed?;
        self.begun = match (self.framer.is_inside_message(), self.begun) {
            (false, _) => None,
            (true, Some(begun)) if !whole => Some(begun),
            (true, _) => Some(self.line.now()),
        };
        self.cut = self.framer.is_worth_showing().then(|| self.line.now() + REST_MAX);
        Ok(self.framer.take_pings().min(PONGS_MAX))
    }

    /// No more is waited for. False: nothing has come that was not shown before.
    async fn on_cut(&mut self) -> Result<bool, Refusal> {
        self.cut = None;
        let Some(bytes) = self.framer.show_invite() else {
            return Ok(false);
        };
        self.is_taken = true;
        self.line.arrive_cut(bytes).await?;
        Ok(true)
    }

    /// A connection that we opened owes us nothing until we have sent; then the peer may take its time to answer.
    fn on_written(&mut self) {
        self.quiet_since = self.line.now();
        if self.is_taken || !self.framer.is_inside_message() {
            self.begun = None;
        }
    }

    /// What the request that broke the framing deserves, if it can be told (RFC 4475 §3.1.2.3).
    async fn answer_to_broken<W: AsyncWrite + Unpin>(&self, to_peer: &mut W) {
        if let Some(answer) = self.framer.answer_to_broken(self.line.flow.remote)
            && let Err(error) = write(to_peer, &answer, FAREWELL_MAX).await
        {
            tracing::debug!(remote = %self.line.flow.remote, %error, "answer to a broken message");
        }
    }
}

/// Where the sender of the first request listens, if it says that this connection stands for that (RFC 5923 §8.2).
fn alias(frame: &[u8], flow: Flow) -> Option<SocketAddr> {
    let Ok(Message::Request(request)) = Message::parse(&Bytes::copy_from_slice(frame)) else {
        return None;
    };
    let via = request.headers.via().filter(|via| via.params.contains("alias"))?;
    let port = via.port().unwrap_or(flow.transport.default_port());
    Some(SocketAddr::new(flow.remote.ip(), port))
}

#[cfg(test)]
mod tests;
