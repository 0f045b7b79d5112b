//! Changes seeds the way hostile senders do: flips, cuts, insertions, repeats, lengths that lie.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const BYTES_MAX: usize = 70_000;
/// Values that parsers trip over: sign and length limits, separators.
const INTERESTING: [&[u8]; 12] = [
    b"\x00",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80\x00",
    b"\r\n",
    b"\r\n\r\n",
    b"\"",
    b"<",
    b";=",
    b"4294967296",
    b"\xc3\x28",
];

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no seeds");
    files
        .iter()
        .map(|file| std::fs::read(file).expect("readable"))
        .collect()
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = rng.below(bytes.len() + 1);
    match rng.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        1 if at < bytes.len() => bytes[at] = rng.below(256) as u8,
        2 => bytes.truncate(at),
        3 => {
            let piece = INTERESTING[rng.below(INTERESTING.len())];
            let end = (at + piece.len()).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        4 => {
            let piece = INTERESTING[rng.below(INTERESTING.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        5 => {
            let end = (at + rng.below(32)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + rng.below(64)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            let times = if rng.below(50) == 0 { 500 } else { 1 + rng.below(4) };
            bytes.splice(at..at, piece.repeat(times));
        }
        _ => {
            let other = &seeds[rng.below(seeds.len())];
            let from = rng.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
    bytes.truncate(BYTES_MAX);
}

/// Runs `target` on every seed as it is, and on `rounds` mutants of them. What fails is printed as hexadecimal.
pub fn hammer(name: &str, rounds: usize, target: fn(&[u8])) {
    let seeds = seeds(name);
    let mut rng = Rng(7);
    let attempt = |bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{name} failed on {} bytes: {hex}", bytes.len());
        }
    };
    seeds.iter().for_each(|seed| attempt(seed));
    attempt(&[]);
    for _ in 0..rounds {
        let mut bytes = seeds[rng.below(seeds.len())].clone();
        for _ in 0..=rng.below(6) {
            mutate(&mut rng, &mut bytes, &seeds);
        }
        attempt(&bytes);
    }
}
