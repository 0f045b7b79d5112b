//! `[listen]` and how a trunk is reached beyond its transport's name: addresses as bound and as advertised, certificates.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::certified::certified_name;
use super::read::{LIST_MAX, path};
use super::{Config, PORTS_DEFAULT};
use crate::policy::Code;
use crate::policy::reader::{Element, Table, Words};
use crate::sip::{HostPort, Transport};

pub(super) const TRANSPORTS: &Words<Transport> = &[
    ("udp", Transport::Udp),
    ("tcp", Transport::Tcp),
    ("tls", Transport::Tls),
    ("ws", Transport::Ws),
    ("wss", Transport::Wss),
];
/// Fewer ports than a call with audio and video needs on both legs draw a warning; so many are ten such calls.
const PORTS_FEW: usize = 80;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    pub sip: Vec<Listener>,
    pub media: MediaListen,
    /// There if a listener speaks TLS.
    pub tls: Option<ListenTls>,
    /// Of pages whose browsers may open a WebSocket, like `https://phone.example.com`. Empty: any.
    pub origins: Vec<String>,
}

/// `"udp:127.0.0.1:5070"`, or `{ listen = "tls:10.0.0.4:5061", advertised = "sbc.example.com:5061" }`
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Listener {
    pub transport: Transport,
    pub address: SocketAddr,
    /// What peers are told in Via and Contact in place of the address: a certificate's name, an address before a NAT.
    pub advertised: Option<HostPort>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaListen {
    pub address: IpAddr,
    /// What SDP says in its place, behind a NAT.
    pub advertised: Option<IpAddr>,
    /// For legs that are reached over IPv6, if `address` is of IPv4.
    pub address6: Option<Ipv6Addr>,
    /// RTP takes the even ports of it and RTCP the odd ones.
    pub ports: RangeInclusive<u16>,
    pub sockets: MediaSockets,
}

/// How the kernel hands us media.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MediaSockets {
    /// Each port of a call has a socket of its own.
    #[default]
    Own,
    /// All ports of an IPv4 address have one, which costs less CPU and wants privileges: docs/OPERATING.md.
    Shared,
}

/// PEM files of one identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// The certificate, then those between it and the authority.
    pub chain: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenTls {
    pub certificate: Certificate,
    /// Who opens a TLS connection has to have a certificate of one of these authorities.
    pub client_ca: Option<PathBuf>,
}

/// `[trunk.tls]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrunkTls {
    /// The name that its certificate must be for; its address if there is none.
    pub server_name: Option<String>,
    /// The authorities that its certificate may be of. Without it we do not connect to this trunk.
    pub ca: Option<PathBuf>,
    /// What we show to this trunk, in place of `[listen.tls]`'s.
    pub certificate: Option<Certificate>,
    /// Who connects from its addresses has to show a certificate for this name.
    pub client_name: Option<String>,
}

/// How requests reach a trunk.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Delivery {
    pub tls: Option<TrunkTls>,
}

impl Listen {
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(tls) = &mut self.tls {
            tls.certificate.resolve(folder);
            resolve(&mut tls.client_ca, folder);
        }
    }

    /// Where our media arrives: by the address that it is bound to, with what SDP says of it.
    pub fn media_addresses(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let media = &self.media;
        let first = (media.address, media.advertised.unwrap_or(media.address));
        let second = media.address6.map(|ip| (ip.into(), ip.into()));
        [first].into_iter().chain(second)
    }
}

impl Certificate {
    fn resolve(&mut self, folder: &Path) {
        self.chain = folder.join(&self.chain);
        self.key = folder.join(&self.key);
    }
}

impl Delivery {
    pub(super) fn resolve(&mut self, folder: &Path) {
        let Some(tls) = &mut self.tls else { return };
        resolve(&mut tls.ca, folder);
        if let Some(certificate) = &mut tls.certificate {
            certificate.resolve(folder);
        }
    }
}

fn resolve(path: &mut Option<PathBuf>, folder: &Path) {
    if let Some(path) = path {
        *path = folder.join(&*path);
    }
}

/// `[listen]`
pub(super) fn listen(root: &Table<'_>) -> Listen {
    let fallback = Config::embedded().listen;
    let Some(listen) = root.table("listen", "a listen field") else {
        let finding = root
            .at(Code::Missing, root.span(), "`[listen]` is missing")
            .label("where do calls arrive?");
        root.note(finding.hint("add `[listen]` with `sip = [\"udp:192.0.2.1:5060\"]` and `media = { … }`"));
        return fallback;
    };
    let sip = listeners(&listen);
    let media = media(&listen, &sip);
    let tls = tls(&listen, &sip);
    let origins = origins(&listen);
    listen.finish();
    Listen {
        sip,
        media: media.unwrap_or(fallback.media),
        tls,
        origins,
    }
}

