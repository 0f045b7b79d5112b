//! The line: requests that open something wait here until all else is done.
//!
//! What belongs to a call that is up overtakes it, so a call that was taken is served to its end, and the node is never idle
//! while somebody waits: at any load it serves what it can, and only what it cannot is refused. How many may wait follows from
//! what calls have cost of late, from their beginning to their end: 200 ms' worth for a burst, 50 ms' worth once it stands, as CoDel tells the two apart (RFC 8289
//! §3.2: it did not run empty for a while). So whoever is taken waits less than T1 (RFC 3261 §17.1.1.1) and is not yet sent again.
//!
//! Peers that throttle themselves (RFC 7339) are told a share to hold back. It is led so that a little more still comes than
//! can be served: the line never runs dry for it. Others are refused in the same share before the line is full: who throttles
//! itself shall not wait behind those who do not (§5.10.2).
//!
//! A CANCEL belongs to no call yet while its INVITE waits: it stands behind it, and is taken right after it (RFC 3261 §9.2).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::Timestamp;
use crate::sip::{Glance, InviteKey};

use super::bucket::{Bucket, Rate};
use super::congestion::CALLS_SHED_MAX;

/// So long may the last of a burst wait.
const BURST: Duration = Duration::from_millis(200);
/// And so long once the line stands.
const STANDING: Duration = Duration::from_millis(50);
/// A line that was not empty for so long stands.
const STANDS_AFTER: Duration = Duration::from_millis(500);
/// Requests that may wait however fast the line moves, however slowly, and where that is not known.
const WAITING_MAX: usize = 4_096;
const WAITING_MIN: usize = 8;
const WAITING_AT_FIRST: usize = 256;
/// CANCELs that may stand behind one INVITE. More are dropped: they are copies.
const CANCELS_MAX: usize = 4;
/// Chatter may fill so much of the room that a call would find: it goes before any call does.
const CHATTER_PART: usize = 4;

/// What an interval adds to what is known of the cost of calls is a tenth forgotten with the next.
const REMEMBERED: f64 = 0.9;
/// So many calls say something of their cost.
const TELLING: f64 = 10.0;
/// One turn counts as this much work at most: it was a pause.
const TURN_MAX: Duration = Duration::from_millis(100);

/// So many are let to the line though the house is full: they are told why, and a record of it is kept.
const TOLD_WHY: Rate = Rate {
    per_second: 20,
    burst: 20,
};

/// How often the share is thought over.
const INTERVAL: Duration = Duration::from_millis(100);
/// Without a request for so long, nothing is known of the load any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);
const WHOLE: u32 = 1_000;
/// Of those who come in spite of the share, so many thousandths find no room when it is right.
const REFUSED_AIM: u32 = 50;
/// An interval in which all found room lets so many thousandths more come.
const REGAINED: u32 = 40;

/// What a request opens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// A call, or a MESSAGE: what somebody has written is worth as much.
    Call,
    /// OPTIONS, REGISTER, SUBSCRIBE …
    Chatter,
}

/// Who comes to the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Newcomer {
    pub opening: Opening,
    /// It throttles itself by what it is told.
    pub is_throttled: bool,
    /// What a CANCEL of it will name.
    pub invite: Option<InviteKey>,
}

impl Newcomer {
    /// None for what does not wait: it opens nothing. However oddly it is written, nobody passes the line by it.
    pub fn of(message: &[u8]) -> Option<Self> {
        let message = begun(message)?;
        let opens_nothing = [
            &b"SIP/"[..],
            b"sip/",
            b"ACK ",
            b"BYE ",
            b"CANCEL ",
            b"PRACK ",
            b"UPDATE ",
            b"INFO ",
        ];
        if opens_nothing.iter().any(|start| message.starts_with(start)) {
            return None;
        }
        let glance = Glance::of(message);
        let (method, is_throttled) = match &glance {
            Some(glance) if glance.to_tag.is_some() => return None,
            Some(glance) => (glance.method, glance.offers_oc()),
            None => (Glance::opening_method(message)?, false),
        };
        let invite = match &glance {
            _ if method != "INVITE" => None,
            Some(glance) => Some(InviteKey::of_glance(glance)),
            None => InviteKey::of(message),
        };
        let opening = match method {
            "INVITE" | "MESSAGE" => Opening::Call,
            _ => Opening::Chatter,
        };
        Some(Self {
            opening,
            is_throttled,
            invite,
        })
    }
}

/// Without the blank lines that may stand before a message (RFC 3261 §7.5).
fn begun(message: &[u8]) -> Option<&[u8]> {
    let blank = message.iter().take_while(|c| matches!(c, b'\r' | b'\n')).count();
    message.get(blank..)
}

/// See the module.
#[derive(Debug)]
pub struct Line<T> {
    waiting: VecDeque<(Option<InviteKey>, T)>,
    /// By the INVITEs that wait, who stands behind each.
    cancels: BTreeMap<InviteKey, Vec<T>>,
    /// Of the INVITE that was taken last: they are next.
    behind: VecDeque<T>,
    /// Calls taken and time at work, of late.
    taken: f64,
    busy: Duration,
    /// Since when it was not empty.
    since: Option<Timestamp>,
    /// Calls since the share was thought over: who found room, who found none.
    admitted: u32,
    refused: u32,
    until: Option<Timestamp>,
    /// Of calls that come, in thousandths, who shall be let to the line.
    welcome: u32,
    lot: u64,
    told_why: Bucket,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            cancels: BTreeMap::new(),
            behind: VecDeque::new(),
            taken: 0.0,
            busy: Duration::ZERO,
            since: None,
            admitted: 0,
            refused: 0,
            until: None,
            welcome: WHOLE,
            lot: 1,
            told_why: Bucket::default(),
        }
    }
}

