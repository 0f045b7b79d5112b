//! Session timers, one on each leg, ours (RFC 4028): so a call that both peers forgot ends within one interval, and its
//! recording is sealed. What a peer refreshes crosses, and serves both legs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::retell::Untold;
use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::ending::Farewell;
use crate::b2bua::invite::names;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Leg, Timestamp};
use crate::sip::dialog::SessionTimer;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Headers, Message, Method, Request, Response};

mod accepted;
mod refused;

use refused::{PAUSE, Refused};

/// Why a call ended that nobody refreshed (RFC 3326).
const EXPIRED: &str = "SIP;cause=408;text=\"Session timer expired\"";
/// How long a refresh waits for what is in flight on its leg.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(5);
/// How long after a restart the peers are asked whether they are still there: A, B; and how far calls are spread.
const RESUMED_WAIT: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];
const RESUMED_SPREAD: Duration = Duration::from_secs(5);
/// After a 491: who made the Call-ID waits 2.1 to 4 s, the other up to 2 s (RFC 3261 §14.1).
const GLARE_WAIT: [Duration; 2] = [Duration::from_millis(1_000), Duration::from_millis(3_000)];

/// What keeps one leg's session alive.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Upkeep {
    timer: SessionTimer,
    /// The peer's Allow names UPDATE (RFC 4028 §7.4).
    allows_update: bool,
    /// Its Allow does not name UPDATE, or it answered one so.
    #[serde(skip)]
    bars_update: bool,
    /// A refresh of ours that has no final answer yet.
    #[serde(skip)]
    pub(in crate::b2bua) refreshing: Option<Refreshing>,
    /// The last refresh was refused.
    #[serde(skip)]
    refused: Option<Refused>,
    /// The peer does not know yet what holds.
    #[serde(default)]
    pub(in crate::b2bua) untold: Option<Untold>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::b2bua) struct Refreshing {
    pub(super) client: ClientId,
    method: Method,
    /// The 422 to it was answered.
    lengthened: bool,
    /// Its connection broke, and it went by another.
    rerouted: bool,
}

impl Upkeep {
    /// What a request to the peer says of the timer, if it is one that refreshes. Before the answer an UPDATE is none.
    pub fn ask(&self, phase: Phase, request: &mut Request) {
        match request.method {
            Method::Invite => self.timer.ask(&mut request.headers),
            Method::Update if is_up(phase) => self.timer.ask(&mut request.headers),
            _ => {}
        }
    }

    pub(super) fn is_astray(&self) -> bool {
        self.untold.is_some_and(|untold| untold.is_astray)
    }

    pub(in crate::b2bua) fn is_reinviting(&self) -> bool {
        let by_invite = |refreshing: &Refreshing| refreshing.method == Method::Invite;
        self.refreshing.as_ref().is_some_and(by_invite)
    }

    pub fn is_refreshing_by(&self, client: ClientId) -> bool {
        self.refreshing
            .as_ref()
            .is_some_and(|refreshing| refreshing.client == client)
    }
}

impl Call {
    /// A's INVITE: which timers its legs get. An emergency call gets none: no timer ends it.
    pub(in crate::b2bua) fn begin_upkeep(&mut self, turn: &Turn<'_>, invite: &Request) -> Result<(), Refusal> {
        self.keep_allowed(Leg::A, &invite.headers);
        self.note_from_change(Leg::A, &invite.headers);
        if self.decision.emergency {
            return Ok(());
        }
        check_interval(invite)?;
        for upkeep in &mut self.upkeep {
            upkeep.timer = SessionTimer::wanting(turn.terms.session_interval);
        }
        Ok(())
    }

    /// The call goes on in another process. What was refreshed meanwhile nobody knows: both peers are asked soon, spread so
    /// that many calls do not ask at once.
    pub(in crate::b2bua) fn resume_upkeep(&mut self, turn: &mut Turn<'_>, upkeep: [Upkeep; 2]) {
        self.upkeep = upkeep;
        for side in Leg::BOTH {
            let timer = &mut self.upkeep[side.index()].timer;
            timer.renew(turn.now);
            let spread = turn.wire.mint().entropy() % RESUMED_SPREAD.as_millis();
            let spread = Duration::from_millis(u64::try_from(spread).unwrap_or_default());
            let due = turn.now + RESUMED_WAIT[side.index()] + spread;
            self.watch_session(side, Some(due));
            if self.upkeep[side.index()].untold.is_some() {
                self.watch_untold(side, Some(due));
            }
        }
    }

