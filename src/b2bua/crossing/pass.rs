//! Requests that are carried through as they are, inside the call's dialogs: INFO, MESSAGE, REFER, SUBSCRIBE, NOTIFY,
//! PUBLISH.

use super::carry::{self, Crossing};
use crate::b2bua::call::Call;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Message, Method, Request, Response};

/// Requests of one call that may wait for an answer at a time.
pub(in crate::b2bua) const PASSINGS_MAX: usize = 16;

/// A request that was carried to the other leg and is not answered yet.
#[derive(Debug)]
pub struct Passing {
    from: Leg,
    server: ServerId,
    client: ClientId,
    request: Request,
    /// Its connection broke, and it went by another.
    rerouted: bool,
}

impl Call {
    /// Gives whether it was carried.
    pub(in crate::b2bua) fn on_passing(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        server: ServerId,
        request: &Request,
    ) -> bool {
        if self.phase == Phase::Ending {
            self.refuse_request(turn, side, server, request, &Refusal::NoSuchDialog);
            return false;
        }
        let options = carry::unsupported(&request.headers);
        if !options.is_empty() {
            self.refuse_request(turn, side, server, request, &Refusal::BadExtension { options });
            return false;
        }
        let client = if self.passings.len() < PASSINGS_MAX {
            self.pass_on(turn, side, request)
        } else {
            None
        };
        let Some(client) = client else {
            self.refuse_request(turn, side, server, request, &Refusal::Busy);
            return false;
        };
        if refreshes_target(&request.method)
            && let Some(dialog) = &mut self.leg_mut(side).dialog
        {
            dialog.target_refresh(&Message::Request(request.clone()));
        }
        self.passings.push(Passing {
            from: side,
            server,
            client,
            request: request.clone(),
            rerouted: false,
        });
        true
    }

    /// None where the other leg has no dialog.
    fn pass_on(&mut self, turn: &mut Turn<'_>, side: Leg, request: &Request) -> Option<ClientId> {
        let mut onward = self.leg_mut(side.other()).dialog_request(request.method.clone())?;
        carry::carry(&self.crossing(side), &request.headers, &mut onward.headers);
        self.cross_identities(turn, side, &mut onward.headers);
        self.cross_event(side, request, &mut onward);
        crate::b2bua::invite::carry_rack(request, &mut onward);
        onward.body = request.body.clone();
        Some(turn.request(self.id, self.line(side.other()), onward))
    }

    /// Whether the response belonged to a request that was carried.
    pub(in crate::b2bua) fn on_passed(&mut self, turn: &mut Turn<'_>, client: ClientId, response: &Response) -> bool {
        let Some(at) = self.passings.iter().position(|passing| passing.client == client) else {
            return false;
        };
        if response.status < 200 {
            return true;
        }
        let passing = self.passings.swap_remove(at);
        turn.wire.disown_client(client);
        let mut answer = back(&self.crossing(passing.from.other()), &passing.request, response);
        self.cross_identities(turn, passing.from.other(), &mut answer.headers);
        if refreshes_target(&passing.request.method) && response.status < 300 {
            if let Some(dialog) = &mut self.leg_mut(passing.from.other()).dialog {
                dialog.target_refresh(&Message::Response(response.clone()));
            }
            self.leg(passing.from).push_contact(&mut answer.headers);
        }
        turn.respond(self.line(passing.from), passing.server, answer);
        true
    }

    /// The call ends: what waits for the far end's answer waits in vain.
    pub(in crate::b2bua) fn close_passings(&mut self, turn: &mut Turn<'_>) {
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

    /// No answer came. A connection that broke may only be the wrong one: the far end is asked once where it listens.
    pub(in crate::b2bua) fn on_passing_failed(&mut self, turn: &mut Turn<'_>, client: ClientId, broken: Option<Flow>) {
        let Some(at) = self.passings.iter().position(|passing| passing.client == client) else {
            return;
        };
        let mut passing = self.passings.swap_remove(at);
        let is_there = !self.leg(passing.from.other()).is_over() && !self.is_parting();
        let may_again = is_there && !passing.rerouted && self.focus_on_request(passing.from, &passing.request);
        let broken = broken.filter(|_| may_again);
        if broken.is_some_and(|broken| self.leg_mut(passing.from.other()).reroute(broken))
            && let Some(client) = self.pass_on(turn, passing.from, &passing.request)
        {
            passing.client = client;
            passing.rerouted = true;
            self.passings.push(passing);
            return;
        }
        self.refuse_request(turn, passing.from, passing.server, &passing.request, &Refusal::NoAnswer);
    }
}

/// REFER, SUBSCRIBE and NOTIFY tell where their sender is now (RFC 3515 §2.2, RFC 6665 §8.1), and so do their 2xx.
pub(in crate::b2bua) const fn refreshes_target(method: &Method) -> bool {
    matches!(method, Method::Refer | Method::Subscribe | Method::Notify)
}

/// A response as the sender of the request gets it.
pub fn back(crossing: &Crossing, request: &Request, response: &Response) -> Response {
    let mut answer = Response::to(request, response.status, Some(&response.reason), None);
    carry::carry(crossing, &response.headers, &mut answer.headers);
    for name in ["Unsupported", "Retry-After"] {
        // Retry-After on a 503 would stop all of the peer's traffic to us, for one far end's sake.
        let is_ours = name == "Retry-After" && response.status == 503;
        for value in response.headers.get_all(name).filter(|_| !is_ours) {
            answer.headers.push(name, value);
        }
    }
    answer.body = response.body.clone();
    answer
}
