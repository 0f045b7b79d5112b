//! What a recorded call costs signalling: INVITE, 100, 180, 200, ACK, BYE, 200 between two phones, under a strict policy,
//! with a recorder and media threads that answer at once. No socket, no thread: the cores alone.
//!
//!     cargo bench --bench call_setup [-- CALLS]
//!
//! Prints microseconds and allocations a call, the bytes of a call that is held, and microseconds a call that is refused for want of room; ratios of two
//! builds in one run are what counts.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod counting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use onrecord::engine::{Input, Newcomer, Output, Signaling, SignalingConfig};
use onrecord::model::{
    Generation, MediaCommand, MediaEvent, Reconciliation, RecordingCommand, RecordingEvent, Tally, Timestamp,
};
use onrecord::policy::{PolicySet, RejectCode, SourceFile};
use onrecord::sip::{Flow, Transport};
use onrecord::trunk::{Peer, Route, Topology, Trunk};

const PROXY: &str = "127.0.0.1:5070";
const CALLER: &str = "127.0.0.1:5080";
const CALLEE: &str = "127.0.0.1:5090";
/// Calls at once, to see what one holds.
const HELD: u32 = 2_000;
/// Until no transaction of a held call is left (RFC 3261 §17, Timer D and its kin).
const SETTLING: Duration = Duration::from_secs(40);
const SDP: &str = "v=0\r\no=caller 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n";
const POLICY: &str = "[policy]\nid = \"desk\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\n[[grant]]\npolicy = \"desk\"\nto = [\"global\"]\n";

fn main() {
    let calls = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(20_000);
    let mut bench = Bench::new();
    bench.run(1_000);
    let allocations = counting::allocations();
    let begun = Instant::now();
    bench.run(calls);
    let took = begun.elapsed();
    println!(
        "{calls} calls: {:.1} us and {:.0} allocations a call, {} messages each",
        took.as_secs_f64() * 1e6 / f64::from(calls),
        (counting::allocations() - allocations) as f64 / f64::from(calls),
        bench.messages / u64::from(calls + 1_000),
    );
    println!("{HELD} held calls: {:.0} bytes each", bench.held_bytes());
    let begun = Instant::now();
    for _ in 0..calls {
        bench.refusal();
    }
    let took = begun.elapsed();
    println!(
        "{calls} INVITEs refused for want of room: {:.2} us each, with its ACK",
        took.as_secs_f64() * 1e6 / f64::from(calls)
    );
}

struct Bench {
    now: Timestamp,
    signaling: Signaling,
    to_caller: Vec<Bytes>,
    to_callee: Vec<Bytes>,
    begun: u32,
    messages: u64,
}

impl Bench {
    fn new() -> Self {
        let file = SourceFile {
            path: "desk.toml".into(),
            text: POLICY.into(),
        };
        let policies = Arc::new(PolicySet::compile(&[file], Generation(1)).unwrap());
        let trunks = vec![trunk("pbx", CALLER), trunk("carrier", CALLEE)];
        let routes = vec![route("pbx", "carrier"), route("carrier", "pbx")];
        let listeners = vec![(Transport::Udp, PROXY.parse().unwrap())];
        let config = SignalingConfig {
            node: "lab".to_owned(),
            topology: Topology::new(trunks, routes, listeners),
            media_address: "127.0.0.1".parse().unwrap(),
            ports: 20_000..=59_999,
            cool_down: Duration::ZERO,
            session_interval: Some(Duration::from_secs(1_800)),
            ring_max: Duration::from_secs(600),
            calls_max: 5_000,
            lag_max: Duration::from_secs(1),
            peer_node: false,
            reject_code: RejectCode::Auto,
            steps: false,
        };
        Self {
            now: Timestamp::from_millis(1_763_800_000_000),
            signaling: Signaling::new(config, policies, 7),
            to_caller: Vec::new(),
            to_callee: Vec::new(),
            begun: 0,
            messages: 0,
        }
    }

