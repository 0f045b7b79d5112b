//! Where the media fork puts packets: one open extent a call, filled by copying, handed on when full or 100 ms old.
//!
//! Owned by a media thread. Blocks are lent from a bounded pool and come back by [`Intake::recycle`] once they are
//! durable. Nothing is allocated, locked or timed per packet: blocks are made in `open` and `flush`.

use std::collections::VecDeque;
use std::time::Duration;

use slab::Slab;

use crate::model::{Fault, SessionId, Timestamp};

use super::extent::{EXTENT_HEADER_BYTES, Extent, FRAME_HEADER_BYTES, PACKET_BYTES_MAX, Refusals};
use super::frame::{FrameSink, Offer, Packet, Slot};

/// Blocks at hand when there is no call.
const FREE_BASE: usize = 16;
/// With fewer, the next packets may find none.
const FREE_LOW: usize = FREE_BASE / 2;
/// Extents on the way to the disk that are as many as two batches hold.
const LENT_HIGH: usize = 2_048;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IntakeConfig {
    /// Which intake this is, so that the driver can bring extents back: [`Extent::intake`].
    pub number: u16,
    /// Bytes of a block, its header counted: 4 KiB hold 100 ms of two-way G.711 twice over.
    pub block_bytes: usize,
    /// Blocks that may be lent at once; when all are, packets are refused with [`Fault::PoolEmpty`].
    pub blocks_max: usize,
    /// Blocks of 64 KiB for packets longer than a block; kept apart, so that they cannot starve the rest.
    pub oversize_max: usize,
    /// How old an open extent may get before `flush` hands it on.
    pub extent_age: Duration,
    /// How far the durable watermark may trail: once a handed-on extent is older, packets are refused with
    /// [`Fault::Stalled`] until it comes back. It sees what the recorder's thread cannot say when it hangs.
    pub lag_max: Duration,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            number: 0,
            block_bytes: 4096,
            blocks_max: 32_768,
            oversize_max: 4,
            extent_age: Duration::from_millis(100),
            lag_max: Duration::from_secs(1),
        }
    }
}

/// One call's place: its open extent, in a list ordered by age.
#[derive(Debug)]
struct Line {
    session: SessionId,
    open: Option<Box<Extent>>,
    older: Option<u32>,
    younger: Option<u32>,
    refused: Option<Refusals>,
}

/// An extent that was handed on and is not back.
#[derive(Clone, Copy, Debug)]
struct Lent {
    opened: Timestamp,
    back: bool,
}

/// The recorder's side of the media fork.
#[derive(Debug)]
#[allow(clippy::vec_box, reason = "boxes travel through queues: a word each")]
pub struct Intake {
    config: IntakeConfig,
    lines: Slab<Line>,
    /// Ends of the list of lines that have an open extent.
    oldest: Option<u32>,
    youngest: Option<u32>,
    free: Vec<Box<Extent>>,
    oversize: Vec<Box<Extent>>,
    /// Of ordinary blocks.
    made: usize,
    oversize_made: usize,
    full: VecDeque<Box<Extent>>,
    lent: VecDeque<Lent>,
    /// The ticket of `lent`'s first.
    first_ticket: u64,
    /// The oldest ticket that counts as a sign of a recorder that hangs.
    watched_ticket: u64,
}

impl Intake {
    pub fn new(config: IntakeConfig) -> Self {
        let mut intake = Self {
            lines: Slab::new(),
            oldest: None,
            youngest: None,
            free: Vec::new(),
            oversize: Vec::new(),
            made: 0,
            oversize_made: 0,
            full: VecDeque::new(),
            lent: VecDeque::new(),
            first_ticket: 0,
            watched_ticket: 0,
            config,
        };
        intake.stock_up();
        intake
    }

    /// A place for a call. The caller gives it back by `close`.
    pub fn open(&mut self, session: SessionId) -> Slot {
        let key = self.lines.insert(Line {
            session,
            open: None,
            older: None,
            younger: None,
            refused: None,
        });
        self.stock_up();
        Slot(u32::try_from(key).expect("invariant: fewer calls than 2^32"))
    }

