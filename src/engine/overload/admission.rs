//! Who may begin what, by source and by load.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::bucket::{Bucket, Rate};
use super::congestion::Congestion;
use super::refused::{Refused, fingerprint};
use crate::model::{SessionId, Timestamp};
use crate::sip::{Method, Request};

/// What one source, or one call, may ask of us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AdmissionLimits {
    /// New calls of one source address.
    pub calls: Rate,
    /// Calls of one source address that are not answered and acknowledged yet.
    pub half_open_max: usize,
    /// Requests of one source address that open no call: OPTIONS, REGISTER, SUBSCRIBE, MESSAGE …
    pub chatter: Rate,
    /// Requests inside one call, both legs together.
    pub in_dialog: Rate,
}

impl AdmissionLimits {
    /// For a node of `calls_max` calls: one source may have half of them half open.
    pub fn of(calls_max: usize) -> Self {
        Self {
            calls: Rate {
                per_second: 2_000,
                burst: 4_000,
            },
            half_open_max: (calls_max / 2).max(1),
            chatter: Rate {
                per_second: 1_000,
                burst: 2_000,
            },
            in_dialog: Rate {
                per_second: 20,
                burst: 60,
            },
        }
    }
}

/// Of each source so many OPTIONS are a probe of whether we live, and answered under any load: who hears nothing takes the
/// node out, and its calls with it.
const PROBES: Rate = Rate {
    per_second: 1,
    burst: 3,
};

/// Source addresses that are told apart. Peers are configured, so there are few; when it is full those at rest are forgotten,
/// and if none is, a new one may open nothing.
const SOURCES_MAX: usize = 8_192;
/// How often the whole table is looked through for those at rest.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Retry-After is 1 to so many seconds, by chance: peers that all come back in the same second bring the overload back.
const RETRY_AFTER_MAX: u32 = 8;

/// A request that opens something, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Entrant<'a> {
    pub source: IpAddr,
    pub request: &'a Request,
    /// It throttles itself by what it is told (RFC 7339): it gets no Retry-After, which would stop it altogether (§5.10.2).
    pub is_throttled: bool,
    /// The line before us had room for it.
    pub has_room: bool,
}

/// Too much is asked. `retry_after`: in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overload {
    pub retry_after: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Source {
    calls: Bucket,
    chatter: Bucket,
    probes: Bucket,
    half_open: usize,
}

impl Source {
    fn is_at_rest(&self, now: Timestamp) -> bool {
        let buckets = [self.calls, self.chatter, self.probes];
        self.half_open == 0 && buckets.iter().all(|bucket| bucket.is_full(now))
    }
}

#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    pub congestion: Congestion,
    sources: BTreeMap<IpAddr, Source>,
    swept: Option<Timestamp>,
    /// Who opened a call that is half open.
    half_open: BTreeMap<SessionId, IpAddr>,
    in_dialog: BTreeMap<SessionId, Bucket>,
    refused: Refused,
}

