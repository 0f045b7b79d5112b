//! What the two legs have agreed to send each other, and through which of our ports (RFC 3264).

mod answered;
mod awareness;
mod error;
mod exchanged;
mod face;
mod foreword;
mod growth;
mod kept;
mod keying;
mod manner;
mod null_hold;
mod origin;
mod planned;
mod renewed;
mod secrecy;
mod shaking;

use std::net::SocketAddr;

use bytes::Bytes;

pub use awareness::Aware;
use awareness::Awareness;
pub use error::NegotiationError;
use exchanged::Exchanged;
use face::Face;
pub use kept::{KeptMedia, UnderWay};
use keying::{Keying, Said};

use crate::b2bua::dialog::CallLeg;
use crate::media::{PortPair, PortPool};
use crate::model::{FarEnd, Leg, Remote, SrtpKey, Timestamp, Told};
use crate::sdp::{Format, SessionDescription, check_reoffer, filter, with_lines};
use crate::trunk::Trunk;

/// m-lines of one session that are relayed; more are refused.
pub const LINES_MAX: usize = 16;

/// Two port pairs of ours for an m-line: one faces A, one faces B.
#[derive(Debug)]
struct Ports {
    a: PortPair,
    b: PortPair,
}

/// An offer that crossed and is not answered yet.
#[derive(Clone, Debug)]
struct Offer {
    by: Leg,
    sdp: SessionDescription,
    /// What the other leg had been told of the recording before it.
    told: Option<Told>,
}

/// What one dialog of the call has offered and agreed: each fork of an INVITE has its own.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    /// Whom it is with, on B's side.
    far_end: FarEnd,
    offer: Option<Offer>,
    /// The newest description that each leg is bound by: A, B.
    agreed: [Option<SessionDescription>; 2],
    /// Where each line of it receives, or received before it was held by the null address: A, B.
    places: [Vec<Option<Remote>>; 2],
    /// The keys that each leg told first, of every suite.
    first_keys: [Vec<SrtpKey>; 2],
    /// What each leg was told last of the encryption of its lines.
    said: [Said; 2],
    /// What the leg was told before, while it has not answered.
    before: [Option<Said>; 2],
    /// What the newest description said of the recording that each leg got.
    told: [Option<Told>; 2],
}

/// The media of one call: its ports, and the agreement of the fork in focus.
#[derive(Debug, Default)]
pub struct Negotiation {
    ports: Vec<Ports>,
    agreement: Agreement,
    /// The last whom any agreement was with.
    newest: FarEnd,
    /// For each trunk that has a list: the names of payload formats that may cross.
    codecs: Vec<Vec<String>>,
    /// Which address of ours the media of A and of B faces.
    faces: [Option<Face>; 2],
    /// Of legs whose far end was exchanged: A, B.
    exchanged: [Option<Box<Exchanged>>; 2],
    /// What is encrypted between a party and us.
    keying: Keying,
    /// The parties hear each other without us: descriptions cross as they are.
    passes_by: bool,
    /// Nor are they read.
    is_opaque: bool,
    /// No media crosses whose keys only its ends know.
    must_be_heard: bool,
    /// One for each line at most.
    sealed: Vec<secrecy::Sealed>,
    /// What they are told of the recording.
    awareness: Awareness,
}

impl Negotiation {
    /// Of legs whose peers are there.
    pub fn between(a: &CallLeg, b: &CallLeg) -> Self {
        Self {
            faces: [a, b].map(|leg| Some(Face::of(leg))),
            ..Self::default()
        }
    }

