//! Two links that lose, delay, reorder and double datagrams by seed.

use std::time::Duration;

use super::rng::Rng;
use super::script::Quality;

pub struct Network {
    rng: Rng,
    links: [Quality; 2],
}

impl Network {
    pub fn new(rng: Rng, links: [Quality; 2]) -> Self {
        Self { rng, links }
    }

    /// After which delays copies of a datagram on the link of a leg arrive: none, one, or two.
    pub fn delays(&mut self, link: usize) -> impl Iterator<Item = Duration> + use<> {
        let first = self.delay(link);
        let doubled = self.rng.happens(self.links[link].doubled);
        let second = if doubled { self.delay(link) } else { None };
        first.into_iter().chain(second)
    }

    fn delay(&mut self, link: usize) -> Option<Duration> {
        let quality = self.links[link];
        if self.rng.happens(quality.lost) {
            return None;
        }
        let late = if self.rng.happens(quality.reordered) {
            quality.jitter_ms
        } else {
            0
        };
        Some(Duration::from_millis(quality.delay_ms) + self.rng.millis(0..=late))
    }
}
