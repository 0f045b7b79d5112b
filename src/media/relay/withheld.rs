//! What of a session's media is left out of its recording.

use super::Relay;
use crate::model::{Leg, LineSet, Timestamp};

impl Relay {
    /// Of what this leg sends nothing is kept on these lines from here on, and all else is. Whether that is news.
    pub(in super::super) fn withhold(&mut self, now: Timestamp, leg: Leg, lines: LineSet) -> bool {
        if std::mem::replace(&mut self.withheld[leg.index()], lines) == lines {
            return false;
        }
        for line in &mut self.lines {
            line.sides[leg.index()].withhold(now, lines.contains(line.index));
        }
        true
    }
}
