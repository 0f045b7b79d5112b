//! Senders whose timestamps or numbers do not count what they should, as the first reading learns them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::stream::scale;
use crate::model::{Leg, Ssrc, Timestamp};
use crate::rtp::RtpHeader;
use crate::rtp::codecs::Codec;

/// Streams that are learned, as many as are told.
const SOURCES_MAX: usize = 64;
/// Ratios of one stream that are counted apart.
const RATIOS_MAX: usize = 8;
/// Told and true time of a stream differ by this before it is believed that its clock is another.
const DIFFERENCE_MIN: Duration = Duration::from_millis(100);
/// Packets with the number of the one before, but another timestamp.
const UNNUMBERED_MIN: u32 = 10;

/// Leg, line, source and payload type.
pub(super) type Source = (Leg, u16, Ssrc, u8);

/// What a stream's timestamps count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ticks {
    /// Its codec's clock.
    Clock,
    /// So many in the time of so many samples.
    Ratio { ticks: u32, samples: u32 },
    /// They stand still; numbers tell what follows on.
    Still,
}

/// A packet as far as clocks go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    pub(super) at: Timestamp,
    pub(super) number: u16,
    pub(super) timestamp: u32,
    pub(super) codec: Codec,
    /// At the codec's own rate.
    pub(super) samples: u32,
}

impl Tick {
    /// None: there is no sound in it.
    pub(super) fn of(at: Timestamp, header: &RtpHeader<'_>, payload: &[u8], codec: Codec) -> Option<Self> {
        let samples = codec.samples_in(payload).filter(|samples| *samples > 0)?;
        Some(Self {
            at,
            number: header.sequence,
            timestamp: header.timestamp,
            codec,
            samples: u32::try_from(samples).ok()?,
        })
    }
}

/// Sources that count otherwise; all others are as they should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clocks(BTreeMap<Source, Strange>);

#[derive(Clone, Debug, PartialEq)]
struct Strange {
    ticks: Ticks,
    is_numbered: bool,
    /// Of the last packet, and both without their wraps.
    last: Option<(u16, u32)>,
    number: i64,
    timestamp: i64,
}

impl Clocks {
    /// The packet's number and timestamp as they should be; in order of arrival.
    pub(super) fn amend(&mut self, source: Source, tick: Tick) -> (u16, u32) {
        let Some(strange) = self.0.get_mut(&source) else {
            return (tick.number, tick.timestamp);
        };
        let (number, timestamp) = strange
            .last
            .replace((tick.number, tick.timestamp))
            .map_or((1, 0), |last| {
                let number = tick.number.wrapping_sub(last.0).cast_signed();
                let timestamp = tick.timestamp.wrapping_sub(last.1).cast_signed();
                (
                    if strange.is_numbered { i64::from(number) } else { 1 },
                    i64::from(timestamp),
                )
            });
        strange.number = strange.number.wrapping_add(number);
        strange.timestamp = strange.timestamp.wrapping_add(timestamp);
        strange.amended(tick)
    }
}

impl Strange {
    fn amended(&self, tick: Tick) -> (u16, u32) {
        let number = if self.is_numbered {
            tick.number
        } else {
            wrapped(self.number) as u16
        };
        let (clock, rate) = (tick.codec.clock_rate(), tick.codec.sample_rate());
        let timestamp = match self.ticks {
            Ticks::Clock => tick.timestamp,
            Ticks::Ratio { ticks, samples } => {
                let sounded = scale(self.timestamp, samples, ticks);
                wrapped(scale(sounded, clock, rate))
            }
            Ticks::Still => {
                let sounded = self.number.saturating_mul(i64::from(tick.samples));
                wrapped(scale(sounded, clock, rate))
            }
        };
        (number, timestamp)
    }
}

/// Its lowest bits: counters of RTP wrap.
const fn wrapped(count: i64) -> u32 {
    count as u32
}

/// The first reading: what every source's packets tell of its clock.
#[derive(Debug, Default)]
pub(super) struct Learning(BTreeMap<Source, Lesson>);

