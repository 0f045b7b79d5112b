//! What is for ourselves: checks of ways, and handshakes.

use std::net::SocketAddr;

use super::Relay;
use crate::media::port::{Channel, Port};
use crate::media::shaking::Step;
use crate::media::side::Side;
use crate::model::{Leg, MediaEvent, Timestamp, earliest};

/// What a handshake or a check has come to.
#[derive(Debug)]
pub(in crate::media) enum News {
    Send { via: Port, to: SocketAddr, bytes: Vec<u8> },
    Event(MediaEvent),
}

impl Relay {
    /// A check of a way, or a part of a handshake.
    #[cold]
    pub(super) fn on_own(&mut self, now: Timestamp, port: Port, from: SocketAddr, bytes: &[u8]) {
        let line = &mut self.lines[port.line()];
        let ours = line.is_ours(from.ip());
        let mut said = Vec::new();
        if !line.sides[port.leg().index()].handle_own(now, (from, ours), bytes, &mut said) {
            self.tally.foreign += 1;
        }
        self.stirred = true;
        self.on_steps(port, said);
    }

    fn on_steps(&mut self, port: Port, said: Vec<Step>) {
        let line = &mut self.lines[port.line()];
        let leg = port.leg();
        for step in said {
            match step {
                Step::Send(to, bytes) => self.news.push(News::Send { via: port, to, bytes }),
                Step::Keys(keys) => line.sides[leg.index()].key_by(*keys),
                Step::Failed(fault) => self.news.push(News::Event(MediaEvent::Unkeyed {
                    session: self.session,
                    leg,
                    line: line.index,
                    fault,
                    keyed: line.sides[leg.index()]
                        .secrecy
                        .as_ref()
                        .is_some_and(|known| known.can_seal()),
                })),
            }
        }
    }

    /// The handshakes that are ours to begin.
    pub(super) fn begin(&mut self, now: Timestamp, place: usize) {
        self.stir(place, |side, said| side.begin(now, said));
    }

    pub(in crate::media) fn handle_timeout(&mut self, now: Timestamp, place: usize) {
        self.stir(place, |side, said| side.handle_timeout(now, said));
    }

    fn stir(&mut self, place: usize, mut each: impl FnMut(&mut Side, &mut Vec<Step>)) {
        self.stirred = true;
        for line in 0..self.lines.len() {
            for leg in Leg::BOTH {
                let mut said = Vec::new();
                each(&mut self.lines[line].sides[leg.index()], &mut said);
                self.on_steps(Port::new(place, self.generation, line, leg, Channel::Rtp), said);
            }
        }
    }

    pub(in crate::media) fn poll_timeout(&self) -> Option<Timestamp> {
        let sides = self.lines.iter().flat_map(|line| &line.sides);
        let dues = sides.filter_map(Side::poll_timeout);
        dues.fold(None, |first, due| earliest(first, Some(due)))
    }

    /// What handshakes and checks have come to; None: nothing happened.
    pub(in crate::media) fn take_news(&mut self) -> Option<Vec<News>> {
        std::mem::take(&mut self.stirred).then(|| std::mem::take(&mut self.news))
    }
}
