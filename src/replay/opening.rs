//! The time that a capture starts at: a wrong one on the first packet would put all others into the future or the past of
//! the replay.

use super::clock::is_sequel;
use super::order::Held;
use crate::model::Timestamp;

/// Packets that are waited for to agree about the time.
const HELD_MAX: usize = 8;

/// Packets from the front of the file that are held back until two that follow each other agree about the time.
#[derive(Default)]
pub(super) struct Opening {
    pub(super) held: Vec<Held>,
}

impl Opening {
    /// None: wait for the next packet.
    pub(super) fn started(&self) -> Option<Timestamp> {
        let (newest, before) = self.held.split_last()?;
        let first = before.first()?.at;
        let agrees = |held: &&Held| is_sequel(held.at, newest.at);
        let confirmed = before.first().filter(agrees).or_else(|| before.last().filter(agrees));
        let waits = before.len() + 1 < HELD_MAX;
        confirmed.map(|held| held.at).or((!waits).then_some(first))
    }

    /// The held packets; what was captured before an impossible first is as old as the start.
    pub(super) fn release(mut self, started: Timestamp) -> Vec<Held> {
        let confirmed = self.held.iter().position(|held| held.at == started).unwrap_or(0);
        for belied in self.held.iter_mut().take(confirmed) {
            belied.at = started;
        }
        self.held
    }
}
