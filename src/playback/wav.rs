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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::rig::*;
    use super::*;
    use crate::model::Leg;

    fn survey(length: Duration) -> Survey {
        Survey {
            start: ANSWERED,
            end: ANSWERED + length,
            sample_rate: 8_000,
            heard: Vec::new(),
            pauses: Vec::new(),
            behind: Vec::new(),
            clocks: super::super::clock::Clocks::default(),
        }
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    #[test]
    fn a_call_becomes_a_file_of_the_size_foretold() {
        let codes = speech(1, 100);
        let frames = call(Phone::new(Leg::B).speak(0, &codes));
        let survey = Survey::of(STARTED, Some(&closing(2_345)), readable(&frames)).expect("a short call");
        let mut file = Vec::new();
        let sounding = write_wav(&mut file, &survey, readable(&frames)).expect("written");
        assert_eq!(file.len() as u64, wav_bytes(&survey));
        assert_eq!(file.len(), 44 + 2_345 * 8 * 4);
        assert_eq!(
            (&file[..4], &file[8..16], &file[36..40]),
            (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..])
        );
        assert_eq!(
            (u32_at(&file, 4) as usize, u32_at(&file, 40) as usize),
            (file.len() - 8, file.len() - 44)
        );
        let right: Vec<i16> = file[44..]
            .chunks(4)
            .map(|frame| i16::from_le_bytes([frame[2], frame[3]]))
            .collect();
        assert_eq!(right[..16_000], decoded(&codes));
        assert_eq!(sounding.lost, 0);
    }

    #[cfg(feature = "shell")]
    #[test]
    fn another_reader_understands_it() {
        let frames = call(Phone::new(Leg::A).speak(0, &speech(1, 100)));
        let survey = Survey::of(STARTED, Some(&closing(2_000)), readable(&frames)).expect("a short call");
        let mut file = Vec::new();
        write_wav(&mut file, &survey, readable(&frames)).expect("written");
        let reader = hound::WavReader::new(file.as_slice()).expect("a WAV");
        assert_eq!(
            (reader.spec().channels, reader.spec().sample_rate, reader.duration()),
            (2, 8_000, 16_000)
        );
    }

    #[test]
    fn what_four_gibibytes_cannot_hold_is_rf64() {
        let day = header(&survey(Duration::from_secs(48 * 3_600)));
        assert_eq!(&day[..4], b"RF64");
        let data = 48 * 3_600 * 8_000 * 4_u64;
        assert_eq!((u32_at(&day, 4), u32_at(&day, 76)), (u32::MAX, u32::MAX));
        assert_eq!(
            (u64_at(&day, 20), u64_at(&day, 28), u64_at(&day, 36)),
            (data + 72, data, data / 4)
        );
        assert_eq!(
            day.len() as u64 + data,
            wav_bytes(&survey(Duration::from_secs(48 * 3_600)))
        );
        assert_eq!(&header(&survey(Duration::from_secs(3_600)))[..4], b"RIFF");
    }

    #[test]
    fn a_recording_that_cannot_be_read_to_its_end_says_so() {
        let broken = readable(&[])
            .map(|frame| frame.map_err(|_| "unreachable"))
            .chain([Err("torn extent")]);
        let error = write_wav(&mut Vec::new(), &survey(Duration::from_secs(1)), broken);
        assert!(matches!(error, Err(WavError::Source("torn extent"))));
    }

    #[test]
    fn a_call_without_answer_and_media_has_no_sound() {
        let mut closing = closing(1_000);
        closing.answered = None;
        let survey = Survey::of(STARTED, Some(&closing), readable(&[])).expect("an empty call");
        assert_eq!((survey.samples(), wav_bytes(&survey)), (0, 44));
    }
}
