//! Dialogs by the thousand, on every processor: each from its seed, each alone, each told in full when it breaks the law.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::coverage::{MUST_HAVES, RARITIES, Tally};
use super::process::Policies;
use super::world::run;

/// Seeds of the slice that every test run takes.
const SLICE: u64 = 3_000;
/// Seeds that meet what is rare, too.
const RARE: u64 = 100_000;
/// Seeds that broke the law once, and by what.
const BROKEN_ONCE: [(u64, &str); 5] = [
    (
        30_277_275,
        "the 2xx of a re-INVITE to a transferor that hung up was not acknowledged",
    ),
    (20_741_909, "a transferor awaited its last NOTIFY without a recorder"),
    (40_603_399, "the same, with that NOTIFY on its way"),
    (40_763_355, "two phones died, and nothing was due"),
    (
        300_414_549,
        "an answer had a line that its offer had not: it was refused to the other side before",
    ),
];
/// Seeds that a thread takes at a time.
const CHUNK: u64 = 64;
/// Broken seeds that are told in full.
const TOLD_MAX: usize = 3;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

#[derive(Default)]
struct Ledger {
    tally: Tally,
    /// Seed → what it broke.
    broken: BTreeMap<u64, Vec<String>>,
}

/// Runs a seed; a panic of the product is broken law too.
fn judge(seed: u64, policies: &Policies, ledger: &mut Ledger) {
    match catch_unwind(AssertUnwindSafe(|| run(seed, policies, false))) {
        Ok(verdict) => {
            ledger.tally.add(&verdict.seen);
            if !verdict.broken.is_empty() {
                ledger.broken.insert(seed, verdict.broken);
            }
        }
        Err(_) => {
            ledger.broken.insert(seed, vec!["panicked".to_owned()]);
        }
    }
}

fn judge_all(first: u64, count: u64) -> Ledger {
    let policies = Policies::compile();
    let (next, all) = (AtomicU64::new(0), Mutex::new(Ledger::default()));
    let work = || {
        let mut ledger = Ledger::default();
        loop {
            let from = next.fetch_add(CHUNK, Ordering::Relaxed);
            if from >= count {
                break;
            }
            for seed in from..(from + CHUNK).min(count) {
                judge(first + seed, &policies, &mut ledger);
            }
        }
        let mut all = all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.tally.merge(&ledger.tally);
        all.broken.append(&mut ledger.broken);
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    all.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// By the law that was broken: how often, and the first seed.
fn summary(broken: &BTreeMap<u64, Vec<String>>) -> String {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (seed, what) in broken {
        for what in what {
            let kind = what.split(':').next().unwrap_or_default();
            kinds.entry(kind.to_owned()).or_insert((0, *seed)).0 += 1;
        }
    }
    let lines = kinds
        .iter()
        .map(|(kind, (count, seed))| format!("{count:8} × {kind}\n           {}\n", replay(*seed)));
    lines.collect()
}

/// The command that tells a seed message by message.
fn replay(seed: u64) -> String {
    format!("ONRECORD_DIALOG={seed} cargo test --test interleavings every -- --nocapture")
}

fn tell(seed: u64, policies: &Policies) -> String {
    let verdict = run(seed, policies, true);
    let (ladder, broken) = (verdict.ladder.join("\n"), verdict.broken.join("\n"));
    format!("seed {seed}\n{ladder}\n{broken}\nonce more: {}\n", replay(seed))
}

#[test]
fn every_interleaving_keeps_the_law() {
    if let Some(seed) = number("ONRECORD_DIALOG") {
        let policies = Policies::compile();
        let told = tell(seed, &policies);
        println!("{told}");
        assert!(
            run(seed, &policies, false).broken.is_empty(),
            "seed {seed} breaks the law"
        );
        return;
    }
    let count = number("ONRECORD_DIALOGS").unwrap_or(SLICE);
    let first = number("ONRECORD_DIALOGS_FROM").unwrap_or(0);
    let ledger = judge_all(first, count);
    println!("{}", ledger.tally.table(count));
    println!(
        "{count} dialogs from seed {first}: {} broke the law",
        ledger.broken.len()
    );
    let policies = Policies::compile();
    let told = ledger
        .broken
        .keys()
        .take(TOLD_MAX)
        .filter_map(|seed| catch_unwind(AssertUnwindSafe(|| tell(*seed, &policies))).ok());
    let told = told.collect::<Vec<String>>().join("\n");
    let broken = ledger.broken.len();
    assert!(
        ledger.broken.is_empty(),
        "{told}\n{}{broken} of {count} seeds broke the law",
        summary(&ledger.broken)
    );
    if count >= SLICE {
        let rarities = if count >= RARE { RARITIES } else { &[] };
        let missing = ledger.tally.missing(&[MUST_HAVES, rarities].concat());
        assert!(missing.is_empty(), "never met in {count} dialogs: {missing:?}");
    }
}

#[test]
fn what_broke_the_law_once_keeps_it() {
    let policies = Policies::compile();
    for (seed, by) in BROKEN_ONCE {
        let verdict = run(seed, &policies, false);
        assert!(
            verdict.broken.is_empty(),
            "{by}: {:?}\n{}",
            verdict.broken,
            replay(seed)
        );
    }
}

#[test]
fn the_same_seed_is_the_same_dialog() {
    let policies = Policies::compile();
    for seed in [1, 77, 4_242] {
        let (first, second) = (run(seed, &policies, true), run(seed, &policies, true));
        assert!(first.ladder.len() > 2);
        assert_eq!(first.ladder, second.ladder);
    }
}
