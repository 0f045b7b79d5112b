//! A REFER that we execute (RFC 3515, RFC 5589): the party that stays goes over to another call, whose callee is whom the
//! REFER names. This is the old call: it goes on, recorded, until the party that stays has accepted its new far end; then
//! it ends, and its sender hears how it went.
//!
//! The new call is one like any other, in the same conversation: [`super::successor`]. The two know each other by errands,
//! which their owner carries.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::consultation::{Awaited, Consulted};
use super::notice::Notices;
use super::refer::Referral;
use super::seat::Seat;
use crate::b2bua::awareness::Carried;
use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::crossing::carry;
use crate::b2bua::decision::Newcomer;
use crate::b2bua::dialog::{CallLeg, LegState};
use crate::b2bua::ending::Farewell;
use crate::b2bua::identity::Claims;
use crate::b2bua::invite::redirect;
use crate::b2bua::modification::Upkeep;
use crate::b2bua::reject::Refusal;
use crate::b2bua::session::Aware;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Leg, Mark, SessionId};
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Headers, Message, Method, NameAddr, Request, Uri};
use crate::trunk::Refer;

/// Executed transfers that lead to one call, one after the other: parties that refer each other in a circle end here.
pub const TRANSFERS_MAX: u8 = 8;
/// Executed REFERs of one call: each makes a call, and a recording of it.
pub const REFERS_MAX: u32 = 16;

/// What a call has to tell the other calls of a transfer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Errand {
    /// The new call: its callee is a party of another call, which shall get this offer.
    OfferCallee { offer: Bytes },
    /// The new call: its callee has accepted. The party that stays shall get this offer.
    OfferCaller { offer: Bytes },
    /// The new call came to nothing.
    Declined { status: u16 },
    /// An old call: the party that stays has accepted.
    Seated { to: SessionId, answer: Bytes },
    /// An old call: it has not, or is gone.
    Lost { to: SessionId, status: u16 },
    /// A call that a transfer waited for: the transfer goes on, or is over.
    Consulted { to: SessionId, how: Consulted },
    /// A call that rings shall make way for this one.
    TakeOver { rings: SessionId },
}

/// The part of an old call in a transfer.
#[derive(Debug)]
pub(in crate::b2bua) struct Referring {
    /// Who goes over.
    pub(in crate::b2bua) stays: Leg,
    /// To which call.
    pub(in crate::b2bua) to: SessionId,
    pub(super) seat: Seat,
    /// Who it turned out to be when it accepted.
    pub(in crate::b2bua) newcomer: Option<Newcomer>,
    /// It is somebody else, who has answered nothing.
    is_another: bool,
    /// The other call came to nothing while a re-INVITE is in flight.
    pub(super) is_given_up: bool,
}

/// What a call has to do with executed transfers.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Transfers {
    pub(in crate::b2bua) referring: Option<Box<Referring>>,
    pub(in crate::b2bua) notices: Option<Notices>,
    pub(super) errands: VecDeque<Errand>,
    /// Another call's transfer waits for this one.
    pub(super) awaited: Awaited,
    /// Its caller hung up before anybody answered.
    pub(super) is_abandoned: bool,
    /// It is the new call of a transfer, and does not talk yet.
    pub(in crate::b2bua) is_successor: bool,
    /// Executed transfers that led here.
    pub(in crate::b2bua) before: u8,
    /// REFERs that were executed here.
    refers: u32,
    /// Re-INVITEs that were given up and have no final answer yet, to A, to B: no other may follow (RFC 3261 §14.1).
    pub(in crate::b2bua) given_up: [Option<ClientId>; 2],
}

/// A party on its way from one call to another.
#[derive(Debug)]
pub struct Mover {
    pub(super) leg: CallLeg,
    pub(super) upkeep: Upkeep,
    pub(super) from_change: bool,
    pub(super) aware: Aware,
    pub(super) claims: Claims,
    /// m-lines that its dialog has seen.
    pub(super) lines: usize,
    /// The newest re-INVITE that it got: its 2xx may come again.
    pub(in crate::b2bua) exchange: Option<ClientId>,
    pub(super) carried: Carried,
}

