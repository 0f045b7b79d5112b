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
