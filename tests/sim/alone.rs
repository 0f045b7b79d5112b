//! The simulator checks itself first: phones that call each other without a proxy get along over any link.

use std::net::SocketAddr;
use std::time::Duration;

use onrecord::model::{Timestamp, earliest};

use super::net::{Net, Quality};
use super::rng::Rng;
use super::ua::{Phone, Script, State};
use super::wire::Heard;

fn script() -> Script {
    Script {
        ring_after: Duration::from_millis(300),
        answer_after: Duration::from_secs(2),
        refuses: None,
        early_media: false,
        patience: Duration::from_secs(60),
        talks: Duration::from_secs(5),
        holds_after: None,
        mute: false,
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Runs until both have ended: caller, callee.
fn place(seed: u64, quality: Quality, caller: Script, callee: Script) -> [Phone; 2] {
    let mut rng = Rng::new(seed);
    let (a, b) = (address("10.0.0.1:5060"), address("10.0.0.2:5060"));
    let mut phones = [
        Phone::new(1, true, [a, address("10.0.0.1:7000"), b], caller, rng.fork()),
        Phone::new(2, false, [b, address("10.0.0.2:7000"), a], callee, rng.fork()),
    ];
    let mut net = Net::new(rng.fork(), quality);
    let mut now = Timestamp::from_millis(1_800_000_000_000);
    phones[0].call(now, "alice@sim", "bob");
    for _ in 0..1_000_000 {
        for phone in &mut phones {
            phone.handle_timeout(now);
            while let Some(datagram) = phone.poll_output() {
                net.send(now, datagram);
            }
        }
        while let Some(datagram) = net.poll_arrival(now) {
            if let Some(phone) = phones.iter_mut().find(|phone| phone.address == datagram.to) {
                phone.handle_sip(now, &Heard::read(&datagram.bytes).expect("phones speak SIP"));
            } else if let Some(phone) = phones.iter_mut().find(|phone| phone.media == datagram.to) {
                let _ = phone.handle_media(&datagram.bytes);
            }
        }
        let next = phones
            .iter()
            .map(Phone::poll_timeout)
            .chain([net.poll_timeout()])
            .fold(None, earliest);
        match next {
            Some(next) => now = next.max(now),
            None => return phones,
        }
    }
    panic!("seed {seed}: the phones never came to rest");
}

#[test]
fn two_phones_talk_over_a_perfect_link() {
    let [a, b] = place(
        1,
        Quality::PERFECT,
        script(),
        Script {
            talks: Duration::from_secs(60),
            ..script()
        },
    );
    assert_eq!((a.state, b.state, a.status), (State::Ended, State::Ended, Some(200)));
    assert!(b.bye_heard.is_some() && a.bye_heard.is_none());
    assert_eq!((a.packets, b.heard.len()), (251, 251));
    assert!(a.heard.len() >= 249, "{}", a.heard.len());
}

#[test]
fn a_caller_gives_up_and_a_callee_is_busy() {
    let hasty = Script {
        patience: Duration::from_secs(1),
        ..script()
    };
    let [a, b] = place(2, Quality::PERFECT, hasty, script());
    assert_eq!((a.state, b.state, a.status), (State::Ended, State::Ended, Some(487)));
    let busy = Script {
        refuses: Some(486),
        ..script()
    };
    let [a, b] = place(3, Quality::PERFECT, script(), busy);
    assert_eq!((a.state, b.state, a.status), (State::Ended, State::Ended, Some(486)));
}

#[test]
fn hold_stops_the_packets_and_resume_starts_them() {
    let holds = Script {
        holds_after: Some(Duration::from_secs(1)),
        ..script()
    };
    let [a, b] = place(
        4,
        Quality::PERFECT,
        holds,
        Script {
            talks: Duration::from_secs(60),
            ..script()
        },
    );
    assert_eq!((a.state, b.state), (State::Ended, State::Ended));
    assert!(
        (150..=210).contains(&a.packets) && (150..=210).contains(&b.packets),
        "{} {}",
        a.packets,
        b.packets
    );
}

#[test]
fn phones_come_to_rest_over_any_link() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let quality = Quality::draw(&mut rng);
        let draw = |rng: &mut Rng| Script {
            refuses: rng.one_in(5).then_some(486),
            early_media: rng.one_in(4),
            patience: if rng.one_in(4) {
                rng.millis(100..=3000)
            } else {
                Duration::from_secs(60)
            },
            talks: rng.millis(500..=8000),
            holds_after: rng.one_in(3).then(|| rng.millis(200..=2000)),
            ..script()
        };
        let (caller, callee) = (draw(&mut rng), draw(&mut rng));
        let [a, b] = place(seed, quality, caller, callee);
        assert_eq!(a.state, State::Ended, "seed {seed}: caller");
        assert!(
            matches!(b.state, State::Ended | State::Idle),
            "seed {seed}: callee {:?}",
            b.state
        );
    }
}
