//! A call that rings, whose caller refers somebody to whom it rings for (semi-attended transfer, RFC 5589 §7.6). Replaces of an
//! early dialog is nothing that its callee could obey (RFC 3891 §3), so the transfer waits: for the answer, as its Figure 11
//! has it, and both calls are joined then; or for the caller to give up, and the transferred party is the next to call, as
//! in Figure 12, but only once nothing rings any more.
//!
//! Where the REFER is not ours to execute, the INVITE that it asks for comes by us: it takes the place of the one that rings.

use std::sync::Arc;

use super::referral::Errand;
use crate::b2bua::call::Call;
use crate::b2bua::crossing::{DialogName, carry, replaces};
use crate::b2bua::dialog::LegState;
use crate::b2bua::ending::Farewell;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Leg, SessionId};
use crate::sip::Headers;
use crate::trunk::Destination;

const REPLACES: &str = "Replaces";
/// What the phone hears that stops ringing for one caller and rings for another (RFC 3326).
const REPLACED: &str = "SIP;cause=487;text=\"Replaced\"";

/// Whether a transfer waits for this call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Awaited {
    #[default]
    No,
    /// Until it is answered, or over.
    By(SessionId),
    /// Its caller has given up: until it is over.
    GivenUpFor(SessionId),
}

/// What became of a call that a transfer waited for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Consulted {
    Answered,
    /// Its caller leaves the rest to who is transferred: where it rang, and whom.
    GivenUp {
        rung: Destination,
        party: String,
    },
    Failed {
        status: u16,
    },
}

impl Call {
    /// Whether its caller may have somebody take this call over once it is answered.
    pub fn rings_for_caller(&self) -> bool {
        let rings = matches!(self.phase, Phase::Inviting | Phase::Answered);
        let waits = matches!(
            self.a.state,
            LegState::Invited { .. } | LegState::AckAwaited { hang_up: None, .. }
        );
        rings && waits
    }

    /// Whether a transfer waits for it already.
    pub fn is_awaited(&self) -> bool {
        self.transfers.awaited != Awaited::No
    }

    /// The call `to` is made once this one is answered or given up.
    pub const fn await_answer(&mut self, to: SessionId) {
        self.transfers.awaited = Awaited::By(to);
    }

    /// The transfer does not wait any longer.
    pub fn forgo_answer(&mut self, to: SessionId) {
        if matches!(self.transfers.awaited, Awaited::By(by) | Awaited::GivenUpFor(by) if by == to) {
            self.transfers.awaited = Awaited::No;
        }
    }

    /// The dialog with A as its caller names it to us, under the tag of who answered.
    pub fn named_by_caller(&self, name: &DialogName) -> Option<DialogName> {
        let dialog = self.a.dialog.as_ref()?;
        Some(name.naming(dialog.call_id(), dialog.local_tag(), dialog.remote_tag()))
    }

    /// Whether a new INVITE for its callee may take its place: nobody has answered, or its caller gave it up a moment ago, as
    /// phones do that refer somebody and hang up at once.
    pub fn may_make_way(&self) -> bool {
        let is_open = matches!(self.a.state, LegState::Invited { .. }) && self.withheld.is_none();
        let rings = self.phase == Phase::Inviting && is_open && matches!(self.b.state, LegState::Inviting { .. });
        (rings || self.transfers.is_abandoned) && !self.is_awaited()
    }

    /// Its caller hung up before anybody answered: it has made way.
    pub const fn is_abandoned(&self) -> bool {
        self.transfers.is_abandoned
    }

    /// Where it rings.
    pub fn rung(&self) -> Destination {
        Destination {
            trunk: Arc::clone(&self.b.trunk),
            flow: self.invited_by,
            target: self.target.clone(),
        }
    }

    /// Nothing more is missing but that another call makes way.
    pub(in crate::b2bua) fn ask_for_way(&mut self, rings: SessionId) {
        self.transfers.errands.push_back(Errand::TakeOver { rings });
    }

    /// Another call rings in its place. False: it was answered or refused meanwhile.
    pub fn make_way(&mut self, turn: &mut Turn<'_>) -> bool {
        let is_made = self.may_make_way();
        if is_made && self.phase != Phase::Ending {
            self.story.status = Some(487);
            let farewell = Farewell::of_reasons(vec![REPLACED.to_owned()]);
            self.finish(turn, "replaced while it rang", &farewell);
            self.settle(turn);
        }
        is_made
    }

    /// The other call has made way, or not.
    pub fn on_way(&mut self, turn: &mut Turn<'_>, is_made: bool) {
        if is_made {
            self.proceed(turn);
        } else if self.phase == Phase::Preparing {
            self.refuse(turn, &Refusal::NoSuchDialog);
        }
        self.settle(turn);
    }

    pub(in crate::b2bua) fn note_answered(&mut self) {
        if let Awaited::By(to) = self.transfers.awaited {
            self.transfers.awaited = Awaited::No;
            let how = Consulted::Answered;
            self.transfers.errands.push_back(Errand::Consulted { to, how });
        }
    }

    /// A hangs up while it rings.
    pub(in crate::b2bua) const fn note_given_up(&mut self, by: Leg) {
        self.transfers.is_abandoned = matches!(by, Leg::A);
        if let (Awaited::By(to), Leg::A) = (self.transfers.awaited, by) {
            self.transfers.awaited = Awaited::GivenUpFor(to);
        }
    }

    /// Both legs are gone: nothing rings any more.
    pub(in crate::b2bua) fn note_over(&mut self) {
        let (to, how) = match std::mem::take(&mut self.transfers.awaited) {
            Awaited::No => return,
            Awaited::GivenUpFor(to) => {
                let (rung, party) = (self.rung(), self.party(Leg::B));
                (to, Consulted::GivenUp { rung, party })
            }
            Awaited::By(to) => {
                let status = self.story.status.filter(|status| *status >= 300).unwrap_or(487);
                (to, Consulted::Failed { status })
            }
        };
        self.transfers.errands.push_back(Errand::Consulted { to, how });
    }
}

/// An INVITE that takes the place of one that rings is one like any other for who is called: it replaces nothing there.
pub fn replace_nothing(headers: &mut Headers) {
    headers.remove(REPLACES);
    let option = replaces::option_of(REPLACES);
    let others: Vec<String> = carry::options(headers, "Require")
        .filter(|other| option.is_none_or(|option| !other.eq_ignore_ascii_case(option)))
        .map(str::to_owned)
        .collect();
    headers.remove("Require");
    for other in others {
        headers.push("Require", other);
    }
}
