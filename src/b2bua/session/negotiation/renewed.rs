//! Which keys of ours stay, and which begin anew: whoever is told one has to know what was sealed by it before, for the rollover counter is
//! told nowhere (RFC 4568 §6.4).

use super::keying::{Said, chosen};
use super::{Negotiation, NegotiationError};
use crate::model::Leg;
use crate::sdp::{Crypto, MediaLine, Secured, SessionDescription};

impl Negotiation {
    /// Another phone may be on that leg: the next offer that it gets has new keys of ours (RFC 4568 §7.1.4).
    pub fn renew_keys(&mut self, leg: Leg) {
        self.keying.renews[leg.index()] = true;
    }

    /// `by` answers from another place by another key: another phone may be there. What it was offered stays, for no answer changes
    /// that; its next offer has new keys.
    pub(super) fn note_moved(&mut self, by: Leg, answer: &SessionDescription) {
        let known = self.agreement.agreed[by.index()].iter().flat_map(|known| known.lines());
        let mut lines = known.zip(answer.lines());
        let is_moved = |(was, is): (&MediaLine, &MediaLine)| !is.cryptos.is_empty() && has_moved(was, is);
        if lines.any(is_moved) {
            self.renew_keys(by);
        }
    }

    /// `leg` has forgotten the keys that it knew from us: it is told others from here on. Whether there are any.
    pub fn replace_keys(&mut self, leg: Leg) -> bool {
        let mut said = self.agreement.said[leg.index()].clone();
        let mut keys = said.iter_mut().flatten().flat_map(|said| &mut said.keys).peekable();
        let has_keys = keys.peek().is_some();
        let replaced: Result<(), NegotiationError> = keys.try_for_each(|known| {
            known.key = self.keying.key(known.key.suite())?;
            Ok(())
        });
        let is_replaced = has_keys && replaced.is_ok();
        if is_replaced {
            self.agreement.said[leg.index()] = said;
        }
        is_replaced
    }

    /// The offer to `leg` was refused: what it was told before holds.
    pub(super) fn forget_keys_offered(&mut self, leg: Leg) {
        if let Some(before) = self.agreement.before[leg.index()].take() {
            self.owe_keys(leg, &before);
            self.agreement.said[leg.index()] = before;
        }
    }

    /// `leg` goes back to what it was told `before`: where it was told other keys since, they are still owed.
    pub(super) fn owe_keys(&mut self, leg: Leg, before: &Said) {
        let mut lines = self.agreement.said[leg.index()].iter().zip(before);
        let is_renewed = |(said, before): (&Option<Secured>, &Option<Secured>)| match (said, before) {
            (Some(said), Some(before)) => said.keys != before.keys,
            _ => false,
        };
        self.keying.renews[leg.index()] |= lines.any(is_renewed);
    }

    /// Whether a leg answered or offered this line with port 0 last.
    pub(super) fn is_refused(&self, index: usize) -> bool {
        let is_off = |agreed: &SessionDescription| agreed.lines().get(index).is_some_and(|line| !line.is_live());
        self.agreement.agreed.iter().flatten().any(is_off)
    }

    /// The keys of ours that `to`, who offers, has for a line: first that which is in use. None where it cannot know what was sealed by
    /// them: the line was refused, or is at another place with another key (RFC 4568 §7.1.4).
    pub(super) fn known_keys(&self, to: Leg, index: usize, offered: &MediaLine) -> Vec<Crypto> {
        let said = self.agreement.said[to.index()].get(index).and_then(Option::as_ref);
        let Some(said) = said.filter(|_| !self.is_refused(index)) else {
            return Vec::new();
        };
        let agreed = self.agreement.agreed[to.index()].as_ref();
        let was = agreed.and_then(|agreed| agreed.lines().get(index));
        if was.is_some_and(|was| has_moved(was, offered)) {
            return Vec::new();
        }
        let in_use = was.and_then(|was| chosen(said, was)).map(|(_, ours)| ours);
        in_use.into_iter().chain(&said.keys).cloned().collect()
    }
}

/// Whether media comes from another place and by another key: of another phone, then.
fn has_moved(was: &MediaLine, is: &MediaLine) -> bool {
    let has_key = |theirs: &Crypto| was.cryptos.iter().any(|before| before.key == theirs.key);
    (was.connection, was.port) != (is.connection, is.port) && !is.cryptos.iter().any(has_key)
}
