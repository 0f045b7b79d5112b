//! Packets in order of time: interfaces, queues and threads of one capture write theirs a little late.
//!
//! What comes later than [`DISORDER_MAX`] after a younger one stays where it is in the file: that far apart two clocks may
//! be as well, or captures that were put one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::clock::{DISORDER_MAX, is_sequel};
use super::flaw::FlawKind;
use super::fragments::Place;
use super::pcap::Record;
use crate::model::Timestamp;

/// Packets that wait for older ones, and their bytes. Full: the oldest waits no longer.
const WAITING_MAX: usize = 65_536;
const WAITING_BYTES_MAX: usize = 16 << 20;

/// A [`Record`] that keeps its bytes.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub number: u64,
    pub offset: u64,
    pub at: Timestamp,
    pub link: u32,
    pub wire_len: u32,
    pub bytes: Box<[u8]>,
}

impl Held {
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            number: self.number,
            offset: self.offset,
            at: self.at,
            link: self.link,
            wire_len: self.wire_len,
            bytes: &self.bytes,
        }
    }
}

/// See [the module](self).
#[derive(Default)]
pub(super) struct Order {
    /// Those that are younger than all that came before them, oldest first.
    timely: VecDeque<Held>,
    /// The others, by time and place.
    late: BTreeMap<(Timestamp, u64), Held>,
    bytes: usize,
    /// Of the packet before.
    newest: Timestamp,
    /// What was given last.
    given: Timestamp,
    /// All that waits is given before the next is taken: it is of another clock.
    is_flushing: bool,
    /// Where the first packet was that came too late, how many there were, and how far the one furthest behind was.
    beyond: Option<(Place, u64, Duration)>,
}

impl Order {
    /// Whether the next packet has to wait until [`Self::poll`] gives nothing more.
    pub(super) fn must_flush(&mut self, at: Timestamp) -> bool {
        let waits = !self.timely.is_empty() || !self.late.is_empty();
        self.is_flushing = waits && !is_sequel(self.newest, at);
        self.is_flushing
    }

    pub(super) fn push(&mut self, record: &Record<'_>) {
        let held = Held {
            number: record.number,
            offset: record.offset,
            at: record.at,
            link: record.link,
            wire_len: record.wire_len,
            bytes: record.bytes.into(),
        };
        self.bytes += held.bytes.len();
        self.is_flushing = false;
        if held.at < self.given {
            self.on_beyond(&held);
        }
        if is_sequel(self.newest, held.at) {
            self.newest = self.newest.max(held.at);
        } else {
            (self.newest, self.given) = (held.at, Timestamp::ZERO);
        }
        if self.timely.back().is_none_or(|last| last.at <= held.at) {
            self.timely.push_back(held);
        } else {
            self.late.insert((held.at, held.number), held);
        }
    }

    /// The oldest packet, if none can come any more that is older.
    pub(super) fn poll(&mut self) -> Option<Held> {
        let timely = self.timely.front().map(|held| (held.at, held.number));
        let late = self.late.first_key_value().map(|(key, _)| *key);
        let (at, _) = timely.into_iter().chain(late).min()?;
        let is_due = self.is_flushing
            || self.newest.since(at) > DISORDER_MAX
            || self.bytes > WAITING_BYTES_MAX
            || self.timely.len() + self.late.len() > WAITING_MAX;
        if !is_due {
            return None;
        }
        let held = match (timely, late) {
            (Some(timely), Some(late)) if late < timely => self.late.pop_first().map(|(_, held)| held),
            (None, _) => self.late.pop_first().map(|(_, held)| held),
            (Some(_), _) => self.timely.pop_front(),
        }?;
        self.bytes -= held.bytes.len();
        self.given = held.at;
        Some(held)
    }

    /// Nothing more comes.
    pub(super) const fn finish(&mut self) {
        self.is_flushing = true;
    }

    /// What was too late to be put in order.
    pub(super) fn take_beyond(&mut self) -> Option<(Place, FlawKind)> {
        let (first, packets, behind) = self.beyond.take()?;
        let max = DISORDER_MAX;
        Some((first, FlawKind::OutOfOrder { packets, behind, max }))
    }

