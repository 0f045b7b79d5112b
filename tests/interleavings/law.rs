//! The law: what every dialog has to keep, read off the wire and the commands, message by message.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use onrecord::model::{
    Direction, Gate, Leg, MediaCommand, Outcome, RecordingCommand, RecordingEvent, SessionId, Timestamp,
};
use onrecord::sip::Message;

use super::phone::GIVE_UP;
use super::script::Grade;
use super::text::Heard;

/// In place of a status: the process that owed the answer was killed.
const LOST: u16 = 1;
/// From a fault to the BYE on both legs.
const FAULT_TO_BYE: Duration = Duration::from_millis(250);

/// A request that the proxy got.
#[derive(Debug)]
struct Served {
    leg: Leg,
    branch: String,
    method: String,
    opens: bool,
    trying: bool,
    status: u16,
    tag: String,
    owed_by: Option<Timestamp>,
    bond: Option<usize>,
    /// With the process that got it: another may answer it once more.
    lost: bool,
}

/// A request that the proxy sent.
#[derive(Debug)]
struct Sent {
    branch: String,
    method: String,
    text: String,
    at: Timestamp,
    rung: bool,
    cancelled: Option<Timestamp>,
    answered: Option<(Timestamp, u16)>,
    /// With the process that sent it.
    lost: bool,
}

impl Sent {
    /// Whether a 2xx that comes now finds its transaction (RFC 3261 §9.1, §17.1.1.2, RFC 6026 §7.2).
    fn awaits(&self, now: Timestamp) -> bool {
        if self.lost {
            return false;
        }
        match (self.answered, self.cancelled, self.rung) {
            (Some((at, status)), _, _) => status < 300 && now < at + GIVE_UP,
            (None, Some(at), _) => now < at + GIVE_UP,
            (None, None, true) => true,
            (None, None, false) => now < self.at + GIVE_UP,
        }
    }
}

/// A dialog of the proxy.
#[derive(Debug)]
struct Bond {
    leg: Leg,
    call_id: String,
    ours: String,
    theirs: String,
    /// Of the proxy's last request.
    cseq: u32,
    invite: u32,
    confirmed: Option<Timestamp>,
    acknowledged: bool,
    byes: u32,
    bye_heard: bool,
    owed_by: Option<Timestamp>,
}

impl Bond {
    fn is_ended(&self) -> bool {
        self.byes > 0 || self.bye_heard
    }
}

/// A 2xx to an INVITE of the proxy's.
#[derive(Debug)]
struct Success {
    leg: Leg,
    call_id: String,
    tag: String,
    cseq: u32,
    acknowledged: bool,
}

#[derive(Debug)]
struct Tape {
    session: SessionId,
    b_call_id: String,
    /// Of INVITEs to B that it kept while it was open: later attempts of the same call.
    attempts: Vec<String>,
    opens: u32,
    ready: bool,
    closed: u32,
    kept: u32,
    outcome: Option<Outcome>,
    relays: bool,
    shut: bool,
}

#[derive(Debug)]
pub struct Law {
    grade: Grade,
    served: Vec<Served>,
    sent: Vec<Sent>,
    bonds: Vec<Bond>,
    successes: Vec<Success>,
    tapes: Vec<Tape>,
    /// Where each leg said that it hears.
    named: [BTreeSet<SocketAddr>; 2],
    connected: bool,
    /// A has ended an early dialog (RFC 3261 §15): only then may the proxy, which is a caller to B.
    ends_early: bool,
    /// A kill leaves no record of a call that nobody recorded.
    pub loses_outcomes: bool,
    pub broken: Vec<String>,
    pub seen: BTreeSet<&'static str>,
}

