//! OPTIONS to the destinations of trunks that want it, so that a dead one is known before a call is sent there
//! (RFC 3261 §11).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::b2bua::Wire;
use crate::model::{Timestamp, earliest};
use crate::sip::transaction::ClientId;
use crate::sip::{Flow, Method, Mint, NameAddr, Request, Uri};
use crate::trunk::{Place, Topology, Trunk};

/// How long one OPTIONS may go unanswered, if the interval is not shorter: over UDP it is sent five times by then.
const PATIENCE: Duration = Duration::from_secs(8);
/// So many in a row without a good answer, and the destination is down.
const MISSED_MAX: u32 = 2;
/// After a missed answer the next OPTIONS comes so soon.
const DOUBT: Duration = Duration::from_secs(2);
/// The first OPTIONS go out within so long after the start, each at another moment.
const SPREAD: Duration = Duration::from_secs(5);
/// Destinations that are probed; those beyond are taken to be up.
const PROBED_MAX: usize = 1_024;
/// What RFC 3261 §21.4.9 and §21.5.4 say of themselves: nobody is there, or nobody who takes calls.
const DOWN_CODES: [u16; 2] = [408, 503];

/// How a destination stands with its probes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pulse {
    /// Not asked yet, or not answered yet.
    Unknown,
    Up,
    Down,
}

/// News of a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Up(Place),
    Down(Place),
}

#[derive(Clone, Debug)]
struct Probed {
    trunk: Arc<Trunk>,
    flow: Flow,
    /// When the next OPTIONS goes out, or when the one in flight counts as missed.
    due: Timestamp,
    in_flight: Option<ClientId>,
    missed: u32,
    pulse: Pulse,
}

/// All destinations that are probed.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    probed: BTreeMap<Place, Probed>,
}

impl Probes {
    /// Follows a changed topology: what is new is probed soon, what is gone no more. Gives the OPTIONS in flight to
    /// destinations that are gone.
    pub fn follow(&mut self, now: Timestamp, topology: &Topology, mint: &mut Mint) -> Vec<ClientId> {
        let mut old = std::mem::take(&mut self.probed);
        for trunk in topology.trunks().iter().filter(|trunk| trunk.probe.is_some()) {
            for place in topology.places(trunk) {
                let Some(flow) = topology.flow(trunk, place.0, place.1) else {
                    continue;
                };
                if self.probed.len() >= PROBED_MAX || self.probed.contains_key(&place) {
                    continue;
                }
                let trunk = Arc::clone(trunk);
                let probed = match old.remove(&place) {
                    Some(known) => Probed { trunk, flow, ..known },
                    None => Probed {
                        trunk,
                        flow,
                        due: now + part_of(SPREAD, mint),
                        in_flight: None,
                        missed: 0,
                        pulse: Pulse::Unknown,
                    },
                };
                self.probed.insert(place, probed);
            }
        }
        old.into_values().filter_map(|probed| probed.in_flight).collect()
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.probed
            .values()
            .map(|probed| probed.due)
            .fold(None, |first, due| earliest(first, Some(due)))
    }

    /// What is due at `now`: an OPTIONS to send, or the news that one was not answered in time.
    pub fn poll(&mut self, now: Timestamp, mint: &mut Mint) -> Option<Due> {
        let (place, probed) = self.probed.iter_mut().find(|(_, probed)| probed.due <= now)?;
        let Some(client) = probed.in_flight.take() else {
            // Until `sent` says when it is next looked at.
            probed.due = now + PATIENCE;
            return Some(Due::Send {
                place: *place,
                flow: probed.flow,
                request: Box::new(options(probed, mint)),
            });
        };
        let verdict = probed.miss(now, *place, mint);
        Some(Due::Missed { client, verdict })
    }

    /// The OPTIONS to `place` went out as this transaction.
    pub fn sent(&mut self, now: Timestamp, place: Place, client: ClientId) {
        if let Some(probed) = self.probed.get_mut(&place) {
            probed.in_flight = Some(client);
            probed.due = now + PATIENCE.min(probed.interval());
        }
    }

    /// A final answer to an OPTIONS, or none at all (`status` None).
    pub fn on_answer(
        &mut self,
        now: Timestamp,
        client: ClientId,
        status: Option<u16>,
        mint: &mut Mint,
    ) -> Option<Verdict> {
        let in_flight = |(_, probed): &(&Place, &mut Probed)| probed.in_flight == Some(client);
        let (place, probed) = self.probed.iter_mut().find(in_flight)?;
        probed.in_flight = None;
        if !status.is_some_and(|status| probed.is_good(status)) {
            return probed.miss(now, *place, mint);
        }
        probed.missed = 0;
        probed.pulse = Pulse::Up;
        probed.rest(now, mint);
        Some(Verdict::Up(*place))
    }

    /// None for a destination that is not probed.
    pub fn pulse(&self, place: Place) -> Option<Pulse> {
        self.probed.get(&place).map(|probed| probed.pulse)
    }
}

/// What [`Probes::poll`] wants done.
#[derive(Debug)]
pub enum Due {
    Send {
        place: Place,
        flow: Flow,
        request: Box<Request>,
    },
    /// Its transaction is of no interest any more.
    Missed { client: ClientId, verdict: Option<Verdict> },
}

impl Probed {
    fn interval(&self) -> Duration {
        self.trunk.probe.as_ref().map_or(Duration::MAX, |probe| probe.interval)
    }

    fn is_good(&self, status: u16) -> bool {
        match &self.trunk.probe {
            Some(probe) if !probe.up_codes.is_empty() => probe.up_codes.contains(&status),
            _ => !DOWN_CODES.contains(&status),
        }
    }

    fn miss(&mut self, now: Timestamp, place: Place, mint: &mut Mint) -> Option<Verdict> {
        self.missed = self.missed.saturating_add(1);
        self.rest(now, mint);
        if self.missed < MISSED_MAX {
            self.due = self.due.min(now + DOUBT);
            return None;
        }
        self.pulse = Pulse::Down;
        Some(Verdict::Down(place))
    }

    /// Until the next, a tenth sooner or later, so that the OPTIONS of many nodes do not come together.
    fn rest(&mut self, now: Timestamp, mint: &mut Mint) {
        let tenth = self.interval() / 10;
        self.due = now + (self.interval() - tenth) + part_of(2 * tenth, mint);
    }
}

fn part_of(whole: Duration, mint: &mut Mint) -> Duration {
    let millis = u32::try_from(whole.as_millis()).unwrap_or(u32::MAX);
    Duration::from_millis(u64::from(mint.up_to(millis)))
}

fn options(probed: &Probed, mint: &mut Mint) -> Request {
    let target = Uri::sip(None, probed.flow.remote);
    let ours = Wire::contact(probed.flow);
    let from = NameAddr::new(ours.clone()).with_tag(&mint.tag());
    let to = NameAddr::new(target.clone());
    let mut request = Request::new(Method::Options, target, from, to, &mint.call_id(), 1);
    let hops = probed
        .trunk
        .probe
        .as_ref()
        .map_or(crate::sip::MAX_FORWARDS, |probe| probe.max_forwards);
    request.headers.set("Max-Forwards", hops.to_string());
    request.headers.push("Contact", format!("<{ours}>"));
    request.headers.push("Accept", "application/sdp");
    request
}
