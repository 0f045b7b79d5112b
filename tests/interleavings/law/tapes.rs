//! What the recorder and the relay are told.

use onrecord::model::{
    Direction, Gate, Leg, MediaCommand, MediaPlan, Recorded, RecordingCommand, RecordingEvent, SessionId,
};
use onrecord::sip::Message;

use super::{Bond, Law, Served, Tape};

impl Law {
    pub fn on_recording(&mut self, command: &RecordingCommand) {
        let (session, is_open) = match command {
            RecordingCommand::Open(header) => (header.session, true),
            RecordingCommand::Keep { header, .. } => (header.session, true),
            RecordingCommand::Signal { session, .. }
            | RecordingCommand::Mark { session, .. }
            | RecordingCommand::Close { session, .. } => (*session, false),
        };
        let known = self.tapes.iter().position(|tape| tape.session == session);
        if known.is_none() && !is_open {
            self.broken
                .push(format!("a command for a recording that nobody opened: {command:?}"));
            return;
        }
        let at = known.unwrap_or_else(|| {
            let (relays, shut) = (false, false);
            self.tapes.push(Tape {
                session,
                call_ids: Vec::new(),
                invite: None,
                opens: 0,
                ready: false,
                closed: 0,
                kept: 0,
                outcome: None,
                relays,
                shut,
                both_ways: false,
            });
            self.tapes.len() - 1
        });
        let call_id = opened(command);
        let newest = |served: &Served| served.method == "INVITE" && served.opens && Some(&served.call_id) == call_id;
        let invite = self.served.iter().rposition(newest);
        let tape = &mut self.tapes[at];
        match command {
            RecordingCommand::Open(header) => {
                tape.invite = tape.invite.or(invite);
                tape.opens += 1;
                tape.call_ids.clone_from(&header.call_ids);
            }
            RecordingCommand::Close { closing, .. } => {
                tape.closed += 1;
                tape.outcome = Some(closing.outcome);
                if closing.ended_by.starts_with("transferred") {
                    self.seen.insert("a party went over to another call");
                }
            }
            RecordingCommand::Keep { closing, .. } => {
                tape.kept += 1;
                tape.outcome = Some(closing.outcome);
            }
            RecordingCommand::Signal { path, bytes, .. } => {
                let sent_to_b = path.leg == Leg::B && path.direction == Direction::Sent;
                if tape.ready
                    && sent_to_b
                    && let Ok(Message::Request(invite)) = Message::parse(bytes)
                {
                    tape.call_ids.push(invite.headers.call_id().to_owned());
                }
            }
            RecordingCommand::Mark { .. } => {}
        }
        let (opens, ends) = (tape.opens, tape.closed + tape.kept);
        let ended = matches!(command, RecordingCommand::Close { .. } | RecordingCommand::Keep { .. });
        if ends > 1 || (ends > 0 && !ended && is_open) || (tape.closed > 0 && opens == 0) {
            self.broken.push(format!(
                "a recording is not opened and ended once: opened {opens} times, ended {ends} times"
            ));
        }
    }

    pub fn on_recorder(&mut self, event: &RecordingEvent) {
        if let RecordingEvent::Ready { session } = event
            && let Some(tape) = self.tapes.iter_mut().find(|tape| tape.session == *session)
        {
            tape.ready = true;
        }
    }

    pub fn on_media(&mut self, command: &MediaCommand) {
        match command {
            MediaCommand::Open(plan) | MediaCommand::Modify(plan) => {
                if let Some(tape) = self.tapes.iter_mut().find(|tape| tape.session == plan.session) {
                    tape.relays = true;
                    let named = |leg: Leg| plan.lines.first().is_some_and(|line| line.leg(leg).remote.is_some());
                    // Who hangs up while the other goes over to another call hears no more.
                    let has_left =
                        |bond: &Bond| bond.is_up() && bond.bye_heard && tape.call_ids.contains(&bond.call_id);
                    let both_ways = Leg::BOTH.into_iter().all(named);
                    if both_ways || !self.bonds.iter().any(has_left) {
                        tape.both_ways = both_ways;
                    }
                }
                self.judge_plan(plan);
            }
            MediaCommand::Gate { session, gate } => {
                if let Some(tape) = self.tapes.iter_mut().find(|tape| tape.session == *session) {
                    tape.shut = *gate == Gate::Shut;
                }
            }
            MediaCommand::Close { session } => {
                self.judge_media(*session);
                if let Some(tape) = self.tapes.iter_mut().find(|tape| tape.session == *session) {
                    tape.relays = false;
                }
            }
        }
    }

    /// Two parties that talked heard each other.
    fn judge_media(&mut self, session: SessionId) {
        if self.exchanges_parties {
            // Who talks in which call is the proxy's affair then.
            return;
        }
        let Some(tape) = self
            .tapes
            .iter()
            .find(|tape| tape.session == session && !tape.both_ways)
        else {
            return;
        };
        let talks = |by_us: bool| {
            let mut bonds = self.bonds.iter().filter(|bond| bond.by_us == by_us);
            bonds.any(|bond| bond.is_up() && tape.call_ids.contains(&bond.call_id))
        };
        if talks(true) && talks(false) {
            self.broken.push("two parties talked and media went one way".to_owned());
        }
    }

    /// Media goes only where somebody hears, to two parties, and of a strict call it goes by the recorder.
    fn judge_plan(&mut self, plan: &MediaPlan) {
        for line in &plan.lines {
            let remotes = Leg::BOTH.map(|leg| line.leg(leg).remote.as_ref().map(|remote| remote.rtp));
            let strangers = remotes.iter().flatten().filter(|remote| !self.named.contains(remote));
            let strangers: Vec<String> = strangers
                .map(|remote| format!("media goes where no SDP named: {remote}"))
                .collect();
            self.broken.extend(strangers);
            if let [Some(a), Some(b)] = remotes
                && a == b
            {
                self.broken
                    .push(format!("media goes back where it came from: {a} and {b}"));
            }
        }
        let shut = self.tapes.iter().any(|tape| tape.session == plan.session && tape.shut);
        if self.is_strict() && plan.recorded != Recorded::Strict && !shut {
            self.broken
                .push(format!("a strict call is relayed unrecorded: {:?}", plan.recorded));
        }
    }
}

/// A's Call-ID of a recording that is opened.
fn opened(command: &RecordingCommand) -> Option<&String> {
    match command {
        RecordingCommand::Open(header) => header.call_ids.first(),
        _ => None,
    }
}
