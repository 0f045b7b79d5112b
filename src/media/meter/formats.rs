//! What the payload types of a session mean, as the relay has to know it: told by the newest plan.

use super::{far_side, side};
use crate::model::{ENCRYPTED, Leg, LinePlan, MediaKind};
use crate::rtp::codecs::Codec;
use crate::rtp::e_model::Coding;

/// Payload types of one side that are known apart; more are as if nobody had named them.
const FORMATS_MAX: usize = 16;

/// RFC 3551 table 4.
const COMFORT_NOISE: u8 = 13;

/// What a payload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::media) enum Content {
    /// That we could decode.
    Sound(Codec),
    /// RFC 3389.
    ComfortNoise,
    /// RFC 4733.
    Event,
    /// Not known to us: other codecs, video, text.
    Other,
    /// Encrypted beyond us.
    Sealed,
}

/// A payload type of a side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::media) struct Format {
    pub(in crate::media) content: Content,
    /// In Hz; zero: not known.
    pub(in crate::media) clock_rate: u32,
    pub(super) coding: Option<Coding>,
}

impl Format {
    fn named(name: &str, clock_rate: u32, channels: u8) -> Self {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        let content = match Codec::of_format(name, clock_rate, channels) {
            Some(codec) => Content::Sound(codec),
            None if name.ends_with(ENCRYPTED) => Content::Sealed,
            None if is("CN") => Content::ComfortNoise,
            None if is("telephone-event") => Content::Event,
            None => Content::Other,
        };
        let name = name.strip_suffix(ENCRYPTED).unwrap_or(name);
        Self {
            content,
            clock_rate,
            coding: Coding::of_format(name),
        }
    }

    /// RFC 3551 tables 4 and 5.
    fn of_payload_type(payload_type: u8) -> Self {
        let codec = Codec::of_payload_type(payload_type);
        let (content, clock_rate) = match (codec, payload_type) {
            (Some(codec), _) => (Content::Sound(codec), codec.clock_rate()),
            (None, COMFORT_NOISE) => (Content::ComfortNoise, 8_000),
            (None, 2..=7 | 12 | 15 | 18) => (Content::Other, 8_000),
            (None, 25..=34) => (Content::Other, 90_000),
            (None, _) => (Content::Other, 0),
        };
        Self {
            content,
            clock_rate,
            coding: Coding::of_payload_type(payload_type),
        }
    }
}

/// By side and payload type.
#[derive(Debug, Default)]
pub(super) struct Formats {
    known: Vec<(u8, u8, Format)>,
    /// A bit per side whose every format is encrypted beyond us.
    sealed: u32,
}

impl Formats {
    pub(super) fn settle(&mut self, lines: &[LinePlan], indices: impl Iterator<Item = u16>) {
        (self.known, self.sealed) = (Vec::new(), 0);
        for (place, index) in indices.enumerate() {
            if let Some(line) = lines.iter().find(|line| line.index == index) {
                for leg in Leg::BOTH {
                    self.settle_side(side(place, leg) as u8, line, leg);
                }
            }
        }
    }

    /// Who receives chooses the payload types (RFC 3264 §5.1), so the far leg's description goes first. Encrypted is only
    /// what both legs call so: an offer may leave it open.
    fn settle_side(&mut self, side: u8, line: &LinePlan, sender: Leg) {
        let [far, near] = [sender.other(), sender].map(|leg| &line.leg(leg).formats);
        let is_sealed = |(_, name, ..): &&(u8, String, u32, u8)| name.ends_with(ENCRYPTED);
        let told = || far.iter().chain(near).filter(|(_, name, ..)| !name.is_empty());
        let in_clear = told().filter(|format| !is_sealed(format));
        let first = self.known.len();
        for (payload_type, name, clock_rate, channels) in in_clear.chain(told().filter(is_sealed)) {
            let is_known = self.known.iter().skip(first).any(|(_, known, _)| known == payload_type);
            if !is_known && self.known.len() - first < FORMATS_MAX {
                let format = match line.kind {
                    MediaKind::Audio => Format::named(name, *clock_rate, *channels),
                    MediaKind::Video | MediaKind::Other => Format {
                        coding: None,
                        ..Format::named(name, *clock_rate, *channels)
                    },
                };
                self.known.push((side, *payload_type, format));
            }
        }
        if !far.is_empty() && !near.is_empty() && told().all(|format| is_sealed(&format)) {
            self.sealed |= 1 << side | 1 << far_side(side);
        }
    }

    pub(super) fn of(&self, side: u8, payload_type: u8) -> Format {
        let mut known = self.known.iter();
        let named = known.find(|(at, known, _)| (*at, *known) == (side, payload_type));
        named.map_or_else(|| Format::of_payload_type(payload_type), |(_, _, format)| *format)
    }

    pub(super) const fn is_sealed(&self, side: u8) -> bool {
        self.sealed & (1 << side) != 0
    }
}
