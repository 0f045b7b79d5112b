//! FLAC of two channels, 16 bits (RFC 9639): the samples of the WAV in about half of its bytes. Written as it is rendered,
//! with fixed predictors; the whole file's MD5 is left out, as §8.2 allows, because it stands before the sound.

use std::io::{self, Write};

use super::bits::Bits;
use super::{Rendering, Sounding, Survey};
use crate::recorder::Frame;

/// Samples of a channel in a frame; the last one may be shorter.
const BLOCK_SAMPLES: usize = 4_096;
/// RFC 9639 §9.1.1: the code of a block of 4096 samples, and of one whose length stands behind the header.
const BLOCK_OF_4096: u64 = 0b1100;
const BLOCK_OF_LENGTH: u64 = 0b0111;
const SAMPLE_BITS: u32 = 16;
/// RFC 9639 §9.2.7.1: the longest remainder that four bits tell of; 15 means something else.
const REMAINDER_BITS_MAX: u32 = 14;
/// Of the partitions that have a remainder length of their own: at least so many samples, at most 2⁵ of them.
const PARTITION_SAMPLES_MIN: usize = 64;
const PARTITION_ORDER_MAX: u32 = 5;

/// Why no FLAC was written, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum FlacError<E> {
    /// The frames could not be read.
    #[error("reading the recording: {0}")]
    Source(E),
    /// The file could not be written.
    #[error("writing the FLAC: {0}")]
    Sink(io::Error),
}

/// Writes the recording's sound, caller left, callee right; `out` need not seek.
pub fn write_flac<E>(
    out: &mut impl Write,
    survey: &Survey,
    frames: impl IntoIterator<Item = Result<Frame, E>>,
) -> Result<Sounding, FlacError<E>> {
    out.write_all(&header(survey)).map_err(FlacError::Sink)?;
    let mut rendering = Rendering::new(survey, frames);
    let (mut waiting, mut number) = (Vec::with_capacity(2 * BLOCK_SAMPLES), 0);
    for block in rendering.by_ref() {
        waiting.extend(block.map_err(FlacError::Source)?.samples);
        while let Some((full, _)) = waiting.split_first_chunk::<BLOCK_SAMPLES>() {
            let bytes = frame(full, number, survey.sample_rate);
            out.write_all(&bytes).map_err(FlacError::Sink)?;
            waiting.drain(..BLOCK_SAMPLES);
            number += 1;
        }
    }
    if !waiting.is_empty() {
        let bytes = frame(&waiting, number, survey.sample_rate);
        out.write_all(&bytes).map_err(FlacError::Sink)?;
    }
    out.flush().map_err(FlacError::Sink)?;
    Ok(rendering.sounding().clone())
}

/// RFC 9639 §6, §8.2: the marker, and what the stream is.
fn header(survey: &Survey) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(u64::from(u32::from_be_bytes(*b"fLaC")), 32);
    bits.put(0x80, 8); // the last of the metadata, kind 0
    bits.put(34, 24);
    bits.put(BLOCK_SAMPLES as u64, 16);
    bits.put(BLOCK_SAMPLES as u64, 16);
    bits.put(0, 48); // smallest and largest frame: unknown
    bits.put(u64::from(survey.sample_rate), 20);
    bits.put(1, 3); // channels, less one
    bits.put(u64::from(SAMPLE_BITS - 1), 5);
    bits.put(survey.samples(), 36);
    bits.put(0, 64);
    bits.put(0, 64);
    bits.into_bytes()
}

/// RFC 9639 §9.
fn frame(samples: &[[i16; 2]], number: u64, sample_rate: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    let is_full = samples.len() == BLOCK_SAMPLES;
    bits.put(0xfff8, 16);
    bits.put(if is_full { BLOCK_OF_4096 } else { BLOCK_OF_LENGTH }, 4);
    bits.put(rate_code(sample_rate), 4);
    bits.put(0b0001_1000, 8); // two channels, each by itself; 16 bits
    bits.put_number(number);
    if !is_full {
        bits.put(samples.len() as u64 - 1, 16);
    }
    bits.put_crc_8();
    for channel in [0, 1] {
        let channel: Vec<i32> = samples.iter().map(|sample| i32::from(sample[channel & 1])).collect();
        subframe(&mut bits, &channel);
    }
    bits.align();
    bits.put_crc_16();
    bits.into_bytes()
}

