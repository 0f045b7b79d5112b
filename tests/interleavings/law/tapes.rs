//! What the recorder and the relay are told.

use std::net::SocketAddr;

use onrecord::model::{
    Direction, Gate, Leg, Mark, MediaCommand, MediaPlan, Recorded, RecordingCommand, RecordingEvent, SessionId,
};
use onrecord::sip::Message;

use super::{Law, Served, Tape};

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
                answered: false,
                remotes: [None; 2],
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
            RecordingCommand::Mark { mark, .. } => tape.answered |= *mark == Mark::Answered,
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
                    let remote = |leg: Leg| plan.lines.first()?.leg(leg).remote.as_ref().map(|remote| remote.rtp);
                    tape.remotes = Leg::BOTH.map(remote);
                }
                self.judge_plan(plan);
            }
            MediaCommand::Gate { session, gate } => {
                if let Some(tape) = self.tapes.iter_mut().find(|tape| tape.session == *session) {
                    tape.shut = *gate == Gate::Shut;
                }
            }
            MediaCommand::Pausing { .. } => {}
            MediaCommand::Close { session } => {
                self.judge_media(*session);
                if let Some(tape) = self.tapes.iter_mut().find(|tape| tape.session == *session) {
                    tape.relays = false;
                }
            }
        }
    }

    /// Two parties that talked heard each other. Of the calls of a transfer that is the newest that talked, so that of a
    /// transfer that failed it is the old one; each is heard where it said in the dialog that it has there.
    fn judge_media(&mut self, session: SessionId) {
        let Some(at) = self.tapes.iter().position(|tape| tape.session == session) else {
            return;
        };
        let (before, after) = self.tapes.split_at(at);
        let Some((tape, after)) = after.split_first() else {
            return;
        };
        let both_ways = tape.remotes.iter().all(Option::is_some);
        let refers = |served: &Served| served.method == "REFER" && (200..300).contains(&served.status);
        if !self.exchanges_parties || !self.served.iter().any(refers) {
            let talks = |by_us: bool| {
                let mut bonds = self.bonds.iter().filter(|bond| bond.by_us == by_us);
                bonds.any(|bond| bond.is_up() && tape.call_ids.contains(&bond.call_id))
            };
            if talks(true) && talks(false) && !both_ways {
                self.broken.push("two parties talked and media went one way".to_owned());
            }
            return;
        }
        let later = || after.iter().filter(|other| tape.shares_dialogs(other));
        let has_failed = later().next().is_some();
        let is_of_transfer = has_failed || before.iter().any(|other| tape.shares_dialogs(other));
        let is_newest = is_of_transfer && !later().any(|other| other.answered);
        let Some((first, others)) = tape.call_ids.split_first().filter(|_| is_newest && tape.answered) else {
            return;
        };
        let is_up = |call_id: &String| self.bonds.iter().any(|bond| bond.is_up() && bond.call_id == *call_id);
        let says = |call_id: &String, remote: &Option<SocketAddr>| {
            let named = self.named_in.get(call_id);
            remote.is_some_and(|remote| named.is_some_and(|named| named.contains(&remote)))
        };
        let [a, b] = &tape.remotes;
        let is_heard = says(first, a) && others.iter().any(|other| says(other, b));
        // Who hung up is sent nothing; that its place was taken by a call that nobody records shows on no tape.
        let has_left = |call_id: &String| self.bonds.iter().any(|bond| bond.bye_heard && bond.call_id == *call_id);
        if is_up(first) && others.iter().any(is_up) && !tape.call_ids.iter().any(has_left) {
            self.seen.insert("the media of a transfer");
            if has_failed {
                self.seen.insert("the media after a transfer that failed");
            }
            if !is_heard {
                self.broken.push(format!(
                    "a party that went over does not hear, or another does: {:?} of {:?}",
                    tape.remotes, tape.call_ids
                ));
            }
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