impl Admission {
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            congestion: Congestion::default(),
            sources: BTreeMap::new(),
            swept: None,
            half_open: BTreeMap::new(),
            in_dialog: BTreeMap::new(),
            refused: Refused::default(),
        }
    }

    /// Whether a request that is no copy of one in work, and belongs to no dialog, is taken on. `draw` gives random numbers;
    /// `is_emergency` is asked only for an INVITE that would be refused.
    pub fn decide(
        &mut self,
        now: Timestamp,
        entrant: Entrant<'_>,
        draw: &mut dyn FnMut() -> u32,
        is_emergency: impl FnOnce() -> bool,
    ) -> Result<(), Overload> {
        match entrant.request.method {
            Method::Ack | Method::Bye | Method::Cancel | Method::Prack => Ok(()),
            Method::Invite => self.decide_call(now, entrant, draw, is_emergency),
            _ if self.takes_chatter(now, entrant, draw) => Ok(()),
            _ => Err(Overload::of(entrant)),
        }
    }

    fn decide_call(
        &mut self,
        now: Timestamp,
        entrant: Entrant<'_>,
        draw: &mut dyn FnMut() -> u32,
        is_emergency: impl FnOnce() -> bool,
    ) -> Result<(), Overload> {
        let print = fingerprint(entrant.request);
        // A caller that was refused has gone: one more copy of its INVITE on the way must not ring anybody.
        if self.refused.knows(now, print) {
            return Err(Overload::of(entrant));
        }
        if self.takes_call(now, entrant, draw) || is_emergency() {
            return Ok(());
        }
        self.refused.note(now, print);
        Err(Overload::of(entrant))
    }

    /// An INVITE that was glanced at found no room. The seconds of its Retry-After.
    pub fn on_turned_away(&mut self, now: Timestamp, print: u64) -> u32 {
        self.refused.note(now, print);
        retry_after(print)
    }

    fn takes_call(&mut self, now: Timestamp, entrant: Entrant<'_>, draw: &mut dyn FnMut() -> u32) -> bool {
        let limits = self.limits;
        let shed = self.congestion.calls_shed();
        if !entrant.has_room {
            return false;
        }
        let Some(source) = self.source(now, entrant.source) else {
            return false;
        };
        source.half_open < limits.half_open_max && source.calls.offer(now, limits.calls) && !falls(shed, draw)
    }

    fn takes_chatter(&mut self, now: Timestamp, entrant: Entrant<'_>, draw: &mut dyn FnMut() -> u32) -> bool {
        let limits = self.limits;
        let method = &entrant.request.method;
        // What somebody has written is worth as much as a call.
        let shed = if *method == Method::Message {
            self.congestion.calls_shed()
        } else {
            self.congestion.chatter_shed()
        };
        let Some(source) = self.source(now, entrant.source) else {
            return false;
        };
        let is_probe = *method == Method::Options && source.probes.offer(now, PROBES);
        is_probe || entrant.has_room && source.chatter.offer(now, limits.chatter) && !falls(shed, draw)
    }

    /// Whether a request inside a call is within its bound. Those that end something, or answer, always are.
    /// One more copy of a re-INVITE that was refused is: who sent it waits for no 2xx any more.
    pub fn takes_in_dialog(&mut self, now: Timestamp, session: SessionId, request: &Request) -> bool {
        if matches!(
            request.method,
            Method::Ack | Method::Bye | Method::Cancel | Method::Prack
        ) {
            return true;
        }
        let print = fingerprint(request);
        if self.refused.knows(now, print) {
            return false;
        }
        let rate = self.limits.in_dialog;
        let taken = self.in_dialog.entry(session).or_default().offer(now, rate);
        if !taken && request.method == Method::Invite {
            self.refused.note(now, print);
        }
        taken
    }

    /// Whether `source` may have one more call half open.
    pub fn has_room_for(&self, source: IpAddr) -> bool {
        let known = self.sources.get(&source);
        known.is_none_or(|known| known.half_open < self.limits.half_open_max)
    }

    /// A call was begun by `source`.
    pub fn on_opened(&mut self, now: Timestamp, session: SessionId, source: IpAddr) {
        if let Some(entry) = self.source(now, source) {
            entry.half_open += 1;
            self.half_open.insert(session, source);
        }
    }

    /// A call is established, or over.
    pub fn on_settled(&mut self, session: SessionId) {
        if let Some(source) = self.half_open.remove(&session)
            && let Some(entry) = self.sources.get_mut(&source)
        {
            entry.half_open = entry.half_open.saturating_sub(1);
        }
    }

    /// A call is over: nothing of it is remembered.
    pub fn forget(&mut self, session: SessionId) {
        self.on_settled(session);
        self.in_dialog.remove(&session);
    }

    fn source(&mut self, now: Timestamp, source: IpAddr) -> Option<&mut Source> {
        if !self.sources.contains_key(&source) && self.sources.len() >= SOURCES_MAX {
            if self.swept.is_none_or(|swept| now.since(swept) >= SWEEP_INTERVAL) {
                self.swept = Some(now);
                self.sources.retain(|_, known| !known.is_at_rest(now));
            }
            if self.sources.len() >= SOURCES_MAX {
                return None;
            }
        }
        Some(self.sources.entry(source).or_default())
    }
}

impl Overload {
    fn of(entrant: Entrant<'_>) -> Self {
        let retry_after = (!entrant.is_throttled).then(|| retry_after(fingerprint(entrant.request)));
        Self { retry_after }
    }
}

/// The same for every copy of a request.
const fn retry_after(print: u64) -> u32 {
    1 + (print >> 32) as u32 % RETRY_AFTER_MAX
}

/// Whether this one is of the share, in thousandths, that is shed. Without load nothing is drawn.
fn falls(shed: u32, draw: &mut dyn FnMut() -> u32) -> bool {
    shed > 0 && draw() % 1_000 < shed
}

#[cfg(test)]
mod tests;