/// RFC 9639 §9.1.2; 0: as the header of the stream says.
const fn rate_code(sample_rate: u32) -> u64 {
    match sample_rate {
        8_000 => 4,
        16_000 => 5,
        24_000 => 7,
        32_000 => 8,
        44_100 => 9,
        48_000 => 10,
        _ => 0,
    }
}

/// One channel of a frame: a constant, what the best of the fixed predictors leaves, or the samples as they are.
fn subframe(bits: &mut Bits, samples: &[i32]) {
    let sample = |sample: i32| u64::from(sample as u16); // two's complement
    if let Some((first, rest)) = samples.split_first()
        && rest.iter().all(|sample| sample == first)
    {
        bits.put(0, 8);
        bits.put(sample(*first), SAMPLE_BITS);
        return;
    }
    let (order, residual) = best_prediction(samples);
    let partitions = partition_order(samples.len(), order);
    let parts: Vec<(&[u32], u32)> = parts(&residual, samples.len(), order, partitions);
    let length: u64 = parts.iter().map(|(part, k)| 4 + coded_bits(part, *k)).sum();
    let warm_up = order as u64 * u64::from(SAMPLE_BITS);
    if 6 + warm_up + length >= samples.len() as u64 * u64::from(SAMPLE_BITS) {
        bits.put(0b0000_0010, 8);
        samples.iter().for_each(|value| bits.put(sample(*value), SAMPLE_BITS));
        return;
    }
    bits.put((0b00_1000 | order as u64) << 1, 8);
    let start = samples.get(..order).unwrap_or_default();
    start.iter().for_each(|value| bits.put(sample(*value), SAMPLE_BITS));
    bits.put(0, 2); // remainder lengths of four bits
    bits.put(u64::from(partitions), 4);
    for (part, k) in parts {
        bits.put(u64::from(k), 4);
        for value in part {
            bits.put_zeros(value >> k);
            bits.put(1, 1);
            bits.put(u64::from(value & ((1 << k) - 1)), k);
        }
    }
}

/// RFC 9639 §9.2.5: the order of the fixed predictor that leaves least, and what it leaves, folded to be positive
/// (§9.2.7.2).
fn best_prediction(samples: &[i32]) -> (usize, Vec<u32>) {
    let mut differences = samples.to_vec();
    let sum = |values: &[i32]| values.iter().map(|value| u64::from(value.unsigned_abs())).sum::<u64>();
    let mut best = (0, sum(&differences), differences.clone());
    for order in 1..=4_usize.min(samples.len().saturating_sub(1)) {
        differences = differences.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let left = sum(&differences);
        if left < best.1 {
            best = (order, left, differences.clone());
        }
    }
    let folded = best
        .2
        .iter()
        .map(|value| ((value << 1) ^ (value >> 31)).cast_unsigned());
    (best.0, folded.collect())
}

/// The most partitions that divide the block and are long enough.
fn partition_order(count: usize, order: usize) -> u32 {
    let is_fit = |partitions: &u32| {
        let length = count >> partitions;
        count.is_multiple_of(1 << partitions) && length >= PARTITION_SAMPLES_MIN.max(order + 1)
    };
    (1..=PARTITION_ORDER_MAX).rev().find(is_fit).unwrap_or(0)
}

/// The partitions, each with the remainder length that makes it shortest. The first is short of the warm-up samples.
fn parts(residual: &[u32], count: usize, order: usize, partitions: u32) -> Vec<(&[u32], u32)> {
    let length = count >> partitions;
    let (first, rest) = residual.split_at(length.saturating_sub(order).min(residual.len()));
    let parts = std::iter::once(first).chain(rest.chunks(length.max(1)));
    parts.map(|part| (part, remainder_bits(part))).collect()
}

fn remainder_bits(part: &[u32]) -> u32 {
    let mean = part.iter().map(|value| u64::from(*value)).sum::<u64>() / (part.len() as u64).max(1);
    let near = mean.checked_ilog2().unwrap_or(0).min(REMAINDER_BITS_MAX);
    let choices = near.saturating_sub(1)..=(near + 1).min(REMAINDER_BITS_MAX);
    choices.min_by_key(|k| coded_bits(part, *k)).unwrap_or(near)
}

fn coded_bits(part: &[u32], k: u32) -> u64 {
    part.iter().map(|value| u64::from((value >> k) + 1 + k)).sum()
}

#[cfg(test)]
mod tests;
