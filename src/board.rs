//! The noticeboard of live calls: signalling publishes, pages and `status` read. Nobody decides from it.
//!
//! Architecture Invariant: the only DashMap of the house. What leaves this file is a value, never a guard.

use dashmap::DashMap;

use crate::engine::RegistrationView;
use crate::model::{SessionId, TrunkName};

/// Views of the calls that are up, by session. `V` is cheap to clone.
#[derive(Debug)]
pub struct Board<V> {
    calls: DashMap<SessionId, V>,
    /// One for each trunk that we register at.
    registrations: DashMap<TrunkName, RegistrationView>,
}

impl<V: Clone> Board<V> {
    /// An empty board.
    pub fn new() -> Self {
        Self {
            calls: DashMap::new(),
            registrations: DashMap::new(),
        }
    }

    /// Puts a call up, or its newer view in place of the older.
    pub fn publish(&self, session: SessionId, view: V) {
        self.calls.insert(session, view);
    }

    /// Takes a call down that has ended.
    pub fn remove(&self, session: SessionId) {
        self.calls.remove(&session);
    }

    /// One call, as it was last published.
    pub fn call(&self, session: SessionId) -> Option<V> {
        self.calls.get(&session).map(|view| view.clone())
    }

    /// All calls, oldest first: session ids sort by the time they were minted.
    pub fn calls(&self) -> Vec<V> {
        let mut calls: Vec<(SessionId, V)> = self
            .calls
            .iter()
            .map(|entry| (*entry.key(), entry.value().clone()))
            .collect();
        calls.sort_unstable_by_key(|(session, _)| *session);
        calls.into_iter().map(|(_, view)| view).collect()
    }

    pub fn publish_registration(&self, view: RegistrationView) {
        self.registrations.insert(view.trunk.clone(), view);
    }

    /// All registrations of ours, by the names of their trunks.
    pub fn registrations(&self) -> Vec<RegistrationView> {
        let mut all: Vec<RegistrationView> = self.registrations.iter().map(|entry| entry.value().clone()).collect();
        all.sort_unstable_by(|one, other| one.trunk.cmp(&other.trunk));
        all
    }

    /// How many calls are up.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

impl<V: Clone> Default for Board<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_on_the_board_from_its_first_view_to_its_end_oldest_first() {
        let board = Board::new();
        let [first, second] = [1, 2].map(SessionId::from_u128);
        board.publish(second, "ringing");
        board.publish(first, "ringing");
        board.publish(first, "talking");

        assert_eq!(board.calls(), ["talking", "ringing"]);
        assert_eq!(board.call(first), Some("talking"));

        board.remove(first);
        assert_eq!((board.call(first), board.len()), (None, 1));
    }
}
