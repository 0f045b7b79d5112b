//! What a key has encrypted so far: for each SSRC the rollover counter, and which of the last packets were there (RFC 3711 §3.2.3,
//! §3.3.1, §3.3.2).

use super::SrtpError;
use crate::model::Ssrc;

/// Streams of one key. More are refused: the state of one that was forgotten could be used again, by who repeats its packets.
pub const STREAMS_MAX: usize = 4_096;

/// Packets before the newest one that are told apart; RFC 3711 §3.3.2 asks for 64.
const WINDOW: u64 = 128;
/// 2^48 packets (RFC 3711 §9.2).
const INDEX_MAX: u64 = (1 << 48) - 1;
/// 2^31 packets.
const RTCP_INDEX_MAX: u32 = (1 << 31) - 1;
/// Half of the sequence numbers.
pub(super) const HALF: u16 = 1 << 15;

/// Rollover counter and sequence number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Index(u64);

impl Index {
    pub(super) const fn new(rollovers: u32, sequence: u16) -> Self {
        Self((rollovers as u64) << 16 | sequence as u64)
    }

    pub(super) const fn rollovers(self) -> u32 {
        (self.0 >> 16) as u32
    }

    pub(super) const fn sequence(self) -> u16 {
        self.0 as u16
    }

    /// 48 bits, in network order.
    pub(super) fn to_bytes(self) -> [u8; 6] {
        let [_, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    /// The index nearest to `newest` that has this sequence number (RFC 3711 §3.3.1, appendix A). None before the first.
    fn near(newest: Self, sequence: u16) -> Option<Self> {
        let (rollovers, last) = (newest.rollovers(), newest.sequence());
        let rollovers = if last < HALF && sequence.checked_sub(last).is_some_and(|ahead| ahead > HALF) {
            rollovers.checked_sub(1)?
        } else if last >= HALF && last - HALF > sequence {
            rollovers.checked_add(1)?
        } else {
            rollovers
        };
        Some(Self::new(rollovers, sequence))
    }
}

/// Which of the last packets were there.
#[derive(Clone, Copy, Debug)]
struct Window {
    newest: Option<u64>,
    /// Bit n: the one that is n before the newest.
    seen: u128,
}

impl Window {
    const EMPTY: Self = Self { newest: None, seen: 0 };

    fn is_fresh(&self, index: u64) -> bool {
        let Some(newest) = self.newest else { return true };
        match newest.checked_sub(index) {
            None => true,
            Some(age) => age < WINDOW && self.seen >> age & 1 == 0,
        }
    }

    fn settle(&mut self, index: u64) {
        let newest = self.newest.unwrap_or(index);
        match index.checked_sub(newest) {
            Some(ahead) => {
                let moved = u32::try_from(ahead).ok().and_then(|ahead| self.seen.checked_shl(ahead));
                self.seen = moved.unwrap_or(0) | 1;
                self.newest = Some(index);
            }
            None => self.seen |= 1_u128.checked_shl((newest - index) as u32).unwrap_or(0),
        }
    }
}

#[derive(Debug)]
struct Stream {
    ssrc: Ssrc,
    rtp: Window,
    rtcp: Window,
    /// What is added to the sequence numbers of packets that are encrypted, since their source began anew.
    shift: u16,
    /// After one that is too old to be encrypted: the number that would follow it.
    follows_stray: Option<u16>,
}

impl Stream {
    const fn new(ssrc: Ssrc) -> Self {
        Self {
            ssrc,
            rtp: Window::EMPTY,
            rtcp: Window::EMPTY,
            shift: 0,
            follows_stray: None,
        }
    }

    /// `first`: what it is where nothing was heard yet.
    fn expect(&self, first: Index) -> Result<Index, SrtpError> {
        let Some(newest) = self.rtp.newest else {
            return Ok(first);
        };
        let index = Index::near(Index(newest), first.sequence()).filter(|index| self.rtp.is_fresh(index.0));
        index.ok_or(SrtpError::Replayed)
    }

    /// Two in a row that are too old are a source that began anew (RFC 3550 appendix A.1): it goes on after the newest.
    fn number(&mut self, sequence: u16) -> Result<Index, SrtpError> {
        let shifted = sequence.wrapping_add(self.shift);
        if let Ok(index) = self.expect(Index::new(0, shifted)) {
            self.follows_stray = None;
            return Ok(index);
        }
        let newest = self.rtp.newest.ok_or(SrtpError::Replayed)?;
        if (Index(newest).sequence().wrapping_sub(shifted) as u64) < WINDOW {
            return Err(SrtpError::Replayed);
        }
        if self.follows_stray.replace(sequence.wrapping_add(1)) != Some(sequence) {
            return Err(SrtpError::Replayed);
        }
        let next = Index(newest + 1);
        self.shift = next.sequence().wrapping_sub(sequence);
        self.follows_stray = None;
        Ok(next)
    }
}

/// The streams of one key, in the order in which they were first heard.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// Where each stands, by its SSRC.
    places: Vec<(Ssrc, u16)>,
    /// Where the last one stands: nearly always the next one, too.
    latest: usize,
}

impl Streams {
    pub(super) const fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// The index that a packet with the sequence number of `first` must have, if it is new; `first`, if it is its stream's.
    /// Nothing changes before `settle`.
    pub(super) fn expect_rtp(&mut self, ssrc: Ssrc, first: Index) -> Result<Index, SrtpError> {
        self.find(ssrc)?.map_or(Ok(first), |stream| stream.expect(first))
    }

