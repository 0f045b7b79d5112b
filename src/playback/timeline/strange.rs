//! Senders whose timestamps or numbers do not count what they should: all that came is heard, where it came.

use std::time::Duration;

use super::super::rig::*;
use super::super::sounding::{GapCause, Sounding};
use crate::model::{Leg, Mark};
use crate::recorder::Frame;
use crate::rtp::TelephoneEvent;
use crate::rtp::codecs::Codec;

fn begins_at(wanted: &[i16], sound: &[i16]) -> Option<usize> {
    sound.windows(wanted.len()).position(|window| window == wanted)
}

fn all_decoded(codec: Codec, payloads: &[Vec<u8>]) -> Vec<i16> {
    let (mut decoder, mut samples) = (codec.decoder(), Vec::new());
    for payload in payloads {
        decoder.decode(payload, &mut samples);
    }
    samples
}

fn gaps_of_a(sounding: &Sounding) -> Vec<(u64, u64)> {
    let gaps = sounding.gaps.iter().filter(|gap| gap.leg == Leg::A);
    gaps.map(|gap| (gap.at.as_millis() as u64, gap.length.as_millis() as u64))
        .collect()
}

#[test]
fn a_clock_that_counts_anything_or_nothing_loses_no_sample() {
    let codes = speech(61, 1_500);
    for units in [0, 1, 20, 40, 53, 80, 159, 160, 161, 320, 882] {
        let mut phone = Phone::new(Leg::A);
        let packets = codes.chunks(PACKET_SAMPLES).zip(0..);
        let frames: Vec<Frame> = packets
            .map(|(payload, n)| phone.send(at_ms(50 + n * PACKET_MS), payload, units))
            .collect();
        let (left, _, sounding) = render(&call(frames), 31_000);
        let found = begins_at(&decoded(&codes), &left);
        assert!(
            found.is_some_and(|found| found.abs_diff(400) <= 8),
            "{units}: {found:?}"
        );
        assert_eq!((sounding.lost, sounding.dropped), (0, 0));
        assert_eq!(gaps_of_a(&sounding), [(0, 50), (30_050, 950)], "{units}");
    }
}

#[test]
fn a_clock_that_counts_nothing_keeps_pauses_and_losses_at_their_length() {
    for (units, tolerance) in [(0, 8), (40, 8)] {
        let (before, after) = (speech(63, 100), speech(64, 100));
        let mut phone = Phone::new(Leg::A);
        let mut frames = Vec::new();
        for (from, codes) in [(0, &before), (3_500, &after)] {
            for (n, payload) in codes.chunks(PACKET_SAMPLES).enumerate() {
                let frame = phone.send(at_ms(from + n as u64 * PACKET_MS), payload, units);
                frames.extend((n != 50).then_some(frame));
            }
            phone.timestamp += 75 * units; // 1.5 s more, by its own clock
        }
        let (left, _, sounding) = render(&call(frames), 6_000);
        for (from_ms, codes) in [(0, &before), (3_500, &after)] {
            for half in [&decoded(codes)[..8_000], &decoded(codes)[8_160..]] {
                let wanted = from_ms * 8 + if half.len() == 8_000 { 0 } else { 8_160 };
                let found = begins_at(half, &left);
                assert!(
                    found.is_some_and(|found| found.abs_diff(wanted) <= tolerance),
                    "{units}: {found:?} {wanted}"
                );
            }
        }
        assert_eq!(sounding.lost, 2);
    }
}

#[test]
fn timestamps_that_stand_still_for_a_while_lose_no_sample() {
    for (frozen, is_caught_up) in [(1, false), (5, true), (10, true), (150, true), (150, false)] {
        let codes = speech(65, 500);
        let mut phone = Phone::new(Leg::A);
        let (mut frames, mut dice) = (Vec::new(), Dice(65));
        for (n, payload) in codes.chunks(PACKET_SAMPLES).enumerate() {
            let is_frozen = (200..200 + frozen).contains(&n);
            let at = at_ms(n as u64 * PACKET_MS) + Duration::from_micros(dice.roll(4_000));
            frames.push(phone.send(at, payload, if is_frozen { 0 } else { 160 }));
            if n + 1 == 200 + frozen && is_caught_up {
                phone.timestamp += 160 * frozen as u32;
            }
        }
        let (left, _, sounding) = render(&call(frames), 10_500);
        let wanted = decoded(&codes);
        let (_, after) = wanted.split_at((200 + frozen) * PACKET_SAMPLES);
        assert!(begins_at(&wanted[..199 * PACKET_SAMPLES], &left).is_some(), "{frozen}");
        let found = begins_at(&after[PACKET_SAMPLES..], &left);
        let wanted_at = (201 + frozen) * PACKET_SAMPLES;
        assert!(
            found.is_some_and(|found| found.abs_diff(wanted_at) <= 160),
            "{frozen}: {found:?} {wanted_at}"
        );
        let missing = wanted
            .chunks(PACKET_SAMPLES)
            .filter(|packet| begins_at(packet, &left).is_none());
        assert!(missing.count() <= 1, "{frozen}: {:?}", sounding.gaps);
    }
}

