//! A telephone without I/O: what it says to what it hears.
//!
//! It has one call at a time and no timers: on loopback nothing gets lost, so it repeats nothing of its own accord, but
//! it answers what the proxy repeats.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::sdp::SessionDescription;
use crate::sip::{Dialog, Message, Method, Mint, NameAddr, Request, Response, Transport, Uri, Via};

const SDP_TYPE: &str = "application/sdp";

/// Where a phone is, and who it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The address of record, like `sip:alice@example.com`.
    pub identity: Uri,
    pub sip: SocketAddr,
    pub media: SocketAddr,
    pub proxy: SocketAddr,
}

pub(super) struct Phone {
    place: Place,
    mint: Mint,
    state: State,
    /// Where its audio goes; kept after the call, for a phone that talks on.
    remote: Option<SocketAddr>,
    /// The final answer to its newest INVITE.
    status: Option<u16>,
    /// The final answer to its newest OPTIONS.
    options_status: Option<u16>,
    /// The Reason headers of the BYE that it was sent.
    bye: Option<Vec<String>>,
}

enum State {
    Idle,
    Calling { invite: Box<Request> },
    Ringing { invite: Box<Request>, tag: String },
    Talking { dialog: Box<Dialog>, opening: Opening },
}

/// What made the dialog, for an INVITE or a 200 that is repeated.
enum Opening {
    Called { number: u32 },
    Answered { ok: Box<Response>, is_acked: bool },
}

