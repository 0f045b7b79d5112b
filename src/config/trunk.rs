//! `[[trunk]]`: a neighbour, who may send as it, where it is reached, and the rules of what crosses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;

use super::codecs::codecs;
use super::listen::{Delivery, Listen, TRANSPORTS, delivery};
use super::read::LIST_MAX;
use super::{Peer, Trunk};
use crate::model::TrunkName;
use crate::policy::Code;
use crate::policy::reader::{Table, Words, shown};
use crate::sip::{MAX_FORWARDS, Method, Transport};
use crate::trunk::rewrite::RULES_MAX;
use crate::trunk::{
    Caps, Dtls, Field, Host, Ice, Network, Passage, Probe, Rank, Rewrite, RuleError, SdesOver, Secrecy, Site, Source,
    Srtp,
};

/// Destinations of one trunk.
const SITES_MAX: usize = 64;
/// Codecs, methods or codes that one list names.
pub(super) const WORDS_MAX: usize = 64;
const PROBE_DEFAULT: Duration = Duration::from_secs(30);
const PROBE_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
const CALLS_MAX: i64 = 1_000_000;
/// How requests that are too long for a datagram reach a trunk of UDP (RFC 3261 §18.1.1): as datagrams all the same?
const LARGE_REQUESTS: &Words<bool> = &[("tcp", false), ("udp", true)];
const SRTP: &Words<Srtp> = &[
    ("refuse", Srtp::Refuse),
    ("allow", Srtp::Allow),
    ("require", Srtp::Require),
];
const DTLS: &Words<Dtls> = &[
    ("refuse", Dtls::Refuse),
    ("allow", Dtls::Allow),
    ("require", Dtls::Require),
];
const ICE: &Words<Ice> = &[("refuse", Ice::Refuse), ("allow", Ice::Allow), ("offer", Ice::Offer)];
const SDES_OVER: &Words<SdesOver> = &[("tls", SdesOver::Tls), ("any", SdesOver::Any)];
const PASSAGES: &Words<Passage> = &[("in", Passage::In), ("out", Passage::Out)];

/// Trunks and where their names are written.
pub(super) type Trunks = Vec<(Trunk, Range<usize>)>;

pub(super) fn trunks(root: &Table<'_>, listen: &Listen) -> (Trunks, BTreeMap<TrunkName, Delivery>) {
    let tables = root.tables("trunk", "a trunk field");
    if tables.is_empty() && !root.has("trunk") {
        let finding = root
            .at(Code::Missing, root.span(), "there is no `[[trunk]]`")
            .label("who may send calls?");
        root.note(finding.hint("add `[[trunk]]` with `name = \"pbx\"` and `peers = [\"192.0.2.10\"]`"));
    }
    let mut trunks: Trunks = Vec::new();
    let mut deliveries = BTreeMap::new();
    for table in tables.iter().take(LIST_MAX) {
        let name = table.required_text("name", "what routes and grants call it by");
        let mut trunk = trunk(table, &trunks, listen);
        let delivery = delivery(table, trunk.transport);
        let is_certified = delivery.tls.as_ref().is_some_and(|tls| tls.ca.is_some());
        trunk.sites.iter_mut().for_each(|site| site.certified = is_certified);
        table.finish();
        let Some(name) = name else { continue };
        if !crate::policy::is_name(name.get_ref()) {
            table.malformed(
                "name",
                &name.span(),
                name.get_ref(),
                "letters, digits, `-`, `_` and `.`, at most 64 of them",
            );
        }
        if trunks.iter().any(|(other, _)| other.name.as_str() == *name.get_ref()) {
            let message = format!("trunk `{}` is defined twice", shown(name.get_ref()));
            table.note(table.at(Code::DuplicateTrunk, &name.span(), message));
        }
        let name_of = TrunkName::from(*name.get_ref());
        if delivery != Delivery::default() {
            deliveries.insert(name_of.clone(), delivery);
        }
        trunks.push((Trunk { name: name_of, ..trunk }, name.span()));
    }
    (trunks, deliveries)
}

