//! Who of the strangers that are heard behind NAT is the party: who speaks on, packet after packet (the probation of RFC 3550 §A.1).

use std::net::SocketAddr;

/// Packets in sequence by which a source proves itself; RFC 3550 has 2, which a sprayer meets sooner.
const RUN_PACKETS: u8 = 5;
/// Packets after which who was heard is the party, whoever comes: some seconds.
const SURE_PACKETS: u16 = 250;
/// So many packets may be lost or overtaken in a sequence.
const REACH: u16 = 5;

/// A packet's place in its stream, as RTP tells it (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    ssrc: [u8; 4],
    sequence: u16,
}

impl Place {
    /// None for what is no RTP.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let [0x80..=0xBF, _, high, low, _, _, _, _, ssrc @ ..] = packet.first_chunk::<12>()? else {
            return None;
        };
        Some(Self {
            ssrc: *ssrc,
            sequence: u16::from_be_bytes([*high, *low]),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Run {
    at: SocketAddr,
    newest: Place,
    length: u8,
}

impl Run {
    const fn begun(at: SocketAddr, newest: Place) -> Self {
        Self { at, newest, length: 1 }
    }

    /// Whether a packet goes on with it, or comes late.
    fn goes_on(&mut self, place: Place) -> bool {
        let ahead = place.sequence.wrapping_sub(self.newest.sequence);
        let behind = ahead.wrapping_neg();
        if place.ssrc != self.newest.ssrc {
            return false;
        }
        if (1..=REACH).contains(&ahead) {
            self.newest = place;
            self.length = self.length.saturating_add(1);
        }
        ahead <= REACH || behind <= REACH
    }

    const fn is_proof(&self) -> bool {
        self.length >= RUN_PACKETS
    }
}

/// Of the stranger that holds the lock, and of one that may take it.
///
/// | holder | its packet | another stranger's |
/// |---|---|---|
/// | has not proved itself | taken if it goes on with its sequence | refused; in its fifth in a row, with none of the holder's sequence between, it takes the lock |
/// | has, some seconds of it not heard yet | taken | the same |
/// | is sure | taken | refused |
///
/// What is no RTP has no place: the holder's is taken, and another's proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probation {
    holder: Option<Run>,
    has_proved: bool,
    heard: u16,
    other: Option<Run>,
}

impl Probation {
    /// `at` has the lock.
    pub(super) fn begin(at: SocketAddr, place: Option<Place>) -> Self {
        Self {
            holder: place.map(|place| Run::begun(at, place)),
            ..Self::default()
        }
    }

    /// `at` has the lock, and is as good as any.
    pub(super) fn trusted() -> Self {
        Self {
            has_proved: true,
            ..Self::default()
        }
    }

    /// Whether a packet of the holder is taken.
    pub(super) fn admits_holder(&mut self, at: SocketAddr, place: Option<Place>) -> bool {
        let Some(place) = place else { return true };
        if !self.has_proved {
            let run = self.holder.get_or_insert(Run::begun(at, place));
            if !run.goes_on(place) {
                self.holder = Some(Run::begun(at, place));
                return false;
            }
            self.has_proved = run.is_proof();
        }
        self.other = None;
        self.heard = self.heard.saturating_add(1);
        true
    }

    /// Whether another stranger takes the lock by this packet.
    pub(super) fn yields_to(&mut self, at: SocketAddr, place: Option<Place>) -> bool {
        let Some(place) = place.filter(|_| self.heard < SURE_PACKETS) else {
            return false;
        };
        match &mut self.other {
            Some(run) if run.at == at => {
                if !run.goes_on(place) {
                    *run = Run::begun(at, place);
                }
            }
            // Others that come between count against it: who says most is tried.
            Some(run) if run.length > 1 => run.length -= 1,
            other => *other = Some(Run::begun(at, place)),
        }
        let is_proved = self.other.is_some_and(|run| run.at == at && run.is_proof());
        if is_proved {
            *self = Self {
                holder: self.other,
                has_proved: true,
                heard: u16::from(RUN_PACKETS),
                other: None,
            };
        }
        is_proved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(ssrc: u8, sequence: u16) -> Option<Place> {
        Some(Place {
            ssrc: [0, 0, 0, ssrc],
            sequence,
        })
    }

    fn at(port: u16) -> SocketAddr {
        ([203, 0, 113, 9], port).into()
    }

    #[test]
    fn a_place_is_read_from_rtp_alone() {
        let packet = [0x80, 0, 1, 2, 0, 0, 0, 0, 9, 8, 7, 6];
        let wanted = Place {
            ssrc: [9, 8, 7, 6],
            sequence: 0x0102,
        };
        assert_eq!(Place::of(&packet), Some(wanted));
        assert_eq!(Place::of(&packet[..11]), None);
        assert_eq!(Place::of(&[0; 12]), None, "another version");
    }

    #[test]
    fn who_was_first_and_speaks_out_of_sequence_gives_way_in_the_fifth_packet_of_who_speaks_on() {
        let mut probation = Probation::begin(at(1), place(1, 100));
        let sweeps = (1..50_u16).map(|sweep| sweep.wrapping_mul(20_000).wrapping_add(100));
        let taken = sweeps.filter(|sequence| probation.admits_holder(at(1), place(1, *sequence)));
        assert_eq!(taken.count(), 0, "one packet was enough");
        for sequence in 0..4 {
            assert!(!probation.yields_to(at(2), place(2, sequence)));
            assert!(
                !probation.admits_holder(at(1), place(1, sequence * 977)),
                "nor does it hinder"
            );
        }
        assert!(probation.yields_to(at(2), place(2, 4)));
        assert!((5..300).all(|sequence| probation.admits_holder(at(2), place(2, sequence))));
        assert!((0..300).all(|sequence| !probation.yields_to(at(1), place(1, sequence))));
    }

    #[test]
    fn who_speaks_in_sequence_keeps_the_lock_while_it_speaks_and_for_good_after_some_seconds() {
        let mut probation = Probation::begin(at(1), place(1, 0));
        for sequence in 1..SURE_PACKETS {
            assert!(probation.admits_holder(at(1), place(1, sequence)));
            assert!(!probation.yields_to(at(2), place(2, sequence)), "as loud as it is");
        }
        let mut silent = probation;
        assert!((300..304).all(|sequence| !silent.yields_to(at(2), place(2, sequence))));
        assert!(
            silent.yields_to(at(2), place(2, 304)),
            "who fell silent so soon was none"
        );
        assert!(probation.admits_holder(at(1), place(1, SURE_PACKETS)));
        assert!((300..900).all(|sequence| !probation.yields_to(at(2), place(2, sequence))));
    }

    #[test]
    fn losses_late_packets_and_another_stream_after_the_proof_are_the_partys() {
        let mut probation = Probation::begin(at(1), place(1, 65_534));
        for sequence in [0, 65_535, 2, 2, 1, 5, 6] {
            assert!(probation.admits_holder(at(1), place(1, sequence)), "{sequence}");
        }
        assert!(
            probation.admits_holder(at(1), place(7, 40_000)),
            "an answer after ringing"
        );
        assert!(probation.admits_holder(at(1), None), "what is no RTP");
    }

    #[test]
    fn a_thousand_sources_that_say_less_than_the_party_do_not_keep_it_out() {
        let mut probation = Probation::begin(at(1), place(1, 0));
        let mut sprayer = 1_000;
        let took = (0..100).position(|sequence| {
            if sequence % 3 == 0 {
                sprayer += 1;
                assert!(!probation.yields_to(at(sprayer), place(9, sprayer * 31)));
            }
            probation.yields_to(at(2), place(2, sequence))
        });
        assert!(took.is_some_and(|packets| packets < 12), "{took:?}");
    }
}
