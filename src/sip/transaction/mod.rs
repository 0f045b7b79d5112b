//! Transactions (RFC 3261 §17, RFC 6026): each request once up, each answer at least once down.
//!
//! Pure: messages and time go in by `handle_*`, [`Transactions::poll_output`] drains what follows, and
//! [`Transactions::poll_timeout`] says when to call [`Transactions::handle_timeout`]. Who drains after each call keeps
//! the outputs as few as one call makes.

mod client;
mod invite_client;
mod invite_server;
mod key;
mod outbox;
mod received;
mod sent;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod timer;
mod ways;

use std::collections::VecDeque;

pub use key::InviteKey;
pub use outbox::{ClientId, Event, Output, ServerId};
pub use sent::Fallback;
pub use timer::{T1, T2, T4, TIMEOUT};

use self::key::ServerKey;
use self::received::{AckOf, Received};
use self::sent::Sent;
use super::flow::Flow;
use super::glance::Glance;
use super::message::{Message, Request, Response};
use super::method::Method;
use super::response;
use crate::model::{Timestamp, earliest};

/// How much a stranger can make us hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TransactionLimits {
    /// Live transactions, both kinds together. Beyond it a request is answered 503 without state; the last eighth is
    /// kept for requests inside dialogs and for emergencies, the last of 32 parts for emergencies alone. Requests outside
    /// dialogs that are no INVITE may have a quarter: each lingers for 32 s (Timer J), and none is a call. Requests of our
    /// own are not counted against it, they follow from received ones.
    pub live_max: usize,
}

impl TransactionLimits {
    const fn opening_max(self) -> usize {
        self.live_max - self.live_max / 8
    }

    const fn in_dialog_max(self) -> usize {
        self.live_max - self.live_max / 32
    }

    const fn chatter_max(self) -> usize {
        self.live_max / 4
    }
}

impl Default for TransactionLimits {
    fn default() -> Self {
        Self { live_max: 200_000 }
    }
}

#[derive(Debug)]
pub struct Transactions {
    limits: TransactionLimits,
    sent: Sent,
    received: Received,
    outputs: VecDeque<Output>,
}

impl Transactions {
    pub fn new(limits: TransactionLimits) -> Self {
        Self {
            limits,
            sent: Sent::new(),
            received: Received::new(),
            outputs: VecDeque::new(),
        }
    }

    /// A message that came by `flow`. The top Via of a request is stamped with where it came from (RFC 3581).
    pub fn handle_message(&mut self, now: Timestamp, flow: Flow, message: Message) {
        match message {
            Message::Response(response) => self.on_response(now, flow, response),
            Message::Request(mut request) => {
                stamp(&mut request, flow);
                match request.method {
                    Method::Ack => self.on_ack(now, flow, request),
                    Method::Cancel => self.on_cancel(now, flow, request),
                    _ => {
                        let room = self.room_for(&request);
                        self.on_request(now, flow, request, room);
                    }
                }
            }
        }
    }

    /// A request that begins an emergency call, or is part of one: it may have the last place. No ACK or CANCEL.
    pub fn handle_emergency(&mut self, now: Timestamp, flow: Flow, mut request: Request) {
        stamp(&mut request, flow);
        self.on_request(now, flow, request, self.limits.live_max);
    }

    /// Whether a request is one more copy of one whose transaction lives.
    pub fn knows(&self, request: &Request) -> bool {
        ServerKey::of(request).is_some_and(|key| self.received.knows(&key))
    }

    /// The same of a request that was only glanced at.
    pub fn knows_glanced(&self, glance: &Glance<'_>) -> bool {
        self.received.knows(&ServerKey::of_glance(glance))
    }

    /// The transport cannot send on `flow`: requests of ours there of which nothing was heard yet are over (RFC 3261
    /// §17.1.4). One that has its provisional answer arrived; its final answer, or its timer, ends it. Not for a lost
    /// datagram: Timers A and E send it again. One with a [`Fallback`] begins anew by that, under its id. Responses to what
    /// came by it go to where the peer listens (RFC 3261 §18.2.2).
    pub fn handle_unreachable(&mut self, now: Timestamp, flow: Flow) {
        self.sent.handle_unreachable(now, flow, &mut self.outputs);
        self.received.handle_unreachable(flow, &mut self.outputs);
    }

