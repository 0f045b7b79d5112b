//! Looking into a segment from outside: what calls are in it, and is it sound? Safe while it is being written.

use std::collections::BTreeMap;

use crate::model::{Header, SessionId, Timestamp};

use super::extent::{EXTENT_BYTES_MAX, EXTENT_MAGIC, ExtentError, ExtentView, Tag};
use super::seal::{FILE_HEADER_BYTES, parse_file_header};
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

/// Reads through a partial of this call: its extents lie end to end. What follows the last of them is a write under way,
/// or the manifest of a call that is about to be sealed.
pub fn survey_partial<S: Store>(mut store: S, session: SessionId) -> Result<Survey, SpoolError> {
    let mut head = [0; FILE_HEADER_BYTES];
    if store.read_at(0, &mut head)? < FILE_HEADER_BYTES {
        return Ok(Survey::default());
    }
    let mut survey = Survey::default();
    let mut torn = None;
    match parse_file_header(&head) {
        Ok((found, _)) if found == session => {}
        Ok(_) => survey.damaged = Some(0),
        Err(_) => torn = Some(0),
    }
    let (mut at, mut window) = (FILE_HEADER_BYTES as u64, vec![0; WINDOW_BYTES]);
    loop {
        let got = store.read_at(at, &mut window)?;
        let last = got < WINDOW_BYTES;
        let mut used = 0;
        while let Some(rest) = window.get(used..got).filter(|rest| !rest.is_empty()) {
            let here = at + used as u64;
            match ExtentView::parse(rest) {
                Ok(extent) => {
                    let is_foreign = extent.header.session != session;
                    let torn = torn.take().or(is_foreign.then_some(here));
                    survey.damaged = survey.damaged.or(torn);
                    survey.note(&extent);
                    used += extent.header.bytes as usize;
                    survey.sound_bytes = at + used as u64;
                }
                Err(ExtentError::Truncated) if !last && used > 0 => break,
                Err(_) => {
                    torn = torn.or(Some(here));
                    used += next_magic(rest, last);
                }
            }
        }
        at += used as u64;
        if last {
            return Ok(survey);
        }
    }
}

/// How far it is to what may be the next extent; at least one byte.
fn next_magic(bytes: &[u8], last: bool) -> usize {
    let rest = bytes.get(1..).unwrap_or_default();
    let found = rest.windows(EXTENT_MAGIC.len()).position(|four| four == EXTENT_MAGIC);
    // A magic may begin in the last bytes of a window.
    let end = if last {
        bytes.len()
    } else {
        bytes.len().saturating_sub(EXTENT_MAGIC.len() - 1)
    };
    found.map_or(end, |at| at + 1).max(1)
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
