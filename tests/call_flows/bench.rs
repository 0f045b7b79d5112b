//! The test bench: a proxy between two phones.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use onrecord::b2bua::StepKind;
use onrecord::engine::{Input, Output, Signaling, SignalingConfig};
use onrecord::model::{
    Direction, Fault, Generation, Leg, MediaCommand, MediaEvent, Reconciliation, RecordingCommand, RecordingEvent,
    SessionId, Tally, Timestamp,
};
use onrecord::policy::{PolicySet, RejectCode, SourceFile};
use onrecord::sip::{Flow, Message, Request, Response, Transport};
use onrecord::trunk::{Conduct, Near, NearMedia, Paths, Peer, Rank, Refer, Route, Site, Topology, Trunk};

pub const PROXY: &str = "127.0.0.1:5070";
/// What the proxy may be known as outside.
pub const ADVERTISED: &str = "sbc.example.test:5070";
/// A second listener and what SDP says of media there, on a node of two networks.
pub const OUTSIDE: &str = "127.0.0.3:5070";
pub const OUTSIDE_MEDIA: &str = "203.0.113.7";
pub const A: &str = "127.0.0.1:5080";
pub const B: &str = "127.0.0.1:5090";
/// The carrier's second address, or a branch office.
pub const C: &str = "127.0.0.1:5091";
/// Where C is reached by IPv6, and where we are.
pub const C6: &str = "[::1]:5091";
pub const PROXY6: &str = "[::1]:5070";

pub const STRICT: &str = "[policy]\nid = \"desk\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\n";
pub const LENIENT: &str = "[policy]\nid = \"desk\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\nrequired_before_call_establishment = false\nrequired_during_call = false\n";
pub const GRANTS: &str = "[[grant]]\npolicy = \"desk\"\nto = [\"global\"]\n";

pub const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n";

pub struct Bench {
    pub now: Timestamp,
    pub signaling: Signaling,
    pub story: Vec<String>,
    pub to_a: Vec<Message>,
    pub to_b: Vec<Message>,
    pub to_c: Vec<Message>,
    pub recording: Vec<RecordingCommand>,
    pub media: Vec<MediaCommand>,
    /// What would survive the process.
    pub remembered: BTreeMap<SessionId, Bytes>,
    pub recorder_answers: bool,
    pub recorder_lives: bool,
    pub ports_bind: bool,
    pub media_answers: bool,
    /// The listener that the carrier faces, where it is not [`PROXY`].
    faced: Option<SocketAddr>,
    pub tally: Tally,
}

impl Bench {
    pub fn strict() -> Self {
        Self::with(&[("desk.toml", STRICT), ("grants.toml", GRANTS)])
    }

    pub fn lenient() -> Self {
        Self::with(&[("desk.toml", LENIENT), ("grants.toml", GRANTS)])
    }

    pub fn unrecorded() -> Self {
        Self::with(&[])
    }

    pub fn with(files: &[(&str, &str)]) -> Self {
        Self::with_carrier(files, Conduct::default())
    }

    /// `trusted`: A's trunk and B's, in our trust domain (RFC 3325 §2.4) or not.
    pub fn between(trusted: [bool; 2], files: &[(&str, &str)]) -> Self {
        let carrier = trunk("carrier", &[B], trusted[1], Conduct::default());
        Self::on_trunks(files, trusted[0], vec![carrier])
    }

    /// Everything is recorded strictly, and the carrier is behind NAT.
    pub fn strict_with_carrier_behind_nat() -> Self {
        let mut carrier = trunk("carrier", &[B], true, Conduct::default());
        carrier.nat = true;
        let files = [("desk.toml", STRICT), ("grants.toml", GRANTS)];
        Self::on_trunks(&files, true, vec![carrier])
    }

    /// Everything is recorded strictly, and the carrier's trunk says this of our conduct there.
    pub fn strict_with_carrier(conduct: Conduct) -> Self {
        Self::with_carrier(&[("desk.toml", STRICT), ("grants.toml", GRANTS)], conduct)
    }

