//! What a call waits for, and until when.

use std::time::Duration;

use super::call::Call;
use super::continuation::Kept;
use super::dialog::LegState;
use super::reject::{Refusal, SET_UP_MAX};
use super::state::{MediaState, Phase, Recording};
use super::turn::Turn;
use crate::model::{Leg, Timestamp};

/// How long the far end of a re-INVITE or UPDATE may say nothing, begun anew by each provisional answer: meanwhile neither
/// party can change anything else.
const EXCHANGE_MAX: Duration = Duration::from_secs(200);
/// How long B may leave it at a 100 while somebody else can be asked. A 100 ends Timer B (RFC 3261 §17.1.1.2), and it is only
/// what rings that begins Timer C anew (§16.7 item 2): a far end that took the INVITE and died would hold the call as long as
/// one that rings. The telephone network gives up on a far end that says nothing after 20 to 30 s (ITU-T Q.764, T7).
const TRYING_MAX: Duration = Duration::from_secs(60);
/// How long an emergency call rings on where nobody else can be asked: a queue of help may say 183 once and be long, and the
/// caller can hang up. But what both ends forgot is not held for ever.
const HELP_RING_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the target of a transfer that we execute may ring at most, whatever it says and whoever is asked: who waits for it
/// sits in the old call, and the subscription that tells how it goes must not be over before (`notice`).
const TRANSFER_RING_MAX: Duration = Duration::from_secs(200);
/// How long the recording of a call that ended stays open for the last answers to BYE.
const LINGER: Duration = Duration::from_millis(500);
/// How long a leg may take to leave before it is forgotten: beyond Timer F and 64·T1 after a CANCEL (RFC 3261 §9.1).
const LEAVE_MAX: Duration = Duration::from_secs(40);

/// What is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// The recorder and the ports.
    SetUp,
    /// The end of what A is told before B is asked.
    Foreword,
    /// The PRACK for what tells A of that.
    Acknowledged,
    /// Whether who was asked agrees to be recorded.
    Consent,
    /// B's answer to its INVITE.
    Answer,
    /// The far end's answer to a re-INVITE or UPDATE.
    Exchange,
    /// The answer of a party that goes over to another call, or its next chance to get the offer.
    Seat,
    /// A refresh of a leg's session, by us or by its peer (RFC 4028).
    SessionA,
    SessionB,
    /// Until a party is told once more what holds now, or has answered that.
    RetellA,
    RetellB,
    /// Until the recording of a call that goes on without is asked for again.
    Reattach,
    /// The BYE of who was asked to prove it, once more.
    ByeAgain,
    /// Until who refused to hear how the recording stands is told again.
    Indicate,
    /// Until a paused recording goes on.
    Resume,
    /// The last answers, before the recording is closed.
    Linger,
    /// The legs' leaving.
    Leave,
}

impl Wait {
    const ALL: [Self; 17] = [
        Self::SetUp,
        Self::Foreword,
        Self::Acknowledged,
        Self::Consent,
        Self::Answer,
        Self::Exchange,
        Self::Seat,
        Self::SessionA,
        Self::SessionB,
        Self::RetellA,
        Self::RetellB,
        Self::Reattach,
        Self::ByeAgain,
        Self::Indicate,
        Self::Resume,
        Self::Linger,
        Self::Leave,
    ];
}

/// At most one deadline for each thing that is waited for.
#[derive(Debug, Default)]
pub struct Deadlines([Option<Timestamp>; Wait::ALL.len()]);

impl Deadlines {
    pub const fn set(&mut self, wait: Wait, due: Timestamp) {
        self.0[wait as usize] = Some(due);
    }

    pub const fn clear(&mut self, wait: Wait) {
        self.0[wait as usize] = None;
    }

    pub fn earliest(&self) -> Option<Timestamp> {
        self.0.iter().flatten().min().copied()
    }

    /// The earliest that is over, which is over then.
    pub fn take_due(&mut self, now: Timestamp) -> Option<Wait> {
        let due = |wait: &Wait| self.0[*wait as usize].filter(|due| *due <= now);
        let wait = Wait::ALL
            .into_iter()
            .filter(|wait| due(wait).is_some())
            .min_by_key(due)?;
        self.clear(wait);
        Some(wait)
    }
}

