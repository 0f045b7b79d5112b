//! By how much what a party is seen doing arrives behind what it is heard saying: its sender reports tie the RTP timestamps of all its
//! lines to one clock (RFC 3550 §6.4.1).

use std::collections::BTreeMap;
use std::time::Duration;

use super::formats::Formats;
use crate::model::{Leg, MediaKind, Ssrc, Timestamp};
use crate::recorder::{Frame, PacketKind};
use crate::rtp::RtpHeader;
use crate::rtp::rtcp::{Report, walk};

/// Of a recording.
const LINES_MAX: usize = 64;
/// Lines are compared this often: what their clock and ours drift apart in that time is nothing.
const WINDOW: Duration = Duration::from_secs(10);
/// More is no delay of media, but a clock that is not the same, in nanoseconds.
const BEHIND_MAX: i128 = 10_000_000_000;
/// Reports closer together do not tell how fast a clock runs: many senders stamp them with the time of their last packet.
const REPORTS_APART_MIN: i128 = 1_000_000_000;
/// A clock whose speed is further from its codec's rate counts otherwise, by this part of it: G.722 at 16 kHz (RFC 3551 §4.5.2).
const OFF_MAX: i128 = 10;

/// A line of video against the sound of its leg, which is placed by its arrival.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Behind {
    pub leg: Leg,
    pub line: u16,
    /// So much later than the sound what was captured at the same time arrives, on average; below zero: earlier.
    pub millis: i64,
}

#[derive(Debug, Default)]
pub(super) struct LipSync {
    lines: BTreeMap<(Leg, u16), Line>,
    /// Since when it is watched for the least transit.
    since: Timestamp,
    /// Nanoseconds, and of how many windows.
    behind: BTreeMap<(Leg, u16), (i128, u32)>,
}

/// The newest source of a line.
#[derive(Debug)]
struct Line {
    ssrc: Ssrc,
    kind: MediaKind,
    /// CNAME.
    name: Option<Box<[u8]>>,
    /// In Hz, of its newest packet.
    clock_rate: Option<u32>,
    /// What its newest report said.
    reported: Option<Tie>,
    /// The same, and the rate, if the clock ran by it from the report before.
    tie: Option<(Tie, u32)>,
    /// From the capture by the sender's clock to the arrival by ours, in nanoseconds: what the network adds comes and goes.
    least: Option<i128>,
}

/// Nanoseconds of the sender's clock at an RTP timestamp.
#[derive(Clone, Copy, Debug)]
struct Tie {
    clock: i128,
    timestamp: u32,
}

impl Line {
    fn on_report(&mut self, told: Tie) {
        let Some(before) = self.reported else {
            self.reported = Some(told);
            return;
        };
        let elapsed = told.clock - before.clock;
        if (0..REPORTS_APART_MIN).contains(&elapsed) {
            return;
        }
        self.reported = Some(told);
        let units = i128::from(told.timestamp.wrapping_sub(before.timestamp).cast_signed());
        let runs_by = |rate: &u32| {
            let wanted = i128::from(*rate) * elapsed;
            (units * 1_000_000_000 - wanted).abs() * OFF_MAX <= wanted
        };
        self.tie = self.clock_rate.filter(runs_by).map(|rate| (told, rate));
    }
}

impl LipSync {
    pub(super) fn on_frame(&mut self, frame: &Frame, formats: &Formats) {
        let Frame::Packet {
            at,
            leg,
            line,
            kind,
            bytes,
        } = frame
        else {
            return;
        };
        match kind {
            PacketKind::Rtp => self.on_rtp(*at, (*leg, *line), bytes, formats),
            PacketKind::Rtcp => self.on_rtcp((*leg, *line), bytes),
            _ => {}
        }
    }

    fn on_rtp(&mut self, at: Timestamp, place: (Leg, u16), bytes: &[u8], formats: &Formats) {
        let (Ok(header), Some(plan)) = (RtpHeader::parse(bytes), formats.line(place.1)) else {
            return;
        };
        if at.since(self.since) >= WINDOW {
            self.compare();
            self.since = at;
        }
        if !self.lines.contains_key(&place) && self.lines.len() >= LINES_MAX {
            return;
        }
        let new = || Line {
            ssrc: header.ssrc,
            kind: plan.kind,
            name: None,
            clock_rate: None,
            reported: None,
            tie: None,
            least: None,
        };
        let line = self.lines.entry(place).or_insert_with(new);
        if line.ssrc != header.ssrc {
            *line = new();
        }
        line.clock_rate = formats.clock_rate(place.0, place.1, header.payload_type);
        if let Some((Tie { clock, timestamp }, rate)) = line.tie
            && line.clock_rate == Some(rate)
        {
            let units = i128::from(header.timestamp.wrapping_sub(timestamp).cast_signed());
            let captured = clock + units * 1_000_000_000 / i128::from(rate);
            let transit = i128::from(at.as_nanos()) - captured;
            line.least = Some(line.least.map_or(transit, |least| least.min(transit)));
        }
    }

