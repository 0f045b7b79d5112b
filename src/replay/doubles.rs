//! Packets that a capture holds more than once: from both ports that a switch mirrors, from each interface of the capturing
//! host, inside a tunnel and outside.
//!
//! A double has the addresses, the identification and every byte of a packet moments before; what lies around it, and what
//! routers change (VLAN, MAC, TTL, DSCP), may differ. What a sender says twice has another identification (RFC 6864 §4.1), or, in
//! IPv6 and where senders set none, comes later.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::link::IpPacket;
use crate::model::Timestamp;

/// Between mirrored ports with a router between them. No retransmission is as quick: SIP's comes after 500 ms (RFC 3261 §17.1.1.1),
/// a copy sent for redundancy after a packet's time (RFC 7198 §4).
const APART_MAX: Duration = Duration::from_millis(10);
/// Packets that are remembered. Full: the oldest is forgotten.
const REMEMBERED_MAX: usize = 65_536;
const TCP: u8 = 6;

/// See [the module](self).
#[derive(Default)]
pub(super) struct Doubles {
    digests: BTreeSet<u64>,
    /// Oldest first.
    order: VecDeque<(Timestamp, u64)>,
    count: u64,
}

impl Doubles {
    /// How many there were.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Whether a packet was captured before. Times within a capture may step back: then nothing before counts.
    pub(super) fn is_double(&mut self, at: Timestamp, ip: &IpPacket<'_>) -> bool {
        // Acknowledgements that say the same are news in TCP, and IPv6 tells them apart by nothing.
        if ip.protocol == TCP && ip.identification.is_none() {
            return false;
        }
        while self.order.front().is_some_and(|(then, _)| {
            at.since(*then) > APART_MAX || then.since(at) > APART_MAX || self.order.len() >= REMEMBERED_MAX
        }) {
            if let Some((_, digest)) = self.order.pop_front() {
                self.digests.remove(&digest);
            }
        }
        let mut hasher = DefaultHasher::new();
        ip.hash(&mut hasher);
        let digest = hasher.finish();
        let is_new = self.digests.insert(digest);
        if is_new {
            self.order.push_back((at, digest));
        } else {
            self.count += 1;
        }
        !is_new
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::forge::{self, ETHERNET, Pcap, addr, millis};
    use super::*;

    const A: &str = "192.0.2.1:4000";
    const B: &str = "192.0.2.2:4000";

    fn packet(identification: u16, payload: &[u8]) -> Vec<u8> {
        let (a, b) = (addr(A), addr(B));
        forge::ip4(a.ip(), b.ip(), 17, identification, 0, &forge::udp(a, b, payload))
    }

    fn captured(frames: &[(u64, Vec<u8>)]) -> usize {
        let mut file = Pcap::new(ETHERNET);
        for (at, frame) in frames {
            file.push(millis(*at), frame);
        }
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        assert_eq!(flaws, []);
        kept.len()
    }

    #[test]
    fn a_packet_of_two_mirrored_ports_counts_once_whatever_vlan_mac_and_ttl_it_has() {
        let seen = forge::ethernet(&packet(7, b"speech"));
        let mut routed = packet(7, b"speech");
        (routed[1], routed[8], routed[10]) = (0xB8, 63, 9);
        let mut tagged = vec![4; 12];
        tagged.extend([0x81, 0x00, 0, 100, 0x08, 0x00]);
        tagged.extend(routed);
        assert_eq!(captured(&[(0, seen.clone()), (1, tagged.clone()), (2, tagged)]), 1);
        assert_eq!(captured(&[(0, seen.clone()), (11, seen)]), 2);
    }

    #[test]
    fn what_a_sender_sends_twice_counts_twice() {
        let [first, second] = [7, 8].map(|id| forge::ethernet(&packet(id, b"speech")));
        assert_eq!(captured(&[(0, first.clone()), (0, second)]), 2);
        let other = forge::ethernet(&packet(7, b"Speech"));
        assert_eq!(captured(&[(0, first), (0, other)]), 2);
    }

    #[test]
    fn the_same_fragments_from_two_ports_make_one_datagram() {
        let whole = forge::udp(addr(A), addr(B), &[b'x'; 80]);
        let part = |offset: usize, end: usize, flags: u16| {
            let [a, b] = [A, B].map(|at| addr(at).ip());
            forge::ethernet(&forge::ip4(
                a,
                b,
                17,
                9,
                flags | (offset / 8) as u16,
                &whole[offset..end],
            ))
        };
        let [head, tail] = [part(0, 48, 0x2000), part(48, 88, 0)];
        assert_eq!(
            captured(&[(0, head.clone()), (0, head), (1, tail.clone()), (1, tail)]),
            1
        );
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_clock_that_steps_back_forgets_it() {
        let mut doubles = Doubles::default();
        let bytes: Vec<Vec<u8>> = (0..REMEMBERED_MAX as u32 + 500)
            .map(|n| packet(0, &n.to_be_bytes()))
            .collect();
        for bytes in &bytes {
            assert!(!doubles.is_double(millis(500), &super::super::link::parse_ip(bytes).unwrap()));
        }
        assert_eq!(
            (doubles.digests.len(), doubles.order.len()),
            (REMEMBERED_MAX, REMEMBERED_MAX)
        );
        let last = super::super::link::parse_ip(&bytes[bytes.len() - 1]).unwrap();
        assert!(doubles.is_double(millis(501), &last));
        assert!(!doubles.is_double(millis(0), &last));
        assert_eq!((doubles.count(), doubles.order.len()), (1, 1));
    }
}
