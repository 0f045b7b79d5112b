//! From a codec's sample rate to the recording's: plain and reproducible rather than beautiful.

/// Rewrites `samples` from `from` Hz to `to` Hz. Equal rates: untouched. Upwards: linear between neighbours, the last
/// one held. Downwards: each new sample is the mean of those that it stands for.
pub(super) fn resample(samples: &mut Vec<i16>, from: u32, to: u32) {
    if from == to || from == 0 || samples.is_empty() {
        return;
    }
    let (from, to) = (u64::from(from), u64::from(to));
    let count = samples.len() as u64 * to / from;
    let resampled = (0..count).map(|n| {
        if from < to {
            between(samples, n * from, to)
        } else {
            mean(samples, n * from / to, (n + 1) * from / to)
        }
    });
    *samples = resampled.collect();
}

/// The value at `numerator / denominator`.
fn between(samples: &[i16], numerator: u64, denominator: u64) -> i16 {
    let at = |index: u64| {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        i64::from(samples.get(index).or(samples.last()).copied().unwrap_or(0))
    };
    let (index, part) = (numerator / denominator, (numerator % denominator).cast_signed());
    let whole = denominator.cast_signed();
    ((at(index) * (whole - part) + at(index + 1) * part) / whole) as i16 // between two i16
}

fn mean(samples: &[i16], from: u64, to: u64) -> i16 {
    let range = usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
    let samples = samples.get(range).unwrap_or_default();
    let sum: i64 = samples.iter().map(|sample| i64::from(*sample)).sum();
    (sum / (samples.len() as i64).max(1)) as i16 // the mean of i16s
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampled(samples: &[i16], from: u32, to: u32) -> Vec<i16> {
        let mut samples = samples.to_vec();
        resample(&mut samples, from, to);
        samples
    }

    #[test]
    fn rates_are_met_and_values_stay_between_their_neighbours() {
        assert_eq!(resampled(&[1, 2, 3], 8_000, 8_000), [1, 2, 3]);
        assert_eq!(resampled(&[0, 100, -100], 8_000, 16_000), [0, 50, 100, 0, -100, -100]);
        assert_eq!(resampled(&[3, 6, 9, 30, 60, 90], 48_000, 16_000), [6, 60]);
        assert_eq!(resampled(&[i16::MIN; 441], 44_100, 16_000), [i16::MIN; 160]);
        assert_eq!(resampled(&[i16::MAX; 160], 8_000, 16_000), [i16::MAX; 320]);
    }
}
