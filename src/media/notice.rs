//! Notices: how the parties of a session hear that it is recorded. We speak in the stream that a leg hears anyway.
//!
//! | | towards the leg that is told | the other way |
//! |---|---|---|
//! | a prompt | takes the far party's place | hushed too, if the plan parts them |
//! | a tone, G.711 and L16 in packets of 20 ms | is added to the far party's sound, and comes alone where there is none | untouched |
//! | a tone in another codec | takes the far party's place; telephone events pass | untouched |
//!
//! What is hushed is recorded all the same. What we said is in no recording as sound: a mark tells it ([`Notice`]).

mod stream;

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    CLIP_FRAME, Clip, Leg, LegNotice, LegPlan, LinePlan, MediaPlan, Notice, NoticeKind, NoticePlan, Rendition, Ssrc,
    Timestamp, Voice, earliest,
};
use crate::rtp::RtpHeader;
use crate::rtp::codecs::{pcma, pcmu, to_pcma, to_pcmu};

use stream::{HEADER_BYTES, Stream};

/// Before we begin: in it the far party's first packet tells which stream the leg hears.
const LISTEN: Duration = Duration::from_millis(100);
/// A far party that has not been heard for so long has nothing that a tone could be added to.
const SILENCE: Duration = Duration::from_millis(60);
/// How often it is tried again while nothing can be sent: a leg that holds, a gate that is shut.
const RETRY: Duration = Duration::from_millis(200);
/// A thread that was kept waiting for longer does not catch up, but goes on from there.
const LATE_MAX: Duration = Duration::from_millis(100);

const FRAMES_A_SECOND: u32 = 50;
/// RFC 4733 §7.1.1: the encoding name of telephone events.
const EVENTS: &str = "telephone-event";

/// What is played in one session.
#[derive(Debug)]
pub(super) struct Notices {
    plan: Box<NoticePlan>,
    speeches: [Speech; 2],
    ended: Vec<Notice>,
}

/// To one leg.
#[derive(Debug)]
struct Speech {
    leg: Leg,
    prompt: Option<Arc<Clip>>,
    tone: Option<(Arc<Clip>, Duration)>,
    playing: Option<Playing>,
    /// Of what comes next; with `playing`, of its next frame.
    due: Timestamp,
    /// Nothing can be sent now.
    stalled: bool,
    /// What the far party speaks in.
    payload_type: Option<u8>,
    /// Of the far party: the event that was hushed last while somebody was asked. It may be the answer, and all of it is ours.
    answer: Option<(Ssrc, u32)>,
    stream: Stream,
}

#[derive(Debug)]
struct Playing {
    clip: Arc<Clip>,
    kind: NoticeKind,
    voice: Voice,
    /// When its turn came.
    begun: Timestamp,
    /// Of its frames.
    next: usize,
    /// Of the first frame.
    from: Option<Timestamp>,
    /// Of the end of the newest.
    until: Timestamp,
}

/// What becomes of a packet of the far party.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Passage {
    AsIs,
    /// So many bytes of the scratch are sent in its place.
    Changed(usize),
    /// The leg does not get it.
    Hushed,
}

impl Notices {
    pub(super) fn new(now: Timestamp, plan: Box<NoticePlan>) -> Self {
        let session = plan.session;
        let speech = |leg: Leg| Speech {
            leg,
            prompt: None,
            tone: None,
            playing: None,
            due: now + LISTEN,
            stalled: false,
            payload_type: None,
            answer: None,
            stream: Stream::new(session, leg.index()),
        };
        let mut notices = Self {
            speeches: [speech(Leg::A), speech(Leg::B)],
            plan,
            ended: Vec::new(),
        };
        notices.take(now);
        notices
    }

    /// Another plan: what plays already plays on. Nothing, for a leg without a tone to end, ends its prompt.
    pub(super) fn renew(&mut self, now: Timestamp, plan: Box<NoticePlan>) {
        self.plan = plan;
        self.take(now);
    }

    fn take(&mut self, now: Timestamp) {
        for (speech, wanted) in self.speeches.iter_mut().zip(&mut self.plan.legs) {
            let Some(LegNotice { prompt, tone }) = wanted.take() else {
                continue;
            };
            if prompt.is_none() && tone.is_none() && speech.tone.is_none() {
                speech.prompt = None;
                self.ended.extend(speech.end(now, self.plan.line.index));
            }
            let is_new = prompt.is_some() || speech.tone.is_none();
            if is_new && speech.playing.is_none() {
                speech.due = now + LISTEN;
            }
            speech.prompt = prompt.or(speech.prompt.take());
            speech.tone = tone;
        }
    }

    /// Another plan of the media holds.
    pub(super) fn settle(&mut self, plan: &MediaPlan) {
        if let Some(line) = plan.lines.iter().find(|line| line.index == self.plan.line.index) {
            self.plan.line.clone_from(line);
        }
    }

    /// Of the line that is spoken on.
    pub(super) const fn line(&self) -> u16 {
        self.plan.line.index
    }

