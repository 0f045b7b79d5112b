//! How a party hears that it is recorded: sounds that are encoded before they are needed, and what is played to whom.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Leg, LinePlan, SessionId, Timestamp};

/// Sound that one packet of a notice holds.
pub const CLIP_FRAME: Duration = Duration::from_millis(20);

/// A sound, encoded once for each format that it can be sent in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Clip {
    /// As recordings tell it: of a prompt its package and the start of its file's SHA-256.
    pub name: String,
    pub renditions: Vec<Rendition>,
}

/// A sound as payloads of [`CLIP_FRAME`] each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rendition {
    /// As SDP writes it.
    pub encoding: &'static str,
    /// Of its RTP timestamps, in Hz.
    pub clock_rate: u32,
    pub channels: u8,
    pub payloads: Vec<Box<[u8]>>,
}

impl Rendition {
    /// Of one frame, in units of its timestamps.
    pub const fn ticks(&self) -> u32 {
        self.clock_rate / 50
    }

    fn is(&self, (encoding, clock_rate, channels): (&str, u32, u8)) -> bool {
        // RFC 7587 §7 wants two channels said of Opus, whatever the packets hold.
        let is_opus = self.encoding.eq_ignore_ascii_case("opus");
        self.clock_rate == clock_rate
            && self.encoding.eq_ignore_ascii_case(encoding)
            && (self.channels == channels || is_opus)
    }
}

/// A rendition of a clip, by its place, and the payload type that a leg knows its format by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Voice {
    pub payload_type: u8,
    pub rendition: usize,
}

impl Clip {
    /// How it is told to a leg: in the first format of its SDP that the far leg has too, so that it is one that was agreed on.
    /// `now`: the payload type that the leg is sent already, which is kept to if it can be. None: no format fits.
    pub fn voice(&self, line: &LinePlan, leg: Leg, now: Option<u8>) -> Option<Voice> {
        let far = &line.leg(leg.other()).formats;
        let is_agreed = |name: &str, rate: u32| far.iter().any(|far| far.1.eq_ignore_ascii_case(name) && far.2 == rate);
        let fitting = || {
            let agreed = line.leg(leg).formats.iter().filter(|own| is_agreed(&own.1, own.2));
            agreed.filter_map(|(payload_type, name, clock_rate, channels)| {
                let format = (name.as_str(), *clock_rate, *channels);
                let rendition = self.renditions.iter().position(|rendition| rendition.is(format))?;
                Some(Voice {
                    payload_type: *payload_type,
                    rendition,
                })
            })
        };
        fitting()
            .find(|voice| Some(voice.payload_type) == now)
            .or_else(|| fitting().next())
    }
}

/// What is played to the parties of a session from here on. What plays already plays on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoticePlan {
    pub session: SessionId,
    /// The line that is spoken on, as it is agreed now.
    pub line: LinePlan,
    /// To A, to B; none: what was told it is told on. An empty one takes a tone back.
    pub legs: [Option<LegNotice>; 2],
    /// While a prompt is played to either, neither hears the other.
    pub parted: bool,
}

/// What is played to one leg.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LegNotice {
    /// At once, and once.
    pub prompt: Option<Arc<Clip>>,
    /// After the prompt, and again and again.
    pub tone: Option<(Arc<Clip>, Duration)>,
}

/// What kind of notice it was.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    Prompt,
    Tone,
}

/// A notice that a party was sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notice {
    /// Who was told.
    pub leg: Leg,
    pub line: u16,
    pub kind: NoticeKind,
    /// Of the clip.
    pub name: String,
    /// Of its first packet.
    pub from: Timestamp,
    /// Of the end of its last packet.
    pub until: Timestamp,
    /// Packets that were sent.
    pub packets: u32,
    /// All of it; not, where the call ended or the prompt could not go on.
    pub whole: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LegPlan, MediaKind, Origin};

    type Formats = &'static [(u8, &'static str, u32, u8)];

    fn line(a: Formats, b: Formats) -> LinePlan {
        let leg = |formats: Formats| LegPlan {
            local: ([10, 0, 0, 1], 40_000).into(),
            remote: None,
            deaf: false,
            mute: false,
            holds: false,
            origin: Origin::Signalled,
            formats: formats
                .iter()
                .map(|(pt, name, rate, channels)| (*pt, (*name).to_owned(), *rate, *channels))
                .collect(),
        };
        LinePlan {
            index: 0,
            kind: MediaKind::Audio,
            a: leg(a),
            b: leg(b),
        }
    }

    fn clip() -> Clip {
        let rendition = |encoding, clock_rate| Rendition {
            encoding,
            clock_rate,
            channels: 1,
            payloads: Vec::new(),
        };
        Clip {
            name: "tone".to_owned(),
            renditions: vec![
                rendition("PCMU", 8_000),
                rendition("PCMA", 8_000),
                rendition("opus", 48_000),
            ],
        }
    }

    #[test]
    fn a_leg_is_spoken_to_in_a_format_that_both_legs_have_by_its_own_number_for_it() {
        let line = line(
            &[
                (18, "G729", 8_000, 1),
                (0, "PCMU", 8_000, 1),
                (96, "opus", 48_000, 2),
                (8, "pcma", 8_000, 1),
            ],
            &[(111, "opus", 48_000, 2), (8, "PCMA", 8_000, 1)],
        );
        let voice = |leg, now| {
            clip()
                .voice(&line, leg, now)
                .map(|voice| (voice.payload_type, voice.rendition))
        };
        assert_eq!(voice(Leg::A, None), Some((96, 2)), "not PCMU, which B did not accept");
        assert_eq!(voice(Leg::A, Some(8)), Some((8, 1)), "as the far party speaks");
        assert_eq!(voice(Leg::A, Some(0)), Some((96, 2)));
        assert_eq!(voice(Leg::B, None), Some((111, 2)));
    }

    #[test]
    fn nothing_is_said_where_no_format_fits() {
        assert_eq!(
            clip().voice(
                &line(&[(18, "G729", 8_000, 1)], &[(18, "G729", 8_000, 1)]),
                Leg::A,
                None
            ),
            None
        );
        let sealed: Formats = &[(0, "PCMU (SRTP)", 8_000, 1)];
        assert_eq!(clip().voice(&line(sealed, sealed), Leg::A, None), None);
        assert_eq!(clip().voice(&line(&[(0, "PCMU", 8_000, 1)], &[]), Leg::A, None), None);
    }
}
