//! How well a stream came through: as we counted it, and as its ends told by RTCP.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How one RTP stream arrived at us.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Quality {
    /// Packets that were sent, as far as extended sequence numbers tell (RFC 3550 §A.3).
    pub expected: u64,
    /// Packets that never came: unlike [`StreamTally::lost`](super::StreamTally::lost), duplicates do not hide them.
    pub missing: u64,
    /// Holes in the order of arrival. Missing packets in few holes hurt more than as many in many.
    #[serde(skip_serializing_if = "is_zero")]
    pub holes: u64,
    /// Came after a later one.
    #[serde(skip_serializing_if = "is_zero")]
    pub reordered: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub duplicates: u64,
    /// The source counted anew from another sequence number.
    #[serde(skip_serializing_if = "is_zero")]
    pub restarts: u64,
    /// Timestamps and time went apart by more than a second from one packet to the next.
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp_jumps: u64,
    /// Spans in which the source sent nothing while its clock went on (DTX): 200 ms or more each.
    #[serde(skip_serializing_if = "is_zero")]
    pub pauses: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub paused_ms: u64,
    /// How much sound a packet brings, as it was last; zero if that is not known.
    pub packet_us: u64,
    /// How often that changed.
    #[serde(skip_serializing_if = "is_zero")]
    pub packet_changes: u64,
    /// Interarrival jitter (RFC 3550 §A.8), its mean and its worst.
    pub jitter_us: u64,
    pub jitter_us_max: u64,
    /// As the E-model rates it (ITU-T G.107). None: no sound, or of a codec that it has no figures for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos: Option<Mos>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
}

/// What RTCP said of one stream. Told by the ends, so as true as they are.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Reported {
    /// The CNAME of its source (RFC 3550 §6.5.1), its first 64 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Packets that its source says to have sent, in its last sender report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u32>,
    /// Lost on the whole way, in the far end's last report; below zero when more came than were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<i32>,
    /// The worst share of loss between two of those reports, of 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction_lost_max: Option<u8>,
    /// Jitter where it is heard, the worst that was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_us_max: Option<u64>,
    /// From us to where it is heard and back (RFC 3550 §6.4.1), the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_us_max: Option<u64>,
    /// As the far end rates it for listening (RFC 3611 §4.7.5), the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos: Option<Mos>,
    /// Packets that came too late for the far end's jitter buffer, of 256 (RFC 3611 §4.7.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<u8>,
    /// Its source said BYE.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

/// A mean opinion score, from 1.00 (bad) to 5.00 (excellent).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "f64", into = "f64")]
pub struct Mos {
    hundredths: u16,
}

impl From<f64> for Mos {
    /// What is no score becomes the nearest one.
    fn from(score: f64) -> Self {
        Self {
            hundredths: ((score * 100.0).round() as u16).clamp(100, 500),
        }
    }
}

impl From<Mos> for f64 {
    fn from(mos: Mos) -> Self {
        Self::from(mos.hundredths) / 100.0
    }
}

impl fmt::Display for Mos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.hundredths / 100, self.hundredths % 100)
    }
}

const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_written_as_people_write_it_and_read_back() {
        let mos = Mos::from(4.409);
        assert_eq!(mos.to_string(), "4.41");
        let text = serde_json::to_string(&mos).expect("a number");
        assert_eq!(text, "4.41");
        assert_eq!(serde_json::from_str::<Mos>(&text).ok(), Some(mos));
        assert_eq!(
            [-3.0, 9.0, f64::NAN].map(|score| Mos::from(score).to_string()),
            ["1.00", "5.00", "1.00"],
        );
    }

    #[test]
    fn only_what_happened_is_written() {
        let text = serde_json::to_string(&Quality::default()).expect("numbers");
        assert_eq!(
            text,
            r#"{"expected":0,"missing":0,"packet_us":0,"jitter_us":0,"jitter_us_max":0}"#
        );
        assert_eq!(serde_json::from_str::<Quality>(&text).ok(), Some(Quality::default()));
        assert_eq!(serde_json::from_str::<Quality>("{}").ok(), Some(Quality::default()));
    }
}
