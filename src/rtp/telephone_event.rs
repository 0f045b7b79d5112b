//! Named telephone events: DTMF as RTP (RFC 4733 §2.3).

/// One event packet. A digit is many of these with the same RTP timestamp.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TelephoneEvent {
    /// RFC 4733 §3.2: 0–15 are the DTMF digits.
    pub event: u8,
    /// The E bit: the event is over. Sent three times.
    pub end: bool,
    /// Power below 0 dBm0, 0–63.
    pub volume: u8,
    /// So far, in timestamp units.
    pub duration: u16,
}

impl TelephoneEvent {
    /// The first event of a payload; `None` when it is shorter than one.
    pub const fn parse(payload: &[u8]) -> Option<Self> {
        let [event, flags, d0, d1, ..] = *payload else {
            return None;
        };
        Some(Self {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([d0, d1]),
        })
    }

    pub const fn encode(&self) -> [u8; 4] {
        let [d0, d1] = self.duration.to_be_bytes();
        [
            self.event,
            (self.volume & 0x3f) | if self.end { 0x80 } else { 0 },
            d0,
            d1,
        ]
    }

    /// The key of a telephone, for the events that are one.
    pub fn digit(&self) -> Option<char> {
        b"0123456789*#ABCD"
            .get(usize::from(self.event))
            .map(|key| char::from(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pound_key_is_read_and_written() {
        let payload = [11, 0x8a, 0x03, 0x20];
        let event = TelephoneEvent::parse(&payload).expect("four bytes are an event");
        assert_eq!(
            (event.digit(), event.end, event.volume, event.duration),
            (Some('#'), true, 10, 800)
        );
        assert_eq!(event.encode(), payload);
        assert_eq!(TelephoneEvent::parse(&payload[..3]), None);
        assert_eq!(
            TelephoneEvent { event: 16, ..event }.digit(),
            None,
            "a hook flash is no key"
        );
    }
}
