//! Calls in every codec that is decoded, and in several.

use std::time::Duration;

use opus_test::{opus_packets, tune};
use proptest::prelude::*;

use super::super::Survey;
use super::super::rig::*;
use super::super::sounding::GapCause;
use crate::model::{Leg, Mark, Ssrc};
use crate::recorder::Frame;
use crate::rtp::codecs::Codec;
use crate::rtp::packet::RtpPacket;

fn media(formats: &[(u8, &str, u32, u8)], at: u64) -> Frame {
    Frame::Mark {
        at: at_ms(at),
        mark: Mark::Media(vec![line_plan(formats)]),
    }
}

fn phone(leg: Leg, payload_type: u8) -> Phone {
    Phone {
        payload_type,
        ..Phone::new(leg)
    }
}

/// Payloads of 20 ms each, in RTP clock units of `units`.
fn spoken(phone: &mut Phone, from_ms: u64, payloads: &[Vec<u8>], units: u32) -> Vec<Frame> {
    let packets = payloads.iter().zip(0..);
    packets
        .map(|(payload, n)| phone.send(at_ms(from_ms + n * PACKET_MS), payload, units))
        .collect()
}

fn rate_of(frames: &[Frame], length_ms: u64) -> u32 {
    let survey = Survey::of(STARTED, Some(&closing(length_ms)), readable(frames)).expect("a short call");
    assert_eq!(survey.undecoded().count(), 0);
    survey.sample_rate
}

fn all_decoded(codec: Codec, payloads: &[Vec<u8>]) -> Vec<i16> {
    let (mut decoder, mut samples) = (codec.decoder(), Vec::new());
    for payload in payloads {
        decoder.decode(payload, &mut samples);
    }
    samples
}

pub(super) mod opus_test {
    use opus_pure::{Application, OpusEncoder};

    const OPUS_FRAME: usize = 960;

    /// Something that changes all the time.
    pub(in super::super) fn tune(rate: u32, count: usize) -> Vec<i16> {
        let sample = |n: usize| {
            let time = n as f64 / f64::from(rate);
            let hertz = 200.0 + 150.0 * (time * 7.0).sin();
            (8_000.0 * (time * hertz * std::f64::consts::TAU).sin() * (time * 9.0).cos()) as i16
        };
        (0..count).map(sample).collect()
    }

    /// With copies of what was before.
    pub(in super::super) fn opus_packets(count: usize, channels: usize) -> Vec<Vec<u8>> {
        let mut encoder = OpusEncoder::new(48_000, channels, Application::Voip).expect("an encoder");
        encoder.bitrate_bps = 24_000;
        encoder.use_inband_fec = true;
        encoder.packet_loss_perc = 20;
        let tune = tune(48_000, count * OPUS_FRAME);
        let frames = tune.chunks_exact(OPUS_FRAME).map(|frame| {
            let frame: Vec<i16> = frame.iter().flat_map(|sample| vec![*sample; channels]).collect();
            let mut bytes = vec![0; 1_500];
            let length = encoder.encode_s16(&frame, OPUS_FRAME, &mut bytes).expect("encoded");
            bytes.truncate(length);
            bytes
        });
        frames.collect()
    }
}

#[test]
fn linear_samples_of_every_rate_are_rendered_sample_for_sample() {
    for (payload_type, rate, channels) in [
        (96, 8_000, 1),
        (96, 16_000, 1),
        (96, 16_000, 2),
        (10, 44_100, 2),
        (11, 44_100, 1),
        (97, 48_000, 1),
        (97, 48_000, 2),
    ] {
        let per_packet = rate as usize / 50;
        let sound = tune(rate, per_packet * 50);
        let payload = |samples: &[i16]| {
            let repeated = samples.iter().flat_map(|sample| vec![*sample; channels]);
            repeated.flat_map(i16::to_be_bytes).collect()
        };
        let payloads: Vec<Vec<u8>> = sound.chunks(per_packet).map(payload).collect();
        let mut frames = vec![media(&[(payload_type, "L16", rate, channels as u8)], 0)];
        frames.extend(spoken(
            &mut phone(Leg::B, payload_type),
            0,
            &payloads,
            per_packet as u32,
        ));
        assert_eq!(rate_of(&frames, 1_500), rate);
        let (_, right, sounding) = render(&frames, 1_500);
        assert_eq!(right[..sound.len()], sound, "{rate} Hz, {channels} channels");
        assert_eq!((sounding.lost, right.len()), (0, rate as usize * 3 / 2));
    }
}