/// Everything but the name.
fn trunk(table: &Table<'_>, others: &Trunks, listen: &Listen) -> Trunk {
    let transport = table.choice("transport", TRANSPORTS).map(Spanned::into_inner);
    let sites = sites(table, transport);
    let (mut peers, networks) = peers(table, others, sites.is_empty());
    for (site, span) in &sites {
        // Where we send to may answer, and call.
        if let Host::Address(ip) = site.host {
            let peer = Peer { ip, port: site.port };
            if !peers.iter().any(|known| overlaps(known, &peer)) {
                apart(table, others, peer.into(), span, &site_text(site));
                peers.push(peer);
            }
        }
    }
    let has_names = sites.iter().any(|(site, _)| matches!(site.host, Host::Name(_)));
    let by = transport.unwrap_or(Transport::Udp);
    let mut transports: Vec<Transport> = sites.iter().map(|(site, _)| site.transport.unwrap_or(by)).collect();
    transports.extend(sites.is_empty().then_some(by));
    let secrecy = Secrecy {
        srtp: chosen(table, "srtp", SRTP),
        sdes_over: chosen(table, "sdes_over", SDES_OVER),
        dtls: chosen(table, "dtls", DTLS),
        ice: chosen(table, "ice", ICE),
    };
    let may_be_secure = has_names && transport.is_none() || transports.iter().any(|by| by.is_secure());
    if !may_be_secure {
        doubt_keys(table, secrecy);
    }
    Trunk {
        near: super::near::near(table, listen, Some(&transports[..]).filter(|_| !has_names)),
        sites: sites.into_iter().map(|(site, _)| site).collect(),
        transport: by,
        trusted: table.boolean("trusted").unwrap_or(false),
        nat: table.boolean("nat").unwrap_or(false),
        secrecy,
        conduct: super::credentials::conduct(table),
        probe: probe(table),
        datagrams_only: table
            .choice("large_requests", LARGE_REQUESTS)
            .is_some_and(Spanned::into_inner),
        e164: table.boolean("e164").unwrap_or(false),
        rewrites: rewrites(table),
        methods: methods(table),
        codecs: codecs(table),
        carry: super::carried::carry(table),
        caps: Caps {
            calls_max: integer(table, "calls_max"),
            calls_per_second: integer(table, "calls_per_second").and_then(NonZeroU32::new),
        },
        networks,
        ..Trunk::new(TrunkName::from(""), peers)
    }
}

fn peers(table: &Table<'_>, others: &Trunks, required: bool) -> (Vec<Peer>, Vec<Network>) {
    let wanted = "an IP address, with or without a port, or a range, like \"192.0.2.10\", \"192.0.2.10:5060\", \
                  \"[2001:db8::1]:5060\" or \"192.0.2.0/24\"";
    let texts = if required {
        table.required_texts("peers", wanted)
    } else {
        table.texts("peers")
    };
    if let Some(texts) = &texts
        && texts.is_empty()
        && required
    {
        table.malformed(
            "peers",
            &table.key_span("peers"),
            "[]",
            "at least one; calls are sent to the first that answers",
        );
    }
    let (mut peers, mut networks) = (Vec::new(), Vec::new());
    for text in texts.unwrap_or_default().into_iter().take(LIST_MAX) {
        let (span, written) = (text.span(), *text.get_ref());
        if written.contains('/') {
            match Network::parse(written) {
                Ok(network) => {
                    apart(table, others, network.into(), &span, written);
                    networks.push(network);
                }
                Err(error) => table.malformed("peers", &span, written, &error.to_string()),
            }
            continue;
        }
        let Some(peer) = peer(written) else {
            table.malformed("peers", &span, written, wanted);
            continue;
        };
        apart(table, others, peer.into(), &span, written);
        peers.push(peer);
    }
    (peers, networks)
}

/// Notes a peer that another trunk has too.
fn apart(table: &Table<'_>, others: &Trunks, source: Source, span: &Range<usize>, written: &str) {
    let shared = others.iter().find_map(|(trunk, _)| {
        let other = trunk.senders().find(|other| shares(other, &source))?;
        Some((trunk, other))
    });
    let Some((owner, other)) = shared else { return };
    let (message, hint) = match (other, source) {
        (Source::Peer(_), Source::Peer(_)) => (
            format!("`{written}` is a peer of trunk `{}` too", owner.name),
            "tell them apart by their ports",
        ),
        (Source::Network(network), _) => (
            format!("`{written}` is in `{network}`, which trunk `{}` has too", owner.name),
            "give each address to one trunk: smaller ranges, or single addresses",
        ),
        (Source::Peer(peer), Source::Network(_)) => (
            format!("`{written}` contains {}, a peer of trunk `{}`", peer.ip, owner.name),
            "give each address to one trunk: smaller ranges, or single addresses",
        ),
    };
    let finding = table.at(Code::DuplicatePeer, span, message);
    let finding = finding.effect("a message from there could be of either trunk");
    table.note(finding.hint(hint));
}