    fn on_rtcp(&mut self, place: (Leg, u16), bytes: &[u8]) {
        let Some(line) = self.lines.get_mut(&place) else { return };
        for packet in walk(bytes).flatten() {
            if let Ok(Report::Sender {
                ssrc,
                ntp,
                rtp_timestamp,
                ..
            }) = packet.report()
                && ssrc == line.ssrc
                && ntp != 0
            {
                line.on_report(Tie {
                    clock: (i128::from(ntp) * 1_000_000_000) >> 32,
                    timestamp: rtp_timestamp,
                });
            }
            if let Some(named) = packet.source_names().find(|named| named.ssrc == line.ssrc) {
                line.name = Some(named.name.into());
            }
        }
    }

    /// Each line of video with the first of sound that its leg has.
    fn compare(&mut self) {
        for leg in Leg::BOTH {
            let of_leg = || {
                self.lines
                    .iter()
                    .filter(|((of, _), line)| *of == leg && line.least.is_some())
            };
            let Some((_, sound)) = of_leg().find(|(_, line)| line.kind == MediaKind::Audio) else {
                continue;
            };
            for (place, line) in of_leg().filter(|(_, line)| line.kind == MediaKind::Video) {
                // Clocks are one only where the name is (§6.5.1).
                let is_one_clock = line.name.is_none() || sound.name.is_none() || line.name == sound.name;
                let (Some(seen), Some(heard), true) = (line.least, sound.least, is_one_clock) else {
                    continue;
                };
                if (seen - heard).abs() <= BEHIND_MAX {
                    let (sum, count) = self.behind.entry(*place).or_default();
                    (*sum, *count) = (*sum + seen - heard, *count + 1);
                }
            }
        }
        self.lines.values_mut().for_each(|line| line.least = None);
    }

