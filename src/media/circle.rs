//! Packets of ours that come back to us: calls whose descriptions name each other's ports would send them round for ever (RFC 3550 §8.2).
//!
//! A call that passes us twice has its media from ourselves, too, where nobody between takes the media: no address tells the two
//! apart, only how many packets there are.

use std::time::Duration;

use crate::model::Timestamp;

/// Packets of one side in a [`SPAN`]: more than any party sends, and far less than goes round.
const PACKETS_MAX: u16 = 4_000;
const SPAN: Duration = Duration::from_secs(1);

/// What one side has from our own host.
#[derive(Debug, Default)]
pub(super) struct Circle {
    since: Timestamp,
    packets: u16,
    /// It went round, and is not heard until it is described anew.
    is_cut: bool,
}

impl Circle {
    /// Whether one more packet is taken.
    pub(super) fn admits(&mut self, now: Timestamp) -> bool {
        if now.since(self.since) >= SPAN {
            (self.since, self.packets) = (now, 0);
        }
        self.packets = self.packets.saturating_add(1);
        self.is_cut |= self.packets > PACKETS_MAX;
        !self.is_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_party_may_send_is_taken_and_what_goes_round_is_cut_for_good() {
        let mut circle = Circle::default();
        let at = |micros: u64| Timestamp::from_nanos(1_000_000_000 + micros * 1_000);
        assert!((0..40_000).all(|packet| circle.admits(at(packet * 300))));
        let mut round = (0..100_000).map(|packet| circle.admits(at(20_000_000 + packet * 4)));
        assert_eq!(
            round.by_ref().take_while(|taken| *taken).count(),
            usize::from(PACKETS_MAX)
        );
        assert!(round.all(|taken| !taken));
        assert!(!circle.admits(at(60_000_000)));
    }
}
