//! Peers of trunks as they were before: they open no calls, and may speak of those that are up until the last has ended.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::Peer;
use crate::model::Timestamp;
use crate::sip::Transport;

/// Full: the oldest is forgotten.
const RETIRED_MAX: usize = 4_096;
/// After the last call, for copies of what was said last: Timer J, 64·T1 (RFC 3261 §17.2.2).
const LINGER: Duration = Duration::from_secs(32);

#[derive(Clone, Debug)]
struct Former {
    peer: Peer,
    /// Since when no call is known that it may speak of.
    idle: Option<Timestamp>,
}

/// Who was a peer and is none any more.
#[derive(Clone, Debug, Default)]
pub struct Retired {
    former: VecDeque<Former>,
    due: Option<Timestamp>,
    changed: bool,
}

impl Retired {
    pub(super) fn add(&mut self, peer: Peer) {
        if self.former.iter().any(|former| former.peer == peer) {
            return;
        }
        self.former.push_back(Former { peer, idle: None });
        while self.former.len() > RETIRED_MAX {
            self.former.pop_front();
        }
        self.changed = true;
    }

    pub fn is_empty(&self) -> bool {
        self.former.is_empty()
    }

    pub(super) fn is_source(&self, source: SocketAddr, transport: Transport) -> bool {
        self.former
            .iter()
            .any(|former| former.peer.is_source(source, transport))
    }

    /// When [`Self::sweep`] is worth while again.
    pub const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// `speaking`: the peers of all trunks that calls are on. Who is not among them for [`LINGER`] is forgotten.
    pub(super) fn sweep(&mut self, now: Timestamp, speaking: &BTreeSet<Peer>) {
        let before = self.former.len();
        for former in &mut self.former {
            if speaking.contains(&former.peer) {
                former.idle = None;
            } else {
                former.idle.get_or_insert(now);
            }
        }
        self.former
            .retain(|former| former.idle.is_none_or(|since| since + LINGER > now));
        self.changed |= self.former.len() < before;
        self.due = (!self.former.is_empty()).then_some(now + LINGER);
    }

    /// All of them, if there are others than the last time.
    pub fn poll(&mut self) -> Option<Vec<Peer>> {
        let changed = std::mem::take(&mut self.changed);
        changed.then(|| self.former.iter().map(|former| former.peer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer {
            ip: "192.0.2.1".parse().expect("an address"),
            port: Some(port),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn who_retires_is_known_until_a_while_after_its_last_call() {
        let mut retired = Retired::default();
        retired.add(peer(5060));
        assert_eq!(retired.poll(), Some(vec![peer(5060)]));
        let (talks, none) = (BTreeSet::from([peer(5060)]), BTreeSet::new());
        for (seconds, speaking) in [(0, &talks), (32, &none), (40, &talks), (64, &none), (95, &none)] {
            retired.sweep(at(seconds), speaking);
            assert_eq!((retired.is_empty(), retired.poll()), (false, None), "at {seconds} s");
        }
        retired.sweep(at(96), &none);
        assert_eq!((retired.due(), retired.poll()), (None, Some(vec![])));
        assert!(!retired.is_source("192.0.2.1:5060".parse().expect("an address"), Transport::Udp));
    }

    #[test]
    fn of_too_many_the_oldest_is_forgotten() {
        let mut retired = Retired::default();
        for port in 1..=4_097 {
            retired.add(peer(port));
            retired.add(peer(port));
        }
        assert_eq!(retired.former.len(), RETIRED_MAX);
        assert!(!retired.is_source("192.0.2.1:1".parse().expect("an address"), Transport::Udp));
    }
}
