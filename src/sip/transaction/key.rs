//! What makes two messages parts of one transaction (RFC 3261 §17.1.3, §17.2.3).

use crate::sip::glance::Glance;
use crate::sip::message::{Headers, Request, Response};
use crate::sip::method::Method;
use crate::sip::uri::DEFAULT_PORT;

/// Branch and method of a request that we sent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ClientKey(String);

impl ClientKey {
    /// Of the request that begins with `fragment`, if its topmost Via is in there as far as the end of its branch.
    pub(super) fn of_fragment(fragment: &[u8]) -> Option<Self> {
        let text = fragment.utf8_chunks().next()?.valid();
        let method = text.split(' ').next()?;
        let (_, rest) = text.split_once("branch=")?;
        let end = rest.find([';', ',', '\r', '\n', ' '])?;
        Some(Self(joined(&[rest.get(..end)?, method])))
    }

    /// None without a branch.
    pub(super) fn of(headers: &Headers) -> Option<Self> {
        Self::of_method(headers, &headers.cseq().method)
    }

    fn of_method(headers: &Headers, method: &Method) -> Option<Self> {
        let branch = headers.via()?.branch()?;
        Some(Self(joined(&[branch, method.as_str()])))
    }
}

/// Names a server transaction: by branch, sent-by and method; where the branch is of RFC 2543, by all that this RFC
/// had: Request-URI, From tag, Call-ID, CSeq number and top Via.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ServerKey(String);

impl ServerKey {
    /// ACK belongs to its INVITE.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let method = if request.method == Method::Ack {
            &Method::Invite
        } else {
            &request.method
        };
        Self::of_method(request, method)
    }

    /// Of a request that was only glanced at: its branch is unique by itself.
    pub(super) fn of_glance(glance: &Glance<'_>) -> Self {
        let (host, port) = glance.sent_by();
        Self(joined(&[
            glance.branch(),
            &host.to_ascii_lowercase(),
            &port.to_string(),
            glance.method,
        ]))
    }

    /// The INVITE that a CANCEL is for (§9.2).
    pub(super) fn of_cancelled(cancel: &Request) -> Option<Self> {
        Self::of_method(cancel, &Method::Invite)
    }

    fn of_method(request: &Request, method: &Method) -> Option<Self> {
        let headers = &request.headers;
        let via = headers.via()?;
        let port = via.port().unwrap_or(DEFAULT_PORT).to_string();
        if let (true, Some(branch)) = (via.has_magic_cookie(), via.branch()) {
            let host = via.host().to_ascii_lowercase();
            return Some(Self(joined(&[branch, &host, &port, method.as_str()])));
        }
        // The To tag is left out: an ACK has the one that we gave, its INVITE had none.
        let tag = headers.from().tag().unwrap_or_default();
        let number = headers.cseq().number.to_string();
        let via = via.to_string();
        Some(Self(joined(&[
            "",
            request.uri.as_str(),
            tag,
            headers.call_id(),
            &number,
            &via,
            method.as_str(),
        ])))
    }
}

/// Which 2xx an ACK is for: the dialog and the INVITE's CSeq number (§13.2.2.4).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct AckKey(String);

impl AckKey {
    pub(super) fn of_success(response: &Response) -> Self {
        Self::of(&response.headers)
    }

    pub(super) fn of_ack(ack: &Request) -> Self {
        Self::of(&ack.headers)
    }

    fn of(headers: &Headers) -> Self {
        let tag = |tag: Option<&str>| tag.unwrap_or_default().to_owned();
        let number = headers.cseq().number.to_string();
        Self(joined(&[
            headers.call_id(),
            &tag(headers.from().tag()),
            &tag(headers.to().tag()),
            &number,
        ]))
    }
}

/// No part holds a line feed: headers are one line.
fn joined(parts: &[&str]) -> String {
    parts.join("\n")
}
