//! Calls over spoiled networks, rendered.

use std::time::Duration;

use proptest::prelude::*;

use super::super::Survey;
use super::super::rig::*;
use super::super::sounding::{Digit, Gap, GapCause};
use crate::model::{Fault, Leg, Mark, Ssrc};
use crate::recorder::{Frame, PacketKind};
use crate::rtp::TelephoneEvent;

const SAMPLES_PER_MS: usize = 8;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Where `wanted` begins in `sound`, within 20 ms of `near_ms`.
fn offset_of(wanted: &[i16], sound: &[i16], near_ms: usize) -> Option<usize> {
    let near = near_ms * SAMPLES_PER_MS;
    (near.saturating_sub(160)..=near + 160).find(|at| sound.get(*at..*at + wanted.len()) == Some(wanted))
}

#[test]
fn clean_speech_is_rendered_sample_for_sample() {
    let (caller, callee) = (speech(1, 200), speech(2, 150));
    let mut frames = Phone::new(Leg::A).speak(7, &caller);
    frames.extend(Phone::new(Leg::B).speak(1_000, &callee));
    let (left, right, sounding) = render(&call(frames), 5_000);
    assert_eq!(left[..56], [0; 56]);
    assert_eq!(left[56..56 + caller.len()], decoded(&caller));
    assert_eq!(left[56 + caller.len()..], vec![0; 40_000 - 56 - caller.len()]);
    assert_eq!(right[8_000..8_000 + callee.len()], decoded(&callee));
    assert_eq!((sounding.lost, sounding.dropped), (0, 0));
    assert!(sounding.gaps.iter().all(|gap| gap.cause == GapCause::Silent));
    assert_eq!(sounding.gaps.len(), 4, "before and after, on each leg");
}

#[test]
fn a_jittery_network_does_not_move_a_sample() {
    let (codes, mut dice) = (speech(3, 1_000), Dice(3));
    let frames = Phone::new(Leg::A).speak(100, &codes);
    let shaken = frames.into_iter().map(|frame| {
        let at = frame.at() + ms(dice.roll(60));
        moved(frame, at)
    });
    let (left, _, sounding) = render(&call(shaken), 21_000);
    assert!(offset_of(&decoded(&codes), &left, 100).is_some());
    assert_eq!(
        (sounding.lost, sounding.dropped),
        (0, 0),
        "60 ms of jitter also reorders"
    );
}

#[test]
fn lost_packets_are_silence_of_their_length_and_are_told() {
    let (codes, mut dice) = (speech(4, 1_000), Dice(4));
    let frames = Phone::new(Leg::A).speak(0, &codes);
    let mut wanted = decoded(&codes);
    let mut lost = 0;
    let kept: Vec<_> = frames
        .into_iter()
        .enumerate()
        .filter(|(n, _)| {
            let is_lost = (1..999).contains(n) && dice.roll(100) < 5;
            if is_lost {
                lost += 1;
                wanted[n * PACKET_SAMPLES..(n + 1) * PACKET_SAMPLES].fill(0);
            }
            !is_lost
        })
        .map(|(_, frame)| frame)
        .collect();
    let (left, _, sounding) = render(&call(kept), 20_000);
    assert_eq!(left, wanted);
    assert_eq!(sounding.lost, lost);
    let gaps = sounding.gaps.iter().filter(|gap| gap.cause == GapCause::Lost);
    assert_eq!(gaps.map(|gap| gap.length).sum::<Duration>(), ms(lost * PACKET_MS));
}

#[test]
fn duplicates_are_heard_once() {
    let codes = speech(5, 100);
    let frames = Phone::new(Leg::B).speak(0, &codes);
    let late = frames.clone().into_iter().map(|frame| {
        let at = frame.at() + ms(35);
        moved(frame, at)
    });
    let (_, right, sounding) = render(&call(frames.clone().into_iter().chain(late)), 2_000);
    assert_eq!(right, decoded(&codes));
    assert_eq!(sounding.dropped, 100);
}

#[test]
fn a_new_ssrc_with_other_numbers_follows_on() {
    let (before, after) = (speech(6, 50), speech(7, 50));
    let mut frames = Phone::new(Leg::A).speak(0, &before);
    let mut other = Phone {
        ssrc: 9,
        sequence: 60_000,
        timestamp: 7,
        ..Phone::new(Leg::A)
    };
    frames.extend(other.speak(1_000, &after));
    let (left, _, sounding) = render(&call(frames), 2_000);
    assert_eq!(left, [decoded(&before), decoded(&after)].concat());
    assert_eq!(sounding.lost, 0);
}

