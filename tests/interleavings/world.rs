//! Up to three phones around one proxy, in virtual time, from the first message to the last timer.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use onrecord::engine::{Input, Output, Signaling};
use onrecord::model::{
    Fault, LegPlan, MediaCommand, MediaPlan, RecordingCommand, RecordingEvent, SessionId, Timestamp, earliest,
};
use onrecord::policy::RecorderState;
use onrecord::sip::Flow;

use super::law::Law;
use super::network::{Network, Way};
use super::phone::Phone;
use super::process::Policies;
use super::script::{Grade, Intrusion, Script, Trouble};
use super::seat::Seat;
use super::studio::{Said, Studio};
use super::text::Heard;

const HEARTBEAT: Duration = Duration::from_millis(250);
/// After its last heartbeat a recorder counts as hung no later than this.
const HUNG_BY: Duration = Duration::from_millis(1_610);
/// A call that is still up then has dead phones on both sides: the node is shut down.
const PATIENCE: Duration = Duration::from_secs(900);
const STEPS_MAX: u32 = 200_000;
/// What an ICMP message brings back of a datagram.
const FRAGMENT_BYTES: usize = 520;

pub enum Happening {
    /// At the proxy.
    Arrives(Seat, Way, Rc<Heard>),
    /// At a phone.
    Reaches(Seat, Way, Rc<Heard>),
    Unreachable(Flow),
    Bounced(Flow, Rc<Heard>),
    Said(Said, u32),
    Trouble(Trouble),
    Intrudes(Intrusion),
}

/// What became of a seed.
pub struct Verdict {
    pub broken: Vec<String>,
    pub seen: BTreeSet<&'static str>,
    pub ladder: Vec<String>,
}

pub struct World {
    pub now: Timestamp,
    pub start: Timestamp,
    pub script: Script,
    pub signaling: Signaling,
    pub phones: [Phone; 3],
    pub network: Network,
    /// By which connection a request came to a phone: its answers go back by it.
    pub asked_by: BTreeMap<String, Way>,
    pub studio: Studio,
    pub law: Law,
    pub queue: BTreeMap<(Timestamp, u64), Happening>,
    pub queued: u64,
    /// The newest sign of life of the recorder, and when signalling was first told anything.
    pub beat: Timestamp,
    pub heard: Option<Timestamp>,
    pub policies: Policies,
    pub grade: Grade,
    /// What the process wrote down of its calls, for the next.
    pub kept: BTreeMap<SessionId, Bytes>,
    pub processes: u64,
    /// No process runs.
    pub deaf: bool,
    pub tells: bool,
    pub ladder: Vec<String>,
}

/// Runs one seed; `tells` writes its ladder.
pub fn run(seed: u64, policies: &Policies, tells: bool) -> Verdict {
    let mut world = World::new(seed, policies, tells);
    world.run();
    world.audit();
    let World {
        law,
        phones,
        mut ladder,
        script,
        ..
    } = world;
    if tells {
        ladder.insert(0, format!("{script:#?}"));
    }
    let mut broken = law.broken;
    let mut seen = law.seen;
    for phone in phones {
        broken.extend(phone.wrongs);
        seen.extend(phone.seen);
    }
    Verdict { broken, seen, ladder }
}

