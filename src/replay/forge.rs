//! Captures made by hand, for tests: every layer a function from bytes to bytes.

use std::net::{IpAddr, SocketAddr};

use super::capture::{Capture, Event, Payload};
use super::flaw::{Flaw, NotACapture};
use crate::model::Timestamp;
use crate::sip::Transport;

pub(crate) const ETHERNET: u32 = 1;

/// 2025-11-22T09:00:00Z: where forged captures begin.
pub(crate) const EPOCH_MILLIS: u64 = 1_763_802_000_000;

pub(crate) fn millis(since_epoch: u64) -> Timestamp {
    Timestamp::from_millis(EPOCH_MILLIS + since_epoch)
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    Big,
    Little,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }
}

/// A pcap file in the making.
pub(crate) struct Pcap {
    pub order: Order,
    pub nanos: bool,
    pub bytes: Vec<u8>,
}

impl Pcap {
    pub(crate) fn new(link: u32) -> Self {
        Self::with(link, Order::Little, false)
    }

    pub(crate) fn with(link: u32, order: Order, nanos: bool) -> Self {
        let magic = if nanos { 0xA1B2_3C4D } else { 0xA1B2_C3D4 };
        let mut bytes = order.u32(magic).to_vec();
        bytes.extend(order.u16(2));
        bytes.extend(order.u16(4));
        for field in [0, 0, 262_144, link] {
            bytes.extend(order.u32(field));
        }
        Self { order, nanos, bytes }
    }

    pub(crate) fn push(&mut self, at: Timestamp, frame: &[u8]) -> &mut Self {
        self.push_cut(at, frame, frame.len())
    }

    /// Only `kept` bytes of the frame are in the file.
    pub(crate) fn push_cut(&mut self, at: Timestamp, frame: &[u8], kept: usize) -> &mut Self {
        let fraction = at.as_nanos() % 1_000_000_000 / if self.nanos { 1 } else { 1_000 };
        for field in [at.as_secs() as u32, fraction as u32, kept as u32, frame.len() as u32] {
            self.bytes.extend(self.order.u32(field));
        }
        self.bytes.extend(&frame[..kept]);
        self
    }

    /// What was pushed; of a file in little-endian microseconds.
    pub(crate) fn records(&self) -> Vec<(Timestamp, Vec<u8>)> {
        let word = |at: usize| u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap());
        let (mut records, mut at) = (Vec::new(), 24);
        while at < self.bytes.len() {
            let end = at + 16 + word(at + 8) as usize;
            let micros = u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4));
            records.push((Timestamp::from_nanos(micros * 1_000), self.bytes[at + 16..end].to_vec()));
            at = end;
        }
        records
    }

    pub(crate) fn udp(&mut self, at: Timestamp, src: &str, dst: &str, payload: &[u8]) -> &mut Self {
        self.push(at, &ethernet_udp(src, dst, payload))
    }
}

pub(crate) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = order.u32(padded as u32 + 12);
    let mut bytes = order.u32(kind).to_vec();
    bytes.extend(len);
    bytes.extend(body);
    bytes.resize(8 + padded, 0);
    bytes.extend(len);
    bytes
}

pub(crate) fn section(order: Order) -> Vec<u8> {
    let mut body = order.u32(0x1A2B_3C4D).to_vec();
    body.extend(order.u16(1));
    body.extend(order.u16(0));
    body.extend([0xFF; 8]);
    block(order, 0x0A0D_0D0A, &body)
}

/// `resolution` as in if_tsresol: a power of ten, or of two with the highest bit.
pub(crate) fn interface(order: Order, link: u16, resolution: Option<u8>) -> Vec<u8> {
    let mut body = order.u16(link).to_vec();
    body.extend(order.u16(0));
    body.extend(order.u32(0));
    if let Some(resolution) = resolution {
        body.extend(order.u16(9));
        body.extend(order.u16(1));
        body.extend([resolution, 0, 0, 0]);
        body.extend([0; 4]);
    }
    block(order, 1, &body)
}

pub(crate) fn enhanced(order: Order, interface: u32, ticks: u64, frame: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in [
        interface,
        (ticks >> 32) as u32,
        ticks as u32,
        frame.len() as u32,
        frame.len() as u32,
    ] {
        body.extend(order.u32(field));
    }
    body.extend(frame);
    block(order, 6, &body)
}

/// A packet block that has no time.
pub(crate) fn simple(order: Order, frame: &[u8]) -> Vec<u8> {
    block(order, 3, &[&order.u32(frame.len() as u32), frame].concat())
}

pub(crate) fn udp(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = src.port().to_be_bytes().to_vec();
    bytes.extend(dst.port().to_be_bytes());
    bytes.extend((payload.len() as u16 + 8).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

pub(crate) fn tcp(src: SocketAddr, dst: SocketAddr, sequence: u32, flags: u8, acked: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = src.port().to_be_bytes().to_vec();
    bytes.extend(dst.port().to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(acked.to_be_bytes());
    bytes.extend([5 << 4, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// `flags_and_offset` as in RFC 791 §3.1: more fragments is 0x2000, the offset counts in eights.
pub(crate) fn ip4(src: IpAddr, dst: IpAddr, protocol: u8, id: u16, flags_and_offset: u16, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else {
        panic!("not IPv4");
    };
    let mut bytes = vec![0x45, 0];
    bytes.extend((payload.len() as u16 + 20).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(flags_and_offset.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(src.octets());
    bytes.extend(dst.octets());
    bytes.extend(payload);
    bytes
}

pub(crate) fn ip6(src: IpAddr, dst: IpAddr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) else {
        panic!("not IPv6");
    };
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next_header, 64]);
    bytes.extend(src.octets());
    bytes.extend(dst.octets());
    bytes.extend(payload);
    bytes
}

pub(crate) fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    if src.is_ipv4() {
        ip4(src, dst, protocol, 7, 0, payload)
    } else {
        ip6(src, dst, protocol, payload)
    }
}

pub(crate) fn ip_udp(src: &str, dst: &str, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (addr(src), addr(dst));
    ip(src.ip(), dst.ip(), 17, &udp(src, dst, payload))
}

pub(crate) fn ethernet(ip: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(if ip[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xDD] });
    frame.extend(ip);
    frame
}

pub(crate) fn ethernet_udp(src: &str, dst: &str, payload: &[u8]) -> Vec<u8> {
    ethernet(&ip_udp(src, dst, payload))
}

pub(crate) fn rtp(ssrc: u32, payload_type: u8, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xD5; 160]);
    packet
}

/// A [`super::Captured`] that owns its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub packet: u64,
    pub at: Timestamp,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    /// None: a datagram.
    pub sip: Option<Transport>,
    pub bytes: Vec<u8>,
}

/// Everything that a file gives.
pub(crate) fn read(file: &[u8]) -> Result<(Vec<Kept>, Vec<Flaw>), NotACapture> {
    let (mut kept, mut flaws) = (Vec::new(), Vec::new());
    let mut capture = Capture::open(file)?;
    while capture.read_packet(|event| match event {
        Event::Started(_) => {}
        Event::Flaw(flaw) => flaws.push(flaw),
        Event::Captured(captured) => {
            let (sip, bytes) = match captured.payload {
                Payload::Sip(transport, bytes) => (Some(transport), bytes.to_vec()),
                Payload::Datagram(bytes) | Payload::Cut(bytes) => (None, bytes.to_vec()),
            };
            kept.push(Kept {
                packet: captured.packet,
                at: captured.at,
                src: captured.src,
                dst: captured.dst,
                sip,
                bytes,
            });
        }
    }) {}
    Ok((kept, flaws))
}
