//! A sender's clock that stood still, told from a network that is late.

use std::time::Duration;

use super::stream::Axis;
use crate::model::Timestamp;

/// A smaller step is left to the watch over drift.
pub(super) const STEP_MIN: Duration = Duration::from_millis(20);
/// Packets, and the time in which they came, to tell a clock from a network.
const PACKETS_MIN: i64 = 4;
const TIME_MIN: Duration = Duration::from_millis(100);
/// Packets times the least lateness of them all: less might be chance in a quiet network.
const WEIGHT_MIN: Duration = Duration::from_millis(260);
/// The same in a network that jitters, in parts of the usual lateness: by exponential delays once in e^40 packets, by
/// evenly spread ones once in e^20.
const WEIGHT_OF_USUAL: i64 = 40;
/// A network that catches up is faster than the sound: the least lateness falls by more than this.
const FALL_MAX: Duration = Duration::from_millis(12);
/// Of lateness counted as usual: what is beyond is no jitter.
const USUAL_MAX: Duration = Duration::from_millis(100);

/// The mean lateness of a run's packets, in samples of the axis.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usual {
    /// As in RFC 3550 §A.8, to lose no fractions.
    sixteenfold: i64,
}

impl Usual {
    pub(super) fn of(axis: Axis, lates: impl Iterator<Item = i64>) -> Self {
        let (mut sum, mut count) = (0, 0);
        for late in lates {
            (sum, count) = (sum + counted(axis, late), count + 1);
        }
        Self {
            sixteenfold: sum * 16 / count.max(1),
        }
    }

    pub(super) fn update(&mut self, axis: Axis, late: i64) {
        self.sixteenfold += counted(axis, late) - self.sixteenfold / 16;
    }
}

fn counted(axis: Axis, late: i64) -> i64 {
    late.clamp(0, axis.samples(USUAL_MAX))
}

/// Whether a packet is late and all that came after it are late alike, each by when it came and how late: their least
/// lateness is beyond jitter, and it does not fall.
pub(super) fn is_step(axis: Axis, usual: Usual, packets: impl Iterator<Item = (Timestamp, i64)> + Clone) -> bool {
    let step_min = axis.samples(STEP_MIN);
    let (mut least, mut count) = (i64::MAX, 0);
    let (mut first, mut last) = (None, Timestamp::ZERO);
    for (at, late) in packets.clone() {
        if late <= step_min {
            return false;
        }
        (least, count) = (least.min(late), count + 1);
        (first, last) = (crate::model::earliest(first, Some(at)), last.max(at));
    }
    let Some(first) = first else { return false };
    let time = last.since(first);
    let weight_min = (usual.sixteenfold * WEIGHT_OF_USUAL / 16).max(axis.samples(WEIGHT_MIN));
    if count < PACKETS_MIN || time < TIME_MIN || least.saturating_mul(count) < weight_min {
        return false;
    }
    let (mut before, mut after) = (i64::MAX, i64::MAX);
    for (at, late) in packets {
        let half = if at.since(first) < time / 2 {
            &mut before
        } else {
            &mut after
        };
        *half = late.min(*half);
    }
    before.abs_diff(after) <= axis.samples(FALL_MAX).unsigned_abs()
}
