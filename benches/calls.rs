//! Calls for the benchmarks of media: what each leg sends where, by which keys, and what it says.

use std::net::SocketAddr;
use std::sync::Arc;

use onrecord::model::{
    LegKeys, LegPlan, LineKeys, LinePlan, MediaKind, MediaPlan, Origin, Recorded, Remote, SessionId, SrtpKey, SrtpSuite,
};
use onrecord::rtp::{SRTP_GROWTH_MAX, Sealer};

/// 20 ms of G.711.
pub const PACKET_BYTES: usize = 172;
const SAMPLES: usize = PACKET_BYTES - 12;
const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// RTP on both legs.
    Clear,
    /// SRTP on both, by keys of their own.
    Sealed,
}

/// A strict call with one line of audio, answered. `local`: our RTP ports towards A and B; `remote`: theirs.
pub fn plan(number: u16, local: [SocketAddr; 2], remote: [SocketAddr; 2], kind: Kind) -> Box<MediaPlan> {
    let leg = |leg: usize| LegPlan {
        local: local[leg],
        remote: Some(Remote {
            rtp: remote[leg],
            rtcp: SocketAddr::new(remote[leg].ip(), remote[leg].port() + 1),
        }),
        deaf: false,
        mute: false,
        holds: false,
        origin: Origin::Signalled,
        formats: vec![(0, "PCMU".to_owned(), 8_000, 1)],
    };
    let line = LinePlan {
        index: 0,
        kind: MediaKind::Audio,
        a: leg(0),
        b: leg(1),
    };
    let keys = LineKeys {
        index: 0,
        legs: [0, 1].map(|leg| {
            Some(LegKeys {
                theirs: Some(Arc::new(key(number, leg, 1))),
                ours: Some(Arc::new(key(number, leg, 2))),
                ..LegKeys::default()
            })
        }),
        ice: [None, None],
        muxed: None,
    };
    Box::new(MediaPlan {
        session: SessionId::from_u128(u128::from(number)),
        recorded: Recorded::Strict,
        answered: true,
        lines: vec![line],
        keys: if kind == Kind::Sealed { vec![keys] } else { Vec::new() },
        agreed: Default::default(),
        far_end: Default::default(),
        pausing: Default::default(),
    })
}

fn key(number: u16, leg: u8, whose: u8) -> SrtpKey {
    let [high, low] = number.to_be_bytes();
    let mut master = [0x5a; 30];
    master[..4].copy_from_slice(&[high, low, leg, whose]);
    SrtpKey::new(SUITE, &master, None).expect("16 bytes of key and 14 of salt")
}

/// A leg's phone: something that is neither silent nor the same in each packet.
pub struct Phone {
    ssrc: u32,
    sequence: u16,
    noise: u32,
    sealer: Option<Sealer>,
    packet: [u8; PACKET_BYTES + SRTP_GROWTH_MAX],
    length: usize,
}

impl Phone {
    pub fn new(number: u16, leg: u8, kind: Kind) -> Self {
        let sealer = || Sealer::new(&key(number, leg, 1)).expect("no weak key");
        Self {
            ssrc: u32::from(number) << 1 | u32::from(leg),
            sequence: 0,
            noise: 1,
            sealer: (kind == Kind::Sealed).then(sealer),
            packet: [0; PACKET_BYTES + SRTP_GROWTH_MAX],
            length: PACKET_BYTES,
        }
    }

    /// The next packet; it is [`Self::packet`] then.
    pub fn speak(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        let timestamp = u32::from(self.sequence) * SAMPLES as u32;
        self.packet[..2].copy_from_slice(&[0x80, 0]);
        self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        self.packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        for sample in &mut self.packet[12..PACKET_BYTES] {
            self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = (self.noise >> 25) as u8 | 0x40; // quieter than the rails
        }
        if let Some(sealer) = &mut self.sealer {
            self.length = sealer
                .seal_rtp(&mut self.packet, PACKET_BYTES)
                .expect("each number once");
        }
    }

    pub fn packet(&self) -> &[u8] {
        &self.packet[..self.length]
    }
}