    /// Hands the call's last extent on and forgets the call. An unknown slot is ignored.
    pub fn close(&mut self, now: Timestamp, slot: Slot) {
        if !self.lines.contains(slot.0 as usize) {
            return;
        }
        // A refusal with nothing after it still has to be told: an extent without frames carries it.
        let untold = self.lines[slot.0 as usize].refused.is_some();
        if untold && self.lines[slot.0 as usize].open.is_none() {
            let _ = self.open_extent(now, slot.0);
        }
        self.hand_on(slot.0);
        self.lines.remove(slot.0 as usize);
    }

    /// Hands on every extent of `extent_age`, and makes blocks if few are left. Call it by `poll_timeout`.
    pub fn flush(&mut self, now: Timestamp) {
        while let Some(key) = self.oldest {
            if self
                .opened(key)
                .is_none_or(|opened| now < opened + self.config.extent_age)
            {
                break;
            }
            self.hand_on(key);
        }
        self.stock_up();
    }

    /// Makes blocks if few are left. Allocates: for an owner that can afford it between two packets, and whose time may
    /// not reach the next `flush` before the blocks run out.
    pub fn restock(&mut self) {
        if self.free.len() < FREE_LOW {
            self.stock_up();
        }
    }

    /// So much is on its way to the disk that it should come back before more is lent.
    pub fn is_short(&self) -> bool {
        self.lent.len() >= LENT_HIGH || self.free.len() < FREE_LOW || self.oversize.is_empty()
    }

