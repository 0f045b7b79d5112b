//! What a leg is told when it is ended: why, and what the other leg said on leaving.

use bytes::Bytes;

use crate::b2bua::call::Call;
use crate::b2bua::crossing::{Crossing, carry};
use crate::b2bua::session::{Content, describes_body};
use crate::b2bua::turn::Turn;
use crate::model::{Leg, Mark};
use crate::sip::{Request, Response};

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
    pub fn of(crossing: &Crossing, request: &Request) -> Self {
        let crosses = Content::of(&request.headers, &request.body).recorded(false) == Content::Other;
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

impl Call {
    /// A peer wants proof for a BYE that is not ours to give, and whose it is has left: its dialog may stay up, and cost. The
    /// log and the recording say so.
    pub(in crate::b2bua) fn note_unproven(&mut self, turn: &mut Turn<'_>, side: Leg, response: &Response) {
        if !matches!(response.status, 401 | 407) {
            return;
        }
        let (status, trunk) = (response.status, &self.leg(side).trunk.name);
        tracing::warn!(session = %self.id, %trunk, status, "a BYE was challenged and cannot be proved: the far end may keep its call up");
        let note =
            format!("BYE to {side} challenged with {status} by trunk {trunk}: not proved, its call may be up still");
        self.chronicle.mark(turn.now, Mark::Note(note), turn.out);
    }
    /// A peer could not be told that the call is over: its dialog may stay up, and cost. The log and the recording say so.
    pub(super) fn note_untold(&mut self, turn: &mut Turn<'_>, side: Leg) {
        let trunk = &self.leg(side).trunk.name;
        tracing::warn!(session = %self.id, %trunk, "a BYE was not answered: the far end may keep its call up");
        let note = format!("BYE to {side} not answered by trunk {trunk}: its call may be up still");
        self.chronicle.mark(turn.now, Mark::Note(note), turn.out);
    }
}
