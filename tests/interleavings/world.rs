//! One call between two phones, in virtual time, from its first message to its last timer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use onrecord::engine::{Input, Output, Signaling, SignalingConfig};
use onrecord::model::{Fault, Generation, Leg, RecordingEvent, SessionId, Timestamp, earliest};
use onrecord::policy::{PolicySet, RecorderState, RejectCode, SourceFile};
use onrecord::sip::{Flow, Transport};
use onrecord::trunk::{Conduct, Peer, Redirect, Refer, Route, Topology, Trunk};

use super::caller::Placing;
use super::law::Law;
use super::network::Network;
use super::phone::{Alarm, PROXY, Phone};
use super::rng::Rng;
use super::script::{self, Grade, Script, Trouble};
use super::studio::{Said, Studio};
use super::text::Heard;

const HEARTBEAT: Duration = Duration::from_millis(250);
const LAG_MAX: Duration = Duration::from_secs(1);
/// After its last heartbeat a recorder counts as hung no later than this.
const HUNG_BY: Duration = Duration::from_millis(1_610);
/// A call that is still up then has two dead phones: the node is shut down.
const PATIENCE: Duration = Duration::from_secs(900);
const STEPS_MAX: u32 = 200_000;

/// The policies of each grade, compiled once.
pub struct Policies([Arc<PolicySet>; 3]);

impl Policies {
    pub fn compile() -> Self {
        let file = |path: &str, text: String| SourceFile {
            path: path.to_owned(),
            text,
        };
        let policy = |more: &str| {
            let desk =
                format!("[policy]\nid = \"desk\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\n{more}");
            let grant = "[[grant]]\npolicy = \"desk\"\nto = [\"global\"]\n".to_owned();
            vec![file("desk.toml", desk), file("grants.toml", grant)]
        };
        let lenient = "required_before_call_establishment = false\nrequired_during_call = false\n";
        let compile = |files: Vec<SourceFile>| {
            Arc::new(PolicySet::compile(&files, Generation(1)).expect("the policies are valid"))
        };
        Self([compile(policy("")), compile(policy(lenient)), compile(Vec::new())])
    }

    fn of(&self, grade: Grade) -> Arc<PolicySet> {
        Arc::clone(&self.0[grade as usize])
    }
}

enum Happening {
    Arrives(Leg, Rc<Heard>),
    Reaches(Leg, Rc<Heard>),
    Said(Said, u32),
    Trouble(Trouble),
}

/// What became of a seed.
pub struct Verdict {
    pub broken: Vec<String>,
    pub seen: BTreeSet<&'static str>,
    pub ladder: Vec<String>,
}

