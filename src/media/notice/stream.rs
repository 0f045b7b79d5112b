//! The stream that a leg hears: numbers that go on without a break, whoever speaks in it (RFC 3550 §5.1).

use std::time::Duration;

use crate::model::{CLIP_FRAME, SessionId, Timestamp};
use crate::rtp::RtpHeader;

/// Bytes of a header of ours: no CSRC, no extension.
pub(super) const HEADER_BYTES: usize = 12;
/// Packets of the far party, after a notice, of which one may be from before it and late.
const LATE_MAX: u8 = 100;

/// The numbers of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Numbers {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
}

impl Numbers {
    /// Whether a packet has them already.
    pub(super) fn is_of(self, header: &RtpHeader<'_>) -> bool {
        self == Self::of(header)
    }

    const fn of(header: &RtpHeader<'_>) -> Self {
        Self {
            ssrc: header.ssrc.0,
            sequence: header.sequence,
            timestamp: header.timestamp,
        }
    }
}

/// Towards one leg. What we say has the SSRC of the far party's stream, and what follows is renumbered behind it; where the
/// far party has not spoken we have one of ours, and its stream begins as it is.
#[derive(Debug)]
pub(super) struct Stream {
    own_ssrc: u32,
    /// The newest packet that was sent, and when.
    last: Option<(Numbers, Timestamp)>,
    /// The newest was ours, so many units of its clock long.
    spoken: Option<u32>,
    /// What is added to the numbers of the stream of this SSRC.
    shift: Numbers,
    /// Of the far party's packets, the first that was renumbered since we spoke, and how many more are looked at.
    floor: Option<(u16, u8)>,
}

impl Stream {
    pub(super) fn new(session: SessionId, leg: usize) -> Self {
        // A session's name is drawn by chance: so are its lowest bits.
        let own_ssrc = (session.as_u128() as u32).wrapping_add(leg as u32);
        Self {
            own_ssrc,
            last: None,
            spoken: None,
            shift: Numbers {
                ssrc: own_ssrc,
                sequence: 0,
                timestamp: 0,
            },
            floor: None,
        }
    }

    /// A packet of the far party that the leg does not get. Before anything else it tells which stream the leg hears.
    pub(super) fn hush(&mut self, now: Timestamp, header: &RtpHeader<'_>, ticks: u32) {
        if self.last.is_none() {
            let before = Numbers {
                sequence: header.sequence.wrapping_sub(1),
                timestamp: header.timestamp.wrapping_sub(ticks),
                ..Numbers::of(header)
            };
            self.last = Some((before, now - CLIP_FRAME));
        }
    }

    /// The numbers by which a packet of the far party is sent on; None: it is from before a notice, and late. `is_voice`: its
    /// timestamp is that of the sound, not of an event that may have begun long ago.
    pub(super) fn follow(&mut self, now: Timestamp, header: &RtpHeader<'_>, is_voice: bool) -> Option<Numbers> {
        let theirs = Numbers::of(header);
        if self.shift.ssrc != theirs.ssrc {
            self.shift = Numbers {
                ssrc: theirs.ssrc,
                sequence: 0,
                timestamp: 0,
            };
            self.floor = None;
        }
        if let Some((first, left)) = self.floor {
            let behind = first.wrapping_sub(theirs.sequence).cast_signed();
            let is_late = (1..=i16::from(LATE_MAX)).contains(&behind);
            // Farther behind, its source has begun anew.
            let left = left.checked_sub(1).filter(|_| behind <= 0 || is_late);
            self.floor = left.map(|left| (first, left));
            if is_late {
                return None;
            }
        }
        if let (Some(ticks), Some((last, _))) = (self.spoken, self.last)
            && last.ssrc == theirs.ssrc
        {
            self.shift.sequence = last.sequence.wrapping_add(1).wrapping_sub(theirs.sequence);
            let end = last.timestamp.wrapping_add(ticks);
            let shifted = theirs.timestamp.wrapping_add(self.shift.timestamp);
            if is_voice && shifted.wrapping_sub(end).cast_signed() < 0 {
                self.shift.timestamp = end.wrapping_sub(theirs.timestamp);
            }
            self.floor = Some((theirs.sequence, LATE_MAX));
            self.spoken = None;
        }
        let ours = Numbers {
            ssrc: theirs.ssrc,
            sequence: theirs.sequence.wrapping_add(self.shift.sequence),
            timestamp: theirs.timestamp.wrapping_add(self.shift.timestamp),
        };
        let is_newest = self.last.is_none_or(|(last, _)| {
            last.ssrc != ours.ssrc || ours.sequence.wrapping_sub(last.sequence).cast_signed() > 0
        });
        if is_newest {
            self.spoken = None;
            // An event's timestamp stands still: the sound goes on from where it was.
            let known = self.last.filter(|(last, _)| !is_voice && last.ssrc == ours.ssrc);
            let (timestamp, at) = known.map_or((ours.timestamp, now), |(last, at)| (last.timestamp, at));
            self.last = Some((Numbers { timestamp, ..ours }, at));
        }
        Some(ours)
    }

