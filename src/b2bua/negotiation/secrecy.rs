//! Whether what is agreed can be heard by who records it.

use super::{Negotiation, NegotiationError};
use crate::model::{Encryption, Leg};
use crate::sdp::{MediaLine, SessionDescription};

impl Negotiation {
    /// From here on nothing crosses whose keys only its ends know; or all does.
    pub const fn demand_hearing(&mut self, must_be_heard: bool) {
        self.must_be_heard = must_be_heard;
    }

    /// What is encrypted only if the other side wants that too (RFC 8643) is asked about once that has answered.
    pub(super) fn is_offer_heard(&self, by: Leg, sdp: &SessionDescription) -> Result<(), NegotiationError> {
        let hides = |line: &MediaLine| line.insists_on_seal() && !self.is_shaken_with_us(by, line);
        self.is_heard(!sdp.lines().iter().any(hides))
    }

    pub(super) fn is_answer_heard(&self, by: Leg, sdp: &SessionDescription) -> Result<(), NegotiationError> {
        let hides = |(index, line): (usize, &MediaLine)| line.is_sealed() && !self.is_offered_shake(by, index);
        self.is_heard(!sdp.lines().iter().enumerate().any(hides))
    }

    const fn is_heard(&self, is_clear: bool) -> Result<(), NegotiationError> {
        if self.must_be_heard && !is_clear {
            return Err(NegotiationError::Sealed);
        }
        Ok(())
    }

    /// How the media that is agreed on is encrypted: of several lines the most.
    pub fn encryption(&self) -> Option<Encryption> {
        let [a, b] = Leg::BOTH.map(|leg| self.agreement.agreed[leg.index()].as_ref());
        let lines = a?.lines().iter().zip(b?.lines()).enumerate();
        let is_terminated = |index| Leg::BOTH.iter().any(|leg| self.keys_of(*leg, index).is_some());
        let is_said = |index| Leg::BOTH.iter().any(|leg| self.is_opened(*leg, index));
        let of_line = |(index, (a, b)): (usize, (&MediaLine, &MediaLine))| match (a, b) {
            (a, b) if !a.is_live() || !b.is_live() => None,
            _ if is_terminated(index) => Some(Encryption::Decrypted),
            _ if is_said(index) => None,
            (a, b) if a.insists_on_seal() || b.insists_on_seal() => Some(Encryption::Sealed),
            (a, b) if a.is_sealed() && b.is_sealed() => Some(Encryption::Sealed),
            (a, b) => (a.crypto && b.crypto).then_some(Encryption::Keyed),
        };
        lines.filter_map(of_line).max()
    }
}