#[test]
fn numbers_that_wrap_are_not_noticed() {
    let codes = speech(8, 200);
    let mut phone = Phone {
        sequence: u16::MAX - 50,
        timestamp: u32::MAX - 16_000,
        ..Phone::new(Leg::A)
    };
    let (left, _, sounding) = render(&call(phone.speak(0, &codes)), 4_000);
    assert_eq!(left, decoded(&codes));
    assert_eq!(sounding.lost, 0);
}

#[test]
fn a_pause_of_the_sender_keeps_its_length() {
    let (before, after) = (speech(9, 50), speech(10, 50));
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &before);
    phone.timestamp += 8_000 * 3; // discontinuous transmission: the clock runs, the sequence does not
    frames.extend(phone.speak(4_000, &after));
    let (left, _, sounding) = render(&call(frames), 5_000);
    assert_eq!(left, [decoded(&before), vec![0; 24_000], decoded(&after)].concat());
    let pause = Gap {
        leg: Leg::A,
        at: ms(1_000),
        length: ms(3_000),
        cause: GapCause::Silent,
    };
    assert!(sounding.gaps.contains(&pause), "{:?}", sounding.gaps);
}

#[test]
fn a_clock_that_stood_still_during_hold_is_tied_anew() {
    let (before, after) = (speech(11, 50), speech(12, 50));
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &before);
    frames.extend(phone.speak(61_000, &after));
    let (left, _, _) = render(&call(frames), 62_000);
    assert!(offset_of(&decoded(&before), &left, 0).is_some());
    assert!(offset_of(&decoded(&after), &left, 61_000).is_some());
}

#[test]
fn timestamps_that_jump_are_tied_anew() {
    for jump in [8_000 * 600, u32::MAX / 2, u32::MAX - 8_000 * 600] {
        let (before, after) = (speech(13, 50), speech(14, 50));
        let mut phone = Phone::new(Leg::A);
        let mut frames = phone.speak(0, &before);
        phone.timestamp = phone.timestamp.wrapping_add(jump);
        frames.extend(phone.speak(1_000, &after));
        let (left, _, _) = render(&call(frames), 2_000);
        assert_eq!(left, [decoded(&before), decoded(&after)].concat(), "{jump}");
    }
}

#[test]
fn a_sender_that_restarts_its_sequence_goes_on() {
    let (before, after) = (speech(15, 50), speech(16, 50));
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &before);
    phone.sequence = 30_000;
    frames.extend(phone.speak(1_000, &after));
    let (left, _, sounding) = render(&call(frames), 2_000);
    assert_eq!(left, [decoded(&before), decoded(&after)].concat());
    assert_eq!(sounding.lost, 0);
}

#[test]
fn keys_are_told_and_silent() {
    let codes = speech(18, 50);
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &codes);
    phone.payload_type = 101;
    for n in 0..8_u64 {
        let event = TelephoneEvent {
            event: 5,
            end: n >= 5,
            volume: 10,
            duration: (n.min(5) * 160) as u16,
        };
        frames.push(phone.send(at_ms(1_000 + n.min(5) * PACKET_MS), &event.encode(), 0));
    }
    phone.payload_type = 0;
    phone.timestamp += 160 * 6;
    frames.extend(phone.speak(1_120, &codes));
    let (left, _, sounding) = render(&call(frames), 2_120);
    assert_eq!(left, [decoded(&codes), vec![0; 960], decoded(&codes)].concat());
    let digit = Digit {
        leg: Leg::A,
        at: ms(1_000),
        event: 5,
        key: Some('5'),
        duration: ms(100),
    };
    assert_eq!(sounding.digits, [digit]);
}

#[test]
fn early_media_is_heard_before_the_answer() {
    let codes = speech(19, 100);
    let mut frames = Phone::new(Leg::B).speak(0, &codes);
    for frame in &mut frames {
        *frame = moved(frame.clone(), frame.at() - ms(1_500));
    }
    let survey = Survey::of(STARTED, Some(&closing(3_000)), readable(&call(frames.clone()))).expect("a short call");
    assert_eq!((survey.start, survey.length()), (ANSWERED - ms(1_500), ms(4_500)));
    let (_, right, _) = render(&call(frames), 3_000);
    assert_eq!(right[..16_000], decoded(&codes));
}

