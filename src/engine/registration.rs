//! Registrations of our own, at trunks that want one before they send calls (RFC 3261 §10.2): renewed before they expire,
//! tried again with growing pauses where they fail, taken back at the end.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::binding::{Binding, EXPIRES_MAX, seconds};
use super::signaling::Signaling;
use crate::b2bua::{Owner, Wire};
use crate::model::{Timestamp, TrunkName, earliest};
use crate::sip::transaction::ClientId;
use crate::sip::{CSEQ_MAX, CSeq, Flow, Method, NameAddr, Request, Response, Uri};
use crate::trunk::{Paths, Place, Register, Topology, Trunk};

/// The pause after the first failure and the longest, each drawn from its upper half (RFC 5626 §4.5).
const PAUSE_FIRST: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(30 * 60);
/// Renewed between these parts of the time granted, in percent: nodes that were started together drift apart.
const RENEW_AFTER: (u32, u32) = (60, 85);
/// Not more often, however short the registrar grants.
const RENEW_MIN: Duration = Duration::from_secs(5);

/// How a registration stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationState {
    /// The first answer is awaited.
    Registering,
    Registered,
    /// Refused, unanswered or expired; it is tried again.
    Failed,
    /// Taken back: this node is ending.
    Ended,
}

/// A registration as readers see it. Published whenever a field changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RegistrationView {
    pub trunk: TrunkName,
    pub aor: String,
    pub state: RegistrationState,
    /// Until when the registrar holds it.
    pub until: Option<Timestamp>,
    /// The last final answer; None if there was none.
    pub status: Option<u16>,
    /// When it is asked for again.
    pub next: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Registration {
    trunk: Arc<Trunk>,
    register: Register,
    call_id: String,
    tag: String,
    cseq: u32,
    /// What is asked for: a registrar may want more (423).
    expires: Duration,
    pending: Option<ClientId>,
    /// Where it was sent last.
    flow: Option<Flow>,
    /// Where it was granted last: asked first, as long as it answers.
    home: Option<Place>,
    /// Where no answer or 503 came from since it was granted last or paused: each is asked once.
    tried: Vec<Place>,
    due: Option<Timestamp>,
    /// Rounds in which nobody granted it.
    failures: u32,
    /// 423 was answered with a longer time once.
    raised: bool,
    /// To be taken back, as soon as what is pending is answered.
    ending: bool,
    /// What is pending takes it back.
    leaving: bool,
    view: RegistrationView,
    told: bool,
}

impl Registration {
    /// Those of all trunks that want one; each is due at once.
    pub(super) fn all(topology: &Topology, wire: &mut Wire) -> Vec<Self> {
        let registering = |trunk: &Arc<Trunk>| {
            let register = trunk.conduct.register.clone()?;
            Some(Self::new(Arc::clone(trunk), register, wire))
        };
        topology.trunks().iter().filter_map(registering).collect()
    }

    fn new(trunk: Arc<Trunk>, register: Register, wire: &mut Wire) -> Self {
        let view = RegistrationView {
            trunk: trunk.name.clone(),
            aor: register.aor.as_str().to_owned(),
            state: RegistrationState::Registering,
            until: None,
            status: None,
            next: None,
        };
        Self {
            trunk,
            call_id: wire.mint().call_id(),
            tag: wire.mint().tag(),
            cseq: 0,
            expires: register.expires,
            register,
            pending: None,
            flow: None,
            home: None,
            tried: Vec::new(),
            due: Some(Timestamp::from_millis(0)),
            failures: 0,
            raised: false,
            ending: false,
            leaving: false,
            view,
            told: false,
        }
    }

