//! Trunks as signalling sees them: where a call may go, what a trunk may do, and how its destinations fare.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::probe::{Due, Pulse, Verdict};
use super::signaling::Signaling;
use crate::b2bua::{ALLOW, ALLOW_OUTSIDE, Owner, Refusal, of_method};
use crate::model::{Leg, SessionId, Timestamp, TrunkName};
use crate::policy::Decision;
use crate::sip::transaction::ClientId;
use crate::sip::{Flow, Request, Response, Scheme, Transport, Uri};
use crate::trunk::{Caps, Destination, Route, Source, Trunk};

/// How one trunk stands, for `status`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrunkView {
    pub name: TrunkName,
    /// Calls on it, in both directions.
    pub calls: u32,
    pub destinations: Vec<DestinationView>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DestinationView {
    pub transport: Transport,
    pub address: SocketAddr,
    /// None: not probed.
    pub pulse: Option<Pulse>,
    /// It failed of late, or is down: tried last.
    pub avoided: bool,
}

impl Signaling {
    /// Where a request from a trunk may be sent, best first; never empty.
    pub(super) fn next_hops(&mut self, now: Timestamp, uri: &Uri, from: &Trunk) -> Result<Vec<Destination>, Refusal> {
        let mint = self.wire.mint();
        let found = self
            .topology
            .destinations(now, from, uri, &mut |max| mint.up_to(max))
            .ok_or(Refusal::NoRoute)?;
        if found.is_empty() && uri.scheme() == Scheme::Sips {
            Err(Refusal::NotSecure)
        } else if found.is_empty() {
            Err(Refusal::Unreachable)
        } else {
            Ok(found)
        }
    }

    /// Whether the trunk that a request came from may use its method. An emergency may have all that it needs.
    pub(super) fn may_use(&self, now: Timestamp, flow: Flow, request: &Request) -> Result<(), Refusal> {
        match self.topology.trunk_of(flow.remote, flow.transport) {
            Some(trunk) if !trunk.may_use(&request.method) && !self.is_urgent(now, flow, request) => {
                Err(of_method(&request.method, self.allow_of(flow, request)))
            }
            _ => Ok(()),
        }
    }

    /// What Allow tells the sender of a request: the methods that its trunk may use, inside a dialog or outside any.
    pub(super) fn allow_of(&self, flow: Flow, request: &Request) -> String {
        let carried = match request.headers.to().tag() {
            Some(_) => ALLOW,
            None => ALLOW_OUTSIDE,
        };
        let trunk = self.topology.trunk_of(flow.remote, flow.transport);
        trunk.map_or_else(|| carried.to_owned(), |trunk| trunk.allow(carried))
    }

    /// Whether the node and both trunks have room for the call. An emergency call exceeds the caps of its trunks; one that
    /// takes the place of another needs no other place where that one is, unless somebody else has been promised it.
    pub(super) fn may_carry(
        &mut self,
        now: Timestamp,
        decision: &Decision,
        (continues, replaced): (bool, Option<SessionId>),
        trunks: [&Trunk; 2],
    ) -> Result<(), Refusal> {
        self.may_begin(decision, continues)?;
        if decision.emergency {
            return Ok(());
        }
        let caps = trunks.map(|trunk| {
            let has_place = replaced.is_some_and(|call| self.loads.has_place_of(call, &trunk.name));
            let calls_max = trunk.caps.calls_max.filter(|_| !has_place);
            (
                &trunk.name,
                Caps {
                    calls_max,
                    ..trunk.caps
                },
            )
        });
        let room = self.loads.check(now, caps);
        room.map_err(|reached| Refusal::TrunkFull { reached })
    }

    /// Another configuration of trunks and routes: for calls from now on.
    pub(super) fn on_trunks(&mut self, now: Timestamp, trunks: Vec<Trunk>, routes: Vec<Route>) {
        self.topology.replace(trunks, routes);
        let configured = self.topology.trunks();
        self.loads
            .retain(|name| configured.iter().any(|trunk| trunk.name == *name));
        self.follow_credentials(now);
        self.follow_topology(now);
    }

    pub(super) fn follow_topology(&mut self, now: Timestamp) {
        self.sweep_retired(now);
        for registration in &mut self.registrations {
            registration.on_places(now);
        }
        self.wire.keep_datagrams(self.topology.datagrams_only());
        for client in self.probes.follow(now, &self.topology, self.wire.mint()) {
            self.wire.disown_client(client);
        }
    }

    /// Peers that are none any more are known while a call or subscription is on the trunk that they were of.
    pub(super) fn sweep_retired(&mut self, now: Timestamp) {
        if self.topology.retired().is_empty() {
            return;
        }
        let calls = self
            .calls
            .values()
            .flat_map(|call| Leg::BOTH.map(|side| call.reach(side).0));
        let busy: BTreeMap<*const Trunk, Arc<Trunk>> = calls
            .chain(self.subscriptions.trunks())
            .map(|trunk| (Arc::as_ptr(trunk), Arc::clone(trunk)))
            .collect();
        self.topology.sweep_retired(now, busy.values());
    }

