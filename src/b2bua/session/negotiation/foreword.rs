//! An answer of ours, before B is asked: what A hears then is not B's, and nothing is agreed on by it.

use bytes::Bytes;

use super::{Agreement, Negotiation};
use crate::model::{Leg, MediaKind};
use crate::sdp::{Direction, MediaLine, SessionDescription, echo};

impl Negotiation {
    /// Our answer to A's offer: its first line of sound, in all formats that it offers. With what was agreed on before, to go back to.
    /// None: there is no such line, or its keys cannot be ours alone to agree on.
    pub fn answer_for_us(&mut self) -> Option<(Bytes, Agreement)> {
        let offer = self.agreement.offer.as_ref().filter(|offer| offer.by == Leg::A)?;
        // As B would see it: the answer has to fit what B's side of the call is told of keys.
        let seen = SessionDescription::parse(&self.anchored(Leg::B, &offer.sdp)).ok()?;
        let line = seen.lines().iter().position(is_spoken)?;
        let ours = echo(&seen, line, self.locals(Leg::A).get(line)?.ip());
        let begun = self.agreement.clone();
        self.leave(Leg::B);
        match self.answer(Leg::B, &ours) {
            Ok(answer) => Some((answer, begun)),
            Err(error) => {
                tracing::debug!(%error, "no answer of ours fits");
                self.begin_again(&begun);
                None
            }
        }
    }

    /// As it was before our answer; but the keys by which A is sealed to stay (RFC 4568 §7.3).
    pub fn begin_again(&mut self, begun: &Agreement) {
        self.agreement = self.branched(begun);
        if let Some(exchanged) = &mut self.exchanged[Leg::B.index()] {
            exchanged.absent = false;
        }
    }
}

/// Sound both ways whose keys, if it has any, are told in its description.
fn is_spoken(line: &MediaLine) -> bool {
    let is_sound = line.is_live() && line.kind == MediaKind::Audio && line.is_datagram();
    let agrees_apart = line.ice.is_some() || line.is_sealed();
    is_sound && line.direction == Direction::SendRecv && line.remote().is_some() && !agrees_apart
}
