//! More packets than a party sends: those of ours that come back to us, because the descriptions of calls name each other's ports,
//! go round for ever (RFC 3550 §8.2).
//!
//! A call that passes us twice has its media from ourselves, too, where nobody between takes the media: no address tells the two
//! apart, only how many packets there are. Behind a NAT that turns round what we send to our advertised address, nor does ours.

use std::time::Duration;

use crate::model::Timestamp;

/// Packets of one side in a [`SPAN`] from our own host: more than any party sends, and far less than goes round.
const OURS_MAX: u16 = 4_000;
/// And from anybody. What is beyond is not relayed, which ends what goes round: nothing of it is left by the next span.
const PACKETS_MAX: u16 = 20_000;
const SPAN: Duration = Duration::from_secs(1);

/// What one side has sent of late.
#[derive(Debug, Default)]
pub(super) struct Circle {
    since: Timestamp,
    packets: u16,
    /// It went round, and what comes from ourselves is not heard until it is described anew.
    is_cut: bool,
}

impl Circle {
    /// Whether one more packet is taken. `ours`: it comes from our own host.
    pub(super) fn admits(&mut self, now: Timestamp, ours: bool) -> bool {
        if now.since(self.since) >= SPAN {
            (self.since, self.packets) = (now, 0);
        }
        self.packets = self.packets.saturating_add(1);
        self.is_cut |= ours && self.packets > OURS_MAX;
        self.packets <= PACKETS_MAX && !(ours && self.is_cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_party_may_send_is_taken_and_what_goes_round_is_cut_for_good() {
        let mut circle = Circle::default();
        let at = |micros: u64| Timestamp::from_nanos(1_000_000_000 + micros * 1_000);
        assert!((0..40_000).all(|packet| circle.admits(at(packet * 300), true)));
        let mut round = (0..100_000).map(|packet| circle.admits(at(20_000_000 + packet * 4), true));
        assert_eq!(round.by_ref().take_while(|taken| *taken).count(), usize::from(OURS_MAX));
        assert!(round.all(|taken| !taken));
        assert!(!circle.admits(at(60_000_000), true));
        assert!(circle.admits(at(60_000_000), false), "the party itself");
    }

    #[test]
    fn a_flood_is_cut_for_as_long_as_it_lasts() {
        let mut circle = Circle::default();
        let at = |micros: u64| Timestamp::from_nanos(1_000_000_000 + micros * 1_000);
        let taken = (0..100_000).filter(|packet| circle.admits(at(packet * 9), false));
        assert_eq!(taken.count(), usize::from(PACKETS_MAX));
        assert!(circle.admits(at(2_000_000), false));
    }
}