#[test]
fn g722_is_rendered_as_its_decoder_has_it() {
    use audio_codec::Encoder as _;
    let encoded = audio_codec::g722::G722Encoder::new().encode(&tune(16_000, 16_000));
    let payloads: Vec<Vec<u8>> = encoded.chunks(160).map(<[u8]>::to_vec).collect();
    let frames = spoken(&mut phone(Leg::A, 9), 500, &payloads, 160);
    assert_eq!(rate_of(&frames, 2_000), 16_000);
    let (left, _, _) = render(&call(frames), 2_000);
    let wanted = all_decoded(Codec::G722, &payloads);
    assert_eq!(left[8_000..24_000], wanted[..], "its clock runs at half of its samples");
}

#[test]
fn opus_is_rendered_as_its_decoder_has_it() {
    for channels in [1, 2] {
        let payloads = opus_packets(50, channels);
        let mut frames = vec![media(&[(111, "opus", 48_000, 2)], 0)];
        frames.extend(spoken(&mut phone(Leg::A, 111), 100, &payloads, 960));
        assert_eq!(rate_of(&frames, 1_500), 48_000);
        let (left, _, sounding) = render(&frames, 1_500);
        assert_eq!(left[4_800..4_800 + 48_000], all_decoded(Codec::Opus, &payloads)[..]);
        assert_eq!((sounding.lost, sounding.recovered), (0, 0));
    }
}

#[test]
fn opus_that_pauses_keeps_its_time() {
    let payloads = opus_packets(50, 1);
    let mut phone = phone(Leg::A, 111);
    let mut frames = vec![media(&[(111, "opus", 48_000, 2)], 0)];
    frames.extend(spoken(&mut phone, 0, &payloads[..25], 960));
    phone.timestamp += 960 * 100;
    frames.extend(spoken(&mut phone, 2_500, &payloads[25..], 960));
    let (left, _, sounding) = render(&frames, 3_000);
    let wanted = all_decoded(Codec::Opus, &payloads);
    assert_eq!(left[..24_000], wanted[..24_000]);
    assert!(left[24_000..120_000].iter().all(|sample| *sample == 0));
    assert_eq!(left[120_000..], wanted[24_000..]);
    assert_eq!(sounding.gaps[0].cause, GapCause::Silent);
}

#[test]
fn lost_and_shuffled_opus_keeps_its_length_and_is_heard_from_copies_and_guesses() {
    let (payloads, mut dice) = (opus_packets(250, 1), Dice(41));
    let frames = spoken(&mut phone(Leg::A, 111), 0, &payloads, 960);
    let mut lost = 0;
    let mut kept = vec![media(&[(111, "opus", 48_000, 2)], 0)];
    for (n, frame) in frames.into_iter().enumerate() {
        let is_lost = (20..240).contains(&n) && dice.roll(100) < 5;
        lost += u64::from(is_lost);
        let at = frame.at() + Duration::from_millis(dice.roll(60));
        kept.extend((!is_lost).then(|| moved(frame, at)));
    }
    kept[1..].sort_by_key(Frame::at);
    let (left, _, sounding) = render(&kept, 5_000);
    assert!(lost > 5);
    assert_eq!((sounding.lost, sounding.dropped), (lost, 0));
    let guessed = sounding
        .gaps
        .iter()
        .filter(|gap| gap.cause == GapCause::Guessed)
        .count() as u64;
    assert!(
        sounding.recovered > lost / 2 && sounding.recovered + guessed >= lost / 2,
        "{sounding:?}"
    );
    assert!(
        sounding.gaps.iter().all(|gap| gap.cause != GapCause::Lost),
        "{:?}",
        sounding.gaps
    );
    let wanted = all_decoded(Codec::Opus, &payloads);
    let whole = &wanted[960..18 * 960];
    let begins = left
        .windows(whole.len())
        .position(|window| window == whole)
        .expect("what came is untouched");
    assert!(begins < 960 + 60 * 48, "{begins}");
}

