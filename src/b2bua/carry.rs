//! Which headers cross from one leg to the other. Everything that is not listed here stays behind: it belongs to one
//! hop or one dialog (Via, Route, Contact, Call-ID, CSeq, …) or is settled leg by leg (timer).

use super::call::Call;
use super::turn::Turn;
use crate::model::Leg;
use crate::sip::{Headers, Method, Response};
use crate::trunk::{Refer, Trunk};

/// Between whom a message crosses: who of them is in our trust domain (RFC 3325 §2.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crossing {
    pub from_trusted: bool,
    pub to_trusted: bool,
    /// REFERs that come from there are executed by us.
    pub from_refers_to_us: bool,
    pub to_refers_to_us: bool,
    pub from_uses: Methods,
    pub to_uses: Methods,
}

/// Of the methods in [`ALLOW`] those that a trunk may use, a bit for each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Methods(u16);

impl Methods {
    pub const ALL: Self = Self(u16::MAX);

    fn of(trunk: &Trunk) -> Self {
        if trunk.methods.is_none() {
            return Self::ALL;
        }
        let may_use = |word| Method::parse(word).is_some_and(|method| trunk.may_use(&method));
        let listed = options_in(ALLOW).enumerate().filter(|(_, word)| may_use(word));
        Self(listed.fold(0, |bits, (at, _)| bits | 1 << at))
    }

    const fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }
}

impl Crossing {
    pub fn between(from: &Trunk, to: &Trunk) -> Self {
        Self {
            from_trusted: from.trusted,
            to_trusted: to.trusted,
            from_refers_to_us: from.conduct.refer == Refer::Execute,
            to_refers_to_us: to.conduct.refer == Refer::Execute,
            from_uses: Methods::of(from),
            to_uses: Methods::of(to),
        }
    }

    /// The way back, of the response.
    #[must_use]
    pub const fn back(self) -> Self {
        Self {
            from_trusted: self.to_trusted,
            to_trusted: self.from_trusted,
            from_refers_to_us: self.to_refers_to_us,
            to_refers_to_us: self.from_refers_to_us,
            from_uses: self.to_uses,
            to_uses: self.from_uses,
        }
    }
}

impl Call {
    /// Of a message that came by `from`, on its way to the other leg.
    pub(super) fn crossing(&self, from: Leg) -> Crossing {
        Crossing::between(&self.leg(from).trunk, &self.leg(from.other()).trunk)
    }

    /// What a response that came by `from` tells the other leg.
    pub(super) fn carry_back(&self, turn: &Turn<'_>, from: Leg, response: &Response, answer: &mut Response) {
        carry(self.crossing(from), &response.headers, &mut answer.headers);
        self.cross_identities(turn, from, &mut answer.headers);
    }

    /// Of a message that came by `from`: the identities in it, as the other leg's trunk wants them.
    pub(super) fn cross_identities(&self, turn: &Turn<'_>, from: Leg, headers: &mut Headers) {
        let (theirs, ours) = (&self.leg(from).trunk, &self.leg(from.other()).trunk);
        super::numbering::cross_identities(headers, theirs, ours, turn.policies);
    }
}

/// Headers that describe the call or its parties, carried as they are, in requests and responses.
const END_TO_END: &[&str] = &[
    "Accept",
    "Accept-Contact",
    "Accept-Encoding",
    "Accept-Language",
    "Accept-Resource-Priority",
    "Alert-Info",
    "Allow-Events",
    "Answer-Mode",
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
    "Event",
    "Expires",
    "Geolocation",
    "Geolocation-Error",
    "Geolocation-Routing",
    "History-Info",
    "Identity",
    "In-Reply-To",
    "Info-Package",
    "Join",
    "MIME-Version",
    "Min-Expires",
    "Organization",
    "Priority",
    "Priv-Answer-Mode",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Reason",
    "Recv-Info",
    "Refer-Sub",
    "Refer-To",
    "Referred-By",
    "Reject-Contact",
    "Replaces",
    "Reply-To",
    "Request-Disposition",
    "Resource-Priority",
    "SIP-ETag",
    "SIP-If-Match",
    "Server",
    "Session-ID",
    "Subject",
    "Subscription-State",
    "Suppress-If-Match",
    "Target-Dialog",
    "User-Agent",
    "User-to-User",
    "WWW-Authenticate",
    "Warning",
];

