//! What makes two messages parts of one transaction (RFC 3261 §17.1.3, §17.2.3).

use crate::sip::glance::Glance;
use crate::sip::grammar::push_number;
use crate::sip::message::{Headers, Message, Request, Response};
use crate::sip::method::Method;
use crate::sip::uri::DEFAULT_PORT;

/// Digits of a CSeq number, or of a port.
const NUMBER_BYTES_MAX: usize = 10;

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
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
        Self::of_branch(glance.branch(), host, port, glance.method)
    }

    /// The INVITE that a CANCEL is for (§9.2).
    pub(super) fn of_cancelled(cancel: &Request) -> Option<Self> {
        Self::of_method(cancel, &Method::Invite)
    }

    fn of_method(request: &Request, method: &Method) -> Option<Self> {
        let headers = &request.headers;
        let via = headers.via()?;
        if let (true, Some(branch)) = (via.has_magic_cookie(), via.branch()) {
            let port = via.port().unwrap_or(DEFAULT_PORT);
            return Some(Self::of_branch(branch, via.host(), port, method.as_str()));
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

    fn of_branch(branch: &str, host: &str, port: u16, method: &str) -> Self {
        let mut key = String::with_capacity(branch.len() + host.len() + method.len() + NUMBER_BYTES_MAX + 3);
        key.push_str(branch);
        key.push('\n');
        key.extend(host.chars().map(|c| c.to_ascii_lowercase()));
        key.push('\n');
        push_number(&mut key, port.into());
        key.push('\n');
        key.push_str(method);
        Self(key)
    }
}

/// Which INVITE a message is, or is the CANCEL of (§9.2).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct InviteKey(ServerKey);

impl InviteKey {
    pub fn of_glance(invite: &Glance<'_>) -> Self {
        Self(ServerKey::of_glance(invite))
    }

    /// None if it is neither, or not understood; an emergency is understood where others are refused.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let Ok(Message::Request(request)) = Message::salvage(bytes) else {
            return None;
        };
        let is_either = matches!(request.method, Method::Invite | Method::Cancel);
        is_either.then(|| ServerKey::of_cancelled(&request)).flatten().map(Self)
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
        let [from, to] = [headers.from(), headers.to()].map(|party| party.tag().unwrap_or_default());
        let call_id = headers.call_id();
        let mut key = String::with_capacity(call_id.len() + from.len() + to.len() + NUMBER_BYTES_MAX + 3);
        for part in [call_id, from, to] {
            key.push_str(part);
            key.push('\n');
        }
        push_number(&mut key, headers.cseq().number);
        Self(key)
    }
}

/// No part holds a line feed: headers are one line.
fn joined(parts: &[&str]) -> String {
    parts.join("\n")
}
