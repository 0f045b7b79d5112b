//! Flow tokens (RFC 5626 §5.2): what the user part of a Path says of the flow that a registration came by. Nobody without
//! the key can make one, and it is good for one holder alone.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

/// Of HMAC-SHA-256 so much is written (RFC 2104 §5 wants half at least).
const MAC_BYTES: usize = 16;
/// The block of SHA-256.
const BLOCK_BYTES: usize = 64;
/// What a token may stand for; longer ones are not ours.
const TEXT_BYTES_MAX: usize = 64;

/// What tokens are made and known by.
#[derive(Clone, Eq, PartialEq)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// For a process that keeps none: as hard to guess as its tags.
    pub fn of_seed(seed: u64) -> Self {
        Self(Sha256::digest(seed.to_be_bytes()).into())
    }

    /// A token in lower-case hexadecimal that stands for `text`, and only when `holder` shows it. None: `text` is too long.
    pub fn seal(&self, text: &[u8], holder: &str) -> Option<String> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut token = String::with_capacity(2 * (text.len() + MAC_BYTES));
        for byte in text.iter().chain(&self.mac(text, holder)) {
            // Writing to a String cannot fail.
            let _infallible = write!(token, "{byte:02x}");
        }
        Some(token)
    }

    /// What a token stands for that `holder` shows. None: we made no such token, or not for this holder.
    pub fn open(&self, token: &str, holder: &str) -> Option<Vec<u8>> {
        if token.len() > 2 * (TEXT_BYTES_MAX + MAC_BYTES) {
            return None;
        }
        let mut bytes = unhex(token)?;
        let mac = bytes.split_off(bytes.len().checked_sub(MAC_BYTES)?);
        // Every byte is looked at: how long it takes tells nothing.
        let differs = self
            .mac(&bytes, holder)
            .iter()
            .zip(&mac)
            .fold(0, |all, (a, b)| all | (a ^ b));
        (differs == 0).then_some(bytes)
    }

    fn mac(&self, text: &[u8], holder: &str) -> [u8; MAC_BYTES] {
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        let whole = hmac(&self.0, &[&[length], text, holder.as_bytes()]);
        let mut mac = [0; MAC_BYTES];
        mac.iter_mut().zip(whole).for_each(|(byte, of)| *byte = of);
        mac
    }
}

/// HMAC-SHA-256 (RFC 2104 §2) of the parts in a row.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK_BYTES];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Sha256::new_with_prefix(padded(0x36));
    parts.iter().for_each(|part| inner.update(part));
    let outer = Sha256::new_with_prefix(padded(0x5c)).chain_update(inner.finalize());
    outer.finalize().into()
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mac_is_hmac_sha_256() {
        // RFC 4231 §4.2: a key shorter than a block is the same with zeros behind it.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let mac = hmac(&key, &[b"Hi ", b"There"]);
        assert_eq!(mac[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
        assert_eq!(mac[28..], [0x2e, 0x32, 0xcf, 0xf7]);
    }

    #[test]
    fn a_token_opens_for_its_holder_by_its_key_and_unchanged_alone() {
        let key = TokenKey::new([7; 32]);
        let token = key.seal(b"a flow", "carrier").unwrap();
        assert_eq!(key.open(&token, "carrier").as_deref(), Some(&b"a flow"[..]));
        assert_eq!(key.open(&token, "pbx"), None);
        assert_eq!(TokenKey::new([8; 32]).open(&token, "carrier"), None);
        for at in 0..token.len() {
            let other = if token.as_bytes()[at] == b'0' { "1" } else { "0" };
            let mut changed = token.clone();
            changed.replace_range(at..=at, other);
            assert_eq!(key.open(&changed, "carrier"), None, "{changed}");
        }
        assert_eq!(key.seal(&[0; TEXT_BYTES_MAX + 1], "carrier"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_shown_never_panics_and_never_opens(token in ".{0,200}") {
            prop_assert_eq!(TokenKey::new([7; 32]).open(&token, "carrier"), None);
        }
    }
}
