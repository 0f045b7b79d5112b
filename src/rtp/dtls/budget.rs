//! How many datagrams of whom are looked at in a second: nobody spends what is another's.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::DATAGRAMS_A_SECOND_MAX;
use crate::model::Timestamp;

/// Hosts that have said nothing yet that proves them share these by chance.
const SHARES: usize = 64;

/// Of one peer.
#[derive(Default)]
pub(super) struct Budget {
    second: u64,
    spent: u32,
}

impl Budget {
    pub(super) fn has_time(&mut self, now: Timestamp) -> bool {
        let is_left = self.is_left(now);
        self.spend();
        is_left
    }

    pub(super) fn is_left(&mut self, now: Timestamp) -> bool {
        if self.second != now.as_secs() {
            *self = Self {
                second: now.as_secs(),
                spent: 0,
            };
        }
        self.spent < DATAGRAMS_A_SECOND_MAX
    }

    pub(super) const fn spend(&mut self) {
        self.spent = self.spent.saturating_add(1);
    }
}

/// Of all hosts that nothing is known of.
pub(super) struct Budgets {
    second: u64,
    spent: [u8; SHARES],
    /// Which share is whose is a secret: nobody can choose to have another host's.
    shares: RandomState,
}

impl Budgets {
    pub(super) fn new() -> Self {
        Self {
            second: 0,
            spent: [0; SHARES],
            shares: RandomState::new(),
        }
    }

    pub(super) fn share_of(&self, host: IpAddr) -> usize {
        usize::try_from(self.shares.hash_one(host.to_canonical()) % SHARES as u64).unwrap_or_default()
    }

    pub(super) fn has_time(&mut self, now: Timestamp, host: IpAddr) -> bool {
        let share = self.share_of(host);
        if self.second != now.as_secs() {
            self.second = now.as_secs();
            self.spent = [0; SHARES];
        }
        let Some(spent) = self.spent.get_mut(share) else {
            return false;
        };
        *spent = spent.saturating_add(1);
        u32::from(*spent) <= DATAGRAMS_A_SECOND_MAX
    }
}
