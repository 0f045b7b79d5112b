//! One call being sealed: its extents read in order, checked, and written to its partial.

use bytes::Bytes;

use crate::model::{Closing, Header, SessionId, Timestamp};

use super::chain::{Chain, Step};
use super::extent::{EXTENT_BYTES_MAX, EXTENT_MAGIC, ExtentError, ExtentView};
use super::io::{File, IoId, IoOp, Lane, Span};
use super::manifest::{Manifest, conclude};
use super::output::Outbox;
use super::seal::{FILE_HEADER_BYTES, SealKind, closing_bytes, file_header};

/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;

/// What is in a call's partial.
#[derive(Clone, Debug)]
pub(super) struct Transcript {
    pub(super) attempt: u32,
    /// Bytes in the partial, file header included; 0: there is none yet.
    pub(super) written: u64,
    pub(super) chain: Chain,
}

impl Transcript {
    pub(super) fn new(attempt: u32) -> Self {
        Self {
            attempt,
            written: 0,
            chain: Chain::new(),
        }
    }
}

/// How a call ends when its extents do not say so themselves.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// Of a non-recording record, which has no extents.
    pub(super) header: Option<Box<Header>>,
    pub(super) closing: Option<Box<Closing>>,
    pub(super) recovered: bool,
}

/// A call to be sealed or, without an ending, to be moved out of its segments.
#[derive(Debug)]
pub(super) struct SealJob {
    pub(super) session: SessionId,
    /// In order. A span of a segment is one extent; a span of a partial is any part of its extents.
    sources: Vec<Span>,
    pub(super) transcript: Transcript,
    /// The attempt that the next partial is numbered with.
    pub(super) attempts: u32,
    /// How often it failed, and failed by reading.
    pub(super) tries: u32,
    pub(super) failures: u32,
    pub(super) ending: Option<Ending>,
    /// What the segments among the sources begin with: extents from there on are not looked for behind damage.
    spooled_from: u32,
    /// Extents behind all sources, from memory: those that the journal did not take.
    pub(super) tail: Bytes,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Reading,
    Writing,
    /// All written; waits for a group to be synced.
    Written,
    Syncing,
    Synced,
    Publishing,
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) job: SealJob,
    pub(super) phase: Phase,
    pub(super) attempt: u32,
    /// The next source to read.
    source: usize,
    /// What the read in flight is for.
    pub(super) parts: Vec<Span>,
    /// The start of an extent whose end is in the next part.
    pub(super) carry: Vec<u8>,
    /// The newest partial among the sources: what is behind damage in an older one may be whole in this one.
    newest: Option<File>,
    /// Something that is no extent was met in the newest partial.
    damaged: bool,
    pub(super) transcript: Transcript,
    pub(super) manifest: Option<Box<Manifest>>,
    pub(super) ended: bool,
}

impl SealJob {
    pub(super) fn new(session: SessionId, sources: Vec<Span>, ending: Option<Ending>) -> Self {
        Self {
            session,
            sources,
            transcript: Transcript::new(0),
            attempts: 0,
            tries: 0,
            failures: 0,
            ending,
            spooled_from: u32::MAX,
            tail: Bytes::new(),
        }
    }

    /// The segments among the sources begin with this ordinal; a partial may have it, too.
    pub(super) fn spooled_from(mut self, ordinal: u32) -> Self {
        self.spooled_from = ordinal;
        self
    }

    /// Ends with extents that no segment has. What is read before them is read from a disk that may be down: that is
    /// tried for ever.
    pub(super) fn with_tail(mut self, tail: Bytes) -> Self {
        self.tail = tail;
        self
    }

    /// Goes on in a partial that holds the call's beginning.
    pub(super) fn resume(mut self, transcript: Transcript) -> Self {
        self.attempts = transcript.attempt;
        self.transcript = transcript;
        self
    }

    /// Partials up to this attempt exist already.
    pub(super) fn after_attempt(mut self, attempt: u32) -> Self {
        self.attempts = attempt + 1;
        self.transcript.attempt = attempt + 1;
        self
    }

    /// The beginning is read back from the partial, which is not written to again.
    pub(super) fn restart_from_partial(&mut self) {
        let (session, attempt) = (self.session, self.transcript.attempt);
        let mut offset = FILE_HEADER_BYTES as u64;
        let mut sources = Vec::new();
        while offset < self.transcript.written {
            let left = self.transcript.written - offset;
            let bytes = u32::try_from(left).unwrap_or(u32::MAX).min(READ_BYTES as u32);
            let file = File::Partial { session, attempt };
            sources.push(Span { file, offset, bytes });
            offset += u64::from(bytes);
        }
        sources.append(&mut self.sources);
        self.sources = sources;
        self.transcript = Transcript {
            attempt,
            ..Transcript::new(attempt)
        };
    }
}

