//! RTCP compound packets (RFC 3550 §6), walked in place.

mod description;
mod extended;

use rtcp_types::{Bye, ReceiverReport, ReportBlock, RtcpPacketParser, SenderReport};

use crate::model::Ssrc;

pub use description::SourceName;
pub use extended::VoipMetrics;

/// Why bytes are no RTCP packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RtcpError {
    #[error("RTCP packet is cut short")]
    Truncated,
    #[error("RTCP version is not 2")]
    Version,
    #[error("RTCP packet does not keep its own lengths")]
    Malformed,
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Report {
    /// RFC 3550 §6.4.1.
    Sender {
        ssrc: Ssrc,
        /// Seconds since 1900 in the upper 32 bits, their fraction in the lower.
        ntp: u64,
        rtp_timestamp: u32,
        packets: u32,
        octets: u32,
    },
    /// RFC 3550 §6.4.2.
    Receiver { ssrc: Ssrc },
    /// RFC 3550 §6.6: of the first source that leaves.
    Bye { ssrc: Option<Ssrc> },
    /// SDES, APP, XR, feedback and what is not known: by packet type.
    Other { packet_type: u8 },
}

/// What a sender or receiver report says about one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reception {
    pub ssrc: Ssrc,
    /// Of 256, since the last report.
    pub fraction_lost: u8,
    pub lost: i32,
    pub highest_sequence: u32,
    /// In timestamp units.
    pub jitter: u32,
    /// LSR: the middle 32 bits of the NTP time in the last sender report that it had; zero if it had none.
    pub last_sender_report: u32,
    /// DLSR: how long ago, in 65,536ths of a second.
    pub since_sender_report: u32,
}

/// A packet of a compound, in place.
#[derive(Clone, Copy, Debug)]
pub struct RtcpPacket<'a> {
    packet_type: u8,
    bytes: &'a [u8],
}

impl RtcpPacket<'_> {
    /// What the packet reports. `Malformed` when its body does not fit its header.
    pub fn report(&self) -> Result<Report, RtcpError> {
        let malformed = |_| RtcpError::Malformed;
        Ok(match self.packet_type {
            SENDER_REPORT => {
                let report = SenderReport::parse(self.bytes).map_err(malformed)?;
                Report::Sender {
                    ssrc: Ssrc(report.ssrc()),
                    ntp: report.ntp_timestamp(),
                    rtp_timestamp: report.rtp_timestamp(),
                    packets: report.packet_count(),
                    octets: report.octet_count(),
                }
            }
            RECEIVER_REPORT => Report::Receiver {
                ssrc: Ssrc(ReceiverReport::parse(self.bytes).map_err(malformed)?.ssrc()),
            },
            BYE => Report::Bye {
                ssrc: Bye::parse(self.bytes).map_err(malformed)?.ssrcs().next().map(Ssrc),
            },
            packet_type => Report::Other { packet_type },
        })
    }

    /// Hands each report block of a sender or receiver report to `take`; of other packets none.
    pub fn for_each_reception(&self, mut take: impl FnMut(Reception)) -> Result<(), RtcpError> {
        let malformed = |_| RtcpError::Malformed;
        match self.packet_type {
            SENDER_REPORT => {
                let report = SenderReport::parse(self.bytes).map_err(malformed)?;
                report.report_blocks().for_each(|block| take(reception(&block)));
            }
            RECEIVER_REPORT => {
                let report = ReceiverReport::parse(self.bytes).map_err(malformed)?;
                report.report_blocks().for_each(|block| take(reception(&block)));
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> RtcpPacket<'a> {
    /// Of a source description (RFC 3550 §6.5): whose sources bear which CNAMEs. Stops at the first that does not fit.
    pub fn source_names(&self) -> impl Iterator<Item = SourceName<'a>> + use<'a> {
        let body = self.body_of(SOURCE_DESCRIPTION);
        description::names(body)
    }

    /// Of an extended report (RFC 3611 §4.7): what the far end's jitter buffer made of a stream.
    pub fn voip_metrics(&self) -> impl Iterator<Item = VoipMetrics> + use<'a> {
        let blocks = self.body_of(EXTENDED_REPORT).get(4..).unwrap_or_default(); // behind who says so
        extended::voip_metrics(blocks)
    }

    fn body_of(&self, packet_type: u8) -> &'a [u8] {
        let body = self.bytes.get(4..).filter(|_| self.packet_type == packet_type);
        body.unwrap_or_default()
    }
}

