//! Payload types and the encodings behind them (RFC 3551 §6, RFC 4566 §6 `rtpmap`).

/// One RTP payload format of an m-line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Format {
    pub payload_type: u8,
    /// As written; compare without regard to case (RFC 4855 §3). Empty for a dynamic type without `rtpmap`.
    pub name: String,
    /// In Hz; 0 when unknown.
    pub clock_rate: u32,
    pub channels: u8,
}

impl Format {
    /// What a payload type means without an `rtpmap` (RFC 3551 tables 4 and 5).
    pub(super) fn of_payload_type(payload_type: u8) -> Self {
        let (name, clock_rate, channels) = static_format(payload_type).unwrap_or(("", 0, 1));
        Self {
            payload_type,
            name: name.to_owned(),
            clock_rate,
            channels,
        }
    }

    /// The name of a payload type that needs no `rtpmap`.
    pub fn static_name(payload_type: u8) -> Option<&'static str> {
        static_format(payload_type).map(|(name, ..)| name)
    }

    /// The same encoding, under whatever payload type.
    pub fn is_same_encoding(&self, other: &Self) -> bool {
        let named = !self.name.is_empty() && !other.name.is_empty();
        if !named {
            return self.payload_type == other.payload_type;
        }
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_rate == other.clock_rate
            && self.channels == other.channels
    }
}

const fn static_format(payload_type: u8) -> Option<(&'static str, u32, u8)> {
    Some(match payload_type {
        0 => ("PCMU", 8_000, 1),
        3 => ("GSM", 8_000, 1),
        4 => ("G723", 8_000, 1),
        5 => ("DVI4", 8_000, 1),
        6 => ("DVI4", 16_000, 1),
        7 => ("LPC", 8_000, 1),
        8 => ("PCMA", 8_000, 1),
        9 => ("G722", 8_000, 1), // sampled at 16 kHz: RFC 3551 §4.5.2 keeps an old mistake
        10 => ("L16", 44_100, 2),
        11 => ("L16", 44_100, 1),
        12 => ("QCELP", 8_000, 1),
        13 => ("CN", 8_000, 1),
        14 => ("MPA", 90_000, 1),
        15 => ("G728", 8_000, 1),
        16 => ("DVI4", 11_025, 1),
        17 => ("DVI4", 22_050, 1),
        18 => ("G729", 8_000, 1),
        25 => ("CelB", 90_000, 1),
        26 => ("JPEG", 90_000, 1),
        28 => ("nv", 90_000, 1),
        31 => ("H261", 90_000, 1),
        32 => ("MPV", 90_000, 1),
        33 => ("MP2T", 90_000, 1),
        34 => ("H263", 90_000, 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_payload_types_need_no_rtpmap() {
        let pcma = Format::of_payload_type(8);
        assert_eq!((pcma.name.as_str(), pcma.clock_rate, pcma.channels), ("PCMA", 8_000, 1));
        assert_eq!([0, 96].map(Format::static_name), [Some("PCMU"), None]);
        assert_eq!(Format::of_payload_type(97).name, "");
    }

    #[test]
    fn encodings_are_compared_by_name_rate_and_channels() {
        let opus = |payload_type, name: &str| Format {
            payload_type,
            name: name.to_owned(),
            clock_rate: 48_000,
            channels: 2,
        };
        assert!(opus(96, "opus").is_same_encoding(&opus(111, "OPUS")));
        assert!(!opus(96, "opus").is_same_encoding(&Format::of_payload_type(0)));
        assert!(Format::of_payload_type(97).is_same_encoding(&Format::of_payload_type(97)));
        assert!(!Format::of_payload_type(97).is_same_encoding(&Format::of_payload_type(98)));
    }
}