#[test]
fn lines_of_one_leg_are_summed_without_wrapping() {
    let loud = vec![0x80_u8; 8_000]; // the loudest code
    let mut frames = Phone::new(Leg::A).speak(0, &loud);
    let mut second = Phone {
        ssrc: 5,
        ..Phone::new(Leg::A)
    };
    frames.extend(second.speak(0, &loud));
    let (left, _, _) = render(&call(frames), 1_000);
    assert_eq!(left, vec![i16::MAX; 8_000]);
}

#[test]
fn what_goes_on_after_a_restart_begins_with_its_own_recording() {
    let frames = Phone::new(Leg::A).speak(20_100, &speech(20, 10));
    let started = ANSWERED + ms(20_000);
    let survey = Survey::of(started, Some(&closing(23_000)), readable(&frames)).expect("a short recording");
    assert_eq!((survey.start, survey.length()), (started, ms(3_000)));
}

#[test]
fn a_codec_that_is_not_decoded_is_silence_and_is_told() {
    let plan = Mark::Media(vec![line_plan(&[(18, "G729", 8_000, 1)])]);
    let mut phone = Phone {
        payload_type: 18,
        ..Phone::new(Leg::A)
    };
    let mut frames = vec![Frame::Mark {
        at: ANSWERED,
        mark: plan,
    }];
    frames.extend(phone.speak(0, &speech(20, 10)));
    let survey = Survey::of(STARTED, Some(&closing(1_000)), readable(&frames)).expect("a short call");
    let undecoded: Vec<_> = survey
        .undecoded()
        .map(|heard| (heard.encoding.as_str(), heard.packets))
        .collect();
    assert_eq!(undecoded, [("G729", 10)]);
    let (left, _, _) = render(&frames, 1_000);
    assert_eq!(left, vec![0; 8_000]);
}

#[test]
fn wideband_on_one_leg_makes_the_recording_wideband() {
    let plan = Mark::Media(vec![line_plan(&[(9, "G722", 8_000, 1), (0, "PCMU", 8_000, 1)])]);
    let mut wide = Phone {
        payload_type: 9,
        ..Phone::new(Leg::B)
    };
    let codes = speech(21, 100);
    let mut frames = wide.speak(0, &vec![0x55; 16_000]);
    frames.extend(Phone::new(Leg::A).speak(0, &codes));
    frames.sort_by_key(Frame::at);
    frames.insert(
        0,
        Frame::Mark {
            at: ANSWERED,
            mark: plan,
        },
    );
    let (left, right, _) = render(&frames, 2_000);
    assert_eq!((left.len(), right.len()), (32_000, 32_000));
    let even: Vec<i16> = left.iter().step_by(2).copied().collect();
    assert_eq!(even, decoded(&codes));
    assert!(right[30_000..].iter().any(|sample| *sample != 0));
}

#[test]
fn a_network_that_stalls_and_catches_up_moves_nothing() {
    let codes = speech(22, 500);
    let frames = Phone::new(Leg::A).speak(0, &codes);
    let stalled = frames.into_iter().map(|frame| {
        let at = frame.at();
        let is_stalled = at >= at_ms(3_000) && at < at_ms(4_500);
        moved(frame, if is_stalled { at_ms(4_500) } else { at })
    });
    let (left, _, sounding) = render(&call(stalled), 10_000);
    assert_eq!(left, decoded(&codes));
    assert_eq!((sounding.lost, sounding.dropped), (0, 0));
}

#[test]
fn a_clock_that_stood_still_for_a_second_is_noticed_soon() {
    let (before, after) = (speech(23, 50), speech(24, 500));
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &before);
    frames.extend(phone.speak(2_000, &after));
    let (left, _, _) = render(&call(frames), 12_000);
    let tail = decoded(&after[40_000..]);
    assert!(offset_of(&tail, &left, 2_000 + 5_000).is_some());
}