impl<T> Line<T> {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.behind.is_empty()
    }

    /// Joins the line, or is given back: there is no room. `is_full`: no call could be taken, however long it waited.
    pub fn offer(&mut self, now: Timestamp, newcomer: Newcomer, is_full: bool, request: T) -> Result<(), T> {
        self.follow(now);
        let room = self.room(now);
        let (is_call, standing) = (newcomer.opening == Opening::Call, self.waiting.len());
        // Not by the share alone: nobody is refused while there is nothing to do.
        if is_call && !newcomer.is_throttled && standing >= room / 2 && self.draw() >= self.welcome {
            return Err(request);
        }
        let is_shut = is_full && is_call && !self.told_why.offer(now, TOLD_WHY);
        let has_room = !is_shut && standing < if is_call { room } else { room / CHATTER_PART };
        if is_call {
            *if has_room {
                &mut self.admitted
            } else {
                &mut self.refused
            } += 1;
        }
        if !has_room {
            return Err(request);
        }
        self.since = self.since.or(Some(now));
        if let Some(invite) = newcomer.invite.clone() {
            self.cancels.entry(invite).or_default();
        }
        self.waiting.push_back((newcomer.invite, request));
        Ok(())
    }

    /// A CANCEL goes behind its INVITE. Whatever else opens nothing is given back, and a CANCEL whose INVITE does not wait.
    pub fn offer_behind(&mut self, message: &[u8], request: T) -> Result<(), T> {
        let is_cancel = || begun(message).is_some_and(|message| message.starts_with(b"CANCEL "));
        if self.cancels.is_empty() || !is_cancel() {
            return Err(request);
        }
        let behind = InviteKey::of(message).and_then(|invite| self.cancels.get_mut(&invite));
        let Some(behind) = behind else { return Err(request) };
        if behind.len() < CANCELS_MAX {
            behind.push(request);
        }
        Ok(())
    }

    /// Who came first.
    pub fn take(&mut self) -> Option<T> {
        if let Some(cancel) = self.behind.pop_front() {
            return Some(cancel);
        }
        let (invite, first) = self.waiting.pop_front()?;
        self.taken += 1.0;
        if let Some(cancels) = invite.and_then(|invite| self.cancels.remove(&invite)) {
            self.behind.extend(cancels);
        }
        if self.waiting.is_empty() {
            self.since = None;
        }
        Some(first)
    }

    /// Takes out who waits for nothing any more.
    pub fn withdraw(&mut self, is_gone: impl Fn(&T) -> bool) {
        self.waiting.retain(|(_, request)| !is_gone(request));
        self.behind.retain(|request| !is_gone(request));
        let left: BTreeSet<_> = self.waiting.iter().filter_map(|(invite, _)| invite.as_ref()).collect();
        self.cancels.retain(|invite, cancels| {
            cancels.retain(|request| !is_gone(request));
            left.contains(invite)
        });
        if self.waiting.is_empty() {
            self.since = None;
        }
    }

    /// So long was worked: on what was taken from the line, and on all else.
    pub fn note_busy(&mut self, took: Duration) {
        self.busy += took.min(TURN_MAX);
    }

    /// Thinks the share over if it is time. What peers are told to hold back of new calls, in thousandths.
    pub fn follow(&mut self, now: Timestamp) -> u32 {
        let until = *self.until.get_or_insert(now + INTERVAL);
        if now >= until {
            self.think(now.since(until) >= FORGOTTEN_AFTER);
            (self.admitted, self.refused) = (0, 0);
            (self.taken, self.busy) = (self.taken * REMEMBERED, self.busy.mul_f64(REMEMBERED));
            self.until = Some(now + INTERVAL);
        }
        WHOLE - self.welcome
    }

    fn think(&mut self, is_forgotten: bool) {
        let came = self.admitted + self.refused;
        self.welcome = if is_forgotten {
            WHOLE
        } else if self.refused == 0 {
            self.welcome + REGAINED.min(self.welcome / 4)
        } else {
            // Half the way to where as many are refused as should be.
            let refused = self.refused * WHOLE / came;
            self.welcome * (2 * WHOLE + REFUSED_AIM - refused) / (2 * WHOLE)
        };
        self.welcome = self.welcome.clamp(WHOLE - CALLS_SHED_MAX, WHOLE);
    }

    /// How many may wait.
    fn room(&self, now: Timestamp) -> usize {
        let stands = self.since.is_some_and(|since| now.since(since) >= STANDS_AFTER);
        let bound = if stands { STANDING } else { BURST };
        if self.taken < TELLING || self.busy.is_zero() {
            return WAITING_AT_FIRST;
        }
        let room = self.taken * bound.as_secs_f64() / self.busy.as_secs_f64();
        (room as usize).clamp(WAITING_MIN, WAITING_MAX)
    }

    /// Below [`WHOLE`]. Who is refused need not be unforeseeable, only spread.
    fn draw(&mut self) -> u32 {
        self.lot = self
            .lot
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.lot >> 33) as u32 % WHOLE
    }
}

#[cfg(test)]
mod tests;
