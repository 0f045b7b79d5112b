//! The hash functions of the registry (RFC 7616 §6.1) that we compute.

use std::fmt::Write;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

/// Weakest first: of several challenges the greatest is answered.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    Md5,
    Sha256,
    Sha512_256,
}

/// The names, without the suffix of the session variants.
const NAMES: [(&str, Algorithm); 3] = [
    ("MD5", Algorithm::Md5),
    ("SHA-256", Algorithm::Sha256),
    ("SHA-512-256", Algorithm::Sha512_256),
];

impl Algorithm {
    /// The function and whether it is the session variant (`SHA-256-sess`); None for what we cannot compute.
    pub(super) fn parse(name: &str) -> Option<(Self, bool)> {
        let is_suffix = |at: &usize| name.get(*at..).is_some_and(|end| end.eq_ignore_ascii_case("-sess"));
        let end = name.len().checked_sub("-sess".len()).filter(is_suffix);
        let plain = end.and_then(|end| name.get(..end)).unwrap_or(name);
        let (_, algorithm) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(plain))?;
        Some((*algorithm, end.is_some()))
    }

    /// `H(parts joined by ":")` in lower-case hexadecimal (RFC 8760 §2.2).
    pub(super) fn hash(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 => hash::<Md5>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha512_256 => hash::<Sha512_256>(parts),
        }
    }
}

fn hash<D: Digest>(parts: &[&[u8]]) -> String {
    let mut hasher = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest.iter() {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}
