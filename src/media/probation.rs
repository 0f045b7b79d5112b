//! Who of the strangers that are heard behind NAT is the party: who speaks on, packet after packet (the probation of RFC 3550 §A.1).

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{MediaKind, Timestamp};
use crate::rtp::is_stun;

/// Packets in sequence by which a source proves itself; RFC 3550 has 2, which a sprayer meets sooner.
const RUN_PACKETS: u8 = 5;
/// They come as media does, one this long after the other at most, which packets of 100 ms keep: a sweep of all ports takes longer.
const PACE: Duration = Duration::from_millis(130);
/// So many are proof at any pace on a line of text (RFC 4103), which comes when somebody types.
const SLOW_PACKETS: u8 = 25;
/// So many packets may be lost or overtaken in a sequence.
const REACH: u16 = 5;

/// A packet's place in its stream, as RTP tells it (RFC 3550 §5.1), and its arrival.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    ssrc: [u8; 4],
    sequence: u16,
    at: Timestamp,
    medium: Medium,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Medium {
    /// Sound and pictures, which have a pace.
    Paced,
    Text,
    /// No RTP, but numbered as that is (T.38 §9.1). Other protocols are by chance: it counts for who is to take the lock alone.
    Fax,
}

impl Place {
    /// On a line of this kind.
    pub(super) fn on(kind: MediaKind, at: Timestamp, packet: &[u8]) -> Option<Self> {
        let rtp = Self::of(at, packet);
        match packet {
            _ if kind != MediaKind::Other => rtp,
            [high, low, _, ..] if rtp.is_none() && !is_stun(packet) => Some(Self {
                ssrc: [0; 4],
                sequence: u16::from_be_bytes([*high, *low]),
                at,
                medium: Medium::Fax,
            }),
            _ => rtp.map(|rtp| Self {
                medium: Medium::Text,
                ..rtp
            }),
        }
    }

    /// None for what is no RTP.
    pub(crate) fn of(at: Timestamp, packet: &[u8]) -> Option<Self> {
        let [0x80..=0xBF, _, high, low, _, _, _, _, ssrc @ ..] = packet.first_chunk::<12>()? else {
            return None;
        };
        Some(Self {
            ssrc: *ssrc,
            sequence: u16::from_be_bytes([*high, *low]),
            at,
            medium: Medium::Paced,
        })
    }
}

/// What a packet is to a sequence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    Ahead,
    /// Overtaken.
    Late,
    /// Of one that came, or from before the first.
    Again,
    Apart,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Run {
    from: SocketAddr,
    newest: Place,
    /// Which came: bit 0 is the newest, bit 1 the one before.
    came: u8,
    length: u8,
    /// Of these, without a pause.
    dense: u8,
}

impl Run {
    const fn begun(from: SocketAddr, newest: Place) -> Self {
        Self {
            from,
            newest,
            came: u8::MAX,
            length: 1,
            dense: 1,
        }
    }

    fn take(&mut self, place: Place) -> Next {
        let ahead = place.sequence.wrapping_sub(self.newest.sequence);
        let behind = ahead.wrapping_neg();
        if place.ssrc != self.newest.ssrc {
            return Next::Apart;
        }
        if (1..=REACH).contains(&ahead) {
            let is_dense = place.at.since(self.newest.at) <= PACE;
            self.dense = if is_dense { self.dense.saturating_add(1) } else { 1 };
            self.length = self.length.saturating_add(1);
            self.came = self.came << ahead | 1;
            self.newest = place;
            return Next::Ahead;
        }
        if behind > REACH {
            return Next::Apart;
        }
        let is_again = self.came >> behind & 1 == 1;
        self.came |= 1 << behind;
        if is_again { Next::Again } else { Next::Late }
    }

    const fn is_proof(&self) -> bool {
        self.dense >= RUN_PACKETS || matches!(self.newest.medium, Medium::Text) && self.length >= SLOW_PACKETS
    }
}

