//! Requests that are carried through as they are: INFO and MESSAGE, inside a dialog and (MESSAGE) outside.

use super::call::Call;
use super::carry::{self, Crossing};
use super::reject::Refusal;
use super::state::Phase;
use super::turn::Turn;
use crate::model::Leg;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Request, Response};

/// Requests of one call that may wait for an answer at a time.
pub(super) const PASSINGS_MAX: usize = 16;

/// A request that was carried to the other leg and is not answered yet.
#[derive(Debug)]
pub struct Passing {
    from: Leg,
    server: ServerId,
    client: ClientId,
    request: Request,
}

impl Call {
    pub(super) fn on_passing(&mut self, turn: &mut Turn<'_>, side: Leg, server: ServerId, request: &Request) {
        let room = self.passings.len() < PASSINGS_MAX;
        if self.phase == Phase::Ending {
            self.refuse_request(turn, side, server, request, &Refusal::NoSuchDialog);
            return;
        }
        let onward = if room {
            self.leg_mut(side.other()).dialog_request(request.method.clone())
        } else {
            None
        };
        let Some(mut onward) = onward else {
            self.refuse_request(turn, side, server, request, &Refusal::Busy);
            return;
        };
        carry::carry(self.crossing(side), &request.headers, &mut onward.headers);
        super::reliable::carry_rack(request, &mut onward);
        onward.body = request.body.clone();
        let client = turn.request(self.id, self.line(side.other()), onward);
        self.passings.push(Passing {
            from: side,
            server,
            client,
            request: request.clone(),
        });
    }

    /// Whether the response belonged to a request that was carried.
    pub(super) fn on_passed(&mut self, turn: &mut Turn<'_>, client: ClientId, response: &Response) -> bool {
        let Some(at) = self.passings.iter().position(|passing| passing.client == client) else {
            return false;
        };
        if response.status >= 200 {
            let passing = self.passings.swap_remove(at);
            turn.wire.disown_client(client);
            turn.respond(
                self.line(passing.from),
                passing.server,
                back(self.crossing(passing.from.other()), &passing.request, response),
            );
        }
        true
    }

    /// The call ends: what waits for the far end's answer waits in vain.
    pub(super) fn close_passings(&mut self, turn: &mut Turn<'_>) {
        for passing in std::mem::take(&mut self.passings) {
            self.refuse_request(
                turn,
                passing.from,
                passing.server,
                &passing.request,
                &Refusal::Cancelled,
            );
        }
    }

    pub(super) fn on_passing_failed(&mut self, turn: &mut Turn<'_>, client: ClientId) {
        let Some(at) = self.passings.iter().position(|passing| passing.client == client) else {
            return;
        };
        let passing = self.passings.swap_remove(at);
        self.refuse_request(turn, passing.from, passing.server, &passing.request, &Refusal::NoAnswer);
    }
}

/// A response as the sender of the request gets it.
pub fn back(crossing: Crossing, request: &Request, response: &Response) -> Response {
    let mut answer = Response::to(request, response.status, Some(&response.reason), None);
    carry::carry(crossing, &response.headers, &mut answer.headers);
    answer.body = response.body.clone();
    answer
}
