//! B's INVITE tried again inside one call: at the next destination (RFC 3263 §4.3), at the party that a 3xx names (RFC 3261
//! §8.1.3.4). One call, one recording: it keeps the signalling of every attempt.
//!
//! 401, 407 and 422 are answered in the same leg, with the next CSeq; another destination or party is asked in a new one,
//! under a Call-ID and a tag of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use super::followed::Followed;
use super::redirect::{self, Rerouted};
use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::decision::{Kin, Opening, facts};
use crate::b2bua::dialog::{CallLeg, LegState, Owner};
use crate::b2bua::ending::{Aftermath, Farewell};
use crate::b2bua::output::StepKind;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::{MediaState, Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Direction, Leg, Mark, Timestamp};
use crate::policy::{Admission, RecorderState, Verdict};
use crate::sip::transaction::ClientId;
use crate::sip::{Flow, Response, Uri};
use crate::trunk::{Destination, Place, Redirect};

/// Contacts of 3xx that one call follows, all together.
const REDIRECTS_MAX: usize = 5;
/// Addresses that one call asks, all together; it is refused with the last answer then.
const DESTINATIONS_MAX: usize = 16;

/// Why who is let go is not waited for (RFC 3326).
const NO_ANSWER: &str = "SIP;cause=408;text=\"No answer\"";

/// What a search for somebody else to ask uses up.
struct Untried {
    destinations: VecDeque<Destination>,
    contacts: VecDeque<Followed>,
    followed: usize,
    party: Option<Followed>,
    brought: Vec<(String, String)>,
}

/// What was tried and what is left to try.
#[derive(Debug, Default)]
pub struct Attempts {
    /// Other addresses of the party that is asked now, best first.
    pub(super) destinations: VecDeque<Destination>,
    /// Other parties, best first.
    contacts: VecDeque<Followed>,
    followed: usize,
    /// Whom was asked, and where.
    asked: Vec<(Uri, Place)>,
    /// The party of the newest Contact that is followed.
    pub(super) party: Option<Followed>,
    /// Header lines that the Contact brings.
    pub(super) brought: Vec<(String, String)>,
    /// Who has sent the call on or declined it.
    pub(super) rerouting: Vec<Rerouted>,
    /// When who is asked now was heard last, or else asked.
    pub(in crate::b2bua) heard: Option<Timestamp>,
    /// Until when anybody is waited for at all.
    pub(in crate::b2bua) until: Option<Timestamp>,
    /// INVITEs that were given up for others: each may still be answered.
    left_behind: Vec<(ClientId, Aftermath)>,
    /// The trunk that is asked now has had an INVITE.
    pub(in crate::b2bua) is_heard: bool,
    /// The 422 of the destination that is asked now was answered.
    pub(super) lengthened: bool,
    /// It is asked by a second connection.
    redialled: bool,
    /// What others know of the call, for the policies.
    pub(in crate::b2bua) kin: Kin,
    /// That we minted for B, the newest last; the first `told` are known outside.
    call_ids: Vec<String>,
    told: usize,
}

impl Attempts {
    /// `first`: where the call goes at first, which may be among the destinations.
    pub(in crate::b2bua) fn new(first: &CallLeg, target: &Uri, destinations: Vec<Destination>) -> Self {
        Self {
            destinations: destinations.into(),
            asked: vec![(target.clone(), place(first.flow))],
            call_ids: vec![first.call_id.clone()],
            ..Self::default()
        }
    }

    fn untried(&self) -> Untried {
        Untried {
            destinations: self.destinations.clone(),
            contacts: self.contacts.clone(),
            followed: self.followed,
            party: self.party.clone(),
            brought: self.brought.clone(),
        }
    }

    /// The search has found nobody.
    fn restore(&mut self, untried: Untried) {
        self.destinations = untried.destinations;
        self.contacts = untried.contacts;
        self.followed = untried.followed;
        self.party = untried.party;
        self.brought = untried.brought;
    }

