//! A party that stays in a transfer gets another far end: a re-INVITE of ours with the offer of whom it will talk to. It
//! stays in the old call until it has accepted, so what is refused has changed nothing.

use std::time::Duration;

use bytes::Bytes;

use super::referral::Errand;
use crate::b2bua::call::Call;
use crate::b2bua::deadlines::Wait;
use crate::b2bua::dialog::LegState;
use crate::b2bua::ending::Farewell;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sdp::{SessionDescription, with_lines};
use crate::sip::transaction::ClientId;
use crate::sip::{Flow, Message, Method, Response};

/// How long a phone that talks may take to answer a re-INVITE.
const ANSWER_MAX: Duration = Duration::from_secs(32);
/// How long the re-INVITE waits for what is in flight, or after a 491: beyond what RFC 3261 §14.1 draws from.
const RETRY_WAIT: Duration = Duration::from_millis(2_100);
const RETRY_SPREAD: u128 = 1_900;
/// Tries of one re-INVITE; then whoever was to come is told 491.
const TRIES_MAX: u8 = 8;

/// Where the party that stays is.
#[derive(Debug, Default)]
pub(in crate::b2bua) enum Seat {
    /// With the far end that it had.
    #[default]
    Old,
    /// An offer waits for what is in flight.
    Due(Offer),
    /// It has the offer.
    Asked {
        client: ClientId,
        offer: Offer,
        progress: Progress,
    },
    /// It has accepted, and awaits its new call. What it was told.
    New(Bytes),
}

/// What is known of a re-INVITE without a final answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// Nothing was heard.
    Silent,
    /// A 1xx came: somebody is there.
    Heard,
    /// It was heard, and took too long.
    Cancelled,
}

#[derive(Clone, Debug)]
pub(in crate::b2bua) struct Offer {
    sdp: Bytes,
    tries: u8,
    /// Its 422 was answered.
    lengthened: bool,
}

impl Call {
    /// The party that stays shall have this far end.
    pub fn reseat(&mut self, turn: &mut Turn<'_>, sdp: Bytes) {
        if let Some(referring) = &mut self.transfers.referring {
            referring.seat = Seat::Due(Offer {
                sdp,
                tries: 0,
                lengthened: false,
            });
            self.offer_seat(turn);
        }
        self.settle(turn);
    }

    /// No other offer may cross then.
    pub(in crate::b2bua) fn is_reseating(&self) -> bool {
        let seat = self.transfers.referring.as_ref().map(|referring| &referring.seat);
        matches!(seat, Some(Seat::Asked { .. } | Seat::New(_)))
    }

    pub(in crate::b2bua) fn is_reseating_by(&self, id: ClientId) -> bool {
        let seat = self.transfers.referring.as_ref().map(|referring| &referring.seat);
        matches!(seat, Some(Seat::Asked { client, .. }) if *client == id)
    }

    fn offer_seat(&mut self, turn: &mut Turn<'_>) {
        let is_busy = self.exchange.is_some() || self.is_reinviting() || self.negotiation.is_pending();
        let given_up = self.transfers.given_up;
        let Some(referring) = &mut self.transfers.referring else {
            return;
        };
        let is_busy = is_busy || given_up[referring.stays.index()].is_some();
        let Seat::Due(offer) = &mut referring.seat else { return };
        let (side, sdp) = (referring.stays, offer.sdp.clone());
        if is_busy {
            offer.tries += 1;
            if offer.tries > TRIES_MAX {
                self.lose_seat(turn, 491);
            } else {
                self.deadlines.set(Wait::Seat, turn.now + RETRY_WAIT);
            }
            return;
        }
        let offer = offer.clone();
        // A line that it has got meanwhile must not be missing.
        let offered = SessionDescription::parse(&sdp).map_or(0, |sdp| sdp.lines().len());
        let sdp = with_lines(&sdp, self.lines().max(offered));
        let offer = Offer {
            sdp: sdp.clone(),
            ..offer
        };
        let Some(mut invite) = self.leg_mut(side).dialog_request(Method::Invite) else {
            return;
        };
        self.ask_upkeep(side, &mut invite);
        invite.set_body("application/sdp", sdp);
        let client = turn.request(self.id, self.line(side), invite);
        self.deadlines.set(Wait::Seat, turn.now + ANSWER_MAX);
        self.keep_seat(Seat::Asked {
            client,
            offer,
            progress: Progress::Silent,
        });
    }

