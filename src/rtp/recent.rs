//! Which of the newest sequence numbers were there: what tells a duplicate from a late packet.

/// The 64 newest numbers of one source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recent {
    /// Bit n: the number n below the highest came.
    seen: u64,
}

impl Default for Recent {
    /// The first packet came.
    fn default() -> Self {
        Self { seen: 1 }
    }
}

impl Recent {
    /// A packet came whose number is `ahead` above the highest.
    pub const fn on_next(&mut self, ahead: u32) {
        self.seen = match self.seen.checked_shl(ahead) {
            Some(seen) => seen | 1,
            None => 1,
        };
    }

    /// A packet came whose number is `behind` below the highest. True when it was there before; of numbers too old to be
    /// known none was.
    pub const fn on_late(&mut self, behind: u64) -> bool {
        if behind >= u64::BITS as u64 {
            return false;
        }
        let bit = 1 << behind;
        let is_duplicate = self.seen & bit != 0;
        self.seen |= bit;
        is_duplicate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once_and_a_duplicate_from_then_on() {
        let mut recent = Recent::default();
        assert!(recent.on_late(0), "the first again");
        recent.on_next(3);
        assert!(recent.on_late(0) && recent.on_late(3));
        assert!(!recent.on_late(1) && !recent.on_late(2), "between them");
        assert!(recent.on_late(1) && recent.on_late(2));
    }

    #[test]
    fn what_is_older_than_the_window_is_not_called_a_duplicate() {
        let mut recent = Recent::default();
        recent.on_next(63);
        assert!(recent.on_late(63));
        recent.on_next(1);
        assert!(!recent.on_late(64) && !recent.on_late(u64::MAX));
        recent.on_next(u32::MAX);
        assert!(recent.on_late(0) && !recent.on_late(1));
    }
}
