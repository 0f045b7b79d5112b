//! The `sip` thread: owns `engine::Signaling` and the SIP sockets, on a tokio runtime of its own.
//!
//! It never waits for another thread: what it sends goes into bounded queues by `try_send`, and each has its policy
//! for being full below. So whoever waits for signalling is served.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

use super::clock::Clock;
use super::dialog_store::{DialogStore, Survivor};
use super::media_links::MediaLinks;
use super::recorder::RecorderQueue;
use super::sip_sockets::{Arrival, SipSockets};
use super::sip_waits::Pace;
use crate::board::Board;
use crate::engine::{CallState, CallView, Input, Output, Signaling, TrunkView};
use crate::model::{
    Fault, MediaCommand, MediaEvent, Outcome, PolicyId, RecordingCommand, RecordingEvent, Timestamp, earliest,
};

/// Events of the recorder, the media threads and the supervisor that wait. Full: the sender waits, which is safe
/// because signalling waits for nobody.
pub(super) const EVENTS_MAX: usize = 16_384;

/// Commands kept back because a queue was full, that must not be lost: each ends something. Full: the newest is
/// dropped and logged; the recording it would have closed is sealed by recovery at the next start.
const BACKLOG_MAX: usize = 8_192;

/// How often the trunks are told of anew; the recorder's heartbeats bring the occasion.
const VIEWS_EVERY: Duration = Duration::from_secs(1);

/// How soon a full queue is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// Inputs handled before the other queue and the timers are looked at again.
const BATCH: usize = 64;

pub(super) struct SignalingTask {
    pub clock: Clock,
    pub signaling: Signaling,
    pub sockets: SipSockets,
    pub arrivals: mpsc::Receiver<Arrival>,
    /// Overtake arrivals: a recorder's fault does not queue behind a flood of INVITEs.
    pub events: mpsc::Receiver<Input>,
    pub recorder: RecorderQueue,
    pub media: MediaLinks,
    pub board: Arc<Board<CallView>>,
    pub dialogs: DialogStore,
    /// Calls that talked when the process before ended.
    pub survivors: Vec<Survivor>,
    /// Its sender tells the task to end, by word or by being dropped.
    pub stop: oneshot::Receiver<()>,
    pub backlog: Backlog,
    /// How the trunks fare, for `status`.
    pub views: watch::Sender<Vec<TrunkView>>,
    pub views_due: Timestamp,
    pub pace: Pace,
}

/// What could not be handed on at once.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// News for signalling that came of handing on its own outputs; emptied in the same turn.
    echoes: VecDeque<Input>,
    recording: VecDeque<RecordingCommand>,
    media: VecDeque<MediaCommand>,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.recording.is_empty() && self.media.is_empty()
    }
}