/// What the new call begins with, of the party that stays.
#[derive(Debug)]
pub struct Staying {
    /// As the party calls itself and is reached.
    pub leg: CallLeg,
    /// The INVITE that it would have sent for this URI.
    pub invite: Request,
    /// What it was told last.
    pub told: Option<Bytes>,
    /// Transfers that led here, with this one.
    pub transfers: u8,
}

impl Call {
    /// Whether a REFER of this party is ours to execute. One to a conference focus asks it to bring somebody in (RFC 4579
    /// §5.5): nobody is transferred.
    pub fn executes_refer(&self, side: Leg) -> bool {
        let leg = self.leg(side);
        leg.trunk.conduct.refer == Refer::Execute && !leg.fronts_focus
    }

    /// Whether its party at `stays` may go over to another call now.
    pub fn may_refer(&self, stays: Leg) -> Result<(), Refusal> {
        let is_up = self.a.state == LegState::Up && self.b.state == LegState::Up;
        if self.phase == Phase::Ending {
            return Err(Refusal::NoSuchDialog);
        }
        if self.phase != Phase::Confirmed || !is_up || self.transfers.referring.is_some() {
            return Err(Refusal::Glare);
        }
        if self.transfers.before >= TRANSFERS_MAX || self.transfers.refers >= REFERS_MAX {
            return Err(Refusal::TooManyTransfers);
        }
        let offer = self.negotiation.reoffer(stays, 0);
        offer.map(|_| ()).ok_or(Refusal::MediaNotAcceptable)
    }

    /// The party that stays, and its INVITE for `target`, with an offer for who knows `lines` m-lines of ours already.
    pub fn staying(&self, stays: Leg, refer: &Request, target: &Uri, lines: usize) -> Option<Staying> {
        let dialog = self.leg(stays).dialog.as_ref()?;
        let to = NameAddr::new(target.without_headers());
        let mut invite = Request::new(
            Method::Invite,
            target.without_headers(),
            dialog.remote().clone(),
            to,
            dialog.call_id(),
            1,
        );
        let hops = refer.headers.max_forwards().unwrap_or(70);
        invite.headers.set("Max-Forwards", hops.to_string());
        invite.headers.push("Contact", format!("<{}>", dialog.remote_target()));
        for referred_by in refer.headers.get_all("Referred-By").take(1) {
            invite.headers.push("Referred-By", referred_by);
        }
        for (name, value) in redirect::brought(target) {
            invite.headers.push(name, value);
        }
        self.claims[stays.index()].write(&mut invite.headers);
        invite.set_body("application/sdp", self.negotiation.reoffer(stays, lines)?);
        Some(Staying {
            leg: self.seat_of(stays, Leg::A),
            invite,
            told: self.told(stays),
            transfers: self.transfers.before + 1,
        })
    }

    /// What the party at `stays` was told last.
    pub fn told(&self, stays: Leg) -> Option<Bytes> {
        self.negotiation.last_to(stays)
    }

    /// The place in a new call, as its leg `side`, of the party that stays.
    pub fn seat_of(&self, stays: Leg, side: Leg) -> CallLeg {
        let leg = self.leg(stays);
        CallLeg {
            side,
            trunk: Arc::clone(&leg.trunk),
            flow: leg.flow,
            call_id: leg.call_id.clone(),
            local_tag: String::new(),
            dialog: None,
            state: LegState::Expected,
            invite: None,
            ack: None,
            fronts_focus: false,
            tells_src: false,
        }
    }

    /// Whether the party that stays has accepted its new far end, and can go over to that call.
    pub fn is_seated(&self, to: SessionId) -> bool {
        let is_new = |referring: &Referring| {
            let is_accepted = matches!(referring.seat, Seat::New(_)) && referring.to == to;
            is_accepted && !referring.is_given_up && self.leg(referring.stays).state == LegState::Up
        };
        self.transfers.referring.as_deref().is_some_and(is_new)
    }

    /// m-lines that the dialog of a leg has seen.
    pub const fn lines(&self) -> usize {
        self.negotiation.lines()
    }