    /// What a request that may refresh says of our timer on the leg that it goes to.
    pub(in crate::b2bua) fn ask_upkeep(&self, to: Leg, request: &mut Request) {
        self.upkeep[to.index()].ask(self.phase, request);
    }

    /// A 2xx to a request that refreshes goes to who sent it: the timers of both legs begin anew.
    pub(in crate::b2bua) fn grant_upkeep(
        &mut self,
        turn: &Turn<'_>,
        request: (Leg, &Request),
        accepted: &Response,
        answer: &mut Headers,
    ) {
        let (from, request) = request;
        if request.method == Method::Prack {
            return;
        }
        self.keep_allowed(from.other(), &accepted.headers);
        self.note_from_change(from.other(), &accepted.headers);
        if self.decision.emergency || !(request.method == Method::Invite || is_up(self.phase)) {
            return;
        }
        let [near, far] = [from, from.other()].map(Leg::index);
        self.upkeep[near].timer.grant(turn.now, &request.headers, answer);
        self.upkeep[far].timer.on_accepted(turn.now, &accepted.headers);
        self.upkeep.iter_mut().for_each(|upkeep| upkeep.refused = None);
        self.watch_sessions();
    }

    /// A 2xx to an INVITE of our own on that leg: its timer begins anew.
    pub(in crate::b2bua) fn accept_upkeep(&mut self, turn: &Turn<'_>, side: Leg, accepted: &Response) {
        self.keep_allowed(side, &accepted.headers);
        self.note_from_change(side, &accepted.headers);
        if !self.decision.emergency {
            self.upkeep[side.index()].timer.on_accepted(turn.now, &accepted.headers);
            self.watch_session(side, None);
        }
    }

    /// The party of this leg leaves: nobody asks for it any more.
    pub(in crate::b2bua) fn drop_upkeep(&mut self, side: Leg) -> Upkeep {
        let upkeep = std::mem::take(&mut self.upkeep[side.index()]);
        self.watch_session(side, None);
        self.watch_untold(side, None);
        Upkeep {
            refreshing: None,
            refused: None,
            untold: None,
            ..upkeep
        }
    }

    /// The party of this leg comes with its timer.
    pub(in crate::b2bua) fn take_upkeep(&mut self, side: Leg, upkeep: Upkeep) {
        self.upkeep[side.index()] = upkeep;
        self.watch_session(side, None);
    }

    /// A 422 from the far end is for us: the interval is ours. Whether it is worth asking again.
    pub(in crate::b2bua) fn on_interval_refused(&mut self, by: Leg, response: &Response) -> bool {
        response.status == 422 && self.upkeep[by.index()].timer.on_too_small(&response.headers)
    }

    /// Whether a re-INVITE of ours is in flight on either leg: another cannot cross then (RFC 3261 §14.1, §14.2).
    pub(in crate::b2bua) fn is_reinviting(&self) -> bool {
        self.is_reseating() || self.upkeep.iter().any(Upkeep::is_reinviting)
    }

    /// Whether a request of this leg does no more than refresh the session, and the far end has no method for that.
    pub(super) fn is_refresh_for_us(&self, side: Leg, request: &Request) -> bool {
        let is_bare = request.method == Method::Update && request.body.is_empty();
        is_bare && self.phase == Phase::Confirmed && self.upkeep[side.other().index()].bars_update
    }

    /// 405 and 501 to an UPDATE: it gets none any more.
    pub(super) fn note_update_refused(&mut self, by: Leg, response: &Response) {
        if matches!(response.status, 405 | 501) && response.headers.cseq().method == Method::Update {
            let upkeep = &mut self.upkeep[by.index()];
            (upkeep.allows_update, upkeep.bars_update) = (false, true);
        }
    }

    /// The timers are each leg's own: a refresh that cannot cross is granted here (RFC 4028 §9).
    pub(super) fn answer_refresh(&mut self, turn: &mut Turn<'_>, side: Leg, server: ServerId, request: &Request) {
        let mut answer = self.leg(side).dialog_response(request, 200, None);
        if let Some(dialog) = &mut self.leg_mut(side).dialog {
            dialog.target_refresh(&Message::Request(request.clone()));
        }
        if !self.decision.emergency {
            let timer = &mut self.upkeep[side.index()].timer;
            timer.grant(turn.now, &request.headers, &mut answer.headers);
            self.upkeep[side.index()].refused = None;
            self.watch_session(side, None);
        }
        self.kept = Kept::Stale;
        turn.respond(self.line(side), server, answer);
    }

