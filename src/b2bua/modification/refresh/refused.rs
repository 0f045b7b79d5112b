//! A refresh of ours that the peer refuses, or does not hear: it refreshed nothing, so it is asked again before the peer's
//! session ends (RFC 4028 §10, RFC 3261 §14.1, RFC 3311 §5.1).

use std::time::Duration;

use super::super::retell::seconds;
use super::{Refreshing, glare_wait};
use crate::b2bua::call::Call;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Leg, Timestamp};
use crate::sip::{Flow, Method, Response};

/// Refusals in one session after which the next refresh is a whole interval later: who answers is there.
const REFUSALS_MAX: u32 = 8;
/// The first pause where the peer names none; each is twice as long as the one before.
pub(super) const PAUSE: Duration = Duration::from_secs(4);
/// No pause is shorter: a session that ends sooner is not saved.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// How often the peer has refused since it last accepted, and when its session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refused {
    times: u32,
    lapse: Timestamp,
}

impl Refused {
    /// How long to wait before it is asked again: as `asked`, longer each time, but never into the end of its session.
    fn pause(self, now: Timestamp, asked: Duration) -> Option<Duration> {
        let left = self.lapse.since(now) / 2;
        if self.times >= REFUSALS_MAX || left < PAUSE_MIN {
            return None;
        }
        Some((asked.max(PAUSE_MIN) * 2_u32.pow(self.times)).min(left))
    }
}

impl Call {
    /// The session is refreshed neither there nor here; but who refuses is there, so it is not ended here.
    pub(super) fn on_refresh_refused(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        refreshing: &Refreshing,
        response: &Response,
    ) {
        let upkeep = &mut self.upkeep[side.index()];
        let by_update = refreshing.method == Method::Update;
        if by_update && matches!(response.status, 405 | 501) {
            (upkeep.allows_update, upkeep.bars_update) = (false, true);
        }
        let is_of_body = matches!(response.status, 415 | 488 | 606) && !by_update;
        let asked = match response.headers.get("Retry-After").and_then(seconds) {
            Some(seconds) => Duration::from_secs(seconds.min(u64::from(u32::MAX) / 1_000)),
            None if response.status == 491 => glare_wait(turn, side),
            None => PAUSE,
        };
        let pause = self.note_refused(turn.now, side, asked);
        if is_of_body && !self.upkeep[side.index()].bars_update {
            // It may take the same without a body (RFC 4028 §7.4).
            self.refresh_by(turn, side, Method::Update, [false, refreshing.rerouted]);
            return;
        }
        self.watch_session(side, pause.map(|pause| turn.now + pause));
    }

    fn note_refused(&mut self, now: Timestamp, side: Leg, asked: Duration) -> Option<Duration> {
        let upkeep = &mut self.upkeep[side.index()];
        let lapse = upkeep.timer.lapse()?;
        upkeep.timer.renew(now);
        let refused = upkeep.refused.get_or_insert(Refused { times: 0, lapse });
        let pause = refused.pause(now, asked);
        refused.times += 1;
        if pause.is_none() {
            upkeep.refused = None;
        }
        pause
    }

    /// The refresh got no answer. A connection that broke may only be the wrong one: the peer is asked once more.
    pub(in crate::b2bua) fn on_refresh_failed(&mut self, turn: &mut Turn<'_>, side: Leg, broken: Option<Flow>) {
        let refreshing = self.upkeep[side.index()].refreshing.take();
        if self.phase != Phase::Confirmed {
            return;
        }
        let again = refreshing.clone().filter(|refreshing| !refreshing.rerouted).zip(broken);
        match (again, refreshing) {
            (Some((refreshing, broken)), _) if self.leg_mut(side).reroute(broken) => {
                self.refresh_by(turn, side, refreshing.method, [refreshing.lengthened, true]);
            }
            (_, Some(refreshing)) if self.is_deaf_to_update(side, &refreshing) => {
                self.upkeep[side.index()].bars_update = true;
                let pause = self.note_refused(turn.now, side, PAUSE);
                self.watch_session(side, pause.map(|pause| turn.now + pause));
            }
            _ => self.expire(turn, &format!("no answer from {side} to a session refresh")),
        }
    }

    /// It answered our re-INVITE a moment ago, and never said that it knows UPDATE.
    fn is_deaf_to_update(&self, side: Leg, refreshing: &Refreshing) -> bool {
        let upkeep = &self.upkeep[side.index()];
        refreshing.method == Method::Update && upkeep.refused.is_some() && !upkeep.allows_update
    }
}
