//! A node as one admitted peer sees it: bytes in, what comes back and what goes on to the next hop out.

use std::net::SocketAddr;

use bytes::Bytes;
use onrecord::engine::{Input, Output, Signaling};
use onrecord::model::{MediaCommand, MediaEvent, RecordingCommand, RecordingEvent, Timestamp};
use onrecord::sip::{Flow, Message, Method, Request, Transport};

use crate::bench::{A, B, Bench, PROXY};

/// What a node does with one message.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Towards the peer, without 100.
    pub answers: Vec<Answer>,
    /// Towards the next hop.
    pub forwarded: Vec<Request>,
}

/// A response as text: the refusal of a message that names no From has none either.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    /// None for a 100.
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8(bytes.to_vec()).expect("what we say is UTF-8");
        let status = text
            .get(8..11)
            .and_then(|digits| digits.parse().ok())
            .expect("a status");
        (status > 100).then_some(Self { status, text })
    }
}

impl Reaction {
    /// `forwarded`, a status, or `silence`.
    pub fn word(&self) -> String {
        match (self.forwarded.as_slice(), self.answers.as_slice()) {
            ([], []) => "silence".to_owned(),
            ([], [answer]) => answer.status.to_string(),
            ([_], []) => "forwarded".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

/// Where one datagram leads on a node that never heard of its peer before.
pub fn send(bytes: &[u8]) -> Reaction {
    let bench = Bench::unrecorded();
    let mut node = bench.signaling;
    deliver(&mut node, bench.now, bytes)
}

/// One datagram from A, and all that follows from it at once.
pub fn deliver(node: &mut Signaling, now: Timestamp, bytes: &[u8]) -> Reaction {
    let remote = A.parse().unwrap();
    let flow = Flow {
        transport: Transport::Udp,
        local: PROXY.parse().unwrap(),
        remote,
    };
    let bytes = Bytes::copy_from_slice(bytes);
    node.handle_input(now, Input::Sip { flow, bytes });
    drain(node, now)
}

/// Empties the node's outputs, with a recorder and a relay that answer at once.
pub fn drain(node: &mut Signaling, now: Timestamp) -> Reaction {
    let remote: SocketAddr = A.parse().unwrap();
    let next_hop: SocketAddr = B.parse().unwrap();
    let mut reaction = Reaction::default();
    while let Some(output) = node.poll_output() {
        match output {
            Output::Send { flow, bytes } if bytes.starts_with(b"SIP/2.0 ") => {
                assert_eq!(flow.remote.ip(), remote.ip(), "answers go to the source");
                reaction.answers.extend(Answer::read(&bytes));
            }
            Output::Send { flow, bytes } => match Message::parse(&bytes).expect("what we send is well-formed") {
                Message::Request(request) if request.method != Method::Ack => {
                    assert_eq!(flow.remote, next_hop, "requests go on, never back");
                    reaction.forwarded.push(request);
                }
                Message::Request(_) | Message::Response(_) => {}
            },
            Output::Media(MediaCommand::Open(plan) | MediaCommand::Modify(plan)) => {
                node.handle_input(now, Input::Media(MediaEvent::Opened { session: plan.session }));
            }
            Output::Media(MediaCommand::Close { session }) => {
                let tally = Box::default();
                node.handle_input(now, Input::Media(MediaEvent::Closed { session, tally }));
            }
            Output::Recording(RecordingCommand::Open(header)) => {
                let session = header.session;
                node.handle_input(now, Input::Recording(RecordingEvent::Ready { session }));
            }
            Output::Recording(RecordingCommand::Close { session, .. }) => {
                let reconciliation = Box::default();
                node.handle_input(
                    now,
                    Input::Recording(RecordingEvent::Sealed {
                        session,
                        reconciliation,
                    }),
                );
            }
            _ => {}
        }
    }
    reaction
}

/// The recorder lives.
pub fn beat(node: &mut Signaling, now: Timestamp) {
    node.handle_input(now, Input::Recording(RecordingEvent::Heartbeat { durable_until: now }));
}