    /// The index by which a packet is encrypted: none is used twice. Its sequence number is another one than the packet's
    /// after a source began anew under its SSRC: the receiver could not tell the rollover counter otherwise.
    pub(super) fn next_rtp(&mut self, ssrc: Ssrc, sequence: u16) -> Result<Index, SrtpError> {
        let first = Index::new(0, sequence);
        let index = self.find(ssrc)?.map_or(Ok(first), |stream| stream.number(sequence))?;
        if index.0 >= INDEX_MAX {
            return Err(SrtpError::Exhausted);
        }
        Ok(index)
    }

    pub(super) fn is_heard(&mut self, ssrc: Ssrc) -> bool {
        let known = self.find(ssrc).ok().flatten();
        known.is_some_and(|stream| stream.rtp.newest.is_some())
    }

    pub(super) fn settle_rtp(&mut self, ssrc: Ssrc, index: Index) {
        self.at(ssrc).rtp.settle(index.0);
    }

    pub(super) fn expect_rtcp(&mut self, ssrc: Ssrc, index: u32) -> Result<(), SrtpError> {
        let is_fresh = self
            .find(ssrc)?
            .is_none_or(|stream| stream.rtcp.is_fresh(u64::from(index)));
        if is_fresh { Ok(()) } else { Err(SrtpError::Replayed) }
    }

    pub(super) fn settle_rtcp(&mut self, ssrc: Ssrc, index: u32) {
        self.at(ssrc).rtcp.settle(u64::from(index));
    }

    /// The next index of SRTCP, which is used from here on.
    pub(super) fn next_rtcp(&mut self, ssrc: Ssrc) -> Result<u32, SrtpError> {
        self.find(ssrc)?;
        let window = &mut self.at(ssrc).rtcp;
        let next = window.newest.map_or(0, |newest| newest + 1);
        let index = u32::try_from(next).ok().filter(|index| *index <= RTCP_INDEX_MAX);
        let index = index.ok_or(SrtpError::Exhausted)?;
        window.settle(next);
        Ok(index)
    }

    /// Err: it would be one too many.
    fn find(&mut self, ssrc: Ssrc) -> Result<Option<&mut Stream>, SrtpError> {
        if self.streams.get(self.latest).is_none_or(|latest| latest.ssrc != ssrc) {
            match self.place_of(ssrc) {
                Ok(place) => self.latest = place,
                Err(_) if self.streams.len() >= STREAMS_MAX => return Err(SrtpError::Exhausted),
                Err(_) => return Ok(None),
            }
        }
        Ok(self.streams.get_mut(self.latest))
    }

    /// Err: where its place would be told.
    fn place_of(&self, ssrc: Ssrc) -> Result<usize, usize> {
        let found = self.places.binary_search_by_key(&ssrc, |(known, _)| *known);
        found.map(|told| usize::from(self.places[told].1))
    }

