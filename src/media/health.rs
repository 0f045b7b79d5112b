//! Health: what ails the sound of a session while it lives. Packets are counted, one in many is listened to, and once a
//! second it is judged.

mod voice;

use std::time::Duration;

use crate::model::{Ailing, Ailment, Impairment, Leg, LinePlan, MediaKind, MediaPlan, Timestamp};

use super::meter::Format;
use super::port::LINES_MAX;
use voice::Voice;

/// How long a leg is not heard, while the other is, before that is a fault.
const ONE_WAY_AFTER: Duration = Duration::from_secs(5);

/// How long neither is.
const NO_MEDIA_AFTER: Duration = Duration::from_secs(10);

/// Who was heard within this time is heard now: more than the time between two judgements.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// Ailments of a session that are told. What ails it after so many is not.
const AILMENTS_MAX: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Health {
    lines: Vec<LineHealth>,
    /// All that was told, in order.
    told: Vec<Ailing>,
}

#[derive(Debug, Default)]
struct LineHealth {
    index: u16,
    /// A line of sound, in a call that is answered, in clear.
    is_watched: bool,
    voices: [Voice; 2],
}

impl Health {
    /// The newest plan; `indices` are those of the lines' places.
    pub(super) fn settle(&mut self, now: Timestamp, plan: &MediaPlan, indices: impl Iterator<Item = u16>) {
        for (place, index) in indices.take(LINES_MAX).enumerate() {
            if self.lines.len() == place {
                self.lines.push(LineHealth::default());
            }
            let Some(line) = self.lines.get_mut(place) else { return };
            line.index = index;
            let planned = plan.lines.iter().find(|planned| planned.index == index);
            let is_sound = planned.is_some_and(|planned| planned.kind == MediaKind::Audio);
            line.is_watched = plan.answered && is_sound;
            for leg in Leg::BOTH {
                let source = planned.filter(|_| line.is_watched).and_then(|line| awaited(line, leg));
                line.voices[leg.index()].settle(now, source);
            }
        }
    }

    /// A packet of the line at this place.
    #[inline]
    pub(super) fn hear(&mut self, place: usize, leg: Leg, at: Timestamp, payload: &[u8], format: &Format) {
        if let Some(line) = self.lines.get_mut(place)
            && line.is_watched
        {
            line.voices[leg.index()].hear(at, payload, format);
        }
    }

    /// Nobody is to be heard now: the gate is shut.
    pub(super) fn pause(&mut self, now: Timestamp) {
        for voice in self.lines.iter_mut().flat_map(|line| &mut line.voices) {
            voice.pause(now);
        }
    }

    /// Hands to `tell` what ails the session since now, and what does no more.
    pub(super) fn judge(&mut self, now: Timestamp, mut tell: impl FnMut(Ailing)) {
        for line in &mut self.lines {
            let index = line.index;
            line.judge(now, |impairment, leg, since, ails| {
                let ailment = Ailment {
                    impairment,
                    line: index,
                    leg,
                };
                note(&mut self.told, ailment, since, (!ails).then_some(now), &mut tell);
            });
        }
    }

    pub(super) fn told(&self) -> Vec<Ailing> {
        self.told.clone()
    }
}

/// Tells what changed.
fn note(
    told: &mut Vec<Ailing>,
    ailment: Ailment,
    since: Timestamp,
    until: Option<Timestamp>,
    tell: &mut impl FnMut(Ailing),
) {
    let is_open = |known: &Ailing| known.ailment == ailment && known.until.is_none();
    match (told.iter().position(is_open), until) {
        (Some(place), Some(_)) => {
            told[place].until = until;
            tell(told[place]);
        }
        (None, None) if told.len() < AILMENTS_MAX => {
            let begun = Ailing { ailment, since, until };
            told.push(begun);
            tell(begun);
        }
        _ => {}
    }
}

/// Where this leg's sound has to come from; none: nobody has to send any.
fn awaited(line: &LinePlan, leg: Leg) -> Option<std::net::SocketAddr> {
    let (own, far) = (line.leg(leg), line.leg(leg.other()));
    let is_awaited = !own.mute && !own.deaf && far.remote.is_some();
    own.remote.filter(|_| is_awaited).map(|remote| remote.rtp)
}

impl LineHealth {
    /// Hands on what holds and what does not: impairment, leg, since when, whether it ails.
    fn judge(&mut self, now: Timestamp, mut tell: impl FnMut(Impairment, Option<Leg>, Timestamp, bool)) {
        let silent = [0, 1].map(|leg: usize| self.voices[leg].silent_since(now));
        let is_over = |leg: usize, limit| silent[leg].is_some_and(|since| now.since(since) >= limit);
        let is_dead = is_over(0, NO_MEDIA_AFTER) && is_over(1, NO_MEDIA_AFTER);
        let since = silent.into_iter().flatten().max().unwrap_or(now);
        tell(Impairment::NoMedia, None, since, is_dead);
        for leg in Leg::BOTH {
            let other = &self.voices[leg.other().index()];
            let is_alone = is_over(leg.index(), ONE_WAY_AFTER) && other.is_heard(now, HEARD_WITHIN);
            let since = silent[leg.index()].unwrap_or(now);
            tell(Impairment::OneWay, Some(leg), since, is_alone);
            for (impairment, ails) in self.voices[leg.index()].sounds() {
                tell(impairment, Some(leg), now, ails && self.is_watched);
            }
        }
    }
}