    fn is_asked(&self, destination: &Destination) -> bool {
        let (target, at) = (&destination.target, place(destination.flow));
        self.asked
            .iter()
            .any(|(uri, asked)| *asked == at && uri.is_equivalent(target))
    }
}

/// A server that is asked by TCP in vain may answer by UDP.
const fn place(flow: Flow) -> Place {
    (flow.transport, flow.remote)
}

impl Call {
    /// Whether one of these was asked for B.
    pub fn has_asked(&self, destinations: &[Destination]) -> bool {
        destinations
            .iter()
            .any(|destination| self.attempts.is_asked(destination))
    }

    /// The Call-IDs that we made for leg B: an INVITE that bears one has been here before.
    pub fn minted_call_ids(&self) -> impl Iterator<Item = &str> {
        self.attempts.call_ids.iter().map(String::as_str)
    }

    /// Whether that is of an INVITE to this side that another has taken the place of.
    pub fn has_given_up(&self, side: Leg, call_id: &str) -> bool {
        let mut minted = self.minted_call_ids();
        side == Leg::B && self.b.call_id != call_id && minted.any(|minted| minted == call_id)
    }

    /// A Call-ID that we made and did not tell before.
    pub fn poll_call_id(&mut self) -> Option<String> {
        let call_id = self.attempts.call_ids.get(self.attempts.told).cloned();
        self.attempts.told += usize::from(call_id.is_some());
        call_id
    }

    /// B's INVITE was declined, or came to nothing (None): asks elsewhere, if that may help. False: it is over.
    pub(super) fn ask_elsewhere(&mut self, turn: &mut Turn<'_>, response: Option<&Response>) -> bool {
        let LegState::Inviting { client, .. } = self.b.state else {
            return false;
        };
        let Some(elsewhere) = self.elsewhere(turn, response) else {
            return false;
        };
        turn.wire.disown_client(client);
        self.ask(turn, elsewhere);
        true
    }

    /// The connection broke before anything was heard of the INVITE. One that had been of use may have been dead for long, and
    /// where it led be well: it is asked there once more, by a new one. False: another connection is no help.
    pub(super) fn ask_there_again(&mut self, turn: &mut Turn<'_>, broken: Flow) -> bool {
        let LegState::Inviting {
            client,
            provisional: false,
            cancel: None,
        } = self.b.state
        else {
            return false;
        };
        if !self.is_awaited_by_a() || self.attempts.redialled || !turn.wire.has_served(broken) {
            return false;
        }
        turn.wire.disown_client(client);
        let there = Destination {
            trunk: Arc::clone(&self.b.trunk),
            flow: self.b.flow,
            target: self.target.clone(),
        };
        self.ask(turn, (there, false));
        self.attempts.redialled = true;
        true
    }

    fn is_awaited_by_a(&self) -> bool {
        self.phase == Phase::Inviting && matches!(self.a.state, LegState::Invited { .. } | LegState::Expected)
    }

    /// B has neither answered nor declined: it is let go, and another is asked. False: nobody is left to ask, or B may not be
    /// let go before it has said anything (RFC 3261 §9.1).
    pub(in crate::b2bua) fn ask_another(&mut self, turn: &mut Turn<'_>) -> bool {
        if !matches!(self.b.state, LegState::Inviting { provisional: true, .. }) {
            return false;
        }
        let untried = self.attempts.untried();
        let Some(elsewhere) = self.elsewhere(turn, None) else {
            // Who is asked now is waited for, and what was left to try may have room by then.
            self.attempts.restore(untried);
            return false;
        };
        let farewell = Farewell::of_reasons(vec![NO_ANSWER.to_owned()]);
        self.hang_up(turn, Leg::B, &farewell, &Refusal::NoAnswer);
        let left_behind = self.leave_behind(turn);
        self.attempts.left_behind.extend(left_behind);
        self.ask(turn, elsewhere);
        true
    }

    /// An INVITE of before that may still be answered.
    pub fn poll_left_behind(&mut self) -> Option<(ClientId, Aftermath)> {
        self.attempts.left_behind.pop()
    }

