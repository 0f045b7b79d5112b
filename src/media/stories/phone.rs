//! A telephone whose packets come as those of a real one, or not.

use std::time::Duration;

use super::*;

/// What one leg's telephone sends: its sequence numbers and timestamps go on by themselves.
pub(super) struct Phone {
    pub(super) leg: Leg,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    /// Ticks a packet.
    pub(super) step: u32,
}

impl Phone {
    pub(super) const fn new(leg: Leg, payload_type: u8) -> Self {
        Self {
            leg,
            ssrc: 0x00aa_0000 + leg.index() as u32,
            payload_type,
            sequence: u16::MAX - 20,
            timestamp: u32::MAX - 3_200,
            step: 160,
        }
    }

    pub(super) fn next(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, self.payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.step);
        packet
    }

    /// The network loses the next packets.
    pub(super) const fn lose(&mut self, packets: u16) {
        self.sequence = self.sequence.wrapping_add(packets);
        self.timestamp = self.timestamp.wrapping_add(self.step * packets as u32);
    }
}

impl World {
    pub(super) fn wait(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    pub(super) fn from(leg: Leg) -> &'static str {
        match leg {
            Leg::A => A,
            Leg::B => B,
        }
    }

    /// A packet on the first line, at the right time after the one before.
    pub(super) fn say(&mut self, phone: &mut Phone, payload: &[u8]) {
        let packet = phone.next(payload);
        self.deliver(phone.leg, &packet);
        self.wait(u64::from(phone.step) / 8);
    }

    pub(super) fn deliver(&mut self, leg: Leg, packet: &[u8]) {
        let port = self.port(0, leg, Channel::Rtp);
        let verdict = self.send(port, Self::from(leg), packet);
        assert_eq!(goes_to(verdict), Self::from(leg.other()));
    }
}
