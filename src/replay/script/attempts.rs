//! What the proxy does on its own behalf where captured phones did it themselves: a second INVITE to B, with credentials, to
//! whom a 3xx names, to the next address. A then has nothing to say: B's captured answers are those to the proxy's INVITE.

use std::net::SocketAddr;

use super::exchange::Exchange;
use super::{EXCHANGES_MAX, Script};
use crate::model::Leg;
use crate::sip::{Method, Request};

impl Script {
    /// The proxy invites B again while A waits: the capture will tell how B answered.
    pub(super) fn expect_attempt(&mut self, invite: &Request) {
        let nowhere = (self.phones[0], self.phones[1]);
        let mut attempt = Exchange::new(Leg::A, 0, Method::Invite, true, nowhere);
        attempt.is_unclaimed = true;
        attempt.forwarded = Some(invite.clone());
        self.remember(attempt);
    }

    /// A's captured INVITE is what the proxy has done already. False: A says it.
    pub(super) fn claim_attempt(&mut self, invite: &Request, hop: (SocketAddr, SocketAddr)) -> bool {
        let Some(said_as) = self.waiting_invite().map(Exchange::said_as) else {
            return false;
        };
        let Some(attempt) = self.exchanges.iter_mut().find(|e| e.is_unclaimed) else {
            return false;
        };
        attempt.is_unclaimed = false;
        attempt.number = invite.headers.cseq().number;
        attempt.hop = hop;
        attempt.said_as = Some(said_as);
        invite
            .headers
            .from()
            .tag()
            .unwrap_or_default()
            .clone_into(&mut self.caller_tag);
        true
    }

    /// Whether the proxy has invited B again, which the capture has not shown yet.
    pub(super) fn awaits_attempt(&self) -> bool {
        self.waiting_invite().is_some() && self.exchanges.iter().any(|e| e.is_unclaimed)
    }

    fn waiting_invite(&self) -> Option<&Exchange> {
        let waits = |e: &&Exchange| e.is_initial && !e.is_unclaimed && e.by == Leg::A && e.status.is_none();
        self.exchanges.iter().find(waits)
    }

    /// The CSeq number by which a phone said the INVITE that was captured with this one.
    pub(super) fn said_as(&self, by: Leg, number: u32) -> u32 {
        let invite = self.exchanges.iter().find(|e| e.is(by, number, &Method::Invite));
        invite.map_or(number, Exchange::said_as)
    }

    pub(super) fn remember(&mut self, exchange: Exchange) {
        if self.exchanges.len() == EXCHANGES_MAX {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back(exchange);
    }

    /// A's BYE of a fork that is not the dialog: the proxy has ended it itself.
    pub(super) fn is_of_lost_fork(&self, by: Leg, request: &Request) -> bool {
        let dialog = self.dialogs[Leg::B.index()]
            .as_ref()
            .filter(|dialog| dialog.is_confirmed);
        let theirs = dialog.and_then(|dialog| dialog.phone.tag());
        by == Leg::A && request.method == Method::Bye && theirs.is_some() && theirs != request.headers.to().tag()
    }
}
