//! A segment's first block, and finding extents in what follows it, torn tail or not (docs/JOURNAL.md §2).

use super::extent::{EXTENT_MAGIC, ExtentError, ExtentView};
use super::io::SegmentId;

/// Every commit starts on a new block, so that no acknowledged byte is ever written again.
pub(super) const BLOCK_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"ONRSEG_1";

/// The first block: magic, volume, number, CRC32C.
pub(super) fn segment_header(segment: SegmentId) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    block[0..8].copy_from_slice(&MAGIC);
    block[8..16].copy_from_slice(&segment.number.to_le_bytes());
    block[16..18].copy_from_slice(&segment.volume.0.to_le_bytes());
    let crc = crc32c::crc32c(&block[..28]);
    block[28..32].copy_from_slice(&crc.to_le_bytes());
    block
}

/// The number in a segment's first block, if that is sound.
pub(super) fn parse_segment_header(block: &[u8]) -> Option<u64> {
    let head = block.first_chunk::<32>()?;
    let sound = head[0..8] == MAGIC && head[28..32] == crc32c::crc32c(&head[..28]).to_le_bytes();
    let number = head[8..].first_chunk::<8>()?;
    sound.then_some(u64::from_le_bytes(*number))
}

/// Walks over a segment, window by window, and finds every sound extent in it.
///
/// Extents lie end to end within a commit, and a commit starts on a block: where no sound extent is, the next block
/// is looked at. So a torn or damaged extent hides nothing behind it.
#[derive(Debug)]
pub(super) struct Walk {
    /// The next byte to look at.
    pub(super) at: u64,
    /// Behind the last sound extent.
    pub(super) sound: u64,
    /// The first byte of something that was meant to be an extent, behind the last sound one.
    pub(super) torn: Option<u64>,
    /// The first of these that had a sound extent behind it: no torn tail, but damage, or a commit that failed.
    pub(super) damaged: Option<u64>,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self {
            at: 0,
            sound: BLOCK_BYTES as u64,
            torn: None,
            damaged: None,
        }
    }

    /// Looks at the bytes from `self.at` on and says how many it is done with. `last`: nothing comes behind them.
    pub(super) fn over(&mut self, window: &[u8], last: bool, mut found: impl FnMut(u64, &ExtentView<'_>)) -> u64 {
        let start = self.at;
        loop {
            let at = usize::try_from(self.at - start).unwrap_or(usize::MAX);
            let Some(rest) = window.get(at..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            match ExtentView::parse(rest) {
                Ok(extent) => {
                    found(self.at, &extent);
                    self.damaged = self.damaged.or(self.torn.take());
                    self.at += u64::from(extent.header.bytes);
                    self.sound = self.at;
                }
                Err(ExtentError::Truncated) if !last && self.at > start => break,
                Err(_) => {
                    if rest.starts_with(&EXTENT_MAGIC) {
                        self.torn = self.torn.or(Some(self.at));
                    }
                    self.at = (self.at + 1).next_multiple_of(BLOCK_BYTES as u64);
                }
            }
        }
        self.at - start
    }
}