fn reception(block: &ReportBlock<'_>) -> Reception {
    Reception {
        ssrc: Ssrc(block.ssrc()),
        fraction_lost: block.fraction_lost(),
        lost: (block.cumulative_lost() << 8).cast_signed() >> 8, // 24 bits with a sign
        highest_sequence: block.extended_sequence_number(),
        jitter: block.interarrival_jitter(),
        last_sender_report: block.last_sender_report_timestamp(),
        since_sender_report: block.delay_since_last_sender_report_timestamp(),
    }
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const EXTENDED_REPORT: u8 = 207;

/// The packets of a compound, in order; ends at the first that does not fit, with its error.
pub fn walk(compound: &[u8]) -> impl Iterator<Item = Result<RtcpPacket<'_>, RtcpError>> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut rest);
        let packet = first_packet(whole).map(|(packet, after)| {
            rest = after;
            packet
        });
        Some(packet)
    })
}

fn first_packet(bytes: &[u8]) -> Result<(RtcpPacket<'_>, &[u8]), RtcpError> {
    let [first, packet_type, l0, l1, ..] = *bytes else {
        return Err(RtcpError::Truncated);
    };
    if first >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    let length = (usize::from(u16::from_be_bytes([l0, l1])) + 1) * 4;
    let (packet, rest) = bytes.split_at_checked(length).ok_or(RtcpError::Truncated)?;
    let packet = RtcpPacket {
        packet_type,
        bytes: packet,
    };
    Ok((packet, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A sender report with one block, then a BYE.
    const COMPOUND: &[u8] = &[
        0x81, 200, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, //
        0, 0, 0, 9, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, //
        0x81, 203, 0, 1, 0, 0, 0, 1,
    ];

    #[test]
    fn a_compound_is_walked_packet_by_packet() {
        let packets: Vec<_> = walk(COMPOUND).map(|packet| packet.expect("a packet")).collect();
        let [sender, bye] = packets.as_slice() else {
            unreachable!("two packets");
        };
        let wanted = Report::Sender {
            ssrc: Ssrc(1),
            ntp: 0x0000_0002_0000_0003,
            rtp_timestamp: 4,
            packets: 5,
            octets: 6,
        };
        assert_eq!(sender.report(), Ok(wanted));
        assert_eq!(bye.report(), Ok(Report::Bye { ssrc: Some(Ssrc(1)) }));
        let mut receptions = Vec::new();
        assert_eq!(
            sender.for_each_reception(|reception| receptions.push(reception)),
            Ok(())
        );
        let wanted = Reception {
            ssrc: Ssrc(9),
            fraction_lost: 64,
            lost: -2,
            highest_sequence: 0x0001_0007,
            jitter: 8,
            last_sender_report: 0,
            since_sender_report: 0,
        };
        assert_eq!(receptions, [wanted]);
    }

    #[test]
    fn a_walk_ends_at_what_does_not_fit() {
        let mut cut = walk(COMPOUND.get(..COMPOUND.len() - 1).expect("shorter"));
        assert!(cut.next().is_some_and(|packet| packet.is_ok()));
        assert_eq!(cut.next().and_then(Result::err), Some(RtcpError::Truncated));
        assert!(cut.next().is_none());
        let lying = [0x9f, 201, 0, 1, 0, 0, 0, 1]; // 31 blocks in eight bytes
        let report = walk(&lying)
            .next()
            .map(|packet| packet.and_then(|packet| packet.report()));
        assert_eq!(report, Some(Err(RtcpError::Malformed)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..128), likely: bool) {
            if let (true, [first, kind, l0, l1, ..]) = (likely, bytes.as_mut_slice()) {
                *first = 0x80 | *first & 0x3f;
                *kind = 199 + *kind % 8;
                (*l0, *l1) = (0, *l1 % 24);
            }
            for packet in walk(&bytes).flatten() {
                let _ = packet.report();
                let _ = packet.for_each_reception(|_| ());
                packet.source_names().for_each(drop);
                packet.voip_metrics().for_each(drop);
            }
        }
    }
}
