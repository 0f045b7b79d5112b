//! Samples to payloads: what notices are spoken in.

use audio_codec::Encoder as _;
use audio_codec::g722::G722Encoder;
use opus_pure::{Application, OpusEncoder};

use super::{Codec, opus, to_pcma, to_pcmu};

/// RFC 7587 §3.1.1: fullband speech is at home between 28 and 40 kbit/s.
const OPUS_BITS_PER_SECOND: i32 = 32_000;
/// RFC 6716 §3.2.1: no frame of Opus is longer.
const OPUS_FRAME_BYTES_MAX: usize = 1_275;

/// A codec with what it remembers from frame to frame.
pub struct Encoder {
    codec: Codec,
    memory: Memory,
}

enum Memory {
    None,
    G722(Box<G722Encoder>),
    Opus(Box<OpusEncoder>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

impl Codec {
    /// An encoder at rest, of one channel; none of what has two.
    pub fn encoder(self) -> Option<Encoder> {
        let memory = match self {
            Self::L16 { channels: 2.., .. } => return None,
            Self::Pcmu | Self::Pcma | Self::L16 { .. } => Memory::None,
            Self::G722 => Memory::G722(Box::new(G722Encoder::new())),
            Self::Opus => {
                let rate = opus::SAMPLE_RATE.cast_signed();
                let mut encoder = OpusEncoder::new(rate, 1, Application::Voip).ok()?;
                encoder.bitrate_bps = OPUS_BITS_PER_SECOND;
                Memory::Opus(Box::new(encoder))
            }
        };
        Some(Encoder { codec: self, memory })
    }
}

impl Encoder {
    /// The payload of one frame of samples at the codec's sample rate: of Opus 2.5, 5, 10 or 20 ms, of the others any even
    /// number. Empty where the codec takes no such frame.
    pub fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        match (&mut self.memory, self.codec) {
            (Memory::None, Codec::Pcmu) => samples.iter().map(|sample| to_pcmu(*sample)).collect(),
            (Memory::None, Codec::Pcma) => samples.iter().map(|sample| to_pcma(*sample)).collect(),
            (Memory::None, _) => samples.iter().flat_map(|sample| sample.to_be_bytes()).collect(),
            (Memory::G722(encoder), _) => encoder.encode(samples),
            (Memory::Opus(encoder), _) => {
                let mut payload = vec![0; OPUS_FRAME_BYTES_MAX];
                let encoded = encoder.encode_s16(samples, samples.len(), &mut payload);
                payload.truncate(encoded.unwrap_or(0));
                payload
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Codec; 5] = [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::L16 {
            sample_rate: 16_000,
            channels: 1,
        },
        Codec::Opus,
    ];

    fn tone(rate: u32, count: usize) -> Vec<i16> {
        let turn = 1_400.0 * std::f64::consts::TAU / f64::from(rate);
        (0..count).map(|n| (8_000.0 * (n as f64 * turn).sin()) as i16).collect()
    }

    fn power(samples: &[i16]) -> f64 {
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    /// The part of the power that is at one frequency (Goertzel).
    fn power_at(samples: &[i16], rate: u32, hertz: f64) -> f64 {
        let turn = hertz * std::f64::consts::TAU / f64::from(rate);
        let sum = |wave: fn(f64) -> f64| {
            let products = samples.iter().enumerate();
            products
                .map(|(n, sample)| f64::from(*sample) * wave(n as f64 * turn))
                .sum::<f64>()
        };
        2.0 * (sum(f64::sin).powi(2) + sum(f64::cos).powi(2)) / (samples.len() as f64).powi(2)
    }

    #[test]
    fn a_tone_is_a_tone_after_every_codec() {
        for codec in CODECS {
            let rate = codec.sample_rate();
            let frame = rate as usize / 50;
            let original = tone(rate, 25 * frame);
            let (mut encoder, mut decoder) = (codec.encoder().expect("of one channel"), codec.decoder());
            let mut heard = Vec::new();
            for samples in original.chunks(frame) {
                let payload = encoder.encode(samples);
                assert!((10..1_400).contains(&payload.len()), "{codec:?}: {}", payload.len());
                decoder.decode(&payload, &mut heard);
            }
            assert_eq!(heard.len(), original.len(), "{codec:?}");
            let heard = &heard[10 * frame..20 * frame];
            let (all, tone) = (power(heard), power_at(heard, rate, 1_400.0));
            assert!((0.7..1.3).contains(&(all / power(&original))), "{codec:?}: {all}");
            assert!(tone > 0.95 * all, "{codec:?}: {tone} of {all}");
        }
    }

    #[test]
    fn two_channels_are_not_spoken() {
        let stereo = Codec::L16 {
            sample_rate: 44_100,
            channels: 2,
        };
        assert!(stereo.encoder().is_none());
    }
}
