//! Further hops of a call under one Call-ID: a back-to-back agent may keep the Call-ID and give each side tags of its own.
//! Who has another tag than the parties of the hop that is played is on another hop.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Script;
use super::exchange::Exchange;
use crate::model::Leg;
use crate::sip::{Headers, Message, Method};

/// Tags of a kind that are remembered. Full: the oldest is forgotten.
const TAGS_MAX: usize = 64;

/// Tags of one call's dialogs.
#[derive(Debug, Default)]
pub(super) struct Hops {
    /// Of who called, on further hops.
    callers: VecDeque<String>,
    /// Of who answered on the hop that is played; several when the call was forked.
    near: VecDeque<String>,
    /// Of who answered on other hops only.
    far: VecDeque<String>,
}

fn remember(tags: &mut VecDeque<String>, tag: &str) {
    if tags.iter().any(|known| known == tag) {
        return;
    }
    if tags.len() == TAGS_MAX {
        tags.pop_front();
    }
    tags.push_back(tag.to_owned());
}

impl Script {
    /// Whether an INVITE with the Call-ID of this call and a From tag that it has not seen is of this call all the same:
    /// another hop of an INVITE that nobody has answered yet, or another try after an answer that asks for one
    /// (RFC 3261 §8.1.3.4, §8.1.3.5). Else the Call-ID is used again, for another call.
    pub(crate) fn takes_in(&self, hop: (SocketAddr, SocketAddr)) -> bool {
        let Some(invite) = self.newest_invite() else {
            return false;
        };
        self.awaits_attempt()
            || match invite.captured_final() {
                None => invite.hop != hop,
                Some(status) => matches!(status, 300..=399 | 401 | 407 | 413..=423 | 488 | 494 | 503),
            }
    }

    /// The leg of a request's sender, or of who a response goes to. None: they are on another hop.
    pub(super) fn party(&self, headers: &Headers) -> Option<Leg> {
        let [from, to] = [headers.from(), headers.to()].map(|party| party.tag().unwrap_or_default());
        let is_far = |tag: &str| self.hops.far.iter().any(|far| far == tag);
        if from == self.caller_tag {
            (!is_far(to)).then_some(Leg::A)
        } else {
            (to == self.caller_tag && !is_far(from)).then_some(Leg::B)
        }
    }

    /// Who said it: the one whose tag made the dialog is A, on every hop.
    pub(crate) fn sender_of(&self, message: &Message) -> Leg {
        let from = message.headers().from().tag().unwrap_or_default();
        let from_caller = from == self.caller_tag || self.hops.callers.iter().any(|caller| caller == from);
        match (message, from_caller) {
            (Message::Request(_), true) | (Message::Response(_), false) => Leg::A,
            (Message::Request(_), false) | (Message::Response(_), true) => Leg::B,
        }
    }

    /// An INVITE that the hop that is played has not seen: true when it goes on from there, to the next.
    pub(super) fn is_onward(&mut self, tag: &str, hop: (SocketAddr, SocketAddr)) -> bool {
        if tag == self.caller_tag {
            return false;
        }
        let in_flight = |e: &Exchange| e.captured_final().is_none() && e.hop != hop;
        let is_onward =
            self.hops.callers.iter().any(|caller| caller == tag) || self.newest_invite().is_some_and(in_flight);
        if is_onward {
            remember(&mut self.hops.callers, tag);
        }
        is_onward
    }

    /// The To tag of an answer to A.
    pub(super) fn learn_callee(&mut self, tag: Option<&str>, is_near: bool) {
        let Some(tag) = tag else { return };
        if is_near {
            self.hops.far.retain(|far| far != tag);
            remember(&mut self.hops.near, tag);
        } else if !self.hops.near.iter().any(|near| near == tag) {
            remember(&mut self.hops.far, tag);
        }
    }

    fn newest_invite(&self) -> Option<&Exchange> {
        let is_invite = |e: &&Exchange| e.is_initial && e.by == Leg::A && e.method == Method::Invite && !e.is_unclaimed;
        self.exchanges.iter().rev().find(is_invite)
    }
}
