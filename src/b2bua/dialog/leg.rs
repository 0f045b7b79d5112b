//! One leg: a dialog with one peer, and what it still owes us or we owe it. A leg holds back what RFC 3261 forbids yet.

use std::net::SocketAddr;
use std::sync::Arc;

use super::wire::Wire;
use crate::b2bua::decision::FOCUS;
use crate::b2bua::ending::Farewell;
use crate::b2bua::recording::Chronicle;
use crate::b2bua::reject::Rejection;
use crate::b2bua::turn::{Line, Turn};
use crate::model::{Leg, SessionId};
use crate::sip::dialog::Dialog;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Headers, Method, Request, Response, Scheme, Uri};
use crate::trunk::Trunk;

/// Where the leg's dialog is. Only `hang_up` and the calls named below move it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LegState {
    /// B before its INVITE is sent.
    Idle,
    /// It comes over from another call: nothing is sent here before.
    Expected,
    /// A: its INVITE waits for a final answer of ours.
    Invited {
        server: ServerId,
    },
    /// B: our INVITE waits for a final answer. A CANCEL that is wanted goes out with the first provisional (RFC 3261 §9.1).
    Inviting {
        client: ClientId,
        provisional: bool,
        cancel: Option<Farewell>,
    },
    /// B: cancelled; a 2xx that crosses is ACKed, then BYEd.
    Cancelling {
        client: ClientId,
        farewell: Farewell,
    },
    /// B: answered with 2xx, our ACK is owed.
    AckOwed {
        client: ClientId,
        cseq: u32,
    },
    /// A: a 2xx was sent, its ACK is awaited; a BYE that is wanted goes out after it (RFC 3261 §15).
    AckAwaited {
        server: ServerId,
        hang_up: Option<Farewell>,
    },
    Up,
    /// Our BYE waits for its answer. It is said once more, with the same farewell, if its connection breaks.
    Leaving {
        bye: ClientId,
        again: Option<Farewell>,
    },
    Gone,
}

/// Who is told by it learns that the call is recorded on its way (RFC 7866 §6.1.2).
const SRC: &str = ";+sip.src";

#[derive(Debug)]
pub struct CallLeg {
    pub side: Leg,
    pub trunk: Arc<Trunk>,
    pub flow: Flow,
    pub call_id: String,
    pub local_tag: String,
    pub dialog: Option<Dialog>,
    pub state: LegState,
    /// A: the INVITE as it came; B: as it was sent. Kept until its dialog stands and its final answer is through.
    pub invite: Option<Box<Request>>,
    /// The ACK that we sent last, for 2xx that come again.
    pub ack: Option<Box<Request>>,
    /// Whom its peer talks to through us is a conference focus.
    pub fronts_focus: bool,
    /// Its peer reads what it is told of recordings, and one is made here.
    pub tells_src: bool,
}

