//! What a phone says to what the proxy sends it: the captured answer where there is one, else what any phone would.

use std::net::SocketAddr;

use super::exchange::{Dialog, Exchange};
use super::{Line, REPEATS_MAX, Script, opens};
use crate::model::Leg;
use crate::sip::{Message, Method, Request, Response, Via};

impl Script {
    /// A message of the proxy to one of the phones: what the phone says to it at once goes to `out`.
    ///
    /// `at`: where the proxy sent it.
    pub(crate) fn on_sent(&mut self, leg: Leg, at: SocketAddr, message: &Message, out: &mut Vec<Line>) {
        match message {
            Message::Request(request) => {
                // Another destination of B's trunk, or the phone of another call.
                if leg == Leg::B && opens(request) && at.ip() != self.phones[leg.index()].ip() {
                    self.phones[leg.index()] = at;
                }
                self.on_request(leg, request, out);
            }
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
            // Who is asked to prove it is in the call still (RFC 3261 §22.2).
            (Method::Bye, false) if matches!(response.status, 401 | 407) => {}
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
        if leg == Leg::B && opens(request) {
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
            if leg == Leg::B && request.method == Method::Invite && opens(request) {
                self.expect_attempt(request);
            } else {
                self.improvise(leg, request, out);
            }
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
                say(response);
                let dialog = self.dialogs[leg.index()].as_ref();
                if dialog.is_some_and(|dialog| dialog.phone.tag() == request.headers.to().tag()) {
                    self.end(leg);
                }
            }
            _ => say(response),
        }
    }

    /// The Refer-To of a REFER that was passed on, as the other phone said it.
    pub(crate) fn refer_to(&self, leg: Leg, refer: &Request) -> Option<&str> {
        let exchange = self.exchanges.iter().find(|e| e.is_forwarded_as(leg, refer))?;
        exchange.refer_to.as_deref()
    }

    /// What A says when the capture ends in the middle of its call: BYE, or CANCEL while it rings.
    pub(crate) fn hang_up(&mut self, out: &mut Vec<Line>) {
        let is_open =
            |e: &&Exchange| e.is_initial && e.method == Method::Invite && e.said_as.is_none() && !e.is_unclaimed;
        let mut invites = self.exchanges.iter().rev().filter(is_open);
        let open = invites.find(|e| e.status.is_none());
        let dialog = self.dialogs[Leg::A.index()].clone().filter(|_| self.invite.is_some());
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

    /// The CANCEL of A's open INVITE (RFC 3261 §9.1).
    pub(super) fn cancel(&self, number: u32) -> Option<Request> {
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
