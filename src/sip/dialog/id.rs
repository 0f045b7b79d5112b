//! What names a dialog at our end.

use crate::sip::message::{Headers, Request, Response};

/// Call-ID, our tag, their tag (RFC 3261 §12). A tag that a peer of RFC 2543 never gave is empty.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DialogId {
    pub call_id: String,
    pub local_tag: String,
    pub remote_tag: String,
}

impl DialogId {
    /// Of the dialog that a received request says it is in: our tag is in To.
    pub fn of_request(request: &Request) -> Self {
        let headers = &request.headers;
        Self::of(headers, headers.to().tag(), headers.from().tag())
    }

    /// Of the dialog that a received response says it is in: our tag is in From.
    pub fn of_response(response: &Response) -> Self {
        let headers = &response.headers;
        Self::of(headers, headers.from().tag(), headers.to().tag())
    }

    fn of(headers: &Headers, local: Option<&str>, remote: Option<&str>) -> Self {
        Self {
            call_id: headers.call_id().to_owned(),
            local_tag: local.unwrap_or_default().to_owned(),
            remote_tag: remote.unwrap_or_default().to_owned(),
        }
    }
}