    pub(super) fn finish(mut self) -> Vec<Behind> {
        self.compare();
        let behind = self.behind.into_iter().map(|((leg, line), (sum, count))| {
            let nanos = sum / i128::from(count.max(1));
            let millis = i64::try_from(nanos / 1_000_000).unwrap_or(0);
            Behind { leg, line, millis }
        });
        behind.collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::Survey;
    use super::super::rig::*;
    use super::*;
    use crate::model::Mark;
    use crate::rtp::packet::RtpPacket;

    const NAME: &[u8] = b"a@b.c";

    /// A line of a phone that captures both at one clock.
    #[derive(Clone, Copy)]
    struct Track {
        line: u16,
        ssrc: u32,
        payload_type: u8,
        rate: u64,
        /// From the capture to the arrival.
        delay_ms: u64,
        name: &'static [u8],
    }

    const SOUND: Track = Track {
        line: 0,
        ssrc: 1,
        payload_type: 0,
        rate: 8_000,
        delay_ms: 40,
        name: NAME,
    };
    const PICTURE: Track = Track {
        line: 1,
        ssrc: 2,
        payload_type: 96,
        rate: 90_000,
        delay_ms: 125,
        name: NAME,
    };

    impl Track {
        /// Timestamps of each line begin where they like.
        fn timestamp(self, ms: u64) -> u32 {
            (u64::from(u32::MAX - self.ssrc * 9_000) + ms * self.rate / 1_000) as u32
        }

        fn packet(self, kind: PacketKind, at: u64, bytes: Bytes) -> Frame {
            Frame::Packet {
                at: at_ms(at),
                leg: Leg::B,
                line: self.line,
                kind,
                bytes,
            }
        }

        /// So many seconds of packets every 20 ms, each held up by up to 30 ms now and then, and a report every 5 s.
        fn frames(self, seconds: u64, dice: &mut Dice) -> Vec<Frame> {
            let mut frames = Vec::new();
            for n in 0..seconds * 50 {
                let ms = n * 20;
                let packet = RtpPacket::new(
                    Ssrc(self.ssrc),
                    self.payload_type,
                    n as u16,
                    self.timestamp(ms),
                    false,
                    Bytes::from_static(&[7; 40]),
                );
                let at = ms + self.delay_ms + dice.roll(4) / 3 * dice.roll(30);
                frames.push(self.packet(PacketKind::Rtp, at, packet.encode().expect("a plain packet")));
                if n % 250 == 0 {
                    frames.push(self.packet(PacketKind::Rtcp, at + 1, self.report(ms)));
                }
            }
            frames
        }

        fn report(self, ms: u64) -> Bytes {
            let ntp = (3_900_000_000_000_u128 + u128::from(ms)) * (1 << 32) / 1_000;
            let mut report = vec![0x80, 200, 0, 6];
            report.extend(self.ssrc.to_be_bytes());
            report.extend((ntp as u64).to_be_bytes());
            report.extend(self.timestamp(ms).to_be_bytes());
            report.extend([0; 8]);
            report.extend([0x81, 202, 0, 3]);
            report.extend(self.ssrc.to_be_bytes());
            report.extend([1, 5]);
            report.extend(self.name);
            report.push(0);
            report.into()
        }
    }

    fn behind(tracks: [Track; 2], keep: impl Fn(&Frame) -> bool) -> Vec<Behind> {
        let mut plan = [
            line_plan(&[(0, "PCMU", 8_000, 1)]),
            line_plan(&[(96, "H264", 90_000, 1)]),
        ];
        (plan[1].index, plan[1].kind) = (1, MediaKind::Video);
        let mut dice = Dice(41);
        let mut frames: Vec<Frame> = tracks
            .into_iter()
            .flat_map(|track| track.frames(35, &mut dice))
            .collect();
        frames.retain(keep);
        frames.sort_by_key(Frame::at);
        let mark = Mark::Media(plan.to_vec());
        frames.insert(0, Frame::Mark { at: ANSWERED, mark });
        let survey = Survey::of(STARTED, Some(&closing(36_000)), readable(&frames));
        survey.expect("a short call").behind
    }

    #[test]
    fn a_picture_that_comes_behind_its_sound_or_before_it_is_told_by_how_much() {
        for (delay_ms, millis) in [(125, 85), (40, 0), (10, -30)] {
            let [told] = behind([SOUND, Track { delay_ms, ..PICTURE }], |_| true)[..] else {
                unreachable!("one line of video")
            };
            assert_eq!((told.leg, told.line), (Leg::B, 1));
            assert!((told.millis - millis).abs() <= 1, "{told:?}, not {millis}");
        }
    }

    /// G.722 counts 8,000 a second (RFC 3551 §4.5.2); some phones count their samples.
    #[test]
    fn a_line_whose_clock_does_not_run_by_its_codec_s_rate_tells_nothing() {
        for rate in [16_000, 7_000, 8_900] {
            assert_eq!(behind([Track { rate, ..SOUND }, PICTURE], |_| true), [], "{rate}");
            assert_eq!(behind([SOUND, Track { rate, ..PICTURE }], |_| true), [], "{rate}");
        }
        let drifts = Track { rate: 8_004, ..SOUND };
        assert_eq!(behind([drifts, PICTURE], |_| true).len(), 1);
    }

    #[test]
    fn a_report_alone_does_not_tell_whether_its_clock_runs_by_the_rate() {
        let is_early = |frame: &Frame| {
            let is_report = matches!(
                frame,
                Frame::Packet {
                    kind: PacketKind::Rtcp,
                    ..
                }
            );
            !is_report || frame.at() < at_ms(1_000)
        };
        assert_eq!(behind([SOUND, PICTURE], is_early), []);
    }

    #[test]
    fn without_reports_by_names_that_differ_or_by_clocks_that_do_nothing_is_told() {
        let is_media = |frame: &Frame| {
            !matches!(
                frame,
                Frame::Packet {
                    kind: PacketKind::Rtcp,
                    ..
                }
            )
        };
        assert_eq!(behind([SOUND, PICTURE], is_media), []);
        let other = Track {
            name: b"x@y.z",
            ..PICTURE
        };
        assert_eq!(behind([SOUND, other], |_| true), []);
        let far = Track {
            delay_ms: 11_000,
            ..PICTURE
        };
        assert_eq!(behind([SOUND, far], |_| true), []);
    }

    proptest! {
        #[test]
        fn any_packets_and_reports_are_compared_without_a_panic(
            packets in proptest::collection::vec((0..60_000_u64, any::<bool>(), 0..3_u16, any::<[u8; 32]>()), 0..60)
        ) {
            let mut plan = line_plan(&[(0, "PCMU", 0, 1), (96, "H264", 90_000, 1)]);
            plan.kind = MediaKind::Video;
            let mut formats = Formats::default();
            formats.on_mark(&Mark::Media(vec![line_plan(&[(0, "PCMU", 8_000, 1)]), plan]));
            let mut sync = LipSync::default();
            for (at, is_report, line, mut bytes) in packets {
                (bytes[0], bytes[1]) = (0x80, if is_report { 200 } else { bytes[1] % 2 * 96 });
                (bytes[2], bytes[3]) = if is_report { (0, 6) } else { (bytes[2], bytes[3]) };
                bytes[8..12].copy_from_slice(&[0; 4]);
                let kind = if is_report { PacketKind::Rtcp } else { PacketKind::Rtp };
                let track = Track { line, ..SOUND };
                sync.on_frame(&track.packet(kind, at, Bytes::copy_from_slice(&bytes)), &formats);
            }
            sync.finish();
        }
    }
}
