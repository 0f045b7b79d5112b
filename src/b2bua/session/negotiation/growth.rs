//! What media a session has, and what an offer would add to it.

use super::Negotiation;
use crate::model::{Leg, MediaKind};
use crate::sdp::MediaLine;

impl Negotiation {
    /// The kinds of the lines that have media: of those that nobody who has described them has refused.
    pub fn kinds(&self) -> Vec<MediaKind> {
        let bindings: Vec<_> = Leg::BOTH.into_iter().filter_map(|leg| self.binding(leg)).collect();
        let is_dead = |index: usize| {
            let mut lines = bindings.iter().filter_map(|sdp| sdp.lines().get(index));
            lines.any(|line| !line.is_live())
        };
        let lines = bindings.iter().flat_map(|sdp| sdp.lines().iter().enumerate());
        let live = lines.filter(|(index, _)| !is_dead(*index));
        live.map(|(_, line)| line.kind).collect()
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
