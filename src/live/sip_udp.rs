//! One UDP listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::error::TrySendError;

use super::kernel;
use super::sip_sockets::{Arrival, Listening, Shared, SipCounters, awaits_answer};
use crate::model::Timestamp;
use crate::sip::{Flow, Transport};

/// The largest UDP payload (RFC 768).
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Room in the kernel for bursts: some thousand INVITEs. The kernel may grant less (`net.core.rmem_max`).
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Errors of datagrams read in one turn.
const ERRORS_A_TURN: usize = 64;

/// Errors of earlier datagrams that one more is tried after.
const ERRORS_MAX: usize = 2;

/// How often at most lost datagrams are logged.
const LOSS_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The longest datagram that is a keep-alive and no message: CRLF CRLF (RFC 5626 §3.5.1), or NULs.
const KEEP_ALIVE_BYTES_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct UdpPort {
    local: SocketAddr,
    socket: Arc<AsyncFd<Socket>>,
    /// What is to leave with the next [`UdpPort::flush`]; never more than a [`kernel::BATCH`].
    departing: Vec<(SocketAddr, Bytes)>,
    losses: LossLog,
}

/// Lost datagrams, told once an interval: a flood fills no log.
#[derive(Debug, Default)]
struct LossLog {
    untold: u64,
    told: Option<Timestamp>,
}

impl LossLog {
    /// How many are to be told of now, this one among them.
    fn on_loss(&mut self, now: Timestamp) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + LOSS_LOG_INTERVAL) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Binds and starts the task that receives.
pub(super) fn open(address: SocketAddr, shared: &Shared) -> io::Result<UdpPort> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    kernel::keep_errors(&socket, address.is_ipv6())?;
    socket.bind(&address.into())?;
    let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    let socket = Arc::new(kernel::watch_arrivals(socket)?);
    tokio::spawn(receive(local, Arc::clone(&socket), shared.clone()));
    Ok(UdpPort {
        local,
        socket,
        departing: Vec::with_capacity(kernel::BATCH),
        losses: LossLog::default(),
    })
}

impl UdpPort {
    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// It leaves with its batch.
    pub(super) fn send(&mut self, now: Timestamp, remote: SocketAddr, bytes: Bytes, counters: &SipCounters) {
        self.departing.push((remote, bytes));
        if self.departing.len() >= kernel::BATCH {
            self.flush(now, counters);
        }
    }

    /// Sends what is gathered. Whatever the reason that a datagram is lost (no room in the buffer, no route, too long, a
    /// firewall), it says nothing of the next one: as if the network had lost it, it is sent again until its timer ends that.
    pub(super) fn flush(&mut self, now: Timestamp, counters: &SipCounters) {
        let mut rest = self.departing.as_slice();
        // The error of an earlier datagram is told by the next one, which has not left then.
        let mut errors = 0;
        while let Some(((remote, bytes), after)) = rest.split_first() {
            match kernel::send_many(self.socket.get_ref(), rest) {
                Ok(sent) => {
                    counters.sent.fetch_add(sent as u64, Relaxed);
                    rest = rest.get(sent..).unwrap_or_default();
                    errors = 0;
                }
                Err(error) if is_of_an_earlier(error.kind()) && errors < ERRORS_MAX => errors += 1,
                Err(error) => {
                    counters.unsent.fetch_add(1, Relaxed);
                    if let Some(lost) = self.losses.on_loss(now) {
                        tracing::warn!(%remote, %error, bytes = bytes.len(), lost, "SIP datagrams could not be sent");
                    }
                    (rest, errors) = (after, 0);
                }
            }
        }
        self.departing.clear();
    }
}

const fn is_of_an_earlier(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

async fn receive(local: SocketAddr, socket: Arc<AsyncFd<Socket>>, shared: Shared) {
    let _listening = Listening::new(&shared);
    // The kernel gives pages of it only where datagrams were long enough to need them.
    let mut buffer = vec![0_u8; kernel::BATCH * DATAGRAM_BYTES_MAX].into_boxed_slice();
    loop {
        let ready = match socket.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(guard) => guard.ready(),
            Err(error) => {
                tracing::error!(%local, %error, "SIP listener lost");
                return;
            }
        };
        if ready.is_error() {
            on_errors(local, &socket, &mut buffer, &shared);
        }
        let read = socket.try_io(Interest::READABLE, |socket| {
            let read = kernel::receive_many(socket, &mut buffer, |from, datagram| {
                on_datagram(local, from, datagram, &shared);
            })?;
            // So that nothing is asked once more of a socket that is known to be empty.
            if read < kernel::BATCH {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        let is_full = read.is_ok();
        if let Err(error) = read
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // An ICMP error of an earlier send; the socket is as good as before.
            tracing::debug!(%local, %error, "receive");
        }
        if is_full {
            tokio::task::yield_now().await;
        }
    }
}

/// Reads what came back. Only of trunks' addresses, and only what an answer would be waited for.
fn on_errors(local: SocketAddr, socket: &AsyncFd<Socket>, buffer: &mut [u8], shared: &Shared) {
    for _ in 0..ERRORS_A_TURN {
        match socket.try_io(Interest::ERROR, |socket| kernel::bounced(socket, buffer)) {
            Ok(bounce) if bounce.is_port_unreachable && shared.peers.allow_datagram(bounce.to) => {
                let fragment = &buffer[..bounce.bytes];
                if !awaits_answer(fragment) {
                    continue;
                }
                shared.counters.bounced.fetch_add(1, Relaxed);
                let flow = Flow {
                    transport: Transport::Udp,
                    local,
                    remote: bounce.to,
                };
                let fragment = Bytes::copy_from_slice(fragment);
                // Without it the request's own timer ends it.
                if shared.arrivals.try_send(Arrival::Bounced { flow, fragment }).is_err() {
                    shared.counters.shed.fetch_add(1, Relaxed);
                }
            }
            Ok(bounce) => tracing::debug!(%local, to = %bounce.to, "ICMP error"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => tracing::debug!(%local, %error, "ICMP error"),
        }
    }
}

fn on_datagram(local: SocketAddr, remote: SocketAddr, datagram: &[u8], shared: &Shared) {
    let counters = &shared.counters;
    if !shared.peers.allow_datagram(remote) {
        counters.strangers.fetch_add(1, Relaxed);
        return;
    }
    if datagram.len() <= KEEP_ALIVE_BYTES_MAX && datagram.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        counters.keep_alives.fetch_add(1, Relaxed);
        return;
    }
    counters.received.fetch_add(1, Relaxed);
    let flow = Flow {
        transport: Transport::Udp,
        local,
        remote,
    };
    let arrival = Arrival::Sip {
        flow,
        bytes: Bytes::copy_from_slice(datagram),
    };
    match shared.arrivals.try_send(arrival) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            counters.shed.fetch_add(1, Relaxed);
        }
        Err(TrySendError::Closed(_)) => tracing::debug!(%local, "a datagram after the end of signalling"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_once_an_interval_and_none_is_forgotten() {
        let mut log = LossLog::default();
        let start = Timestamp::ZERO;
        assert_eq!(log.on_loss(start), Some(1));
        assert_eq!((log.on_loss(start), log.on_loss(start)), (None, None));
        assert_eq!(log.on_loss(start + LOSS_LOG_INTERVAL), Some(3));
        assert_eq!(log.on_loss(start + LOSS_LOG_INTERVAL), None);
    }
}