    /// An INVITE that finds no room, and the ACK to its refusal.
    #[inline(never)]
    fn refusal(&mut self) {
        self.begun += 1;
        let (n, caller) = (self.begun, format!("<sip:caller@{CALLER}>;tag=c1x{}", self.begun));
        let to = format!("<sip:service@{PROXY}>");
        let head = |method: &str, to: &str, typed: &str, sdp: &str| {
            Bytes::from(format!(
                "{method} sip:service@{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-1-{n}-0\r\nFrom: {caller}\r\nTo: {to}\r\nCall-ID: {n}-1@127.0.0.1\r\nCSeq: 1 {method}\r\nContact: <sip:caller@{CALLER}>\r\nMax-Forwards: 70\r\n{typed}Content-Length: {}\r\n\r\n{sdp}",
                sdp.len()
            ))
        };
        let flow = Flow {
            transport: Transport::Udp,
            local: PROXY.parse().unwrap(),
            remote: CALLER.parse().unwrap(),
        };
        let bytes = head("INVITE", &to, "Content-Type: application/sdp\r\n", SDP);
        assert!(Newcomer::of(&bytes).is_some());
        self.signaling.handle_input(self.now, Input::Excess { flow, bytes });
        self.drain();
        let refused = self.to_caller.pop().unwrap();
        assert!(refused.starts_with(b"SIP/2.0 503"));
        let ack = head("ACK", &line(&refused, "To: "), "", "");
        assert!(Newcomer::of(&ack).is_none());
        self.signaling.handle_input(self.now, Input::Sip { flow, bytes: ack });
        self.drain();
    }

    fn run(&mut self, calls: u32) {
        for _ in 0..calls {
            self.call();
        }
    }

    /// What signalling holds of a call that talks.
    fn held_bytes(&mut self) -> f64 {
        self.settle();
        let before = counting::held();
        let talks: Vec<_> = (0..HELD).map(|_| self.begin()).collect();
        self.settle();
        let ours: usize = talks.iter().map(Talk::bytes).sum();
        let held = counting::held() - before - ours as i64;
        for talk in talks {
            self.end(&talk);
        }
        held as f64 / f64::from(HELD)
    }

    /// Waits until what has ended is forgotten, beside a recorder that lives.
    fn settle(&mut self) {
        for _ in 0..SETTLING.as_secs() {
            self.now = self.now + Duration::from_secs(1);
            let durable_until = self.now;
            self.answer(Input::Recording(RecordingEvent::Heartbeat { durable_until }));
        }
        while self.signaling.poll_timeout().is_some_and(|due| due <= self.now) {
            self.signaling.handle_timeout(self.now);
            self.drain();
        }
    }

    /// One call from INVITE to the 200 of its BYE, a millisecond a step.
    fn call(&mut self) {
        let talk = self.begin();
        self.end(&talk);
    }

    fn begin(&mut self) -> Talk {
        self.begun += 1;
        let (n, caller) = (self.begun, format!("<sip:caller@{CALLER}>;tag=c1x{}", self.begun));
        let to = format!("<sip:service@{PROXY}>");
        let invite = format!(
            "INVITE sip:service@{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-1-{n}-0\r\nFrom: {caller}\r\nTo: {to}\r\nCall-ID: {n}-1@127.0.0.1\r\nCSeq: 1 INVITE\r\nContact: <sip:caller@{CALLER}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
            SDP.len()
        );
        self.hear(CALLER, invite.into());
        let invited = self.to_callee.pop().unwrap();
        self.hear(CALLEE, answer(&invited, "180 Ringing", ""));
        self.hear(CALLEE, answer(&invited, "200 OK", SDP));
        let answered = self.to_caller.pop().unwrap();
        let (to, target) = (line(&answered, "To: "), line(&answered, "Contact: "));
        let target = target.trim_start_matches('<').split('>').next().unwrap().to_owned();
        let talk = Talk { n, caller, to, target };
        self.hear(CALLER, talk.request(1, "ACK"));
        self.to_caller.clear();
        self.to_callee.clear();
        talk
    }

