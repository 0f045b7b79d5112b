//! What ails the sound of a call is told while it lives: once when it begins, once when it ends.

use super::*;
use crate::model::{Ailing, Impairment};
use crate::rtp::codecs::{to_pcma, to_pcmu};

const PCMU: u8 = 0;
const PCMA: u8 = 8;
const G722: u8 = 9;

/// Speech in µ-law, as captures have it.
const SPEECH: [&[u8]; 2] = [
    include_bytes!("../../../captures/alice.ulaw"),
    include_bytes!("../../../captures/bob.ulaw"),
];

/// A line that tells its formats, so that one leg is A, the other B.
fn answered(lines: Vec<LinePlan>) -> Box<MediaPlan> {
    Box::new(MediaPlan {
        answered: true,
        ..*plan(Recorded::Strict, lines)
    })
}

fn talking() -> World {
    let mut world = World::new();
    world.command(MediaCommand::Open(answered(vec![line(0, remote(A), remote(B))])));
    world.events();
    world
}

/// Payloads of 20 ms from a source of bytes that begins anew when it ends.
struct Player<'a> {
    phone: Phone,
    sound: &'a [u8],
    at: usize,
}

impl<'a> Player<'a> {
    fn new(leg: Leg, payload_type: u8, sound: &'a [u8]) -> Self {
        let phone = Phone::new(leg, payload_type);
        Self { phone, sound, at: 0 }
    }

    fn next(&mut self) -> Vec<u8> {
        let payload: Vec<u8> = (0..160).map(|n| self.sound[(self.at + n) % self.sound.len()]).collect();
        self.at = (self.at + 160) % self.sound.len();
        self.phone.next(&payload)
    }
}