    /// Who may speak of calls that are up and open none, if that has changed.
    pub fn poll_retired(&mut self) -> Option<Vec<Source>> {
        self.topology.poll_retired()
    }

    pub(super) fn probe(&mut self, now: Timestamp) {
        while let Some(due) = self.probes.poll(now, self.wire.mint()) {
            match due {
                Due::Send {
                    place,
                    flow,
                    mut request,
                } => {
                    let mut from = request.headers.from().clone();
                    from.uri = from.uri.with_host_port(&self.topology.paths().sent_by(flow));
                    request.headers.set_from(from);
                    let client = self.wire.request(now, Owner::Probe, *request, flow);
                    self.probes.sent(now, place, client);
                    self.depart();
                }
                Due::Missed { client, verdict } => {
                    self.wire.disown_client(client);
                    self.on_verdict(now, verdict);
                }
            }
        }
    }

    fn on_verdict(&mut self, now: Timestamp, verdict: Option<Verdict>) {
        match verdict {
            Some(Verdict::Up(place)) => {
                if self.topology.health().is_down(place) {
                    tracing::info!(destination = %place.1, "answers its OPTIONS again");
                }
                self.topology.health().on_alive(now, place);
            }
            Some(Verdict::Down(place)) => {
                if !self.topology.health().is_down(place) {
                    tracing::warn!(destination = %place.1, "does not answer its OPTIONS: tried last");
                }
                self.topology.health().on_down(place);
            }
            None => {}
        }
    }

    /// An answer (a 100 is none, for one comes before each 503) shows that a destination lives; 503 that it wants none for a while (RFC 3263 §4.3).
    pub(super) fn note_answer(&mut self, now: Timestamp, id: ClientId, response: &Response) {
        let Some(flow) = self.wire.client_flow(id) else { return };
        if self.wire.client_owner(id) == Some(Owner::Probe) {
            if response.is_final() {
                self.wire.disown_client(id);
                let verdict = self.probes.on_answer(now, id, Some(response.status), self.wire.mint());
                self.on_verdict(now, verdict);
            }
            return;
        }
        let place = (flow.transport, flow.remote);
        if response.status == 503 {
            let seconds = response.headers.get("Retry-After").and_then(seconds);
            self.note_failure(now, place, seconds.map(Duration::from_secs));
        } else if response.status > 100 {
            // Only who takes a new call shows that it takes new calls.
            let takes_calls = match self.wire.client_owner(id) {
                Some(Owner::Call(session, _)) => self.calls.get(&session).is_some_and(|call| call.is_invited_by(id)),
                _ => false,
            };
            if takes_calls {
                self.topology.health().on_success(place);
            } else {
                self.topology.health().on_alive(now, place);
            }
        }
    }

    /// No answer in time, or nobody there.
    pub(super) fn note_silence(&mut self, now: Timestamp, id: ClientId) {
        let Some(flow) = self.wire.client_flow(id) else { return };
        if self.wire.client_owner(id) == Some(Owner::Probe) {
            self.wire.disown_client(id);
            let verdict = self.probes.on_answer(now, id, None, self.wire.mint());
            self.on_verdict(now, verdict);
            return;
        }
        self.note_failure(now, (flow.transport, flow.remote), None);
    }

    /// Only destinations are remembered: the other ends of TCP connections are none.
    fn note_failure(&mut self, now: Timestamp, place: crate::trunk::Place, retry_after: Option<Duration>) {
        let trunks = self.topology.trunks();
        if trunks.iter().any(|trunk| self.topology.places(trunk).contains(&place)) {
            if !self.topology.is_avoided(now, place) {
                tracing::warn!(destination = %place.1, "failed: tried last for a while");
            }
            self.topology.health().on_failure(now, place, retry_after);
        }
    }

    /// Every trunk with its destinations.
    pub fn trunks(&self, now: Timestamp) -> Vec<TrunkView> {
        let view = |trunk: &Arc<Trunk>| {
            let places = self.topology.places(trunk).into_iter();
            let destinations = places.map(|place| DestinationView {
                transport: place.0,
                address: place.1,
                pulse: self.probes.pulse(place),
                avoided: self.topology.is_avoided(now, place),
            });
            TrunkView {
                name: trunk.name.clone(),
                calls: self.loads.calls(&trunk.name),
                destinations: destinations.collect(),
            }
        };
        self.topology.trunks().iter().map(view).collect()
    }
}

/// `120 (maintenance);duration=3600`: the seconds (RFC 3261 §20.33).
fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}