    /// When there is something to say, or to end.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if !self.ended.is_empty() {
            return Some(Timestamp::default());
        }
        let [a, b] = &self.speeches;
        earliest(a.due(), b.due())
    }

    pub(super) fn poll_ended(&mut self) -> Option<Notice> {
        self.ended.pop()
    }

    /// The session ends: what plays is broken off.
    pub(super) fn cut(&mut self, now: Timestamp) {
        let line = self.line();
        for speech in &mut self.speeches {
            self.ended.extend(speech.end(now, line));
        }
    }

    /// There is no such line, or not yet.
    pub(super) fn wait(&mut self, now: Timestamp) {
        for speech in &mut self.speeches {
            speech.stalled = true;
            speech.due = speech.due.max(now + RETRY);
        }
    }

    /// The next packet for a leg, in `packet`: its length. None: nothing is to be said to it now. `open`: it can be sent.
    pub(super) fn speak(&mut self, now: Timestamp, leg: Leg, open: bool, packet: &mut [u8]) -> Option<usize> {
        let speech = &mut self.speeches[leg.index()];
        if speech.due().is_none_or(|due| due > now) {
            return None;
        }
        speech.stalled = !open || self.plan.line.leg(leg).holds;
        if speech.stalled {
            speech.due = now + RETRY;
            return None;
        }
        if speech.playing.as_ref().is_some_and(Playing::is_over) {
            self.ended.extend(speech.end(now, self.plan.line.index));
            return None;
        }
        if speech.playing.is_none() {
            speech.playing = speech.choose(now, &self.plan.line);
            let playing = speech.playing.as_ref()?;
            let rendition = playing.rendition()?;
            speech.due = now;
            if !playing.is_prompt() && mix_of(rendition.encoding).is_some() {
                // Into what the far party says, if it speaks.
                speech.due = now + SILENCE;
                return None;
            }
        }
        speech.write(now, packet)
    }

    /// A packet of the far party, which is recorded already, on its way to `leg`: what arrived, or so many bytes of `scratch`. `asks`:
    /// somebody is asked whether it agrees.
    pub(super) fn pass(
        &mut self,
        now: Timestamp,
        (leg, asks): (Leg, bool),
        (bytes, opened): (&[u8], Option<usize>),
        scratch: &mut [u8],
    ) -> Passage {
        let packet = match opened {
            Some(length) => scratch.get(..length).unwrap_or_default(),
            None => bytes,
        };
        let Ok(header) = RtpHeader::parse(packet) else {
            return Passage::AsIs;
        };
        let is_parted = asks || self.plan.parted && self.speeches.iter().any(Speech::is_prompting);
        let LegPlan { formats, holds, .. } = self.plan.line.leg(leg);
        // Who receives chooses the numbers; some send by their own all the same.
        let described = formats.iter().chain(&self.plan.line.leg(leg.other()).formats);
        let format = described.into_iter().find(|format| format.0 == header.payload_type);
        let is_voice = format.is_none_or(|format| !format.1.eq_ignore_ascii_case(EVENTS));
        let speech = &mut self.speeches[leg.index()];
        if is_voice {
            speech.payload_type = Some(header.payload_type);
        }
        let is_answer = !is_voice && speech.is_of_answer(&header, asks);
        let tone = speech
            .playing
            .as_ref()
            .filter(|playing| !playing.is_prompt() && is_voice && !holds);
        let is_padded = packet.first().is_some_and(|first| first & 0x20 != 0);
        let mix = tone.filter(|_| !is_padded).and_then(|tone| tone.mix(&header));
        if is_parted
            || is_answer
            || speech.is_prompting()
            || tone.is_some_and(|tone| mix.is_none() && tone.payload().is_some())
        {
            let hertz = format.map_or(8_000, |format| format.2);
            speech.stream.hush(now, &header, hertz / FRAMES_A_SECOND);
            return Passage::Hushed;
        }
        let Some(numbers) = speech.stream.follow(now, &header, is_voice) else {
            return Passage::Hushed;
        };
        if numbers.is_of(&header) && mix.is_none() {
            return Passage::AsIs;
        }
        let (length, start) = (packet.len(), packet.len() - header.payload.len());
        if opened.is_none()
            && let Some(copy) = scratch.get_mut(..length)
        {
            copy.copy_from_slice(bytes);
        }
        let Some(packet) = scratch.get_mut(..length) else {
            return Passage::AsIs;
        };
        stream::renumber(numbers, packet);
        if let (Some(mix), Some(sound)) = (mix, packet.get_mut(start..)) {
            speech.add_tone(now, mix, sound);
        }
        Passage::Changed(length)
    }
}

impl Speech {
    const fn due(&self) -> Option<Timestamp> {
        if self.playing.is_some() || self.prompt.is_some() || self.tone.is_some() {
            Some(self.due)
        } else {
            None
        }
    }

    /// Whether a packet of an event belongs to one that began while somebody was asked.
    fn is_of_answer(&mut self, header: &RtpHeader<'_>, asks: bool) -> bool {
        let event = Some((header.ssrc, header.timestamp));
        if asks {
            self.answer = event;
        }
        self.answer == event
    }