impl Active {
    pub(super) fn new(job: SealJob) -> Self {
        let mut partials = job.sources.iter().rev().map(|span| span.file);
        let newest = partials.find(|file| matches!(file, File::Partial { .. }));
        let mut transcript = job.transcript.clone();
        transcript.attempt = job.attempts;
        Self {
            phase: Phase::Reading,
            attempt: job.attempts,
            source: 0,
            parts: Vec::new(),
            carry: Vec::new(),
            newest,
            damaged: false,
            transcript,
            manifest: None,
            ended: false,
            job,
        }
    }

    /// Reads on, or writes the end when there is nothing left to read.
    pub(super) fn proceed(&mut self, now: Timestamp, software: &str, out: &mut Outbox) -> IoId {
        self.parts.clear();
        let mut bytes = 0;
        // After failures one by one, so that no more is given up than must be.
        let at_once = if self.job.failures == 0 { READ_BYTES } else { 0 };
        while let Some(span) = self.job.sources.get(self.source) {
            bytes += span.bytes as usize;
            if !self.parts.is_empty() && bytes > at_once {
                break;
            }
            self.parts.push(*span);
            self.source += 1;
        }
        if self.parts.is_empty() {
            return self.write(now, software, Vec::new(), out);
        }
        self.phase = Phase::Reading;
        let parts = self.parts.clone();
        out.io(Lane::Archive, IoOp::Read { parts })
    }

    /// Everything has been read.
    pub(super) fn is_last(&self) -> bool {
        self.source >= self.job.sources.len()
    }

    /// The extents among `parts` that are sound and continue the call, end to end.
    pub(super) fn take(&mut self, parts: &[Bytes]) -> Vec<u8> {
        let mut kept = Vec::new();
        let spans = std::mem::take(&mut self.parts);
        let next = self.job.sources.get(self.source).copied();
        let following = spans.iter().skip(1).copied().map(Some).chain([next]);
        for ((span, part), following) in spans.iter().zip(parts).zip(following) {
            match span.file {
                File::Partial { .. } => {
                    self.carry.extend_from_slice(part);
                    let last = following.is_none_or(|following| following.file != span.file);
                    self.take_carried(span.file, last, &mut kept);
                }
                File::Segment(_) | File::Sealed(_) | File::Catalog | File::Report(_) => {
                    if let Ok(extent) = ExtentView::parse(part) {
                        keep(&mut self.transcript.chain, self.job.session, &extent, &mut kept);
                    }
                }
            }
        }
        kept
    }

    /// Where no sound extent is, the next one is looked for: damage in a partial costs what is damaged and no more. It shows
    /// as a break. What another source may have whole is left to that. `last`: nothing more comes of this file.
    fn take_carried(&mut self, file: File, last: bool, kept: &mut Vec<u8>) {
        let carry = std::mem::take(&mut self.carry);
        let mut rest = carry.as_slice();
        while !rest.is_empty() {
            match ExtentView::parse(rest) {
                Ok(extent) => {
                    if !self.damaged || extent.header.ordinal < self.job.spooled_from {
                        keep(&mut self.transcript.chain, self.job.session, &extent, kept);
                    }
                    rest = &rest[extent.bytes.len()..];
                }
                Err(ExtentError::Truncated) if !last && rest.len() < EXTENT_BYTES_MAX => break,
                Err(_) if Some(file) != self.newest => rest = &[],
                Err(_) => {
                    self.damaged = true;
                    rest = from_next_magic(rest);
                }
            }
        }
        self.carry = rest.to_vec();
    }

    fn take_tail(&mut self, kept: &mut Vec<u8>) {
        let mut rest = &self.job.tail[..];
        while let Ok(extent) = ExtentView::parse(rest) {
            keep(&mut self.transcript.chain, self.job.session, &extent, kept);
            rest = &rest[extent.bytes.len()..];
        }
    }

    /// Writes `bytes`, behind the file header if they are the first, and before the manifest if they are the last.
    pub(super) fn write(&mut self, now: Timestamp, software: &str, bytes: Vec<u8>, out: &mut Outbox) -> IoId {
        let mut all = bytes;
        self.ended = self.is_last();
        if self.ended {
            self.take_tail(&mut all);
        }
        if self.transcript.written == 0 {
            let head = file_header(self.job.session, SealKind::Plain);
            all.splice(0..0, head);
        }
        let offset = self.transcript.written;
        self.transcript.written += all.len() as u64;
        if self.ended
            && let Some(ending) = &self.job.ending
        {
            let manifest = conclude(now, software, self.job.session, &mut self.transcript.chain, ending);
            all.extend_from_slice(&closing_bytes(&manifest, &self.transcript.chain.head()));
            self.manifest = Some(Box::new(manifest));
        }
        self.phase = Phase::Writing;
        let file = File::Partial {
            session: self.job.session,
            attempt: self.attempt,
        };
        let bytes = all.into();
        out.io(Lane::Archive, IoOp::Write { file, offset, bytes })
    }
}

