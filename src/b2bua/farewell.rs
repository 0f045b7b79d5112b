//! What a leg is told when it is ended: why, and what the other leg said on leaving.

use super::carry::{self, Crossing};
use crate::sip::{Headers, Request};

/// Headers for a BYE; a CANCEL gets their reasons.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Farewell {
    headers: Vec<(String, String)>,
}

impl Farewell {
    /// Reason values of our own (RFC 3326).
    pub fn of_reasons(reasons: Vec<String>) -> Self {
        Self {
            headers: reasons
                .into_iter()
                .map(|reason| ("Reason".to_owned(), reason))
                .collect(),
        }
    }

    /// What the other leg's BYE or CANCEL brought and the allow rule carries.
    pub fn of(crossing: Crossing, request: &Request) -> Self {
        let headers = carry::carried(crossing, &request.headers);
        Self {
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    pub fn write(&self, headers: &mut Headers) {
        for (name, value) in &self.headers {
            headers.push(name, value.as_str());
        }
    }

    pub fn reasons(&self) -> Vec<String> {
        let reasons = self
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("Reason"));
        reasons.map(|(_, value)| value.clone()).collect()
    }
}