    pub fn with_carrier(files: &[(&str, &str)], conduct: Conduct) -> Self {
        Self::on_trunks(files, true, vec![trunk("carrier", &[B], true, conduct)])
    }

    /// The carrier's second address is C.
    pub fn with_spare(files: &[(&str, &str)], conduct: Conduct) -> Self {
        Self::on_trunks(files, true, vec![trunk("carrier", &[B, C], true, conduct)])
    }

    /// Everything is recorded strictly; the carrier has these addresses, the first is asked first.
    pub fn strict_with_addresses(addresses: &[&str]) -> Self {
        let files = [("desk.toml", STRICT), ("grants.toml", GRANTS)];
        Self::on_trunks(
            &files,
            true,
            vec![trunk("carrier", addresses, true, Conduct::default())],
        )
    }

    /// The carrier talks by TCP.
    pub fn by_stream(files: &[(&str, &str)]) -> Self {
        let mut carrier = trunk("carrier", &[B], true, Conduct::default());
        carrier.transport = Transport::Tcp;
        Self::on_trunks(files, true, vec![carrier])
    }

    /// A's trunk talks by this. Everything is recorded strictly.
    pub fn with_phones_by(transport: Transport) -> Self {
        let mut pbx = trunk("pbx", &[A], true, Conduct::default());
        pbx.transport = transport;
        let files = [("desk.toml", STRICT), ("grants.toml", GRANTS)];
        let carrier = trunk("carrier", &[B], true, Conduct::default());
        Self::on_trunks(&files, true, vec![pbx, carrier])
    }

    /// The carrier's one server is asked by TCP first, then by UDP.
    pub fn by_two_transports(files: &[(&str, &str)]) -> Self {
        let site =
            |transport, priority| Site::parse(&format!("sip:{B};transport={transport}"), Rank { priority, weight: 0 });
        let mut carrier = trunk("carrier", &[B], true, Conduct::default());
        carrier.transport = Transport::Tcp;
        carrier.sites = [site("tcp", 1), site("udp", 2)].map(Option::unwrap).into();
        Self::on_trunks(files, true, vec![carrier])
    }

    /// The carrier is outside: we face it from [`OUTSIDE`], with media of its own before a NAT.
    pub fn on_two_networks(files: &[(&str, &str)]) -> Self {
        Self::facing_outside(files, &[B])
    }

    /// With a listener for IPv6 before [`OUTSIDE`].
    pub fn on_two_networks_and_families(files: &[(&str, &str)]) -> Self {
        Self::facing_outside(files, &[B, C6])
    }

    fn facing_outside(files: &[(&str, &str)], addresses: &[&str]) -> Self {
        let mut carrier = trunk("carrier", addresses, true, Conduct::default());
        let outside: SocketAddr = OUTSIDE.parse().unwrap();
        carrier.near = Near {
            listener: Some((Transport::Udp, outside)),
            media: Some(NearMedia {
                bound: outside.ip(),
                told: OUTSIDE_MEDIA.parse().unwrap(),
            }),
        };
        Self::on_trunks(files, true, vec![carrier])
    }

    /// The carrier talks by TLS. Nothing is recorded.
    pub fn secured() -> Self {
        let mut carrier = trunk("carrier", &[B], true, Conduct::default());
        carrier.transport = Transport::Tls;
        Self::on_trunks(&[], true, vec![carrier])
    }

    /// C is a trunk of its own, for who dials 7….
    pub fn with_branch(files: &[(&str, &str)], carrier: Conduct, branch: Conduct) -> Self {
        let trunks = vec![
            trunk("carrier", &[B], true, carrier),
            trunk("branch", &[C], true, branch),
        ];
        Self::on_trunks(files, true, trunks)
    }

    /// C is a trunk of its own that nobody may call.
    pub fn with_closed_branch(files: &[(&str, &str)], carrier: Conduct) -> Self {
        let trunks = vec![
            trunk("carrier", &[B], true, carrier),
            trunk("closed", &[C], true, Conduct::default()),
        ];
        Self::on_trunks(files, true, trunks)
    }

