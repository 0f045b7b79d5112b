//! What a 3xx asks for: its Contacts in their order, and the history of who sent the call on (RFC 3261 §8.1.3.4, RFC 7044).

use crate::sip::{Headers, NameAddr, Request, Response, Scheme, Uri};

/// Contacts of one 3xx that are looked at.
const CONTACTS_READ_MAX: usize = 32;
/// History-Info entries that are looked at for the last index; a longer history is not told.
const HISTORY_MAX: usize = 64;

/// Headers that a URI may bring into the INVITE that is made of it (RFC 3261 §19.1.5, RFC 7433 §4): nothing that tells who
/// calls or where the call goes.
const BROUGHT: [&str; 1] = ["User-to-User"];

/// The parties that a 3xx names, with the headers of their URIs, the one with the greatest q first, equals as written. None for what is no redirect to
/// other parties: 305 and 380 are the caller's business.
pub fn contacts(response: &Response) -> Vec<Uri> {
    if !matches!(response.status, 300..=302) {
        return Vec::new();
    }
    let values = response.headers.get_all("Contact").take(CONTACTS_READ_MAX);
    let named = values.filter_map(|value| NameAddr::parse(value).ok());
    let mut contacts: Vec<(u16, Uri)> = named
        .filter(|contact| !matches!(contact.uri().scheme(), Scheme::Other))
        .map(|contact| (rank(contact.param("q")), contact.uri))
        .collect();
    // Stable.
    contacts.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    contacts.into_iter().map(|(_, uri)| uri).collect()
}

/// What the URI of a followed Contact, or of Refer-To, brings into its INVITE, one line of each name.
pub fn brought(uri: &Uri) -> Vec<(&'static str, String)> {
    let named = |name: &'static str| Some((name, uri.header(name)?));
    BROUGHT.into_iter().filter_map(named).collect()
}

/// A q value in thousandths (RFC 3261 §25.1 `qvalue`); 1 where it is absent or none.
fn rank(q: Option<&str>) -> u16 {
    let Some((whole, rest)) = q.map(|q| q.split_once('.').unwrap_or((q, ""))) else {
        return 1_000;
    };
    let digits = rest.len() <= 3 && rest.bytes().all(|c| c.is_ascii_digit());
    match whole {
        "0" if digits => format!("{rest:0<3}").parse().unwrap_or(1_000),
        _ => 1_000,
    }
}

/// Who was asked before, and by which status the call went on from there.
#[derive(Debug)]
pub struct Rerouted {
    /// As a Contact named it; None for whom A called.
    pub party: Option<Uri>,
    /// The Request-URI that was asked.
    pub target: Uri,
    pub status: u16,
}

impl Rerouted {
    /// Sent on by the party, not declined.
    pub const fn is_redirect(&self) -> bool {
        matches!(self.status, 300..400)
    }
}

/// Writes the history into an INVITE whose sender keeps one: its own target, each that sent it on, and where it goes now
/// (RFC 7044 §9.3, §10.3 rule 4).
pub fn write_history(received: &Request, rerouting: &[Rerouted], invite: &mut Request) {
    let supported = received.headers.get_all("Supported").flat_map(|value| value.split(','));
    let mut supported = supported.map(str::trim);
    let keeps = received.headers.contains("History-Info") || supported.any(|tag| tag.eq_ignore_ascii_case("histinfo"));
    if rerouting.is_empty() || !keeps {
        return;
    }
    let Some(root) = last_index(&received.headers) else {
        return;
    };
    if !received.headers.contains("History-Info") {
        let entry = format!("<{}>;index={root}", received.uri.without_headers());
        invite.headers.push("History-Info", entry);
    }
    let mut before = None;
    for (number, rerouted) in (1..).zip(rerouting) {
        let reason = format!("?Reason=SIP%3Bcause%3D{}", rerouted.status);
        let entry = entry(&rerouted.target, &reason, &root, number, before);
        invite.headers.push("History-Info", entry);
        if rerouted.is_redirect() {
            before = Some(number);
        }
    }
    let number = rerouting.len() + 1;
    let entry = entry(&invite.uri, "", &root, number, before);
    invite.headers.push("History-Info", entry);
}

