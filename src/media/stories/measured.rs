//! How well a stream came to us, by our own measure.

use super::*;
use crate::model::{Mos, Quality};

const VOICE: [u8; 160] = [0x2b; 160];

fn quality_of(world: &mut World) -> Quality {
    let tally = world.close();
    let stream = tally.streams.first().expect("a stream");
    *stream.quality.clone().expect("measured")
}

#[test]
fn a_steady_stream_over_both_wraps_is_as_good_as_can_be() {
    let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, 0));
    for _ in 0..500 {
        world.say(&mut phone, &VOICE);
    }
    let wanted = Quality {
        expected: 500,
        packet_us: 20_000,
        mos: Some(Mos::from(4.40)),
        ..Quality::default()
    };
    assert_eq!(quality_of(&mut world), wanted, "20 ms of delay are ours to know");
}

#[test]
fn loss_is_what_never_came_whatever_came_late_or_twice() {
    let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, 0));
    for _ in 0..50 {
        world.say(&mut phone, &VOICE);
    }
    let late = phone.next(&VOICE);
    world.say(&mut phone, &VOICE);
    world.deliver(Leg::A, &late);
    world.deliver(Leg::A, &late);
    phone.lose(3);
    world.say(&mut phone, &VOICE);
    phone.lose(1);
    world.say(&mut phone, &VOICE);
    let quality = quality_of(&mut world);
    assert_eq!((quality.expected, quality.missing, quality.holes), (58, 4, 3));
    assert_eq!((quality.reordered, quality.duplicates), (1, 1));
    assert!(quality.mos < Some(Mos::from(4.0)), "{:?}", quality.mos);
}

#[test]
fn jitter_is_told_in_time_whatever_the_codecs_clock() {
    let mut jitters = Vec::new();
    for (payload_type, name, clock_rate) in [(8, "PCMA", 8_000), (111, "opus", 48_000)] {
        let mut told = line(0, remote(A), remote(B));
        told.b.formats = vec![(payload_type, name.to_owned(), clock_rate, 1)];
        let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, payload_type));
        world.modify(Recorded::Strict, vec![told]);
        phone.step = clock_rate / 50;
        for count in 0..500_u64 {
            let packet = phone.next(&VOICE);
            world.deliver(Leg::A, &packet);
            world.wait(if count % 2 == 0 { 15 } else { 25 });
        }
        let quality = quality_of(&mut world);
        assert_eq!(quality.packet_us, 20_000);
        jitters.push((quality.jitter_us / 1_000, quality.jitter_us_max / 1_000));
    }
    assert_eq!(jitters, [(4, 4), (4, 4)], "ms");
}

#[test]
fn what_was_measured_by_one_clock_is_as_long_by_the_next() {
    let mut told = line(0, remote(A), remote(B));
    told.b.formats = vec![(111, "opus".to_owned(), 48_000, 1), (8, "PCMA".to_owned(), 8_000, 1)];
    let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, 111));
    world.modify(Recorded::Strict, vec![told]);
    let mut talk = |(payload_type, step), wait: [u64; 2]| {
        (phone.payload_type, phone.step) = (payload_type, step);
        for count in 0..250_usize {
            let packet = phone.next(&VOICE);
            world.deliver(Leg::A, &packet);
            world.wait(wait[count % 2]);
        }
    };
    talk((111, 48 * 60), [55, 65]);
    talk((8, 8 * 20), [20, 20]);
    talk((111, 48 * 20), [20, 20]);
    talk((8, 8 * 20), [20, 20]);
    let quality = quality_of(&mut world);
    assert_eq!((quality.jitter_us / 1_000, quality.jitter_us_max / 1_000), (1, 4), "ms");
    assert_eq!((quality.packet_us, quality.packet_changes), (20_000, 1));
    assert_eq!((quality.pauses, quality.timestamp_jumps), (0, 0));
}