    /// `routes`: from, to, prefix.
    pub fn routed(files: &[(&str, &str)], routes: &[(&str, &str, Option<&str>)]) -> Self {
        let routes = routes.iter().map(|(from, to, prefix)| route(from, to, *prefix));
        let carrier = trunk("carrier", &[B], true, Conduct::default());
        Self::on_routes(files, true, vec![carrier], routes.collect())
    }

    /// REFERs of both trunks are executed by us.
    pub fn executing(files: &[(&str, &str)]) -> Self {
        let executes = || Conduct {
            refer: Refer::Execute,
            ..Conduct::default()
        };
        let trunks = vec![
            trunk("pbx", &[A], true, executes()),
            trunk("carrier", &[B], true, executes()),
        ];
        Self::on_trunks(files, true, trunks)
    }

    /// Our listener is known outside by [`ADVERTISED`]. Everything is recorded strictly. `refer`: what becomes of REFERs of both trunks.
    pub fn advertised(refer: Refer) -> Self {
        let conduct = || Conduct {
            refer,
            ..Conduct::default()
        };
        Self::advertised_to(conduct(), conduct())
    }

    /// The same; what is said of our conduct at A's trunk and at the carrier's.
    pub fn advertised_to(pbx: Conduct, carrier: Conduct) -> Self {
        let trunks = vec![trunk("pbx", &[A], true, pbx), trunk("carrier", &[B], true, carrier)];
        let routes = vec![route("pbx", "carrier", None), route("carrier", "pbx", None)];
        let files = [("desk.toml", STRICT), ("grants.toml", GRANTS)];
        let mut paths = Paths::default();
        paths.advertise(Transport::Udp, PROXY.parse().unwrap(), ADVERTISED.parse().unwrap());
        Self::on_paths(&files, true, trunks, routes, paths)
    }

    fn on_trunks(files: &[(&str, &str)], trusted: bool, trunks: Vec<Trunk>) -> Self {
        let mut routes = vec![route("pbx", "carrier", None), route("carrier", "pbx", None)];
        if trunks.iter().any(|trunk| trunk.name.as_str() == "branch") {
            routes.insert(0, route("pbx", "branch", Some("7")));
        }
        Self::on_routes(files, trusted, trunks, routes)
    }

    fn on_routes(files: &[(&str, &str)], trusted: bool, trunks: Vec<Trunk>, routes: Vec<Route>) -> Self {
        Self::on_paths(files, trusted, trunks, routes, Paths::default())
    }