#[derive(Debug, Default)]
struct Lesson {
    last: Option<Tick>,
    /// Packets, and pairs of them that followed on.
    packets: u32,
    pairs: u32,
    /// The number of the one before with another timestamp.
    unnumbered: u32,
    /// The most frequent ones (Misra and Gries).
    ratios: Vec<Ratio>,
}

#[derive(Clone, Copy, Debug)]
struct Ratio {
    ticks: u32,
    samples: u32,
    count: u32,
    came: Duration,
    told: Duration,
    sounded: Duration,
}

impl Learning {
    pub(super) fn update(&mut self, source: Source, tick: Tick) {
        if self.0.len() < SOURCES_MAX || self.0.contains_key(&source) {
            self.0.entry(source).or_default().update(tick);
        }
    }

    pub(super) fn finish(self) -> Clocks {
        let learned = self.0.into_iter();
        Clocks(
            learned
                .filter_map(|(source, lesson)| Some((source, lesson.finish()?)))
                .collect(),
        )
    }
}

impl Lesson {
    fn update(&mut self, tick: Tick) {
        self.packets = self.packets.saturating_add(1);
        let Some(last) = self.last.replace(tick).filter(|last| last.codec == tick.codec) else {
            return;
        };
        let is_repeated = tick.number == last.number && tick.timestamp != last.timestamp;
        self.unnumbered = self.unnumbered.saturating_add(u32::from(is_repeated));
        if !is_repeated && tick.number != last.number.wrapping_add(1) {
            return;
        }
        self.pairs = self.pairs.saturating_add(1);
        let ticks = tick.timestamp.wrapping_sub(last.timestamp).cast_signed();
        if let (Ok(ticks), 1..) = (u32::try_from(ticks), last.samples) {
            self.count(ticks, tick.at.since(last.at), last);
        }
    }

    fn count(&mut self, ticks: u32, came: Duration, last: Tick) {
        let is_same = |ratio: &&mut Ratio| {
            u64::from(ratio.ticks) * u64::from(last.samples) == u64::from(ticks) * u64::from(ratio.samples)
        };
        let of_rate = |units: u32, rate: u32| Duration::from_secs(1).saturating_mul(units) / rate.max(1);
        let told = of_rate(ticks, last.codec.clock_rate());
        let sounded = of_rate(last.samples, last.codec.sample_rate());
        if let Some(ratio) = self.ratios.iter_mut().find(is_same) {
            ratio.count = ratio.count.saturating_add(1);
            ratio.came = ratio.came.saturating_add(came);
            ratio.told = ratio.told.saturating_add(told);
            ratio.sounded = ratio.sounded.saturating_add(sounded);
        } else if self.ratios.len() < RATIOS_MAX {
            let samples = last.samples;
            self.ratios.push(Ratio {
                ticks,
                samples,
                count: 1,
                came,
                told,
                sounded,
            });
        } else {
            self.ratios.iter_mut().for_each(|ratio| ratio.count -= 1);
            self.ratios.retain(|ratio| ratio.count > 0);
        }
    }

    fn finish(self) -> Option<Strange> {
        let is_numbered = self.unnumbered < UNNUMBERED_MIN || self.unnumbered < self.packets / 2;
        let ticks = self.ticks();
        (ticks != Ticks::Clock || !is_numbered).then_some(Strange {
            ticks,
            is_numbered,
            last: None,
            number: 0,
            timestamp: 0,
        })
    }

    /// Two of three packets agree, and they came when their samples say, not when their timestamps say.
    fn ticks(&self) -> Ticks {
        let best = self.ratios.iter().max_by_key(|ratio| ratio.count);
        let Some(best) = best.filter(|best| u64::from(best.count) * 3 >= u64::from(self.pairs) * 2) else {
            return Ticks::Clock;
        };
        let is_other = best.told.abs_diff(best.sounded) >= DIFFERENCE_MIN;
        if !is_other || best.came.abs_diff(best.sounded) >= best.came.abs_diff(best.told) {
            return Ticks::Clock;
        }
        match best.ticks {
            0 => Ticks::Still,
            ticks => Ticks::Ratio {
                ticks,
                samples: best.samples,
            },
        }
    }
}
