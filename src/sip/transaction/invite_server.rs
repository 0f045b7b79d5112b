//! INVITE as server: RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1, and the 2xx sent again until its ACK
//! (RFC 3261 §13.3.1.4).

use bytes::Bytes;

use super::outbox::ServerOutbox;
use super::timer::{Backoff, T2, T4, TIMEOUT, TRYING_AFTER, forgotten_after};
use crate::model::{Timestamp, earliest};
use crate::sip::message::{Request, Response};

#[derive(Debug)]
enum State {
    /// `trying` is the 100 that goes out by itself when the user stays silent.
    Proceeding {
        trying: Option<(Timestamp, Bytes)>,
        last: Option<Bytes>,
    },
    Accepted {
        response: Bytes,
        resend: Option<Backoff>,
        timer_l: Timestamp,
        acknowledged: bool,
    },
    Completed {
        response: Bytes,
        timer_g: Option<Backoff>,
        timer_h: Timestamp,
    },
    Confirmed {
        timer_i: Timestamp,
    },
    Terminated,
}

#[derive(Debug)]
pub(super) struct InviteServer {
    state: State,
    reliable: bool,
}

impl InviteServer {
    pub(super) fn start(now: Timestamp, request: &Request, reliable: bool) -> Self {
        let trying = request.encode_trying();
        Self {
            state: State::Proceeding {
                trying: Some((now + TRYING_AFTER, trying)),
                last: None,
            },
            reliable,
        }
    }

    /// The INVITE once more: the last answer once more, except a 2xx, which has its own clock.
    pub(super) fn on_retransmission(&mut self, out: &mut ServerOutbox<'_>) {
        match &mut self.state {
            State::Proceeding { last: Some(last), .. } => out.send(last.clone()),
            State::Proceeding { last: None, .. } => self.say_trying(out),
            State::Completed { response, .. } => out.send(response.clone()),
            State::Accepted { .. } | State::Confirmed { .. } | State::Terminated => {}
        }
    }

    /// What was sent last may not have arrived. A 2xx has its own clock.
    pub(super) fn on_connection_gone(&self, out: &mut ServerOutbox<'_>) {
        match &self.state {
            State::Proceeding { last: Some(last), .. } | State::Completed { response: last, .. } => {
                out.send(last.clone())
            }
            State::Proceeding { last: None, .. } | State::Accepted { .. } => {}
            State::Confirmed { .. } | State::Terminated => {}
        }
    }

    /// The 100 goes out now, if nothing went out yet.
    pub(super) fn say_trying(&mut self, out: &mut ServerOutbox<'_>) {
        if let State::Proceeding { trying, last } = &mut self.state
            && let Some((_, bytes)) = trying.take()
        {
            out.send(bytes.clone());
            *last = Some(bytes);
        }
    }

    /// Whether the response was sent: one that comes too late is not.
    pub(super) fn respond(&mut self, now: Timestamp, response: &Response, out: &mut ServerOutbox<'_>) -> bool {
        if !matches!(self.state, State::Proceeding { .. }) {
            return false;
        }
        let bytes = response.encode();
        out.send(bytes.clone());
        self.state = if response.is_provisional() {
            State::Proceeding {
                trying: None,
                last: Some(bytes),
            }
        } else if response.is_success() {
            let resend = Some(Backoff::start(now, T2));
            State::Accepted {
                response: bytes,
                resend,
                timer_l: forgotten_after(now, TIMEOUT),
                acknowledged: false,
            }
        } else {
            let timer_g = (!self.reliable).then(|| Backoff::start(now, T2));
            State::Completed {
                response: bytes,
                timer_g,
                timer_h: now + TIMEOUT,
            }
        };
        true
    }

    /// Whether the user should see the ACK: it is the first to a 2xx.
    pub(super) fn on_ack(&mut self, now: Timestamp) -> bool {
        match &mut self.state {
            State::Completed { .. } => {
                self.state = if self.reliable {
                    State::Terminated
                } else {
                    State::Confirmed {
                        timer_i: forgotten_after(now, T4),
                    }
                };
                false
            }
            State::Accepted {
                acknowledged, resend, ..
            } => {
                *resend = None;
                !std::mem::replace(acknowledged, true)
            }
            State::Proceeding { .. } | State::Confirmed { .. } | State::Terminated => false,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, out: &mut ServerOutbox<'_>) {
        match &mut self.state {
            State::Proceeding {
                trying: Some((due, bytes)),
                ..
            } if *due <= now => {
                let bytes = bytes.clone();
                out.send(bytes.clone());
                self.state = State::Proceeding {
                    trying: None,
                    last: Some(bytes),
                };
            }
            State::Accepted {
                timer_l, acknowledged, ..
            } if *timer_l <= now => {
                if !*acknowledged {
                    out.no_ack();
                }
                self.state = State::Terminated;
            }
            State::Accepted {
                response,
                resend: Some(resend),
                ..
            } if resend.is_due(now) => {
                resend.restart(now);
                out.send(response.clone());
            }
            State::Completed { timer_h, .. } if *timer_h <= now => {
                self.state = State::Terminated;
                out.no_ack();
            }
            State::Completed {
                response,
                timer_g: Some(timer_g),
                ..
            } if timer_g.is_due(now) => {
                timer_g.restart(now);
                out.send(response.clone());
            }
            State::Confirmed { timer_i } if *timer_i <= now => self.state = State::Terminated,
            State::Proceeding { .. } | State::Accepted { .. } | State::Completed { .. } => {}
            State::Confirmed { .. } | State::Terminated => {}
        }
    }

    /// Whether a CANCEL still has something to cancel.
    pub(super) const fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Proceeding { trying, .. } => trying.as_ref().map(|(due, _)| *due),
            State::Accepted { resend, timer_l, .. } => earliest(resend.map(|r| r.due()), Some(*timer_l)),
            State::Completed { timer_g, timer_h, .. } => earliest(timer_g.map(|g| g.due()), Some(*timer_h)),
            State::Confirmed { timer_i } => Some(*timer_i),
            State::Terminated => None,
        }
    }

    pub(super) const fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}
