//! `a=crypto`: a key for SRTP, told in the description (RFC 4568).

use zeroize::Zeroize;

use crate::model::{Mki, SRTP_MASTER_BYTES_MAX, SrtpKey, SrtpSuite};

/// Crypto lines of one m-line that are understood; those behind are as if they named suites that we do not know.
pub const CRYPTO_LINES_MAX: usize = 16;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// One crypto line that can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Crypto {
    /// Names the line in offer and answer.
    pub tag: u32,
    pub key: SrtpKey,
}

impl Crypto {
    /// The value of `a=crypto`. None: it cannot be used, and another line may (RFC 4568 §5.1.2). That is: another suite, several keys,
    /// a key of another length, a derivation rate, FEC, and whatever leaves a stream unencrypted or unauthenticated.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next()?;
        let is_tag = (1..=9).contains(&tag.len()) && tag.bytes().all(|c| c.is_ascii_digit());
        let tag = is_tag.then(|| tag.parse().ok()).flatten()?;
        let suite = words.next()?;
        let suite = SrtpSuite::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(suite))?;
        let key = key(suite, words.next()?)?;
        words.all(is_harmless).then_some(Self { tag, key })
    }

    /// As it stands in a description, without line ending.
    pub fn write(&self, out: &mut String) {
        use std::fmt::Write;
        let _ = write!(out, "a=crypto:{} {} inline:", self.tag, self.key.suite().as_str()); // a String takes everything
        for chunk in self.key.master().chunks(3) {
            let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or_default());
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for digit in 0..4 {
                let is_there = digit <= chunk.len();
                let place = (bits >> (18 - 6 * digit)) as usize & 63;
                out.push(if is_there { char::from(DIGITS[place]) } else { '=' });
            }
        }
    }
}

/// One `inline` key (RFC 4568 §6.1). Its lifetime is for who encrypts with it to observe.
fn key(suite: SrtpSuite, text: &str) -> Option<SrtpKey> {
    const METHOD: &str = "inline:";
    let method = text
        .get(..METHOD.len())
        .filter(|method| method.eq_ignore_ascii_case(METHOD))?;
    let mut parts = text.get(method.len()..)?.split('|');
    let encoded = parts.next()?;
    let (mut mki, mut is_aged) = (None, false);
    for part in parts {
        match part.split_once(':') {
            Some((value, length)) if mki.is_none() => {
                mki = Some(Mki::new(number(value)?, usize::try_from(number(length)?).ok()?)?);
            }
            None if !is_aged && mki.is_none() && is_lifetime(part) => is_aged = true,
            _ => return None,
        }
    }
    let mut master = [0; SRTP_MASTER_BYTES_MAX];
    let key = decode(encoded, &mut master).and_then(|length| SrtpKey::new(suite, master.get(..length)?, mki));
    master.zeroize();
    key
}

fn number(text: &str) -> Option<u128> {
    let is_number = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// `2^20`, or a number of packets.
fn is_lifetime(text: &str) -> bool {
    number(text.strip_prefix("2^").unwrap_or(text)).is_some_and(|packets| packets > 0)
}

/// Session parameters that ask nothing of us (RFC 4568 §6.3): a window size is a hint, what is unknown and optional begins with a hyphen,
/// and a derivation rate of none is what we do.
fn is_harmless(parameter: &str) -> bool {
    let has_name = |name: &str| {
        let start = parameter.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    has_name("WSH=") || has_name("-")
}

/// The length, if `text` is base64 and has room (RFC 4648 §4). Padding may be missing, as it often is.
fn decode(text: &str, out: &mut [u8]) -> Option<usize> {
    let digits = text.trim_end_matches('=').as_bytes();
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let (mut bits, mut count, mut length) = (0_u32, 0, 0);
    for digit in digits {
        let value = DIGITS.iter().position(|known| known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            *out.get_mut(length)? = (bits >> count) as u8;
            length += 1;
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn the_example_of_the_rfc_is_read_and_written_as_it_was() {
        let crypto = Crypto::parse(EXAMPLE).expect("a key");
        assert_eq!(crypto.key.master(), b"YS___semctl () {\t220;}\n}\nunles");
        let mut out = String::new();
        crypto.write(&mut out);
        assert_eq!(out, format!("a=crypto:{EXAMPLE}"));
        let aged = Crypto::parse(&format!("{EXAMPLE}|2^20|1:4 WSH=128 -X")).expect("a key");
        assert_eq!(aged.key.mki().map(Mki::as_bytes), Some(&[0, 0, 0, 1][..]));
        assert!(Crypto::parse(&format!("{EXAMPLE}|1:4")).is_some());
        assert!(Crypto::parse(&format!("{EXAMPLE}|1000")).is_some());
    }

    #[test]
    fn what_we_cannot_do_is_no_key() {
        let other = |from: &str, to: &str| EXAMPLE.replace(from, to);
        for value in [
            String::new(),
            other("1 ", "x "),
            other("1 A", "1234567890 A"),
            other("AES_CM_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_80"),
            other("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"),
            other("inline:", "uri:"),
            other("bGVz", "bGV"),
            other("bGVz", "b*Vz"),
            format!("{EXAMPLE};inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"),
            format!("{EXAMPLE}|2^20|2^20"),
            format!("{EXAMPLE}|1:4|2^20"),
            format!("{EXAMPLE}|1:200"),
            format!("{EXAMPLE} KDR=1"),
            format!("{EXAMPLE} UNENCRYPTED_SRTCP"),
            format!("{EXAMPLE} UNAUTHENTICATED_SRTP"),
            format!("{EXAMPLE} FEC_ORDER=FEC_SRTP"),
        ] {
            assert_eq!(Crypto::parse(&value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_key_is_read_as_it_was_written(tag in 0..999_999_999_u32, suite in 0..4_usize, seed in any::<[u8; 44]>()) {
            let suite = SrtpSuite::ALL[suite];
            let key = SrtpKey::new(suite, &seed[..suite.master_bytes()], None).expect("a key");
            let crypto = Crypto { tag, key };
            let mut out = String::new();
            crypto.write(&mut out);
            let value = out.strip_prefix("a=crypto:").expect("the attribute");
            prop_assert_eq!(Crypto::parse(value), Some(crypto.clone()));
            prop_assert_eq!(Crypto::parse(value.trim_end_matches('=')), Some(crypto));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}", tail in "[ -~]{0,40}") {
            Crypto::parse(&text);
            Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{tail}"));
            Crypto::parse(&format!("{EXAMPLE}|{tail}"));
        }
    }
}
