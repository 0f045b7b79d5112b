//! IP datagrams put together from their fragments (RFC 791 §3.2, RFC 8200 §4.5, RFC 5722), with a cap on everything.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::flaw::{Flaw, FlawKind};
use super::link::{Fragment, IpPacket};
use crate::model::Timestamp;

/// 65,535 bytes in pieces of 512; the smallest that anybody fragments a SIP message into.
const FRAGMENTS_MAX: usize = 128;
/// Datagrams in the making. Full: the oldest is given up.
const DATAGRAMS_MAX: usize = 1_024;
/// Bytes of all datagrams in the making. Full: the oldest are given up.
const BYTES_MAX: usize = 16 << 20;
/// How long a datagram may take to arrive (RFC 8200 §4.5: 60 s; in a capture the last fragment is lost long before).
const AGE_MAX: Duration = Duration::from_secs(30);

type Key = (IpAddr, IpAddr, u8, u32);

#[derive(Default)]
pub(crate) struct Fragments {
    datagrams: BTreeMap<Key, Datagram>,
    /// Oldest first, with the serial number of the datagram meant; finished ones linger until their turn.
    order: VecDeque<(Key, u64)>,
    serial: u64,
    bytes: usize,
}

struct Datagram {
    serial: u64,
    first: Place,
    /// Sorted by offset, disjoint.
    pieces: Vec<(usize, Vec<u8>)>,
    len: Option<usize>,
    bytes: usize,
    /// An overlap spoils the datagram: what follows of it is swallowed (RFC 5722 §4).
    is_spoilt: bool,
}

/// Where in the capture a fragment was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub packet: u64,
    pub offset: u64,
    pub at: Timestamp,
}

impl Place {
    pub(crate) const fn flaw(self, kind: FlawKind) -> Flaw {
        Flaw {
            packet: self.packet,
            offset: self.offset,
            at: self.at,
            kind,
        }
    }
}

impl Fragments {
    /// Takes one fragment. Gives the datagram's payload when it is complete.
    pub(crate) fn push(
        &mut self,
        place: Place,
        ip: &IpPacket<'_>,
        fragment: Fragment,
    ) -> Result<Option<Vec<u8>>, FlawKind> {
        let start = usize::from(fragment.offset);
        let end = start + ip.payload.len();
        if end > usize::from(u16::MAX)
            || (fragment.more && !ip.payload.len().is_multiple_of(8))
            || ip.payload.is_empty()
        {
            return Err(FlawKind::MalformedIp);
        }
        let key = (ip.src, ip.dst, ip.protocol, fragment.identification);
        let datagram = self.datagrams.entry(key).or_insert_with(|| {
            self.serial += 1;
            self.order.push_back((key, self.serial));
            Datagram {
                serial: self.serial,
                first: place,
                pieces: Vec::new(),
                len: None,
                bytes: 0,
                is_spoilt: false,
            }
        });
        let before = datagram.bytes;
        let added = datagram.add(start, end, ip.payload, fragment.more);
        self.bytes = self.bytes + datagram.bytes - before;
        added?;
        if !datagram.is_complete() {
            return Ok(None);
        }
        let datagram = self.datagrams.remove(&key);
        self.bytes -= datagram.as_ref().map_or(0, |d| d.bytes);
        Ok(datagram.map(|d| d.pieces.into_iter().flat_map(|(_, piece)| piece).collect()))
    }

    /// The next datagram that has to be given up at `now`: too old, or one too many.
    pub(crate) fn poll_lost(&mut self, now: Timestamp) -> Option<Flaw> {
        while let Some((key, serial)) = self.order.front().copied() {
            let Some(datagram) = self.datagrams.get(&key).filter(|d| d.serial == serial) else {
                self.order.pop_front();
                continue;
            };
            let is_old = now.since(datagram.first.at) > AGE_MAX;
            if !is_old && self.datagrams.len() <= DATAGRAMS_MAX && self.bytes <= BYTES_MAX {
                return None;
            }
            self.order.pop_front();
            if let Some(lost) = self.give_up(&key) {
                return Some(lost);
            }
        }
        None
    }

    /// At the end of the capture: everything that never completed, one a call.
    pub(crate) fn poll_unfinished(&mut self) -> Option<Flaw> {
        while let Some((key, serial)) = self.order.pop_front() {
            if self.datagrams.get(&key).is_some_and(|d| d.serial == serial)
                && let Some(lost) = self.give_up(&key)
            {
                return Some(lost);
            }
        }
        None
    }