    /// A datagram that was sent on `flow` came back with its beginning, `fragment`: nobody listens there. Means the one
    /// transaction whose branch stands in it, if nothing was heard of that yet. Nobody off the path can guess a branch, so
    /// an ICMP message that was forged means none.
    pub fn handle_bounced(&mut self, now: Timestamp, flow: Flow, fragment: &[u8]) {
        self.sent.handle_bounced(now, flow, fragment, &mut self.outputs);
    }

    /// Fires every timer due at `now`.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while self.sent.handle_timeout(now, &mut self.outputs) {}
        while self.received.handle_timeout(now, &mut self.outputs) {}
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        earliest(self.sent.earliest(), self.received.earliest())
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Sends `request` and sees to its answer. Any method but ACK; its top Via is there, with a new branch.
    pub fn request(&mut self, now: Timestamp, request: Request, flow: Flow) -> ClientId {
        self.sent.start(now, request, flow, None, &mut self.outputs)
    }

    /// Like [`Self::request`], with another way for when `flow` turns out to lead nowhere.
    pub fn request_or(&mut self, now: Timestamp, request: Request, flow: Flow, fallback: Fallback) -> ClientId {
        self.sent.start(now, request, flow, Some(fallback), &mut self.outputs)
    }

    /// Sends a CANCEL with these Reason values for an INVITE of ours. None when there is nothing to cancel: no 1xx came
    /// yet, the final answer did, or it was cancelled already (RFC 3261 §9.1). The INVITE's own answer still comes, as a
    /// response or as `TimedOut`.
    pub fn cancel(&mut self, now: Timestamp, invite: ClientId, reasons: &[String]) -> Option<ClientId> {
        let (cancel, flow) = self.sent.cancel(now, invite, reasons)?;
        Some(self.request(now, cancel, flow))
    }

    /// Nobody waits for the answer any more: an INVITE that was answered provisionally ends by itself in 64 × T1. What
    /// comes until then is still told.
    pub fn abandon(&mut self, now: Timestamp, id: ClientId) {
        self.sent.abandon(now, id);
    }

    /// Answers a request. Ignored when the final answer was given already.
    pub fn respond(&mut self, now: Timestamp, id: ServerId, response: Response) {
        self.received.respond(now, id, &response, &mut self.outputs);
    }

    /// Sends a 2xx again and again until its ACK comes (RFC 3261 §13.3.1.4): of an `invite` that was received and answered by the
    /// process before, on `flow`.
    pub fn resume_success(&mut self, now: Timestamp, invite: &Request, success: &Response, flow: Flow) -> ServerId {
        let back = response_flow(invite, flow);
        let id = self.received.start(now, ServerKey::of(invite), invite, back);
        self.received.respond(now, id, success, &mut self.outputs);
        id
    }

    /// Tells the sender of an INVITE at once that it is in work (RFC 3261 §17.2.1); else it hears so after 200 ms.
    pub fn say_trying(&mut self, id: ServerId) {
        self.received.say_trying(id, &mut self.outputs);
    }

    /// The 2xx to an INVITE was heard, though its ACK is lost: it is not sent again.
    pub fn settle_success(&mut self, now: Timestamp, id: ServerId) {
        self.received.settle_success(now, id);
    }

    /// Leaves a request unanswered, not even by a 100: its sender tries again, and then it is new.
    pub fn forget(&mut self, id: ServerId) {
        self.received.forget(id);
    }

    /// Sends a request of which nothing is expected: the ACK to a 2xx.
    pub fn send(&mut self, flow: Flow, request: Request) {
        self.outputs.push_back(Output::Send {
            flow,
            bytes: request.encode(),
        });
    }

    /// Sends a response that belongs to no transaction: a broken request's `ParseError::reply`. `flow` is the request's.
    pub fn refuse(&mut self, flow: Flow, mut response: Response) {
        let mut back = flow;
        if let Some(mut via) = response.headers.via().cloned() {
            back = via.response_flow(flow);
            via.stamp(flow.remote);
            response.headers.set_via(via);
        }
        self.outputs.push_back(Output::Send {
            flow: back,
            bytes: response.encode(),
        });
    }

