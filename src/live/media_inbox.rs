//! Datagrams of a socket that takes those of many ports, read by the batch: each with its sender, our port, and its time.

#![allow(unsafe_code)] // each block says why it is sound

use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;

use super::kernel;

/// Datagrams that one call to the kernel reads at most.
pub(super) const BATCH: usize = 64;

/// The largest UDP payload, and more. Of each slot as many pages are ever touched as its longest datagram has.
const SLOT_BYTES: usize = 1 << 16;

/// Room for SCM_TIMESTAMPNS and IP_ORIGDSTADDR, a header of 16 bytes and 16 bytes each, and to spare.
const CONTROL_BYTES: usize = 128;

/// A datagram that was read and not looked at yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter {
    pub(super) from: SocketAddr,
    /// Where it was sent to.
    pub(super) port: u16,
    /// Nanoseconds of the wall clock since 1970 at which it arrived, if the kernel stamped it.
    pub(super) arrived: Option<u64>,
    slot: usize,
    pub(super) bytes: usize,
}

#[repr(align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

pub(super) struct Inbox {
    slots: Box<[u8]>,
    controls: Box<[Control; BATCH]>,
    letters: Vec<Letter>,
    next: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![0; BATCH * SLOT_BYTES].into_boxed_slice(),
            controls: Box::new([Control([0; CONTROL_BYTES]); BATCH]),
            letters: Vec::with_capacity(BATCH),
            next: 0,
        }
    }

    /// The next of those that were read.
    pub(super) fn next(&mut self) -> Option<Letter> {
        let letter = self.letters.get(self.next).copied()?;
        self.next += 1;
        Some(letter)
    }

    /// As they arrived, until [`Self::fill`] is called again.
    pub(super) fn bytes(&self, letter: &Letter) -> &[u8] {
        let slot = self.slots.chunks_exact(SLOT_BYTES).nth(letter.slot);
        slot.and_then(|slot| slot.get(..letter.bytes)).unwrap_or_default()
    }

    /// Reads up to [`BATCH`] datagrams of IPv4 and forgets those before. How many: below [`BATCH`], there are no more.
    pub(super) fn fill(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.letters.clear();
        self.next = 0;
        // SAFETY: all zeros are valid, empty addresses, buffers and headers.
        let (mut names, mut parts, mut messages) = unsafe {
            (
                zeroed::<[libc::sockaddr_in; BATCH]>(),
                zeroed::<[libc::iovec; BATCH]>(),
                zeroed::<[libc::mmsghdr; BATCH]>(),
            )
        };
        let slots = self.slots.chunks_exact_mut(SLOT_BYTES);
        let places = parts
            .iter_mut()
            .zip(&mut names)
            .zip(slots)
            .zip(self.controls.iter_mut());
        for (message, (((part, name), slot), control)) in messages.iter_mut().zip(places) {
            kernel::lay_out(message, part, name, slot.as_mut_ptr(), slot.len());
            let header = &mut message.msg_hdr;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
        }
        // SAFETY: every header was laid out above, with buffers that live as long as this function.
        let read = unsafe { kernel::receive_batch(socket, &mut messages) }?;
        for (slot, (message, name)) in messages.iter().zip(&names).take(read).enumerate() {
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            let Some(port) = sent_to(&message.msg_hdr) else {
                continue;
            };
            self.letters.push(Letter {
                from: SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into(),
                port,
                arrived: kernel::arrival(&message.msg_hdr),
                slot,
                bytes: usize::try_from(message.msg_len).unwrap_or_default(),
            });
        }
        Ok(read)
    }
}

/// The port in IP_ORIGDSTADDR (ip(7), IP_RECVORIGDSTADDR).
fn sent_to(message: &libc::msghdr) -> Option<u16> {
    // SAFETY: `message` was filled by the kernel, so its control buffer holds whole headers as far as msg_controllen; the
    // macros stay inside. An address may lie unaligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if ((*header).cmsg_level, (*header).cmsg_type) == (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) {
                let address = libc::CMSG_DATA(header).cast::<libc::sockaddr_in>().read_unaligned();
                return Some(u16::from_be(address.sin_port));
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}
