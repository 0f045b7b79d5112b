//! What RTCP says of one stream: its source by sender reports, and who hears it by reception reports.

use std::time::Duration;

use crate::model::{Mos, Reported, Timestamp};
use crate::rtp::rtcp::{Reception, VoipMetrics};

/// Of a CNAME; it may be 255 bytes long.
const NAME_BYTES_MAX: usize = 64;

/// Sender reports that a reception report may be about: it answers the newest that it had, and another may be under way.
const SENDER_REPORTS: usize = 2;

/// A longer way round is a clock that is wrong.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Reports {
    name: Option<Box<str>>,
    sent: Option<u32>,
    /// The middle of the newest reports' NTP times, and when each crossed us; the newest first.
    crossed: [Option<(u32, Timestamp)>; SENDER_REPORTS],
    lost: Option<i32>,
    fraction_lost_max: u8,
    jitter_max: Duration,
    round_trip: Option<Duration>,
    round_trip_max: Duration,
    mos: Option<Mos>,
    discarded: Option<u8>,
    left: bool,
}

impl Reports {
    /// RFC 3550 §6.4.1.
    pub(super) const fn on_sender(&mut self, at: Timestamp, ntp: u64, packets: u32) {
        self.sent = Some(packets);
        self.crossed = [Some(((ntp >> 16) as u32, at)), self.crossed[0]];
    }

    pub(super) const fn on_bye(&mut self) {
        self.left = true;
    }

    pub(super) fn on_name(&mut self, name: &[u8]) {
        if self.name.is_none() {
            let name = name.get(..NAME_BYTES_MAX).unwrap_or(name);
            self.name = Some(String::from_utf8_lossy(name).into());
        }
    }

    /// From who hears the stream; `clock_rate` in Hz, zero if it is not known.
    pub(super) fn on_reception(&mut self, at: Timestamp, reception: &Reception, clock_rate: u32) {
        self.lost = Some(reception.lost);
        self.fraction_lost_max = self.fraction_lost_max.max(reception.fraction_lost);
        let jitter = u64::from(reception.jitter) * 1_000_000;
        if let Some(micros) = jitter.checked_div(clock_rate.into()) {
            self.jitter_max = self.jitter_max.max(Duration::from_micros(micros));
        }
        if let Some(round_trip) = self.round_trip_of(at, reception) {
            self.round_trip = Some(round_trip);
            self.round_trip_max = self.round_trip_max.max(round_trip);
        }
    }

    /// From us to who heard the sender report, and back, less what it waited there (RFC 3550 §6.4.1).
    fn round_trip_of(&self, at: Timestamp, reception: &Reception) -> Option<Duration> {
        let mut crossed = self.crossed.iter().flatten();
        let (_, then) = crossed.find(|(ntp, _)| *ntp == reception.last_sender_report && *ntp != 0)?;
        let waited = Duration::from_nanos((u64::from(reception.since_sender_report) * 1_000_000_000) >> 16);
        let round_trip = at.since(*then).saturating_sub(waited);
        (round_trip <= ROUND_TRIP_MAX).then_some(round_trip)
    }

    pub(super) fn on_metrics(&mut self, metrics: &VoipMetrics) {
        self.discarded = Some(metrics.discarded);
        self.mos = metrics
            .listening
            .map(|tenths| Mos::from(f64::from(tenths) / 10.0))
            .or(self.mos);
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(super) fn told(&self) -> Reported {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let is_heard = self.lost.is_some();
        Reported {
            name: self.name.as_deref().map(str::to_owned),
            sent: self.sent,
            lost: self.lost,
            fraction_lost_max: is_heard.then_some(self.fraction_lost_max),
            jitter_us_max: is_heard.then(|| micros(self.jitter_max)),
            round_trip_us: self.round_trip.map(micros),
            round_trip_us_max: self.round_trip.map(|_| micros(self.round_trip_max)),
            mos: self.mos,
            discarded: self.discarded,
            left: self.left,
        }
    }
}
