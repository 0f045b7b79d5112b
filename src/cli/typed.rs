//! What the parties typed letter by letter: the text of RTP packets (RFC 4103), with what was lost taken from the copies in
//! later ones.

use std::collections::BTreeMap;

use crate::model::{Leg, LinePlan, Mark, Ssrc};
use crate::rtp::{Arrival, ExtendedSequence, RtpHeader, block_of_red};

/// Streams that are told apart; text of further ones is not read.
const STREAMS_MAX: usize = 64;
/// Stands for text that is lost (RFC 4103 §5.4).
const LOST: char = '\u{fffd}';
/// Begins a stream, and keeps it alive (RFC 4103 §5.1): nobody typed that.
const NOTHING: char = '\u{feff}';

/// See [the module](self).
#[derive(Default)]
pub(super) struct Typed {
    lines: Vec<LinePlan>,
    streams: BTreeMap<(Leg, u16, Ssrc), ExtendedSequence>,
}

impl Typed {
    pub(super) fn note(&mut self, mark: Mark) {
        if let Mark::Media(lines) = mark {
            self.lines = lines;
        }
    }

    /// What a packet adds; none: nothing, or it is no text.
    pub(super) fn read(&mut self, leg: Leg, line: u16, packet: &[u8]) -> Option<String> {
        let plan = self.lines.iter().find(|plan| plan.index == line)?;
        let header = RtpHeader::parse(packet).ok()?;
        let is_red = match name_of(plan, leg, header.payload_type)? {
            name if name.eq_ignore_ascii_case("t140") => false,
            name if name.eq_ignore_ascii_case("red") && has_text(plan, leg) => true,
            _ => return None,
        };
        let skipped = self.skipped(leg, line, &header)?;
        let mut bytes = Vec::new();
        let mut is_lost = false;
        for back in (0..=usize::from(skipped)).rev() {
            let block = match is_red {
                true => block_of_red(header.payload, back),
                false => Some(header.payload).filter(|_| back == 0),
            };
            match block {
                Some(block) => bytes.extend_from_slice(block),
                None => is_lost = true,
            }
        }
        let typed = String::from_utf8_lossy(&bytes);
        let lost = is_lost.then_some(LOST);
        let text: String = lost
            .into_iter()
            .chain(typed.chars().filter(|c| *c != NOTHING))
            .collect();
        Some(text).filter(|text| !text.is_empty())
    }

    /// How many packets are missing right before this one; none: its text was told before.
    fn skipped(&mut self, leg: Leg, line: u16, header: &RtpHeader<'_>) -> Option<u16> {
        let key = (leg, line, header.ssrc);
        let Some(sequence) = self.streams.get_mut(&key) else {
            let is_room = self.streams.len() < STREAMS_MAX;
            return is_room.then(|| {
                self.streams.insert(key, ExtendedSequence::new(header.sequence));
                0
            });
        };
        match sequence.update(header.sequence) {
            Arrival::Next { skipped, .. } => Some(skipped),
            Arrival::Restarted { .. } => Some(0),
            Arrival::Late { .. } | Arrival::Stray => None,
        }
    }
}

/// A payload type as whoever gets it described it, else as who sends it did.
fn name_of(plan: &LinePlan, sender: Leg, payload_type: u8) -> Option<&str> {
    let legs = [plan.leg(sender.other()), plan.leg(sender)];
    let mut formats = legs.into_iter().flat_map(|leg| &leg.formats);
    formats
        .find(|(number, ..)| *number == payload_type)
        .map(|(_, name, ..)| name.as_str())
}

/// Audio may be redundant as well.
fn has_text(plan: &LinePlan, sender: Leg) -> bool {
    let formats = &plan.leg(sender).formats;
    formats.iter().any(|(_, name, ..)| name.eq_ignore_ascii_case("t140"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::{LegPlan, MediaKind, Origin};

    fn typed(names: &[(u8, &str)]) -> Typed {
        let formats = names.iter().map(|(pt, name)| (*pt, (*name).to_owned(), 1_000, 1));
        let leg = LegPlan {
            local: ([198, 51, 100, 7], 40_000).into(),
            remote: None,
            deaf: false,
            mute: false,
            holds: false,
            origin: Origin::Signalled,
            formats: formats.collect(),
        };
        let line = LinePlan {
            index: 1,
            kind: MediaKind::Other,
            a: leg.clone(),
            b: leg,
        };
        let mut typed = Typed::default();
        typed.note(Mark::Media(vec![line]));
        typed
    }

    fn packet(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn letters_are_told_as_they_came_and_once() {
        let mut typed = typed(&[(98, "t140")]);
        let mut told = |sequence, text: &str| typed.read(Leg::A, 1, &packet(98, sequence, text.as_bytes()));
        assert_eq!(told(1, "\u{feff}"), None);
        assert_eq!(told(2, "b").as_deref(), Some("b"));
        assert_eq!(told(2, "b"), None, "a copy");
        assert_eq!(told(3, "ü").as_deref(), Some("ü"));
        assert_eq!(told(5, "y").as_deref(), Some("\u{fffd}y"), "one is lost");
        assert_eq!(told(4, "u"), None, "too late");
    }

    #[test]
    fn what_is_lost_is_taken_from_the_copies() {
        let mut typed = typed(&[(98, "t140"), (100, "RED")]);
        let red = |texts: [&str; 3]| {
            let mut payload = Vec::new();
            for copy in &texts[..2] {
                payload.extend([0x80 | 98, 0, 0, copy.len() as u8]);
            }
            payload.push(98);
            payload.extend(texts.concat().into_bytes());
            payload
        };
        let mut told = |sequence, texts| typed.read(Leg::B, 1, &packet(100, sequence, &red(texts)));
        assert_eq!(told(1, ["", "", "s"]).as_deref(), Some("s"));
        assert_eq!(told(2, ["", "s", "e"]).as_deref(), Some("e"));
        assert_eq!(told(5, ["l", "l", "!"]).as_deref(), Some("ll!"));
        assert_eq!(
            told(9, ["x", "y", "z"]).as_deref(),
            Some("\u{fffd}xyz"),
            "more than the copies"
        );
    }

    #[test]
    fn what_is_no_text_is_not_read() {
        let mut sound = typed(&[(0, "PCMU"), (63, "red")]);
        assert_eq!(sound.read(Leg::A, 1, &packet(63, 1, b"\x62x")), None);
        assert_eq!(sound.read(Leg::A, 1, &packet(0, 1, b"x")), None);
        let mut sealed = typed(&[(98, "t140 (SRTP)")]);
        assert_eq!(sealed.read(Leg::A, 1, &packet(98, 1, b"x")), None);
    }
}
