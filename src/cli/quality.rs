//! How well a call's media came through, in words.

use crate::model::{Closing, Mos, Quality, Reported, StreamTally};

use super::logging::visible;

/// Many are dissatisfied below it (ITU-T G.107 annex B: R = 70).
const POOR: f64 = 3.6;

/// A line for what we measured of each stream, and one for what its ends told of it.
pub(super) fn lines(closing: &Closing) -> Vec<String> {
    let streams = closing.tally.iter().flat_map(|tally| &tally.streams);
    let measured = streams.filter_map(|stream| Some((stream, stream.quality.as_deref()?)));
    measured
        .flat_map(|(stream, quality)| {
            let whose = format!("{} line {} ssrc {}", stream.leg, stream.line, stream.ssrc);
            let reported = quality
                .reported
                .as_ref()
                .map(reported_text)
                .filter(|told| !told.is_empty());
            let reported = reported.map(|told| format!("reported  {whose}: {told}"));
            std::iter::once(format!("quality   {whose}: {}", quality_text(quality))).chain(reported)
        })
        .collect()
}

/// For the list: the worst score of a call's streams, if it is a poor one.
pub(super) fn poor(streams: &[StreamTally]) -> String {
    let scores = streams.iter().filter_map(|stream| stream.quality.as_ref()?.mos);
    let worst = scores.min().filter(|mos| *mos < Mos::from(POOR));
    worst.map_or_else(String::new, |mos| format!("  (MOS {mos})"))
}

fn quality_text(quality: &Quality) -> String {
    let Quality { expected, missing, .. } = quality;
    let mut told = vec![
        quality
            .mos
            .map_or_else(|| "not rated".to_owned(), |mos| format!("MOS {mos}")),
        match quality.holes {
            0 => format!("{missing} of {expected} packets missing"),
            holes => format!("{missing} of {expected} packets missing in {holes} holes"),
        },
        format!(
            "jitter {} ({} at worst)",
            ms(quality.jitter_us),
            ms(quality.jitter_us_max)
        ),
    ];
    if quality.packet_us > 0 {
        told.push(format!("{} a packet", ms(quality.packet_us)));
    }
    let rest = [
        (quality.reordered, "reordered"),
        (quality.duplicates, "duplicates"),
        (quality.restarts, "restarts of its numbers"),
        (quality.timestamp_jumps, "jumps of its clock"),
        (quality.packet_changes, "changes of packet length"),
    ];
    told.extend(
        rest.into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}")),
    );
    if quality.pauses > 0 {
        let seconds = quality.paused_ms as f64 / 1_000.0;
        told.push(format!("{} pauses of {seconds:.1} s", quality.pauses));
    }
    told.join(", ")
}

fn reported_text(reported: &Reported) -> String {
    let Reported { name, sent, lost, .. } = reported;
    let loss = reported.fraction_lost_max.map(|worst| f64::from(worst) * 100.0 / 256.0);
    let discarded = reported.discarded.map(|share| f64::from(share) * 100.0 / 256.0);
    let told = [
        name.as_ref().map(|name| format!("name {}", visible(name))),
        sent.map(|sent| format!("{sent} packets sent")),
        lost.map(|lost| format!("{lost} lost at the far end")),
        loss.map(|worst| format!("{worst:.0} % at worst")),
        reported
            .jitter_us_max
            .map(|jitter| format!("jitter up to {} there", ms(jitter))),
        reported.round_trip_us.map(|way| format!("{} round trip", ms(way))),
        reported.round_trip_us_max.map(|way| format!("{} at worst", ms(way))),
        reported.mos.map(|mos| format!("MOS {mos} by its own account")),
        discarded.map(|share| format!("{share:.0} % came too late for it")),
        reported.left.then(|| "said BYE".to_owned()),
    ];
    told.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Tenths of a millisecond.
fn ms(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Leg, Ssrc};

    #[test]
    fn a_stream_is_told_in_words_and_only_a_poor_score_is_listed() {
        let quality = Quality {
            expected: 1_000,
            missing: 30,
            holes: 4,
            jitter_us: 1_250,
            jitter_us_max: 30_000,
            packet_us: 20_000,
            pauses: 2,
            paused_ms: 3_000,
            mos: Some(Mos::from(3.21)),
            ..Quality::default()
        };
        assert_eq!(
            quality_text(&quality),
            "MOS 3.21, 30 of 1000 packets missing in 4 holes, jitter 1.2 ms (30.0 ms at worst), 20.0 ms a packet, \
             2 pauses of 3.0 s"
        );
        let stream = |mos| StreamTally {
            leg: Leg::A,
            line: 0,
            ssrc: Ssrc(7),
            payload_type: 0,
            packets: 970,
            lost: 30,
            quality: Some(Box::new(Quality {
                mos: Some(Mos::from(mos)),
                ..quality.clone()
            })),
        };
        assert_eq!(poor(&[stream(4.4), stream(3.21)]), "  (MOS 3.21)");
        assert_eq!(poor(&[stream(4.4)]), "");
    }

    #[test]
    fn a_name_that_steers_terminals_is_shown_as_what_it_is() {
        let reported = Reported {
            name: Some("\x1b[2J".to_owned()),
            left: true,
            ..Reported::default()
        };
        assert_eq!(reported_text(&reported), r"name \u{1b}[2J, said BYE");
        assert_eq!(reported_text(&Reported::default()), "");
    }
}
