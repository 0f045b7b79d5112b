//! Extended reports: how a telephone rates what it hears (RFC 3611 §4.7).

use crate::model::Ssrc;

const VOIP_METRICS: u8 = 7;
/// RFC 3611 §4.7.5: not known.
const UNAVAILABLE: u8 = 127;

/// Of a VoIP metrics block, what we make use of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VoipMetrics {
    pub ssrc: Ssrc,
    /// Too early or too late for the jitter buffer, of 256.
    pub discarded: u8,
    /// MOS-LQ in tenths, from 10 to 50.
    pub listening: Option<u8>,
}

/// Other blocks are passed over; stops at the first that does not fit.
pub(super) fn voip_metrics(mut blocks: &[u8]) -> impl Iterator<Item = VoipMetrics> {
    std::iter::from_fn(move || {
        loop {
            let ([kind, _, l0, l1], rest) = blocks.split_first_chunk::<4>()?;
            let (block, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])) * 4)?;
            blocks = after;
            let (VOIP_METRICS, [s0, s1, s2, s3, _, discarded, metrics @ ..]) = (*kind, block) else {
                continue;
            };
            let listening = metrics.get(16).copied();
            return Some(VoipMetrics {
                ssrc: Ssrc(u32::from_be_bytes([*s0, *s1, *s2, *s3])),
                discarded: *discarded,
                listening: listening.filter(|mos| *mos != UNAVAILABLE && (10..=50).contains(mos)),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::walk;
    use super::*;

    #[test]
    fn the_far_ends_own_score_is_read_behind_blocks_of_other_kinds() {
        let mut packet = vec![0x80, 207, 0, 13, 0, 0, 0, 1];
        packet.extend([4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]); // receiver reference time
        packet.extend([7, 0, 0, 8, 0, 0, 0, 9, 1, 25, 0, 0, 0, 0, 0, 0, 0, 40, 0, 60]);
        packet.extend([127, 127, 127, 16, 80, 127, 41, 40, 0, 0, 0, 60, 0, 80, 0, 90]);
        let read = walk(&packet).next().expect("a packet").expect("sound");
        let metrics: Vec<_> = read.voip_metrics().collect();
        let wanted = VoipMetrics {
            ssrc: Ssrc(9),
            discarded: 25,
            listening: Some(41),
        };
        assert_eq!(metrics, [wanted]);
        assert_eq!(read.source_names().count(), 0);
    }

    #[test]
    fn what_is_not_known_is_no_score_and_what_is_cut_short_is_no_block() {
        let mut block = [0; 36];
        (block[0], block[3], block[26]) = (7, 8, UNAVAILABLE);
        assert_eq!(voip_metrics(&block).next().map(|metrics| metrics.listening), Some(None));
        assert_eq!(voip_metrics(block.get(..35).expect("shorter")).count(), 0);
    }
}
