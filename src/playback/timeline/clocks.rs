//! Senders whose clocks are not ours: every sample stays within 20 ms of when it was heard.

use std::time::Duration;

use bytes::Bytes;

use super::super::formats::Payload;
use super::super::rig::*;
use super::super::run::Place;
use super::super::stream::{Axis, Held, Stream};
use crate::model::{Leg, Ssrc, Timestamp};
use crate::recorder::Frame;
use crate::rtp::codecs::{Codec, Filled};

const AXIS: Axis = Axis {
    start: ANSWERED,
    sample_rate: 8_000,
};
const PACKETS_AN_HOUR: u32 = 30_000;
const LOUD: [i16; 960] = [9_000; 960];
const QUIET: [i16; 960] = [3; 960];

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// When the n-th packet of 120 ms leaves a sender whose clock is so many parts per million too fast.
fn sent(n: u32, parts_per_million: i64) -> Timestamp {
    let nanos = i64::from(n) * 120_000_000;
    ANSWERED + Duration::from_nanos((nanos - nanos / 1_000_000 * parts_per_million) as u64)
}

/// The worst place of a call's packets against when they were sent, and how much of them was cut off, in milliseconds.
fn worst_place(hours: u32, parts_per_million: i64, is_quiet: impl Fn(u32) -> bool) -> (i64, usize) {
    let (mut stream, mut dice) = (Stream::new(0, Ssrc(7)), Dice(29));
    let (mut worst, mut cut, mut placed) = (0, 0, 0);
    for n in 0..hours * PACKETS_AN_HOUR {
        let at = sent(n, parts_per_million) + ms(40 + dice.roll(30));
        let packet = Held {
            at,
            timestamp: n.wrapping_mul(960).wrapping_add(u32::MAX - 1_000_000),
            payload: Payload::Sound(Codec::Pcmu),
            bytes: Bytes::from_static(&[0; 960]),
            copies: Vec::new(),
        };
        assert!(stream.hold(n as u16, packet));
        while let Some(released) = stream.release(at) {
            let (run, _) = stream.run_for(AXIS, &released.packet, Codec::Pcmu);
            let samples = if is_quiet(placed) { &QUIET } else { &LOUD };
            let Place { begins, overlap, .. } = run.place(AXIS, &released.packet, Filled::default(), samples);
            let wanted = AXIS.position(sent(placed, parts_per_million) + ms(40));
            worst = worst.max((begins - wanted).abs());
            cut += overlap;
            placed += 1;
        }
    }
    assert!(placed > hours * PACKETS_AN_HOUR - 20);
    (worst / 8, cut / 8)
}

#[test]
fn over_a_day_a_clock_may_drift_and_nothing_is_out_of_place() {
    for (parts_per_million, cut_max) in [(100, 8_640 + 8_640 / 10), (-100, 0)] {
        let (worst, cut) = worst_place(24, parts_per_million, |n| n % 8 == 0);
        assert!(worst <= 12, "{parts_per_million} ppm: {worst} ms");
        assert!(
            cut <= cut_max,
            "{parts_per_million} ppm: {cut} ms cut off, of quiet sound"
        );
    }
}

#[test]
fn who_never_pauses_is_moved_all_the_same() {
    for parts_per_million in [300, -300] {
        let (worst, _) = worst_place(1, parts_per_million, |_| false);
        assert!(worst <= 20, "{parts_per_million} ppm: {worst} ms");
    }
}

#[test]
fn drifting_speech_ends_where_the_call_ends() {
    for parts_per_million in [-300_i64, 300] {
        let codes = speech(17, 15_000); // five minutes: 90 ms of drift
        let frames = Phone::new(Leg::A).speak(0, &codes);
        let drifted = frames.into_iter().map(|frame| {
            let elapsed = frame.at().since(ANSWERED).as_nanos() as i64;
            let nanos = elapsed + elapsed / 1_000_000 * parts_per_million;
            moved(frame, ANSWERED + Duration::from_nanos(nanos as u64))
        });
        let length = (300_000 + 300 * parts_per_million / 1_000) as u64;
        let (left, _, _) = render(&call(drifted), length);
        let tail = decoded(&codes[codes.len() - 800..codes.len() - 160]);
        let wanted = (length as usize - 100) * 8;
        let found = (wanted - 160..=wanted + 160).any(|at| left.get(at..at + tail.len()) == Some(&tail[..]));
        assert!(found, "{parts_per_million} ppm");
    }
}

/// Two spurts of speech, the second `real_ms` after the first began, by its timestamps `units` later.
fn spurts(real_ms: u64, units: u32) -> (Vec<Frame>, Vec<i16>, Vec<i16>) {
    let (before, after) = (speech(11, 50), speech(12, 50));
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &before);
    phone.timestamp = 90_000 + units;
    frames.extend(phone.speak(real_ms, &after));
    (frames, decoded(&before), decoded(&after))
}

