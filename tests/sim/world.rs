//! A whole world by seed: the engine in the middle, phones around it, links and a disk that fail, and the law.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use onrecord::b2bua::{CallState, CallView, StepKind};
use onrecord::engine::{Engine, EngineOutput};
use onrecord::model::{RecordingEvent, Timestamp, earliest};
use onrecord::recorder::VolumeId;
use onrecord::sip::{Flow, Transport};

use super::disk::{Disk, Trouble};
use super::invariants::{Ledger, leaks};
use super::net::{Datagram, Net, Quality};
use super::rng::Rng;
use super::setting::{self, PROXY};
use super::ua::{Phone, Script, State};
use super::wire::Heard;

/// What happens by itself, at its time.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The caller of this pair dials.
    Dial(usize),
    Break(Trouble),
    /// The first volume alone.
    BreakFirst(Trouble),
    Mend,
    /// A stranger sends a packet to every port that the proxy may have open.
    Inject,
}

/// How a call is to be treated, said by who calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Grade {
    Strict,
    Lenient,
    Exempt,
}

pub struct World {
    pub seed: u64,
    pub volumes: usize,
    pub now: Timestamp,
    pub rng: Rng,
    pub net: Net,
    pub disk: Disk,
    pub engine: Engine,
    /// Caller and callee of pair n are phones 2n and 2n + 1.
    pub phones: Vec<Phone>,
    pub ledger: Ledger,
    happenings: BTreeMap<(Timestamp, usize), Happening>,
    /// The power went off while a request was under way.
    pub crashed: bool,
    /// Time stood still for so many steps.
    stuck: u32,
    trail: Vec<String>,
}

impl World {
    pub fn new(seed: u64, quality: Quality) -> Self {
        Self::with_volumes(seed, quality, 1)
    }

    pub fn with_volumes(seed: u64, quality: Quality, volumes: usize) -> Self {
        let mut rng = Rng::new(seed);
        let disk = Disk::new(rng.fork());
        let engine = setting::engine(rng.next(), volumes);
        let net = Net::new(rng.fork(), quality);
        Self {
            seed,
            volumes,
            now: setting::START,
            net,
            disk,
            engine,
            rng,
            phones: Vec::new(),
            ledger: Ledger::default(),
            happenings: BTreeMap::new(),
            crashed: false,
            stuck: 0,
            trail: Vec::new(),
        }
    }

    pub fn after(&mut self, delay: Duration, happening: Happening) {
        let key = (self.now + delay, self.happenings.len());
        self.happenings.insert(key, happening);
    }

    /// Two phones; the caller dials after `delay`.
    pub fn pair(&mut self, delay: Duration, grade: Grade, caller: Script, callee: Script) -> usize {
        let pair = self.phones.len() / 2;
        for (offset, script) in [caller, callee].into_iter().enumerate() {
            let number = pair * 2 + offset;
            let addresses = setting::addresses(pair, offset == 0);
            self.phones.push(Phone::new(
                number as u64,
                offset == 0,
                addresses,
                script,
                self.rng.fork(),
            ));
        }
        self.ledger.expect(pair, grade, &self.phones[pair * 2].call_id);
        self.after(delay, Happening::Dial(pair));
        pair
    }

    pub fn caller(&self, pair: usize) -> &Phone {
        &self.phones[pair * 2]
    }

    pub fn callee(&self, pair: usize) -> &Phone {
        &self.phones[pair * 2 + 1]
    }

