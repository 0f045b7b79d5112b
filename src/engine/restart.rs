//! Calls beyond the end of a process: handed over, and taken over.

use bytes::Bytes;

use super::invite::Door;
use super::signaling::Signaling;
use crate::b2bua::{Call, Output, Turn};
use crate::model::{SessionId, Timestamp};
use crate::sip::transaction::ServerId;
use crate::sip::{Flow, Method, Request};

impl Signaling {
    /// From here on no call comes in. Those that talk go on meanwhile: nobody hears a hole while the others' peers answer.
    pub(super) fn hand_over(&mut self, now: Timestamp) {
        self.door = self.door.max(Door::Draining);
        self.handed_over = true;
        self.for_all_calls(now, Call::part_before_hand_over);
    }

    pub(super) fn shut_down(&mut self, now: Timestamp) {
        self.door = Door::Closed;
        if self.handed_over {
            self.for_all_calls(now, Call::hand_over);
        }
        self.unregister(now);
        self.for_all_calls(now, Call::shut_down);
    }

    pub(super) fn for_all_calls(&mut self, now: Timestamp, act: impl Fn(&mut Call, &mut Turn<'_>)) {
        let sessions: Vec<SessionId> = self.calls.keys().copied().collect();
        for session in sessions {
            self.with_call(now, session, &act);
        }
    }

    /// Whether the peer shall send it again, to the next process: all but what concerns calls that end with this one, what begins
    /// something over a stream, which nobody sends again (RFC 3261 §17.1.1.2), and calls for help while others wait for one.
    pub(super) fn is_left_to_next(&self, now: Timestamp, request: &Request, flow: Flow) -> bool {
        let ends_here = |session| self.calls.get(&session).is_some_and(|call| call.is_leaving());
        let is_said_once = flow.transport.is_reliable() && request.headers.to().tag().is_none();
        let is_taken = || {
            let begins = self.door != Door::Closed && request.headers.to().tag().is_none();
            begins && self.is_urgent(now, flow, request)
        };
        self.handed_over
            && !is_said_once
            && !self
                .leg_of(request, flow)
                .is_some_and(|(session, _)| ends_here(session))
            && !is_taken()
    }

    /// Who has been let go of and hangs up over a stream does not say so again, to the next process: its call ends here. False: it
    /// is nothing of that kind.
    pub(super) fn ends_what_was_let_go(
        &mut self,
        now: Timestamp,
        id: ServerId,
        request: &Request,
        (flow, bytes): (Flow, &Bytes),
    ) -> bool {
        if request.method != Method::Bye {
            return false;
        }
        let Some((session, side)) = self.leg_of(request, flow) else {
            return false;
        };
        let mut is_ended = false;
        self.with_call(now, session, |call, turn| {
            is_ended = call.is_let_go() && flow.transport.is_reliable();
            if is_ended {
                call.received(turn, side, flow, bytes);
                call.on_bye_after_hand_over(turn, side, id, request);
            } else {
                call.note_hung_up(side);
            }
        });
        is_ended
    }

    /// Who called for help is remembered further on. A call of the process before goes on as a new session, or is ended on both legs.
    pub(super) fn resume(&mut self, now: Timestamp, before: SessionId, state: &Bytes) {
        if let Some(lasts) = self.emergencies.resume(now, before, state) {
            if !lasts {
                self.out.push_back(Output::Forget { session: before });
            }
            return;
        }
        let is_known = |tags: [String; 2]| tags.iter().any(|tag| self.tags.contains_key(tag));
        if Call::tags_in(state).is_some_and(is_known) {
            // Taken over already, from a newer state of the same call.
            self.out.push_back(Output::Forget { session: before });
            return;
        }
        let session = SessionId::mint(now, self.wire.mint().entropy());
        let resumed = Call::resume(&mut self.turn(now), session, state);
        match resumed {
            Ok(call) => {
                tracing::info!(%before, %session, "call of before the restart");
                self.conversations.resume(session, call.conversation());
                self.adopt(call);
                self.with_call(now, session, Call::settle);
            }
            Err(error) => tracing::error!(%before, %error, "call of before the restart is lost"),
        }
        self.out.push_back(Output::Forget { session: before });
        self.depart();
    }
}
