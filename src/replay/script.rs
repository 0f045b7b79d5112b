//! One captured call as two scripted phones.
//!
//! A and B say what they said in the capture, when they said it, with the identifiers that the proxy minted: the tag and
//! Contact that it answered A with, and on the other side the Call-ID, From tag, CSeq, Via and Request-URI of what it
//! sent to B. What the proxy says that the capture does not know (a BYE because the recorder failed) is answered as any
//! phone would.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::model::Leg;
use crate::sip::{Headers, Message, Method, NameAddr, Request, Response, Transport, Uri, Via};

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
    dialogs: [Option<Dialog>; 2],
    exchanges: VecDeque<Exchange>,
    /// A's newest dialog-forming INVITE, as it said it.
    invite: Option<Request>,
    /// The newest description that each party sent.
    descriptions: [Option<Bytes>; 2],
}

/// The dialog that the proxy keeps with one phone.
#[derive(Clone, Debug)]
struct Dialog {
    call_id: String,
    proxy: NameAddr,
    phone: NameAddr,
    /// The proxy's Contact.
    target: Option<Uri>,
    /// Highest CSeq that the phone used.
    number: u32,
    is_confirmed: bool,
    is_over: bool,
}

/// One captured transaction and what became of it here.
#[derive(Debug)]
struct Exchange {
    by: Leg,
    number: u32,
    method: Method,
    is_initial: bool,
    /// Not from the capture: nor will its answer be.
    is_made_up: bool,
    /// Where it was captured.
    hop: (SocketAddr, SocketAddr),
    /// As the proxy passed it on to the other leg.
    forwarded: Option<Request>,
    held: Vec<Response>,
    answers: Vec<(u16, u64)>,
    /// The far phone gave its final answer.
    is_answered: bool,
    /// What the proxy answered finally.
    status: Option<u16>,
    is_acked: bool,
    repeats: u8,
}

impl Script {
    pub(crate) fn new(serial: u32, transport: Transport, phones: [SocketAddr; 2]) -> Self {
        Self {
            serial,
            transport,
            phones,
            caller_tag: String::new(),
            dialogs: [None, None],
            exchanges: VecDeque::new(),
            invite: None,
            descriptions: [None, None],
        }
    }

