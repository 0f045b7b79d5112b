//! Any request but INVITE as client: RFC 3261 §17.1.2.

use bytes::Bytes;

use super::outbox::ClientOutbox;
use super::timer::{Backoff, T2, T4, TIMEOUT, forgotten_after};
use crate::model::{Timestamp, earliest};
use crate::sip::flow::Flow;
use crate::sip::message::{Request, Response};

#[derive(Debug)]
enum State {
    /// Trying and Proceeding: they differ in Timer E's interval, and in what a transport error means.
    Waiting {
        /// A provisional answer came.
        heard: bool,
        bytes: Bytes,
        timer_e: Option<Backoff>,
        timer_f: Timestamp,
    },
    Completed {
        timer_k: Timestamp,
    },
    Terminated,
}

#[derive(Debug)]
pub(super) struct Client {
    state: State,
    reliable: bool,
}

impl Client {
    pub(super) fn start(now: Timestamp, request: &Request, flow: Flow, out: &mut ClientOutbox<'_>) -> Self {
        let bytes = request.encode();
        let reliable = flow.transport.is_reliable();
        if !out.offer(bytes.clone()) {
            return Self {
                state: State::Terminated,
                reliable,
            };
        }
        let timer_e = (!reliable).then(|| Backoff::start(now, T2));
        Self {
            state: State::Waiting {
                heard: false,
                bytes,
                timer_e,
                timer_f: now + TIMEOUT,
            },
            reliable,
        }
    }

    pub(super) fn on_response(&mut self, now: Timestamp, response: Response, out: &mut ClientOutbox<'_>) {
        match &mut self.state {
            State::Waiting { heard, timer_e, .. } if response.is_provisional() => {
                *heard = true;
                if let Some(timer_e) = timer_e {
                    timer_e.slow_down();
                }
                out.pass_up(response);
            }
            State::Waiting { .. } => {
                self.state = if self.reliable {
                    State::Terminated
                } else {
                    State::Completed {
                        timer_k: forgotten_after(now, T4),
                    }
                };
                out.pass_up(response);
            }
            State::Completed { .. } | State::Terminated => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, out: &mut ClientOutbox<'_>) {
        match &mut self.state {
            State::Waiting { timer_f, .. } if *timer_f <= now => {
                self.state = State::Terminated;
                out.time_out();
            }
            State::Waiting {
                bytes,
                timer_e: Some(timer_e),
                ..
            } if timer_e.is_due(now) => {
                timer_e.restart(now);
                out.send(bytes.clone());
            }
            State::Completed { timer_k } if *timer_k <= now => self.state = State::Terminated,
            State::Waiting { .. } | State::Completed { .. } | State::Terminated => {}
        }
    }

    pub(super) const fn is_unheard(&self) -> bool {
        matches!(self.state, State::Waiting { heard: false, .. })
    }

    /// The transport cannot send (§17.1.4). Over while nothing was heard.
    pub(super) fn on_unreachable(&mut self, out: &mut ClientOutbox<'_>) {
        if self.is_unheard() {
            out.unreachable();
            self.state = State::Terminated;
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Waiting { timer_e, timer_f, .. } => earliest(timer_e.map(|e| e.due()), Some(*timer_f)),
            State::Completed { timer_k } => Some(*timer_k),
            State::Terminated => None,
        }
    }

    pub(super) const fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}
