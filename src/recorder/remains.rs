//! What a recovery has found of one call.

use super::io::{File, SegmentId, Span};

/// An extent in a segment.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) ordinal: u32,
    pub(super) lsn: u64,
    pub(super) span: Span,
    /// Has the closing record.
    pub(super) closes: bool,
}

#[derive(Debug, Default)]
pub(super) struct Remains {
    pub(super) extents: Vec<Piece>,
    /// (attempt, bytes).
    pub(super) partials: Vec<(u32, u64)>,
}

impl Remains {
    /// In order of the chain. A call that was opened, given up, and then kept as a record has two openings: what is older
    /// than the newest is another life, and left out.
    pub(super) fn sort(&mut self) {
        self.partials.sort_unstable();
        let openings = self.extents.iter().filter(|piece| piece.ordinal == 0);
        let newest = openings.map(|piece| piece.lsn).max().unwrap_or(0);
        self.extents.retain(|piece| piece.lsn >= newest);
        self.extents.sort_unstable_by_key(|piece| (piece.ordinal, piece.lsn));
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = SegmentId> {
        self.extents.iter().filter_map(|piece| match piece.span.file {
            File::Segment(segment) => Some(segment),
            _ => None,
        })
    }

    /// From the opening to the closing record, all of it is in segments that could be read. Takes them sorted.
    pub(super) fn is_whole(&self) -> bool {
        let mut next = 0;
        for piece in &self.extents {
            if piece.ordinal > next {
                return false;
            }
            next = next.max(piece.ordinal.saturating_add(1));
        }
        self.extents.iter().any(|piece| piece.closes)
    }
}