impl Law {
    pub fn new(grade: Grade) -> Self {
        Self {
            grade,
            served: Vec::new(),
            sent: Vec::new(),
            bonds: Vec::new(),
            successes: Vec::new(),
            tapes: Vec::new(),
            named: [BTreeSet::new(), BTreeSet::new()],
            connected: false,
            ends_early: false,
            loses_outcomes: false,
            broken: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn break_by(&mut self, law: &str, heard: &Heard) {
        self.broken.push(format!("{law}: {}", heard.told()));
    }

    fn bond(&mut self, leg: Leg, call_id: &str, ours: &str, theirs: &str) -> Option<&mut Bond> {
        self.bonds
            .iter_mut()
            .find(|bond| bond.leg == leg && bond.call_id == call_id && bond.ours == ours && bond.theirs == theirs)
    }

    fn make_bond(&mut self, leg: Leg, heard: &Heard, ours: &str, theirs: &str, cseq: u32) -> usize {
        let known = self.bonds.iter().position(|bond| {
            bond.leg == leg && bond.call_id == heard.call_id && bond.ours == ours && bond.theirs == theirs
        });
        known.unwrap_or_else(|| {
            self.bonds.push(Bond {
                leg,
                call_id: heard.call_id.clone(),
                ours: ours.to_owned(),
                theirs: theirs.to_owned(),
                cseq,
                invite: heard.cseq,
                confirmed: None,
                acknowledged: false,
                byes: 0,
                bye_heard: false,
                owed_by: None,
            });
            self.bonds.len() - 1
        })
    }

    /// A message reached the proxy.
    pub fn on_heard(&mut self, now: Timestamp, leg: Leg, heard: &Heard) {
        if let Some(sdp) = heard.sdp() {
            self.named[leg.index()].extend(sdp.addresses());
        }
        if !heard.is_request() {
            self.on_answer(now, leg, heard);
            return;
        }
        let mut ends_early = false;
        let bond = self.bonds.iter().position(|bond| {
            bond.leg == leg
                && bond.call_id == heard.call_id
                && bond.ours == heard.to_tag
                && bond.theirs == heard.from_tag
        });
        if let Some(bond) = bond.map(|bond| &mut self.bonds[bond]) {
            bond.acknowledged |= heard.method == "ACK" && heard.cseq == bond.invite;
            bond.bye_heard |= heard.method == "BYE";
            ends_early |= heard.method == "BYE" && !bond.acknowledged;
        }
        self.ends_early |= ends_early && leg == Leg::A;
        let known = self
            .served
            .iter()
            .any(|served| served.branch == heard.branch && served.method == heard.method);
        if heard.method != "ACK" && !known {
            self.served.push(Served {
                leg,
                branch: heard.branch.clone(),
                method: heard.method.clone(),
                opens: heard.to_tag.is_empty(),
                trying: false,
                status: 0,
                tag: String::new(),
                owed_by: None,
                bond,
                lost: false,
            });
        }
    }

    fn on_answer(&mut self, now: Timestamp, leg: Leg, heard: &Heard) {
        let sent = self
            .sent
            .iter_mut()
            .find(|sent| sent.branch == heard.branch && sent.method == heard.cseq_method);
        let Some(sent) = sent else { return };
        let awaited = sent.awaits(now);
        sent.rung = true;
        if heard.status >= 200 && sent.answered.is_none() {
            sent.answered = Some((now, heard.status));
        }
        if sent.method != "INVITE" || heard.status >= 300 || !awaited || heard.to_tag.is_empty() {
            return;
        }
        let bond = self.make_bond(leg, heard, &heard.from_tag, &heard.to_tag, heard.cseq);
        if heard.status < 200 {
            return;
        }
        self.bonds[bond].confirmed.get_or_insert(now);
        let is = |success: &Success| {
            success.leg == leg
                && success.call_id == heard.call_id
                && success.tag == heard.to_tag
                && success.cseq == heard.cseq
        };
        if !self.successes.iter().any(is) {
            let (call_id, tag, cseq) = (heard.call_id.clone(), heard.to_tag.clone(), heard.cseq);
            self.successes.push(Success {
                leg,
                call_id,
                tag,
                cseq,
                acknowledged: false,
            });
        }
    }

    /// The proxy sent a message.
    pub fn on_sent(&mut self, now: Timestamp, leg: Leg, heard: &Heard) {
        if heard.is_request() {
            self.on_request(now, leg, heard);
        } else {
            self.on_response(now, leg, heard);
        }
    }

    fn on_response(&mut self, now: Timestamp, leg: Leg, heard: &Heard) {
        let served = self
            .served
            .iter_mut()
            .find(|served| served.branch == heard.branch && served.method == heard.cseq_method);
        let Some(served) = served else {
            self.break_by("answers nothing that was asked", heard);
            return;
        };
        if heard.status < 200 {
            served.trying = true;
            if !matches!(served.status, 0 | LOST) && !served.lost {
                self.break_by("a provisional answer after the final one", heard);
                return;
            }
        } else if matches!(served.status, 0 | LOST) {
            (served.status, served.tag) = (heard.status, heard.to_tag.clone());
            served.owed_by = None;
        } else if !served.lost && (served.status != heard.status || served.tag != heard.to_tag) {
            self.break_by("two final answers to one request", heard);
            return;
        }
        let opens = served.opens;
        if heard.status == 491 {
            self.seen.insert("glare at the proxy");
        }
        if heard.cseq_method != "INVITE" || !(101..300).contains(&heard.status) || !opens {
            return;
        }
        let bond = self.make_bond(leg, heard, &heard.to_tag, &heard.from_tag, 0);
        if heard.status >= 200 {
            self.connected = true;
            self.bonds[bond].confirmed.get_or_insert(now);
        }
    }

    fn on_request(&mut self, now: Timestamp, leg: Leg, heard: &Heard) {
        let known = self
            .sent
            .iter()
            .find(|sent| sent.branch == heard.branch && sent.method == heard.method);
        if let Some(sent) = known {
            if sent.text != heard.text() {
                self.break_by("a request that changed on being sent again", heard);
            } else if heard.method == "INVITE" && sent.rung {
                self.break_by("an INVITE sent again after a provisional answer", heard);
            }
            return;
        }
        match heard.method.as_str() {
            "ACK" => self.on_ack(leg, heard),
            "CANCEL" => self.on_cancel(now, heard),
            _ if heard.to_tag.is_empty() => self.on_opening(heard),
            _ => self.on_request_within(now, leg, heard),
        }
        self.sent.push(Sent {
            branch: heard.branch.clone(),
            method: heard.method.clone(),
            text: heard.text().to_owned(),
            at: now,
            rung: false,
            cancelled: None,
            answered: None,
            lost: false,
        });
    }

    fn on_ack(&mut self, leg: Leg, heard: &Heard) {
        let invite = self
            .sent
            .iter()
            .find(|sent| sent.method == "INVITE" && sent.branch == heard.branch);
        if let Some(invite) = invite {
            if invite.answered.is_none_or(|(_, status)| status < 300) {
                self.break_by("an ACK without a refusal", heard);
            }
            return;
        }
        let is = |success: &&mut Success| {
            success.leg == leg
                && success.call_id == heard.call_id
                && success.tag == heard.to_tag
                && success.cseq == heard.cseq
        };
        let Some(success) = self.successes.iter_mut().find(is) else {
            self.break_by("an ACK without a 2xx", heard);
            return;
        };
        success.acknowledged = true;
        if let Some(bond) = self.bond(leg, &heard.call_id, &heard.from_tag, &heard.to_tag) {
            bond.acknowledged |= heard.cseq == bond.invite;
        }
    }

    fn on_cancel(&mut self, now: Timestamp, heard: &Heard) {
        let invite = self
            .sent
            .iter_mut()
            .find(|sent| sent.method == "INVITE" && sent.branch == heard.branch);
        match invite {
            None => self.break_by("a CANCEL without an INVITE", heard),
            Some(sent) if !sent.rung => self.break_by("a CANCEL before a provisional answer", heard),
            Some(sent) if sent.answered.is_some() => self.break_by("a CANCEL after the final answer", heard),
            Some(sent) => sent.cancelled = Some(now),
        }
    }

    /// Strict: B hears nothing before the opening record is durable.
    fn on_opening(&mut self, heard: &Heard) {
        if heard.method == "INVITE" && self.grade == Grade::Strict {
            let ready = self
                .tapes
                .iter()
                .any(|tape| tape.ready && (tape.b_call_id == heard.call_id || tape.attempts.contains(&heard.call_id)));
            if !ready {
                self.break_by("B rings before the recorder is ready", heard);
            }
        }
    }

    fn on_request_within(&mut self, now: Timestamp, leg: Leg, heard: &Heard) {
        let is_bye = heard.method == "BYE";
        let lost = is_bye && heard.all("Reason").any(|reason| reason.contains("Recording lost"));
        let relayed = |tape: &&Tape| tape.relays && tape.closed + tape.kept == 0;
        // Of a transfer's two calls one may be lost alone.
        if lost
            && self.tapes.iter().any(|tape| relayed(&tape))
            && !self.tapes.iter().filter(relayed).any(|tape| tape.shut)
        {
            self.break_by("BYE before the media is gated", heard);
        }
        let ends_early = self.ends_early;
        let Some(bond) = self.bond(leg, &heard.call_id, &heard.from_tag, &heard.to_tag) else {
            self.break_by("a request in a dialog that nobody made", heard);
            return;
        };
        // How its transfer goes on may be told beyond the call (RFC 5589 §6.1).
        let is_notice = heard.method == "NOTIFY" && bond.is_ended();
        let verdict = if bond.is_ended() && is_bye {
            Some(if bond.byes > 0 {
                "a second BYE"
            } else {
                "a BYE to one who said BYE"
            })
        } else if bond.is_ended() && !is_notice {
            Some("a request after BYE")
        } else if heard.cseq <= bond.cseq {
            Some("CSeq does not grow")
        } else if is_bye && bond.confirmed.is_none() && !(ends_early && leg == Leg::B) {
            Some("BYE in an early dialog")
        } else if is_bye && !bond.acknowledged && bond.confirmed.is_some_and(|at| now < at + GIVE_UP) {
            Some("BYE before the ACK")
        } else {
            None
        };
        bond.cseq = bond.cseq.max(heard.cseq);
        bond.byes += u32::from(is_bye);
        if let Some(law) = verdict {
            self.break_by(law, heard);
        }
    }

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
                b_call_id: String::new(),
                attempts: Vec::new(),
                opens: 0,
                ready: false,
                closed: 0,
                kept: 0,
                outcome: None,
                relays,
                shut,
            });
            self.tapes.len() - 1
        });
        let tape = &mut self.tapes[at];
        match command {
            RecordingCommand::Open(header) => {
                tape.opens += 1;
                tape.b_call_id = header.call_ids.get(1).cloned().unwrap_or_default();
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
                    tape.attempts.push(invite.headers.call_id().to_owned());
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
                }
                for (line, leg) in plan.lines.iter().flat_map(|line| Leg::BOTH.map(|leg| (line, leg))) {
                    if let Some(remote) = line
                        .leg(leg)
                        .remote
                        .filter(|remote| !self.named.iter().any(|named| named.contains(&remote.rtp)))
                    {
                        self.broken
                            .push(format!("media goes where no SDP named: of {leg} to {}", remote.rtp));
                    }
                }
            }
            MediaCommand::Gate { session, gate } => {
                if let Some(tape) = self.tapes.iter_mut().find(|tape| tape.session == *session) {
                    tape.shut = *gate == Gate::Shut;
                }
            }
            MediaCommand::Close { session } => {
                if let Some(tape) = self.tapes.iter_mut().find(|tape| tape.session == *session) {
                    tape.relays = false;
                }
            }
        }
    }

    /// The process was killed: what was under way in it is lost, what it had written down goes on, if there is a call
    /// that it had.
    pub fn on_killed(&mut self, kept: &str) {
        for served in &mut self.served {
            served.status = if served.status == 0 { LOST } else { served.status };
            served.owed_by = None;
            served.lost = true;
            // Left to the next process.
            if let (LOST, "BYE", Some(bond)) = (served.status, served.method.as_str(), served.bond) {
                self.bonds[bond].bye_heard = false;
            }
        }
        for sent in &mut self.sent {
            sent.lost = true;
        }
        for success in &mut self.successes {
            success.acknowledged = true;
        }
        for bond in &mut self.bonds {
            bond.bye_heard |= !kept.contains(&bond.ours);
            // An answer in flight may be the last word.
            bond.acknowledged = true;
            bond.owed_by = None;
        }
        for tape in self.tapes.iter_mut().filter(|tape| tape.closed + tape.kept == 0) {
            // Recovery seals it.
            tape.closed = 1;
            tape.outcome = Some(if self.grade == Grade::Exempt {
                Outcome::Exempt
            } else {
                Outcome::Recorded
            });
        }
    }

    /// The recorder is lost: from here a strict call has to end, on both legs, in time.
    pub fn on_fault(&mut self, now: Timestamp) {
        let armed = self.tapes.iter().any(|tape| tape.ready && tape.closed + tape.kept == 0);
        if self.grade != Grade::Strict || !armed {
            return;
        }
        let due = Some(now + FAULT_TO_BYE);
        for bond in &mut self.bonds {
            let bound = bond.confirmed.is_some() && (bond.leg == Leg::B || bond.acknowledged);
            if bound && !bond.is_ended() {
                self.seen.insert("a recorder lost in a confirmed call");
                bond.owed_by = bond.owed_by.or(due);
            }
        }
        for served in &mut self.served {
            if served.opens && served.method == "INVITE" && served.status == 0 && served.leg == Leg::A {
                self.seen.insert("a recorder lost before the answer");
                served.owed_by = served.owed_by.or(due);
            }
        }
    }

    /// What was owed by now.
    pub fn check(&mut self, now: Timestamp) {
        for bond in &mut self.bonds {
            if bond.owed_by.is_some_and(|due| due < now) {
                if !bond.is_ended() {
                    self.broken
                        .push(format!("no BYE 250 ms after the recorder was lost: leg {}", bond.leg));
                }
                bond.owed_by = None;
            }
        }
        for served in &mut self.served {
            if served.owed_by.take_if(|due| *due < now).is_some() {
                self.broken
                    .push("A has no final answer 250 ms after the recorder was lost".to_owned());
            }
        }
    }

    /// All timers have run out.
    pub fn audit(&mut self) {
        for served in self.served.iter().filter(|served| served.status == 0) {
            self.broken.push(format!(
                "a request was never answered: {} of {}",
                served.method, served.leg
            ));
        }
        for success in self.successes.iter().filter(|success| !success.acknowledged) {
            self.broken.push(format!(
                "a 2xx was never acknowledged: of {} to INVITE {} of {}",
                success.tag, success.cseq, success.leg
            ));
        }
        for bond in self
            .bonds
            .iter()
            .filter(|bond| bond.confirmed.is_some() && !bond.is_ended())
        {
            self.broken.push(format!(
                "a dialog was never ended: {}→{} of leg {}",
                bond.ours, bond.theirs, bond.leg
            ));
        }
        let calls = self
            .served
            .iter()
            .filter(|served| served.opens && served.method == "INVITE" && served.trying)
            .count();
        let (tapes, grade, connected) = (self.tapes.len(), self.grade, self.connected);
        if tapes < calls && !self.loses_outcomes {
            self.broken
                .push(format!("fewer outcomes than calls: {tapes} of {calls}"));
        }
        for tape in &self.tapes {
            let ends = tape.closed + tape.kept;
            let fits = match (tape.outcome, grade) {
                (Some(Outcome::Exempt), grade) => grade == Grade::Exempt,
                (Some(Outcome::Blocked), _) => !(connected && self.tapes.len() == 1),
                (outcome, grade) => outcome.is_some() && grade != Grade::Exempt,
            };
            if ends != 1 || !fits {
                let outcome = tape.outcome;
                self.broken.push(format!(
                    "not one outcome that fits: {grade:?}, ended {ends} times, {outcome:?}, connected {connected}"
                ));
            }
            self.seen.extend(tape.outcome.map(Outcome::as_str));
        }
    }
}
