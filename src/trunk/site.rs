//! A destination as configured: an address, or a name that DNS says the addresses of.

use std::net::{IpAddr, SocketAddr};

use super::destination::Rank;
use crate::sip::{Scheme, Transport, Uri};

/// The longest name of a host, and of a label in it (RFC 1035 §2.3.4), without the final dot.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The name of a host or of a service (`_sip._udp.example.com`), in lower case, without the final dot.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DomainName(Box<str>);

impl DomainName {
    /// Letters, digits, `-` and `_` in labels with dots between; nothing that is a literal address.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c))
        };
        let is_name = text.len() <= NAME_BYTES_MAX && text.split('.').all(is_label);
        // `192.0.2.1` looks like one, and names no host.
        let is_number = text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
        (is_name && !is_number).then(|| Self(text.to_ascii_lowercase().into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DomainName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What RFC 3263 starts from: a name, and what is said of port and transport beside it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Aim {
    pub name: DomainName,
    pub port: Option<u16>,
    pub transport: Option<Transport>,
    /// TLS may be chosen (RFC 3263 §4.1): it is known whose certificate to believe.
    pub certified: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    Address(IpAddr),
    Name(DomainName),
}

/// One entry of a trunk's `destinations`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site {
    pub host: Host,
    pub port: Option<u16>,
    pub transport: Option<Transport>,
    /// Its trunk says whose certificates are believed.
    pub certified: bool,
    pub rank: Rank,
}

impl Site {
    /// `192.0.2.10`, `192.0.2.10:5060`, `sip.example.com`, `sip:host:port;transport=tcp`. Of a URI only these parts.
    pub fn parse(text: &str, rank: Rank) -> Option<Self> {
        let is_uri = text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:"));
        let bare_v6: Option<std::net::Ipv6Addr> = text.parse().ok();
        let uri = match (is_uri, bare_v6) {
            (true, _) => Uri::parse(text).ok()?,
            (false, Some(ip)) => Uri::parse(&format!("sip:[{ip}]")).ok()?,
            (false, None) if text.contains(['@', ';', '?']) => return None,
            (false, None) => Uri::parse(&format!("sip:{text}")).ok()?,
        };
        let plain = uri.scheme() == Scheme::Sip && uri.user().is_none() && uri.headers().is_none();
        if !plain || uri.params().any(|(name, _)| !name.eq_ignore_ascii_case("transport")) {
            return None;
        }
        let transport = match uri.param("transport") {
            Some(word) => Some(transport(word)?),
            None => None,
        };
        let host = match uri.ip() {
            Some(ip) => Host::Address(ip),
            None => Host::Name(DomainName::parse(uri.host()?)?),
        };
        Some(Self {
            host,
            port: uri.port(),
            transport,
            certified: false,
            rank,
        })
    }

    /// What to ask DNS for; nothing for an address.
    pub fn aim(&self) -> Option<Aim> {
        match &self.host {
            Host::Address(_) => None,
            Host::Name(name) => Some(Aim {
                name: name.clone(),
                port: self.port,
                transport: self.transport,
                certified: self.certified,
            }),
        }
    }

    /// Where it is, by the transport it names or else by this one; none for a name.
    pub fn place(&self, transport: Transport) -> Option<(Transport, SocketAddr)> {
        let transport = self.transport.unwrap_or(transport);
        match self.host {
            Host::Address(ip) => {
                let port = self.port.unwrap_or(transport.default_port());
                Some((transport, SocketAddr::new(ip, port)))
            }
            Host::Name(_) => None,
        }
    }

    /// As a Request-URI names it, with its port where one is written; none for an address, which the flow tells.
    pub fn authority(&self) -> Option<String> {
        match (&self.host, self.port) {
            (Host::Address(_), _) => None,
            (Host::Name(name), Some(port)) => Some(format!("{name}:{port}")),
            (Host::Name(name), None) => Some(name.to_string()),
        }
    }
}

/// The value of a URI's transport parameter, if we can speak it.
fn transport(word: &str) -> Option<Transport> {
    [Transport::Udp, Transport::Tcp, Transport::Tls]
        .into_iter()
        .find(|transport| transport.as_str().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(text: &str) -> Option<Site> {
        Site::parse(text, Rank::default())
    }

    #[test]
    fn addresses_names_and_uris_are_understood() {
        for (text, address) in [
            ("192.0.2.10", "192.0.2.10:5060"),
            ("192.0.2.10:5080", "192.0.2.10:5080"),
            ("2001:db8::1", "[2001:db8::1]:5060"),
            ("[2001:db8::1]:5080", "[2001:db8::1]:5080"),
            ("sip:192.0.2.1;transport=tcp", "192.0.2.1:5060"),
            ("sip:192.0.2.1;transport=tls", "192.0.2.1:5061"),
        ] {
            let site = site(text).expect(text);
            let place = site.place(Transport::Udp).map(|(_, at)| at.to_string());
            assert_eq!(place.as_deref(), Some(address), "{text}");
            assert_eq!((site.aim(), site.authority()), (None, None));
        }
        let named = site("sip:SIP.example.com.:5070;transport=TCP").expect("a name");
        assert_eq!(named.authority().as_deref(), Some("sip.example.com:5070"));
        let aim = named.aim().expect("to be asked for");
        assert_eq!((aim.port, aim.transport), (Some(5070), Some(Transport::Tcp)));
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            "sips:example.com",
            "sip:alice@example.com",
            "sip:example.com;lr",
            "sip:example.com?x=y",
            "example.com;transport=tcp",
            "sip:example.com;transport=sctp",
            "a..b",
            "192.0.2.300",
            "host:0",
            "host name",
        ] {
            assert_eq!(site(text), None, "{text}");
        }
        assert_eq!(DomainName::parse(&"a.".repeat(200)), None);
        assert_eq!(DomainName::parse(&"a".repeat(64)), None);
    }
}