    /// No request is taken that opens something.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limits.opening_max()
    }

    /// Live transactions.
    pub fn len(&self) -> usize {
        self.sent.len() + self.received.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What belongs to no transaction is dropped (RFC 3261 §17.1.1.2), but a 2xx to an INVITE, which its core acknowledges
    /// (§13.2.2.4, RFC 6026 §7.2).
    fn on_response(&mut self, now: Timestamp, flow: Flow, response: Response) {
        let orphan = self.sent.handle_response(now, response, &mut self.outputs);
        let is_owed = |response: &Response| response.is_success() && response.headers.cseq().method == Method::Invite;
        if let Some(response) = orphan.filter(is_owed) {
            self.outputs.push_back(Output::Event(Event::Orphan { response, flow }));
        }
    }

    fn on_ack(&mut self, now: Timestamp, flow: Flow, request: Request) {
        let invite = match self.received.handle_ack(now, &request) {
            AckOf::Success(invite) => Some(invite),
            AckOf::Nothing => None,
            AckOf::Absorbed => return,
        };
        self.outputs
            .push_back(Output::Event(Event::Ack { request, flow, invite }));
    }

    /// RFC 3261 §9.2: 200 if there is an INVITE to it, whatever became of that; else 481.
    fn on_cancel(&mut self, now: Timestamp, flow: Flow, request: Request) {
        let key = ServerKey::of(&request);
        if key
            .as_ref()
            .is_some_and(|key| self.received.absorb(key, &mut self.outputs))
        {
            return;
        }
        let cancelled = self.received.cancelled_by(&request);
        let status = if cancelled.is_some() { 200 } else { 481 };
        let tag = cancelled.as_ref().and_then(|cancelled| cancelled.to_tag.clone());
        let response = Response::to(
            &request,
            status,
            None,
            Some(&tag.unwrap_or_else(|| stateless_tag(&request))),
        );
        if self.len() < self.limits.live_max {
            let back = response_flow(&request, flow);
            let id = self.received.start(now, key, &request, back);
            self.respond(now, id, response);
        } else {
            self.refuse(flow, response);
        }
        if let Some(cancelled) = cancelled.filter(|cancelled| cancelled.pending) {
            self.outputs.push_back(Output::Event(Event::Cancelled {
                invite: cancelled.invite,
                cancel: request,
            }));
        }
    }

    /// Up to how many transactions there may be for one more such request.
    fn room_for(&self, request: &Request) -> usize {
        if request.headers.to().tag().is_some() {
            self.limits.in_dialog_max()
        } else if received::is_chatter(request) && self.received.chatter() >= self.limits.chatter_max() {
            0
        } else {
            self.limits.opening_max()
        }
    }

    fn on_request(&mut self, now: Timestamp, flow: Flow, request: Request, room: usize) {
        let key = ServerKey::of(&request);
        if key
            .as_ref()
            .is_some_and(|key| self.received.absorb(key, &mut self.outputs))
        {
            return;
        }
        if self.len() >= room {
            let response = Response::to(&request, 503, None, Some(&stateless_tag(&request)));
            self.refuse(flow, response);
            return;
        }
        let back = response_flow(&request, flow);
        let id = self.received.start(now, key, &request, back);
        self.outputs
            .push_back(Output::Event(Event::Request { id, request, flow }));
    }
}

fn stamp(request: &mut Request, flow: Flow) {
    if let Some(via) = request.headers.via() {
        let mut stamped = via.clone();
        stamped.stamp(flow.remote);
        if stamped != *via {
            request.headers.set_via(stamped);
        }
    }
}

fn response_flow(request: &Request, flow: Flow) -> Flow {
    request.headers.via().map_or(flow, |via| via.response_flow(flow))
}

fn stateless_tag(request: &Request) -> String {
    let headers = &request.headers;
    let via = headers.get("Via").unwrap_or_default();
    response::stateless_tag([via, headers.call_id(), headers.from().tag().unwrap_or_default()].into_iter())
}
