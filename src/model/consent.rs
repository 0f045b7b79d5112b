//! Whether parties agree to be recorded.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Leg, Timestamp};

/// How a party's consent to the recording stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// By a prompt; it is waited for.
    Asked,
    Given,
    Refused,
    /// It said nothing in time, or could not be asked.
    Unanswered,
    /// It was told, and nobody asks more.
    Informed,
    /// It was told, and stayed.
    Implied,
    /// It was not asked: somebody signed that it need not be.
    Waived,
}

impl Consent {
    /// By a question: it was answered or not.
    pub const fn was_asked(self) -> bool {
        match self {
            Self::Asked | Self::Given | Self::Refused | Self::Unanswered => true,
            Self::Informed | Self::Implied | Self::Waived => false,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked for",
            Self::Given => "given",
            Self::Refused => "refused",
            Self::Unanswered => "not answered",
            Self::Informed => "informed",
            Self::Implied => "implied",
            Self::Waived => "waived",
        }
    }
}

/// Who answers for it that consent is waived, and since when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Waiver {
    pub signed_by: String,
    /// `YYYY-MM-DD`.
    pub date: String,
}

impl fmt::Display for Waiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signed by {}, {}", self.signed_by, self.date)
    }
}

/// How the consent of who was at a leg stood at last, and since when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Consented {
    pub leg: Leg,
    pub consent: Consent,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Waiver>,
}

impl Consented {
    /// Of so many it is told; a call that is transferred more often tells the first.
    const MAX: usize = 16;

    /// Takes note of it after all that was before: an answer stands in the place of its question.
    pub fn note(self, all: &mut Vec<Self>) {
        let newest = all.iter().rposition(|known| known.leg == self.leg);
        // What a recording that is opened again is told once more has its old time.
        let is_open = |known: &Self| known.consent == Consent::Asked || *known == self;
        let replaced = newest.filter(|at| all.get(*at).is_some_and(is_open));
        if let Some(known) = replaced.and_then(|at| all.get_mut(at)) {
            *known = self;
        } else if all.len() < Self::MAX {
            all.push(self);
        }
    }
}

impl fmt::Display for Consented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consent of {}: {}", self.leg, self.consent.as_str())?;
        match &self.waiver {
            Some(waiver) => write!(f, ", {waiver}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_stands_for_its_question_and_who_comes_after_is_told_beside() {
        let mut all = Vec::new();
        let mut note = |leg, consent, at| {
            let at = Timestamp::from_millis(at);
            let waiver = None;
            Consented {
                leg,
                consent,
                at,
                waiver,
            }
            .note(&mut all);
            all.iter()
                .map(|known: &Consented| (known.leg, known.consent, known.at.as_millis()))
                .collect::<Vec<_>>()
        };
        note(Leg::A, Consent::Asked, 1);
        note(Leg::B, Consent::Asked, 2);
        let answered = note(Leg::A, Consent::Given, 3);
        assert_eq!(answered, [(Leg::A, Consent::Given, 3), (Leg::B, Consent::Asked, 2)]);
        let newcomer = note(Leg::A, Consent::Refused, 4);
        assert_eq!(newcomer.last(), Some(&(Leg::A, Consent::Refused, 4)));
        assert_eq!(note(Leg::A, Consent::Refused, 4), newcomer, "the same, told again");
        let another = note(Leg::A, Consent::Refused, 5);
        assert_eq!(another.len(), newcomer.len() + 1, "of another party: {another:?}");
        let many = (0..100).map(|at| note(Leg::A, [Consent::Given, Consent::Refused][at % 2], at as u64).len());
        assert_eq!(many.last(), Some(Consented::MAX));
    }
}
