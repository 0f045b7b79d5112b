//! One UDP listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::error::TrySendError;

use super::sip_sockets::{Arrival, Listening, Shared};
use crate::sip::{Flow, Transport};

/// The largest UDP payload (RFC 768).
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Room in the kernel for bursts: some thousand INVITEs. The kernel may grant less (`net.core.rmem_max`).
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Datagrams read in one turn before the other sockets of the thread get theirs.
const BATCH: usize = 64;

/// The longest datagram that is a keep-alive and no message: CRLF CRLF (RFC 5626 §3.5.1), or NULs.
const KEEP_ALIVE_BYTES_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct UdpPort {
    local: SocketAddr,
    socket: Arc<UdpSocket>,
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
    socket.bind(&address.into())?;
    let socket = Arc::new(UdpSocket::from_std(socket.into())?);
    let local = socket.local_addr()?;
    tokio::spawn(receive(local, Arc::clone(&socket), shared.clone()));
    Ok(UdpPort { local, socket })
}

impl UdpPort {
    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// A full send buffer loses the datagram, as the network may: it is repeated.
    pub(super) fn send(&self, remote: SocketAddr, bytes: &Bytes) -> bool {
        match self.socket.try_send_to(bytes, remote) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tracing::warn!(%remote, "send buffer full: a SIP datagram was dropped, it will be repeated");
                true
            }
            Err(error) => {
                tracing::warn!(%remote, %error, "SIP datagram could not be sent");
                false
            }
        }
    }
}

async fn receive(local: SocketAddr, socket: Arc<UdpSocket>, shared: Shared) {
    let _listening = Listening::new(&shared);
    let mut buffer = vec![0_u8; DATAGRAM_BYTES_MAX].into_boxed_slice();
    loop {
        if let Err(error) = socket.readable().await {
            tracing::error!(%local, %error, "SIP listener lost");
            return;
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, remote)) => on_datagram(local, remote, &buffer[..length], &shared),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier send; the socket is as good as before.
                Err(error) => tracing::debug!(%local, %error, "receive"),
            }
        }
        tokio::task::yield_now().await;
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