    pub(in crate::b2bua) fn on_session_due(&mut self, turn: &mut Turn<'_>, side: Leg) {
        if self.phase != Phase::Confirmed {
            return;
        }
        let upkeep = &self.upkeep[side.index()];
        if upkeep.timer.expiry().is_some_and(|expiry| expiry <= turn.now) {
            self.expire(turn, &format!("session of {side} expired"));
        } else if upkeep.refreshing.is_none() && self.exchange.is_none() && !self.is_reseating() && !self.is_parting() {
            self.refresh(turn, side, [false; 2]);
        } else {
            self.watch_session(side, Some(turn.now + IN_FLIGHT_WAIT));
        }
    }

    /// Asks the peer whether it still knows the session: by UPDATE without a body, or by the description that it had from us
    /// last, in a re-INVITE (RFC 4028 §7.4). `ways`: as in [`Self::refresh_by`].
    fn refresh(&mut self, turn: &mut Turn<'_>, side: Leg, ways: [bool; 2]) {
        let upkeep = &self.upkeep[side.index()];
        let method = if upkeep.untold.is_none() && upkeep.allows_update || !self.negotiation.is_agreed() {
            Method::Update
        } else {
            Method::Invite
        };
        self.refresh_by(turn, side, method, ways);
    }

    /// Whether it asks for a longer interval, `lengthened`, and goes another way, `rerouted`, than at first.
    pub(in crate::b2bua) fn refresh_by(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        method: Method,
        [lengthened, rerouted]: [bool; 2],
    ) {
        if self.is_parting() {
            // Nothing follows a BYE (RFC 3261 §15); one that is challenged is said again, and the session lasts until then.
            self.watch_session(side, Some(turn.now + PAUSE));
            return;
        }
        let sdp = if method == Method::Invite {
            self.negotiation.anew_to(side)
        } else {
            None
        };
        let Some(mut request) = self.leg_mut(side).dialog_request(method.clone()) else {
            return;
        };
        self.ask_upkeep(side, &mut request);
        if let Some(sdp) = sdp {
            request.set_body("application/sdp", sdp);
            self.on_telling(turn, side);
        }
        let client = turn.request(self.id, self.line(side), request);
        self.upkeep[side.index()].refreshing = Some(Refreshing {
            client,
            method,
            lengthened,
            rerouted,
        });
        self.watch_session(side, None);
    }

