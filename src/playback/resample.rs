//! From a codec's sample rate to the recording's: a windowed sinc in whole numbers, so that the same packets give the same
//! sound on every machine.
//!
//! Each packet is resampled by itself, with the ringing before and after it, and the sum of neighbours is what resampling
//! the whole would give: losses, pauses and changes of the codec need no care. Upwards, every sample that falls on one of
//! the old ones is that one, unchanged.

use std::f64::consts::PI;

/// Samples of the slower side that one sample is made of, on either side.
const REACH: i64 = 16;
/// Of what the slower side can hold, this much of the band is kept when going down.
const BAND_KEPT: f64 = 0.94;
/// Weights are in units of 2⁻¹⁵.
const WEIGHT_BITS: u32 = 15;

/// How samples at one rate become samples at another.
#[derive(Debug)]
pub(super) struct Resampler {
    /// Both rates over their greatest common divisor.
    from: i64,
    to: i64,
    /// Old samples on either side that make a new one.
    reach: i64,
    /// For each of the `to` places that a new sample can have between two old ones, 2 × `reach` weights.
    weights: Vec<i32>,
}

impl Resampler {
    /// Rates in Hz, neither zero. The table has some thousand weights for the rates that codecs have.
    pub(super) fn new(from: u32, to: u32) -> Self {
        let divisor = gcd(from, to);
        let (from, to) = (i64::from(from / divisor), i64::from(to / divisor));
        let (reach, band) = if from > to {
            ((REACH * from + to - 1) / to, to as f64 / from as f64 * BAND_KEPT)
        } else {
            (REACH, 1.0)
        };
        let weights = (0..to).flat_map(|phase| weights(phase as f64 / to as f64, reach, band));
        Self {
            from,
            to,
            reach,
            weights: weights.collect(),
        }
    }

    /// `samples` begin at `first`, counted at the old rate from any origin. Returns where the result begins, counted from
    /// the same origin at the new rate; what it replaces in `resampled` was a packet before.
    pub(super) fn resample(&self, samples: &[i16], first: i64, resampled: &mut Vec<i32>) -> i64 {
        resampled.clear();
        let count = i64::try_from(samples.len()).unwrap_or(0);
        // New sample n lies at n × from ÷ to, and is made of the `reach` old ones on either side.
        let begin = ((first - self.reach) * self.to).div_euclid(self.from);
        let end = ((first + count + self.reach) * self.to).div_euclid(self.from);
        resampled.extend((begin..=end).map(|n| self.sample(samples, first, n)));
        begin
    }

