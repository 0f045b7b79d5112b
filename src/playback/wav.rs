//! WAV of two channels, 16 bits; RF64 where 4 GiB are not enough (EBU Tech 3306). Written as it is rendered.

use std::io::{self, Write};

use super::{Rendering, Sounding, Survey};
use crate::recorder::Frame;

const CHANNELS: u16 = 2;
const SAMPLE_BYTES: u16 = 2;
const FRAME_BYTES: u64 = (CHANNELS * SAMPLE_BYTES) as u64;
/// `fmt ` with its header, and the header of `data`, after the twelve bytes of RIFF.
const HEADER_BYTES: u64 = 44;
/// `ds64` with its header.
const DS64_BYTES: u64 = 36;

/// Why no WAV was written, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum WavError<E> {
    /// The frames could not be read.
    #[error("reading the recording: {0}")]
    Source(E),
    /// The file could not be written.
    #[error("writing the WAV: {0}")]
    Sink(io::Error),
}

/// Size of the file that [`write_wav`] writes.
pub fn wav_bytes(survey: &Survey) -> u64 {
    let data = survey.samples() * FRAME_BYTES;
    header_bytes(data) + data
}

/// Writes the recording's sound. The size is known beforehand, so `out` need not seek.
pub fn write_wav<E>(
    out: &mut impl Write,
    survey: &Survey,
    frames: impl IntoIterator<Item = Result<Frame, E>>,
) -> Result<Sounding, WavError<E>> {
    out.write_all(&header(survey)).map_err(WavError::Sink)?;
    let mut rendering = Rendering::new(survey, frames);
    let mut bytes = Vec::new();
    for block in rendering.by_ref() {
        bytes.clear();
        for [left, right] in block.map_err(WavError::Source)?.samples {
            bytes.extend(left.to_le_bytes());
            bytes.extend(right.to_le_bytes());
        }
        out.write_all(&bytes).map_err(WavError::Sink)?;
    }
    out.flush().map_err(WavError::Sink)?;
    Ok(rendering.sounding().clone())
}

fn header_bytes(data: u64) -> u64 {
    if is_large(data) {
        HEADER_BYTES + DS64_BYTES
    } else {
        HEADER_BYTES
    }
}

const fn is_large(data: u64) -> bool {
    data + HEADER_BYTES > u32::MAX as u64
}

fn header(survey: &Survey) -> Vec<u8> {
    let samples = survey.samples();
    let data = samples * FRAME_BYTES;
    let riff = header_bytes(data) + data - 8;
    let size_32 = |size: u64| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(80);
    bytes.extend(if is_large(data) { b"RF64" } else { b"RIFF" });
    bytes.extend(if is_large(data) { [0xff; 4] } else { size_32(riff) });
    bytes.extend(b"WAVE");
    if is_large(data) {
        bytes.extend(b"ds64");
        bytes.extend(28_u32.to_le_bytes());
        bytes.extend(riff.to_le_bytes());
        bytes.extend(data.to_le_bytes());
        bytes.extend(samples.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
    }
    let byte_rate = survey.sample_rate * u32::from(CHANNELS * SAMPLE_BYTES);
    bytes.extend(b"fmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes()); // PCM
    bytes.extend(CHANNELS.to_le_bytes());
    bytes.extend(survey.sample_rate.to_le_bytes());
    bytes.extend(byte_rate.to_le_bytes());
    bytes.extend((CHANNELS * SAMPLE_BYTES).to_le_bytes());
    bytes.extend((SAMPLE_BYTES * 8).to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(if is_large(data) { [0xff; 4] } else { size_32(data) });
    bytes
}
