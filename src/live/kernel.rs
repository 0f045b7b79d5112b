//! The few calls to the kernel that no safe crate of the tree offers: epoll, datagrams with their arrival time, and datagrams
//! that came back.

#![allow(unsafe_code)] // each block says why it is sound; beside this file only `steering`, `media_inbox` and `media_outbox` are unsafe

mod batch;

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) use self::batch::{BATCH, lay_out, receive_batch, receive_many, send_batch, send_many};

/// Events that one wait brings at most. So many packets are relayed before the next look at the commands.
const EVENTS_MAX: usize = 256;

/// Room for one `SCM_TIMESTAMPNS` (a header of 16 bytes and a timespec of 16), or for one error (a header, 16 bytes and an
/// address of 28), and to spare.
const CONTROL_BYTES: usize = 128;

/// Level-triggered epoll (epoll(7)): what is not read now is reported again by the next wait.
pub(super) struct Epoll {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event; EVENTS_MAX]>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just created and that nobody else owns.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            epoll,
            events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX]),
        })
    }

    /// Reports `token` whenever `fd` can be read. Closing `fd` ends that.
    pub(super) fn add(&self, fd: &impl AsFd, token: u64) -> io::Result<()> {
        self.watch(fd, libc::EPOLLIN, token)
    }

    /// Reports `token` once each time that `fd` was written to: it need not be read.
    pub(super) fn add_edges(&self, fd: &impl AsFd, token: u64) -> io::Result<()> {
        self.watch(fd, libc::EPOLLIN | libc::EPOLLET, token)
    }

    fn watch(&self, fd: &impl AsFd, events: libc::c_int, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        let (epoll, fd) = (self.epoll.as_raw_fd(), fd.as_fd().as_raw_fd());
        // SAFETY: both descriptors are open, `event` outlives the call and is copied by the kernel.
        match unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until something can be read, `timeout` has passed (rounded up to milliseconds), or a signal came. The
    /// number of [`Epoll::token`]s.
    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<usize> {
        let millis = i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        // SAFETY: the buffer is ours and has room for EVENTS_MAX events.
        let ready = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_MAX as i32,
                millis,
            )
        };
        match usize::try_from(ready) {
            Ok(ready) => Ok(ready),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            },
        }
    }

    /// Of the last wait, below the number that it gave.
    pub(super) fn token(&self, index: usize) -> Option<u64> {
        self.events.get(index).map(|event| event.u64)
    }
}

/// Has the kernel stamp every datagram's arrival (socket(7), SO_TIMESTAMPNS).
pub(super) fn stamp_arrivals(socket: &impl AsFd) -> io::Result<()> {
    turn_on(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)
}

/// Registers a socket with the runtime, for what arrives alone: who waits for room to write, too, is woken each time that
/// somebody has read a datagram of ours.
pub(super) fn watch_arrivals(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its descriptor, always the same, and is nobody else's until it is dropped.
    unsafe {
        Ok(AsyncFd::register_with_interest(
            socket,
            Interest::READABLE | Interest::ERROR,
        )?)
    }
}

/// Has the kernel keep the ICMP errors that datagrams of this socket caused, for [`bounced`] (ip(7), IP_RECVERR).
pub(super) fn keep_errors(socket: &impl AsFd, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        turn_on(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        turn_on(socket, libc::IPPROTO_IP, libc::IP_RECVERR)
    }
}

/// Has the kernel tell which port a datagram was sent to (ip(7), IP_RECVORIGDSTADDR).
pub(super) fn tell_ports(socket: &impl AsFd) -> io::Result<()> {
    turn_on(socket, libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR)
}

/// Beyond what net.core.rmem_max allows (socket(7), SO_RCVBUFFORCE). Needs CAP_NET_ADMIN.
pub(super) fn force_receive_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

/// Beyond what net.core.wmem_max allows (socket(7), SO_SNDBUFFORCE). Needs CAP_NET_ADMIN.
pub(super) fn force_send_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
}

fn turn_on(socket: &impl AsFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    set(socket, level, option, 1)
}

fn set(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option takes an int, and is given the address and size of one.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A datagram in the caller's buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) bytes: usize,
    /// Nanoseconds of the wall clock since 1970 at which it arrived, if the kernel stamped it.
    pub(super) arrived: Option<u64>,
}

/// The next datagram of a non-blocking socket: `WouldBlock` if there is none. What exceeds `buffer` is cut off.
pub(super) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    let (from, bytes, arrived) = receive_message(socket, buffer, 0, arrival)?;
    Ok(Datagram { from, bytes, arrived })
}

