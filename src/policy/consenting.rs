//! Consent to a recording: what a policy says of it, and what all policies of a call say together.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::document::Policy;
use super::finding::Code;
use super::reader::{Table, Words};
use super::scalar::duration;
use super::terms::Action;
use crate::model::Waiver;

const MODES: &Words<ConsentMode> = &[
    ("explicit", ConsentMode::Explicit),
    ("implied", ConsentMode::Implied),
    ("inform", ConsentMode::Inform),
    ("waived", ConsentMode::Waived),
];
const SILENCE: &Words<Silence> = &[("refuses", Silence::Refuses), ("agrees", Silence::Agrees)];
const REFUSED: &Words<OnRefusal> = &[
    ("hang_up", OnRefusal::HangUp),
    ("unrecorded", OnRefusal::Unrecorded),
    ("mute", OnRefusal::Mute),
    ("mark", OnRefusal::Mark),
];
/// How long a party may think it over.
const WITHIN: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(60);
const WITHIN_DEFAULT: Duration = Duration::from_secs(10);
const SIGNER_CHARS_MAX: usize = 200;

/// How consent comes about. Ordered by what it demands.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentMode {
    /// It was given up beforehand, in writing.
    Waived,
    /// Who is recorded is told so; whether it agrees is its affair.
    Inform,
    /// Who was told, and stays, agrees.
    Implied,
    /// Who is told by a prompt is asked by it: key 1, or 2.
    #[default]
    Explicit,
}

/// Whether who is told that it is recorded agrees, and what becomes of the call if not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ConsentTerms {
    #[serde(default)]
    pub mode: ConsentMode,
    /// How long an answer is waited for, once the prompt is over.
    pub within: Duration,
    /// Who says nothing has refused, or has agreed.
    pub silence: Silence,
    pub refused: OnRefusal,
}

/// What it means to say nothing. Ordered by force.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    Agrees,
    #[default]
    Refuses,
}

/// What becomes of the call of who does not agree. Ordered by force.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRefusal {
    /// It goes on, recorded, and the recording says so.
    Mark,
    /// It goes on, recorded without that party.
    Mute,
    /// It goes on, and nothing of it is kept.
    Unrecorded,
    #[default]
    HangUp,
}

impl OnRefusal {
    /// Nothing of a party is kept before it has agreed.
    pub const fn waits(self) -> bool {
        matches!(self, Self::Mute | Self::Unrecorded)
    }

    /// With another policy that wants the call recorded strictly, and says this of consent: what is kept of nobody's call by one
    /// policy, and must be by the other, does not take place.
    pub(super) fn beside_strict(self, other: Option<ConsentTerms>) -> Self {
        let other = other.filter(|other| other.mode == ConsentMode::Explicit);
        let is_alike = other.is_some_and(|other| other.refused == self && self == Self::Mute);
        if self.waits() && !is_alike { Self::HangUp } else { self }
    }
}

impl Default for ConsentTerms {
    fn default() -> Self {
        Self {
            mode: ConsentMode::default(),
            within: WITHIN_DEFAULT,
            silence: Silence::default(),
            refused: OnRefusal::default(),
        }
    }
}

impl ConsentTerms {
    /// Reads the table `consent` of a `notify`.
    pub(super) fn read(notify: &Table<'_>) -> Option<(Self, Option<Waiver>)> {
        let consent = notify.table("consent", "a consent field")?;
        let mode = consent.choice("mode", MODES).map(Spanned::into_inner);
        let mode = mode.unwrap_or_default();
        let terms = Self {
            mode,
            within: consent
                .parsed("within", "a duration from \"2s\" to \"1m\"", |text| {
                    duration(text).filter(|within| WITHIN.contains(within))
                })
                .map_or(WITHIN_DEFAULT, Spanned::into_inner),
            silence: consent
                .choice("silence", SILENCE)
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            refused: consent
                .choice("refused", REFUSED)
                .map(Spanned::into_inner)
                .unwrap_or_default(),
        };
        let waiver = if mode == ConsentMode::Waived {
            waiver(&consent)
        } else {
            None
        };
        let idle: &[&'static str] = match mode {
            ConsentMode::Explicit => &["signed_by", "date"],
            ConsentMode::Waived => &["within", "silence", "refused"],
            ConsentMode::Inform | ConsentMode::Implied => &["within", "silence", "refused", "signed_by", "date"],
        };
        for key in idle.iter().filter(|key| consent.text(key).is_some()) {
            let message = format!("`{key}` has no effect with this `mode` of consent");
            let finding = consent.at(Code::ConsentIdle, &consent.key_span(key), message);
            consent.note(finding.hint(match mode {
                ConsentMode::Explicit => "set `mode = \"waived\"`, or leave it out",
                _ => "set `mode = \"explicit\"` to ask for a key, or leave it out",
            }));
        }
        consent.finish();
        Some((terms, waiver))
    }