    fn at(&mut self, ssrc: Ssrc) -> &mut Stream {
        let is_it = |stream: &Stream| stream.ssrc == ssrc;
        if !self.streams.get(self.latest).is_some_and(is_it) {
            self.latest = self.place_of(ssrc).unwrap_or_else(|told| {
                let place = self.streams.len();
                let narrow = u16::try_from(place).expect("invariant: STREAMS_MAX fits u16");
                self.places.insert(told, (ssrc, narrow));
                self.streams.push(Stream::new(ssrc));
                place
            });
        }
        &mut self.streams[self.latest]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_the_nearest_that_has_the_sequence_number() {
        let near = |rollovers, last, sequence| {
            Index::near(Index::new(rollovers, last), sequence).map(|index| (index.rollovers(), index.sequence()))
        };
        assert_eq!(near(0, 65_535, 0), Some((1, 0)));
        assert_eq!(near(1, 0, 65_535), Some((0, 65_535)));
        assert_eq!(near(0, 3, 65_535), None, "before the first packet there was none");
        assert_eq!(near(5, 1_000, 33_768), Some((5, 33_768)));
        assert_eq!(near(5, 1_000, 33_769), Some((4, 33_769)));
        assert_eq!(near(5, 40_000, 7_232), Some((5, 7_232)));
        assert_eq!(near(5, 40_000, 7_231), Some((6, 7_231)));
        assert_eq!(near(u32::MAX, 65_535, 0), None);
    }

    #[test]
    fn a_window_takes_each_packet_once_in_any_order() {
        let mut window = Window::EMPTY;
        for index in [200, 190, 201, 400, 274] {
            assert!(window.is_fresh(index), "{index}");
            window.settle(index);
            assert!(!window.is_fresh(index), "{index}");
        }
        assert!(window.is_fresh(273));
        assert!(!window.is_fresh(272), "too old to tell");
        window.settle(u64::from(u32::MAX) + 500);
        assert!(!window.is_fresh(400));
    }

    /// What becomes of packets with these sequence numbers, one after the other.
    fn numbered(streams: &mut Streams, sequences: impl IntoIterator<Item = u16>) -> Vec<Option<(u32, u16)>> {
        let seal = |sequence| {
            let index = streams.next_rtp(Ssrc(7), sequence).ok()?;
            streams.settle_rtp(Ssrc(7), index);
            Some((index.rollovers(), index.sequence()))
        };
        sequences.into_iter().map(seal).collect()
    }

    #[test]
    fn a_source_that_begins_anew_costs_one_packet_and_no_index_is_used_twice() {
        let mut streams = Streams::default();
        numbered(&mut streams, [40_000, 40_001]);
        let anew = numbered(&mut streams, [20_000, 20_001, 20_002, 20_001, 20_003]);
        let expected = [None, Some((0, 40_002)), Some((0, 40_003)), None, Some((0, 40_004))];
        assert_eq!(anew, expected);
        let rolled_over = numbered(&mut streams, (20_004..=u16::MAX).chain(0..3));
        assert_eq!(rolled_over.last(), Some(&Some((1, 20_003))));
        assert!(rolled_over.iter().all(Option::is_some));
    }

    #[test]
    fn a_packet_from_far_ahead_silences_its_stream_for_one_packet() {
        let mut streams = Streams::default();
        numbered(&mut streams, [1_000, 1_001, 31_000]);
        let after = numbered(&mut streams, [1_002, 1_003, 1_004]);
        assert_eq!(after, [None, Some((0, 31_001)), Some((0, 31_002))]);
    }

    #[test]
    fn late_copies_are_no_new_source() {
        let mut streams = Streams::default();
        numbered(&mut streams, 0..=300);
        assert_eq!(numbered(&mut streams, [299, 300, 250, 251]), [None; 4], "there before");
        assert_eq!(numbered(&mut streams, [50, 60]), [None; 2], "too old, and not in a row");
        assert_eq!(numbered(&mut streams, [301]), [Some((0, 301))]);
    }

    #[test]
    fn a_mixer_of_hundreds_of_sources_is_heard_whole_by_one_key() {
        let mut streams = Streams::default();
        for ssrc in 0..4_000 {
            let index = streams.next_rtp(Ssrc(ssrc), 1).expect("room");
            streams.settle_rtp(Ssrc(ssrc), index);
        }
    }

    #[test]
    fn streams_beyond_the_cap_are_refused_and_those_known_go_on() {
        let mut streams = Streams::default();
        for ssrc in 0..STREAMS_MAX as u32 {
            // In no order.
            let ssrc = Ssrc(ssrc.wrapping_mul(0x9e37_79b9));
            let index = streams.next_rtp(ssrc, 1).expect("room");
            streams.settle_rtp(ssrc, index);
            assert!(streams.is_heard(ssrc) && !streams.is_heard(Ssrc(9_999)));
        }
        assert_eq!(streams.next_rtp(Ssrc(9_999), 1), Err(SrtpError::Exhausted));
        assert_eq!(streams.next_rtcp(Ssrc(9_999)), Err(SrtpError::Exhausted));
        for ssrc in 0..STREAMS_MAX as u32 {
            let ssrc = Ssrc(ssrc.wrapping_mul(0x9e37_79b9));
            assert_eq!(streams.next_rtp(ssrc, 1), Err(SrtpError::Replayed), "each its own");
        }
        assert_eq!(streams.next_rtp(Ssrc(0), 2), Ok(Index::new(0, 2)));
        assert_eq!(streams.next_rtp(Ssrc(0), 1), Err(SrtpError::Replayed));
        assert_eq!((streams.next_rtcp(Ssrc(0)), streams.next_rtcp(Ssrc(0))), (Ok(0), Ok(1)));
    }
}
