//! INVITE as client: RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2.

use bytes::Bytes;

use super::outbox::ClientOutbox;
use super::timer::{Backoff, TIMEOUT, TIMER_D, forgotten_after};
use crate::model::{Timestamp, earliest};
use crate::sip::flow::Flow;
use crate::sip::message::{CSeq, Headers, Request, Response};
use crate::sip::method::Method;

#[derive(Debug)]
enum State {
    Calling {
        bytes: Bytes,
        timer_a: Option<Backoff>,
        timer_b: Timestamp,
    },
    /// `given_up` is set by CANCEL: without a final answer within 64 × T1 after it the transaction is over (§9.1).
    Proceeding {
        given_up: Option<Timestamp>,
    },
    Completed {
        ack: Bytes,
        timer_d: Timestamp,
    },
    Accepted {
        timer_m: Timestamp,
    },
    Terminated,
}

#[derive(Debug)]
pub(super) struct InviteClient {
    state: State,
    /// ACK and CANCEL are made of it.
    request: Box<Request>,
    reliable: bool,
    /// Nobody waits for the final answer after this.
    abandoned: Option<Timestamp>,
}

impl InviteClient {
    pub(super) fn start(now: Timestamp, request: Request, flow: Flow, out: &mut ClientOutbox<'_>) -> Self {
        let bytes = request.encode();
        let reliable = flow.transport.is_reliable();
        if !out.offer(bytes.clone()) {
            return Self {
                state: State::Terminated,
                request: Box::new(request),
                reliable,
                abandoned: None,
            };
        }
        let timer_a = (!reliable).then(|| Backoff::start(now, TIMEOUT));
        let state = State::Calling {
            bytes,
            timer_a,
            timer_b: now + TIMEOUT,
        };
        Self {
            state,
            request: Box::new(request),
            reliable,
            abandoned: None,
        }
    }

    pub(super) fn on_response(&mut self, now: Timestamp, response: Response, out: &mut ClientOutbox<'_>) {
        match &self.state {
            State::Calling { .. } | State::Proceeding { .. } if response.is_provisional() => {
                if matches!(self.state, State::Calling { .. }) {
                    let given_up = self.abandoned;
                    self.state = State::Proceeding { given_up };
                }
                out.pass_up(response);
            }
            State::Calling { .. } | State::Proceeding { .. } if response.is_success() => {
                self.state = State::Accepted {
                    timer_m: forgotten_after(now, TIMEOUT),
                };
                out.pass_up(response);
            }
            State::Calling { .. } | State::Proceeding { .. } => {
                let ack = self.ack(&response).encode();
                out.send(ack.clone());
                self.state = if self.reliable {
                    State::Terminated
                } else {
                    State::Completed {
                        ack,
                        timer_d: forgotten_after(now, TIMER_D),
                    }
                };
                out.pass_up(response);
            }
            State::Completed { ack, .. } if response.is_final() && !response.is_success() => out.send(ack.clone()),
            State::Accepted { .. } if response.is_success() => out.pass_up(response),
            State::Completed { .. } | State::Accepted { .. } | State::Terminated => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, out: &mut ClientOutbox<'_>) {
        match &mut self.state {
            State::Calling { timer_b: over, .. } | State::Proceeding { given_up: Some(over) } if *over <= now => {
                self.state = State::Terminated;
                out.time_out();
            }
            State::Calling {
                bytes,
                timer_a: Some(timer_a),
                ..
            } if timer_a.is_due(now) => {
                timer_a.restart(now);
                out.send(bytes.clone());
            }
            State::Completed { timer_d: over, .. } | State::Accepted { timer_m: over } if *over <= now => {
                self.state = State::Terminated;
            }
            State::Calling { .. } | State::Proceeding { .. } | State::Completed { .. } => {}
            State::Accepted { .. } | State::Terminated => {}
        }
    }

    pub(super) const fn is_unheard(&self) -> bool {
        matches!(self.state, State::Calling { .. })
    }

    /// The transport cannot send (§17.1.4). Over while nothing was heard: what has begun to ring rings on, and its
    /// answer can still come.
    pub(super) fn on_unreachable(&mut self, out: &mut ClientOutbox<'_>) {
        if self.is_unheard() {
            out.unreachable();
            self.state = State::Terminated;
        }
    }

    /// The CANCEL for it, while that makes sense: after a 1xx, before the final answer, once (§9.1).
    pub(super) fn cancel(&mut self, now: Timestamp, reasons: &[String]) -> Option<Request> {
        match &mut self.state {
            State::Proceeding { given_up } if given_up.is_none() => *given_up = Some(now + TIMEOUT),
            _ => return None,
        }
        let mut cancel = self.sibling(Method::Cancel, self.request.headers.to().clone());
        for reason in reasons {
            cancel.headers.push("Reason", reason.as_str());
        }
        Some(cancel)
    }

    /// Its user has gone: the final answer is awaited for 64 × T1 more, as after a CANCEL (§9.1), instead of for ever.
    pub(super) fn abandon(&mut self, now: Timestamp) {
        let abandoned = *self.abandoned.get_or_insert(now + TIMEOUT);
        if let State::Proceeding { given_up } = &mut self.state {
            given_up.get_or_insert(abandoned);
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Calling { timer_a, timer_b, .. } => earliest(timer_a.map(|a| a.due()), Some(*timer_b)),
            State::Proceeding { given_up } => *given_up,
            State::Completed { timer_d: due, .. } | State::Accepted { timer_m: due } => Some(*due),
            State::Terminated => None,
        }
    }

    pub(super) const fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    /// The ACK to a refusal: To of the response, all else of the request (§17.1.1.3).
    fn ack(&self, response: &Response) -> Request {
        self.sibling(Method::Ack, response.headers.to().clone())
    }

    /// A request of the same branch, to the same place, by the same route.
    fn sibling(&self, method: Method, to: crate::sip::NameAddr) -> Request {
        let ours = &self.request.headers;
        let cseq = CSeq {
            number: ours.cseq().number,
            method: method.clone(),
        };
        let mut headers = Headers::new(ours.from().clone(), to, ours.call_id(), cseq);
        if let Some(via) = ours.via() {
            headers.push_via(via.clone());
        }
        for (_, route) in ours.iter().filter(|(name, _)| *name == "Route") {
            headers.push("Route", route);
        }
        headers.push(
            "Max-Forwards",
            ours.max_forwards().unwrap_or(crate::sip::MAX_FORWARDS).to_string(),
        );
        Request {
            method,
            uri: self.request.uri.clone(),
            headers,
            body: Bytes::new(),
        }
    }
}