    /// A REFER that is ours to execute: refused once, or accepted, and its sender hears how it goes on.
    pub fn on_refer_to_execute(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        flow: Flow,
        (server, request): (ServerId, &Request),
        (referral, to): (Result<&Referral, Refusal>, SessionId),
    ) -> bool {
        let admitted = self.take_request(side, flow, request);
        let admitted = admitted.and_then(|()| self.may_refer(side.other())).and(referral);
        // Its NOTIFYs would overtake the last of the REFER before.
        let admitted = admitted.and_then(|referral| {
            if self.is_telling() {
                Err(Refusal::Glare)
            } else {
                Ok(referral)
            }
        });
        let admitted = admitted.and_then(|referral| self.admit_execution(turn, side, request, referral));
        let is_accepted = admitted.is_ok();
        match admitted {
            Ok(()) => self.accept_refer(turn, side, (server, request), to),
            Err(refusal) => self.refuse_request(turn, side, server, request, &refusal),
        }
        self.settle(turn);
        is_accepted
    }

    fn admit_execution(
        &self,
        turn: &mut Turn<'_>,
        side: Leg,
        request: &Request,
        referral: &Referral,
    ) -> Result<(), Refusal> {
        let options = carry::unsupported(&request.headers);
        if !options.is_empty() {
            return Err(Refusal::BadExtension { options });
        }
        self.admit_transfer(turn, side, referral)
    }

    fn accept_refer(&mut self, turn: &mut Turn<'_>, side: Leg, (server, request): (ServerId, &Request), to: SessionId) {
        if let Some(dialog) = &mut self.leg_mut(side).dialog {
            dialog.target_refresh(&Message::Request(request.clone()));
        }
        let is_silent = wants_silence(&request.headers);
        let mut response = self.leg(side).dialog_response(request, 202, None);
        if is_silent {
            response.headers.push("Refer-Sub", "false");
        }
        turn.respond(self.line(side), server, response);
        self.begin_referring(side.other(), to);
        let id = (self.transfers.refers > 0).then(|| request.headers.cseq().number);
        self.transfers.refers = self.transfers.refers.saturating_add(1);
        self.transfers.notices = (!is_silent).then(|| Notices::new(side, id));
        let refer_to = request.headers.get("Refer-To").unwrap_or_default();
        let note = format!("{side} refers {} to {refer_to}", side.other());
        self.chronicle.mark(turn.now, Mark::Note(note), turn.out);
        self.notify(turn, 100);
    }

    /// The other party of this call goes over to that one, by a REFER in a third call.
    pub fn begin_referring(&mut self, stays: Leg, to: SessionId) {
        self.transfers.referring = Some(Box::new(Referring {
            stays,
            to,
            seat: Seat::Old,
            newcomer: None,
            is_another: false,
            is_given_up: false,
        }));
    }

    /// A BYE of one party while the other goes over: that one is not told, and the transfer goes on (RFC 5589 §6.1). False:
    /// it is a BYE like any other.
    pub(in crate::b2bua) fn part_early(&mut self, turn: &mut Turn<'_>, side: Leg) -> bool {
        let Some(referring) = self.transfers.referring.as_ref() else {
            return false;
        };
        if referring.is_given_up || referring.stays == side || self.phase != Phase::Confirmed {
            return false;
        }
        self.close_exchange(turn);
        self.leg_mut(side).state = LegState::Gone;
        self.give_up_refresh(turn, side);
        self.drop_upkeep(side);
        self.negotiation.leave(side);
        self.renew_media(turn);
        // What is written down must not bring back a call of one party.
        self.kept = match self.kept {
            Kept::Nowhere => Kept::Nowhere,
            _ => Kept::Stale,
        };
        true
    }

    /// Who has hung up while the other goes over.
    pub(in crate::b2bua) fn parted(&self) -> Option<Leg> {
        let parts = self.transfers.referring.as_ref()?.stays.other();
        (self.leg(parts).state == LegState::Gone).then_some(parts)
    }

    /// Only the party that goes over is left.
    pub(in crate::b2bua) fn is_parted(&self) -> bool {
        self.parted().is_some()
    }

    /// What the party that goes over asks of who has hung up waits; and who has hung up can only ask how it goes on.
    pub(in crate::b2bua) fn take_parted(&self, side: Leg, request: &Request) -> Result<(), Refusal> {
        let Some(referring) = self.transfers.referring.as_ref().filter(|_| self.is_parted()) else {
            return Ok(());
        };
        match request.method {
            Method::Bye => Ok(()),
            _ if side == referring.stays => Err(Refusal::Glare),
            Method::Subscribe => Ok(()),
            _ => Err(Refusal::NoSuchDialog),
        }
    }