    fn sample(&self, samples: &[i16], first: i64, n: i64) -> i32 {
        let (whole, phase) = ((n * self.from).div_euclid(self.to), (n * self.from).rem_euclid(self.to));
        let taps = usize::try_from(2 * self.reach).unwrap_or(0);
        let start = usize::try_from(phase).unwrap_or(0) * taps;
        let weights = self.weights.get(start..start + taps).unwrap_or_default();
        let offset = whole - self.reach + 1 - first; // of the first old sample
        let skipped = usize::try_from(-offset.min(0)).unwrap_or(0);
        let begin = usize::try_from(offset.max(0)).unwrap_or(0);
        let old = samples.get(begin..).unwrap_or_default();
        let weights = weights.get(skipped..).unwrap_or_default();
        let sum: i64 = old
            .iter()
            .zip(weights)
            .map(|(old, weight)| i64::from(*old) * i64::from(*weight))
            .sum();
        i32::try_from((sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS).unwrap_or(0) // a few times an i16 at most
    }
}

/// The whole of a sound at another rate, and as long. Rates in Hz, neither zero.
pub fn resampled(samples: &[i16], from: u32, to: u32) -> Vec<i16> {
    if from == to {
        return samples.to_vec();
    }
    let mut all = Vec::new();
    let begin = Resampler::new(from, to).resample(samples, 0, &mut all);
    let before = usize::try_from(-begin).unwrap_or(0);
    let count = samples.len() as u64 * u64::from(to) / u64::from(from);
    let kept = all.into_iter().skip(before).take(usize::try_from(count).unwrap_or(0));
    kept.map(|sample| sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16)
        .collect()
}

/// For a new sample `part` of the way from one old sample to the next; they sum up to exactly one.
fn weights(part: f64, reach: i64, band: f64) -> Vec<i32> {
    let one = f64::from(1_u32 << WEIGHT_BITS);
    let places = (1 - reach..=reach).map(|place| place as f64 - part);
    let raw: Vec<f64> = places
        .map(|place| sinc(place * band) * window(place / reach as f64))
        .collect();
    let sum: f64 = raw.iter().sum();
    let mut weights: Vec<i32> = raw.iter().map(|weight| (weight / sum * one).round() as i32).collect();
    let missing = (1 << WEIGHT_BITS) - weights.iter().sum::<i32>();
    if let Some(largest) = weights.iter_mut().max() {
        *largest += missing;
    }
    weights
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Blackman's, from -1 to 1.
fn window(x: f64) -> f64 {
    if x.abs() >= 1.0 {
        return 0.0;
    }
    0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos()
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f64, count: usize) -> Vec<i16> {
        let sample = |n: usize| (12_000.0 * (n as f64 / f64::from(rate) * hertz * 2.0 * PI).sin()) as i16;
        (0..count).map(sample).collect()
    }

    /// In pieces of `piece` samples, summed up from the new sample 0 on.
    fn resampled(samples: &[i16], from: u32, to: u32, piece: usize) -> Vec<i16> {
        let resampler = Resampler::new(from, to);
        let mut sums = vec![0_i32; samples.len() * to as usize / from as usize];
        let mut buffer = Vec::new();
        for (n, piece_of) in samples.chunks(piece).enumerate() {
            let begin = resampler.resample(piece_of, (n * piece) as i64, &mut buffer);
            for (sample, place) in buffer.iter().zip(begin..) {
                if let Some(sum) = usize::try_from(place).ok().and_then(|place| sums.get_mut(place)) {
                    *sum += *sample;
                }
            }
        }
        sums.into_iter().map(|sum| sum.clamp(-32_768, 32_767) as i16).collect()
    }

    #[test]
    fn a_tone_stays_a_tone_at_every_rate() {
        let rates = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
        for from in rates {
            for to in rates {
                let found = resampled(&tone(from, 1_000.0, from as usize / 4), from, to, from as usize / 50);
                let wanted = tone(to, 1_000.0, found.len());
                let inner = to as usize / 100..found.len() - to as usize / 100;
                let worst = inner.map(|n| (i32::from(found[n]) - i32::from(wanted[n])).abs()).max();
                assert!(worst.is_some_and(|worst| worst <= 60), "{from} to {to}: {worst:?}");
            }
        }
    }

    #[test]
    fn upwards_the_old_samples_are_among_the_new_ones() {
        let noise: Vec<i16> = (0..800_i32).map(|n| (n * n % 20_011 - 10_000) as i16).collect();
        for (to, every) in [(16_000, 2), (24_000, 3), (48_000, 6)] {
            let kept: Vec<i16> = resampled(&noise, 8_000, to, 160).into_iter().step_by(every).collect();
            assert_eq!(kept, noise, "{to}");
        }
    }

    #[test]
    fn pieces_make_what_the_whole_makes() {
        let noise: Vec<i16> = (0..4_410_i32).map(|n| (n * n % 20_011 - 10_000) as i16).collect();
        for to in [8_000, 16_000, 48_000] {
            let whole = resampled(&noise, 44_100, to, noise.len());
            for piece in [441, 882, 1_000, 37] {
                let pieces = resampled(&noise, 44_100, to, piece);
                let worst = whole
                    .iter()
                    .zip(&pieces)
                    .map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs())
                    .max();
                let parts = 2 * Resampler::new(44_100, to).reach / piece as i64 + 2; // each rounded once
                assert!(
                    worst.is_some_and(|worst| i64::from(worst) <= parts),
                    "{to} {piece}: {worst:?}"
                );
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_not_folded_into_it() {
        for (from, to, hertz) in [
            (48_000, 8_000, 6_000.0),
            (16_000, 8_000, 5_500.0),
            (44_100, 16_000, 10_000.0),
        ] {
            let found = resampled(&tone(from, hertz, from as usize / 2), from, to, 441);
            let inner = &found[200..found.len() - 200];
            assert!(
                inner.iter().all(|sample| sample.abs() < 60),
                "{from} to {to}: {:?}",
                inner.iter().max()
            );
        }
    }

    #[test]
    fn steady_sound_keeps_its_level() {
        for (from, to) in [(8_000, 48_000), (44_100, 48_000), (48_000, 8_000), (11_025, 16_000)] {
            let found = resampled(&[10_000; 11_025], from, to, 400);
            assert!(
                found[600..found.len() - 600]
                    .iter()
                    .all(|sample| (9_997..=10_003).contains(sample))
            );
        }
    }
}
