//! One captured call as two scripted phones.
//!
//! A and B say what they said in the capture, when they said it, with the identifiers that the proxy minted: the tag and
//! Contact that it answered A with, and on the other side the Call-ID, From tag, CSeq, Via and Request-URI of what it
//! sent to B. What the proxy says that the capture does not know (a BYE because the recorder failed) is answered as any
//! phone would.

mod answering;
mod attempts;
mod exchange;
mod hops;

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use exchange::{Dialog, Exchange, fingerprint};
use hops::Hops;

use crate::model::Leg;
use crate::sip::{CSeq, Headers, Message, Method, NameAddr, Request, Response, Transport, Uri, Via};

/// Marks the INVITE of a captured call, so that its onward INVITE can be told from others'. X- headers cross the proxy.
pub(crate) const CALL_HEADER: &str = "X-Replayed-Call";

/// Transactions of a call that are remembered. Full: the oldest is forgotten.
const EXCHANGES_MAX: usize = 128;
/// Captured answers that wait for the proxy to pass the request on. Full: later ones are dropped.
const HELD_MAX: usize = 16;
/// Different answers that are told apart within one transaction.
const ANSWERS_MAX: usize = 64;
/// How often the proxy repeats something before a phone whose answer the capture lacks answers after all.
const REPEATS_MAX: u8 = 2;

/// How a captured message stands to what was captured before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sighting {
    New,
    /// A retransmission.
    Repeated,
    /// Said before, on the hop that is played.
    OtherHop,
    /// What the proxy has done already, on its own behalf.
    Spared,
    /// Belongs to no transaction that is known.
    Stray,
}

/// What a phone says to the proxy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    pub leg: Leg,
    pub message: Message,
    /// Not from the capture.
    pub is_made_up: bool,
}

/// Both phones of one Call-ID.
#[derive(Debug)]
pub(crate) struct Script {
    /// Of the call, in `CALL_HEADER`.
    serial: u32,
    transport: Transport,
    phones: [SocketAddr; 2],
    /// From tag of A's newest dialog-forming INVITE.
    caller_tag: String,
    hops: Hops,
    dialogs: [Option<Dialog>; 2],
    exchanges: VecDeque<Exchange>,
    /// A's newest dialog-forming INVITE, as it said it.
    invite: Option<Request>,
    /// As whom A and B were captured at first.
    parties: [Option<Uri>; 2],
    /// The newest description that each party sent.
    descriptions: [Option<Bytes>; 2],
}

impl Script {
    pub(crate) fn new(serial: u32, transport: Transport, phones: [SocketAddr; 2]) -> Self {
        Self {
            serial,
            transport,
            phones,
            caller_tag: String::new(),
            hops: Hops::default(),
            dialogs: [None, None],
            exchanges: VecDeque::new(),
            invite: None,
            parties: [None, None],
            descriptions: [None, None],
        }
    }

    /// A message of the capture: what the phones say because of it goes to `out`.
    pub(crate) fn on_captured(
        &mut self,
        message: Message,
        hop: (SocketAddr, SocketAddr),
        out: &mut Vec<Line>,
    ) -> Sighting {
        match message {
            Message::Request(request) => self.on_captured_request(request, hop, out),
            Message::Response(response) => self.on_captured_response(response, hop, out),
        }
    }

    pub(crate) fn phone(&self, leg: Leg) -> SocketAddr {
        self.phones[leg.index()]
    }

    pub(in crate::replay) fn dialog(&self, leg: Leg) -> Option<&Dialog> {
        self.dialogs[leg.index()].as_ref()
    }

    /// Remembers what a party described, for offers that the capture does not answer.
    pub(crate) fn describe(&mut self, leg: Leg, sdp: Bytes) {
        self.descriptions[leg.index()] = Some(sdp);
    }