/// A datagram of ours that an ICMP message brought back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounce {
    /// Where it was sent to.
    pub(super) to: SocketAddr,
    /// How much of it is in the caller's buffer: what the ICMP message quoted.
    pub(super) bytes: usize,
    /// Nobody listens on that port; else some other error.
    pub(super) is_port_unreachable: bool,
}

/// The next error that was kept: `WouldBlock` if there is none. One without an address is told as [`io::ErrorKind::InvalidData`].
pub(super) fn bounced(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Bounce> {
    let (to, bytes, is_port_unreachable) = receive_message(socket, buffer, libc::MSG_ERRQUEUE, is_port_unreachable)?;
    Ok(Bounce {
        to,
        bytes,
        is_port_unreachable,
    })
}

/// The other end, the bytes in the buffer, and what `read_control` finds in the control headers.
fn receive_message<T>(
    socket: &impl AsFd,
    buffer: &mut [u8],
    flags: libc::c_int,
    read_control: impl FnOnce(&libc::msghdr) -> T,
) -> io::Result<(SocketAddr, usize, T)> {
    #[repr(align(8))]
    struct Control([MaybeUninit<u8>; CONTROL_BYTES]);
    let mut control = Control([MaybeUninit::uninit(); CONTROL_BYTES]);
    // SAFETY: all zeros are a valid sockaddr_storage (AF_UNSPEC) and a valid, empty msghdr.
    let (mut name, mut message) = unsafe { (zeroed::<libc::sockaddr_storage>(), zeroed::<libc::msghdr>()) };
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: every pointer in `message` is to a live buffer of the length that stands beside it.
    let received = unsafe { libc::syscall(libc::SYS_recvmsg, socket.as_fd().as_raw_fd(), &raw mut message, flags) };
    let Ok(bytes) = usize::try_from(received) else {
        return Err(io::Error::last_os_error());
    };
    let other_end = address(&name).ok_or(io::ErrorKind::InvalidData)?;
    Ok((other_end, bytes.min(buffer.len()), read_control(&message)))
}

/// Sends one datagram from a non-blocking socket: `WouldBlock` if its buffer is full.
///
/// Like [`receive`] without the C library's own calls: those are points of pthread cancellation, which costs a process
/// with several threads two atomic writes each.
pub(super) fn send(socket: &impl AsFd, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let to = socket2::SockAddr::from(to);
    // SAFETY: both buffers are live, each with its own length.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_sendto,
            socket.as_fd().as_raw_fd(),
            bytes.as_ptr(),
            bytes.len(),
            0,
            to.as_ptr(),
            to.len(),
        )
    };
    match sent {
        0.. => Ok(()), // a datagram is sent whole or not at all
        _ => Err(io::Error::last_os_error()),
    }
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a sockaddr_in was written, and the storage is larger and aligned for it.
            let name = unsafe { *(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::new(ip.into(), u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, of a sockaddr_in6.
            let name = unsafe { *(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// When a datagram arrived, if the kernel stamped it. `message` has to be one that it filled.
pub(super) fn arrival(message: &libc::msghdr) -> Option<u64> {
    // SAFETY: `message` was filled by recvmsg, so its control buffer holds whole headers as far as msg_controllen; the
    // macros stay inside. A timespec may lie unaligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_TIMESTAMPNS {
                let time = libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned();
                let seconds = u64::try_from(time.tv_sec).ok()?;
                return seconds
                    .checked_mul(1_000_000_000)?
                    .checked_add(u64::try_from(time.tv_nsec).ok()?);
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

/// Whether the error that was kept is ICMP's port unreachable (RFC 792, RFC 4443 §3.1).
fn is_port_unreachable(message: &libc::msghdr) -> bool {
    const TYPE_CODE_4: (u8, u8) = (3, 3);
    const TYPE_CODE_6: (u8, u8) = (1, 4);
    // SAFETY: as in `arrival`; the kernel writes a whole sock_extended_err, which may lie unaligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let kind = ((*header).cmsg_level, (*header).cmsg_type);
            if kind == (libc::IPPROTO_IP, libc::IP_RECVERR) || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) {
                let error = libc::CMSG_DATA(header)
                    .cast::<libc::sock_extended_err>()
                    .read_unaligned();
                let type_code = (error.ee_type, error.ee_code);
                return match error.ee_origin {
                    libc::SO_EE_ORIGIN_ICMP => type_code == TYPE_CODE_4,
                    libc::SO_EE_ORIGIN_ICMP6 => type_code == TYPE_CODE_6,
                    _ => false,
                };
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    false
}

#[cfg(test)]
mod tests;
