//! Whether what is agreed can be heard by who records it.

use super::{Negotiation, NegotiationError};
use crate::model::{Encryption, Leg, Remote};
use crate::sdp::{MediaLine, SessionDescription};

/// A line whose ends have agreed on keys that no description tells of, and where they were then: whoever comes elsewhere has
/// none of them.
#[derive(Debug)]
pub(super) struct Sealed {
    index: usize,
    places: [Option<Remote>; 2],
}

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

    /// The ends of this line have agreed on keys of their own, though their descriptions say nothing of it.
    pub fn note_sealed(&mut self, index: usize) {
        if index < self.ports.len() && !self.is_sealed_by_ends(index) {
            let places = self.places_of(index);
            self.sealed.retain(|sealed| sealed.index != index);
            self.sealed.push(Sealed { index, places });
        }
    }

    /// The lines that are so still.
    pub(super) fn sealed_by_ends(&self) -> impl Iterator<Item = usize> {
        (0..self.ports.len()).filter(|index| self.is_sealed_by_ends(*index))
    }

    fn is_sealed_by_ends(&self, index: usize) -> bool {
        let mut sealed = self.sealed.iter().filter(|sealed| sealed.index == index);
        sealed.any(|sealed| sealed.places == self.places_of(index))
    }

    fn places_of(&self, index: usize) -> [Option<Remote>; 2] {
        let places = &self.agreement.places;
        Leg::BOTH.map(|leg| places[leg.index()].get(index).copied().flatten())
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
            _ if self.is_sealed_by_ends(index) => Some(Encryption::Sealed),
            (a, b) if a.insists_on_seal() || b.insists_on_seal() => Some(Encryption::Sealed),
            (a, b) if a.is_sealed() && b.is_sealed() => Some(Encryption::Sealed),
            (a, b) => (a.crypto && b.crypto).then_some(Encryption::Keyed),
        };
        lines.filter_map(of_line).max()
    }
}