/// Of the stranger that holds the lock, and of one that may take it.
///
/// | holder | its packet | another stranger's |
/// |---|---|---|
/// | has not proved itself | taken if it goes on with its sequence, or with that of its second SSRC, and is no copy | refused; by its fifth in a row, with none of a sequence of the holder between that comes as media does, it takes the lock |
/// | has proved itself | taken | refused |
///
/// So who has one packet in each sweep of all ports may be heard with it until the party speaks, and does not hinder that.
///
/// What is no RTP has no place, but on a line of fax: the holder's is taken, and another's proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probation {
    has_proved: bool,
    /// Of two streams, for sound and its repair (RFC 4588, RFC 8627) come by turns.
    holder: [Option<Run>; 2],
    other: Option<Run>,
}

impl Probation {
    /// `from` has the lock.
    pub(super) fn begin(from: SocketAddr, place: Option<Place>) -> Self {
        Self {
            holder: [place.map(|place| Run::begun(from, place)), None],
            ..Self::default()
        }
    }

    /// Who has the lock is as good as any.
    pub(super) fn trusted() -> Self {
        Self {
            has_proved: true,
            ..Self::default()
        }
    }

    /// Whether a packet of the holder is taken.
    pub(super) fn admits_holder(&mut self, from: SocketAddr, place: Option<Place>) -> bool {
        if self.has_proved {
            self.other = None;
            return true;
        }
        let Some(place) = place.filter(|place| place.medium != Medium::Fax) else {
            return true;
        };
        let is_first = self.holder == [None; 2];
        let run = self.run_of(place.ssrc);
        if !run.is_some_and(|run| run.newest.ssrc == place.ssrc) {
            *run = Some(Run::begun(from, place));
            return is_first;
        }
        let run = run.get_or_insert(Run::begun(from, place));
        let next = run.take(place);
        if next == Next::Apart {
            *run = Run::begun(from, place);
        }
        let run = *run;
        if next == Next::Ahead {
            self.has_proved = run.is_proof();
            // What comes at its own pace may be a sweep's.
            self.other = self.other.filter(|_| run.dense == 1);
        }
        matches!(next, Next::Ahead | Next::Late)
    }

    /// The holder's by this SSRC, or the one that makes room for it: the shorter, of two the older.
    fn run_of(&mut self, ssrc: [u8; 4]) -> &mut Option<Run> {
        let is_it = |run: &Option<Run>| run.is_some_and(|run| run.newest.ssrc == ssrc);
        let worth = |run: &Option<Run>| run.map(|run| (run.length, run.newest.at));
        let [first, second] = &mut self.holder;
        if is_it(first) || !is_it(second) && worth(first) < worth(second) {
            first
        } else {
            second
        }
    }

    /// Whether who holds the lock has shown to be who it is by what it says.
    pub(super) const fn has_proved(&self) -> bool {
        self.has_proved
    }

    /// Whether another stranger takes the lock by this packet.
    pub(super) fn yields_to(&mut self, from: SocketAddr, place: Option<Place>) -> bool {
        let is_proved = !self.has_proved && self.is_outrun_by(from, place);
        if is_proved {
            *self = Self::trusted();
        }
        is_proved
    }

