//! What a payload type means at this point of the call, by the newest [`Mark::Media`].

use crate::model::{Leg, LinePlan, Mark, MediaKind};
use crate::rtp::codecs::Codec;

/// What a packet carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Payload {
    Sound(Codec),
    /// RFC 4733; the clock rate of its duration, in Hz.
    TelephoneEvent {
        clock_rate: u32,
    },
    /// RFC 3389. Silence here.
    ComfortNoise,
    /// By its encoding name, empty if that is not known either.
    Undecoded(String),
}

/// The media as negotiated up to now.
#[derive(Debug, Default)]
pub(super) struct Formats {
    lines: Vec<LinePlan>,
}

impl Formats {
    pub(super) fn on_mark(&mut self, mark: &Mark) {
        if let Mark::Media(lines) = mark {
            self.lines.clone_from(lines);
        }
    }

    pub(super) fn line(&self, line: u16) -> Option<&LinePlan> {
        self.lines.iter().find(|plan| plan.index == line)
    }

    /// A line of which nothing is known is taken for audio: the raw packets decide.
    pub(super) fn is_audio(&self, line: u16) -> bool {
        self.line(line).is_none_or(|plan| plan.kind == MediaKind::Audio)
    }

    /// Who receives chooses the payload types (RFC 3264 §5.1), so the far leg's description is asked first.
    pub(super) fn payload(&self, sender: Leg, line: u16, payload_type: u8) -> Payload {
        let receiver = match sender {
            Leg::A => Leg::B,
            Leg::B => Leg::A,
        };
        let plan = self.line(line);
        let format = [receiver, sender].into_iter().find_map(|leg| {
            let formats = &plan?.leg(leg).formats;
            formats
                .iter()
                .find(|format| format.0 == payload_type && !format.1.is_empty())
        });
        let Some((_, name, clock_rate, channels)) = format else {
            return match (Codec::of_payload_type(payload_type), payload_type) {
                (Some(codec), _) => Payload::Sound(codec),
                (None, 13) => Payload::ComfortNoise,
                (None, _) => Payload::Undecoded(String::new()),
            };
        };
        if name.eq_ignore_ascii_case("telephone-event") {
            return Payload::TelephoneEvent {
                clock_rate: *clock_rate,
            };
        }
        if name.eq_ignore_ascii_case("CN") {
            return Payload::ComfortNoise;
        }
        let codec = Codec::of_format(name, *clock_rate, *channels);
        codec.map_or_else(|| Payload::Undecoded(name.clone()), Payload::Sound)
    }
}
