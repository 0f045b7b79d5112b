//! How peers reach us: what our listeners are called outside, and which path a long request takes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::source::Sources;
use crate::sip::{Flow, Headers, HostPort, NameAddr, Scheme, Transport, Uri};

/// Longer requests are not sent as datagrams (RFC 3261 §18.1.1): an MTU of 1,500 bytes less room for what proxies add.
pub const DATAGRAM_REQUEST_BYTES_MAX: usize = 1_300;

/// Headers that may hold an address of ours, for whoever shall come back to it.
const LEADING_TO_US: [&str; 3] = ["Contact", "Path", "Refer-To"];

/// What the operator says of our listeners beside their addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Paths {
    /// What messages say in place of a listener's address.
    advertised: BTreeMap<(Transport, SocketAddr), HostPort>,
    /// TCP listeners: long requests leave by the first of their family.
    streams: Vec<SocketAddr>,
    /// Peers that want long requests as datagrams all the same.
    datagrams_only: Sources,
    /// Our media addresses: as they are bound, and as SDP names them.
    media: Vec<(IpAddr, IpAddr)>,
}

impl Paths {
    /// Long requests leave by the TCP ones of `listeners`.
    pub fn by_streams_of(listeners: &[(Transport, SocketAddr)]) -> Self {
        let streams = listeners.iter().filter(|(transport, _)| *transport == Transport::Tcp);
        Self {
            streams: streams.map(|(_, local)| *local).collect(),
            ..Self::default()
        }
    }

    /// `at` stands for a listener in what leaves: its name in a certificate, or its address before a NAT.
    pub fn advertise(&mut self, transport: Transport, local: SocketAddr, at: HostPort) {
        self.advertised.insert((transport, local), at);
    }

    /// Long requests to these, and to no others, are datagrams like all others.
    pub fn keep_datagrams(&mut self, peers: Sources) {
        self.datagrams_only = peers;
    }

    /// Media that arrives at `local` is asked for at `public`.
    pub fn advertise_media(&mut self, local: IpAddr, public: IpAddr) {
        self.media.push((local, public));
    }

    /// Each address that media arrives at, with what SDP says in its place.
    pub fn media(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        self.media.iter().copied()
    }

    /// Our end of a flow, as Via names it.
    pub fn sent_by(&self, flow: Flow) -> HostPort {
        let advertised = self.advertised.get(&(flow.transport, flow.local));
        advertised.cloned().unwrap_or_else(|| flow.local.into())
    }

    /// Whether `host` and `port` of a URI are what one of our listeners is advertised as.
    pub fn is_advertised(&self, host: &str, port: Option<u16>) -> bool {
        // A name without a port leads to whatever port DNS says (RFC 3263 §4.2).
        let by_dns = port.is_none() && host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
        self.advertised.iter().any(|((transport, _), at)| {
            let default = transport.default_port();
            let is_port = by_dns || at.port().unwrap_or(default) == port.unwrap_or(default);
            at.host().eq_ignore_ascii_case(host) && is_port
        })
    }

    /// Puts what the listeners are advertised as in place of their addresses, wherever a message that leaves says how to
    /// reach us.
    pub fn readdress(&self, headers: &mut Headers) {
        if self.advertised.is_empty() {
            return;
        }
        for name in LEADING_TO_US {
            let told: Vec<_> = headers.get_all(name).map(|value| self.readdressed(value)).collect();
            if told.iter().all(Option::is_none) {
                continue;
            }
            let values = headers.get_all(name).zip(told);
            let values: Vec<String> = values.map(|(old, new)| new.unwrap_or_else(|| old.to_owned())).collect();
            headers.remove(name);
            for value in values {
                headers.push(name, value);
            }
        }
    }

    fn readdressed(&self, value: &str) -> Option<String> {
        let mut address = NameAddr::parse(value).ok()?;
        let at = self.advertised_for(&address.uri)?;
        address.uri = address.uri.with_host_port(at);
        Some(address.to_string())
    }

    /// A URI that names a listener, as it is known outside.
    pub fn outside(&self, uri: &Uri) -> Uri {
        let at = self.advertised_for(uri);
        at.map_or_else(|| uri.clone(), |at| uri.with_host_port(at))
    }

    /// For a URI that names a listener by its address.
    fn advertised_for(&self, uri: &Uri) -> Option<&HostPort> {
        let local = SocketAddr::new(uri.ip()?, uri.port()?);
        let named = uri.param("transport").map(str::to_ascii_lowercase);
        let named = named.or((uri.scheme() == Scheme::Sips).then(|| "tls".to_owned()));
        let fits = |(transport, of): &(Transport, SocketAddr)| *of == local && transport.param() == named.as_deref();
        let found = self.advertised.iter().find(|(listener, _)| fits(listener));
        found.map(|(_, at)| at)
    }

