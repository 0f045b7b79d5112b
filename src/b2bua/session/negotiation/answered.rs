//! Whether who answers encrypts as it was told to, and not otherwise: by a key that only its ends have, nobody else hears it.

use super::keying::chosen;
use super::{Negotiation, NegotiationError};
use crate::model::Leg;
use crate::sdp::{AnswerError, MediaLine, SessionDescription, negotiate};

impl Negotiation {
    /// The peers may live with it, as they would without us.
    pub(super) fn note_misfit(&self, by: Leg, offer: &SessionDescription, answer: &SessionDescription) {
        match negotiate(offer, answer) {
            // How a line is encrypted is between each party and us.
            Ok(()) => {}
            Err(AnswerError::Transport { line }) if self.is_opened(by, line) => {}
            Err(error) => tracing::warn!(%error, "answer does not fit its offer; carried all the same"),
        }
    }

    /// `by` answers this to what it was told last.
    pub(super) fn is_answer_keyed(&self, by: Leg, sdp: &SessionDescription) -> Result<(), NegotiationError> {
        let mut lines = sdp.lines().iter().enumerate().filter(|(_, line)| line.is_live());
        lines.try_for_each(|(index, line)| self.is_line_keyed(by, index, line))
    }

    fn is_line_keyed(&self, by: Leg, index: usize, line: &MediaLine) -> Result<(), NegotiationError> {
        let said = self.said_to(by).get(index).and_then(Option::as_ref);
        if said.is_some_and(|said| chosen(said, line).is_some()) {
            return Ok(());
        }
        if let Some(said) = said.filter(|said| said.shake.is_some()) {
            let is_agreed = self
                .shake_of(by, said, line)
                .is_some_and(|keys| keys.handshake.is_some());
            return if is_agreed { Ok(()) } else { Err(NegotiationError::Keys) };
        }
        let is_required = line.is_secure_profile().is_some() && self.manner(by).requires();
        if said.is_some_and(|said| said.is_secure || is_required) {
            return Err(NegotiationError::Keys);
        }
        // By keys that it was not told: it encrypts for somebody else than us.
        let has_keys = line.keyed || line.is_secure_profile() == Some(true);
        if has_keys && (self.must_be_heard || !self.is_sealed_by(by.other(), index)) {
            return Err(NegotiationError::Sealed);
        }
        Ok(())
    }

    /// Whether what a leg offers, or said before, lets both ends encrypt by keys of their own.
    fn is_sealed_by(&self, leg: Leg, index: usize) -> bool {
        let offer = self.agreement.offer.as_ref().filter(|offer| offer.by == leg);
        let sdp = offer.map(|offer| &offer.sdp).or_else(|| self.binding(leg));
        sdp.and_then(|sdp| sdp.lines().get(index))
            .is_some_and(MediaLine::is_sealed)
    }
}
