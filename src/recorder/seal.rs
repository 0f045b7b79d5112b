//! The frame of a sealed call's file: its first 64 bytes, its manifest and its last 64 bytes (docs/JOURNAL.md §5).
//!
//! A signature or a cipher is announced by the kind in the file header ([`SealKind`]) and lies between manifest and
//! trailer; this is the one place for it.

use sha2::{Digest, Sha256};

use crate::model::SessionId;

use super::extent::Link;
use super::manifest::Manifest;
use super::stored::json;

pub(super) const FILE_HEADER_BYTES: usize = 64;
pub(super) const TRAILER_BYTES: usize = 64;
/// A manifest is never longer: a reader refuses to believe a greater length.
pub(super) const MANIFEST_BYTES_MAX: usize = 4 << 20;

const FILE_MAGIC: [u8; 8] = *b"ONRCALL1";
const TRAILER_MAGIC: [u8; 8] = *b"ONRSEAL1";
const VERSION: u16 = 1;

/// How a sealed call is protected beyond its hashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealKind {
    /// Hash chain and SHA-256, neither signed nor encrypted.
    Plain,
}

impl SealKind {
    const fn to_wire(self) -> u16 {
        match self {
            Self::Plain => 0,
        }
    }

    const fn from_wire(wire: u16) -> Option<Self> {
        match wire {
            0 => Some(Self::Plain),
            _ => None,
        }
    }
}

pub(super) type FileHeader = [u8; FILE_HEADER_BYTES];
pub(super) type Trailer = [u8; TRAILER_BYTES];

/// The first bytes of a sealed call, and of a partial.
pub(super) fn file_header(session: SessionId, kind: SealKind) -> FileHeader {
    let mut head = [0; FILE_HEADER_BYTES];
    head[0..8].copy_from_slice(&FILE_MAGIC);
    head[8..10].copy_from_slice(&VERSION.to_le_bytes());
    head[10..12].copy_from_slice(&kind.to_wire().to_le_bytes());
    head[16..32].copy_from_slice(&session.as_u128().to_le_bytes());
    let crc = crc32c::crc32c(&head[..60]);
    head[60..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// Why the first bytes are not those of a sealed call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeaderError {
    Magic,
    Checksum,
    Version(u16),
    Kind(u16),
}

pub(super) fn parse_file_header(head: &FileHeader) -> Result<(SessionId, SealKind), HeaderError> {
    if head[0..8] != FILE_MAGIC {
        return Err(HeaderError::Magic);
    }
    if head[60..] != crc32c::crc32c(&head[..60]).to_le_bytes() {
        return Err(HeaderError::Checksum);
    }
    let version = u16::from_le_bytes([head[8], head[9]]);
    if version != VERSION {
        return Err(HeaderError::Version(version));
    }
    let kind = u16::from_le_bytes([head[10], head[11]]);
    let kind = SealKind::from_wire(kind).ok_or(HeaderError::Kind(kind))?;
    let mut session = [0; 16];
    session.copy_from_slice(&head[16..32]);
    Ok((SessionId::from_u128(u128::from_le_bytes(session)), kind))
}

/// What the last bytes say about the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TrailerFacts {
    pub(super) manifest_bytes: u32,
    pub(super) extents_bytes: u64,
    pub(super) digest: Link,
}

pub(super) fn parse_trailer(trailer: &Trailer) -> Option<TrailerFacts> {
    let (magic, rest) = trailer.split_first_chunk::<8>()?;
    let (manifest_bytes, rest) = rest.split_first_chunk::<4>()?;
    let extents_bytes = rest.get(4..)?.first_chunk::<8>()?;
    let digest = trailer.last_chunk::<32>()?;
    (*magic == TRAILER_MAGIC).then_some(TrailerFacts {
        manifest_bytes: u32::from_le_bytes(*manifest_bytes),
        extents_bytes: u64::from_le_bytes(*extents_bytes),
        digest: *digest,
    })
}

/// SHA-256 over file header, head of the chain, manifest and trailer: with the chain it covers every byte.
pub(super) fn digest(head: &FileHeader, chain: &Link, manifest: &[u8], trailer: &Trailer) -> Link {
    let mut hash = Sha256::new();
    hash.update(head);
    hash.update(chain);
    hash.update(manifest);
    hash.update(&trailer[..32]);
    hash.finalize().into()
}

/// Manifest and trailer: what follows the extents.
pub(super) fn closing_bytes(manifest: &Manifest, chain: &Link) -> Vec<u8> {
    let mut bytes = json(manifest);
    let mut trailer = [0; TRAILER_BYTES];
    trailer[0..8].copy_from_slice(&TRAILER_MAGIC);
    trailer[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    trailer[16..24].copy_from_slice(&manifest.counts.bytes.to_le_bytes());
    let head = file_header(manifest.session, SealKind::Plain);
    let digest = digest(&head, chain, &bytes, &trailer);
    trailer[32..].copy_from_slice(&digest);
    bytes.extend_from_slice(&trailer);
    bytes
}