impl World {
    /// All that play, for so long; what was told of it.
    fn play(&mut self, players: &mut [&mut Player<'_>], seconds: u64) -> Vec<String> {
        for _ in 0..seconds * 50 {
            for player in players.iter_mut() {
                let packet = player.next();
                self.deliver(player.phone.leg, &packet);
            }
            self.wait(20);
            self.plane.handle_timeout(self.now);
            self.drain();
        }
        self.told()
    }

    fn told(&mut self) -> Vec<String> {
        let told = self.events().into_iter().filter_map(|event| match event {
            MediaEvent::Health { ailing, .. } => Some(text(&ailing)),
            _ => None,
        });
        told.collect()
    }
}

fn text(ailing: &Ailing) -> String {
    let leg = ailing.ailment.leg.map_or_else(String::new, |leg| format!(" {leg}"));
    let ends = if ailing.until.is_some() { " ends" } else { "" };
    format!("{}{leg}{ends}", ailing.ailment.impairment.as_str())
}

/// Even bytes from a seed (splitmix64).
fn even_bytes(count: usize) -> Vec<u8> {
    let mut state = 42_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40) as u8
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn speech_both_ways_ails_nothing() {
    let mut world = talking();
    let [mut a, mut b] = [0, 1].map(|leg| Player::new(Leg::BOTH[leg], PCMU, SPEECH[leg]));
    assert_eq!(world.play(&mut [&mut a, &mut b], 120), [""; 0]);
    assert_eq!(world.close().ailments, []);
}

#[test]
fn a_leg_that_is_not_heard_while_the_other_is_is_told_after_five_seconds() {
    let mut world = talking();
    let [mut a, mut b] = [0, 1].map(|leg| Player::new(Leg::BOTH[leg], PCMU, SPEECH[leg]));
    assert_eq!(world.play(&mut [&mut b], 4), [""; 0]);
    assert_eq!(world.play(&mut [&mut b], 20), ["one_way A"]);
    assert_eq!(world.play(&mut [&mut a, &mut b], 10), ["one_way A ends"]);
    assert_eq!(world.play(&mut [&mut a], 10), ["one_way B"]);
    let ailments = world.close().ailments;
    let since: Vec<_> = ailments.iter().map(|ailing| ailing.since.as_millis()).collect();
    assert_eq!(since[0], 1_000, "from the answer on");
    assert!(
        (34_900..35_000).contains(&since[1]),
        "from its last packet on: {since:?}"
    );
    assert_eq!(ailments[1].until, None, "to the end");
}

#[test]
fn a_call_without_any_media_is_told_after_ten_seconds_and_who_comes_back_ends_it() {
    let mut world = talking();
    let mut a = Player::new(Leg::A, PCMU, SPEECH[0]);
    assert_eq!(world.play(&mut [], 9), [""; 0]);
    assert_eq!(world.play(&mut [], 20), ["no_media"]);
    assert_eq!(world.play(&mut [&mut a], 10), ["no_media ends", "one_way B"]);
}

#[test]
fn before_the_answer_silence_is_none() {
    let mut world = World::call(Recorded::Strict);
    let mut b = Player::new(Leg::B, PCMU, &[0x00, 0x80]);
    assert_eq!(
        world.play(&mut [&mut b], 60),
        [""; 0],
        "and ringback may be of any sound"
    );
    world.command(MediaCommand::Modify(answered(vec![line(0, remote(A), remote(B))])));
    assert_eq!(world.play(&mut [&mut b], 4), [""; 0]);
    assert!(world.play(&mut [&mut b], 4).contains(&"one_way A".to_owned()));
}

#[test]
fn a_held_party_is_not_missed_with_music_or_without() {
    let mut world = talking();
    let [mut a, mut b] = [0, 1].map(|leg| Player::new(Leg::BOTH[leg], PCMU, SPEECH[leg]));
    world.play(&mut [&mut a, &mut b], 5);
    let mut held = line(0, remote(A), remote(B));
    held.b.mute = true; // A holds: sendonly
    world.command(MediaCommand::Modify(answered(vec![held.clone()])));
    assert_eq!(world.play(&mut [&mut a], 60), [""; 0]);
    assert_eq!(world.play(&mut [], 60), [""; 0]);
    (held.a.mute, held.b.mute) = (true, true); // inactive
    world.command(MediaCommand::Modify(answered(vec![held.clone()])));
    assert_eq!(world.play(&mut [], 60), [""; 0]);
    (held.a.mute, held.a.deaf) = (false, true); // by 0.0.0.0
    world.command(MediaCommand::Modify(answered(vec![held])));
    assert_eq!(world.play(&mut [], 60), [""; 0]);
    world.command(MediaCommand::Modify(answered(vec![line(0, remote(A), remote(B))])));
    assert_eq!(world.play(&mut [], 4), [""; 0], "both have time to come back");
    assert_eq!(world.play(&mut [], 10), ["no_media"]);
}

#[test]
fn who_tells_by_comfort_noise_that_silence_follows_is_not_missed() {
    let mut world = talking();
    let [mut a, mut b] = [0, 1].map(|leg| Player::new(Leg::BOTH[leg], PCMU, SPEECH[leg]));
    world.play(&mut [&mut a, &mut b], 5);
    a.phone.payload_type = 13;
    let silence = a.phone.next(&[60]);
    world.deliver(Leg::A, &silence);
    assert_eq!(world.play(&mut [&mut b], 60), [""; 0]);
    a.phone.payload_type = PCMU;
    assert_eq!(world.play(&mut [&mut a, &mut b], 5), [""; 0]);
    assert_eq!(
        world.play(&mut [&mut b], 10),
        ["one_way A"],
        "it told nothing this time"
    );
}

#[test]
fn a_shut_gate_is_no_fault_of_the_legs() {
    let mut world = talking();
    let gate = |gate| MediaCommand::Gate { session: SESSION, gate };
    world.command(gate(Gate::Shut));
    assert_eq!(world.play(&mut [], 30), [""; 0]);
    world.command(gate(Gate::Open));
    assert_eq!(world.play(&mut [], 5), [""; 0]);
}

#[test]
fn a_sound_that_never_changes_is_told_and_digital_silence_later() {
    let mut world = talking();
    let stuck = [0x55, 0x34, 0x30, 0x34, 0xd5, 0xb4, 0xb0, 0xb4]; // a tone of 1,000 Hz
    let [mut a, mut b] = [Player::new(Leg::A, PCMA, &stuck), Player::new(Leg::B, PCMA, &[0xd5])];
    assert_eq!(world.play(&mut [&mut a, &mut b], 9), [""; 0]);
    assert_eq!(world.play(&mut [&mut a, &mut b], 30), ["constant A"]);
    a.sound = &[0xd5];
    assert_eq!(world.play(&mut [&mut a, &mut b], 10), ["constant A ends"]);
    assert_eq!(
        world.play(&mut [&mut a, &mut b], 20),
        ["silence B"],
        "muted for a minute"
    );
}

#[test]
fn what_is_encrypted_and_called_clear_is_told_and_speech_ends_it() {
    for payload_type in [PCMU, PCMA, G722] {
        let mut world = talking();
        let cipher = even_bytes(1 << 20);
        let [mut a, mut b] = [
            Player::new(Leg::A, payload_type, &cipher),
            Player::new(Leg::B, PCMU, SPEECH[1]),
        ];
        assert_eq!(world.play(&mut [&mut a, &mut b], 20), ["noise A"], "{payload_type}");
        (a.phone.payload_type, a.sound) = (PCMU, SPEECH[0]);
        assert_eq!(world.play(&mut [&mut a, &mut b], 20), ["noise A ends"]);
    }
}

#[test]
fn what_its_sdp_calls_encrypted_is_no_noise() {
    let mut world = World::new();
    let mut sealed = line(0, remote(A), remote(B));
    for leg in [&mut sealed.a, &mut sealed.b] {
        leg.formats = vec![(PCMU, "PCMU (SRTP)".to_owned(), 8_000, 1)];
    }
    world.command(MediaCommand::Open(answered(vec![sealed])));
    let cipher = even_bytes(1 << 20);
    let [mut a, mut b] = [Leg::A, Leg::B].map(|leg| Player::new(leg, PCMU, &cipher));
    assert_eq!(world.play(&mut [&mut a, &mut b], 30), [""; 0]);
}

#[test]
fn samples_at_the_rails_are_told_while_they_last() {
    // A tone of twice what can be written.
    let too_loud = |encode: fn(i16) -> u8| -> Vec<u8> {
        let samples = (0..8_000).map(|n| (65_534.0 * (f64::from(n) * 0.31).sin()).clamp(-32_768.0, 32_767.0) as i16);
        samples.map(encode).collect()
    };
    for (payload_type, sound) in [(PCMU, too_loud(to_pcmu)), (PCMA, too_loud(to_pcma))] {
        let mut world = talking();
        let [mut a, mut b] = [
            Player::new(Leg::A, payload_type, &sound),
            Player::new(Leg::B, PCMU, SPEECH[1]),
        ];
        assert_eq!(world.play(&mut [&mut a, &mut b], 20), ["clipping A"]);
        (a.phone.payload_type, a.sound) = (PCMU, SPEECH[0]);
        assert_eq!(world.play(&mut [&mut a, &mut b], 30), ["clipping A ends"]);
    }
}

#[test]
fn a_leg_that_comes_and_goes_is_told_of_so_often_and_no_more() {
    let mut world = talking();
    let [mut a, mut b] = [0, 1].map(|leg| Player::new(Leg::BOTH[leg], PCMU, SPEECH[leg]));
    let mut told = 0;
    for _ in 0..60 {
        told += world.play(&mut [&mut b], 8).len();
        told += world.play(&mut [&mut a, &mut b], 2).len();
    }
    assert_eq!(told, 64, "32 beginnings and their ends");
    assert_eq!(world.close().ailments.len(), 32);
}

#[test]
fn white_noise_is_sound() {
    use audio_codec::Encoder as _;
    use audio_codec::g722::G722Encoder;
    // Twelve even numbers make one that is near enough to normal.
    let normal = |sigma: f64| -> Vec<i16> {
        let even = even_bytes(12 * 160_000);
        let sums = even
            .chunks_exact(12)
            .map(|dozen| dozen.iter().map(|n| f64::from(*n)).sum::<f64>());
        sums.map(|sum| ((sum / 256.0 - 5.98) * sigma).clamp(-32_768.0, 32_767.0) as i16)
            .collect()
    };
    for sigma in [30.0, 300.0, 3_000.0] {
        let noise = normal(sigma);
        let g722 = G722Encoder::new().encode(&noise);
        let coded = [
            (PCMU, noise.iter().map(|sample| to_pcmu(*sample)).collect()),
            (PCMA, noise.iter().map(|sample| to_pcma(*sample)).collect()),
            (G722, g722.to_vec()),
        ];
        for (payload_type, sound) in coded {
            let mut world = talking();
            let [mut a, mut b] = [
                Player::new(Leg::A, payload_type, &sound),
                Player::new(Leg::B, PCMU, SPEECH[1]),
            ];
            let told = world.play(&mut [&mut a, &mut b], 60);
            let noise = Impairment::Noise.as_str();
            assert!(
                !told.iter().any(|told| told.starts_with(noise)),
                "{payload_type} {sigma}"
            );
        }
    }
}

#[test]
fn while_much_waits_to_be_told_nobody_is_woken_to_judge_and_then_they_are() {
    let mut plane = Plane::new();
    for number in 0..300 {
        let plan = Box::new(MediaPlan {
            session: SessionId::from_u128(number),
            ..*plan(Recorded::Strict, vec![line(0, remote(A), remote(B))])
        });
        plane.handle_command(Timestamp::ZERO, MediaCommand::Open(plan), &mut Shelf::default());
    }
    let now = Timestamp::from_millis(5_000);
    plane.handle_timeout(now);
    assert_eq!(plane.poll_timeout(), None, "signalling stalls");
    while plane.poll_output().is_some() {}
    assert!(plane.poll_timeout().is_some_and(|due| due <= now));
    for _ in 0..2 {
        plane.handle_timeout(now);
    }
    assert!(plane.poll_timeout().is_some_and(|due| due > now), "once a second");
}
