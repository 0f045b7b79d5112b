//! What a payload type means at this point of the call, by the newest [`Mark::Media`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::model::{ENCRYPTED, Leg, LinePlan, Mark, MediaKind, Remote};
use crate::rtp::codecs::Codec;
use crate::rtp::{Red, Repeated, RtpHeader};

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

/// A packet's payload, out of the redundant one that it may come in (RFC 2198).
#[derive(Debug)]
pub(super) struct Unpacked<'a> {
    pub(super) payload: Payload,
    pub(super) bytes: &'a [u8],
    pub(super) red: Option<Red<'a>>,
}

/// The media as negotiated up to now.
#[derive(Debug, Default)]
pub(super) struct Formats {
    lines: Vec<LinePlan>,
    /// Where the RTP of a leg's line comes from, if its SDP does not name it; and what its SDP named then.
    learned: BTreeMap<(Leg, u16), (SocketAddr, Option<Remote>)>,
}

impl Formats {
    pub(super) fn on_mark(&mut self, mark: &Mark) {
        match mark {
            Mark::Media(lines) => self.lines.clone_from(lines),
            Mark::Learned { leg, line, from } => {
                let Some(plan) = self.line(*line) else { return };
                let signalled = plan.leg(*leg).remote;
                self.learned.insert((*leg, *line), (*from, signalled));
            }
            _ => {}
        }
    }

    /// Where the RTP of a leg's line comes from.
    pub(super) fn source(&self, leg: Leg, line: u16) -> Option<SocketAddr> {
        let signalled = self.line(line)?.leg(leg).remote;
        let learned = self.learned.get(&(leg, line)).filter(|(_, then)| *then == signalled);
        learned.map(|(from, _)| *from).or(Some(signalled?.rtp))
    }

    pub(super) fn line(&self, line: u16) -> Option<&LinePlan> {
        self.lines.iter().find(|plan| plan.index == line)
    }

    /// A line of which nothing is known is taken for audio: the raw packets decide.
    pub(super) fn is_audio(&self, line: u16) -> bool {
        self.line(line).is_none_or(|plan| plan.kind == MediaKind::Audio)
    }

    /// Of the RTP timestamps of a payload type, in Hz.
    pub(super) fn clock_rate(&self, sender: Leg, line: u16, payload_type: u8) -> Option<u32> {
        let plan = self.line(line)?;
        let mut formats = [sender.other(), sender]
            .into_iter()
            .flat_map(|leg| &plan.leg(leg).formats);
        let told = formats
            .find(|(number, ..)| *number == payload_type)
            .map(|(_, _, rate, _)| *rate);
        let known = || Codec::of_payload_type(payload_type).map(Codec::clock_rate);
        told.or_else(known).filter(|rate| *rate > 0)
    }

    pub(super) fn unpacked<'a>(&self, sender: Leg, line: u16, header: &RtpHeader<'a>) -> Unpacked<'a> {
        let payload = self.payload(sender, line, header.payload_type);
        let is_red = matches!(&payload, Payload::Undecoded(name) if name.eq_ignore_ascii_case("red"));
        let red = is_red.then(|| Red::parse(header.payload)).flatten();
        match red {
            Some(red) => Unpacked {
                payload: self.payload(sender, line, red.payload_type),
                bytes: red.payload,
                red: Some(red),
            },
            None => Unpacked {
                payload,
                bytes: header.payload,
                red: None,
            },
        }
    }

    /// What a redundant payload repeats, in which codec; the oldest first. Ages are told by the clock of what it was sent for, so that
    /// a copy of another clock has no place (RFC 2198 §3); one of another number of samples is passed over too.
    pub(super) fn repeated<'a, 'b>(
        &self,
        sender: Leg,
        line: u16,
        unpacked: &'b Unpacked<'a>,
    ) -> impl Iterator<Item = (Codec, &'b Repeated<'a>)> {
        let copies = unpacked.red.as_ref().map(Red::copies).unwrap_or_default();
        let rates = |codec: Codec| (codec.clock_rate(), codec.sample_rate());
        copies.iter().filter_map(
            move |copy| match (self.payload(sender, line, copy.payload_type), &unpacked.payload) {
                (Payload::Sound(codec), Payload::Sound(main)) if rates(codec) == rates(*main) => Some((codec, copy)),
                _ => None,
            },
        )
    }

    /// Who receives chooses the payload types (RFC 3264 §5.1), so the far leg's description is asked first. Encrypted is
    /// only what both legs call so: an offer may leave it open.
    pub(super) fn payload(&self, sender: Leg, line: u16, payload_type: u8) -> Payload {
        let receiver = match sender {
            Leg::A => Leg::B,
            Leg::B => Leg::A,
        };
        let plan = self.line(line);
        let formats = [receiver, sender].map(|leg| {
            let formats = &plan?.leg(leg).formats;
            formats
                .iter()
                .find(|format| format.0 == payload_type && !format.1.is_empty())
        });
        let mut told = formats.into_iter().flatten();
        let format = told
            .clone()
            .find(|format| !format.1.ends_with(ENCRYPTED))
            .or(told.next());
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

#[cfg(test)]
mod tests {
    use super::super::rig::line_plan;
    use super::*;

    fn formats(of_a: (u8, &str), of_b: (u8, &str)) -> Formats {
        let mut plan = line_plan(&[]);
        plan.a.formats = vec![(of_a.0, of_a.1.to_owned(), 8_000, 1)];
        plan.b.formats = vec![(of_b.0, of_b.1.to_owned(), 8_000, 1)];
        let mut formats = Formats::default();
        formats.on_mark(&Mark::Media(vec![plan]));
        formats
    }

    #[test]
    fn the_receiver_s_numbers_count_first() {
        let formats = formats((96, "PCMU"), (96, "PCMA"));
        assert_eq!(formats.payload(Leg::A, 0, 96), Payload::Sound(Codec::Pcma));
        assert_eq!(formats.payload(Leg::B, 0, 96), Payload::Sound(Codec::Pcmu));
        assert_eq!(
            formats.payload(Leg::B, 0, 8),
            Payload::Sound(Codec::Pcma),
            "a static type"
        );
        assert_eq!(formats.payload(Leg::B, 0, 97), Payload::Undecoded(String::new()));
    }

    #[test]
    fn ciphertext_is_not_taken_for_sound() {
        let encrypted = formats((0, "PCMU (SRTP)"), (0, "PCMU (SRTP)"));
        assert_eq!(
            encrypted.payload(Leg::A, 0, 0),
            Payload::Undecoded("PCMU (SRTP)".to_owned())
        );
        let offered_only = formats((0, "PCMU (SRTP)"), (0, "PCMU"));
        for sender in [Leg::A, Leg::B] {
            assert_eq!(offered_only.payload(sender, 0, 0), Payload::Sound(Codec::Pcmu));
        }
    }
}
