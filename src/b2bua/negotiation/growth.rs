//! What media a session has, and what an offer would add to it.

use super::Negotiation;
use crate::model::{Leg, MediaKind};
use crate::sdp::MediaLine;

impl Negotiation {
    /// The kinds of the lines that somebody has described, of those without media too.
    pub fn kinds(&self) -> Vec<MediaKind> {
        let binding = Leg::BOTH.into_iter().filter_map(|leg| self.binding(leg));
        let lines = binding.flat_map(|sdp| sdp.lines());
        lines.map(|line| line.kind).collect()
    }

    /// The kinds of what the offer that is pending would have.
    pub fn offered(&self) -> Vec<MediaKind> {
        let offer = self.agreement.offer.iter();
        let live = offer.flat_map(|offer| offer.sdp.lines()).filter(|line| line.is_live());
        live.map(|line: &MediaLine| line.kind).collect()
    }

    /// Whether a line of this offer is live that is not agreed as that medium on both legs. What cannot be read adds
    /// nothing: it is refused as such.
    pub fn adds_media(&self, sdp: &[u8]) -> bool {
        let Ok(offered) = self.permitted(sdp) else {
            return false;
        };
        let is_agreed = |index: usize, kind| {
            Leg::BOTH.iter().all(|leg| {
                let agreed = self.agreement.agreed[leg.index()].as_ref();
                let line = agreed.and_then(|agreed| agreed.lines().get(index));
                line.is_some_and(|line| line.is_live() && line.kind == kind)
            })
        };
        let mut lines = offered.lines().iter().enumerate();
        lines.any(|(index, line)| line.is_live() && !is_agreed(index, line.kind))
    }
}
