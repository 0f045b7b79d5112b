//! The keys of secure RTP (RFC 3711), on their way from signalling to the media plane. They are blanked when they are let go, and
//! nothing that is printed or serialized has them.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroize;

use super::{Handshake, IceLite};

/// Master key and salt of the longest suite.
pub const SRTP_MASTER_BYTES_MAX: usize = 44;
/// The longest Master Key Identifier that is read; the RFC allows 128 bytes, peers use one to four.
pub const MKI_BYTES_MAX: usize = 16;

/// How a stream is encrypted and authenticated (RFC 4568 §6.2, RFC 7714 §14.1).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SrtpSuite {
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

impl SrtpSuite {
    pub const ALL: [Self; 4] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// As `a=crypto` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    pub const fn key_bytes(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    pub const fn salt_bytes(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Of the master key with its salt, as `inline:` has them.
    pub const fn master_bytes(self) -> usize {
        self.key_bytes() + self.salt_bytes()
    }
}

/// A Master Key Identifier: so many bytes of every packet (RFC 3711 §3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mki {
    bytes: [u8; MKI_BYTES_MAX],
    length: u8,
}

impl Mki {
    /// `value` in `length` bytes, in network order. None if it has no room there, or the field is longer than is read.
    pub fn new(value: u128, length: usize) -> Option<Self> {
        if length == 0 || length > MKI_BYTES_MAX {
            return None;
        }
        let all = value.to_be_bytes();
        let (above, kept) = all.split_at(MKI_BYTES_MAX - length);
        if above.iter().any(|byte| *byte != 0) {
            return None;
        }
        let mut bytes = [0; MKI_BYTES_MAX];
        bytes.get_mut(..length)?.copy_from_slice(kept);
        Some(Self {
            bytes,
            length: u8::try_from(length).ok()?,
        })
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// One master key with its salt: what one side of a leg encrypts with.
#[derive(Clone, Eq, PartialEq)]
pub struct SrtpKey {
    suite: SrtpSuite,
    master: [u8; SRTP_MASTER_BYTES_MAX],
    mki: Option<Mki>,
}

impl SrtpKey {
    /// `master`: [`SrtpSuite::master_bytes`] bytes, the key before the salt. None if there are more or fewer.
    pub fn new(suite: SrtpSuite, master: &[u8], mki: Option<Mki>) -> Option<Self> {
        let mut key = Self {
            suite,
            master: [0; SRTP_MASTER_BYTES_MAX],
            mki,
        };
        (master.len() == suite.master_bytes()).then(|| key.master[..master.len()].copy_from_slice(master))?;
        Some(key)
    }

    pub const fn suite(&self) -> SrtpSuite {
        self.suite
    }

    pub fn key(&self) -> &[u8] {
        &self.master[..self.suite.key_bytes()]
    }

    pub fn salt(&self) -> &[u8] {
        &self.master[self.suite.key_bytes()..self.suite.master_bytes()]
    }

    pub fn master(&self) -> &[u8] {
        &self.master[..self.suite.master_bytes()]
    }

    pub const fn mki(&self) -> Option<&Mki> {
        self.mki.as_ref()
    }
}

impl Drop for SrtpKey {
    fn drop(&mut self) {
        self.master.zeroize();
    }
}

impl fmt::Debug for SrtpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpKey({}, …)", self.suite.as_str())
    }
}

/// A leg's side of an m-line that is encrypted between its peer and us.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LegKeys {
    /// What its peer encrypts with. None: not told yet, and nothing of it is taken.
    pub theirs: Option<Arc<SrtpKey>>,
    /// It may have done so in another call before: its rollover counters are told nowhere (RFC 4568 §6.4).
    pub is_carried: bool,
    /// What we encrypt with. None: nothing is sent.
    pub ours: Option<Arc<SrtpKey>>,
    /// Both come from this handshake, and are none before it is done.
    pub handshake: Option<Arc<Handshake>>,
}

/// What of an m-line is between a leg's peer and us.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LineKeys {
    /// The m-line's.
    pub index: u16,
    /// How A's leg is encrypted, and B's; None: in clear, or beyond us.
    pub legs: [Option<LegKeys>; 2],
    /// How A and B are reached; None: where their descriptions say.
    pub ice: [Option<Arc<IceLite>>; 2],
    /// Whose RTCP goes by its RTP port (RFC 5761). None: their own affair, RTCP crosses from port to port.
    pub muxed: Option<[bool; 2]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_length_of_its_suite_and_prints_nothing_of_itself() {
        for suite in SrtpSuite::ALL {
            let master = vec![0x41; suite.master_bytes()];
            let key = SrtpKey::new(suite, &master, None).expect("a key");
            assert_eq!(
                (key.key().len(), key.salt().len()),
                (suite.key_bytes(), suite.salt_bytes())
            );
            assert_eq!(SrtpKey::new(suite, &master[1..], None), None);
            assert_eq!(SrtpKey::new(suite, &[0; 45], None), None);
            let told = format!("{key:?}");
            assert!(
                !told.contains("41, ") && !told.contains("65") && !told.contains("AAAA"),
                "{told}"
            );
        }
    }

    #[test]
    fn an_mki_fills_its_bytes_or_is_none() {
        assert_eq!(Mki::new(1, 4).expect("an MKI").as_bytes(), [0, 0, 0, 1]);
        assert_eq!(Mki::new(256, 1), None);
        assert_eq!(Mki::new(1, 0), None);
        assert_eq!(Mki::new(1, 17), None);
        assert_eq!(Mki::new(u128::MAX, 16).expect("an MKI").as_bytes(), [0xff; 16]);
    }
}