    pub(in crate::b2bua) fn on_refresh_response(&mut self, turn: &mut Turn<'_>, side: Leg, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(refreshing) = self.upkeep[side.index()].refreshing.take() else {
            return;
        };
        if refreshing.method == Method::Invite && response.is_success() {
            // It may come again.
            if let Some(before) = self.last_exchange[side.index()].replace(refreshing.client) {
                turn.wire.disown_client(before);
            }
            let (chronicle, cseq) = (self.chronicle, response.headers.cseq().number);
            self.leg_mut(side).acknowledge(turn, &chronicle, cseq, None);
        } else {
            turn.wire.disown_client(refreshing.client);
        }
        if self.phase == Phase::Confirmed {
            self.on_refreshed(turn, side, &refreshing, response);
        }
    }

    fn on_refreshed(&mut self, turn: &mut Turn<'_>, side: Leg, refreshing: &Refreshing, response: &Response) {
        let by_invite = refreshing.method == Method::Invite;
        match response.status {
            200..300 if by_invite => self.on_indicated(side),
            300.. if by_invite => self.on_not_indicated(turn, side),
            _ => {}
        }
        let retells = refreshing.method == Method::Invite && self.upkeep[side.index()].untold.is_some();
        let upkeep = &mut self.upkeep[side.index()];
        match response.status {
            200..300 => {
                upkeep.timer.on_accepted(turn.now, &response.headers);
                upkeep.refused = None;
                upkeep.allows_update |= refreshing.method == Method::Update;
                self.kept = Kept::Stale;
                if retells {
                    self.on_told(side);
                }
                if let Some(dialog) = &mut self.leg_mut(side).dialog {
                    dialog.target_refresh(&Message::Response(response.clone()));
                }
                if let Err(refusal) = self.take_refreshed(turn, side, response) {
                    self.part_with_answerer(turn, side, &refusal);
                    return;
                }
                self.reopen(turn);
            }
            408 | 481 => {
                self.expire(turn, &format!("{} from {side} to a session refresh", response.status));
                return;
            }
            422 if !refreshing.lengthened && upkeep.timer.on_too_small(&response.headers) => {
                self.refresh(turn, side, [true, refreshing.rerouted]);
                return;
            }
            _ if retells => {
                upkeep.timer.renew(turn.now);
                self.watch_session(side, None);
                self.on_untold(turn, side, response);
                return;
            }
            405 | 501 if refreshing.method == Method::Update && upkeep.allows_update => {
                (upkeep.allows_update, upkeep.bars_update) = (false, true);
                self.refresh(turn, side, [refreshing.lengthened, refreshing.rerouted]);
                return;
            }
            _ => {
                self.on_refresh_refused(turn, side, refreshing, response);
                return;
            }
        }
        self.watch_session(side, None);
    }

    pub(super) fn expire(&mut self, turn: &mut Turn<'_>, by: &str) {
        self.give_up_refreshes(turn);
        self.finish(turn, by, &Farewell::of_reasons(vec![EXPIRED.to_owned()]));
    }

    /// The call ends: a re-INVITE of ours may ring for ever.
    pub(in crate::b2bua) fn give_up_refreshes(&mut self, turn: &mut Turn<'_>) {
        for side in Leg::BOTH {
            self.give_up_refresh(turn, side);
        }
    }

    /// The same of one party, which leaves.
    pub(in crate::b2bua) fn give_up_refresh(&mut self, turn: &mut Turn<'_>, side: Leg) {
        let by_invite = |refreshing: &mut Refreshing| refreshing.method == Method::Invite;
        if let Some(refreshing) = self.upkeep[side.index()].refreshing.take_if(by_invite) {
            turn.cancel(self.line(side), refreshing.client, &[]);
            self.expect_late_answer(turn, side, Some(refreshing.client));
        }
    }

    pub(in crate::b2bua) fn release_refreshes(&self, turn: &mut Turn<'_>) {
        for refreshing in self.upkeep.iter().filter_map(|upkeep| upkeep.refreshing.as_ref()) {
            turn.wire.disown_client(refreshing.client);
        }
    }

    pub(in crate::b2bua) fn watch_sessions(&mut self) {
        for side in Leg::BOTH {
            self.watch_session(side, None);
        }
    }

    /// `refresh`: instead of when the timer says.
    fn watch_session(&mut self, side: Leg, refresh: Option<Timestamp>) {
        let wait = [Wait::SessionA, Wait::SessionB][side.index()];
        let upkeep = &self.upkeep[side.index()];
        let refresh = refresh
            .or_else(|| upkeep.timer.refresh_due())
            .filter(|_| upkeep.refreshing.is_none());
        let due = upkeep
            .timer
            .expiry()
            .map(|expiry| refresh.map_or(expiry, |refresh| refresh.min(expiry)));
        match due.filter(|_| self.phase != Phase::Ending) {
            Some(due) => self.deadlines.set(wait, due),
            None => self.deadlines.clear(wait),
        }
    }

    /// What a peer's Allow says of UPDATE; without one it says nothing new.
    fn keep_allowed(&mut self, side: Leg, headers: &Headers) {
        if headers.contains("Allow") {
            let allows = names(headers, "Allow", "UPDATE");
            let upkeep = &mut self.upkeep[side.index()];
            (upkeep.allows_update, upkeep.bars_update) = (allows, !allows);
        }
    }
}

/// Beyond what a peer in glare may draw from, or below it: by who made the Call-ID.
pub(in crate::b2bua) fn glare_wait(turn: &mut Turn<'_>, side: Leg) -> Duration {
    let jitter = u64::try_from(turn.wire.mint().entropy() % 1_000).unwrap_or_default();
    GLARE_WAIT[side.index()] + Duration::from_millis(jitter)
}

const fn is_up(phase: Phase) -> bool {
    matches!(phase, Phase::Answered | Phase::Confirmed)
}

/// Whether the interval that a request asks for is long enough.
pub fn check_interval(request: &Request) -> Result<(), Refusal> {
    SessionTimer::check(&request.headers).map_err(|error| Refusal::IntervalTooSmall { min: error.min })
}