    /// Spoilt datagrams have been named already.
    fn give_up(&mut self, key: &Key) -> Option<Flaw> {
        let datagram = self.datagrams.remove(key)?;
        self.bytes -= datagram.bytes;
        (!datagram.is_spoilt).then(|| datagram.first.flaw(FlawKind::LostFragments))
    }
}

impl Datagram {
    fn add(&mut self, start: usize, end: usize, payload: &[u8], more: bool) -> Result<(), FlawKind> {
        if self.is_spoilt {
            return Ok(());
        }
        let at = self.pieces.partition_point(|(from, _)| *from < start);
        let repeats = self
            .pieces
            .get(at)
            .is_some_and(|(from, piece)| *from == start && piece.as_slice() == payload);
        if repeats && (more || self.len == Some(end)) {
            return Ok(());
        }
        let after_previous = at
            .checked_sub(1)
            .and_then(|i| self.pieces.get(i))
            .is_none_or(|(s, p)| s + p.len() <= start);
        let before_next = self.pieces.get(at).is_none_or(|(from, _)| end <= *from);
        let within = self.len.is_none_or(|len| end <= len && more)
            && (more || self.pieces.last().is_none_or(|(from, piece)| from + piece.len() <= end));
        if !after_previous || !before_next || !within {
            self.spoil();
            return Err(FlawKind::OverlappingFragments);
        }
        if self.pieces.len() == FRAGMENTS_MAX {
            self.spoil();
            return Err(FlawKind::TooManyFragments { max: FRAGMENTS_MAX });
        }
        if !more {
            self.len = Some(end);
        }
        self.bytes += payload.len();
        self.pieces.insert(at, (start, payload.to_vec()));
        Ok(())
    }

    fn spoil(&mut self) {
        self.is_spoilt = true;
        self.pieces = Vec::new();
        self.bytes = 0;
    }

