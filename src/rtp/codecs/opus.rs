//! Opus (RFC 6716) as RTP carries it (RFC 7587), at 48 kHz, mixed down to one channel.

use opus_pure::packet::{self, MAX_PACKET_SAMPLES};
use opus_pure::{OpusDecoder, OpusMode};

use super::Filled;

/// RFC 7587 §4.1: of the RTP clock, whatever the sound's bandwidth.
pub(super) const SAMPLE_RATE: u32 = 48_000;
/// Longest hole that is filled by guessing: 120 ms. Beyond it a guess is no more than a fading hum.
const GUESSED_MAX: usize = 5_760;
/// What a decoder can guess in one go, in samples: 20, 10, 5 and 2.5 ms.
const GUESSES: [usize; 4] = [960, 480, 240, 120];

/// A decoder and what it remembers.
pub(super) struct Opus {
    decoder: OpusDecoder,
    /// Of the last packet, in samples.
    packet_samples: usize,
}

impl Opus {
    /// `None` never happens with a rate and channels that Opus has.
    pub(super) fn new() -> Option<Self> {
        let decoder = OpusDecoder::new(SAMPLE_RATE.cast_signed(), 1).ok()?;
        Some(Self {
            decoder,
            packet_samples: 0,
        })
    }

    /// Appends at most 120 ms; nothing for a payload that is no Opus packet, or an empty one.
    pub(super) fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) {
        let Ok(count) = packet::samples_48k(payload) else {
            return;
        };
        let start = samples.len();
        samples.resize(start + MAX_PACKET_SAMPLES, 0);
        let room = samples.get_mut(start..).unwrap_or_default();
        let decoded = self.decoder.decode_s16(payload, MAX_PACKET_SAMPLES, room);
        samples.truncate(start + decoded.unwrap_or(0).min(MAX_PACKET_SAMPLES));
        self.packet_samples = count;
    }

    /// Appends sound for the end of a hole of `hole` samples where `lost` packets are missing; `next` follows it.
    ///
    /// The frame before `next` comes from the copy in it, if it has one (RFC 6716 §2.1.7). What lies before that is
    /// guessed if the lost packets explain the whole of a short hole; else the sender was silent for a part of it, nobody
    /// knows which.
    pub(super) fn fill(&mut self, next: &[u8], hole: usize, lost: u64, samples: &mut Vec<i16>) -> Filled {
        let explained = usize::try_from(lost).unwrap_or(usize::MAX);
        let is_explained = hole <= self.packet_samples.saturating_mul(explained);
        let frame = packet::samples_per_frame(next, SAMPLE_RATE.cast_signed()).unwrap_or(0);
        let copied = if has_copy(next) && frame <= hole { frame } else { 0 };
        let mut guessed = 0;
        if is_explained && hole <= GUESSED_MAX {
            let mut rest = hole - copied;
            while let Some(guess) = GUESSES.into_iter().find(|guess| *guess <= rest) {
                guessed += self.append(guess, samples, |decoder, room| decoder.decode_s16(&[], guess, room));
                rest -= guess;
            }
        }
        let recovered = if copied > 0 {
            self.append(copied, samples, |decoder, room| {
                decoder.decode_fec_s16(next, copied, room)
            })
        } else {
            0
        };
        Filled { guessed, recovered }
    }

    fn append(
        &mut self,
        count: usize,
        samples: &mut Vec<i16>,
        decode: impl FnOnce(&mut OpusDecoder, &mut [i16]) -> opus_pure::Result<usize>,
    ) -> usize {
        let start = samples.len();
        samples.resize(start + count, 0);
        let room = samples.get_mut(start..).unwrap_or_default();
        let is_decoded = decode(&mut self.decoder, room).is_ok_and(|decoded| decoded == count);
        if !is_decoded {
            samples.truncate(start);
        }
        if is_decoded { count } else { 0 }
    }
}

/// At 48 kHz; `None` for what is no Opus packet.
pub(super) fn samples_in(payload: &[u8]) -> Option<usize> {
    packet::samples_48k(payload).ok()
}

/// Whether a packet carries a copy of the frame before it: the LBRR flag of its first frame, which follows the flags of
/// voice activity (RFC 6716 §4.2.3, §4.2.4). Both are plain bits.
fn has_copy(payload: &[u8]) -> bool {
    if packet::mode(payload).is_ok_and(|mode| mode == OpusMode::CeltOnly) {
        return false;
    }
    let frame = packet::samples_per_frame(payload, SAMPLE_RATE.cast_signed());
    let (Ok(frame), Some(toc)) = (frame, payload.first()) else {
        return false;
    };
    let silk_frames = (frame / 960).clamp(1, 3);
    // RFC 6716 §3.2: one frame, or two of equal length, follow the byte that tells their kind; in RTP all else is rare.
    let first = payload.get(1).filter(|_| toc & 0x03 <= 1);
    let flag = 0x80_u8 >> silk_frames;
    first.is_some_and(|byte| byte & flag != 0)
}

#[cfg(test)]
mod tests;