    fn on_captured_request(
        &mut self,
        request: Request,
        hop: (SocketAddr, SocketAddr),
        out: &mut Vec<Line>,
    ) -> Sighting {
        let is_initial = opens(&request);
        let number = request.headers.cseq().number;
        let is_known = |e: &Exchange| e.is_initial && e.is(Leg::A, number, &request.method);
        let tag = request.headers.from().tag().unwrap_or_default();
        let is_known = self.exchanges.iter().any(is_known);
        let invites = is_initial && request.method == Method::Invite;
        if invites && !is_known && self.claim_attempt(&request, hop) {
            return Sighting::Spared;
        }
        if invites && self.is_onward(tag, hop) {
            return Sighting::OtherHop;
        }
        if is_initial && !is_known {
            self.caller_tag = tag.to_owned();
            self.dialogs = [None, None];
            self.parties = [request.headers.from(), request.headers.to()].map(|party| Some(party.uri.clone()));
        }
        let Some(by) = self.party(&request.headers) else {
            return Sighting::OtherHop;
        };
        if request.method == Method::Ack {
            return self.on_captured_ack(by, request, out);
        }
        if let Some(known) = self.exchanges.iter().find(|e| e.is(by, number, &request.method)) {
            return if known.hop == hop {
                Sighting::Repeated
            } else {
                Sighting::OtherHop
            };
        }
        let mut exchange = Exchange::new(by, number, request.method.clone(), is_initial, hop);
        exchange.refer_to = request.headers.get("Refer-To").map(str::to_owned);
        self.remember(exchange);
        if self.is_of_lost_fork(by, &request) {
            return Sighting::New;
        }
        if let Some(said) = self.restate(by, request, is_initial) {
            out.push(Line {
                leg: by,
                message: said.into(),
                is_made_up: false,
            });
        }
        Sighting::New
    }

    fn on_captured_ack(&mut self, by: Leg, mut ack: Request, out: &mut Vec<Line>) -> Sighting {
        let number = self.said_as(by, ack.headers.cseq().number);
        let method = Method::Ack;
        ack.headers.set("CSeq", CSeq { number, method }.to_string());
        let Some(invite) = self.exchanges.iter_mut().find(|e| e.is(by, number, &Method::Invite)) else {
            return Sighting::Stray;
        };
        if invite.is_acked {
            return Sighting::Repeated;
        }
        // The ACK to a refusal is said at once, when it comes: it may be another refusal than the captured one.
        if invite.status.is_some_and(|status| (200..300).contains(&status)) {
            invite.is_acked = true;
            if let Some(said) = self.restate(by, ack, false) {
                out.push(Line {
                    leg: by,
                    message: said.into(),
                    is_made_up: false,
                });
            }
        }
        Sighting::New
    }

    /// The captured request as this phone says it to the proxy. None outside a dialog with the proxy.
    fn restate(&mut self, by: Leg, mut request: Request, is_initial: bool) -> Option<Request> {
        let number = request.headers.cseq().number;
        if request.method == Method::Cancel && self.said_as(by, number) != number {
            return self.cancel(self.said_as(by, number));
        }
        // A CANCEL is of the INVITE's dialog, early or not (RFC 3261 §9.1): its To has no tag yet.
        let is_early = is_initial || (request.method == Method::Cancel && request.headers.to().tag().is_none());
        if !is_early {
            let dialog = self.dialogs[by.index()].as_mut().filter(|dialog| !dialog.is_over)?;
            dialog.number = dialog.number.max(number);
            let became = Some(&request.headers.from().uri) != self.parties[by.index()].as_ref();
            dialog.address(&mut request, by, became);
        } else if by == Leg::B {
            return None;
        }
        if is_initial {
            request.headers.set(CALL_HEADER, self.serial.to_string());
        }
        self.dress(by, &mut request.headers);
        let branch = self.branch(by, &request.method, number, is_early);
        request.headers.remove("Via");
        request
            .headers
            .push_via(Via::new(self.transport_of(by), self.phones[by.index()], &branch));
        if is_initial && request.method == Method::Invite {
            self.invite = Some(request.clone());
        }
        Some(request)
    }

    /// Requests that belong together in one transaction get one branch (RFC 3261 §9.1, §17.1.1.3).
    fn branch(&self, by: Leg, method: &Method, number: u32, is_early: bool) -> String {
        let kind = match method {
            Method::Cancel => "INVITE",
            Method::Ack if !is_early => "ACK",
            method => method.as_str(),
        };
        format!("z9hG4bKreplay{}{by}{number}{kind}", self.serial)
    }

    /// What every message of a phone has: its own Contact where the captured party had one, and no route through the
    /// captured network.
    fn dress(&self, by: Leg, headers: &mut Headers) {
        headers.remove("Route");
        headers.remove("Record-Route");
        if let Some(mut contact) = headers.contact() {
            contact.uri = self.contact(by, contact.uri.user()).uri;
            headers.set("Contact", contact.to_string());
        }
    }

    fn contact(&self, by: Leg, user: Option<&str>) -> NameAddr {
        let uri = Uri::sip(user, self.phones[by.index()]);
        NameAddr::new(match self.transport_of(by).param() {
            Some(param) => uri.with_param("transport", param),
            None => uri,
        })
    }