fn entry(uri: &Uri, reason: &str, root: &str, number: usize, before: Option<usize>) -> String {
    let source = match before {
        Some(before) => format!("mp={root}.{before}"),
        None => format!("np={root}"),
    };
    format!("<{}{reason}>;index={root}.{number};{source}", uri.without_headers())
}

/// The index of the newest entry; 1 if there is none. None if it cannot be read.
fn last_index(headers: &Headers) -> Option<String> {
    if headers.get_all("History-Info").count() > HISTORY_MAX {
        return None;
    }
    let Some(last) = headers.get_all("History-Info").last() else {
        return Some("1".to_owned());
    };
    let last = NameAddr::parse(last).ok()?;
    let index = last.param("index")?;
    let is_index = index.len() <= 64 && index.split('.').all(|part| part.parse::<u16>().is_ok());
    is_index.then(|| index.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sip::Method;

    fn request(more: &[(&str, &str)]) -> Request {
        let uri = Uri::parse("sip:bob@example.com").unwrap();
        let party = NameAddr::new(uri.clone());
        let mut request = Request::new(Method::Invite, uri, party.clone(), party, "c1", 1);
        for (name, value) in more {
            request.headers.push(name, *value);
        }
        request
    }

    fn redirect(status: u16, contact: &str) -> Response {
        let mut response = Response::to(&request(&[]), status, None, Some("t"));
        response.headers.push("Contact", contact);
        response
    }

    #[test]
    fn contacts_come_by_q_and_what_no_call_can_go_to_is_left_out() {
        let response = redirect(
            302,
            "<sip:a@x>;q=0.25, <mailto:b@x>, <urn:service:sos>;q=0.2, <sip:c@x?Subject=hi>;q=0.5, <tel:+44>;q=0.3, *, <sip:d@x>, <sip:e@x>;q=1.7, <sip:f@x>;q=x",
        );
        let uris: Vec<String> = contacts(&response).iter().map(Uri::to_string).collect();
        let by_q = [
            "sip:d@x",
            "sip:e@x",
            "sip:f@x",
            "sip:c@x?Subject=hi",
            "tel:+44",
            "sip:a@x",
            "urn:service:sos",
        ];
        assert_eq!(uris, by_q);
        assert!(contacts(&redirect(305, "<sip:a@x>")).is_empty());
        let many = vec!["<sip:a@x>"; 100].join(", ");
        assert_eq!(contacts(&redirect(300, &many)).len(), CONTACTS_READ_MAX);
    }

    fn history(received: &Request) -> Vec<String> {
        let mut invite = request(&[]);
        invite.uri = Uri::parse("sip:carol@192.0.2.3").unwrap();
        let bob = Rerouted {
            party: None,
            target: Uri::parse("sip:bob@192.0.2.2").unwrap(),
            status: 302,
        };
        write_history(received, &[bob], &mut invite);
        invite.headers.get_all("History-Info").map(str::to_owned).collect()
    }

    #[test]
    fn a_history_is_begun_where_the_caller_wants_one_and_goes_on_where_there_is_one() {
        assert!(history(&request(&[])).is_empty());
        let wanted = history(&request(&[("Supported", "timer, histinfo")]));
        assert_eq!(
            wanted,
            [
                "<sip:bob@example.com>;index=1",
                "<sip:bob@192.0.2.2?Reason=SIP%3Bcause%3D302>;index=1.1;np=1",
                "<sip:carol@192.0.2.3>;index=1.2;mp=1.1",
            ]
        );
        let kept = history(&request(&[(
            "History-Info",
            "<sip:x@y>;index=1, <sip:bob@example.com>;index=1.1",
        )]));
        assert_eq!(kept[1], "<sip:carol@192.0.2.3>;index=1.1.2;mp=1.1.1");
        assert!(history(&request(&[("History-Info", "<sip:x@y>;index=1..")])).is_empty());
    }
}
