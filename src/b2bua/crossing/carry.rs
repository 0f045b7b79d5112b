//! Which headers cross from one leg to the other. Everything that is not listed here stays behind: it belongs to one
//! hop or one dialog (Via, Route, Contact, Call-ID, CSeq, …) or is settled leg by leg (timer).

use std::sync::Arc;

use crate::b2bua::call::Call;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::{Headers, Method, Response};
use crate::trunk::{Refer, Trunk};

/// Between whom a message crosses: who of them is in our trust domain (RFC 3325 §2.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Crossing {
    pub from_trusted: bool,
    pub to_trusted: bool,
    /// REFERs that come from there are executed by us.
    pub from_refers_to_us: bool,
    pub to_refers_to_us: bool,
    pub from_uses: Methods,
    pub to_uses: Methods,
    /// What one of the trunks has named to be carried, from it or to it.
    pub named: [Option<Arc<[String]>>; 2],
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
            named: [from.carry.clone(), to.carry.clone()],
        }
    }

    fn names(&self, header: &str) -> bool {
        let mut named = self.named.iter().flatten().flat_map(|names| names.iter());
        named.any(|name| name.eq_ignore_ascii_case(header))
    }

    /// The way back, of the response.
    #[must_use]
    pub fn back(&self) -> Self {
        Self {
            from_trusted: self.to_trusted,
            to_trusted: self.from_trusted,
            from_refers_to_us: self.to_refers_to_us,
            to_refers_to_us: self.from_refers_to_us,
            from_uses: self.to_uses,
            to_uses: self.from_uses,
            named: self.named.clone(),
        }
    }
}

impl Call {
    /// Of a message that came by `from`, on its way to the other leg.
    pub(in crate::b2bua) fn crossing(&self, from: Leg) -> Crossing {
        Crossing::between(&self.leg(from).trunk, &self.leg(from.other()).trunk)
    }

    /// What a response that came by `from` tells the other leg.
    pub(in crate::b2bua) fn carry_back(&self, turn: &Turn<'_>, from: Leg, response: &Response, answer: &mut Response) {
        carry(&self.crossing(from), &response.headers, &mut answer.headers);
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
const CORRELATION: [&str; 4] = [
    "Av-Global-Session-ID",
    "Cisco-Gucid",
    "Cisco-Guid",
    "MS-Conversation-ID",
];

/// Names that begin like this are private agreements of the peers (RFC 3427, RFC 7315).
const PRIVATE_PREFIXES: [&str; 2] = ["X-", "P-"];

/// Who calls or answers, as a network found out. From outside the trust domain it is a claim that the next hop would take
/// for ours (RFC 3325 §5); to the outside it goes unless its user asked for privacy (§7).
const ASSERTED: [&str; 2] = ["P-Asserted-Identity", "Remote-Party-ID"];

/// What a trust domain says to itself, of charging, access and profiles (RFC 7315 §4, RFC 5502 §4, RFC 6050 §4.1, RFC 7316):
/// what a network found out of the call (RFC 8496, 3GPP TS 24.229), and what its nodes can do (RFC 6809): it neither enters nor leaves.
const DOMAIN_INTERNAL: [&str; 14] = [
    "Attestation-Info",
    "Cellular-Network-Info",
    "Charge-Info",
    "Feature-Caps",
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
pub fn carry(crossing: &Crossing, from: &Headers, to: &mut Headers) {
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
fn allowed(crossing: &Crossing, from: &Headers) -> Option<String> {
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
pub fn carried<'a>(crossing: &'a Crossing, from: &'a Headers) -> impl Iterator<Item = (&'a str, &'a str)> {
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

fn is_carried(crossing: &Crossing, from: &Headers, name: &str) -> bool {
    let is_one_of = |names: &[&str]| names.iter().any(|listed| listed.eq_ignore_ascii_case(name));
    if is_one_of(&NEVER) {
        return false;
    }
    if is_one_of(&ASSERTED) {
        return crossing.from_trusted && (crossing.to_trusted || !wants_privacy(from));
    }
    if is_one_of(&DOMAIN_INTERNAL) {
        return crossing.from_trusted && crossing.to_trusted || crossing.names(name);
    }
    is_one_of(END_TO_END)
        || is_one_of(&CORRELATION)
        || crossing.names(name)
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

pub(in crate::b2bua) fn options<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).flat_map(options_in)
}

fn options_in(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests;
