//! How much there is of what signalling holds, and whether more fits.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::signaling::{EMERGENCY_PAIRS, Signaling};
use crate::media::PortPool;
use crate::model::Timestamp;

impl Signaling {
    /// Whether a call that is no emergency would be refused for want of something.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.has_all_calls() || self.wire.is_full() || self.ports.is_exhausted(now)
    }

    /// Whether as many calls are up as may be. One of which at most the recording is left takes nobody's place, until there are
    /// as many of these again: what a recorder that stands still makes wait is bounded.
    pub(super) fn has_all_calls(&self) -> bool {
        self.calls.len() - self.sealing.min(self.calls_max) >= self.calls_max
    }

    /// How many calls with one m-line these media ports serve at a time, emergencies apart.
    pub fn calls_with_ports(ports: RangeInclusive<u16>) -> usize {
        let pairs = PortPool::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ports, Duration::ZERO).free();
        pairs.saturating_sub(EMERGENCY_PAIRS) / 2
    }

    /// Calls that wait for the recorder, or for media, before anybody is called.
    pub const fn preparing(&self) -> usize {
        self.preparing
    }

    /// Calls that are not over.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// What must return to zero when all calls and subscriptions are over: ports lent, transactions, their owners with
    /// conversations, subscriptions and calls being prepared, tags and aftermaths.
    pub fn leftovers(&self) -> [usize; 4] {
        let (transactions, owned) = self.wire.len();
        [
            self.ports.leased(),
            transactions,
            owned + self.conversations.leftovers() + self.subscriptions.leftovers() + self.preparing + self.sealing,
            self.tags.len()
                + self.minted.len()
                + self.aftermaths.len()
                + self.transfers.len()
                + self.consultations.len(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_needs_a_pair_of_ports_on_each_leg_and_none_that_emergencies_have() {
        assert_eq!(Signaling::calls_with_ports(40_000..=41_999), 492);
        assert_eq!(Signaling::calls_with_ports(40_000..=40_033), 0);
        assert_eq!(Signaling::calls_with_ports(40_000..=40_035), 1);
    }
}