    fn end(&mut self, talk: &Talk) {
        self.hear(CALLER, talk.request(2, "BYE"));
        let bye = self.to_callee.pop().unwrap();
        assert!(bye.starts_with(b"BYE "), "the call ends in order");
        self.hear(CALLEE, answer(&bye, "200 OK", ""));
        let ended = self.to_caller.pop().unwrap();
        assert!(ended.starts_with(b"SIP/2.0 200"), "the caller's BYE is answered");
        self.to_caller.clear();
        self.to_callee.clear();
    }

    fn hear(&mut self, phone: &str, bytes: Bytes) {
        self.now = self.now + Duration::from_millis(1);
        let flow = Flow {
            transport: Transport::Udp,
            local: PROXY.parse().unwrap(),
            remote: phone.parse().unwrap(),
        };
        self.signaling.handle_input(self.now, Input::Sip { flow, bytes });
        self.messages += 1;
        self.drain();
        if self.signaling.poll_timeout().is_some_and(|due| due <= self.now) {
            self.signaling.handle_timeout(self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        let caller: SocketAddr = CALLER.parse().unwrap();
        while let Some(output) = self.signaling.poll_output() {
            match output {
                Output::Send { flow, bytes } if flow.remote == caller => self.to_caller.push(bytes),
                Output::Send { bytes, .. } => self.to_callee.push(bytes),
                Output::Recording(RecordingCommand::Open(header)) => {
                    let session = header.session;
                    self.answer(Input::Recording(RecordingEvent::Ready { session }));
                }
                Output::Recording(RecordingCommand::Close { session, .. }) => {
                    let reconciliation = Box::new(Reconciliation::default());
                    self.answer(Input::Recording(RecordingEvent::Sealed {
                        session,
                        reconciliation,
                    }));
                }
                Output::Media(MediaCommand::Open(plan) | MediaCommand::Modify(plan)) => {
                    self.answer(Input::Media(MediaEvent::Opened { session: plan.session }));
                }
                Output::Media(MediaCommand::Close { session }) => {
                    let tally = Box::new(Tally::default());
                    self.answer(Input::Media(MediaEvent::Closed { session, tally }));
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, input: Input) {
        self.signaling.handle_input(self.now, input);
    }
}

/// What the caller knows of a call that talks.
struct Talk {
    n: u32,
    caller: String,
    to: String,
    target: String,
}

impl Talk {
    fn request(&self, cseq: u32, method: &str) -> Bytes {
        let Self { n, caller, to, target } = self;
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-1-{n}-{method}\r\nFrom: {caller}\r\nTo: {to}\r\nCall-ID: {n}-1@127.0.0.1\r\nCSeq: {cseq} {method}\r\nContact: <sip:caller@{CALLER}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        .into()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.caller.capacity() + self.to.capacity() + self.target.capacity()
    }
}

fn trunk(name: &str, peer: &str) -> Trunk {
    let address: SocketAddr = peer.parse().unwrap();
    let peer = Peer {
        ip: address.ip(),
        port: Some(address.port()),
    };
    Trunk::new(name.into(), vec![peer])
}

fn route(from: &str, to: &str) -> Route {
    Route {
        from: from.into(),
        to: to.into(),
        prefix: None,
        to_user: None,
        priority: 0,
    }
}

/// B's answer to a request of ours.
fn answer(request: &[u8], status: &str, sdp: &str) -> Bytes {
    let (via, cseq) = (line(request, "Via: "), line(request, "CSeq: "));
    let (from, to, call_id) = (
        line(request, "From: "),
        line(request, "To: "),
        line(request, "Call-ID: "),
    );
    let tag = if to.contains("tag=") { "" } else { ";tag=b1" };
    let typed = if sdp.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\nContact: <sip:{CALLEE}>\r\n{typed}Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into()
}

/// The rest of the first line that begins so.
fn line(message: &[u8], name: &str) -> String {
    let text = std::str::from_utf8(message).unwrap();
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.unwrap().to_owned()
}
