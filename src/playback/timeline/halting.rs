//! Senders whose clocks stand still in pauses, over networks that jitter: told apart, and followed.

use std::time::Duration;

use bytes::Bytes;

use super::super::formats::Payload;
use super::super::rig::*;
use super::super::stream::{Axis, Held, Stream};
use crate::model::{Ssrc, Timestamp};
use crate::rtp::codecs::{Codec, Filled};

const AXIS: Axis = Axis {
    start: ANSWERED,
    sample_rate: 8_000,
};
const LOUD: [i16; 960] = [9_000; 960];

/// A packet as it leaves: when, in milliseconds.
struct Sent {
    sequence: u16,
    timestamp: u32,
    millis: u64,
}

/// Packets over a network whose delays are exponential of this mean: how far from when they were sent they are placed, in
/// milliseconds, and how much of them was cut off.
fn places(packets: &[Sent], samples: usize, mean_ms: f64, seed: u64) -> (Vec<i64>, usize) {
    let (mut stream, mut dice) = (Stream::new(0, Ssrc(7)), Dice(seed));
    let mut arrivals: Vec<(Timestamp, usize)> = Vec::new();
    for (n, packet) in packets.iter().enumerate() {
        let delay = -mean_ms * ((dice.roll(1_000_000) + 1) as f64 / 1_000_000.0).ln();
        let delay = delay.min(250.0); // beyond, it would miss its turn
        arrivals.push((at_ms(packet.millis) + Duration::from_secs_f64(delay / 1_000.0), n));
    }
    arrivals.sort();
    let (mut offsets, mut cut, mut turn) = (Vec::new(), 0, 0);
    let mut place = |stream: &mut Stream, now: Timestamp| {
        while let Some(released) = stream.release(now) {
            let (run, _) = stream.run_for(AXIS, &released.packet, Codec::Pcmu);
            let place = run.place(AXIS, &released.packet, Filled::default(), &LOUD[..samples]);
            offsets.push((place.begins - AXIS.position(at_ms(packets[turn].millis))) / 8);
            cut += place.overlap;
            turn += 1;
        }
    };
    for (at, n) in arrivals {
        let packet = Held {
            at,
            timestamp: packets[n].timestamp,
            payload: Payload::Sound(Codec::Pcmu),
            bytes: Bytes::from_static(&[0; 960]).slice(..samples),
            copies: Vec::new(),
        };
        assert!(stream.hold(packets[n].sequence, packet));
        place(&mut stream, at);
    }
    place(&mut stream, at_ms(10_000_000));
    assert_eq!(offsets.len(), packets.len());
    (offsets, cut / 8)
}

/// 40 s of talk whose clock stands still in its pauses.
fn halting(dice: &mut Dice, pause_ms: impl Fn(&mut Dice) -> u64, packet_ms: u64) -> Vec<Sent> {
    let (mut packets, mut now, mut spurt) = (Vec::new(), 100, 3_000);
    while now < 40_000 {
        if now > spurt {
            now += pause_ms(dice);
            spurt = now + 2_000 + dice.roll(2_000);
        }
        let count = packets.len() as u64;
        packets.push(Sent {
            sequence: 65_000_u16.wrapping_add(count as u16),
            timestamp: (count * packet_ms * 8) as u32,
            millis: now,
        });
        now += packet_ms;
    }
    packets
}

#[test]
fn a_clock_that_stands_still_in_pauses_is_followed_whatever_the_network_s_jitter() {
    for mean_ms in [0.0, 2.0, 5.0, 10.0, 15.0, 20.0] {
        let (mut displaced, mut all) = (0, 0);
        for seed in 1..=8 {
            let packets = halting(&mut Dice(seed), |dice| 200 + dice.roll(140) * 20, 20);
            let (offsets, _) = places(&packets, 160, mean_ms, seed + 100);
            displaced += offsets.iter().filter(|offset| offset.abs() > 45).count();
            all += offsets.len();
        }
        assert!(displaced * 1_000 <= all, "jitter of {mean_ms} ms: {displaced} of {all}");
    }
}

#[test]
fn a_pause_of_a_tenth_of_a_second_is_followed_in_packets_of_any_usual_length() {
    for (pause_ms, packet_ms) in [(100, 10), (100, 20), (120, 30), (120, 40), (160, 60)] {
        for seed in 1..=4 {
            let packets = halting(&mut Dice(seed), |_| pause_ms, packet_ms);
            let (offsets, _) = places(&packets, packet_ms as usize * 8, 5.0, seed + 200);
            let displaced = offsets.iter().filter(|offset| offset.abs() > 30).count();
            assert!(
                displaced * 100 <= offsets.len(),
                "{pause_ms} ms, packets of {packet_ms} ms: {displaced} of {}",
                offsets.len()
            );
        }
    }
}

#[test]
fn jitter_is_not_taken_for_a_clock_that_stood_still() {
    let steady: Vec<Sent> = (0..90_000_u64)
        .map(|n| Sent {
            sequence: n as u16,
            timestamp: n as u32 * 160,
            millis: n * 20,
        })
        .collect();
    for mean_ms in [2.0, 10.0, 20.0, 40.0] {
        let (offsets, cut) = places(&steady, 160, mean_ms, 77);
        let (least, most) = (offsets.iter().min(), offsets.iter().max());
        assert!(
            most.zip(least).is_some_and(|(most, least)| most - least <= 20),
            "{mean_ms} ms: {least:?} to {most:?}"
        );
        assert!(cut <= 40, "{mean_ms} ms: {cut} ms cut off");
    }
}

#[test]
fn a_network_that_catches_up_slowly_is_not_taken_for_a_clock() {
    for (speed_percent, stall_ms) in [(110, 90_u64), (150, 400), (200, 900), (1_000, 1_900)] {
        let mut stream = Stream::new(0, Ssrc(7));
        let (mut worst, mut placed) = (0, 0_u64);
        let mut free = 0;
        for n in 0..1_000_u64 {
            let sent = n * 20;
            let stalled = if (5_000..5_000 + stall_ms).contains(&sent) {
                5_000 + stall_ms
            } else {
                sent
            };
            free = stalled.max(if n == 0 || sent < 5_000 {
                0
            } else {
                free + 2_000 / speed_percent
            });
            let packet = Held {
                at: at_ms(free),
                timestamp: n as u32 * 160,
                payload: Payload::Sound(Codec::Pcmu),
                bytes: Bytes::from_static(&[0; 160]),
                copies: Vec::new(),
            };
            assert!(stream.hold(n as u16, packet));
            while let Some(released) = stream.release(at_ms(free)) {
                let (run, _) = stream.run_for(AXIS, &released.packet, Codec::Pcmu);
                let place = run.place(AXIS, &released.packet, Filled::default(), &LOUD[..160]);
                worst = worst.max((place.begins / 8 - placed as i64 * 20).abs());
                placed += 1;
            }
        }
        assert!(worst <= 20, "{speed_percent} %: {worst} ms");
    }
}
