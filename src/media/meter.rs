//! The meter: which RTP streams crossed a session, how each came to us, and what its ends say of it by RTCP.

mod formats;
mod reports;
mod stream;

use std::time::Duration;

use crate::model::{Leg, MediaPlan, Quality, Ssrc, StreamTally, Timestamp};
use crate::recorder::{Packet, PacketKind};
use crate::rtp::RtpHeader;
use crate::rtp::rtcp::{Report, walk};

use formats::Formats;
pub(super) use formats::{Content, Format};
use stream::Stream;

use super::health::Health;
use super::port::LINES_MAX;

/// Streams of one session that are told apart; what one side sends beyond counts as its last. The first stream of a
/// side always has a place, however many the others have.
const STREAMS_MAX: usize = 64;

/// Places made when the session is opened. Only the 5th, 9th, 17th and 33rd stream make more.
const STREAMS_AT_OPEN: usize = 4;

/// Packets of a compound, and reception reports of one of them, that are read: the rest is relayed all the same.
const REPORTS_MAX: usize = 8;

/// Two for each m-line.
pub(super) const SIDES_MAX: usize = 2 * LINES_MAX;

const NONE: u8 = u8::MAX;

/// A side of an m-line, as a small number.
pub(super) const fn side(line: usize, leg: Leg) -> usize {
    2 * line + leg.index()
}

const fn far_side(side: u8) -> u8 {
    side ^ 1
}

#[derive(Debug)]
pub(super) struct Meter {
    streams: Vec<Stream>,
    /// Per side, the stream that was counted last.
    latest: [u8; SIDES_MAX],
    /// Sides that have no stream yet.
    silent: usize,
    formats: Formats,
    pub(super) health: Health,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            streams: Vec::with_capacity(STREAMS_AT_OPEN),
            latest: [NONE; SIDES_MAX],
            silent: 0,
            formats: Formats::default(),
            health: Health::default(),
        }
    }

    /// The session has one more m-line: a place for each of its sides is kept.
    pub(super) const fn add_line(&mut self) {
        self.silent += 2;
    }

    /// What the payload types of each line's sides mean from here on; `indices` are those of the lines' places.
    pub(super) fn settle(&mut self, now: Timestamp, plan: &MediaPlan, indices: impl Iterator<Item = u16> + Clone) {
        self.formats.settle(&plan.lines, indices.clone());
        self.health.settle(now, plan, indices);
        self.streams.iter_mut().for_each(Stream::forget_format);
    }

    /// A packet in clear, of the line at this place, as it was recorded.
    #[inline]
    pub(super) fn take(&mut self, line: usize, packet: &Packet<'_>) {
        match packet.kind {
            PacketKind::Rtp => self.count(line, packet.leg, packet.at, packet.bytes),
            PacketKind::Rtcp => self.read(line, packet.leg, packet.at, packet.bytes),
            PacketKind::Other | PacketKind::Withheld => {}
        }
    }

    /// Nothing if it is no RTP.
    fn count(&mut self, line: usize, leg: Leg, at: Timestamp, bytes: &[u8]) {
        let side = side(line, leg);
        let (Ok(rtp), Some(&latest)) = (RtpHeader::parse(bytes), self.latest.get(side)) else {
            return;
        };
        let side = side as u8;
        let is_it = |stream: &Stream| stream.side == side && stream.ssrc == rtp.ssrc;
        let known = match self.streams.get(usize::from(latest)) {
            Some(stream) if is_it(stream) => Some(usize::from(latest)),
            _ => self.streams.iter().position(is_it),
        };
        let (index, is_new) = match known {
            Some(index) => (index, false),
            None if latest == NONE || self.streams.len() + self.silent < STREAMS_MAX => {
                self.silent = self.silent.saturating_sub(usize::from(latest == NONE));
                self.streams.push(Stream::new(side, &rtp));
                (self.streams.len() - 1, true)
            }
            None => {
                if let Some(stream) = self.streams.get_mut(usize::from(latest)) {
                    stream.packets += 1;
                    let format = self.formats.of(side, rtp.payload_type);
                    self.health.hear(line, leg, at, rtp.payload, &format);
                }
                return;
            }
        };
        self.latest[usize::from(side)] = index as u8;
        let stream = &mut self.streams[index];
        stream.look_up(&rtp, &self.formats);
        if is_new {
            stream.begin(at, &rtp);
        } else {
            stream.count(at, &rtp);
        }
        // By reference: a copy of it would wait until the stream's memory, which is seldom near, has taken all that was counted.
        self.health.hear(line, leg, at, rtp.payload, stream.format());
    }

    /// Reads what an end says by RTCP (RFC 3550 §6.4, RFC 3611), in whatever order and company (RFC 5506).
    fn read(&mut self, line: usize, leg: Leg, at: Timestamp, bytes: &[u8]) {
        let side = side(line, leg) as u8;
        if self.formats.is_sealed(side) {
            return;
        }
        for packet in walk(bytes).map_while(Result::ok).take(REPORTS_MAX) {
            match packet.report() {
                Ok(Report::Sender { ssrc, ntp, packets, .. }) => {
                    self.with(side, ssrc, |stream| stream.reports().on_sender(at, ntp, packets));
                }
                Ok(Report::Bye { ssrc: Some(ssrc) }) => self.with(side, ssrc, |stream| stream.reports().on_bye()),
                _ => {}
            }
            let mut room = REPORTS_MAX;
            let _ = packet.for_each_reception(|reception| {
                if let Some(left) = room.checked_sub(1) {
                    room = left;
                    self.with(far_side(side), reception.ssrc, |stream| {
                        let clock_rate = stream.clock_rate();
                        stream.reports().on_reception(at, &reception, clock_rate);
                    });
                }
            });
            for named in packet.source_names().take(REPORTS_MAX) {
                self.with(side, named.ssrc, |stream| stream.reports().on_name(named.name));
            }
            for metrics in packet.voip_metrics().take(REPORTS_MAX) {
                self.with(far_side(side), metrics.ssrc, |stream| {
                    stream.reports().on_metrics(&metrics)
                });
            }
        }
    }

    fn with(&mut self, side: u8, ssrc: Ssrc, then: impl FnOnce(&mut Stream)) {
        let mut streams = self.streams.iter_mut();
        if let Some(stream) = streams.find(|stream| stream.side == side && stream.ssrc == ssrc) {
            then(stream);
        }
    }

    /// In the order in which the streams were first heard. `index_of` gives the m-line's index of a line's place.
    pub(super) fn tally(&self, index_of: impl Fn(usize) -> u16) -> Vec<StreamTally> {
        self.streams
            .iter()
            .map(|stream| StreamTally {
                leg: if stream.side % 2 == 0 { Leg::A } else { Leg::B },
                line: index_of(usize::from(stream.side / 2)),
                ssrc: stream.ssrc,
                payload_type: stream.payload_type(),
                packets: stream.packets,
                lost: stream.lost(),
                quality: Some(Box::new(self.quality(stream))),
            })
            .collect()
    }

    fn quality(&self, stream: &Stream) -> Quality {
        // Half of both ways from us and back: that of the stream itself, and that of what its sender hears.
        let mut back = self.streams.iter().filter(|other| other.side == far_side(stream.side));
        let half = |stream: &Stream| stream.round_trip().map_or(Duration::ZERO, |whole| whole / 2);
        let near = back
            .find(|other| other.round_trip().is_some())
            .map_or(Duration::ZERO, half);
        let coding = self.formats.of(stream.side, stream.payload_type()).coding;
        stream.quality(coding, near + half(stream))
    }
}