    /// The numbers of a packet of ours. `ticks`: its length in units of its clock.
    pub(super) fn speak(&mut self, now: Timestamp, ticks: u32, is_first: bool) -> Numbers {
        let numbers = match self.last {
            None => Numbers {
                ssrc: self.own_ssrc,
                sequence: (self.own_ssrc >> 16) as u16,
                timestamp: self.own_ssrc.rotate_left(8),
            },
            Some((last, at)) => {
                let passed = if is_first || self.spoken.is_none() {
                    // What was last may have been longer than a packet of ours is, or long ago.
                    units(now.since(at), ticks * 50).max(ticks)
                } else {
                    ticks
                };
                Numbers {
                    ssrc: last.ssrc,
                    sequence: last.sequence.wrapping_add(1),
                    timestamp: last.timestamp.wrapping_add(passed),
                }
            }
        };
        self.last = Some((numbers, now));
        self.spoken = Some(ticks);
        numbers
    }
}

/// Units of a clock of so many Hz; wraps as timestamps do.
fn units(time: Duration, hertz: u32) -> u32 {
    (time.as_nanos() * u128::from(hertz) / 1_000_000_000) as u32
}

/// Writes the header of a packet of ours.
pub(super) fn write_header(numbers: Numbers, payload_type: u8, is_first: bool, packet: &mut [u8; HEADER_BYTES]) {
    let [s0, s1] = numbers.sequence.to_be_bytes();
    let [t0, t1, t2, t3] = numbers.timestamp.to_be_bytes();
    let [r0, r1, r2, r3] = numbers.ssrc.to_be_bytes();
    let marker = if is_first { 0x80 } else { 0 };
    *packet = [0x80, marker | payload_type, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3];
}