    /// The proxy reaches B by its trunk's transport, whatever A used.
    pub(crate) const fn transport_of(&self, leg: Leg) -> Transport {
        match leg {
            Leg::A => self.transport,
            Leg::B => Transport::Udp,
        }
    }

    fn on_captured_response(
        &mut self,
        response: Response,
        hop: (SocketAddr, SocketAddr),
        out: &mut Vec<Line>,
    ) -> Sighting {
        let from = response.headers.from().tag().unwrap_or_default();
        let by = if from == self.caller_tag { Leg::A } else { Leg::B };
        let cseq = response.headers.cseq().clone();
        let Some(at) = self.exchanges.iter().position(|e| e.is(by, cseq.number, &cseq.method)) else {
            return Sighting::Stray;
        };
        // One end is enough: answers go where Via says, not always where the request came from.
        let is_near = hop.0 == self.exchanges[at].hop.1 || hop.1 == self.exchanges[at].hop.0;
        if by == Leg::A {
            self.learn_callee(response.headers.to().tag(), is_near);
        }
        if !is_near || self.party(&response.headers).is_none() {
            return Sighting::OtherHop;
        }
        let exchange = &mut self.exchanges[at];
        let answer = (response.status, fingerprint(&response));
        if exchange.answers.contains(&answer) || exchange.answers.len() == ANSWERS_MAX {
            return Sighting::Repeated;
        }
        exchange.answers.push(answer);
        if exchange.forwarded.is_some() {
            self.answer(at, response, out);
        } else if exchange.status.is_none() && exchange.held.len() < HELD_MAX {
            exchange.held.push(response);
        }
        Sighting::New
    }

    /// The captured answer as the far phone gives it to the proxy's request.
    fn answer(&mut self, at: usize, captured: Response, out: &mut Vec<Line>) {
        let Some(exchange) = self.exchanges.get_mut(at) else {
            return;
        };
        let leg = exchange.by.other();
        // Another phone of a forked INVITE may answer after the first (RFC 3261 §13.2.2.4).
        let may_fork =
            exchange.is_initial && exchange.method == Method::Invite && exchange.is_taken && captured.is_success();
        let Some(forwarded) = exchange
            .forwarded
            .as_ref()
            .filter(|_| !exchange.is_answered || may_fork)
        else {
            return;
        };
        exchange.is_answered |= captured.is_final();
        exchange.is_taken |= captured.is_success();
        let tag = captured
            .headers
            .to()
            .tag()
            .or((captured.status > 100).then_some("replayed"));
        let mut response = Response::to(forwarded, captured.status, Some(&captured.reason), tag);
        response.body = captured.body.clone();
        for (name, value) in captured.headers.iter() {
            if !matches!(
                name,
                "Via" | "From" | "To" | "Call-ID" | "CSeq" | "Record-Route" | "Content-Length"
            ) {
                response.headers.push(name, value);
            }
        }
        let registered = forwarded
            .headers
            .contact()
            .filter(|_| exchange.method == Method::Register);
        let is_initial = exchange.is_initial;
        let stays = exchange.method == Method::Bye && matches!(response.status, 401 | 407);
        if let Some(dialog) = self.dialogs[leg.index()].as_mut().filter(|_| stays) {
            dialog.is_over = false;
        }
        if is_initial && leg == Leg::B {
            self.learn_b(&response);
        }
        match (registered, response.headers.contact()) {
            // The registrar has what it was given.
            (Some(registered), Some(mut contact)) => {
                contact.uri = registered.uri;
                response.headers.set("Contact", contact.to_string());
            }
            // Those are of others, whom B sends the call to.
            (_, Some(_)) if (300..400).contains(&response.status) => {}
            _ => self.dress(leg, &mut response.headers),
        }
        out.push(Line {
            leg,
            message: response.into(),
            is_made_up: false,
        });
    }

    /// B's tag is known from its first answer on; a forked call has several: the newest counts, until one of them took the
    /// call.
    fn learn_b(&mut self, response: &Response) {
        let dialog = self.dialogs[Leg::B.index()]
            .as_mut()
            .filter(|dialog| !dialog.is_confirmed);
        if let (Some(dialog), Some(_)) = (dialog, response.headers.to().tag()) {
            dialog.phone = response.headers.to().clone();
            dialog.is_confirmed |= response.is_success();
        }
    }
}

/// What may begin a dialog, or stands alone: outside of any.
pub(crate) fn opens(request: &Request) -> bool {
    let may = matches!(
        request.method,
        Method::Invite | Method::Subscribe | Method::Register | Method::Message | Method::Publish | Method::Notify
    );
    may && request.headers.to().tag().is_none()
}