fn listeners(listen: &Table<'_>) -> Vec<Listener> {
    let wanted = "like \"udp:192.0.2.1:5060\"";
    let mut sip: Vec<Listener> = Vec::new();
    let elements = listen.required_elements("sip", "a listener field", wanted);
    if elements.as_ref().is_some_and(Vec::is_empty) {
        listen.malformed(
            "sip",
            &listen.key_span("sip"),
            "[]",
            "at least one address to listen on",
        );
    }
    for element in elements.unwrap_or_default().into_iter().take(LIST_MAX) {
        let (text, advertised) = match &element {
            Element::Text(text) => (Some(text.clone()), None),
            Element::Table(table) => {
                let text = table.required_text("listen", wanted);
                let name = "a name or address and its port, like \"sbc.example.com:5061\"";
                let advertised = table.parsed("advertised", name, advertised).map(Spanned::into_inner);
                table.finish();
                (text, advertised)
            }
        };
        let Some(text) = text else { continue };
        match listener(text.get_ref(), advertised) {
            Some(new)
                if sip
                    .iter()
                    .any(|l| (l.transport, l.address) == (new.transport, new.address)) =>
            {
                let message = format!("`{}` is listed twice", text.get_ref());
                listen.note(listen.at(Code::DuplicateListener, &text.span(), message));
            }
            Some(new) => {
                not_any(listen, &text, new.address.ip());
                sip.push(new);
            }
            None => listen.malformed("sip", &text.span(), text.get_ref(), wanted),
        }
    }
    sip
}

pub(super) fn listener(text: &str, advertised: Option<HostPort>) -> Option<Listener> {
    let (transport, address) = text.split_once(':')?;
    let (_, transport) = TRANSPORTS.iter().find(|(word, _)| *word == transport)?;
    let address: SocketAddr = address.parse().ok()?;
    (address.port() != 0 && !is_scoped(address)).then_some(Listener {
        transport: *transport,
        address,
        advertised,
    })
}

/// An address that means something on one link of this machine alone cannot be told to anyone (RFC 4007 §6).
fn is_scoped(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(_) => false,
        SocketAddr::V6(v6) => v6.scope_id() != 0 || v6.ip().is_unicast_link_local(),
    }
}

fn advertised(text: &str) -> Option<HostPort> {
    let at: HostPort = text.parse().ok()?;
    let ip: Option<IpAddr> = at.host().trim_matches(['[', ']']).parse().ok();
    let usable = ip.is_none_or(|ip| !ip.is_unspecified() && !ip.is_multicast());
    (usable && at.port().is_some()).then_some(at)
}

/// 0.0.0.0 would be written into Via, Contact and SDP, where nobody can answer to it.
fn not_any(table: &Table<'_>, text: &Spanned<&str>, ip: IpAddr) {
    if ip.is_unspecified() || ip.is_multicast() {
        let message = format!("`{}` cannot be told to peers", text.get_ref());
        let finding = table
            .at(Code::UnusableAddress, &text.span(), message)
            .effect("Via, Contact and SDP carry this address, and peers answer to it")
            .hint("name the address of an interface, one listener each");
        table.note(finding);
    }
}

fn media(listen: &Table<'_>, sip: &[Listener]) -> Option<MediaListen> {
    let Some(media) = listen.table("media", "a media field") else {
        let finding = listen
            .at(Code::Missing, listen.span(), "`media` is missing")
            .label("needs `media`");
        listen.note(finding.hint("add `media = { address = \"192.0.2.1\", ports = \"40000-59999\" }`"));
        return None;
    };
    let address = media
        .required_text("address", "the IP address that RTP arrives at")
        .and_then(|text| ip(&media, "address", &text));
    let advertised = media.text("advertised").and_then(|text| {
        let of_family = |ip: &IpAddr| address.is_none_or(|address| ip.is_ipv4() == address.is_ipv4());
        let ip = ip(&media, "advertised", &text)?;
        if !of_family(&ip) {
            media.malformed("advertised", &text.span(), text.get_ref(), "of the family of `address`");
        }
        Some(ip)
    });
    let address6 = media.text("address6").and_then(|text| {
        let ip = ip(&media, "address6", &text)?;
        match (ip, address) {
            (IpAddr::V6(ip), None | Some(IpAddr::V4(_))) => Some(ip),
            _ => {
                let wanted = "an IPv6 address beside an `address` of IPv4";
                media.malformed("address6", &text.span(), text.get_ref(), wanted);
                None
            }
        }
    });
    let ports = media_ports(&media, sip);
    let sockets = media.parsed("sockets", "`own` or `shared`", |text| match text {
        "own" => Some(MediaSockets::Own),
        "shared" => Some(MediaSockets::Shared),
        _ => None,
    });
    media.finish();
    Some(MediaListen {
        address: address?,
        advertised,
        address6,
        ports,
        sockets: sockets.map_or_else(Default::default, Spanned::into_inner),
    })
}

