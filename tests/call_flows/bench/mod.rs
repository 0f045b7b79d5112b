//! The test bench: a proxy between two phones.

mod messages;
mod told;
mod trunks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use onrecord::engine::{Input, Output, Signaling};
use onrecord::model::{
    Fault, MediaCommand, MediaEvent, Reconciliation, RecordingCommand, RecordingEvent, SessionId, Tally, Timestamp,
};
use onrecord::sip::{Flow, Message, Request, Response, Transport};

pub use messages::{answer, audio_at, in_dialog, invite, reliable, with_lines, with_video};
use messages::{newest_request, newest_response, tell};
pub use trunks::route;

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
pub const ALL_STRICT: [(&str, &str); 2] = [("desk.toml", STRICT), ("grants.toml", GRANTS)];
/// Audio is not recorded.
pub const VIDEO_ALONE: &str = "[policy]\nid = \"desk\"\nenabled = true\naction = \"skip\"\n[[policy.filter]]\nmedia = [\"video\"]\naction = \"record\"\n[[policy.recorder]]\nid = \"embedded\"\n";
/// Nobody else is recorded than who says that it is [`TRADER`].
pub const TO_TRADER: &str = "[[grant]]\npolicy = \"desk\"\nto = [\"user:trader@example.com\"]\n";
pub const TRADER: &str = "P-Asserted-Identity: \"Trader\" <sip:trader@example.com>\r\n";
pub const CLERK: &str = "P-Asserted-Identity: \"Clerk\" <sip:clerk@example.com>\r\n";

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
                    if flow.remote == A.parse::<SocketAddr>().unwrap() {
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

    /// The newest recording that was asked for is open now, and later ones are at once.
    pub fn recording_opens(&mut self) {
        let session = self.newest_session();
        self.recorder_answers = true;
        self.input(Input::Recording(RecordingEvent::Ready { session }));
    }

    pub fn recording_does_not_open(&mut self, fault: Fault) {
        let session = self.newest_session();
        self.input(Input::Recording(RecordingEvent::OpenFailed { session, fault }));
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
