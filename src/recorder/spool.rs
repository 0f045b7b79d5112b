//! Looking into a segment from outside: what calls are in it, and is it sound? Safe while it is being written.

use std::collections::BTreeMap;

use crate::model::{Header, SessionId, Timestamp};

use super::extent::{EXTENT_BYTES_MAX, ExtentView, Tag};
use super::seal::FILE_HEADER_BYTES;
use super::segment::{BLOCK_BYTES, Walk, parse_segment_header};
use super::store::{Store, StoreError};

/// Bytes of one read: any extent fits.
const WINDOW_BYTES: usize = 4 << 20;

/// What a segment holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    pub extents: u64,
    pub calls: BTreeMap<SessionId, SpooledCall>,
    /// Where the last sound extent ends.
    pub sound_bytes: u64,
    /// The first damaged byte that sound extents follow. A torn end is no damage: it is a commit under way, or one that
    /// a crash cut off.
    pub damaged: Option<u64>,
}

/// A call with extents in a segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpooledCall {
    /// If its opening record is in this segment.
    pub header: Option<Box<Header>>,
    pub packets: u64,
    pub last_at: Timestamp,
}

/// Why a file cannot be surveyed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SpoolError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its first block is written with its first commit.
    #[error("not a segment, or one that was never written to")]
    NotASegment,
}

/// Reads a segment through.
pub fn survey<S: Store>(mut store: S) -> Result<Survey, SpoolError> {
    let size = store.size()?;
    let mut block = [0; BLOCK_BYTES];
    let got = store.read_at(0, &mut block)?;
    parse_segment_header(block.get(..got).unwrap_or_default()).ok_or(SpoolError::NotASegment)?;
    let mut survey = Survey::default();
    let mut walk = Walk::new();
    let mut window = vec![0; WINDOW_BYTES];
    loop {
        let got = store.read_at(walk.at, &mut window)?;
        let last = got < WINDOW_BYTES || walk.at + got as u64 >= size;
        let used = walk.over(&window[..got], last, |_, extent| survey.note(extent));
        if last || used == 0 {
            break;
        }
    }
    survey.sound_bytes = walk.sound;
    survey.damaged = walk.damaged;
    Ok(survey)
}

/// The opening record at the start of a partial, of a long call whose segments are gone.
pub fn partial_opening<S: Store>(mut store: S) -> Option<Box<Header>> {
    let mut window = vec![0; EXTENT_BYTES_MAX];
    let got = store.read_at(FILE_HEADER_BYTES as u64, &mut window).ok()?;
    let extent = ExtentView::parse(window.get(..got)?).ok()?;
    let opening = extent
        .frames()
        .map_while(Result::ok)
        .find(|frame| frame.tag == Tag::Opening)?;
    serde_json::from_slice(opening.payload).ok()
}

impl Survey {
    fn note(&mut self, extent: &ExtentView<'_>) {
        self.extents += 1;
        let call = self.calls.entry(extent.header.session).or_default();
        call.last_at = call.last_at.max(extent.header.last_at);
        for frame in extent.frames().map_while(Result::ok) {
            match frame.tag {
                Tag::Packet(_) => call.packets += 1,
                Tag::Opening => call.header = serde_json::from_slice(frame.payload).ok(),
                Tag::Signal | Tag::Mark | Tag::Closing => {}
            }
        }
    }
}