/// Writes other numbers into a packet that has a header.
pub(super) fn renumber(numbers: Numbers, packet: &mut [u8]) {
    if let Some(field) = packet.get_mut(2..4) {
        field.copy_from_slice(&numbers.sequence.to_be_bytes());
    }
    if let Some(field) = packet.get_mut(4..8) {
        field.copy_from_slice(&numbers.timestamp.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rtp::packet::tests::rtp;

    fn numbers(ssrc: u32, sequence: u16) -> Numbers {
        Numbers {
            ssrc,
            sequence,
            timestamp: u32::from(sequence) * 160,
        }
    }

    fn follow(stream: &mut Stream, now: u64, ssrc: u32, sequence: u16) -> Option<Numbers> {
        let packet = rtp(ssrc, sequence);
        stream.follow(Timestamp::from_millis(now), &RtpHeader::parse(&packet).unwrap(), true)
    }

    #[test]
    fn numbers_go_on_through_a_notice_whoever_counts_faster() {
        for (spoken, missed) in [(25_u16, 25_u16), (25, 20), (25, 30), (25, 0)] {
            let mut stream = Stream::new(SessionId::from_u128(1), 0);
            assert_eq!(
                follow(&mut stream, 1_000, 7, 1_000),
                Some(numbers(7, 1_000)),
                "untouched before"
            );
            let mut last = numbers(7, 1_000);
            for frame in 0..spoken {
                let now = Timestamp::from_millis(1_020 + 20 * u64::from(frame));
                let said = stream.speak(now, 160, frame == 0);
                assert_eq!((said.ssrc, said.sequence), (7, last.sequence.wrapping_add(1)));
                assert_eq!(said.timestamp, last.timestamp.wrapping_add(160));
                last = said;
            }
            for sequence in 0..50 {
                let theirs = 1_001_u16.wrapping_add(missed).wrapping_add(sequence);
                let sent = follow(&mut stream, 1_540 + 20 * u64::from(sequence), 7, theirs).unwrap();
                assert_eq!(sent.sequence, last.sequence.wrapping_add(1));
                assert!(
                    sent.timestamp.wrapping_sub(last.timestamp).cast_signed() >= 160,
                    "{sent:?} after {last:?}"
                );
                last = sent;
            }
        }
    }

    #[test]
    fn what_is_late_from_before_a_notice_takes_no_number_of_it() {
        let mut stream = Stream::new(SessionId::from_u128(1), 0);
        follow(&mut stream, 1_000, 7, 10);
        stream.speak(Timestamp::from_millis(1_020), 160, true);
        assert_eq!(follow(&mut stream, 1_060, 7, 13).unwrap().sequence, 12);
        assert_eq!(follow(&mut stream, 1_061, 7, 12), None, "it would be a second 11");
        for sequence in 14..200 {
            assert_eq!(follow(&mut stream, 2_000, 7, sequence).unwrap().sequence, sequence - 1);
        }
        assert_eq!(
            follow(&mut stream, 2_001, 7, 150).unwrap().sequence,
            149,
            "as late as any"
        );
    }

    #[test]
    fn a_source_that_begins_anew_after_a_notice_is_heard() {
        let mut stream = Stream::new(SessionId::from_u128(1), 0);
        follow(&mut stream, 1_000, 7, 999);
        stream.speak(Timestamp::from_millis(1_020), 160, true);
        assert!(follow(&mut stream, 1_040, 7, 1_000).is_some());
        let heard = |stream: &mut Stream, from: u16| {
            let sequences = from..from + 200;
            sequences
                .filter_map(|sequence| follow(stream, 2_000, 7, sequence))
                .count()
        };
        assert_eq!(heard(&mut stream, 5), 200, "from the first on");

        stream.speak(Timestamp::from_millis(6_000), 160, true);
        assert!(follow(&mut stream, 6_020, 7, 300).is_some());
        assert_eq!(heard(&mut stream, 250), 150, "the first may be late");
        assert_eq!(heard(&mut stream, 250), 200, "these cannot");
    }

    #[test]
    fn before_the_far_party_speaks_we_have_a_source_of_our_own_and_its_stream_begins_as_it_is() {
        let mut stream = Stream::new(SessionId::from_u128(0xabcd_0001), 1);
        let first = stream.speak(Timestamp::from_millis(0), 160, true);
        let next = stream.speak(Timestamp::from_millis(20), 160, false);
        assert_eq!(first.ssrc, 0xabcd_0002);
        assert_eq!(
            (next.sequence, next.timestamp),
            (first.sequence.wrapping_add(1), first.timestamp.wrapping_add(160))
        );
        assert_eq!(follow(&mut stream, 40, 7, 500), Some(numbers(7, 500)));
        let again = stream.speak(Timestamp::from_millis(100), 160, true);
        assert_eq!(
            again,
            Numbers {
                ssrc: 7,
                sequence: 501,
                timestamp: 500 * 160 + 480
            },
            "60 ms later"
        );
    }

    #[test]
    fn another_source_is_not_renumbered() {
        let mut stream = Stream::new(SessionId::from_u128(1), 0);
        follow(&mut stream, 0, 7, 10);
        for frame in 0..5 {
            stream.speak(Timestamp::from_millis(20 + frame * 20), 160, frame == 0);
        }
        assert_eq!(follow(&mut stream, 120, 7, 11).unwrap().sequence, 16);
        assert_eq!(follow(&mut stream, 140, 8, 900), Some(numbers(8, 900)));
    }

    #[test]
    fn what_is_hushed_first_tells_the_numbers() {
        let mut stream = Stream::new(SessionId::from_u128(1), 0);
        let packet = rtp(7, 42);
        stream.hush(Timestamp::from_millis(100), &RtpHeader::parse(&packet).unwrap(), 160);
        assert_eq!(stream.speak(Timestamp::from_millis(100), 160, true), numbers(7, 42));
    }
}