impl SignalingTask {
    pub(super) async fn run(mut self) {
        // The newest first: a call that was written twice goes on as it was last.
        for Survivor { session, state } in std::mem::take(&mut self.survivors).into_iter().rev() {
            let now = self.clock.now();
            self.signaling.handle_input(now, Input::Resume { session, state });
            self.hand_on(now);
        }
        loop {
            let retry = (!self.backlog.is_empty()).then(|| self.clock.now() + RETRY_AFTER);
            let due = earliest(self.signaling.poll_timeout(), retry);
            let clock = self.clock;
            let timer = async move {
                match due {
                    Some(due) => sleep_until(clock.instant(due).into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = &mut self.stop => return,
                Some(event) = self.events.recv() => self.on_events(event),
                () = self.media.news() => self.on_media(),
                () = timer => {}
                Some(arrival) = self.arrivals.recv() => self.on_arrivals(arrival),
            }
            let now = self.clock.now();
            if self.signaling.poll_timeout().is_some_and(|due| due <= now) {
                self.signaling.handle_timeout(now);
            }
            self.hand_on(now);
            if self.views_due <= now {
                self.views_due = now + VIEWS_EVERY;
                self.views.send_replace(self.signaling.trunks(now));
            }
        }
    }

    fn on_events(&mut self, first: Input) {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(event) = next else { return };
            let now = self.clock.now();
            // Before a hand-over, above all.
            while let Some(session) = self.dialogs.poll_lapse() {
                self.signaling.handle_input(now, Input::NotKept { session });
            }
            self.signaling.handle_input(now, event);
            self.hand_on(now);
            next = self.events.try_recv().ok();
        }
        if let Some(event) = next {
            self.signaling.handle_input(self.clock.now(), event);
        }
    }

    fn on_media(&mut self) {
        while let Some(event) = self.media.poll_event() {
            let now = self.clock.now();
            self.signaling.handle_input(now, Input::Media(event));
            self.hand_on(now);
        }
    }

    fn on_arrivals(&mut self, first: Arrival) {
        let begun = self.clock.now();
        // In the kernel, and in our own queue since.
        let waited = self.sockets.waited().unwrap_or_default() + self.pace.of(self.arrivals.len());
        self.signaling.handle_input(begun, Input::Waited(waited));
        let handled = self.handle_arrivals(first);
        self.pace.note(self.clock.now().since(begun), handled);
    }

    /// How many.
    fn handle_arrivals(&mut self, first: Arrival) -> usize {
        let mut next = Some(first);
        for handled in 0..BATCH {
            let Some(arrival) = next else { return handled };
            let now = self.clock.now();
            let input = match arrival {
                Arrival::Sip { flow, bytes } => Input::Sip { flow, bytes },
                Arrival::Unreachable { flow } => Input::Unreachable { flow },
                Arrival::Bounced { flow, fragment } => Input::Bounced { flow, fragment },
            };
            self.signaling.handle_input(now, input);
            self.hand_on(now);
            // One that was taken out is handled.
            let is_last = handled + 1 == BATCH || !self.events.is_empty();
            next = if is_last { None } else { self.arrivals.try_recv().ok() };
        }
        BATCH
    }

    /// Empties signalling's outputs, and the inputs that came of them.
    fn hand_on(&mut self, now: Timestamp) {
        self.retry();
        loop {
            while let Some(output) = self.signaling.poll_output() {
                match output {
                    Output::Send { flow, bytes } => {
                        if !self.sockets.send(flow, bytes) {
                            self.backlog.echoes.push_back(Input::Unreachable { flow });
                        }
                    }
                    Output::Recording(command) => {
                        if let Err(command) = self.recorder.offer(command) {
                            self.on_recorder_full(command);
                        }
                    }
                    Output::Media(command) => {
                        if let Err(command) = self.media.offer(command) {
                            self.on_media_full(command);
                        }
                    }
                    Output::Remember { session, state } => self.dialogs.remember(session, state),
                    Output::Forget { session } => self.dialogs.forget(session),
                    Output::Publish(view) => publish(&self.board, *view),
                    // The ladder is for captures and tests.
                    Output::Step(_) => {}
                }
            }
            while let Some(view) = self.signaling.poll_registration() {
                self.board.publish_registration(view);
            }
            while let Some(session) = self.dialogs.poll_lapse() {
                self.backlog.echoes.push_back(Input::NotKept { session });
            }
            match self.backlog.echoes.pop_front() {
                Some(echo) => self.signaling.handle_input(now, echo),
                None => return,
            }
        }
    }

    fn on_recorder_full(&mut self, command: RecordingCommand) {
        let fault = Fault::QueueFull;
        let echo = match &command {
            RecordingCommand::Open(header) => Some(RecordingEvent::OpenFailed {
                session: header.session,
                fault,
            }),
            RecordingCommand::Signal { session, .. } | RecordingCommand::Mark { session, .. } => {
                Some(RecordingEvent::Faulted {
                    session: *session,
                    fault,
                })
            }
            RecordingCommand::Close { .. } | RecordingCommand::Keep { .. } => None,
        };
        match echo {
            Some(echo) => self.backlog.echoes.push_back(Input::Recording(echo)),
            None if self.backlog.recording.len() < BACKLOG_MAX => self.backlog.recording.push_back(command),
            None => tracing::error!("recorder queue full: a recording is left to recovery"),
        }
    }

    fn on_media_full(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Open(plan) | MediaCommand::Modify(plan) => {
                tracing::error!(session = %plan.session, "media queue full: call refused");
                if let Some(line) = plan.lines.first() {
                    let event = MediaEvent::OpenFailed {
                        session: plan.session,
                        local: line.a.local,
                    };
                    self.backlog.echoes.push_back(Input::Media(event));
                }
            }
            command if self.backlog.media.len() < BACKLOG_MAX => self.backlog.media.push_back(command),
            MediaCommand::Gate { session, .. } | MediaCommand::Close { session } => {
                tracing::error!(%session, "media queue full: ports are not given back");
            }
        }
    }

    fn retry(&mut self) {
        while let Some(command) = self.backlog.recording.pop_front() {
            if let Err(command) = self.recorder.offer(command) {
                self.backlog.recording.push_front(command);
                break;
            }
        }
        while let Some(command) = self.backlog.media.pop_front() {
            if let Err(command) = self.media.offer(command) {
                self.backlog.media.push_front(command);
                break;
            }
        }
    }
}

fn publish(board: &Board<CallView>, view: CallView) {
    if view.state != CallState::Over {
        return board.publish(view.session, view);
    }
    board.remove(view.session);
    tracing::info!(
        session = %view.session,
        from = view.caller,
        to = view.callee,
        policies = policies(&view),
        strict = view.strict,
        outcome = view.outcome.map_or("none", Outcome::as_str),
        "call ended"
    );
}

fn policies(view: &CallView) -> String {
    let names: Vec<&str> = view.policies.iter().map(PolicyId::as_str).collect();
    names.join(" ")
}
