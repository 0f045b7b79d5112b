//! Media that nobody but its ends can hear: where a policy strictly wants it recorded it does not cross, and where it crosses
//! the recording tells.

use crate::b2bua::call::Call;
use crate::b2bua::continuation::Kept;
use crate::b2bua::reject::Refusal;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::{Encryption, Fault, KeyingFault, Leg, Mark, Recorded};
use crate::policy::Decision;

impl Call {
    /// As the decision of now wants it.
    pub(in crate::b2bua) fn demand_hearing(&mut self) {
        let must_be_heard = self.wants_hearing(&self.decision);
        self.negotiation.demand_hearing(must_be_heard);
    }

    fn wants_hearing(&self, decision: &Decision) -> bool {
        decision.is_strict_before(self.meeting) || decision.is_strict_during(self.meeting)
    }

    /// Why the call cannot be as another decision wants it: what is agreed already cannot be heard.
    pub(in crate::b2bua) fn unheard_for(&self, decision: &Decision) -> Option<Refusal> {
        let is_sealed = self.negotiation.encryption() == Some(Encryption::Sealed);
        (is_sealed && self.wants_hearing(decision)).then_some(Refusal::MediaSealed)
    }

    /// A handshake gave no keys: of this line nothing is heard, by the other party or by a recording, but what is `keyed` by a
    /// handshake before. A strict call ends for all that: its party may speak by keys of the new one.
    pub(super) fn on_media_unkeyed(
        &mut self,
        turn: &mut Turn<'_>,
        (leg, line): (Leg, u16),
        fault: KeyingFault,
        keyed: bool,
    ) {
        let new = if keyed { "new " } else { "" };
        tracing::warn!(session = %self.id, %leg, line, %fault, keyed, "no keys for this leg's media");
        let note = Mark::Note(format!("no {new}keys for the media of {leg}, line {line}: {fault}"));
        self.chronicle.mark(turn.now, note, turn.out);
        if self.mode() == Recorded::Strict {
            self.on_media_refused(turn, Fault::Unkeyed);
        }
    }

    /// The ends have agreed on keys that no description tells of, before anybody recorded them.
    pub(super) fn on_sealed_by_ends(&mut self, turn: &mut Turn<'_>, line: u16) {
        self.negotiation.note_sealed(usize::from(line));
        if self.phase == Phase::Confirmed {
            self.kept = Kept::Stale;
        }
        if self.mode() != Recorded::No {
            // It crossed the beginning of the recording.
            self.note_encryption(turn);
        }
    }

    /// What was agreed holds: a recording tells from where on its media is encrypted.
    pub(super) fn note_encryption(&mut self, turn: &mut Turn<'_>) {
        let encryption = self.negotiation.encryption();
        if encryption > self.story.encryption {
            self.story.encryption = encryption;
            let told = encryption.map_or("", Encryption::as_str);
            let by = match self.negotiation.suites() {
                suites if encryption == Some(Encryption::Decrypted) => suites,
                _ => String::new(),
            };
            let note = Mark::Note(format!("media is {told}{by}"));
            self.chronicle.mark(turn.now, note, turn.out);
        }
    }
}
