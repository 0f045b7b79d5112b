//! A relay's sockets: of each line those that face leg A, those that face leg B.

use super::Relay;
use crate::media::port::{Channel, Port};
use crate::media::side::{Binding, Socket};
use crate::model::Leg;

impl Relay {
    /// Every port that is bound or about to be.
    pub(in crate::media) fn ports(&self, place: usize) -> impl Iterator<Item = Port> {
        self.sockets()
            .filter(|(_, socket)| socket.binding != Binding::Absent)
            .map(move |((line, leg, channel), _)| Port::new(place, self.generation, line, leg, channel))
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = ((usize, Leg, Channel), &Socket)> {
        self.lines.iter().enumerate().flat_map(|(place, line)| {
            Leg::BOTH.into_iter().flat_map(move |leg| {
                Channel::BOTH
                    .into_iter()
                    .map(move |channel| ((place, leg, channel), &line.sides[leg.index()].sockets[channel.index()]))
            })
        })
    }

    pub(super) fn socket(&mut self, port: Port) -> Option<&mut Socket> {
        let line = self.lines.get_mut(port.line())?;
        Some(&mut line.sides[port.leg().index()].sockets[port.channel().index()])
    }
}
