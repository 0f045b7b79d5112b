//! What the relay is to do, by what is agreed.

use super::Negotiation;
use crate::media::PortPair;
use crate::model::{Leg, LegPlan, LinePlan, MediaPlan, Pausing, Recorded, SessionId};
use crate::sdp::MediaLine;

impl Negotiation {
    /// The plan as agreed so far. Before the answer the offerer's addresses count already: it may hear early media.
    pub fn plan(&self, session: SessionId, recorded: Recorded) -> MediaPlan {
        let lines = self.ports.iter().enumerate().map(|(index, ports)| {
            let a = self.binding(Leg::A).and_then(|sdp| sdp.lines().get(index));
            let b = self.binding(Leg::B).and_then(|sdp| sdp.lines().get(index));
            let kind = a.or(b).map_or(crate::model::MediaKind::Other, |line| line.kind);
            LinePlan {
                index: u16::try_from(index).expect("invariant: LINES_MAX fits u16"),
                kind,
                a: self.leg_plan(Leg::A, &ports.a, (index, a, b)),
                b: self.leg_plan(Leg::B, &ports.b, (index, b, a)),
            }
        });
        MediaPlan {
            session,
            recorded,
            answered: false,
            lines: lines.collect(),
            keys: self.line_keys(),
            agreed: self.agreement.agreed.each_ref().map(Option::is_some),
            far_end: self.agreement.far_end,
            pausing: Pausing::default(),
        }
    }

    /// `line` and `far`: the m-line with this index, as this leg and as the other has it.
    fn leg_plan(
        &self,
        leg: Leg,
        pair: &PortPair,
        (index, line, far): (usize, Option<&MediaLine>, Option<&MediaLine>),
    ) -> LegPlan {
        let is_here = !self.exchanged[leg.index()]
            .as_ref()
            .is_some_and(|exchanged| exchanged.absent);
        LegPlan {
            local: self.facing(leg, pair),
            remote: line.and_then(|line| self.source(leg, index, line)).filter(|_| is_here),
            deaf: line.is_some_and(MediaLine::has_null_address),
            mute: line.is_some_and(|line| !line.direction.sends()) || far.is_some_and(MediaLine::is_hold),
            holds: line.is_some_and(MediaLine::is_hold),
            origin: line.map(|line| self.origin(leg, line)).unwrap_or_default(),
            formats: line
                .map(|line| line.plan_formats(self.is_opened(leg, index)))
                .unwrap_or_default(),
        }
    }
}
