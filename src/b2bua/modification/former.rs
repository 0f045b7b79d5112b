//! A call as it was before somebody, or some medium, came whose recording is not open yet. Where that cannot be had, the call
//! goes on as it was; unless who came has accepted something and so is there: then the call ends.

use std::sync::Arc;

use crate::b2bua::awareness::Answers;
use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::output::StepKind;
use crate::b2bua::state::{Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Fault, Gate, Header, Leg, MediaCommand, MediaKind};
use crate::policy::Decision;

#[derive(Debug)]
pub(in crate::b2bua) struct Former {
    decision: Arc<Decision>,
    /// Its parties count.
    header: Arc<Header>,
    kinds: Vec<MediaKind>,
    answers: Answers,
    meeting: bool,
    fronts_focus: [bool; 2],
    recording: Recording,
    armed: bool,
    fault: Option<Fault>,
    /// Who came cannot be refused any more.
    is_there: bool,
}

impl Call {
    /// To be kept if what is decided next asks for a recording.
    pub(in crate::b2bua) fn as_it_is(&self) -> Former {
        Former {
            decision: Arc::clone(&self.decision),
            header: Arc::clone(&self.header),
            kinds: self.kinds.clone(),
            answers: self.announced.answers(),
            meeting: self.meeting,
            fronts_focus: [self.a.fronts_focus, self.b.fronts_focus],
            recording: self.recording,
            armed: self.armed,
            fault: self.story.fault,
            is_there: false,
        }
    }

    /// Something was decided anew: until its recording is open, if the call may not be so without.
    pub(in crate::b2bua) fn keep_former(&mut self, former: Former) {
        let is_strict = self.decision.is_strict_before(self.meeting) || self.decision.is_strict_during(self.meeting);
        if self.recording == Recording::Opening && is_strict {
            self.former.get_or_insert(former);
        }
    }

    /// Who came is there, and does not go because it is not recorded.
    pub(in crate::b2bua) fn insist(&mut self, came: bool) {
        if let Some(former) = self.former.as_mut().filter(|_| came) {
            former.is_there = true;
        }
    }

    /// What came waits for the recording that it needs.
    pub(in crate::b2bua) fn awaits_change(&self) -> bool {
        self.recording == Recording::Opening && self.former.is_some()
    }

    /// The recording of who, or what, came is not to be had: all is as before. What is said meanwhile of who is called keeps
    /// waiting for its own reasons.
    pub(in crate::b2bua) fn fall_back(&mut self, turn: &mut Turn<'_>) -> bool {
        let is_answered = self.withheld.is_some() || self.phase == Phase::Ending;
        let Some(former) = self.former.take_if(|former| !former.is_there && !is_answered) else {
            return false;
        };
        let refusal = self.unrecordable();
        self.deadlines.clear(Wait::SetUp);
        if former.recording == Recording::NotWanted && matches!(self.recording, Recording::Unavailable(_)) {
            self.recording = Recording::NotWanted;
            self.deadlines.clear(Wait::Reattach);
        }
        self.story.fault = former.fault;
        self.armed = former.armed;
        self.kinds = former.kinds;
        self.meeting = former.meeting;
        [self.a.fronts_focus, self.b.fronts_focus] = former.fronts_focus;
        self.supersede_decision(turn.now);
        let header = Arc::make_mut(&mut self.header);
        header.caller.clone_from(&former.header.caller);
        header.callee.clone_from(&former.header.callee);
        self.stand_by(turn, Arc::unwrap_or_clone(former.decision));
        self.take_back_answers(former.answers);
        self.refuse_change(turn, refusal);
        true
    }

    /// The recording of somebody who is there does not come, and the call cannot be what it was before. False: nobody is.
    pub(in crate::b2bua) fn is_barred(&mut self) -> bool {
        let former = self.former.take_if(|former| former.is_there);
        former.is_some() && self.phase != Phase::Ending
    }

    /// A party has accepted what may not be, and is not back yet.
    pub(in crate::b2bua) fn is_astray(&self) -> bool {
        Leg::BOTH.into_iter().any(|side| self.upkeep[side.index()].is_astray())
    }

    /// Media crosses again, unless a party has yet to go back to what was, or somebody waits to be recorded.
    pub(in crate::b2bua) fn reopen(&mut self, turn: &mut Turn<'_>) {
        let is_refused = self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.refused.is_some());
        let may_open = self.former.is_none() && !is_refused && !self.is_astray() && self.phase != Phase::Ending;
        if may_open && std::mem::take(&mut self.gated) {
            let (session, gate) = (self.id, Gate::Open);
            turn.media(MediaCommand::Gate { session, gate });
            self.chronicle.step(turn.now, StepKind::MediaReopened, turn.out);
        }
    }
}
