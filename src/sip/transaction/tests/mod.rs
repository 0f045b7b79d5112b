//! The state tables of RFC 3261 §17 and RFC 6026, told as stories in virtual time.
#![allow(clippy::unwrap_used, clippy::panic)]

mod as_client;
mod as_server;
mod limits;
mod other_ways;

use std::time::Duration;

use super::*;
use crate::sip::flow::Transport;
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;
use crate::sip::via::Via;

pub(super) const UDP: Transport = Transport::Udp;
pub(super) const TCP: Transport = Transport::Tcp;

pub(super) fn flow(transport: Transport) -> Flow {
    Flow {
        transport,
        local: "192.0.2.100:5060".parse().unwrap(),
        remote: "192.0.2.1:5060".parse().unwrap(),
    }
}

/// A request from or to 192.0.2.1, with that branch.
pub(super) fn request(method: Method, branch: &str) -> Request {
    let uri = Uri::parse("sip:bob@192.0.2.100").unwrap();
    let from = NameAddr::parse("<sip:alice@192.0.2.1>;tag=a").unwrap();
    let to = NameAddr::parse("<sip:bob@192.0.2.100>").unwrap();
    let mut request = Request::new(method, uri, from, to, "call", 1);
    request
        .headers
        .push_via(Via::new(UDP, "192.0.2.1:5060".parse().unwrap(), branch));
    request
}

/// A request of the same call within its dialog.
pub(super) fn inside(method: Method, branch: &str) -> Request {
    let mut request = request(method, branch);
    let to = request.headers.to().clone().with_tag("b");
    request.headers.set_to(to);
    request
}

pub(super) fn answer(request: &Request, status: u16) -> Response {
    Response::to(request, status, None, Some("b"))
}

/// The layer under test, a clock, and what it did, a line each: `ms → sent`, `ms ↑ said`.
pub(super) struct Story {
    pub(super) layer: Transactions,
    pub(super) now: Timestamp,
    pub(super) flow: Flow,
    log: Vec<String>,
    pub(super) server: Option<ServerId>,
    pub(super) sent: Vec<(Flow, Bytes)>,
}

use bytes::Bytes;

impl Story {
    pub(super) fn on(transport: Transport) -> Self {
        Self {
            layer: Transactions::new(TransactionLimits::default()),
            now: Timestamp::ZERO,
            flow: flow(transport),
            log: Vec::new(),
            server: None,
            sent: Vec::new(),
        }
    }

    pub(super) fn hears(&mut self, message: impl Into<Message>) {
        self.layer.handle_message(self.now, self.flow, message.into());
        self.drain();
    }

    pub(super) fn asks(&mut self, request: Request) -> ClientId {
        let id = self.layer.request(self.now, request, self.flow);
        self.drain();
        id
    }

    /// To the newest request.
    pub(super) fn answers(&mut self, response: Response) {
        self.layer.respond(self.now, self.server.unwrap(), response);
        self.drain();
    }

    /// Lets time pass, waking the layer exactly when it asks.
    pub(super) fn waits(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.layer.poll_timeout().filter(|due| *due <= end) {
            assert!(due >= self.now, "a deadline in the past stays");
            self.now = due;
            self.layer.handle_timeout(due);
            self.drain();
        }
        self.now = end;
    }

    /// What happened since last told.
    pub(super) fn tells(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.layer.poll_output() {
            let line = match output {
                Output::Send { flow, bytes } => {
                    let line = format!("→ {}", title(&Message::parse(&bytes).unwrap()));
                    self.sent.push((flow, bytes));
                    line
                }
                Output::Event(event) => self.title_of(event),
            };
            self.log.push(format!("{} {line}", self.now.as_millis()));
        }
    }

    fn title_of(&mut self, event: Event) -> String {
        match event {
            Event::Request { id, request, .. } => {
                self.server = Some(id);
                format!("↑ {}", request.method)
            }
            Event::Cancelled { invite, .. } => {
                assert_eq!(Some(invite), self.server);
                "↑ cancelled".to_owned()
            }
            Event::Ack { invite, .. } => if invite.is_some() { "↑ ACK" } else { "↑ stray ACK" }.to_owned(),
            Event::Response { response, .. } => format!("↑ {}", title(&Message::Response(response))),
            Event::Orphan { response, .. } => format!("↑ orphan {}", title(&Message::Response(response))),
            Event::TimedOut { .. } => "↑ timed out".to_owned(),
            Event::Unreachable { .. } => "↑ unreachable".to_owned(),
            Event::NoAck { .. } => "↑ no ACK".to_owned(),
        }
    }
}

pub(super) fn title(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => format!("{} {}", response.status, response.headers.cseq().method),
    }
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
