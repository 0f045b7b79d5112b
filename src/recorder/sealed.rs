//! A sealed call, read back: facts at once, frames streaming, and a check that names the first thing wrong.

use bytes::Bytes;

use crate::model::{Header, SessionId};

use super::chain::{Chain, Step};
use super::extent::{EXTENT_HEADER_BYTES, ExtentError, ExtentView, Link, RawFrames, claimed_bytes};
use super::frame::Frame;
use super::manifest::{Counts, Manifest};
use super::seal::{self, FILE_HEADER_BYTES, HeaderError, MANIFEST_BYTES_MAX, SealKind, TRAILER_BYTES, TrailerFacts};
use super::store::{Store, StoreError};
use super::stored::{Stored, decode, unhex};

/// Read at once while streaming.
const WINDOW_BYTES: usize = 256 << 10;

/// What is wrong with a sealed call. Offsets are bytes from the start of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cut off at byte {offset}")]
    Truncated { offset: u64 },
    #[error("not a sealed call (byte 0)")]
    NotSealed,
    #[error("damaged file header (byte 0)")]
    FileHeader,
    #[error("file format version {0} is newer than this program (byte 8)")]
    Version(u16),
    #[error("seal kind {0} is newer than this program (byte 10)")]
    Kind(u16),
    #[error("damaged trailer at byte {offset}")]
    Trailer { offset: u64 },
    #[error("damaged manifest at byte {offset}")]
    Manifest { offset: u64 },
    #[error("manifest at byte {offset} does not match its SHA-256")]
    Digest { offset: u64 },
    #[error("damaged extent at byte {offset}: {error}")]
    Extent { offset: u64, error: ExtentError },
    #[error("extent of call {session} at byte {offset}")]
    Foreign { offset: u64, session: SessionId },
    #[error("extent {expected} is missing at byte {offset}: found {found}")]
    Missing { offset: u64, expected: u32, found: u32 },
    #[error("extent at byte {offset} does not continue the hash chain")]
    Chain { offset: u64 },
    #[error("{what}: manifest says {stated}, file holds {found} (byte {offset})")]
    Count {
        what: &'static str,
        stated: u64,
        found: u64,
        offset: u64,
    },
}

impl SealError {
    /// The first byte that is wrong.
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Store(StoreError { offset })
            | Self::Truncated { offset }
            | Self::Trailer { offset }
            | Self::Manifest { offset }
            | Self::Digest { offset }
            | Self::Extent { offset, .. }
            | Self::Foreign { offset, .. }
            | Self::Missing { offset, .. }
            | Self::Chain { offset }
            | Self::Count { offset, .. } => *offset,
            Self::NotSealed | Self::FileHeader => 0,
            Self::Version(_) => 8,
            Self::Kind(_) => 10,
        }
    }
}

/// A sealed call whose manifest has been read and matches its SHA-256; the extents have not been looked at yet.
#[derive(Debug)]
pub struct SealedCall<S> {
    store: S,
    session: SessionId,
    manifest: Box<Manifest>,
    /// The head of the chain as the manifest states it.
    chain: Link,
    extents_end: u64,
}

impl<S: Store> SealedCall<S> {
    /// The call that the file says it is, by header and trailer alone: neither cut off nor another kind of file, and no
    /// more is said than that.
    pub fn peek(store: &mut S) -> Result<SessionId, SealError> {
        Ends::read(store).map(|ends| ends.session)
    }

    /// Reads header, manifest and trailer.
    pub fn open(mut store: S) -> Result<Self, SealError> {
        let Ends {
            session,
            head,
            trailer,
            facts,
            manifest_at,
        } = Ends::read(&mut store)?;
        let mut json = vec![0; facts.manifest_bytes as usize];
        read_all(&mut store, manifest_at, &mut json)?;
        let broken = SealError::Manifest { offset: manifest_at };
        let manifest: Box<Manifest> = serde_json::from_slice(&json).map_err(|_| broken)?;
        let chain = unhex(&manifest.chain).ok_or(broken)?;
        if seal::digest(&head, &chain, &json, &trailer) != facts.digest {
            return Err(SealError::Digest { offset: manifest_at });
        }
        if manifest.session != session || manifest.counts.bytes != facts.extents_bytes {
            return Err(broken);
        }
        Ok(Self {
            store,
            session,
            manifest,
            chain,
            extents_end: manifest_at,
        })
    }

