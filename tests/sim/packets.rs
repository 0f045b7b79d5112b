//! Numbered packets of media, found again wherever they were written.

use memchr::memmem;

/// In front of each packet's number in its payload.
const MARK: &[u8; 6] = b"onrsim";
const PAYLOAD_BYTES: usize = 160;

/// 20 ms of PCMU silence behind a mark and the packet's number: the phone's in the upper half, the count in the lower.
pub fn media_packet(number: u64, count: u64, ssrc: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(12 + PAYLOAD_BYTES);
    packet.extend([0x80, 0]);
    packet.extend(((count & 0xffff) as u16).to_be_bytes());
    packet.extend((count as u32).wrapping_mul(160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(MARK);
    packet.extend(number.to_be_bytes());
    packet.resize(12 + PAYLOAD_BYTES, 0xff);
    packet
}

/// The number in a phone's packet, wherever the bytes come from.
pub fn packet_number(bytes: &[u8]) -> Option<u64> {
    let at = 12 + MARK.len();
    let marked = bytes.get(12..at)? == MARK;
    let number = bytes.get(at..)?.first_chunk::<8>()?;
    marked.then_some(u64::from_be_bytes(*number))
}

/// Numbers of the phones' packets anywhere in `bytes`.
pub fn packet_numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let numbers = memmem::find_iter(bytes, MARK).filter_map(|at| bytes.get(at + MARK.len()..)?.first_chunk::<8>());
    numbers.map(|number| u64::from_be_bytes(*number))
}
