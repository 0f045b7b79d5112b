//! What a media thread asks of the network, so that epoll can give way to something faster.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::media::Port;
use crate::model::Timestamp;

/// A datagram that arrived: see [`MediaIo::datagram`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) port: Port,
    pub(super) from: SocketAddr,
    /// When the kernel had it.
    pub(super) at: Timestamp,
}

/// The sockets of one media thread. Nothing here blocks but `wait`.
pub(super) trait MediaIo {
    fn bind(&mut self, port: Port, at: SocketAddr) -> io::Result<()>;

    /// Nothing if it is not bound.
    fn unbind(&mut self, port: Port);

    /// Until a datagram is there, the thread is woken, or `timeout` has passed.
    fn wait(&mut self, timeout: Duration) -> io::Result<()>;

    /// The next datagram of those that the last `wait` found; none when all were asked. At most one of each socket that is a
    /// port's own, so that a flood on one does not hold up the others.
    fn receive(&mut self) -> Option<Received>;

    /// The bytes of the one that was received last.
    fn datagram(&self) -> &[u8];

    /// Sends the bytes of the one that was received last. False if the network did not take it.
    fn forward(&mut self, via: Port, to: SocketAddr) -> bool;

    /// False if the network did not take it. True, too, if it waits for others to leave with.
    fn send(&mut self, via: Port, to: SocketAddr, bytes: &[u8]) -> bool;

    /// The same for a packet of our own: [`Self::poll_unsent`] does not tell of it.
    fn say(&mut self, via: Port, to: SocketAddr, bytes: &[u8]) -> bool;

    /// What waits leaves. Call it before the next `wait`.
    fn flush(&mut self);

    /// Where one was to leave that had waited and that the network did not take.
    fn poll_unsent(&mut self) -> Option<Port>;
}
