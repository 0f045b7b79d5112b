//! 5,000 malformed INVITEs: no panic, nothing grows without bound, and OPTIONS is answered all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::bench::{A, Bench, PROXY};
use crate::malformed::{Rng, invite};
use crate::peer::deliver;

const MESSAGES: usize = 5_000;
const SEED: u64 = 0x5349_5020;

fn options(number: usize) -> Vec<u8> {
    format!(
        "OPTIONS sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKo{number};rport\r\nMax-Forwards: 70\r\nFrom: <sip:probe@example.com>;tag=1\r\nTo: <sip:{PROXY}>\r\nCall-ID: o{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn five_thousand_malformed_invites_break_nothing_and_leave_nothing() {
    let bench = Bench::strict();
    let (mut node, mut now) = (bench.signaling, bench.now);
    let mut rng = Rng::new(SEED);
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..MESSAGES {
        let bytes = invite(&mut rng, number);
        let reaction = deliver(&mut node, now, &bytes);
        assert!(reaction.answers.len() <= 1, "{:?}", reaction.answers);
        *words.entry(reaction.word()).or_default() += 1;
        // What was taken for a call ends as a call does that nobody answers.
        now = now + Duration::from_millis(100);
        crate::peer::beat(&mut node, now);
        node.handle_timeout(now);
        crate::peer::drain(&mut node, now);
        if number % 100 == 99 {
            assert_eq!(deliver(&mut node, now, &options(number)).word(), "200");
        }
        assert!(node.calls() <= 100, "calls_max holds");
    }
    println!("{words:?}");
    let refused = words.get("400").copied().unwrap_or_default();
    assert!(
        refused > MESSAGES / 4 && words.len() > 5,
        "the generator is malformed itself: {words:?}"
    );
    for _ in 0..4_000 {
        let Some(due) = node.poll_timeout() else { break };
        now = now.max(due);
        crate::peer::beat(&mut node, now);
        node.handle_timeout(now);
        crate::peer::drain(&mut node, now);
    }
    assert_eq!((node.calls(), node.leftovers()), (0, [0; 4]));
}

#[test]
fn the_same_seed_makes_the_same_messages_and_another_makes_others() {
    let made = |seed| {
        let mut rng = Rng::new(seed);
        (0..50).map(|number| invite(&mut rng, number)).collect::<BTreeSet<_>>()
    };
    assert_eq!(made(1), made(1));
    assert!(made(1).intersection(&made(2)).count() < 5);
    assert_eq!(made(1).len(), 50);
}