    /// As the trail of a decision tells it.
    pub(super) fn told(self, waiver: Option<&Waiver>) -> String {
        match (self.mode, waiver) {
            (ConsentMode::Explicit, _) => {}
            (ConsentMode::Implied, _) => return "consent  implied: who was told and stays agrees".to_owned(),
            (ConsentMode::Inform, _) => return "consent  not asked for: who is recorded is told so".to_owned(),
            (ConsentMode::Waived, Some(waiver)) => return format!("consent  waived: {waiver}"),
            (ConsentMode::Waived, None) => return "consent  waived".to_owned(),
        }
        let silence = match self.silence {
            Silence::Agrees => "agrees",
            Silence::Refuses => "refuses",
        };
        let refused = match self.refused {
            OnRefusal::Mark => "is marked",
            OnRefusal::Mute => "leaves that party out",
            OnRefusal::Unrecorded => "leaves the call unrecorded",
            OnRefusal::HangUp => "ends the call",
        };
        let within = self.within.as_secs();
        format!("consent  asked by the prompt: silence for {within} s {silence}, a refusal {refused}")
    }

    /// The more demanding of both, and the longer time.
    pub(super) fn and(self, other: Self) -> Self {
        match self.mode.cmp(&other.mode) {
            std::cmp::Ordering::Less => return other,
            std::cmp::Ordering::Greater => return self,
            std::cmp::Ordering::Equal => {}
        }
        Self {
            mode: self.mode,
            within: self.within.max(other.within),
            silence: self.silence.max(other.silence),
            refused: self.refused.max(other.refused),
        }
    }

    /// As [`OnRefusal::beside_strict`].
    pub(super) fn beside_strict(&mut self, other: Option<Self>) {
        self.refused = self.refused.beside_strict(other);
    }
}

fn waiver(consent: &Table<'_>) -> Option<Waiver> {
    let signed_by = consent.required_text("signed_by", "who signed that consent is waived");
    let signed_by = signed_by.filter(|signer| {
        let text = signer.get_ref().trim();
        let fits = !text.is_empty() && text.chars().count() <= SIGNER_CHARS_MAX && !text.contains(char::is_control);
        if !fits {
            let wanted = format!("a name, at most {SIGNER_CHARS_MAX} characters");
            consent.malformed("signed_by", &signer.span(), signer.get_ref(), &wanted);
        }
        fits
    });
    let date = consent.required_text("date", "when it was signed");
    let date = date.filter(|date| {
        let fits = super::matcher::date(date.get_ref()).is_some();
        if !fits {
            consent.malformed("date", &date.span(), date.get_ref(), "a date, like \"2026-12-25\"");
        }
        fits
    });
    signed_by.zip(date).map(|(signed_by, date)| Waiver {
        signed_by: signed_by.get_ref().trim().to_owned(),
        date: (*date.get_ref()).to_owned(),
    })
}