    /// Where else to ask, if that may help, and whether a 3xx has led there.
    fn elsewhere(&mut self, turn: &mut Turn<'_>, response: Option<&Response>) -> Option<(Destination, bool)> {
        let is_awaited = matches!(self.b.state, LegState::Inviting { cancel: None, .. });
        // 6xx: nobody else will take it either (RFC 3261 §21.6).
        if !self.is_awaited_by_a() || !is_awaited || response.is_some_and(|response| response.status >= 600) {
            return None;
        }
        if let Some(response) = response {
            self.take_answer(turn, response);
        }
        let party = self.attempts.party.as_ref().map(|party| party.contact.clone());
        let followed = self.attempts.followed;
        let destination = self.next_destination(turn)?;
        let is_redirected = self.attempts.followed > followed;
        if is_redirected {
            let status = response.map_or(408, |response| response.status);
            let note = format!("sent on with {status} by {}", self.target);
            self.chronicle.mark(turn.now, Mark::Note(note), turn.out);
            let target = self.target.clone();
            self.attempts.rerouting.push(Rerouted { party, target, status });
        }
        Some((destination, is_redirected))
    }

    /// What an answer leaves to try.
    fn take_answer(&mut self, turn: &Turn<'_>, response: &Response) {
        let conduct = &self.b.trunk.conduct;
        if !conduct.failover.is_after(response.status) {
            // The party has spoken: its other addresses would say the same.
            self.attempts.destinations.clear();
        }
        // Whose REFER we execute would have followed it: it got none of this INVITE's answers.
        if conduct.redirect == Redirect::Follow || self.transfers.is_successor {
            let contacts = redirect::contacts(response).into_iter();
            let contacts: Vec<Followed> = contacts.filter_map(|contact| self.follows(turn, contact)).collect();
            self.attempts.contacts.extend(contacts);
            self.attempts.contacts.truncate(REDIRECTS_MAX);
        }
    }

    /// Where nobody was asked yet: the party's next address, else the next party's. An emergency needs no room.
    fn next_destination(&mut self, turn: &mut Turn<'_>) -> Option<Destination> {
        while self.attempts.asked.len() < DESTINATIONS_MAX {
            let is_urgent =
                self.decision.emergency || self.attempts.party.as_ref().is_some_and(|party| party.is_urgent);
            while let Some(destination) = self.attempts.destinations.pop_front() {
                let may_go = is_urgent || turn.has_room(self.id, &destination.trunk);
                if may_go && !self.attempts.is_asked(&destination) {
                    let asked = (destination.target.clone(), place(destination.flow));
                    self.attempts.asked.push(asked);
                    return Some(destination);
                }
            }
            if self.attempts.followed >= REDIRECTS_MAX {
                return None;
            }
            let mut party = self.attempts.contacts.pop_front()?;
            self.attempts.followed += 1;
            self.attempts.brought = redirect::brought(&party.contact);
            party.contact = party.contact.without_headers();
            self.attempts.destinations = self.destinations_of(turn, &mut party);
            self.attempts.party = Some(party);
        }
        None
    }

    /// Leg B begins anew.
    fn ask(&mut self, turn: &mut Turn<'_>, (destination, is_redirected): (Destination, bool)) {
        self.close_exchange(turn);
        self.start_over(turn);
        turn.wire.forget_proofs(Owner::Call(self.id, Leg::B));
        let is_other_trunk = destination.trunk.name != self.b.trunk.name;
        self.attempts.is_heard &= !is_other_trunk;
        self.target = destination.target;
        self.attempts.lengthened = false;
        self.attempts.redialled = false;
        self.b = CallLeg {
            side: Leg::B,
            trunk: destination.trunk,
            flow: destination.flow,
            call_id: turn.wire.mint().call_id(),
            local_tag: turn.wire.mint().tag(),
            dialog: None,
            state: LegState::Idle,
            invite: None,
            ack: None,
            fronts_focus: self.b.fronts_focus,
            tells_src: false,
        };
        self.tags.push((self.b.local_tag.clone(), Leg::B));
        self.attempts.call_ids.push(self.b.call_id.clone());
        Arc::make_mut(&mut self.header).call_ids.push(self.b.call_id.clone());
        self.deadlines.clear(Wait::Answer);
        self.enter(turn, Phase::Preparing);
        if (is_redirected || is_other_trunk)
            && let Err(refusal) = self.decide_again(turn)
        {
            self.refuse(turn, &refusal);
            return;
        }
        if let Err(refusal) = self.offer_anew(turn) {
            self.refuse(turn, &refusal);
            return;
        }
        self.proceed(turn);
    }