impl World {
    pub fn push(&mut self, at: Timestamp, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), happening);
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.tells {
            let millis = self.now.since(self.start).as_millis();
            self.ladder
                .push(format!("{:4}.{:03}  {}", millis / 1_000, millis % 1_000, what()));
        }
    }

    fn beats(&self) -> bool {
        self.signaling.calls() > 0 && self.studio.up && !self.studio.hung
    }

    fn next(&self) -> Option<Timestamp> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let phones = self.phones.iter().fold(None, |due, phone| earliest(due, phone.due));
        let beat = self.beats().then(|| self.beat + HEARTBEAT);
        earliest(earliest(queued, phones), earliest(self.signaling.poll_timeout(), beat))
    }

    fn run(&mut self) {
        let mut shut = false;
        for _ in 0..STEPS_MAX {
            // A call of two dead phones that nobody refreshes goes on with nothing due in it.
            let forgotten = (self.signaling.calls() > 0 && !shut).then(|| self.start + PATIENCE + PATIENCE);
            let Some(next) = self.next().or(forgotten) else { return };
            self.now = self.now.max(next);
            if self.now > self.start + PATIENCE && !shut {
                shut = true;
                self.law.seen.insert("a call of two dead phones");
                self.input(Input::ShutDown);
            }
            if self.now > self.start + PATIENCE * 3 {
                self.law
                    .broken
                    .push(format!("it does not come to rest: {} calls", self.signaling.calls()));
                return;
            }
            self.step();
            self.law.check(self.now);
        }
        self.law.broken.push("it does not come to rest".to_owned());
    }

    fn step(&mut self) {
        let now = self.now;
        if let Some(key) = self.queue.keys().next().copied().filter(|(at, _)| *at <= now) {
            let happening = self.queue.remove(&key);
            happening.into_iter().for_each(|happening| self.happen(happening));
        } else if self.phones.iter().any(|phone| phone.due.is_some_and(|due| due <= now)) {
            for seat in Seat::ALL {
                if self.phones[seat.index()].due.is_some_and(|due| due <= now) {
                    self.phones[seat.index()].handle_timeout(now);
                    self.collect(seat, None);
                    self.bury_phone(seat);
                }
            }
        } else if self.beats() && self.beat + HEARTBEAT <= now {
            self.beat = now;
            self.input(Input::Recording(RecordingEvent::Heartbeat { durable_until: now }));
        } else {
            let before = self.signaling.recorder();
            self.signaling.handle_timeout(now);
            let hung = RecorderState::Down(Fault::Hung);
            if before == RecorderState::Up && self.signaling.recorder() == hung {
                self.tell(|| "the recorder counts as hung".to_owned());
                self.law.seen.insert("a recorder that hung");
                self.law.on_fault(now, None);
            }
            self.drain();
        }
        let idle = self.signaling.poll_timeout().is_none_or(|due| due > self.now);
        let silent = idle && self.signaling.calls() > 0 && self.signaling.recorder() == RecorderState::Up;
        let heard = self.heard.map_or(self.beat, |heard| heard.max(self.beat));
        if silent && self.studio.hung && self.now > heard + HUNG_BY {
            self.law.broken.push("a recorder that hangs is not noticed".to_owned());
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(seat, way, heard) => self.arrive(seat, way, &heard),
            Happening::Reaches(seat, way, heard) => self.reach(seat, way, &heard),
            Happening::Unreachable(flow) => {
                self.law.on_unreachable(flow);
                self.input(Input::Unreachable { flow });
            }
            Happening::Bounced(flow, heard) => {
                self.law.on_bounced(&heard.branch);
                let fragment = Bytes::copy_from_slice(heard.text().as_bytes());
                let fragment = fragment.slice(..fragment.len().min(FRAGMENT_BYTES));
                self.input(Input::Bounced { flow, fragment });
            }
            Happening::Intrudes(intrusion) => self.intrude(intrusion),
            Happening::Said(said, age) => {
                // A recorder that went down keeps no promise of before, except to seal.
                let sealed = matches!(said, Said::Recording(RecordingEvent::Sealed { .. }) | Said::Media(_));
                if sealed || age == self.studio.age {
                    self.studio.on_said(&said);
                    self.say(said);
                }
            }
            Happening::Trouble(trouble) => self.suffer(trouble),
        }
    }

    fn suffer(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Breaks(seat) => self.break_streams(seat),
            Trouble::Down
            | Trouble::Up
            | Trouble::Faulted
            | Trouble::Hangs
            | Trouble::Wakes
            | Trouble::Refused
            | Trouble::NoPort => {
                let said = self.studio.on_trouble(trouble);
                self.tell(|| format!("trouble           {trouble:?}: {said:?}"));
                if let Some(said) = said {
                    if let Some(session) = said.fault() {
                        self.law.on_fault(self.now, session);
                    }
                    self.say(said);
                }
                if trouble == Trouble::Wakes {
                    self.promises();
                }
            }
            _ => self.manage(trouble),
        }
    }

    fn say(&mut self, said: Said) {
        self.tell(|| format!("studio            {said:?}"));
        match said {
            Said::Recording(event) => {
                self.law.on_recorder(&event);
                self.beat = self.now;
                self.input(Input::Recording(event));
            }
            Said::Media(event) => self.input(Input::Media(event)),
        }
    }

    pub fn input(&mut self, input: Input) {
        if self.signaling.calls() == 0 && self.studio.up && !self.studio.hung {
            // Its heartbeats while there is no call, all at once.
            self.beat = self.now;
            let beat = RecordingEvent::Heartbeat {
                durable_until: self.now,
            };
            self.signaling.handle_input(self.now, Input::Recording(beat));
        }
        self.heard.get_or_insert(self.now);
        self.signaling.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.signaling.poll_output() {
            match output {
                Output::Send { flow, bytes } => self.on_send(flow, &bytes),
                Output::Recording(command) => {
                    self.law.on_recording(&command);
                    self.tell_recording(&command);
                    self.studio.on_recording(command);
                }
                Output::Media(command) => {
                    self.law.on_media(&command);
                    self.tell(|| format!("relay             {}", told(&command)));
                    self.studio.on_media(&command);
                }
                Output::Remember { session, state } => {
                    self.kept.insert(session, state.written());
                }
                Output::Forget { session } => {
                    self.kept.remove(&session);
                }
                Output::Publish(_) | Output::Step(_) => {}
            }
        }
        self.promises();
    }

    fn tell_recording(&mut self, command: &RecordingCommand) {
        use RecordingCommand as Command;
        match command {
            Command::Open(_) => self.tell(|| "recorder          open".to_owned()),
            Command::Close { closing, .. } | Command::Keep { closing, .. } => {
                self.tell(|| format!("recorder          {:?}, {}", closing.outcome, closing.ended_by));
            }
            Command::Signal { .. } | Command::Mark { .. } => {}
        }
    }

    fn promises(&mut self) {
        for promise in std::mem::take(&mut self.studio.promises) {
            self.push(self.now + promise.after, Happening::Said(promise.said, promise.age));
        }
    }

    fn audit(&mut self) {
        self.law.audit();
        let (calls, left) = (self.signaling.calls(), self.signaling.leftovers());
        if calls > 0 || left != [0; 4] {
            self.law.broken.push(format!(
                "something is left: {calls} calls; ports, transactions, owners, names: {left:?}"
            ));
        }
        let (tapes, relays) = self.studio.open();
        if tapes + relays > 0 {
            self.law
                .broken
                .push(format!("something is left open: {tapes} recordings, {relays} relays"));
        }
        for phone in self.phones.iter().filter(|phone| !phone.is_at_rest()) {
            let stages: Vec<_> = phone.dialogs.iter().map(|dialog| dialog.stage).collect();
            self.law
                .broken
                .push(format!("{} was left in a call: {stages:?}", phone.seat));
        }
    }
}

/// What a command makes of the media, in a line.
fn told(command: &MediaCommand) -> String {
    let lines = |plan: &MediaPlan| {
        let named = |leg: &LegPlan| leg.remote.map_or("nowhere".to_owned(), |remote| remote.rtp.to_string());
        let lines = plan
            .lines
            .iter()
            .map(|line| format!(", {} ⇄ {}", named(&line.a), named(&line.b)));
        format!("{:?}{}", plan.recorded, lines.collect::<String>())
    };
    match command {
        MediaCommand::Open(plan) => format!("open: {}", lines(plan)),
        MediaCommand::Modify(plan) => format!("modify: {}", lines(plan)),
        MediaCommand::Gate { gate, .. } => format!("gate: {gate:?}"),
        MediaCommand::Pausing { pausing, .. } => format!("pausing: {pausing:?}"),
        MediaCommand::Close { .. } => "close".to_owned(),
    }
}
