//! What a connection said before its beginning was seen: segments that came before the SYN, or before the one that the first
//! message starts in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Key;
use crate::model::Timestamp;

/// How late the beginning may come, in capture time.
pub(super) const LATE_MAX: Duration = Duration::from_millis(500);
/// Directions of connections. Full: no further one is waited for until the oldest is over its time.
const CONNECTIONS_MAX: usize = 1_024;
/// Of each direction, the first within [`LATE_MAX`].
const SEGMENTS_MAX: usize = 8;
/// Of all directions.
const BYTES_MAX: usize = 4 << 20;

struct Held {
    since: Timestamp,
    segments: Vec<(u32, Vec<u8>)>,
}

/// See [the module](self).
#[derive(Default)]
pub(super) struct Early {
    connections: BTreeMap<Key, Held>,
    bytes: usize,
    /// When all that was over its time was last forgotten.
    swept: Timestamp,
}

impl Early {
    pub(super) fn hold(&mut self, now: Timestamp, key: Key, sequence: u32, payload: &[u8]) {
        if self.connections.get(&key).is_some_and(|held| is_over(held.since, now)) {
            self.forget(key);
        }
        let is_known = self.connections.contains_key(&key);
        if !is_known && self.connections.len() >= CONNECTIONS_MAX || self.bytes + payload.len() > BYTES_MAX {
            self.sweep(now);
            if self.connections.len() >= CONNECTIONS_MAX || self.bytes + payload.len() > BYTES_MAX {
                return;
            }
        }
        let held = self.connections.entry(key).or_insert(Held {
            since: now,
            segments: Vec::new(),
        });
        if held.segments.len() < SEGMENTS_MAX {
            self.bytes += payload.len();
            held.segments.push((sequence, payload.to_vec()));
        }
    }

    /// What came within [`LATE_MAX`] before now.
    pub(super) fn take(&mut self, now: Timestamp, key: Key) -> Vec<(u32, Vec<u8>)> {
        let Some(held) = self.forget(key) else {
            return Vec::new();
        };
        if is_over(held.since, now) {
            return Vec::new();
        }
        held.segments
    }

    fn forget(&mut self, key: Key) -> Option<Held> {
        let held = self.connections.remove(&key)?;
        self.bytes -= held.segments.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        Some(held)
    }

    /// At most once in the time that anything may wait: else every segment would pay for it.
    fn sweep(&mut self, now: Timestamp) {
        if !is_over(self.swept, now) {
            return;
        }
        self.swept = now;
        self.connections.retain(|_, held| !is_over(held.since, now));
        let held = self.connections.values().flat_map(|held| &held.segments);
        self.bytes = held.map(|(_, bytes)| bytes.len()).sum();
    }
}

/// In either direction: captures that were put one after the other step back.
fn is_over(since: Timestamp, now: Timestamp) -> bool {
    now.since(since) > LATE_MAX || since.since(now) > LATE_MAX
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::net::SocketAddr;

    use super::super::super::forge::{addr, millis};
    use super::*;

    #[test]
    fn what_is_held_is_bounded_in_segments_connections_bytes_and_time() {
        let mut early = Early::default();
        let to = addr("192.0.2.2:5060");
        let from = |n: u32| SocketAddr::new(addr("192.0.2.1:1").ip(), (n % 9_000) as u16 + 1);
        for n in 0..40_000_u32 {
            early.hold(millis(u64::from(n / 20)), (from(n), to), n, &[7; 3_000]);
            let held: usize = early
                .connections
                .values()
                .flat_map(|held| &held.segments)
                .map(|(_, bytes)| bytes.len())
                .sum();
            assert_eq!(early.bytes, held);
            assert!(held <= BYTES_MAX && early.connections.len() <= CONNECTIONS_MAX);
        }
        let key = (from(0), to);
        for n in 0..20 {
            early.hold(millis(9_000), key, n, b"x");
        }
        assert_eq!(early.take(millis(9_001), key).len(), SEGMENTS_MAX);
        early.hold(millis(9_001), key, 0, b"x");
        assert_eq!(early.take(millis(9_502), key), vec![]);
    }
}