#[test]
fn fullband_on_one_leg_leaves_the_samples_of_the_other_among_its_own() {
    let codes = speech(21, 100);
    let mut frames = vec![media(&[(111, "opus", 48_000, 2), (0, "PCMU", 8_000, 1)], 0)];
    let mut packets = Phone::new(Leg::A).speak(0, &codes);
    packets.extend(spoken(&mut phone(Leg::B, 111), 0, &opus_packets(100, 2), 960));
    packets.sort_by_key(Frame::at);
    frames.extend(packets);
    let (left, right, _) = render(&frames, 2_000);
    assert_eq!((left.len(), right.len()), (96_000, 96_000));
    let kept: Vec<i16> = left.iter().step_by(6).copied().collect();
    assert_eq!(kept, decoded(&codes));
}

#[test]
fn a_recording_is_rendered_at_the_rate_that_is_asked_for() {
    let codes = speech(23, 50);
    let frames = call(Phone::new(Leg::A).speak(0, &codes));
    for rate in super::super::SAMPLE_RATES {
        let survey = Survey::of(STARTED, Some(&closing(1_000)), readable(&frames)).expect("a short call");
        let survey = survey.at_rate(rate);
        let blocks = super::super::Rendering::new(&survey, readable(&frames));
        let count: usize = blocks.map(|block| block.expect("readable").samples.len()).sum();
        assert_eq!(count, rate as usize);
    }
}

#[test]
fn a_payload_type_that_changes_unannounced_does_not_move_a_sample() {
    let (codes, mut dice) = (speech(43, 500), Dice(43));
    let mut phone = Phone::new(Leg::A);
    let (mut frames, mut wanted) = (Vec::new(), Vec::new());
    for (n, payload) in codes.chunks(PACKET_SAMPLES).enumerate() {
        phone.payload_type = if n % 40 < 20 { 0 } else { 8 };
        wanted.extend(all_decoded(
            if n % 40 < 20 { Codec::Pcmu } else { Codec::Pcma },
            &[payload.to_vec()],
        ));
        let at = 100 + n as u64 * PACKET_MS + dice.roll(60);
        frames.push(phone.send(at_ms(at), payload, 160));
    }
    let (left, _, sounding) = render(&call(frames), 11_000);
    let found = left.windows(wanted.len()).position(|window| window == wanted);
    assert!(found.is_some_and(|found| (800..960).contains(&found)), "{found:?}");
    assert_eq!(sounding.lost, 0);
}

#[test]
fn a_number_means_what_was_negotiated_last() {
    let linear = |n: usize| {
        tune(16_000, 320 * 50)[n * 320..(n + 1) * 320]
            .iter()
            .flat_map(|s| s.to_be_bytes())
            .collect()
    };
    let payloads: Vec<Vec<u8>> = (0..50).map(linear).collect();
    let codes = speech(45, 50);
    let mut phone = phone(Leg::A, 96);
    let mut frames = vec![media(&[(96, "PCMU", 8_000, 1)], 0)];
    frames.extend(phone.speak(0, &codes));
    frames.push(media(&[(96, "L16", 16_000, 1)], 1_000));
    (phone.ssrc, phone.timestamp) = (99, 5);
    frames.extend(spoken(&mut phone, 1_000, &payloads, 320));
    let (left, _, _) = render(&frames, 2_000);
    let kept: Vec<i16> = left[..16_000].iter().step_by(2).copied().collect();
    assert_eq!(kept[..7_900], decoded(&codes)[..7_900]);
    assert_eq!(
        left[16_100..],
        tune(16_000, 16_000)[100..],
        "the ringing of what was before is over"
    );
}

#[test]
fn comfort_noise_is_silence_that_the_sender_told_of() {
    let codes = speech(47, 50);
    let mut phone = Phone::new(Leg::A);
    let mut frames = phone.speak(0, &codes);
    phone.payload_type = 13;
    frames.push(phone.send(at_ms(1_000), &[60, 10, 10], 16_000));
    phone.payload_type = 0;
    frames.extend(phone.speak(3_000, &codes));
    let (left, _, sounding) = render(&call(frames), 4_000);
    assert_eq!(left, [decoded(&codes), vec![0; 16_000], decoded(&codes)].concat());
    let told: Vec<_> = sounding
        .gaps
        .iter()
        .filter(|gap| gap.leg == Leg::A)
        .map(|gap| (gap.cause, gap.length))
        .collect();
    assert_eq!(told, [(GapCause::ComfortNoise, Duration::from_secs(2))]);
}