/// Whether a message could be of both.
fn shares(a: &Source, b: &Source) -> bool {
    match (a, b) {
        (Source::Peer(a), Source::Peer(b)) => overlaps(a, b),
        (Source::Network(a), Source::Network(b)) => a.overlaps(b),
        (Source::Network(network), Source::Peer(peer)) | (Source::Peer(peer), Source::Network(network)) => {
            network.contains(peer.ip)
        }
    }
}

fn overlaps(a: &Peer, b: &Peer) -> bool {
    a.ip.to_canonical() == b.ip.to_canonical() && (a.port.is_none() || b.port.is_none() || a.port == b.port)
}

fn peer(text: &str) -> Option<Peer> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(Peer {
            ip: address.ip(),
            port: Some(address.port()),
        });
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|ip| Peer { ip, port: None })
}

/// `transport`: of the trunk, where it is written; it holds for names too, and spares NAPTR.
fn sites(table: &Table<'_>, transport: Option<Transport>) -> Vec<(Site, Range<usize>)> {
    let wanted =
        "an address or a name, like \"192.0.2.10:5060\", \"sip.example.com\" or \"sip:example.com;transport=tcp\"";
    let mut sites: Vec<(Site, Range<usize>)> = Vec::new();
    let tables = table.tables("destinations", "a destination field");
    too_many(table, "destinations", tables.len(), SITES_MAX);
    for entry in tables.into_iter().take(SITES_MAX) {
        let address = entry.required_text("address", wanted);
        let rank = Rank {
            priority: small(&entry, "priority").unwrap_or(0),
            weight: small(&entry, "weight").unwrap_or(0),
        };
        entry.finish();
        let Some(address) = address else { continue };
        let Some(site) = Site::parse(address.get_ref(), rank) else {
            entry.malformed("address", &address.span(), address.get_ref(), wanted);
            continue;
        };
        let site = Site {
            transport: site.transport.or(transport),
            ..site
        };
        let same = |(other, _): &(Site, Range<usize>)| {
            (&other.host, other.port, other.transport) == (&site.host, site.port, site.transport)
        };
        if sites.iter().any(same) {
            let message = format!("`{}` is listed twice", shown(address.get_ref()));
            entry.note(entry.at(Code::DuplicatePeer, &address.span(), message));
            continue;
        }
        sites.push((site, address.span()));
    }
    sites
}

fn site_text(site: &Site) -> String {
    site.place(Transport::Udp)
        .map(|(_, address)| address.to_string())
        .unwrap_or_default()
}

/// Of a trunk that is reached without TLS.
fn doubt_keys(table: &Table<'_>, secrecy: Secrecy) {
    if secrecy.srtp != Srtp::Require || secrecy.sdes_over == SdesOver::Any || secrecy.dtls == Dtls::Require {
        return;
    }
    let message = "SRTP is required, and this trunk is reached without TLS, over which its keys are not told";
    let finding = table.at(Code::UntellableKeys, &table.key_span("srtp"), message);
    let finding =
        finding.effect("calls to it are refused with 488, and calls from it unless they come by TLS or with DTLS-SRTP");
    table.note(finding.hint(
        "reach it by `transport = \"tls\"`; or `dtls = \"require\"`, or `sdes_over = \"any\"` if its network may read the keys",
    ));
}

/// The default where nothing is written.
fn chosen<T: Copy + Default>(table: &Table<'_>, key: &'static str, words: &Words<T>) -> T {
    table.choice(key, words).map_or_else(T::default, Spanned::into_inner)
}

fn small(table: &Table<'_>, key: &'static str) -> Option<u16> {
    let number = table.integer(key, 0..=i64::from(u16::MAX))?;
    u16::try_from(number.into_inner()).ok()
}

fn integer(table: &Table<'_>, key: &'static str) -> Option<u32> {
    let number = table.integer(key, 1..=CALLS_MAX)?;
    u32::try_from(number.into_inner()).ok()
}