    fn on_beyond(&mut self, held: &Held) {
        let place = Place {
            packet: held.number,
            offset: held.offset,
            at: held.at,
        };
        let (_, packets, behind) = self.beyond.get_or_insert((place, 0, Duration::ZERO));
        *packets += 1;
        *behind = self.given.since(held.at).max(*behind);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::forge::{self, ETHERNET, Pcap, millis};
    use super::*;

    const A: &str = "192.0.2.1:4000";
    const B: &str = "192.0.2.2:4000";

    fn numbers(order: &mut Order, times: &[u64]) -> Vec<u64> {
        let mut given = Vec::new();
        for (n, at) in times.iter().enumerate() {
            let record = Record {
                number: n as u64,
                offset: 0,
                at: millis(*at),
                link: ETHERNET,
                wire_len: 3,
                bytes: b"abc",
            };
            while order.must_flush(record.at)
                && let Some(held) = order.poll()
            {
                given.push(held.number);
            }
            order.push(&record);
            given.extend(std::iter::from_fn(|| order.poll()).map(|held| held.number));
            assert_eq!(order.bytes, 3 * (order.timely.len() + order.late.len()));
        }
        order.finish();
        given.extend(std::iter::from_fn(|| order.poll()).map(|held| held.number));
        assert_eq!(order.bytes, 0);
        given
    }

    #[test]
    fn packets_up_to_a_second_late_are_put_in_their_places() {
        let mut order = Order::default();
        let times = [500, 0, 100, 100, 90, 1_100, 1_600, 700, 2_000, 1_000];
        assert_eq!(numbers(&mut order, &times), [1, 4, 2, 3, 0, 7, 9, 5, 6, 8]);
        assert_eq!(order.take_beyond(), None);
    }

    #[test]
    fn what_is_later_stays_where_it_is_and_is_counted() {
        let mut order = Order::default();
        let times = [10_000, 10_020, 10_010, 0, 20, 10, 30_000];
        assert_eq!(numbers(&mut order, &times), [0, 2, 1, 3, 5, 4, 6]);
        let place = Place {
            packet: 3,
            offset: 0,
            at: millis(0),
        };
        let flaw = FlawKind::OutOfOrder {
            packets: 1,
            behind: Duration::from_millis(10_020),
            max: Duration::from_secs(1),
        };
        assert_eq!(order.take_beyond(), Some((place, flaw)));
    }

    #[test]
    fn one_packet_of_another_century_does_not_end_the_sorting() {
        let mut order = Order::default();
        let century = 100 * 365 * 86_400_000;
        assert_eq!(
            numbers(&mut order, &[0, 20, century, 60, 40, 100, 80]),
            [0, 1, 2, 4, 3, 6, 5]
        );
    }

    #[test]
    fn more_than_may_wait_is_given_early() {
        let mut order = Order::default();
        let times: Vec<u64> = (0..WAITING_MAX as u64 + 500).map(|n| n & 1).collect();
        assert_eq!(numbers(&mut order, &times).len(), times.len());
    }

    #[test]
    fn a_capture_of_two_queues_reads_like_one_in_order() {
        let mut file = Pcap::new(ETHERNET);
        for n in 0..200_u64 {
            file.udp(millis(n * 10 + 300 * (n & 1)), A, B, &[n as u8]);
        }
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        assert_eq!((kept.len(), flaws), (200, vec![]));
        assert!(kept.is_sorted_by_key(|kept| kept.at));
    }

    proptest! {
        #[test]
        fn every_packet_is_given_once_and_in_order_within_the_window(
            times in prop::collection::vec(0_u64..900, 0..80),
            wild in prop::collection::vec(0_u64..u64::MAX / 2_000_000, 0..40),
        ) {
            let mut given = numbers(&mut Order::default(), &times);
            prop_assert!(given.is_sorted_by_key(|n| (times[*n as usize], *n)));
            given.sort_unstable();
            prop_assert!(given.into_iter().eq(0..times.len() as u64));
            let mut given = numbers(&mut Order::default(), &wild);
            given.sort_unstable();
            prop_assert!(given.into_iter().eq(0..wild.len() as u64));
        }
    }
}
