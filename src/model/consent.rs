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

impl fmt::Display for Consented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consent of {}: {}", self.leg, self.consent.as_str())?;
        match &self.waiver {
            Some(waiver) => write!(f, ", {waiver}"),
            None => Ok(()),
        }
    }
}
