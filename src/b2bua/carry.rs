//! Which headers cross from one leg to the other. Everything that is not listed here stays behind: it belongs to one
//! hop or one dialog (Via, Route, Contact, Call-ID, CSeq, …) or promises what we do not keep (timer).

use crate::sip::Headers;

/// Headers that describe the call or its parties, carried as they are, in requests and responses.
const END_TO_END: &[&str] = &[
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Authentication-Info",
    "Authorization",
    "Call-Info",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "Date",
    "Diversion",
    "Error-Info",
    "Geolocation",
    "Geolocation-Error",
    "Geolocation-Routing",
    "History-Info",
    "Identity",
    "In-Reply-To",
    "Info-Package",
    "MIME-Version",
    "Organization",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Reason",
    "Recv-Info",
    "Referred-By",
    "Remote-Party-ID",
    "Reply-To",
    "Resource-Priority",
    "Server",
    "Session-ID",
    "Subject",
    "User-Agent",
    "User-to-User",
    "WWW-Authenticate",
    "Warning",
];

/// Names that begin like this are private agreements of the peers (RFC 3427, RFC 7315).
const PRIVATE_PREFIXES: [&str; 2] = ["X-", "P-"];

/// Says what we decided; from anybody else it is a lie.
const DECISION_HEADER: &str = "X-Recording-Decision";

/// Option tags that mean the same end to end through us (RFC 3261 §19.2).
const OPTIONS_CARRIED: [&str; 4] = ["histinfo", "resource-priority", "answermode", "100rel"];

/// The methods that we carry or answer, as Allow says it.
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, UPDATE, PRACK";

/// Copies from `from` to `to` what the allow rule carries.
pub fn carry(from: &Headers, to: &mut Headers) {
    for (name, value) in carried(from) {
        to.push(&name, value);
    }
    let supported = options(from, "Supported")
        .filter(|option| is_option_carried(option))
        .collect::<Vec<_>>();
    if !supported.is_empty() {
        to.push("Supported", supported.join(", "));
    }
    let required = options(from, "Require")
        .filter(|option| is_option_carried(option))
        .collect::<Vec<_>>();
    if !required.is_empty() {
        to.push("Require", required.join(", "));
    }
}

/// The lines that cross as they are.
pub fn carried(from: &Headers) -> Vec<(String, String)> {
    let lines = from.iter().filter(|(name, _)| is_carried(name));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The option tags in Require and Proxy-Require that are not ours (RFC 3261 §8.2.2.3, §16.3 item 5).
pub fn unsupported(headers: &Headers) -> Vec<String> {
    options(headers, "Require")
        .chain(options(headers, "Proxy-Require"))
        .filter(|option| !is_option_carried(option))
        .map(str::to_owned)
        .collect()
}

fn is_carried(name: &str) -> bool {
    if name.eq_ignore_ascii_case(DECISION_HEADER) {
        return false;
    }
    PRIVATE_PREFIXES
        .iter()
        .any(|prefix| name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
        || END_TO_END.iter().any(|carried| carried.eq_ignore_ascii_case(name))
}

fn is_option_carried(option: &str) -> bool {
    OPTIONS_CARRIED
        .iter()
        .any(|carried| carried.eq_ignore_ascii_case(option))
}

fn options<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Method, NameAddr, Request, Uri};

    fn blank() -> Headers {
        let uri = Uri::parse("sip:alice@example.com").expect("a URI");
        let party = NameAddr::new(uri.clone());
        let mut headers = Request::new(Method::Invite, uri, party.clone(), party, "c1", 1).headers;
        headers.remove("Max-Forwards");
        headers
    }

    #[test]
    fn headers_of_the_call_cross_and_headers_of_the_hop_stay() {
        let mut from = blank();
        for (name, value) in [
            ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
            ("Contact", "<sip:a@192.0.2.1>"),
            ("Route", "<sip:192.0.2.2;lr>"),
            ("Session-Expires", "90"),
            ("P-Asserted-Identity", "<sip:alice@example.com>"),
            ("x-ticket", "7"),
            ("X-Recording-Decision", "id=1"),
            ("Diversion", "<sip:bob@example.com>"),
            ("Supported", "100rel, timer, histinfo"),
            ("Require", "resource-priority"),
        ] {
            from.push(name, value);
        }
        let mut to = blank();
        carry(&from, &mut to);
        let crossed = to
            .iter()
            .skip(4)
            .map(|(name, value)| format!("{name}: {value}"))
            .collect::<Vec<_>>();
        assert_eq!(
            crossed,
            [
                "P-Asserted-Identity: <sip:alice@example.com>",
                "x-ticket: 7",
                "Diversion: <sip:bob@example.com>",
                "Supported: 100rel, histinfo",
                "Require: resource-priority",
            ]
        );
    }

    #[test]
    fn an_unknown_demand_is_named() {
        let mut headers = blank();
        headers.push("Require", "nothing, 100rel, histinfo");
        headers.push("Proxy-Require", "nothingSupportsThis");
        assert_eq!(unsupported(&headers), ["nothing", "nothingSupportsThis"]);
    }
}
