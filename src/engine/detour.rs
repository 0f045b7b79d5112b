//! A request outside calls that an address does not take goes to the next (RFC 3263 §4.3).

use super::signaling::Signaling;
use crate::model::Timestamp;
use crate::sip::transaction::ClientId;

impl Signaling {
    /// Nobody is there, nobody answers, or 503: asks at the next address, and its sender hears nothing of it. False: none is
    /// left, or there is a dialog already with who was asked first.
    pub(super) fn pass_elsewhere(&mut self, now: Timestamp, id: ClientId) -> bool {
        let Some(passage) = self.passages.get_mut(&id) else {
            return false;
        };
        if passage.of.is_some_and(|(of, _)| self.subscriptions.is_begun(of)) {
            return false;
        }
        let Some(destination) = passage.others.pop_front() else {
            return false;
        };
        let Some(mut passage) = self.take_passage(id) else {
            return false;
        };
        let [from, to] = &mut passage.trunks;
        let onward = self.write_onward(&passage.request, (from, passage.origin), &destination, &passage.names);
        if let Some((of, _)) = passage.of {
            self.subscriptions.turn_to(now, of, destination.flow, &onward);
        }
        (*to, passage.flow) = (destination.trunk, destination.flow);
        self.pass(now, passage, onward);
        true
    }
}
