//! The UDP ports that media may use: even/odd pairs, lent to a leg's m-line and given back.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::Timestamp;

/// How long a pair rests before it is lent again, so that the old call's stragglers do not reach the new one.
pub const COOL_DOWN: Duration = Duration::from_secs(5);

/// An even RTP port and the odd RTCP port after it (RFC 3550 §11), lent by a [`PortPool`].
///
/// Neither copied nor cloned: who holds it has to give it back.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a pair that is dropped is lost to its pool"]
pub struct PortPair {
    address: IpAddr,
    even: u16,
}

impl PortPair {
    pub const fn rtp(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.even)
    }

    pub const fn rtcp(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.even + 1)
    }
}

/// All pairs of one address. Lends the one that has rested longest; every step is O(1).
#[derive(Debug)]
pub struct PortPool {
    address: IpAddr,
    cool_down: Duration,
    /// (rested at, even port), the earliest first: pairs come back in the order of time.
    free: VecDeque<(Timestamp, u16)>,
    leased: usize,
    /// Pairs that only emergency calls may take.
    reserve: usize,
}

impl PortPool {
    /// Every even port of `ports` whose odd neighbour is in the range too.
    pub fn new(address: IpAddr, ports: RangeInclusive<u16>, cool_down: Duration) -> Self {
        let free = ports
            .clone()
            .filter(|port| port % 2 == 0 && port.checked_add(1).is_some_and(|odd| ports.contains(&odd)))
            .filter(|port| *port != 0)
            .map(|even| (Timestamp::ZERO, even))
            .collect();
        Self {
            address,
            cool_down,
            free,
            leased: 0,
            reserve: 0,
        }
    }

    /// Keeps the last `pairs` for emergency calls.
    pub fn reserving(mut self, pairs: usize) -> Self {
        self.reserve = pairs;
        self
    }

    /// None when all pairs are lent, still resting, or kept for emergencies.
    pub fn lease(&mut self, now: Timestamp) -> Option<PortPair> {
        let (rested, _) = self.free.front()?;
        if *rested > now || self.free.len() <= self.reserve {
            return None;
        }
        self.take()
    }

    /// Takes of the reserve too, and rather a pair that has not rested than none.
    pub fn lease_for_emergency(&mut self) -> Option<PortPair> {
        self.take()
    }

    /// The pair that begins at this port, for a call that had it before a restart. None when it is lent or not ours.
    pub fn lease_again(&mut self, even: u16) -> Option<PortPair> {
        let at = self.free.iter().position(|(_, free)| *free == even)?;
        self.free.remove(at)?;
        self.leased += 1;
        Some(PortPair {
            address: self.address,
            even,
        })
    }

    fn take(&mut self) -> Option<PortPair> {
        let (_, even) = self.free.pop_front()?;
        self.leased += 1;
        Some(PortPair {
            address: self.address,
            even,
        })
    }

    /// The pair rests from `now` on. A pair of another pool is not taken in.
    pub fn give_back(&mut self, now: Timestamp, pair: PortPair) {
        debug_assert_eq!(pair.address, self.address, "a pair goes back to the pool that lent it");
        if pair.address == self.address {
            self.leased = self.leased.saturating_sub(1);
            self.free.push_back((now + self.cool_down, pair.even));
        }
    }

    /// Pairs not lent, resting ones included.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Pairs lent and not given back: zero when no call is up.
    pub const fn leased(&self) -> usize {
        self.leased
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn pool(ports: RangeInclusive<u16>) -> PortPool {
        PortPool::new(HOST, ports, COOL_DOWN)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn pairs_are_even_and_odd_and_inside_the_range() {
        let mut pool = pool(40_001..=40_006);
        let (first, second) = (pool.lease(at(0)).unwrap(), pool.lease(at(0)).unwrap());
        assert_eq!((first.rtp().port(), first.rtcp().port()), (40_002, 40_003));
        assert_eq!((second.rtp().port(), second.rtcp().port()), (40_004, 40_005));
        assert_eq!(pool.lease(at(0)), None, "40006 has no odd neighbour in the range");
    }

    #[test]
    fn the_ends_of_the_port_space_are_no_trap() {
        assert_eq!(pool(65_534..=65_535).free(), 1);
        assert_eq!(pool(65_535..=65_535).free(), 0);
        assert_eq!(pool(0..=1).free(), 0, "port 0 is no port");
        assert_eq!(pool(0..=u16::MAX).free(), 32_767);
    }

    #[test]
    fn a_pair_rests_before_it_is_lent_again() {
        let mut pool = pool(40_000..=40_001);
        let pair = pool.lease(at(0)).unwrap();
        pool.give_back(at(10), pair);
        assert_eq!(pool.lease(at(14)), None);
        assert_eq!(pool.lease(at(15)).unwrap().rtp().port(), 40_000);
    }

    #[test]
    fn the_pair_that_rested_longest_is_lent_first() {
        let mut pool = pool(40_000..=40_005);
        let pair = pool.lease(at(0)).unwrap();
        pool.give_back(at(0), pair);
        let order: Vec<u16> = (0..3).map(|_| pool.lease(at(60)).unwrap().rtp().port()).collect();
        assert_eq!(order, [40_002, 40_004, 40_000]);
    }

    #[test]
    fn what_was_lent_is_counted_until_it_is_back() {
        let mut pool = pool(40_000..=40_099);
        let pairs: Vec<_> = std::iter::from_fn(|| pool.lease(at(0))).collect();
        assert_eq!((pairs.len(), pool.leased(), pool.free()), (50, 50, 0));
        for pair in pairs {
            pool.give_back(at(1), pair);
        }
        assert_eq!((pool.leased(), pool.free()), (0, 50));
    }

    #[test]
    fn emergency_calls_have_their_own_reserve_and_need_no_rest() {
        let mut pool = pool(40_000..=40_003).reserving(1);
        let ordinary = pool.lease(at(0)).unwrap();
        assert_eq!(pool.lease(at(0)), None);
        let _emergency = pool.lease_for_emergency().unwrap();
        pool.give_back(at(0), ordinary);
        assert_eq!(pool.lease_for_emergency().unwrap().rtp().port(), 40_000);
    }
}
