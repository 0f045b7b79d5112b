//! What a party has said of itself beside From: who its network found it to be, and how much of that may be told (RFC 3323,
//! RFC 3325). A call that we make for it says it over, so that what it hides stays hidden.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::sip::Headers;

/// Who it is.
const IDENTITIES: [&str; 2] = ["P-Asserted-Identity", "Remote-Party-ID"];
/// What else is kept.
const OTHERS: [&str; 2] = ["Privacy", "Session-ID"];
/// Lines of one name that are kept; more are left out.
const LINES_MAX: usize = 4;
/// The longest line that is kept, in bytes: a call that is written down has little room.
const LINE_BYTES_MAX: usize = 256;
/// A session whose other end is not known yet (RFC 7989 §5).
const NIL: &str = "00000000000000000000000000000000";

/// Header lines of one party, as it said them last.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claims(Vec<(String, String)>);

impl Claims {
    /// What a message that stands says in place of what was said before; what it does not name stays.
    pub fn note(&mut self, headers: &Headers) {
        for name in IDENTITIES.into_iter().chain(OTHERS) {
            if headers.contains(name) {
                self.0.retain(|(known, _)| known != name);
                let lines = headers.get_all(name).filter(|line| line.len() <= LINE_BYTES_MAX);
                let lines = lines.take(LINES_MAX).map(|line| (name.to_owned(), line.to_owned()));
                self.0.extend(lines);
            }
        }
    }

    /// The party has become another one (RFC 4916): what was said of the one before is not true of it.
    pub fn forget_identity(&mut self) {
        self.0.retain(|(known, _)| !IDENTITIES.contains(&known.as_str()));
    }

    /// A message of the party with who it was said to be before, where it does not say that itself.
    pub fn complete<'a>(&self, headers: &'a Headers) -> Cow<'a, Headers> {
        let mut all = Cow::Borrowed(headers);
        if !IDENTITIES.iter().any(|name| headers.contains(name)) {
            for (name, value) in &self.0 {
                if IDENTITIES.contains(&name.as_str()) {
                    all.to_mut().push(name, value.as_str());
                }
            }
        }
        all
    }

    /// Into the INVITE that the party would have sent, in a session with somebody new.
    pub fn write(&self, headers: &mut Headers) {
        for (name, value) in &self.0 {
            match value.split_once(';').filter(|_| name == "Session-ID") {
                Some((session, _)) => headers.push(name, format!("{};remote={NIL}", session.trim_end())),
                None => headers.push(name, value.as_str()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Method, NameAddr, Request, Uri};

    fn headers(lines: &[(&str, &str)]) -> Headers {
        let uri = Uri::parse("sip:alice@example.com").expect("a URI");
        let party = NameAddr::new(uri.clone());
        let mut headers = Request::new(Method::Invite, uri, party.clone(), party, "c1", 1).headers;
        for (name, value) in lines {
            headers.push(name, *value);
        }
        headers
    }

    fn written(claims: &Claims) -> Vec<String> {
        let mut to = headers(&[]);
        let before = to.iter().count();
        claims.write(&mut to);
        to.iter()
            .skip(before)
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    #[test]
    fn what_was_said_last_is_said_over_in_a_new_session() {
        let mut claims = Claims::default();
        claims.note(&headers(&[
            ("P-Asserted-Identity", "<sip:old@example.com>"),
            ("Privacy", "id"),
            (
                "Session-ID",
                "ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2",
            ),
            ("Subject", "lunch"),
        ]));
        claims.note(&headers(&[("P-Asserted-Identity", "<sip:new@example.com>")]));
        assert_eq!(
            written(&claims),
            [
                "Privacy: id".to_owned(),
                format!("Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote={NIL}"),
                "P-Asserted-Identity: <sip:new@example.com>".to_owned(),
            ]
        );
        claims.forget_identity();
        assert_eq!(written(&claims).len(), 2);
    }

    #[test]
    fn what_a_party_may_leave_with_us_is_bounded() {
        let mut claims = Claims::default();
        let long = format!("<sip:{}@example.com>", "a".repeat(LINE_BYTES_MAX));
        let mut many = vec![("P-Asserted-Identity", long.as_str())];
        many.extend([("P-Asserted-Identity", "<sip:a@example.com>"); 9]);
        claims.note(&headers(&many));
        assert_eq!(
            written(&claims),
            ["P-Asserted-Identity: <sip:a@example.com>"; LINES_MAX]
        );
    }
}