pub(super) fn ip(table: &Table<'_>, key: &'static str, text: &Spanned<&str>) -> Option<IpAddr> {
    let ip: Option<IpAddr> = text.get_ref().parse().ok();
    match ip {
        Some(ip) => not_any(table, text, ip),
        None => table.malformed(key, &text.span(), text.get_ref(), "an IP address"),
    }
    ip
}

fn media_ports(media: &Table<'_>, sip: &[Listener]) -> RangeInclusive<u16> {
    let ports = media.parsed("ports", "a range, like \"40000-59999\", from 1024 up", ports);
    let span = ports.as_ref().map(Spanned::span);
    let ports = ports.map_or(PORTS_DEFAULT, Spanned::into_inner);
    if let Some(span) = span {
        let is_few = ports.len() < PORTS_FEW;
        let taken = sip
            .iter()
            .find(|l| l.transport == Transport::Udp && ports.contains(&l.address.port()));
        if is_few || taken.is_some() {
            let message = match taken {
                Some(listener) => format!("SIP listens on port {} of this range", listener.address.port()),
                None => format!("{} ports; a call with audio and video takes 8", ports.len()),
            };
            let effect = "calls are refused when no ports are free";
            media.note(media.at(Code::FewPorts, &span, message).effect(effect));
        }
    }
    ports
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
    (first >= 1_024 && first < last).then_some(first..=last)
}

fn tls(listen: &Table<'_>, sip: &[Listener]) -> Option<ListenTls> {
    let Some(tls) = listen.table("tls", "a listen.tls field") else {
        if sip.iter().any(|listener| listener.transport.is_secure()) {
            let finding = listen
                .at(Code::Missing, &listen.key_span("sip"), "`[listen.tls]` is missing")
                .label("a listener speaks TLS");
            listen.note(finding.hint("add `[listen.tls]` with `certificate = \"chain.pem\"` and `key = \"key.pem\"`"));
        }
        return None;
    };
    for key in ["certificate", "key"] {
        if !tls.has(key) {
            let finding = tls.at(Code::Missing, tls.span(), format!("`{key}` is missing"));
            tls.note(finding.label(format!("needs `{key}`, a PEM file")));
        }
    }
    let certificate = certificate(&tls);
    let client_ca = path(&tls, "client_ca");
    tls.finish();
    Some(ListenTls {
        certificate: certificate?,
        client_ca,
    })
}

/// Both or none.
fn certificate(table: &Table<'_>) -> Option<Certificate> {
    let (chain, key) = (path(table, "certificate"), path(table, "key"));
    Some(Certificate {
        chain: chain?,
        key: key?,
    })
}

fn origins(listen: &Table<'_>) -> Vec<String> {
    let texts = listen.texts("websocket_origins").unwrap_or_default();
    let origin = |text: Spanned<&str>| {
        let rest = text.get_ref().split_once("://").map(|(_, host)| host);
        let is_origin = rest.is_some_and(|host| host.parse::<HostPort>().is_ok());
        if !is_origin {
            let wanted = "a page's origin, like \"https://phone.example.com\"";
            listen.malformed("websocket_origins", &text.span(), text.get_ref(), wanted);
        }
        is_origin.then(|| (*text.get_ref()).to_owned())
    };
    texts.into_iter().take(LIST_MAX).filter_map(origin).collect()
}

/// What a `[[trunk]]` says of how it is reached.
pub(super) fn delivery(trunk: &Table<'_>, transport: Transport) -> Delivery {
    let tls = trunk.table("tls", "a trunk.tls field").map(|tls| trunk_tls(&tls));
    if transport == Transport::Tls && tls.as_ref().is_none_or(|tls| tls.ca.is_none()) {
        let finding = trunk
            .at(Code::Missing, trunk.span(), "`[trunk.tls]` with `ca` is missing")
            .label("reached by TLS")
            .effect("it would not be known whose certificate to believe: no connection is opened to it");
        trunk.note(finding.hint("for a public one: `[trunk.tls]`, `ca = \"/etc/ssl/certs/ca-certificates.crt\"`"));
    }
    Delivery { tls }
}

fn trunk_tls(tls: &Table<'_>) -> TrunkTls {
    let name = |key| {
        tls.parsed(key, "a DNS name or an IP address", certified_name)
            .map(Spanned::into_inner)
    };
    let (server_name, client_name) = (name("server_name"), name("client_name"));
    let ca = path(tls, "ca");
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if tls.has(one) && !tls.has(other) {
            let finding = tls.at(Code::Missing, &tls.key_span(one), format!("`{other}` is missing"));
            tls.note(finding.label(format!("needs `{other}` beside it")));
        }
    }
    let certificate = certificate(tls);
    if client_name.is_some() && ca.is_none() {
        let finding = tls.at(Code::Missing, &tls.key_span("client_name"), "`ca` is missing");
        tls.note(finding.label("whose certificate for this name is believed?"));
    }
    tls.finish();
    TrunkTls {
        server_name,
        ca,
        certificate,
        client_name,
    }
}

#[cfg(test)]
mod tests;
