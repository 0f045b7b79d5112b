//! Media that an offer would add to a session.

use super::Negotiation;
use crate::model::Leg;

impl Negotiation {
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