    /// What the re-INVITE waited for is over, or its answer did not come.
    pub(in crate::b2bua) fn on_seat_due(&mut self, turn: &mut Turn<'_>) {
        match self.transfers.referring.as_ref().map(|referring| &referring.seat) {
            Some(Seat::Due(_)) => self.offer_seat(turn),
            Some(Seat::Asked { progress, client, .. }) => match progress {
                Progress::Silent => self.on_seat_failed(turn, None),
                Progress::Heard => self.cancel_seat(turn),
                Progress::Cancelled => {
                    let client = *client;
                    self.forgo_seat(turn, client);
                }
            },
            _ => {}
        }
    }

    /// Who rings and does not answer keeps the far end that it had: the re-INVITE is given up. Before a 1xx there is nothing
    /// to cancel (RFC 3261 §9.1).
    pub(super) fn cancel_seat(&mut self, turn: &mut Turn<'_>) {
        let Some(referring) = &mut self.transfers.referring else {
            return;
        };
        let side = referring.stays;
        if let Seat::Asked { client, progress, .. } = &mut referring.seat
            && *progress == Progress::Heard
        {
            *progress = Progress::Cancelled;
            let client = *client;
            turn.cancel(self.line(side), client, &[]);
            self.deadlines.set(Wait::Seat, turn.now + ANSWER_MAX);
        }
    }

    /// Somebody was there, and has not even said that it stopped.
    fn forgo_seat(&mut self, turn: &mut Turn<'_>, client: ClientId) {
        let side = self.transfers.referring.as_ref().map(|referring| referring.stays);
        self.deadlines.clear(Wait::Seat);
        self.keep_seat(Seat::Old);
        if let Some(side) = side {
            self.expect_late_answer(turn, side, Some(client));
        }
        self.lose_seat(turn, 408);
    }

    fn on_seat_progress(&mut self, turn: &mut Turn<'_>) {
        let Some(referring) = &mut self.transfers.referring else {
            return;
        };
        if let Seat::Asked { progress, .. } = &mut referring.seat
            && *progress == Progress::Silent
        {
            *progress = Progress::Heard;
        }
        if referring.is_given_up {
            self.cancel_seat(turn);
        }
    }

    /// No answer: who stays is gone (RFC 3261 §12.2.1.2). A connection that broke may only be the wrong one.
    pub(in crate::b2bua) fn on_seat_failed(&mut self, turn: &mut Turn<'_>, broken: Option<Flow>) {
        let Some(referring) = &self.transfers.referring else {
            return;
        };
        let side = referring.stays;
        let cancelled = match referring.seat {
            Seat::Asked {
                client,
                progress: Progress::Cancelled,
                ..
            } => Some(client),
            _ => None,
        };
        if let (Seat::Asked { offer, client, .. }, Some(broken)) = (&referring.seat, broken)
            && offer.tries < TRIES_MAX
        {
            let (client, tries, offer) = (*client, offer.tries + 1, offer.clone());
            if self.leg_mut(side).reroute(broken) {
                turn.wire.disown_client(client);
                self.keep_seat(Seat::Due(Offer { tries, ..offer }));
                self.offer_seat(turn);
                return;
            }
        }
        if let Some(client) = cancelled {
            self.forgo_seat(turn, client);
            return;
        }
        self.notify(turn, 408);
        self.finish(
            turn,
            &format!("no answer from {side} inside the dialog"),
            &Farewell::default(),
        );
    }

    /// The call ends: a re-INVITE of ours may ring for ever.
    pub(super) fn give_up_seat(&mut self, turn: &mut Turn<'_>, seat: &Seat, side: Leg) {
        if let Seat::Asked { client, .. } = seat {
            turn.cancel(self.line(side), *client, &[]);
            self.expect_late_answer(turn, side, Some(*client));
        }
    }

