//! Datagrams by the batch: many for one call to the kernel.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use bytes::Bytes;
use smallvec::SmallVec;

use super::address;

/// Datagrams that one call to the kernel reads or sends at most.
pub(in crate::live) const BATCH: usize = 32;

/// Reads what has arrived, up to [`BATCH`] datagrams, and hands each with its sender to `each`. `buffer` is shared out
/// evenly among them; what exceeds its share is cut off. How many: below [`BATCH`], there are no more.
pub(in crate::live) fn receive_many(
    socket: &impl AsFd,
    buffer: &mut [u8],
    mut each: impl FnMut(SocketAddr, &[u8]),
) -> io::Result<usize> {
    // SAFETY: all zeros are valid, empty headers and sockaddr_storages (AF_UNSPEC).
    let (mut names, mut messages) = unsafe {
        (
            zeroed::<[libc::sockaddr_storage; BATCH]>(),
            zeroed::<[libc::mmsghdr; BATCH]>(),
        )
    };
    let mut parts = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; BATCH];
    let slot = buffer.len() / BATCH;
    for (((message, part), name), slot) in messages
        .iter_mut()
        .zip(&mut parts)
        .zip(&mut names)
        .zip(buffer.chunks_exact_mut(slot.max(1)))
    {
        lay_out(message, part, name, slot.as_mut_ptr(), slot.len());
    }
    // SAFETY: every header was laid out above, with buffers that live as long as this function.
    let received = unsafe { receive_batch(socket, &mut messages) }?;
    let filled = messages.iter().zip(&names).zip(buffer.chunks_exact(slot.max(1)));
    for ((message, name), slot) in filled.take(received) {
        let bytes = usize::try_from(message.msg_len).unwrap_or(usize::MAX).min(slot.len());
        if let (Some(from), Some(datagram)) = (address(name), slot.get(..bytes)) {
            each(from, datagram);
        }
    }
    Ok(received)
}

/// Sends the first [`BATCH`] of the datagrams from a non-blocking socket, in order: how many left. The error is that of the
/// first one.
pub(in crate::live) fn send_many(socket: &impl AsFd, datagrams: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
    // SAFETY: all zeros are a valid, empty header.
    let mut messages = unsafe { zeroed::<[libc::mmsghdr; BATCH]>() };
    let mut parts = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; BATCH];
    let mut names: SmallVec<[socket2::SockAddr; BATCH]> = SmallVec::new();
    names.extend(datagrams.iter().take(BATCH).map(|(to, _)| (*to).into()));
    let filled = messages.iter_mut().zip(&mut parts).zip(&names).zip(datagrams);
    for (((message, part), name), (_, bytes)) in filled {
        (part.iov_base, part.iov_len) = (bytes.as_ptr().cast_mut().cast(), bytes.len());
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = name.len();
    }
    let count = names.len();
    // SAFETY: as many headers as `names` has were filled above, with buffers that live as long as this function.
    unsafe { send_batch(socket, &mut messages[..count]) }
}

/// Has a header of a batch lead to a buffer, by `part`, and to an address.
pub(in crate::live) fn lay_out<A>(
    message: &mut libc::mmsghdr,
    part: &mut libc::iovec,
    name: &mut A,
    buffer: *mut u8,
    bytes: usize,
) {
    (part.iov_base, part.iov_len) = (buffer.cast(), bytes);
    let header = &mut message.msg_hdr;
    (header.msg_iov, header.msg_iovlen) = (part, 1);
    header.msg_name = (&raw mut *name).cast();
    header.msg_namelen = size_of::<A>() as libc::socklen_t;
}

/// Reads what has arrived (recvmmsg(2)): how many headers it filled.
///
/// # Safety
/// Every pointer in `messages` is null or to a live buffer that may be written, of the length that stands beside it.
pub(in crate::live) unsafe fn receive_batch(socket: &impl AsFd, messages: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: the caller vouches for the buffers; a null timeout is none.
    let received = unsafe {
        libc::syscall(
            libc::SYS_recvmmsg,
            socket.as_fd().as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len(),
            libc::MSG_DONTWAIT,
            std::ptr::null_mut::<libc::timespec>(),
        )
    };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// Sends in order (sendmmsg(2)): how many left. The error is that of the first.
///
/// # Safety
/// Every pointer in `messages` is null or to a live buffer of the length that stands beside it, which is only read.
pub(in crate::live) unsafe fn send_batch(socket: &impl AsFd, messages: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: the caller vouches for the buffers.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_sendmmsg,
            socket.as_fd().as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len(),
            0,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