impl Call {
    /// When `handle_deadline` has to be called.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadlines.earliest()
    }

    /// Something that was waited for did not come.
    pub fn handle_deadline(&mut self, turn: &mut Turn<'_>) {
        while let Some(wait) = self.deadlines.take_due(turn.now) {
            match wait {
                Wait::SetUp => self.on_set_up_stalled(turn),
                Wait::Foreword => self.on_foreword_due(turn),
                Wait::Acknowledged => self.on_unacknowledged(turn),
                Wait::Consent => self.on_consent_due(turn),
                Wait::Answer => self.on_unanswered(turn),
                Wait::Exchange => self.on_exchange_failed(turn, None),
                Wait::Seat => self.on_seat_due(turn),
                Wait::SessionA => self.on_session_due(turn, Leg::A),
                Wait::SessionB => self.on_session_due(turn, Leg::B),
                Wait::RetellA => self.on_retell_due(turn, Leg::A),
                Wait::RetellB => self.on_retell_due(turn, Leg::B),
                Wait::Reattach => self.on_reattach_due(turn),
                Wait::ByeAgain => self.on_bye_not_said_again(turn),
                Wait::Indicate => {}
                Wait::Resume => self.on_pause_over(turn),
                Wait::Linger => self.close_recording(turn),
                Wait::Leave => self.on_leaving_stalled(turn),
            }
            self.settle(turn);
        }
    }

    pub(super) fn enter(&mut self, turn: &mut Turn<'_>, phase: Phase) {
        self.phase = phase;
        match phase {
            Phase::Preparing => self.deadlines.set(Wait::SetUp, turn.now + SET_UP_MAX),
            Phase::Inviting => {
                self.deadlines.clear(Wait::SetUp);
                self.watch_answer(turn, false);
            }
            Phase::Answered => self.deadlines.clear(Wait::Answer),
            Phase::Confirmed => self.kept = Kept::Stale,
            Phase::Ending => {
                self.deadlines = Deadlines::default();
                self.deadlines.set(Wait::Linger, turn.now + LINGER);
                self.deadlines.set(Wait::Leave, turn.now + LEAVE_MAX);
            }
        }
        self.publish(turn);
    }

    /// B was invited, or rings on.
    pub(super) fn watch_answer(&mut self, turn: &Turn<'_>, rings: bool) {
        self.attempts.heard = Some(turn.now);
        if self.transfers.is_successor {
            let until = turn.now + TRANSFER_RING_MAX;
            self.attempts.until.get_or_insert(until);
        }
        let most = if rings { Duration::MAX } else { TRYING_MAX };
        let due = turn.now + turn.terms.ring_max.min(most);
        self.deadlines.set(Wait::Answer, self.before_last(due));
    }

    fn before_last(&self, due: Timestamp) -> Timestamp {
        self.attempts.until.map_or(due, |until| until.min(due))
    }

    /// B has said nothing for long: somebody else is asked, or it is waited on, or the call is given up.
    fn on_unanswered(&mut self, turn: &mut Turn<'_>) {
        let is_last = self.attempts.until.is_some_and(|until| until <= turn.now);
        if !is_last && self.ask_another(turn) {
            return;
        }
        let patience = if self.is_emergency() {
            HELP_RING_MAX.max(turn.terms.ring_max)
        } else {
            turn.terms.ring_max
        };
        let until = self.before_last(self.attempts.heard.unwrap_or(turn.now) + patience);
        if until > turn.now {
            self.deadlines.set(Wait::Answer, until);
        } else {
            self.refuse(turn, &Refusal::NoAnswer);
        }
    }

    /// A re-INVITE or UPDATE went out, or is being worked on.
    pub(super) fn watch_exchange(&mut self, turn: &Turn<'_>) {
        if self.phase != Phase::Ending {
            self.deadlines.set(Wait::Exchange, turn.now + EXCHANGE_MAX);
        }
    }

    pub(super) const fn unwatch_exchange(&mut self) {
        self.deadlines.clear(Wait::Exchange);
    }

    /// The legs are given up.
    fn on_leaving_stalled(&mut self, turn: &mut Turn<'_>) {
        for side in Leg::BOTH {
            self.leg_mut(side).state = LegState::Gone;
        }
        if !matches!(self.media, MediaState::Unopened | MediaState::Closed(_)) {
            self.negotiation.give_back(turn.now, turn.ports);
            self.media = MediaState::Closed(None);
        }
        self.close_recording(turn);
        self.recording = Recording::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_the_order_of_time_and_once() {
        let at = Timestamp::from_millis;
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.earliest(), None);
        deadlines.set(Wait::Linger, at(30));
        deadlines.set(Wait::Exchange, at(20));
        deadlines.set(Wait::Leave, at(40));
        assert_eq!(deadlines.earliest(), Some(at(20)));
        assert_eq!(deadlines.take_due(at(10)), None);
        assert_eq!(deadlines.take_due(at(30)), Some(Wait::Exchange));
        assert_eq!(deadlines.take_due(at(30)), Some(Wait::Linger));
        assert_eq!(deadlines.take_due(at(30)), None);
        deadlines.clear(Wait::Leave);
        assert_eq!(deadlines.earliest(), None);
    }
}
