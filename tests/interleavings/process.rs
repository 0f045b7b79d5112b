//! The process under test: its configuration, its policies, and how it ends and starts again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onrecord::engine::{Input, Signaling, SignalingConfig};
use onrecord::model::{Clip, Generation, Rendition};
use onrecord::policy::{Clips, PolicySet, RejectCode, SourceFile};
use onrecord::sip::Transport;
use onrecord::sip::digest::{Credentials, Password};
use onrecord::trunk::{Conduct, Peer, Redirect, Refer, Route, Topology, Trunk};

use super::doubting::REALM;
use super::network::proxy;
use super::script::{Grade, Script, Third, Trouble};
use super::seat::Seat;
use super::world::{Happening, World};

pub const LAG_MAX: Duration = Duration::from_secs(1);

/// The policies of each grade, compiled once: as they are, with a word to the caller before the call, and with a question.
#[derive(Clone)]
pub struct Policies {
    sets: [[Arc<PolicySet>; 3]; 3],
    set: usize,
}

/// How long the word before the call takes.
pub const FOREWORD: Duration = Duration::from_millis(400);

fn clips() -> Clips {
    let rendition = Rendition {
        encoding: "PCMA",
        clock_rate: 8_000,
        channels: 1,
        payloads: vec![vec![0x55; 160].into(); 20],
    };
    let prompt = Arc::new(Clip {
        name: "prompt".to_owned(),
        renditions: vec![rendition],
    });
    Clips {
        tone: None,
        prompts: BTreeMap::from([("desk".to_owned(), prompt)]),
    }
}

impl Policies {
    pub fn compile() -> Self {
        let file = |path: &str, text: String| SourceFile {
            path: path.to_owned(),
            text,
        };
        const FOREWARNS: &str =
            "notify = { mode = \"prompt\", when = \"before_connect\" }\nprompts = { package = \"desk\" }\n";
        let asks = FOREWARNS.replacen(" }", ", consent = { within = \"2s\", silence = \"agrees\" } }", 1);
        let policy = |notify: &str, more: &str| {
            let desk = format!(
                "[policy]\nid = \"desk\"\nenabled = true\n{notify}[[policy.recorder]]\nid = \"embedded\"\n{more}"
            );
            let grant = "[[grant]]\npolicy = \"desk\"\nto = [\"global\"]\n".to_owned();
            vec![file("desk.toml", desk), file("grants.toml", grant)]
        };
        let lenient = "required_before_call_establishment = false\nrequired_during_call = false\n";
        let compile = |files: Vec<SourceFile>| {
            let set = PolicySet::compile(&files, Generation(1)).expect("the policies are valid");
            Arc::new(set.with_clips(clips()))
        };
        let sets = ["", FOREWARNS, &asks].map(|notify| {
            [
                compile(policy(notify, "")),
                compile(policy(notify, lenient)),
                compile(Vec::new()),
            ]
        });
        Self { sets, set: 0 }
    }

    #[must_use]
    pub fn telling(&self, set: usize) -> Self {
        let sets = self.sets.clone();
        Self { sets, set }
    }

    pub fn of(&self, grade: Grade) -> Arc<PolicySet> {
        Arc::clone(&self.sets[self.set][grade as usize])
    }
}