pub struct World {
    now: Timestamp,
    start: Timestamp,
    script: Script,
    signaling: Signaling,
    phones: [Phone; 2],
    network: Network,
    studio: Studio,
    law: Law,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    queued: u64,
    /// The newest sign of life of the recorder, and when signalling was first told anything.
    beat: Timestamp,
    heard: Option<Timestamp>,
    policies: Arc<PolicySet>,
    /// What the process wrote down of its calls, for the next.
    kept: BTreeMap<SessionId, Bytes>,
    processes: u64,
    /// No process runs.
    deaf: bool,
    tells: bool,
    ladder: Vec<String>,
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

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn config(script: &Script) -> SignalingConfig {
    let trunk = |name: &str, last: u8| Trunk {
        trusted: true,
        conduct: Conduct {
            redirect: if script.follows {
                Redirect::Follow
            } else {
                Redirect::Pass
            },
            refer: if script.executes { Refer::Execute } else { Refer::Pass },
            ..Conduct::default()
        },
        ..Trunk::new(
            name.into(),
            vec![Peer {
                ip: IpAddr::from([192, 0, 2, last]),
                port: Some(5060),
            }],
        )
    };
    let route = |from: &str, to: &str| Route {
        from: from.into(),
        to: to.into(),
        prefix: None,
        to_user: None,
        priority: 0,
    };
    SignalingConfig {
        node: "lab".to_owned(),
        topology: Topology::new(
            vec![trunk("pbx", 1), trunk("carrier", 2)],
            vec![route("pbx", "carrier"), route("carrier", "pbx")],
            vec![(Transport::Udp, address(PROXY))],
        ),
        media_address: IpAddr::from([192, 0, 2, 100]),
        ports: 40_000..=40_127,
        cool_down: Duration::ZERO,
        session_interval: script.session_interval,
        calls_max: 100,
        lag_max: LAG_MAX,
        peer_node: false,
        reject_code: RejectCode::Auto,
        steps: false,
    }
}

impl World {
    fn new(seed: u64, policies: &Policies, tells: bool) -> Self {
        let mut rng = Rng::new(seed);
        let script = script::draw(&mut rng);
        let start = Timestamp::from_millis(1_763_800_000_000);
        let mut caller = Phone::new(
            true,
            rng.fork(),
            script.caller.clone(),
            Placing::new(script.calling.clone(), seed),
        );
        let mut callee = Phone::new(
            false,
            rng.fork(),
            script.callee.clone(),
            Placing::new(script.calling.clone(), seed),
        );
        callee.forks.clone_from(&script.forks);
        (caller.third_party, callee.third_party) = (script.executes, script.executes);
        (callee.challenge, callee.trying) = (script.challenge, script.trying);
        for (phone, nature) in [(&mut caller, &script.caller), (&mut callee, &script.callee)] {
            if let Some(at) = nature.dies_at {
                phone.alarm(start + at, Alarm::Die);
            }
            phone.find_due();
        }
        caller.plan(start);
        let mut world = Self {
            now: start,
            start,
            signaling: Signaling::new(config(&script), policies.of(script.grade), seed),
            phones: [caller, callee],
            network: Network::new(rng.fork(), script.links),
            studio: Studio::new(script.studio.clone()),
            law: Law::new(script.grade),
            queue: BTreeMap::new(),
            queued: 0,
            beat: start,
            heard: None,
            policies: policies.of(script.grade),
            kept: BTreeMap::new(),
            processes: seed,
            deaf: false,
            tells,
            ladder: Vec::new(),
            script,
        };
        for (at, trouble) in world.script.troubles.clone() {
            world.push(start + at, Happening::Trouble(trouble));
        }
        world
    }