impl Phone {
    pub(super) fn new(place: Place, seed: u64) -> Self {
        Self {
            place,
            mint: Mint::new(seed),
            state: State::Idle,
            remote: None,
            status: None,
            options_status: None,
            bye: None,
        }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Where its audio goes, once an answer or an offer has said it.
    pub(super) const fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Of its INVITE, or of the call that it is in.
    pub(super) fn call_id(&self) -> Option<&str> {
        match &self.state {
            State::Idle => None,
            State::Calling { invite } | State::Ringing { invite, .. } => Some(invite.headers.call_id()),
            State::Talking { dialog, .. } => Some(dialog.call_id()),
        }
    }

    pub(super) const fn status(&self) -> Option<u16> {
        self.status
    }

    pub(super) const fn options_status(&self) -> Option<u16> {
        self.options_status
    }

    pub(super) fn bye(&self) -> Option<&[String]> {
        self.bye.as_deref()
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    pub(super) const fn is_ringing(&self) -> bool {
        matches!(self.state, State::Ringing { .. })
    }

    /// In a call whose set-up is complete: as the caller it has sent its ACK, as the callee it has got one.
    pub(super) const fn is_talking(&self) -> bool {
        matches!(
            self.state,
            State::Talking {
                opening: Opening::Called { .. } | Opening::Answered { is_acked: true, .. },
                ..
            }
        )
    }

    /// A call to `callee`; what is left of one before is forgotten.
    pub(super) fn call(&mut self, callee: &Uri) -> Request {
        self.forget();
        let mut invite = self.request(Method::Invite, callee.clone(), callee);
        invite.headers.push("Contact", self.contact().to_string());
        invite.set_body(SDP_TYPE, self.description());
        self.state = State::Calling {
            invite: Box::new(invite.clone()),
        };
        invite
    }

    /// Asks the proxy whether it takes calls, as a dispatcher does (RFC 3261 §11).
    pub(super) fn ask(&mut self) -> Request {
        self.options_status = None;
        let proxy = Uri::sip(None, self.place.proxy);
        self.request(Method::Options, proxy.clone(), &proxy)
    }

    /// Picks up, if it rings.
    pub(super) fn answer(&mut self) -> Option<Response> {
        let State::Ringing { invite, tag } = &self.state else {
            return None;
        };
        let mut ok = Response::to(invite, 200, None, Some(tag));
        ok.headers.push("Contact", self.contact().to_string());
        ok.set_body(SDP_TYPE, self.description());
        let dialog = Dialog::uas(invite, &ok).ok()?;
        self.state = State::Talking {
            dialog: Box::new(dialog),
            opening: Opening::Answered {
                ok: Box::new(ok.clone()),
                is_acked: false,
            },
        };
        Some(ok)
    }

    /// Ends its call, if it has one.
    pub(super) fn hang_up(&mut self) -> Option<Request> {
        let State::Talking { dialog, .. } = &mut self.state else {
            return None;
        };
        let mut bye = dialog.request(Method::Bye);
        self.state = State::Idle;
        self.sign(&mut bye);
        Some(bye)
    }

    /// Hears a message, and says what has to be said to it.
    pub(super) fn handle_message(&mut self, message: Message) -> Vec<Message> {
        match message {
            Message::Request(request) => self.on_request(request).map(Message::from).into_iter().collect(),
            Message::Response(response) => self.on_response(&response).map(Message::from).into_iter().collect(),
        }
    }

    fn on_request(&mut self, request: Request) -> Option<Response> {
        match request.method {
            Method::Invite => Some(self.on_invite(request)),
            Method::Ack => {
                if let State::Talking {
                    opening: Opening::Answered { is_acked, .. },
                    ..
                } = &mut self.state
                {
                    *is_acked = true;
                }
                None
            }
            Method::Bye => Some(self.on_bye(&request)),
            _ => Some(Response::to(&request, 501, None, None)),
        }
    }

    fn on_invite(&mut self, invite: Request) -> Response {
        match &self.state {
            State::Idle => {
                self.forget();
                self.remote = audio(&invite.body);
                let tag = self.mint.tag();
                let ringing = Response::to(&invite, 180, None, Some(&tag));
                let invite = Box::new(invite);
                self.state = State::Ringing { invite, tag };
                ringing
            }
            State::Ringing { invite: first, tag } if first.headers.call_id() == invite.headers.call_id() => {
                Response::to(&invite, 180, None, Some(tag))
            }
            State::Talking {
                opening: Opening::Answered { ok, .. },
                ..
            } if ok.headers.call_id() == invite.headers.call_id() => *ok.clone(),
            _ => Response::to(&invite, 486, None, None),
        }
    }

    fn on_bye(&mut self, bye: &Request) -> Response {
        if let State::Talking { dialog, .. } = &mut self.state
            && dialog.accepts(bye).is_ok()
        {
            self.bye = Some(bye.headers.get_all("Reason").map(str::to_owned).collect());
            self.state = State::Idle;
            return Response::to(bye, 200, None, None);
        }
        Response::to(bye, 481, None, None)
    }

    fn on_response(&mut self, response: &Response) -> Option<Request> {
        if !response.is_final() {
            return None;
        }
        match &response.headers.cseq().method {
            Method::Invite => self.on_answer(response),
            Method::Options => {
                self.options_status = Some(response.status);
                None
            }
            _ => None,
        }
    }

    /// The final answer to its INVITE, or that again: either way it is acknowledged.
    fn on_answer(&mut self, response: &Response) -> Option<Request> {
        match &self.state {
            State::Calling { invite } if response.is_success() => {
                let dialog = Dialog::uac(invite, response).ok()?;
                let number = invite.headers.cseq().number;
                self.status = Some(response.status);
                self.remote = audio(&response.body);
                let mut ack = dialog.ack(number);
                let dialog = Box::new(dialog);
                let opening = Opening::Called { number };
                self.state = State::Talking { dialog, opening };
                self.sign(&mut ack);
                Some(ack)
            }
            State::Talking {
                dialog,
                opening: Opening::Called { number },
            } if response.is_success() => {
                let mut ack = dialog.ack(*number);
                self.sign(&mut ack);
                Some(ack)
            }
            State::Calling { invite } => {
                let ack = refusal_ack(invite, response);
                self.status = Some(response.status);
                self.state = State::Idle;
                Some(ack)
            }
            _ => None,
        }
    }

    fn forget(&mut self) {
        self.state = State::Idle;
        self.remote = None;
        self.status = None;
        self.bye = None;
    }

    /// A request outside a dialog.
    fn request(&mut self, method: Method, uri: Uri, to: &Uri) -> Request {
        let from = NameAddr::new(self.place.identity.clone()).with_tag(&self.mint.tag());
        let call_id = self.mint.call_id();
        let mut request = Request::new(method, uri, from, NameAddr::new(to.clone()), &call_id, 1);
        self.sign(&mut request);
        request
    }

    fn sign(&mut self, request: &mut Request) {
        let branch = self.mint.branch();
        request
            .headers
            .push_via(Via::new(Transport::Udp, self.place.sip, &branch));
    }

    fn contact(&self) -> NameAddr {
        NameAddr::new(Uri::sip(self.place.identity.user(), self.place.sip))
    }

    /// One line of G.711 µ-law in packets of 20 ms.
    fn description(&self) -> Bytes {
        let (ip, port) = (self.place.media.ip(), self.place.media.port());
        let kind = if ip.is_ipv4() { "IP4" } else { "IP6" };
        format!(
            "v=0\r\no=- 1 1 IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
        )
        .into()
    }
}

/// Belongs to the INVITE's transaction, so it has its Via (RFC 3261 §17.1.1.3).
fn refusal_ack(invite: &Request, response: &Response) -> Request {
    let headers = &invite.headers;
    let (from, to) = (headers.from().clone(), response.headers.to().clone());
    let number = headers.cseq().number;
    let mut ack = Request::new(Method::Ack, invite.uri.clone(), from, to, headers.call_id(), number);
    if let Some(via) = headers.via() {
        ack.headers.push_via(via.clone());
    }
    ack
}

/// Where the author of a description wants its audio.
fn audio(description: &[u8]) -> Option<SocketAddr> {
    let description = SessionDescription::parse(description).ok()?;
    Some(description.lines().first()?.remote()?.rtp)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn phone(user: &str, port: u16) -> Phone {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let place = Place {
            identity: Uri::parse(&format!("sip:{user}@example.com")).unwrap(),
            sip: at(port),
            media: at(port + 2),
            proxy: at(5060),
        };
        Phone::new(place, u64::from(port))
    }

    /// Carries `said` to and fro until neither phone has anything to say.
    fn converse(to: &mut Phone, back: &mut Phone, said: impl Into<Message>) {
        for answer in to.handle_message(said.into()) {
            converse(back, to, answer);
        }
    }

    fn in_a_call() -> (Phone, Phone) {
        let (mut alice, mut bob) = (phone("alice", 6000), phone("bob", 7000));
        let invite = alice.call(&bob.place.identity.clone());
        converse(&mut bob, &mut alice, invite);
        assert!(bob.is_ringing() && !alice.is_talking());
        let ok = bob.answer().unwrap();
        converse(&mut alice, &mut bob, ok);
        (alice, bob)
    }

    #[test]
    fn two_phones_meet_talk_and_part() {
        let (mut alice, mut bob) = in_a_call();
        assert!(alice.is_talking() && bob.is_talking());
        assert_eq!(
            (alice.remote(), bob.remote()),
            (Some(bob.place.media), Some(alice.place.media))
        );
        let bye = alice.hang_up().unwrap();
        converse(&mut bob, &mut alice, bye);
        assert!(alice.is_idle() && bob.is_idle());
        assert_eq!(bob.bye(), Some(&[] as &[String]));
        assert_eq!(alice.bye(), None, "it ended the call itself");
    }

    #[test]
    fn a_repeated_invite_is_answered_alike_and_another_is_refused() {
        let (mut alice, mut bob) = (phone("alice", 6000), phone("bob", 7000));
        let callee = bob.place.identity.clone();
        let invite = alice.call(&callee);
        let first = bob.handle_message(invite.clone().into());
        assert_eq!(bob.handle_message(invite.clone().into()), first);
        let ok = bob.answer().unwrap();
        assert_eq!(bob.handle_message(invite.into()), [Message::from(ok)]);
        let other = phone("carol", 8000).call(&callee);
        let refused = bob.handle_message(other.into());
        assert!(matches!(&refused[..], [Message::Response(busy)] if busy.status == 486));
    }

    #[test]
    fn a_refusal_is_acknowledged_in_its_own_transaction() {
        let mut alice = phone("alice", 6000);
        let invite = alice.call(&Uri::parse("sip:bob@example.com").unwrap());
        let refusal = Response::to(&invite, 603, None, Some("proxy"));
        let said = alice.handle_message(refusal.into());
        let [Message::Request(ack)] = &said[..] else {
            unreachable!("{said:?}")
        };
        assert_eq!(ack.method, Method::Ack);
        assert_eq!(ack.headers.via(), invite.headers.via());
        assert_eq!(ack.headers.to().tag(), Some("proxy"));
        assert!(alice.is_idle());
        assert_eq!(alice.status(), Some(603));
    }
}
