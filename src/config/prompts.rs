//! The sounds that parties are told by: WAV files beside the policies, and a tone. Encoded once, when they are read.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::model::{Clip, Rendition};
use crate::playback::resampled;
use crate::policy::{Clips, Code, Finding, PROMPTS_MAX, PolicySet};
use crate::rtp::codecs::Codec;

/// Of a prompt.
const SECONDS_MAX: usize = 30;
/// Of its file: 48 kHz, 16 bits, and what else a WAV file may tell.
const FILE_BYTES_MAX: usize = SECONDS_MAX * 48_000 * 2 + (64 << 10);
/// In Hz.
const RATES: [u32; 3] = [8_000, 16_000, 48_000];
/// What a prompt is encoded for: the codecs of telephony that we encode.
const CODECS: [Codec; 6] = [
    Codec::Pcma,
    Codec::Pcmu,
    Codec::G722,
    Codec::Opus,
    Codec::L16 {
        sample_rate: 8_000,
        channels: 1,
    },
    Codec::L16 {
        sample_rate: 16_000,
        channels: 1,
    },
];

/// The tone of recorders: 1,400 Hz for half a second, 20 dB below the loudest, and 10 ms of rise and fall.
const TONE_HZ: f64 = 1_400.0;
const TONE_SECONDS: f64 = 0.5;
const TONE_AMPLITUDE: f64 = 3_277.0;
const TONE_RISE_SECONDS: f64 = 0.01;

/// Why a sound file is not played: its author's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WavError {
    #[error("this is no WAV file")]
    NotWav,
    #[error("more than {SECONDS_MAX} seconds")]
    TooLong,
    #[error("not 16-bit PCM of one channel at 8, 16 or 48 kHz")]
    Format,
    #[error("there is no sound in it")]
    Empty,
}

/// The prompts of a folder's policies, `prompts/PACKAGE/notice.wav` and `prompts/PACKAGE/LANGUAGE/notice.wav`, and the tone if one
/// of them has it.
pub(super) fn read(folder: &Path, policies: &PolicySet) -> Result<Clips, Vec<Finding>> {
    let mut clips = Clips {
        tone: policies.has_tone().then(|| Arc::new(rendered("tone".to_owned(), tone))),
        ..Clips::default()
    };
    let prompts = policies.prompt_keys();
    if prompts.len() > PROMPTS_MAX {
        let message = format!("more than {PROMPTS_MAX} prompts");
        return Err(vec![Finding::whole(Code::TooLarge, &folder.to_string_lossy(), message)]);
    }
    let mut findings = Vec::new();
    for key in prompts {
        let path = folder.join("prompts").join(&key).join("notice.wav");
        match prompt(&key, &path) {
            Ok(clip) => _ = clips.prompts.insert(key, Arc::new(clip)),
            Err(message) => {
                let finding = Finding::whole(Code::BadPrompt, &path.to_string_lossy(), message);
                findings.push(finding.effect("who must be told by this prompt would not be"));
            }
        }
    }
    if findings.is_empty() { Ok(clips) } else { Err(findings) }
}

fn prompt(key: &str, path: &Path) -> Result<Clip, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("this is not a plain file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(WavError::TooLong.to_string());
    }
    let (rate, samples) = samples_of_wav(&bytes).map_err(|error| error.to_string())?;
    Ok(rendered(Clips::name_of(key, &bytes), |wanted| {
        resampled(&samples, rate, wanted)
    }))
}

/// A sound in every codec; `samples` gives it at a rate. The last frame is filled up with silence.
fn rendered(name: String, samples: impl Fn(u32) -> Vec<i16>) -> Clip {
    let renditions = CODECS.into_iter().filter_map(|codec| {
        let mut encoder = codec.encoder()?;
        let frame = codec.sample_rate() as usize / 50;
        let mut samples = samples(codec.sample_rate());
        samples.resize(samples.len().next_multiple_of(frame), 0);
        let payloads = samples.chunks(frame).map(|frame| encoder.encode(frame).into());
        Some(Rendition {
            encoding: codec.name(),
            clock_rate: codec.clock_rate(),
            channels: 1,
            payloads: payloads.collect(),
        })
    });
    Clip {
        renditions: renditions.collect(),
        name,
    }
}

fn tone(rate: u32) -> Vec<i16> {
    let rate = f64::from(rate);
    let count = (TONE_SECONDS * rate) as usize;
    let sample = |n: usize| {
        let (time, left) = (n as f64 / rate, (count - n) as f64 / rate);
        let rise = (time.min(left) / TONE_RISE_SECONDS).min(1.0);
        (TONE_AMPLITUDE * rise * (time * TONE_HZ * std::f64::consts::TAU).sin()) as i16
    };
    (0..count).map(sample).collect()
}

