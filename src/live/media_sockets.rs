//! A UDP socket for each port of a call, and one epoll for all of them.
//!
//! Per packet: one recvmsg, one sendto, and a share of one epoll_wait.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use socket2::{Domain, Protocol, Socket, Type};

use crate::media::{LINES_MAX, Port, SESSIONS_MAX};
use crate::model::Timestamp;

use super::clock::Clock;
use super::kernel::{self, Datagram, Epoll};
use super::media_io::{MediaIo, Received};

/// No [`Port`]'s token.
const WAKE: u64 = u64::MAX;

/// A stamp that is older than this is none: the wall clock was set meanwhile.
const AGE_MAX: Duration = Duration::from_secs(5);

const SOCKETS_OF_A_LINE: usize = 4;

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

type Line = [Option<(Port, UdpSocket)>; SOCKETS_OF_A_LINE];

pub(super) struct MediaSockets {
    epoll: Epoll,
    clock: Clock,
    /// By session and line: what a port's token names is found by two indices.
    sessions: Vec<Vec<Line>>,
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
            ready: 0,
            next: 0,
            now: clock.now(),
            wall: clock.wall(),
        };
        Ok((sockets, Waker(woken)))
    }

    fn socket(&self, port: Port) -> Option<&UdpSocket> {
        let line = self.sessions.get(port.session())?.get(port.line())?;
        let (bound, socket) = line[place(port)].as_ref()?;
        (*bound == port).then_some(socket)
    }

    /// Kernel stamps are of the wall clock, which may be set; what is taken from them is how old the datagram is.
    fn arrival(&self, datagram: &Datagram) -> Timestamp {
        let stamp = datagram.arrived.map_or(self.wall, Timestamp::from_nanos);
        match self.wall.since(stamp) {
            age if age <= AGE_MAX => self.now - age,
            _ => self.now,
        }
    }
}

fn place(port: Port) -> usize {
    2 * port.leg().index() + port.channel().index()
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
        let socket = open(at)?;
        self.epoll.add(&socket, port.token())?;
        let sessions = self.sessions.len().max(port.session() + 1);
        self.sessions.resize_with(sessions, Vec::new);
        let lines = &mut self.sessions[port.session()];
        let wanted = lines.len().max(port.line() + 1);
        lines.reserve_exact(wanted - lines.len());
        lines.resize_with(wanted, Line::default);
        lines[port.line()][place(port)] = Some((port, socket));
        Ok(())
    }

    fn unbind(&mut self, port: Port) {
        if self.socket(port).is_none() {
            return;
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

    fn receive(&mut self, buffer: &mut [u8]) -> Option<Received> {
        while self.next < self.ready {
            let token = self.epoll.token(self.next)?;
            self.next += 1;
            if token == WAKE {
                continue;
            }
            let port = Port::from_token(token);
            // Gone since the wait, or an error that a UDP socket reports and forgets: then there is no datagram.
            let datagram = self
                .socket(port)
                .and_then(|socket| kernel::receive(socket, buffer).ok());
            if let Some(datagram) = datagram {
                let at = self.arrival(&datagram);
                return Some(Received {
                    port,
                    from: datagram.from,
                    at,
                    bytes: datagram.bytes,
                });
            }
        }
        None
    }

    fn send(&mut self, via: Port, to: SocketAddr, bytes: &[u8]) -> bool {
        self.socket(via)
            .is_some_and(|socket| kernel::send(socket, to, bytes).is_ok())
    }
}