#[test]
fn a_clock_of_another_rate_is_right_from_the_first_packet_and_across_pauses() {
    use audio_codec::Encoder as _;
    let tune = |rate: u32| -> Vec<i16> {
        let sample = |n: u32| (9_000.0 * (f64::from(n) * f64::from(n % 977) * 1e-4).sin()) as i16;
        (0..rate * 4).map(sample).collect()
    };
    let linear = |rate| Codec::L16 {
        sample_rate: rate,
        channels: 1,
    };
    for (codec, units) in [(Codec::G722, 320), (linear(8_000), 320), (linear(16_000), 160)] {
        let rate = codec.sample_rate();
        let payloads: Vec<Vec<u8>> = match codec {
            Codec::G722 => audio_codec::g722::G722Encoder::new()
                .encode(&tune(rate))
                .chunks(160)
                .map(<[u8]>::to_vec)
                .collect(),
            _ => tune(rate)
                .chunks(rate as usize / 50)
                .map(|frame| frame.iter().flat_map(|sample| sample.to_be_bytes()).collect())
                .collect(),
        };
        let mut phone = Phone {
            payload_type: 96,
            ..Phone::new(Leg::A)
        };
        let plan = line_plan(&[(96, codec.name(), codec.clock_rate(), 1)]);
        let mut frames = vec![Frame::Mark {
            at: ANSWERED,
            mark: Mark::Media(vec![plan]),
        }];
        let mut now = 100;
        let mut wanted = vec![0; rate as usize / 10];
        let decoded = all_decoded(codec, &payloads);
        for (n, payload) in payloads.iter().enumerate() {
            if n > 0 && n % 50 == 0 {
                now += 700;
                phone.timestamp += units * 35;
                wanted.extend(vec![0; rate as usize * 7 / 10]);
            }
            frames.push(phone.send(at_ms(now), payload, units));
            let per_packet = rate as usize / 50;
            wanted.extend(&decoded[n * per_packet..(n + 1) * per_packet]);
            now += PACKET_MS;
        }
        let (left, _, sounding) = render(&frames, now);
        assert!(left[..wanted.len()] == wanted, "{codec:?}");
        assert_eq!(gaps_of_a(&sounding).len(), 4, "{codec:?}: {:?}", sounding.gaps);
    }
}

#[test]
fn packets_that_are_sent_twice_under_new_numbers_are_heard_once() {
    let codes = speech(67, 500);
    let mut phone = Phone::new(Leg::A);
    let mut frames = Vec::new();
    for (payload, n) in codes.chunks(PACKET_SAMPLES).zip(0..) {
        frames.push(phone.send(at_ms(n * PACKET_MS), payload, 0));
        frames.push(phone.send(at_ms(n * PACKET_MS + 3), payload, 160));
    }
    let (left, _, _) = render(&call(frames), 10_000);
    assert_eq!(left, decoded(&codes));
}

#[test]
fn a_number_that_never_changes_is_no_duplicate_if_the_timestamps_go_on() {
    let codes = speech(69, 200);
    let mut phone = Phone::new(Leg::A);
    let mut frames = Vec::new();
    for (payload, n) in codes.chunks(PACKET_SAMPLES).zip(0..) {
        phone.sequence = 0;
        frames.push(phone.send(at_ms(n * PACKET_MS), payload, 160));
    }
    let (left, _, sounding) = render(&call(frames), 4_000);
    assert_eq!(left, decoded(&codes));
    assert_eq!((sounding.lost, sounding.dropped), (0, 0));
}

#[test]
fn a_source_that_calls_itself_anew_with_every_packet_is_heard() {
    for packets_each in [1, 2, 3] {
        let codes = speech(71, 200);
        let mut phone = Phone::new(Leg::A);
        let mut frames = Vec::new();
        for (payload, n) in codes.chunks(PACKET_SAMPLES).zip(0..) {
            phone.ssrc = 0x100 + n as u32 / packets_each;
            frames.push(phone.send(at_ms(n * PACKET_MS), payload, 160));
        }
        let (left, _, _) = render(&call(frames), 4_000);
        assert_eq!(left, decoded(&codes), "{packets_each}");
    }
}

#[test]
fn empty_packets_move_nothing() {
    let codes = speech(73, 200);
    let mut phone = Phone::new(Leg::A);
    let mut frames = Vec::new();
    for (payload, n) in codes.chunks(PACKET_SAMPLES).zip(0..) {
        frames.push(phone.send(at_ms(100 + n * PACKET_MS), payload, 160));
        if n % 20 == 7 {
            frames.push(phone.send(at_ms(102 + n * PACKET_MS), &[], 0)); // before its time
        }
    }
    let (left, _, _) = render(&call(frames), 4_100);
    assert_eq!(left[800..], decoded(&codes));
}

#[test]
fn a_key_whose_first_packets_are_lost_is_told_when_it_was_pressed() {
    let codes = speech(75, 50);
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &codes);
    phone.payload_type = 101;
    for n in 1..=8_u64 {
        let event = TelephoneEvent {
            event: 7,
            end: n >= 6,
            volume: 10,
            duration: (n.min(6) * 160) as u16,
        };
        let frame = phone.send(at_ms(1_000 + n.min(6) * PACKET_MS), &event.encode(), 0);
        frames.extend((n > 3).then_some(frame));
    }
    let (_, _, sounding) = render(&call(frames), 2_000);
    let told: Vec<_> = sounding.digits.iter().map(|digit| digit.at).collect();
    assert_eq!(told, [Duration::from_secs(1)]);
}

#[test]
fn what_rounding_leaves_between_packets_is_no_gap() {
    let plan = line_plan(&[(96, "L16", 11_025, 1)]);
    let mut frames = vec![Frame::Mark {
        at: ANSWERED,
        mark: Mark::Media(vec![plan]),
    }];
    let mut phone = Phone {
        payload_type: 96,
        ..Phone::new(Leg::A)
    };
    for n in 0..400_u64 {
        phone.timestamp = (n * 11_025 / 100) as u32;
        frames.push(phone.send(at_ms(n * 10), &[7; 220], 0));
    }
    let (_, _, sounding) = render(&frames, 4_000);
    assert!(
        sounding.gaps.iter().all(|gap| gap.cause != GapCause::Lost) && gaps_of_a(&sounding).is_empty(),
        "{:?}",
        sounding.gaps
    );
}