/// The trunks around the proxy: A's, the carrier's with B and perhaps C, and C's own.
pub fn trunks(script: &Script, without_b: bool) -> (Vec<Trunk>, Vec<Route>) {
    let refer = if script.executes { Refer::Execute } else { Refer::Pass };
    let trunk = |name: &str, seats: &[Seat], conduct: Conduct| {
        let peers = seats.iter().map(|seat| Peer {
            ip: seat.host(),
            port: Some(seat.address().port()),
        });
        let by_stream = script.streams[seats[0].index()];
        Trunk {
            trusted: true,
            conduct: Conduct { refer, ..conduct },
            transport: if by_stream { Transport::Tcp } else { Transport::Udp },
            ..Trunk::new(name.into(), peers.collect())
        }
    };
    let credentials = Credentials {
        realm: REALM.to_owned(),
        user: "onrecord".to_owned(),
        password: Password::new("secret".to_owned()),
    };
    let carrier = Conduct {
        credentials: script.doubt.filter(|doubt| doubt.of_proxy).map(|_| credentials),
        redirect: if script.follows {
            Redirect::Follow
        } else {
            Redirect::Pass
        },
        ..Conduct::default()
    };
    let spare = script.third == Third::Spare;
    let of_carrier: &[Seat] = if spare { &[Seat::B, Seat::C] } else { &[Seat::B] };
    let mut trunks = vec![trunk("pbx", &[Seat::A], Conduct::default())];
    if !without_b {
        trunks.push(trunk("carrier", of_carrier, carrier));
    }
    if !spare {
        trunks.push(trunk("branch", &[Seat::C], Conduct::default()));
    }
    let route = |(from, to, prefix): (&str, &str, Option<&str>)| Route {
        from: from.into(),
        to: to.into(),
        prefix: prefix.map(str::to_owned),
        to_user: None,
        priority: 0,
    };
    let mut routes = Vec::new();
    if !spare {
        let third = Some(Seat::C.user());
        routes.extend([("pbx", "branch", third), ("carrier", "branch", third)]);
        routes.extend([("branch", "carrier", Some(Seat::B.user())), ("branch", "pbx", None)]);
    }
    routes.extend([("pbx", "carrier", None), ("carrier", "pbx", None)]);
    (trunks, routes.into_iter().map(route).collect())
}

pub fn config(script: &Script) -> SignalingConfig {
    let (trunks, routes) = trunks(script, false);
    let listeners = [Transport::Udp, Transport::Tcp].map(|transport| (transport, proxy()));
    SignalingConfig {
        node: "lab".to_owned(),
        topology: Topology::new(trunks, routes, listeners.to_vec()),
        media_address: proxy().ip(),
        ports: 40_000..=40_127,
        cool_down: Duration::ZERO,
        session_interval: script.session_interval,
        ring_max: Duration::from_secs(200),
        calls_max: 100,
        lag_max: LAG_MAX,
        peer_node: false,
        reject_code: RejectCode::Auto,
        steps: false,
    }
}

impl World {
    /// What is done to the process, not by it.
    pub fn manage(&mut self, trouble: Trouble) {
        self.tell(|| format!("process           {trouble:?}"));
        match trouble {
            Trouble::Drain => {
                self.law.seen.insert("drained");
                self.input(Input::Drain);
            }
            Trouble::Admit => self.input(Input::Admit),
            Trouble::ShutDown => self.input(Input::ShutDown),
            Trouble::Policies(grade) => {
                self.law.seen.insert(if self.signaling.calls() > 0 {
                    "policies reloaded in a call"
                } else {
                    "policies reloaded"
                });
                self.law.on_policies(grade);
                self.grade = grade;
                self.input(Input::Policies(self.policies.of(grade)));
            }
            Trouble::Trunks { without_b } => {
                self.law.seen.insert(if without_b {
                    "B's trunk removed"
                } else {
                    "trunks reloaded"
                });
                let (trunks, routes) = trunks(&self.script, without_b);
                self.input(Input::Trunks { trunks, routes });
            }
            _ => self.restart(trouble),
        }
    }

    /// The process ends, in order or not, and the next one takes its calls over.
    fn restart(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Killed => {
                self.law.on_killed(&self.kept_text());
                self.law.loses_outcomes = true;
                self.law.seen.insert(if self.kept.is_empty() {
                    "killed without a call"
                } else {
                    "killed in a call"
                });
                let asked = self.phones.iter_mut().flat_map(|phone| &mut phone.asked);
                asked.for_each(|asked| asked.forgotten = true);
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
                let at = self.now + Duration::from_millis(600);
                self.push(at, Happening::Trouble(Trouble::LetsGo));
            }
            Trouble::LetsGo => {
                self.law.handed_over = true;
                self.input(Input::ShutDown);
            }
            _ if self.signaling.calls() > 0 => {
                // It waits until what it could not hand over has ended.
                self.push(self.now + Duration::from_secs(1), Happening::Trouble(trouble));
            }
            _ => {
                self.law.on_killed(&self.kept_text());
                self.next_process();
                (self.deaf, self.law.handed_over) = (false, false);
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
        self.tear_sessions();
        self.processes += 1;
        self.signaling = Signaling::new(config(&self.script), self.policies.of(self.grade), self.processes);
        (self.heard, self.beat) = (None, self.now);
        self.studio.restart();
    }
}
