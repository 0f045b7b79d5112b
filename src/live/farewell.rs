//! The end of `serve`: calls are ended, or left to the next start, and what is recorded is sealed.

use std::time::Duration;

use super::supervisor::{Ending, Supervisor};
use crate::engine::{CallState, CallView, Input, RegistrationState, RegistrationView};
use crate::model::Timestamp;

/// How long calls have to end and registrations to be taken back, peers that do not answer included.
const CALLS_END_MAX: Duration = Duration::from_secs(8);

/// The same of calls that a hand-over ends, while the others talk on: what is sent to their peers and its first copy, T1 later (RFC
/// 3261 §17.1.1.1).
const PEERS_ANSWER_MAX: Duration = Duration::from_millis(600);

/// What calls that were held until then have at least to be sealed.
const SEALED_WITHIN: Duration = Duration::from_secs(1);

/// A graceful end takes no longer. What is not sealed by then is sealed by recovery at the next start.
const FAREWELL_MAX: Duration = Duration::from_secs(10);

impl Supervisor {
    /// No new calls, BYE to those that run (unless they are handed over), seal what is recorded, stop the threads. False
    /// if not all was sealed.
    pub(super) async fn farewell(&mut self, ending: Ending) -> bool {
        let begun = self.clock.now();
        self.about.draining = true;
        if ending == Ending::HandedOver {
            self.hand_over(begun).await;
        } else {
            let calls = self.threads.board.len();
            tracing::info!(calls, "ending: no new calls, the running ones are ended");
            self.tell(Input::Drain).await;
            self.tell(Input::ShutDown).await;
        }
        let latest = (begun + CALLS_END_MAX).max(self.clock.now() + SEALED_WITHIN);
        self.see_calls_off(ending, latest).await;
        if self.has_calls_up() {
            // An emergency that began since then, and is not over: both its ends are told.
            self.tell(Input::ShutDown).await;
            let latest = self.clock.now() + PEERS_ANSWER_MAX;
            self.see_calls_off(ending, latest).await;
        }
        let sealed = self.note_unended();
        self.threads.stop_signaling();
        while !self.threads.are_finished() {
            if !self.pause_before(begun + FAREWELL_MAX).await {
                tracing::error!("threads did not end in time: what is not sealed is sealed at the next start");
                return false;
            }
        }
        tracing::info!("ended");
        sealed
    }

    async fn see_calls_off(&mut self, ending: Ending, latest: Timestamp) {
        while self.is_parting(ending) && !self.threads.signaling.is_finished() {
            if !self.pause_before(latest).await {
                return;
            }
        }
    }

    /// Who talks goes on until the peers of the calls that are ended have had their time: a hole in a talk lasts no longer for
    /// them. Whoever waits for help has longer: until it is answered, its call cannot be left to the next start.
    async fn hand_over(&mut self, begun: Timestamp) {
        self.tell(Input::HandOver).await;
        // The board is looked at once signalling has had a moment to tell what it ends.
        loop {
            let latest = begun
                + if self.awaits_help() {
                    CALLS_END_MAX
                } else {
                    PEERS_ANSWER_MAX
                };
            let is_time_left = self.pause_before(latest).await;
            if !is_time_left || !self.has_calls_to_end() || self.threads.signaling.is_finished() {
                break;
            }
        }
        let calls = self.threads.board.calls();
        let (left, unanswered): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.survives);
        let (calls, unanswered) = (left.len(), unanswered.len());
        tracing::info!(
            calls,
            unanswered,
            "ending: the running calls are left to the next start"
        );
        self.tell(Input::ShutDown).await;
        self.tell(Input::Abandon).await;
    }

    /// Calls that the next start does not go on with are up, or something in one that talks is in the balance.
    fn has_calls_to_end(&self) -> bool {
        let calls = self.threads.board.calls();
        calls.iter().any(|call| !call.survives || call.unsettled)
    }

    /// An emergency is up that the next start could not go on with.
    fn awaits_help(&self) -> bool {
        let waits = |call: &CallView| call.emergency && !call.survives && call.state != CallState::Ending;
        self.threads.board.calls().iter().any(waits)
    }

    fn has_calls_up(&self) -> bool {
        self.threads
            .board
            .calls()
            .iter()
            .any(|call| call.state != CallState::Ending)
    }

    /// Calls are ended still, or registrations taken back, unless the next start goes on with them.
    fn is_parting(&self, ending: Ending) -> bool {
        let board = &self.threads.board;
        let is_held = |view: &RegistrationView| view.state != RegistrationState::Ended;
        !board.is_empty() || ending != Ending::HandedOver && board.registrations().iter().any(is_held)
    }

    /// Tells of calls that are still up. True if all that they lack is a peer's answer to its BYE.
    fn note_unended(&self) -> bool {
        let calls = self.threads.board.calls();
        if calls.is_empty() {
            return true;
        }
        let sealed = self.recorder.goes_on() && calls.iter().all(|call| call.state == CallState::Ending);
        if sealed {
            tracing::warn!(calls = calls.len(), "peers have not answered in time");
        } else {
            tracing::error!(calls = calls.len(), "not ended in time: sealed at the next start");
        }
        sealed
    }
}