#[test]
fn a_gap_of_the_recorder_is_told_for_both_legs() {
    let mark = |at, mark| Frame::Mark { at: at_ms(at), mark };
    let frames = [
        mark(1_000, Mark::GapOpened { fault: Fault::Io }),
        mark(1_500, Mark::GapClosed { packets: 50 }),
        mark(3_000, Mark::GapOpened { fault: Fault::Io }),
    ];
    let (_, _, sounding) = render(&frames, 4_000);
    let gaps = sounding.gaps.iter().filter(|gap| gap.cause == GapCause::Unrecorded);
    let told: Vec<_> = gaps.map(|gap| (gap.leg, gap.at, gap.length)).collect();
    let wanted = [
        (Leg::A, ms(1_000), ms(500)),
        (Leg::B, ms(1_000), ms(500)),
        (Leg::A, ms(3_000), ms(1_000)),
        (Leg::B, ms(3_000), ms(1_000)),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_pause_is_silence_of_its_length_and_nothing_is_counted_as_lost() {
    let mark = |at, mark| Frame::Mark { at: at_ms(at), mark };
    let by = crate::model::PausedBy::Operator;
    let (before, after) = (speech(1, 50), speech(2, 50));
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &before);
    let unkept = phone.speak(1_000, &speech(3, 150));
    frames.push(mark(1_000, Mark::RecordingPaused { by, why: None }));
    frames.extend(unkept.iter().step_by(5).map(|frame| Frame::Packet {
        at: frame.at(),
        leg: Leg::A,
        line: 0,
        kind: PacketKind::Withheld,
        bytes: bytes::Bytes::new(),
    }));
    frames.push(mark(4_000, Mark::RecordingResumed { by }));
    frames.extend(phone.speak(4_000, &after));
    let (left, _, sounding) = render(&call(frames), 6_000);
    assert_eq!(left[..8_000], decoded(&before));
    assert_eq!(left[8_000..32_000], [0; 24_000]);
    assert_eq!(left[32_000..40_000], decoded(&after));
    assert_eq!((sounding.lost, sounding.dropped), (0, 0));
    let paused = sounding.gaps.iter().filter(|gap| gap.cause == GapCause::Paused);
    let told: Vec<_> = paused.map(|gap| (gap.leg, gap.at, gap.length)).collect();
    assert_eq!(told, [(Leg::A, ms(1_000), ms(3_000)), (Leg::B, ms(1_000), ms(3_000))]);
}

#[test]
fn who_is_left_out_is_silent_for_as_long_and_the_other_is_heard() {
    use crate::model::{LeftOut, Withholding};
    let left_out = |at, what| Frame::Mark {
        at: at_ms(at),
        mark: Mark::LeftOut {
            leg: Leg::A,
            what,
            why: Withholding::Consent,
        },
    };
    let (other, after) = (speech(1, 200), speech(2, 50));
    let mut frames = Phone::new(Leg::B).speak(0, &other);
    let mut phone = Phone::new(Leg::A);
    let _unkept = phone.speak(0, &speech(3, 150));
    frames.push(left_out(0, LeftOut::All));
    frames.push(left_out(3_000, LeftOut::Nothing));
    frames.extend(phone.speak(3_000, &after));
    frames.push(left_out(4_500, LeftOut::Lines(vec![0])));
    let (left, right, sounding) = render(&call(frames), 5_000);
    assert_eq!(left[..24_000], [0; 24_000]);
    assert_eq!(left[24_000..32_000], decoded(&after));
    assert_eq!(right[..32_000], decoded(&other));
    assert_eq!((sounding.lost, sounding.dropped), (0, 0));
    let paused = sounding.gaps.iter().filter(|gap| gap.cause == GapCause::Paused);
    let told: Vec<_> = paused.map(|gap| (gap.leg, gap.at, gap.length)).collect();
    assert_eq!(told, [(Leg::A, ms(0), ms(3_000)), (Leg::A, ms(4_500), ms(500))]);
}

fn any_packet() -> impl Strategy<Value = Frame> {
    let payload = proptest::collection::vec(any::<u8>(), 0..40);
    let numbers = (0..4_000_u64, 0..3_u32, any::<u16>(), any::<u32>());
    (numbers, 0..12_u8, any::<bool>(), payload).prop_map(|((at, ssrc, sequence, timestamp), kind, is_a, payload)| {
        let leg = if is_a { Leg::A } else { Leg::B };
        let kind = if kind == 10 { 101 } else { kind };
        let (sequence, timestamp) = (sequence % 50 * if kind == 11 { 1_300 } else { 1 }, timestamp % 40_000);
        let packet = crate::rtp::packet::RtpPacket::new(Ssrc(ssrc), kind, sequence, timestamp, false, payload.into());
        packet_frame(at_ms(at), leg, &packet)
    })
}

proptest! {
    #[test]
    fn any_packets_make_a_recording_of_the_right_length(frames in proptest::collection::vec(any_packet(), 0..60)) {
        render(&frames, 4_000);
        render(&call(frames), 500);
    }
}