    /// Between these trunks, which may each have a list of what crosses.
    pub fn permit<'a>(&mut self, trunks: impl IntoIterator<Item = &'a Trunk>) {
        self.codecs = trunks.into_iter().filter_map(|trunk| trunk.codecs.clone()).collect();
    }

    /// Another B is asked: nothing is agreed or offered. Whether ports that we have move to an address of ours that faces it.
    pub fn begin_anew(&mut self, b: &CallLeg) -> bool {
        let before = self.arrivals_from_b();
        self.faces[Leg::B.index()] = Some(Face::of(b));
        self.agreement = Agreement {
            far_end: self.meet(),
            ..Agreement::default()
        };
        self.set_aware(Leg::B, Aware::default());
        self.arrivals_from_b() != before
    }

    fn arrivals_from_b(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|ports| self.facing(Leg::B, &ports.b)).collect()
    }

    /// The offer, or the answer, without what may not cross.
    fn permitted(&self, sdp: &[u8]) -> Result<SessionDescription, NegotiationError> {
        let sdp = SessionDescription::parse(sdp)?;
        let allowed = |format: &Format| {
            let is_named = |names: &Vec<String>| names.iter().any(|name| name.eq_ignore_ascii_case(&format.name));
            self.codecs.iter().all(is_named)
        };
        if self.codecs.is_empty() {
            return Ok(sdp);
        }
        match filter(&sdp, allowed)? {
            None => Ok(sdp),
            Some(text) => Ok(SessionDescription::parse(&text)?),
        }
    }

    /// `by` offers: leases ports for lines that have none yet and gives the offer as the other leg shall see it. Nothing
    /// else changes until it is answered.
    pub fn offer(
        &mut self,
        now: Timestamp,
        by: Leg,
        sdp: &[u8],
        pool: &mut PortPool,
        emergency: bool,
    ) -> Result<Bytes, NegotiationError> {
        let sdp = self.permitted(sdp)?;
        self.is_offer_heard(by, &sdp)?;
        if let Some(agreed) = &self.agreement.agreed[by.index()] {
            check_reoffer(agreed, &sdp)?;
        }
        let lines = sdp.lines().len();
        if lines > LINES_MAX {
            return Err(NegotiationError::Lines);
        }
        let keyed = (!self.passes_by).then(|| self.key_offer(by, &sdp)).transpose()?;
        let is_first = self.ports.is_empty();
        while self.ports.len() < lines && !self.passes_by {
            match lease(now, pool, emergency) {
                Some(ports) => self.ports.push(ports),
                None if emergency && is_first => {
                    self.give_back(now, pool);
                    self.passes_by = true;
                }
                None => return Err(NegotiationError::NoPorts),
            }
        }
        let sdp = match keyed.filter(|_| !self.passes_by) {
            Some(keyed) => self.tell_keys(by.other(), keyed),
            None => sdp,
        };
        let told = self.agreement.told[by.other().index()];
        let anchored = self.tell_first(by.other(), &sdp);
        self.agreement.offer = Some(Offer { by, sdp, told });
        Ok(anchored)
    }

    /// No port of ours can be had for an emergency: its parties hear each other without us. What was offered is offered anew.
    pub fn pass_by(&mut self) {
        self.agreement = Agreement::default();
        self.passes_by = true;
    }

    /// What an emergency offers cannot be read by us; whom it is for may know better. No body of this call is looked at.
    pub fn turn_opaque(&mut self) {
        self.pass_by();
        self.is_opaque = true;
    }

    pub const fn is_opaque(&self) -> bool {
        self.is_opaque
    }

    pub const fn passes_by(&self) -> bool {
        self.passes_by
    }

    /// Whether it has more m-lines than are carried.
    fn exceeds(&self, sdp: &SessionDescription) -> bool {
        sdp.lines().len() > if self.passes_by { LINES_MAX } else { self.ports.len() }
    }

    /// `by` answers the offer of the other leg: both are bound by it from now on. Gives the answer as the other leg shall
    /// see it. Without an offer in flight (an early answer that comes again) only the answerer's side is renewed.
    pub fn answer(&mut self, by: Leg, sdp: &[u8]) -> Result<Bytes, NegotiationError> {
        let sdp = self.permitted(sdp)?;
        self.is_answer_heard(by, &sdp)?;
        if self.exceeds(&sdp) {
            return Err(NegotiationError::Lines);
        }
        self.key_answer(by, &sdp)?;
        self.note_moved(by, &sdp);
        let anchored = self.tell_first(by.other(), &sdp);
        let anchored = self.answering(by, anchored, self.agreement.offer.as_ref().map(|offer| &offer.sdp));
        if let Some(offer) = self.agreement.offer.take() {
            if offer.by == by {
                self.agreement.offer = Some(offer);
                return Err(NegotiationError::Lines);
            }
            self.note_misfit(by, &offer.sdp, &sdp);
            self.agreement.bind(offer.by, offer.sdp);
        }
        self.agreement.bind(by, sdp);
        Ok(anchored)
    }

    /// The offer in flight was refused: what was agreed before stays (RFC 3264 §8). Ports of lines that it would have
    /// added stay ours, for the next that adds one.
    pub fn withdraw(&mut self) {
        if let Some(offer) = self.agreement.offer.take() {
            let to = offer.by.other();
            self.forget_keys_offered(to);
            self.agreement.told[to.index()] = offer.told;
        }
    }

    /// What was agreed on meanwhile is undone: `before` holds, with its keys.
    pub fn return_to(&mut self, before: &Agreement) {
        for leg in Leg::BOTH {
            self.owe_keys(leg, &before.said[leg.index()]);
        }
        self.agreement = before.clone();
    }

    /// Whether `by` describes its lines as it did last.
    pub fn is_known(&self, by: Leg, sdp: &[u8]) -> bool {
        let known = self.agreement.agreed[by.index()]
            .as_ref()
            .map(SessionDescription::lines);
        self.permitted(sdp).is_ok_and(|new| known == Some(new.lines()))
    }

    /// Whether an offer crossed that has no answer yet.
    pub const fn is_pending(&self) -> bool {
        self.agreement.offer.is_some()
    }

    /// Who made the offer that has no answer yet.
    pub fn pending_by(&self) -> Option<Leg> {
        self.agreement.offer.as_ref().map(|offer| offer.by)
    }

    /// Whether an offer was answered before.
    pub fn is_agreed(&self) -> bool {
        self.agreement.agreed.iter().any(Option::is_some)
    }

    /// A description of `by` that was seen before, as the other leg shall see it; it changes nothing.
    pub fn repeat(&self, by: Leg, sdp: &[u8]) -> Result<Bytes, NegotiationError> {
        let sdp = self.permitted(sdp)?;
        if self.exceeds(&sdp) {
            return Err(NegotiationError::Lines);
        }
        let told = self.tell(by.other(), &sdp);
        let answered = self.agreement.agreed[by.other().index()].as_ref();
        Ok(self.answering(by, told, answered.filter(|_| self.pending_by() != Some(by))))
    }

    /// The answer with a line for each of the offer (RFC 3264 §6): a leg whose session goes on otherwise than it came may have
    /// been told more.
    fn answering(&self, by: Leg, anchored: Bytes, offer: Option<&SessionDescription>) -> Bytes {
        let is_threaded = self.thread(by).is_some() || self.thread(by.other()).is_some();
        match offer.filter(|_| is_threaded) {
            Some(offer) => with_lines(&anchored, offer.lines().len()),
            None => anchored,
        }
    }

    /// What `leg` was told last, as it was told: the other leg's description with our addresses.
    pub fn last_to(&self, leg: Leg) -> Option<Bytes> {
        let theirs = self.agreement.agreed[leg.other().index()].as_ref()?;
        Some(self.tell(leg, theirs))
    }

    /// `by` answered anew what it knew already. Whether that moved anything; an error: it is not encrypted as it was told.
    pub fn moves(&mut self, by: Leg, sdp: &[u8]) -> Result<bool, NegotiationError> {
        let Ok(new) = self.permitted(sdp) else {
            return Ok(false);
        };
        let is_carried = !self.exceeds(&new);
        let agreed = &self.agreement.agreed[by.index()];
        let moved = is_carried && agreed.as_ref().is_none_or(|old| old.lines() != new.lines());
        if moved {
            self.is_answer_keyed(by, &new)?;
            self.note_moved(by, &new);
            self.agreement.bind(by, new);
        }
        Ok(moved | std::mem::take(&mut self.keying.is_back[by.index()]))
    }

    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// What a new fork starts from: `begun`, with the keys by which who offered is sealed to already, for it cannot tell forks apart
    /// by their packets (RFC 4568 §7.3).
    pub fn branched(&mut self, begun: &Agreement) -> Agreement {
        let mut agreement = begun.clone();
        agreement.far_end = self.meet();
        if let Some(offer) = &begun.offer {
            agreement.said[offer.by.index()].clone_from(&self.agreement.said[offer.by.index()]);
        }
        agreement
    }

    const fn meet(&mut self) -> FarEnd {
        self.newest = self.newest.next();
        self.newest
    }

    /// Another fork comes into focus. The ports are shared.
    pub const fn swap(&mut self, other: &mut Agreement) {
        std::mem::swap(&mut self.agreement, other);
    }

    /// m-lines that have ports.
    pub const fn lines(&self) -> usize {
        self.ports.len()
    }

    /// Whether media goes through us.
    pub const fn has_media(&self) -> bool {
        !self.ports.is_empty() && !self.passes_by
    }

    /// Whether `leg` holds the other (RFC 3264 §8.4): every live line of its newest description is sendonly or inactive, or has the null address.
    pub fn holds(&self, leg: Leg) -> bool {
        self.agreement.agreed[leg.index()]
            .as_ref()
            .is_some_and(SessionDescription::is_hold)
    }

    pub fn give_back(&mut self, now: Timestamp, pool: &mut PortPool) {
        for ports in self.ports.drain(..) {
            pool.give_back(now, ports.a);
            pool.give_back(now, ports.b);
        }
    }

    fn binding(&self, leg: Leg) -> Option<&SessionDescription> {
        let agreed = self.agreement.agreed[leg.index()].as_ref();
        agreed.or_else(|| {
            self.agreement
                .offer
                .as_ref()
                .filter(|offer| offer.by == leg)
                .map(|offer| &offer.sdp)
        })
    }

    fn locals(&self, facing: Leg) -> Vec<SocketAddr> {
        let local = |ports: &Ports| {
            let pair = match facing {
                Leg::A => &ports.a,
                Leg::B => &ports.b,
            };
            self.faces[facing.index()].map_or(pair.rtp(), |face| face.told(pair))
        };
        self.ports.iter().map(local).collect()
    }

    /// Where the RTP of a leg arrives.
    fn facing(&self, leg: Leg, pair: &PortPair) -> SocketAddr {
        self.faces[leg.index()].map_or(pair.rtp(), |face| face.bound(pair))
    }
}

fn lease(now: Timestamp, pool: &mut PortPool, emergency: bool) -> Option<Ports> {
    let mut pair = || {
        if emergency {
            pool.lease_for_emergency()
        } else {
            pool.lease(now)
        }
    };
    let a = pair()?;
    match pair() {
        Some(b) => Some(Ports { a, b }),
        None => {
            pool.give_back(now, a);
            None
        }
    }
}
