//! What the 2xx to a refresh of ours says: who is there, and where it has moved.

use bytes::Bytes;

use crate::b2bua::call::Call;
use crate::b2bua::reject::Refusal;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sdp::SessionDescription;
use crate::sip::{Method, Response};

impl Call {
    /// The answer to the description that the peer knew. Who accepted is there: it is recorded, or the call ends.
    pub(super) fn take_refreshed(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        response: &Response,
    ) -> Result<(), Refusal> {
        let answer = self.answer_of(side, response);
        let described = answer
            .as_ref()
            .and_then(|answer| SessionDescription::parse(answer).ok());
        let lines = described.iter().flat_map(|described| described.lines());
        let kinds: Vec<_> = lines.filter(|line| line.is_live()).map(|line| line.kind).collect();
        let met = self.meeting;
        let newcomer = self.newcomer(turn, side, &response.headers, None);
        self.admit_who_is_there(turn, side, newcomer.as_ref(), &kinds)?;
        self.admit_focus(turn, side, &response.headers)?;
        self.insist(self.meeting != met);
        if let Some(answer) = answer
            && self.negotiation.moves(side, &answer)?
        {
            self.renew_media(turn);
        }
        Ok(())
    }

    /// Of an INVITE's; an UPDATE of ours offers nothing.
    fn answer_of(&self, side: Leg, response: &Response) -> Option<Bytes> {
        if response.headers.cseq().method != Method::Invite {
            return None;
        }
        let content = self.content_of(&response.headers, &response.body);
        self.negotiation.heeded(side, content.sdp(&response.body)?)
    }
}