/// What a codec makes of a tune: payloads of 20 ms.
fn tuned(codec: Codec) -> Vec<Vec<u8>> {
    use audio_codec::Encoder as _;
    let (packets, rate) = (150, codec.sample_rate());
    let sound = tune(rate, rate as usize / 50 * packets);
    let frames = sound.chunks(rate as usize / 50);
    match codec {
        Codec::Pcmu | Codec::Pcma => frames
            .map(|frame| frame.iter().map(|s| crate::rtp::codecs::to_pcmu(*s)).collect())
            .collect(),
        Codec::L16 { .. } => frames
            .map(|frame| frame.iter().flat_map(|s| s.to_be_bytes()).collect())
            .collect(),
        Codec::G722 => {
            let encoded = audio_codec::g722::G722Encoder::new().encode(&sound);
            encoded.chunks(160).map(<[u8]>::to_vec).collect()
        }
        Codec::Opus => opus_packets(packets, 1),
    }
}

#[test]
fn lost_and_shuffled_calls_keep_their_length_and_their_time_in_every_codec() {
    let linear = |sample_rate| Codec::L16 {
        sample_rate,
        channels: 1,
    };
    let codecs = [
        Codec::Pcmu,
        Codec::G722,
        linear(16_000),
        linear(44_100),
        linear(48_000),
        Codec::Opus,
    ];
    for codec in codecs {
        let (payloads, units) = (tuned(codec), codec.clock_rate() / 50);
        let channels = if codec == Codec::Opus { 2 } else { 1 };
        let format = (96, codec.name(), codec.clock_rate(), channels);
        let mut dice = Dice(51);
        let mut frames = vec![media(&[format], 0)];
        let mut lost = Vec::new();
        for (n, frame) in spoken(&mut phone(Leg::B, 96), 0, &payloads, units)
            .into_iter()
            .enumerate()
        {
            if (20..140).contains(&n) && dice.roll(100) < 5 {
                lost.push(n);
            } else {
                let at = frame.at() + Duration::from_millis(dice.roll(50));
                frames.push(moved(frame, at));
            }
        }
        frames[1..].sort_by_key(Frame::at);
        let (left, right, sounding) = render(&frames, 3_000);
        assert_eq!(
            (left.len(), right.len()),
            (3 * codec.sample_rate() as usize, left.len())
        );
        assert_eq!((sounding.lost, sounding.dropped), (lost.len() as u64, 0), "{codec:?}");
        // Up to the first loss all is as decoded, and no later than the network made it.
        let first = lost[0];
        let wanted = all_decoded(codec, &payloads[..first]);
        let begins = right.windows(wanted.len()).position(|window| window == wanted);
        let late_max = codec.sample_rate() as usize / 50;
        assert!(begins.is_some_and(|begins| begins <= late_max), "{codec:?}: {begins:?}");
        if let (Codec::L16 { .. }, Some(begins)) = (codec, begins) {
            let per_packet = units as usize;
            let mut whole = all_decoded(codec, &payloads);
            lost.iter()
                .for_each(|n| whole[n * per_packet..(n + 1) * per_packet].fill(0));
            let heard = right.len() - begins;
            assert_eq!(right[begins..], whole[..heard], "{codec:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_payloads_of_any_codec_make_a_recording_of_the_right_length(
        packets in proptest::collection::vec(
            (0..1_500_u64, 0..3_u32, 95..101_u8, any::<u16>(), 0..100_000_u32, proptest::collection::vec(any::<u8>(), 0..300)),
            0..40,
        ),
        rate in proptest::sample::select(super::super::SAMPLE_RATES.to_vec()),
    ) {
        let formats = [
            (96, "opus", 48_000, 2), (97, "L16", 44_100, 2), (98, "G722", 8_000, 1), (99, "CN", 48_000, 1), (100, "L16", 11_025, 1),
        ];
        let mut frames = vec![media(&formats, 0)];
        frames.extend(packets.into_iter().map(|(at, ssrc, kind, number, timestamp, payload)| {
            let (ssrc, number) = (Ssrc(ssrc), number % 60);
            let packet = RtpPacket::new(ssrc, kind, number, timestamp, false, payload.into());
            packet_frame(at_ms(at), Leg::A, &packet)
        }));
        frames[1..].sort_by_key(Frame::at);
        let survey = Survey::of(STARTED, Some(&closing(1_000)), readable(&frames)).expect("a short call").at_rate(rate);
        let blocks = super::super::Rendering::new(&survey, readable(&frames));
        let count: u64 = blocks.map(|block| block.expect("readable").samples.len() as u64).sum();
        prop_assert_eq!(count, survey.samples());
    }
}