impl CallLeg {
    pub fn line<'a>(&self, chronicle: &'a Chronicle) -> Line<'a> {
        self.line_by(self.flow, chronicle)
    }

    /// By another path than that of its dialog.
    pub fn line_by<'a>(&self, flow: Flow, chronicle: &'a Chronicle) -> Line<'a> {
        let trunk = &self.trunk;
        Line {
            leg: self.side,
            flow,
            proves: trunk.conduct.credentials.is_some() && trunk.admits(flow.remote, flow.transport),
            chronicle,
        }
    }

    pub const fn is_over(&self) -> bool {
        matches!(self.state, LegState::Gone)
    }

    /// A response of ours to the INVITE (or re-INVITE) of this leg that makes or keeps a dialog (RFC 3261 §12.1.1).
    pub fn dialog_response(&self, request: &Request, status: u16, reason: Option<&str>) -> Response {
        let mut response = Response::to(request, status, reason, Some(&self.local_tag));
        self.push_contact(&mut response.headers);
        response
    }

    /// A request inside this leg's dialog, with Contact where the method refreshes the target (RFC 3261 §12.2.1.1).
    pub fn dialog_request(&mut self, method: Method) -> Option<Request> {
        let refreshes =
            matches!(method, Method::Invite | Method::Update) || crate::b2bua::crossing::refreshes_target(&method);
        let mut request = self.dialog.as_mut()?.request(method);
        self.follow_target();
        if refreshes {
            self.push_contact(&mut request.headers);
        }
        Some(request)
    }

    /// Acknowledges the 2xx to our INVITE with this CSeq, with the body of the other leg's ACK if it has one.
    pub fn acknowledge(
        &mut self,
        turn: &mut Turn<'_>,
        chronicle: &Chronicle,
        cseq: u32,
        body: Option<(&str, bytes::Bytes)>,
    ) {
        let Some(dialog) = &self.dialog else { return };
        let mut ack = dialog.ack(cseq);
        if let Some((content_type, body)) = body {
            ack.headers.push("Content-Type", content_type);
            ack.body = body;
        }
        self.follow_target();
        let sent = turn.send(self.line(chronicle), ack);
        self.ack = Some(Box::new(sent));
        if matches!(self.state, LegState::AckOwed { .. }) {
            self.state = LegState::Up;
        }
    }

    /// Ends the leg by whatever RFC 3261 allows in its state: an error, CANCEL, BYE, or one of them later.
    pub fn hang_up(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        chronicle: &Chronicle,
        farewell: &Farewell,
        rejection: &Rejection,
    ) {
        let line = self.line(chronicle);
        match &mut self.state {
            LegState::Idle | LegState::Expected => self.state = LegState::Gone,
            LegState::Invited { server } => {
                let server = *server;
                self.reject(turn, chronicle, server, rejection);
            }
            LegState::Inviting {
                client,
                provisional: true,
                ..
            } => {
                let client = *client;
                turn.cancel(line, client, &farewell.reasons());
                self.state = LegState::Cancelling {
                    client,
                    farewell: farewell.clone(),
                };
            }
            LegState::Inviting { cancel, .. } => {
                cancel.get_or_insert_with(|| farewell.clone());
            }
            LegState::AckOwed { cseq, .. } => {
                let cseq = *cseq;
                self.acknowledge(turn, chronicle, cseq, None);
                self.bye(turn, session, chronicle, farewell);
            }
            LegState::AckAwaited { hang_up, .. } => {
                hang_up.get_or_insert_with(|| farewell.clone());
            }
            LegState::Up => self.bye(turn, session, chronicle, farewell),
            LegState::Cancelling { .. } | LegState::Leaving { .. } | LegState::Gone => {}
        }
    }

    /// The peer rang or progressed: a CANCEL that was held back may go now.
    pub fn on_provisional(&mut self, turn: &mut Turn<'_>, chronicle: &Chronicle) {
        let line = self.line(chronicle);
        let LegState::Inviting {
            client,
            provisional,
            cancel,
        } = &mut self.state
        else {
            return;
        };
        *provisional = true;
        if let Some(farewell) = cancel.take() {
            let client = *client;
            turn.cancel(line, client, &farewell.reasons());
            self.state = LegState::Cancelling { client, farewell };
        }
    }

    /// The ACK to our 2xx came, or never will: a BYE that was held back goes now.
    pub fn on_ack(&mut self, turn: &mut Turn<'_>, session: SessionId, chronicle: &Chronicle) {
        let LegState::AckAwaited { server, hang_up } = &mut self.state else {
            return;
        };
        turn.wire.disown_server(*server);
        let held = hang_up.take();
        self.state = LegState::Up;
        self.invite = None;
        if let Some(farewell) = held {
            self.bye(turn, session, chronicle, &farewell);
        }
    }

    /// Answers the leg's INVITE with an error; the leg is over.
    pub fn reject(&mut self, turn: &mut Turn<'_>, chronicle: &Chronicle, server: ServerId, rejection: &Rejection) {
        if let Some(invite) = self.invite.take() {
            let mut response = Response::to(&invite, rejection.status, None, Some(&self.local_tag));
            for (name, value) in &rejection.headers {
                response.headers.push(name, value);
            }
            turn.respond(self.line(chronicle), server, response);
        }
        turn.wire.disown_server(server);
        self.state = LegState::Gone;
    }

    pub fn bye(&mut self, turn: &mut Turn<'_>, session: SessionId, chronicle: &Chronicle, farewell: &Farewell) {
        let Some(mut bye) = self.dialog_request(Method::Bye) else {
            self.state = LegState::Gone;
            return;
        };
        farewell.write(&mut bye);
        let client = turn.request(session, self.line(chronicle), bye);
        let again = Some(farewell.clone());
        self.state = LegState::Leaving { bye: client, again };
    }

    pub fn is_leaving_by(&self, client: ClientId) -> bool {
        matches!(self.state, LegState::Leaving { bye, .. } if bye == client)
    }

    /// Our BYE got no answer. A connection that broke may only be the wrong one: the peer is told once more where it
    /// listens.
    pub fn on_bye_failed(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        chronicle: &Chronicle,
        broken: Option<Flow>,
    ) {
        let LegState::Leaving { again, .. } = &mut self.state else {
            return;
        };
        let again = again.take();
        self.state = LegState::Gone;
        if let (Some(farewell), Some(broken)) = (again, broken)
            && self.reroute(broken)
        {
            self.bye(turn, session, chronicle, &farewell);
            if let LegState::Leaving { again, .. } = &mut self.state {
                *again = None;
            }
        }
    }

    /// From `broken`, a connection that is gone, to where the peer accepts connections: its Contact or route, if that is an
    /// address of the trunk, else where the trunk is by this transport, rather at the same host (RFC 3261 §18.1.1). Where that is
    /// where it led, it was ours to open, and is opened anew. Of several requests that wait on one connection, the first moves
    /// the leg, and the others follow it. False for datagrams: those have no other way.
    pub fn reroute(&mut self, broken: Flow) -> bool {
        if !self.flow.transport.is_stream() || self.flow != broken {
            return self.flow.transport.is_stream();
        }
        let target = self.dialog.as_ref().and_then(|dialog| dialog.next_hop().socket_addr());
        let target = target.filter(|target| self.trunk.admits(*target, self.flow.transport));
        let first = self.trunk.first_address(self.flow.transport, self.flow.remote.ip());
        if let Some(remote) = target.or(first) {
            self.flow.remote = remote;
        }
        true
    }

    pub(in crate::b2bua) fn push_contact(&self, headers: &mut Headers) {
        let called = self.invite.as_ref().map(|invite| &invite.uri);
        let theirs = self.dialog.as_ref().map(Dialog::remote_target);
        let is_secure = |uri: &&Uri| uri.scheme() == Scheme::Sips;
        let contact = match called.into_iter().chain(theirs).find(is_secure) {
            Some(secure) => Wire::contact_for(self.flow, secure),
            None => Wire::contact(self.flow),
        };
        let focus = if self.fronts_focus { FOCUS } else { "" };
        let src = if self.tells_src { SRC } else { "" };
        headers.push("Contact", ["<", contact.as_str(), ">", focus, src].concat());
    }

    /// In-dialog requests go where the route set or the Contact says (RFC 3261 §12.2.1.1), if that is an address of the
    /// trunk; to strangers and names we do not send: there the path that the dialog came by serves.
    fn follow_target(&mut self) {
        if let Some(dialog) = &self.dialog {
            self.flow = path_of(&self.trunk, dialog, self.flow);
        }
    }
}

/// Where requests of a dialog with a peer of this trunk go: its route or Contact, if that is an address of the trunk, else
/// `by`, the path that the dialog came by.
pub(in crate::b2bua) fn path_of(trunk: &Trunk, dialog: &Dialog, by: Flow) -> Flow {
    // A connection is used again: its far end may accept no other.
    if by.transport.is_stream() {
        return by;
    }
    let target = dialog.next_hop().socket_addr();
    let reachable =
        |target: &SocketAddr| trunk.admits(*target, by.transport) && target.is_ipv4() == by.remote.is_ipv4();
    let remote = target.filter(reachable).unwrap_or(by.remote);
    Flow { remote, ..by }
}
