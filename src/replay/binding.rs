//! Whose media a datagram is: by what the parties declared in SDP, never by a guess.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::model::{Leg, Remote};

/// Addresses that are remembered. Full: the one declared longest ago is forgotten.
const ADDRESSES_MAX: usize = 262_144;

/// A call's place in the list of calls.
pub(crate) type CallIndex = u32;

/// What an SDP says about one transport address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Declared {
    pub call: CallIndex,
    /// Who receives there.
    pub leg: Leg,
    /// Which m-line, from 0.
    pub line: u16,
    /// It is the line's RTCP address.
    pub is_rtcp: bool,
    /// The SDP was seen on the hop that the proxy stands in for; media of other hops is counted, not played.
    pub is_played: bool,
}

/// A datagram's place in a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bound {
    pub call: CallIndex,
    pub sender: Leg,
    pub line: u16,
    pub is_rtcp: bool,
    pub is_played: bool,
    /// It went to where its receiver said; else it came from where its sender said.
    pub is_addressed: bool,
}

/// A transport address that compares in two steps: IPv4 as IPv4-mapped.
type Key = (u128, u16);

fn key(address: SocketAddr) -> Key {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    (ip.to_bits(), address.port())
}

/// Pairs of addresses whose binding is remembered from the packet before.
const MEMO_SLOTS: usize = 4_096;

/// The newest declaration of every address so far.
pub(crate) struct Bindings {
    /// By a hash of both addresses; right as long as nothing was declared since.
    memo: Vec<Memo>,
    by_address: BTreeMap<Key, (Declared, u64)>,
    /// With the serial of the declaration meant, oldest first; replaced ones linger until their turn.
    order: VecDeque<(Key, u64)>,
    serial: u64,
}

#[derive(Clone, Copy)]
struct Memo {
    pair: (Key, Key),
    serial: u64,
    bound: Option<Bound>,
}

impl Default for Bindings {
    fn default() -> Self {
        let never = Memo {
            pair: ((0, 0), (0, 0)),
            serial: u64::MAX,
            bound: None,
        };
        Self {
            memo: vec![never; MEMO_SLOTS],
            by_address: BTreeMap::new(),
            order: VecDeque::new(),
            serial: 0,
        }
    }
}

impl Bindings {
    /// One m-line of an SDP. The newest declaration of an address wins; another hop's copy does not replace ours.
    pub(crate) fn declare(&mut self, remote: Remote, declared: Declared) {
        self.put(
            key(remote.rtcp),
            Declared {
                is_rtcp: true,
                ..declared
            },
        );
        self.put(
            key(remote.rtp),
            Declared {
                is_rtcp: false,
                ..declared
            },
        );
    }

    fn put(&mut self, address: Key, declared: Declared) {
        if let Some((held, _)) = self.by_address.get(&address) {
            let is_same = (held.call, held.leg, held.line) == (declared.call, declared.leg, declared.line);
            if is_same && (held.is_played || !declared.is_played) && held.is_rtcp == declared.is_rtcp {
                return;
            }
        }
        self.serial += 1;
        self.by_address.insert(address, (declared, self.serial));
        self.order.push_back((address, self.serial));
        while self.by_address.len() > ADDRESSES_MAX || self.order.len() > 2 * ADDRESSES_MAX {
            let Some((oldest, serial)) = self.order.pop_front() else {
                return;
            };
            if self
                .by_address
                .get(&oldest)
                .is_some_and(|(_, newest)| *newest == serial)
            {
                self.by_address.remove(&oldest);
            }
        }
    }

    /// By the receiver's address; else, for a receiver behind a NAT, by the sender's (symmetric RTP, RFC 4961).
    pub(crate) fn find(&mut self, src: SocketAddr, dst: SocketAddr) -> Option<Bound> {
        let pair = (key(src), key(dst));
        let slot = slot_of(pair);
        if let Some(memo) = self
            .memo
            .get(slot)
            .filter(|memo| memo.pair == pair && memo.serial == self.serial)
        {
            return memo.bound;
        }
        let bound = self.look_up(pair);
        if let Some(memo) = self.memo.get_mut(slot) {
            *memo = Memo {
                pair,
                serial: self.serial,
                bound,
            };
        }
        bound
    }

