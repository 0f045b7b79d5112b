//! A talking call is written down whenever it changes, and let go without a word when the process ends: the next start goes
//! on with it ([`super::written`]).
//!
//! What is written is what holds: a change that is asked for, and not answered, changes nothing yet. So it is written at once,
//! whatever is under way: a pause, an answer about the recording, a party's new name binds the next process too, if this one is
//! killed.

use super::written::{Continuation, Kept};
use crate::b2bua::call::Call;
use crate::b2bua::dialog::LegState;
use crate::b2bua::ending::Farewell;
use crate::b2bua::modification::Stage;
use crate::b2bua::output::{Memory, Output};
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::transaction::ServerId;
use crate::sip::{Request, Response};

impl Call {
    /// Writes down what has changed.
    pub(in crate::b2bua) fn remember(&mut self, turn: &mut Turn<'_>) {
        if self.kept != Kept::Stale || self.phase != Phase::Confirmed {
            return;
        }
        if self.outgrown {
            if !self.fits() {
                self.kept = Kept::Nowhere;
                self.publish_standing(turn);
                return;
            }
            self.outgrown = false;
        }
        if let Some(kept) = self.write_down_state(turn) {
            self.kept = kept;
            // Who is there, and what was decided of them, may have changed too.
            self.publish_standing(turn);
        }
    }

    /// Readers hear whether a call that talks goes on at the next start, and has nothing in the balance, whenever that changes.
    pub(in crate::b2bua) fn tell_standing(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::Confirmed && self.told_standing != self.standing() {
            self.publish_standing(turn);
        }
    }

    fn publish_standing(&mut self, turn: &mut Turn<'_>) {
        self.told_standing = self.standing();
        self.publish(turn);
    }

    fn standing(&self) -> [bool; 2] {
        [self.survives(), self.is_unsettled()]
    }

    fn write_down_state(&self, turn: &mut Turn<'_>) -> Option<Kept> {
        let state = self.writable()?;
        let kept = if state.is_to_end() { Kept::ToEnd } else { Kept::Written };
        turn.out.push_back(Output::Remember {
            session: self.id,
            state: Memory::Talks(Box::new(state)),
        });
        Some(kept)
    }

