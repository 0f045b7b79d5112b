//! New tags, branches and Call-IDs from one seed: unguessable to who does not know it, the same for who does.

use std::fmt;

use super::via::MAGIC_COOKIE;

const BLOCK_WORDS: usize = 16;
/// "expand 32-byte k" (RFC 8439 §2.3).
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// A stream of random words (ChaCha20, RFC 8439 §2.3, keyed by the seed) and the identifiers made of them.
#[derive(Clone)]
pub struct Mint {
    key: [u32; 8],
    counter: u64,
    block: [u32; BLOCK_WORDS],
    used: usize,
}

/// Without what makes the stream.
impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mint(…)")
    }
}

impl Mint {
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 8];
        key[0] = (seed >> 32) as u32;
        key[1] = seed as u32;
        Self {
            key,
            counter: 0,
            block: [0; BLOCK_WORDS],
            used: BLOCK_WORDS,
        }
    }

    /// By a whole key.
    pub fn of_secret(secret: [u8; 32]) -> Self {
        let mut mint = Self::new(0);
        for (word, bytes) in mint.key.iter_mut().zip(secret.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        mint
    }

    /// Another stream, of this name. Neither tells anything of the other.
    #[must_use]
    pub fn offspring(&self, name: u128) -> Self {
        let mut key = self.key;
        key[7] ^= u32::from_be_bytes(*b"keys"); // not a block of the stream itself
        let tail = [96, 64, 32, 0].map(|shift| (name >> shift) as u32);
        let block = chacha20(&key, tail);
        let mut offspring = Self::new(0);
        offspring.key.copy_from_slice(&block[..8]);
        offspring
    }

    /// For From and To: 64 bits (RFC 3261 §19.3 asks for 32).
    pub fn tag(&mut self) -> String {
        let mut tag = String::with_capacity(16);
        self.push_words(&mut tag, 2);
        tag
    }

    /// For Via, magic cookie included: 96 bits, for a forged response must guess it.
    pub fn branch(&mut self) -> String {
        let mut branch = String::with_capacity(MAGIC_COOKIE.len() + 24);
        branch.push_str(MAGIC_COOKIE);
        self.push_words(&mut branch, 3);
        branch
    }

    /// 128 bits, without a host (RFC 3261 §8.1.1.4 allows that; addresses of ours stay out of it).
    pub fn call_id(&mut self) -> String {
        let mut call_id = String::with_capacity(32);
        self.push_words(&mut call_id, 4);
        call_id
    }

    pub fn entropy(&mut self) -> u128 {
        u128::from(self.long()) << 64 | u128::from(self.long())
    }

    /// From 0 to `max`, both included.
    pub fn up_to(&mut self, max: u32) -> u32 {
        let product = u64::from(self.word()) * (u64::from(max) + 1);
        (product >> 32) as u32
    }

    /// In hexadecimal.
    fn push_words(&mut self, out: &mut String, words: usize) {
        for _ in 0..words {
            let word = self.word();
            let digit = |shift| char::from(b"0123456789abcdef"[(word >> shift) as usize & 15]);
            out.extend((0..u32::BITS).step_by(4).rev().map(digit));
        }
    }

    fn long(&mut self) -> u64 {
        u64::from(self.word()) << 32 | u64::from(self.word())
    }

    fn word(&mut self) -> u32 {
        if self.used >= BLOCK_WORDS {
            self.block = chacha20(&self.key, [self.counter as u32, (self.counter >> 32) as u32, 0, 0]);
            self.counter += 1;
            self.used = 0;
        }
        let word = self.block.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        word
    }
}

fn chacha20(key: &[u32; 8], tail: [u32; 4]) -> [u32; BLOCK_WORDS] {
    let mut initial = [0; BLOCK_WORDS];
    initial[..4].copy_from_slice(&CONSTANTS);
    initial[4..12].copy_from_slice(key);
    initial[12..].copy_from_slice(&tail);
    let mut state = initial;
    for _ in 0..10 {
        for column in 0..4 {
            quarter_round(&mut state, [column, column + 4, column + 8, column + 12]);
        }
        for diagonal in 0..4 {
            let [b, c, d] = [1, 2, 3].map(|row| 4 * row + (diagonal + row) % 4);
            quarter_round(&mut state, [diagonal, b, c, d]);
        }
    }
    for (word, first) in state.iter_mut().zip(initial) {
        *word = word.wrapping_add(first);
    }
    state
}

fn quarter_round(state: &mut [u32; BLOCK_WORDS], [a, b, c, d]: [usize; 4]) {
    for (sum, addend, turned, bits) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        state[sum] = state[sum].wrapping_add(state[addend]);
        state[turned] = (state[turned] ^ state[sum]).rotate_left(bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_chacha20() {
        // RFC 8439 §2.3.2.
        let key = [
            0x0302_0100,
            0x0706_0504,
            0x0b0a_0908,
            0x0f0e_0d0c,
            0x1312_1110,
            0x1716_1514,
            0x1b1a_1918,
            0x1f1e_1d1c,
        ];
        let block = chacha20(&key, [1, 0x0900_0000, 0x4a00_0000, 0]);
        assert_eq!(block[..4], [0xe4e7_f110, 0x1559_3bd1, 0x1fdd_0f50, 0xc471_20a3]);
        assert_eq!(block[15], 0x4e3c_50a2);
    }

    #[test]
    fn an_offspring_is_named_by_its_parent_and_its_name_alone() {
        let mut parent = Mint::of_secret([7; 32]);
        let draw = |mint: &Mint, name| mint.offspring(name).entropy();
        let (one, two) = (draw(&parent, 1), draw(&parent, 2));
        assert_ne!(one, two);
        let own = parent.entropy();
        assert_eq!(draw(&parent, 1), one, "what the parent draws changes nothing");
        assert!(own != one && own != two);
        assert_ne!(draw(&Mint::of_secret([8; 32]), 1), one);
    }

    #[test]
    fn one_seed_gives_one_sequence_and_another_seed_another() {
        let draw = |seed| {
            let mut mint = Mint::new(seed);
            [mint.tag(), mint.branch(), mint.call_id(), mint.tag()]
        };
        assert_eq!(draw(7), draw(7));
        assert!(draw(7).iter().zip(draw(8)).all(|(a, b)| *a != b));
        assert_ne!(draw(7)[0], draw(7)[3]);
        assert!(draw(7)[1].starts_with("z9hG4bK"));
    }
}
