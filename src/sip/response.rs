//! Answers that follow from the request they answer (RFC 3261 §8.2.6, §21).

use bytes::Bytes;

use super::message::{Request, Response};
use super::method::Method;

impl Response {
    /// Via, From, To, Call-ID and CSeq of the request; `to_tag` unless the request's To has one already. Timestamp goes
    /// into a 100 (§8.2.6.1), Record-Route into what may make a dialog (§12.1.1). `reason` None: the usual phrase.
    pub fn to(request: &Request, status: u16, reason: Option<&str>, to_tag: Option<&str>) -> Self {
        let theirs = &request.headers;
        let to = match (theirs.to().tag(), to_tag) {
            (None, Some(tag)) if status > 100 => Some(theirs.to().clone().with_tag(tag)),
            _ => None,
        };
        let mut headers = theirs.answered(to);
        if status == 100
            && let Some(timestamp) = theirs.get("Timestamp")
        {
            headers.push("Timestamp", timestamp);
        }
        let makes_dialog = matches!(request.method, Method::Invite | Method::Subscribe | Method::Refer);
        if makes_dialog && (101..300).contains(&status) {
            for (_, line) in theirs.iter().filter(|(name, _)| *name == "Record-Route") {
                headers.push("Record-Route", line);
            }
        }
        let reason = reason.unwrap_or_else(|| reason_phrase(status)).to_owned();
        Self {
            status,
            reason,
            headers,
            body: Bytes::new(),
        }
    }
}

/// A To tag for an answer without state: the same for the same request, as retransmissions need (§8.2.7). FNV-1a.
pub(super) fn stateless_tag<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.flat_map(str::bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// Statuses and the phrases that the RFCs which define them recommend, in order.
const PHRASES: [(u16, &str); 73] = [
    (100, "Trying"),
    (180, "Ringing"),
    (181, "Call Is Being Forwarded"),
    (182, "Queued"),
    (183, "Session Progress"),
    (199, "Early Dialog Terminated"),
    (200, "OK"),
    (202, "Accepted"),
    (204, "No Notification"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (305, "Use Proxy"),
    (380, "Alternative Service"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (410, "Gone"),
    (412, "Conditional Request Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Unsupported URI Scheme"),
    (417, "Unknown Resource-Priority"),
    (420, "Bad Extension"),
    (421, "Extension Required"),
    (422, "Session Interval Too Small"),
    (423, "Interval Too Brief"),
    (428, "Use Identity Header"),
    (429, "Provide Referrer Identity"),
    (430, "Flow Failed"),
    (433, "Anonymity Disallowed"),
    (436, "Bad Identity Info"),
    (437, "Unsupported Credential"),
    (438, "Invalid Identity Header"),
    (439, "First Hop Lacks Outbound Support"),
    (440, "Max-Breadth Exceeded"),
    (469, "Bad Info Package"),
    (470, "Consent Needed"),
    (480, "Temporarily Unavailable"),
    (481, "Call/Transaction Does Not Exist"),
    (482, "Loop Detected"),
    (483, "Too Many Hops"),
    (484, "Address Incomplete"),
    (485, "Ambiguous"),
    (486, "Busy Here"),
    (487, "Request Terminated"),
    (488, "Not Acceptable Here"),
    (489, "Bad Event"),
    (491, "Request Pending"),
    (493, "Undecipherable"),
    (494, "Security Agreement Required"),
    (500, "Server Internal Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Server Time-out"),
    (505, "Version Not Supported"),
    (513, "Message Too Large"),
    (555, "Push Notification Service Not Supported"),
    (580, "Precondition Failure"),
    (600, "Busy Everywhere"),
    (603, "Decline"),
    (604, "Does Not Exist Anywhere"),
    (606, "Not Acceptable"),
    (607, "Unwanted"),
    (608, "Rejected"),
];

/// The recommended phrase; its class's for a status that is not known.
pub fn reason_phrase(status: u16) -> &'static str {
    if let Ok(at) = PHRASES.binary_search_by_key(&status, |(status, _)| *status) {
        return PHRASES[at].1;
    }
    match status {
        ..200 => "Progress",
        200..300 => "Success",
        300..400 => "Redirection",
        400..500 => "Request Failure",
        500..600 => "Server Failure",
        600.. => "Global Failure",
    }
}
