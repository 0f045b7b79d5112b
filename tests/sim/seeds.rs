//! Worlds by the hundred: everything drawn from a seed, the law checked at every step and at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::disk::Trouble;
use super::net::Quality;
use super::rng::Rng;
use super::ua::Script;
use super::world::{Grade, Happening, World};

const SEEDS: u64 = 200;

fn grade(rng: &mut Rng) -> Grade {
    *rng.pick(&[Grade::Strict, Grade::Strict, Grade::Lenient, Grade::Exempt])
}

fn draw_script(rng: &mut Rng) -> Script {
    Script {
        ring_after: rng.millis(0..=800),
        answer_after: rng.millis(0..=2500),
        refuses: rng.one_in(8).then(|| *rng.pick(&[404, 480, 486, 500, 603])),
        early_media: rng.one_in(4),
        patience: if rng.one_in(6) {
            rng.millis(0..=3000)
        } else {
            Duration::from_secs(50)
        },
        talks: rng.millis(200..=5000),
        holds_after: rng.one_in(4).then(|| rng.millis(100..=1500)),
        mute: rng.one_in(8),
    }
}

fn draw_trouble(rng: &mut Rng) -> Trouble {
    match rng.below(6) {
        0 => Trouble::Full,
        1 => Trouble::FlushFails,
        2 => Trouble::ReadOnly,
        3 => Trouble::ShortWrite,
        4 => Trouble::Hangs,
        _ => Trouble::Slow(20 + rng.below(400)),
    }
}

/// A world with calls and, mostly, trouble.
pub fn draw_world(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let quality = Quality::draw(&mut rng);
    let volumes = if rng.one_in(3) { 2 } else { 1 };
    let mut world = World::with_volumes(seed, quality, volumes);
    for _ in 0..2 + rng.below(4) {
        let (delay, grade) = (rng.millis(0..=6000), grade(&mut rng));
        let (caller, callee) = (draw_script(&mut rng), draw_script(&mut rng));
        world.pair(delay, grade, caller, callee);
    }
    for _ in 0..rng.below(3) {
        let from = rng.millis(0..=8000);
        let trouble = draw_trouble(&mut rng);
        let alone = volumes > 1 && rng.one_in(2);
        world.after(
            from,
            if alone {
                Happening::BreakFirst(trouble)
            } else {
                Happening::Break(trouble)
            },
        );
        world.after(from + rng.millis(1..=6000), Happening::Mend);
    }
    for _ in 0..rng.below(4) {
        world.after(rng.millis(0..=8000), Happening::Inject);
    }
    world.after(Duration::from_secs(15), Happening::Mend);
    world
}

fn live(seed: u64) {
    let mut world = draw_world(seed);
    world.run_to_rest();
    world.audit();
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

/// Each seed on its own, so that one that fails does not hide the others: `share` of two hundred, or `ONRECORD_SEED`
/// alone, or with `ONRECORD_SEEDS=n` the share of n.
pub fn try_all(share: Share, live: fn(u64)) {
    if let Some(seed) = number("ONRECORD_SEED") {
        return live(seed);
    }
    let all = number("ONRECORD_SEEDS").unwrap_or(SEEDS);
    let seeds = match share {
        Share::All => 0..all,
        Share::FirstHalf => 0..all / 2,
        Share::SecondHalf => all / 2..all,
    };
    let failed: Vec<String> = seeds
        .filter(|seed| catch_unwind(AssertUnwindSafe(|| live(*seed))).is_err())
        .map(|seed| seed.to_string())
        .collect();
    let (count, list) = (failed.len(), failed.join(" "));
    assert!(
        failed.is_empty(),
        "{count} seeds broke the law: {list}; one again: ONRECORD_SEED=n cargo test --test sim"
    );
}

/// Tests run side by side: halves use both processors.
#[derive(Clone, Copy)]
pub enum Share {
    All,
    FirstHalf,
    SecondHalf,
}

#[test]
fn two_hundred_worlds_keep_the_law_first_half() {
    try_all(Share::FirstHalf, live);
}

#[test]
fn two_hundred_worlds_keep_the_law_second_half() {
    try_all(Share::SecondHalf, live);
}