    /// Where it is asked for next: of the places that were not tried yet what did not fail of late, and there where it was
    /// granted last (RFC 3263 §4.3).
    fn next_flow(&self, now: Timestamp, topology: &Topology) -> Option<Flow> {
        let trunk = topology.trunk(&self.trunk.name).unwrap_or(&self.trunk);
        let places = topology.places(trunk).into_iter();
        let left = places.filter(|place| !self.tried.contains(place));
        let open = left.filter_map(|place| Some((place, topology.flow(trunk, place.0, place.1)?)));
        let best = open.min_by_key(|(place, _)| (topology.is_avoided(now, *place), self.home != Some(*place)));
        best.map(|(_, flow)| flow)
    }

    fn request(&mut self, flow: Flow, expires: Duration, paths: &Paths) -> Request {
        let aor = &self.register.aor;
        self.cseq = self.cseq.saturating_add(1).min(CSEQ_MAX);
        let domain = format!("{}:{}", aor.as_str().split(':').next().unwrap_or("sip"), host_port(aor));
        let registrar = Uri::parse(&domain).unwrap_or_else(|_| aor.clone());
        let (from, to) = (
            NameAddr::new(aor.clone()).with_tag(&self.tag),
            NameAddr::new(aor.clone()),
        );
        let mut request = Request::new(Method::Register, registrar, from, to, &self.call_id, self.cseq);
        let binding = Binding::of(&self.register.aor, flow, paths);
        request.headers.push("Contact", binding.header());
        request.headers.push("Expires", expires.as_secs().to_string());
        request
    }

    fn send(&mut self, now: Timestamp, place: usize, wire: &mut Wire, topology: &Topology) {
        self.due = None;
        self.flow = self.next_flow(now, topology);
        let Some(flow) = self.flow else {
            let trunk = topology.trunk(&self.trunk.name).unwrap_or(&self.trunk);
            if self.ending || !topology.places(trunk).is_empty() {
                return self.pause(now, None, None, wire);
            }
            return self.wait(now);
        };
        self.tried.push((flow.transport, flow.remote));
        self.leaving = self.ending;
        let expires = if self.leaving { Duration::ZERO } else { self.expires };
        let request = self.request(flow, expires, topology.paths());
        self.pending = Some(wire.request_with_proof(now, Owner::Registration(place), request, flow));
        self.note(|view| view.next = None);
    }

    /// A final answer. True: ask again at once.
    fn on_answer(&mut self, now: Timestamp, response: &Response, wire: &mut Wire, topology: &Topology) -> bool {
        if self.leaving {
            self.leave(now);
            return false;
        }
        match response.status {
            200..300 => {
                let granted = self.granted(response, topology.paths());
                self.home = self.flow.map(|flow| (flow.transport, flow.remote));
                self.tried.clear();
                self.failures = 0;
                self.raised = false;
                self.renew_before(now, granted, wire);
                false
            }
            423 => {
                let wanted = response.headers.get("Min-Expires").and_then(seconds);
                let wanted = wanted.filter(|wanted| *wanted > self.expires && *wanted <= EXPIRES_MAX);
                if let Some(wanted) = wanted.filter(|_| !std::mem::replace(&mut self.raised, true)) {
                    self.expires = wanted;
                    // There again.
                    self.tried.pop();
                    return true;
                }
                self.pause(now, Some(423), None, wire);
                false
            }
            // The next address may be another server's.
            503 if self.next_flow(now, topology).is_some() => true,
            status => {
                let later = response.headers.get("Retry-After").and_then(seconds);
                self.pause(now, Some(status), later, wire);
                false
            }
        }
    }

    /// No longer than a week, and what was asked for where the registrar does not say.
    fn granted(&self, response: &Response, paths: &Paths) -> Duration {
        let binding = self.flow.map(|flow| Binding::of(&self.register.aor, flow, paths));
        let granted = binding.and_then(|binding| binding.granted(response));
        granted.unwrap_or(self.expires).min(EXPIRES_MAX)
    }

    fn renew_before(&mut self, now: Timestamp, granted: Duration, wire: &mut Wire) {
        let (from, to) = RENEW_AFTER;
        let percent = from + wire.mint().up_to(to - from);
        let next = now + (granted * percent / 100).max(RENEW_MIN);
        self.due = Some(next);
        self.note(|view| {
            view.state = RegistrationState::Registered;
            view.until = Some(now + granted);
            view.status = Some(200);
            view.next = Some(next);
        });
    }