    /// The offer of A's INVITE with what the new B's trunk allows, and with an address of ours that faces it: of its family.
    /// It is asked once our ports are bound there.
    fn offer_anew(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let moves = self.negotiation.begin_anew(&self.b);
        self.permit_codecs();
        if let Some(received) = self.a.invite.clone() {
            self.take_first_offer(turn, &received)?;
        }
        self.renew_media(turn);
        if moves && self.media == MediaState::Open {
            self.media = MediaState::Moving;
        }
        Ok(())
    }

    /// Another party, another decision. What was recorded before stays in the one recording; a party that nobody records
    /// adds no media to it.
    fn decide_again(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let Some(received) = self.a.invite.clone() else {
            return Ok(());
        };
        let Some(mut facts) = self.facts_of_invite(turn) else {
            return Ok(());
        };
        facts.emergency_sent_on |= self.decision.emergency;
        let decision = turn.decide_by(facts);
        let opening = Opening {
            session: self.id,
            node: &turn.terms.node,
            now: self.header.started,
            b_call_id: &self.b.call_id,
            from: &self.a.trunk,
            to: &self.b.trunk,
            meeting: self.meeting,
            conversation: self.header.conversation,
        };
        let mut header = facts::header(&opening, &received, &decision);
        if self.attempts.party.is_some() {
            // The name in To is that of the party who was called at first.
            header.callee.display_name = None;
        }
        header.call_ids.clone_from(&self.header.call_ids);
        self.supersede_decision(turn.now);
        self.header = Arc::new(header);
        self.decision = Arc::new(decision);
        self.hold_dissents(self.attempts.party.is_some());
        let decided = self.decided();
        self.is_amended |= self.chronicle.is_kept();
        self.chronicle.decided(turn.now, decided, turn.out);
        crate::b2bua::reject::of_verdict(&self.decision)?;
        if self.is_dissented() {
            return Err(Refusal::Unconsented);
        }
        let goes_on = matches!(self.recording, Recording::Opening | Recording::Ready);
        if let (Admission::Refuse, RecorderState::Down(fault), false) = (
            self.decision.admission(turn.recorder, self.meeting),
            turn.recorder,
            goes_on,
        ) {
            return Err(self.recorder_down(turn, fault));
        }
        if self.decision.verdict != Verdict::Record {
            return Ok(());
        }
        match self.recording {
            // A recording that could not be opened for the party before may be had now.
            Recording::NotWanted | Recording::Unavailable(_) => self.record_from_here(turn),
            Recording::Broken(fault) if self.ends_without_recorder() => return Err(self.recorder_down(turn, fault)),
            _ => {}
        }
        Ok(())
    }

    /// A recording begins in the middle of a call, with A's INVITE.
    pub(in crate::b2bua) fn record_from_here(&mut self, turn: &mut Turn<'_>) {
        self.open_recording(turn);
        if self.recording != Recording::Opening {
            return;
        }
        if let Some(received) = &self.a.invite {
            let invite = received.encode();
            self.chronicle
                .signal(turn.now, Leg::A, Direction::Received, self.a.flow, &invite, turn.out);
        }
        self.chronicle.step(turn.now, StepKind::RecordingAsked, turn.out);
    }
}