#[test]
fn packets_that_are_overtaken_are_jitter_too() {
    let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, 0));
    world.say(&mut phone, &VOICE);
    for _ in 0..200 {
        let [first, second] = [phone.next(&VOICE), phone.next(&VOICE)];
        world.wait(20);
        world.deliver(Leg::A, &second);
        world.wait(20);
        world.deliver(Leg::A, &first);
    }
    let quality = quality_of(&mut world);
    assert_eq!((quality.reordered, quality.missing), (200, 0));
    // From packet to packet, as they arrive, the way takes 40 ms more and 40 ms less.
    assert!((35_000..=40_000).contains(&quality.jitter_us), "{quality:?}");
}

#[test]
fn a_new_source_is_a_stream_of_its_own_and_a_restarted_one_is_not() {
    let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, 0));
    for _ in 0..50 {
        world.say(&mut phone, &VOICE);
    }
    (phone.sequence, phone.timestamp) = (40_000, 77);
    for _ in 0..50 {
        world.say(&mut phone, &VOICE);
    }
    phone.ssrc = 9;
    world.say(&mut phone, &VOICE);
    let tally = world.close();
    let counted: Vec<_> = tally.streams.iter().map(|s| (s.ssrc.0, s.packets)).collect();
    assert_eq!(counted, [(0x00aa_0000, 100), (9, 1)]);
    let quality = tally.streams[0].quality.clone().expect("measured");
    assert_eq!((quality.restarts, quality.missing, quality.timestamp_jumps), (1, 0, 0));
    assert!(quality.jitter_us_max < 1_000, "{quality:?}");
}

#[test]
fn pauses_longer_packets_and_a_clock_that_jumps_are_told_apart() {
    let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, 0));
    let talk = |world: &mut World, phone: &mut Phone| (0..10).for_each(|_| world.say(phone, &VOICE));
    talk(&mut world, &mut phone);
    world.wait(3_000);
    phone.timestamp = phone.timestamp.wrapping_add(24_000);
    talk(&mut world, &mut phone);
    phone.step = 320;
    talk(&mut world, &mut phone);
    phone.timestamp = phone.timestamp.wrapping_add(1_000_000);
    talk(&mut world, &mut phone);
    let quality = quality_of(&mut world);
    assert_eq!((quality.pauses, quality.paused_ms), (1, 3_000));
    assert_eq!((quality.packet_us, quality.packet_changes), (40_000, 1));
    assert_eq!((quality.timestamp_jumps, quality.missing), (1, 0));
}

#[test]
fn keys_that_are_pressed_are_packets_without_jitter() {
    let mut told = line(0, remote(A), remote(B));
    told.b.formats = vec![
        (8, "PCMA".to_owned(), 8_000, 1),
        (101, "telephone-event".to_owned(), 8_000, 1),
    ];
    let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, 8));
    world.modify(Recorded::Strict, vec![told]);
    for _ in 0..50 {
        world.say(&mut phone, &VOICE);
    }
    let pressed = phone.timestamp;
    phone.payload_type = 101;
    for _ in 0..20 {
        phone.timestamp = pressed;
        world.say(&mut phone, &[5, 10, 0, 160]);
    }
    phone.timestamp = pressed.wrapping_add(20 * 160);
    phone.payload_type = 8;
    for _ in 0..50 {
        world.say(&mut phone, &VOICE);
    }
    let quality = quality_of(&mut world);
    assert_eq!((quality.expected, quality.missing, quality.jitter_us_max), (120, 0, 0));
    assert_eq!((quality.timestamp_jumps, quality.packet_us), (0, 20_000));
}

#[test]
fn what_is_no_sound_or_has_no_figures_is_not_rated() {
    let mut video = line(0, remote(A), remote(B));
    video.kind = MediaKind::Video;
    video.b.formats = vec![(97, "VP8".to_owned(), 90_000, 1)];
    let (mut world, mut phone) = (World::call(Recorded::Strict), Phone::new(Leg::A, 97));
    world.modify(Recorded::Strict, vec![video]);
    for count in 0..90_u32 {
        phone.timestamp = count / 3 * 3_600; // three packets a frame
        let packet = phone.next(&VOICE);
        world.deliver(Leg::A, &packet);
        world.wait(if count % 3 == 2 { 40 } else { 0 });
    }
    let quality = quality_of(&mut world);
    assert_eq!((quality.mos, quality.expected, quality.missing), (None, 90, 0));
    assert_eq!((quality.jitter_us_max, quality.timestamp_jumps), (0, 0));
}
