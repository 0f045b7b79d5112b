//! A UDP socket for each port of a call, or one for all ports of an address, and one epoll for all of them.
//!
//! Per packet of a port with its own socket: one recvmsg, one sendto, and a share of one epoll_wait.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use socket2::{Domain, Protocol, Socket, Type};

use crate::media::{LINES_MAX, Port, SESSIONS_MAX};
use crate::model::Timestamp;

use super::clock::Clock;
use super::kernel::{self, Epoll};
use super::media_inbox::Letter;
use super::media_io::{MediaIo, Received};
use super::media_outbox::Outbox;
use super::media_shared::{self, SharedPorts, Sharing};

/// No [`Port`]'s token.
const WAKE: u64 = u64::MAX;

/// A stamp that is older than this is none: the wall clock was set meanwhile.
const AGE_MAX: Duration = Duration::from_secs(5);

const SOCKETS_OF_A_LINE: usize = 4;

/// The largest UDP payload, and more.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// Wakes a media thread that waits.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Cheap when the thread was woken and has not looked yet.
    pub(super) fn wake(&self) {
        // A full counter: nobody wakes a thread so often.
        let _woken_already = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// What a port has.
enum Bound {
    Own(UdpSocket),
    Shared(SocketAddrV4),
}

type Line = [Option<(Port, Bound)>; SOCKETS_OF_A_LINE];

/// Where the datagram lies that was received last.
enum Latest {
    Own { bytes: usize },
    Shared(Letter),
}

/// What was received.
struct Arrived {
    /// None: each port has a socket of its own.
    ports: Option<SharedPorts>,
    buffer: Box<[u8]>,
    latest: Latest,
}

impl Arrived {
    fn bytes(&self) -> &[u8] {
        match (&self.latest, &self.ports) {
            (Latest::Shared(letter), Some(ports)) => ports.bytes(letter),
            (Latest::Own { bytes }, _) => self.buffer.get(..*bytes).unwrap_or_default(),
            (Latest::Shared(_), None) => &[],
        }
    }
}

pub(super) struct MediaSockets {
    epoll: Epoll,
    clock: Clock,
    /// By session and line: what a port's token names is found by two indices.
    sessions: Vec<Vec<Line>>,
    arrived: Arrived,
    /// For ports that share.
    outbox: Option<Outbox>,
    /// Of the last wait.
    ready: usize,
    next: usize,
    /// The time of the last wait's end, and the wall clock's at the same moment.
    now: Timestamp,
    wall: Timestamp,
}

impl MediaSockets {
    pub(super) fn new(clock: Clock) -> io::Result<(Self, Waker)> {
        let woken = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let epoll = Epoll::new()?;
        epoll.add_edges(&*woken, WAKE)?;
        let sockets = Self {
            epoll,
            clock,
            sessions: Vec::new(),
            arrived: Arrived {
                ports: None,
                buffer: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
                latest: Latest::Own { bytes: 0 },
            },
            outbox: None,
            ready: 0,
            next: 0,
            now: clock.now(),
            wall: clock.wall(),
        };
        Ok((sockets, Waker(woken)))
    }

    /// Ports of IPv4 share a socket for each of our addresses. Err: the kernel does not allow it at this one.
    pub(super) fn sharing(mut self, sharing: Sharing) -> io::Result<Self> {
        let mut ports = SharedPorts::new(sharing.ports);
        if let Some(ip) = sharing.at {
            ports.open(ip, |socket, token| self.epoll.add(socket, token))?;
        }
        (self.arrived.ports, self.outbox) = (Some(ports), Some(Outbox::new()?));
        Ok(self)
    }

    /// At an address that cannot be shared, each port has a socket of its own.
    fn open(&mut self, port: Port, at: SocketAddr) -> io::Result<Bound> {
        if let (SocketAddr::V4(at), Some(ports)) = (at, &mut self.arrived.ports)
            && ports
                .open(*at.ip(), |socket, token| self.epoll.add(socket, token))
                .is_ok()
        {
            ports.take(port, at)?;
            return Ok(Bound::Shared(at));
        }
        let socket = open(at)?;
        self.epoll.add(&socket, port.token())?;
        Ok(Bound::Own(socket))
    }

    /// Kernel stamps are of the wall clock, which may be set; what is taken from them is how old the datagram is.
    fn arrival(&self, arrived: Option<u64>) -> Timestamp {
        let stamp = arrived.map_or(self.wall, Timestamp::from_nanos);
        match self.wall.since(stamp) {
            age if age <= AGE_MAX => self.now - age,
            _ => self.now,
        }
    }
}

fn place(port: Port) -> usize {
    2 * port.leg().index() + port.channel().index()
}

fn bound(sessions: &[Vec<Line>], port: Port) -> Option<&Bound> {
    let line = sessions.get(port.session())?.get(port.line())?;
    let (known, bound) = line[place(port)].as_ref()?;
    (*known == port).then_some(bound)
}

/// `relayed`: whose it is, if that is to be known when it is lost.
fn send(
    sessions: &[Vec<Line>],
    outbox: &mut Option<Outbox>,
    relayed: Option<Port>,
    (via, to): (Port, SocketAddr),
    bytes: &[u8],
) -> bool {
    match (bound(sessions, via), to, outbox) {
        (Some(Bound::Own(socket)), _, _) => kernel::send(socket, to, bytes).is_ok(),
        (Some(Bound::Shared(from)), SocketAddr::V4(to), Some(outbox)) => {
            if Outbox::fits(bytes) {
                outbox.push(relayed, *from, to, bytes);
                return true;
            }
            outbox.flush();
            media_shared::send_alone(*from, to, bytes).is_ok()
        }
        _ => false,
    }
}

fn open(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    kernel::stamp_arrivals(&socket)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

impl MediaIo for MediaSockets {
    fn bind(&mut self, port: Port, at: SocketAddr) -> io::Result<()> {
        if port.session() >= SESSIONS_MAX || port.line() >= LINES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bound = self.open(port, at)?;
        let sessions = self.sessions.len().max(port.session() + 1);
        self.sessions.resize_with(sessions, Vec::new);
        let lines = &mut self.sessions[port.session()];
        let wanted = lines.len().max(port.line() + 1);
        lines.reserve_exact(wanted - lines.len());
        lines.resize_with(wanted, Line::default);
        lines[port.line()][place(port)] = Some((port, bound));
        Ok(())
    }

    fn unbind(&mut self, port: Port) {
        match (bound(&self.sessions, port), &mut self.arrived.ports) {
            (None, _) => return,
            (Some(Bound::Shared(at)), Some(ports)) => ports.let_go(*at),
            _ => {}
        }
        let lines = &mut self.sessions[port.session()];
        lines[port.line()][place(port)] = None;
        if lines.iter().flatten().all(Option::is_none) {
            *lines = Vec::new();
        }
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        (self.ready, self.next) = (0, 0);
        self.ready = self.epoll.wait(timeout)?;
        (self.now, self.wall) = (self.clock.now(), self.clock.wall());
        Ok(())
    }

    fn receive(&mut self) -> Option<Received> {
        loop {
            if let Some(ports) = &mut self.arrived.ports
                && let Some((port, letter)) = ports.receive()
            {
                self.arrived.latest = Latest::Shared(letter);
                return Some(Received {
                    port,
                    from: letter.from,
                    at: self.arrival(letter.arrived),
                });
            }
            let token = (self.next < self.ready).then(|| self.epoll.token(self.next))??;
            self.next += 1;
            let is_shared = self.arrived.ports.as_mut().is_some_and(|ports| ports.is_ready(token));
            if token == WAKE || is_shared {
                continue;
            }
            let port = Port::from_token(token);
            // Gone since the wait, or an error that a UDP socket reports and forgets: then there is no datagram.
            let Some(Bound::Own(socket)) = bound(&self.sessions, port) else {
                continue;
            };
            if let Ok(datagram) = kernel::receive(socket, &mut self.arrived.buffer) {
                self.arrived.latest = Latest::Own { bytes: datagram.bytes };
                return Some(Received {
                    port,
                    from: datagram.from,
                    at: self.arrival(datagram.arrived),
                });
            }
        }
    }

    fn datagram(&self) -> &[u8] {
        self.arrived.bytes()
    }

    fn forward(&mut self, via: Port, to: SocketAddr) -> bool {
        send(
            &self.sessions,
            &mut self.outbox,
            Some(via),
            (via, to),
            self.arrived.bytes(),
        )
    }

    fn send(&mut self, via: Port, to: SocketAddr, bytes: &[u8]) -> bool {
        send(&self.sessions, &mut self.outbox, Some(via), (via, to), bytes)
    }

    fn say(&mut self, via: Port, to: SocketAddr, bytes: &[u8]) -> bool {
        send(&self.sessions, &mut self.outbox, None, (via, to), bytes)
    }

    fn flush(&mut self) {
        if let Some(outbox) = &mut self.outbox {
            outbox.flush();
        }
    }

    fn poll_unsent(&mut self) -> Option<Port> {
        self.outbox.as_mut()?.poll_unsent()
    }
}

#[cfg(test)]
pub(super) mod tests;
