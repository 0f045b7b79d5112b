//! Any request but INVITE and ACK as server: RFC 3261 §17.2.2.

use bytes::Bytes;

use super::outbox::ServerOutbox;
use super::timer::{TIMEOUT, forgotten_after};
use crate::model::Timestamp;
use crate::sip::message::Response;

#[derive(Debug)]
enum State {
    /// Trying, and Proceeding once a provisional answer was sent.
    Waiting {
        last: Option<Bytes>,
    },
    Completed {
        response: Bytes,
        timer_j: Timestamp,
    },
    Terminated,
}

#[derive(Debug)]
pub(super) struct Server {
    state: State,
    reliable: bool,
}

impl Server {
    pub(super) const fn start(reliable: bool) -> Self {
        Self {
            state: State::Waiting { last: None },
            reliable,
        }
    }

    pub(super) fn on_retransmission(&self, out: &mut ServerOutbox<'_>) {
        match &self.state {
            State::Waiting { last: Some(response) } | State::Completed { response, .. } => out.send(response.clone()),
            State::Waiting { last: None } | State::Terminated => {}
        }
    }

    pub(super) fn respond(&mut self, now: Timestamp, response: &Response, out: &mut ServerOutbox<'_>) -> bool {
        if !matches!(self.state, State::Waiting { .. }) {
            return false;
        }
        let bytes = response.encode();
        out.send(bytes.clone());
        self.state = if response.is_provisional() {
            State::Waiting { last: Some(bytes) }
        } else if self.reliable {
            State::Terminated
        } else {
            State::Completed {
                response: bytes,
                timer_j: forgotten_after(now, TIMEOUT),
            }
        };
        true
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        if matches!(self.state, State::Completed { timer_j, .. } if timer_j <= now) {
            self.state = State::Terminated;
        }
    }

    pub(super) const fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Completed { timer_j, .. } => Some(*timer_j),
            State::Waiting { .. } | State::Terminated => None,
        }
    }

    pub(super) const fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}