fn begins_at(wanted: &[i16], sound: &[i16]) -> Option<usize> {
    sound.windows(wanted.len()).position(|window| window == wanted)
}

#[test]
fn a_clock_that_stood_still_while_held_is_noticed_at_once() {
    for pause_ms in [0, 10, 30, 60, 100, 200, 500, 1_500, 3_000, 60_000] {
        let (frames, before, after) = spurts(1_000 + pause_ms, 8_000);
        let (left, _, _) = render(&call(frames), 2_000 + pause_ms);
        assert_eq!(begins_at(&before, &left), Some(0));
        let found = begins_at(&after, &left).expect("all of it is heard");
        let off = found.abs_diff((1_000 + pause_ms as usize) * 8);
        assert!(off <= 160, "{pause_ms} ms of pause: {off} samples off");
    }
}

#[test]
fn a_clock_that_ran_ahead_in_a_pause_is_noticed_at_once() {
    for ahead_ms in [0, 50, 200, 280, 400, 5_000] {
        let (frames, before, after) = spurts(1_500, 12_000 + ahead_ms * 8);
        let (left, _, _) = render(&call(frames), 2_500);
        assert_eq!(begins_at(&before, &left), Some(0));
        let found = begins_at(&after, &left).expect("all of it is heard");
        assert!(found.abs_diff(12_000) <= 160, "{ahead_ms} ms ahead: at {found}");
    }
}

#[test]
fn packets_of_any_length_follow_each_other() {
    let codes = speech(31, 400);
    let mut phone = Phone::new(Leg::A);
    let (mut frames, mut at, mut rest) = (Vec::new(), 0, &codes[..]);
    for length_ms in [10, 20, 30, 40, 60, 120].into_iter().cycle() {
        let count = rest.len().min(length_ms * 8);
        let (payload, after) = rest.split_at(count);
        at += count as u64 / 8; // sent when its last sample was spoken
        frames.push(phone.send(at_ms(at), payload, count as u32));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let (left, _, sounding) = render(&call(frames), 8_200);
    let found = begins_at(&decoded(&codes), &left).expect("in one piece");
    assert!(found <= 20 * 8, "{found}");
    assert_eq!(sounding.lost, 0);
}

/// Ten seconds of speech in packets of each of these lengths. A packet leaves when its last sample was spoken, or when its first is
/// due; the network adds up to `jitter_ms`.
fn in_lengths(lengths_ms: &[usize], is_live: bool, jitter_ms: u64) -> (Vec<Frame>, Vec<i16>, u64) {
    let codes = speech(37, lengths_ms.len() * 504);
    let mut phone = Phone::new(Leg::A);
    let (mut frames, mut begins, mut dice) = (Vec::new(), 100, Dice(37));
    for (part, length_ms) in codes.chunks(504 * PACKET_SAMPLES).zip(lengths_ms) {
        for payload in part.chunks(length_ms * 8) {
            let ends = begins + payload.len() as u64 / 8;
            let at = at_ms(if is_live { ends } else { begins }) + ms(dice.roll(jitter_ms + 1));
            frames.push(phone.send(at, payload, payload.len() as u32));
            begins = ends;
        }
    }
    (frames, decoded(&codes), begins)
}

#[test]
fn who_changes_the_length_of_packets_loses_no_sample_and_is_not_moved() {
    for lengths in [&[20, 30, 10, 20][..], &[20, 60, 20], &[10, 120, 10], &[60, 10, 40]] {
        for is_live in [false, true] {
            for jitter_ms in [0, 8] {
                let (frames, wanted, ended) = in_lengths(lengths, is_live, jitter_ms);
                let (left, _, sounding) = render(&call(frames), ended + 200);
                let case = format!("{lengths:?} live {is_live} jitter {jitter_ms}");
                let found = begins_at(&wanted, &left);
                assert!(found.is_some(), "{case}: not in one piece");
                let first_ms = if is_live { lengths[0] } else { 0 };
                let is_near = |found: usize| found.abs_diff((100 + first_ms) * 8) <= 64;
                assert!(found.is_some_and(is_near), "{case}: at {found:?}");
                assert_eq!(sounding.lost, 0, "{case}");
            }
        }
    }
}

#[test]
fn numbers_and_timestamps_may_jump_together() {
    for (sequence, timestamp) in [(5_000, 7), (60_000, u32::MAX - 100), (1, 3_000_000_000)] {
        let (before, after) = (speech(33, 50), speech(34, 50));
        let mut phone = Phone::new(Leg::A);
        let mut frames = phone.speak(0, &before);
        (phone.sequence, phone.timestamp) = (sequence, timestamp);
        frames.extend(phone.speak(1_000, &after));
        let (left, _, _) = render(&call(frames), 2_000);
        assert_eq!(
            left,
            [decoded(&before), decoded(&after)].concat(),
            "{sequence} {timestamp}"
        );
    }
}