    pub(in crate::b2bua) fn on_seat_response(&mut self, turn: &mut Turn<'_>, side: Leg, response: &Response) {
        if response.status < 200 {
            self.on_seat_progress(turn);
            return;
        }
        let Some(referring) = &mut self.transfers.referring else {
            return;
        };
        let is_given_up = referring.is_given_up;
        let Seat::Asked {
            client,
            offer,
            progress,
        } = std::mem::take(&mut referring.seat)
        else {
            return;
        };
        self.deadlines.clear(Wait::Seat);
        let is_gone = response.status == 481 || response.status == 408 && progress == Progress::Silent;
        match response.status {
            200..300 => self.on_seated(turn, side, (client, offer.sdp), response),
            _ if is_gone => {
                turn.wire.disown_client(client);
                self.on_seat_failed(turn, None);
            }
            _ if is_given_up => {
                turn.wire.disown_client(client);
                self.unseat(turn);
            }
            _ if progress == Progress::Cancelled => {
                turn.wire.disown_client(client);
                self.lose_seat(turn, 408);
            }
            491 if offer.tries < TRIES_MAX => {
                turn.wire.disown_client(client);
                let jitter = u64::try_from(turn.wire.mint().entropy() % RETRY_SPREAD).unwrap_or_default();
                self.deadlines
                    .set(Wait::Seat, turn.now + RETRY_WAIT + Duration::from_millis(jitter));
                let tries = offer.tries + 1;
                self.keep_seat(Seat::Due(Offer { tries, ..offer }));
            }
            422 if !offer.lengthened && self.on_interval_refused(side, response) => {
                turn.wire.disown_client(client);
                let lengthened = true;
                self.keep_seat(Seat::Due(Offer { lengthened, ..offer }));
                self.offer_seat(turn);
            }
            status => {
                turn.wire.disown_client(client);
                self.lose_seat(turn, status);
            }
        }
    }

    fn keep_seat(&mut self, seat: Seat) {
        if let Some(referring) = &mut self.transfers.referring {
            referring.seat = seat;
        }
    }

    fn on_seated(&mut self, turn: &mut Turn<'_>, side: Leg, (client, told): (ClientId, Bytes), response: &Response) {
        // It may come again.
        if let Some(before) = self.last_exchange[side.index()].replace(client) {
            turn.wire.disown_client(before);
        }
        let (chronicle, cseq) = (self.chronicle, response.headers.cseq().number);
        self.leg_mut(side).acknowledge(turn, &chronicle, cseq, None);
        self.accept_upkeep(turn, side, response);
        if let Some(dialog) = &mut self.leg_mut(side).dialog {
            dialog.target_refresh(&Message::Response(response.clone()));
        }
        let newcomer = self.newcomer(turn, side, &response.headers, None);
        let content = self.content_of(&response.headers, &response.body);
        let answer = content.sdp(&response.body).map(Bytes::copy_from_slice);
        let Some(referring) = &mut self.transfers.referring else {
            return;
        };
        referring.seat = Seat::New(told);
        referring.newcomer = newcomer;
        let (to, is_given_up) = (referring.to, referring.is_given_up);
        match answer {
            Some(answer) if !is_given_up => self.transfers.errands.push_back(Errand::Seated { to, answer }),
            _ if is_given_up => self.unseat(turn),
            // It took an offer and answered none.
            _ => self.lose_seat(turn, 488),
        }
    }

    /// Who stays does not take who was to come.
    fn lose_seat(&mut self, turn: &mut Turn<'_>, status: u16) {
        let Some(referring) = &self.transfers.referring else {
            return;
        };
        if referring.is_given_up {
            self.unseat(turn);
        } else {
            let to = referring.to;
            self.transfers.errands.push_back(Errand::Lost { to, status });
        }
    }

    pub(super) fn leave_seat(&mut self) {
        self.transfers.referring = None;
        self.deadlines.clear(Wait::Seat);
    }

    /// The transfer came to nothing: who has accepted already is told its old far end again.
    pub(super) fn unseat(&mut self, turn: &mut Turn<'_>) {
        let Some(referring) = self.transfers.referring.take() else {
            return;
        };
        let side = referring.stays;
        self.deadlines.clear(Wait::Seat);
        if let Seat::New(told) = &referring.seat {
            // It knows the lines of whom it did not get, too.
            self.go_on_with(turn, side, told);
            // With those it has begun anew, and knows no rollover counter of the old ones (RFC 4568 §7.1.4).
            if self.negotiation.replace_keys(side) {
                self.renew_media(turn);
            }
            self.negotiation.shake_anew(side);
            if self.phase == Phase::Confirmed && self.leg(side).state == LegState::Up {
                self.retell(turn, side);
            }
        }
    }
}