    /// The new call came to nothing: the old one goes on, unless nobody is left to talk to.
    pub fn on_transfer_failed(&mut self, turn: &mut Turn<'_>, status: u16) {
        let is_parted = self.is_parted();
        match &mut self.transfers.referring {
            Some(referring) if matches!(referring.seat, Seat::Asked { .. }) => {
                referring.is_given_up = true;
                self.cancel_seat(turn);
            }
            // Whose call ends needs no far end.
            Some(_) if is_parted => self.leave_seat(),
            _ => self.unseat(turn),
        }
        self.notify(turn, status);
        if is_parted && self.phase != Phase::Ending {
            let reason = format!("SIP;cause={status};text=\"Transfer failed\"");
            self.finish(
                turn,
                &format!("transfer failed with {status}, and who asked for it is gone"),
                &Farewell::of_reasons(vec![reason]),
            );
        }
        self.settle(turn);
    }

    /// Who the party that stays turned out to be when it accepted, if that is another.
    pub fn take_newcomer(&mut self) -> Option<Newcomer> {
        let referring = self.transfers.referring.as_mut()?;
        let newcomer = referring.newcomer.take();
        referring.is_another = newcomer.as_ref().is_some_and(Newcomer::is_another);
        newcomer
    }

    /// The party that stays leaves for its new call.
    pub fn go_over(&mut self) -> Option<Mover> {
        let referring = self.transfers.referring.as_ref()?;
        let (side, is_another) = (referring.stays, referring.is_another);
        let lines = self.lines();
        let leg = self.leg_mut(side);
        let shell = CallLeg {
            side,
            trunk: Arc::clone(&leg.trunk),
            flow: leg.flow,
            call_id: leg.call_id.clone(),
            local_tag: leg.local_tag.clone(),
            dialog: None,
            state: LegState::Gone,
            invite: leg.invite.take(),
            ack: leg.ack.clone(),
            fronts_focus: false,
            tells_src: false,
        };
        let leg = std::mem::replace(leg, shell);
        if side == Leg::B {
            self.part_with(leg.dialog.clone());
        }
        self.tags.retain(|(tag, _)| *tag != leg.local_tag);
        Some(Mover {
            leg,
            lines,
            upkeep: self.drop_upkeep(side),
            from_change: self.from_change[side.index()],
            aware: self.negotiation.aware(side),
            claims: std::mem::take(&mut self.claims[side.index()]),
            exchange: self.last_exchange[side.index()].take(),
            carried: if is_another {
                Carried::default()
            } else {
                self.carried(side)
            },
        })
    }

    /// The party that stayed is in its new call: what is left of this one ends, after its last NOTIFY.
    pub fn on_transferred(&mut self, turn: &mut Turn<'_>) {
        if let Some(referring) = self.transfers.referring.take() {
            let parts = referring.stays.other();
            self.notify(turn, 200);
            self.end(turn, format!("transferred by {parts}"));
            self.part_after_notice(turn, parts);
        }
        self.settle(turn);
    }

    /// The call ends, or is handed over: a transfer that is under way does not wait for it.
    pub(in crate::b2bua) fn close_transfer(&mut self, turn: &mut Turn<'_>, status: u16) {
        if let Some(referring) = self.transfers.referring.take() {
            self.give_up_seat(turn, &referring.seat, referring.stays);
            if !referring.is_given_up {
                let to = referring.to;
                self.transfers.errands.push_back(Errand::Lost { to, status });
            }
        }
        self.notify(turn, status);
    }

    /// What it has to tell the other calls of a transfer.
    pub fn take_errands(&mut self) -> VecDeque<Errand> {
        std::mem::take(&mut self.transfers.errands)
    }
}

/// `Refer-Sub: false` of who knows what that means: it is told nothing (RFC 4488 §4).
fn wants_silence(headers: &Headers) -> bool {
    let value = headers.get("Refer-Sub").unwrap_or_default();
    value
        .split(';')
        .next()
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("false"))
}
