//! Legs that go on with another far end: what they know of their session, and how it goes on for them (RFC 3725 §4).

use bytes::Bytes;

use super::{LINES_MAX, Negotiation, lease};
use crate::media::PortPool;
use crate::model::{Leg, Timestamp};
use crate::sdp::{MediaLine, SessionDescription, Thread, anchor_secured, decline, reoffer, with_lines, without_lines};

/// A leg that goes on with another far end.
#[derive(Debug, Default)]
pub(super) struct Exchanged {
    /// What it was told last in the call that it comes over from.
    pub(super) told: Option<Bytes>,
    /// How the session goes on that it knows.
    pub(super) thread: Option<Thread>,
    /// It has not come over yet, or has left: nothing is sent there.
    pub(super) absent: bool,
    /// It comes from another call.
    pub(super) came: bool,
}

impl Negotiation {
    /// What binds `leg`, as an offer to somebody new who knows `lines` m-lines already.
    pub fn reoffer(&self, leg: Leg, lines: usize) -> Option<Bytes> {
        let sdp = self.agreement.agreed[leg.index()].as_ref()?;
        Some(reoffer(sdp, lines))
    }

    /// `leg` comes over from a call where it was told this last; until it is here, nothing is sent there.
    pub fn expect(&mut self, leg: Leg, told: Option<Bytes>) {
        self.introduce(leg, told.as_deref());
        self.exchanged[leg.index()] = Some(Box::new(Exchanged {
            told,
            thread: None,
            absent: true,
            came: true,
        }));
    }

    /// Whether `leg` is of another call, or was.
    pub(super) fn came_over(&self, leg: Leg) -> bool {
        self.exchanged[leg.index()]
            .as_ref()
            .is_some_and(|exchanged| exchanged.came)
    }

    /// `leg` has hung up, and the call is not over: nothing is sent there any more.
    pub fn leave(&mut self, leg: Leg) {
        self.exchanged[leg.index()].get_or_insert_default().absent = true;
    }

    /// `leg` has come over, and has seen so many m-lines. Where no ports are left for all of them, the last have none.
    pub fn welcome(&mut self, now: Timestamp, leg: Leg, lines: usize, pool: &mut PortPool) {
        if let Some(exchanged) = &mut self.exchanged[leg.index()] {
            exchanged.absent = false;
        }
        while self.ports.len() < lines.min(LINES_MAX) {
            let Some(ports) = lease(now, pool, false) else { return };
            self.ports.push(ports);
        }
    }

    /// Whether what `by` answers now says other things of its lines than the other leg was told: not which formats it chose
    /// of those, nor its addresses, which are ours to know.
    pub fn changes(&self, by: Leg, sdp: &[u8]) -> bool {
        let (Some(known), Ok(new)) = (&self.agreement.agreed[by.index()], SessionDescription::parse(sdp)) else {
            return false;
        };
        let says = |line: &MediaLine| (line.is_live(), line.direction, line.is_hold(), line.crypto);
        !known.lines().iter().map(says).eq(new.lines().iter().map(says)) || new.lines().iter().any(|line| line.crypto)
    }

    /// The answer to an offer of `leg` that may change nothing. None where it cannot be read, or nothing was agreed before.
    pub fn decline(&self, leg: Leg, sdp: &[u8]) -> Option<Bytes> {
        let held = SessionDescription::parse(&self.last_to(leg)?).ok()?;
        Some(decline(&held, &SessionDescription::parse(sdp).ok()?))
    }

    /// What `by` answers to what it knows already, without the lines that either leg has turned off: the other one was told so,
    /// and nobody tells it otherwise (RFC 3264 §6). None where it cannot be read, or makes another medium of a line.
    pub fn heeded(&self, by: Leg, sdp: &[u8]) -> Option<Bytes> {
        let answer = SessionDescription::parse(sdp).ok()?;
        let agreed = [by.other(), by].map(|leg| self.agreement.agreed[leg.index()].as_ref());
        let Some(theirs) = agreed[0] else {
            return Some(answer.text().clone());
        };
        let mut both = theirs.lines().iter().zip(answer.lines());
        if both.any(|(line, answered)| answered.is_live() && answered.kind != line.kind) {
            return None;
        }
        let is_on = |sdp: &SessionDescription, line| sdp.lines().get(line).is_some_and(MediaLine::is_live);
        Some(without_lines(&answer, |line| {
            !agreed.iter().flatten().all(|sdp| is_on(sdp, line))
        }))
    }

    /// `leg` was told this by another call, and stays.
    pub fn stay(&mut self, leg: Leg, told: &[u8]) {
        if let Some(theirs) = &self.agreement.agreed[leg.other().index()] {
            let thread = Thread::continuing(told, theirs.text());
            self.exchanged[leg.index()].get_or_insert_default().thread = thread;
        }
    }

    pub(super) fn thread(&self, leg: Leg) -> Option<&Thread> {
        self.exchanged[leg.index()].as_ref()?.thread.as_ref()
    }

    /// The first description that crosses to a leg which comes over is where its session goes on.
    pub(super) fn tell_first(&mut self, to: Leg, sdp: &SessionDescription) -> Bytes {
        if let Some(exchanged) = &mut self.exchanged[to.index()]
            && let Some(told) = exchanged.told.take()
        {
            exchanged.thread = Thread::continuing(&told, sdp.text());
        }
        self.tell_recording(to);
        self.tell(to, sdp)
    }

    /// The lines as a leg described them last: in an offer that is open, else in what it is bound by.
    fn described_by(&self, leg: Leg) -> &[MediaLine] {
        self.description_by(leg).map_or(&[], |sdp| sdp.lines())
    }

    pub(super) fn description_by(&self, leg: Leg) -> Option<&SessionDescription> {
        let offer = self.agreement.offer.as_ref().filter(|offer| offer.by == leg);
        let agreed = self.agreement.agreed[leg.index()].as_ref();
        offer.map(|offer| &offer.sdp).or(agreed)
    }

    /// A description of the other leg with our addresses, in the session that `to` knows.
    pub(super) fn anchored(&self, to: Leg, sdp: &SessionDescription) -> Bytes {
        if self.passes_by {
            return sdp.text().clone();
        }
        let with_refusals = self.refusals_told(to, sdp);
        let sdp = with_refusals.as_ref().unwrap_or(sdp);
        let anchored = anchor_secured(sdp, &self.locals(to), self.said_to(to), self.described_by(to));
        match self.thread(to) {
            Some(thread) => with_lines(&thread.retell(&anchored), self.ports.len()),
            None => anchored,
        }
    }
}