    fn on_paths(
        files: &[(&str, &str)],
        trusted: bool,
        mut trunks: Vec<Trunk>,
        routes: Vec<Route>,
        mut paths: Paths,
    ) -> Self {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile {
                path: (*path).into(),
                text: (*text).into(),
            })
            .collect();
        let policies = Arc::new(PolicySet::compile(&files, Generation(1)).unwrap());
        if !trunks.iter().any(|trunk| trunk.name.as_str() == "pbx") {
            trunks.insert(0, trunk("pbx", &[A], trusted, Conduct::default()));
        }
        let mut listeners = vec![(Transport::Udp, PROXY.parse().unwrap())];
        if trunks
            .iter()
            .flat_map(|trunk| &trunk.peers)
            .any(|peer| peer.ip.is_ipv6())
        {
            listeners.push((Transport::Udp, PROXY6.parse().unwrap()));
            let ours = [PROXY, PROXY6].map(|listener| listener.parse::<SocketAddr>().unwrap().ip());
            ours.into_iter().for_each(|ip| paths.advertise_media(ip, ip));
        }
        listeners.extend(trunks.iter().filter_map(|trunk| trunk.near.listener));
        for transport in [Transport::Tcp, Transport::Tls, Transport::Ws] {
            if trunks.iter().any(|trunk| trunk.transport == transport) {
                listeners.push((transport, PROXY.parse().unwrap()));
            }
        }
        let carrier = trunks.iter().find(|trunk| trunk.name.as_str() == "carrier");
        let faced = carrier.and_then(|carrier| Some(carrier.near.listener?.1));
        let config = SignalingConfig {
            node: "lab".to_owned(),
            topology: Topology::new(trunks, routes, listeners).with_paths(paths),
            media_address: "127.0.0.1".parse().unwrap(),
            ports: 40_000..=40_199,
            cool_down: Duration::ZERO,
            session_interval: Some(Duration::from_secs(1_800)),
            ring_max: Duration::from_secs(600),
            calls_max: 100,
            lag_max: Duration::from_secs(1),
            peer_node: false,
            reject_code: RejectCode::Auto,
            steps: true,
        };
        Self {
            faced,
            now: Timestamp::from_millis(1_763_800_000_000),
            signaling: Signaling::new(config, policies, 7),
            story: Vec::new(),
            to_a: Vec::new(),
            to_b: Vec::new(),
            to_c: Vec::new(),
            recording: Vec::new(),
            media: Vec::new(),
            remembered: BTreeMap::new(),
            recorder_answers: true,
            recorder_lives: true,
            ports_bind: true,
            media_answers: true,
            tally: Tally {
                accepted: 10,
                forwarded: 10,
                ..Tally::default()
            },
        }
    }

    /// The process ends, in whatever way, and `after` is the next one: 2 s later, with what this one has written down.
    pub fn goes_on_as(&self, mut after: Self) -> Self {
        after.now = self.now + Duration::from_secs(2);
        after.to_a.clone_from(&self.to_a);
        after.to_b.clone_from(&self.to_b);
        after.remembered.clone_from(&self.remembered);
        for (session, state) in self.remembered.clone() {
            after.input(Input::Resume { session, state });
        }
        after
    }

    pub fn input(&mut self, input: Input) {
        self.signaling.handle_input(self.now, input);
        self.drain();
    }

    /// Lets time pass, timer by timer; a recorder that lives says so.
    pub fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.recorder_lives && self.now + Duration::from_millis(250) < end {
            self.run_until(self.now + Duration::from_millis(250));
            self.input(Input::Recording(RecordingEvent::Heartbeat {
                durable_until: self.now,
            }));
        }
        self.run_until(end);
    }

    fn run_until(&mut self, end: Timestamp) {
        while let Some(due) = self.signaling.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.signaling.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.signaling.poll_output() {
            match output {
                Output::Send { flow, bytes } => {
                    let message = Message::parse(&bytes).unwrap();
                    if flow.remote == A.parse().unwrap() {
                        self.to_a.push(message)
                    } else if [C, C6].map(|c| c.parse().unwrap()).contains(&flow.remote) {
                        self.to_c.push(message)
                    } else {
                        self.to_b.push(message)
                    }
                }
                Output::Recording(command) => self.on_recording(command),
                Output::Media(command) => self.on_media(command),
                Output::Step(step) => self.story.push(tell(&step.what)),
                Output::Remember { session, state } => {
                    self.remembered.insert(session, state.written());
                }
                Output::Forget { session } => {
                    self.remembered.remove(&session);
                }
                Output::Publish(_) => {}
            }
        }
    }

    fn on_recording(&mut self, command: RecordingCommand) {
        let answer = match &command {
            RecordingCommand::Open(header) => Some(RecordingEvent::Ready {
                session: header.session,
            }),
            RecordingCommand::Close { session, closing, .. } => {
                let accepted = closing.tally.as_ref().map_or(0, |tally| tally.accepted);
                let reconciliation = Reconciliation {
                    accepted,
                    stored: accepted,
                    ..Reconciliation::default()
                };
                Some(RecordingEvent::Sealed {
                    session: *session,
                    reconciliation: Box::new(reconciliation),
                })
            }
            _ => None,
        };
        self.recording.push(command);
        if let Some(answer) = answer.filter(|_| self.recorder_answers) {
            self.signaling.handle_input(self.now, Input::Recording(answer));
        }
    }

    fn on_media(&mut self, command: MediaCommand) {
        let answer = match &command {
            MediaCommand::Open(plan) | MediaCommand::Modify(plan) if self.ports_bind => {
                Some(MediaEvent::Opened { session: plan.session })
            }
            MediaCommand::Open(plan) | MediaCommand::Modify(plan) => Some(MediaEvent::OpenFailed {
                session: plan.session,
                local: plan.lines[0].a.local,
            }),
            MediaCommand::Close { session } => Some(MediaEvent::Closed {
                session: *session,
                tally: Box::new(self.tally.clone()),
            }),
            _ => None,
        };
        self.media.push(command);
        if let Some(answer) = answer.filter(|_| self.media_answers) {
            self.signaling.handle_input(self.now, Input::Media(answer));
        }
    }

    pub fn session(&self) -> SessionId {
        self.recording
            .iter()
            .find_map(|command| match command {
                RecordingCommand::Open(header) => Some(header.session),
                _ => None,
            })
            .unwrap()
    }

    pub fn recorder_fails(&mut self, fault: Fault) {
        self.input(Input::Recording(RecordingEvent::Down { fault }));
    }

    pub fn from(&mut self, phone: &str, bytes: Bytes) {
        let remote: SocketAddr = phone.parse().unwrap();
        let flow = Flow {
            transport: Transport::Udp,
            local: match self.faced.filter(|_| phone == B) {
                Some(faced) => faced,
                None => if remote.is_ipv4() { PROXY } else { PROXY6 }.parse().unwrap(),
            },
            remote,
        };
        self.input(Input::Sip { flow, bytes });
    }

    /// A's INVITE with this body and more header lines.
    pub fn invite(&mut self, sdp: &str, more: &str) {
        self.from(A, invite(1, "a1", "", sdp, more));
    }

    /// The newest request to B with this method.
    pub fn request_to_b(&self, method: &str) -> Request {
        newest_request(&self.to_b, method)
    }

    pub fn request_to_a(&self, method: &str) -> Request {
        newest_request(&self.to_a, method)
    }

    pub fn response_to_a(&self) -> Response {
        newest_response(&self.to_a)
    }

    pub fn response_to_b(&self) -> Response {
        newest_response(&self.to_b)
    }

    /// B answers the newest request of that method.
    pub fn b_answers(&mut self, method: &str, status: u16, sdp: &str) {
        let bytes = answer(&self.request_to_b(method), status, "b-tag", "127.0.0.1:5090", sdp);
        self.from(B, bytes);
    }

    /// A callee of many: B's response to the newest INVITE under this tag, with more header lines.
    pub fn fork_answers(&mut self, tag: &str, status: u16, more: &str, sdp: &str) {
        let bytes = answer(&self.request_to_b("INVITE"), status, tag, "127.0.0.1:5090", sdp);
        self.from(B, with_lines(&bytes, more));
    }

    /// A request of A under this tag of ours, with more header lines.
    pub fn a_requests_in(&mut self, tag: &str, cseq: u32, method: &str, more: &str, sdp: &str) {
        let branch = format!("{method}{cseq}{tag}");
        let bytes = in_dialog(
            A,
            method,
            &branch,
            (
                "<sip:alice@example.com>;tag=a-tag",
                &format!("<sip:bob@{PROXY}>;tag={tag}"),
            ),
            "call-1",
            cseq,
            sdp,
        );
        self.from(A, with_lines(&bytes, more));
    }

    /// A request of B's fork with this tag, with more header lines.
    pub fn fork_requests(&mut self, tag: &str, cseq: u32, method: &str, more: &str, sdp: &str) {
        let invite = self.request_to_b("INVITE");
        let branch = format!("{method}{cseq}{tag}b");
        let (from, to) = (invite.headers.get("To").unwrap(), invite.headers.get("From").unwrap());
        let from = format!("{from};tag={tag}");
        let bytes = in_dialog(B, method, &branch, (&from, to), invite.headers.call_id(), cseq, sdp);
        self.from(B, with_lines(&bytes, more));
    }

    /// Answers the newest request of that method to B with no other To tag than its own.
    pub fn b_agrees(&mut self, method: &str, status: u16, sdp: &str) {
        let bytes = answer(&self.request_to_b(method), status, "none", "127.0.0.1:5090", sdp);
        self.from(B, bytes);
    }

    pub fn a_answers(&mut self, method: &str, status: u16, sdp: &str) {
        let bytes = answer(&self.request_to_a(method), status, "a-tag", "127.0.0.1:5080", sdp);
        self.from(A, bytes);
    }

    /// The newest request to C with this method.
    pub fn request_to_c(&self, method: &str) -> Request {
        newest_request(&self.to_c, method)
    }

    pub fn c_answers(&mut self, method: &str, status: u16, sdp: &str) {
        let bytes = answer(&self.request_to_c(method), status, "c-tag", C, sdp);
        self.from(C, bytes);
    }

    /// B sends the call on to these.
    pub fn b_redirects(&mut self, status: u16, contacts: &[&str]) {
        let mut response = Response::to(&self.request_to_b("INVITE"), status, None, Some("b-tag"));
        for contact in contacts {
            response.headers.push("Contact", *contact);
        }
        self.from(B, response.encode());
    }

    /// A request of A inside the dialog that the newest 2xx (or 18x) made.
    pub fn a_requests(&mut self, cseq: u32, method: &str, branch: &str, sdp: &str) {
        self.a_requests_typed(cseq, method, branch, "application/sdp", sdp);
    }

    pub fn a_requests_typed(&mut self, cseq: u32, method: &str, branch: &str, content_type: &str, body: &str) {
        let tag = self.response_to_a().headers.to().tag().unwrap().to_owned();
        let typed = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {content_type}\r\n")
        };
        let bytes = format!(
            "{method} sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a-tag\r\nTo: <sip:bob@{PROXY}>;tag={tag}\r\nCall-ID: call-1\r\nCSeq: {cseq} {method}\r\nContact: <sip:alice@{A}>\r\n{typed}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.from(A, bytes.into());
    }

    /// A request of B inside its dialog.
    pub fn b_requests(&mut self, cseq: u32, method: &str, branch: &str, sdp: &str) {
        let invite = self.request_to_b("INVITE");
        let body = if sdp.is_empty() {
            String::new()
        } else {
            "Content-Type: application/sdp\r\n".to_owned()
        };
        let bytes = format!(
            "{method} sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\nFrom: {};tag=b-tag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:bob@{B}>\r\n{body}Content-Length: {}\r\n\r\n{sdp}",
            invite.headers.get("To").unwrap(),
            invite.headers.get("From").unwrap(),
            invite.headers.call_id(),
            sdp.len()
        );
        self.from(B, bytes.into());
    }

    /// A call that both sides have agreed to.
    pub fn connected(mut self) -> Self {
        self.invite(SDP, "");
        self.b_answers("INVITE", 180, "");
        self.b_answers("INVITE", 200, SDP);
        self.a_requests(1, "ACK", "ack1", "");
        assert!(self.story.iter().any(|rung| rung == "ACK → B"), "{:#?}", self.story);
        self.story.clear();
        self.media.clear();
        self
    }

    /// Nothing is left: no call, no port, no transaction, no tag. All timers have to run out for that.
    pub fn assert_nothing_left(&mut self) {
        self.wait(Duration::from_secs(120));
        assert_eq!(self.signaling.calls(), 0, "a call is left");
        assert_eq!(
            self.signaling.leftovers(),
            [0; 4],
            "ports, transactions, owners, tags are left"
        );
    }
}