fn probe(table: &Table<'_>) -> Option<Probe> {
    let probe = table.table("probe", "a probe field")?;
    let interval = probe.duration("interval").map_or(PROBE_DEFAULT, |interval| {
        if !PROBE_RANGE.contains(interval.get_ref()) {
            probe.out_of_range("interval", &interval.span(), "from 1s to 1h");
        }
        interval.into_inner()
    });
    let wanted = "final status codes, like \"200\" or \"405\"";
    let mut up_codes = Vec::new();
    for text in probe.texts("up_codes").unwrap_or_default().iter().take(WORDS_MAX) {
        match text.get_ref().parse::<u16>() {
            Ok(code) if (200..700).contains(&code) => up_codes.push(code),
            _ => probe.malformed("up_codes", &text.span(), text.get_ref(), wanted),
        }
    }
    let hops = probe.integer("max_forwards", 0..=i64::from(MAX_FORWARDS));
    probe.finish();
    Some(Probe {
        interval,
        up_codes,
        max_forwards: hops.map_or(MAX_FORWARDS, |hops| {
            u8::try_from(hops.into_inner()).unwrap_or(MAX_FORWARDS)
        }),
    })
}

fn rewrites(table: &Table<'_>) -> Vec<Rewrite> {
    let mut rules = Vec::new();
    let tables = table.tables("rewrite", "a rewrite field");
    too_many(table, "rewrite", tables.len(), RULES_MAX);
    for entry in tables.into_iter().take(RULES_MAX) {
        let passage = entry.choice("on", PASSAGES);
        if passage.is_none() && !entry.has("on") {
            let finding = entry.at(Code::Missing, entry.span(), "`on` is missing");
            entry.note(finding.label("needs `on`, \"in\" (from the trunk) or \"out\" (to it)"));
        }
        let field = entry.required_text(
            "field",
            "what is rewritten: `request_uri`, `from`, `to` or `header:NAME`",
        );
        let pattern = entry.required_text("match", "a regular expression, like '^0(\\d+)$'");
        let replacement = entry.text("replace");
        if !entry.has("replace") {
            let finding = entry.at(Code::Missing, entry.span(), "`replace` is missing");
            entry.note(finding.label("needs `replace`, like \"+44$1\"; \"\" removes a header"));
        }
        entry.finish();
        let (Some(passage), Some(field), Some(pattern), Some(replacement)) = (passage, field, pattern, replacement)
        else {
            continue;
        };
        let what = match Field::parse(field.get_ref()) {
            Ok(what) => what,
            Err(error) => {
                entry.malformed("field", &field.span(), field.get_ref(), &error.to_string());
                continue;
            }
        };
        match Rewrite::new(passage.into_inner(), what, pattern.get_ref(), replacement.get_ref()) {
            Ok(rule) => rules.push(rule),
            Err(error @ (RuleError::Group { .. } | RuleError::Control)) => {
                let said = if matches!(error, RuleError::Group { .. }) {
                    format!("{error}; a group is followed by text as in \"${{1}}x\"")
                } else {
                    error.to_string()
                };
                entry.malformed("replace", &replacement.span(), replacement.get_ref(), &said);
            }
            Err(error) => entry.malformed("match", &pattern.span(), pattern.get_ref(), &error.to_string()),
        }
    }
    rules
}

fn methods(table: &Table<'_>) -> Option<Vec<Method>> {
    let texts = table.texts("methods")?;
    too_many(table, "methods", texts.len(), WORDS_MAX);
    let mut methods = Vec::new();
    for text in texts.iter().take(WORDS_MAX) {
        match Method::parse(text.get_ref()) {
            Some(Method::Other(_)) | None => {
                let wanted = "a method of SIP in capitals, like \"INVITE\"";
                table.malformed("methods", &text.span(), text.get_ref(), wanted);
            }
            Some(method) => methods.push(method),
        }
    }
    Some(methods)
}

pub(super) fn too_many(table: &Table<'_>, key: &str, count: usize, max: usize) {
    if count > max {
        let message = format!("more than {max} entries in `{key}`");
        table.note(table.at(Code::TooLarge, &table.key_span(key), message));
    }
}

#[cfg(test)]
mod tests;
