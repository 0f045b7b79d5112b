//! The answer: whether a call is recorded, how strictly, and why.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::consenting::{ConsentMode, ConsentTerms, OnRefusal};
use super::identity::Identity;
use super::pausing::PauseTerms;
use super::terms::{DuringArms, MediaSet, Notify, NotifyWhom, RejectCode, Retention};
use crate::model::{Fault, Generation, PolicyId, Waiver};

/// What the policies say of one call. Immutable: it is stamped into the dialog and the recording, and a reload does not
/// change it.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Decision {
    pub verdict: Verdict,
    /// The policies that asked for it, the caller's first.
    pub policies: Vec<PolicyId>,
    /// What recording demands; none unless `verdict` is `Record`.
    pub requirements: Option<Requirements>,
    /// An emergency call: never refused, never ended, not announced.
    pub emergency: bool,
    pub caller: Identity,
    pub callee: Identity,
    /// Why, a line each: where it is written or what it is about, two spaces, what follows from it.
    pub trace: Vec<String>,
    pub generation: Generation,
    /// SHA-256 of the policy files, in hexadecimal.
    pub hash: Arc<str>,
}

#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Record,
    /// Nothing is asked for.
    None,
    Block(BlockReason),
}

/// Why a call must not take place, whatever the state of the recorder.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum BlockReason {
    /// A policy with `action = "block"`: 403.
    #[error("forbidden by policy {policy}")]
    Forbidden { policy: PolicyId },
    /// One party's policy demands recording, the other's forbids it, and `on_conflict = "block"`: 403.
    #[error("policy {record} demands recording, policy {never} forbids it")]
    Conflict { record: PolicyId, never: PolicyId },
    /// Who calls or is called cannot be read, so that no grant could be looked up: 400.
    #[error("who calls or is called cannot be read")]
    Unreadable,
}

/// What recording a call demands: the flags of all recorders of all its policies, OR-ed.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Requirements {
    /// The INVITE is not sent onward before the opening record is durable.
    pub before: bool,
    /// The call ends when recording fails.
    pub during: bool,
    pub before_meeting: bool,
    pub during_meeting: bool,
    pub during_arms: DuringArms,
    pub reject_code: RejectCode,
    pub media: MediaSet,
    pub notify: Notify,
    /// Where consent is waived: by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Waiver>,
    /// The package of the prompt that is played.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Whether the caller, whether the callee is none of ours by the dial plan.
    #[serde(default)]
    pub external: [bool; 2],
    pub retention: Option<Retention>,
    /// None: it may not be paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseTerms>,
}

impl Requirements {
    pub const fn strict_before(&self, meeting: bool) -> bool {
        if meeting { self.before_meeting } else { self.before }
    }

    pub const fn strict_during(&self, meeting: bool) -> bool {
        if meeting { self.during_meeting } else { self.during }
    }

    /// Whether the caller, whether the callee is to be told that it is recorded.
    pub const fn tells(&self) -> [bool; 2] {
        match self.notify.whom {
            NotifyWhom::Caller => [true, false],
            NotifyWhom::Callee => [false, true],
            NotifyWhom::Both => [true, true],
            NotifyWhom::External => self.external,
        }
    }

    /// Whether the caller, whether the callee is to hear a prompt, a tone, and to be asked.
    fn telling(&self) -> [[bool; 3]; 2] {
        let mode = self.notify.mode;
        let asks = |terms: ConsentTerms| terms.mode == ConsentMode::Explicit;
        let wanted = [
            mode.has_prompt(),
            mode.has_tone(),
            self.notify.consent.is_some_and(asks),
        ];
        self.tells().map(|tells| wanted.map(|wanted| wanted && tells))
    }

    const fn flags(&self) -> [bool; 4] {
        [self.before, self.during, self.before_meeting, self.during_meeting]
    }
}

/// The embedded recorder, as signalling last heard of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecorderState {
    Up,
    Down(Fault),
}

/// Whether the INVITE may go on now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// It may: unrecorded if nothing is asked for, else as soon as the opening record is durable.
    Proceed,
    /// It may, although it should be recorded and cannot be.
    ProceedUnrecorded,
    Refuse,
}

impl Decision {
    /// Whether the call may be set up with the recorder in this state; `meeting` is true when the far end is a
    /// conference.
    pub fn admission(&self, recorder: RecorderState, meeting: bool) -> Admission {
        match (&self.verdict, recorder) {
            (Verdict::Block(_), _) => Admission::Refuse,
            (Verdict::None, _) | (Verdict::Record, RecorderState::Up) => Admission::Proceed,
            (Verdict::Record, RecorderState::Down(_)) if self.is_strict_before(meeting) => Admission::Refuse,
            (Verdict::Record, RecorderState::Down(_)) => Admission::ProceedUnrecorded,
        }
    }

    pub fn is_strict_before(&self, meeting: bool) -> bool {
        self.requirements.as_ref().is_some_and(|r| r.strict_before(meeting))
    }

    pub fn is_strict_during(&self, meeting: bool) -> bool {
        self.requirements.as_ref().is_some_and(|r| r.strict_during(meeting))
    }

    /// Whether it wants a recording where `other` wants none, or one more strictly in any way.
    pub fn is_stricter_than(&self, other: &Self) -> bool {
        match (&self.requirements, &other.requirements) {
            (Some(own), Some(other)) => own.flags().iter().zip(other.flags()).any(|(own, other)| *own && !other),
            (own, other) => own.is_some() && other.is_none(),
        }
    }

    /// Whether a party is to be told by it that `other` does not tell, or by more, or to be asked.
    pub fn tells_more_than(&self, other: &Self) -> bool {
        let telling = |decision: &Self| {
            decision
                .requirements
                .as_ref()
                .map(Requirements::telling)
                .unwrap_or_default()
        };
        let [own, other] = [self, other].map(|decision| telling(decision).into_iter().flatten());
        own.zip(other).any(|(own, other)| own && !other)
    }

    /// What a refusal means beside these policies that meant this under those before.
    #[must_use]
    pub fn held_to(&self, refused: OnRefusal) -> OnRefusal {
        match &self.requirements {
            Some(own) if own.flags().contains(&true) => refused.beside_strict(own.notify.consent),
            _ => refused,
        }
    }

    /// A call that talks becomes a meeting, and is recorded as strictly as before at least.
    pub fn bind_meeting(&mut self) {
        if let Some(own) = &mut self.requirements {
            own.before_meeting |= own.before;
            own.during_meeting |= own.during;
        }
    }

    /// Records what `other` does, as strictly, and by its policies too, from here on.
    pub fn bind_as(&mut self, other: &Self) {
        let Some(before) = &other.requirements else { return };
        match &mut self.requirements {
            Some(own) => {
                own.before |= before.before;
                own.during |= before.during;
                own.before_meeting |= before.before_meeting;
                own.during_meeting |= before.during_meeting;
                own.during_arms = own.during_arms.max(before.during_arms);
                let both = own.pause.take().zip(before.pause.as_ref());
                own.pause = both.map(|(own, before)| own.and(before));
                if let Some(consent) = own.notify.consent.as_mut().filter(|_| before.flags().contains(&true)) {
                    consent.beside_strict(before.notify.consent);
                }
            }
            None => {
                self.requirements = Some(before.clone());
                self.verdict = Verdict::Record;
            }
        }
        for policy in &other.policies {
            if !self.policies.contains(policy) {
                self.policies.push(policy.clone());
            }
        }
    }
}
