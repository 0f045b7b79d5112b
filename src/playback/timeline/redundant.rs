//! Sound that is sent twice (RFC 2198): what was lost is heard from the copies in later packets.

use proptest::prelude::*;

use super::super::Survey;
use super::super::rig::*;
use super::super::sounding::{GapCause, Sounding};
use super::codecs::opus_test::opus_packets;
use crate::model::{Leg, Mark, PausedBy};
use crate::recorder::Frame;
use crate::rtp::codecs::{self, Codec, pcma, to_pcma};

/// Of the redundant payload, by which the packets are sent.
const RED: u8 = 63;

/// A format and RED over it, as both legs have agreed.
fn media((number, name, rate, channels): (u8, &str, u32, u8)) -> Frame {
    let formats = [(number, name, rate, channels), (RED, "red", rate, channels)];
    Frame::Mark {
        at: ANSWERED,
        mark: Mark::Media(vec![line_plan(&formats)]),
    }
}

const PCMU: (u8, &str, u32, u8) = (0, "PCMU", 8_000, 1);
const OPUS: (u8, &str, u32, u8) = (111, "opus", 48_000, 2);

/// Payload `n` with copies of those that are `back` before it, the oldest first.
fn redundant(kind: u8, payloads: &[Vec<u8>], n: usize, back: &[usize], units: u32) -> Vec<u8> {
    redundant_by((kind, payloads), (kind, payloads), n, back, units)
}

/// The same, with copies of another codec.
fn redundant_by(
    (kind, payloads): (u8, &[Vec<u8>]),
    (other, copies): (u8, &[Vec<u8>]),
    n: usize,
    back: &[usize],
    units: u32,
) -> Vec<u8> {
    let (mut heads, mut blocks) = (Vec::new(), Vec::new());
    for back in back.iter().filter(|back| **back <= n) {
        let copy = &copies[n - back];
        let age = *back as u32 * units;
        heads.extend((0x80 << 24 | u32::from(other) << 24 | age << 10 | copy.len() as u32).to_be_bytes());
        blocks.extend_from_slice(copy);
    }
    heads.push(kind);
    [heads, blocks, payloads[n].clone()].concat()
}

/// One sender of such packets, 20 ms each.
fn spoken(kind: u8, payloads: &[Vec<u8>], back: &[usize], units: u32) -> Vec<Frame> {
    let mut phone = Phone {
        payload_type: RED,
        ..Phone::new(Leg::A)
    };
    let packets = (0..payloads.len()).map(|n| {
        let payload = redundant(kind, payloads, n, back, units);
        phone.send(at_ms(n as u64 * PACKET_MS), &payload, units)
    });
    packets.collect()
}

fn without(frames: &[Frame], lost: impl Fn(usize) -> bool) -> Vec<Frame> {
    let kept = frames.iter().enumerate().filter(|(n, _)| !lost(*n));
    kept.map(|(_, frame)| frame.clone()).collect()
}

fn call(format: (u8, &str, u32, u8), frames: Vec<Frame>) -> Vec<Frame> {
    [vec![media(format)], frames].concat()
}

fn pcmu(packets: usize) -> (Vec<Vec<u8>>, Vec<i16>) {
    let codes = speech(41, packets);
    let payloads = codes.chunks(PACKET_SAMPLES).map(<[u8]>::to_vec).collect();
    (payloads, decoded(&codes))
}

#[test]
fn what_nothing_was_lost_of_is_heard_once() {
    let (payloads, wanted) = pcmu(100);
    let frames = call(PCMU, spoken(0, &payloads, &[2, 1], 160));
    let (left, _, sounding) = render(&frames, 2_000);
    assert_eq!(left, wanted);
    assert_eq!((sounding.lost, sounding.recovered), (0, 0));
    let survey = Survey::of(STARTED, Some(&closing(2_000)), readable(&frames)).expect("a short call");
    assert_eq!(survey.undecoded().count(), 0);
    assert_eq!(survey.heard[0].encoding, "PCMU (red)");
}