    fn push(&mut self, at: Timestamp, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), happening);
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
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
        let phones = earliest(self.phones[0].due, self.phones[1].due);
        let beat = self.beats().then(|| self.beat + HEARTBEAT);
        earliest(earliest(queued, phones), earliest(self.signaling.poll_timeout(), beat))
    }

    fn run(&mut self) {
        let mut shut = false;
        for _ in 0..STEPS_MAX {
            let Some(next) = self.next() else { return };
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
            for leg in Leg::BOTH {
                if self.phones[leg.index()].due.is_some_and(|due| due <= now) {
                    self.phones[leg.index()].handle_timeout(now);
                    self.collect(leg);
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
                self.law.on_fault(now);
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
            Happening::Arrives(leg, heard) if self.deaf => self.tell(|| format!("{leg} → nobody     {}", heard.told())),
            Happening::Arrives(leg, heard) => {
                self.tell(|| format!("{leg} → proxy      {}", heard.told()));
                self.law.on_heard(self.now, leg, &heard);
                let flow = Flow {
                    transport: Transport::Udp,
                    local: address(PROXY),
                    remote: self.phones[leg.index()].address,
                };
                self.input(Input::Sip {
                    flow,
                    bytes: Bytes::copy_from_slice(heard.text().as_bytes()),
                });
            }
            Happening::Reaches(leg, heard) => {
                self.tell(|| format!("      {leg} hears    {}", heard.told()));
                self.phones[leg.index()].handle_sip(self.now, &heard);
                self.collect(leg);
            }
            Happening::Said(said, age) => {
                // A recorder that went down keeps no promise of before, except to seal.
                let sealed = matches!(said, Said::Recording(RecordingEvent::Sealed { .. }) | Said::Media(_));
                if sealed || age == self.studio.age {
                    self.studio.on_said(&said);
                    self.say(said);
                }
            }
            Happening::Trouble(Trouble::Drain) => self.input(Input::Drain),
            Happening::Trouble(Trouble::ShutDown) => self.input(Input::ShutDown),
            Happening::Trouble(trouble @ (Trouble::Killed | Trouble::HandsOver | Trouble::Starts)) => {
                self.restart(trouble)
            }
            Happening::Trouble(trouble) => {
                let said = self.studio.on_trouble(trouble);
                self.tell(|| format!("trouble           {trouble:?}: {said:?}"));
                if let Some(said) = said {
                    if trouble != Trouble::Up {
                        self.law.on_fault(self.now);
                    }
                    self.say(said);
                }
                if trouble == Trouble::Wakes {
                    self.promises();
                }
            }
        }
    }

    /// The process ends, in order or not, and the next one takes its calls over.
    fn restart(&mut self, trouble: Trouble) {
        self.tell(|| format!("process           {trouble:?}"));
        match trouble {
            Trouble::Killed => {
                self.law.on_killed(&self.kept_text());
                self.law.loses_outcomes = true;
                self.law.seen.insert(if self.kept.is_empty() {
                    "killed without a call"
                } else {
                    "killed in a call"
                });
                self.deaf = true;
                self.next_process();
            }
            Trouble::HandsOver => {
                self.law.seen.insert(if self.kept.is_empty() {
                    "handed over without a call"
                } else {
                    "a call handed over"
                });
                self.input(Input::HandOver);
                self.input(Input::ShutDown);
            }
            _ if self.signaling.calls() > 0 => {
                // It waits until what it could not hand over has ended.
                self.push(self.now + Duration::from_secs(1), Happening::Trouble(trouble));
            }
            _ => {
                self.law.on_killed(&self.kept_text());
                self.next_process();
                self.deaf = false;
                for (session, state) in self.kept.clone() {
                    self.input(Input::Resume { session, state });
                }
            }
        }
    }

    /// All that is written down.
    fn kept_text(&self) -> String {
        let states = self.kept.values().map(|state| String::from_utf8_lossy(state));
        states.collect()
    }

    fn next_process(&mut self) {
        self.processes += 1;
        self.signaling = Signaling::new(config(&self.script), Arc::clone(&self.policies), self.processes);
        (self.heard, self.beat) = (None, self.now);
        self.studio.restart();
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

    fn input(&mut self, input: Input) {
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

    /// What a phone wants sent.
    fn collect(&mut self, leg: Leg) {
        for text in std::mem::take(&mut self.phones[leg.index()].out) {
            let heard = Heard::read(&text).unwrap_or_else(|| panic!("a phone speaks SIP: {text}"));
            let heard = Rc::new(heard);
            let mut copies = 0;
            for delay in self.network.delays(leg.index()) {
                copies += 1;
                self.push(self.now + delay, Happening::Arrives(leg, Rc::clone(&heard)));
            }
            if copies != 1 {
                self.tell(|| format!("{leg} → {copies} copies of {}", heard.told()));
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.signaling.poll_output() {
            match output {
                Output::Send { flow, bytes } => self.on_send(flow.remote, &bytes),
                Output::Recording(command) => {
                    self.law.on_recording(&command);
                    self.tell_recording(&command);
                    self.studio.on_recording(command);
                }
                Output::Media(command) => {
                    self.law.on_media(&command);
                    self.tell(|| {
                        format!(
                            "relay             {}",
                            format!("{command:?}").chars().take(60).collect::<String>()
                        )
                    });
                    self.studio.on_media(&command);
                }
                Output::Remember { session, state } => {
                    self.kept.insert(session, state);
                }
                Output::Forget { session } => {
                    self.kept.remove(&session);
                }
                Output::Publish(_) | Output::Step(_) => {}
            }
        }
        self.promises();
    }

    fn tell_recording(&mut self, command: &onrecord::model::RecordingCommand) {
        use onrecord::model::RecordingCommand as Command;
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

    fn on_send(&mut self, remote: SocketAddr, bytes: &Bytes) {
        let text = String::from_utf8_lossy(bytes);
        let leg = Leg::BOTH
            .into_iter()
            .find(|leg| self.phones[leg.index()].address == remote);
        let (Some(leg), Some(heard)) = (leg, Heard::read(&text)) else {
            self.law
                .broken
                .push(format!("no SIP for anybody here: to {remote}: {text}"));
            return;
        };
        let heard = Rc::new(heard);
        self.tell(|| format!("      proxy → {leg}  {}", heard.told()));
        self.law.on_sent(self.now, leg, &heard);
        for delay in self.network.delays(leg.index()) {
            self.push(self.now + delay, Happening::Reaches(leg, Rc::clone(&heard)));
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
        for phone in &self.phones {
            if !phone.is_at_rest() {
                let stages: Vec<_> = phone.dialogs.iter().map(|dialog| dialog.stage).collect();
                self.law.broken.push(format!(
                    "{} was left in a call: {stages:?}",
                    if phone.is_caller { "A" } else { "B" }
                ));
            }
        }
    }
}