    /// A prompt plays, or is about to. One that cannot go on keeps nobody waiting.
    fn is_prompting(&self) -> bool {
        let is_next = self.playing.is_none() && self.prompt.is_some();
        !self.stalled && (is_next || self.playing.as_ref().is_some_and(Playing::is_prompt))
    }

    /// What is played next. A prompt that the leg has no format for is played never, a tone perhaps next time.
    fn choose(&mut self, now: Timestamp, line: &LinePlan) -> Option<Playing> {
        let (leg, known) = (self.leg, self.payload_type);
        let play = |clip: Arc<Clip>, kind| {
            let voice = clip.voice(line, leg, known)?;
            Some(Playing {
                clip,
                kind,
                voice,
                begun: now,
                next: 0,
                from: None,
                until: now,
            })
        };
        if let Some(prompt) = self.prompt.take()
            && let Some(playing) = play(prompt, NoticeKind::Prompt)
        {
            return Some(playing);
        }
        let (clip, every) = self.tone.clone()?;
        self.due = now + every;
        play(clip, NoticeKind::Tone)
    }

    /// The next frame as a packet of ours.
    fn write(&mut self, now: Timestamp, packet: &mut [u8]) -> Option<usize> {
        let playing = self.playing.as_mut()?;
        let (rendition, payload_type) = (playing.rendition()?, playing.voice.payload_type);
        let payload = playing.payload()?;
        let (header, rest) = packet.split_first_chunk_mut::<HEADER_BYTES>()?;
        rest.get_mut(..payload.len())?.copy_from_slice(payload);
        let (length, is_first) = (HEADER_BYTES + payload.len(), playing.next == 0);
        let numbers = self.stream.speak(now, rendition.ticks(), is_first);
        stream::write_header(numbers, payload_type, is_first, header);
        playing.advance(now);
        let is_late = now > self.due + LATE_MAX;
        self.due = if is_late { now } else { self.due } + CLIP_FRAME;
        Some(length)
    }

    /// Adds the next frame to a packet of the far party.
    fn add_tone(&mut self, now: Timestamp, mix: Mix, sound: &mut [u8]) {
        let Some(playing) = &mut self.playing else { return };
        if let Some(tone) = playing.payload() {
            mix(sound, tone);
            playing.advance(now);
            self.due = now + SILENCE;
        }
    }

    /// What plays is over: what there is to tell of it.
    fn end(&mut self, now: Timestamp, line: u16) -> Option<Notice> {
        let playing = self.playing.take()?;
        let since = if playing.is_prompt() { now } else { playing.begun };
        self.due = self
            .tone
            .as_ref()
            .map_or(now + RETRY, |(_, every)| now.max(since + *every));
        Some(Notice {
            leg: self.leg,
            line,
            kind: playing.kind,
            name: playing.clip.name.clone(),
            from: playing.from?,
            until: playing.until,
            packets: u32::try_from(playing.next).unwrap_or(u32::MAX),
            whole: playing.is_over(),
        })
    }
}

impl Playing {
    fn is_prompt(&self) -> bool {
        self.kind == NoticeKind::Prompt
    }

    fn rendition(&self) -> Option<&Rendition> {
        self.clip.renditions.get(self.voice.rendition)
    }

    /// Of the next frame; None: it was the last.
    fn payload(&self) -> Option<&[u8]> {
        self.rendition()?.payloads.get(self.next).map(AsRef::as_ref)
    }

    fn is_over(&self) -> bool {
        self.payload().is_none()
    }

    fn advance(&mut self, now: Timestamp) {
        self.next += 1;
        self.from.get_or_insert(now);
        self.until = now + CLIP_FRAME;
    }

    /// How its next frame is added to a packet of the far party; None: not to this one.
    fn mix(&self, header: &RtpHeader<'_>) -> Option<Mix> {
        let fits = header.payload_type == self.voice.payload_type
            && self.payload().is_some_and(|tone| tone.len() == header.payload.len());
        mix_of(self.rendition()?.encoding).filter(|_| fits)
    }
}

/// Adds the second sound to the first; both are of one codec and as long.
type Mix = fn(&mut [u8], &[u8]);

fn mix_of(encoding: &str) -> Option<Mix> {
    match encoding {
        "PCMU" => Some(|sound, tone| mix_bytes(sound, tone, |a, b| to_pcmu(pcmu(a).saturating_add(pcmu(b))))),
        "PCMA" => Some(|sound, tone| mix_bytes(sound, tone, |a, b| to_pcma(pcma(a).saturating_add(pcma(b))))),
        "L16" => Some(|sound, tone| {
            for (a, b) in sound.chunks_exact_mut(2).zip(tone.chunks_exact(2)) {
                if let ([a0, a1], [b0, b1]) = (&mut *a, b) {
                    let sum = i16::from_be_bytes([*a0, *a1]).saturating_add(i16::from_be_bytes([*b0, *b1]));
                    a.copy_from_slice(&sum.to_be_bytes());
                }
            }
        }),
        _ => None,
    }
}

fn mix_bytes(sound: &mut [u8], tone: &[u8], mix: impl Fn(u8, u8) -> u8) {
    for (a, b) in sound.iter_mut().zip(tone) {
        *a = mix(*a, *b);
    }
}
