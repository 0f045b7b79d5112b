//! Datagrams to many local ports of one IPv4 address, steered to one socket by the kernel (BPF_PROG_TYPE_SK_LOOKUP, since Linux
//! 5.9; Documentation/bpf/prog_sk_lookup.rst). Needs CAP_BPF and CAP_NET_ADMIN.

#![allow(unsafe_code)] // each block says why it is sound

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

/// A byte for each port.
const PORTS: usize = 1 << 16;

/// The kernel's names: <linux/bpf.h>.
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_SOCKMAP: u32 = 15;
const F_MMAPABLE: u32 = 1 << 10;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;

/// The parts of `union bpf_attr` that are used here; the kernel takes what is not given as zeros.
#[repr(C)]
struct NewMap {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries_max: u32,
    flags: u32,
}

#[repr(C)]
struct NewElement {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct NewProgram {
    kind: u32,
    instructions: u32,
    instructions_at: u64,
    license_at: u64,
    log_level: u32,
    log_bytes: u32,
    log_at: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

#[repr(C)]
struct NewLink {
    program: u32,
    target: u32,
    attach: u32,
    flags: u32,
}

/// While it lives, datagrams to the ports that were [taken](Self::take) arrive at the socket that it was made with. It comes
/// before sockets that are bound to those ports, in the network namespace of this process.
#[derive(Debug)]
pub(super) struct Steering {
    /// Shared with the program: 1 for a port that is taken.
    taken: NonNull<AtomicU8>,
    /// Closed, the program has no effect any more.
    _link: OwnedFd,
}

// SAFETY: the memory is a mapping of this struct's own, which any thread may use, and holds atomics.
unsafe impl Send for Steering {}

impl Steering {
    /// `socket` has to be of UDP, and bound to `address`.
    pub(super) fn new(socket: &impl AsFd, address: Ipv4Addr) -> io::Result<Self> {
        let ports = new_map(MAP_TYPE_ARRAY, PORTS as u32, F_MMAPABLE)?;
        let sockets = new_map(MAP_TYPE_SOCKMAP, 8, 0)?;
        let (key, value) = (0_u32, socket.as_fd().as_raw_fd() as u64);
        let element = NewElement {
            map: number(&sockets),
            padding: 0,
            key: (&raw const key) as u64,
            value: (&raw const value) as u64,
            flags: 0,
        };
        // SAFETY: key and value are of the sizes that the map was made with, and outlive the call.
        unsafe { bpf(MAP_UPDATE_ELEM, &element)? };
        let program = load(&program(address, &ports, &sockets))?;
        let taken = map(&ports)?;
        let namespace = File::open("/proc/self/ns/net")?;
        let link = NewLink {
            program: number(&program),
            target: number(&namespace),
            attach: ATTACH_SK_LOOKUP,
            flags: 0,
        };
        // SAFETY: no pointers; the result is a descriptor of ours.
        let link = unsafe { OwnedFd::from_raw_fd(bpf(LINK_CREATE, &link)?) };
        Ok(Self { taken, _link: link })
    }

    /// From the next datagram on.
    pub(super) fn take(&self, port: u16) {
        self.byte(port).store(1, Ordering::Relaxed);
    }

    pub(super) fn let_go(&self, port: u16) {
        self.byte(port).store(0, Ordering::Relaxed);
    }

