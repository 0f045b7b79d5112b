//! A message arrives: whether it is looked at, and taken on.

use bytes::Bytes;

use super::overload::{Entrant, Overload, answer_via, fingerprint, glanced_print, is_tag_of, tag_of};
use super::signaling::Signaling;
use crate::b2bua::{self, Output, Refusal};
use crate::model::Timestamp;
use crate::policy::CallFacts;
use crate::sip::{Flow, Glance, Message, Method, Request, Response};
use crate::trunk::Hearing;

impl Signaling {
    /// The first thing done costs the least: what is no peer's, or opens something at another address than its trunk faces, is
    /// dropped unread.
    pub(super) fn on_sip(&mut self, now: Timestamp, flow: Flow, bytes: &Bytes) {
        if self.hears(flow, bytes) && !is_ack_of_refusal(bytes) {
            self.on_message(now, flow, bytes, true);
        }
    }

    /// Who calls for help waits for no rest that does not come; when it does, it is a copy. Of anybody else it is waited for.
    pub(super) fn on_cut(&mut self, now: Timestamp, flow: Flow, bytes: &Bytes) {
        let invite = match Message::salvage(bytes) {
            Ok(Message::Request(request)) if request.method == Method::Invite => request,
            _ => return,
        };
        if self.hears(flow, bytes) && self.is_urgent(now, flow, &invite) {
            tracing::warn!(peer = %flow.remote, "an emergency call that is shorter than it says is taken as it is");
            self.on_message(now, flow, bytes, true);
        }
    }

    /// The line had no room for it: it is refused, unless it may never be.
    pub(super) fn on_excess(&mut self, now: Timestamp, flow: Flow, bytes: &Bytes) {
        if self.hears(flow, bytes) && !self.turns_away_at_a_glance(now, flow, bytes) {
            self.on_message(now, flow, bytes, false);
        }
    }

    fn hears(&self, flow: Flow, bytes: &[u8]) -> bool {
        match self.topology.hearing(flow) {
            Hearing::Nothing => false,
            // A CANCEL has no tag in To, and yet belongs to what began.
            Hearing::Begun => Glance::opening_method(bytes).is_none_or(|method| method == "CANCEL"),
            Hearing::All => true,
        }
    }

    /// Whether what is nothing of ours is answered: not at an address that its sender's trunk does not face.
    fn answers_whatever(&self, flow: Flow) -> bool {
        self.topology.hearing(flow) == Hearing::All
    }

    fn on_message(&mut self, now: Timestamp, flow: Flow, bytes: &Bytes, has_room: bool) {
        match Message::parse(bytes).or_else(|error| self.salvage(now, flow, bytes).ok_or(error)) {
            // An ACK is not answered, nor does it settle the 2xx that is another's.
            Ok(Message::Request(ack)) if ack.method == Method::Ack && self.is_of_stranger(&ack, flow) => {}
            Ok(mut message) => {
                if let Message::Request(request) = &mut message
                    && let Err(refusal) = self.screen(now, flow, request, has_room)
                {
                    if refusal != Refusal::NoSuchDialog || self.answers_whatever(flow) {
                        self.turn_away(flow, request, &refusal);
                    }
                    return;
                }
                if let Message::Request(request) = &message
                    && self.answers_ping(now, flow, request)
                {
                    return;
                }
                match message {
                    Message::Request(request)
                        if self.wire.is_full() && self.may_have_last_place(now, flow, &request) =>
                    {
                        self.wire.handle_emergency(now, flow, request);
                    }
                    message => self.wire.handle_message(now, flow, message),
                }
                self.on_events(now, Some((flow, bytes)));
            }
            Err(error) => {
                self.note_unread(now, flow, &error, bytes);
                if let Some(reply) = error.reply.filter(|_| self.answers_whatever(flow)) {
                    self.wire.refuse(flow, *reply);
                    self.depart();
                }
            }
        }
    }