    /// Whether another stranger has spoken on, with nothing of the holder between.
    pub(super) fn is_outrun_by(&mut self, from: SocketAddr, place: Option<Place>) -> bool {
        let Some(place) = place else { return false };
        match &mut self.other {
            Some(run) if run.from == from => {
                if run.take(place) == Next::Apart {
                    *run = Run::begun(from, place);
                }
            }
            // Others that come between count against it: who says most is tried.
            Some(run) if run.dense > 1 => run.dense -= 1,
            other => *other = Some(Run::begun(from, place)),
        }
        self.other.is_some_and(|run| run.from == from && run.is_proof())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `sequence`th packet of 20 ms.
    fn place(ssrc: u8, sequence: u16) -> Option<Place> {
        paced(ssrc, sequence, 20 * u64::from(sequence))
    }

    fn paced(ssrc: u8, sequence: u16, millis: u64) -> Option<Place> {
        Some(Place {
            ssrc: [0, 0, 0, ssrc],
            sequence,
            at: Timestamp::from_millis(millis),
            medium: Medium::Paced,
        })
    }

    fn at(port: u16) -> SocketAddr {
        ([203, 0, 113, 9], port).into()
    }

    #[test]
    fn a_place_is_read_from_rtp_alone() {
        let packet = [0x80, 0, 1, 2, 0, 0, 0, 0, 9, 8, 7, 6];
        let now = Timestamp::from_nanos(5);
        let found = Place::of(now, &packet).map(|place| (place.ssrc, place.sequence, place.at));
        assert_eq!(found, Some(([9, 8, 7, 6], 0x0102, now)));
        assert!(Place::of(now, &packet[..11]).is_none());
        assert!(Place::of(now, &[0; 12]).is_none(), "another version");
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
    fn who_types_takes_the_port_from_a_stray_packet_by_its_25th_at_any_pace() {
        let typed = |ssrc: u8, sequence: u16| {
            let medium = Medium::Text;
            paced(ssrc, sequence, 300 * u64::from(sequence)).map(|place| Place { medium, ..place })
        };
        let mut probation = Probation::begin(at(1), typed(1, 900));
        assert!((0..24).all(|sequence| !probation.yields_to(at(2), typed(2, sequence))));
        assert!(probation.yields_to(at(2), typed(2, 24)));
        assert!((25..90).all(|sequence| probation.admits_holder(at(2), typed(2, sequence))));
    }

    #[test]
    fn packets_of_100_ms_are_proof_though_they_come_unevenly() {
        let mut probation = Probation::begin(at(1), paced(1, 900, 0));
        let late = [0, 20, 0, 25, 5];
        let party = |packet: u16| paced(2, packet, 1_000 + 100 * u64::from(packet) + late[usize::from(packet)]);
        assert!((0..4).all(|packet| !probation.yields_to(at(2), party(packet))));
        assert!(probation.yields_to(at(2), party(4)));
    }

    #[test]
    fn a_sweep_of_all_ports_in_sequence_is_no_proof_and_gives_way_between_two_of_its_packets() {
        let mut probation = Probation::begin(at(1), paced(1, 0, 0));
        assert!((1..8).all(|sweep| probation.admits_holder(at(1), paced(1, sweep, 400 * u64::from(sweep)))));
        let party = |packet: u16| paced(2, packet, 2_810 + 20 * u64::from(packet));
        assert!((0..4).all(|packet| !probation.yields_to(at(2), party(packet))));
        assert!(probation.yields_to(at(2), party(4)));
        assert!(!probation.yields_to(at(1), paced(1, 8, 3_200)));
    }

    #[test]
    fn copies_and_numbers_that_fall_are_not_taken_from_who_has_not_proved_itself_and_do_not_hinder_the_party() {
        for step in [0, 1] {
            let mut probation = Probation::begin(at(1), paced(1, 900, 0));
            let sweep = |packet: u16| paced(1, 900 - step * packet, 15 * u64::from(packet));
            let party = |packet: u16| paced(2, packet, 15 * u64::from(packet));
            for packet in 1..5 {
                assert!(
                    !probation.admits_holder(at(1), sweep(packet)),
                    "{step}: packet {packet}"
                );
                assert!(!probation.yields_to(at(2), party(packet)));
            }
            assert!(!probation.admits_holder(at(1), sweep(5)));
            assert!(probation.yields_to(at(2), party(5)), "{step}");
        }
    }

    #[test]
    fn a_sweep_that_counts_is_no_proof_however_often_it_comes_and_hinders_no_party_with_packets_of_60_ms() {
        let mut probation = Probation::begin(at(1), paced(1, 0, 0));
        assert!((1..200).all(|sweep| probation.admits_holder(at(1), paced(1, sweep, 200 * u64::from(sweep)))));
        assert!(!probation.has_proved());
        let party = |packet: u16| paced(2, packet, 40_010 + 60 * u64::from(packet));
        assert!((0..3).all(|packet| !probation.yields_to(at(2), party(packet))));
        assert!(probation.admits_holder(at(1), paced(1, 200, 40_150)));
        assert!(!probation.yields_to(at(2), party(3)));
        assert!(probation.yields_to(at(2), party(4)));
    }

    #[test]
    fn fax_has_numbers_by_which_it_takes_a_lock_and_what_has_none_is_the_holders_all_the_same() {
        let other = |packet: &[u8], millis| Place::on(MediaKind::Other, Timestamp::from_millis(millis), packet);
        let medium = |place: Option<Place>| place.map(|place| (place.sequence, place.medium));
        assert_eq!(medium(other(&[0, 7, 1, 2], 5)), Some((7, Medium::Fax)));
        assert_eq!(other(&[0, 7], 5), None);
        assert_eq!(
            other(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], 5),
            None,
            "a check of a way"
        );
        let rtp = [0x80, 98, 1, 2, 0, 0, 0, 0, 9, 8, 7, 6];
        assert_eq!(medium(other(&rtp, 5)), Some((0x102, Medium::Text)));
        assert_eq!(Place::on(MediaKind::Audio, Timestamp::from_millis(5), &rtp[1..]), None);
        let mut probation = Probation::begin(at(1), None);
        assert!((0..9).all(|packet| probation.admits_holder(at(1), other(&[0x20, packet & 4, 0], 5))));
        let fax = |number: u8| other(&[0, number, 1], 30 * u64::from(number));
        assert!((0..4).all(|number| !probation.yields_to(at(2), fax(number))));
        assert!(probation.yields_to(at(2), fax(4)));
    }

    #[test]
    fn who_spoke_five_packets_keeps_the_lock_though_it_falls_silent_and_who_types_keeps_it_too() {
        let mut speaks = Probation::begin(at(1), place(1, 0));
        let typed = |packet: u16| {
            paced(1, packet, 900 * u64::from(packet)).map(|place| Place {
                medium: Medium::Text,
                ..place
            })
        };
        let mut types = Probation::begin(at(1), typed(0));
        assert!((1..5).all(|sequence| speaks.admits_holder(at(1), place(1, sequence))));
        assert!((1..25).all(|packet| types.admits_holder(at(1), typed(packet))));
        for mut probation in [speaks, types] {
            assert!((0..900).all(|sequence| !probation.yields_to(at(2), place(2, sequence))));
        }
    }

    #[test]
    fn losses_late_packets_and_another_stream_after_the_proof_are_the_partys() {
        let mut probation = Probation::begin(at(1), paced(1, 65_534, 0));
        for (sequence, taken) in [
            (0, true),
            (65_535, true),
            (2, true),
            (2, false),
            (1, true),
            (5, true),
            (6, true),
        ] {
            assert_eq!(
                probation.admits_holder(at(1), paced(1, sequence, 100)),
                taken,
                "{sequence}"
            );
        }
        assert!(
            probation.admits_holder(at(1), place(7, 40_000)),
            "an answer after ringing"
        );
        assert!(probation.admits_holder(at(1), None), "what is no RTP");
    }

    #[test]
    fn who_speaks_and_repairs_by_turns_takes_the_lock_and_is_heard_and_three_sources_by_turns_are_nobody() {
        let by_turns = |packet: u16, streams: u16| {
            let ssrc = u8::try_from(packet % streams).ok()?;
            paced(ssrc, packet / streams, 10 * u64::from(packet))
        };
        let mut probation = Probation::begin(at(1), by_turns(0, 2));
        assert!(
            !probation.admits_holder(at(1), by_turns(1, 2)),
            "one packet is no stream"
        );
        assert!((2..60).all(|packet| probation.admits_holder(at(1), by_turns(packet, 2))));
        assert!((0..60).all(|packet| !probation.yields_to(at(2), place(9, packet))));
        let mut probation = Probation::begin(at(1), by_turns(0, 3));
        let taken = (1..60).filter(|packet| probation.admits_holder(at(1), by_turns(*packet, 3)));
        assert!(taken.count() < 60);
        assert!(Probation::trusted().admits_holder(at(1), by_turns(1, 3)));
    }

    #[test]
    fn a_thousand_sources_that_say_less_than_the_party_do_not_keep_it_out() {
        let mut probation = Probation::begin(at(1), place(1, 0));
        let mut sprayer = 1_000;
        let took = (0..100).position(|sequence| {
            if sequence % 3 == 0 {
                sprayer += 1;
                assert!(!probation.yields_to(at(sprayer), paced(9, sprayer, 20 * u64::from(sequence))));
            }
            probation.yields_to(at(2), place(2, sequence))
        });
        assert!(took.is_some_and(|packets| packets < 12), "{took:?}");
    }
}
