//! Peers of trunks as they were before: they open no calls, and may speak of those that are up until the last has ended.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::Source;
use crate::model::{Timestamp, TrunkName};
use crate::sip::Transport;

/// Full: the oldest is forgotten.
const RETIRED_MAX: usize = 4_096;
/// After the last call, for copies of what was said last: Timer J, 64·T1 (RFC 3261 §17.2.2).
const LINGER: Duration = Duration::from_secs(32);

/// A peer of a trunk as that was.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Former {
    pub(super) trunk: TrunkName,
    pub(super) source: Source,
    /// The trunk was reached by TLS.
    pub(super) is_secure: bool,
}

impl Former {
    fn is_source(&self, source: SocketAddr, transport: Transport) -> bool {
        (transport.is_secure() || !self.is_secure) && self.source.is_source(source, transport)
    }
}

#[derive(Clone, Debug)]
struct Known {
    former: Former,
    /// Since when no call is left that it may speak of.
    idle: Option<Timestamp>,
}

/// Who was a peer and is none any more.
#[derive(Clone, Debug, Default)]
pub struct Retired {
    known: VecDeque<Known>,
    due: Option<Timestamp>,
    changed: bool,
}

impl Retired {
    pub(super) fn add(&mut self, former: Former) {
        if self.known.iter().any(|known| known.former == former) {
            return;
        }
        self.known.push_back(Known { former, idle: None });
        while self.known.len() > RETIRED_MAX {
            self.known.pop_front();
        }
        self.changed = true;
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn is_source(&self, source: SocketAddr, transport: Transport) -> bool {
        self.known.iter().any(|known| known.former.is_source(source, transport))
    }

    pub(super) fn speaks_for(&self, trunk: &TrunkName, source: SocketAddr, transport: Transport) -> bool {
        let mut of_trunk = self.known.iter().filter(|known| known.former.trunk == *trunk);
        of_trunk.any(|known| known.former.is_source(source, transport))
    }

    /// When [`Self::sweep`] is worth while again.
    pub const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// `busy`: trunks that calls are on as they were before. Who is of none of them for [`LINGER`] is forgotten.
    pub(super) fn sweep(&mut self, now: Timestamp, busy: &BTreeSet<&TrunkName>) {
        let before = self.known.len();
        for known in &mut self.known {
            if busy.contains(&known.former.trunk) {
                known.idle = None;
            } else {
                known.idle.get_or_insert(now);
            }
        }
        self.known
            .retain(|known| known.idle.is_none_or(|since| since + LINGER > now));
        self.changed |= self.known.len() < before;
        self.due = (!self.known.is_empty()).then_some(now + LINGER);
    }

    /// All of them, if there are others than the last time.
    pub fn poll(&mut self) -> Option<Vec<Source>> {
        let changed = std::mem::take(&mut self.changed);
        changed.then(|| self.known.iter().map(|known| known.former.source).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trunk::Peer;

    fn former(port: u16) -> Former {
        Former {
            trunk: "carrier".into(),
            source: Source::Peer(Peer {
                ip: "192.0.2.1".parse().expect("an address"),
                port: Some(port),
            }),
            is_secure: false,
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn who_retires_is_known_until_a_while_after_its_last_call() {
        let mut retired = Retired::default();
        retired.add(former(5060));
        assert_eq!(retired.poll(), Some(vec![former(5060).source]));
        let carrier = TrunkName::from("carrier");
        let (talks, none) = (BTreeSet::from([&carrier]), BTreeSet::new());
        for (seconds, busy) in [(0, &talks), (32, &none), (40, &talks), (64, &none), (95, &none)] {
            retired.sweep(at(seconds), busy);
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
            retired.add(former(port));
            retired.add(former(port));
        }
        assert_eq!(retired.known.len(), RETIRED_MAX);
        assert!(!retired.is_source("192.0.2.1:1".parse().expect("an address"), Transport::Udp));
    }
}
