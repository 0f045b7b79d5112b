//! What a media thread asks of the network, so that epoll can give way to something faster.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::media::Port;
use crate::model::Timestamp;

/// A datagram that lies in the caller's buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) port: Port,
    pub(super) from: SocketAddr,
    /// When the kernel had it.
    pub(super) at: Timestamp,
    pub(super) bytes: usize,
}

/// The sockets of one media thread. Nothing here blocks but `wait`.
pub(super) trait MediaIo {
    fn bind(&mut self, port: Port, at: SocketAddr) -> io::Result<()>;

    /// Nothing if it is not bound.
    fn unbind(&mut self, port: Port);

    /// Until a datagram is there, the thread is woken, or `timeout` has passed.
    fn wait(&mut self, timeout: Duration) -> io::Result<()>;

    /// The next datagram of those that the last `wait` found; none when all were asked. At most one of each socket, so
    /// that a flood on one does not hold up the others.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<Received>;

    /// False if the network did not take it.
    fn send(&mut self, via: Port, to: SocketAddr, bytes: &[u8]) -> bool;
}