fn trunk(name: &str, addresses: &[&str], trusted: bool, conduct: Conduct) -> Trunk {
    let peer = |address: &&str| {
        let address: SocketAddr = address.parse().unwrap();
        Peer {
            ip: address.ip(),
            port: Some(address.port()),
        }
    };
    Trunk {
        trusted,
        conduct,
        ..Trunk::new(name.into(), addresses.iter().map(peer).collect())
    }
}

fn route(from: &str, to: &str, prefix: Option<&str>) -> Route {
    Route {
        from: from.into(),
        to: to.into(),
        prefix: prefix.map(str::to_owned),
        to_user: None,
        priority: 0,
    }
}

pub fn invite(cseq: u32, branch: &str, to_tag: &str, sdp: &str, more: &str) -> Bytes {
    let content_type = if sdp.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "INVITE sip:bob@{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@example.com>;tag=a-tag\r\nTo: <sip:bob@{PROXY}>{to_tag}\r\nCall-ID: call-1\r\nCSeq: {cseq} INVITE\r\nContact: <sip:alice@{A}>\r\n{more}{content_type}Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into()
}

/// A request of a phone inside a dialog; From and To with their tags.
pub fn in_dialog(
    phone: &str,
    method: &str,
    branch: &str,
    (from, to): (&str, &str),
    call_id: &str,
    cseq: u32,
    sdp: &str,
) -> Bytes {
    let typed = if sdp.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:x@{phone}>\r\n{typed}Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into()
}