    /// Lives until `until`, or the power cut.
    pub fn run_until(&mut self, until: Timestamp) {
        while !self.crashed {
            let Some(next) = self.poll_timeout().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.stuck = if next > self.now { 0 } else { self.stuck + 1 };
            assert!(self.stuck < 10_000, "{}", self.complaint("time stands still"));
            self.now = self.now.max(next);
            self.step();
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Lives until every phone is done, at most ten minutes; then as long as the product may take to tidy up.
    pub fn run_to_rest(&mut self) {
        let limit = self.now + Duration::from_secs(600);
        while self.now < limit && !self.crashed && !self.is_quiet() {
            self.run_for(Duration::from_secs(1));
        }
        self.run_for(setting::TIDY_UP);
    }

    fn is_quiet(&self) -> bool {
        let at_rest = |phone: &Phone| match phone.state {
            State::Ended => phone.poll_timeout().is_none(),
            State::Idle => true,
            _ => false,
        };
        self.happenings.is_empty() && self.phones.iter().all(at_rest)
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let phones = self.phones.iter().map(Phone::poll_timeout);
        let others = [
            self.happenings.keys().next().map(|(at, _)| *at),
            self.net.poll_timeout(),
            self.disk.poll_timeout(),
            self.engine.poll_timeout(),
        ];
        phones.chain(others).fold(None, earliest)
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.happenings.first_entry().filter(|entry| entry.key().0 <= now) {
            let happening = entry.remove();
            self.on_happening(happening);
        }
        while let Some(done) = self.disk.poll_done(now) {
            self.engine.handle_io(now, done);
            self.drain();
        }
        while let Some(datagram) = self.net.poll_arrival(now) {
            self.deliver(datagram);
        }
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
            self.drain();
        }
        for at in 0..self.phones.len() {
            self.phones[at].handle_timeout(now);
            self.mail(at);
        }
        let lawful = self.ledger.check(now, &self.disk, setting::LAG_MAX);
        self.demand(lawful);
    }

    fn on_happening(&mut self, happening: Happening) {
        self.note(format!("{happening:?}"));
        match happening {
            Happening::Dial(pair) => {
                let caller = setting::caller(self.ledger.grade(pair), pair);
                let now = self.now;
                self.phones[pair * 2].call(now, &caller, &setting::callee(pair));
                self.mail(pair * 2);
            }
            Happening::Break(trouble) => self.disk.break_with(trouble, None),
            Happening::BreakFirst(trouble) => self.disk.break_with(trouble, Some(VolumeId(0))),
            Happening::Mend => self.disk.mend(self.now),
            Happening::Inject => {
                for datagram in setting::injection(self.rng.next()) {
                    self.deliver(datagram);
                }
            }
        }
    }

    fn deliver(&mut self, datagram: Datagram) {
        let Datagram { from, to, bytes } = datagram;
        let now = self.now;
        if to == PROXY {
            self.note_sip(&bytes, from, to);
            if let Some(heard) = Heard::read(&bytes) {
                self.ledger.on_received(&heard);
            }
            self.engine.handle_sip(
                now,
                Flow {
                    transport: Transport::Udp,
                    local: PROXY,
                    remote: from,
                },
                bytes,
            );
            self.drain();
        } else if to.ip() == PROXY.ip() {
            self.engine.handle_media(now, to, from, &bytes);
            self.drain();
        } else if let Some(at) = self.phones.iter().position(|phone| phone.media == to) {
            let _ = self.phones[at].handle_media(&bytes);
        } else {
            self.ring(to, &bytes);
        }
    }

    /// SIP for a phone: by Call-ID, and a new call by the user it is for.
    fn ring(&mut self, to: SocketAddr, bytes: &Bytes) {
        let Some(heard) = Heard::read(bytes) else {
            panic!(
                "{}",
                self.complaint(&format!("the proxy sent no SIP: {}", String::from_utf8_lossy(bytes)))
            );
        };
        let known = self
            .phones
            .iter()
            .position(|phone| phone.address == to && phone.owns(&heard));
        let Some(at) = known.or_else(|| self.rung_pair(&heard).map(|pair| pair * 2 + 1)) else {
            return;
        };
        self.phones[at].handle_sip(self.now, &heard);
        self.mail(at);
    }

    /// The pair whose callee a first INVITE is for.
    fn rung_pair(&self, heard: &Heard) -> Option<usize> {
        let is_new = heard.method == "INVITE" && heard.tag("to").is_none();
        (0..self.phones.len() / 2).find(|pair| is_new && setting::is_callee(*pair, &heard.request_uri))
    }

    fn on_sent(&mut self, heard: &Heard) {
        self.ledger.on_sent(heard);
        if let Some(pair) = self.rung_pair(heard) {
            let lawful = self.ledger.on_rung(pair, &self.disk);
            self.demand(lawful);
        }
    }

    fn on_view(&mut self, view: &CallView) {
        self.note(format!(
            "{} is {:?}, {:?}, {:?}",
            view.caller, view.state, view.recording, view.outcome
        ));
        let Some(pair) = setting::pair_of(&view.caller) else {
            return;
        };
        let lawful = self.ledger.on_view(pair, view.session);
        self.demand(lawful);
        if view.state == CallState::Over {
            let lawful = self.ledger.on_over(pair, [self.caller(pair), self.callee(pair)]);
            self.demand(lawful);
        }
    }

    fn demand(&self, lawful: Result<(), String>) {
        if let Err(broken) = lawful {
            panic!("{}", self.complaint(&broken));
        }
    }

    fn mail(&mut self, phone: usize) {
        while let Some(datagram) = self.phones[phone].poll_output() {
            self.net.send(self.now, datagram);
        }
    }

    /// Everything that the engine wants done, in its order.
    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                EngineOutput::Send { flow, bytes } => {
                    self.note_sip(&bytes, flow.local, flow.remote);
                    if let Some(heard) = Heard::read(&bytes) {
                        self.on_sent(&heard);
                    }
                    self.net.send(
                        self.now,
                        Datagram {
                            from: flow.local,
                            to: flow.remote,
                            bytes,
                        },
                    );
                }
                EngineOutput::Media { from, to, bytes } => {
                    let lawful = self.ledger.on_forwarded(self.now, &bytes);
                    self.demand(lawful);
                    self.net.send(self.now, Datagram { from, to, bytes });
                }
                EngineOutput::Io(request) => {
                    self.disk.submit(self.now, request);
                    if self.disk.is_crash_due() {
                        self.crashed = true;
                        return;
                    }
                }
                EngineOutput::Relayed { .. } => {}
                EngineOutput::Published(view) => self.on_view(&view),
                EngineOutput::Recorder(event) => {
                    if !matches!(event, RecordingEvent::Heartbeat { .. }) {
                        self.note(format!("recorder: {event:?}"));
                    }
                    self.ledger.on_recorder(self.now, &event);
                }
                EngineOutput::Step(step) if matches!(step.what, StepKind::Sip { .. }) => {}
                EngineOutput::Step(step) => self.note(format!("{:?}", step.what)),
            }
        }
    }

    /// What the law says at the end: both legs have ended, everything is back, every call has its one true outcome.
    pub fn audit(&self) {
        let mut broken = leaks(&self.engine);
        broken.extend(self.ledger.audit(&self.disk, setting::LAG_MAX));
        for phone in self
            .phones
            .iter()
            .filter(|phone| !matches!(phone.state, State::Ended | State::Idle))
        {
            broken.push(format!(
                "both_legs_end: phone {} is still {:?}",
                phone.number, phone.state
            ));
        }
        if !broken.is_empty() {
            panic!("{}", self.complaint(&broken.join("\n")));
        }
    }

    fn note(&mut self, what: String) {
        let millis = self.now.since(setting::START).as_millis();
        self.trail.push(format!("{millis:>7} {what}"));
    }

    fn note_sip(&mut self, bytes: &[u8], from: SocketAddr, to: SocketAddr) {
        let text = String::from_utf8_lossy(bytes);
        let line = |name: &str| {
            text.lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default()
                .to_owned()
        };
        let (start, cseq, call_id) = (text.lines().next().unwrap_or_default(), line("CSeq"), line("Call-ID"));
        self.note(format!("{from} → {to}  {start}  {cseq}  {call_id}"));
    }

    /// What broke, how to see it again, and what happened before: all of it when one seed was asked for.
    pub fn complaint(&self, what: &str) -> String {
        let shown = if std::env::var_os("ONRECORD_SEED").is_some() {
            usize::MAX
        } else {
            40
        };
        let from = self.trail.len().saturating_sub(shown);
        format!(
            "{what}\nat {} ms of seed {seed}; again: ONRECORD_SEED={seed} cargo test --test sim seeds\n{}",
            self.now.since(setting::START).as_millis(),
            self.trail[from..].join("\n"),
            seed = self.seed,
        )
    }
}