#[test]
fn lost_packets_are_heard_from_the_copies_that_later_ones_bring() {
    let (payloads, wanted) = pcmu(300);
    let frames = spoken(0, &payloads, &[2, 1], 160);
    let is_lost = |n: usize| n % 10 == 5 || n % 50 == 6; // one, and now and then two in a row
    let (left, _, sounding) = render(&call(PCMU, without(&frames, is_lost)), 6_000);
    assert_eq!(left, wanted);
    assert_eq!((sounding.lost, sounding.recovered), (36, 36));
    assert!(sounding.gaps.iter().all(|gap| gap.cause != GapCause::Lost));
}

/// PCMA whose packets bring the one before them as `other`; each tenth is lost.
fn with_copies_of(other: u8, copy: impl Fn(&[u8]) -> Vec<u8>) -> (Vec<i16>, Vec<Vec<u8>>, Sounding) {
    let (pcmu_payloads, _) = pcmu(100);
    let in_pcma = |payload: &Vec<u8>| payload.iter().map(|code| to_pcma(codecs::pcmu(*code))).collect();
    let payloads: Vec<Vec<u8>> = pcmu_payloads.iter().map(in_pcma).collect();
    let copies: Vec<Vec<u8>> = pcmu_payloads.iter().map(|payload| copy(payload)).collect();
    let mut phone = Phone {
        payload_type: RED,
        ..Phone::new(Leg::A)
    };
    let packets = (0..payloads.len()).map(|n| {
        let payload = redundant_by((8, &payloads), (other, &copies), n, &[1], 160);
        phone.send(at_ms(n as u64 * PACKET_MS), &payload, 160)
    });
    let frames: Vec<Frame> = packets.collect();
    let frames = call((8, "PCMA", 8_000, 1), without(&frames, |n| n % 10 == 5));
    let (left, _, sounding) = render(&frames, 2_000);
    (left, payloads, sounding)
}

#[test]
fn a_copy_of_another_codec_of_the_same_clock_is_heard_too() {
    let (pcmu_payloads, _) = pcmu(100);
    let (left, payloads, sounding) = with_copies_of(0, <[u8]>::to_vec);
    let wanted: Vec<i16> = (0..100)
        .flat_map(|n| {
            let (main, copy) = (payloads[n].iter(), pcmu_payloads[n].iter());
            let main: Vec<i16> = main.map(|code| pcma(*code)).collect();
            let copy = copy.map(|code| codecs::pcmu(*code)).collect();
            if n % 10 == 5 { copy } else { main }
        })
        .collect();
    assert_eq!(left, wanted);
    assert_eq!((sounding.lost, sounding.recovered), (10, 10));
}

#[test]
fn a_copy_of_another_clock_or_rate_is_passed_over_and_what_it_stands_for_is_told_as_lost() {
    for other in [9, 11, 18, 13] {
        let (left, payloads, sounding) = with_copies_of(other, <[u8]>::to_vec);
        assert_eq!(left.len(), payloads.concat().len(), "{other}");
        assert_eq!((sounding.lost, sounding.recovered), (10, 0), "{other}");
    }
}

#[test]
fn what_the_copies_do_not_reach_is_lost_and_told() {
    let (payloads, mut wanted) = pcmu(100);
    let frames = spoken(0, &payloads, &[2], 160);
    let (left, _, sounding) = render(&call(PCMU, without(&frames, |n| (40..43).contains(&n))), 2_000);
    // The packet after those lost brings 41, the next one 42, and what would have brought 40 is lost with it.
    wanted[40 * PACKET_SAMPLES..41 * PACKET_SAMPLES].fill(0);
    assert_eq!(left, wanted);
    let lost = sounding.gaps.iter().filter(|gap| gap.cause == GapCause::Lost);
    assert_eq!((sounding.lost, sounding.recovered, lost.count()), (3, 2, 1));
}