    /// No answer. True: ask elsewhere at once.
    fn on_silence(&mut self, now: Timestamp, wire: &mut Wire, topology: &Topology) -> bool {
        let is_elsewhere = !self.leaving && self.next_flow(now, topology).is_some();
        if !is_elsewhere {
            self.pause(now, None, None, wire);
        }
        is_elsewhere
    }

    /// Nobody grants it: for a while nobody is asked.
    fn pause(&mut self, now: Timestamp, status: Option<u16>, later: Option<Duration>, wire: &mut Wire) {
        if self.leaving || self.ending && self.view.state != RegistrationState::Registered {
            self.leave(now);
            return;
        }
        self.tried.clear();
        let longest = PAUSE_FIRST
            .saturating_mul(1 << self.failures.min(10))
            .max(later.unwrap_or_default())
            .min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        let half = u32::try_from((longest / 2).as_millis()).unwrap_or(u32::MAX);
        let next = now + longest / 2 + Duration::from_millis(u64::from(wire.mint().up_to(half)));
        tracing::warn!(trunk = %self.trunk.name, status, "registration failed");
        self.due = Some(next);
        self.note(|view| {
            // What was granted before stands until it expires.
            if view.until.is_none_or(|until| until <= next) {
                view.state = RegistrationState::Failed;
                view.until = None;
            }
            view.status = status;
            view.next = Some(next);
        });
    }

    /// DNS has not said where the registrar is: looked at again in a while if nothing is heard of it.
    fn wait(&mut self, now: Timestamp) {
        let next = now + PAUSE_FIRST;
        self.due = Some(next);
        self.note(|view| {
            let is_held = view.until.is_some_and(|until| until > next);
            if !is_held && view.next.is_some() {
                view.state = RegistrationState::Failed;
                view.until = None;
            }
            view.next = Some(next);
        });
    }

    /// Trunks have other places now: nobody was asked yet, and somebody may be there.
    pub(super) fn on_places(&mut self, now: Timestamp) {
        if self.flow.is_none() && self.pending.is_none() && self.due.is_some() && !self.ending {
            self.failures = 0;
            self.due = Some(now);
        }
    }

    /// It was taken back; or the node has thought better of it meanwhile.
    fn leave(&mut self, now: Timestamp) {
        self.end();
        self.due = (!self.ending).then_some(now);
    }

    fn end(&mut self) {
        self.due = None;
        self.tried.clear();
        self.note(|view| {
            view.state = RegistrationState::Ended;
            view.until = None;
            view.next = None;
        });
    }

    fn note(&mut self, change: impl FnOnce(&mut RegistrationView)) {
        let before = self.view.clone();
        change(&mut self.view);
        self.told &= before == self.view;
    }
}

impl Signaling {
    pub(super) fn registrations_due(&self) -> Option<Timestamp> {
        self.registrations
            .iter()
            .fold(None, |due, registration| earliest(due, registration.due))
    }

    /// Registers where that is due.
    pub(super) fn register(&mut self, now: Timestamp) {
        for (place, registration) in self.registrations.iter_mut().enumerate() {
            if registration.due.is_some_and(|due| due <= now) {
                registration.send(now, place, &mut self.wire, &self.topology);
            }
        }
        self.depart();
    }

