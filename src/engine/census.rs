//! How much there is of what signalling holds, and whether more fits.

use super::signaling::Signaling;
use crate::model::Timestamp;

impl Signaling {
    /// Whether a call that is no emergency would be refused for want of something.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.calls.len() >= self.calls_max || self.wire.is_full() || self.ports.is_exhausted(now)
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
            owned + self.conversations.leftovers() + self.subscriptions.leftovers() + self.preparing,
            self.tags.len()
                + self.minted.len()
                + self.aftermaths.len()
                + self.transfers.len()
                + self.consultations.len(),
        ]
    }
}
