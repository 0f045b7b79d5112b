//! Hosts and ports, as URIs and Via write them (RFC 3261 §25.1 `hostport`).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::grammar::{find, push_number};
use super::text::Text;
use super::uri::UriError;

/// An IPv4 address, in most cases.
const HOST_BYTES_USUAL: usize = 16;

/// A name or an address, an IPv6 one in brackets, and perhaps a port: what Via's sent-by and a Contact name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostPort {
    host: Text,
    port: Option<u16>,
}

impl HostPort {
    /// As written, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (host_bytes, port) = split_host_port(text)?;
        let host = text.get(..host_bytes).ok_or(UriError::BadHost)?;
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

impl From<SocketAddr> for HostPort {
    fn from(at: SocketAddr) -> Self {
        let mut host = String::with_capacity(HOST_BYTES_USUAL);
        push_host(&mut host, at.ip());
        Self {
            host: host.as_str().into(),
            port: Some(at.port()),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", &*self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// `host:port`, as it stands for an address in URIs.
pub(super) fn push_address(out: &mut String, at: SocketAddr) {
    push_host(out, at.ip());
    out.push(':');
    push_number(out, at.port().into());
}

/// Without the scope of a link-local address, which means nothing to anyone else (RFC 4007 §6).
fn push_host(out: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push('.');
                }
                push_number(out, octet.into());
            }
        }
        IpAddr::V6(ip) => out.push_str(&format!("[{ip}]")),
    }
}

/// Length of the host in `host [":" port]`, and the port. Also the form of Via's sent-by.
pub(super) fn split_host_port(text: &str) -> Result<(usize, Option<u16>), UriError> {
    let host_bytes = if text.starts_with('[') {
        find(text, b']').ok_or(UriError::BadHost)? + 1
    } else {
        find(text, b':').unwrap_or(text.len())
    };
    let host = text.get(..host_bytes).ok_or(UriError::BadHost)?;
    if !is_host(host) {
        return Err(UriError::BadHost);
    }
    let port = match text.get(host_bytes..).unwrap_or_default() {
        "" => None,
        tail => {
            let digits = tail.strip_prefix(':').ok_or(UriError::BadHost)?;
            let all_digits = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
            let port = digits.parse().ok().filter(|port| *port != 0 && all_digits);
            Some(port.ok_or(UriError::BadPort)?)
        }
    };
    Ok((host_bytes, port))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        // '_' is no host name in RFC 1123, and common in private DNS.
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'))
        }
    }
}

/// An address as `host` writes it, IPv6 with or without brackets.
pub(super) fn parse_ip(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same_and_nothing_panics(text in "\\PC{0,40}|[\\[\\]a-f0-9:.]{0,30}") {
            if let Ok(at) = text.parse::<HostPort>() {
                prop_assert_eq!(at.to_string().parse::<HostPort>(), Ok(at));
            }
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_never_scoped() {
        for text in [
            "sbc.example.com",
            "sbc.example.com:5061",
            "192.0.2.1:5060",
            "[2001:db8::1]:5060",
            "[::1]",
        ] {
            assert_eq!(text.parse::<HostPort>().map(|at| at.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            ":5060",
            "[fe80::1%eth0]:5060",
            "a b",
            "a:0",
            "a:65536",
            "2001:db8::1",
            "a:5060;lr",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
        let scoped = SocketAddr::V6(std::net::SocketAddrV6::new(
            "fe80::1".parse().expect("an address"),
            5060,
            0,
            3,
        ));
        assert_eq!(HostPort::from(scoped).to_string(), "[fe80::1]:5060");
    }
}
