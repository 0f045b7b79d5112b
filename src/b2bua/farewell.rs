//! What a leg is told when it is ended: why, and what the other leg said on leaving.

use bytes::Bytes;

use super::body::{Content, describes_body};
use super::carry::{self, Crossing};
use crate::sip::Request;

/// Headers and body for a BYE; a CANCEL gets their reasons.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Farewell {
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Farewell {
    /// Reason values of our own (RFC 3326).
    pub fn of_reasons(reasons: Vec<String>) -> Self {
        Self {
            headers: reasons
                .into_iter()
                .map(|reason| ("Reason".to_owned(), reason))
                .collect(),
            body: Bytes::new(),
        }
    }

    /// What the other leg's BYE or CANCEL brought and the allow rule carries: of bodies one that describes no session, as
    /// the ISUP of a gateway (RFC 3372).
    pub fn of(crossing: Crossing, request: &Request) -> Self {
        let crosses = Content::of(&request.headers, &request.body) == Content::Other;
        let headers = carry::carried(crossing, &request.headers);
        let headers = headers.filter(|(name, _)| crosses || !describes_body(name));
        Self {
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: if crosses { request.body.clone() } else { Bytes::new() },
        }
    }

    pub fn write(&self, bye: &mut Request) {
        for (name, value) in &self.headers {
            bye.headers.push(name, value.as_str());
        }
        bye.body = self.body.clone();
    }

    pub fn reasons(&self) -> Vec<String> {
        let reasons = self
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("Reason"));
        reasons.map(|(_, value)| value.clone()).collect()
    }
}