/// From the next place on where an extent may start; that may be cut off by the end.
fn from_next_magic(bytes: &[u8]) -> &[u8] {
    let starts = |at: &usize| {
        let start = &bytes[*at..bytes.len().min(at + EXTENT_MAGIC.len())];
        EXTENT_MAGIC.starts_with(start)
    };
    let at = (1..bytes.len()).find(starts).unwrap_or(bytes.len());
    &bytes[at..]
}

fn keep(chain: &mut Chain, session: SessionId, extent: &ExtentView<'_>, kept: &mut Vec<u8>) {
    if extent.header.session == session && matches!(chain.push(extent), Ok(Step::Follows | Step::Breaks)) {
        kept.extend_from_slice(extent.bytes);
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::extent::{CHAIN_START, Extent, Tag};
    use super::*;
    use crate::model::Leg;

    const SESSION: SessionId = SessionId::from_u128(1_763_800_000_123 << 80 | 5);

    fn partial(session: SessionId) -> File {
        File::Partial { session, attempt: 0 }
    }

    /// Ten extents of a call, end to end, and where each starts.
    fn extents() -> (Vec<u8>, Vec<usize>) {
        let (mut all, mut starts, mut head) = (BytesMut::new(), Vec::new(), CHAIN_START);
        for ordinal in 0..10 {
            starts.push(all.len());
            let mut extent = Extent::with_capacity(300);
            extent.reset(0, SESSION, Timestamp::ZERO);
            extent.push(
                Timestamp::ZERO,
                Tag::Packet(crate::recorder::PacketKind::Rtp),
                Leg::A,
                0,
                &[&[7; 200]],
            );
            head = extent.seal_into(&mut all, u64::from(ordinal), ordinal, head);
        }
        (all.to_vec(), starts)
    }

    /// How many extents are found in the parts of a partial, and how many breaks.
    fn taken(bytes: &[u8], part: usize, spooled_from: u32) -> (u64, usize) {
        let parts: Vec<Bytes> = bytes.chunks(part).map(Bytes::copy_from_slice).collect();
        let spans = parts.iter().enumerate().map(|(place, bytes)| Span {
            file: partial(SESSION),
            offset: (place * part) as u64,
            bytes: bytes.len() as u32,
        });
        let mut active = Active::new(SealJob::new(SESSION, spans.collect(), None).spooled_from(spooled_from));
        for part in parts {
            active.parts = vec![active.job.sources[active.source]];
            active.source += 1;
            active.take(&[part]);
        }
        assert!(active.carry.is_empty(), "the end of the file");
        (
            active.transcript.chain.counts.extents,
            active.transcript.chain.breaks.len(),
        )
    }

    #[test]
    fn damage_in_a_partial_costs_the_extent_that_it_is_in() {
        let (whole, starts) = extents();
        for part in [1, 97, 1000, whole.len()] {
            assert_eq!(taken(&whole, part, 4), (10, 0), "whole, in parts of {part}");
            // In the magic, the length (which then claims more than there is) and the frames.
            for (at, bit) in [(0, 1), (10, 4), (150, 1)] {
                let mut damaged = whole.clone();
                damaged[starts[4] + at] ^= bit;
                assert_eq!(taken(&damaged, part, 7), (6, 1), "the segments have the rest");
                assert_eq!(taken(&damaged, part, u32::MAX), (9, 1), "at +{at}, in parts of {part}");
            }
        }
    }

    #[test]
    fn what_is_left_of_one_partial_does_not_spoil_the_next() {
        let (whole, starts) = extents();
        let span = |attempt, bytes: &[u8]| Span {
            file: File::Partial {
                session: SESSION,
                attempt,
            },
            offset: 0,
            bytes: bytes.len() as u32,
        };
        let parts = [&whole[..starts[3] + 100], &whole[..]];
        let spans = parts
            .iter()
            .zip(0..)
            .map(|(bytes, attempt)| span(attempt, bytes))
            .collect();
        let mut active = Active::new(SealJob::new(SESSION, spans, None));
        active.parts = active.job.sources.clone();
        active.source = 2;
        active.take(&parts.map(Bytes::copy_from_slice));
        assert_eq!(active.transcript.chain.counts.extents, 10);
        assert_eq!(active.transcript.chain.breaks, []);
    }
}