/// By which two PBXs know one call in their records, like Session-ID before there was one.
const CORRELATION: [&str; 2] = ["Av-Global-Session-ID", "Cisco-Guid"];

/// Names that begin like this are private agreements of the peers (RFC 3427, RFC 7315).
const PRIVATE_PREFIXES: [&str; 2] = ["X-", "P-"];

/// Who calls or answers, as a network found out. From outside the trust domain it is a claim that the next hop would take
/// for ours (RFC 3325 §5); to the outside it goes unless its user asked for privacy (§7).
const ASSERTED: [&str; 2] = ["P-Asserted-Identity", "Remote-Party-ID"];

/// What a trust domain says to itself, of charging, access and profiles (RFC 7315 §4, RFC 5502 §4, RFC 6050 §4.1, RFC 7316):
/// and what a network found out of the call (RFC 8496, 3GPP TS 24.229): it neither enters nor leaves.
const DOMAIN_INTERNAL: [&str; 13] = [
    "Attestation-Info",
    "Cellular-Network-Info",
    "Charge-Info",
    "Origination-Id",
    "P-Access-Network-Info",
    "P-Asserted-Service",
    "P-Charging-Function-Addresses",
    "P-Charging-Vector",
    "P-Private-Network-Indication",
    "P-Profile-Key",
    "P-Served-User",
    "P-User-Database",
    "P-Visited-Network-ID",
];

/// Never cross: wishes to the first trusted proxy, which we are (RFC 3325 §6, RFC 6050 §4.2), and what we decided, which from
/// anybody else is a lie.
const NEVER: [&str; 3] = ["P-Preferred-Identity", "P-Preferred-Service", "X-Recording-Decision"];

/// Option tags that mean the same end to end through us (RFC 3261 §19.2).
const OPTIONS_CARRIED: &[&str] = &[
    "100rel",
    "answermode",
    "eventlist",
    "from-change",
    "histinfo",
    "join",
    "norefersub",
    "precondition",
    PRIVACY,
    "record-aware",
    "replaces",
    "resource-priority",
    "tdialog",
];

/// Asked of proxies, not of the far end.
const PRIVACY: &str = "privacy";

/// Option tags that we keep ourselves, leg by leg.
const OPTIONS_OURS: [&str; 1] = ["timer"];

/// The methods that we carry or answer, as Allow says it.
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, UPDATE, REFER, SUBSCRIBE, NOTIFY, PRACK";

/// The same of requests outside any dialog.
pub const ALLOW_OUTSIDE: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, UPDATE, REFER, SUBSCRIBE, NOTIFY, PRACK, PUBLISH, REGISTER";

