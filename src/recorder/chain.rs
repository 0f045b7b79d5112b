//! Reading one call's extents in order: does each follow from the one before, and what do they hold?

use std::time::Duration;

use crate::model::{
    Closing, Consented, Header, LeftOut, LeftOutSpan, Leg, Mark, PausedSpan, Ssrc, Timestamp, Withholding,
};

use super::extent::{CHAIN_START, ExtentError, ExtentView, Link, RawFrame, Tag, sha256};
use super::frame::PacketKind;
use super::manifest::{ChainBreak, Counts, StoredStream};
use super::stored::{self, decode_mark, hex};

/// Streams that are told apart.
const STREAMS_MAX: usize = 64;
/// Gaps and breaks that are listed.
const GAPS_MAX: usize = 1024;
/// Bytes of the fixed RTP header (RFC 3550 §5.1).
const RTP_HEADER_BYTES: usize = 12;

/// How an extent relates to those before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Follows,
    /// Taken, but what should be before it is missing or another: a break was noted.
    Breaks,
    /// An extent with this ordinal, or a later one, was taken before: left out.
    Repeats,
}

/// What has been read of a call so far. Its size does not grow with the call.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    next: u32,
    head: Link,
    pub(super) counts: Counts,
    pub(super) streams: Vec<StoredStream>,
    pub(super) breaks: Vec<ChainBreak>,
    pub(super) gaps: Vec<(Timestamp, Duration)>,
    gap_since: Option<Timestamp>,
    pub(super) pauses: Vec<PausedSpan>,
    paused_since: Option<Timestamp>,
    pub(super) left_out: Vec<LeftOutSpan>,
    /// Of leg A, of leg B: what is not kept, why, and since when.
    leaving_out: [Option<(LeftOut, Withholding, Timestamp)>; 2],
    pub(super) consents: Vec<Consented>,
    pub(super) opening: Option<Box<Header>>,
    pub(super) closing: Option<Box<Closing>>,
    pub(super) answered: Option<Timestamp>,
    pub(super) last_at: Option<Timestamp>,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            head: CHAIN_START,
            counts: Counts::default(),
            streams: Vec::new(),
            breaks: Vec::new(),
            gaps: Vec::new(),
            gap_since: None,
            pauses: Vec::new(),
            paused_since: None,
            left_out: Vec::new(),
            leaving_out: [None, None],
            consents: Vec::new(),
            opening: None,
            closing: None,
            answered: None,
            last_at: None,
        }
    }

    /// SHA-256 of the last extent.
    pub(super) fn head(&self) -> Link {
        self.head
    }

    /// The ordinal that should come next.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Takes the next extent of the call.
    pub(super) fn push(&mut self, extent: &ExtentView<'_>) -> Result<Step, ExtentError> {
        let header = &extent.header;
        if header.ordinal < self.next {
            return Ok(Step::Repeats);
        }
        let follows = header.ordinal == self.next && header.previous == self.head;
        let mut told = Vec::new();
        for frame in extent.frames() {
            let frame = frame?;
            if let Some(news) = read(&frame)? {
                told.push((frame.at, news));
            }
        }
        for frame in extent.frames().flatten() {
            self.count(&frame);
        }
        for (at, news) in told {
            self.take(at, news);
        }
        if !follows && self.breaks.len() < GAPS_MAX {
            self.breaks.push(ChainBreak {
                after: self.next.checked_sub(1),
                head: hex(&self.head),
                next: header.ordinal,
            });
        }
        self.next = header.ordinal.saturating_add(1);
        self.head = sha256(extent.bytes);
        self.counts.extents += 1;
        self.counts.bytes += extent.bytes.len() as u64;
        Ok(if follows { Step::Follows } else { Step::Breaks })
    }

    fn count(&mut self, frame: &RawFrame<'_>) {
        self.counts.frames += 1;
        self.last_at = self.last_at.max(Some(frame.at));
        match frame.tag {
            Tag::Packet(kind) => self.count_packet(frame, kind),
            Tag::Signal => self.counts.signals += 1,
            Tag::Mark => self.counts.marks += 1,
            Tag::Opening | Tag::Closing => {}
        }
    }

    fn take(&mut self, at: Timestamp, news: News) {
        match news {
            News::Mark(mark) => self.note(at, &mark),
            News::Opening(header) => self.opening = Some(header),
            News::Closing(closing) => self.closing = Some(closing),
        }
    }

    fn count_packet(&mut self, frame: &RawFrame<'_>, kind: PacketKind) {
        match kind {
            PacketKind::Rtp => self.counts.rtp += 1,
            PacketKind::Rtcp => self.counts.rtcp += 1,
            PacketKind::Other => self.counts.other += 1,
            PacketKind::Withheld => return,
        }
        self.counts.packets += 1;
        if kind == PacketKind::Rtp
            && let Some(head) = frame.payload.first_chunk::<RTP_HEADER_BYTES>()
        {
            let ssrc = Ssrc(u32::from_be_bytes([head[8], head[9], head[10], head[11]]));
            self.count_stream(frame.leg, frame.line, ssrc, head[1] & 0x7f, frame.at);
        }
    }

    fn count_stream(&mut self, leg: Leg, line: u16, ssrc: Ssrc, payload_type: u8, at: Timestamp) {
        let known = self
            .streams
            .iter_mut()
            .find(|s| (s.ssrc, s.leg, s.line) == (ssrc, leg, line));
        if let Some(stream) = known {
            stream.packets += 1;
            stream.first = stream.first.min(at);
            stream.last = stream.last.max(at);
        } else if self.streams.len() < STREAMS_MAX {
            self.streams.push(StoredStream {
                leg,
                line,
                ssrc,
                payload_type,
                packets: 1,
                first: at,
                last: at,
            });
        }
    }

    fn note(&mut self, at: Timestamp, mark: &Mark) {
        match mark {
            Mark::Answered => self.answered = self.answered.or(Some(at)),
            Mark::GapOpened { .. } => self.gap_since = self.gap_since.or(Some(at)),
            Mark::GapClosed { .. } => self.end_gap(at),
            Mark::RecordingPaused { .. } => self.paused_since = self.paused_since.or(Some(at)),
            Mark::RecordingResumed { .. } => self.end_pause(at),
            Mark::LeftOut { leg, what, why } => {
                self.end_left_out(*leg, at);
                let begins = (*what != LeftOut::Nothing).then(|| (what.clone(), *why, at));
                self.leaving_out[leg.index()] = begins;
            }
            Mark::Consent { leg, consent, waiver } => Consented {
                leg: *leg,
                consent: *consent,
                at,
                waiver: waiver.clone(),
            }
            .note(&mut self.consents),
            Mark::Media(_)
            | Mark::Held { .. }
            | Mark::Resumed { .. }
            | Mark::Connected { .. }
            | Mark::Learned { .. }
            | Mark::Noticed(_)
            | Mark::Unnoticed { .. }
            | Mark::Indicated { .. }
            | Mark::Preferred { .. }
            | Mark::Health(_)
            | Mark::Note(_) => {}
        }
    }

    /// A pause that is still on ends here.
    pub(super) fn end_pause(&mut self, at: Timestamp) {
        if let Some(since) = self.paused_since.take()
            && self.pauses.len() < GAPS_MAX
        {
            self.pauses.push((since, at.since(since)));
        }
    }

    /// What is left out of this leg is so until here.
    pub(super) fn end_left_out(&mut self, leg: Leg, at: Timestamp) {
        if let Some((what, why, from)) = self.leaving_out[leg.index()].take()
            && self.left_out.len() < GAPS_MAX
        {
            let length = at.since(from);
            self.left_out.push(LeftOutSpan {
                leg,
                what,
                why,
                from,
                length,
            });
        }
    }

    /// A gap that is still open ends here.
    pub(super) fn end_gap(&mut self, at: Timestamp) {
        if let Some(since) = self.gap_since.take()
            && self.gaps.len() < GAPS_MAX
        {
            self.gaps.push((since, at.since(since)));
        }
    }
}

/// What a frame that is no packet says of the call.
enum News {
    Mark(Mark),
    Opening(Box<Header>),
    Closing(Box<Closing>),
}

/// None: nothing but itself. An error: what has to be JSON is not our JSON.
fn read(frame: &RawFrame<'_>) -> Result<Option<News>, ExtentError> {
    let read = match frame.tag {
        Tag::Packet(_) => return Ok(None),
        Tag::Signal if stored::split_signal(frame.payload).is_some() => return Ok(None),
        Tag::Signal => None,
        Tag::Mark => decode_mark(frame.payload).map(News::Mark),
        Tag::Opening => serde_json::from_slice(frame.payload).ok().map(News::Opening),
        Tag::Closing => serde_json::from_slice(frame.payload).ok().map(News::Closing),
    };
    read.map(Some).ok_or(ExtentError::Frame(frame.offset))
}