    /// When `flush` has something to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let opened = self.opened(self.oldest?)?;
        Some(opened + self.config.extent_age)
    }

    /// The next extent for [`Writer::handle_extent`](super::Writer::handle_extent), in the order of filling.
    pub fn poll_full(&mut self) -> Option<Box<Extent>> {
        self.full.pop_front()
    }

    /// Takes back an extent that is durable ([`Output::Recycle`](super::Output::Recycle)).
    pub fn recycle(&mut self, extent: Box<Extent>) {
        let place = extent.ticket.checked_sub(self.first_ticket);
        if let Some(lent) = place.and_then(|place| self.lent.get_mut(usize::try_from(place).ok()?)) {
            lent.back = true;
        }
        while self.lent.front().is_some_and(|lent| lent.back) {
            self.lent.pop_front();
            self.first_ticket += 1;
        }
        while self.watched().is_some_and(|lent| lent.back) {
            self.watched_ticket += 1;
        }
        if self.is_oversize(&extent) {
            self.oversize.push(extent);
        } else {
            self.free.push(extent);
        }
    }

    /// The recorder is up again: what it was given before, and holds until it is sealed, is no sign that it hangs.
    pub fn forgive(&mut self) {
        self.watched_ticket = self.first_ticket + self.lent.len() as u64;
    }

    /// The oldest extent that must be back in time.
    fn watched(&self) -> Option<&Lent> {
        let place = self.watched_ticket.saturating_sub(self.first_ticket);
        self.lent.get(usize::try_from(place).ok()?)
    }

    /// Blocks that exist, are free, and are lent or open: for metrics and leak tests.
    pub fn blocks(&self) -> (usize, usize) {
        (self.made + self.oversize_made, self.free.len() + self.oversize.len())
    }

    /// Calls that have a slot.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn opened(&self, key: u32) -> Option<Timestamp> {
        self.lines.get(key as usize)?.open.as_ref().map(|extent| extent.opened)
    }

    fn is_oversize(&self, extent: &Extent) -> bool {
        extent.bytes.capacity() > self.config.block_bytes.max(PACKET_BYTES_MAX)
    }

    /// One block a call and half of it again are kept free, as far as `blocks_max` allows.
    fn stock_up(&mut self) {
        let wanted = FREE_BASE + self.lines.len() + self.lines.len() / 2;
        while self.free.len() < wanted && self.made < self.config.blocks_max {
            let capacity = self.config.block_bytes.saturating_sub(EXTENT_HEADER_BYTES);
            self.free.push(Box::new(Extent::with_capacity(capacity)));
            self.made += 1;
        }
        while self.oversize_made < self.config.oversize_max {
            let capacity = PACKET_BYTES_MAX + FRAME_HEADER_BYTES;
            self.oversize.push(Box::new(Extent::with_capacity(capacity)));
            self.oversize_made += 1;
        }
        let lent_max = self.made + self.oversize_made;
        self.full.reserve(lent_max.saturating_sub(self.full.len()));
        self.lent.reserve(lent_max.saturating_sub(self.lent.len()));
        self.free.reserve(self.made.saturating_sub(self.free.len()));
    }

    /// Gives the line an empty extent at the young end of the list.
    fn open_extent(&mut self, now: Timestamp, key: u32) -> Result<(), Fault> {
        let mut extent = self.free.pop().ok_or(Fault::PoolEmpty)?;
        let Some(line) = self.lines.get_mut(key as usize) else {
            self.free.push(extent);
            return Err(Fault::PoolEmpty);
        };
        extent.reset(self.config.number, line.session, now);
        extent.refused = line.refused.take();
        line.open = Some(extent);
        line.older = self.youngest;
        line.younger = None;
        match self.youngest {
            Some(youngest) => self.lines[youngest as usize].younger = Some(key),
            None => self.oldest = Some(key),
        }
        self.youngest = Some(key);
        Ok(())
    }

    /// Takes the line's open extent out of the list and puts it among the full.
    fn hand_on(&mut self, key: u32) {
        let Some(line) = self.lines.get_mut(key as usize) else {
            return;
        };
        let Some(extent) = line.open.take() else {
            return;
        };
        let (older, younger) = (line.older.take(), line.younger.take());
        match older {
            Some(older) => self.lines[older as usize].younger = younger,
            None => self.oldest = younger,
        }
        match younger {
            Some(younger) => self.lines[younger as usize].older = older,
            None => self.youngest = older,
        }
        self.lend(extent);
    }

    fn lend(&mut self, mut extent: Box<Extent>) {
        extent.ticket = self.first_ticket + self.lent.len() as u64;
        self.lent.push_back(Lent {
            opened: extent.opened,
            back: false,
        });
        self.full.push_back(extent);
    }

    fn take(&mut self, now: Timestamp, key: u32, packet: &Packet<'_>) -> Result<(), Fault> {
        if let Some(lent) = self.watched()
            && now > lent.opened + self.config.lag_max
        {
            return Err(Fault::Stalled);
        }
        let needed = FRAME_HEADER_BYTES + packet.bytes.len();
        let line = self.lines.get_mut(key as usize).ok_or(Fault::Miscounted)?;
        if let Some(open) = &mut line.open {
            if open.room() >= needed {
                open.push_packet(packet);
                return Ok(());
            }
            self.hand_on(key);
        }
        if EXTENT_HEADER_BYTES + needed > self.config.block_bytes {
            return self.take_oversize(now, key, packet);
        }
        self.open_extent(now, key)?;
        let line = self.lines.get_mut(key as usize).ok_or(Fault::Miscounted)?;
        let open = line.open.as_mut().ok_or(Fault::PoolEmpty)?;
        open.push_packet(packet);
        Ok(())
    }

    fn take_oversize(&mut self, now: Timestamp, key: u32, packet: &Packet<'_>) -> Result<(), Fault> {
        if packet.bytes.len() > PACKET_BYTES_MAX {
            return Err(Fault::PoolEmpty);
        }
        let line = self.lines.get_mut(key as usize).ok_or(Fault::Miscounted)?;
        let mut extent = self.oversize.pop().ok_or(Fault::PoolEmpty)?;
        extent.reset(self.config.number, line.session, now);
        extent.refused = line.refused.take();
        extent.push_packet(packet);
        self.lend(extent);
        Ok(())
    }
}

impl FrameSink for Intake {
    fn open(&mut self, session: SessionId) -> Option<Slot> {
        Some(self.open(session))
    }

    fn close(&mut self, now: Timestamp, slot: Slot) {
        self.close(now, slot);
    }

    fn offer(&mut self, now: Timestamp, slot: Slot, packet: Packet<'_>) -> Offer {
        match self.take(now, slot.0, &packet) {
            Ok(()) => Offer::Accepted,
            Err(fault) => {
                if let Some(line) = self.lines.get_mut(slot.0 as usize) {
                    let since = packet.at;
                    let refused = line.refused.get_or_insert(Refusals {
                        fault,
                        since,
                        packets: 0,
                    });
                    refused.packets += 1;
                }
                Offer::Refused(fault)
            }
        }
    }
}

#[cfg(test)]
mod tests;
