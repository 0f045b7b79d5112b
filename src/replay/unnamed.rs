//! What belongs to calls that the capture does not show: RTP that no SDP names. Their signalling went another way, or is encrypted.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::model::Ssrc;
use crate::rtp::{RtpHeader, WireKind, classify};

/// Streams that are told apart. Full: no further one is looked for.
const STREAMS_MAX: usize = 4_096;
/// How far the number of a stream's next packet may be ahead: what is no RTP has any number there.
const AHEAD_MAX: u16 = 100;

/// See [the module](self).
#[derive(Default)]
pub(crate) struct Unnamed {
    streams: BTreeMap<(SocketAddr, SocketAddr, Ssrc), Seen>,
}

struct Seen {
    newest: u16,
    packets: u64,
}

impl Unnamed {
    /// A datagram that is of no call.
    pub(crate) fn count(&mut self, src: SocketAddr, dst: SocketAddr, bytes: &[u8]) {
        let Some(header) = RtpHeader::parse(bytes)
            .ok()
            .filter(|_| classify(bytes) == WireKind::Rtp)
        else {
            return;
        };
        let key = (src, dst, header.ssrc);
        let sequence = header.sequence;
        if let Some(seen) = self.streams.get_mut(&key) {
            let ahead = sequence.wrapping_sub(seen.newest);
            seen.packets += u64::from((1..=AHEAD_MAX).contains(&ahead));
            seen.newest = sequence;
        } else if self.streams.len() < STREAMS_MAX {
            let (newest, packets) = (sequence, 1);
            self.streams.insert(key, Seen { newest, packets });
        }
    }

    /// Streams, and their packets.
    pub(crate) fn found(&self) -> (u64, u64) {
        let streams = self.streams.values().filter(|seen| seen.packets > 1);
        streams.fold((0, 0), |(n, packets), seen| (n + 1, packets + seen.packets))
    }
}

#[cfg(test)]
mod tests {
    use super::super::forge::{addr, rtp};
    use super::*;

    const A: &str = "192.0.2.1:4000";
    const B: &str = "192.0.2.2:4000";

    #[test]
    fn packets_in_sequence_are_a_stream_and_numbers_without_order_are_none() {
        let mut unnamed = Unnamed::default();
        for number in [65_534, 65_535, 1, 2] {
            unnamed.count(addr(A), addr(B), &rtp(7, 0, number));
            unnamed.count(addr(B), addr(A), &rtp(7, 0, number.wrapping_mul(1_777)));
            unnamed.count(addr(A), addr(B), &rtp(u32::from(number), 0, number));
        }
        assert_eq!(unnamed.found(), (1, 4));
    }

    #[test]
    fn streams_without_end_take_bounded_room() {
        let mut unnamed = Unnamed::default();
        for ssrc in 0..2 * STREAMS_MAX as u32 {
            unnamed.count(addr(A), addr(B), &rtp(ssrc, 0, 1));
            unnamed.count(addr(A), addr(B), &rtp(ssrc, 0, 2));
        }
        let streams = STREAMS_MAX as u64;
        assert_eq!(unnamed.found(), (streams, 2 * streams));
    }
}