    fn look_up(&self, (src, dst): (Key, Key)) -> Option<Bound> {
        let addressed = self.by_address.get(&dst);
        let (declared, sender) = match addressed {
            Some((declared, _)) => (declared, declared.leg.other()),
            None => {
                let (declared, _) = self.by_address.get(&src)?;
                (declared, declared.leg)
            }
        };
        let Declared {
            call,
            line,
            is_rtcp,
            is_played,
            ..
        } = *declared;
        Some(Bound {
            call,
            sender,
            line,
            is_rtcp,
            is_played,
            is_addressed: addressed.is_some(),
        })
    }
}

/// Multiplies and mixes; a stranger who makes all pairs collide gains nothing but the slower way.
fn slot_of((src, dst): (Key, Key)) -> usize {
    let fold = |(ip, port): Key| (ip as u64) ^ ((ip >> 64) as u64) ^ (u64::from(port) << 32);
    let mixed = (fold(src).rotate_left(23) ^ fold(dst)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 52) as usize % MEMO_SLOTS
}

#[cfg(test)]
mod tests {
    use super::super::forge::addr;
    use super::*;

    fn remote(text: &str) -> Remote {
        let rtp = addr(text);
        Remote {
            rtp,
            rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
        }
    }

    fn declared(call: CallIndex, leg: Leg, is_played: bool) -> Declared {
        Declared {
            call,
            leg,
            line: 0,
            is_rtcp: false,
            is_played,
        }
    }

    #[test]
    fn the_receiver_s_address_decides_before_the_sender_s() {
        let mut bindings = Bindings::default();
        bindings.declare(remote("192.0.2.1:4000"), declared(1, Leg::A, true));
        bindings.declare(remote("192.0.2.2:4000"), declared(2, Leg::B, true));
        let mut found = |src, dst| {
            bindings
                .find(addr(src), addr(dst))
                .map(|b| (b.call, b.sender, b.is_rtcp, b.is_addressed))
        };
        assert_eq!(
            found("192.0.2.1:4000", "192.0.2.2:4000"),
            Some((2, Leg::A, false, true))
        );
        assert_eq!(found("192.0.2.2:4001", "192.0.2.1:4001"), Some((1, Leg::B, true, true)));
        assert_eq!(
            found("192.0.2.1:4000", "203.0.113.9:9"),
            Some((1, Leg::A, false, false))
        );
        assert_eq!(found("203.0.113.9:9", "203.0.113.8:9"), None);
    }

    #[test]
    fn the_newest_declaration_wins_but_another_hop_s_copy_does_not() {
        let mut bindings = Bindings::default();
        bindings.declare(remote("192.0.2.1:4000"), declared(1, Leg::A, true));
        bindings.declare(remote("192.0.2.1:4000"), declared(1, Leg::A, false));
        let found = |b: &mut Bindings| {
            b.find(addr("192.0.2.9:1"), addr("192.0.2.1:4000"))
                .map(|b| (b.call, b.is_played))
        };
        assert_eq!(found(&mut bindings), Some((1, true)));
        bindings.declare(remote("192.0.2.1:4000"), declared(2, Leg::A, true));
        assert_eq!(found(&mut bindings), Some((2, true)));
    }

    #[test]
    fn addresses_without_end_are_forgotten_from_the_oldest_on() {
        let mut bindings = Bindings::default();
        for n in 0..(ADDRESSES_MAX as u32 + 100) {
            let ip = std::net::IpAddr::from(n.to_be_bytes());
            bindings.declare(
                Remote {
                    rtp: (ip, 10).into(),
                    rtcp: (ip, 10).into(),
                },
                declared(n, Leg::A, true),
            );
        }
        assert!(bindings.by_address.len() <= ADDRESSES_MAX && bindings.order.len() <= 2 * ADDRESSES_MAX);
        assert_eq!(bindings.find(addr("9.9.9.9:9"), addr("0.0.0.0:10")), None);
    }
}
