//! What the recorder, the relay and the reader of the story were told.

use onrecord::model::{Gate, MediaCommand, MediaKind, MediaPlan, Recorded, RecordingCommand, SessionId};

use super::Bench;

impl Bench {
    /// The recordings that were asked for, oldest first.
    pub fn sessions(&self) -> Vec<SessionId> {
        let opened = self.recording.iter().filter_map(|command| match command {
            RecordingCommand::Open(header) => Some(header.session),
            _ => None,
        });
        opened.collect()
    }

    /// The oldest of them.
    pub fn session(&self) -> SessionId {
        self.sessions()[0]
    }

    pub fn newest_session(&self) -> SessionId {
        *self.sessions().last().expect("a recording is asked for")
    }

    /// What the relay does for its calls, as it was told it in time.
    pub fn plans(&self) -> Vec<&MediaPlan> {
        let plans = self.media.iter().filter_map(|command| match command {
            MediaCommand::Open(plan) | MediaCommand::Modify(plan) => Some(&**plan),
            _ => None,
        });
        plans.collect()
    }

    /// The newest of them.
    pub fn plan(&self) -> &MediaPlan {
        self.plans().last().expect("a plan")
    }

    pub fn recorded(&self) -> Option<Recorded> {
        self.plans().last().map(|plan| plan.recorded)
    }

    pub fn gates(&self) -> Vec<Gate> {
        let gates = self.media.iter().filter_map(|command| match command {
            MediaCommand::Gate { gate, .. } => Some(*gate),
            _ => None,
        });
        gates.collect()
    }

    /// Whether any plan sends video to anybody.
    pub fn hears_video(&self) -> bool {
        let plans = self.plans();
        let mut lines = plans.iter().flat_map(|plan| &plan.lines);
        lines.any(|line| line.kind == MediaKind::Video && (line.a.remote.is_some() || line.b.remote.is_some()))
    }

    /// How often this is in the story.
    pub fn times(&self, rung: &str) -> usize {
        self.story.iter().filter(|told| *told == rung).count()
    }

    /// The tag of ours that A was told last.
    pub fn our_tag(&self) -> String {
        self.response_to_a()
            .headers
            .to()
            .tag()
            .expect("a tag of ours")
            .to_owned()
    }
}