/// What a policy that records says of consent, and cannot mean.
pub(super) fn lint(table: &Table<'_>, policy: &Policy) {
    let Some(consent) = policy.notify.consent.filter(|_| !policy.disable_audio_notification) else {
        return;
    };
    let notify = table.key_span("notify");
    let is_asked = consent.mode == ConsentMode::Explicit;
    let mode = policy.notify.mode;
    let told = match consent.mode {
        ConsentMode::Explicit if !mode.has_prompt() => Some((
            "consent is asked for by a prompt, and none is demanded",
            "nobody is asked: `silence` says what that means",
            "set `mode` to \"prompt\" or \"prompt+tone\"",
        )),
        ConsentMode::Inform | ConsentMode::Implied if mode == super::terms::NotifyMode::None => Some((
            "consent goes by what parties are told, and nothing tells them",
            "nobody is known to agree",
            "set `mode` of `notify` to what tells them",
        )),
        _ => None,
    };
    if let Some((message, effect, hint)) = told {
        let finding = table.at(Code::NoPrompt, &notify, message);
        table.note(finding.effect(effect).hint(hint));
    }
    if is_asked && consent.refused == OnRefusal::Unrecorded && policy.is_strict() && policy.may(Action::Record) {
        let finding = table
            .at(
                Code::UnkeptButStrict,
                &notify,
                "`refused = \"unrecorded\"` in a policy that must record",
            )
            .effect("who does not agree would talk unrecorded, which the recorder's `required_…` forbid")
            .hint(
                "set all four `required_…` of `[[policy.recorder]]` to false, or `refused` to \"hang_up\" or \"mute\"",
            );
        table.note(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Notify, NotifyMode};
    use super::*;

    fn asking(consent: Option<ConsentTerms>) -> Notify {
        Notify {
            mode: NotifyMode::Prompt,
            consent,
            ..Notify::default()
        }
    }

    const fn of(mode: ConsentMode) -> ConsentTerms {
        ConsentTerms {
            mode,
            within: WITHIN_DEFAULT,
            silence: Silence::Refuses,
            refused: OnRefusal::HangUp,
        }
    }

    #[test]
    fn of_two_policies_that_ask_the_more_demanding_terms_count_and_of_one_its_own() {
        let mild = ConsentTerms {
            within: Duration::from_secs(20),
            silence: Silence::Agrees,
            refused: OnRefusal::Mark,
            ..ConsentTerms::default()
        };
        let merged = |one, other| asking(one).merge(asking(other)).consent;
        assert_eq!(merged(Some(mild), None), Some(mild));
        assert_eq!(merged(None, Some(mild)), Some(mild));
        assert_eq!(merged(None, None), None);
        let both = ConsentTerms {
            within: Duration::from_secs(20),
            ..ConsentTerms::default()
        };
        assert_eq!(merged(Some(mild), Some(ConsentTerms::default())), Some(both));
        assert_eq!(
            both.told(None),
            "consent  asked by the prompt: silence for 20 s refuses, a refusal ends the call"
        );
    }

    #[test]
    fn who_has_to_be_asked_by_one_policy_is_asked_whatever_another_takes_for_consent() {
        use ConsentMode::{Explicit, Implied, Inform, Waived};
        for (one, other, wanted) in [
            (Waived, Inform, Inform),
            (Inform, Implied, Implied),
            (Implied, Explicit, Explicit),
            (Explicit, Waived, Explicit),
        ] {
            let merged = |one, other| asking(Some(of(one))).merge(asking(Some(of(other)))).consent;
            assert_eq!(merged(one, other), Some(of(wanted)));
            assert_eq!(merged(other, one), Some(of(wanted)));
        }
        let quiet = Notify {
            consent: Some(of(Waived)),
            ..Notify::default()
        };
        assert_eq!(
            quiet.merge(asking(None)).consent,
            Some(of(Waived)),
            "a policy that tells nobody"
        );
    }

    #[test]
    fn what_one_policy_must_have_kept_is_not_left_out_for_another() {
        let beside = |refused, other: Option<OnRefusal>| {
            let with = |refused| ConsentTerms {
                refused,
                ..ConsentTerms::default()
            };
            let mut terms = with(refused);
            terms.beside_strict(other.map(with));
            terms.refused
        };
        use OnRefusal::{HangUp, Mark, Mute, Unrecorded};
        assert_eq!(beside(Mark, None), Mark);
        assert_eq!(beside(Mute, Some(Mute)), Mute);
        assert_eq!(beside(Mute, Some(Mark)), HangUp);
        assert_eq!(beside(Mute, None), HangUp);
        assert_eq!(beside(Unrecorded, Some(Unrecorded)), HangUp);
        for mode in [ConsentMode::Implied, ConsentMode::Inform, ConsentMode::Waived] {
            let idle = ConsentTerms {
                refused: Mute,
                ..of(mode)
            };
            assert_eq!(Mute.beside_strict(Some(idle)), HangUp, "nobody is asked by it");
        }
    }
}