    /// The path of a request that is too long for a datagram: by TCP to where the datagram would have gone
    /// (RFC 3261 §18.1.1). None where it is a datagram all the same.
    pub fn stream_for(&self, flow: Flow) -> Option<Flow> {
        if flow.transport != Transport::Udp || self.datagrams_only.has_host(flow.remote.ip()) {
            return None;
        }
        // Rather from the address that the peer knows.
        let near = self.streams.iter().find(|local| local.ip() == flow.local.ip());
        let of_family = || {
            self.streams
                .iter()
                .find(|local| local.is_ipv4() == flow.remote.is_ipv4())
        };
        Some(Flow {
            transport: Transport::Tcp,
            local: *near.or_else(of_family)?,
            remote: flow.remote,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sip::{CSeq, Method};

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn flow(transport: Transport, local: &str, remote: &str) -> Flow {
        Flow {
            transport,
            local: at(local),
            remote: at(remote),
        }
    }

    fn headers(contacts: &[&str]) -> Headers {
        let party = NameAddr::new(Uri::parse("sip:a@b").unwrap());
        let cseq = CSeq {
            number: 1,
            method: Method::Invite,
        };
        let mut headers = Headers::new(party.clone(), party, "call", cseq);
        for contact in contacts {
            headers.push("Contact", *contact);
        }
        headers
    }

    fn behind_nat() -> Paths {
        let mut paths = Paths::default();
        paths.advertise(
            Transport::Tls,
            at("10.0.0.4:5061"),
            "sbc.example.com:5061".parse().unwrap(),
        );
        paths.advertise(Transport::Udp, at("10.0.0.4:5060"), "203.0.113.7:5060".parse().unwrap());
        paths
    }

    #[test]
    fn via_and_contact_say_what_the_listener_is_advertised_as() {
        let paths = behind_nat();
        let sent_by = |transport, local: &str| paths.sent_by(flow(transport, local, "192.0.2.1:5060")).to_string();
        assert_eq!(sent_by(Transport::Tls, "10.0.0.4:5061"), "sbc.example.com:5061");
        assert_eq!(
            sent_by(Transport::Tcp, "10.0.0.4:5060"),
            "10.0.0.4:5060",
            "not advertised"
        );

        let mut leaving = headers(&[
            "<sip:10.0.0.4:5061;transport=tls>",
            "\"A\" <sip:a@10.0.0.4:5060>;expires=60",
            "<sip:10.0.0.4:5060;transport=tcp>",
            "<sip:elsewhere.example.com>",
        ]);
        paths.readdress(&mut leaving);
        assert_eq!(
            leaving.get_all("Contact").collect::<Vec<_>>(),
            [
                "<sip:sbc.example.com:5061;transport=tls>",
                "\"A\" <sip:a@203.0.113.7:5060>;expires=60",
                "<sip:10.0.0.4:5060;transport=tcp>",
                "<sip:elsewhere.example.com>",
            ]
        );
    }

    #[test]
    fn a_request_to_the_advertised_name_is_for_us() {
        let mut paths = behind_nat();
        assert!(paths.is_advertised("SBC.example.com", Some(5061)));
        assert!(paths.is_advertised("sbc.example.com", None), "the port of TLS");
        assert!(paths.is_advertised("203.0.113.7", None));
        assert!(!paths.is_advertised("sbc.example.com", Some(5060)));
        paths.advertise(
            Transport::Udp,
            at("10.0.0.4:5070"),
            "sip.example.com:5070".parse().unwrap(),
        );
        assert!(
            paths.is_advertised("sip.example.com", None),
            "a name without a port leads to whatever port DNS says"
        );
        assert!(!paths.is_advertised("example.com", None));
    }

    #[test]
    fn a_long_request_leaves_by_the_nearest_tcp_listener_of_its_family() {
        let listeners = [
            (Transport::Udp, at("10.0.0.4:5060")),
            (Transport::Tcp, at("10.0.0.5:5060")),
            (Transport::Tcp, at("10.0.0.4:5070")),
            (Transport::Tls, at("10.0.0.4:5061")),
        ];
        let mut paths = Paths::by_streams_of(&listeners);
        let udp = flow(Transport::Udp, "10.0.0.4:5060", "192.0.2.1:5080");
        let tcp = flow(Transport::Tcp, "10.0.0.4:5070", "192.0.2.1:5080");
        assert_eq!(paths.stream_for(udp), Some(tcp));
        assert_eq!(paths.stream_for(tcp), None, "it is one");
        assert_eq!(paths.stream_for(flow(Transport::Udp, "[::1]:5060", "[::2]:5060")), None);
        paths.keep_datagrams(Sources::from_iter([(udp.remote.ip(), None).into()]));
        assert_eq!(paths.stream_for(udp), None);
    }
}
