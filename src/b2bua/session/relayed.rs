//! What the relay is told, and what it answers.

use crate::b2bua::call::Call;
use crate::b2bua::state::{MediaState, Phase, Recording};
use crate::b2bua::turn::Turn;
use crate::model::{Ailing, Leg, Mark, MediaCommand, MediaEvent, Recorded};
use crate::policy::Verdict;

impl Call {
    pub fn on_media(&mut self, turn: &mut Turn<'_>, event: MediaEvent) {
        match event {
            MediaEvent::Opened { .. } => {
                if matches!(self.media, MediaState::Opening | MediaState::Moving) {
                    self.media = MediaState::Open;
                    self.proceed(turn);
                }
                self.ask_far_end(turn);
            }
            MediaEvent::OpenFailed { .. } => self.on_media_not_opened(turn),
            MediaEvent::Refused { fault, .. } => self.on_media_refused(turn, fault),
            MediaEvent::Learned { leg, line, from, .. } => {
                self.chronicle
                    .mark(turn.now, Mark::Learned { leg, line, from }, turn.out);
            }
            MediaEvent::Noticed { notice, .. } => self.on_noticed(turn, *notice),
            MediaEvent::Unkeyed {
                leg,
                line,
                fault,
                keyed,
                ..
            } => self.on_media_unkeyed(turn, (leg, line), fault, keyed),
            MediaEvent::Sealed { line, .. } => self.on_sealed_by_ends(turn, line),
            MediaEvent::Health { ailing, .. } => self.on_health(turn, ailing),
            MediaEvent::Paused { at, .. } => self.on_relay_paused(turn, at),
            MediaEvent::Unpaused { at, .. } => self.on_relay_unpaused(turn, at),
            MediaEvent::Withheld { leg, lines, at, .. } => self.on_relay_withheld(turn, (leg, lines), at),
            MediaEvent::Key { leg, key, .. } => self.on_key(turn, leg, key),
            MediaEvent::Closed { tally, .. } => {
                self.negotiation.give_back(turn.now, turn.ports);
                if tally.handshakes > 0 {
                    let told = format!("{} packets of ZRTP or DTLS were not relayed", tally.handshakes);
                    self.chronicle.mark(turn.now, Mark::Note(told), turn.out);
                }
                if tally.excess > 0 {
                    let told = format!("{} packets were more than a party sends and not relayed", tally.excess);
                    tracing::warn!(session = %self.id, packets = tally.excess, "more packets than a party sends");
                    self.chronicle.mark(turn.now, Mark::Note(told), turn.out);
                }
                self.media = MediaState::Closed(Some(tally));
            }
        }
        self.settle(turn);
    }

    /// What ails the sound is told, and ends no call.
    fn on_health(&mut self, turn: &mut Turn<'_>, ailing: Ailing) {
        let (session, ailment) = (self.id, ailing.ailment);
        self.ailments.retain(|known| *known != ailment);
        if ailing.until.is_none() {
            self.ailments.push(ailment);
            tracing::warn!(%session, %ailment, "the sound of a call ails");
        } else {
            tracing::info!(%session, %ailment, "the sound of a call ails no more");
        }
        self.chronicle.mark(turn.now, Mark::Health(ailing), turn.out);
        self.publish(turn);
    }

    /// Where recording stands decides how strictly the relay minds it.
    pub(in crate::b2bua) fn mode(&self) -> Recorded {
        let strict_during = self.decision.is_strict_during(self.meeting);
        match self.recording {
            _ if self.decision.verdict != Verdict::Record || self.left_out.is_declined => Recorded::No,
            Recording::NotWanted | Recording::Unavailable(_) | Recording::Done => Recorded::No,
            Recording::Opening if strict_during && self.decision.is_strict_before(self.meeting) => Recorded::Strict,
            Recording::Ready | Recording::Closing if strict_during => Recorded::Strict,
            Recording::Opening | Recording::Ready | Recording::Closing | Recording::Broken(_) => Recorded::Lenient,
        }
    }

    /// Tells the relay what holds now, and writes it on the recording's timeline.
    pub(in crate::b2bua) fn renew_media(&mut self, turn: &mut Turn<'_>) {
        if !self.negotiation.has_media() {
            return;
        }
        self.hear_focus();
        let mut plan = Box::new(self.negotiation.plan(self.id, self.mode()));
        plan.answered = self.story.answered.is_some();
        plan.pausing = self.pausing();
        self.chronicle.mark(turn.now, Mark::Media(plan.lines.clone()), turn.out);
        self.note_encryption(turn);
        match self.media {
            MediaState::Unopened => {
                self.media = MediaState::Opening;
                turn.media(MediaCommand::Open(plan));
                if self.phase != Phase::Preparing && (self.awaits_recording() || self.is_astray()) {
                    self.gate(turn);
                }
            }
            MediaState::Opening | MediaState::Open | MediaState::Moving => turn.media(MediaCommand::Modify(plan)),
            MediaState::Closing | MediaState::Closed(_) => {}
        }
        self.renew_pausing(turn);
        for side in Leg::BOTH {
            let holds = self.negotiation.holds(side);
            if holds != self.held[side.index()] {
                self.held[side.index()] = holds;
                let mark = if holds {
                    Mark::Held { by: side }
                } else {
                    Mark::Resumed { by: side }
                };
                self.chronicle.mark(turn.now, mark, turn.out);
            }
        }
    }
}