    pub fn session(&self) -> SessionId {
        self.session
    }

    pub fn header(&self) -> &Header {
        &self.manifest.header
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The frames in the order stored: a leg's packets in order of arrival; packets and signals of one commit (200 ms)
    /// may be out of order among each other. Memory does not grow with the call. Each extent's CRC is checked, the
    /// chain is not: that is `verify`.
    pub fn frames(&mut self) -> Frames<'_, S> {
        Frames {
            extents: Extents::new(&mut self.store, self.extents_end),
            current: None,
            failed: false,
        }
    }

    /// Checks every byte, and gives what was counted. The error is the first thing wrong.
    pub fn verify(&mut self) -> Result<Counts, SealError> {
        let manifest = &self.manifest;
        let mut chain = Chain::new();
        let mut extents = Extents::new(&mut self.store, self.extents_end);
        while let Some((offset, bytes)) = extents.next_extent()? {
            let at = |error| SealError::Extent { offset, error };
            let view = ExtentView::parse(&bytes).map_err(at)?;
            if view.header.session != self.session {
                let session = view.header.session;
                return Err(SealError::Foreign { offset, session });
            }
            let (expected, found) = (chain.next(), view.header.ordinal);
            match chain.push(&view).map_err(at)? {
                Step::Follows => {}
                Step::Breaks if chain.breaks.last() == manifest.breaks.get(chain.breaks.len() - 1) => {}
                Step::Breaks if found > expected => {
                    return Err(SealError::Missing {
                        offset,
                        expected,
                        found,
                    });
                }
                Step::Breaks | Step::Repeats => return Err(SealError::Chain { offset }),
            }
        }
        let offset = self.extents_end;
        compare(manifest, &chain, offset)?;
        if chain.head() != self.chain {
            return Err(SealError::Chain { offset });
        }
        Ok(chain.counts)
    }
}

/// The first and the last bytes of the file, which agree on its length.
struct Ends {
    session: SessionId,
    head: seal::FileHeader,
    trailer: seal::Trailer,
    facts: TrailerFacts,
    manifest_at: u64,
}

impl Ends {
    fn read<S: Store>(store: &mut S) -> Result<Self, SealError> {
        let size = store.size()?;
        let mut head = [0; FILE_HEADER_BYTES];
        read_all(store, 0, &mut head)?;
        let (session, SealKind::Plain) = seal::parse_file_header(&head).map_err(|error| match error {
            HeaderError::Magic => SealError::NotSealed,
            HeaderError::Checksum => SealError::FileHeader,
            HeaderError::Version(version) => SealError::Version(version),
            HeaderError::Kind(kind) => SealError::Kind(kind),
        })?;
        let smallest = (FILE_HEADER_BYTES + TRAILER_BYTES) as u64;
        let trailer_at = size.checked_sub(TRAILER_BYTES as u64).filter(|_| size >= smallest);
        let trailer_at = trailer_at.ok_or(SealError::Truncated { offset: size })?;
        let mut trailer = [0; TRAILER_BYTES];
        read_all(store, trailer_at, &mut trailer)?;
        let wrong = SealError::Trailer { offset: trailer_at };
        let facts = seal::parse_trailer(&trailer).ok_or(wrong)?;
        let manifest_at = (FILE_HEADER_BYTES as u64)
            .checked_add(facts.extents_bytes)
            .ok_or(wrong)?;
        let manifest_end = manifest_at.checked_add(u64::from(facts.manifest_bytes));
        if manifest_end != Some(trailer_at) || facts.manifest_bytes as usize > MANIFEST_BYTES_MAX {
            return Err(wrong);
        }
        Ok(Self {
            session,
            head,
            trailer,
            facts,
            manifest_at,
        })
    }
}

