use opus_pure::{Application, OpusEncoder};
use proptest::prelude::*;

use super::super::Codec;
use super::*;

const FRAME: usize = 960;

/// Syllables of a buzzing voice, 20 ms a frame.
fn voice(frames: usize) -> Vec<i16> {
    let sample = |n: usize| {
        let time = n as f64 / 48_000.0;
        let syllable = (time * 4.0 * std::f64::consts::TAU).sin().max(0.0);
        let buzz: f64 = (1..12)
            .map(|k| (f64::from(k) * 140.0 * time * std::f64::consts::TAU).sin() / f64::from(k))
            .sum();
        (syllable * buzz * 6_000.0) as i16
    };
    (0..frames * FRAME).map(sample).collect()
}

fn encoded(voice: &[i16], prepare: impl FnOnce(&mut OpusEncoder)) -> Vec<Vec<u8>> {
    let mut encoder = OpusEncoder::new(48_000, 1, Application::Voip).expect("an encoder");
    prepare(&mut encoder);
    encoded_by(&mut encoder, voice)
}

fn encoded_by(encoder: &mut OpusEncoder, voice: &[i16]) -> Vec<Vec<u8>> {
    let packet = |frame: &[i16]| {
        let mut bytes = vec![0; 1_500];
        let length = encoder.encode_s16(frame, FRAME, &mut bytes).expect("encoded");
        bytes.truncate(length);
        bytes
    };
    voice.chunks_exact(FRAME).map(packet).collect()
}

/// Speech with copies of what was before, as telephony has it.
fn protected(voice: &[i16]) -> Vec<Vec<u8>> {
    encoded(voice, |encoder| {
        encoder.bitrate_bps = 24_000;
        encoder.use_inband_fec = true;
        encoder.packet_loss_perc = 20;
    })
}

fn decoded(packets: &[Vec<u8>]) -> Vec<i16> {
    let (mut decoder, mut samples) = (Codec::Opus.decoder(), Vec::new());
    for packet in packets {
        decoder.decode(packet, &mut samples);
    }
    samples
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum()
}

/// Of the difference, against the sound itself, at the lag that fits best.
fn error(wanted: &[i16], found: &[i16]) -> f64 {
    let lagged = |lag: usize| {
        let pairs = wanted.iter().zip(found.iter().skip(lag));
        pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
    };
    (0..480).map(lagged).fold(f64::MAX, f64::min) / energy(wanted)
}

#[test]
fn every_packet_gives_its_length() {
    let voice = voice(50);
    let samples = decoded(&encoded(&voice, |_| ()));
    assert_eq!(samples.len(), voice.len());
    assert!(
        error(&voice[..40 * FRAME], &samples) < 0.2,
        "{}",
        error(&voice[..40 * FRAME], &samples)
    );
}

#[test]
fn stereo_is_mixed_down() {
    let mut encoder = OpusEncoder::new(48_000, 2, Application::Audio).expect("an encoder");
    let frame: Vec<i16> = voice(1).iter().flat_map(|sample| [*sample, *sample]).collect();
    let mut bytes = vec![0; 1_500];
    let length = encoder.encode_s16(&frame, FRAME, &mut bytes).expect("encoded");
    assert_eq!(decoded(&[bytes[..length].to_vec()]).len(), FRAME);
}

#[test]
fn a_lost_packet_comes_from_the_copy_in_the_next() {
    let packets = protected(&voice(60));
    let lost = (20..55)
        .find(|n| has_copy(&packets[n + 1]))
        .expect("the encoder made copies");
    let whole = decoded(&packets);
    let (mut decoder, mut samples) = (Codec::Opus.decoder(), Vec::new());
    for packet in &packets[..lost] {
        decoder.decode(packet, &mut samples);
    }
    let filled = decoder.fill(&packets[lost + 1], FRAME, 1, &mut samples);
    let wanted = Filled {
        guessed: 0,
        recovered: FRAME,
    };
    assert_eq!(filled, wanted);
    let range = lost * FRAME..(lost + 1) * FRAME;
    let off = error(&whole[range.clone()], &samples[range]);
    assert!(off < 0.5, "{off}");
}

#[test]
fn without_a_copy_a_short_hole_is_guessed_and_a_long_one_is_not() {
    let packets = encoded(&voice(30), |_| ());
    assert!(!has_copy(&packets[20]));
    for (hole, lost, guessed) in [
        (FRAME, 1, FRAME),
        (3 * FRAME, 3, 3 * FRAME),
        (6 * FRAME, 6, 6 * FRAME),
        (7 * FRAME, 7, 0),
        (20 * FRAME, 1, 0),
        (FRAME / 8, 1, FRAME / 8),
    ] {
        let (mut decoder, mut samples) = (Codec::Opus.decoder(), Vec::new());
        for packet in &packets[..20] {
            decoder.decode(packet, &mut samples);
        }
        samples.clear();
        let filled = decoder.fill(&packets[20], hole, lost, &mut samples);
        assert_eq!((filled.guessed, filled.recovered, samples.len()), (guessed, 0, guessed));
    }
}

#[test]
fn music_has_no_copies() {
    let mut encoder = OpusEncoder::new(48_000, 1, Application::RestrictedLowDelay).expect("an encoder");
    let packets = encoded_by(&mut encoder, &voice(5));
    assert!(packets.iter().all(|packet| !has_copy(packet)));
}

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..200)
}

/// A packet with a byte changed, or cut: near enough to reach deep.
fn spoiled() -> impl Strategy<Value = Vec<u8>> {
    let packets = protected(&voice(20));
    (
        0..20_usize,
        any::<proptest::sample::Index>(),
        any::<u8>(),
        any::<bool>(),
    )
        .prop_map(move |(n, place, byte, is_cut)| {
            let mut packet = packets[n].clone();
            let place = place.index(packet.len());
            packet[place] = byte;
            if is_cut {
                packet.truncate(place);
            }
            packet
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_payloads_give_at_most_120_ms_each_and_never_panic(
        payloads in proptest::collection::vec((prop_oneof![any_payload(), spoiled()], 0..8_000_usize, 0..9_u64), 1..12),
    ) {
        let (mut decoder, mut samples) = (Codec::Opus.decoder(), Vec::new());
        for (payload, hole, lost) in payloads {
            samples.clear();
            let filled = decoder.fill(&payload, hole, lost, &mut samples);
            prop_assert_eq!(filled.guessed + filled.recovered, samples.len());
            prop_assert!(samples.len() <= hole);
            samples.clear();
            decoder.decode(&payload, &mut samples);
            prop_assert!(samples.len() <= MAX_PACKET_SAMPLES);
        }
    }
}
