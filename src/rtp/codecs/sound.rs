//! What a payload sounds like, told from its bytes alone.

use super::{Codec, opus};

impl Codec {
    /// How many samples a payload holds, of one channel, at the codec's own rate. None: it would not be decoded.
    pub fn samples_in(self, payload: &[u8]) -> Option<usize> {
        match self {
            Self::Pcmu | Self::Pcma => Some(payload.len()),
            Self::G722 => Some(payload.len() * 2),
            Self::L16 { channels, .. } => Some(payload.len() / 2 / usize::from(channels.max(1))),
            Self::Opus => opus::samples_in(payload),
        }
    }

    /// Whether a payload is of one value throughout: no sound at all.
    pub fn is_flat(self, payload: &[u8]) -> bool {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 | Self::Opus => is_of_one(payload),
            Self::L16 { .. } => is_of_one(payload.as_chunks::<2>().0),
        }
    }

    /// How many samples of a payload are the greatest or the least that can be written, and how many samples it has. None:
    /// only decoding would tell.
    pub fn at_rails(self, payload: &[u8]) -> Option<(usize, usize)> {
        let codes = |is_at_rail: fn(u8) -> bool| payload.iter().filter(|code| is_at_rail(**code)).count();
        match self {
            Self::Pcmu => Some((codes(|code| code & 0x7f == 0), payload.len())),
            Self::Pcma => Some((codes(|code| code & 0x7f == 0x2a), payload.len())),
            Self::L16 { .. } => {
                let samples = payload.as_chunks::<2>().0;
                let rails = samples.iter().map(|sample| i16::from_be_bytes(*sample));
                Some((
                    rails.filter(|sample| matches!(*sample, i16::MIN | i16::MAX)).count(),
                    samples.len(),
                ))
            }
            Self::G722 | Self::Opus => None,
        }
    }
}

fn is_of_one<T: PartialEq>(values: &[T]) -> bool {
    values
        .first()
        .is_some_and(|first| values.iter().all(|value| value == first))
}

#[cfg(test)]
mod tests {
    use super::super::{pcma, pcmu};
    use super::*;

    const L16: Codec = Codec::L16 {
        sample_rate: 16_000,
        channels: 1,
    };

    #[test]
    fn the_rails_are_the_greatest_samples_of_each_codec() {
        for (codec, decode) in [(Codec::Pcmu, pcmu as fn(u8) -> i16), (Codec::Pcma, pcma)] {
            let greatest = (0..=255).map(|code| decode(code).unsigned_abs()).max();
            let at_rails = |code: &u8| codec.at_rails(&[*code]) == Some((1, 1));
            let rails: Vec<_> = (0..=255)
                .filter(at_rails)
                .map(|code| decode(code).unsigned_abs())
                .collect();
            assert_eq!(rails, [greatest.expect("a sample"); 2]);
        }
        assert_eq!(L16.at_rails(&[0x7f, 0xff, 0x80, 0, 0, 0, 1]), Some((2, 3)));
        assert_eq!(Codec::Opus.at_rails(&[0; 8]), None);
    }

    #[test]
    fn a_payload_of_one_value_is_flat() {
        assert!(Codec::Pcma.is_flat(&[0xd5; 160]) && !Codec::Pcma.is_flat(&[0xd5, 0x55]));
        assert!(L16.is_flat(&[1, 2, 1, 2]) && !L16.is_flat(&[1, 1, 1, 2]));
        assert!(!Codec::Pcmu.is_flat(&[]));
    }
}