/// Copies from `from` to `to` what the allow rule carries.
pub fn carry(crossing: Crossing, from: &Headers, to: &mut Headers) {
    for (name, value) in carried(crossing, from) {
        to.push(name, value);
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
    // Privacy crosses, so whoever comes next has to understand it too (RFC 3323 §4.3).
    if options(from, "Proxy-Require").any(|option| option.eq_ignore_ascii_case(PRIVACY)) {
        to.push("Proxy-Require", PRIVACY);
    }
    if let Some(allow) = allowed(crossing, from) {
        to.push("Allow", allow);
    }
}

/// Of the methods that the sender allows those that come to it through us and that who hears of it may use. Who tells nothing of them (RFC 3261 §20.5) has
/// nothing told in its place.
fn allowed(crossing: Crossing, from: &Headers) -> Option<String> {
    let theirs: Vec<&str> = options(from, "Allow").collect();
    let is_ours = |method: &str| crossing.to_refers_to_us && method == Method::Refer.as_str();
    let allowed: Vec<&str> = options_in(ALLOW)
        .enumerate()
        .filter(|(at, method)| crossing.to_uses.has(*at) && (theirs.contains(method) || is_ours(method)))
        .map(|(_, method)| method)
        .collect();
    (!theirs.is_empty()).then(|| allowed.join(", "))
}

/// The lines that cross as they are.
pub fn carried(crossing: Crossing, from: &Headers) -> impl Iterator<Item = (&str, &str)> {
    from.iter().filter(move |(name, _)| is_carried(crossing, from, name))
}

/// The option tags in Require and Proxy-Require that are not ours (RFC 3261 §8.2.2.3, §16.3 item 5).
pub fn unsupported(headers: &Headers) -> Vec<String> {
    options(headers, "Require")
        .chain(options(headers, "Proxy-Require"))
        .filter(|option| {
            !is_option_carried(option) && !OPTIONS_OURS.iter().any(|ours| ours.eq_ignore_ascii_case(option))
        })
        .map(str::to_owned)
        .collect()
}

fn is_carried(crossing: Crossing, from: &Headers, name: &str) -> bool {
    let is_one_of = |names: &[&str]| names.iter().any(|listed| listed.eq_ignore_ascii_case(name));
    if is_one_of(&NEVER) {
        return false;
    }
    if is_one_of(&ASSERTED) {
        return crossing.from_trusted && (crossing.to_trusted || !wants_privacy(from));
    }
    if is_one_of(&DOMAIN_INTERNAL) {
        return crossing.from_trusted && crossing.to_trusted;
    }
    is_one_of(END_TO_END)
        || is_one_of(&CORRELATION)
        || PRIVATE_PREFIXES
            .iter()
            .any(|prefix| name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
}

/// Whether the user asked that its asserted identity stay in the trust domain: `Privacy: id` (RFC 3325 §9.3), or the
/// `privacy` parameter with which Remote-Party-ID said the same before there was a Privacy header.
fn wants_privacy(headers: &Headers) -> bool {
    let mut asked = headers.get_all("Privacy").flat_map(|value| value.split(';'));
    let mut remote = headers.addresses("Remote-Party-ID").into_iter();
    asked.any(|value| value.trim().eq_ignore_ascii_case("id"))
        || remote.any(|party| {
            party
                .param("privacy")
                .is_some_and(|privacy| !privacy.eq_ignore_ascii_case("off"))
        })
}

fn is_option_carried(option: &str) -> bool {
    OPTIONS_CARRIED
        .iter()
        .any(|carried| carried.eq_ignore_ascii_case(option))
}

pub(super) fn options<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).flat_map(options_in)
}

