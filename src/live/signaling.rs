//! The `sip` thread: owns `engine::Signaling` and the SIP sockets, on a tokio runtime of its own.
//!
//! It never waits for another thread: what it sends goes into bounded queues by `try_send`, and each has its policy
//! for being full below. So whoever waits for signalling is served.

use std::collections::VecDeque;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::clock::Clock;
use super::dialog_store::{DialogStore, Survivor};
use super::kernel;
use super::media_links::MediaLinks;
use super::recorder::RecorderQueue;
use super::sip_sockets::{Arrival, SipSockets};
use crate::board::Board;
use crate::engine::{CallState, CallView, Input, Line, Newcomer, Output, Signaling, TrunkView};
use crate::model::{
    Fault, MediaCommand, MediaEvent, Outcome, PolicyId, RecordingCommand, RecordingEvent, Timestamp, earliest,
};
use crate::sip::Flow;
use crate::trunk::Source;

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

/// Inputs handled before the other queue and the timers are looked at again. More than one read of a socket brings.
const BATCH: usize = 64;
const _: () = assert!(BATCH > kernel::BATCH);

/// Of those who wait in line, so many are taken before the sockets are read again: some milliseconds' work.
const OPENINGS_A_TURN: usize = 4;

/// Calls that wait for the recorder at a time before one more is taken from the line. An opening takes some milliseconds; a
/// queue of them is better held where it can be refused.
const PREPARING_MAX: usize = 256;

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
    /// Who was a peer and may speak still, for the sockets.
    pub retired: watch::Sender<Vec<Source>>,
    /// Requests that open something wait until all else is done.
    pub line: Line<(Flow, Bytes)>,
    /// The share of new calls that signalling knows the line to refuse.
    pub refusing: u32,
}

/// What there is to do.
enum Turn {
    Event(Input),
    Media,
    Timer,
    Arrival(Arrival),
    Line,
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
        self.sockets.flush();
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
            let turn = tokio::select! {
                biased;
                _ = &mut self.stop => return,
                Some(event) = self.events.recv() => Turn::Event(event),
                () = self.media.news() => Turn::Media,
                () = timer => Turn::Timer,
                Some(arrival) = self.arrivals.recv() => Turn::Arrival(arrival),
                () = ready(()), if self.moves() => Turn::Line,
            };
            let begun = self.clock.now();
            match turn {
                Turn::Event(event) => self.on_events(event),
                Turn::Media => self.on_media(),
                Turn::Timer => {}
                Turn::Arrival(arrival) => self.on_arrivals(arrival),
                Turn::Line => self.on_line(),
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
            self.sockets.flush();
            self.line.note_busy(self.clock.now().since(begun));
            if self.moves() {
                // The sockets are read before one more is taken from the line.
                yield_now().await;
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
        self.follow_line();
        let mut next = Some(first);
        for handled in 0..BATCH {
            let Some(arrival) = next else {
                // The last read emptied the sockets: who waits in line need not wait for another.
                if handled < kernel::BATCH {
                    self.on_line();
                }
                return;
            };
            self.on_arrival(arrival);
            // One that was taken out is handled.
            if !self.events.is_empty() {
                return;
            }
            next = self.arrivals.try_recv().ok();
        }
        if let Some(arrival) = next {
            self.on_arrival(arrival);
        }
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        let now = self.clock.now();
        let input = match arrival {
            Arrival::Sip { flow, bytes } => match Newcomer::of(&bytes) {
                None => match self.line.offer_behind(&bytes.clone(), (flow, bytes)) {
                    Ok(()) => return,
                    Err((flow, bytes)) => Input::Sip { flow, bytes },
                },
                Some(newcomer) => {
                    let is_full = self.signaling.is_full(now);
                    match self.line.offer(now, newcomer, is_full, (flow, bytes)) {
                        Ok(()) => return,
                        Err((flow, bytes)) => Input::Excess { flow, bytes },
                    }
                }
            },
            Arrival::Cut { flow, bytes } => Input::Cut { flow, bytes },
            Arrival::Unreachable { flow } => Input::Unreachable { flow },
            Arrival::Closed { flow } => {
                // Taken later, it would pass for what came by the next connection between the same addresses.
                self.line.withdraw(|(came_by, _)| *came_by == flow);
                Input::Closed { flow }
            }
            Arrival::Bounced { flow, fragment } => Input::Bounced { flow, fragment },
        };
        self.signaling.handle_input(now, input);
        self.hand_on(now);
    }

    /// Takes on who came first.
    fn on_line(&mut self) {
        for _ in 0..OPENINGS_A_TURN {
            if !self.moves() {
                return;
            }
            let now = self.clock.now();
            let Some((flow, bytes)) = self.line.take() else {
                return;
            };
            self.signaling.handle_input(now, Input::Sip { flow, bytes });
            self.hand_on(now);
        }
    }

    /// Somebody waits in line, and not for the recorder.
    fn moves(&self) -> bool {
        !self.line.is_empty() && self.signaling.preparing() < PREPARING_MAX
    }

    fn follow_line(&mut self) {
        let now = self.clock.now();
        let share = self.line.follow(now);
        if share != self.refusing {
            self.refusing = share;
            self.signaling.handle_input(now, Input::Refusing(share));
        }
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
                    Output::Remember { session, state } => self.dialogs.remember(session, move || state.written()),
                    Output::Forget { session } => self.dialogs.forget(session),
                    Output::Publish(view) => publish(&self.board, *view),
                    // The ladder is for captures and tests.
                    Output::Step(_) => {}
                }
            }
            while let Some(view) = self.signaling.poll_registration() {
                self.board.publish_registration(view);
            }
            if let Some(retired) = self.signaling.poll_retired() {
                self.retired.send_replace(retired);
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
            MediaCommand::Notice(plan) => {
                tracing::error!(session = %plan.session, "media queue full: nobody is told of the recording");
            }
            MediaCommand::Gate { session, .. }
            | MediaCommand::Pausing { session, .. }
            | MediaCommand::Close { session } => {
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
