//! The codecs of telephony that are decoded here (RFC 3551 §4.5): G.711, linear PCM, G.722.

use audio_codec::Decoder as _;
use audio_codec::g722::G722Decoder;

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
}

impl Codec {
    /// The codec behind a payload format's name, clock rate in Hz and channels; `None` when it is not decoded here.
    pub fn of_format(name: &str, clock_rate: u32, channels: u8) -> Option<Self> {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match (clock_rate, channels) {
            (8_000, 1) if is("PCMU") => Some(Self::Pcmu),
            (8_000, 1) if is("PCMA") => Some(Self::Pcma),
            (8_000, 1) if is("G722") => Some(Self::G722),
            (1.., 1 | 2) if is("L16") => Some(Self::L16 {
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
        }
    }

    /// Of its RTP timestamps, in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::L16 { sample_rate, .. } => sample_rate,
        }
    }

    /// Of its samples, in Hz.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
            Self::L16 { sample_rate, .. } => sample_rate,
            Self::G722 => 16_000,
        }
    }

    /// A decoder at rest.
    pub fn decoder(self) -> Decoder {
        Decoder {
            codec: self,
            g722: (self == Self::G722).then(|| Box::new(G722Decoder::new())),
        }
    }
}

/// A codec with the memory that it keeps from packet to packet.
pub struct Decoder {
    codec: Codec,
    g722: Option<Box<G722Decoder>>,
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
        match (self.codec, &mut self.g722) {
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
            (Codec::G722, Some(decoder)) => {
                let start = samples.len();
                samples.resize(start + decoder.max_decode_samples(payload.len()), 0);
                let decoded = samples
                    .get_mut(start..)
                    .map_or(Ok(0), |out| decoder.decode_into(payload, out));
                samples.truncate(start + decoded.unwrap_or(0));
            }
            (Codec::G722, None) => {}
        }
    }
}

const PCMU: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = pcmu_of_code(code as u8);
        code += 1;
    }
    table
};

const PCMA: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = pcma_of_code(code as u8);
        code += 1;
    }
    table
};

/// One µ-law code as a 16-bit sample (ITU-T G.711 table 2, left-aligned 14 bits).
pub const fn pcmu(code: u8) -> i16 {
    PCMU[code as usize]
}

/// One A-law code as a 16-bit sample (ITU-T G.711 table 1, left-aligned 13 bits).
pub const fn pcma(code: u8) -> i16 {
    PCMA[code as usize]
}

const fn pcmu_of_code(code: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let code = !code;
    let magnitude = ((((code & 0x0f) as i16) << 3) + BIAS) << ((code & 0x70) >> 4);
    if code & 0x80 != 0 {
        BIAS - magnitude
    } else {
        magnitude - BIAS
    }
}

const fn pcma_of_code(code: u8) -> i16 {
    let code = code ^ 0x55;
    let segment = (code & 0x70) >> 4;
    let step = ((code & 0x0f) as i16) << 4;
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// The µ-law code of a 16-bit sample.
pub const fn to_pcmu(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (sample as i32).abs();
    let magnitude = if magnitude > CLIP { CLIP } else { magnitude } + BIAS;
    let segment = magnitude.ilog2() - 7;
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | ((segment as u8) << 4) | step as u8)
}

/// The A-law code of a 16-bit sample.
pub const fn to_pcma(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 { (0x80, sample) } else { (0, !sample) };
    let code = if magnitude < 256 {
        (magnitude >> 4) as u8
    } else {
        let segment = magnitude.ilog2() - 7;
        ((segment as u8) << 4) | ((magnitude >> (segment + 3)) & 0x0f) as u8
    };
    (sign | code) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mu_law_is_the_table_of_g_711() {
        for (code, sample) in [
            (0x00, -32_124),
            (0x80, 32_124),
            (0xff, 0),
            (0x7f, 0),
            (0xfe, 8),
            (0x7e, -8),
            (0xf0, 120),
        ] {
            assert_eq!(pcmu(code), sample, "{code:#x}");
        }
    }

    #[test]
    fn a_law_is_the_table_of_g_711() {
        for (code, sample) in [
            (0xd5, 8),
            (0x55, -8),
            (0xaa, 32_256),
            (0x2a, -32_256),
            (0xd4, 24),
            (0xc5, 264),
        ] {
            assert_eq!(pcma(code), sample, "{code:#x}");
        }
    }

    #[test]
    fn every_code_survives_the_way_there_and_back() {
        for code in 0..=255_u8 {
            assert_eq!(pcma(to_pcma(pcma(code))), pcma(code));
            assert_eq!(pcmu(to_pcmu(pcmu(code))), pcmu(code));
        }
    }

    #[test]
    fn every_sample_comes_back_within_its_segment() {
        for sample in i16::MIN..=i16::MAX {
            let (wanted, mu, a) = (
                i32::from(sample),
                i32::from(pcmu(to_pcmu(sample))),
                i32::from(pcma(to_pcma(sample))),
            );
            let allowed = 16 + wanted.abs() / 32;
            let clipped = if wanted.abs() > 32_124 { 700 } else { 0 };
            assert!((wanted - mu).abs() <= allowed + clipped, "µ-law {sample}: {mu}");
            assert!((wanted - a).abs() <= allowed + clipped, "A-law {sample}: {a}");
        }
    }

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
            ("opus", 48_000, 2),
            ("PCMU", 16_000, 1),
            ("L16", 0, 1),
        ] {
            assert_eq!(Codec::of_format(name, clock_rate, channels), None);
        }
    }
}
