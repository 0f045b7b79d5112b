//! What signalling hears of the recorder, and what its silence means.

use std::time::Duration;

use super::signaling::Signaling;
use crate::b2bua::Call;
use crate::model::{Fault, RecordingEvent, Timestamp};
use crate::policy::RecorderState;

/// Beyond `lag_max`, how long the recorder may be silent before it counts as hung. Its heartbeats come every 200 ms.
const SILENCE_MAX: Duration = Duration::from_millis(600);

impl Signaling {
    /// Whether a recording can be opened, as far as is known. What is open goes on below the reserve.
    pub(super) const fn openness(&self) -> RecorderState {
        match self.recorder {
            RecorderState::Up if self.reserve_crossed => RecorderState::Down(Fault::Reserve),
            state => state,
        }
    }

    /// A recorder that says nothing while calls depend on it is as good as dead.
    pub(super) fn silence_due(&self) -> Option<Timestamp> {
        let watched = self.recorder == RecorderState::Up && !self.calls.is_empty();
        self.heard
            .filter(|_| watched)
            .map(|heard| heard + self.lag_max + SILENCE_MAX)
    }

    pub(super) fn on_recording(&mut self, now: Timestamp, event: RecordingEvent) {
        self.heard = Some(now);
        self.on_page_recording(now, &event);
        match event {
            RecordingEvent::Heartbeat { durable_until } => {
                let lag = now.since(durable_until);
                self.admission.congestion.note_lag(now, lag, self.lag_max);
                // It hung, and speaks again.
                if self.recorder == RecorderState::Down(Fault::Hung) {
                    self.on_recording(now, RecordingEvent::Up);
                }
            }
            RecordingEvent::Down { fault } => {
                self.recorder = RecorderState::Down(fault);
                tracing::error!(%fault, calls = self.calls.len(), "recorder is down");
                self.for_all_calls(now, Call::gate_without_recorder);
                self.for_all_calls(now, |call, turn| call.on_recording(turn, event.clone()));
            }
            RecordingEvent::Up => {
                self.recorder = RecorderState::Up;
                tracing::info!("recorder is up");
                self.for_all_calls(now, |call, turn| call.on_recording(turn, event.clone()));
            }
            RecordingEvent::Reserve { crossed } => {
                self.reserve_crossed = crossed;
                if crossed {
                    tracing::error!("every volume has less free than its reserve: no recording is opened");
                } else {
                    tracing::info!("a volume has its reserve again");
                }
            }
            RecordingEvent::Ready { session }
            | RecordingEvent::OpenFailed { session, .. }
            | RecordingEvent::Faulted { session, .. }
            | RecordingEvent::Sealed { session, .. } => {
                self.with_call(now, session, |call, turn| call.on_recording(turn, event));
            }
        }
    }
}