/// The rate in Hz and the samples of a RIFF file: the chunks `fmt ` and `data`; others are skipped.
pub fn samples_of_wav(bytes: &[u8]) -> Result<(u32, Vec<i16>), WavError> {
    let chunks = bytes.strip_prefix(b"RIFF").ok_or(WavError::NotWav)?;
    let mut chunks = chunks
        .get(4..)
        .and_then(|rest| rest.strip_prefix(b"WAVE"))
        .ok_or(WavError::NotWav)?;
    let mut rate = None;
    while let Some((head, rest)) = chunks.split_first_chunk::<8>() {
        let [a, b, c, d, l0, l1, l2, l3] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        // Who writes as it records may not know the length of its last chunk.
        let body = rest.get(..length).unwrap_or(rest);
        match &[a, b, c, d] {
            b"fmt " => rate = Some(format(body)?),
            b"data" => {
                let rate = rate.ok_or(WavError::NotWav)?;
                if body.len() > SECONDS_MAX * rate as usize * 2 {
                    return Err(WavError::TooLong);
                }
                let words = body.chunks_exact(2).filter_map(|word| word.try_into().ok());
                let samples: Vec<i16> = words.map(i16::from_le_bytes).collect();
                return if samples.is_empty() {
                    Err(WavError::Empty)
                } else {
                    Ok((rate, samples))
                };
            }
            _ => {}
        }
        chunks = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    Err(WavError::Empty)
}

/// The rate, of the one format that is read.
fn format(body: &[u8]) -> Result<u32, WavError> {
    const PCM: u16 = 1;
    let [k0, k1, c0, c1, r0, r1, r2, r3, _, _, _, _, _, _, b0, b1, ..] = *body else {
        return Err(WavError::NotWav);
    };
    let (kind, channels) = (u16::from_le_bytes([k0, k1]), u16::from_le_bytes([c0, c1]));
    let (rate, bits) = (u32::from_le_bytes([r0, r1, r2, r3]), u16::from_le_bytes([b0, b1]));
    let fits = (kind, channels, bits) == (PCM, 1, 16) && RATES.contains(&rate);
    fits.then_some(rate).ok_or(WavError::Format)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::config::load_policies;
    use crate::model::Generation;

    const POLICY: &str = "[policy]\nid = \"p\"\nenabled = true\nrecord_rerouted_calls = true\n\
        notify = { mode = \"prompt+tone\" }\nprompts = { package = \"desk\" }\n\
        [[policy.recorder]]\nid = \"embedded\"\n[[grant]]\npolicy = \"p\"\nto = [\"global\"]\n";

    fn wav_of(rate: u32, channels: u16, samples: usize) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec();
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend((rate * 2).to_le_bytes());
        file.extend([2, 0, 16, 0]);
        file.extend(b"LIST\x03\0\0\0abc\0data");
        file.extend((samples as u32 * 2).to_le_bytes());
        file.extend((0..samples).flat_map(|n| ((n % 100) as i16 * 50).to_le_bytes()));
        file
    }

    #[test]
    fn a_prompt_beside_the_policies_is_read_and_encoded_for_every_codec_and_is_part_of_their_hash() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.toml"), POLICY).unwrap();
        let missing = load_policies(folder.path(), Generation(1)).unwrap_err();
        assert_eq!(missing[0].code, Code::BadPrompt);
        let package = folder.path().join("prompts/desk");
        fs::create_dir_all(&package).unwrap();
        let mut hashes = Vec::new();
        for (rate, samples) in [(8_000, 8_000), (16_000, 16_010), (48_000, 48_000)] {
            fs::write(package.join("notice.wav"), wav_of(rate, 1, samples)).unwrap();
            let set = load_policies(folder.path(), Generation(1)).unwrap();
            let clip = &set.clips().prompts["desk"];
            assert!(clip.name.starts_with("desk (sha256 "), "{}", clip.name);
            assert_eq!(clip.renditions.len(), CODECS.len());
            let frames = if samples == 16_010 { 51 } else { 50 };
            for rendition in &clip.renditions {
                assert_eq!(rendition.payloads.len(), frames, "{}", rendition.encoding);
                assert!(
                    rendition
                        .payloads
                        .iter()
                        .all(|payload| (1..=640).contains(&payload.len()))
                );
            }
            let tone = set.clips().tone.as_ref().unwrap();
            assert!(tone.renditions.iter().all(|rendition| rendition.payloads.len() == 25));
            hashes.push(set.hash().to_owned());
        }
        hashes.dedup();
        assert_eq!(hashes.len(), 3);
    }

    #[test]
    fn each_language_of_a_package_has_a_prompt_of_its_own_or_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let policy = POLICY.replace("\"desk\" }", "\"desk\", languages = [\"de\", \"en-GB\"] }");
        fs::write(folder.path().join("p.toml"), policy).unwrap();
        for (at, key) in ["desk", "desk/de", "desk/en-gb"].into_iter().enumerate() {
            assert!(load_policies(folder.path(), Generation(1)).is_err(), "without {key}");
            let package = folder.path().join("prompts").join(key);
            fs::create_dir_all(&package).unwrap();
            fs::write(package.join("notice.wav"), wav_of(8_000, 1, 8_000 + at)).unwrap();
        }
        let set = load_policies(folder.path(), Generation(1)).unwrap();
        let keys: Vec<&String> = set.clips().prompts.keys().collect();
        assert_eq!(keys, ["desk", "desk/de", "desk/en-gb"]);
        assert!(set.clips().prompts["desk/de"].name.starts_with("desk/de (sha256 "));
    }

    #[test]
    fn what_cannot_be_played_is_said() {
        assert_eq!(samples_of_wav(&wav_of(8_000, 2, 100)), Err(WavError::Format));
        assert_eq!(samples_of_wav(&wav_of(44_100, 1, 100)), Err(WavError::Format));
        assert_eq!(samples_of_wav(&wav_of(8_000, 1, 0)), Err(WavError::Empty));
        assert_eq!(samples_of_wav(&wav_of(8_000, 1, 8_000 * 31)), Err(WavError::TooLong));
        assert_eq!(samples_of_wav(b"ID3\x04"), Err(WavError::NotWav));
        let whole = wav_of(8_000, 1, 100);
        assert_eq!(samples_of_wav(&whole[..40]), Err(WavError::Empty));
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128), cut in 0..200_usize) {
            let _ = samples_of_wav(&bytes);
            let mut whole = wav_of(8_000, 1, 60);
            whole.truncate(cut);
            whole.extend(bytes);
            let _ = samples_of_wav(&whole);
        }
    }
}
