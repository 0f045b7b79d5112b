//! Ports of many calls on one socket: the kernel steers their datagrams to it, and tells the port of each.
//!
//! Per packet: a share of one recvmmsg, one sendmmsg and one epoll_wait. A port is still one call's alone: see
//! docs/decisions/0010.

use std::io;
use std::iter::repeat_n;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::ops::RangeInclusive;

use socket2::{Domain, Protocol, Socket, Type};

use super::kernel;
use super::media_inbox::{BATCH, Inbox, Letter};
use super::steering::Steering;
use crate::media::Port;

/// Addresses of ours that share; media at others has sockets of its own.
const ADDRESSES_MAX: usize = 16;

/// What may wait to be read: a quarter of a second of a thousand calls.
const RECEIVE_BYTES: usize = 16 << 20;

/// Batches that are read of one address between two looks at the commands.
const BATCHES_A_TURN: usize = 4;

/// None of a [`Port`]'s tokens: its line would be 240 or higher.
const FIRST_TOKEN: u64 = u64::MAX - ADDRESSES_MAX as u64;

/// Ports that the kernel may choose for a socket before one is chosen for it.
const CHOICES_MAX: usize = 16;

/// Calls share sockets.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// The address that has to allow it.
    pub at: Option<Ipv4Addr>,
    /// Of calls: the sockets themselves have none of them.
    pub ports: RangeInclusive<u16>,
}

/// One of our addresses.
struct Address {
    ip: Ipv4Addr,
    socket: UdpSocket,
    steering: Steering,
    /// By port number, the token of the port that has it, plus 1.
    tokens: Box<[u64]>,
}

pub(super) struct SharedPorts {
    /// Of calls.
    ports: RangeInclusive<u16>,
    addresses: Vec<Address>,
    inbox: Inbox,
    /// Whom the inbox was filled from, and how often it may be filled again in this turn.
    read: Option<(usize, usize)>,
}

impl SharedPorts {
    pub(super) fn new(ports: RangeInclusive<u16>) -> Self {
        Self {
            ports,
            addresses: Vec::new(),
            inbox: Inbox::new(),
            read: None,
        }
    }

    /// Makes this address's socket, if there is none. `watch` is to report its token when it can be read.
    pub(super) fn open(
        &mut self,
        ip: Ipv4Addr,
        watch: impl FnOnce(&UdpSocket, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.addresses.iter().any(|address| address.ip == ip) {
            return Ok(());
        }
        // A datagram would leave from another address than the one that it is said to come from.
        if self.addresses.len() >= ADDRESSES_MAX || ip.is_unspecified() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let socket = beside(ip, &self.ports)?;
        kernel::stamp_arrivals(&socket)?;
        kernel::tell_ports(&socket)?;
        kernel::force_receive_buffer(&socket, RECEIVE_BYTES)?;
        let socket = UdpSocket::from(socket);
        let steering = Steering::new(&socket, ip)?;
        watch(&socket, FIRST_TOKEN + self.addresses.len() as u64)?;
        self.addresses.push(Address {
            ip,
            socket,
            steering,
            tokens: vec![0; 1 << 16].into_boxed_slice(),
        });
        Ok(())
    }

    /// From here on what arrives at `at`, whose address is [open](Self::open), is this port's.
    pub(super) fn take(&mut self, port: Port, at: SocketAddrV4) -> io::Result<()> {
        let Some(address) = self.addresses.iter_mut().find(|address| address.ip == *at.ip()) else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let Some(token) = address
            .tokens
            .get_mut(usize::from(at.port()))
            .filter(|token| **token == 0)
        else {
            return Err(io::ErrorKind::AddrInUse.into());
        };
        // Who has bound it would hear nothing any more.
        drop(UdpSocket::bind(at)?);
        *token = port.token() + 1;
        address.steering.take(at.port());
        Ok(())
    }

    pub(super) fn let_go(&mut self, at: SocketAddrV4) {
        if let Some(address) = self.addresses.iter_mut().find(|address| address.ip == *at.ip()) {
            address.steering.let_go(at.port());
            if let Some(token) = address.tokens.get_mut(usize::from(at.port())) {
                *token = 0;
            }
        }
    }

    /// False if this is no token of ours. Else what has arrived there is the next to be read.
    pub(super) fn is_ready(&mut self, token: u64) -> bool {
        let Some(place) = token
            .checked_sub(FIRST_TOKEN)
            .and_then(|place| usize::try_from(place).ok())
        else {
            return false;
        };
        let is_ours = place < self.addresses.len();
        if is_ours {
            self.read = Some((place, BATCHES_A_TURN));
        }
        is_ours
    }

    /// The next datagram of the address that is ready; none when it has no more, or has had its turn. What was sent to a port
    /// that nobody has any more is passed over.
    pub(super) fn receive(&mut self) -> Option<(Port, Letter)> {
        while let Some((place, batches)) = self.read {
            let address = self.addresses.get(place)?;
            while let Some(letter) = self.inbox.next() {
                let token = address.tokens.get(usize::from(letter.port)).copied();
                if let Some(token) = token.and_then(|token| token.checked_sub(1)) {
                    return Some((Port::from_token(token), letter));
                }
            }
            self.read = match batches.checked_sub(1) {
                None => None,
                Some(more) => match self.inbox.fill(&address.socket) {
                    Ok(BATCH..) => Some((place, more)),
                    Ok(1..) => Some((place, 0)),
                    _ => None,
                },
            };
        }
        None
    }

    pub(super) fn bytes(&self, letter: &Letter) -> &[u8] {
        self.inbox.bytes(letter)
    }
}

/// A socket on no port of calls: the kernel chooses one (its own range may be around theirs), or else the nearest outside is.
fn beside(ip: Ipv4Addr, calls: &RangeInclusive<u16>) -> io::Result<Socket> {
    let below = (1..*calls.start()).rev();
    let above = calls.end().saturating_add(1)..=u16::MAX;
    let chosen = below.chain(above).filter(|port| !calls.contains(port));
    let mut refused = io::ErrorKind::AddrInUse.into();
    for port in repeat_n(0, CHOICES_MAX).chain(chosen) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if let Err(error) = socket.bind(&SocketAddrV4::new(ip, port).into()) {
            refused = error;
            continue;
        }
        let at = socket.local_addr()?.as_socket();
        if at.is_some_and(|at| !calls.contains(&at.port())) {
            return Ok(socket);
        }
    }
    Err(refused)
}

/// By a socket that is made for it: for the few that no batch takes.
pub(super) fn send_alone(from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) -> io::Result<()> {
    let socket = UdpSocket::bind(from)?;
    socket.set_nonblocking(true)?;
    kernel::send(&socket, to.into(), bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_socket_of_all_calls_takes_the_port_of_none() {
        let ip = Ipv4Addr::new(127, 45, 0, 26);
        for calls in [32_768..=60_999, 20_000..=65_535, 40_000..=50_000, 1_024..=60_999] {
            let _squatter = UdpSocket::bind((ip, calls.start() - 1));
            for _ in 0..20 {
                let socket = beside(ip, &calls).unwrap();
                let at = socket.local_addr().unwrap().as_socket().unwrap();
                assert!(!calls.contains(&at.port()), "{at} {calls:?}");
            }
        }
    }
}
