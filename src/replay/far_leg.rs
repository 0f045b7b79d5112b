//! The far legs of what `export` wrote: of a recording the file has the signalling of both sides, and of each what its party sent.
//!
//! The caller's dialog is played. What the proxy has said to the called is not, for it says it anew: but it tells to where
//! the called has sent its media, which else nobody would.

use std::collections::BTreeMap;

use super::binding::CallIndex;
use super::calls::{Calls, description_in};
use super::capture::Captured;
use super::script::opens;
use crate::model::Leg;
use crate::sdp::SessionDescription;
use crate::sip::{Message, Method};

/// Dialogs that are remembered. Full: later ones are calls of their own.
const DIALOGS_MAX: usize = 1_000;

/// By Call-ID: of which call, and by which tag the proxy opened it.
#[derive(Default)]
pub(crate) struct FarLegs(BTreeMap<String, (CallIndex, String)>);

impl Calls {
    /// Whether a message is of a dialog of the proxy with the called. What it describes counts.
    pub(super) fn is_of_far_leg(&mut self, message: &Message, captured: &Captured<'_>) -> bool {
        let Some((index, leg)) = self.far_leg_of(message, captured) else {
            return false;
        };
        let description = description_in(message).and_then(|sdp| SessionDescription::parse(&sdp).ok());
        if let Some(sdp) = description {
            self.declare((index, leg), &sdp, captured.src.ip(), true);
        }
        true
    }

    /// The call, and for whom its sender speaks: the proxy receives for A.
    fn far_leg_of(&mut self, message: &Message, captured: &Captured<'_>) -> Option<(CallIndex, Leg)> {
        let newest = self.len().checked_sub(1)?;
        let headers = message.headers();
        let tag = headers.from().tag().unwrap_or_default();
        let is_known = self.dialogs.find(headers).is_some();
        // All that does not go to the proxy comes from it.
        let of_call = self.call(newest).filter(|call| call.method == Method::Invite);
        let is_proxy_s = of_call.is_some_and(|call| call.called != captured.dst);
        let far = &mut self.far_legs.as_mut()?.0;
        if !is_known
            && is_proxy_s
            && far.len() < DIALOGS_MAX
            && let Message::Request(request) = message
            && request.method == Method::Invite
            && opens(request)
        {
            far.entry(headers.call_id().to_owned())
                .or_insert_with(|| (newest, tag.to_owned()));
        }
        let (index, opener) = far.get(headers.call_id())?;
        let is_request = matches!(message, Message::Request(_));
        let leg = if is_request == (tag == opener) { Leg::A } else { Leg::B };
        Some((*index, leg))
    }
}
