//! Every thread of a running `serve`, for the supervisor.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::media_pulse::Pulse;
use super::sip_sockets::SipCounters;
use super::status::MediaCounts;
use crate::board::Board;
use crate::engine::{CallState, CallView, Input};
use crate::model::Impairment;

pub(super) struct Threads {
    pub events: mpsc::Sender<Input>,
    pub board: Arc<Board<CallView>>,
    pub counters: Arc<SipCounters>,
    pub recorder: JoinHandle<()>,
    pub signaling: JoinHandle<()>,
    /// Taken once it was told to stop.
    pub stop: Option<oneshot::Sender<()>>,
    pub media: Vec<Media>,
}

pub(super) struct Media {
    pub thread: JoinHandle<io::Result<()>>,
    pub pulse: Arc<Pulse>,
}

impl Threads {
    /// A media thread has ended while calls may need it.
    pub(super) fn media_is_broken(&self) -> bool {
        self.media.iter().any(|media| media.thread.is_finished())
    }

    /// Ends signalling, and with it, as their queues are gone, media threads and recorder once they have done what
    /// they were given.
    pub(super) fn stop_signaling(&mut self) {
        if self.stop.take().is_some_and(|stop| stop.send(()).is_err()) {
            tracing::debug!("signalling has ended before");
        }
    }

    pub(super) fn are_finished(&self) -> bool {
        let media = self.media.iter().all(|media| media.thread.is_finished());
        media && self.recorder.is_finished() && self.signaling.is_finished()
    }

    /// Live calls by the name of their state.
    pub(super) fn calls(&self) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for view in self.board.calls() {
            *calls.entry(name(view.state).to_owned()).or_default() += 1;
        }
        calls
    }

    /// Live calls whose sound ails, by the name of the impairment: each call once for each.
    pub(super) fn ailing(&self) -> BTreeMap<String, u64> {
        let mut ailing = BTreeMap::new();
        for view in self.board.calls() {
            for impairment in Impairment::ALL {
                if view.ailments.iter().any(|ailment| ailment.impairment == impairment) {
                    *ailing.entry(impairment.as_str().to_owned()).or_default() += 1;
                }
            }
        }
        ailing
    }

    pub(super) fn packets(&self) -> MediaCounts {
        let mut sum = MediaCounts::default();
        for media in &self.media {
            let counts = media.pulse.packets();
            sum.sessions += media.pulse.sessions();
            sum.forwarded += counts.forwarded;
            sum.gated += counts.gated;
            sum.foreign += counts.foreign;
            sum.early += counts.early;
            sum.refused += counts.refused;
            sum.unsent += counts.unsent;
        }
        sum
    }
}

const fn name(state: CallState) -> &'static str {
    match state {
        CallState::Preparing => "preparing",
        CallState::Ringing => "ringing",
        CallState::Talking => "talking",
        CallState::Ending => "ending",
        CallState::Over => "over",
    }
}