    /// The pieces are disjoint and within the length, so they fill it when they are as long.
    fn is_complete(&self) -> bool {
        !self.is_spoilt && self.len == Some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::forge::{self, Kept, Pcap, addr, millis};
    use super::*;

    const A: &str = "192.0.2.1:5060";
    const B: &str = "192.0.2.2:5080";

    fn payload() -> Vec<u8> {
        let mut text = b"OPTIONS sip:b@example.com SIP/2.0\r\nX-Long: ".to_vec();
        text.extend((0..2_000_u32).map(|n| b'a' + (n % 23) as u8));
        text.extend(b"\r\n\r\n");
        text
    }

    /// The datagram in pieces of `size` bytes: each with its offset, its bytes, and whether more follow.
    fn pieces(size: usize) -> Vec<(usize, Vec<u8>, bool)> {
        let datagram = forge::udp(addr(A), addr(B), &payload());
        let count = datagram.len().div_ceil(size);
        datagram
            .chunks(size)
            .enumerate()
            .map(|(n, chunk)| (n * size, chunk.to_vec(), n + 1 < count))
            .collect()
    }

    fn ip4(id: u16, (at, bytes, more): &(usize, Vec<u8>, bool)) -> Vec<u8> {
        let offset = (*at / 8) as u16 | if *more { 0x2000 } else { 0 };
        forge::ip4(addr(A).ip(), addr(B).ip(), 17, id, offset, bytes)
    }

    fn ip6((at, bytes, more): &(usize, Vec<u8>, bool)) -> Vec<u8> {
        let offset = (*at as u16) | u16::from(*more);
        let mut extension = vec![17, 0];
        extension.extend(offset.to_be_bytes());
        extension.extend(99_u32.to_be_bytes());
        extension.extend(bytes);
        forge::ip6(addr("[::1]:0").ip(), addr("[::2]:0").ip(), 44, &extension)
    }

    fn read(packets: &[Vec<u8>]) -> (Vec<Kept>, Vec<Flaw>) {
        let mut file = Pcap::new(101);
        for (n, packet) in packets.iter().enumerate() {
            file.push(millis(n as u64), packet);
        }
        forge::read(&file.bytes).unwrap()
    }

    #[test]
    fn fragments_in_any_order_and_repeated_make_the_datagram() {
        for size in [8, 24, 512, 1_480] {
            let forward = pieces(size);
            if forward.len() > FRAGMENTS_MAX {
                continue;
            }
            let backward: Vec<_> = forward.iter().rev().cloned().collect();
            let doubled: Vec<_> = forward.iter().flat_map(|p| [p.clone(), p.clone()]).collect();
            for order in [forward, backward, doubled] {
                let v4: Vec<_> = order.iter().map(|p| ip4(1, p)).collect();
                let v6: Vec<_> = order.iter().map(ip6).collect();
                for packets in [v4, v6] {
                    let (kept, _) = read(&packets);
                    assert_eq!(kept.len(), 1, "size {size}");
                    assert_eq!(kept[0].bytes, payload());
                    assert!(kept[0].sip.is_some());
                }
            }
        }
    }

    #[test]
    fn datagrams_with_other_identifications_are_not_mixed() {
        let parts = pieces(1_000);
        let packets: Vec<_> = parts.iter().flat_map(|p| [ip4(1, p), ip4(2, p)]).collect();
        assert_eq!(read(&packets).0.len(), 2);
    }

    #[test]
    fn overlapping_fragments_drop_the_datagram_once_and_for_all() {
        let parts = pieces(1_000);
        let mut overlapping = parts[1].clone();
        overlapping.0 -= 8;
        let packets = [
            ip4(1, &parts[0]),
            ip4(1, &overlapping),
            ip4(1, &parts[1]),
            ip4(1, &parts[2]),
        ];
        let (kept, flaws) = read(&packets);
        assert_eq!(kept, []);
        assert_eq!(flaws.len(), 1);
        assert_eq!((flaws[0].packet, flaws[0].kind), (2, FlawKind::OverlappingFragments));
    }

    #[test]
    fn a_lost_fragment_is_named_by_the_first_that_came() {
        let parts = pieces(1_000);
        let (kept, flaws) = read(&[ip4(1, &parts[0]), ip4(1, &parts[2])]);
        assert_eq!(kept, []);
        assert_eq!((flaws[0].packet, flaws[0].kind), (1, FlawKind::LostFragments));
    }

    #[test]
    fn old_and_surplus_datagrams_are_given_up() {
        let first = pieces(1_000)[0].clone();
        let mut file = Pcap::new(101);
        file.push(millis(0), &ip4(1, &first))
            .push(millis(31_000), &ip4(2, &first));
        let (_, flaws) = forge::read(&file.bytes).unwrap();
        assert_eq!((flaws[0].packet, flaws[1].packet), (1, 2));

        let mut fragments = Fragments::default();
        for id in 0..5_000_u16 {
            let packet = ip4(id, &first);
            let ip = super::super::link::parse_ip(&packet).unwrap();
            let place = Place {
                packet: u64::from(id),
                offset: 0,
                at: millis(0),
            };
            assert_eq!(fragments.push(place, &ip, ip.fragment.unwrap()), Ok(None));
            while fragments.poll_lost(millis(0)).is_some() {}
            assert!(fragments.datagrams.len() <= DATAGRAMS_MAX && fragments.bytes <= BYTES_MAX);
        }
    }

    #[test]
    fn a_datagram_of_crumbs_is_dropped() {
        let (kept, flaws) = read(&pieces(8).iter().map(|p| ip4(1, p)).collect::<Vec<_>>());
        assert_eq!(kept, []);
        assert_eq!(flaws[0].kind, FlawKind::TooManyFragments { max: FRAGMENTS_MAX });
    }

    proptest! {
        #[test]
        fn hostile_fragments_never_panic_nor_pile_up(
            parts in prop::collection::vec((0_u16..4, any::<u16>(), 0_usize..64), 0..200),
        ) {
            let packets: Vec<_> = parts
                .iter()
                .map(|(id, offset, len)| forge::ip4(addr(A).ip(), addr(B).ip(), 17, *id, *offset & 0x3FFF, &vec![7; *len]))
                .collect();
            let (kept, flaws) = read(&packets);
            prop_assert!(kept.len() + flaws.len() <= 2 * packets.len());
        }

        #[test]
        fn shuffled_fragments_make_the_datagram(order in Just((0..26_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let parts = pieces(80);
            prop_assert_eq!(parts.len(), 26);
            let packets: Vec<_> = order.iter().map(|n| ip4(1, &parts[*n])).collect();
            let (kept, flaws) = read(&packets);
            prop_assert_eq!(flaws, vec![]);
            prop_assert_eq!(&kept[0].bytes, &payload());
        }
    }
}
