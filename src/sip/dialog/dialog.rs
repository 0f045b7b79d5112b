//! One dialog, seen from our end.

use serde::{Deserialize, Serialize};

use super::route_set::RouteSet;
use crate::sip::message::{Message, Request, Response};
use crate::sip::method::Method;
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;

/// How far our CSeq numbers jump in another process: beyond what was sent since the dialog was written down. They may (RFC 3261
/// §12.2.1.1 asks the sender for steps of one; §12.2.2 lets the receiver take any higher number).
const CSEQ_JUMP: u32 = 1_000;

/// Why a request or response does not fit a dialog. The peer's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DialogError {
    /// A provisional response without a To tag makes no dialog.
    #[error("no To tag")]
    NoTag,
    /// The request that is to make a dialog has no usable Contact: 400.
    #[error("no Contact")]
    NoContact,
    /// Another Call-ID or tag: 481.
    #[error("request of another dialog")]
    OtherDialog,
    /// The CSeq number is lower than one before: 500 (RFC 3261 §12.2.2).
    #[error("CSeq out of order")]
    OutOfOrder,
}

/// As text it is for the process after this one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Dialog {
    call_id: String,
    /// From of our requests, our tag in it.
    local: NameAddr,
    /// To of our requests, their tag in it.
    remote: NameAddr,
    /// The CSeq number of our last request; 0 before the first if we were called.
    local_seq: u32,
    /// Numbers up to this one may have been sent by the process before.
    #[serde(skip)]
    before_seq: u32,
    /// The CSeq number of their last request.
    remote_seq: Option<u32>,
    #[serde(rename = "routes")]
    route_set: RouteSet,
    #[serde(rename = "target")]
    remote_target: Uri,
}

impl Dialog {
    /// We sent `request`; `response` (101–299) makes the dialog (§12.1.2). A response without Contact leaves the
    /// Request-URI as target, so that even a broken peer can be sent its BYE.
    pub fn uac(request: &Request, response: &Response) -> Result<Self, DialogError> {
        let headers = &response.headers;
        if response.is_provisional() && headers.to().tag().is_none() {
            return Err(DialogError::NoTag);
        }
        Ok(Self {
            call_id: request.headers.call_id().to_owned(),
            local: request.headers.from().clone(),
            remote: headers.to().clone(),
            local_seq: request.headers.cseq().number,
            before_seq: 0,
            remote_seq: None,
            route_set: RouteSet::of_uac(headers),
            remote_target: target_of(headers.contact()).unwrap_or_else(|| request.uri.clone()),
        })
    }

    /// We received `request`; `response`, of ours, makes the dialog (§12.1.1).
    pub fn uas(request: &Request, response: &Response) -> Result<Self, DialogError> {
        if response.headers.to().tag().is_none() {
            return Err(DialogError::NoTag);
        }
        let headers = &request.headers;
        Ok(Self {
            call_id: headers.call_id().to_owned(),
            local: response.headers.to().clone(),
            remote: headers.from().clone(),
            local_seq: 0,
            before_seq: 0,
            remote_seq: Some(headers.cseq().number),
            route_set: RouteSet::of_uas(headers),
            remote_target: target_of(headers.contact()).ok_or(DialogError::NoContact)?,
        })
    }

    /// The same in the process after the one that has written it down.
    #[must_use]
    pub fn resumed(self) -> Self {
        let local_seq = self.local_seq.saturating_add(CSEQ_JUMP);
        Self {
            local_seq,
            before_seq: local_seq,
            ..self
        }
    }

    /// Whether the process before may have sent the request with this CSeq number.
    pub const fn is_of_before(&self, number: u32) -> bool {
        number <= self.before_seq
    }

    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Empty if a peer of RFC 2543 gave none; likewise [`Dialog::remote_tag`].
    pub fn local_tag(&self) -> &str {
        self.local.tag().unwrap_or_default()
    }

    pub fn remote_tag(&self) -> &str {
        self.remote.tag().unwrap_or_default()
    }

    pub const fn remote_target(&self) -> &Uri {
        &self.remote_target
    }

    /// Who they are, with their tag.
    pub const fn remote(&self) -> &NameAddr {
        &self.remote
    }

    /// They are somebody else from now on (RFC 4916 §4.4.2); the tag stays.
    pub fn rename_remote(&mut self, party: NameAddr) {
        self.remote = retagged(party, self.remote.tag());
    }

    /// We speak for somebody else from now on (RFC 4916 §4.4.1); the tag stays.
    pub fn rename_local(&mut self, party: NameAddr) {
        self.local = retagged(party, self.local.tag());
    }

    /// The next request within the dialog (§12.2.1.1): Max-Forwards 70, no Via and no Contact yet.
    pub fn request(&mut self, method: Method) -> Request {
        let number = self.next_number();
        self.build(method, number)
    }

    /// The CSeq number of the next request, which is taken.
    pub const fn next_number(&mut self) -> u32 {
        self.local_seq = self.local_seq.saturating_add(1);
        self.local_seq
    }

    /// The ACK to the 2xx that answered our INVITE with that CSeq number (§13.2.2.4). No Via yet: it has a branch of
    /// its own.
    pub fn ack(&self, invite_cseq: u32) -> Request {
        self.build(Method::Ack, invite_cseq)
    }

    fn build(&self, method: Method, cseq: u32) -> Request {
        let routed = self.route_set.route(&self.remote_target);
        let (from, to) = (self.local.clone(), self.remote.clone());
        let mut request = Request::new(method, routed.uri, from, to, &self.call_id, cseq);
        for route in routed.routes {
            request.headers.push("Route", route.to_string());
        }
        request
    }

    /// Whether a received request may act in this dialog; takes note of its CSeq number (§12.2.2).
    pub fn accepts(&mut self, request: &Request) -> Result<(), DialogError> {
        let headers = &request.headers;
        let tag = |tag: Option<&str>, ours: &str| tag.unwrap_or_default() == ours;
        let fits = headers.call_id() == self.call_id
            && tag(headers.to().tag(), self.local_tag())
            && tag(headers.from().tag(), self.remote_tag());
        if !fits {
            return Err(DialogError::OtherDialog);
        }
        // ACK and CANCEL repeat the number of their INVITE, which others may have passed since.
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return Ok(());
        }
        let number = headers.cseq().number;
        if self.remote_seq.is_some_and(|last| number < last) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_seq = Some(number);
        Ok(())
    }

    /// A request or response that refreshes the target (re-INVITE, UPDATE, and their 2xx) names where they are now.
    pub fn target_refresh(&mut self, message: &Message) {
        if let Some(target) = target_of(message.headers().contact()) {
            self.remote_target = target;
        }
    }

    /// The 2xx after a provisional response made this dialog: route set and target are set anew (§13.2.2.4).
    pub fn confirm(&mut self, response: &Response) {
        self.route_set = RouteSet::of_uac(&response.headers);
        if let Some(target) = target_of(response.headers.contact()) {
            self.remote_target = target;
        }
    }

    /// The URI whose host is to be sent to: the first route, or the target (§8.1.2).
    pub fn next_hop(&self) -> Uri {
        self.route_set.first().unwrap_or(&self.remote_target).clone()
    }
}

fn retagged(party: NameAddr, tag: Option<&str>) -> NameAddr {
    match tag {
        Some(tag) => party.with_tag(tag),
        None => party.without_tag(),
    }
}

fn target_of(contact: Option<NameAddr>) -> Option<Uri> {
    contact.map(|contact| contact.uri.without_headers())
}

#[cfg(test)]
mod tests;
