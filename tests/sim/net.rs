//! A network that loses, delays, reorders and duplicates datagrams by seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use onrecord::model::Timestamp;

use super::rng::Rng;

/// What a link does to datagrams, in thousandths and milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub lost: u64,
    pub doubled: u64,
    /// Taken out of line: delayed by up to `jitter_ms` and so overtaken.
    pub reordered: u64,
    pub delay_ms: u64,
    pub jitter_ms: u64,
}

impl Quality {
    pub const PERFECT: Self = Self {
        lost: 0,
        doubled: 0,
        reordered: 0,
        delay_ms: 1,
        jitter_ms: 0,
    };

    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Self::PERFECT,
            1 => Self {
                lost: 10,
                doubled: 5,
                reordered: 20,
                delay_ms: 10,
                jitter_ms: 30,
            },
            2 => Self {
                lost: 50,
                doubled: 20,
                reordered: 100,
                delay_ms: 40,
                jitter_ms: 120,
            },
            _ => Self {
                lost: 150,
                doubled: 100,
                reordered: 200,
                delay_ms: 5,
                jitter_ms: 700,
            },
        }
    }
}

#[derive(Clone, Debug)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Bytes,
}

pub struct Net {
    rng: Rng,
    quality: Quality,
    /// By time of arrival, then by order of sending.
    under_way: BTreeMap<(Timestamp, u64), Datagram>,
    sent: u64,
}

impl Net {
    pub fn new(rng: Rng, quality: Quality) -> Self {
        Self {
            rng,
            quality,
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    pub fn send(&mut self, now: Timestamp, datagram: Datagram) {
        let copies = if self.rng.happens(self.quality.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.happens(self.quality.lost) {
                continue;
            }
            let late = if self.rng.happens(self.quality.reordered) {
                self.quality.jitter_ms
            } else {
                0
            };
            let delay = Duration::from_millis(self.quality.delay_ms) + self.rng.millis(0..=late);
            self.sent += 1;
            self.under_way.insert((now + delay, self.sent), datagram.clone());
        }
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    /// The next datagram that has arrived by `now`.
    pub fn poll_arrival(&mut self, now: Timestamp) -> Option<Datagram> {
        let key = *self.under_way.keys().next().filter(|(at, _)| *at <= now)?;
        self.under_way.remove(&key)
    }
}
