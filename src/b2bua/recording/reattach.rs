//! A call that goes on without its recording gets it as soon as it can be had.

use std::time::Duration;

use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::state::{Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Fault, Timestamp};
use crate::policy::{RecorderState, Verdict};

/// How long a call waits before it asks for its recording once more: between one of these and two, so that many calls do not
/// ask at once.
const REATTACH_EVERY: Duration = Duration::from_millis(500);

impl Call {
    /// Nothing could be opened; that is tried again.
    pub(in crate::b2bua) fn go_without(&mut self, turn: &mut Turn<'_>, fault: Fault) {
        self.recording = Recording::Unavailable(fault);
        let due = self.reattach_due(turn);
        self.deadlines.set(Wait::Reattach, due);
    }

    /// It goes on unrecorded, and may not have begun so: nothing and nobody that has to be recorded is added meanwhile.
    pub(in crate::b2bua) fn lacks_recording(&self) -> bool {
        let is_lost = matches!(self.recording, Recording::Broken(_) | Recording::Unavailable(_));
        is_lost && self.decision.is_strict_before(self.meeting)
    }

    fn reattach_due(&self, turn: &mut Turn<'_>) -> Timestamp {
        let spread = turn.wire.mint().entropy() % (REATTACH_EVERY.as_millis() + 1);
        turn.now + REATTACH_EVERY + Duration::from_millis(spread as u64)
    }

    /// Below the reserve nobody asks.
    pub(in crate::b2bua) fn on_reattach_due(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.recording, Recording::Unavailable(_)) {
            return;
        }
        match turn.recorder {
            RecorderState::Up => self.on_recorder_up(turn),
            RecorderState::Down(_) => {
                let due = self.reattach_due(turn);
                self.deadlines.set(Wait::Reattach, due);
            }
        }
    }

    /// A volume takes writes again: what waits for it is opened, what was broken goes on with a gap.
    pub(in crate::b2bua) fn on_recorder_up(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::Ending {
            return;
        }
        match self.recording {
            Recording::Unavailable(_) if self.decision.verdict == Verdict::Record => {
                self.open_recording(turn);
                self.renew_media(turn);
            }
            Recording::Broken(_) => self.on_recording_ready(turn),
            _ => {}
        }
    }
}