    fn byte(&self, port: u16) -> &AtomicU8 {
        // SAFETY: the mapping has a byte for each port, lives as long as `self`, and is only used by atomics here.
        unsafe { self.taken.add(usize::from(port)).as_ref() }
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, of which no reference is left.
        unsafe { libc::munmap(self.taken.as_ptr().cast(), PORTS) };
    }
}

/// Of one element, whose key is 0.
fn new_map(kind: u32, value_bytes: u32, flags: u32) -> io::Result<OwnedFd> {
    let wanted = NewMap {
        kind,
        key_bytes: 4,
        value_bytes,
        entries_max: 1,
        flags,
    };
    // SAFETY: no pointers; the result is a descriptor of ours.
    unsafe { Ok(OwnedFd::from_raw_fd(bpf(MAP_CREATE, &wanted)?)) }
}

fn map(ports: &OwnedFd) -> io::Result<NonNull<AtomicU8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses, of the map's whole value.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PORTS,
            access,
            libc::MAP_SHARED,
            ports.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let wanted = NewProgram {
        kind: PROG_TYPE_SK_LOOKUP,
        instructions: instructions.len() as u32,
        instructions_at: instructions.as_ptr() as u64,
        license_at: license.as_ptr() as u64,
        name: *b"onrecord_media\0\0",
        attach: ATTACH_SK_LOOKUP,
        ..NewProgram::default()
    };
    // SAFETY: instructions and licence outlive the call; the kernel verifies what the program does.
    unsafe { Ok(OwnedFd::from_raw_fd(bpf(PROG_LOAD, &wanted)?)) }
}

/// # Safety
/// Pointers in `attributes` have to be what the command expects.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` is live, and its size goes along; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

fn number(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

/// An instruction (RFC 9669 §3): code, registers, offset, number.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    u64::from_le_bytes([
        code,
        from << 4 | to,
        offset.to_le_bytes()[0],
        offset.to_le_bytes()[1],
        number.to_le_bytes()[0],
        number.to_le_bytes()[1],
        number.to_le_bytes()[2],
        number.to_le_bytes()[3],
    ])
}

/// UDP to a taken port of `address` is given to the socket; all else goes where it went before.
fn program(address: Ipv4Addr, ports: &OwnedFd, sockets: &OwnedFd) -> [u64; 28] {
    const LOAD_WORD: u8 = 0x61;
    const LOAD_BYTE: u8 = 0x71;
    const STORE_WORD: u8 = 0x62;
    const LOAD_WIDE: u8 = 0x18;
    const MOVE: u8 = 0xbf;
    const SET: u8 = 0xb7;
    const ADD: u8 = 0x0f;
    const ADD_NUMBER: u8 = 0x07;
    const AND_NUMBER: u8 = 0x57;
    const UNLESS_32: u8 = 0x56;
    const IF: u8 = 0x15;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    /// The map, and the value of its one element.
    const MAP: u8 = 1;
    const MAP_VALUE: u8 = 2;
    const MAP_LOOKUP: i32 = 1;
    const SOCKET_RELEASE: i32 = 86;
    const SOCKET_ASSIGN: i32 = 124;
    /// Fields of `struct bpf_sk_lookup`; the address as it stands in a header, the port as a number.
    const PROTOCOL: i16 = 12;
    const LOCAL_IP4: i16 = 40;
    const LOCAL_PORT: i16 = 60;
    let address = i32::from_ne_bytes(address.octets());
    let (ports, sockets) = (ports.as_raw_fd(), sockets.as_raw_fd());
    let i = instruction;
    [
        i(MOVE, 6, 1, 0, 0),
        i(LOAD_WORD, 2, 6, PROTOCOL, 0),
        i(UNLESS_32, 2, 0, 23, libc::IPPROTO_UDP),
        i(LOAD_WORD, 2, 6, LOCAL_IP4, 0),
        i(UNLESS_32, 2, 0, 21, address),
        i(LOAD_WORD, 2, 6, LOCAL_PORT, 0),
        i(AND_NUMBER, 2, 0, 0, 0xffff),
        i(LOAD_WIDE, 3, MAP_VALUE, 0, ports),
        0,
        i(ADD, 3, 2, 0, 0),
        i(LOAD_BYTE, 4, 3, 0, 0),
        i(IF, 4, 0, 14, 0),
        i(STORE_WORD, 10, 0, -4, 0),
        i(LOAD_WIDE, 1, MAP, 0, sockets),
        0,
        i(MOVE, 2, 10, 0, 0),
        i(ADD_NUMBER, 2, 0, 0, -4),
        i(CALL, 0, 0, 0, MAP_LOOKUP),
        i(IF, 0, 0, 7, 0),
        i(MOVE, 7, 0, 0, 0),
        i(MOVE, 1, 6, 0, 0),
        i(MOVE, 2, 7, 0, 0),
        i(SET, 3, 0, 0, 0),
        i(CALL, 0, 0, 0, SOCKET_ASSIGN),
        i(MOVE, 1, 7, 0, 0),
        i(CALL, 0, 0, 0, SOCKET_RELEASE),
        // Pass: an assigned socket is taken, else the search goes on.
        i(SET, 0, 0, 0, 1),
        i(EXIT, 0, 0, 0, 0),
    ]
}
