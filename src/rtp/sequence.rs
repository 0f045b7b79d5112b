//! Sequence numbers that do not wrap, and what is missing between them (RFC 3550 §A.1, §A.3).

/// RFC 3550 §A.1: a jump ahead up to here is loss, beyond it a restart.
const DROPOUT_MAX: u16 = 3_000;
/// RFC 3550 §A.1: a step back up to here is reordering.
const MISORDER_MAX: u16 = 100;
const CYCLE: u64 = 1 << 16;

/// One source's sequence numbers as they arrive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExtendedSequence {
    base: u64,
    highest: u64,
    received: u64,
    /// The number after a jump, if the next packet confirms it.
    restart: Option<u16>,
    /// Of the runs before the last restart.
    expected_before: u64,
    received_before: u64,
}

/// What one packet's number means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// Ahead of all others; `skipped` numbers lie between.
    Next { sequence: u64, skipped: u16 },
    /// Reordered, or a duplicate.
    Late { sequence: u64 },
    /// Far from all others: the first of a restarted source, or a stray. Not counted before the next confirms it.
    Stray,
    /// The second of a restarted source; counting begins anew with the one before it.
    Restarted { sequence: u64 },
}

impl ExtendedSequence {
    /// Begins with the first packet, which counts.
    pub const fn new(first: u16) -> Self {
        Self {
            base: first as u64 + CYCLE, // so that a packet from before the first has a number
            highest: first as u64 + CYCLE,
            received: 1,
            restart: None,
            expected_before: 0,
            received_before: 0,
        }
    }

    /// Takes the next packet's number.
    pub fn update(&mut self, sequence: u16) -> Arrival {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead > 0 && ahead < DROPOUT_MAX {
            self.highest += u64::from(ahead);
            self.received += 1;
            self.restart = None;
            return Arrival::Next {
                sequence: self.highest,
                skipped: ahead - 1,
            };
        }
        let behind = ahead.wrapping_neg();
        if behind < MISORDER_MAX {
            self.received += 1;
            let sequence = self.highest - u64::from(behind);
            self.base = self.base.min(sequence);
            return Arrival::Late { sequence };
        }
        if self.restart == Some(sequence) {
            self.begin_anew(sequence);
            return Arrival::Restarted { sequence: self.highest };
        }
        self.restart = Some(sequence.wrapping_add(1));
        Arrival::Stray
    }

    fn begin_anew(&mut self, second: u16) {
        let run = Self::new(second.wrapping_sub(1));
        *self = Self {
            // Numbers never go back, so that a restart is not mistaken for reordering.
            base: (self.highest / CYCLE + 2) * CYCLE + (run.base % CYCLE),
            highest: (self.highest / CYCLE + 2) * CYCLE + (run.base % CYCLE) + 1,
            received: 2,
            restart: None,
            expected_before: self.expected(),
            received_before: self.received(),
        };
    }

    /// The highest number seen, extended.
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Packets that arrived, late ones and duplicates too.
    pub const fn received(&self) -> u64 {
        self.received_before + self.received
    }

    /// Packets that were sent, as far as the numbers tell.
    pub const fn expected(&self) -> u64 {
        self.expected_before + self.highest - self.base + 1
    }

    /// Expected less received; duplicates may hide loss, as in RFC 3550 §A.3. Never below zero.
    pub const fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(numbers: impl IntoIterator<Item = u16>) -> ExtendedSequence {
        let mut numbers = numbers.into_iter();
        let mut sequence = ExtendedSequence::new(numbers.next().expect("a first packet"));
        for number in numbers {
            sequence.update(number);
        }
        sequence
    }

    #[test]
    fn numbers_go_on_after_a_wrap() {
        let sequence = feed((65_000..=65_535).chain(0..1_000));
        assert_eq!(
            (sequence.received(), sequence.expected(), sequence.lost()),
            (1_536, 1_536, 0)
        );
        assert_eq!(sequence.highest(), 2 * CYCLE + 999);
    }

    #[test]
    fn what_is_missing_is_counted_and_what_is_late_is_not() {
        let sequence = feed([10, 11, 15, 13, 12, 17]);
        assert_eq!((sequence.received(), sequence.expected(), sequence.lost()), (6, 8, 2));
        let mut sequence = ExtendedSequence::new(10);
        assert_eq!(
            sequence.update(12),
            Arrival::Next {
                sequence: CYCLE + 12,
                skipped: 1
            }
        );
        assert_eq!(sequence.update(11), Arrival::Late { sequence: CYCLE + 11 });
        assert_eq!(sequence.update(8), Arrival::Late { sequence: CYCLE + 8 });
        assert_eq!(
            (sequence.expected(), sequence.lost()),
            (5, 1),
            "a packet before the first moves the start"
        );
    }

    #[test]
    fn a_duplicate_never_makes_loss_negative() {
        let sequence = feed([1, 1, 1, 2]);
        assert_eq!((sequence.received(), sequence.expected(), sequence.lost()), (4, 2, 0));
    }

    #[test]
    fn a_restart_needs_two_packets_in_a_row_and_is_no_loss() {
        let mut sequence = feed(100..200);
        assert_eq!(sequence.update(40_000), Arrival::Stray);
        assert_eq!((sequence.received(), sequence.lost()), (100, 0));
        let Arrival::Restarted { sequence: number } = sequence.update(40_001) else {
            unreachable!("two in a row are a restart");
        };
        assert!(number > CYCLE + 199);
        assert_eq!(
            (sequence.received(), sequence.expected(), sequence.lost()),
            (102, 102, 0)
        );
    }

    #[test]
    fn a_stray_packet_changes_nothing() {
        let mut sequence = feed(100..200);
        assert_eq!(sequence.update(40_000), Arrival::Stray);
        assert!(matches!(sequence.update(200), Arrival::Next { skipped: 0, .. }));
        assert_eq!(sequence.update(40_001), Arrival::Stray);
        assert_eq!((sequence.received(), sequence.expected()), (101, 101));
    }
}
