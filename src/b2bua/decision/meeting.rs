//! A party that is a conference focus (RFC 4579 §5.1): the other hears so by our Contact, and the policies by the call, which
//! is a meeting from then on.

use std::sync::Arc;

use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::{Headers, NameAddr};

/// What the Contact of a focus has, and ours in its place.
pub const FOCUS: &str = ";isfocus";

impl Call {
    /// What a party's Contact says of it; a message without one says nothing.
    pub(in crate::b2bua) fn note_focus(&mut self, side: Leg, headers: &Headers) {
        if headers.contains("Contact") {
            self.leg_mut(side.other()).fronts_focus = is_focus(headers);
        }
    }

    /// The same inside a call that talks: what the policies want of meetings holds from now on. Refused is what they want
    /// recorded and what cannot be; nothing is noted then.
    pub(in crate::b2bua) fn admit_focus(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        headers: &Headers,
    ) -> Result<(), Refusal> {
        let joins = !self.meeting && is_focus(headers);
        if joins {
            let former = self.as_it_is();
            let (before, decision) = (self.strictness(), Arc::clone(&self.decision));
            self.meeting = true;
            if self.phase == Phase::Confirmed {
                Arc::make_mut(&mut self.decision).bind_meeting();
            }
            let is_stricter = self.strictness() != before;
            let missing = self.missing_for(turn, &self.decision).filter(|_| is_stricter);
            let unheard = self.unheard_for(&self.decision).filter(|_| is_stricter);
            if missing.is_some() || unheard.is_some() {
                self.meeting = false;
                self.decision = decision;
                let refusal = missing.map(|fault| self.recorder_down(turn, fault));
                return Err(refusal.or(unheard).unwrap_or(Refusal::MediaSealed));
            }
            self.demand_hearing();
            if is_stricter {
                self.bind_meeting(turn);
                self.keep_former(former);
            }
        }
        self.note_focus(side, headers);
        if joins && self.phase == Phase::Confirmed {
            self.kept = Kept::Stale;
        }
        Ok(())
    }

    fn strictness(&self) -> (bool, bool) {
        let decision = &self.decision;
        (
            decision.is_strict_before(self.meeting),
            decision.is_strict_during(self.meeting),
        )
    }

    fn bind_meeting(&mut self, turn: &mut Turn<'_>) {
        self.supersede_decision(turn.now);
        let strictness = self.strictness();
        let header = Arc::make_mut(&mut self.header);
        (header.strict_before, header.strict_during) = strictness;
        self.is_amended |= self.chronicle.is_kept();
        let decided = self.decided();
        self.chronicle.decided(turn.now, decided, turn.out);
        self.record_newcomer(turn);
    }
}

/// Whether the sender of a message is a conference focus.
pub fn is_focus(headers: &Headers) -> bool {
    let mut contacts = headers.get_all("Contact");
    contacts.any(|contact| NameAddr::parse(contact).is_ok_and(|contact| contact.param("isfocus").is_some()))
}
