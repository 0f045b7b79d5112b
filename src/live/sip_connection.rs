//! One TCP connection: reads and frames, writes what is queued, until either side is done with it.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::sync::mpsc;

use super::sip_sockets::{Arrival, Shared};
use super::sip_tcp::TcpLimits;
use crate::model::Timestamp;
use crate::sip::Flow;
use crate::sip::framing::{Framer, FramingError};

const READ_BYTES: usize = 16 * 1024;

const PONG: &[u8] = b"\r\n";

/// Pings of one read that are answered.
const PONGS_MAX: u32 = 4;

/// Why we closed a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    /// The peer's fault.
    #[error("a message was not finished in time")]
    SlowSender,
    /// The peer's fault.
    #[error("not framed as SIP: {0}")]
    Framing(#[from] FramingError),
    /// Nobody's.
    #[error("signalling has ended")]
    Ended,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// By the peer in good order, or for idleness.
    Closed,
    /// By us.
    Refused(Refusal),
    /// By the network, or while something was still to be written.
    Broken(io::ErrorKind),
}

/// Serves the connection to its end. `writes` are the messages for the peer.
pub(super) async fn run(
    flow: Flow,
    mut stream: TcpStream,
    mut writes: mpsc::Receiver<Bytes>,
    limits: TcpLimits,
    shared: &Shared,
) -> Ending {
    if let Err(error) = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_keepalive(true))
    {
        return Ending::Broken(error.kind());
    }
    let (mut from_peer, mut to_peer) = stream.split();
    let mut connection = Reading {
        flow,
        framer: Framer::new(),
        shared,
        begun: Some(shared.clock.now()),
    };
    let mut buffer = vec![0_u8; READ_BYTES].into_boxed_slice();
    let mut quiet_since = shared.clock.now();
    loop {
        let due = match connection.begun {
            Some(begun) => begun + limits.message_time_max,
            None => quiet_since + limits.idle_time_max,
        };
        tokio::select! {
            read = from_peer.read(&mut buffer) => match read {
                Ok(0) => return connection.on_closed(&mut writes),
                Ok(length) => {
                    quiet_since = shared.clock.now();
                    match connection.on_bytes(&buffer[..length]).await {
                        Ok(0) => {}
                        Ok(pings) => {
                            let pongs = PONG.repeat(pings as usize);
                            if let Err(kind) = write(&mut to_peer, &pongs, limits).await {
                                return Ending::Broken(kind);
                            }
                        }
                        Err(refusal) => return Ending::Refused(refusal),
                    }
                }
                Err(error) => return Ending::Broken(error.kind()),
            },
            Some(message) = writes.recv() => {
                quiet_since = shared.clock.now();
                connection.on_written();
                if let Err(kind) = write(&mut to_peer, &message, limits).await {
                    return Ending::Broken(kind);
                }
            }
            () = tokio::time::sleep_until(shared.clock.instant(due).into()) => {
                return if connection.begun.is_some() {
                    Ending::Refused(Refusal::SlowSender)
                } else {
                    connection.on_closed(&mut writes)
                };
            }
        }
    }
}

async fn write(to_peer: &mut WriteHalf<'_>, bytes: &[u8], limits: TcpLimits) -> Result<(), io::ErrorKind> {
    match tokio::time::timeout(limits.message_time_max, to_peer.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.kind()),
        Err(_) => Err(io::ErrorKind::TimedOut),
    }
}

struct Reading<'a> {
    flow: Flow,
    framer: Framer,
    shared: &'a Shared,
    /// Since when a message is on its way in; a connection that was just accepted owes its first.
    begun: Option<Timestamp>,
}

impl Reading<'_> {
    /// Returns how many pings want a pong (RFC 5626 §3.5.1).
    async fn on_bytes(&mut self, bytes: &[u8]) -> Result<u32, Refusal> {
        let framed = self.framer.push(bytes);
        let mut whole = false;
        while let Some(frame) = self.framer.next_frame() {
            whole = true;
            self.shared.counters.received.fetch_add(1, Relaxed);
            // Waits when signalling is behind: the peer's window closes, nothing is lost.
            let arrival = Arrival::Sip {
                flow: self.flow,
                bytes: frame,
            };
            self.shared.arrivals.send(arrival).await.map_err(|_| Refusal::Ended)?;
        }
        framed?;
        self.begun = match (self.framer.is_inside_message(), self.begun) {
            (false, _) => None,
            (true, Some(begun)) if !whole => Some(begun),
            (true, _) => Some(self.shared.clock.now()),
        };
        Ok(self.framer.take_pings().min(PONGS_MAX))
    }

    /// A connection that we opened owes us nothing until we have sent; then the peer may take its time to answer.
    fn on_written(&mut self) {
        if !self.framer.is_inside_message() {
            self.begun = None;
        }
    }

    fn on_closed(&self, writes: &mut mpsc::Receiver<Bytes>) -> Ending {
        writes.close();
        if writes.try_recv().is_ok() {
            Ending::Broken(io::ErrorKind::ConnectionReset)
        } else {
            Ending::Closed
        }
    }
}