    /// Who said it: the one whose tag made the dialog is A.
    pub(crate) fn sender_of(&self, message: &Message) -> Leg {
        let from_caller = message.headers().from().tag().unwrap_or_default() == self.caller_tag;
        match (message, from_caller) {
            (Message::Request(_), true) | (Message::Response(_), false) => Leg::A,
            (Message::Request(_), false) | (Message::Response(_), true) => Leg::B,
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
        let is_initial = request.method == Method::Invite && request.headers.to().tag().is_none();
        let number = request.headers.cseq().number;
        if is_initial && !self.exchanges.iter().any(|e| e.is_initial && e.number == number) {
            self.caller_tag = request.headers.from().tag().unwrap_or_default().to_owned();
            self.dialogs = [None, None];
        }
        let from_caller = request.headers.from().tag().unwrap_or_default() == self.caller_tag;
        let by = if from_caller { Leg::A } else { Leg::B };
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
        if self.exchanges.len() == EXCHANGES_MAX {
            self.exchanges.pop_front();
        }
        self.exchanges
            .push_back(Exchange::new(by, number, request.method.clone(), is_initial, hop));
        if let Some(said) = self.restate(by, request, is_initial) {
            out.push(Line {
                leg: by,
                message: said.into(),
                is_made_up: false,
            });
        }
        Sighting::New
    }

    fn on_captured_ack(&mut self, by: Leg, ack: Request, out: &mut Vec<Line>) -> Sighting {
        let number = ack.headers.cseq().number;
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
        // A CANCEL is of the INVITE's dialog, early or not (RFC 3261 §9.1): its To has no tag yet.
        let is_early = is_initial || (request.method == Method::Cancel && request.headers.to().tag().is_none());
        if !is_early {
            let dialog = self.dialogs[by.index()].as_mut().filter(|dialog| !dialog.is_over)?;
            dialog.number = dialog.number.max(number);
            dialog.address(&mut request, by);
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
        if is_initial {
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
        if let Some(contact) = headers.contact() {
            let own = self.contact(by, contact.uri.user());
            headers.set("Contact", own.to_string());
        }
    }

    fn contact(&self, by: Leg, user: Option<&str>) -> NameAddr {
        let uri = Uri::sip(user, self.phones[by.index()]);
        NameAddr::new(match self.transport_of(by) {
            Transport::Udp => uri,
            Transport::Tcp => uri.with_param("transport", "tcp"),
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
        let from_caller = response.headers.from().tag().unwrap_or_default() == self.caller_tag;
        let by = if from_caller { Leg::A } else { Leg::B };
        let cseq = response.headers.cseq().clone();
        let Some(at) = self.exchanges.iter().position(|e| e.is(by, cseq.number, &cseq.method)) else {
            return Sighting::Stray;
        };
        let exchange = &mut self.exchanges[at];
        // One end is enough: answers go where Via says, not always where the request came from.
        if hop.0 != exchange.hop.1 && hop.1 != exchange.hop.0 {
            return Sighting::OtherHop;
        }
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
        let Some(forwarded) = exchange.forwarded.as_ref().filter(|_| !exchange.is_answered) else {
            return;
        };
        exchange.is_answered = captured.is_final();
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
        let is_initial = exchange.is_initial;
        if is_initial && leg == Leg::B {
            self.learn_b(&response);
        }
        self.dress(leg, &mut response.headers);
        out.push(Line {
            leg,
            message: response.into(),
            is_made_up: false,
        });
    }

    /// B's tag is known from its first answer on; a forked call has several, the newest counts.
    fn learn_b(&mut self, response: &Response) {
        if let (Some(dialog), Some(_)) = (&mut self.dialogs[Leg::B.index()], response.headers.to().tag()) {
            dialog.phone = response.headers.to().clone();
            dialog.is_confirmed |= response.is_success();
        }
    }

    /// A message of the proxy to one of the phones: what the phone says to it at once goes to `out`.
    pub(crate) fn on_sent(&mut self, leg: Leg, message: &Message, out: &mut Vec<Line>) {
        match message {
            Message::Request(request) => self.on_request(leg, request, out),
            Message::Response(response) => self.on_response(leg, response, out),
        }
    }

    fn on_response(&mut self, leg: Leg, response: &Response, out: &mut Vec<Line>) {
        let cseq = response.headers.cseq().clone();
        let Some(at) = self.exchanges.iter().position(|e| e.is(leg, cseq.number, &cseq.method)) else {
            return;
        };
        if self.exchanges[at].is_initial && response.headers.to().tag().is_some() {
            self.learn_a(response);
        }
        let exchange = &mut self.exchanges[at];
        if !response.is_final() {
            return;
        }
        let is_repeat = exchange.status.replace(response.status).is_some();
        exchange.held.clear();
        match (&exchange.method, response.is_success()) {
            (Method::Invite, false) => {
                exchange.is_acked = true;
                if exchange.is_initial {
                    self.end(leg);
                }
                self.acknowledge(leg, response, out);
            }
            (Method::Invite, true) if is_repeat && !exchange.is_acked => {
                exchange.repeats += 1;
                if exchange.repeats > REPEATS_MAX {
                    exchange.is_acked = true;
                    self.acknowledge(leg, response, out);
                }
            }
            (Method::Bye, _) => self.end(leg),
            _ => {}
        }
    }

    fn learn_a(&mut self, response: &Response) {
        let headers = &response.headers;
        self.dialogs[Leg::A.index()] = Some(Dialog {
            call_id: headers.call_id().to_owned(),
            proxy: headers.to().clone(),
            phone: headers.from().clone(),
            target: headers.contact().map(|contact| contact.uri),
            number: headers.cseq().number,
            is_confirmed: response.is_success(),
            is_over: false,
        });
    }

    fn end(&mut self, leg: Leg) {
        if let Some(dialog) = &mut self.dialogs[leg.index()] {
            dialog.is_over = true;
        }
    }

    /// An ACK that the capture does not have, or has for another answer (RFC 3261 §13.2.2.4, §17.1.1.3).
    fn acknowledge(&mut self, leg: Leg, response: &Response, out: &mut Vec<Line>) {
        let headers = &response.headers;
        let number = headers.cseq().number;
        let target = headers
            .contact()
            .map_or_else(|| headers.to().uri.clone(), |contact| contact.uri);
        let mut ack = Request::new(
            Method::Ack,
            target,
            headers.from().clone(),
            headers.to().clone(),
            headers.call_id(),
            number,
        );
        let method = if response.is_success() {
            Method::Ack
        } else {
            Method::Invite
        };
        let branch = self.branch(leg, &method, number, false);
        ack.headers
            .push_via(Via::new(self.transport_of(leg), self.phones[leg.index()], &branch));
        out.push(Line {
            leg,
            message: ack.into(),
            is_made_up: true,
        });
    }

    fn on_request(&mut self, leg: Leg, request: &Request, out: &mut Vec<Line>) {
        if request.method == Method::Ack {
            return;
        }
        if leg == Leg::B && request.method == Method::Invite && request.headers.to().tag().is_none() {
            self.dialogs[Leg::B.index()] = Some(Dialog {
                call_id: request.headers.call_id().to_owned(),
                proxy: request.headers.from().clone(),
                phone: request.headers.to().clone(),
                target: request.headers.contact().map(|contact| contact.uri),
                number: 0,
                is_confirmed: false,
                is_over: false,
            });
        }
        if let Some(at) = self.exchanges.iter().position(|e| e.is_forwarded_as(leg, request)) {
            self.on_repeated(at, request, out);
            return;
        }
        let Some(at) = self.exchanges.iter().position(|e| e.is_awaited_as(leg, request)) else {
            self.improvise(leg, request, out);
            return;
        };
        self.exchanges[at].forwarded = Some(request.clone());
        for response in std::mem::take(&mut self.exchanges[at].held) {
            self.answer(at, response, out);
        }
        if request.method == Method::Bye {
            self.end(leg);
        }
    }

    /// The proxy asks again: after a while a phone answers what the capture leaves open. Who never picked up does not.
    fn on_repeated(&mut self, at: usize, request: &Request, out: &mut Vec<Line>) {
        let exchange = &mut self.exchanges[at];
        exchange.repeats = exchange.repeats.saturating_add(1);
        if exchange.repeats > REPEATS_MAX && !exchange.is_initial && !exchange.is_answered {
            exchange.is_answered = true;
            let leg = exchange.by.other();
            self.improvise(leg, request, out);
        }
    }

    /// A phone's answer to what it was never asked in the capture.
    fn improvise(&mut self, leg: Leg, request: &Request, out: &mut Vec<Line>) {
        let mut say = |message: Response| {
            out.push(Line {
                leg,
                message: message.into(),
                is_made_up: true,
            })
        };
        let mut response = Response::to(request, 200, None, Some("replayed"));
        match request.method {
            Method::Invite | Method::Update => {
                let contact = self.contact(leg, None);
                response.headers.set("Contact", contact.to_string());
                if let Some(sdp) = &self.descriptions[leg.index()] {
                    response.set_body("application/sdp", sdp.clone());
                }
                say(response);
            }
            Method::Cancel => {
                say(response);
                let number = request.headers.cseq().number;
                let invite = self.exchanges.iter_mut().find(|e| {
                    e.by != leg
                        && e.forwarded.as_ref().is_some_and(|f| f.headers.cseq().number == number)
                        && !e.is_answered
                });
                if let Some(invite) = invite {
                    invite.is_answered = true;
                    if let Some(forwarded) = &invite.forwarded {
                        say(Response::to(forwarded, 487, None, Some("replayed")));
                    }
                }
            }
            Method::Bye => {
                self.end(leg);
                say(response);
            }
            _ => say(response),
        }
    }

    /// What A says when the capture ends in the middle of its call: BYE, or CANCEL while it rings.
    pub(crate) fn hang_up(&mut self, out: &mut Vec<Line>) {
        let open = self.exchanges.iter().rev().find(|e| e.is_initial && e.status.is_none());
        let dialog = self.dialogs[Leg::A.index()].clone();
        if let Some(invite) = open {
            let (number, hop) = (invite.number, invite.hop);
            if let Some(cancel) = self.cancel(number) {
                self.exchanges
                    .push_back(Exchange::new(Leg::A, number, Method::Cancel, false, hop));
                out.push(Line {
                    leg: Leg::A,
                    message: cancel.into(),
                    is_made_up: true,
                });
            }
        } else if let Some(dialog) = dialog.filter(|dialog| dialog.is_confirmed && !dialog.is_over)
            && let Some(target) = dialog.target
        {
            let number = dialog.number.saturating_add(1);
            let mut bye = Request::new(Method::Bye, target, dialog.phone, dialog.proxy, &dialog.call_id, number);
            let branch = self.branch(Leg::A, &Method::Bye, number, false);
            bye.headers
                .push_via(Via::new(self.transport, self.phones[Leg::A.index()], &branch));
            self.exchanges.push_back(Exchange::made_up(
                Leg::A,
                number,
                Method::Bye,
                (self.phones[0], self.phones[1]),
            ));
            out.push(Line {
                leg: Leg::A,
                message: bye.into(),
                is_made_up: true,
            });
        }
    }
}

impl Script {
    /// The CANCEL of A's open INVITE (RFC 3261 §9.1).
    fn cancel(&self, number: u32) -> Option<Request> {
        let invite = self
            .invite
            .as_ref()
            .filter(|invite| invite.headers.cseq().number == number)?;
        let headers = &invite.headers;
        let (from, to) = (headers.from().clone(), headers.to().clone());
        let mut cancel = Request::new(Method::Cancel, invite.uri.clone(), from, to, headers.call_id(), number);
        let branch = self.branch(Leg::A, &Method::Cancel, number, true);
        cancel
            .headers
            .push_via(Via::new(self.transport, self.phones[Leg::A.index()], &branch));
        Some(cancel)
    }
}

impl Dialog {
    /// Puts a captured request of `by` into the dialog that the proxy keeps.
    fn address(&self, request: &mut Request, by: Leg) {
        let tag = request.headers.from().tag().map(str::to_owned);
        let phone = self.phone.clone();
        request.headers.set_from(match tag {
            Some(tag) => phone.without_tag().with_tag(&tag),
            None => phone,
        });
        request.headers.set_to(self.proxy.clone());
        if by == Leg::B {
            request.headers.set("Call-ID", self.call_id.clone());
        }
        if let Some(target) = &self.target {
            request.uri = target.clone();
        }
    }
}

impl Exchange {
    fn new(by: Leg, number: u32, method: Method, is_initial: bool, hop: (SocketAddr, SocketAddr)) -> Self {
        Self {
            by,
            number,
            method,
            is_initial,
            is_made_up: false,
            hop,
            forwarded: None,
            held: Vec::new(),
            answers: Vec::new(),
            is_answered: false,
            status: None,
            is_acked: false,
            repeats: 0,
        }
    }

    fn made_up(by: Leg, number: u32, method: Method, hop: (SocketAddr, SocketAddr)) -> Self {
        Self {
            is_made_up: true,
            ..Self::new(by, number, method, false, hop)
        }
    }

    fn is(&self, by: Leg, number: u32, method: &Method) -> bool {
        self.by == by && self.number == number && self.method == *method
    }

    /// Whether the proxy's request to `leg` is this transaction passed on. A BYE and a CANCEL may have been answered
    /// to the one leg before the other is told.
    fn is_awaited_as(&self, leg: Leg, request: &Request) -> bool {
        let is_open = self.status.is_none() || matches!(self.method, Method::Bye | Method::Cancel);
        let is_kind = request.method != Method::Invite || self.is_initial == request.headers.to().tag().is_none();
        self.by != leg
            && self.method == request.method
            && self.forwarded.is_none()
            && !self.is_made_up
            && is_open
            && is_kind
    }

    fn is_forwarded_as(&self, leg: Leg, request: &Request) -> bool {
        self.by != leg
            && self.method == request.method
            && self.forwarded.as_ref().is_some_and(|f| {
                f.headers.cseq().number == request.headers.cseq().number
                    && f.headers.call_id() == request.headers.call_id()
            })
    }
}

/// Tells answers of one status apart: by To tag, RSeq and body. FNV-1a.
fn fingerprint(response: &Response) -> u64 {
    let tag = response.headers.to().tag().unwrap_or_default().as_bytes();
    let rseq = response.headers.get("RSeq").unwrap_or_default().as_bytes();
    [tag, b" ", rseq, b" ", &response.body]
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
