//! What sessions' parties are told by us, each at its time.

use std::net::SocketAddr;

use super::super::port::Port;
use super::super::rota::Place;
use super::super::secrecy::{Bench, SCRATCH_BYTES};
use super::{Plane, PlaneOutput};
use crate::model::{MediaEvent, NoticePlan, Timestamp};

impl Plane {
    /// The next packet of our own that is due, to be sent from this port: its bytes are [`Plane::changed`]. It may be lost.
    pub fn poll_notice(&mut self, now: Timestamp) -> Option<(Port, SocketAddr)> {
        while let Some((due, place)) = self.rota.due(now) {
            let Some(relay) = self
                .relays
                .get_mut(place.index)
                .filter(|relay| relay.generation == place.generation && relay.speaks_at == Some(due))
            else {
                self.rota.done();
                continue;
            };
            let bench = Bench {
                scratch: &mut self.scratch,
                changed: &mut self.changed,
            };
            if let Some(sent) = relay.speak(now, (place.index, self.halted.is_some()), bench) {
                return Some(sent);
            }
            let session = relay.session;
            while let Some(notice) = relay.poll_noticed().map(Box::new) {
                self.outputs
                    .push_back(PlaneOutput::Event(MediaEvent::Noticed { session, notice }));
            }
            self.rota.done();
            relay.speaks_at = relay.notice_due();
            self.rota.put(relay.speaks_at, place);
        }
        None
    }

    pub(super) fn on_notice(&mut self, now: Timestamp, plan: Box<NoticePlan>) {
        let Some(index) = self.places.get(&plan.session).copied() else {
            return;
        };
        if let Some(relay) = self.relays.get_mut(index) {
            self.scratch.resize(SCRATCH_BYTES, 0);
            relay.notice(now, plan);
            let (generation, due) = (relay.generation, relay.notice_due());
            if std::mem::replace(&mut relay.speaks_at, due) != due {
                self.rota.put(due, Place { index, generation });
            }
        }
    }

    #[cfg(test)]
    pub(in crate::media) fn times_known(&self) -> usize {
        self.rota.len()
    }
}
