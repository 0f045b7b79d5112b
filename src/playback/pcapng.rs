//! Blocks of a pcapng file (draft-ietf-opsawg-pcapng) and the raw IP packets in them.

use std::net::IpAddr;

use super::address::Way;
use crate::model::Timestamp;

/// LINKTYPE_RAW: the packet begins with its IP header.
const LINKTYPE_RAW: u16 = 101;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const OPTION_COMMENT: u16 = 1;
const OPTION_APPLICATION: u16 = 4;
const OPTION_TSRESOL: u16 = 9;
const UDP: u8 = 17;
const TCP: u8 = 6;
const UDP_HEADER_BYTES: usize = 8;
const TCP_HEADER_BYTES: usize = 20;
/// An option's length has 16 bits.
const COMMENT_BYTES_MAX: usize = 65_000;

/// Most payload that one IPv4 packet takes beside its headers.
pub(super) const PAYLOAD_BYTES_MAX: usize = 65_535 - 20 - TCP_HEADER_BYTES;

/// The section header and the one interface, in nanoseconds.
pub(super) fn begin(application: &str, comment: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0x1a2b_3c4d_u32.to_le_bytes());
    body.extend(1_u16.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    body.extend((-1_i64).to_le_bytes()); // section length not told
    option(&mut body, OPTION_COMMENT, comment.as_bytes());
    option(&mut body, OPTION_APPLICATION, application.as_bytes());
    end_of_options(&mut body);
    let mut bytes = block(SECTION_HEADER, &body);
    body.clear();
    body.extend(LINKTYPE_RAW.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    body.extend(0_u32.to_le_bytes()); // no limit of length
    option(&mut body, OPTION_TSRESOL, &[9]);
    end_of_options(&mut body);
    bytes.extend(block(INTERFACE_DESCRIPTION, &body));
    bytes
}

/// One packet with its comments.
pub(super) fn packet(at: Timestamp, packet: &[u8], comments: &[String]) -> Vec<u8> {
    let mut body = Vec::with_capacity(packet.len() + 32);
    let nanos = at.as_nanos();
    let length = u32::try_from(packet.len()).unwrap_or(u32::MAX).to_le_bytes();
    body.extend(0_u32.to_le_bytes());
    body.extend(((nanos >> 32) as u32).to_le_bytes());
    body.extend((nanos as u32).to_le_bytes()); // the lower half
    body.extend(length);
    body.extend(length);
    body.extend(packet);
    pad(&mut body);
    for comment in comments {
        option(&mut body, OPTION_COMMENT, comment.as_bytes());
    }
    if !comments.is_empty() {
        end_of_options(&mut body);
    }
    block(ENHANCED_PACKET, &body)
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
    [&kind.to_le_bytes(), &length, body, &length].concat()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..COMMENT_BYTES_MAX).unwrap_or(value);
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// An IP packet with one UDP datagram.
pub(super) fn udp(way: Way, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UDP_HEADER_BYTES + payload.len()).unwrap_or(u16::MAX);
    let mut segment = Vec::with_capacity(usize::from(length));
    segment.extend(way.from.port().to_be_bytes());
    segment.extend(way.to.port().to_be_bytes());
    segment.extend(length.to_be_bytes());
    segment.extend([0; 2]);
    segment.extend(payload);
    let sum = match checksum(way, UDP, &segment) {
        0 => 0xffff, // RFC 768: zero means that there is none
        sum => sum,
    };
    put(&mut segment, 6, sum);
    ip(way, UDP, &segment)
}

/// An IP packet with one TCP segment: PSH and ACK.
pub(super) fn tcp(way: Way, sequence: u32, acknowledged: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(TCP_HEADER_BYTES + payload.len());
    segment.extend(way.from.port().to_be_bytes());
    segment.extend(way.to.port().to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    let sum = checksum(way, TCP, &segment);
    put(&mut segment, 16, sum);
    ip(way, TCP, &segment)
}

fn ip(way: Way, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(40 + segment.len());
    match way.ips() {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(20 + segment.len()).unwrap_or(u16::MAX);
            packet.extend([0x45, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]); // do not fragment
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = fold(sum_of(&packet));
            put(&mut packet, 10, sum);
        }
        (from, to) => {
            let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(octets(from));
            packet.extend(octets(to));
        }
    }
    packet.extend(segment);
    packet
}

/// RFC 768, RFC 9293 §3.1, RFC 8200 §8.1: over the pseudo header and the segment, whose own field is zero.
fn checksum(way: Way, protocol: u8, segment: &[u8]) -> u16 {
    let (from, to) = way.ips();
    let length = segment.len() as u64; // at most 64 KiB
    fold(sum_of(&octets(from)) + sum_of(&octets(to)) + length + u64::from(protocol) + sum_of(segment))
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn sum_of(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    };
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16) // folded
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
