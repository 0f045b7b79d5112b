//! What a media thread lets others see of it, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Timestamp;

/// What anybody may read of a media thread, in plain atomics that only it writes.
#[derive(Debug, Default)]
pub struct Pulse {
    alive_at: AtomicU64,
    forwarded: AtomicU64,
    gated: AtomicU64,
    foreign: AtomicU64,
    early: AtomicU64,
    refused: AtomicU64,
    unsent: AtomicU64,
    sessions: AtomicU64,
}

/// Packets since the thread's start, by what became of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PacketCounts {
    /// Given to the network.
    pub forwarded: u64,
    pub gated: u64,
    pub foreign: u64,
    pub early: u64,
    pub refused: u64,
    /// The network did not take them.
    pub unsent: u64,
}

impl Pulse {
    /// When the thread last went round. Older than a few [`TURN_MAX`](super::media_thread::TURN_MAX): it hangs.
    pub fn alive_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.alive_at.load(Ordering::Acquire))
    }

    pub fn packets(&self) -> PacketCounts {
        PacketCounts {
            forwarded: self.forwarded.load(Ordering::Relaxed),
            gated: self.gated.load(Ordering::Relaxed),
            foreign: self.foreign.load(Ordering::Relaxed),
            early: self.early.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            unsent: self.unsent.load(Ordering::Relaxed),
        }
    }

    /// Sessions that the thread holds.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    pub(super) fn beat(&self, now: Timestamp, counts: &PacketCounts, sessions: usize) {
        self.forwarded.store(counts.forwarded, Ordering::Relaxed);
        self.gated.store(counts.gated, Ordering::Relaxed);
        self.foreign.store(counts.foreign, Ordering::Relaxed);
        self.early.store(counts.early, Ordering::Relaxed);
        self.refused.store(counts.refused, Ordering::Relaxed);
        self.unsent.store(counts.unsent, Ordering::Relaxed);
        self.sessions.store(sessions as u64, Ordering::Relaxed);
        self.alive_at.store(now.as_nanos(), Ordering::Release);
    }
}