    pub(super) fn on_registered(&mut self, now: Timestamp, place: usize, id: ClientId, response: &Response) {
        let Some(registration) = self.registrations.get_mut(place).filter(|_| response.is_final()) else {
            return;
        };
        let (owner, flow) = (Owner::Registration(place), registration.flow);
        let waiting = self
            .wire
            .take_waiting(id)
            .filter(|_| matches!(response.status, 401 | 407));
        let waiting = waiting.and_then(|waiting| self.wire.answer(waiting, owner, &registration.trunk, response));
        if let (Some(mut waiting), Some(flow)) = (waiting, flow) {
            registration.cseq = registration.cseq.saturating_add(1).min(CSEQ_MAX);
            let cseq = CSeq {
                number: registration.cseq,
                method: Method::Register,
            };
            waiting.request.headers.set("CSeq", cseq.to_string());
            self.wire.renew(now, id, waiting, flow);
            self.depart();
            return;
        }
        self.on_register_over(place, id);
        let Some(registration) = self.registrations.get_mut(place) else {
            return;
        };
        let again = registration.on_answer(now, response, &mut self.wire, &self.topology);
        self.go_on(now, place, again);
    }

    pub(super) fn on_register_failed(&mut self, now: Timestamp, place: usize, id: ClientId) {
        self.on_register_over(place, id);
        let Some(registration) = self.registrations.get_mut(place) else {
            return;
        };
        let again = registration.on_silence(now, &mut self.wire, &self.topology);
        self.go_on(now, place, again);
    }

    /// The trunks are configured anew: another password is used from now on, and where the old one was refused at once.
    pub(super) fn follow_credentials(&mut self, now: Timestamp) {
        for (place, registration) in self.registrations.iter_mut().enumerate() {
            let Some(trunk) = self.topology.trunk(&registration.trunk.name) else {
                continue;
            };
            let before = std::mem::replace(&mut registration.trunk, Arc::clone(trunk));
            if before.conduct.credentials == trunk.conduct.credentials {
                continue;
            }
            self.wire.forget_proofs(Owner::Registration(place));
            if registration.view.state == RegistrationState::Failed && registration.due.is_some() {
                registration.failures = 0;
                registration.due = Some(now);
            }
        }
    }

    fn on_register_over(&mut self, place: usize, id: ClientId) {
        self.wire.disown_client(id);
        if let Some(registration) = self.registrations.get_mut(place) {
            registration.pending = None;
        }
    }

    fn go_on(&mut self, now: Timestamp, place: usize, again: bool) {
        let Some(registration) = self.registrations.get_mut(place) else {
            return;
        };
        let leaves = registration.ending && registration.view.state == RegistrationState::Registered;
        if again || leaves {
            registration.send(now, place, &mut self.wire, &self.topology);
        }
        if registration.view.state == RegistrationState::Ended {
            self.wire.forget_proofs(Owner::Registration(place));
        }
        self.depart();
    }

    /// Takes every registration back (RFC 3261 §10.2.2): this node takes no more calls.
    pub(super) fn unregister(&mut self, now: Timestamp) {
        if self.handed_over {
            // The next process goes on with the bindings.
            return;
        }
        for place in 0..self.registrations.len() {
            let Some(registration) = self.registrations.get_mut(place) else {
                return;
            };
            if std::mem::replace(&mut registration.ending, true) {
                continue;
            }
            registration.due = None;
            if registration.pending.is_some() {
                continue;
            }
            if registration.view.state != RegistrationState::Registered {
                registration.end();
            }
            self.go_on(now, place, false);
        }
    }

    /// This node takes calls again.
    pub(super) fn register_again(&mut self, now: Timestamp) {
        for registration in &mut self.registrations {
            let was_ending = std::mem::take(&mut registration.ending);
            if was_ending && registration.pending.is_none() {
                registration.due = Some(now);
            }
        }
    }

    /// A registration that has changed, for readers.
    pub fn poll_registration(&mut self) -> Option<RegistrationView> {
        let changed = self.registrations.iter_mut().find(|registration| !registration.told)?;
        changed.told = true;
        Some(changed.view.clone())
    }
}

/// `host` or `host:port` of a SIP URI.
fn host_port(uri: &Uri) -> &str {
    let text = uri.as_str();
    let start = text.find('@').or_else(|| text.find(':')).map_or(0, |at| at + 1);
    let rest = text.get(start..).unwrap_or_default();
    rest.split([';', '?']).next().unwrap_or_default()
}