    /// Refuses an INVITE of which a glance tells enough: that it is new, asks for nothing beside, and is no emergency. Most
    /// are, and this costs a tenth of reading it.
    fn turns_away_at_a_glance(&mut self, now: Timestamp, flow: Flow, bytes: &[u8]) -> bool {
        let is_new_call = |glance: &Glance<'_>| glance.method == "INVITE" && glance.to_tag.is_none();
        let Some(glance) = Glance::of(bytes).filter(is_new_call) else {
            return false;
        };
        if self.handed_over || glance.is_marked || glance.offers_oc() || self.wire.knows_glanced(&glance) {
            return false;
        }
        let trunk = self.topology.trunk_of(flow.remote, flow.transport);
        let Some(trunk) = trunk.filter(|trunk| trunk.rewrites.is_empty() && !trunk.e164) else {
            return false;
        };
        let facts = CallFacts {
            trunk: Some(trunk.name.clone()),
            request_uri: glance.uri.to_owned(),
            to: glance.to.to_owned(),
            to_is_vouched: trunk.trusted,
            ..CallFacts::default()
        };
        let facts = b2bua::led_on(facts, &self.topology);
        let (callee, is_emergency) = self.policies.screen(&facts);
        if is_emergency || self.emergencies.expects(now, &self.policies, &facts, &callee) {
            return false;
        }
        let print = glanced_print(&glance);
        let retry_after = self.admission.on_turned_away(now, print);
        let (flow, bytes) = glance.unavailable(flow, &tag_of(print), retry_after);
        self.out.push_back(Output::Send { flow, bytes });
        true
    }

    fn screen(&mut self, now: Timestamp, flow: Flow, request: &mut Request, has_room: bool) -> Result<(), Refusal> {
        let mut is_throttled = false;
        if let Some(mut via) = request.headers.via().cloned()
            && answer_via(&mut via, &self.admission.congestion)
        {
            is_throttled = true;
            request.headers.set_via(via);
        }
        let answers_or_ends = matches!(request.method, Method::Ack | Method::Cancel);
        if answers_or_ends || self.wire.knows(request) {
            return Ok(());
        }
        if request.headers.to().tag().is_some() {
            return self.screen_in_dialog(now, flow, request);
        }
        let entrant = Entrant {
            source: flow.remote.ip(),
            request,
            is_throttled,
            has_room,
        };
        let (topology, policies, emergencies) = (&self.topology, &self.policies, &self.emergencies);
        let is_emergency = || {
            let Some(from) = topology.trunk_of(flow.remote, flow.transport) else {
                return false;
            };
            let facts = b2bua::screened(now, entrant.request, from, topology, policies);
            let (callee, is_emergency) = policies.screen(&facts);
            is_emergency || emergencies.expects(now, policies, &facts, &callee)
        };
        let mint = self.wire.mint();
        let mut draw = || mint.entropy() as u32;
        let decided = self.admission.decide(now, entrant, &mut draw, is_emergency);
        decided.map_err(|Overload { retry_after }| Refusal::Overloaded { retry_after })
    }

    /// A request that names a dialog: whether there is one, and has room for it.
    fn screen_in_dialog(&mut self, now: Timestamp, flow: Flow, request: &Request) -> Result<(), Refusal> {
        if self.is_left_to_next(now, request, flow) {
            return Ok(());
        }
        match self.leg_of(request, flow) {
            Some((session, _)) if self.admission.takes_in_dialog(now, session, request) => Ok(()),
            Some(_) => Err(Refusal::Busy),
            None if self.subscribed_side(request, flow).is_some() => Ok(()),
            None => Err(Refusal::NoSuchDialog),
        }
    }

    fn may_have_last_place(&self, now: Timestamp, flow: Flow, request: &Request) -> bool {
        !matches!(request.method, Method::Ack | Method::Cancel) && self.is_urgent(now, flow, request)
    }

    /// Without state: what is refused must not fill the tables that calls need. Every copy gets the same (RFC 3261 §8.2.7).
    pub(super) fn turn_away(&mut self, flow: Flow, request: &Request, refusal: &Refusal) {
        let tag = tag_of(fingerprint(request));
        let rejection = refusal.rejection(&self.terms.node);
        let mut response = Response::to(request, rejection.status, None, Some(&tag));
        for (name, value) in rejection.headers {
            response.headers.push(name, value);
        }
        self.wire.refuse(flow, response);
        self.depart();
    }
}

/// The ACK to a refusal without state means nothing to anybody any more (RFC 3261 §8.2.7).
fn is_ack_of_refusal(bytes: &[u8]) -> bool {
    let glance = bytes.starts_with(b"ACK ").then(|| Glance::of(bytes)).flatten();
    glance.is_some_and(|glance| glance.to_tag.is_some_and(|tag| is_tag_of(tag, glanced_print(&glance))))
}