/// Does the manifest count what the file holds?
fn compare(manifest: &Manifest, chain: &Chain, offset: u64) -> Result<(), SealError> {
    let (stated, found) = (&manifest.counts, &chain.counts);
    let pairs = [
        ("extents", stated.extents, found.extents),
        ("bytes", stated.bytes, found.bytes),
        ("frames", stated.frames, found.frames),
        ("packets", stated.packets, found.packets),
        ("RTP packets", stated.rtp, found.rtp),
        ("RTCP packets", stated.rtcp, found.rtcp),
        ("other packets", stated.other, found.other),
        ("signals", stated.signals, found.signals),
        ("marks", stated.marks, found.marks),
        ("packets stored", manifest.reconciliation.stored, found.packets),
        ("streams", manifest.streams.len() as u64, chain.streams.len() as u64),
        ("chain breaks", manifest.breaks.len() as u64, chain.breaks.len() as u64),
    ];
    let streams = manifest
        .streams
        .iter()
        .zip(&chain.streams)
        .map(|(s, f)| ("stream packets", s.packets, f.packets));
    for (what, stated, found) in pairs.into_iter().chain(streams) {
        if stated != found {
            let error = SealError::Count {
                what,
                stated,
                found,
                offset,
            };
            return Err(error);
        }
    }
    Ok(())
}

fn read_all<S: Store>(store: &mut S, offset: u64, buffer: &mut [u8]) -> Result<(), SealError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let got = store.read_at(offset + filled as u64, &mut buffer[filled..])?;
        if got == 0 {
            let offset = offset + filled as u64;
            return Err(SealError::Truncated { offset });
        }
        filled += got;
    }
    Ok(())
}

/// The extents between file header and manifest, one at a time.
#[derive(Debug)]
struct Extents<'a, S> {
    store: &'a mut S,
    /// Of the next extent, in the file.
    at: u64,
    end: u64,
    window: Bytes,
}

impl<'a, S: Store> Extents<'a, S> {
    fn new(store: &'a mut S, end: u64) -> Self {
        Self {
            store,
            at: FILE_HEADER_BYTES as u64,
            end,
            window: Bytes::new(),
        }
    }

    /// At least `bytes` bytes in the window, or an error.
    fn fill(&mut self, bytes: usize) -> Result<(), SealError> {
        if self.window.len() >= bytes {
            return Ok(());
        }
        let left = self.end - self.at;
        if (bytes as u64) > left {
            return Err(SealError::Extent {
                offset: self.at,
                error: ExtentError::Truncated,
            });
        }
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.max(WINDOW_BYTES));
        let mut window = vec![0; wanted];
        read_all(self.store, self.at, &mut window)?;
        self.window = window.into();
        Ok(())
    }

    /// The next extent's place and bytes, neither checked but for its length.
    fn next_extent(&mut self) -> Result<Option<(u64, Bytes)>, SealError> {
        if self.at >= self.end {
            return Ok(None);
        }
        self.fill(EXTENT_HEADER_BYTES)?;
        let offset = self.at;
        let bytes = claimed_bytes(&self.window).map_err(|error| SealError::Extent { offset, error })?;
        self.fill(bytes)?;
        let extent = self.window.split_to(bytes);
        self.at += bytes as u64;
        Ok(Some((offset, extent)))
    }
}

/// Frames of a sealed call; ends after the first error.
#[derive(Debug)]
pub struct Frames<'a, S> {
    extents: Extents<'a, S>,
    current: Option<(u64, Bytes, usize, u32)>,
    failed: bool,
}

impl<S: Store> Frames<'_, S> {
    fn read(&mut self) -> Result<Option<Frame>, SealError> {
        loop {
            let Some((offset, bytes, at, left)) = self.current.take() else {
                let Some((offset, bytes)) = self.extents.next_extent()? else {
                    return Ok(None);
                };
                let view = ExtentView::parse(&bytes).map_err(|error| SealError::Extent { offset, error })?;
                let left = view.header.frames;
                self.current = Some((offset, bytes, EXTENT_HEADER_BYTES, left));
                continue;
            };
            let mut frames = RawFrames::resume(&bytes, at, left);
            let Some(frame) = frames.next() else {
                continue;
            };
            let raw = frame.map_err(|error| SealError::Extent { offset, error })?;
            let malformed = SealError::Extent {
                offset,
                error: ExtentError::Frame(raw.offset),
            };
            let stored = decode(&bytes, &raw).ok_or(malformed)?;
            let (at, left) = frames.position();
            self.current = Some((offset, bytes, at, left));
            if let Stored::Frame(frame) = stored {
                return Ok(Some(frame));
            }
        }
    }
}

impl<S: Store> Iterator for Frames<'_, S> {
    type Item = Result<Frame, SealError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let frame = self.read().transpose();
        self.failed = matches!(frame, Some(Err(_)));
        frame
    }
}

#[cfg(test)]
mod tests;