    /// The driver has not kept what it was told last. The next event of the call tells it again; of what is too long, one that
    /// makes it shorter.
    pub fn note_not_kept(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.kept, Kept::Written | Kept::ToEnd) {
            return;
        }
        self.outgrown = !self.fits();
        if self.outgrown {
            self.forget(turn);
        } else {
            self.kept = Kept::Stale;
        }
        self.tell_standing(turn);
    }

    /// What is written down is not all any more, if it was.
    pub(in crate::b2bua) fn note_changed(&mut self) {
        if matches!(self.kept, Kept::Written | Kept::ToEnd) {
            self.kept = Kept::Stale;
        }
    }

    /// The call ends: there is nothing to go on with.
    pub(in crate::b2bua) fn forget(&mut self, turn: &mut Turn<'_>) {
        if self.kept != Kept::Nowhere {
            self.kept = Kept::Nowhere;
            turn.out.push_back(Output::Forget { session: self.id });
        }
    }

    /// Ends what the next start cannot take over. What is in the balance may come to rest until the others are let go, and who
    /// waits for help may be answered.
    pub fn part_before_hand_over(&mut self, turn: &mut Turn<'_>) {
        if self.is_emergency() && self.is_half_open() {
            return;
        }
        // A transfer does not survive: the old call does, if both its parties are there.
        if !self.is_parted() && !self.is_reseating() {
            self.close_transfer(turn, 503);
        }
        let is_kept = match self.kept {
            // While the connections are there by which its peers hear of it.
            Kept::Nowhere | Kept::LetGo { .. } | Kept::ToEnd => false,
            Kept::Stale => !self.is_at_rest(),
            Kept::Written => true,
        };
        if self.phase != Phase::Confirmed || !is_kept || self.is_parted() {
            self.shut_down(turn);
        }
    }

    /// Lets go of the call without a word to its peers, if it is written down: the next start takes it over.
    pub fn hand_over(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Confirmed || !self.survives() || !self.fits() {
            return;
        }
        if self.is_told_beyond() {
            // What was written before holds too: the next process would only know less of what it may hear.
            self.write_down_state(turn);
        }
        self.close_transfer(turn, 503);
        self.give_up_change(turn);
        // What ends here is the recording, not the call: its state stays where it is written.
        self.kept = Kept::Nowhere;
        for side in Leg::BOTH {
            self.leg_mut(side).state = LegState::Gone;
        }
        self.end(turn, "restart of the proxy".to_owned());
        self.kept = Kept::LetGo { hung_up: None };
        self.settle(turn);
    }

    pub const fn is_let_go(&self) -> bool {
        matches!(self.kept, Kept::LetGo { .. })
    }

    /// A party hangs up that will say so again, to the next process.
    pub fn note_hung_up(&mut self, side: Leg) {
        if let Kept::LetGo { hung_up } = &mut self.kept {
            *hung_up = Some(side);
        }
    }

    /// A party hangs up whom nobody hears here any more, and the next process would not either.
    pub fn on_bye_after_hand_over(&mut self, turn: &mut Turn<'_>, side: Leg, server: ServerId, bye: &Request) {
        let has_hung_up = self.kept
            == Kept::LetGo {
                hung_up: Some(side.other()),
            };
        turn.respond(self.line(side), server, Response::to(bye, 200, None, None));
        self.forget(turn);
        let farewell = Farewell::of(&self.crossing(side), bye);
        if !has_hung_up {
            let (session, chronicle) = (self.id, self.chronicle);
            self.leg_mut(side.other()).bye(turn, session, &chronicle, &farewell);
        }
        self.settle(turn);
    }

    /// Who asked for a change that the far end has not answered, or that waits here, may ask the next process.
    fn give_up_change(&mut self, turn: &mut Turn<'_>) {
        if self.awaits_far_end() {
            self.give_up_exchange(turn, &Refusal::Glare);
        } else if matches!(&self.exchange, Some(exchange) if matches!(exchange.stage, Stage::Accepted(_))) {
            self.give_back_accepted(turn, &Refusal::Glare);
        }
        self.give_up_refreshes(turn);
    }

    /// As far as signalling knows, the next start can take it over.
    pub(in crate::b2bua) fn survives(&self) -> bool {
        let is_whole = !self.is_parted() && !self.is_parting();
        self.kept == Kept::Written && self.phase == Phase::Confirmed && is_whole
    }

    /// No re-INVITE or UPDATE is in flight, the peers' or ours, and no party is on its way to another call.
    fn is_at_rest(&self) -> bool {
        self.exchange.is_none() && !self.is_reinviting() && self.transfers.referring.is_none() && !self.is_parting()
    }

    /// A peer owes a word without which the next process has more to do: a hand-over waits for it a moment.
    pub(in crate::b2bua) fn is_unsettled(&self) -> bool {
        let is_owed = |stage: &Stage| matches!(stage, Stage::Accepted(_) | Stage::AckAwaited { .. });
        let owes = self.exchange.as_ref().is_some_and(|exchange| is_owed(&exchange.stage));
        self.phase == Phase::Confirmed && (owes || self.is_reseating() || self.is_parting())
    }

    /// No peer is waited for any longer: what is left is to close the recording.
    pub fn abandon_peers(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Ending {
            return;
        }
        for side in Leg::BOTH {
            self.leg_mut(side).state = LegState::Gone;
        }
        self.settle(turn);
    }

    /// Whether the driver can keep the call as it is: it may have had no time yet to say that it has not.
    fn fits(&self) -> bool {
        self.writable().is_some_and(|state| state.fits())
    }

    /// What is too long costs a call what was written of it before. So what is under way, and passes, is written only if there is
    /// room for it.
    fn writable(&self) -> Option<Continuation> {
        let is_under_way = self.awaits_ack() || self.is_told_beyond();
        self.continuation().filter(|state| !is_under_way || state.fits())
    }

    /// Its legs are not gone yet.
    pub fn is_leaving(&self) -> bool {
        !(self.a.is_over() && self.b.is_over())
    }
}
