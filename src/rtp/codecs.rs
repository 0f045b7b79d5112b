//! The codecs of telephony that are decoded here (RFC 3551 §4.5, RFC 7587): G.711, linear PCM, G.722, Opus.

mod g711;
mod opus;
mod sound;

use audio_codec::Decoder as _;
use audio_codec::g722::G722Decoder;

pub use g711::{pcma, pcmu, to_pcma, to_pcmu};
use opus::Opus;

/// RFC 3551 §4.2, in Hz: linear samples at other rates are not decoded.
const LINEAR_RATES: [u32; 8] = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// A payload format that can be turned into samples.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// 16-bit big-endian samples, interleaved.
    L16 { sample_rate: u32, channels: u8 },
    /// 64 kbit/s; its RTP clock runs at 8 kHz, its samples at 16 kHz (RFC 3551 §4.5.2).
    G722,
    /// Any bandwidth, mono or stereo, at 48 kHz (RFC 7587 §4.1).
    Opus,
}

impl Codec {
    /// The codec behind a payload format's name, clock rate in Hz and channels; `None` when it is not decoded here.
    pub fn of_format(name: &str, clock_rate: u32, channels: u8) -> Option<Self> {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match (clock_rate, channels) {
            (8_000, 1) if is("PCMU") => Some(Self::Pcmu),
            (8_000, 1) if is("PCMA") => Some(Self::Pcma),
            (8_000, 1) if is("G722") => Some(Self::G722),
            // RFC 7587 §7 wants two channels; who writes one means the same packets.
            (opus::SAMPLE_RATE, 1 | 2) if is("opus") => Some(Self::Opus),
            (rate, 1 | 2) if is("L16") && LINEAR_RATES.contains(&rate) => Some(Self::L16 {
                sample_rate: clock_rate,
                channels,
            }),
            _ => None,
        }
    }

    /// The codec that a payload type means without a description (RFC 3551 table 4).
    pub const fn of_payload_type(payload_type: u8) -> Option<Self> {
        Some(match payload_type {
            0 => Self::Pcmu,
            8 => Self::Pcma,
            9 => Self::G722,
            10 => Self::L16 {
                sample_rate: 44_100,
                channels: 2,
            },
            11 => Self::L16 {
                sample_rate: 44_100,
                channels: 1,
            },
            _ => return None,
        })
    }

    /// As SDP writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::L16 { .. } => "L16",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// Of its RTP timestamps, in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::L16 { sample_rate, .. } => sample_rate,
            Self::Opus => opus::SAMPLE_RATE,
        }
    }

    /// Of its samples, in Hz.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
            Self::L16 { sample_rate, .. } => sample_rate,
            Self::G722 => 16_000,
            Self::Opus => opus::SAMPLE_RATE,
        }
    }

    /// A decoder at rest.
    pub fn decoder(self) -> Decoder {
        let memory = match self {
            Self::Pcmu | Self::Pcma | Self::L16 { .. } => Memory::None,
            Self::G722 => Memory::G722(Box::new(G722Decoder::new())),
            Self::Opus => Opus::new().map_or(Memory::None, |opus| Memory::Opus(Box::new(opus))),
        };
        Decoder { codec: self, memory }
    }
}

/// A codec with the memory that it keeps from packet to packet.
pub struct Decoder {
    codec: Codec,
    memory: Memory,
}

enum Memory {
    None,
    G722(Box<G722Decoder>),
    Opus(Box<Opus>),
}

/// Samples that stand for packets that never came: the guessed ones first, then those that a later packet brought.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Filled {
    /// Made up by the decoder from what was before.
    pub guessed: usize,
    /// Sent, as a copy in the packet after them.
    pub recovered: usize,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Appends the payload's samples, mixed down to one channel. Allocates only when `samples` has to grow.
    pub fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) {
        match (self.codec, &mut self.memory) {
            (Codec::Pcmu, _) => samples.extend(payload.iter().map(|byte| pcmu(*byte))),
            (Codec::Pcma, _) => samples.extend(payload.iter().map(|byte| pcma(*byte))),
            (Codec::L16 { channels: 2, .. }, _) => {
                samples.extend(payload.chunks_exact(4).filter_map(|frame| {
                    let [l0, l1, r0, r1] = *frame else { return None };
                    let sum = i32::from(i16::from_be_bytes([l0, l1])) + i32::from(i16::from_be_bytes([r0, r1]));
                    i16::try_from(sum / 2).ok()
                }));
            }
            (Codec::L16 { .. }, _) => {
                let words = payload.chunks_exact(2);
                samples.extend(words.filter_map(|word| Some(i16::from_be_bytes(word.try_into().ok()?))));
            }
            (_, Memory::G722(decoder)) => {
                let start = samples.len();
                samples.resize(start + decoder.max_decode_samples(payload.len()), 0);
                let decoded = samples
                    .get_mut(start..)
                    .map_or(Ok(0), |out| decoder.decode_into(payload, out));
                samples.truncate(start + decoded.unwrap_or(0));
            }
            (_, Memory::Opus(decoder)) => decoder.decode(payload, samples),
            (Codec::G722 | Codec::Opus, Memory::None) => {}
        }
    }

    /// Appends what can be known or guessed of the end of a hole of `hole` samples, in which `lost` packets are missing and
    /// which the payload `next` follows; before `next` is decoded. Only Opus has copies, and only Opus guesses: of the
    /// others a lost packet is silence.
    pub fn fill(&mut self, next: &[u8], hole: usize, lost: u64, samples: &mut Vec<i16>) -> Filled {
        match &mut self.memory {
            Memory::Opus(decoder) => decoder.fill(next, hole, lost, samples),
            Memory::None | Memory::G722(_) => Filled::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_samples_are_read_and_stereo_is_mixed_down() {
        let mut samples = Vec::new();
        let mono = Codec::of_format("l16", 16_000, 1).expect("known");
        mono.decoder().decode(&[0x01, 0x02, 0xff, 0xff, 0x00], &mut samples);
        assert_eq!(samples, [0x0102, -1]);
        samples.clear();
        let stereo = Codec::of_format("L16", 44_100, 2).expect("known");
        stereo.decoder().decode(&[0, 10, 0, 20, 0x80, 0, 0x80, 0], &mut samples);
        assert_eq!(samples, [15, i16::MIN]);
    }

    #[test]
    fn g722_gives_two_samples_a_byte_and_a_tone_stays_a_tone() {
        use audio_codec::Encoder as _;
        use audio_codec::g722::G722Encoder;

        let tone: Vec<i16> = (0..3_200)
            .map(|n| (8_000.0 * (f64::from(n) * 0.4).sin()) as i16)
            .collect();
        let encoded = G722Encoder::new().encode(&tone);
        assert_eq!(encoded.len(), 1_600);
        let (mut decoder, mut samples) = (Codec::G722.decoder(), Vec::new());
        for packet in encoded.chunks(160) {
            decoder.decode(packet, &mut samples);
        }
        assert_eq!(samples.len(), 3_200);
        let power = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
        let ratio = power(&samples[800..]) / power(&tone[800..]);
        assert!((0.8..1.2).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_is_not_decoded_here_is_said() {
        for (name, clock_rate, channels) in [
            ("G729", 8_000, 1),
            ("opus", 16_000, 1),
            ("PCMU", 16_000, 1),
            ("L16", 0, 1),
            ("L16", 4_000_000_000, 1),
        ] {
            assert_eq!(Codec::of_format(name, clock_rate, channels), None);
        }
    }
}