/// The message with more header lines before its Content-Length.
pub fn with_lines(bytes: &Bytes, more: &str) -> Bytes {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.replacen("Content-Length:", &format!("{more}Content-Length:"), 1)
        .into()
}

pub fn answer(request: &Request, status: u16, tag: &str, contact: &str, sdp: &str) -> Bytes {
    let mut response = Response::to(request, status, None, Some(tag));
    response.headers.push("Contact", format!("<sip:{contact}>"));
    if !sdp.is_empty() {
        response.set_body("application/sdp", Bytes::copy_from_slice(sdp.as_bytes()));
    }
    response.encode()
}

fn newest_request(messages: &[Message], method: &str) -> Request {
    let request = messages.iter().rev().find_map(|message| match message {
        Message::Request(request) if request.method.as_str() == method => Some(request.clone()),
        _ => None,
    });
    request.unwrap_or_else(|| panic!("no {method} was sent"))
}

fn newest_response(messages: &[Message]) -> Response {
    let response = messages.iter().rev().find_map(|message| match message {
        Message::Response(response) => Some(response.clone()),
        Message::Request(_) => None,
    });
    response.expect("a response was sent")
}

fn tell(what: &StepKind) -> String {
    match what {
        StepKind::Sip {
            leg,
            direction,
            start_line,
        } => {
            let text = match start_line.strip_prefix("SIP/2.0 ") {
                Some(status) => status.split(' ').next().unwrap(),
                None => start_line.split(' ').next().unwrap(),
            };
            match (leg, direction) {
                (Leg::A, Direction::Received) => format!("A → {text}"),
                (Leg::A, Direction::Sent) => format!("{text} → A"),
                (Leg::B, Direction::Received) => format!("B → {text}"),
                (Leg::B, Direction::Sent) => format!("{text} → B"),
            }
        }
        StepKind::Decided(_) => "decided".to_owned(),
        StepKind::RecordingAsked => "open".to_owned(),
        StepKind::RecordingReady => "ready".to_owned(),
        StepKind::RecordingFaulted(fault) => format!("fault: {fault}"),
        StepKind::MediaGated => "gated".to_owned(),
        StepKind::MediaReopened => "reopened".to_owned(),
        StepKind::RecordingPaused(by) => format!("paused by {by}"),
        StepKind::RecordingResumed(by) => format!("goes on by {by}"),
        StepKind::Consent { leg, consent } => format!("consent of {leg}: {}", consent.as_str()),
        StepKind::Ended { outcome, by } => format!("{}: {by}", outcome.as_str()),
        StepKind::Sealed { accepted, stored } => format!("sealed {stored}/{accepted}"),
    }
}
