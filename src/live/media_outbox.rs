//! Datagrams of IPv4 from many local ports, sent by the batch through one raw socket (raw(7)). Needs CAP_NET_RAW and CAP_NET_ADMIN.

#![allow(unsafe_code)] // each block says why it is sound

use std::io;
use std::mem::zeroed;
use std::net::SocketAddrV4;

use socket2::{Domain, Protocol, Socket, Type};

use super::kernel;
use crate::media::Port;

/// Datagrams that wait at most.
const BATCH: usize = 64;

/// The headers of IPv4 (RFC 791) and UDP (RFC 768).
const IP_HEADER_BYTES: usize = 20;
const HEADERS_BYTES: usize = IP_HEADER_BYTES + 8;

/// A datagram is not larger than what every link takes in one piece: the kernel cuts up nothing that comes with its own header.
const PACKET_BYTES_MAX: usize = 1_280;

const TIME_TO_LIVE: u8 = 64;

/// For bursts of all calls.
const SEND_BYTES: usize = 4 << 20;

/// A datagram that waits.
#[derive(Clone, Copy, Debug)]
struct Queued {
    /// None: nobody is told if it is lost.
    relayed: Option<Port>,
    to: SocketAddrV4,
    bytes: usize,
}

pub(super) struct Outbox {
    socket: Socket,
    slots: Box<[[u8; PACKET_BYTES_MAX]; BATCH]>,
    queued: Vec<Queued>,
    /// Whose datagrams, of those that were relayed, the network did not take.
    unsent: Vec<Port>,
}

impl Outbox {
    pub(super) fn new() -> io::Result<Self> {
        let socket = Socket::new(
            Domain::IPV4,
            Type::RAW.nonblocking(),
            Some(Protocol::from(libc::IPPROTO_RAW)),
        )?;
        kernel::force_send_buffer(&socket, SEND_BYTES)?;
        Ok(Self {
            socket,
            slots: Box::new([[0; PACKET_BYTES_MAX]; BATCH]),
            queued: Vec::with_capacity(BATCH),
            unsent: Vec::with_capacity(BATCH),
        })
    }

    /// False when it is too large: then it has to leave by a socket of its own, after those that wait.
    pub(super) const fn fits(bytes: &[u8]) -> bool {
        bytes.len() <= PACKET_BYTES_MAX - HEADERS_BYTES
    }

    /// One that [fits](Self::fits) leaves with the next [`Self::flush`], at the latest when [`BATCH`] wait.
    pub(super) fn push(&mut self, relayed: Option<Port>, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        if self.queued.len() == BATCH {
            self.flush();
        }
        let bytes = HEADERS_BYTES + payload.len();
        let Some(packet) = self
            .slots
            .get_mut(self.queued.len())
            .and_then(|slot| slot.get_mut(..bytes))
        else {
            return self.unsent.extend(relayed);
        };
        write(packet, from, to, payload);
        self.queued.push(Queued { relayed, to, bytes });
    }

    /// Sends what waits, in order.
    pub(super) fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.queued.len() {
            match self.send_from(sent) {
                Ok(more) => sent += more.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.unsent.extend(self.queued[sent].relayed);
                    sent += 1;
                }
            }
        }
        self.queued.clear();
    }

    /// One relayed datagram each that a flush could not send.
    pub(super) fn poll_unsent(&mut self) -> Option<Port> {
        self.unsent.pop()
    }

    /// How many of those from the `first` on left. The error is that of the first.
    fn send_from(&self, first: usize) -> io::Result<usize> {
        // SAFETY: all zeros are valid, empty addresses, buffers and headers.
        let (mut names, mut parts, mut messages) = unsafe {
            (
                zeroed::<[libc::sockaddr_in; BATCH]>(),
                zeroed::<[libc::iovec; BATCH]>(),
                zeroed::<[libc::mmsghdr; BATCH]>(),
            )
        };
        let datagrams = self.queued.iter().zip(&*self.slots).skip(first);
        let places = messages.iter_mut().zip(&mut names).zip(&mut parts);
        let mut count = 0;
        for (((message, name), part), (queued, slot)) in places.zip(datagrams) {
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_addr.s_addr = u32::from(*queued.to.ip()).to_be();
            let bytes = queued.bytes.min(slot.len());
            kernel::lay_out(message, part, name, slot.as_ptr().cast_mut(), bytes);
            count += 1;
        }
        // SAFETY: `count` headers were laid out above, with buffers that live as long as this function.
        unsafe { kernel::send_batch(&self.socket, &mut messages[..count]) }
    }
}

/// The kernel adds length, checksum and identification of the IP header (raw(7)).
fn write(packet: &mut [u8], from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    let Some((headers, rest)) = packet.split_first_chunk_mut::<HEADERS_BYTES>() else {
        return;
    };
    let length = (payload.len() + HEADERS_BYTES - IP_HEADER_BYTES) as u16;
    let mut put = |at: usize, bytes: &[u8]| headers[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0x45, 0]);
    put(2, &(length + IP_HEADER_BYTES as u16).to_be_bytes());
    put(4, &[0, 0, 0, 0, TIME_TO_LIVE, libc::IPPROTO_UDP as u8, 0, 0]);
    put(12, &from.ip().octets());
    put(16, &to.ip().octets());
    put(20, &from.port().to_be_bytes());
    put(22, &to.port().to_be_bytes());
    put(24, &length.to_be_bytes());
    put(26, &checksum(from, to, length, payload).to_be_bytes());
    rest.copy_from_slice(payload);
}

/// Of the pseudo header, the header and the payload (RFC 768). Never 0, which would mean that there is none.
fn checksum(from: SocketAddrV4, to: SocketAddrV4, length: u16, payload: &[u8]) -> u16 {
    let pseudo = u64::from(u32::from(*from.ip()))
        + u64::from(u32::from(*to.ip()))
        + u64::from(libc::IPPROTO_UDP as u16)
        + u64::from(from.port())
        + u64::from(to.port())
        + 2 * u64::from(length);
    // Words of four bytes are two of two bytes: 2^16 is 1 in the sum's arithmetic (RFC 1071 §2).
    let (words, rest) = payload.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let sum = words
        .iter()
        .fold(pseudo + u64::from(u32::from_be_bytes(last)), |sum, word| {
            sum + u64::from(u32::from_be_bytes(*word))
        });
    let folded = (0..4).fold(sum, |sum, _| (sum >> 16) + (sum & 0xffff));
    match !(folded as u16) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_written_as_rfc_791_and_768_say() {
        let (from, to) = (
            SocketAddrV4::new([127, 0, 0, 1].into(), 40_000),
            SocketAddrV4::new([127, 0, 0, 2].into(), 9),
        );
        let payload = b"hello";
        let mut packet = [0; HEADERS_BYTES + 5];
        write(&mut packet, from, to, payload);
        assert_eq!(packet[..4], [0x45, 0, 0, 33]);
        assert_eq!(packet[8..20], [64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
        assert_eq!(packet[20..26], [0x9c, 0x40, 0, 9, 0, 13]);
        assert_eq!(&packet[HEADERS_BYTES..], payload);
        // What a receiver checks: all of it, with the pseudo header, sums up to ones.
        let mut whole: Vec<u8> = packet[12..20].to_vec();
        whole.extend([0, 17, 0, 13]);
        whole.extend(&packet[20..]);
        whole.push(0);
        let words = whole
            .chunks_exact(2)
            .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
        let sum: u32 = words.sum();
        assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff);
    }
}
