//! The UDP ports that media may use: even/odd pairs, lent to a leg's m-line and given back.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::Timestamp;

/// How long a pair rests before it is lent again, so that the old call's stragglers do not reach the new one.
pub const COOL_DOWN: Duration = Duration::from_secs(5);

/// Where media arrives: at an address of ours, and at what peers are told in its place (before a NAT).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Place {
    bound: IpAddr,
    told: IpAddr,
}

/// An even RTP port and the odd RTCP port after it (RFC 3550 §11), lent by a [`PortPool`].
///
/// Neither copied nor cloned: who holds it has to give it back.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a pair that is dropped is lost to its pool"]
pub struct PortPair {
    place: Place,
    /// The same ports at our address of the other family.
    other: Option<Place>,
    even: u16,
}

impl PortPair {
    pub const fn rtp(&self) -> SocketAddr {
        SocketAddr::new(self.place.bound, self.even)
    }

    pub const fn rtcp(&self) -> SocketAddr {
        SocketAddr::new(self.place.bound, self.even + 1)
    }

    /// Where RTP of a peer at `peer` arrives: an address of its family, if we have one.
    pub fn rtp_facing(&self, peer: IpAddr) -> SocketAddr {
        SocketAddr::new(self.facing(peer).bound, self.even)
    }

    /// What a peer at `peer` is told to send its RTP to.
    pub fn told_to(&self, peer: IpAddr) -> SocketAddr {
        SocketAddr::new(self.facing(peer).told, self.even)
    }

    fn facing(&self, peer: IpAddr) -> Place {
        let is_ipv4 = peer.to_canonical().is_ipv4();
        let fits = |place: &Place| place.bound.is_ipv4() == is_ipv4;
        self.other.filter(fits).unwrap_or(self.place)
    }
}

/// All pairs of one address, or of one of either family. Lends the one that has rested longest; every step is O(1).
#[derive(Debug)]
pub struct PortPool {
    place: Place,
    other: Option<Place>,
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
            place: Place {
                bound: address,
                told: address,
            },
            other: None,
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

    /// Addresses as they are bound and as peers are told them: one for the pool's own address is what that is told as, one
    /// of the other family serves peers of that.
    pub fn at(mut self, places: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> Self {
        for (bound, told) in places {
            if bound == self.place.bound {
                self.place.told = told;
            } else if bound.is_ipv4() != self.place.bound.is_ipv4() {
                self.other = Some(Place { bound, told });
            }
        }
        self
    }

    /// None when all pairs are lent, still resting, or kept for emergencies.
    pub fn lease(&mut self, now: Timestamp) -> Option<PortPair> {
        if self.is_exhausted(now) {
            return None;
        }
        self.take()
    }

    /// Whether there is no pair but for emergencies.
    pub fn is_exhausted(&self, now: Timestamp) -> bool {
        let has_rested = self.free.front().is_some_and(|(rested, _)| *rested <= now);
        !has_rested || self.free.len() <= self.reserve
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
        Some(self.pair(even))
    }

    fn take(&mut self) -> Option<PortPair> {
        let (_, even) = self.free.pop_front()?;
        self.leased += 1;
        Some(self.pair(even))
    }

    const fn pair(&self, even: u16) -> PortPair {
        PortPair {
            place: self.place,
            other: self.other,
            even,
        }
    }

    /// The pair rests from `now` on. A pair of another pool is not taken in.
    pub fn give_back(&mut self, now: Timestamp, pair: PortPair) {
        debug_assert_eq!(pair.place, self.place, "a pair goes back to the pool that lent it");
        if pair.place == self.place {
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
    fn each_peer_is_faced_by_an_address_of_its_family_and_told_the_public_one() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let places = [("10.0.0.4", "203.0.113.7"), ("2001:db8::1", "2001:db8::1")].map(|(a, b)| (ip(a), ip(b)));
        let mut pool = PortPool::new(ip("10.0.0.4"), 40_000..=40_001, COOL_DOWN).at(places);
        let pair = pool.lease(at(0)).unwrap();
        let of = |peer: &str| {
            (
                pair.rtp_facing(ip(peer)).to_string(),
                pair.told_to(ip(peer)).to_string(),
            )
        };
        let v4 = ("10.0.0.4:40000".to_owned(), "203.0.113.7:40000".to_owned());
        assert_eq!(of("192.0.2.1"), v4);
        assert_eq!(of("::ffff:192.0.2.1"), v4);
        let v6 = "[2001:db8::1]:40000".to_owned();
        assert_eq!(of("2001:db8::9"), (v6.clone(), v6));
        pool.give_back(at(0), pair);

        let mut alone = PortPool::new(ip("10.0.0.4"), 40_000..=40_001, COOL_DOWN);
        let pair = alone.lease(at(0)).unwrap();
        assert_eq!(pair.rtp_facing(ip("2001:db8::9")), pair.rtp(), "there is no other");
        alone.give_back(at(0), pair);
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
