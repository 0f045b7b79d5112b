//! The `sip` thread: owns `engine::Signaling` and the SIP sockets, on a tokio runtime of its own.
//!
//! It never waits for another thread: what it sends goes into bounded queues by `try_send`, and each has its policy
//! for being full below. So whoever waits for signalling is served.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::clock::Clock;
use super::media_threads::MediaQueues;
use super::recorder::RecorderQueue;
use super::sip_sockets::{Arrival, SipSockets};
use crate::board::Board;
use crate::engine::{CallView, Input, Output, Signaling};
use crate::model::{Fault, MediaCommand, RecordingCommand, RecordingEvent, SessionId};

/// Events of the recorder, the media threads and the supervisor that wait. Full: the sender waits, which is safe
/// because signalling waits for nobody.
pub(super) const EVENTS_MAX: usize = 16_384;

/// Commands kept back because a queue was full, that must not be lost: each ends something. Full: the newest is
/// dropped and logged; the recording it would have closed is sealed by recovery at the next start.
const BACKLOG_MAX: usize = 8_192;

/// Arrivals handled before events and timers are looked at again.
const BATCH: usize = 64;

pub(super) struct SignalingTask {
    pub clock: Clock,
    pub signaling: Signaling,
    pub sockets: SipSockets,
    pub arrivals: mpsc::Receiver<Arrival>,
    pub events: mpsc::Receiver<Input>,
    pub recorder: RecorderQueue,
    pub media: MediaQueues,
    pub board: Arc<Board<CallView>>,
    pub backlog: Backlog,
}

/// What could not be handed on at once.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// News for signalling that came of handing on its own outputs.
    echoes: VecDeque<Input>,
    recording: VecDeque<RecordingCommand>,
    media: VecDeque<MediaCommand>,
}
