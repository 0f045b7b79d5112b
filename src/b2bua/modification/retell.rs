//! A party that accepted a far end which did not come has to be told its old one again, and one whose new far end describes
//! itself otherwise has to be told that (RFC 3725 §4). Until then its media goes astray: so it is told until it accepts, and
//! who never does is let go rather than left deaf.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refresh::glare_wait;
use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::dialog::LegState;
use crate::b2bua::ending::Farewell;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Leg, Timestamp};
use crate::sip::{Method, Response};

/// Refusals of what holds, after which the call ends.
const REFUSALS_MAX: u8 = 6;
/// How long a phone that talks may take to answer; and, after a CANCEL, to say that it stopped.
const ANSWER_MAX: Duration = Duration::from_secs(32);
/// How long the re-INVITE waits for what is in flight.
const IN_FLIGHT_WAIT: Duration = Duration::from_millis(2_100);
/// The longest Retry-After that is waited out, in seconds; without one it is that of a glare.
const RETRY_AFTER_MAX: u64 = 8;
/// Why a call ended whose party does not take what holds (RFC 3326).
const REFUSED: &str = "SIP;cause=488;text=\"Media not renewed\"";

/// How often a party has refused to hear what holds, and whether its re-INVITE rang too long.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Untold {
    refusals: u8,
    #[serde(skip)]
    cancelled: bool,
    /// It has accepted what may not be: nothing is heard until it is back.
    #[serde(default)]
    pub(super) is_astray: bool,
}

impl Call {
    /// The peer is told what holds now, by re-INVITE: a refresh, too.
    pub(in crate::b2bua) fn retell(&mut self, turn: &mut Turn<'_>, side: Leg) {
        self.upkeep[side.index()].untold = Some(Untold::default());
        self.tell_anew(turn, side);
    }

    /// The same to who has accepted what was not to be.
    pub(super) fn lead_back(&mut self, turn: &mut Turn<'_>, side: Leg) {
        let is_astray = true;
        self.upkeep[side.index()].untold = Some(Untold {
            is_astray,
            ..Untold::default()
        });
        // While it is told, nothing is written down; a process that begins then would hear it at once.
        self.kept = Kept::Stale;
        self.remember(turn);
        self.tell_anew(turn, side);
    }

    fn tell_anew(&mut self, turn: &mut Turn<'_>, side: Leg) {
        if self.phase != Phase::Confirmed || self.leg(side).state != LegState::Up {
            self.on_told(side);
            return;
        }
        let is_refreshing = self.upkeep[side.index()].refreshing.is_some();
        if is_refreshing || self.exchange.is_some() || self.is_reinviting() || self.negotiation.is_pending() {
            self.watch_untold(side, Some(turn.now + IN_FLIGHT_WAIT));
            return;
        }
        self.refresh_by(turn, side, Method::Invite, [false; 2]);
    }

    /// A re-INVITE goes out with what holds.
    pub(super) fn on_telling(&mut self, turn: &Turn<'_>, side: Leg) {
        if self.upkeep[side.index()].untold.is_some() {
            self.watch_untold(side, Some(turn.now + ANSWER_MAX));
        }
    }

    /// It may be told once more, or rings too long with what it was told.
    pub(in crate::b2bua) fn on_retell_due(&mut self, turn: &mut Turn<'_>, side: Leg) {
        let upkeep = &mut self.upkeep[side.index()];
        let is_asked = upkeep.is_reinviting();
        let (Some(untold), refreshing) = (&mut upkeep.untold, &upkeep.refreshing) else {
            return;
        };
        match refreshing {
            Some(refreshing) if is_asked && !untold.cancelled => {
                untold.cancelled = true;
                let client = refreshing.client;
                turn.cancel(self.line(side), client, &[]);
                self.watch_untold(side, Some(turn.now + ANSWER_MAX));
            }
            Some(_) if is_asked => self.expire(turn, &format!("no answer from {side} to its new media")),
            _ => self.tell_anew(turn, side),
        }
    }

    /// It has accepted what holds, or is not there to hear it.
    pub(super) fn on_told(&mut self, side: Leg) {
        self.upkeep[side.index()].untold = None;
        self.watch_untold(side, None);
    }

    /// It does not accept now what holds.
    pub(super) fn on_untold(&mut self, turn: &mut Turn<'_>, side: Leg, response: &Response) {
        let Some(untold) = &mut self.upkeep[side.index()].untold else {
            return;
        };
        untold.refusals += 1;
        untold.cancelled = false;
        let refusals = untold.refusals;
        self.kept = Kept::Stale;
        if refusals >= REFUSALS_MAX {
            let by = format!("{side} does not take its new media: {}", response.status);
            self.finish(turn, &by, &Farewell::of_reasons(vec![REFUSED.to_owned()]));
            return;
        }
        let asked = response.headers.get("Retry-After").and_then(seconds);
        let wait = match asked {
            Some(seconds) => Duration::from_secs(seconds.clamp(1, RETRY_AFTER_MAX)),
            None => glare_wait(turn, side),
        };
        self.watch_untold(side, Some(turn.now + wait));
    }

    /// `due`: when to see to it; None: never.
    pub(super) fn watch_untold(&mut self, side: Leg, due: Option<Timestamp>) {
        let wait = [Wait::RetellA, Wait::RetellB][side.index()];
        match due.filter(|_| self.phase != Phase::Ending) {
            Some(due) => self.deadlines.set(wait, due),
            None => self.deadlines.clear(wait),
        }
    }
}

/// The seconds of a Retry-After (RFC 3261 §20.33).
pub(in crate::b2bua) fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}
