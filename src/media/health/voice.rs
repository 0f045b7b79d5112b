//! One leg's sound on one line: when it was heard last, and what one packet in many sounds like.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::meter::{Content, Format};
use crate::model::{Impairment, Timestamp};
use crate::rtp::codecs::Codec;

/// One packet in so many is listened to: about one a second. An odd number, so that a tone whose period is two or four
/// packets is not taken for the same packet again and again.
const LISTEN_EVERY: u8 = 47;

/// Payloads below this tell nothing.
const PAYLOAD_BYTES_MIN: usize = 80;

/// Of a payload that is listened to: a longer one is no sound of telephony.
const PAYLOAD_BYTES_MAX: usize = 1_500;

/// How long a payload is the same before that is a fault: longer than a tone on a line lasts, or than people are muted for a moment.
const CONSTANT_AFTER: Duration = Duration::from_secs(10);
const SILENCE_AFTER: Duration = Duration::from_secs(60);

/// Payloads that are judged together for noise.
const NOISE_PAYLOADS: u8 = 8;

/// Pairs of equal bytes, in hundredths of those that evenly distributed bytes have. Encrypted bytes have 100, give or take 5;
/// speech has 140 and mostly thousands; white noise 160 and more. Only in G.722 has the loudest white noise 120.
const NOISE_BEGINS: u64 = 115;
const NOISE_ENDS: u64 = 130;

/// A payload is clipped when one sample in so many is at the rails.
const CLIPPED_SHARE: usize = 32;

/// Of the last 16 payloads.
const CLIPPING_BEGINS: u32 = 5;

#[derive(Debug, Default)]
pub(super) struct Voice {
    /// Where it has to come from; none: it need not.
    awaited: Option<SocketAddr>,
    heard_at: Timestamp,
    /// It told that silence follows (RFC 3389), or its codec did.
    rests: bool,
    until_next: u8,
    /// Of the last payload that was listened to, and since when they are the same.
    print: u64,
    print_since: Timestamp,
    is_silence: bool,
    constant: Option<Impairment>,
    even_payloads: u8,
    pairs: u64,
    pairs_if_even: u64,
    is_noise: bool,
    /// A bit per payload, the newest lowest.
    clipped: u16,
    is_clipping: bool,
}

impl Voice {
    /// It goes on as it was if its source is the same.
    pub(super) fn settle(&mut self, now: Timestamp, awaited: Option<SocketAddr>) {
        if self.awaited != awaited {
            *self = Self {
                awaited,
                heard_at: now,
                ..Self::default()
            };
        }
    }

    pub(super) const fn pause(&mut self, now: Timestamp) {
        self.heard_at = now;
    }

    #[inline]
    pub(super) fn hear(&mut self, at: Timestamp, payload: &[u8], format: &Format) {
        self.heard_at = at;
        self.rests = rests(format.content, payload);
        match self.until_next.checked_sub(1) {
            Some(left) => self.until_next = left,
            None => {
                self.until_next = LISTEN_EVERY - 1;
                self.listen(at, payload, format.content);
            }
        }
    }

    /// Since when it is awaited and not heard.
    pub(super) fn silent_since(&self, now: Timestamp) -> Option<Timestamp> {
        let is_missed = self.awaited.is_some() && !self.rests && self.heard_at < now;
        is_missed.then_some(self.heard_at)
    }

    pub(super) fn is_heard(&self, now: Timestamp, within: Duration) -> bool {
        now.since(self.heard_at) < within
    }

    /// What its packets sound like.
    pub(super) fn sounds(&self) -> [(Impairment, bool); 4] {
        [
            (Impairment::Constant, self.constant == Some(Impairment::Constant)),
            (Impairment::Silence, self.constant == Some(Impairment::Silence)),
            (Impairment::Noise, self.is_noise),
            (Impairment::Clipping, self.is_clipping),
        ]
    }

    fn listen(&mut self, at: Timestamp, payload: &[u8], content: Content) {
        let Content::Sound(codec) = content else { return };
        if !(PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&payload.len()) || codec == Codec::Opus {
            return;
        }
        self.compare(at, payload, codec);
        if !matches!(codec, Codec::L16 { .. }) {
            self.count_pairs(payload);
        }
        if let Some((rails, samples)) = codec.at_rails(payload) {
            self.clipped = self.clipped << 1 | u16::from(rails * CLIPPED_SHARE >= samples);
            self.is_clipping = match self.clipped.count_ones() {
                0 => false,
                CLIPPING_BEGINS.. => true,
                _ => self.is_clipping,
            };
        }
    }

    fn compare(&mut self, at: Timestamp, payload: &[u8], codec: Codec) {
        let print = fingerprint(payload);
        if print != self.print {
            (self.print, self.print_since) = (print, at);
            self.is_silence = codec.is_flat(payload);
        }
        let same_for = at.since(self.print_since);
        self.constant = if self.is_silence {
            (same_for >= SILENCE_AFTER).then_some(Impairment::Silence)
        } else {
            (same_for >= CONSTANT_AFTER).then_some(Impairment::Constant)
        };
    }

    /// Bytes that are as often equal as chance has it are no sound: the collision entropy is that of 8 bits a byte.
    fn count_pairs(&mut self, payload: &[u8]) {
        let mut counts = [0_u16; 256];
        payload.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let squares: u32 = counts.iter().map(|count| u32::from(*count) * u32::from(*count)).sum();
        let bytes = payload.len() as u64;
        self.pairs += (u64::from(squares) - bytes) * 100;
        self.pairs_if_even += bytes * (bytes - 1) / 256;
        self.even_payloads += 1;
        if self.even_payloads < NOISE_PAYLOADS {
            return;
        }
        let share = self.pairs / self.pairs_if_even.max(1);
        self.is_noise = share < if self.is_noise { NOISE_ENDS } else { NOISE_BEGINS };
        (self.even_payloads, self.pairs, self.pairs_if_even) = (0, 0, 0);
    }
}

/// Whether nothing may follow: comfort noise (RFC 3389), or the silence descriptor of G.729 B, two bytes behind whole frames of ten.
fn rests(content: Content, payload: &[u8]) -> bool {
    match content {
        Content::ComfortNoise => true,
        Content::Other => payload.len() % 10 == 2 && payload.len() < PAYLOAD_BYTES_MIN,
        Content::Sound(_) | Content::Event | Content::Sealed => false,
    }
}

/// Equal for equal payloads; seldom for others (FNV-1a, by words).
fn fingerprint(payload: &[u8]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let (words, rest) = payload.as_chunks::<8>();
    let print = words.iter().fold(payload.len() as u64, |print, word| {
        (print.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME)
    });
    rest.iter()
        .fold(print, |print, byte| (print ^ u64::from(*byte)).wrapping_mul(PRIME))
}