#[test]
fn who_was_late_is_heard_himself() {
    let (payloads, wanted) = pcmu(100);
    let mut frames = spoken(0, &payloads, &[1], 160);
    for n in (7..100).step_by(10) {
        let at = frames[n].at() + std::time::Duration::from_millis(130);
        frames[n] = moved(frames[n].clone(), at);
    }
    frames.sort_by_key(Frame::at);
    let (left, _, sounding) = render(&call(PCMU, frames), 2_000);
    assert_eq!(left, wanted);
    assert_eq!((sounding.lost, sounding.dropped), (0, 0));
}

#[test]
fn opus_as_browsers_send_it_twice_is_decoded_as_if_nothing_had_been_lost() {
    let payloads = opus_packets(100, 2);
    let frames = spoken(111, &payloads, &[1], 960);
    let frames = call(OPUS, without(&frames, |n| n % 7 == 3));
    let (left, _, sounding) = render(&frames, 2_000);
    let (mut decoder, mut wanted) = (Codec::Opus.decoder(), Vec::new());
    payloads.iter().for_each(|payload| decoder.decode(payload, &mut wanted));
    assert_eq!(left, wanted);
    assert_eq!(sounding.recovered, 14);
}

#[test]
fn of_a_pause_nothing_is_heard_from_the_copies_behind_it() {
    let (payloads, mut wanted) = pcmu(100);
    let frames = spoken(0, &payloads, &[3, 2, 1], 160);
    let mut kept = without(&frames, |n| (40..60).contains(&n));
    let (by, why) = (PausedBy::Operator, None);
    let mark = |ms, mark| Frame::Mark { at: at_ms(ms), mark };
    kept.push(mark(795, Mark::RecordingPaused { by, why }));
    kept.push(mark(1_195, Mark::RecordingResumed { by }));
    kept.sort_by_key(Frame::at);
    wanted[40 * PACKET_SAMPLES..60 * PACKET_SAMPLES].fill(0);
    let (left, _, sounding) = render(&call(PCMU, kept), 2_000);
    assert_eq!(left, wanted);
    assert_eq!(sounding.recovered, 0);
}

#[test]
fn redundant_packets_of_what_is_not_decoded_are_said_to_be_so() {
    let frames = call(
        (18, "G729", 8_000, 1),
        spoken(18, &[vec![1; 20], vec![2; 20]], &[1], 160),
    );
    let survey = Survey::of(STARTED, Some(&closing(100)), readable(&frames)).expect("a short call");
    let undecoded: Vec<_> = survey.undecoded().map(|heard| heard.encoding.as_str()).collect();
    assert_eq!(undecoded, ["G729 (red)"]);
    let (left, _, _) = render(&frames, 100);
    assert!(left.iter().all(|sample| *sample == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn copies_of_any_age_and_length_make_a_recording_of_the_right_length(
        packets in proptest::collection::vec(
            (1..4_u16, proptest::collection::vec((any::<u16>(), 0..400_u16, any::<bool>()), 0..20), 0..200_usize),
            0..60,
        ),
    ) {
        let mut phone = Phone { payload_type: RED, ..Phone::new(Leg::A) };
        let frames = packets.into_iter().zip(0..).map(|((skipped, copies, length), n)| {
            phone.sequence = phone.sequence.wrapping_add(skipped);
            let mut payload = Vec::new();
            let mut bytes = length;
            for (age, length, is_sound) in copies {
                let kind: u32 = if is_sound { 0x80 } else { 0x80 | 63 };
                payload.extend((kind << 24 | u32::from(age >> 2) << 10 | u32::from(length)).to_be_bytes());
                bytes += usize::from(length / 3); // of some the end is cut off
            }
            payload.push(0);
            payload.resize(payload.len() + bytes, 0x55);
            phone.send(at_ms(n * 20), &payload, 160 * u32::from(skipped))
        });
        let frames = call(PCMU, frames.collect());
        let (left, right, sounding) = render(&frames, 1_500);
        prop_assert_eq!((left.len(), right.len()), (12_000, 12_000));
        prop_assert!(sounding.recovered <= 60 * 16);
    }
}