fn options_in(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Method, NameAddr, Request, Uri};

    const INSIDE: Crossing = Crossing {
        from_trusted: true,
        to_trusted: true,
        from_refers_to_us: false,
        to_refers_to_us: false,
        from_uses: Methods::ALL,
        to_uses: Methods::ALL,
    };
    const INWARD: Crossing = Crossing {
        from_trusted: false,
        to_trusted: true,
        from_refers_to_us: false,
        to_refers_to_us: false,
        from_uses: Methods::ALL,
        to_uses: Methods::ALL,
    };
    const OUTWARD: Crossing = Crossing {
        from_trusted: true,
        to_trusted: false,
        from_refers_to_us: false,
        to_refers_to_us: false,
        from_uses: Methods::ALL,
        to_uses: Methods::ALL,
    };

    /// The names that cross, of an INVITE with these lines.
    fn crossed(crossing: Crossing, lines: &[(&str, &str)]) -> Vec<String> {
        let mut from = blank();
        for (name, value) in lines {
            from.push(name, *value);
        }
        let mut to = blank();
        carry(crossing, &from, &mut to);
        to.iter().skip(4).map(|(name, _)| name.to_owned()).collect()
    }

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
        carry(INSIDE, &from, &mut to);
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

    #[test]
    fn of_the_methods_that_a_peer_allows_those_cross_that_come_to_it_through_us() {
        let told = |crossing, lines: &[&str]| {
            let (mut from, mut to) = (blank(), blank());
            lines.iter().for_each(|allow| from.push("Allow", *allow));
            carry(crossing, &from, &mut to);
            to.get_all("Allow").collect::<Vec<_>>().join(" ")
        };
        let lines = ["PRACK,KDMQ", "INVITE, ACK,BYE ,CANCEL, UPDATE"];
        assert_eq!(told(INSIDE, &lines), "INVITE ACK BYE CANCEL UPDATE PRACK");
        assert!(told(INSIDE, &[]).is_empty(), "who tells nothing may allow anything");
        let executed = Crossing {
            to_refers_to_us: true,
            ..INSIDE
        };
        assert_eq!(
            told(executed, &["INVITE, ACK"]),
            "INVITE ACK REFER",
            "REFER is ours there"
        );
        assert_eq!(told(executed.back(), &["INVITE, ACK"]), "INVITE ACK");
    }

    #[test]
    fn an_identity_asserted_outside_the_trust_domain_stays_outside() {
        let lines = [
            ("P-Asserted-Identity", "<sip:ceo@example.com>"),
            ("p-asserted-identity", "<tel:+15551234>"),
            ("Remote-Party-ID", "<sip:ceo@example.com>"),
            ("P-Charging-Vector", "icid-value=1"),
            ("Identity", "signed"),
        ];
        assert_eq!(crossed(INWARD, &lines), ["Identity"]);
        assert_eq!(crossed(INSIDE, &lines).len(), 5);
    }

    #[test]
    fn privacy_keeps_an_asserted_identity_from_whom_we_do_not_trust_and_from_nobody_else() {
        let lines = |privacy| [("P-Asserted-Identity", "<sip:a@example.com>"), ("Privacy", privacy)];
        assert_eq!(crossed(OUTWARD, &lines("id")), ["Privacy"]);
        assert_eq!(crossed(OUTWARD, &lines("header; ID;critical")), ["Privacy"]);
        assert_eq!(crossed(OUTWARD, &lines("none")), ["P-Asserted-Identity", "Privacy"]);
        assert_eq!(crossed(OUTWARD, &lines("header")), ["P-Asserted-Identity", "Privacy"]);
        assert_eq!(crossed(INSIDE, &lines("id")), ["P-Asserted-Identity", "Privacy"]);
        let older = [("Remote-Party-ID", "<sip:a@example.com>;privacy=full")];
        assert!(crossed(OUTWARD, &older).is_empty());
        assert_eq!(crossed(INSIDE, &older), ["Remote-Party-ID"]);
    }

    #[test]
    fn what_a_trust_domain_says_to_itself_does_not_leave_it() {
        let lines = [
            ("P-Charging-Vector", "icid-value=1"),
            ("P-Access-Network-Info", "IEEE-802.11"),
            ("Charge-Info", "<sip:+12025550100@example.com;user=phone>;npi=ISDN"),
            ("Attestation-Info", "A"),
            ("Origination-ID", "123e4567-e89b-12d3-a456-426655440000"),
            ("X-Ticket", "7"),
        ];
        assert_eq!(crossed(OUTWARD, &lines), ["X-Ticket"]);
        assert_eq!(crossed(INWARD, &lines), ["X-Ticket"]);
        assert_eq!(crossed(INSIDE, &lines).len(), lines.len());
    }

    #[test]
    fn by_what_the_pbxs_know_one_call_crosses_everywhere() {
        let lines = [
            ("Cisco-Guid", "2301394278-0000065536-0000000113-0339911690"),
            ("Av-Global-Session-ID", "3f4b2d00-1dd2-11b2-8000-005056a0c4d2"),
            (
                "Session-ID",
                "f81d4fae7dec11d0a76500a0c91e6bf6;remote=00000000000000000000000000000000",
            ),
        ];
        for crossing in [INSIDE, INWARD, OUTWARD] {
            assert_eq!(crossed(crossing, &lines).len(), 3, "{crossing:?}");
        }
    }

    #[test]
    fn wishes_and_lies_cross_to_nobody() {
        let lines = [
            ("P-Preferred-Identity", "<sip:ceo@example.com>"),
            ("x-recording-decision", "none"),
            ("Via", "SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKevil"),
            ("Record-Route", "<sip:192.0.2.66;lr>"),
            ("Path", "<sip:192.0.2.66;lr>"),
            ("Service-Route", "<sip:192.0.2.66;lr>"),
            ("Max-Forwards", "1"),
            ("Contact", "<sip:192.0.2.66>"),
        ];
        for crossing in [INSIDE, INWARD, OUTWARD] {
            assert_eq!(crossed(crossing, &lines), [""; 0], "{crossing:?}");
        }
    }
}
